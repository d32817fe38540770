//! Files, streams and their formats, as a stream of records with positions.
//!
//! The places of files are known by `storage`. `decompress` opens them (capped), `spool` keeps what cannot be read
//! twice, `json`, `ndjson` and `bundle` cut them into records, over pieces that `feed` cuts, and `bodies` reads a
//! record again. The operation for a record is decided by `plan`.

use std::{
    borrow::Cow,
    fmt, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::Diagnostic,
    fhir::{Scanned, SyntaxError, bundle::EntryEnvelope},
    manifest::{FilePattern, Format},
    record::{Facets, Position, ReasonCode, SourceId, Span},
    storage,
};

mod bodies;
mod bundle;
mod chunks;
mod damage;
mod decompress;
mod dicom;
mod emitter;
mod foreign;
mod hl7v2;
mod json;
mod ndjson;
mod read;
mod spool;
mod text;
mod value;

pub use crate::storage::{Origin, Stamp};
pub use bodies::Bodies;
pub use read::{beginning, glance, read, read_as};
pub use spool::{Spool, spooled};

pub use crate::fhir::bundle::BundleKind;

/// The largest record that is read: five times what the Healthcare API takes in one request (50 MB).
pub const LARGEST_RECORD: usize = 256 << 20;

/// From how many bytes on a record is refused unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// From [`LARGEST_RECORD`] on: nothing is known of the target.
    Any,
    /// The size from which a record is too large, unless it may be a Bundle, whose entries go one by one: the target takes less.
    Limited(usize),
}

impl Ceiling {
    /// Chooses by the largest resource that the target takes.
    pub fn of(resource_bytes: Option<u64>) -> Self {
        /// The ceiling that is little memory anyway: records up to it are read, so that the plan can say more of them
        /// than that they are too large.
        const LITTLE: usize = 16 << 20;
        let bytes = resource_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        match bytes.map(|bytes| bytes.saturating_mul(2).max(LITTLE)) {
            Some(bytes) if bytes < LARGEST_RECORD => Self::Limited(bytes),
            _ => Self::Any,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Any => LARGEST_RECORD,
            Self::Limited(bytes) => bytes,
        }
    }

    /// Tells whether it is lower than `bytes`.
    fn is_below(self, bytes: u64) -> bool {
        bytes > self.bytes() as u64
    }

    /// Tells whether a text is too large by what has been read of it.
    fn refuses(self, begun: &[u8]) -> bool {
        // Serializers write `resourceType` first, or sort the names of the members.
        const HEAD: usize = 4 << 10;
        if begun.len() <= self.bytes() {
            return false;
        }
        let head = begun.get(..HEAD).unwrap_or(begun);
        let may_be_bundle = [&b"\"Bundle\""[..], b"\"entry\""]
            .iter()
            .any(|word| memchr::memmem::find(head, word).is_some());
        begun.len() > LARGEST_RECORD || !may_be_bundle
    }

    fn words(self) -> &'static str {
        match self {
            Self::Any => "larger than 256 MiB, more than any store takes",
            Self::Limited(_) => "far larger than the target takes, and not read",
        }
    }
}

/// One file (or standard input) with records in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its number; [`find`] counts from 0, and a joint listing is numbered anew.
    pub id: SourceId,
    /// The place of its bytes.
    pub origin: Origin,
    /// The form that its name promises.
    pub form: Form,
}

/// The layout of records in a source. Compression is not part of it: that is told by the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// One resource or one Bundle.
    Json,
    /// One resource or Bundle a line.
    Ndjson,
    /// JSON or NDJSON, to be told by the content: standard input.
    Either,
    /// HL7v2 messages, whatever the name of the file.
    Hl7v2,
    /// A DICOM file, whatever its name.
    Dicom,
    /// None that is known: not read, and listed by the plan as unsupported.
    Unrecognized,
}

impl Form {
    /// Tells the form of a file in a load of a format: where its records may stand in several forms, by its name.
    #[must_use]
    pub fn within(self, format: Format) -> Self {
        match format {
            Format::Fhir => self,
            Format::Hl7v2 => Self::Hl7v2,
            Format::Dicom => Self::Dicom,
        }
    }

    /// Tells the form that a file's name promises; `.gz` and `.zst` after it do not matter.
    pub fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_ascii_lowercase();
        let name = name
            .strip_suffix(".gz")
            .or_else(|| name.strip_suffix(".zst"))
            .unwrap_or(&name);
        match name.rsplit_once('.') {
            Some((_, "json")) => Self::Json,
            Some((_, "ndjson" | "jsonl")) => Self::Ndjson,
            _ => Self::Unrecognized,
        }
    }
}

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

/// The marks by which a later run knows that a source is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Fingerprint {
    /// The storage's stamp of the source; of one that can be read once, the size alone.
    pub stamp: Stamp,
    /// SHA-256 of the stored bytes, in hexadecimal digits.
    pub sha256: String,
}

/// A fingerprint as it stands in a plan. (Flattened by serde, numbers of 128 bits would be lost.)
#[derive(Serialize, Deserialize)]
struct Written {
    size: u64,
    modified: i128,
    inode: u64,
    sha256: String,
}

impl From<Written> for Fingerprint {
    fn from(written: Written) -> Self {
        let Written {
            size,
            modified,
            inode,
            sha256,
        } = written;
        Self {
            stamp: Stamp {
                size,
                modified,
                inode,
            },
            sha256,
        }
    }
}

impl From<Fingerprint> for Written {
    fn from(Fingerprint { stamp, sha256 }: Fingerprint) -> Self {
        Self {
            size: stamp.size,
            modified: stamp.modified,
            inode: stamp.inode,
            sha256,
        }
    }
}

/// The sources that the patterns of a load came to.
#[derive(Debug, Clone, Default)]
pub struct SourceListing {
    /// The sources, each once, in the order of the patterns and by path within one; numbered from 0.
    pub files: Vec<SourceFile>,
    /// Patterns (none of those with `!`) that match nothing at all.
    pub unmatched: Vec<FilePattern>,
    /// The problems of patterns and of the files that they name.
    pub problems: Vec<Diagnostic>,
}

/// Finds the sources of a load.
pub fn find(patterns: &[FilePattern]) -> SourceListing {
    let found = storage::find(patterns);
    let files = (0..)
        .zip(found.found)
        .map(|(number, (_, origin))| SourceFile {
            id: SourceId(number),
            form: match &origin {
                Origin::File(path) => Form::of(path),
                Origin::Stdin => Form::Either,
            },
            origin,
        });
    SourceListing {
        files: files.collect(),
        unmatched: found.unmatched,
        problems: found.problems,
    }
}

/// The result of reading a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Of the whole source; none if the visitor stopped before its end, or it cannot be read.
    pub fingerprint: Option<Fingerprint>,
    /// The number of records found.
    pub records: u64,
    /// The number of malformed items.
    pub malformed: u64,
    /// Decompressed size in bytes, as far as it was read.
    pub bytes: u64,
    /// The file of its plain bytes, for [`Bodies`]: the file itself or its spool; none if it was not spooled.
    pub plain: Option<PathBuf>,
    /// A note for the user: that the name of the file says something else than its content.
    pub note: Option<&'static str>,
}

/// The reason why a source could not be read to its end, where it is not the fault of the file. (A file that is
/// damaged, or may not be read, is told as [`Item::Malformed`], and the others go on.) Records that were found before
/// stay found.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {origin}{after}: {kind}", after = After(*.records))]
pub struct Error {
    /// The source.
    pub origin: Origin,
    /// The number of records found by then.
    pub records: u64,
    /// The failure.
    pub kind: ErrorKind,
}

struct After(u64);

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" after its first record"),
            records => write!(f, " after its first {records} records"),
        }
    }
}

/// The failures that may occur while a source is read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused.
    #[error(transparent)]
    Io(io::Error),
    /// The compressed data ends too early.
    #[error("the {0} data is cut")]
    Cut(&'static str),
    /// The compressed data is not what was compressed.
    #[error("the {0} data is spoilt")]
    Corrupt(&'static str),
    /// The compressed data grows beyond all measure.
    #[error("the data grows more than {ratio}-fold beyond {beyond} bytes when decompressed")]
    Bomb {
        /// Bytes that may come of one stored byte.
        ratio: u64,
        /// From how many decompressed bytes on the ratio counts.
        beyond: u64,
    },
    /// The spool is full.
    #[error(
        "the spool may hold {cap} bytes and is full; raise its limit, or decompress the file first"
    )]
    SpoolFull {
        /// The capacity of the spool in bytes.
        cap: u64,
    },
    /// The spool cannot be written.
    #[error("its plain bytes cannot be kept: {0}")]
    Spool(io::Error),
    /// Standard input can be read once only, and its bytes are needed again.
    #[error("standard input needs a spool to be kept in")]
    NeedsSpool,
    /// Somebody writes to it.
    #[error("the file has changed while it was read; load it when it is complete")]
    Changed,
    /// Its form is not known.
    #[error("neither .json, .ndjson nor .jsonl (each may end in .gz or .zst)")]
    Unrecognized,
}

impl From<io::Error> for ErrorKind {
    /// Finds the reason that a decompressor or a cap has wrapped into an error of I/O.
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(kind) => kind,
            Err(error) => Self::Io(error),
        }
    }
}

impl ErrorKind {
    fn wrap(self) -> io::Error {
        io::Error::other(self)
    }
}

/// The visitor that is told of each item; `Break` stops the reading.
type Visit<'v> = dyn FnMut(Item<'_>) -> ControlFlow<()> + 'v;
