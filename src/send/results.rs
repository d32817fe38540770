//! Hands over what became of the records of a request, as soon as it is known.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    committer::RecordResult,
    context::LoadContext,
    dependencies::Cause,
    too_large::needs,
    two_steps::TwoSteps,
    work::{Blocked, Stands, Work},
};
use crate::{
    journal::Settlement,
    plan::Step,
    record::{Operation, Outcome, Position, Span, StepId},
    target::Target,
};
use tokio::sync::OwnedSemaphorePermit;

/// The facts of a record that are kept while it is sent.
pub(super) struct Sent {
    place: RecordPosition,
    own_id: Option<String>,
}

/// The position, span and kind of a record, and the references of it that lead to a record.
pub(super) struct RecordPosition {
    pub(super) position: Position,
    pub(super) body: Span,
    pub(super) kind: String,
    pub(super) linked: Box<[u32]>,
}

/// Hands over what became of the records of one request.
pub(super) struct ResultSender<'a> {
    load: &'a LoadContext,
    sent: HashMap<StepId, Sent>,
    /// The `Type/id` of each record of a transaction that others of it refer to; none where the record did not arrive.
    pub(super) arrived: HashMap<StepId, Option<String>>,
    /// The positions of the records that others of the transaction refer to, in words.
    places: HashMap<StepId, String>,
    /// The cause that kept the records from being sent.
    blocked: Option<Arc<Cause>>,
    /// They go together or not at all.
    atomic: bool,
    two: TwoSteps,
}

impl<'a> ResultSender<'a> {
    pub(super) fn new(load: &'a LoadContext, work: &Work, stands: Option<Stands>) -> Self {
        let sent = work.steps.iter();
        let own: HashSet<StepId> = work.steps.iter().map(|step| step.number).collect();
        let wanted: HashSet<StepId> = match work.packaging {
            Some(_) => sent.clone().flat_map(|step| needs(step, &own)).collect(),
            None => HashSet::new(),
        };
        let places = sent.clone().filter(|step| wanted.contains(&step.number));
        Self {
            load,
            arrived: HashMap::new(),
            places: places
                .map(|step| (step.number, load.place(step.position)))
                .collect(),
            sent: sent.map(|step| (step.number, sent_of(step))).collect(),
            blocked: None,
            atomic: work.atomic && work.steps.len() > 1,
            two: TwoSteps::of(&work.steps, stands),
        }
    }

    /// Hands over records that are not sent.
    pub(super) fn blocked(load: &'a LoadContext, blocked: &Blocked) -> Self {
        Self {
            load,
            sent: blocked
                .steps
                .iter()
                .map(|step| (step.number, sent_of(step)))
                .collect(),
            arrived: HashMap::new(),
            places: HashMap::new(),
            blocked: Some(Arc::clone(&blocked.by)),
            atomic: false,
            two: TwoSteps::of(&blocked.steps, blocked.stands),
        }
    }

    /// Tells whether others of the transaction wait for what becomes of some.
    pub(super) fn is_watched(&self) -> bool {
        !self.places.is_empty()
    }

    /// Tells whether others of its transaction wait for what becomes of a record.
    pub(super) fn watches(&self, record: StepId) -> bool {
        self.places.contains_key(&record)
    }

    /// Returns where an entry stands that another one of its transaction refers to.
    pub(super) fn place_of(&self, record: StepId) -> String {
        let place = self.places.get(&record).cloned();
        place.unwrap_or_else(|| "an entry of its transaction".to_owned())
    }

    /// Hands settlements over; the intent is let go when they are written down.
    pub(super) async fn send_result(
        &mut self,
        mut settlements: Vec<Settlement>,
        intent: Option<OwnedSemaphorePermit>,
    ) {
        if settlements.is_empty() {
            return;
        }
        for settlement in &mut settlements {
            self.two.adjust(&mut settlement.line);
        }
        let place = |record: StepId| Some(&self.sent.get(&record)?.place);
        note_lacks(self.load, &mut settlements, place);
        if self.atomic {
            blame(&*self.load.link.target, &mut settlements);
        }
        self.load.count_failures(&settlements);
        let told = settlements.into_iter().filter_map(|settlement| {
            let sent = self.sent.remove(&settlement.line.record)?;
            let line = &settlement.line;
            if self.places.contains_key(&line.record) {
                let id = line.id.as_ref().or(sent.own_id.as_ref());
                let id = id.filter(|_| line.outcome.is_well());
                self.arrived.insert(
                    line.record,
                    id.map(|id| format!("{}/{id}", sent.place.kind)),
                );
            }
            Some(told(self.load, settlement, sent, self.blocked.as_ref()))
        });
        let mut told: Vec<RecordResult> = told.collect();
        if let Some(last) = told.last_mut() {
            last.intent = intent;
        }
        // Nobody takes it only when the journal has failed, and that is reported where it happened.
        let _ = self.load.settler.send(told).await;
    }
}

/// Hands over what became of the records of a parcel of which others are still to be tried: what is done is written
/// down, and others need not wait for it. Returns what has to wait, because there is too much at the moment.
pub(super) fn hand_over(
    load: &LoadContext,
    done: Vec<(Settlement, Step)>,
) -> Vec<(Settlement, Step)> {
    if done.is_empty() {
        return done;
    }
    let Ok(permit) = load.settler.try_reserve() else {
        return done;
    };
    let mut all = Vec::with_capacity(done.len());
    let mut settlements = Vec::with_capacity(done.len());
    for (settlement, step) in done {
        let sent = sent_of(&step);
        let mut settled = [settlement];
        note_lacks(load, &mut settled, |_| Some(&sent.place));
        let [settlement] = settled;
        settlements.push(settlement.clone());
        all.push(told(load, settlement, sent, None));
    }
    load.count_failures(&settlements);
    permit.send(all);
    Vec::new()
}

fn sent_of(step: &Step) -> Sent {
    let keeps_id = step.action.operation().is_some_and(Operation::keeps_id);
    Sent {
        place: RecordPosition {
            position: step.position,
            body: step.body,
            kind: step.kind.clone(),
            linked: step.links.iter().map(|link| link.reference).collect(),
        },
        own_id: step.id.clone().filter(|_| keeps_id),
    }
}

/// Says of records that were refused what they lack.
fn note_lacks<'p>(
    load: &LoadContext,
    settlements: &mut [Settlement],
    place: impl Fn(StepId) -> Option<&'p RecordPosition>,
) {
    let target = load.setup.plan.header.target_of(load.id);
    let facts = target.map(|target| &target.facts);
    for settlement in settlements {
        let line = &mut settlement.line;
        let is_refused = line.outcome == Outcome::Rejected
            && line.by.is_none()
            && matches!(line.status, Some(400 | 404 | 409 | 422));
        let Some(place) = is_refused.then(|| place(line.record)).flatten() else {
            continue;
        };
        // A source that is gone ends the run elsewhere; here it only leaves a report with less to say.
        if let Ok(body) = load.setup.bodies.read(place.position.source, place.body) {
            let target = &load.link.target;
            line.lacks = target.lacks(&place.kind, &body, &place.linked, facts);
        }
    }
}

fn told(
    load: &LoadContext,
    settlement: Settlement,
    sent: Sent,
    blocked: Option<&Arc<Cause>>,
) -> RecordResult {
    let line = &settlement.line;
    let own = || {
        Arc::new(Cause {
            record: line.by.unwrap_or(line.record),
            needed: needed(&load.place(sent.place.position), line.outcome).into(),
        })
    };
    // A record that needs this one waits in vain, too, if nobody knows its id.
    let has_id = line.id.is_some() || sent.own_id.is_some();
    let cause = (!line.outcome.is_well() || !has_id).then(|| blocked.cloned().unwrap_or_else(own));
    RecordResult {
        bytes: sent.place.body.length,
        kind: sent.place.kind,
        own_id: sent.own_id,
        cause,
        settlement,
        intent: None,
    }
}

/// Says of what is needed why it cannot be had: the end of a sentence that begins with `it needs`.
pub(super) fn needed(place: &str, outcome: Outcome) -> String {
    match outcome {
        Outcome::Unknown => format!("{place}, of which nobody knows whether it arrived"),
        outcome if outcome.is_well() => {
            format!("{place}, which arrived, but the store did not say under which id")
        }
        _ => format!("{place}, which did not arrive"),
    }
}

/// Of a transaction that was refused for a reference to what is not there, those with such a reference are to blame, where
/// the store did not say who is.
fn blame(target: &dyn Target, settlements: &mut [Settlement]) {
    let is_refused_for_reference = |settlement: &Settlement| {
        let line = &settlement.line;
        let (code, detail) = (line.code.as_deref(), line.detail.as_deref());
        line.outcome == Outcome::Rejected
            && line.by.is_none()
            && (line.status).is_some_and(|status| target.misses_reference(status, code, detail))
    };
    let lacks_one = |settlement: &Settlement| {
        let mut lacks = settlement.line.lacks.iter();
        lacks.any(|lack| lack.to.is_some())
    };
    let mut refused = settlements.iter().filter(|s| is_refused_for_reference(s));
    let Some(to_blame) = refused.find(|s| lacks_one(s)).map(|s| s.line.record) else {
        return;
    };
    for settlement in settlements {
        if is_refused_for_reference(settlement) && !lacks_one(settlement) {
            settlement.line.by = Some(to_blame);
            settlement.line.lacks.clear();
        }
    }
}
