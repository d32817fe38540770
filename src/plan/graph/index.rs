//! The index of records by their keys.

use std::sync::Arc;

use super::{NONE, Node};
use crate::spill::{MemoryBudget, SpillVec};

/// A list of keys and the records that have them.
#[derive(Debug)]
pub(super) struct Names {
    keys: SpillVec<u64>,
    nodes: SpillVec<Node>,
}

impl Names {
    pub(super) fn new(room: &Arc<MemoryBudget>) -> Self {
        Self {
            keys: SpillVec::new(room),
            nodes: SpillVec::new(room),
        }
    }

    pub(super) fn push(&mut self, key: u64, node: Node) {
        self.keys.push(key);
        self.nodes.push(node);
    }
}

/// An index over names: which record answers to a key. It holds places in the list, three for two names, so that a name
/// costs 18 bytes.
pub(super) struct Index {
    names: Names,
    /// Of each key the first name that has it, at the first free place from where the key points; `NONE` where free.
    places: SpillVec<u32>,
}

impl Index {
    /// Indexes names; of those with the same key, `choose` takes the record so far and the next one, and says which
    /// counts.
    pub(super) fn of(
        room: &Arc<MemoryBudget>,
        names: Names,
        mut choose: impl FnMut(Node, Node) -> Node,
    ) -> Self {
        let length = names.keys.len();
        let mut index = Self {
            places: SpillVec::filled(room, NONE, length + length / 2 + 1),
            names,
        };
        for at in 0..u32::try_from(length).unwrap_or(NONE) {
            let (Some(&key), Some(&node)) = (
                index.names.keys.get(at as usize),
                index.names.nodes.get(at as usize),
            ) else {
                break;
            };
            let slot = index.slot(key);
            let taken = index.places.get(slot).copied().filter(|&at| at != NONE);
            let place = taken.unwrap_or(at);
            let before = match taken {
                Some(place) => index.names.nodes.get(place as usize).copied(),
                None => None,
            };
            if let Some(free) = index.places.get_mut(slot) {
                *free = place;
            }
            let chosen = choose(before.unwrap_or(NONE), node);
            if let Some(slot) = index.names.nodes.get_mut(place as usize) {
                *slot = chosen;
            }
        }
        index
    }

    pub(super) fn get(&self, key: u64) -> Option<Node> {
        let at = *self.places.get(self.slot(key))?;
        self.names.nodes.get(at as usize).copied()
    }

    /// Returns where the place of a key is, or would be.
    fn slot(&self, key: u64) -> usize {
        let size = self.places.len();
        // Keys are hashes, so their highest bits spread them evenly.
        let scaled = (u128::from(key) * size as u128) >> 64;
        let mut slot = usize::try_from(scaled).unwrap_or_default();
        // A third of all places is free, so this ends.
        loop {
            match self.places.get(slot).copied() {
                Some(NONE) => return slot,
                Some(at) if self.names.keys.get(at as usize) == Some(&key) => return slot,
                Some(_) => slot += 1,
                None => slot = 0,
            }
        }
    }
}
