//! The records that should be in the stores, from the plan and what its journal says.

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasher as _,
};

use rand::RngExt as _;

use super::{Error, TypeCounts, Verify};
use crate::{
    event::LoadId,
    journal::{RecordState, RecordStates},
    lookup::OpenStore,
    manifest::LoadSettings,
    plan::{
        Step,
        file::{PlanEntry, Steps},
    },
    record::{Operation, Outcome, StepId},
    send::dependencies::DependencyTracker,
};

/// The way in which a record is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It is read and compared.
    Compared,
    /// Only that it is there is known of it.
    LookedFor,
    /// Nobody knows whether it arrived.
    Doubtful,
    /// No run has loaded it.
    Unloaded,
}

/// A record, and how it is looked for.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) step: Step,
    pub(super) id: Option<String>,
    pub(super) how: How,
}

/// Records that are read together.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    pub(super) target: &'a str,
    /// None where the store itself is not there.
    pub(super) store: Option<&'a OpenStore>,
    pub(super) settings: &'a LoadSettings,
    pub(super) items: Vec<Item>,
}

/// The records that should be in the stores.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// The last record that has written what has a name, by a hash of that: two that share one are taken for the same.
    last: HashMap<u64, StepId>,
    state: foldhash::quality::RandomState,
    pub(super) kinds: BTreeMap<(String, String), u64>,
    /// By target, of stores that do not list by kind.
    pub(super) types: BTreeMap<String, TypeCounts>,
    /// The target under which all of one store are counted, and whether that lists by kind.
    places: HashMap<String, (String, bool)>,
    /// Records that are looked for.
    records: u64,
    pub(super) not_loaded: u64,
}

/// Tells how a record is looked for; none where it was not loaded.
pub(super) fn how(step: &Step, fate: RecordState, is_whole: bool) -> Option<(How, Option<String>)> {
    let operation = step.action.operation()?;
    let own = || step.id.clone().filter(|_| operation.keeps_id());
    match fate {
        RecordState::Settled(line) => {
            let id = line.id.or_else(own);
            match line.outcome {
                Outcome::Created | Outcome::Updated | Outcome::Unchanged => {
                    let is_patch = operation == Operation::Patch;
                    let how = if is_patch {
                        How::LookedFor
                    } else {
                        How::Compared
                    };
                    Some((how, id))
                }
                Outcome::Matched => Some((How::LookedFor, id)),
                Outcome::Unknown => Some((How::Doubtful, id)),
                // It stands in the store without the references that close its cycle.
                Outcome::Rejected if step.is_in_two_steps() && id.is_some() => {
                    Some((How::LookedFor, id))
                }
                _ => None,
            }
        }
        RecordState::Standing(line) => Some((How::Compared, line.id.or_else(own))),
        RecordState::Intended(_) => Some((How::Doubtful, own())),
        RecordState::Untouched if !is_whole => None,
        RecordState::Untouched => Some(match own() {
            Some(id) => (How::Compared, Some(id)),
            None => (How::Unloaded, None),
        }),
    }
}

impl Expected {
    pub(super) fn of(verify: &Verify<'_>, names: &DependencyTracker) -> Result<Self, Error> {
        let mut expected = Self::default();
        for target in &verify.plan.header.targets {
            let settings = &target.settings;
            let Some(store) = verify.stores.get(&settings.name) else {
                continue;
            };
            let by_kind = store
                .as_ref()
                .is_none_or(|store| store.target.lists_by_kind());
            let place = expected.places.entry(settings.store.place());
            place.or_insert_with(|| (settings.name.clone(), by_kind));
        }
        let mut fates = verify.history.fates();
        let loads = verify.plan.header.loads.len();
        for index in (0_u32..).take(loads) {
            for entry in verify.plan.steps(LoadId(index))? {
                let PlanEntry::Step(step) = entry? else {
                    continue;
                };
                let Some(operation) = step.action.operation() else {
                    expected.not_loaded += 1;
                    continue;
                };
                let Some((how, id)) = how(&step, fates.of(step.number)?, verify.is_whole) else {
                    expected.not_loaded += 1;
                    continue;
                };
                let Some((target, kind)) = expected.shelf(verify, &step) else {
                    continue;
                };
                if !operation.names_something() && operation != Operation::Patch {
                    // A record that was deleted is looked for no more.
                    if let Some(id) = &id {
                        let hash = expected.hash(&target, &kind, id);
                        if expected.last.remove(&hash).is_some() {
                            expected.less(target, kind);
                        }
                    }
                    continue;
                }
                if let Some(id) = &id {
                    names.mark_stored(step.number, &step.kind, id);
                }
                if how == How::Doubtful {
                    expected.records += 1;
                    if let Some(id) = &id {
                        let hash = expected.hash(&target, &kind, id);
                        expected.last.entry(hash).or_insert(step.number);
                    }
                    continue;
                }
                if let Some(id) = &id {
                    let hash = expected.hash(&target, &kind, id);
                    if expected.last.insert(hash, step.number).is_some() {
                        continue;
                    }
                }
                expected.records += 1;
                if kind.is_empty() {
                    expected.add_type(verify, &target, &step.kind);
                }
                *expected.kinds.entry((target, kind)).or_default() += 1;
            }
        }
        Ok(expected)
    }

    /// Counts a record by its type, in the words of its store.
    fn add_type(&mut self, verify: &Verify<'_>, target: &str, kind: &str) {
        let store = verify.stores.get(target).and_then(Option::as_ref);
        let counted = store.map_or(kind, |store| store.target.counted_as(kind));
        let types = self.types.entry(target.to_owned()).or_default();
        types.types.entry(counted.to_owned()).or_default().expected += 1;
    }

    fn less(&mut self, target: String, kind: String) {
        self.records = self.records.saturating_sub(1);
        if let Some(count) = self.kinds.get_mut(&(target, kind)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Returns under which target and kind a record is counted.
    fn shelf(&self, verify: &Verify<'_>, step: &Step) -> Option<(String, String)> {
        let target = verify.plan.header.target_of(step.load)?;
        let (target, by_kind) = self.places.get(&target.settings.store.place())?;
        let kind = if *by_kind { step.kind.as_str() } else { "" };
        Some((target.clone(), kind.to_owned()))
    }

    /// Returns the target under which the records of a target's store are counted, and the kind under which one is.
    pub(super) fn counted<'a>(&'a self, place: &str, kind: &'a str) -> Option<(&'a str, &'a str)> {
        let (target, by_kind) = self.places.get(place)?;
        Some((target, if *by_kind { kind } else { "" }))
    }

    /// Returns the stores that are counted: a target of each.
    pub(super) fn targets(&self) -> impl Iterator<Item = (&str, bool)> {
        let places = self.places.values();
        places.map(|(target, by_kind)| (target.as_str(), *by_kind))
    }

    fn hash(&self, target: &str, kind: &str, id: &str) -> u64 {
        self.state.hash_one((target, kind, id))
    }

    /// Tells whether a source says that a store holds something under a name.
    pub(super) fn says(&self, target: &str, kind: &str, id: &str) -> bool {
        self.last.contains_key(&self.hash(target, kind, id))
    }

    /// Tells whether a record is the last that has written what has this name.
    fn is_last(&self, target: &str, kind: &str, id: &str, record: StepId) -> bool {
        self.last.get(&self.hash(target, kind, id)) == Some(&record)
    }
}

/// The bytes of the records that are read in one request: their answers stay far below what one may take.
const BYTES: u64 = 2 << 20;

/// Goes through the records that are looked for, in the order of the plan.
pub(super) struct Walk<'a> {
    verify: &'a Verify<'a>,
    expected: &'a Expected,
    fates: RecordStates<'a>,
    load: u32,
    steps: Option<Steps>,
    /// The first record of the next unit.
    kept: Option<Item>,
    /// The number of records still to be drawn, and the number of those that are left to draw from; none where all are
    /// read.
    draw: Option<(u64, u64)>,
    /// The first record of the plan that has not been looked for.
    from: StepId,
}

impl<'a> Walk<'a> {
    /// Begins, and tells whether only some of the records are read.
    pub(super) fn new(verify: &'a Verify<'a>, expected: &'a Expected) -> (Self, bool) {
        let draw = verify.sample.filter(|sample| *sample < expected.records);
        let walk = Self {
            verify,
            expected,
            fates: verify.history.fates(),
            load: 0,
            steps: None,
            kept: None,
            draw: draw.map(|sample| (sample, expected.records)),
            from: StepId(0),
        };
        (walk, draw.is_some())
    }

    /// Leaves out the records up to this one.
    pub(super) fn go_on_after(&mut self, last: StepId) {
        self.from = last.next();
    }

    /// Returns the next records that are read together.
    pub(super) fn next(&mut self) -> Result<Option<Unit<'a>>, Error> {
        let verify = self.verify;
        while let Some(settings) = verify.plan.header.loads.get(self.load as usize) {
            let Some(store) = verify.stores.get(&settings.target) else {
                self.load += 1;
                continue;
            };
            let most = store.as_ref().map_or(1, |store| store.batch);
            let mut items: Vec<Item> = Vec::new();
            let mut bytes = 0;
            while let Some(item) = self.item()? {
                let length = item.step.body.length;
                if !items.is_empty() && bytes + length > BYTES {
                    self.kept = Some(item);
                    break;
                }
                bytes += length;
                items.push(item);
                if items.len() >= most {
                    break;
                }
            }
            if items.is_empty() {
                self.steps = None;
                self.load += 1;
                continue;
            }
            return Ok(Some(Unit {
                target: &settings.target,
                store: store.as_ref(),
                settings,
                items,
            }));
        }
        Ok(None)
    }

    /// Returns the next record of the load.
    fn item(&mut self) -> Result<Option<Item>, Error> {
        if let Some(item) = self.kept.take() {
            return Ok(Some(item));
        }
        let steps = match &mut self.steps {
            Some(steps) => steps,
            none => none.insert(self.verify.plan.steps(LoadId(self.load))?),
        };
        for entry in steps {
            let PlanEntry::Step(step) = entry? else {
                continue;
            };
            if step.number < self.from {
                continue;
            }
            let fate = self.fates.of(step.number)?;
            let Some((how, id)) = how(&step, fate, self.verify.is_whole) else {
                continue;
            };
            let names = step.action.operation().is_some_and(|operation| {
                operation.names_something() || operation == Operation::Patch
            });
            let Some((target, kind)) = self.expected.shelf(self.verify, &step) else {
                continue;
            };
            let is_last = |id: &String| self.expected.is_last(&target, &kind, id, step.number);
            let is_looked_for = match (&id, how) {
                (_, How::Doubtful) | (None, _) => true,
                (Some(id), _) => is_last(id),
            };
            if !names || !is_looked_for || !draws(&mut self.draw) {
                continue;
            }
            return Ok(Some(Item { step, id, how }));
        }
        Ok(None)
    }
}

/// Draws from a known number, each with the same chance.
fn draws(draw: &mut Option<(u64, u64)>) -> bool {
    let Some((wanted, left)) = draw else {
        return true;
    };
    if *left == 0 {
        return false;
    }
    let is_drawn = rand::rng().random_range(0..*left) < *wanted;
    *left -= 1;
    *wanted -= u64::from(is_drawn);
    is_drawn
}
