//! The reasons for which a source could not be read to its end.

use std::{fmt, io};

use super::Origin;

/// The reason why a source could not be read to its end, where it is not the fault of the file. (A file that is
/// damaged, or may not be read, is told as [`Item::Malformed`](super::Item::Malformed), and the others go on.) Records that
/// were found before stay found.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {origin}{after}: {kind}", after = After(*.records))]
pub struct Error {
    /// The source.
    pub origin: Origin,
    /// The number of records found by then.
    pub records: u64,
    /// The failure.
    #[source]
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
    /// The file is named as compressed, and has no byte.
    #[error("the file is empty")]
    Empty,
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
    Spool(#[source] io::Error),
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
    pub(super) fn wrap(self) -> io::Error {
        io::Error::other(self)
    }
}
