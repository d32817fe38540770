//! The steps of a plan before their order is known: a file that has no name, read back at any place.

use std::{
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{Step, file};

/// Steps, one after the other.
#[derive(Debug)]
pub(super) struct Draft {
    file: BufWriter<fs_err::File>,
    offset: u64,
    line: Vec<u8>,
}

/// Reads steps back; those near to each other in one go.
#[derive(Debug)]
pub(super) struct Steps {
    file: fs_err::File,
    block: Vec<u8>,
    start: u64,
}

/// How much is read in one go: the order within a level is that of the sources, so what follows is often near.
const BLOCK: usize = 256 << 10;

/// What is read for a single step: most have some 250 bytes.
const PEEK: usize = 1 << 10;

impl Draft {
    /// Makes a draft in a directory. It is gone with the process, whatever ends that.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        let path = directory.join(format!(".draft-{}", uuid::Uuid::new_v4().simple()));
        let file = fs_err::OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        fs_err::remove_file(&path)?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 18, file),
            offset: 0,
            line: Vec::with_capacity(256),
        })
    }

    /// Adds a step; returns where it stands.
    pub(super) fn push(&mut self, step: &Step) -> io::Result<u64> {
        self.line.clear();
        file::write_step(&mut self.line, step)?;
        self.line.push(b'\n');
        self.file.write_all(&self.line)?;
        let at = self.offset;
        self.offset += self.line.len() as u64;
        Ok(at)
    }

    /// Ends the draft.
    pub(super) fn finish(self) -> io::Result<Steps> {
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        Ok(Steps {
            file,
            block: Vec::new(),
            start: 0,
        })
    }
}

impl Steps {
    /// Reads a single step somewhere else, and leaves what was read ahead.
    pub(super) fn peek(&self, offset: u64) -> io::Result<Step> {
        let mut elsewhere = Self {
            file: self.file.try_clone()?,
            block: Vec::new(),
            start: 0,
        };
        elsewhere.at_least(offset, PEEK)
    }

    /// Reads the step at a place.
    pub(super) fn at(&mut self, offset: u64) -> io::Result<Step> {
        if let Some(line) = self.line(offset) {
            return file::read_step(line);
        }
        self.at_least(offset, BLOCK)
    }

    fn at_least(&mut self, offset: u64, mut size: usize) -> io::Result<Step> {
        loop {
            self.fill(offset, size)?;
            match self.line(offset) {
                Some(line) => return file::read_step(line),
                None if self.block.len() < size => return Err(io::ErrorKind::UnexpectedEof.into()),
                // A step longer than a block: its ids or links are many.
                None => size *= 4,
            }
        }
    }

    fn line(&self, offset: u64) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let rest = self.block.get(from..)?;
        let end = memchr::memchr(b'\n', rest)?;
        rest.get(..end)
    }

    fn fill(&mut self, offset: u64, size: usize) -> io::Result<()> {
        self.start = offset;
        self.block.resize(size, 0);
        let mut filled = 0;
        while let Some(room) = self.block.get_mut(filled..)
            && !room.is_empty()
        {
            match self.file.file().read_at(room, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.block.truncate(filled);
        Ok(())
    }
}
