//! The plain bytes of compressed sources and of standard input, kept so that records can be read again at random.

use std::{
    io::{self, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use fs_err::os::unix::fs::OpenOptionsExt as _;

use super::{ErrorKind, chunks::PIECE};
use crate::record::SourceId;

/// A directory of plain copies. They hold patients' data: only their owner may read them, and the code that made the
/// spool removes it.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    cap: u64,
    used: AtomicU64,
}

/// Returns where the plain bytes of a source lie in the directory of a spool.
pub fn spooled(folder: &Path, source: SourceId) -> PathBuf {
    folder.join(format!("{}.plain", source.0))
}

impl Spool {
    /// Makes the directory (mode 0700), for at most `cap` bytes in all.
    pub fn new(folder: impl Into<PathBuf>, cap: u64) -> io::Result<Self> {
        let folder = folder.into();
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700).recursive(true);
        builder.create(&folder).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot make {}: {error}", folder.display()),
            )
        })?;
        Ok(Self {
            folder,
            cap,
            used: AtomicU64::new(0),
        })
    }

    /// Returns where the plain bytes of a source lie.
    pub fn path(&self, source: SourceId) -> PathBuf {
        spooled(&self.folder, source)
    }

    /// Returns the directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the plain bytes of a source and returns how many came, and why not all of them if so.
    pub(super) fn fill(
        &self,
        source: SourceId,
        reader: &mut dyn Read,
    ) -> (u64, Result<(), ErrorKind>) {
        let mut written = 0;
        // Under its name only when the filling is over: what a killed process left half done is not taken for it.
        let part = self.path(source).with_extension("part");
        let copied = self.copy(&part, reader, &mut written);
        let named = fs_err::rename(&part, self.path(source)).map_err(ErrorKind::Spool);
        let result = copied.and(named);
        (written, result)
    }

    fn copy(&self, part: &Path, reader: &mut dyn Read, written: &mut u64) -> Result<(), ErrorKind> {
        let mut options = fs_err::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options.mode(0o600);
        let mut file = options.open(part).map_err(ErrorKind::Spool)?;
        let mut buffer = vec![0; PIECE];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => return file.flush().map_err(ErrorKind::Spool),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let used = self.used.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
            if used > self.cap {
                return Err(ErrorKind::SpoolFull { cap: self.cap });
            }
            file.write_all(buffer.get(..read).unwrap_or_default())
                .map_err(ErrorKind::Spool)?;
            *written += read as u64;
        }
    }
}
