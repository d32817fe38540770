//! One JSON value of a source: a record, a Bundle with records in it, or something malformed.

use super::{
    bundle,
    chunks::{PIECE, SliceReader},
    emitter::{ItemEmitter, Start, Stop},
};
use crate::fhir::SyntaxError;

/// Reads one trimmed value: a record, a Bundle, or something malformed. `refine` may put the problem into words of the
/// source's form, and say what to do about it.
pub(super) fn read(
    text: &[u8],
    start: Start,
    refine: impl Fn(&mut SyntaxError, &[u8]) -> Option<&'static str>,
    emitter: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    // A text that looks like a Bundle is tried as one first, to spare it a scan that would be thrown away; what the
    // text is does not depend on it.
    let head = text.get(..256).unwrap_or(text);
    let looks = memchr::memmem::find(head, b"\"Bundle\"").is_some();
    let failed = if looks {
        None
    } else {
        match emitter.scanner.scan(text) {
            Ok(found) if !found.is(text, "Bundle") => {
                emitter.record(text, start)?;
                return Ok(());
            }
            Ok(_) => None,
            Err(error) => Some(error),
        }
    };
    match bundle::outline(text) {
        Ok(Some(outline)) => {
            let mut feed = SliceReader::new(text, PIECE);
            let length = text.len() as u64;
            bundle::read(&mut feed, 0, start, length, &outline, emitter)
        }
        Ok(None) if failed.is_none() => match emitter.scanner.scan(text) {
            Ok(_) => emitter.record(text, start),
            Err(error) => emitter.malformed(text, start, None, error, refine),
        },
        Ok(None) => match failed {
            Some(error) => emitter.malformed(text, start, None, error, refine),
            None => Ok(()),
        },
        Err(error) => emitter.malformed(text, start, None, failed.unwrap_or(error), refine),
    }
}
