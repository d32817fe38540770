//! One process per directory: the lock, and the note that says where its holder answers.

use super::error::Error;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde_json::{Value, json};
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// How long the holder of a directory may take to accept a connection, or to write its note: it is on this machine.
const PATIENCE: Duration = Duration::from_secs(3);

/// The directory, held by this process until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    dir: PathBuf,
    _file: File,
}

/// Makes the directory if need be and tries to take it.
pub(super) fn take(dir: &Path) -> Result<Option<Lock>, Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    let file = private(&dir.join("lock"), false)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock {
            dir: dir.to_owned(),
            _file: file,
        })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Opens a file that only its owner may read, creating it if need be.
pub(super) fn private(path: &Path, truncate: bool) -> Result<File, Error> {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(truncate)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(file.into_parts().0)
}

impl Lock {
    /// Notes where this process answers. Written aside and renamed, so a reader sees all or nothing.
    pub(super) fn announce(&self, url: &Url, token: Option<&str>) -> Result<(), Error> {
        let note = json!({"pid": std::process::id(), "url": url.as_str(), "token": token});
        let aside = self.dir.join("server.json.new");
        let mut file = private(&aside, true)?;
        file.write_all(note.to_string().as_bytes())?;
        fs::rename(&aside, self.dir.join("server.json"))?;
        Ok(())
    }

    /// Takes the note back.
    pub(super) fn withdraw(&self) {
        let _ = fs::remove_file(self.dir.join("server.json"));
    }
}

/// Where the process that holds `dir` answers.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) url: Url,
    pub(super) token: Option<String>,
    pub(super) pid: u32,
}

/// Finds the holder of `dir`, or says why it cannot be used. It may just be starting, so it is asked for a while.
pub(super) async fn holder(dir: &Path) -> Result<Holder, Error> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let note = note(dir);
        if let Some(holder) = &note
            && let Some(address) = address(&holder.url)
            && let Ok(Ok(_)) =
                tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(address)).await
            && let Some(holder) = note
        {
            return Ok(holder);
        }
        if tokio::time::Instant::now() >= until {
            let pid = self::note(dir).map_or_else(|| "unknown".to_owned(), |h| h.pid.to_string());
            return Err(Error::Held {
                dir: dir.to_owned(),
                pid,
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn address(url: &Url) -> Option<std::net::SocketAddr> {
    url.socket_addrs(|| None)
        .ok()?
        .into_iter()
        .find(|a| a.ip().is_loopback())
}

fn note(dir: &Path) -> Option<Holder> {
    let note: Value = serde_json::from_slice(&fs::read(dir.join("server.json")).ok()?).ok()?;
    Some(Holder {
        url: Url::parse(note["url"].as_str()?).ok()?,
        token: note["token"].as_str().map(str::to_owned),
        pid: u32::try_from(note["pid"].as_u64()?).ok()?,
    })
}
