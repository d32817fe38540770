//! The removals of a run's records: the journal of its unloading, `unload.ndjson` in the run's directory.
//!
//! ```json
//! {"unload":{"version":1,"run":"clinic-20261123T070000Z","mark":"5f0c21aa","stoker":"0.1.0"}}
//! {"session":{"at":"2026-11-24T07:00:00Z"}}
//! {"removal":{"record":12,"outcome":"deleted","status":200}}
//! {"end":{"at":"2026-11-24T07:00:09Z"}}
//! ```
//!
//! Each line has its checksum, as those of the run's journal have. A deletion may be repeated, so a line is written
//! after the answer: whatever is killed when, a repeat finds the records gone of which no line tells.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Error, JournalLine, RunDirectory, claim::claim, run::private_append};
use crate::{checksum, record::StepId};

/// The version of the format.
const VERSION: u32 = 1;

/// The removal of a record: the result of an unloading for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Removal {
    /// The store has deleted it.
    Deleted,
    /// The store did not have it any more.
    Gone,
    /// It stays: it is not what the run left there.
    Changed,
    /// It stays: another record refers to it.
    Referred,
    /// It stays: the store refused to delete it.
    Refused,
    /// The run had changed it, and it is again what it was before.
    Restored,
}

impl Removal {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 6] = [
        Self::Deleted,
        Self::Gone,
        Self::Changed,
        Self::Referred,
        Self::Refused,
        Self::Restored,
    ];

    /// Returns the word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::Referred => "referred",
            Self::Refused => "refused",
            Self::Restored => "restored",
        }
    }

    /// Tells whether the store does not hold the record any more.
    pub fn is_away(self) -> bool {
        matches!(self, Self::Deleted | Self::Gone)
    }

    /// Tells whether nothing is left of what the run did to the record.
    pub fn is_undone(self) -> bool {
        self.is_away() || self == Self::Restored
    }
}

/// The removal of a record that was to be deleted, with the facts of the store's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalLine {
    /// The record's step number in the plan.
    pub record: StepId,
    /// The removal.
    pub outcome: Removal,
    /// The last HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code of the store's refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Stoker's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The version in which the store has what was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Unload(FirstLine),
    Session(AtLine),
    Removal(RemovalLine),
    End(AtLine),
}

#[derive(Debug, Serialize, Deserialize)]
struct FirstLine {
    version: u32,
    run: String,
    mark: String,
    stoker: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct AtLine {
    at: Timestamp,
}

/// The removals of a run so far: a byte for each record of the plan.
#[derive(Debug, Default)]
pub struct Removals {
    outcomes: Vec<u8>,
    /// Those that were restored: when, and the version in which the store has them since.
    restored: HashMap<StepId, (Timestamp, Option<String>)>,
    /// The length of the whole lines, in bytes.
    whole: u64,
    seed: u32,
}

impl Removals {
    /// Reads what the unloading of a run has told; nothing where there was none.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is damaged, or is another run's.
    pub fn read(run: &RunDirectory, journal: &JournalLine) -> Result<Self, Error> {
        let path = run.unload();
        let file = match fs_err::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(failed(&path, &error)),
        };
        let mut read = Self::default();
        let mut lines = BufReader::with_capacity(1 << 18, file);
        let mut line = Vec::new();
        let mut number = 0_u64;
        let mut session = Timestamp::UNIX_EPOCH;
        loop {
            line.clear();
            let length = lines
                .read_until(b'\n', &mut line)
                .map_err(|error| failed(&path, &error))?;
            // A torn tail was never durable.
            if length == 0 || line.last() != Some(&b'\n') {
                return Ok(read);
            }
            number += 1;
            let damaged = |why: &dyn std::fmt::Display| {
                failed(&path, &format!("line {number}: {why}; {WAY_ON}"))
            };
            let sum = checksum::strip(&mut line, read.seed, read.whole).map_err(|e| damaged(&e))?;
            let parsed: Line = serde_json::from_slice(&line).map_err(|e| damaged(&e))?;
            match (parsed, number) {
                (Line::Unload(first), 1) => {
                    if first.version != VERSION {
                        let why = format!(
                            "it has version {}, and this Stoker reads version {VERSION}",
                            first.version
                        );
                        return Err(failed(&path, &why));
                    }
                    if first.mark != journal.mark {
                        return Err(failed(&path, &"it is that of another run"));
                    }
                    read.seed = sum;
                }
                (_, 1) => return Err(damaged(&"it does not say what it is")),
                (Line::Removal(line), _) => read.take(&line, session),
                (Line::Session(begun), _) => session = begun.at,
                _ => {}
            }
            read.whole += length as u64;
        }
    }

    fn take(&mut self, line: &RemovalLine, at: Timestamp) {
        let Some(index) = line.record.index() else {
            return;
        };
        if self.outcomes.len() <= index {
            self.outcomes.resize(index + 1, 0);
        }
        let place = Removal::ALL.iter().position(|o| *o == line.outcome);
        if let (Some(slot), Some(place)) = (self.outcomes.get_mut(index), place) {
            *slot = u8::try_from(place).map_or(0, |place| place + 1);
        }
        if line.outcome == Removal::Restored {
            let restored = (at, line.version.clone());
            self.restored.insert(line.record, restored);
        }
    }

    /// Returns what became of a record, if anything is told of it.
    pub fn outcome(&self, record: StepId) -> Option<Removal> {
        let told = *self.outcomes.get(record.index()?)?;
        Removal::ALL.get(usize::from(told).checked_sub(1)?).copied()
    }

    /// Tells whether the store does not hold a record any more.
    pub fn is_away(&self, record: StepId) -> bool {
        self.outcome(record).is_some_and(Removal::is_away)
    }

    /// Tells whether nothing is left of what the run did to a record.
    pub fn is_undone(&self, record: StepId) -> bool {
        self.outcome(record).is_some_and(Removal::is_undone)
    }

    /// Returns when a record was put back to what it was before the run, and in which version the store has it since, as far as
    /// that was told; none of one that was not.
    pub fn restored(&self, record: StepId) -> Option<(Timestamp, Option<&str>)> {
        let (at, version) = self.restored.get(&record)?;
        (self.outcome(record) == Some(Removal::Restored)).then_some((*at, version.as_deref()))
    }

    /// Tells whether anything was put back.
    pub fn has_restored(&self) -> bool {
        !self.restored.is_empty()
    }

    /// Counts the records that the store does not hold any more.
    pub fn away(&self) -> u64 {
        let away = |told: &&u8| {
            let at = usize::from(**told).checked_sub(1);
            at.and_then(|at| Removal::ALL.get(at))
                .is_some_and(|o| o.is_away())
        };
        self.outcomes.iter().filter(away).count() as u64
    }

    /// Tells whether the run was ever unloaded, or began to be.
    pub fn is_begun(&self) -> bool {
        self.whole > 0
    }
}

/// Advice on a file that is damaged.
const WAY_ON: &str =
    "move it aside: a deletion may be repeated, and what is gone by now is found to be";

fn failed(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error {
        what: "cannot read the journal of the unloading",
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// The journal of an unloading, open for writing. Nobody else unloads the run, or goes on with it, meanwhile.
#[derive(Debug)]
pub struct RemovalJournal {
    file: fs_err::File,
    path: PathBuf,
    seed: u32,
    whole: u64,
    /// Locked, so that nobody goes on with the run.
    _run: fs_err::File,
}

impl RemovalJournal {
    /// Opens it, and returns what it has told so far.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written, or another process is at work on the run.
    pub fn open(run: &RunDirectory, journal: &JournalLine) -> Result<(Self, Removals), Error> {
        let path = run.unload();
        let fail = |error: &dyn std::fmt::Display| Error {
            what: "cannot open the journal of the unloading",
            path: path.clone(),
            why: error.to_string(),
        };
        let held = fs_err::File::open(run.journal()).map_err(|e| fail(&e))?;
        let file = private_append(&path).map_err(|e| fail(&e))?;
        for locked in [&held, &file] {
            claim(locked).map_err(|e| fail(&e))?;
        }
        let told = Removals::read(run, journal)?;
        file.set_len(told.whole).map_err(|e| fail(&e))?;
        let mut opened = Self {
            file,
            path,
            seed: told.seed,
            whole: told.whole,
            _run: held,
        };
        if !told.is_begun() {
            opened.write(&[Line::Unload(FirstLine {
                version: VERSION,
                run: journal.run.clone(),
                mark: journal.mark.clone(),
                stoker: env!("CARGO_PKG_VERSION").to_owned(),
            })])?;
        }
        let at = Timestamp::now();
        opened.write(&[Line::Session(AtLine { at })])?;
        Ok((opened, told))
    }

    /// Notes what became of records.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn note(&mut self, removals: Vec<RemovalLine>) -> Result<(), Error> {
        let lines: Vec<Line> = removals.into_iter().map(Line::Removal).collect();
        self.write(&lines)
    }

    /// Ends the session: all lines are on the disk then.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn end(&mut self) -> Result<(), Error> {
        let at = Timestamp::now();
        self.write(&[Line::End(AtLine { at })])?;
        self.file
            .sync_data()
            .map_err(|error| self.unwritten(&error))
    }

    fn write(&mut self, lines: &[Line]) -> Result<(), Error> {
        let mut checked = Vec::with_capacity(lines.len() * 96);
        for line in lines {
            let object = serde_json::to_vec(line)
                .map_err(|error| self.unwritten(&std::io::Error::other(error)))?;
            let offset = self.whole + checked.len() as u64;
            let sum = checksum::append(&mut checked, &object, self.seed, offset);
            if offset == 0 {
                self.seed = sum;
            }
        }
        self.file
            .write_all(&checked)
            .map_err(|error| self.unwritten(&error))?;
        self.whole += checked.len() as u64;
        Ok(())
    }

    fn unwritten(&self, error: &std::io::Error) -> Error {
        Error {
            what: "cannot write to the journal of the unloading",
            path: self.path.clone(),
            why: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: StepId, outcome: Removal) -> RemovalLine {
        RemovalLine {
            record,
            outcome,
            status: Some(200),
            code: None,
            note: None,
            version: None,
        }
    }

    #[test]
    fn what_was_told_is_read_back_and_a_torn_tail_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(folder.path(), "a", Timestamp::now()).unwrap();
        fs_err::write(run.journal(), "").unwrap();
        let first = JournalLine {
            version: 3,
            run: run.name(),
            mark: "m".to_owned(),
            stoker: "0".to_owned(),
        };
        assert!(!Removals::read(&run, &first).unwrap().is_begun());
        let (mut journal, _) = RemovalJournal::open(&run, &first).unwrap();
        journal
            .note(vec![
                line(StepId(7), Removal::Deleted),
                line(StepId(2), Removal::Referred),
            ])
            .unwrap();
        assert!(RemovalJournal::open(&run, &first).is_err(), "it is locked");
        journal.end().unwrap();
        drop(journal);
        let whole = fs_err::read(run.unload()).unwrap();
        fs_err::write(run.unload(), [&whole[..], b"{\"removal\":{\"rec"].concat()).unwrap();
        let (mut journal, told) = RemovalJournal::open(&run, &first).unwrap();
        assert_eq!(told.outcome(StepId(7)), Some(Removal::Deleted));
        assert_eq!(told.outcome(StepId(2)), Some(Removal::Referred));
        assert_eq!(
            (told.outcome(StepId(3)), told.outcome(StepId(900))),
            (None, None)
        );
        assert_eq!(told.away(), 1);
        // The last line of a record holds.
        journal.note(vec![line(StepId(2), Removal::Gone)]).unwrap();
        drop(journal);
        assert_eq!(Removals::read(&run, &first).unwrap().away(), 2);
        let other = JournalLine {
            mark: "n".to_owned(),
            ..first.clone()
        };
        assert!(Removals::read(&run, &other).is_err());
        let mut flipped = fs_err::read(run.unload()).unwrap();
        let at = flipped.len() - 20;
        flipped[at] ^= 1;
        fs_err::write(run.unload(), flipped).unwrap();
        let error = Removals::read(&run, &first).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}
