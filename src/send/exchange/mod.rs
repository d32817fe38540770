//! One request on its way: a record by itself, or a Bundle with its entries.
//!
//! The gate asks for a request at every attempt and hands back what came of it. A Bundle's answer is read entry
//! by entry: what was taken is settled and never sent again, what may be tried again stays, the rest is rejected. `build`
//! makes the request, `answer` reads what came back, `conclude` says what became of each record in the end.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Error, RunContext,
    answer_order::Ordered,
    context::LoadContext,
    in_doubt::{RefusedInDoubt, UnclearAnswer},
    rewrite::{BodyRewriter, wire_span},
    settlement::{self, Attempted},
    versions::Held,
    work::{Work, is_together},
};
pub use answer::RESENT;
pub(super) use conclude::{Concluded, Refused};

mod answer;
mod build;
mod conclude;
mod warnings;

use crate::{
    event::{Event, LoadId},
    gate::{BuildError, BytePermit, Cost, Exchange, Fault, Moment, Safety, Verdict},
    journal::Settlement,
    manifest::LoadSettings,
    plan::{Packaging, Step},
    record::{Operation, Outcome, StepId, Stretch},
    target::Target,
};

/// A request and what has become of its records so far.
pub(in crate::send) struct Batch<'a> {
    /// The records that have no outcome yet.
    steps: Vec<Step>,
    packaging: Option<Packaging>,
    /// They go together or not at all.
    atomic: bool,
    /// The bytes of each of `steps` for the wire; empty while parked.
    bodies: Vec<Bytes>,
    permits: Vec<BytePermit>,
    /// The stretches of those records that are too large to be held.
    stretches: HashMap<StepId, Stretch>,
    settled: Vec<Settlement>,
    /// The number of attempts that a part of what was given up as a whole has.
    pub(in crate::send) most_attempts: Option<u32>,
    /// Attempts made, those of before its answer was lost among them.
    pub(in crate::send) attempts: u32,
    origin: &'a LoadContext,
    load: LoadId,
    settings: Arc<LoadSettings>,
    target: &'a Arc<dyn Target>,
    setup: Arc<RunContext>,
    rewriter: Arc<BodyRewriter>,
    on_wire: Arc<AtomicBool>,
    ready: Option<OwnedSemaphorePermit>,
    /// The status, body and fault of the last attempt, for records that are given up.
    last: Last,
    /// Some attempt may have had its effect without an answer that says so.
    doubt: bool,
    /// Entries of a Bundle that was taken, of which the answer does not tell.
    doubtful: Vec<Step>,
    /// Records that were taken, without the store's saying under which id.
    nameless: Vec<(Settlement, Step)>,
    /// Records that were created, under ids that depend on the order of the answer.
    ordered: Ordered,
    /// Records that the store did not take because it has something of that name already, where the load wants to know
    /// what that is.
    occupied: Vec<(Settlement, Step)>,
    /// The answer that came, and told too little.
    mumbled: Option<UnclearAnswer>,
    /// The store's answers, under a status of success, that name records as failed.
    refusals: HashMap<StepId, RefusedInDoubt>,
    /// The versions that updates replace.
    pub(in crate::send) held: Held,
    /// Records that were refused because they name no version.
    unversioned: Vec<(Step, Bytes)>,
    /// When its records were first about to be sent, by the target's clock, where they must not be sent twice.
    pub(in crate::send) since: Option<Timestamp>,
    /// The chance that it was taken before.
    pub(in crate::send) sent: Sent,
    /// The journal holds them as about to be sent.
    is_intended: bool,
    /// When what is settled of it is handed over.
    pub(in crate::send) hands_over: HandsOver,
    /// One of those that may be about to be sent.
    pub(in crate::send) intent: Option<OwnedSemaphorePermit>,
    failure: Option<Error>,
}

/// The chance that a request was sent before, and nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::send) enum Sent {
    /// It was not, or was not taken.
    Never,
    /// It was, and may have been taken.
    Perhaps,
}

/// When what is settled of a Bundle is handed over, of which others are still to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::send) enum HandsOver {
    /// At once.
    AtOnce,
    /// With the rest: it is a part of a transaction, and who carries the other parts waits for it.
    Together,
}

#[derive(Debug, Default)]
struct Last {
    status: Option<u16>,
    body: Bytes,
    fault: Option<String>,
    /// The warnings in the head of the answer: content.
    warnings: String,
    /// The bytes that came instead of an answer: content.
    heard: Bytes,
}

impl<'a> Batch<'a> {
    pub(in crate::send) fn new(
        work: Work,
        load: &'a LoadContext,
        on_wire: Arc<AtomicBool>,
    ) -> Self {
        let Work {
            steps,
            packaging,
            atomic,
            bodies,
            permits,
            blocked: _,
            stands: _,
        } = work;
        Self {
            steps,
            packaging,
            atomic,
            bodies,
            permits,
            stretches: HashMap::new(),
            settled: Vec::new(),
            most_attempts: None,
            attempts: 0,
            origin: load,
            load: load.id,
            settings: Arc::clone(&load.settings),
            target: &load.link.target,
            setup: Arc::clone(&load.setup),
            rewriter: Arc::clone(&load.rewriter),
            on_wire,
            ready: None,
            last: Last::default(),
            doubt: false,
            doubtful: Vec::new(),
            nameless: Vec::new(),
            ordered: Ordered::default(),
            occupied: Vec::new(),
            mumbled: None,
            refusals: HashMap::new(),
            held: Held::new(),
            unversioned: Vec::new(),
            since: None,
            sent: Sent::Never,
            is_intended: false,
            hands_over: HandsOver::AtOnce,
            intent: None,
            failure: None,
        }
    }

    /// Lets go of the permission to be made ready as soon as it waits for another attempt.
    pub(in crate::send) fn hold(&mut self, ready: Option<OwnedSemaphorePermit>) {
        self.ready = ready;
    }

    /// Tells whether an earlier session may have sent any of it.
    pub(in crate::send) fn was_in_doubt(&self) -> bool {
        let earlier = &self.setup.earlier;
        self.steps
            .iter()
            .any(|step| earlier.is_in_doubt(step.number))
    }

    /// Lets go of what is left because the run is stopping. Nothing of it is on the wire, and its last attempt, if
    /// there was one, is known to have had no effect or may be repeated; so it counts as not tried.
    pub(in crate::send) fn abandon(self) -> Vec<Settlement> {
        let intended = if self.is_intended {
            self.doubtful_records()
        } else {
            Vec::new()
        };
        let mut settled = self.settled;
        let ordered = self.ordered.created.into_iter().chain(self.ordered.refused);
        settled.extend(ordered.map(|(settled, _)| settled));
        // A record that may be repeated is, by the next session, which then asks for its id.
        let is_created = |step: &Step| step.action.operation() == Some(Operation::Create);
        let nameless = self.nameless.into_iter();
        settled.extend(nameless.filter_map(|(line, step)| is_created(&step).then_some(line)));
        let attempted = Attempted {
            attempts: self.attempts,
            latency: None,
        };
        let left = self
            .steps
            .iter()
            .filter(|step| intended.contains(&step.number));
        settled.extend(left.map(|step| {
            let note = "interrupted before it was sent";
            settlement::told(step.number, Outcome::Pending, None, attempted, note)
        }));
        settled
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
        let attempted = Attempted {
            attempts: self.attempts,
            latency: None,
        };
        let target = &**self.target;
        let mut settled = settlement::rejected(
            target,
            step,
            is_among_others,
            status,
            answer,
            attempted,
            note,
        );
        let warned = |said: String| warnings::beside(&said, &self.last.warnings);
        settled.said = settled.said.map(warned);
        settled
    }

    /// Takes note of what ends the run.
    fn fail(&mut self, error: Error) -> BuildError {
        let build_error = BuildError::new(&error.to_string());
        self.failure = Some(error);
        build_error
    }

    /// Returns which records must not be sent twice. Those that go together share their fate.
    fn doubtful_records(&self) -> Vec<StepId> {
        let is_once = |step: &&Step| {
            let interaction = step.action.operation();
            self.atomic || !interaction.is_some_and(Operation::is_idempotent)
        };
        let steps = self.steps.iter().filter(is_once);
        steps.map(|step| step.number).collect()
    }

    /// Notes that none of it arrived, and that it is tried again.
    fn withdraw(&mut self) {
        self.intent = None;
        if std::mem::take(&mut self.is_intended) {
            self.setup.ledger.withdraw(&self.doubtful_records());
        }
    }
}

impl Exchange for Batch<'_> {
    fn safety(&self) -> Safety {
        let idempotent = self.steps.iter().all(|step| {
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
        let bytes = self.steps.iter().map(|step| wire_span(step).length).sum();
        Cost {
            operations: u32::try_from(self.steps.len()).unwrap_or(u32::MAX),
            bytes,
        }
    }

    async fn unpark(&mut self) -> Result<(), BuildError> {
        let (origin, steps) = (self.origin, &self.steps);
        origin
            .versions
            .read(&origin.link, steps, &mut self.held)
            .await;
        self.find_stretches().await?;
        self.read_bodies().await
    }

    async fn build(&mut self) -> Result<Request<Bytes>, BuildError> {
        if self.safety() == Safety::Once && self.intent.is_none() {
            // It is never closed.
            self.intent = Arc::clone(&self.origin.intents).acquire_owned().await.ok();
        }
        if self.setup.ledger.waits_for_disk() {
            // The rate counts what leaves, and what waits for a disk after it was counted would leave in a burst.
            self.intend().await?;
        }
        self.make().await
    }

    async fn intend(&mut self) -> Result<(), BuildError> {
        if self.is_intended || self.safety() == Safety::Idempotent {
            return Ok(());
        }
        let gate = &self.origin.link.gate;
        let at = *self.since.get_or_insert_with(|| gate.time());
        let intended = self.setup.ledger.intend(at, &self.doubtful_records()).await;
        self.is_intended = true;
        intended.map_err(|error| self.fail(error.into()))
    }

    fn attempts(&self) -> Option<u32> {
        self.most_attempts
    }

    fn read(&mut self, answer: Result<Response<Bytes>, Fault>) -> Verdict {
        self.read_answer(answer)
    }

    fn park(&mut self) {
        self.bodies.clear();
        // Before it is sent again the file is looked at again.
        self.stretches.clear();
        self.permits.clear();
        self.ready = None;
    }

    fn observe(&mut self, moment: Moment) {
        let load = self.load;
        match moment {
            Moment::Sent { bytes } => {
                self.attempts += 1;
                // A record that is read back later may tell by its time whether this attempt has written it.
                let gate = &self.origin.link.gate;
                self.since.get_or_insert_with(|| gate.time());
                self.on_wire.store(true, Ordering::Release);
                self.setup.counts.sent(bytes);
                self.setup.observe.observe(&Event::Sent { load, bytes });
            }
            Moment::Answered {
                status,
                is_refused,
                latency,
                bytes,
            } => {
                self.on_wire.store(false, Ordering::Release);
                self.setup.observe.observe(&Event::Answered {
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
                self.setup.counts.retried();
                self.setup.observe.observe(&Event::Retrying { load, after });
            }
        }
    }
}
