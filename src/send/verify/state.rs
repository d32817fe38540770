//! The progress of a verification: `verify.ndjson` in the directory of its run, or a file for the manifest, so that a killed
//! verification goes on.
//!
//! ```json
//! {"verify":{"version":1,"mark":"5f0c21aa","journal":20481,"begun":"2026-11-24T07:00:00Z"}}
//! {"checked":{"record":499,"read":500,"looked_for":0,"kinds":[["clinic","Patient",{"same":500,…}]],"differing":[]}}
//! ```
//!
//! Each line has its checksum, as those of the journal have, and speaks of the records since the line before it. The file is
//! for its [`Subject`] as it was: where the run's journal has grown, or the manifest's sources have changed, the verification begins
//! anew. It goes when the verification is over.

use std::{
    fs::TryLockError,
    io::Write as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Differing, KindComparison, Subject, Verified};
use crate::{
    checksum,
    journal::{self, private_append},
    record::StepId,
};

/// The version of the format.
const VERSION: u32 = 1;

/// The state of a verification, open for what is found.
#[derive(Debug)]
pub struct State {
    file: fs_err::File,
    path: PathBuf,
    seed: u32,
    whole: u64,
    begun: Timestamp,
    before: Option<(StepId, Verified)>,
    /// An earlier one was cut off, and was about something else.
    is_outdated: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Verify(First),
    Checked(Checked),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct First {
    version: u32,
    /// That of the run, or a hash of the manifest's records.
    mark: String,
    /// The length of the run's journal in bytes of whole lines, or how many records the manifest has.
    journal: u64,
    begun: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Checked {
    /// The last record that was looked for.
    record: StepId,
    read: u64,
    looked_for: u64,
    kinds: Vec<(String, String, KindComparison)>,
    differing: Vec<Differing>,
}

impl State {
    /// Opens the state of a verification; begins anew with `fresh`, or where the file speaks of another subject. The part of it
    /// that cannot be read is found out once more.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or another process is verifying the same.
    pub fn open(path: &Path, subject: &Subject, fresh: bool) -> Result<Self, journal::Error> {
        let fail = |why: String| journal::Error {
            what: "cannot open the state of the verification",
            path: path.to_owned(),
            why,
        };
        let file = private_append(path).map_err(|error| fail(error.to_string()))?;
        file.file().try_lock().map_err(|error| match error {
            TryLockError::Error(error) => fail(error.to_string()),
            TryLockError::WouldBlock => fail("another Stoker is verifying the same".to_owned()),
        })?;
        let text = fs_err::read(path).map_err(|error| fail(error.to_string()))?;
        let first = First {
            version: VERSION,
            mark: subject.mark.clone(),
            journal: subject.extent,
            begun: Timestamp::now(),
        };
        let mut state = Self {
            file,
            path: path.to_owned(),
            seed: checksum::FIRST,
            whole: 0,
            begun: first.begun,
            before: None,
            is_outdated: false,
        };
        if fresh || !state.read(&text, &first) {
            (state.seed, state.whole, state.before) = (checksum::FIRST, 0, None);
            state
                .file
                .set_len(0)
                .map_err(|error| fail(error.to_string()))?;
            state.write(&Line::Verify(first))?;
        } else {
            let whole = state.whole;
            state
                .file
                .set_len(whole)
                .map_err(|error| fail(error.to_string()))?;
        }
        Ok(state)
    }

    /// Reads what was found before; tells whether it is of this run, as it is now.
    fn read(&mut self, text: &[u8], first: &First) -> bool {
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let mut object = line.to_vec();
            let Ok(sum) = checksum::strip(&mut object, self.seed, self.whole) else {
                break;
            };
            match serde_json::from_slice(&object) {
                Ok(Line::Verify(told)) if self.whole == 0 => {
                    self.begun = told.begun;
                    let begun = first.begun;
                    if (First { begun, ..told }) != *first {
                        // One that had found nothing yet is no loss.
                        self.is_outdated = text.len() > line.len();
                        return false;
                    }
                    self.seed = sum;
                }
                Ok(Line::Checked(checked)) if self.whole > 0 => {
                    let (last, sum) = self.before.get_or_insert_default();
                    *last = checked.record;
                    let kinds = checked.kinds.into_iter();
                    sum.add(Verified {
                        kinds: kinds
                            .map(|(target, kind, found)| ((target, kind), found))
                            .collect(),
                        differing: checked.differing,
                        read: checked.read,
                        looked_for: checked.looked_for,
                        ..Verified::default()
                    });
                }
                _ => break,
            }
            self.whole += line.len() as u64;
        }
        self.whole > 0
    }

    /// Returns when the verification was begun that is gone on with; none where it begins now.
    pub fn goes_on_since(&self) -> Option<Timestamp> {
        self.before.is_some().then_some(self.begun)
    }

    /// Returns when a verification was begun that was cut off, and of which nothing is of use any more: it was about something
    /// else.
    pub fn outdated_since(&self) -> Option<Timestamp> {
        self.is_outdated.then_some(self.begun)
    }

    /// Returns the last record that was looked for before, and what was found up to it.
    pub(super) fn before(&mut self) -> Option<(StepId, Verified)> {
        self.before.take()
    }

    /// Notes what was found of the records up to one: it survives `kill -9` when this returns.
    pub(super) fn note(&mut self, record: StepId, found: &Verified) -> Result<(), journal::Error> {
        let kinds = found.kinds.iter();
        self.write(&Line::Checked(Checked {
            record,
            read: found.read,
            looked_for: found.looked_for,
            kinds: kinds
                .map(|((target, kind), found)| (target.clone(), kind.clone(), found.clone()))
                .collect(),
            differing: found.differing.clone(),
        }))
    }

    /// Ends the verification: what it found is told, and another one begins anew.
    ///
    /// # Errors
    ///
    /// When the file cannot be removed.
    pub fn end(self) -> Result<(), journal::Error> {
        fs_err::remove_file(&self.path).map_err(|error| self.unwritten(&error))
    }

    fn write(&mut self, line: &Line) -> Result<(), journal::Error> {
        let mut checked = Vec::new();
        let object = serde_json::to_vec(line)
            .map_err(|error| self.unwritten(&std::io::Error::other(error)))?;
        let sum = checksum::append(&mut checked, &object, self.seed, self.whole);
        if self.whole == 0 {
            self.seed = sum;
        }
        self.file
            .write_all(&checked)
            .map_err(|error| self.unwritten(&error))?;
        self.whole += checked.len() as u64;
        Ok(())
    }

    fn unwritten(&self, error: &std::io::Error) -> journal::Error {
        journal::Error {
            what: "cannot write the state of the verification",
            path: self.path.clone(),
            why: error.to_string(),
        }
    }
}
