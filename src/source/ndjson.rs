//! NDJSON: one value a line (<https://hl7.org/fhir/R4/nd-json.html>). Blank lines, CRLF, a byte order mark and a missing last
//! line end are borne. Memory is bounded by the longest line.

use super::{
    Malformed,
    feed::{Feed, is_too_large},
    json::{TOO_LARGE, refuse_encoding, skip_mark, trim},
    read::{End, Sink, Start, Stop},
};
use crate::fhir::SyntaxError;

/// Reads all lines; of a text that is cut, all but the last if that has no end.
pub(super) fn read(feed: &mut dyn Feed, end: End, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let piece = feed.piece(0)?;
    if refuse_encoding(piece.bytes, sink)? {
        return Ok(());
    }
    let mut from = skip_mark(piece.bytes) as u64;
    let (mut number, mut searched, mut skipping) = (1, 0, false);
    loop {
        let piece = feed.piece(from)?;
        let mut rest = piece.bytes;
        let mut offset = piece.base;
        while let Some(newline) = memchr::memchr(b'\n', rest.get(searched..).unwrap_or_default()) {
            let (text, after) = rest.split_at(searched + newline + 1);
            if !skipping {
                line(text, offset, number, sink)?;
            }
            (searched, skipping) = (0, false);
            number += 1;
            offset += text.len() as u64;
            rest = after;
        }
        if piece.last {
            if end == End::Whole && !skipping {
                line(rest, offset, number, sink)?;
            }
            return Ok(());
        }
        if !skipping && is_too_large(rest.len() as u64) {
            too_large(rest, offset, number, sink)?;
            skipping = true;
        }
        if skipping {
            (from, searched) = (offset + rest.len() as u64, 0);
        } else {
            (from, searched) = (offset, rest.len());
        }
    }
}

fn line(text: &[u8], offset: u64, number: u64, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let (before, value) = trim(text);
    if value.is_empty() {
        return Ok(());
    }
    if is_too_large(value.len() as u64) {
        return too_large(text, offset, number, sink);
    }
    let start = Start {
        offset: offset + before as u64,
        line: number,
        column: 1 + before as u64,
    };
    sink.value(value, start, |_| None)
}

fn too_large(text: &[u8], offset: u64, number: u64, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let start = Start {
        offset,
        line: number,
        column: 1,
    };
    let malformed = Malformed {
        position: sink.position(start, text.len() as u64, None),
        problem: SyntaxError {
            offset: 0,
            what: TOO_LARGE,
            path: "Resource".to_owned(),
        },
        line: number,
        column: 1,
        hint: None,
    };
    sink.tell_malformed(malformed)
}
