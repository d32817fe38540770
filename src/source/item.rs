//! What a reader tells of a source: records, Bundles, remarks, and what cannot be read.

use std::{borrow::Cow, fmt};

use super::{BundleKind, ceiling::Ceiling};
use crate::{
    fhir::{Scanned, SyntaxError, bundle::EntryEnvelope},
    record::{Facets, Position, ReasonCode, Span},
};

/// An item read from a source, in the source's order.
#[derive(Debug)]
pub enum Item<'a> {
    /// A record: a line of NDJSON, the resource of a file, or an entry of a Bundle.
    Record(Found<'a>),
    /// A record of a format whose records refer to no others.
    Facets(Facets<'a>),
    /// Something about the source that is odd, and of which nothing is lost.
    Remark(Remark),
    /// A Bundle begins; its entries follow as records.
    BundleStart(BundleStart),
    /// The Bundle is over.
    BundleEnd,
    /// Something that should have been a record, and cannot be read.
    Malformed(Malformed),
}

/// A record, as long as it is looked at.
#[derive(Debug)]
pub struct Found<'a> {
    /// The record's position.
    pub position: Position,
    /// The bytes of the resource, to which `scanned` refers; empty for an entry without one (a DELETE).
    pub bytes: &'a [u8],
    /// The findings of the scan.
    pub scanned: &'a Scanned,
    /// The entry around it, if it stands in a Bundle.
    pub entry: Option<&'a EntryAround<'a>>,
}

impl Found<'_> {
    /// Returns the resource type, where the record has one.
    pub fn resource_type(&self) -> Option<Cow<'_, str>> {
        self.scanned.resource_type.map(|part| part.text(self.bytes))
    }

    /// Returns the id in the file, where the record has one.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.scanned.id.map(|part| part.text(self.bytes))
    }

    /// Returns where the resource alone stands in the source; empty for an entry without one.
    pub fn body(&self) -> Span {
        match self.entry {
            None => self.position.span,
            Some(entry) => entry.resource.unwrap_or(Span {
                start: self.position.span.start,
                length: 0,
            }),
        }
    }
}

/// The entry of a Bundle around a record.
#[derive(Debug, Clone, Copy)]
pub struct EntryAround<'a> {
    /// The bytes of the whole entry, to which `envelope` refers.
    pub bytes: &'a [u8],
    /// Its fullUrl and request.
    pub envelope: EntryEnvelope,
    /// The span of the resource alone in the source.
    pub resource: Option<Span>,
}

/// Something odd about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The line of the oddity, from 1.
    pub line: u64,
    /// Words for all remarks of this kind.
    pub kind: &'static str,
    /// The oddity, in words without content.
    pub what: String,
}

/// A Bundle that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleStart {
    /// Its number among the Bundles of the source, from 0.
    pub ordinal: u64,
    /// The purpose of the Bundle.
    pub kind: BundleKind,
    /// The number of entries that follow, records and malformed ones together.
    pub entries: u32,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Its bytes in the decompressed source.
    pub span: Span,
}

/// Something that should have been a record, and cannot be read. It has an index of its own, like a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The position of the file, line or entry that cannot be read.
    pub position: Position,
    /// The mistake; its offset counts from the start of the position's span.
    pub problem: SyntaxError,
    /// The line of the offending byte, from 1.
    pub line: u64,
    /// The column of the offending byte in characters, from 1.
    pub column: u64,
    /// The advice, where there is any.
    pub hint: Option<&'static str>,
}

impl Malformed {
    /// Returns the code of the reason for which it is not loaded.
    pub fn code(&self) -> ReasonCode {
        let too_large = [Ceiling::Any.words(), Ceiling::Limited(0).words()];
        if too_large.contains(&self.problem.what) {
            ReasonCode::TooLarge
        } else {
            ReasonCode::Malformed
        }
    }

    /// Returns the element at which it is wrong, unless it is the whole.
    pub fn path(&self) -> Option<&str> {
        Some(self.problem.path.as_str()).filter(|path| !matches!(*path, "" | "Resource"))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem.what)?;
        if let Some(path) = self.path() {
            write!(f, " at {path}")?;
        }
        match self.position.entry {
            Some(entry) => write!(f, " (entry {entry})"),
            None => Ok(()),
        }
    }
}
