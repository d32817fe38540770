//! Reads the lines of a journal that another process goes on writing, as they come.

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::{Error, JournalIndex, format::Line, reader::WAY_ON};
use crate::checksum;

/// The number of bytes that are read at a time.
const PIECE: u64 = 1 << 20;

/// Follows a journal from where its history ends.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: fs_err::File,
    seed: u32,
    /// The offset of the next line.
    offset: u64,
    /// The bytes that have been read from there on.
    held: Vec<u8>,
    /// The number of those that have been given out.
    given: usize,
}

impl Follower {
    /// Begins behind what a history knows.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub fn behind(history: &JournalIndex, path: &Path) -> Result<Self, Error> {
        let follower = |file| Self {
            path: path.to_owned(),
            file,
            seed: history.seed,
            offset: history.whole,
            held: Vec::new(),
            given: 0,
        };
        let opened = fs_err::File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(history.whole))?;
            Ok(file)
        });
        opened.map(follower).map_err(|error| failed(path, &error))
    }

    /// Returns the next line; none where it has not been written yet.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read, or a line is damaged.
    pub fn next_line(&mut self) -> Result<Option<Line>, Error> {
        loop {
            let rest = self.held.get(self.given..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', rest) {
                let mut line = rest.get(..=end).unwrap_or_default().to_vec();
                let length = line.len();
                checksum::strip(&mut line, self.seed, self.offset)
                    .map_err(|error| failed(&self.path, &format!("{error}; {WAY_ON}")))?;
                self.offset += length as u64;
                self.given += length;
                let line = serde_json::from_slice(&line);
                return line.map(Some).map_err(|error| failed(&self.path, &error));
            }
            self.held.drain(..self.given);
            self.given = 0;
            let piece = self.file.by_ref().take(PIECE);
            let read = { piece }.read_to_end(&mut self.held);
            if read.map_err(|error| failed(&self.path, &error))? == 0 {
                return Ok(None);
            }
        }
    }
}

fn failed(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error {
        what: "cannot follow the journal",
        path: path.to_owned(),
        why: why.to_string(),
    }
}
