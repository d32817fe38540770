//! Goes through a plan and finds the records of which the history knows something.
//!
//! The n-th record of a key in the plan is the n-th that was loaded, so all records are counted, also those that are passed
//! over. The store is not asked here if it still holds what the history tells of.

use std::collections::HashMap;

use super::{Compared, HeldError};
use crate::{
    event::LoadId,
    history::{Before, Counter, History},
    plan::{
        Step,
        file::{self, PlanEntry, Saved, Steps},
    },
    record::Operation,
    send::Error,
};

/// The records of a plan of which the history knows something, in order.
pub(super) struct Walk<'a> {
    plan: &'a Saved,
    history: &'a History,
    /// The place of each target, where anything is known of it.
    places: HashMap<&'a str, String>,
    counter: Counter,
    compared: Compared,
    load: u32,
    steps: Option<Steps>,
}

/// A record, the target that it is bound for, and what is known of it.
pub(super) type Known<'a> = (&'a str, Step, Before);

impl<'a> Walk<'a> {
    /// Begins at the first record; `places` has the place of each target of which anything is known.
    pub(super) fn of(
        plan: &'a Saved,
        history: &'a History,
        places: HashMap<&'a str, String>,
        compared: Compared,
    ) -> Self {
        Self {
            plan,
            history,
            places,
            counter: Counter::default(),
            compared,
            load: 0,
            steps: None,
        }
    }

    /// Returns the next one; `see` sees every record that is sent on the way there.
    pub(super) fn next(
        &mut self,
        see: &mut dyn FnMut(&Step),
    ) -> Result<Option<Known<'a>>, HeldError> {
        let failed = |e: file::Error| Error::Plan(e.to_string());
        let plan = self.plan;
        while let Some(load) = plan.header.loads.get(self.load as usize) {
            let Some(place) = self.places.get(load.target.as_str()) else {
                self.load += 1;
                continue;
            };
            let steps = match &mut self.steps {
                Some(steps) => steps,
                none => none.insert(plan.steps(LoadId(self.load)).map_err(failed)?),
            };
            for entry in steps {
                let PlanEntry::Step(step) = entry.map_err(failed)? else {
                    continue;
                };
                let Some(interaction) = step.action.operation() else {
                    continue;
                };
                see(&step);
                // Also what is compared counts, so that the n-th stays the n-th.
                let nth = self.counter.count(place, interaction, step.hash);
                let is_compared = load.compare && interaction == Operation::Update;
                let changes = matches!(interaction, Operation::Delete | Operation::Patch);
                if is_compared && self.compared == Compared::Asked || changes {
                    continue;
                }
                let before = self.history.before(place, interaction, step.hash, nth)?;
                if let Some(before) = before.filter(|before| !is_of_other_bytes(&step, before)) {
                    return Ok(Some((&load.target, step, before)));
                }
            }
            self.steps = None;
            self.load += 1;
        }
        Ok(None)
    }
}

/// Tells whether other bytes were sent of a record than would be now: its source is the same, and the load changes it otherwise
/// than it did. A name of another form than ours is the store's own, and says nothing.
fn is_of_other_bytes(step: &Step, before: &Before) -> bool {
    let operation = step.action.operation();
    let (Some(name), Before::Loaded { id, .. }) = (&step.id, before) else {
        return false;
    };
    operation.is_some_and(Operation::names_by_content) && id.len() == name.len() && id != name
}
