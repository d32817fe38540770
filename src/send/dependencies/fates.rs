//! Fates of the records of a run: which arrived, and under which id, which did not, and why.
//!
//! A record costs 18 bytes here, its id with it, as long as the id is a UUID in its usual form. The records that wait for
//! one are not known here.

use std::{collections::HashMap, sync::Arc};

use crate::{
    journal::SettleLine,
    record::StepId,
    spill::{MemoryBudget, SpillVec},
};

/// The fates of the records of a run, as far as others depend on them.
#[derive(Debug)]
pub(super) struct Fates {
    /// Of each record its state, as a byte.
    states: SpillVec<u8>,
    /// The type of each record that arrived, as its place among the types.
    kinds: SpillVec<u8>,
    types: Types,
    /// The id of each record that arrived, where it is a UUID in its usual form.
    uuids: SpillVec<[u8; 16]>,
    /// The ids that are none; with their type where [`WHOLE`] says so.
    names: HashMap<StepId, Box<str>>,
    /// The reason why a record cannot be had, and the record to blame.
    causes: HashMap<StepId, Arc<Cause>>,
    /// The records that stand in the store and are not whole yet.
    standing: HashMap<StepId, StoredId>,
}

/// The types of the records that arrived, whatever version of FHIR they are of.
#[derive(Debug, Default)]
struct Types {
    names: Vec<Box<str>>,
}

/// The number of no type: the name of the record holds its type, too. No version of FHIR has as many types.
const WHOLE: u8 = u8::MAX;

impl Types {
    /// Returns the number of a type.
    fn number(&mut self, kind: &str) -> u8 {
        let known = self.names.iter().position(|name| **name == *kind);
        let at = known.unwrap_or(self.names.len());
        match u8::try_from(at) {
            Ok(number) if number < WHOLE => {
                if known.is_none() {
                    self.names.push(kind.into());
                }
                number
            }
            _ => WHOLE,
        }
    }

    fn name(&self, number: u8) -> Option<&str> {
        self.names.get(usize::from(number)).map(AsRef::as_ref)
    }
}

/// A record that kept others from arriving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::send) struct Cause {
    /// Its number in the plan.
    pub(in crate::send) record: StepId,
    /// Its position, and why it cannot be had: the end of a sentence that begins with `it needs`.
    pub(in crate::send) needed: Box<str>,
}

impl Cause {
    /// One of which only the number is known.
    pub(in crate::send) fn unnamed(record: StepId) -> Self {
        Self {
            record,
            needed: format!("record {record}, which did not arrive").into(),
        }
    }
}

/// The result of the first of two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::send) struct StoredId {
    /// Its status.
    pub(in crate::send) status: u16,
    /// The number of times that it was sent.
    pub(in crate::send) attempts: u32,
}

impl StoredId {
    pub(in crate::send) fn of(line: &SettleLine) -> Self {
        Self {
            // Of a lost answer there is none; operation and 0 come to what operation and 200 do.
            status: line.status.unwrap_or_default(),
            attempts: line.attempts,
        }
    }
}

/// The state of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DependencyState {
    /// It is not settled.
    Open = 0,
    /// It is in the store.
    Arrived = 1,
    /// It cannot be had.
    Failed = 2,
}

impl DependencyState {
    fn of(byte: u8) -> Self {
        match byte {
            1 => Self::Arrived,
            2 => Self::Failed,
            _ => Self::Open,
        }
    }
}

impl Fates {
    /// Knows of nothing that arrived.
    pub(super) fn new(records: u64, room: &Arc<MemoryBudget>) -> Self {
        let records = usize::try_from(records).unwrap_or(usize::MAX);
        Self {
            states: SpillVec::filled(room, DependencyState::Open as u8, records),
            kinds: SpillVec::filled(room, 0, records),
            types: Types::default(),
            uuids: SpillVec::filled(room, [0; 16], records),
            names: HashMap::new(),
            causes: HashMap::new(),
            standing: HashMap::new(),
        }
    }

    /// Returns the number of records.
    pub(super) fn records(&self) -> u64 {
        self.states.len() as u64
    }

    /// Returns the state of a record.
    pub(super) fn state(&self, record: StepId) -> DependencyState {
        let at = record.index();
        at.and_then(|at| self.states.get(at))
            .map_or(DependencyState::Open, |&state| DependencyState::of(state))
    }

    /// Takes note that a record arrived, under which id. Tells whether there is such a record.
    pub(super) fn arrive(&mut self, record: StepId, kind: &str, id: &str) -> bool {
        let Some(at) = record.index() else {
            return false;
        };
        let Some(state) = self.states.get_mut(at) else {
            return false;
        };
        *state = DependencyState::Arrived as u8;
        let number = self.types.number(kind);
        if let Some(place) = self.kinds.get_mut(at) {
            *place = number;
        }
        match uuid(id).filter(|_| number != WHOLE) {
            Some(uuid) => {
                if let Some(place) = self.uuids.get_mut(at) {
                    *place = uuid;
                }
            }
            None if number == WHOLE => {
                self.names.insert(record, format!("{kind}/{id}").into());
            }
            None => {
                self.names.insert(record, id.into());
            }
        }
        true
    }

    /// Takes note that a record stands in the store, and is not whole yet.
    pub(super) fn stand(&mut self, record: StepId, stood: StoredId) {
        self.standing.insert(record, stood);
    }

    /// Returns what came of the first request of a record that stands.
    pub(super) fn standing(&self, record: StepId) -> Option<StoredId> {
        self.standing.get(&record).copied()
    }

    /// Takes note that a record did not arrive, because of this one.
    pub(super) fn fail(&mut self, record: StepId, cause: &Arc<Cause>) {
        if let Some(state) = record.index().and_then(|at| self.states.get_mut(at)) {
            *state = DependencyState::Failed as u8;
        }
        self.causes.insert(record, Arc::clone(cause));
    }

    /// Takes note that a record is never sent; one that is settled stays as it is. Costs no more than its state: there may be as
    /// many as records.
    pub(super) fn pass(&mut self, record: StepId) {
        if let Some(state) = record.index().and_then(|at| self.states.get_mut(at))
            && *state == DependencyState::Open as u8
        {
            *state = DependencyState::Failed as u8;
        }
    }

    /// Returns because of which record one that failed cannot be had.
    pub(super) fn cause(&self, failed: StepId) -> Arc<Cause> {
        let unnamed = || Arc::new(Cause::unnamed(failed));
        self.causes.get(&failed).map_or_else(unnamed, Arc::clone)
    }

    /// Returns what a record that arrived is called in the store: `Type/id`.
    pub(super) fn resource(&self, record: StepId) -> Option<String> {
        let at = record.index()?;
        (self.state(record) == DependencyState::Arrived).then_some(())?;
        let number = *self.kinds.get(at)?;
        let name = self.names.get(&record);
        if number == WHOLE {
            return name.map(ToString::to_string);
        }
        let kind = self.types.name(number)?;
        Some(match name {
            Some(name) => format!("{kind}/{name}"),
            None => format!("{kind}/{}", uuid::Uuid::from_bytes(*self.uuids.get(at)?)),
        })
    }
}

/// Reads a UUID that is written as most servers write it; any other way is a name of its own.
fn uuid(id: &str) -> Option<[u8; 16]> {
    let uuid = uuid::Uuid::try_parse(id).ok()?;
    (uuid.as_hyphenated().to_string() == id).then(|| uuid.into_bytes())
}
