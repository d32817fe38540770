//! Damage to a file as a whole, and whose fault it is: a file that is damaged or may not be read is a problem of that
//! file alone, and told as one of its records; a full disk or a process that may open no more files is not.

use std::io;

use super::{
    ErrorKind, Malformed,
    emitter::{ItemEmitter, Start, Stop},
};
use crate::fhir::SyntaxError;

/// The damage to a file, in words that hold nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damage {
    what: &'static str,
    hint: &'static str,
    /// True if the records before the damage can be relied on.
    pub(super) keeps: bool,
}

const FETCH: &str = "fetch the file again; what was loaded of it is not sent twice";
const FETCH_WHOLE: &str = "fetch the file again; nothing of it is loaded, as any part may be wrong";

/// The process, or the whole machine, may open no more files (`EMFILE`, `ENFILE`).
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

impl ErrorKind {
    /// Tells what is wrong with the file, if it is the file's own fault.
    pub(super) fn damage(&self) -> Option<Damage> {
        let (what, hint, keeps) = match self {
            Self::Cut("zstd") => ("the zstd data is cut here", FETCH, true),
            Self::Cut(_) => ("the gzip data is cut here", FETCH, true),
            Self::Empty => (
                "the file is empty, and is to be compressed data",
                "fetch the file again, or leave it out",
                true,
            ),
            Self::Corrupt("zstd") => ("the zstd data is spoilt", FETCH_WHOLE, false),
            Self::Corrupt(_) => ("the gzip data is spoilt", FETCH_WHOLE, false),
            Self::Bomb { .. } => (
                "the data grows more than 500-fold, beyond a gigabyte, when decompressed",
                "decompress the file first if it is meant so",
                false,
            ),
            Self::Io(error) if is_out_of_files(error) => return None,
            Self::Io(error) => match error.kind() {
                io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull => return None,
                io::ErrorKind::PermissionDenied => (
                    "the file may not be read",
                    "check the permissions of the file and of its folders",
                    false,
                ),
                io::ErrorKind::NotFound => (
                    "the file is not there any more",
                    "put it back, and load again",
                    false,
                ),
                _ => (
                    "the file cannot be read: its disk, or the system, refuses",
                    "read it with another program, and look into the system's log; then load again",
                    false,
                ),
            },
            Self::SpoolFull { .. }
            | Self::Spool(_)
            | Self::NeedsSpool
            | Self::Changed
            | Self::Unrecognized => return None,
        };
        Some(Damage { what, hint, keeps })
    }
}

impl Damage {
    /// Tells of it, where it was met: on the line of `start`, in a column.
    pub(super) fn tell(
        self,
        start: Start,
        length: u64,
        column: u64,
        sink: &mut ItemEmitter<'_>,
    ) -> Result<(), Stop> {
        let malformed = Malformed {
            position: sink.position(start, length, None),
            problem: SyntaxError {
                offset: usize::try_from(length).unwrap_or(usize::MAX),
                what: self.what,
                path: String::new(),
            },
            line: start.line,
            column,
            hint: Some(self.hint),
        };
        sink.tell_malformed(malformed)
    }

    /// Tells of a file of which nothing is taken.
    pub(super) fn tell_whole(self, sink: &mut ItemEmitter<'_>) -> Result<(), Stop> {
        self.tell(Start::OF_FILE, 0, 1, sink)
    }
}
