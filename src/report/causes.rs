//! The causes for which records did not arrive: those with one cause together, whatever their load and type, and with them
//! those that were blocked by them or refused in the same transaction.
//!
//! The memory for causes does not grow with the input: of each failed record eight bytes, on the disk beyond `memory`.

use std::{collections::BTreeMap, sync::Arc};

use indexmap::IndexMap;

use super::{
    document::{Cause, Example},
    join::Record,
    why::{Key, Why},
};
use crate::{
    plan::file::Saved,
    record::{Outcome, StepId},
    spill::{MemoryBudget, SpillVec},
};

/// The number of causes that a report lists. Real runs have a handful; the bound keeps a server that makes up a new
/// code for every record from growing the report with the input.
const CAUSES: usize = 100;

/// The number of records of a cause that are named; all of them stand in `records.ndjson`.
const EXAMPLES: usize = 3;

/// The number of bits that hold a cause beside a record: enough for [`CAUSES`] and one that is listed no more.
const BITS: u32 = 7;

/// The cause of those that are listed no more.
const UNLISTED: usize = CAUSES;

/// Gathers causes, record by record in the order of the plan.
#[derive(Debug)]
pub(super) struct Causes {
    listed: IndexMap<Key, Cause>,
    /// The records that failed for a cause of their own, in order, each with it.
    own: SpillVec<u64>,
    /// The records because of which others failed, as far as they had not come by; with one bit for how the others ended.
    later: SpillVec<u64>,
    /// The first of those others.
    examples: Vec<Example>,
}

impl Causes {
    pub(super) fn new(plan: &Saved) -> Self {
        let room: Arc<MemoryBudget> = MemoryBudget::new(plan.header.run.memory.0, plan.folder());
        Self {
            listed: IndexMap::new(),
            own: SpillVec::new(&room),
            later: SpillVec::new(&room),
            examples: Vec::new(),
        }
    }

    /// Takes a record that did not arrive.
    pub(super) fn take(&mut self, plan: &Saved, record: &Record) {
        if severity(record.outcome).is_none() {
            return;
        }
        let is_blocked = record.outcome == Outcome::Blocked;
        if let Some(by) = record.by {
            if let Some(cause) = self.of(by) {
                self.bring(cause, is_blocked);
            } else {
                self.later.push(by.0 << 1 | u64::from(is_blocked));
                if self.examples.len() < EXAMPLES {
                    self.examples.push(example(plan, record));
                }
            }
            return;
        }
        let why = Why::of(plan, record);
        let key = why.key(record);
        let at = match self.listed.get_index_of(&key) {
            Some(at) => at,
            None if self.listed.len() >= CAUSES => UNLISTED,
            None => self.listed.insert_full(key, why.cause(record)).0,
        };
        let number = record.step.number;
        self.own.push(number.0 << BITS | at as u64);
        let Some((_, cause)) = self.listed.get_index_mut(at) else {
            return;
        };
        cause.records += 1;
        let load = plan.header.loads.get(record.step.load.0 as usize);
        let load = load.map_or("", |load| load.name.as_str());
        if !cause.loads.iter().any(|known| known == load) {
            cause.loads.push(load.to_owned());
        }
        match cause.types.get_mut(&record.step.kind) {
            Some(count) => *count += 1,
            None => {
                cause.types.insert(record.step.kind.clone(), 1);
            }
        }
        if cause.examples.len() < EXAMPLES {
            cause.examples.push(example(plan, record));
        }
    }

    /// Returns the cause for which a record failed that has come by.
    fn of(&self, record: StepId) -> Option<usize> {
        let at = self
            .own
            .binary_search_by_key(&record.0, |own| own >> BITS)
            .ok()?;
        usize::try_from(self.own.get(at)? & ((1 << BITS) - 1)).ok()
    }

    /// Counts a record that failed because of one with this cause. With one that is not listed it is not either.
    fn bring(&mut self, cause: usize, is_blocked: bool) {
        match self.listed.get_index_mut(cause) {
            Some((_, cause)) if is_blocked => cause.blocked += 1,
            Some((_, cause)) => cause.together += 1,
            None => {}
        }
    }

    /// Returns the causes, the worst first.
    pub(super) fn finish(mut self) -> Vec<Cause> {
        let mut orphans = 0;
        for at in 0..self.later.len() {
            let Some(&later) = self.later.get(at) else {
                break;
            };
            match self.of(StepId(later >> 1)) {
                Some(cause) => self.bring(cause, later & 1 == 1),
                None => orphans += 1,
            }
        }
        let mut causes: Vec<Cause> = self.listed.into_values().collect();
        if orphans > 0 {
            causes.push(Cause {
                outcome: Outcome::Blocked.as_str(),
                what: "a record that they need has not arrived, or the store did not say its id"
                    .to_owned(),
                next: Some(
                    "`interaction: update` needs no id from the store; else load again, once what they need is there"
                        .to_owned(),
                ),
                status: None,
                code: None,
                detail: None,
                records: orphans,
                together: 0,
                blocked: 0,
                loads: Vec::new(),
                types: BTreeMap::new(),
                examples: self.examples,
            });
        }
        // The sort is stable: causes of one weight stay in the order of the plan.
        causes.sort_by_key(|cause| {
            let outcome = Outcome::ALL
                .into_iter()
                .find(|o| o.as_str() == cause.outcome);
            let all = cause.records + cause.together + cause.blocked;
            (outcome.and_then(severity), std::cmp::Reverse(all))
        });
        causes
    }
}

fn example(plan: &Saved, record: &Record) -> Example {
    let step = &record.step;
    Example {
        record: step.number,
        file: plan.source_name(step.position.source).to_owned(),
        line: step.position.line,
        entry: step.position.entry,
        expression: record.expression.clone(),
        note: record.note.clone(),
    }
}

/// Tells which outcomes are problems, and in which order they are listed.
pub(super) fn severity(outcome: Outcome) -> Option<u8> {
    match outcome {
        Outcome::Rejected => Some(0),
        Outcome::Unknown => Some(1),
        Outcome::Blocked => Some(2),
        Outcome::Unsupported => Some(3),
        Outcome::Created
        | Outcome::Updated
        | Outcome::Unchanged
        | Outcome::Matched
        | Outcome::Duplicate
        | Outcome::Pending => None,
    }
}
