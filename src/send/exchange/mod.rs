//! One request on its way: a record by itself, or a Bundle with its entries.
//!
//! The gate asks for a request at every attempt and hands back what came of it. A Bundle's answer is read entry
//! by entry: what was taken is settled and never sent again, what may be tried again stays, the rest is rejected. `build`
//! makes the request, `answer` reads what came back, `conclude` says what became of each record in the end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    Error, at_work,
    context::LoadContext,
    settlement,
    versions::Held,
    work::{Work, is_together},
};
pub use answer::RESENT;
pub(super) use conclude::{Concluded, Refused};

mod answer;
mod attempts;
mod build;
mod conclude;
mod each;
mod intent;
mod records;
mod warnings;

use crate::{
    event::Event,
    gate::{BuildError, Cost, Exchange, Fault, Moment, Safety, Verdict},
    journal::Settlement,
    plan::{Packaging, Step},
    record::{Operation, Outcome, StepId},
    target::Target,
};
use attempts::{AttemptLog, Last, Uncertainty};
use intent::Intent;
use records::{Answered, Unsent};

/// A request and what has become of its records so far: each is either still to be sent, or had its answer.
pub(in crate::send) struct Batch<'a> {
    load: &'a LoadContext,
    packaging: Option<Packaging>,
    /// The records go together or not at all.
    atomic: bool,
    unsent: Unsent,
    answered: Answered,
    attempts: AttemptLog,
    /// The versions that updates replace.
    held: Held,
    intent: Intent,
    hands_over: HandsOver,
    on_wire: Arc<AtomicBool>,
    ready: Option<OwnedSemaphorePermit>,
    /// The reason why the run ends.
    failure: Option<Error>,
}

/// The history of the records of a request before it.
pub(in crate::send) struct Prior {
    /// The attempts that they had.
    pub(in crate::send) attempts: u32,
    /// The number of attempts that a part of what was given up as a whole has.
    pub(in crate::send) most_attempts: Option<u32>,
    /// When they were first about to be sent, by the target's clock.
    pub(in crate::send) since: Option<Timestamp>,
    /// They were sent before, in this session or an earlier one, and may have been taken.
    pub(in crate::send) may_have_been_taken: bool,
    /// When an attempt ended on which the server may still be at work.
    pub(in crate::send) lost_at: Option<Instant>,
    /// The versions in the store that were read for them.
    pub(in crate::send) held: Held,
}

/// When what is settled of a Bundle is handed over, of which others are still to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::send) enum HandsOver {
    /// At once.
    AtOnce,
    /// With the rest: it is a part of a transaction, and who carries the other parts waits for it.
    Together,
}

impl<'a> Batch<'a> {
    /// Makes a request; `ready` is its permission to be made ready, let go as soon as it waits for another attempt.
    pub(in crate::send) fn new(
        load: &'a LoadContext,
        work: Work,
        prior: Prior,
        hands_over: HandsOver,
        on_wire: Arc<AtomicBool>,
        ready: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            load,
            packaging: work.packaging,
            atomic: work.atomic,
            unsent: Unsent::new(work.steps, work.bodies, work.permits),
            answered: Answered::default(),
            attempts: AttemptLog {
                made: prior.attempts,
                sent: prior.attempts,
                most: prior.most_attempts,
                since: prior.since,
                uncertainty: if prior.may_have_been_taken {
                    Uncertainty::Before
                } else {
                    Uncertainty::None
                },
                lost_at: prior.lost_at,
                last: Last::default(),
            },
            held: prior.held,
            intent: Intent::None,
            hands_over,
            on_wire,
            ready,
            failure: None,
        }
    }

    /// Returns how often it was sent, also before.
    pub(in crate::send) fn times_sent(&self) -> u32 {
        self.attempts.sent
    }

    /// Lets go of what is left because the run is stopping. Nothing of it is on the wire, and its last attempt, if
    /// there was one, is known to have had no effect or may be repeated; so it counts as not tried.
    pub(in crate::send) fn abandon(self) -> Vec<Settlement> {
        let left = if self.intent.is_written() {
            self.once()
        } else {
            Vec::new()
        };
        let attempted = self.attempts.attempted();
        let mut settled = self.answered.abandon();
        settled.extend(left.into_iter().map(|record| {
            let note = "interrupted before it was sent";
            settlement::told(record, Outcome::Pending, None, attempted, note)
        }));
        settled
    }

    /// Returns when the last attempt ended on which the server may still be at work.
    pub(in crate::send) fn lost_at(&self) -> Option<Instant> {
        self.attempts.lost_at
    }

    fn target(&self) -> &'a dyn Target {
        &*self.load.link.target
    }

    /// Tells whether they travel in one transaction.
    fn is_together(&self) -> bool {
        is_together(self.packaging, self.atomic)
    }

    /// Settles a record that the store refused: with what it said, and the warnings in the head of its answer.
    fn rejected(
        &self,
        step: &Step,
        is_among_others: bool,
        status: u16,
        answer: &[u8],
        note: Option<String>,
    ) -> Settlement {
        let attempted = self.attempts.attempted();
        let mut settled = settlement::rejected(
            self.target(),
            step,
            is_among_others,
            status,
            answer,
            attempted,
            note,
        );
        let warned = |said: String| warnings::beside(&said, &self.attempts.last.warnings);
        settled.said = settled.said.map(warned);
        settled
    }

    /// Takes note of what ends the run.
    fn fail(&mut self, error: Error) -> BuildError {
        let build_error = BuildError::new(&error.to_string());
        self.failure = Some(error);
        build_error
    }

    /// Returns which of those still to be sent must not be sent twice. Those that go together share their fate.
    fn once(&self) -> Vec<StepId> {
        let is_once = |step: &&Step| {
            let operation = step.action.operation();
            self.atomic || !operation.is_some_and(Operation::is_idempotent)
        };
        let steps = self.unsent.steps.iter().filter(is_once);
        steps.map(|step| step.number).collect()
    }

    /// Waits until a server has ended the last attempt, where it may still be at work on a conditional write.
    async fn let_end(&self) {
        let is_conditional = |step: &Step| {
            let operation = step.action.operation();
            operation.is_some_and(|operation| Operation::CONDITIONAL.contains(&operation))
        };
        let Some(lost_at) = self.attempts.lost_at else {
            return;
        };
        if !self.unsent.steps.iter().any(is_conditional) {
            return;
        }
        let target = self.load.setup.plan.header.target_of(self.load.id);
        let rest = at_work::rest(target.map(|target| &target.settings.store));
        tokio::select! {
            () = tokio::time::sleep_until(lost_at + rest) => {}
            () = self.load.setup.stop.stopping() => {}
        }
    }

    /// Notes that none of it arrived: it is tried again, or its records are.
    fn withdraw(&mut self) {
        let records = self.once();
        self.withdraw_intent(&records);
    }

    /// Notes that records that were about to be sent did not arrive.
    fn withdraw_intent(&mut self, records: &[StepId]) {
        if std::mem::take(&mut self.intent).is_written() {
            self.load.setup.ledger.withdraw(records);
        }
    }
}

impl Exchange for Batch<'_> {
    fn safety(&self) -> Safety {
        let idempotent = self.unsent.steps.iter().all(|step| {
            step.action
                .operation()
                .is_some_and(Operation::is_idempotent)
        });
        if idempotent {
            Safety::Idempotent
        } else {
            Safety::Once
        }
    }

    fn cost(&self) -> Cost {
        self.unsent.cost()
    }

    async fn unpark(&mut self) -> Result<(), BuildError> {
        self.let_end().await;
        let (load, steps) = (self.load, &self.unsent.steps);
        let tell = |records| load.reading(records);
        let read = load.versions.read(&load.link, steps, &mut self.held, tell);
        read.await;
        self.find_stretches().await?;
        self.read_bodies().await
    }

    async fn build(&mut self) -> Result<Request<Bytes>, BuildError> {
        if self.safety() == Safety::Once && matches!(self.intent, Intent::None) {
            let permit = Arc::clone(&self.load.intents).acquire_owned().await;
            let permit = permit.map_err(|closed| self.fail(Error::Internal(closed.to_string())))?;
            self.intent = Intent::Permitted(permit);
        }
        if self.load.setup.ledger.waits_for_disk() {
            // The rate counts what leaves, and what waits for a disk after it was counted would leave in a burst.
            self.intend().await?;
        }
        self.make().await
    }

    async fn intend(&mut self) -> Result<(), BuildError> {
        if self.intent.is_written() || self.safety() == Safety::Idempotent {
            return Ok(());
        }
        let Intent::Permitted(permit) = std::mem::take(&mut self.intent) else {
            let error = "an intent was to be written before its request was made";
            return Err(self.fail(Error::Internal(error.to_owned())));
        };
        let gate = &self.load.link.gate;
        let at = *self.attempts.since.get_or_insert_with(|| gate.time());
        self.intent = Intent::Written(permit);
        let intended = self.load.setup.ledger.intend(at, &self.once()).await;
        intended.map_err(|error| self.fail(error.into()))
    }

    fn attempts(&self) -> Option<u32> {
        self.attempts.most
    }

    fn read(&mut self, answer: Result<Response<Bytes>, Fault>) -> Verdict {
        self.read_answer(answer)
    }

    fn park(&mut self) {
        self.unsent.park();
        self.ready = None;
    }

    fn observe(&mut self, moment: Moment) {
        let context = self.load;
        let (load, setup, gate) = (context.id, &context.setup, &context.link.gate);
        match moment {
            Moment::Sent { bytes } => {
                self.attempts.made += 1;
                self.attempts.since.get_or_insert_with(|| gate.time());
                self.on_wire.store(true, Ordering::Release);
                setup.counts.sent(bytes);
                setup.observe.observe(&Event::Sent { load, bytes });
            }
            Moment::Answered {
                status,
                is_refused,
                latency,
                bytes,
            } => {
                self.on_wire.store(false, Ordering::Release);
                setup.observe.observe(&Event::Answered {
                    load,
                    status,
                    is_refused,
                    latency,
                    bytes,
                });
            }
            Moment::Retrying { after } => {
                // A request that must not be sent twice is tried again only where the store is known not to have taken
                // it.
                self.withdraw();
                setup.counts.retried();
                setup.observe.observe(&Event::Retrying { load, after });
            }
        }
    }
}
