//! One process per directory: an operating-system lock, and a note that says where its holder listens.
//!
//! The lock ends with its process however it dies, so a note beside a free lock is stale and ignored.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

/// The longest wait for the answer of the lock's holder.
const PROBE: Duration = Duration::from_secs(2);

/// The note that the holder of the lock leaves for other processes (`server.json`, readable by its user only).
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) pid: u32,
    pub(super) url: Url,
    pub(super) token: Option<String>,
    /// When the server was started (RFC 3339).
    pub(super) started: String,
    /// Names this start; the server answers it at `/`.
    pub(super) instance: String,
}

impl std::fmt::Debug for Note {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Note")
            .field("pid", &self.pid)
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

/// The lock on a directory; held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: fs::File,
    note: PathBuf,
}

impl Lock {
    /// Takes the lock, or returns `None` when another has it. A stale note is removed.
    pub(super) fn take(dir: &Path) -> std::io::Result<Option<Self>> {
        let file = private()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        let lock = Self {
            _file: file,
            note: note_path(dir),
        };
        lock.remove_note()?;
        Ok(Some(lock))
    }

    /// Tells others where this process listens; whole or not at all.
    pub(super) fn announce(&self, note: &Note) -> std::io::Result<()> {
        let new = self.note.with_extension("json.new");
        let mut file = private()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&new)?;
        file.write_all(serde_json::to_string_pretty(note)?.as_bytes())?;
        fs::rename(&new, &self.note)
    }

    fn remove_note(&self) -> std::io::Result<()> {
        match fs::remove_file(&self.note) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A note that stays is stale, which the next start knows by the free lock.
        let _ = self.remove_note();
    }
}

fn note_path(dir: &Path) -> PathBuf {
    dir.join("server.json")
}

/// Options for a file that only its user may read.
fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

/// The files of a local store; SQLite adds endings of its own.
const OWN: [&str; 4] = ["store.sqlite", "lock", "server.json", "server.json.new"];
const SQLITE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Makes the directory, for its user only, and an empty database in it, so that SQLite does not choose its mode.
///
/// A directory that exists is taken as it is, if it is empty or holds a local store: what somebody else made is neither
/// given another mode, nor mixed with, nor reached through a link.
pub(super) fn prepare(dir: &Path, database: &Path) -> std::io::Result<()> {
    let found = match std::fs::symlink_metadata(plain(dir)) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match found {
        None => make(dir)?,
        Some(found) if found.is_symlink() => {
            return Err(refused(
                "it is a symbolic link; name the directory that it leads to",
            ));
        }
        Some(found) if !found.is_dir() => return Err(refused("it is no directory; name another")),
        Some(found) => check(dir, &found)?,
    }
    private()
        .create(true)
        .truncate(false)
        .write(true)
        .open(database)?;
    Ok(())
}

/// Tells whether the directory holds a local store.
pub(super) fn is_there(dir: &Path) -> bool {
    dir.join("store.sqlite").is_file()
}

/// A path without what makes the system look behind a link at its end (`link/`, `link/.`).
fn plain(dir: &Path) -> PathBuf {
    dir.components().collect()
}

fn make(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(dir)
}

fn check(dir: &Path, found: &std::fs::Metadata) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if found.permissions().mode() & 0o002 != 0 {
            return Err(refused(
                "anyone may write in it; take that right away (chmod o-w), or name another directory",
            ));
        }
    }
    let mut foreign = false;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_own = OWN.contains(&name.as_ref())
            || SQLITE
                .iter()
                .any(|end| name.strip_suffix(end) == Some("store.sqlite"));
        if is_own && !entry.file_type()?.is_file() {
            return Err(refused(&format!("`{name}` in it is no regular file")));
        }
        foreign |= !is_own;
    }
    if foreign && !is_there(dir) {
        return Err(refused(
            "it holds files of somebody else; name an empty or a new directory",
        ));
    }
    Ok(())
}

fn refused(why: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, why)
}

/// Takes the note away before the lock is let go of: who looks for the holder waits for the next.
pub(super) fn leave(dir: &Path) {
    // One that stays is stale, which shows by its server's silence.
    let _ = fs::remove_file(note_path(dir));
}

/// Reads the note, if there is a whole one.
pub(super) fn note(dir: &Path) -> Option<Note> {
    serde_json::from_str(&fs::read_to_string(note_path(dir)).ok()?).ok()
}

/// Tells whether the server of the note answers, and is the one that wrote it.
pub(super) async fn answers(note: &Note) -> bool {
    matches!(tokio::time::timeout(PROBE, ask(note)).await, Ok(Ok(true)))
}

async fn ask(note: &Note) -> std::io::Result<bool> {
    let address: Option<SocketAddr> = note
        .url
        .socket_addrs(|| None)?
        .into_iter()
        .find(|found| found.ip().is_loopback());
    let Some(address) = address else {
        return Ok(false);
    };
    let mut stream = TcpStream::connect(address).await?;
    let token = note
        .token
        .as_ref()
        .map(|token| format!("Authorization: Bearer {token}\r\n"))
        .unwrap_or_default();
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n{token}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // Our own answer is far shorter.
    stream.take(16 * 1024).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.starts_with("HTTP/1.1 200") && answer.contains(&note.instance))
}
