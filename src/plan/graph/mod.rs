//! The reference graph of a plan: who is who, and who needs whom, over all files and loads of a target.
//!
//! Filled record by record in the order of the sources, then resolved at once, because a reference may name a record that
//! comes later. Pure: what the arrangement does with it is `arrange`'s. A record costs 32 bytes, each of its keys 18
//! while the graph is resolved, a reference 12, and 4 more while the order is found.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{
    Header,
    key::{Keys, Wanted, base_of},
};
use crate::{
    column::{Column, Room},
    event::LoadId,
    fhir::{reference::is_id, scan::LINK},
    manifest::Duplicates,
    record::Interaction,
    source::Found,
    target::Endpoint,
};

mod index;
mod resolve;

use index::Names;

/// A record of the graph, by the order in which it was found.
pub(super) type Node = u32;

/// No node, no group.
pub(super) const NONE: u32 = u32::MAX;

/// What the graph keeps of a record.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Kept {
    /// Where its step stands in the draft.
    pub(super) line: u64,
    /// The hash of its bytes.
    content: u64,
    /// Its first reference; the next record's first ends them.
    references: u32,
    /// What goes to the wire, in bytes; capped, for a larger one is never sent.
    pub(super) bytes: u32,
    /// The group in which it came.
    pub(super) group: u32,
    pub(super) load: u16,
    /// It is sent; a truth in one byte.
    live: u8,
    /// The store keeps it under the id of the file; a truth in one byte.
    keeps_id: u8,
}

impl Kept {
    /// It is sent.
    pub(super) fn is_live(&self) -> bool {
        self.live != 0
    }

    /// It is not sent after all.
    pub(super) fn withdraw(&mut self) {
        self.live = 0;
    }

    /// The store keeps it under the id of the file.
    pub(super) fn keeps_id(&self) -> bool {
        self.keeps_id != 0
    }
}

/// What a reference came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
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
}

/// A reference, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    /// Its place among the references of its record.
    pub(super) ordinal: u32,
    /// What it came to.
    pub(super) came: Came,
    /// It names a version.
    pub(super) versioned: bool,
    /// Its record is created without it, and then updated.
    pub(super) late: bool,
}

/// The same identity at two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copy {
    /// The record that is not sent.
    pub(super) node: Node,
    /// The record that stands for both.
    pub(super) of: Node,
    /// Their contents differ.
    pub(super) differs: bool,
}

/// A group as it came from its source.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceGroup {
    pub(super) group: super::Group,
    pub(super) first: Node,
    /// One after its last.
    pub(super) end: Node,
    /// It is over the target's limits, and its records travel in parts.
    pub(super) split: bool,
}

/// Whether the records of a load are looked at for identities and references.
#[derive(Debug, Clone, Copy)]
struct Look {
    target: u16,
    identities: bool,
    references: bool,
    duplicates: Duplicates,
}

/// Several records answer to a key, so it names none.
const SEVERAL: Node = u32::MAX - 1;

// How a reference is marked: the highest bits say what it is, the rest is its ordinal.
const VERSIONED: u32 = 1 << 31;
const HERE: u32 = 1 << 30;
const NATIVE: u32 = 1 << 29;
const STATE: u32 = 0b111 << 26;
const STATE_GLOBAL: u32 = 0;
const STATE_IDENTIFIER: u32 = 1 << 26;
const STATE_SEARCH: u32 = 2 << 26;
const STATE_NODE: u32 = 3 << 26;
const STATE_KNOWN: u32 = 4 << 26;
const STATE_DANGLING: u32 = 5 << 26;
const STATE_AMBIGUOUS: u32 = 6 << 26;
/// A link that leads nowhere: it was no reference.
const STATE_NOTHING: u32 = 7 << 26;
/// What is left of the mark: the place of a reference, as [`crate::fhir::Scanned::place_of`] has it.
const ORDINALS: u32 = (1 << 26) - 1;

/// The Bundle whose entries are coming.
#[derive(Debug, Default)]
struct OpenBundle {
    full_urls: HashMap<u64, Node>,
    /// References that may be to one of its own: where, and by which key.
    local: Vec<(u32, u64)>,
}

/// The graph, while records come.
#[derive(Debug)]
pub(super) struct Graph {
    /// Where its columns are, and those of who arranges it.
    pub(super) room: Arc<Room>,
    keys: Keys,
    looks: Vec<Look>,
    bases: Vec<Option<String>>,
    pub(super) nodes: Column<Kept>,
    identities: Names,
    aliases: Names,
    identifiers: Names,
    /// The identifiers that identify, where the manifest says so.
    identifying: Names,
    /// Of each reference the key that it asks for; once resolved, the record.
    wanted: Column<u64>,
    marks: Column<u32>,
    bundle: Option<OpenBundle>,
    pub(super) groups: Vec<SourceGroup>,
    known: HashMap<u64, u32>,
    known_names: Vec<Box<str>>,
    /// Of each record that travels in two steps: the references that come with the second.
    pub(super) late: HashMap<Node, Vec<u32>>,
}

impl Graph {
    /// Starts the graph of a plan.
    pub(super) fn new(header: &Header, room: Arc<Room>) -> Self {
        let looks = header.loads.iter().map(|load| look(header, load)).collect();
        let bases = header
            .targets
            .iter()
            .map(|target| {
                Endpoint::of(&target.settings, None)
                    .ok()
                    .map(|endpoint| endpoint.base.to_string())
            })
            .collect();
        Self {
            keys: Keys::default(),
            looks,
            bases,
            nodes: Column::new(&room),
            identities: Names::new(&room),
            aliases: Names::new(&room),
            identifiers: Names::new(&room),
            identifying: Names::new(&room),
            wanted: Column::new(&room),
            marks: Column::new(&room),
            room,
            bundle: None,
            groups: Vec::new(),
            known: HashMap::new(),
            known_names: Vec::new(),
            late: HashMap::new(),
        }
    }

    /// Takes a name under which an earlier run's record is held at a target: `Type/id` or a `fullUrl`, and what it
    /// became.
    pub(super) fn know(&mut self, load: LoadId, source: &str, assigned: &str) {
        let Some(&Look { target, .. }) = self.looks.get(load.0 as usize) else {
            return;
        };
        let key = match source.split_once('/') {
            Some((kind, id)) if is_id(id) && !kind.contains(':') => {
                self.keys.resource(target, kind, id)
            }
            _ => self.keys.url(target, source),
        };
        let number = u32::try_from(self.known_names.len()).unwrap_or(NONE);
        // Two runs may know the same record; what the first of the list says holds.
        if let std::collections::hash_map::Entry::Vacant(free) = self.known.entry(key) {
            free.insert(number);
            self.known_names.push(assigned.into());
        }
    }

    /// Returns what a known record became, as `Type/id`.
    pub(super) fn known(&self, known: u32) -> &str {
        self.known_names
            .get(known as usize)
            .map_or("", AsRef::as_ref)
    }

    /// Tells whether nothing has to be known of the records of a load: no step of the graph is made of them.
    pub(super) fn is_needless(&self, load: LoadId) -> bool {
        let look = self.looks.get(load.0 as usize);
        look.is_some_and(|look| !look.identities)
    }

    /// Takes something that is no record.
    pub(super) fn blank(&mut self, load: LoadId) -> Node {
        self.push(load, 0)
    }

    fn push(&mut self, load: LoadId, content: u64) -> Node {
        let node = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.nodes.push(Kept {
            line: 0,
            content,
            references: u32::try_from(self.wanted.len()).unwrap_or(NONE),
            bytes: 0,
            group: NONE,
            load: u16::try_from(load.0).unwrap_or(u16::MAX),
            live: 0,
            keeps_id: 0,
        });
        node
    }

    /// Begins a Bundle; the records that follow stand in it.
    pub(super) fn bundle_start(&mut self) {
        self.bundle = Some(OpenBundle::default());
    }

    /// Ends a Bundle: references to its own entries are resolved.
    pub(super) fn bundle_end(&mut self) {
        let Some(bundle) = self.bundle.take() else {
            return;
        };
        for (reference, key) in bundle.local {
            if let (Some(&node), Some(wanted), Some(mark)) = (
                bundle.full_urls.get(&key),
                self.wanted.get_mut(reference as usize),
                self.marks.get_mut(reference as usize),
            ) {
                *wanted = u64::from(node);
                *mark = (*mark & !STATE) | STATE_NODE | NATIVE;
            }
        }
    }

    /// Takes a record.
    pub(super) fn record(&mut self, load: LoadId, found: &Found<'_>) -> Node {
        let Some(&look) = self.looks.get(load.0 as usize) else {
            return self.blank(load);
        };
        let content = self.keys.content(found.bytes);
        let node = self.push(load, content);
        let full_url = found
            .entry
            .as_ref()
            .and_then(|entry| Some(entry.envelope.full_url?.text(entry.bytes)));
        if let (Some(kind), Some(id)) = (found.resource_type(), found.id())
            && is_id(&id)
        {
            self.identities
                .push(self.keys.resource(look.target, &kind, &id), node);
        }
        if let Some(url) = &full_url {
            let key = self.keys.url(look.target, url);
            self.aliases.push(key, node);
            if let Some(bundle) = &mut self.bundle {
                bundle.full_urls.entry(key).or_insert(node);
            }
        }
        if look.references {
            if let Some(kind) = found.resource_type() {
                for (system, value) in found.scanned.identifiers_of(found.bytes) {
                    let key = self.keys.identifier(look.target, &kind, &system, &value);
                    self.identifiers.push(key, node);
                }
            }
            // What stands in a Bundle that is stored as it is refers to its own entries first; it is left alone.
            if !found.scanned.is(found.bytes, "Bundle") {
                self.references(look.target, found, full_url.as_deref());
            }
        }
        node
    }

    fn references(&mut self, target: u16, found: &Found<'_>, full_url: Option<&str>) {
        let own = self.bases.get(target as usize).and_then(Option::as_deref);
        let base = full_url.and_then(base_of);
        for (ordinal, part) in found.scanned.places(found.bytes) {
            let is_reference = ordinal < LINK;
            let text = part.text(found.bytes);
            let (key, mark) = match self.keys.wanted(target, &text, base, own) {
                Wanted::Nothing => continue,
                // What is no reference leads to a record, or is none of ours.
                Wanted::Search | Wanted::Identifier(_) if !is_reference => continue,
                Wanted::Search => (0, STATE_SEARCH),
                Wanted::Identifier(key) => (key, STATE_IDENTIFIER),
                Wanted::Record {
                    local,
                    global,
                    versioned,
                    here,
                } => {
                    if let (Some(local), Some(bundle)) = (local, &mut self.bundle) {
                        let at = u32::try_from(self.wanted.len()).unwrap_or(NONE);
                        bundle.local.push((at, local));
                    }
                    let flag = |is: bool, bit: u32| if is { bit } else { 0 };
                    let here = here && is_reference;
                    let mark = STATE_GLOBAL | flag(versioned, VERSIONED) | flag(here, HERE);
                    (global, mark)
                }
            };
            self.wanted.push(key);
            self.marks.push(mark | ordinal);
        }
    }

    /// Takes the identifier by which the manifest identifies a record.
    pub(super) fn identified(&mut self, node: Node, kind: &str, system: &str, value: &str) {
        let Some(kept) = self.nodes.get(node as usize) else {
            return;
        };
        let key = self
            .keys
            .identifier(self.target(kept.load), kind, system, value);
        self.identifying.push(key, node);
    }

    /// Takes what was decided about a record.
    pub(super) fn decide(&mut self, node: Node, line: u64, step: &super::Step, group: u32) {
        let Some(kept) = self.nodes.get_mut(node as usize) else {
            return;
        };
        kept.line = line;
        kept.group = group;
        let interaction = step.action.interaction();
        kept.live = u8::from(interaction.is_some());
        kept.keeps_id = u8::from(interaction == Some(Interaction::Update));
        let bytes = if group == NONE && !matches!(step.action, super::Action::Entry(_)) {
            step.body.length
        } else {
            step.position.span.length
        };
        kept.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// Returns the references of a record, as far as they ask for something.
    pub(super) fn edges(&self, node: Node) -> impl Iterator<Item = Edge> {
        let start = self
            .nodes
            .get(node as usize)
            .map_or(0, |kept| kept.references) as usize;
        let end = self
            .nodes
            .get(node as usize + 1)
            .map_or(self.wanted.len(), |next| next.references as usize);
        let wanted = self.wanted.get(start..end).unwrap_or_default();
        let marks = self.marks.get(start..end).unwrap_or_default();
        let late = self.late.get(&node).map_or(&[][..], Vec::as_slice);
        let is_edge = |(_, mark): &(&u64, &u32)| **mark & STATE != STATE_NOTHING;
        wanted
            .iter()
            .zip(marks)
            .filter(is_edge)
            .map(move |(&wanted, &mark)| {
                let number = u32::try_from(wanted).unwrap_or(NONE);
                Edge {
                    ordinal: mark & ORDINALS,
                    versioned: mark & VERSIONED != 0,
                    late: late.contains(&(mark & ORDINALS)),
                    came: match mark & STATE {
                        STATE_NODE => Came::Record {
                            node: number,
                            native: mark & NATIVE != 0,
                        },
                        STATE_KNOWN => Came::Known(number),
                        STATE_AMBIGUOUS => Came::Ambiguous,
                        STATE_SEARCH => Came::Search,
                        _ => Came::Dangling {
                            here: mark & HERE != 0,
                        },
                    },
                }
            })
    }

    /// Returns the records that a record needs to be there before it.
    pub(super) fn needs(&self, node: Node) -> impl Iterator<Item = Node> {
        self.edges(node).filter_map(|edge| match edge.came {
            Came::Record { node, .. } => Some(node),
            _ => None,
        })
    }

    /// Returns the records that a record needs to be there before it is sent at all.
    pub(super) fn first_needs(&self, node: Node) -> impl Iterator<Item = Node> {
        self.edges(node).filter_map(|edge| match edge.came {
            Came::Record { node, .. } if !edge.late => Some(node),
            _ => None,
        })
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
fn look(header: &Header, load: &crate::manifest::LoadSettings) -> Look {
    let place = header
        .targets
        .iter()
        .position(|target| target.settings.name == load.target);
    let target = u16::try_from(place.unwrap_or_default()).unwrap_or(u16::MAX);
    let facts = place
        .and_then(|place| header.targets.get(place))
        .map(|target| &target.facts);
    let checks = facts.is_none_or(|facts| facts.integrity != Some(false));
    // What one load of a target does concerns the others: their records refer to each other.
    let of_target = || {
        header
            .loads
            .iter()
            .filter(|other| other.target == load.target)
    };
    let assigns = of_target().any(|load| load.interaction != Some(Interaction::Update));
    let ignores = of_target().all(|load| load.duplicates == Duplicates::Ignore);
    Look {
        target,
        identities: assigns || checks || !ignores,
        references: assigns || checks,
        duplicates: load.duplicates,
    }
}

/// For messages: how often something is, by the name of its target.
pub(super) type ByTarget<T> = BTreeMap<u16, T>;
