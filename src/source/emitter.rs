//! The emitter of all readers: what they find is numbered, counted and told to the visitor.

use std::{ops::ControlFlow, path::PathBuf};

use super::{
    Ceiling, EntryAround, ErrorKind, Fingerprint, Found, Item, Malformed, Reading, Visit,
    chunks::{SliceReader, locate},
};
use crate::{
    fhir::{Scanner, SyntaxError},
    record::{Position, SourceId, Span},
};

/// The reason why reading stopped early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The visitor wants no more.
    Visitor,
    /// It cannot go on.
    Failed(ErrorKind),
}

impl<K: Into<ErrorKind>> From<K> for Stop {
    fn from(kind: K) -> Self {
        Self::Failed(kind.into())
    }
}

/// Numbers what is found and tells it to the visitor.
pub(super) struct ItemEmitter<'v> {
    source: SourceId,
    /// From how many bytes on an entry of a Bundle is refused unread.
    pub(super) ceiling: Ceiling,
    visit: &'v mut Visit<'v>,
    pub(super) scanner: Scanner,
    index: u64,
    pub(super) bundles: u64,
    pub(super) records: u64,
    malformed: u64,
}

/// The place at which a value begins in its source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) offset: u64,
    pub(super) line: u64,
    /// In characters, from 1.
    pub(super) column: u64,
}

impl Start {
    /// The beginning of a file.
    pub(super) const OF_FILE: Self = Self {
        offset: 0,
        line: 1,
        column: 1,
    };
}

impl<'v> ItemEmitter<'v> {
    pub(super) fn new<'a: 'v>(source: SourceId, visit: &'v mut Visit<'a>) -> Self {
        // Two lifetimes, because a mutable reference to a trait object fixes the object's own.
        Self {
            source,
            ceiling: Ceiling::Any,
            visit: shorten(visit),
            scanner: Scanner::new(),
            index: 0,
            bundles: 0,
            records: 0,
            malformed: 0,
        }
    }

    pub(super) fn tell(&mut self, item: Item<'_>) -> Result<(), Stop> {
        match (self.visit)(item) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Visitor),
        }
    }

    /// Gives the next position.
    pub(super) fn position(&mut self, start: Start, length: u64, entry: Option<u32>) -> Position {
        let index = self.index;
        self.index += 1;
        Position {
            source: self.source,
            index,
            line: start.line,
            entry,
            span: Span {
                start: start.offset,
                length,
            },
        }
    }

    /// Tells of the record that was scanned last.
    pub(super) fn record(&mut self, text: &[u8], start: Start) -> Result<(), Stop> {
        let position = self.position(start, text.len() as u64, None);
        self.records += 1;
        let found = Found {
            position,
            bytes: text,
            scanned: self.scanner.found(),
            entry: None,
        };
        match (self.visit)(Item::Record(found)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Visitor),
        }
    }

    /// Tells of an entry's record; `bytes` are of its resource, which was scanned last.
    pub(super) fn entry(
        &mut self,
        position: Position,
        bytes: &[u8],
        entry: &EntryAround<'_>,
    ) -> Result<(), Stop> {
        self.records += 1;
        let found = Found {
            position,
            bytes,
            scanned: self.scanner.found(),
            entry: Some(entry),
        };
        match (self.visit)(Item::Record(found)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Visitor),
        }
    }

    /// Tells of a text that is wrong at the error's offset.
    pub(super) fn malformed(
        &mut self,
        text: &[u8],
        start: Start,
        entry: Option<u32>,
        mut problem: SyntaxError,
        refine: impl Fn(&mut SyntaxError, &[u8]) -> Option<&'static str>,
    ) -> Result<(), Stop> {
        let place = locate(
            &mut SliceReader::new(text, text.len()),
            0,
            problem.offset as u64,
        )?;
        let column = if place.line == 1 {
            start.column + place.column - 1
        } else {
            place.column
        };
        let malformed = Malformed {
            position: self.position(start, text.len() as u64, entry),
            line: start.line + place.line - 1,
            column,
            hint: refine(&mut problem, text),
            problem,
        };
        self.tell_malformed(malformed)
    }

    /// Tells of a value of which nothing is taken, at its beginning.
    pub(super) fn refuse(
        &mut self,
        start: Start,
        length: u64,
        entry: Option<u32>,
        what: &'static str,
        hint: Option<&'static str>,
    ) -> Result<(), Stop> {
        // The path of an entry is that of its Bundle, which is named by the position.
        let path = entry.map_or("Resource", |_| "");
        let malformed = Malformed {
            position: self.position(start, length, entry),
            problem: SyntaxError {
                offset: 0,
                what,
                path: path.to_owned(),
            },
            line: start.line,
            column: start.column,
            hint,
        };
        self.tell_malformed(malformed)
    }

    pub(super) fn tell_malformed(&mut self, malformed: Malformed) -> Result<(), Stop> {
        self.malformed += 1;
        self.tell(Item::Malformed(malformed))
    }

    pub(super) fn reading(
        &self,
        fingerprint: Option<Fingerprint>,
        bytes: u64,
        plain: Option<PathBuf>,
        note: Option<&'static str>,
    ) -> Reading {
        Reading {
            fingerprint,
            records: self.records,
            malformed: self.malformed,
            bytes,
            plain,
            note,
        }
    }
}

fn shorten<'v, 'a: 'v>(visit: &'v mut Visit<'a>) -> &'v mut Visit<'v> {
    visit
}
