//! The graph's entries for a record and for a reference, and their reading.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Graph, LINK, NONE, Node};

/// The graph's entry for a record.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct NodeRecord {
    /// The offset of its step in the draft.
    pub(in crate::plan) line: u64,
    /// The hash of its bytes.
    pub(super) content: u64,
    /// Its first reference; the next record's first ends them.
    pub(super) references: u32,
    /// The number of bytes that go to the wire; capped, for a larger record is never sent.
    pub(in crate::plan) bytes: u32,
    /// The group in which it came.
    pub(in crate::plan) group: u32,
    pub(in crate::plan) load: u16,
    /// Two truths: it is sent ([`LIVE`]), and the store keeps it under the id of the file ([`KEEPS_ID`]).
    pub(super) flags: u8,
    /// The server that its address in a Bundle names, by its number in the graph; 0 where it names none, or the target itself.
    pub(super) home: u8,
}

/// The record is sent.
pub(super) const LIVE: u8 = 1;

/// The store keeps the record under the id of the file.
pub(super) const KEEPS_ID: u8 = 2;

impl NodeRecord {
    /// It is sent.
    pub(in crate::plan) fn is_live(&self) -> bool {
        self.flags & LIVE != 0
    }

    /// It is not sent after all.
    pub(in crate::plan) fn withdraw(&mut self) {
        self.flags &= !LIVE;
    }

    /// The store keeps it under the id of the file.
    pub(in crate::plan) fn keeps_id(&self) -> bool {
        self.flags & KEEPS_ID != 0
    }
}

/// The result of resolving a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// To a record of the plan. `native`: the target finds it by itself while both travel in the same Bundle.
    Record { node: Node, native: bool },
    /// To a record of an earlier run.
    Known(u32),
    /// To nothing that is known here. `here`: the target itself would have to hold it.
    Dangling { here: bool },
    /// To several records of the plan.
    Ambiguous,
    /// Only the store can tell.
    Search,
    /// To what its own record contains, or to the record itself; or it stands in a Bundle that is stored as it is.
    Within,
}

/// A reference, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    /// Its place among the references of its record.
    pub(in crate::plan) ordinal: u32,
    /// The result of resolving it.
    pub(in crate::plan) came: Resolution,
    /// It is no reference: the URL of an attachment, a link in a narrative.
    pub(in crate::plan) is_link: bool,
    /// It names a version.
    pub(in crate::plan) versioned: bool,
    /// Its record is created without it, and then updated.
    pub(in crate::plan) late: bool,
}

/// The same identity at two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duplicate {
    /// The record that is not sent.
    pub(in crate::plan) node: Node,
    /// The record that stands for both.
    pub(in crate::plan) of: Node,
    /// Their contents differ.
    pub(in crate::plan) differs: bool,
}

/// A group as it came from its source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceGroup {
    pub(crate) group: crate::plan::Group,
    pub(crate) first: Node,
    /// One after its last.
    pub(crate) end: Node,
    /// It is over the target's limits, and its records travel in parts.
    pub(crate) split: bool,
}

// The mark of a reference: the highest bits say what it is, the rest is its ordinal.
pub(super) const VERSIONED: u32 = 1 << 31;
pub(super) const HERE: u32 = 1 << 30;
pub(super) const NATIVE: u32 = 1 << 29;
pub(super) const STATE: u32 = 0b111 << 26;
pub(super) const STATE_GLOBAL: u32 = 0;
pub(super) const STATE_CONDITION: u32 = 1 << 26;
pub(super) const STATE_SEARCH: u32 = 2 << 26;
pub(super) const STATE_NODE: u32 = 3 << 26;
pub(super) const STATE_KNOWN: u32 = 4 << 26;
pub(super) const STATE_DANGLING: u32 = 5 << 26;
pub(super) const STATE_AMBIGUOUS: u32 = 6 << 26;
/// A reference within its own record; a link that leads nowhere: it was no reference.
pub(super) const STATE_NOTHING: u32 = 7 << 26;
/// The rest of the mark: the place of a reference, as [`crate::fhir::Scanned::place_of`] has it.
pub(super) const ORDINALS: u32 = (1 << 26) - 1;

impl Graph {
    /// Returns what is known of a record; nothing of [`NONE`].
    pub(in crate::plan) fn node(&self, node: Node) -> Option<&NodeRecord> {
        self.nodes.get(node as usize)
    }

    /// Returns the references of a record, and its links that lead to a record.
    pub(in crate::plan) fn edges(&self, node: Node) -> impl Iterator<Item = Edge> {
        let start = self.node(node).map_or(0, |kept| kept.references) as usize;
        let end = self
            .nodes
            .get(node as usize + 1)
            .map_or(self.wanted.len(), |next| next.references as usize);
        let wanted = self.wanted.get(start..end).unwrap_or_default();
        let marks = self.marks.get(start..end).unwrap_or_default();
        let late = self.late.get(&node).map_or(&[][..], Vec::as_slice);
        let is_edge =
            |(_, mark): &(&u64, &u32)| **mark & STATE != STATE_NOTHING || **mark & ORDINALS < LINK;
        wanted
            .iter()
            .zip(marks)
            .filter(is_edge)
            .map(move |(&wanted, &mark)| {
                let number = u32::try_from(wanted).unwrap_or(NONE);
                Edge {
                    ordinal: mark & ORDINALS,
                    is_link: mark & ORDINALS >= LINK,
                    versioned: mark & VERSIONED != 0,
                    late: late.contains(&(mark & ORDINALS)),
                    came: match mark & STATE {
                        STATE_NODE => Resolution::Record {
                            node: number,
                            native: mark & NATIVE != 0,
                        },
                        STATE_KNOWN => Resolution::Known(number),
                        STATE_AMBIGUOUS => Resolution::Ambiguous,
                        STATE_SEARCH => Resolution::Search,
                        STATE_NOTHING => Resolution::Within,
                        _ => Resolution::Dangling {
                            here: mark & HERE != 0,
                        },
                    },
                }
            })
    }

    /// Returns the records that a record needs to be there before it.
    pub(in crate::plan) fn needs(&self, node: Node) -> impl Iterator<Item = Node> {
        self.edges(node).filter_map(|edge| match edge.came {
            Resolution::Record { node, .. } => Some(node),
            _ => None,
        })
    }

    /// Returns the records that a record needs to be there before it is sent at all.
    pub(in crate::plan) fn first_needs(&self, node: Node) -> impl Iterator<Item = Node> {
        self.edges(node).filter_map(|edge| match edge.came {
            Resolution::Record { node, .. } if !edge.late => Some(node),
            _ => None,
        })
    }
}
