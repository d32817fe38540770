//! Which record answers to a key.

use hashbrown::HashTable;

use super::{NONE, Node};

/// A list of keys and the records that have them.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) keys: Vec<u64>,
    pub(super) nodes: Vec<Node>,
}

impl Names {
    pub(super) fn push(&mut self, key: u64, node: Node) {
        self.keys.push(key);
        self.nodes.push(node);
    }
}

/// An index over names: which record answers to a key. It holds places in the list, so that a name costs 18 bytes at
/// the most, not 40.
pub(super) struct Index {
    names: Names,
    table: HashTable<u32>,
}

impl Index {
    /// Indexes names; of those with the same key, `choose` takes the record so far and the next one, and says which
    /// counts.
    pub(super) fn of(names: Names, mut choose: impl FnMut(Node, Node) -> Node) -> Self {
        let mut index = Self {
            table: HashTable::with_capacity(names.keys.len()),
            names,
        };
        for at in 0..u32::try_from(index.names.keys.len()).unwrap_or(NONE) {
            let Names { keys, nodes } = &mut index.names;
            let key = |at: u32| keys.get(at as usize).copied().unwrap_or_default();
            let node = nodes.get(at as usize).copied().unwrap_or(NONE);
            let entry =
                index
                    .table
                    .entry(key(at), |&other| key(other) == key(at), |&other| key(other));
            let place = match &entry {
                hashbrown::hash_table::Entry::Occupied(taken) => *taken.get(),
                hashbrown::hash_table::Entry::Vacant(_) => at,
            };
            let before = match entry {
                hashbrown::hash_table::Entry::Occupied(_) => {
                    nodes.get(place as usize).copied().unwrap_or(NONE)
                }
                hashbrown::hash_table::Entry::Vacant(free) => {
                    free.insert(at);
                    NONE
                }
            };
            let chosen = choose(before, node);
            if let Some(slot) = nodes.get_mut(place as usize) {
                *slot = chosen;
            }
        }
        index
    }

    pub(super) fn get(&self, key: u64) -> Option<Node> {
        let Names { keys, nodes } = &self.names;
        let is_it = |at: &u32| keys.get(*at as usize) == Some(&key);
        let at = *self.table.find(key, is_it)?;
        nodes.get(at as usize).copied()
    }
}
