//! The reasons for which a local store could not be opened.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The reason why a local store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is reachable from other machines.
    #[error("{0} is not a loopback address; the local store listens on 127.0.0.1 or [::1] only")]
    NotLoopback(SocketAddr),
    /// Another process has the lock and does not answer.
    #[error(
        "the local store in `{}` is held by {}, which does not answer",
        dir.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The process, if it left a note.
        pid: Option<u32>,
    },
    /// A file or directory could not be used.
    #[error("cannot open the local store in `{}`: {}", dir.display(), words(source))]
    Io {
        /// The directory.
        dir: PathBuf,
        /// The file, and the failure.
        #[source]
        source: std::io::Error,
    },
    /// The database could not be opened.
    #[error("cannot open the local store's database `{}`: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        #[source]
        source: rusqlite::Error,
    },
    /// The address could not be bound.
    #[error("cannot listen on {bind}: {}", source.kind())]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        use std::io::ErrorKind;
        match self {
            Self::NotLoopback(_) => None,
            Self::Held { .. } => Some("end that process, or use another directory"),
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::PermissionDenied => Some(
                    "check who owns the directory and the one above it, or name another with `local:`, `--local` or `--dir`",
                ),
                ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                    Some("a file stands where the directory is to be; name another")
                }
                ErrorKind::NotFound => Some(
                    "the folder above it has to exist, on a disk that can be written; or name another",
                ),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some("make room on that disk"),
                ErrorKind::ReadOnlyFilesystem => {
                    Some("name a directory on a disk that can be written")
                }
                _ => None,
            },
            Self::Database { source, .. } => match source.sqlite_error_code() {
                Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                    Some("it is damaged: remove the directory and load again")
                }
                Some(rusqlite::ErrorCode::TypeMismatch) => {
                    Some("use the stoker that made it, or remove the directory and load again")
                }
                Some(rusqlite::ErrorCode::DiskFull) => Some("make room on that disk"),
                Some(rusqlite::ErrorCode::CannotOpen) => Some(
                    "check who may read and write it, and how many files may be open (ulimit -n)",
                ),
                _ => None,
            },
            Self::Bind { source, .. } => match source.kind() {
                ErrorKind::AddrInUse => {
                    Some("another process listens there; port 0 takes a free one")
                }
                _ => None,
            },
        }
    }
}

/// Returns the system's text of an error, without its number.
fn words(error: &std::io::Error) -> String {
    // fs_err names the path in front of what the system says.
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_owned()
}
