//! Resolves a graph once all records are there: who is a copy of whom, and what every reference came to.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

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
        let (index, homes) = found.among(self, names, Sameness::OfId);
        // A record that is a copy already needs no other to stand for it.
        self.withdraw(&found.copies);
        let names = taken(&mut self.conditions);
        let (conditions, _) = found.among(self, names, Sameness::OfCondition);
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
        let mut owners = Owners::default();
        let marked = self.wanted.iter_mut().zip(self.marks.iter_mut());
        for (reference, (wanted, mark)) in (0_u32..).zip(marked) {
            let home = owners.home_of(&self.nodes, reference);
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
                    (index.get(*wanted))
                        .and_then(|node| homes.nearest(&self.nodes, node, home))
                        .or_else(|| aliases.get(*wanted)),
                    self.known.nearest(*wanted, home),
                ) {
                    (Some(SEVERAL), None) => (STATE_DANGLING, 0),
                    (Some(node), _) if node != SEVERAL => (STATE_NODE, u64::from(follow(node))),
                    (_, Some(known)) => (STATE_KNOWN, u64::from(known)),
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
    fn among(&mut self, graph: &Graph, names: Names, sameness: Sameness) -> (Index, Homes) {
        let mut homes = Homes::default();
        let index = Index::of(&graph.room, names, |before, node| {
            let (Some(old), Some(new)) = (graph.node(before), graph.node(node)) else {
                return node;
            };
            if !new.is_live() || !old.is_live() {
                return if new.is_live() { node } else { before };
            }
            if sameness == Sameness::OfId
                && let Some(own) = homes.apart(before, node, old, new)
            {
                // The name is that of the first; each of the others is known by its own address.
                let counts = self.decide(graph, own, node);
                homes.replace(before, own, counts, new);
                return before;
            }
            let counts = self.decide(graph, before, node);
            homes.join(before, node, counts, old, new);
            counts
        });
        (index, homes)
    }

    /// Decides which of two records that are the same is sent, by the rules of the later one's load. Returns it.
    fn decide(&mut self, graph: &Graph, before: Node, node: Node) -> Node {
        let Self { copies, conflicts } = self;
        let (Some(old), Some(new)) = (graph.node(before), graph.node(node)) else {
            return node;
        };
        if before == node {
            return node;
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
    }
}

/// The meaning of a name that two records share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sameness {
    /// They have one type and id: they are the same, unless their addresses say that they come from different servers.
    OfId,
    /// The store looks for both by one condition, and takes them for the same.
    OfCondition,
}

/// The records of one type and id that come from different servers, whose ids say nothing of each other: FHIR identifies the
/// resource of an entry by its `fullUrl` (<https://hl7.org/fhir/R4/bundle.html#bundle-unique>).
#[derive(Debug, Default)]
struct Homes {
    /// The server of a record without an address that is the same as one with an address.
    adopted: HashMap<Node, u8>,
    /// Records with an address of which there are copies without one: these may be meant from everywhere.
    common: HashSet<Node>,
    /// By the first record of a name: those of other servers that have it, one of each.
    others: HashMap<Node, Vec<(u8, Node)>>,
}

impl Homes {
    fn of(&self, node: Node, record: &NodeRecord) -> u8 {
        self.adopted.get(&node).copied().unwrap_or(record.home)
    }

    /// Returns the record of the same server as one that is not of the server of the first with its name; the record itself,
    /// where it is the first of its server. None where the two are of one server, as far as is known, or the store keeps the id
    /// of the file, under which there is room for one.
    fn apart(&self, before: Node, node: Node, old: &NodeRecord, new: &NodeRecord) -> Option<Node> {
        let (home, own) = (self.of(before, old), new.home);
        if home == own || home == 0 || own == 0 || old.keeps_id() || new.keeps_id() {
            return None;
        }
        let others = self.others.get(&before).into_iter().flatten();
        let found = others.filter(|(home, _)| *home == own);
        Some(found.map(|(_, other)| *other).next().unwrap_or(node))
    }

    /// Returns the record that a reference by type and id means in a record of the server `home`: the one of that server. None where
    /// those that have the name are of other servers.
    fn nearest(&self, nodes: &[NodeRecord], node: Node, home: u8) -> Option<Node> {
        let record = nodes.get(node as usize)?;
        let first = self.of(node, record);
        if home == 0 || first == 0 || home == first || record.keeps_id() {
            return Some(node);
        }
        let mut others = self.others.get(&node).into_iter().flatten();
        let own = others.find(|(other, _)| *other == home);
        let own = own.map(|(_, own)| *own);
        own.or_else(|| self.common.contains(&node).then_some(node))
    }

    /// Takes note which record of a server stands for the others of it.
    fn replace(&mut self, before: Node, own: Node, counts: Node, new: &NodeRecord) {
        let others = self.others.entry(before).or_default();
        others.retain(|(_, other)| *other != own);
        others.push((new.home, counts));
    }

    /// Takes note that two records are the same, and which of them counts.
    fn join(&mut self, before: Node, node: Node, counts: Node, old: &NodeRecord, new: &NodeRecord) {
        let home = match self.of(before, old) {
            0 => new.home,
            home => home,
        };
        let own = if counts == node { new.home } else { old.home };
        if own != home {
            self.adopted.insert(counts, home);
        }
        let is_common = self.common.contains(&before) || old.home == 0 || new.home == 0;
        if home != 0 && is_common {
            self.common.insert(counts);
        }
        if counts != before
            && let Some(others) = self.others.remove(&before)
        {
            self.others.insert(counts, others);
        }
    }
}

/// The records whose references they are, as one goes through all references.
#[derive(Debug, Default)]
struct Owners {
    /// The record after the one that the last reference belonged to.
    next: usize,
}

impl Owners {
    /// Returns the server of the record that a reference belongs to; references have to be asked for in their order.
    fn home_of(&mut self, nodes: &[NodeRecord], reference: u32) -> u8 {
        while nodes
            .get(self.next)
            .is_some_and(|node| node.references <= reference)
        {
            self.next += 1;
        }
        let owner = self.next.checked_sub(1).and_then(|at| nodes.get(at));
        owner.map_or(0, |owner| owner.home)
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
