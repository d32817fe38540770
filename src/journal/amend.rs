//! Adds to the journal of a run what was proven of its records afterwards, outside of any session.

use std::io::Write as _;

use super::{
    Error, JournalIndex, Line, RunDirectory, SettleLine,
    claim::{claim, cut_torn_tail},
    files::push_json,
    reader::Length,
    run::private_append,
};
use crate::{checksum, record::Outcome, record::StepId};

/// The proof of a record of which a run did not know whether it arrived.
#[expect(
    clippy::large_enum_variant,
    reason = "few are held at a time, and most are the large one"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Proof {
    /// The store holds it.
    There(SettleLine),
    /// The store does not hold it: it is still to be sent.
    Absent(StepId),
}

/// The journal of a run that is not being carried out, open for what was proven since.
#[derive(Debug)]
pub struct Amendment {
    file: fs_err::File,
    run: RunDirectory,
    seed: u32,
    whole: u64,
    has_ended: bool,
}

impl Amendment {
    /// Opens the journal of a run, of which `history` is what it says.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or another process is at work on the run.
    pub fn open(run: &RunDirectory, history: &JournalIndex) -> Result<Self, Error> {
        let path = run.journal();
        let fail = |why: String| Error {
            what: "cannot open the journal",
            path: path.clone(),
            why,
        };
        let file = private_append(&path).map_err(|error| fail(error.to_string()))?;
        claim(&file).map_err(|error| fail(error.to_string()))?;
        cut_torn_tail(&file, &path, history.whole).map_err(|error| fail(error.to_string()))?;
        Ok(Self {
            file,
            run: run.clone(),
            seed: history.seed,
            whole: history.whole,
            has_ended: history.end.is_some(),
        })
    }

    /// Adds what was proven; it survives `kill -9` when this returns.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn note(&mut self, proofs: Vec<Proof>) -> Result<(), Error> {
        let (mut checked, mut object) = (Vec::new(), Vec::new());
        for proof in proofs {
            let line = match proof {
                Proof::There(line) => Line::Settle(line),
                Proof::Absent(record) => Line::Settle(SettleLine::new(record, Outcome::Pending)),
            };
            object.clear();
            push_json(&mut object, &line);
            let object = object.strip_suffix(b"\n").unwrap_or(&object);
            let offset = self.whole + checked.len() as u64;
            checksum::append(&mut checked, object, self.seed, offset);
        }
        self.file
            .write_all(&checked)
            .map_err(|error| self.unwritten(&error))?;
        self.whole += checked.len() as u64;
        Ok(())
    }

    /// Brings all to the disk.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn end(self) -> Result<(), Error> {
        let ended = self.file.sync_data().and_then(|()| {
            if self.has_ended {
                Length::write(&self.run.length(), self.whole)
            } else {
                Ok(())
            }
        });
        ended.map_err(|error| self.unwritten(&error))
    }

    fn unwritten(&self, error: &std::io::Error) -> Error {
        Error {
            what: "cannot write to the journal",
            path: self.run.journal(),
            why: error.to_string(),
        }
    }
}
