//! The final order of a plan: by depth, and within one depth by the sources; who travels together stands together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Arrangement, ENVELOPE, Fate, Together};
use crate::{
    event::LoadId,
    plan::{
        Action, BundleType, Group, GroupId, Link, Other, To, batch, batching,
        file::{self, Sink},
        graph::{Came, NONE, Node},
        order::Order,
    },
};

impl Arrangement<'_> {
    /// Puts all records in their final order, with the groups among them.
    pub(super) fn sequence(
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
    pub(super) fn part(&self, node: Node) -> (usize, u64) {
        let Some((target, facts)) = self.facts(node) else {
            return (1, u64::MAX);
        };
        let entries = facts.limits.transaction_entries.unwrap_or(u32::MAX);
        let entries = entries.min(batch::rate_entries(target));
        let room = facts.limits.bundle_bytes.unwrap_or(u64::MAX);
        (entries as usize, room.saturating_sub(ENVELOPE))
    }

    /// Brings the totals up to what was arranged.
    pub(super) fn total(
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
        let nodes = &self.graph.nodes;
        let is_live = |node: Node| nodes.get(node as usize).is_some_and(|kept| kept.live);
        for &node in sequence.iter().filter(|&&node| is_live(node)) {
            let load = load_of(node) as usize;
            if self.graph.late.contains_key(&node)
                && let Some(load) = self.summary.loads.get_mut(load)
            {
                load.two_steps += 1;
                load.requests += 2;
            } else if let Some(count) = alone.get_mut(load) {
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
    pub(super) fn emit(
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
                    step.action = Action::Unsupported((**reason).clone());
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
                        late: edge.late,
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
