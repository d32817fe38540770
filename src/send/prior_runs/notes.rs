//! Writes into the journal what earlier runs have loaded, and what they left in doubt.
//!
//! A record of which a session that was cut off had noted something already is not noted twice.

use super::{HeldError, confidence::Loaded};
use crate::{
    journal::{Journal, JournalIndex, Ledger as _, Settlement},
    record::{Outcome, StepId},
    send::{
        earlier::Doubt,
        settlement::{self, Attempted},
    },
    target::ELSEWHERE,
};

/// The number of records that are settled together.
const TOGETHER: usize = 512;

/// The settlements that are about to be written to the journal.
pub(super) struct Notes<'a> {
    journal: &'a Journal,
    earlier: Option<&'a JournalIndex>,
    waiting: Vec<Settlement>,
}

impl<'a> Notes<'a> {
    /// Has noted nothing; `earlier` is the journal so far, where a session was cut off.
    pub(super) fn of(journal: &'a Journal, earlier: Option<&'a JournalIndex>) -> Self {
        Self {
            journal,
            earlier,
            waiting: Vec::new(),
        }
    }

    fn is_noted(&self, record: StepId) -> bool {
        self.earlier.is_some_and(|earlier| {
            earlier.outcome(record).is_some() || earlier.is_interrupted(record)
        })
    }

    /// Settles a record that an earlier run loaded.
    pub(super) async fn keep(&mut self, loaded: &Loaded) -> Result<(), HeldError> {
        if self.is_noted(loaded.record) {
            return Ok(());
        }
        let note = if loaded.is_outdated {
            "an earlier run created it; what it refers to has another name in the store by now, and it refers to what was there then"
        } else {
            "an earlier run loaded it"
        };
        let attempted = Attempted::default();
        let mut settled =
            settlement::told(loaded.record, Outcome::Unchanged, None, attempted, note);
        settled.line.id = Some(loaded.id.clone());
        settled.line.version.clone_from(&loaded.version);
        self.push(settled).await
    }

    async fn push(&mut self, settled: Settlement) -> Result<(), HeldError> {
        self.waiting.push(settled);
        if self.waiting.len() >= TOGETHER {
            self.flush().await?;
        }
        Ok(())
    }

    /// Settles a record that the store said it took under another name, when an earlier run sent it. The copy stays there, and
    /// nobody knows under which name: to send it again would make another copy.
    pub(super) async fn elsewhere(&mut self, record: StepId) -> Result<(), HeldError> {
        if self.is_noted(record) {
            return Ok(());
        }
        let note = "the store said to an earlier run that it stored it under another name; it is not sent again, for that would \
            make another copy (`--fresh` sends it)";
        let (attempted, nothing) = (Attempted::default(), Doubt::none());
        let mut settled = settlement::unknown(record, None, attempted, note.to_owned(), &nothing);
        settled.line.code = Some(ELSEWHERE.to_owned());
        self.push(settled).await
    }

    /// Takes over that an earlier run was sending a record.
    pub(super) async fn doubt(
        &mut self,
        record: StepId,
        since: jiff::Timestamp,
        tag: Option<String>,
    ) -> Result<(), HeldError> {
        if !self.is_noted(record) {
            self.journal.inherit(record, since, tag).await?;
        }
        Ok(())
    }

    /// Writes what waits.
    pub(super) async fn flush(&mut self) -> Result<(), HeldError> {
        if !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            self.journal.settle(waiting).await?;
        }
        Ok(())
    }
}
