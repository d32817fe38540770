//! The files of a journal: lines get their checksums and go into the file, answers go beside it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};

use super::{
    Error, JournalIndex,
    format::Line,
    reader::Length,
    run::{private_append, private_directory},
};
use crate::{checksum, manifest::Sync};

/// The first thing that went wrong; after it nothing is written any more.
pub(super) type Failure = Arc<Mutex<Option<Error>>>;

/// Takes the files, or the failure. A thread that panicked while it held them takes neither away.
pub(super) fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines that are to be written, as JSON and as what they say.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) json: Vec<u8>,
    pub(super) said: Vec<Line>,
}

impl Lines {
    pub(super) fn of(line: Line) -> Self {
        let mut lines = Self::default();
        lines.push(line);
        lines
    }

    pub(super) fn push(&mut self, line: Line) {
        push_json(&mut self.json, &line);
        self.said.push(line);
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.json.extend_from_slice(&other.json);
        self.said.extend(other.said);
    }
}

pub(super) fn push_json(lines: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Writing to a vector cannot fail, and the lines hold nothing that JSON cannot express.
    if serde_json::to_writer(&mut *lines, value).is_ok() {
        lines.push(b'\n');
    }
}

/// The journal's files. One at a time writes, so that lines stay whole.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) sync: Sync,
    pub(super) file: fs_err::File,
    /// The same file, for the readers of a history.
    pub(super) read: fs_err::File,
    /// The checksum of the first line, the seed of all others.
    pub(super) seed: u32,
    /// The index of what has been written so far; none once it has been handed out.
    pub(super) told: Option<JournalIndex>,
    /// The length of the file, in bytes.
    pub(super) whole: u64,
    /// Lines with their checksums, just before they are written.
    pub(super) checked: Vec<u8>,
    /// The file that keeps the journal's length when a session ends.
    pub(super) length: PathBuf,
    pub(super) path: PathBuf,
    pub(super) rejected: PathBuf,
    pub(super) answers_path: PathBuf,
    pub(super) answers: Option<fs_err::File>,
    pub(super) failure: Failure,
    /// Wakes the thread that brings groups to the disk.
    pub(super) disk: mpsc::SyncSender<()>,
}

impl Files {
    /// Writes answers before lines: a record that the journal calls rejected has its answer on the disk.
    ///
    /// A write that has failed once may have left half a line, so nothing is written after it.
    pub(super) fn write(&mut self, lines: &Lines, said: &[u8], now: bool) -> Result<(), Error> {
        if let Some(error) = locked(&self.failure).clone() {
            return Err(error);
        }
        let written = self.write_both(lines, said, now);
        if let Err(error) = &written {
            locked(&self.failure).get_or_insert_with(|| error.clone());
        }
        written
    }

    fn write_both(&mut self, lines: &Lines, said: &[u8], now: bool) -> Result<(), Error> {
        if !said.is_empty() {
            self.write_answers(said, now).map_err(|error| Error {
                what: "cannot write",
                path: self.answers_path.clone(),
                why: error.to_string(),
            })?;
        }
        let unwritten = |path: &Path, error: &std::io::Error| Error {
            what: "cannot write to the journal",
            path: path.to_owned(),
            why: error.to_string(),
        };
        self.check(lines)
            .and_then(|()| self.file.write_all(&self.checked))
            .and_then(|()| match (self.sync, now) {
                (Sync::None, _) => Ok(()),
                (Sync::Group, false) => {
                    // One that waits already stands for these lines too.
                    let _ = self.disk.try_send(());
                    Ok(())
                }
                (Sync::Group, true) | (Sync::Always, _) => self.file.sync_data(),
            })
            .map_err(|e| unwritten(&self.path, &e))?;
        self.whole += self.checked.len() as u64;
        if let Some(told) = &mut self.told {
            told.whole = self.whole;
        }
        let is_end = |line: &Line| matches!(line, Line::End(_) | Line::Brief(_));
        let has_ended = self.told.as_ref().is_none_or(|told| told.end.is_some());
        if now && (has_ended || lines.said.iter().any(is_end)) {
            Length::write(&self.length, self.whole).map_err(|e| unwritten(&self.length, &e))?;
        }
        Ok(())
    }

    /// Gives lines their checksums, and takes note of what they say.
    fn check(&mut self, lines: &Lines) -> std::io::Result<()> {
        self.checked.clear();
        let objects = lines.json.split(|b| *b == b'\n');
        for (object, line) in objects.zip(&lines.said) {
            let offset = self.whole + self.checked.len() as u64;
            let seed = self.seed;
            let sum = checksum::append(&mut self.checked, object, seed, offset);
            if let (Line::Journal(journal), checksum::FIRST) = (line, seed) {
                self.seed = sum;
                let read = self.read.try_clone()?;
                self.told = Some(JournalIndex::begin(journal.clone(), sum, &self.path, read));
            }
            if let Some(told) = &mut self.told {
                told.take(line, offset);
            }
        }
        Ok(())
    }

    fn write_answers(&mut self, said: &[u8], now: bool) -> std::io::Result<()> {
        let file = if let Some(file) = &mut self.answers {
            file
        } else {
            private_directory(&self.rejected)?;
            let mut file = private_append(&self.answers_path)?;
            // A torn tail of an earlier session must not swallow the first line of this one.
            if file.metadata()?.len() > 0 {
                file.write_all(b"\n")?;
            }
            self.answers.insert(file)
        };
        file.write_all(said)?;
        match (self.sync, now) {
            (Sync::None, _) | (Sync::Group, false) => Ok(()),
            (Sync::Group, true) | (Sync::Always, _) => file.sync_data(),
        }
    }
}
