//! The layout of records in a source: by the file's name, and by the format of its load.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::manifest::Format;

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
