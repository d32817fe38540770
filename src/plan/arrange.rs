//! Puts the records of a plan in order: what is needed before what needs it, what needs each other together.
//!
//! Pure but for the draft that it reads and the sink that it writes. The order of a load is that of depth in the graph,
//! and within one depth that of the sources; whoever sends it holds to the links, not to the depths.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Action, BundleType, Group, GroupId, Header, Link, Other, PlannedSource, Reason, References,
    Step, Summary, To, batch, batching, draft,
    file::{self, Sink},
    graph::{ByTarget, Came, Graph, NONE, Node},
    order::{Needs, Order, order},
    references::Dangling,
};
use crate::{
    diagnostic::Diagnostic,
    event::LoadId,
    fhir::{Scanner, path, reference},
    record::{SourceId, Span},
    target::Facts,
};

/// Reads the bytes of a record again; none where they cannot be read twice.
pub(super) type Read<'a> = &'a dyn Fn(SourceId, Span) -> Option<Vec<u8>>;

/// What an arrangement is made of.
pub(super) struct Arrangement<'a> {
    pub(super) header: &'a Header,
    pub(super) graph: Graph,
    pub(super) draft: draft::Steps,
    pub(super) sources: &'a [PlannedSource],
    pub(super) read: Read<'a>,
    pub(super) summary: &'a mut Summary,
}

/// Why a record that was to be sent is not.
enum Fate {
    Unsupported(Reason),
    Duplicate(Node),
    Blocked(Node),
}

/// Records that travel together, as a stretch of the final order.
struct Together {
    start: usize,
    records: u32,
    bundle: BundleType,
    bytes: u64,
    atomic: bool,
    /// As it came, so that the target resolves the references in it by itself.
    whole: bool,
}

/// How many conflicts and broken barriers are named before the rest is counted.
const NAMED: usize = 20;

/// The bytes of an entry that Stoker makes, around its resource.
const ENVELOPE: u64 = 256;

impl Arrangement<'_> {
    /// Writes the plan's steps to the sink. Returns what stands in the way of a load.
    pub(super) fn write(mut self, sink: &mut dyn Sink) -> Result<Vec<Diagnostic>, file::Error> {
        let mut problems = Vec::new();
        let (copies, conflicts) = self.graph.resolve();
        let mut fates: HashMap<Node, Fate> = copies
            .iter()
            .map(|copy| (copy.node, Fate::Duplicate(copy.of)))
            .collect();
        for copy in copies.iter().chain(&conflicts) {
            let references = self.references(copy.node);
            if copy.differs {
                references.differing += 1;
            } else {
                references.identical += 1;
            }
        }
        for conflict in conflicts.iter().take(NAMED) {
            let (one, other) = (self.place(conflict.of), self.place(conflict.node));
            problems.push(
                Diagnostic::error(format!(
                    "{one} and {other} have the same identity, and differ"
                ))
                .hint("mend one of them, or say which counts: `duplicates: first`, `last`, or `ignore` to send both"),
            );
        }
        if conflicts.len() > NAMED {
            problems.push(Diagnostic::error(format!(
                "{} more records have the identity of another, and differ",
                conflicts.len() - NAMED
            )));
        }
        let differing = copies.iter().filter(|copy| copy.differs).count();
        if differing > 0 {
            let example = copies.iter().find(|copy| copy.differs).copied();
            let (one, other) = match example {
                Some(copy) => (self.place(copy.of), self.place(copy.node)),
                None => (String::new(), String::new()),
            };
            self.summary.warnings.push(format!(
                "{differing} records have the identity of another record and differ from it; they are not sent (for example {other}: {one} is sent instead; `duplicates` decides)"
            ));
        }
        let shared = self.graph.shared();
        if let Some(&(first, node)) = shared.first() {
            let (one, other) = (self.place(first), self.place(node));
            self.summary.warnings.push(format!(
                "{} records differ from another one with the same identifier of those that `identity` names; whichever comes first counts in the store (for example {one} and {other})",
                shared.len()
            ));
        }
        self.loosen();
        let order = self.order();
        problems.extend(self.broken_barriers());
        let cycles = self.cycles(&order);
        self.judge(&order, &cycles, &mut fates);
        self.count(&order, &cycles, &fates);
        let (sequence, groups) = self.sequence(&order, &cycles, &fates);
        self.emit(sink, &sequence, &groups, &fates)?;
        Ok(problems)
    }

    fn facts(&self, node: Node) -> Option<(&super::PlannedTarget, &Facts)> {
        let load = self.graph.nodes.get(node as usize)?.load;
        let target = self.header.target_of(LoadId(u32::from(load)))?;
        Some((target, &target.facts))
    }

    fn references(&mut self, node: Node) -> &mut References {
        let load = self
            .graph
            .nodes
            .get(node as usize)
            .map_or(0, |kept| kept.load);
        let name = self
            .header
            .target_of(LoadId(u32::from(load)))
            .map_or(String::new(), |target| target.settings.name.clone());
        self.summary.references.entry(name).or_default()
    }

    fn live(&self, node: Node) -> bool {
        self.graph
            .nodes
            .get(node as usize)
            .is_some_and(|kept| kept.live)
    }

    fn step(&mut self, node: Node) -> Option<Step> {
        let line = self.graph.nodes.get(node as usize)?.line;
        self.draft.at(line).ok()
    }

    /// Returns the position of a record, as `file:line`.
    fn place(&mut self, node: Node) -> String {
        match self.step(node) {
            Some(step) => {
                let file = self
                    .sources
                    .get(step.position.source.0 as usize)
                    .map_or("?", |source| &source.name);
                step.position.display(file).to_string()
            }
            None => "?".to_owned(),
        }
    }

    fn nodes(&self) -> std::ops::Range<Node> {
        0..u32::try_from(self.graph.nodes.len()).unwrap_or(NONE)
    }

    /// The entries of a batch stand each for itself: where some need others, each goes when it can.
    fn loosen(&mut self) {
        for index in 0..self.graph.groups.len() {
            let Some(group) = self.graph.groups.get(index).copied() else {
                continue;
            };
            let members = group.first..group.end;
            if group.group.bundle != BundleType::Batch
                || members
                    .clone()
                    .all(|node| self.graph.needs(node).next().is_none())
            {
                continue;
            }
            for node in members {
                if let Some(kept) = self.graph.nodes.get_mut(node as usize)
                    && kept.group as usize == index
                {
                    kept.group = NONE;
                }
            }
        }
    }

    fn order(&self) -> Order {
        let graph = &self.graph;
        let needs = Needs::collect(graph.nodes.len(), |edge| {
            for node in self.nodes().filter(|&node| self.live(node)) {
                let from = graph.unit(node);
                for need in graph.needs(node).filter(|&need| self.live(need)) {
                    let to = graph.unit(need);
                    if from != to || (node == need && self.closes(node)) {
                        edge(from, to);
                    }
                }
            }
        });
        order(&needs)
    }

    /// Tells whether a record that refers to itself needs a transaction for it: its id is not known before, or the
    /// store looks for it. Inside a group it has one already.
    fn closes(&self, node: Node) -> bool {
        let keeps = self
            .graph
            .nodes
            .get(node as usize)
            .is_some_and(|kept| kept.keeps_id);
        let checks = self
            .facts(node)
            .is_none_or(|(_, facts)| facts.integrity != Some(false));
        let loose = self.graph.unit(node) == node
            && self.graph.nodes.get(node as usize).is_some_and(|kept| {
                self.graph
                    .groups
                    .get(kept.group as usize)
                    .is_none_or(|group| group.split)
            });
        loose && (!keeps || checks)
    }

    /// References against a barrier (`after`) can never hold.
    fn broken_barriers(&mut self) -> Vec<Diagnostic> {
        let loads = &self.header.loads;
        if loads.iter().all(|load| load.after.is_empty()) {
            return Vec::new();
        }
        let mut comes_after: BTreeSet<(u16, u16)> = BTreeSet::new();
        for (index, load) in (0_u16..).zip(loads) {
            let mut todo: Vec<&String> = load.after.iter().collect();
            while let Some(name) = todo.pop() {
                let before = (0_u16..).zip(loads).find(|(_, load)| load.name == *name);
                if let Some((before, load)) = before
                    && comes_after.insert((index, before))
                {
                    todo.extend(&load.after);
                }
            }
        }
        let load = |node: Node| {
            self.graph
                .nodes
                .get(node as usize)
                .map_or(0, |kept| kept.load)
        };
        let mut broken = Vec::new();
        let mut count = 0_usize;
        for node in self.nodes().filter(|&node| self.live(node)) {
            for need in self.graph.needs(node).filter(|&need| self.live(need)) {
                if comes_after.contains(&(load(need), load(node))) {
                    count += 1;
                    if broken.len() < NAMED {
                        broken.push((node, need));
                    }
                }
            }
        }
        let mut problems: Vec<Diagnostic> = Vec::new();
        for (node, need) in broken {
            let names = [node, need].map(|node| {
                let load = self
                    .graph
                    .nodes
                    .get(node as usize)
                    .map_or(0, |kept| kept.load);
                loads.get(load as usize).map_or("?", |load| &load.name)
            });
            let (from, to) = (self.place(node), self.place(need));
            let [before, after] = names;
            problems.push(
                Diagnostic::error(format!(
                    "{from} (load `{before}`) refers to {to} (load `{after}`), which is loaded after it"
                ))
                .hint("leave out `after`: records go out when what they refer to has arrived"),
            );
        }
        if count > NAMED {
            problems.push(Diagnostic::error(format!(
                "{} more references point at records that are loaded after theirs",
                count - NAMED
            )));
        }
        problems
    }

    /// Returns the records of each cycle, by component.
    fn cycles(&self, order: &Order) -> BTreeMap<u32, Vec<Node>> {
        let mut cycles: BTreeMap<u32, Vec<Node>> = order
            .cycles
            .iter()
            .map(|&component| (component, Vec::new()))
            .collect();
        if cycles.is_empty() {
            return cycles;
        }
        for node in self.nodes().filter(|&node| self.live(node)) {
            if let Some(members) = cycles.get_mut(&self.component(order, node)) {
                members.push(node);
            }
        }
        cycles
    }

    fn component(&self, order: &Order, node: Node) -> u32 {
        let unit = self.graph.unit(node);
        order.component.get(unit as usize).copied().unwrap_or(NONE)
    }

    /// Why a cycle cannot travel as one transaction.
    fn obstacle(&self, members: &[Node]) -> Option<Reason> {
        let (target, facts) = self.facts(*members.first()?)?;
        let bytes: u64 = members
            .iter()
            .map(|&node| self.bytes(node) + ENVELOPE)
            .sum();
        let most = facts.limits.transaction_entries.unwrap_or(u32::MAX);
        let most = target
            .settings
            .rate
            .map_or(most, |rate| most.min(rate.amount.get() - 1));
        let room = facts.limits.bundle_bytes.unwrap_or(u64::MAX);
        let count = members.len();
        let message = if facts.transaction == Some(false) {
            format!(
                "it refers to itself through {count} records, and the target executes no transactions"
            )
        } else if count as u64 > u64::from(most) || bytes > room {
            format!(
                "it refers to itself through {count} records of {bytes} bytes, and the target takes {most} and {room} in a transaction"
            )
        } else {
            return None;
        };
        Some(Reason {
            code: "cycle".to_owned(),
            message,
            path: None,
        })
    }

    fn bytes(&self, node: Node) -> u64 {
        self.graph
            .nodes
            .get(node as usize)
            .map_or(0, |kept| u64::from(kept.bytes))
    }

    /// Finds the records that cannot be loaded because of their references, and those that need them.
    fn judge(
        &mut self,
        order: &Order,
        cycles: &BTreeMap<u32, Vec<Node>>,
        fates: &mut HashMap<Node, Fate>,
    ) {
        for members in cycles.values() {
            if let Some(reason) = self.obstacle(members) {
                for &node in members {
                    fates.insert(node, Fate::Unsupported(reason.clone()));
                }
            }
        }
        for node in self.nodes().filter(|&node| self.live(node)) {
            let is_ambiguous = |edge: super::graph::Edge| edge.came == Came::Ambiguous;
            if self.graph.edges(node).any(is_ambiguous) {
                let reason = Reason {
                    code: "ambiguous-reference".to_owned(),
                    message: "several records answer to one of its conditional references"
                        .to_owned(),
                    path: None,
                };
                fates.insert(node, Fate::Unsupported(reason));
            }
        }
        for &node in fates.keys() {
            if let Some(kept) = self.graph.nodes.get_mut(node as usize) {
                kept.live = false;
            }
        }
        // Components are numbered after what they need, so one pass in that order sees the whole chain.
        let mut units: Vec<Node> = self.nodes().collect();
        units.sort_by_key(|&node| (self.component(order, node), node));
        let mut from = 0;
        while let Some(&first) = units.get(from) {
            let component = self.component(order, first);
            let rest = units.get(from..).unwrap_or_default();
            let length = rest
                .iter()
                .take_while(|&&node| self.component(order, node) == component)
                .count();
            let members = rest.get(..length).unwrap_or_default().to_vec();
            from += length;
            let by = members
                .iter()
                .filter(|&&node| self.live(node))
                .find_map(|&node| {
                    let mut needs = self.graph.needs(node);
                    needs.find(|&need| !self.live(need))
                });
            // Where one of those who travel together cannot go, or has been taken out, none of them can.
            let by = by.or_else(|| {
                let together = members.len() > 1;
                let refused = |node: &&Node| matches!(fates.get(*node), Some(Fate::Unsupported(_)));
                members.iter().find(refused).copied().filter(|_| together)
            });
            let Some(by) = by else { continue };
            let root = match fates.get(&by) {
                Some(Fate::Blocked(root)) => *root,
                _ => by,
            };
            for node in members {
                if self.live(node) {
                    fates.insert(node, Fate::Blocked(root));
                    if let Some(kept) = self.graph.nodes.get_mut(node as usize) {
                        kept.live = false;
                    }
                }
            }
        }
    }

    /// Counts what was found, and names the first dangling references.
    fn count(
        &mut self,
        order: &Order,
        cycles: &BTreeMap<u32, Vec<Node>>,
        fates: &HashMap<Node, Fate>,
    ) {
        let mut counts: ByTarget<References> = BTreeMap::new();
        let mut samples: Vec<(Node, u32, bool)> = Vec::new();
        for node in self.nodes() {
            let is_sent = self.live(node);
            if !is_sent
                && !matches!(
                    fates.get(&node),
                    Some(Fate::Blocked(_) | Fate::Unsupported(_))
                )
            {
                continue;
            }
            let Some(kept) = self.graph.nodes.get(node as usize) else {
                continue;
            };
            let checks = self
                .facts(node)
                .is_none_or(|(_, facts)| facts.integrity == Some(true));
            let references = counts.entry(self.graph.target(kept.load)).or_default();
            let component = self.component(order, node);
            let level = order
                .level
                .get(component as usize)
                .copied()
                .unwrap_or_default();
            references.longest_chain = std::cmp::max(references.longest_chain, level + 1);
            for edge in self.graph.edges(node) {
                match edge.came {
                    Came::Record { .. } => references.links += 1,
                    Came::Known(_) => references.known += 1,
                    Came::Search => {
                        references.looked_up += 1;
                        if samples.len() < References::SAMPLES {
                            samples.push((node, edge.ordinal, true));
                        }
                    }
                    Came::Ambiguous => references.ambiguous += 1,
                    Came::Dangling { here } => {
                        references.dangling += 1;
                        let refused = here && checks;
                        references.refused += u64::from(refused);
                        if samples.len() < References::SAMPLES {
                            samples.push((node, edge.ordinal, refused));
                        }
                    }
                }
                if edge.versioned && matches!(edge.came, Came::Record { .. } | Came::Known(_)) {
                    references.versioned += 1;
                }
            }
        }
        for node in self.at_risk(order) {
            if let Some(kept) = self.graph.nodes.get(node as usize) {
                let references = counts.entry(self.graph.target(kept.load)).or_default();
                references.at_risk += 1;
            }
        }
        for members in cycles.values() {
            let Some(kept) = members
                .first()
                .and_then(|&n| self.graph.nodes.get(n as usize))
            else {
                continue;
            };
            let references = counts.entry(self.graph.target(kept.load)).or_default();
            references.cycles += 1;
            references.cycle_records += members.len() as u64;
        }
        for (target, counted) in counts {
            let Some(target) = self.header.targets.get(target as usize) else {
                continue;
            };
            let name = target.settings.name.clone();
            let kept = self.summary.references.remove(&name).unwrap_or_default();
            let together = References {
                identical: kept.identical,
                differing: kept.differing,
                ..counted
            };
            self.summary.references.insert(name, together);
        }
        let mut scanner = Scanner::new();
        for (node, ordinal, refused) in samples {
            if let Some(dangling) = self.sample(&mut scanner, node, ordinal, refused) {
                self.references(node).samples.push(dangling);
            }
        }
    }

    /// Returns the records that do not arrive if the store holds nothing of what the plan does not know: those that refer
    /// to it, those that travel with them or not at all, and those that need them.
    fn at_risk(&self, order: &Order) -> Vec<Node> {
        let mut lost = vec![false; order.level.len()];
        let mut units: Vec<Node> = self.nodes().filter(|&node| self.live(node)).collect();
        units.sort_by_key(|&node| self.component(order, node));
        let mut at_risk = Vec::new();
        let mut from = 0;
        while let Some(&first) = units.get(from) {
            let component = self.component(order, first);
            let rest = units.get(from..).unwrap_or_default();
            let same = |node: &&Node| self.component(order, **node) == component;
            let members = rest.iter().take_while(same).count();
            let members = rest.get(..members).unwrap_or_default();
            from += members.len();
            let is_lost = members.iter().any(|&node| {
                let checks = self
                    .facts(node)
                    .is_none_or(|(_, facts)| facts.integrity == Some(true));
                self.graph.edges(node).any(|edge| match edge.came {
                    Came::Search => true,
                    Came::Dangling { here } => here && checks,
                    Came::Record { node: need, .. } => lost
                        .get(self.component(order, need) as usize)
                        .copied()
                        .unwrap_or_default(),
                    Came::Known(_) | Came::Ambiguous => false,
                })
            });
            if is_lost {
                if let Some(lost) = lost.get_mut(component as usize) {
                    *lost = true;
                }
                at_risk.extend(members);
            }
        }
        at_risk
    }

    fn sample(
        &mut self,
        scanner: &mut Scanner,
        node: Node,
        ordinal: u32,
        refused: bool,
    ) -> Option<Dangling> {
        let from = self.place(node);
        let step = self.step(node)?;
        let unread = Dangling {
            to: String::new(),
            from,
            path: step.kind.clone(),
            refused,
        };
        let Some(bytes) = (self.read)(step.position.source, step.body) else {
            return Some(unread);
        };
        let found = scanner.scan(&bytes).ok()?;
        let part = found.place_of(&bytes, ordinal)?;
        let text = part.text(&bytes);
        let to = match reference::classify(&text) {
            // What is asked for is content (design §10).
            reference::Form::Conditional { resource_type, .. } => format!("{resource_type}?…"),
            _ => text.into_owned(),
        };
        Some(Dangling {
            to,
            path: path::of(&bytes, part.start),
            ..unread
        })
    }

    /// Puts all records in their final order, with the groups among them.
    fn sequence(
        &mut self,
        order: &Order,
        cycles: &BTreeMap<u32, Vec<Node>>,
        fates: &HashMap<Node, Fate>,
    ) -> (Vec<Node>, Vec<Together>) {
        let level = |node: Node| {
            let component = self.component(order, node);
            order
                .level
                .get(component as usize)
                .copied()
                .unwrap_or_default()
        };
        let mut leads: Vec<(u16, u32, Node)> = Vec::with_capacity(self.graph.nodes.len());
        let mut led: BTreeSet<u32> = BTreeSet::new();
        for node in self.nodes() {
            let Some(kept) = self.graph.nodes.get(node as usize) else {
                continue;
            };
            if !kept.live {
                leads.push((kept.load, 0, node));
                continue;
            }
            let component = self.component(order, node);
            let together = cycles.contains_key(&component) || self.graph.unit(node) != node || {
                let group = self.graph.groups.get(kept.group as usize);
                group.is_some_and(|group| !group.split)
            };
            // Of those who travel together the first one stands for all.
            if !together || led.insert(component) {
                leads.push((kept.load, level(node), node));
            }
        }
        leads.sort_unstable();
        let mut sequence = Vec::with_capacity(self.graph.nodes.len());
        let mut groups: Vec<Together> = Vec::new();
        let mut at = 0;
        while let Some(&(load, level, node)) = leads.get(at) {
            at += 1;
            let Some(&kept) = self.graph.nodes.get(node as usize) else {
                continue;
            };
            let group = self.graph.groups.get(kept.group as usize).copied();
            let component = self.component(order, node);
            let start = sequence.len();
            let (bundle, atomic, whole) = match (kept.live, cycles.get(&component), group) {
                (true, Some(members), _) => {
                    sequence.extend(members.iter().filter(|&&node| self.live(node)));
                    (BundleType::Transaction, true, false)
                }
                (true, None, Some(group)) if !group.split => {
                    let members = group.first..group.end;
                    sequence.extend(members.filter(|&member| {
                        self.live(member) && self.graph.unit(member) == group.first
                    }));
                    (group.group.bundle, group.group.atomic, true)
                }
                (true, None, Some(group)) => {
                    // A part of a transaction that is over the limits: records of one depth never need each other.
                    let (entries, room) = self.part(node);
                    let mut bytes = self.bytes(node);
                    sequence.push(node);
                    while let Some(&(next_load, next_level, next)) = leads.get(at)
                        && (next_load, next_level) == (load, level)
                        && sequence.len() - start < entries
                        && bytes + self.bytes(next) + ENVELOPE <= room
                        && self.live(next)
                        && self
                            .graph
                            .nodes
                            .get(next as usize)
                            .is_some_and(|n| n.group == kept.group)
                        && !cycles.contains_key(&self.component(order, next))
                    {
                        bytes += self.bytes(next) + 1;
                        sequence.push(next);
                        at += 1;
                    }
                    (group.group.bundle, false, false)
                }
                _ => {
                    sequence.push(node);
                    continue;
                }
            };
            let members = sequence.get(start..).unwrap_or_default();
            groups.push(Together {
                start,
                records: u32::try_from(members.len()).unwrap_or(u32::MAX),
                bundle,
                atomic,
                bytes: members.iter().map(|&node| self.bytes(node) + 1).sum(),
                whole,
            });
        }
        self.total(&sequence, &groups, cycles, fates);
        (sequence, groups)
    }

    /// Returns how many entries and bytes a part of a transaction may have.
    fn part(&self, node: Node) -> (usize, u64) {
        let Some((target, facts)) = self.facts(node) else {
            return (1, u64::MAX);
        };
        let entries = facts.limits.transaction_entries.unwrap_or(u32::MAX);
        let entries = entries.min(batch::rate_entries(target));
        let room = facts.limits.bundle_bytes.unwrap_or(u64::MAX);
        (entries as usize, room.saturating_sub(ENVELOPE))
    }

    /// Brings the totals up to what was arranged.
    fn total(
        &mut self,
        sequence: &[Node],
        groups: &[Together],
        cycles: &BTreeMap<u32, Vec<Node>>,
        fates: &HashMap<Node, Fate>,
    ) {
        for (&node, fate) in fates {
            let Some(step) = self.step(node) else {
                continue;
            };
            let load = self
                .graph
                .nodes
                .get(node as usize)
                .map_or(0, |kept| kept.load);
            let Some(load) = self.summary.loads.get_mut(load as usize) else {
                continue;
            };
            load.withdraw(&step.action);
            match fate {
                Fate::Unsupported(reason) => {
                    *load.unsupported.entry(reason.code.clone()).or_default() += 1;
                }
                Fate::Duplicate(_) => load.duplicates += 1,
                Fate::Blocked(_) => load.blocked += 1,
            }
        }
        let load_of = |node: Node| {
            self.graph
                .nodes
                .get(node as usize)
                .map_or(0, |kept| kept.load)
        };
        for members in cycles.values() {
            let Some(&first) = members.iter().find(|&&node| self.live(node)) else {
                continue;
            };
            if let Some(load) = self.summary.loads.get_mut(load_of(first) as usize) {
                load.cycles += 1;
            }
        }
        let mut alone: Vec<u64> = vec![0; self.summary.loads.len()];
        for &node in sequence.iter().filter(|&&node| self.live(node)) {
            if let Some(count) = alone.get_mut(load_of(node) as usize) {
                *count += 1;
            }
        }
        for group in groups {
            let load = sequence.get(group.start).map_or(0, |&node| load_of(node));
            if let Some(load) = self.summary.loads.get_mut(load as usize) {
                load.groups += 1;
                load.requests += 1;
                load.largest_group = std::cmp::max(load.largest_group, group.records);
            }
            let members = sequence.get(group.start..).unwrap_or_default();
            for &node in members.iter().take(group.records as usize) {
                if let Some(count) = alone.get_mut(load_of(node) as usize) {
                    *count -= 1;
                }
            }
        }
        for (index, (load, alone)) in (0_u32..).zip(self.summary.loads.iter_mut().zip(alone)) {
            match batching(self.header, LoadId(index)) {
                Some(batching) if alone > 0 => {
                    load.requests += alone.div_ceil(u64::from(batching.entries));
                    let entries = u64::from(batching.entries).min(alone);
                    let entries = u32::try_from(entries).unwrap_or(u32::MAX);
                    load.largest_group = std::cmp::max(load.largest_group, entries);
                }
                _ => load.requests += alone,
            }
        }
    }

    /// Writes the steps with their links.
    fn emit(
        &mut self,
        sink: &mut dyn Sink,
        sequence: &[Node],
        groups: &[Together],
        fates: &HashMap<Node, Fate>,
    ) -> Result<(), file::Error> {
        if sink.discards() {
            return Ok(());
        }
        let mut number: Vec<u32> = vec![NONE; self.graph.nodes.len()];
        for (step, &node) in (0_u32..).zip(sequence) {
            if let Some(place) = number.get_mut(node as usize) {
                *place = step;
            }
        }
        let number = |node: Node| u64::from(number.get(node as usize).copied().unwrap_or(NONE));
        let mut groups = (0_u32..).zip(groups).peekable();
        // The steps of the current group, and whether the target resolves what is in it.
        let mut current = (0..0, false);
        let mut begun = 0_usize;
        for (at, &node) in sequence.iter().enumerate() {
            let Some(&kept) = self.graph.nodes.get(node as usize) else {
                continue;
            };
            // A group that spans loads belongs to that of its first record.
            let load = if current.0.contains(&at) {
                None
            } else {
                Some(kept.load as usize)
            };
            while let Some(load) = load
                && begun <= load
            {
                sink.load(LoadId(u32::try_from(begun).unwrap_or(u32::MAX)))?;
                begun += 1;
            }
            if let Some((id, group)) = groups.next_if(|(_, group)| group.start == at) {
                current = (at..at + group.records as usize, group.whole);
                sink.group(&Group {
                    id: GroupId(id),
                    bundle: group.bundle,
                    records: group.records,
                    bytes: group.bytes,
                    atomic: group.atomic,
                })?;
            }
            let mut step = self
                .draft
                .at(kept.line)
                .map_err(|e| file::Error::draft(&e))?;
            step.number = at as u64;
            step.load = LoadId(u32::from(kept.load));
            let other = |to: Node, this: &mut Self| Other {
                step: number(to),
                place: this.place(to),
            };
            match fates.get(&node) {
                None => {}
                Some(Fate::Unsupported(reason)) => {
                    step.action = Action::Unsupported(reason.clone());
                }
                Some(Fate::Duplicate(of)) => step.action = Action::Duplicate(other(*of, self)),
                Some(Fate::Blocked(by)) => step.action = Action::Blocked(other(*by, self)),
            }
            if kept.live {
                let (together, whole) = (&current.0, current.1);
                for edge in self.graph.edges(node) {
                    let to = match edge.came {
                        Came::Record { node: to, native } => {
                            let step = number(to);
                            let inside = usize::try_from(step).is_ok_and(|s| together.contains(&s));
                            if inside && native && whole {
                                continue;
                            }
                            To::Step(step)
                        }
                        Came::Known(known) => To::Resource(self.graph.known(known).to_owned()),
                        Came::Search => To::Search,
                        Came::Dangling { .. } | Came::Ambiguous => continue,
                    };
                    step.links.push(Link {
                        reference: edge.ordinal,
                        to,
                    });
                }
            }
            sink.step(&step)?;
        }
        while begun < self.header.loads.len() {
            sink.load(LoadId(u32::try_from(begun).unwrap_or(u32::MAX)))?;
            begun += 1;
        }
        Ok(())
    }
}
