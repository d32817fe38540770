//! The records to delete: those that a run created, and their references to each other.
//!
//! Per record 24 bytes are kept, about as much for a hash of its name, and 4 for each of its references; names and versions are
//! read from plan and journal at its turn.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::BuildHasher as _,
};

use super::{
    Error, Later,
    circles::{self, References},
};
use crate::{
    journal::{self, RecordState, Removals},
    plan::{
        Step,
        file::{PlanEntry, Saved},
    },
    record::{Link, LoadId, Operation, Outcome, StepId, To},
};

/// The records to delete.
#[derive(Debug, Default)]
pub struct RemovalPlan {
    nodes: Vec<Node>,
    names: Names,
    references: References,
    /// Of a record that the same run has changed after it created it: the record that did so last.
    later: HashMap<u32, StepId>,
    /// Of a record that a later run has changed: its name by [`Later`], and the version in which that run has left it.
    since: HashMap<u32, (u64, Option<String>)>,
    /// The number of records of each target and kind.
    pub kinds: BTreeMap<(String, String), u64>,
    /// The records that the run has changed and not created, and that are not restored yet.
    pub(super) changed: Vec<Changed>,
    /// Those that were restored.
    pub(super) restored: Vec<Restored>,
    /// The number of these, by target and kind.
    pub updated: BTreeMap<(String, String), u64>,
    /// The numbers of the records that an unloading does not delete, by the reason.
    pub left: Left,
}

/// The numbers of the records that an unloading does not delete, by the reason.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Left {
    /// Messages that receivers have taken, by target: they keep nothing that could be named.
    pub transmitted: BTreeMap<String, u64>,
    /// Records of which nobody knows whether they arrived.
    pub unknown: u64,
    /// Records that the store took without saying under which id.
    pub nameless: u64,
    /// Records that were deleted before, or were found to be gone.
    pub away: u64,
}

/// A record that the run has changed and not created.
#[derive(Debug)]
pub(super) struct Changed {
    /// Of the records of the plan with its name, the one that changed it first, and the one that did last.
    pub(super) first: StepId,
    pub(super) last: StepId,
    pub(super) target: String,
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) place: String,
    /// The version in which the store has it since the unloading of a later run has put it back to what this one left.
    pub(super) since: Option<String>,
}

/// A record that an unloading has put back to what it was before the run.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) changed: Changed,
    pub(super) at: jiff::Timestamp,
    /// The version in which the store has it since, as far as that is known.
    pub(super) version: Option<String>,
}

#[derive(Debug)]
struct Node {
    number: StepId,
    /// The offset of its step in the plan.
    offset: u64,
    load: u32,
    /// The bytes of the record, as far as that number goes.
    bytes: u32,
}

/// The work of a run on a record that it may have created.
enum Made {
    /// It created it, under this id.
    Created(String),
    /// It created it, and does not know its name.
    Nameless,
    /// It sent it to a receiver.
    Transmitted,
    /// Nobody knows.
    Unknown,
    /// It changed it, under this id.
    Changed(String),
    Nothing,
}

impl Made {
    fn of(step: &Step, fate: RecordState) -> Self {
        let operation = step.action.operation();
        let named = |id: Option<String>| {
            let keeps_id = operation.is_some_and(Operation::keeps_id);
            id.or_else(|| step.id.clone().filter(|_| keeps_id))
        };
        match fate {
            RecordState::Settled(line) => match line.outcome {
                Outcome::Created if operation == Some(Operation::Transmit) => Self::Transmitted,
                Outcome::Created => named(line.id).map_or(Self::Nameless, Self::Created),
                Outcome::Updated if operation != Some(Operation::Delete) => {
                    named(line.id).map_or(Self::Nothing, Self::Changed)
                }
                Outcome::Unknown => Self::Unknown,
                // Its first request created it, and its second was refused.
                Outcome::Rejected
                    if step.is_in_two_steps() && operation == Some(Operation::Create) =>
                {
                    line.id.map_or(Self::Nothing, Self::Created)
                }
                _ => Self::Nothing,
            },
            // Its first request is done, and its second was not made.
            RecordState::Standing(line) => {
                let is_new = operation == Some(Operation::Create) || line.status == Some(201);
                match named(line.id) {
                    Some(id) if is_new => Self::Created(id),
                    _ => Self::Nothing,
                }
            }
            RecordState::Intended(_) => Self::Unknown,
            RecordState::Untouched => Self::Nothing,
        }
    }
}

impl RemovalPlan {
    /// Finds what a run created, as far as it was not deleted before. `later` are the changes by runs that are unloaded with it.
    ///
    /// # Errors
    ///
    /// When plan or journal cannot be read, or there are too many records.
    pub fn of(
        plan: &Saved,
        history: &journal::JournalIndex,
        removals: &Removals,
        later: &Later,
    ) -> Result<Self, Error> {
        let mut draft = Self::default();
        let mut fates = history.fates();
        let mut names = Names::default();
        let mut changed = HashMap::new();
        for (index, load) in (0_u32..).zip(&plan.header.loads) {
            let target = plan.header.target_of(LoadId(index));
            let place = target.map(|target| target.settings.store.place());
            let place = place.unwrap_or_default();
            let mut steps = plan.steps(LoadId(index))?;
            loop {
                let (offset, _) = steps.place();
                let step = match steps.next().transpose()? {
                    Some(PlanEntry::Step(step)) => step,
                    Some(PlanEntry::Group(_)) => continue,
                    None => break,
                };
                if step.action.operation().is_none() {
                    continue;
                }
                match Made::of(&step, fates.of(step.number)?) {
                    Made::Created(_) if removals.is_away(step.number) => draft.left.away += 1,
                    Made::Created(id) => {
                        let node = u32::try_from(draft.nodes.len()).map_err(|_| too_many())?;
                        names.put(&place, &step.kind, &id, node);
                        let name = later.name(&load.target, &step.kind, &id);
                        if let Some(left) = later.left(name) {
                            draft.since.insert(node, (name, left.version));
                        }
                        draft.nodes.push(Node {
                            number: step.number,
                            offset,
                            load: index,
                            bytes: u32::try_from(step.body.length).unwrap_or(u32::MAX),
                        });
                        let key = (load.target.clone(), step.kind);
                        *draft.kinds.entry(key).or_default() += 1;
                    }
                    Made::Changed(id) => {
                        if let Some(node) = names.get(&place, &step.kind, &id) {
                            draft.later.insert(node, step.number);
                        } else {
                            draft.note_changed(plan, &load.target, &step, id, &mut changed);
                        }
                    }
                    Made::Nameless => draft.left.nameless += 1,
                    Made::Unknown => draft.left.unknown += 1,
                    Made::Transmitted => {
                        let sent = draft.left.transmitted.entry(load.target.clone());
                        *sent.or_default() += 1;
                    }
                    Made::Nothing => {}
                }
            }
        }
        drop(changed);
        draft.names = names;
        let all = std::mem::take(&mut draft.changed);
        for mut changed in all {
            if let Some((at, version)) = removals.restored(changed.last) {
                let version = version.map(str::to_owned);
                draft.restored.push(Restored {
                    changed,
                    at,
                    version,
                });
            } else if !removals.is_undone(changed.last) {
                let name = later.name(&changed.target, &changed.kind, &changed.id);
                changed.since = later.since(name);
                draft.changed.push(changed);
            }
        }
        draft.count_changed();
        draft.refer(plan)?;
        Ok(draft)
    }

    pub(super) fn count_changed(&mut self) {
        self.updated.clear();
        for changed in &self.changed {
            let key = (changed.target.clone(), changed.kind.clone());
            *self.updated.entry(key).or_default() += 1;
        }
    }

    /// Returns the names, by [`Later`], of those records that a later run has changed.
    pub fn changed_later(&self) -> impl Iterator<Item = u64> {
        self.since.values().map(|(name, _)| *name)
    }

    /// Returns the version in which a later run has left a record; none where none has changed it.
    pub(super) fn since(&self, node: u32) -> Option<&Option<String>> {
        self.since.get(&node).map(|(_, version)| version)
    }

    fn note_changed(
        &mut self,
        plan: &Saved,
        target: &str,
        step: &Step,
        id: String,
        known: &mut HashMap<(String, String, String), usize>,
    ) {
        let key = (target.to_owned(), step.kind.clone(), id.clone());
        if let Some(changed) = known.get(&key).and_then(|at| self.changed.get_mut(*at)) {
            changed.last = step.number;
            return;
        }
        known.insert(key, self.changed.len());
        let file = plan.source_name(step.position.source);
        self.changed.push(Changed {
            first: step.number,
            last: step.number,
            target: target.to_owned(),
            kind: step.kind.clone(),
            id,
            place: step.position.display(file).to_string(),
            since: None,
        });
    }

    /// Returns how many records the run has changed and not created.
    pub fn updates(&self) -> u64 {
        self.changed.len() as u64
    }

    /// Finds out who refers to whom.
    fn refer(&mut self, plan: &Saved) -> Result<(), Error> {
        let mut references = References {
            starts: Vec::with_capacity(self.nodes.len() + 1),
            to: Vec::new(),
        };
        references.starts.push(0);
        for (index, _) in (0_u32..).zip(&plan.header.loads) {
            for entry in plan.steps(LoadId(index))? {
                let PlanEntry::Step(step) = entry? else {
                    continue;
                };
                if self.node(step.number).is_none() {
                    continue;
                }
                let referring = step.links.iter().filter_map(|link| match link.to {
                    To::Step(to) if link.reference != Link::FOLLOWS && to != step.number => {
                        self.node(to)
                    }
                    _ => None,
                });
                references.to.extend(referring);
                let end = u32::try_from(references.to.len()).map_err(|_| too_many())?;
                references.starts.push(end);
            }
        }
        self.references = references;
        Ok(())
    }

    fn node(&self, number: StepId) -> Option<u32> {
        let found = self.nodes.binary_search_by_key(&number, |node| node.number);
        found.ok().and_then(|at| u32::try_from(at).ok())
    }

    fn get(&self, node: u32) -> Option<&Node> {
        self.nodes.get(node as usize)
    }

    /// Returns how many records there are to delete.
    pub fn records(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// Returns the targets from which something is deleted, or in which something is restored.
    pub fn targets(&self, restores: bool) -> Vec<&str> {
        let updated = self.updated.keys().filter(|_| restores);
        let targets = self.kinds.keys().chain(updated);
        let targets: BTreeSet<&str> = targets.map(|(target, _)| target.as_str()).collect();
        targets.into_iter().collect()
    }

    /// Tells whether a record of a store is one of those to delete.
    pub fn deletes(&self, place: &str, kind: &str, id: &str) -> bool {
        self.names.get(place, kind, id).is_some()
    }

    /// Returns how many records the largest circle has of those that refer to each other.
    pub fn largest_circle(&self) -> u32 {
        circles::largest(&self.references)
    }

    pub(super) fn references(&self) -> &References {
        &self.references
    }

    pub(super) fn number(&self, node: u32) -> Option<StepId> {
        self.get(node).map(|node| node.number)
    }

    pub(super) fn load(&self, node: u32) -> Option<u32> {
        self.get(node).map(|node| node.load)
    }

    pub(super) fn bytes(&self, node: u32) -> u64 {
        self.get(node).map_or(0, |node| u64::from(node.bytes))
    }

    /// Reads the step of a record.
    pub(super) fn step(&self, plan: &Saved, node: u32) -> Result<Step, Error> {
        let lost = || Error::Internal("a record of the plan is not where it was".to_owned());
        let node = self.get(node).ok_or_else(lost)?;
        let mut steps = plan.steps_at(LoadId(node.load), node.offset, node.number.0)?;
        match steps.next().transpose()? {
            Some(PlanEntry::Step(step)) => Ok(step),
            _ => Err(lost()),
        }
    }

    /// Returns the record with which the run has last changed another one.
    pub(super) fn later(&self, node: u32) -> Option<StepId> {
        self.later.get(&node).copied()
    }
}

fn too_many() -> Error {
    Error::Internal("the run has more records than can be deleted together".to_owned())
}

/// The records by a hash of their names: two that share one are taken for the same at the worst, and the version tells
/// them apart then.
#[derive(Debug, Default)]
struct Names {
    nodes: HashMap<u64, u32>,
    state: foldhash::quality::RandomState,
}

impl Names {
    fn put(&mut self, place: &str, kind: &str, id: &str, node: u32) {
        let key = self.state.hash_one((place, kind, id));
        self.nodes.insert(key, node);
    }

    fn get(&self, place: &str, kind: &str, id: &str) -> Option<u32> {
        let key = self.state.hash_one((place, kind, id));
        self.nodes.get(&key).copied()
    }
}
