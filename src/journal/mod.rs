//! The only truth of what happened in a run: append-only, durable first.
//!
//! A run directory holds the plan (`plan.ndjson`: what would be done), the journal (`journal.ndjson`: what became
//! of it) and `rejected/` (what must not stand anywhere else). `format` holds the journal's lines, `writer`
//! appends them with group commit (`group`), `reader` reads them back, tolerates a torn tail and notices all other damage,
//! `follow` reads what another process writes; `amend` adds what was proven afterwards, `brief` shortens the journal of a run
//! that is over, and `claim` lets one process write at a time; `removals` is the journal of a run's unloading. [`Ledger`] is
//! what `send` writes through; it knows nothing of files.

use std::{fmt, path::PathBuf};

use futures::future::BoxFuture;

use crate::record::StepId;

mod amend;
mod brief;
mod claim;
mod fates;
mod files;
mod follow;
pub mod format;
mod group;
mod reader;
mod removals;
mod run;
mod writer;

pub use amend::{Amendment, Proof};
pub use fates::RecordStates;
pub use follow::Follower;
pub use format::{Ending, JournalLine, Line, SettleLine, Settlement, Tally};
pub use reader::{JournalIndex, RecordState, read};
pub use removals::{Removal, RemovalJournal, RemovalLine, Removals};
pub use run::{RunDirectory, SaidLine, private_append, private_directory, private_file};
pub use writer::Journal;

/// Ends a run that is not over, because another one has taken over what was left. A run that is being carried out is left
/// alone.
///
/// # Errors
///
/// When its journal cannot be written.
pub async fn supersede(run: &RunDirectory, history: &JournalIndex, by: &str) -> Result<(), Error> {
    let number = history.sessions.last().map_or(1, |session| session.number);
    let at = jiff::Timestamp::now();
    let session = format::SessionLine {
        number: number + 1,
        started: at,
    };
    let end = format::EndLine {
        session: number + 1,
        at,
        how: Ending::Superseded,
        reason: Some(by.to_owned()),
    };
    let journal = Journal::open(run, crate::manifest::Sync::None, session, Some(history))?;
    journal.end(end).await
}

/// The journal as `send` knows it: `send` writes there what it is about to do and what became of it.
///
/// Both calls return once the lines are durable (design §3); what has been settled is never sent again.
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Notes that records are about to be sent in a way that must not happen twice, and when by the target's clock.
    fn intend(&self, at: jiff::Timestamp, records: &[StepId]) -> BoxFuture<'_, Result<(), Error>>;
    /// Notes that records which were about to be sent did not arrive. It need not be durable: what it says matters
    /// only to whoever reads the journal after a crash, and whoever misses it is more careful than need be.
    fn withdraw(&self, records: &[StepId]);
    /// Notes that what the store has under the names of these records is about to be removed for them.
    fn remove(&self, records: &[StepId]) -> BoxFuture<'_, Result<(), Error>>;
    /// Tells whether [`Ledger::intend`] waits for a disk, rather than some microseconds.
    fn waits_for_disk(&self) -> bool {
        false
    }

    /// Notes what became of records.
    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), Error>>;

    /// Notes the figures of the session so far; a later tally of the same session replaces an earlier one.
    fn tally(&self, tally: Tally) -> BoxFuture<'_, Result<(), Error>>;
}

/// The journal could not be written or read: the run cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what} `{}`: {why}", path.display())]
pub struct Error {
    /// The work that failed, such as `cannot write to the journal`.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The system's error, in words.
    pub why: String,
}

#[cfg(test)]
mod tests;
