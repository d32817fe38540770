//! The context of one load: its settings, its target, the habits and limits learnt of the target, and the channel for
//! outcomes.
//!
//! The context decides nothing about records. The module `carry` carries requests, `load` takes them from the scheduler.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, mpsc};

use super::{
    RunContext, TargetConnection, committer::RecordResult, habits::Habits, is_too_many,
    rewrite::BodyRewriter, too_large::Sizes, versions::Versions, ways::Ways,
};
use crate::{
    event::{Event, LoadId},
    gate::CallFailure,
    journal::{Ending, Settlement},
    manifest::{LoadSettings, Transactions},
    plan::Packaging,
    record::{Outcome, Position},
};

/// The context of one load while it is carried out.
pub(super) struct LoadContext {
    pub(super) id: LoadId,
    pub(super) settings: Arc<LoadSettings>,
    pub(super) link: TargetConnection,
    /// The number of records that the plan has for this load.
    pub(super) records: u64,
    pub(super) settler: mpsc::Sender<Vec<RecordResult>>,
    /// A request that must not be sent twice holds one from before it leaves until what became of it is written down: no
    /// more than these are in doubt after a crash.
    pub(super) intents: Arc<Semaphore>,
    pub(super) ways: Arc<Ways>,
    pub(super) rewriter: Arc<BodyRewriter>,
    /// The habits learnt of its target.
    pub(super) habits: Arc<Habits>,
    pub(super) setup: Arc<RunContext>,
    /// The types whose updates name a version.
    pub(super) versions: Versions,
    /// The sizes of requests that the target takes and refuses, as far as they are learnt.
    pub(super) sizes: Sizes,
}

/// Some records are being read back; it is over when this is dropped.
pub(super) struct Reading<'a> {
    load: &'a LoadContext,
    records: u64,
}

impl Reading<'_> {
    fn tell(&self, is_over: bool) {
        if self.records > 0 {
            self.load.setup.observe.observe(&Event::Reading {
                load: self.load.id,
                records: self.records,
                is_over,
            });
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.tell(true);
    }
}

impl LoadContext {
    /// Tells those who watch that the target is asked what it holds of some records.
    pub(super) fn reading(&self, records: usize) -> Reading<'_> {
        let reading = Reading {
            load: self,
            records: records as u64,
        };
        reading.tell(false);
        reading
    }

    /// Returns where a record stands, for people.
    pub(super) fn place(&self, position: Position) -> String {
        let file = self.setup.plan.source_name(position.source);
        position.display(file).to_string()
    }

    /// Tells whether a transaction that is too large may go in parts.
    pub(super) fn may_split(&self, atomic: bool, steps: usize) -> bool {
        atomic && steps > 1 && self.settings.transactions == Transactions::Split
    }

    /// Takes note of how a request went, where it is still to be found out in which way most records go.
    pub(super) fn measure(
        &self,
        (packaging, records): (Option<Packaging>, usize),
        busy: Duration,
        is_refused: bool,
    ) {
        if let Some(found) = self.ways.answered(packaging, records, busy, is_refused) {
            let (target, load, way) = (
                &*self.settings.target,
                &*self.settings.name,
                found.to_string(),
            );
            tracing::info!(target, load, way, "the way of sending is found");
            self.setup.counts.found(load, found.to_string());
            let load = self.id;
            self.setup.observe.observe(&Event::Way {
                load,
                way: found.to_string(),
            });
        }
    }

    /// Ends the run because its target answers no question any more. Records on which the answer has a bearing are left as they
    /// are: the next session asks.
    pub(super) fn end_by(&self, failure: &CallFailure) {
        self.end(&failure.to_string(), failure.hint().map(str::to_owned));
    }

    /// Ends the run because of its target.
    pub(super) fn end(&self, reason: &str, hint: Option<String>) {
        let reason = format!("target `{}`: {reason}", self.settings.target);
        self.setup.stop.end(Ending::Target, &reason, hint);
    }

    /// Ends the run when more records have failed than the manifest allows.
    pub(super) fn count_failures(&self, settlements: &[Settlement]) {
        let failed = settlements
            .iter()
            .filter(|s| {
                matches!(
                    s.line.outcome,
                    Outcome::Rejected | Outcome::Blocked | Outcome::Unknown
                )
            })
            .count() as u64;
        if failed == 0 {
            return;
        }
        let failed = self.setup.counts.failed(failed);
        let max = self.setup.plan.header.run.max_errors;
        if is_too_many(max, failed, self.records) {
            // The final number of failures is not known yet: requests on their way are waited for.
            let reason = "more records failed than `max_errors` allows";
            let hint = "mend the records in rejected/, or raise `max_errors`".to_owned();
            self.setup.stop.end(Ending::MaxErrors, reason, Some(hint));
        }
    }
}
