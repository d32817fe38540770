//! One line of NDJSON: what stands on it, and what is wrong with it in the words of those who write files.

use crate::{
    fhir::{
        SyntaxError,
        bundle::{BundleEntries, Outline},
        json::EXPECTED_END,
    },
    source::{
        emitter::{ItemEmitter, Start, Stop},
        foreign,
        text::{MARK, skip_mark, trim},
        value,
    },
};

const COMMA: &str = "a comma stands after the value";
const NO_COMMA: &str = "nothing but the line break stands between the values of NDJSON";
const SECOND: &str = "a second value stands on the line";
const BREAK_IT: &str = "put a line break between the values";
const CARRIAGE: &str = "a carriage return alone stands between two values";
const FEED_IT: &str = "lines end with a line feed; convert them, such as with `tr '\\r' '\\n'`";
const SEPARATOR: &str = "a record separator stands before the value";
const NO_SEPARATOR: &str =
    "this is a JSON text sequence (RFC 7464); take the marks away, such as with `tr -d '\\036'`";

/// Returns the value of a line, and how many bytes stand in front of it: blanks, or a byte order mark, which a file brought
/// along that was appended to another.
pub(super) fn content(line: &[u8]) -> (usize, &[u8]) {
    let (before, value) = trim(line);
    match skip_mark(value) {
        0 => (before, value),
        mark => {
            let (blanks, value) = trim(value.get(mark..).unwrap_or_default());
            (before + mark + blanks, value)
        }
    }
}

/// Tells whether a line is a resource on its own.
pub(super) fn is_record(value: &[u8]) -> bool {
    if !value.starts_with(b"{") || !value.ends_with(b"}") {
        return false;
    }
    let mut outline = Outline::new(BundleEntries::Counted);
    outline.read(value, 0, true).is_ok() && outline.has_type()
}

/// Reads the value of a line; several, where files were put together of which one has no last line end and the next one a
/// byte order mark.
pub(super) fn values(
    mut value: &[u8],
    mut start: Start,
    sink: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    while let Some(end) = joint(value) {
        let (one, rest) = value.split_at(end);
        value::read(trim(one).1, start, refine, sink)?;
        let (before, rest) = content(rest);
        let passed = end + before;
        start.offset += passed as u64;
        start.column += String::from_utf8_lossy(one).chars().count() as u64;
        value = rest;
    }
    if value.is_empty() {
        return Ok(());
    }
    value::read(value, start, refine, sink)
}

/// Finds the byte order mark after a complete value.
fn joint(value: &[u8]) -> Option<usize> {
    memchr::memmem::find(value, MARK)?;
    match Outline::new(BundleEntries::Counted).read(value, 0, true) {
        Err((at, EXPECTED_END)) => {
            let at = usize::try_from(at).ok()?;
            value
                .get(at..)
                .is_some_and(|rest| skip_mark(rest) > 0)
                .then_some(at)
        }
        _ => None,
    }
}

/// Says of a line in the words of those who write files what the grammar has found, and what to do about it.
fn refine(error: &mut SyntaxError, value: &[u8]) -> Option<&'static str> {
    if let Some(hint) = foreign::conflict(error, value) {
        return Some(hint);
    }
    let byte = value.get(error.offset);
    let (what, hint) = match (error.what, byte) {
        (EXPECTED_END, Some(b',')) => (COMMA, NO_COMMA),
        (EXPECTED_END, Some(b'{' | b'[')) => {
            let before = value.get(..error.offset).unwrap_or_default();
            let mut blanks = before.iter().rev().take_while(|b| b.is_ascii_whitespace());
            if blanks.any(|blank| *blank == b'\r') {
                (CARRIAGE, FEED_IT)
            } else {
                (SECOND, BREAK_IT)
            }
        }
        (_, Some(0x1e)) if error.offset == 0 => (SEPARATOR, NO_SEPARATOR),
        _ => return None,
    };
    error.what = what;
    Some(hint)
}
