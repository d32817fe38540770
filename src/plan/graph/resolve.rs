//! Resolves a graph once all records are there: who is a copy of whom, and what every reference came to.

use std::{collections::HashMap, sync::Arc};

use super::{
    Duplicate, Graph, LINK, NATIVE, NONE, Node, NodeRecord, ORDINALS, SEVERAL, STATE,
    STATE_AMBIGUOUS, STATE_CONDITION, STATE_DANGLING, STATE_GLOBAL, STATE_KNOWN, STATE_NODE,
    STATE_NOTHING, STATE_SEARCH,
    index::{Index, Names},
};
use crate::{manifest::Duplicates, spill::MemoryBudget};

impl Graph {
    /// Resolves identities and conditions: which records are copies of others, by the rules of their loads.
    ///
    /// Then resolves every reference. Returns the copies, and the pairs for which the manifest decides nothing.
    pub(in crate::plan) fn resolve(&mut self) -> (Vec<Duplicate>, Vec<Duplicate>) {
        let room = Arc::clone(&self.room);
        let taken = |names: &mut Names| std::mem::replace(names, Names::new(&room));
        let mut found = Copies::default();
        let names = taken(&mut self.identities);
        let index = found.among(self, names);
        // A record that is a copy already needs no other to stand for it.
        self.withdraw(&found.copies);
        let names = taken(&mut self.conditions);
        let conditions = found.among(self, names);
        self.withdraw(&found.copies);
        let Copies { copies, conflicts } = found;
        let stands_for: HashMap<Node, Node> =
            copies.iter().map(|copy| (copy.node, copy.of)).collect();
        let follow = |mut node: Node| {
            // With `last` a copy may itself have been replaced.
            while let Some(&next) = stands_for.get(&node) {
                node = next;
            }
            node
        };
        let aliases = unique(&room, taken(&mut self.aliases), &self.nodes, follow);
        let identifiers = unique(&room, taken(&mut self.identifiers), &self.nodes, follow);
        for (wanted, mark) in self.wanted.iter_mut().zip(self.marks.iter_mut()) {
            let (state, node) = match *mark & STATE {
                STATE_NODE => {
                    let found = Node::try_from(*wanted).unwrap_or(NONE);
                    let node = follow(found);
                    if node != found {
                        *mark &= !NATIVE;
                    }
                    (STATE_NODE, u64::from(node))
                }
                STATE_GLOBAL => match (
                    index.get(*wanted).or_else(|| aliases.get(*wanted)),
                    self.known.get(wanted),
                ) {
                    (Some(SEVERAL), None) => (STATE_DANGLING, 0),
                    (Some(node), _) if node != SEVERAL => (STATE_NODE, u64::from(follow(node))),
                    (_, Some(&known)) => (STATE_KNOWN, u64::from(known)),
                    _ => (STATE_DANGLING, 0),
                },
                // A reference that repeats the condition of a record means that one, whoever else has the identifier.
                STATE_CONDITION => match (conditions.get(*wanted), identifiers.get(*wanted)) {
                    (Some(node), _) => (STATE_NODE, u64::from(follow(node))),
                    (None, Some(SEVERAL)) => (STATE_AMBIGUOUS, 0),
                    (None, Some(node)) => (STATE_NODE, u64::from(node)),
                    (None, None) => (STATE_SEARCH, 0),
                },
                other => (other, *wanted),
            };
            // A link that leads nowhere was none.
            let is_lost = !matches!(state, STATE_NODE | STATE_KNOWN) && *mark & ORDINALS >= LINK;
            let state = if is_lost { STATE_NOTHING } else { state };
            *wanted = node;
            *mark = (*mark & !STATE) | state;
        }
        (copies, conflicts)
    }

    fn withdraw(&mut self, copies: &[Duplicate]) {
        for copy in copies {
            if let Some(kept) = self.nodes.get_mut(copy.node as usize) {
                kept.withdraw();
            }
        }
    }

    /// Returns records that share an identifier by which they are identified, and differ: each with the first of them.
    ///
    /// They are not merged: real data share identifiers between different resources (design §9).
    pub(in crate::plan) fn shared(&mut self) -> Vec<(Node, Node)> {
        let mut shared = Vec::new();
        let room = Arc::clone(&self.room);
        let names = std::mem::replace(&mut self.identifying, Names::new(&room));
        Index::of(&room, names, |before, node| {
            if let (Some(old), Some(new)) = (
                self.nodes.get(before as usize),
                self.nodes.get(node as usize),
            ) {
                if old.is_live() && new.is_live() && old.content != new.content {
                    shared.push((before, node));
                }
                return before;
            }
            node
        });
        shared
    }
}

/// Records that are the same as others.
#[derive(Default)]
struct Copies {
    copies: Vec<Duplicate>,
    /// Those for which the manifest decides nothing.
    conflicts: Vec<Duplicate>,
}

impl Copies {
    /// Finds for every name the record that has it, and which others are copies of that.
    fn among(&mut self, graph: &Graph, names: Names) -> Index {
        let Self { copies, conflicts } = self;
        Index::of(&graph.room, names, |before, node| {
            let (Some(old), Some(new)) = (graph.node(before), graph.node(node)) else {
                return node;
            };
            if !new.is_live() || !old.is_live() {
                return if new.is_live() { node } else { before };
            }
            let Some(look) = graph.looks.get(new.load as usize) else {
                return before;
            };
            let differs = old.content != new.content;
            let copy = |node, of| Duplicate { node, of, differs };
            match look.duplicates {
                Duplicates::Ignore => {}
                Duplicates::Last if differs => {
                    copies.push(copy(before, node));
                    return node;
                }
                Duplicates::Error if differs => conflicts.push(copy(node, before)),
                Duplicates::First | Duplicates::Last | Duplicates::Error => {
                    copies.push(copy(node, before));
                }
            }
            before
        })
    }
}

/// Makes an index of names that counts only where one record has them. Copies of one record are one.
fn unique(
    room: &Arc<MemoryBudget>,
    names: Names,
    nodes: &[NodeRecord],
    follow: impl Fn(Node) -> Node,
) -> Index {
    let is_live = |node: Node| nodes.get(node as usize).is_some_and(NodeRecord::is_live);
    Index::of(room, names, |before, node| {
        let node = follow(node);
        match before {
            NONE => node,
            SEVERAL => SEVERAL,
            before if before == node || !is_live(node) => before,
            before if !is_live(before) => node,
            _ => SEVERAL,
        }
    })
}
