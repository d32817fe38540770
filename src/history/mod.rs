//! The records that earlier runs have loaded, kept in the state directory as a hint: a repeated load need not send them
//! again.
//!
//! Keyed by target, interaction and content hash of the record; the n-th record of the same key is the n-th that was
//! loaded. The meaning that the references of a record had when it was loaded stands beside it (`names`): content that is
//! the same says less where a reference has come to mean something else. The history is taken from the journals of runs, at
//! the end of each ([`Intake`]) or by a later one ([`History::take_in`]), so that a run which was killed is known as well
//! (`intake`); records that were deleted since are taken back (`removed`). `send` finds out if the store is still the one
//! that was loaded. No content of records stands here (design §10).
//!
//! `history/` (`directory`) holds segments (`segment`): files of rows (`rows`) in the order of their keys, each written
//! once, a newer one before an older one. A run adds its own, in the time that it takes to sort and write them; the next
//! process that takes in a run makes few of many (`merge`). The rows that an older Stoker kept in `history.sqlite` are
//! taken over (`old`).

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::{journal, plan, record::Operation};
use directory::{directory_of, segments};
pub use intake::Intake;
pub use names::{Names, ReferenceMeaning};
use segment::Segment;

mod directory;
mod intake;
mod merge;
mod names;
mod old;
mod removed;
mod rows;
mod segment;

/// The history could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its own file.
    #[error("cannot use the history `{}`: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error, in words.
        why: String,
    },
    /// Its own file is not what it was.
    #[error("the history `{}` is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage, in words.
        why: String,
    },
    /// The plan of a run.
    #[error(transparent)]
    Plan(#[from] plan::file::Error),
    /// The journal of a run.
    #[error(transparent)]
    Journal(#[from] journal::Error),
}

impl Error {
    fn file(path: &Path, why: &impl std::fmt::Display) -> Self {
        Self::File {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }

    fn damaged(path: &Path) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            why: "a checksum does not fit".to_owned(),
        }
    }

    /// Says what can be done about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Damaged { path, .. } => format!(
                "move `{}` aside: what the runs that are still there have loaded is read from them again; or load with `--fresh`, \
                which asks no history and sends everything",
                path.display()
            ),
            Self::File { .. } | Self::Plan(_) | Self::Journal(_) => {
                "`--fresh` loads without it, and sends everything".to_owned()
            }
        }
    }
}

/// The fate of a record of this key in earlier runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// An earlier run loaded it.
    Loaded {
        /// The id that the store gave it, or that it brought.
        id: String,
        /// The version that the store gave it.
        version: Option<String>,
        /// The meaning that its references had.
        meaning: ReferenceMeaning,
    },
    /// An earlier run was sending it, and nobody knows whether it arrived.
    Doubtful {
        /// When it was first about to be sent.
        since: Timestamp,
        /// The tag that it was marked with.
        tag: Option<String>,
    },
    /// An earlier run loaded it, and it was deleted since.
    Gone,
    /// An earlier run sent it, and the store said that it took it under another name: to send it again would make a copy.
    Elsewhere,
}

impl Before {
    /// Takes note of what the references of a record meant that was loaded.
    fn means(&mut self, now: ReferenceMeaning) {
        if let Self::Loaded { meaning, .. } = self {
            *meaning = now;
        }
    }
}

/// The history of a state directory.
#[derive(Debug)]
pub struct History {
    directory: PathBuf,
    /// The newest first.
    segments: Vec<Segment>,
}

/// Counts records of the same key, in the order of a plan.
#[derive(Debug, Default)]
pub struct Counter {
    // Hashes of the keys: two keys that share one are counted as one, and then a record is loaded again at the worst. Few
    // keys come twice, so that the number of a key stands beside the set: a set takes half the room of a map.
    seen: HashSet<u64, foldhash::fast::RandomState>,
    again: HashMap<u64, u32, foldhash::fast::RandomState>,
    state: foldhash::quality::RandomState,
}

impl Counter {
    /// Makes room for as many keys at once: a set that grows while it is filled moves all of them each time.
    fn expecting(records: u64) -> Self {
        let mut counter = Self::default();
        // If there is no room, the set grows as it is filled, and says so then.
        let _ = usize::try_from(records).map(|records| counter.seen.try_reserve(records));
        counter
    }

    /// Returns how many records of the same key came before.
    pub fn count(&mut self, target: &str, interaction: Operation, hash: u128) -> u32 {
        let key = self.state.hash_one((target, interaction, hash));
        if self.seen.insert(key) {
            return 0;
        }
        let again = self.again.entry(key).or_default();
        *again += 1;
        *again
    }
}

impl History {
    /// Opens the history of a state directory. If there is none, nothing is known, and nothing is written.
    ///
    /// # Errors
    ///
    /// When its files cannot be read.
    pub fn open(state: &Path) -> Result<Self, Error> {
        let directory = directory_of(state);
        old::take_over(state, &directory)?;
        let mut history = Self {
            directory,
            segments: Vec::new(),
        };
        history.look()?;
        Ok(history)
    }

    /// Reads which segments there are.
    fn look(&mut self) -> Result<(), Error> {
        // Another process may merge some between the look and the opening: then it is looked again.
        for _ in 0..8 {
            let paths = segments(&self.directory)?;
            let opened: Result<Vec<_>, _> = paths.iter().rev().map(|p| Segment::open(p)).collect();
            match opened {
                Ok(opened) => {
                    self.segments = opened;
                    return Ok(());
                }
                Err(error) if paths.iter().all(|path| path.exists()) => return Err(error),
                Err(_) => {}
            }
        }
        Err(Error::file(&self.directory, &"it changes all the time"))
    }

    /// Tells whether anything is known of a target.
    ///
    /// # Errors
    ///
    /// None at present; a history that has to be read for it may fail.
    pub fn knows(&self, target: &str) -> Result<bool, Error> {
        let has = |segment: &Segment| segment.footer.targets.iter().any(|place| place == target);
        Ok(self.segments.iter().any(has))
    }

    /// Returns what became of the n-th record of a key.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or is damaged.
    pub fn before(
        &self,
        target: &str,
        interaction: Operation,
        hash: u128,
        nth: u32,
    ) -> Result<Option<Before>, Error> {
        let row = self.row(rows::key(target, interaction, hash, nth))?;
        Ok(row.filter(|before| *before != Before::Gone))
    }

    fn row(&self, key: segment::Key) -> Result<Option<Before>, Error> {
        let mut block = Vec::with_capacity(1 << 13);
        for segment in &self.segments {
            if let Some(value) = segment.get(key, &mut block)? {
                let damaged = || Error::damaged(&segment.path);
                return rows::read(&value).ok_or_else(damaged).map(Some);
            }
        }
        Ok(None)
    }

    /// Tells how long the journal of a run was when it was last taken in.
    fn known(&self, run: &str) -> Option<u64> {
        let mut runs = self
            .segments
            .iter()
            .flat_map(|segment| &segment.footer.runs);
        runs.find(|(name, _)| name == run).map(|(_, size)| *size)
    }

    /// Makes few segments of many: a record is then looked for in a handful of files, however large the runs were.
    ///
    /// # Errors
    ///
    /// When a segment cannot be read or written, or is damaged.
    pub fn compact(&mut self) -> Result<(), Error> {
        merge::merge(&self.directory)?;
        self.look()
    }

    /// Brings all that is known to the disk: what it was read from may go then.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn sync(&self) -> Result<(), Error> {
        for segment in &self.segments {
            let file = fs_err::File::open(&segment.path);
            file.and_then(|file| file.sync_all())
                .map_err(|e| Error::file(&segment.path, &e))?;
        }
        if self.segments.is_empty() {
            return Ok(());
        }
        fs_err::File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|e| Error::file(&self.directory, &e))
    }
}

#[cfg(test)]
mod tests;
