//! The records of a request, each in one place: those that are still to be sent, and those that had their answer, by what
//! the answer said.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::{answer_order::Ordered, in_doubt::Doubtful, rewrite::wire_span};
use crate::{
    gate::{BytePermit, Cost},
    journal::Settlement,
    plan::Step,
    record::{Operation, StepId, Stretch},
};

/// The records that are still to be sent, with what is at hand of them.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) steps: Vec<Step>,
    /// The bytes of each of `steps` for the wire; empty while parked, and where they are read as the request is made.
    pub(super) bodies: Vec<Bytes>,
    pub(super) permits: Vec<BytePermit>,
    /// The stretches of those records that are too large to be held.
    pub(super) stretches: HashMap<StepId, Stretch>,
}

impl Unsent {
    pub(super) fn new(steps: Vec<Step>, bodies: Vec<Bytes>, permits: Vec<BytePermit>) -> Self {
        Self {
            steps,
            bodies,
            permits,
            stretches: HashMap::new(),
        }
    }

    pub(super) fn cost(&self) -> Cost {
        let bytes = self.steps.iter().map(|step| wire_span(step).length).sum();
        Cost {
            // A parcel has far fewer.
            operations: u32::try_from(self.steps.len()).unwrap_or(u32::MAX),
            bytes,
        }
    }

    /// Takes all of them out, each with its bytes where they are at hand.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Step, Option<Bytes>)> + use<> {
        let mut bodies = std::mem::take(&mut self.bodies).into_iter();
        let steps = std::mem::take(&mut self.steps).into_iter();
        steps.map(move |step| {
            let body = bodies.next();
            (step, body)
        })
    }

    /// Puts one back that [`take`](Self::take) has taken out: it is tried again.
    pub(super) fn put_back(&mut self, step: Step, body: Option<Bytes>) {
        self.steps.push(step);
        self.bodies.extend(body);
    }

    /// Lets go of all bytes: what waits keeps its position only. Before it is sent again the file is looked at again.
    pub(super) fn park(&mut self) {
        self.bodies.clear();
        self.stretches.clear();
        self.permits.clear();
    }
}

/// The reading of an answer for one record: the state in which the record is from then on.
#[derive(Debug)]
pub(super) enum Reading {
    /// It has an outcome.
    Settled(Settlement, Step),
    /// It was taken, without the store's saying under which id.
    Nameless(Settlement, Step),
    /// It was not taken because the store has something of that name already, and the load wants to know what that is.
    Occupied(Settlement, Step),
    /// It was refused because it names no version. Its bytes, where they are at hand.
    Unversioned(Step, Option<Bytes>),
    /// It may have been taken, and the answer does not tell.
    Doubtful(Doubtful),
    /// It is tried again.
    Again {
        step: Step,
        /// Its bytes, where they are at hand.
        body: Option<Bytes>,
        /// The store asks to be slower.
        brake: bool,
    },
}

/// The records that had their answer.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) settled: Vec<Settlement>,
    /// Records that were taken, without the store's saying under which id.
    pub(super) nameless: Vec<(Settlement, Step)>,
    /// Records whose fate depends on the order of the answer.
    pub(super) ordered: Ordered,
    /// Records that the store did not take because it has something of that name already.
    pub(super) occupied: Vec<(Settlement, Step)>,
    /// Records that were refused because they name no version.
    pub(super) unversioned: Vec<(Step, Option<Bytes>)>,
    /// Entries of a parcel that was taken, of which the answer does not tell.
    pub(super) doubtful: Vec<Doubtful>,
}

impl Answered {
    /// Takes up what has an outcome.
    pub(super) fn settle(&mut self, settled: Vec<(Settlement, Step)>) {
        let settled = settled.into_iter().map(|(settlement, _)| settlement);
        self.settled.extend(settled);
    }

    /// Gives the time of the last attempt to all that was settled without one.
    pub(super) fn time(&mut self, latency_us: u64) {
        let ordered = (self.ordered.created.iter_mut()).chain(&mut self.ordered.refused);
        let to_ask = self.nameless.iter_mut().chain(ordered);
        let to_ask = to_ask.chain(&mut self.occupied).map(|(settled, _)| settled);
        for settled in self.settled.iter_mut().chain(to_ask) {
            settled.line.latency_us = settled.line.latency_us.or(Some(latency_us));
        }
    }

    /// Returns those outcomes that hold as they are when the run is stopping and nobody asks any more.
    pub(super) fn abandon(self) -> Vec<Settlement> {
        let mut settled = self.settled;
        // While it is open which records were created and which are to be sent again, the next session asks.
        if self.ordered.put_off.is_empty() {
            let ordered = self.ordered.created.into_iter().chain(self.ordered.refused);
            settled.extend(ordered.map(|(settled, _)| settled));
        }
        // A record that may be repeated is, by the next session, which then asks for its id.
        let is_created = |step: &Step| step.action.operation() == Some(Operation::Create);
        let nameless = self.nameless.into_iter();
        settled.extend(nameless.filter_map(|(line, step)| is_created(&step).then_some(line)));
        settled
    }
}
