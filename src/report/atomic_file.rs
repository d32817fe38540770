//! Files that appear whole or not at all: written beside their place, then renamed into it.

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use super::Error;
use crate::journal::private_file;

/// A file being written. Dropped without [`AtomicFile::finish`], it leaves nothing in the place of the file.
#[derive(Debug)]
pub(super) struct AtomicFile {
    file: BufWriter<fs_err::File>,
    temporary: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl AtomicFile {
    /// Begins a file that only its owner may read.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.new"));
        let file = private_file(&temporary).map_err(|e| Error::write(path, &e))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 16, file),
            temporary,
            path: path.to_owned(),
            finished: false,
        })
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(|e| Error::write(&self.path, &e))
    }

    /// Appends a value as a line of JSON.
    pub(super) fn line(&mut self, value: &impl serde::Serialize) -> Result<(), Error> {
        serde_json::to_writer(&mut self.file, value).map_err(|e| Error::write(&self.path, &e))?;
        self.write(b"\n")
    }

    /// Puts the file in its place.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.file
            .flush()
            .and_then(|()| fs_err::rename(&self.temporary, &self.path))
            .map_err(|e| Error::write(&self.path, &e))?;
        self.finished = true;
        Ok(())
    }

    /// Returns the place of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.finished {
            // A file that cannot be removed is overwritten by the next report.
            let _ = fs_err::remove_file(&self.temporary);
        }
    }
}

/// Writes a whole file.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut staged = AtomicFile::create(path)?;
    staged.write(bytes)?;
    staged.finish()
}
