//! Takes in the word of a format on a record: its names, and the things that its references ask for.
//!
//! The records to which references lead are known when all records are there (`resolve`), but where a format knows them
//! before.

use super::{
    Graph, HERE, Keys, LINK, NATIVE, NONE, Node, ORDINALS, ReferenceTracking, STATE,
    STATE_CONDITION, STATE_DANGLING, STATE_GLOBAL, STATE_NODE, STATE_NOTHING, VERSIONED,
};
use crate::event::LoadId;

/// The way in which a name names a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// No other record has it: two with one are one.
    Identity,
    /// Others may have it, and then it names none.
    Alias,
    /// As [`NamedBy::Alias`], for the references that search by it.
    Identifier,
    /// The condition by which the store looks for the record before it is written: two with one are one.
    Condition,
    /// The identifier by which the manifest identifies it: two with one are said.
    Identifying,
}

/// The thing that a reference asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// A part of its own record, or the record itself.
    Within,
    /// Nothing that a name could name.
    Nothing,
    /// The record of a name.
    Record {
        /// The name.
        key: u64,
        /// Nobody but the target itself can have it, if the run has not.
        here: bool,
    },
    /// The record that answers to a condition.
    Condition(u64),
}

impl Graph {
    /// Makes the names of records.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Tells whether the records of a load are looked at for identities and references; none of a load that is not there.
    pub(crate) fn look(&self, load: LoadId) -> Option<ReferenceTracking> {
        self.looks.get(load.0 as usize).copied()
    }

    /// Returns the base under which a target is known.
    pub(crate) fn base(&self, target: u16) -> Option<&str> {
        self.targets.get(target as usize)?.base.as_deref()
    }

    /// Tells whether a target takes records of a kind.
    pub(crate) fn takes(&self, target: u16, kind: &str) -> bool {
        let target = self.targets.get(target as usize);
        target.is_some_and(|target| target.facts.takes(kind))
    }

    /// Gives a record a name.
    pub(crate) fn name(&mut self, by: NamedBy, key: u64, node: Node) {
        let names = match by {
            NamedBy::Identity => &mut self.identities,
            NamedBy::Alias => &mut self.aliases,
            NamedBy::Identifier => &mut self.identifiers,
            NamedBy::Condition => &mut self.conditions,
            NamedBy::Identifying => &mut self.identifying,
        };
        names.push(key, node);
    }

    /// Takes the server that the address of a record in its Bundle names: the base of its `Type/id`.
    pub(crate) fn settle_at(&mut self, node: Node, base: &str) {
        if let (Some(home), Some(kept)) = (self.home(base), self.nodes.get_mut(node as usize)) {
            kept.home = home;
        }
    }

    /// Returns the number of a server, from 1. Beyond 255 servers, a record has none that counts.
    pub(super) fn home(&mut self, base: &str) -> Option<u8> {
        let plain = base.split_once("://").map_or(base, |(_, rest)| rest);
        let at = self.homes.iter().position(|home| **home == *plain);
        let at = at.unwrap_or_else(|| {
            if self.homes.len() < usize::from(u8::MAX) {
                self.homes.push(plain.into());
            }
            self.homes.len() - 1
        });
        let is_known = self.homes.get(at).is_some_and(|home| **home == *plain);
        u8::try_from(at + 1).ok().filter(|_| is_known)
    }

    /// Takes a reference of the record that came last, by its place in it. Returns its number among all.
    pub(crate) fn reference(&mut self, ordinal: u32, asks: Asks, versioned: bool) -> u32 {
        let (key, state) = match asks {
            Asks::Within => (0, STATE_NOTHING),
            Asks::Nothing => (0, STATE_DANGLING),
            Asks::Record { key, here: true } => (key, STATE_GLOBAL | HERE),
            Asks::Record { key, here: false } => (key, STATE_GLOBAL),
            Asks::Condition(key) => (key, STATE_CONDITION),
        };
        let at = u32::try_from(self.wanted.len()).unwrap_or(NONE);
        let versioned = if versioned { VERSIONED } else { 0 };
        self.wanted.push(key);
        self.marks.push(state | versioned | ordinal);
        at
    }

    /// Resolves a reference to a record, unless it is resolved; with `is_definition` only what is a reference, for the record's
    /// name is that of what it defines. With `is_native` the target finds it by itself while both travel together.
    pub(crate) fn resolve_to(
        &mut self,
        reference: u32,
        node: Node,
        is_native: bool,
        is_definition: bool,
    ) {
        let (Some(wanted), Some(mark)) = (
            self.wanted.get_mut(reference as usize),
            self.marks.get_mut(reference as usize),
        ) else {
            return;
        };
        let is_canonical = is_definition && *mark & ORDINALS >= LINK;
        if *mark & STATE != STATE_NODE && !is_canonical {
            *wanted = u64::from(node);
            let native = if is_native { NATIVE } else { 0 };
            *mark = (*mark & !STATE) | STATE_NODE | native;
        }
    }

    /// Counts references that were looked at.
    pub(crate) fn count_references(&mut self, target: u16, count: u64) {
        if count > 0 {
            *self.scanned.entry(target).or_default() += count;
        }
    }
}
