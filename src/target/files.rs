//! The layout of records in files that Stoker writes: those that were rejected, to be mended and loaded again.

use crate::{
    fhir::{
        Scanner,
        splice::{renamed, splice},
    },
    manifest::Format,
    record::Packaging,
};

/// The layout of records of a format in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// One a line.
    Lines,
    /// One behind the other, as in their sources.
    Behind,
    /// Each in a file of its own.
    Apart,
}

/// Returns how records of a format stand in files, and how the names of the files end.
pub fn standing(format: Format) -> (Standing, &'static str) {
    match format {
        Format::Fhir => (Standing::Lines, ".ndjson"),
        Format::Hl7v2 => (Standing::Behind, ".hl7"),
        Format::Dicom => (Standing::Apart, ".dcm"),
    }
}

/// Returns the text before the records of a file in which they travel together, and the text behind them. Commas stand
/// between.
pub fn around(packaging: Packaging) -> (String, &'static str) {
    let kind = packaging.as_str();
    let before = format!("{{\"resourceType\":\"Bundle\",\"type\":\"{kind}\",\"entry\":[");
    (before, "]}")
}

/// Returns a record under the id that a store gave it.
///
/// # Errors
///
/// When it cannot be read; in words that hold no content.
pub fn under(body: &[u8], id: &str) -> Result<Vec<u8>, String> {
    let mut scanner = Scanner::new();
    let found = scanner.scan(body).map_err(|error| error.to_string())?;
    let edits: Vec<_> = renamed(found, body, id).into_iter().collect();
    splice(body, &edits).map_err(|error| error.to_string())
}
