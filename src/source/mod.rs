//! Files, streams and their formats, as a stream of records with positions.
//!
//! The places of files are known by `storage`. `decompress` opens them (capped), `spool` keeps what cannot be read
//! twice, `json`, `ndjson` and `bundle` cut them into records, over pieces that `chunks` cuts (`dicom` and `hl7v2`
//! do so for their formats), and `bodies` reads a
//! record again. The operation for a record is decided by `plan`.

use std::{ops::ControlFlow, path::PathBuf};

use crate::{diagnostic::Diagnostic, manifest::FilePattern, record::SourceId, storage};

mod bodies;
mod bundle;
mod ceiling;
mod chunks;
mod damage;
mod decompress;
mod dicom;
mod emitter;
mod error;
mod fingerprint;
mod foreign;
mod form;
mod hl7v2;
mod item;
mod json;
mod ndjson;
mod read;
mod spool;
mod text;
mod value;

pub use crate::storage::{Origin, Stamp};
pub use bodies::Bodies;
pub use ceiling::{Ceiling, LARGEST_RECORD};
pub use error::{Error, ErrorKind};
pub use fingerprint::Fingerprint;
pub use form::Form;
pub use item::{BundleStart, EntryAround, Found, Item, Malformed, Remark};
pub use read::{beginning, glance, read, read_as};
pub use spool::{Spool, spooled};

pub use crate::fhir::bundle::BundleKind;

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

/// The visitor that is told of each item; `Break` stops the reading.
type Visit<'v> = dyn FnMut(Item<'_>) -> ControlFlow<()> + 'v;
