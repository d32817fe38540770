//! Files, streams and their formats, as a stream of records with positions.
//!
//! `glob` finds files, `decompress` opens them (capped), `spool` keeps what cannot be read twice, `json`,
//! `ndjson` and `bundle` cut them into records. What is done with a record is decided by `plan`.

use serde::{Deserialize, Serialize};

/// The form of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// One JSON value.
    Json,
    /// Newline-delimited JSON.
    Ndjson,
    /// Not a form that Stoker reads.
    Unrecognized,
}

/// How a source is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// What a source was when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Bytes as stored.
    pub size: u64,
    /// Modification time in nanoseconds since the Unix epoch.
    pub mtime: Option<i64>,
    /// SHA-256 of the bytes as stored, in hexadecimal.
    pub sha256: String,
}
