//! Units of a plan: the step, or the group with its steps, that is read, parked and sent as one.
//!
//! Here stand the reading of a unit and its needs. `dependencies` knows if the needs are met.

use std::ops::Range;

use crate::{
    plan::{
        Group, Step,
        file::{PlanEntry, Steps},
    },
    record::StepId,
    send::Error,
};

/// A step, or a group with its steps.
pub(super) struct Unit {
    pub(super) steps: Vec<Step>,
    pub(super) group: Option<Group>,
}

impl Unit {
    /// Reads the next step, or the next group with its steps.
    pub(super) fn read(entries: &mut Steps) -> Result<Option<Self>, Error> {
        let group = match entries.next() {
            None => return Ok(None),
            Some(entry) => match entry.map_err(failed)? {
                PlanEntry::Step(step) => {
                    return Ok(Some(Self {
                        steps: vec![step],
                        group: None,
                    }));
                }
                PlanEntry::Group(group) => group,
            },
        };
        let mut steps = Vec::with_capacity(group.records as usize);
        for _ in 0..group.records {
            match entries.next() {
                Some(Ok(PlanEntry::Step(step))) => steps.push(step),
                Some(Err(error)) => return Err(failed(error)),
                _ => return Err(Error::Plan("a group of the plan is cut short".to_owned())),
            }
        }
        Ok(Some(Self {
            steps,
            group: Some(group),
        }))
    }

    /// Tells whether its records need not arrive together.
    pub(super) fn is_patient(&self) -> bool {
        self.group.is_some_and(|group| !group.atomic)
    }

    /// Returns what it needs from outside of itself, among what is left to do.
    pub(super) fn needs(&self) -> Vec<StepId> {
        let own: Range<StepId> = match (self.steps.first(), self.steps.last()) {
            (Some(first), Some(last)) => first.number..last.number.next(),
            _ => StepId(0)..StepId(0),
        };
        let mut needs: Vec<StepId> = self
            .steps
            .iter()
            .flat_map(Step::needs)
            .filter(|need| !own.contains(need))
            .collect();
        needs.sort_unstable();
        needs.dedup();
        needs
    }

    /// Returns what goes before it; records that travel together follow nothing.
    pub(super) fn follows(&self) -> Vec<StepId> {
        let first = self.steps.first();
        first.map_or_else(Vec::new, |step| step.follows().collect())
    }

    /// Returns what the second request of a record needs, the first among it; none where the record has no second.
    pub(super) fn second_needs(&self) -> Option<Vec<StepId>> {
        let [step] = self.steps.as_slice() else {
            return None;
        };
        if !step.is_in_two_steps() {
            return None;
        }
        let mut needs: Vec<StepId> = step.late_needs().collect();
        needs.push(step.number);
        needs.sort_unstable();
        needs.dedup();
        Some(needs)
    }
}

/// Of a plan that cannot be read.
pub(super) fn failed(error: impl std::fmt::Display) -> Error {
    Error::Plan(error.to_string())
}
