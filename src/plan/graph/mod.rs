//! The reference graph of a plan: who is who, and who needs whom, over all files and loads of a target.
//!
//! Filled record by record in the order of the sources, then resolved at once, because a reference may name a record that
//! comes later. Pure: what the arrangement does with it is `schedule`'s. A record costs 32 bytes, each of its keys 18
//! while the graph is resolved, a reference 12, and 4 more while the order is found.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::PlanHeader;
pub(crate) use super::key::Keys;
use crate::{
    event::LoadId,
    manifest::Duplicates,
    record::{LINK, Operation},
    spill::{MemoryBudget, SpillVec},
    target::{Endpoint, Facts},
};

mod edge;
mod index;
mod known;
mod resolve;
mod take;

pub(crate) use edge::{Duplicate, Edge, NodeRecord, Resolution, SourceGroup};
use edge::{
    HERE, KEEPS_ID, LIVE, NATIVE, ORDINALS, STATE, STATE_AMBIGUOUS, STATE_CONDITION,
    STATE_DANGLING, STATE_GLOBAL, STATE_KNOWN, STATE_NODE, STATE_NOTHING, STATE_SEARCH, VERSIONED,
};
use index::Names;
use known::Known;
pub(crate) use take::{Asks, NamedBy};

/// A record of the graph, by the order in which it was found.
pub(crate) type Node = u32;

/// No node, no group.
pub(crate) const NONE: u32 = u32::MAX;

/// The tracking of a load's records: which of their identities and references are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReferenceTracking {
    /// The target, by its place in the plan.
    pub(crate) target: u16,
    identities: bool,
    /// Their references are looked at.
    pub(crate) references: bool,
    duplicates: Duplicates,
}

/// Several records answer to a key, so it names none.
const SEVERAL: Node = u32::MAX - 1;

/// The facts of a target, and its base.
#[derive(Debug)]
struct Bound {
    facts: Facts,
    /// The base under which it is known.
    base: Option<String>,
}

/// The graph, while records come.
#[derive(Debug)]
pub(crate) struct Graph {
    /// The memory of its columns, and of those of its arrangement.
    pub(super) room: Arc<MemoryBudget>,
    keys: Keys,
    looks: Vec<ReferenceTracking>,
    targets: Vec<Bound>,
    pub(super) nodes: SpillVec<NodeRecord>,
    identities: Names,
    aliases: Names,
    identifiers: Names,
    /// The conditions by which records are created or updated.
    conditions: Names,
    /// The identifiers that identify, where the manifest says so.
    identifying: Names,
    /// Of each reference the key that it asks for; once resolved, the record.
    wanted: SpillVec<u64>,
    marks: SpillVec<u32>,
    /// Of each target how many references its records have.
    scanned: ByTarget<u64>,
    pub(crate) groups: Vec<SourceGroup>,
    /// The servers that addresses in Bundles name; the number of one is its place, from 1.
    homes: Vec<Box<str>>,
    known: Known,
    /// Of each record that travels in two steps: the references that come with the second.
    pub(super) late: HashMap<Node, Vec<u32>>,
}

impl Graph {
    /// Starts the graph of a plan.
    pub(crate) fn new(header: &PlanHeader, room: Arc<MemoryBudget>) -> Self {
        let looks = header.loads.iter().map(|load| look(header, load)).collect();
        let targets = header.targets.iter().map(|target| Bound {
            facts: target.facts.clone(),
            base: Endpoint::of(&target.settings, None)
                .ok()
                .map(|endpoint| endpoint.base.to_string()),
        });
        Self {
            keys: Keys::default(),
            looks,
            targets: targets.collect(),
            nodes: SpillVec::new(&room),
            identities: Names::new(&room),
            aliases: Names::new(&room),
            identifiers: Names::new(&room),
            conditions: Names::new(&room),
            identifying: Names::new(&room),
            wanted: SpillVec::new(&room),
            marks: SpillVec::new(&room),
            scanned: BTreeMap::new(),
            room,
            groups: Vec::new(),
            homes: Vec::new(),
            known: Known::default(),
            late: HashMap::new(),
        }
    }

    /// Takes a name under which an earlier run's record is held at a target, the server that its address names, and what it
    /// became.
    pub(crate) fn know(&mut self, key: u64, base: Option<&str>, assigned: &str) {
        let home = base.and_then(|base| self.home(base)).unwrap_or(0);
        self.known.take(key, home, assigned);
    }

    /// Returns what a known record became, as `Type/id`.
    pub(super) fn known(&self, known: u32) -> &str {
        self.known.assigned(known)
    }

    /// Tells whether nothing has to be known of the records of a load: no step of the graph is made of them.
    pub(crate) fn is_needless(&self, load: LoadId) -> bool {
        let look = self.looks.get(load.0 as usize);
        look.is_some_and(|look| !look.identities)
    }

    /// Takes something that is no record.
    pub(crate) fn blank(&mut self, load: LoadId) -> Node {
        self.push(load, 0)
    }

    /// Takes a record, by the hash of its content.
    pub(crate) fn push(&mut self, load: LoadId, content: u64) -> Node {
        let node = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.nodes.push(NodeRecord {
            line: 0,
            content,
            references: u32::try_from(self.wanted.len()).unwrap_or(NONE),
            bytes: 0,
            group: NONE,
            load: u16::try_from(load.0).unwrap_or(u16::MAX),
            flags: 0,
            home: 0,
        });
        node
    }

    /// Returns how many references the records of a target have, those that lead nowhere and those within their own record
    /// among them.
    pub(super) fn scanned(&self) -> &ByTarget<u64> {
        &self.scanned
    }

    /// Takes what was decided about a record.
    pub(crate) fn decide(&mut self, node: Node, line: u64, step: &super::Step, group: u32) {
        let Some(kept) = self.nodes.get_mut(node as usize) else {
            return;
        };
        kept.line = line;
        kept.group = group;
        let interaction = step.action.operation();
        kept.flags = match interaction {
            None => 0,
            Some(Operation::Update) => LIVE | KEEPS_ID,
            Some(_) => LIVE,
        };
        let bytes = if group == NONE && !step.is_entry() {
            step.body.length
        } else {
            step.position.span.length
        };
        kept.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// Returns the unit in which a record travels, by its first record: its group's, or its own.
    pub(super) fn unit(&self, node: Node) -> Node {
        let group = self
            .nodes
            .get(node as usize)
            .map_or(NONE, |kept| kept.group);
        match self.groups.get(group as usize) {
            Some(group) if !group.split => group.first,
            _ => node,
        }
    }

    /// Returns the target of a load, by its place in the plan.
    pub(super) fn target(&self, load: u16) -> u16 {
        self.looks.get(load as usize).map_or(0, |look| look.target)
    }
}

/// Tells what has to be looked at: no identities where every copy is sent anyway, no references where the ids are the
/// file's and the store checks none (design §3).
fn look(header: &PlanHeader, load: &crate::manifest::LoadSettings) -> ReferenceTracking {
    let place = header
        .targets
        .iter()
        .position(|target| target.settings.name == load.target);
    // No target has this number: what a load without one holds is nothing to others.
    let target = place.and_then(|place| u16::try_from(place).ok());
    let target = target.unwrap_or(u16::MAX);
    let facts = place
        .and_then(|place| header.targets.get(place))
        .map(|target| &target.facts);
    let checks = facts.is_none_or(|facts| facts.integrity != Some(false));
    // The interactions of one load of a target concern the others: their records refer to each other.
    let of_target = || {
        header
            .loads
            .iter()
            .filter(|other| other.target == load.target)
    };
    let assigns = of_target().any(|load| load.interaction != Some(Operation::Update));
    let ignores = of_target().all(|load| load.duplicates == Duplicates::Ignore);
    ReferenceTracking {
        target,
        identities: assigns || checks || !ignores,
        references: assigns || checks,
        duplicates: load.duplicates,
    }
}

/// For messages: how often something is, by the name of its target.
pub(super) type ByTarget<T> = BTreeMap<u16, T>;
