//! Bundles cut into their entries, holding one entry at a time. An entry that is larger than the ceiling is passed over, and
//! told as too large.

use super::{
    BundleStart, EntryAround, ErrorKind, Item,
    chunks::ChunkReader,
    emitter::{ItemEmitter, Start, Stop},
};
use crate::{
    fhir::{
        SyntaxError,
        bundle::{BundleEntries, Outline, envelope},
        path,
    },
    record::Span,
};

/// The Bundle's `entry` is no array.
pub(super) const NO_ARRAY: &str = "`entry` is not an array";

/// Tells whether a text in memory is a Bundle that can be read; none if it is well-formed and something else.
pub(super) fn outline(text: &[u8]) -> Result<Option<Outline>, SyntaxError> {
    let mut outline = Outline::new(BundleEntries::Counted);
    let error = |(offset, what): (u64, &'static str)| {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        SyntaxError {
            offset,
            what,
            path: path::of(text, offset),
        }
    };
    outline.read(text, 0, true).map_err(error)?;
    if let Some(offset) = outline.misshapen() {
        return Err(error((offset, NO_ARRAY)));
    }
    Ok(outline.is_bundle().then_some(outline))
}

/// Yields a Bundle that has been outlined. Offsets of the feed count from `start.offset - from`.
pub(super) fn read(
    feed: &mut dyn ChunkReader,
    from: u64,
    start: Start,
    length: u64,
    known: &Outline,
    sink: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    let ordinal = sink.bundles;
    sink.bundles += 1;
    sink.tell(Item::BundleStart(BundleStart {
        ordinal,
        kind: known.kind(),
        entries: known.count(),
        line: start.line,
        span: Span {
            start: start.offset,
            length,
        },
    }))?;
    let mut outline = Outline::new(BundleEntries::Kept);
    let mut cursor = Cursor {
        at: from,
        line: start.line,
        column: start.column,
    };
    let (mut done, mut keep, mut number) = (from, from, 0);
    // The beginning of an entry that is not held, because it is too large.
    let mut passed: Option<Start> = None;
    let ceiling = sink.ceiling;
    let mut entries = Vec::new();
    loop {
        let piece = feed.piece(keep)?;
        let within = |offset: u64| usize::try_from(offset - piece.base).unwrap_or(usize::MAX);
        let fresh = piece.bytes.get(within(done)..).unwrap_or_default();
        // The text was well-formed when it was outlined.
        done = outline
            .read(fresh, done, piece.last)
            .map_err(|_| ErrorKind::Changed)?;
        entries.extend(outline.entries());
        let place = |cursor: &Cursor| Start {
            offset: start.offset - from + cursor.at,
            line: cursor.line,
            column: cursor.column,
        };
        for (begin, end) in entries.drain(..) {
            let at = passed.take().unwrap_or_else(|| {
                cursor.advance(piece.bytes, piece.base, begin);
                place(&cursor)
            });
            if ceiling.is_below(end - begin) {
                let words = sink.ceiling.words();
                sink.refuse(at, end - begin, Some(number), words, None)?;
            } else {
                let bytes = piece.bytes.get(within(begin)..within(end));
                entry(bytes.unwrap_or_default(), at, number, sink)?;
            }
            number += 1;
        }
        keep = done;
        if let Some(begin) = outline.begun()
            && passed.is_none()
        {
            cursor.advance(piece.bytes, piece.base, begin);
            if ceiling.is_below(done - begin) {
                passed = Some(place(&cursor));
            } else {
                keep = begin;
            }
        }
        cursor.advance(piece.bytes, piece.base, keep);
        if piece.last {
            break;
        }
    }
    if number != known.count() {
        return Err(ErrorKind::Changed.into());
    }
    sink.tell(Item::BundleEnd)
}

fn entry(bytes: &[u8], start: Start, number: u32, sink: &mut ItemEmitter<'_>) -> Result<(), Stop> {
    let no_hint = |_: &mut SyntaxError, _: &[u8]| None;
    let envelope = match envelope(bytes) {
        Ok(envelope) => envelope,
        Err(error) => return sink.malformed(bytes, start, Some(number), error, no_hint),
    };
    let resource = envelope.resource.map(|part| part.of(bytes));
    if let (Some(resource), Some(part)) = (resource, envelope.resource) {
        if let Err(mut error) = sink.scanner.scan(resource) {
            error.offset += part.start;
            return sink.malformed(bytes, start, Some(number), error, no_hint);
        }
    } else {
        sink.scanner.nothing();
    }
    let position = sink.position(start, bytes.len() as u64, Some(number));
    let entry = EntryAround {
        bytes,
        envelope,
        resource: envelope.resource.map(|part| Span {
            start: start.offset + part.start as u64,
            length: part.len() as u64,
        }),
    };
    sink.entry(position, resource.unwrap_or_default(), &entry)
}

/// Counts lines and columns as it goes.
struct Cursor {
    at: u64,
    line: u64,
    column: u64,
}

impl Cursor {
    fn advance(&mut self, bytes: &[u8], base: u64, to: u64) {
        let within = |offset: u64| usize::try_from(offset - base).unwrap_or(usize::MAX);
        let passed = bytes.get(within(self.at)..within(to)).unwrap_or_default();
        let characters = |bytes: &[u8]| {
            bytes
                .iter()
                .filter(|byte| !(0x80..0xC0).contains(*byte))
                .count() as u64
        };
        match memchr::memrchr(b'\n', passed) {
            Some(last) => {
                self.line += memchr::memchr_iter(b'\n', passed).count() as u64;
                self.column = 1 + characters(passed.get(last + 1..).unwrap_or_default());
            }
            None => self.column += characters(passed),
        }
        self.at = to;
    }
}
