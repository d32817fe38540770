//! Asks the store about records in doubt, and says what its answers prove.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Response, StatusCode};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    super::{
        Error,
        at_work::{GRACE, LOCAL_GRACE},
        context::LoadContext,
        earlier::Doubt,
        rewrite::BodyRewriter,
        settlement::{self, Attempted},
    },
    asking::Asking,
    evidence::Evidence,
    together::together,
};
use crate::{
    gate::{CallFailure, Gate, Largest},
    lookup::{self, Matches},
    manifest::{LoadSettings, Settle, Store},
    plan::Step,
    record::{Operation, Outcome, StepId},
    target::{Likeness, Target, miss_proves},
};

/// A candidate in the store for a record of ours, or the proof itself.
enum Found {
    Resource { id: String },
    Proof(Evidence),
}

/// The number of questions that are asked at once, beside the gate's own bound.
const QUESTIONS: usize = 16;

/// The grace of instances that travelled together: one that is not there yet is sent again, in a smaller company, and a store that
/// has it meanwhile says so. The bad one among many is cornered in several such steps.
const COMPANY_GRACE: Duration = Duration::from_secs(2);

/// The number of rounds in which an index that lags is asked, and the pause after each: Google's usually needs seconds.
const LAGGING: (u32, Duration) = (3, Duration::from_secs(3));

/// Returns who asks the store of this load.
pub(super) fn asker(load: &LoadContext) -> Asker<'_> {
    let target = load.setup.plan.header.target_of(load.id);
    Asker {
        settings: &load.settings,
        store: target.map(|target| &target.settings.store),
        rewriter: &load.rewriter,
        gate: &load.link.gate,
        target: &*load.link.target,
        since: None,
    }
}

/// Asks a store about records in doubt.
pub(in crate::send) struct Asker<'a> {
    /// The settings of their load.
    pub(in crate::send) settings: &'a LoadSettings,
    /// The store that is asked.
    pub(in crate::send) store: Option<&'a Store>,
    /// Reads the records.
    pub(in crate::send) rewriter: &'a Arc<BodyRewriter>,
    /// The way to the store.
    pub(in crate::send) gate: &'a Gate,
    /// The kind of target: its requests, and the meaning of its answers.
    pub(in crate::send) target: &'a dyn Target,
    /// Since when nothing is sent any more; since now where none is given.
    pub(in crate::send) since: Option<Instant>,
}

impl Asker<'_> {
    /// Asks about every record in doubt; the others get no proof. Of those that go together or not at all, one that is
    /// there proves the others.
    pub(in crate::send) async fn prove(
        &self,
        steps: &[Step],
        atomic: bool,
        doubts: &HashMap<StepId, Doubt>,
        asking: Asking,
    ) -> Result<Vec<Option<Evidence>>, Error> {
        let grace = if asking.is_lost {
            self.grace(steps)
        } else {
            Duration::ZERO
        };
        if self.settings.interaction != Some(Operation::Transmit) {
            tracing::info!(
                target = self.settings.target,
                load = self.settings.name,
                records = doubts.len() as u64,
                "nobody knows whether records arrived: the store is asked"
            );
        }
        let over = self.since.unwrap_or_else(Instant::now) + grace;
        let (rewriter, read) = (Arc::clone(self.rewriter), steps.to_vec());
        let read = tokio::task::spawn_blocking(move || rewriter.read_to_look(&read));
        let bodies = read.await.map_err(|error| Error::of_task(&error))??;
        let questions = steps.iter().zip(&bodies).map(|(step, body)| {
            let doubt = doubts.get(&step.number);
            async move {
                match doubt {
                    Some(doubt) => Some(self.find(step, doubt, body, over, asking).await),
                    None => None,
                }
            }
        });
        // Boxed: the futures borrow from this one, and the compiler loses track of that otherwise.
        let questions: Vec<futures::future::BoxFuture<'_, Option<Found>>> = questions
            .map(|question| Box::pin(question) as futures::future::BoxFuture<'_, _>)
            .collect();
        let found: Vec<Option<Found>> = stream::iter(questions).buffered(QUESTIONS).collect().await;
        // A record that is found may refer to another that is found: both were sent by the session that was cut off.
        let ids: HashMap<StepId, String> = steps
            .iter()
            .zip(&found)
            .filter_map(|(step, found)| match found {
                Some(Found::Resource { id }) => Some((step.number, format!("{}/{id}", step.kind))),
                _ => None,
            })
            .collect();
        let tags = doubts
            .iter()
            .filter_map(|(record, doubt)| Some((*record, doubt.tag.clone()?)))
            .collect();
        let (rewriter, stored) = (Arc::clone(self.rewriter), steps.to_vec());
        let read = move || rewriter.read_as_stored(&stored, &ids, &tags);
        let read = tokio::task::spawn_blocking(read);
        let bodies = read.await.map_err(|error| Error::of_task(&error))??;
        let mut proofs = Vec::with_capacity(steps.len());
        for ((step, body), found) in steps.iter().zip(&bodies).zip(found) {
            let proof = match (found, doubts.get(&step.number)) {
                (Some(Found::Resource { id }), Some(doubt)) => {
                    Some(self.compare_found(step, doubt, body, &id, asking).await)
                }
                (Some(Found::Proof(proof)), _) => Some(proof),
                _ => None,
            };
            proofs.push(proof);
        }
        if atomic {
            together(steps, &mut proofs);
        }
        Ok(proofs)
    }

    fn grace(&self, steps: &[Step]) -> Duration {
        let is_store = |step: &Step| step.action.operation() == Some(Operation::Store);
        match self.store {
            Some(Store::Local { .. }) => LOCAL_GRACE,
            _ if steps.len() > 1 && steps.iter().all(is_store) => COMPANY_GRACE,
            _ => GRACE,
        }
    }

    /// Looks for what may be a record, once what was on its way is over.
    async fn find(
        &self,
        step: &Step,
        doubt: &Doubt,
        body: &Bytes,
        over: Instant,
        asking: Asking,
    ) -> Found {
        let nothing = |why: &str| Found::Proof(Evidence::Nothing(why.to_owned()));
        let target = self.target;
        match step.action.operation() {
            Some(
                Operation::Create | Operation::ConditionalCreate | Operation::ConditionalUpdate,
            ) => {}
            Some(operation) if operation.keeps_id() => {
                let Some(id) = step.id.clone() else {
                    return nothing("it has no name to ask by");
                };
                tokio::time::sleep_until(over).await;
                return Found::Resource { id };
            }
            Some(Operation::Transmit) if self.settings.settle == Some(Settle::Resend) => {
                return Found::Proof(Evidence::Resend);
            }
            Some(Operation::Transmit) => {
                return nothing(
                    "a receiver cannot be asked; `settle: resend` sends it again, if the receiver knows what it has by MSH-10",
                );
            }
            _ => return nothing("asking the store cannot tell"),
        }
        let condition = target.condition(self.settings, step, body);
        let is_match = step.action.operation() == Some(Operation::ConditionalCreate);
        let (query, by_identifier) = match (&doubt.tag, self.settings.settles_by()) {
            _ if let Some(condition) = condition => {
                let by_identifier = condition.starts_with("identifier=");
                (condition, by_identifier)
            }
            (Some(tag), _) => match target.tagged(tag) {
                Some(query) => (query, false),
                None => return nothing("the store keeps no tags"),
            },
            (None, Settle::Identifier) => {
                match target.identifying(self.settings, step, target.kept(step, body)) {
                    Some(query) => (query, true),
                    None => return nothing("it has no identifier that `identity` names"),
                }
            }
            (None, Settle::Tag) => return nothing("it was sent without a tag"),
            (None, Settle::None | Settle::Resend) => {
                return nothing("`settle: tag` or `identifier` would let the store be asked");
            }
        };
        let proves = self
            .store
            .is_some_and(|store| miss_proves(store, by_identifier));
        tokio::time::sleep_until(over).await;
        let (rounds, pause) = if proves { (1, Duration::ZERO) } else { LAGGING };
        for round in 1.. {
            match lookup::one(self.gate, target, &step.kind, &query).await {
                Ok(Matches::One(id)) if is_match => {
                    // The resource that its condition finds is the record itself, or was there before.
                    let (outcome, attempted) = (Outcome::Matched, Attempted::default());
                    let note = asking.note();
                    let mut settled =
                        settlement::told(step.number, outcome, asking.status, attempted, note);
                    settled.line.id = Some(id);
                    return Found::Proof(Evidence::There(Box::new(settled)));
                }
                Ok(Matches::One(id)) => return Found::Resource { id },
                Ok(Matches::None) if proves => return Found::Proof(Evidence::Absent),
                Ok(Matches::None) if round >= rounds => break,
                Ok(Matches::None) => tokio::time::sleep(pause).await,
                Ok(Matches::Several) => return nothing("several records could be it"),
                Ok(Matches::Refused(status)) => {
                    let why = format!("the store answered {status} when it was asked");
                    return Found::Proof(Evidence::Unasked(why));
                }
                Err(failure) => return Found::Proof(unasked(&failure)),
            }
        }
        nothing("the store's index may lag behind, so that finding nothing proves nothing")
    }

    /// Reads a resource that may be a record of ours; where it cannot be read, tells what that proves.
    async fn read_found(
        &self,
        step: &Step,
        body: &Bytes,
        id: &str,
    ) -> Result<Response<Bytes>, Evidence> {
        let target = self.target;
        let mut reads = 0;
        let read = loop {
            reads += 1;
            let make = || {
                let mut read = target.read(&step.kind, id);
                let largest = Largest::holding(target.kept(step, body).len());
                read.extensions_mut().insert(largest);
                read
            };
            match self.gate.call_for_record(make).await {
                Ok(read) if target.is_nothing(&read) => break None,
                // An answer that was cut off, or is none of the store's, says nothing about what the store has.
                Ok(read) if read.status() == StatusCode::OK && !target.is_whole(read.body()) => {
                    if reads == READS {
                        let why = "the store's answer could not be read when it was asked";
                        return Err(Evidence::Unasked(why.to_owned()));
                    }
                }
                Ok(read) => break Some(read),
                Err(failure) => return Err(unasked(&failure)),
            }
        };
        let operation = step.action.operation();
        let is_repeatable =
            operation.is_some_and(|it| it == Operation::ConditionalUpdate || it.keeps_id());
        let status = read.as_ref().map(Response::status);
        match (status.unwrap_or(StatusCode::NOT_FOUND), read) {
            (StatusCode::OK, Some(read)) => Ok(read),
            // Sent once more, it tells itself.
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) if is_repeatable => Err(Evidence::Absent),
            (status, _) => Err(Evidence::Unasked(format!(
                "the store answered {} when it was asked",
                status.as_u16()
            ))),
        }
    }

    /// Tells whether a resource is a record of ours.
    async fn compare_found(
        &self,
        step: &Step,
        doubt: &Doubt,
        body: &Bytes,
        id: &str,
        asking: Asking,
    ) -> Evidence {
        let target = self.target;
        let interaction = step.action.operation();
        let is_update = matches!(
            interaction,
            Some(Operation::Update | Operation::ConditionalUpdate)
        );
        let read = match self.read_found(step, body, id).await {
            Ok(read) => read,
            Err(evidence) => return evidence,
        };
        let theirs = read.body();
        let there = |outcome| {
            let attempted = Attempted::default();
            let mut settled = settlement::told(
                step.number,
                outcome,
                asking.status,
                attempted,
                asking.note(),
            );
            settled.line.id = Some(id.to_owned());
            settled.line.version = target.held(&step.kind, read.headers(), theirs).version;
            Evidence::There(Box::new(settled))
        };
        match target.is_ours(step, body, &read) {
            Some(true) => return there(Outcome::Created),
            Some(false) => {
                let why = "what the store has differs from what was sent";
                return Evidence::Nothing(why.to_owned());
            }
            None => {}
        }
        let is_old = !is_update
            && match (doubt.since, target.written_at(theirs)) {
                (Some(since), Some(updated)) => is_before(updated, since),
                // A tag is this run's alone.
                _ => doubt.tag.is_none(),
            };
        if is_old {
            return Evidence::Nothing("what the store has is older".to_owned());
        }
        let ours = target.kept(step, body);
        let likeness = match interaction {
            Some(Operation::Update) => Likeness::Same,
            _ => Likeness::MadeOf,
        };
        let is_same = target.is_alike(likeness, ours, theirs);
        // A store may change what it takes. That it has written it since tells, where it answered with success, and
        // only a bare one is believed where it keeps no times.
        let is_taken = is_update && !is_same && asking.status.is_some() && {
            match (doubt.since, target.written_at(theirs)) {
                (Some(since), Some(updated)) => !is_before(updated, since),
                _ => asking.is_bare,
            }
        };
        // The tag is this record's alone: whatever the store made of it, it took it.
        let tag = doubt.tag.as_deref();
        let is_tagged = !is_update && tag.is_some_and(|tag| target.has_tag(theirs, tag));
        if !is_same && !is_taken && !is_tagged {
            return if is_update {
                Evidence::Other
            } else {
                Evidence::Nothing("what the store has differs from what was sent".to_owned())
            };
        }
        let outcome = if is_update && asking.status != Some(201) {
            Outcome::Updated
        } else {
            Outcome::Created
        };
        there(outcome)
    }
}

fn unasked(failure: &CallFailure) -> Evidence {
    if failure.is_final {
        return Evidence::Silent(failure.clone());
    }
    Evidence::Unasked(format!("the store could not be asked: {failure}"))
}

/// The number of times that a resource is read whose answer cannot be understood.
const READS: u32 = 3;

/// Tells whether a store wrote something before a time, which is by its own clock if it tells it.
fn is_before(updated: Timestamp, since: Timestamp) -> bool {
    // Its clock is known to a second, `lastUpdated` of some stores too.
    const GRANTED: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);
    since.duration_since(updated) > GRANTED
}
