//! Files of records that travel together, put together from the bytes of entries.

use std::path::Path;

use super::super::{Error, atomic_file::AtomicFile};
use crate::{plan::Packaging, target::around};

/// Such a file, being written.
#[derive(Debug)]
pub(super) struct Parcel {
    file: AtomicFile,
    pub(super) entries: u32,
    pub(super) bytes: u64,
    pub(super) whole: bool,
    end: &'static str,
}

impl Parcel {
    pub(super) fn create(path: &Path, kind: Packaging) -> Result<Self, Error> {
        let mut file = AtomicFile::create(path)?;
        let (begin, end) = around(kind);
        file.write(begin.as_bytes())?;
        Ok(Self {
            file,
            entries: 0,
            bytes: 0,
            whole: true,
            end,
        })
    }

    pub(super) fn push(&mut self, entry: &[u8]) -> Result<(), Error> {
        self.file
            .write(if self.entries == 0 { b"\n" } else { b",\n" })?;
        self.file.write(entry)?;
        self.entries += 1;
        self.bytes += entry.len() as u64;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.file.write(b"\n")?;
        self.file.write(self.end.as_bytes())?;
        self.file.write(b"\n")?;
        keep_or_finish(self.file, self.whole)
    }
}

/// Puts a file in its place, unless it lacks records that an earlier report may have read.
pub(super) fn keep_or_finish(file: AtomicFile, whole: bool) -> Result<(), Error> {
    if !whole && file.path().exists() {
        return Ok(());
    }
    file.finish()
}
