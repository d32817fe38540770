//! The steps of a plan before their order is known: a file that has no name, read back at any place.

use std::{
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{
    Group, Step,
    file::{self, PlanEntry},
};
use crate::spill::nameless_file;

/// Steps, one after the other.
#[derive(Debug)]
pub(crate) struct StagingWriter {
    file: BufWriter<fs_err::File>,
    offset: u64,
    line: Vec<u8>,
}

/// Reads steps back; those near to each other in one go.
#[derive(Debug)]
pub(crate) struct StagingReader {
    file: fs_err::File,
    block: Vec<u8>,
    start: u64,
}

/// The number of bytes that are read in one go: the order within a level is that of the sources, so the next line is
/// often near.
const BLOCK: usize = 256 << 10;

/// The number of bytes that are read for a single step: most have some 250.
const PEEK: usize = 1 << 10;

impl StagingWriter {
    /// Makes a draft in a directory. It is gone with the process, whatever ends that.
    pub(crate) fn create(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(1 << 18, nameless_file(directory)?),
            offset: 0,
            line: Vec::with_capacity(256),
        })
    }

    /// Adds a step; returns where it stands.
    pub(crate) fn push(&mut self, step: &Step) -> io::Result<u64> {
        self.line.clear();
        file::write_step(&mut self.line, step)?;
        self.line.push(b'\n');
        self.file.write_all(&self.line)?;
        let at = self.offset;
        self.offset += self.line.len() as u64;
        Ok(at)
    }

    /// Announces that the next steps travel together.
    pub(crate) fn push_group(&mut self, group: &Group) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, group).map_err(io::Error::other)?;
        self.line.push(b'\n');
        self.file.write_all(&self.line)?;
        self.offset += self.line.len() as u64;
        Ok(())
    }

    /// Returns where the next step will stand.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Ends the draft.
    pub(crate) fn finish(self) -> io::Result<StagingReader> {
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        Ok(StagingReader {
            file,
            block: Vec::new(),
            start: 0,
        })
    }
}

impl StagingReader {
    /// Reads a single step somewhere else, and leaves what was read ahead.
    pub(crate) fn peek(&self, offset: u64) -> io::Result<Step> {
        let mut elsewhere = Self {
            file: self.file.try_clone()?,
            block: Vec::new(),
            start: 0,
        };
        file::read_step(elsewhere.at_least(offset, PEEK)?)
    }

    /// Reads the step at a place.
    pub(crate) fn at(&mut self, offset: u64) -> io::Result<Step> {
        file::read_step(self.line_at(offset)?)
    }

    /// Reads the group or step at a place; returns also where the next one stands.
    pub(crate) fn entry(&mut self, offset: u64) -> io::Result<(PlanEntry, u64)> {
        let line = self.line_at(offset)?;
        let next = offset + line.len() as u64 + 1;
        // A step is a list, a group an object.
        let entry = if line.first() == Some(&b'{') {
            PlanEntry::Group(serde_json::from_slice(line).map_err(io::Error::other)?)
        } else {
            PlanEntry::Step(file::read_step(line)?)
        };
        Ok((entry, next))
    }

    fn line_at(&mut self, offset: u64) -> io::Result<&[u8]> {
        if self.line(offset).is_none() {
            self.at_least(offset, BLOCK)?;
        }
        self.line(offset)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Reads the line at a place, and what comes after it.
    fn at_least(&mut self, offset: u64, mut size: usize) -> io::Result<&[u8]> {
        loop {
            self.fill(offset, size)?;
            match self.line(offset) {
                Some(_) => break,
                None if self.block.len() < size => return Err(io::ErrorKind::UnexpectedEof.into()),
                // A step longer than a block: its ids or links are many.
                None => size *= 4,
            }
        }
        self.line(offset)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
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
