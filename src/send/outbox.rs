//! Hands over what became of the records of a request, as soon as it is known.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{feed::Work, load::Load, settler::Told, too_large::needs, two_steps::TwoSteps};
use crate::{
    journal::Settlement,
    plan::Step,
    record::{Interaction, Outcome},
};
use tokio::sync::OwnedSemaphorePermit;

/// What is kept of a record while it is sent.
pub(super) struct Sent {
    bytes: u64,
    kind: String,
    own_id: Option<String>,
    pub(super) place: String,
}

/// Hands over what became of the records of one request.
pub(super) struct Outbox<'a> {
    load: &'a Load,
    sent: HashMap<u64, Sent>,
    /// What the store made of those of a transaction that others of it refer to; nothing where they did not arrive.
    pub(super) arrived: HashMap<u64, Option<String>>,
    /// Where those stand.
    places: HashMap<u64, String>,
    /// What kept them from being sent, by its position.
    blocked: Option<Arc<str>>,
    two: TwoSteps,
}

impl<'a> Outbox<'a> {
    pub(super) fn new(load: &'a Load, work: &Work) -> Self {
        let sent = work.steps.iter();
        let own: HashSet<u64> = work.steps.iter().map(|step| step.number).collect();
        let wanted: HashSet<u64> = match work.bundle {
            Some(_) => sent.clone().flat_map(|step| needs(step, &own)).collect(),
            None => HashSet::new(),
        };
        let places = sent.clone().filter(|step| wanted.contains(&step.number));
        Self {
            load,
            arrived: HashMap::new(),
            places: places
                .map(|step| (step.number, load.sent(step).place))
                .collect(),
            sent: sent.map(|step| (step.number, load.sent(step))).collect(),
            blocked: work.blocked.clone(),
            two: TwoSteps::of(work),
        }
    }

    /// Tells whether others of the transaction wait for what becomes of some.
    pub(super) fn is_watched(&self) -> bool {
        !self.places.is_empty()
    }

    /// Tells whether others of its transaction wait for what becomes of a record.
    pub(super) fn watches(&self, record: u64) -> bool {
        self.places.contains_key(&record)
    }

    /// Returns where an entry stands that another one of its transaction refers to.
    pub(super) fn place_of(&self, record: u64) -> String {
        let place = self.places.get(&record).cloned();
        place.unwrap_or_else(|| "an entry of its transaction".to_owned())
    }

    /// Hands settlements over; the intent is let go when they are written down.
    pub(super) async fn tell(
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
        self.load.count_failures(&settlements);
        let told = settlements.into_iter().filter_map(|settlement| {
            let sent = self.sent.remove(&settlement.line.record)?;
            let line = &settlement.line;
            if self.places.contains_key(&line.record) {
                let id = line.id.as_ref().or(sent.own_id.as_ref());
                let id = id.filter(|_| line.outcome.is_well());
                self.arrived
                    .insert(line.record, id.map(|id| format!("{}/{id}", sent.kind)));
            }
            Some(told(settlement, sent, self.blocked.as_ref()))
        });
        let mut told: Vec<Told> = told.collect();
        if let Some(last) = told.last_mut() {
            last.intent = intent;
        }
        // Nobody takes it only when the journal has failed, and that is reported where it happened.
        let _ = self.load.settler.send(told).await;
    }
}

impl Load {
    /// Hands over what became of the records of a Bundle of which others are still to be tried: what is done is written
    /// down, and others need not wait for it. Returns what has to wait, because there is too much at the moment.
    pub(super) fn hand_over(&self, done: Vec<(Settlement, Step)>) -> Vec<(Settlement, Step)> {
        if done.is_empty() {
            return done;
        }
        let Ok(permit) = self.settler.try_reserve() else {
            return done;
        };
        let mut all = Vec::with_capacity(done.len());
        let mut settlements = Vec::with_capacity(done.len());
        for (settlement, step) in done {
            settlements.push(settlement.clone());
            all.push(told(settlement, self.sent(&step), None));
        }
        self.count_failures(&settlements);
        permit.send(all);
        Vec::new()
    }

    pub(super) fn sent(&self, step: &Step) -> Sent {
        let file = self.setup.plan.source_name(step.position.source);
        let keeps_id = step.action.interaction() == Some(Interaction::Update);
        Sent {
            bytes: step.body.length,
            kind: step.kind.clone(),
            own_id: step.id.clone().filter(|_| keeps_id),
            place: step.position.display(file).to_string(),
        }
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

fn told(settlement: Settlement, sent: Sent, blocked: Option<&Arc<str>>) -> Told {
    let is_well = settlement.line.outcome.is_well();
    let is_named = settlement.line.id.is_some() || sent.own_id.is_some();
    let cause = (!is_well || !is_named).then(|| {
        let needed = || needed(&sent.place, settlement.line.outcome).into();
        blocked.cloned().unwrap_or_else(needed)
    });
    Told {
        settlement,
        bytes: sent.bytes,
        kind: sent.kind,
        own_id: sent.own_id,
        cause,
        intent: None,
    }
}
