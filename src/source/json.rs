//! JSON files: one resource, or one Bundle, which may be larger than memory.
//!
//! A small file is read whole. A large one is read twice: once to know that it is well-formed and what it is, so that a
//! Bundle that was cut in transit loads nothing, and once more to yield it.

use std::{io::Read, path::Path};

use super::{
    Ceiling, ErrorKind, Form, Malformed, bundle,
    chunks::{ChunkReader, PIECE, StreamReader, is_too_large, locate},
    emitter::{ItemEmitter, Start, Stop},
    foreign,
    text::{Text, skip_mark, trim},
    value,
};
use crate::fhir::{
    SyntaxError,
    bundle::{BundleEntries, Outline},
    json::EXPECTED_END,
    scan::NOT_AN_OBJECT,
};

/// Files up to this size are read whole: nearly all, and little beside the 150 MB that a run may take.
const SMALL: u64 = 8 << 20;

const EMPTY: &str = "the file is empty";
const ONE_A_LINE: &str = "name the file .ndjson if it holds one resource a line";

/// Tells of what is no JSON in UTF-8 from its first bytes on, such as other formats that are called .json by mistake.
pub(super) fn refuse_foreign(head: &[u8], sink: &mut ItemEmitter<'_>) -> Result<bool, Stop> {
    match foreign::named(head) {
        Some((what, hint)) => sink
            .refuse(Start::OF_FILE, 0, None, what, Some(hint))
            .map(|()| true),
        None => Ok(false),
    }
}

fn refine(error: &mut SyntaxError, value: &[u8]) -> Option<&'static str> {
    foreign::conflict(error, value).or_else(|| hint(error.what))
}

fn hint(what: &str) -> Option<&'static str> {
    match what {
        EXPECTED_END => Some(ONE_A_LINE),
        NOT_AN_OBJECT => Some(
            "a file holds one resource or one Bundle; of an array, name the elements' file .ndjson, one a line",
        ),
        _ => None,
    }
}

/// Reads a file of one resource or Bundle.
pub(super) fn read(
    mut text: Text<'_>,
    ceiling: Ceiling,
    sink: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    let mut head = Vec::new();
    if text.size.is_none_or(|size| size <= SMALL) {
        let expected = text.size.unwrap_or(0);
        head.reserve_exact(usize::try_from(expected).unwrap_or(0) + 1);
        (&mut text.first).take(SMALL + 1).read_to_end(&mut head)?;
        if head.len() as u64 <= SMALL {
            return in_memory(&head, sink);
        }
    }
    let again = text.again;
    large(
        &mut StreamReader::new(head.chain(text.first), PIECE),
        &|| Ok(Box::new(StreamReader::new(again()?, PIECE))),
        ceiling,
        sink,
    )
}

/// Reads a file that is in memory.
pub(super) fn in_memory(bytes: &[u8], sink: &mut ItemEmitter<'_>) -> Result<(), Stop> {
    if refuse_foreign(bytes, sink)? {
        return Ok(());
    }
    let mark = skip_mark(bytes);
    let (before, value) = trim(bytes.get(mark..).unwrap_or_default());
    if value.is_empty() {
        return sink.refuse(Start::OF_FILE, bytes.len() as u64, None, EMPTY, None);
    }
    let blank = bytes.get(mark..mark + before).unwrap_or_default();
    let lines = memchr::memchr_iter(b'\n', blank).count();
    let column = match memchr::memrchr(b'\n', blank) {
        Some(last) => before - last,
        None => before + 1,
    };
    let start = Start {
        offset: (mark + before) as u64,
        line: 1 + lines as u64,
        column: column as u64,
    };
    value::read(value, start, refine, sink)
}

/// Reads a file in pieces: `first` is its first reading, `again` begins another.
pub(super) fn large<'t>(
    first: &mut dyn ChunkReader,
    again: &dyn Fn() -> Result<Box<dyn ChunkReader + 't>, ErrorKind>,
    ceiling: Ceiling,
    sink: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    sink.ceiling = ceiling;
    let piece = first.piece(0)?;
    if refuse_foreign(piece.bytes, sink)? {
        return Ok(());
    }
    let skip = skip_mark(piece.bytes) as u64;
    let mut outline = Outline::new(BundleEntries::Counted);
    let mut done = skip;
    let mut fault = loop {
        let piece = first.piece(done)?;
        if outline.start().is_none() && piece.last && trim(piece.bytes).1.is_empty() {
            return sink.refuse(Start::OF_FILE, done, None, EMPTY, None);
        }
        // One token alone is larger than a resource may be; of a Bundle, the entry that it stands in is refused later.
        let limit = if outline.is_bundle() || outline.count() > 0 {
            Ceiling::Any
        } else {
            ceiling
        };
        if limit.is_below(piece.bytes.len() as u64) {
            break Some((done, limit.words()));
        }
        match outline.read(piece.bytes, done, piece.last) {
            Ok(consumed) => done = consumed,
            Err(fault) => break Some(fault),
        }
        if piece.last {
            break None;
        }
    };
    let start = outline.start().unwrap_or(skip);
    let end = outline.end().unwrap_or(done);
    if fault.is_none() {
        fault = if !outline.is_object() {
            Some((start, NOT_AN_OBJECT))
        } else if let Some(offset) = outline.misshapen() {
            Some((offset, bundle::NO_ARRAY))
        } else if outline.is_bundle() {
            // An entry that is too large is refused by itself.
            None
        } else {
            (ceiling.is_below(end - start)).then_some((start, ceiling.words()))
        };
    }
    let place = locate(
        &mut *again()?,
        skip,
        fault.map_or(start, |(offset, _)| offset),
    )?;
    if let Some((offset, what)) = fault {
        let malformed = Malformed {
            position: sink.position(Start::OF_FILE, end.max(offset), None),
            problem: SyntaxError {
                offset: usize::try_from(offset).unwrap_or(usize::MAX),
                what,
                path: place.path,
            },
            line: place.line,
            column: place.column,
            hint: hint(what),
        };
        return sink.tell_malformed(malformed);
    }
    let at = Start {
        offset: start,
        line: place.line,
        column: place.column,
    };
    let mut feed = again()?;
    if outline.is_bundle() {
        return bundle::read(&mut *feed, start, at, end - start, &outline, sink);
    }
    let length = usize::try_from(end - start).unwrap_or(usize::MAX);
    loop {
        let piece = feed.piece(start)?;
        // A short first piece may begin before the value.
        let within = usize::try_from(start - piece.base).unwrap_or(usize::MAX);
        match piece.bytes.get(within..within.saturating_add(length)) {
            Some(value) => return value::read(value, at, refine, sink),
            None if piece.last => return Err(ErrorKind::Changed.into()),
            None => {}
        }
    }
}

/// Tells whether a stream is JSON or NDJSON: NDJSON if its first line is a complete object, and another begins on a
/// later line.
pub(super) fn sniff(path: &Path) -> Result<Form, ErrorKind> {
    let mut feed = StreamReader::new(fs_err::File::open(path)?, PIECE);
    let first = feed.piece(0)?;
    let mut done = skip_mark(first.bytes) as u64;
    if first.last && trim(first.bytes).1.is_empty() {
        // Nothing at all is no record that is wrong.
        return Ok(Form::Ndjson);
    }
    let mut outline = Outline::new(BundleEntries::Counted);
    let fault = loop {
        let piece = feed.piece(done)?;
        if is_too_large(piece.bytes.len() as u64) {
            return Ok(Form::Json);
        }
        match outline.read(piece.bytes, done, piece.last) {
            Ok(_) if piece.last => return Ok(Form::Json),
            Ok(consumed) => done = consumed,
            Err(fault) => break fault,
        }
    };
    let ((next, EXPECTED_END), Some(start), Some(end), true) =
        (fault, outline.start(), outline.end(), outline.is_object())
    else {
        return Ok(Form::Json);
    };
    let mut file = feed.into_inner();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(start))?;
    let mut lines = |length: u64| -> Result<bool, ErrorKind> {
        let mut bytes = Vec::new();
        (&mut file).take(length).read_to_end(&mut bytes)?;
        Ok(memchr::memchr(b'\n', &bytes).is_some())
    };
    let first_has_lines = lines(end - start)?;
    let gap_has_lines = lines(next - end)?;
    let mut opening = [0];
    file.read_exact(&mut opening)?;
    if !first_has_lines && gap_has_lines && opening == *b"{" {
        Ok(Form::Ndjson)
    } else {
        Ok(Form::Json)
    }
}
