//! The final order of a plan: by depth, and within one depth by the sources; who travels together stands together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use super::{Arrangement, AtomicSet, Disposition};
use crate::{
    event::LoadId,
    plan::{
        Action, Group, GroupId, Link, Other, Packaging, Step, To, batch,
        batch::ENVELOPE,
        batching,
        file::{self, PlanEntry, Sink},
        graph::{NONE, Node, NodeRecord, Resolution},
        order::Order,
        planner::Place,
    },
    record::StepId,
    spill::SpillVec,
};

impl Arrangement<'_> {
    /// Puts all records in their final order, with the groups among them.
    pub(super) fn sequence(
        &mut self,
        order: &Order,
        cycles: &BTreeMap<u32, Vec<Node>>,
        fates: &HashMap<Node, Disposition>,
    ) -> (SpillVec<Node>, Vec<AtomicSet>) {
        let level = |node: Node| {
            let component = self.component(order, node);
            order
                .level
                .get(component as usize)
                .copied()
                .unwrap_or_default()
        };
        // Load, depth, record.
        let mut leads: SpillVec<[u32; 3]> = SpillVec::new(&self.graph.room);
        let mut led: BTreeSet<u32> = BTreeSet::new();
        for node in self.nodes() {
            let Some(kept) = self.graph.node(node) else {
                continue;
            };
            if !kept.is_live() {
                leads.push([kept.load.into(), 0, node]);
                continue;
            }
            let component = self.component(order, node);
            let together = cycles.contains_key(&component) || self.graph.unit(node) != node || {
                let group = self.graph.groups.get(kept.group as usize);
                group.is_some_and(|group| !group.split)
            };
            // Of those who travel together the first one stands for all.
            if !together || led.insert(component) {
                leads.push([kept.load.into(), level(node), node]);
            }
        }
        leads.sort_unstable();
        let mut sequence: SpillVec<Node> = SpillVec::new(&self.graph.room);
        let mut groups: Vec<AtomicSet> = Vec::new();
        let mut at = 0;
        while let Some(&[load, level, node]) = leads.get(at) {
            at += 1;
            let Some(&kept) = self.graph.node(node) else {
                continue;
            };
            let group = self.graph.groups.get(kept.group as usize).copied();
            let component = self.component(order, node);
            let start = sequence.len();
            let (packaging, atomic, whole) = match (kept.is_live(), cycles.get(&component), group) {
                (true, Some(members), _) => {
                    sequence.extend(members.iter().copied().filter(|&node| self.live(node)));
                    (Packaging::Transaction, true, false)
                }
                (true, None, Some(group)) if !group.split => {
                    let members = group.first..group.end;
                    sequence.extend(members.filter(|&member| {
                        self.live(member) && self.graph.unit(member) == group.first
                    }));
                    (group.group.packaging, group.group.atomic, true)
                }
                (true, None, Some(group)) => {
                    // A part of a transaction that is over the limits: records of one depth never need each other.
                    let (entries, room) = self.part(node);
                    let mut bytes = self.bytes(node);
                    sequence.push(node);
                    while let Some(&[next_load, next_level, next]) = leads.get(at)
                        && (next_load, next_level) == (load, level)
                        && sequence.len() - start < entries
                        && bytes + self.bytes(next) + ENVELOPE <= room
                        && self.live(next)
                        && self.graph.node(next).is_some_and(|n| n.group == kept.group)
                        && !cycles.contains_key(&self.component(order, next))
                    {
                        bytes += self.bytes(next) + 1;
                        sequence.push(next);
                        at += 1;
                    }
                    (group.group.packaging, false, false)
                }
                _ => {
                    sequence.push(node);
                    continue;
                }
            };
            let members = sequence.get(start..).unwrap_or_default();
            groups.push(AtomicSet {
                start,
                records: u32::try_from(members.len()).unwrap_or(u32::MAX),
                packaging,
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
        self.settings(node)
            .map_or((1, u64::MAX), |(load, target)| batch::part(load, target))
    }

    /// Brings the totals up to what was arranged.
    pub(super) fn total(
        &mut self,
        sequence: &[Node],
        groups: &[AtomicSet],
        cycles: &BTreeMap<u32, Vec<Node>>,
        fates: &HashMap<Node, Disposition>,
    ) {
        for (&node, fate) in fates {
            let Some(step) = self.step(node) else {
                continue;
            };
            let load = self.graph.node(node).map_or(0, |kept| kept.load);
            let Some(load) = self.summary.loads.get_mut(load as usize) else {
                continue;
            };
            load.withdraw(&step.action);
            match fate {
                Disposition::Unsupported(reason) => {
                    *load
                        .unsupported
                        .entry(reason.code.as_str().to_owned())
                        .or_default() += 1;
                }
                Disposition::Duplicate(_) => load.duplicates += 1,
                Disposition::Blocked(_) => load.blocked += 1,
            }
        }
        let load_of = |node: Node| self.graph.node(node).map_or(0, |kept| kept.load);
        for members in cycles.values() {
            let Some(&first) = members.iter().find(|&&node| self.live(node)) else {
                continue;
            };
            if let Some(load) = self.summary.loads.get_mut(load_of(first) as usize) {
                load.cycles += 1;
            }
        }
        let mut alone: Vec<u64> = vec![0; self.summary.loads.len()];
        for ((plain, load), alone) in self
            .plain
            .iter()
            .zip(&mut self.summary.loads)
            .zip(&mut alone)
        {
            *alone = plain.map_or(0, |plain| plain.total(load));
        }
        let nodes = &self.graph.nodes;
        let is_live = |node: Node| nodes.get(node as usize).is_some_and(NodeRecord::is_live);
        for &node in sequence.iter().filter(|&&node| is_live(node)) {
            let load = load_of(node) as usize;
            if self.graph.late.contains_key(&node)
                && let Some(load) = self.summary.loads.get_mut(load)
            {
                load.two_steps += 1;
            } else if let Some(count) = alone.get_mut(load) {
                *count += 1;
            }
        }
        for group in groups {
            let load = sequence.get(group.start).map_or(0, |&node| load_of(node));
            if let Some(load) = self.summary.loads.get_mut(load as usize) {
                load.groups += 1;
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
            if let Some(batching) = batching(self.header, LoadId(index)).filter(|_| alone > 0) {
                let entries = u64::from(batching.entries).min(alone);
                let entries = u32::try_from(entries).unwrap_or(u32::MAX);
                load.largest_group = std::cmp::max(load.largest_group, entries);
            }
        }
    }

    /// Writes the steps with their links.
    pub(super) fn emit(
        &mut self,
        sink: &mut dyn Sink,
        sequence: &[Node],
        groups: &[AtomicSet],
        fates: &HashMap<Node, Disposition>,
    ) -> Result<(), file::Error> {
        let number = self.numbers(sequence, groups);
        let number = |node: Node| {
            let number = number.get(node as usize).copied();
            let number = number.filter(|&number| number != NONE);
            let number = number.map(|number| StepId(number.into()));
            number.ok_or_else(file::Error::unnumbered)
        };
        let mut groups = groups.iter().peekable();
        // The steps of the current group, and whether the target resolves what is in it.
        let mut current = (0..0, false);
        let mut begun = 0_u32;
        let mut next_group = 0;
        for (at, &node) in sequence.iter().enumerate() {
            let Some(&kept) = self.graph.node(node) else {
                continue;
            };
            // A group that spans loads belongs to that of its first record.
            let load = if current.0.contains(&at) {
                None
            } else {
                Some(u32::from(kept.load))
            };
            while let Some(load) = load
                && begun <= load
            {
                self.begin(sink, LoadId(begun), at as u64, &mut next_group)?;
                begun += 1;
            }
            if let Some(group) = groups.next_if(|group| group.start == at) {
                current = (at..at + group.records as usize, group.whole);
                next_group += 1;
                sink.group(&Group {
                    id: GroupId(next_group - 1),
                    packaging: group.packaging,
                    records: group.records,
                    bytes: group.bytes,
                    atomic: group.atomic,
                })?;
            }
            let mut step = self
                .draft
                .at(kept.line)
                .map_err(|e| file::Error::draft(&e))?;
            step.number = number(node)?;
            step.load = LoadId(u32::from(kept.load));
            let other = |to: Node, this: &mut Self| {
                Ok::<_, file::Error>(Other {
                    step: number(to)?,
                    place: this.place(to),
                })
            };
            match fates.get(&node) {
                None => {}
                Some(Disposition::Unsupported(reason)) => {
                    step.action = Action::Unsupported((**reason).clone());
                }
                Some(Disposition::Duplicate(of)) => {
                    step.action = Action::Duplicate(other(*of, self)?);
                }
                Some(Disposition::Blocked(by)) => step.action = Action::Blocked(other(*by, self)?),
            }
            if kept.is_live() {
                // Those of a group are numbered without a gap.
                let shift = number(node)?.0.saturating_sub(at as u64);
                let together = current.0.start as u64 + shift..current.0.end as u64 + shift;
                let group = current.1.then_some(together);
                self.link(node, group.as_ref(), &number, &mut step.links)?;
            }
            sink.step(&step)?;
        }
        let loads = u32::try_from(self.header.loads.len()).unwrap_or(u32::MAX);
        for load in begun..loads {
            self.begin(sink, LoadId(load), sequence.len() as u64, &mut next_group)?;
        }
        Ok(())
    }

    /// Adds the links of a record to what it refers to. `whole` are the numbers of its group, where that came as it goes, so
    /// that the target resolves the references in it by itself.
    fn link(
        &self,
        node: Node,
        whole: Option<&Range<u64>>,
        number: &dyn Fn(Node) -> Result<StepId, file::Error>,
        links: &mut Vec<Link>,
    ) -> Result<(), file::Error> {
        for edge in self.graph.edges(node) {
            let mut is_native = false;
            let to = match edge.came {
                Resolution::Record { node: to, native } => {
                    let step = number(to)?;
                    is_native = native && whole.is_some_and(|whole| whole.contains(&step.0));
                    To::Step(step)
                }
                Resolution::Known(known) => To::Resource(self.graph.known(known).to_owned()),
                Resolution::Search => To::Search,
                Resolution::Dangling { .. } | Resolution::Ambiguous | Resolution::Within => {
                    continue;
                }
            };
            links.push(Link {
                reference: edge.ordinal,
                to,
                late: edge.late && !is_native,
                native: is_native,
            });
        }
        Ok(())
    }

    /// Begins a load; where it needs no graph, its steps go as they were found. `emitted` steps of the graph are out.
    fn begin(
        &mut self,
        sink: &mut dyn Sink,
        load: LoadId,
        emitted: u64,
        next_group: &mut u32,
    ) -> Result<(), file::Error> {
        sink.load(load)?;
        let Some(Some(plain)) = self.plain.get(load.0 as usize).copied() else {
            return Ok(());
        };
        let mut number = self.before(load) + emitted;
        if let Some(first) = self.firsts.get_mut(load.0 as usize) {
            *first = number;
        }
        let mut offset = plain.start;
        while offset < plain.end {
            let (entry, next) = self
                .draft
                .entry(offset)
                .map_err(|e| file::Error::draft(&e))?;
            offset = next;
            match entry {
                PlanEntry::Group(group) => {
                    *next_group += 1;
                    let id = GroupId(*next_group - 1);
                    sink.group(&Group { id, ..group })?;
                }
                PlanEntry::Step(mut step) => {
                    step.number = StepId(number);
                    step.load = load;
                    number += 1;
                    self.place_others(&mut step)?;
                    sink.step(&step)?;
                }
            }
        }
        Ok(())
    }

    /// Gives the steps that a step of a load without a graph names their numbers in the plan: those of loads that have begun.
    fn place_others(&self, step: &mut Step) -> Result<(), file::Error> {
        // A step of another load is named by a place that is packed into its number, until all loads have begun.
        let number = |packed: StepId| {
            let place = Place::of(packed.0);
            let first = self.firsts.get(place.load.0 as usize);
            let first = first.ok_or_else(file::Error::unnumbered)?;
            Ok::<_, file::Error>(StepId(first + place.step.0))
        };
        if let Action::Duplicate(other) = &mut step.action {
            other.step = number(other.step)?;
        }
        for link in &mut step.links {
            if let To::Step(to) = &mut link.to {
                *to = number(*to)?;
            }
        }
        Ok(())
    }

    /// Returns how many steps of loads without a graph come before a load.
    fn before(&self, load: LoadId) -> u64 {
        let before = self.plain.iter().take(load.0 as usize);
        before.flatten().map(|plain| plain.steps).sum()
    }

    /// Returns the number of each record of the graph in the plan.
    fn numbers(&self, sequence: &[Node], groups: &[AtomicSet]) -> SpillVec<u32> {
        let before: Vec<u64> = (0..)
            .zip(&self.header.loads)
            .map(|(load, _)| self.before(LoadId(load)))
            .collect();
        let mut numbers = SpillVec::filled(&self.graph.room, NONE, self.graph.nodes.len());
        let mut groups = groups.iter().peekable();
        let (mut shift, mut until) = (0, 0);
        for (at, &node) in sequence.iter().enumerate() {
            // A group that spans loads belongs to that of its first record.
            if at >= until {
                let load = self.graph.node(node);
                let load = load.map_or(0, |kept| usize::from(kept.load));
                shift = before.get(load).copied().unwrap_or_default();
            }
            if let Some(group) = groups.next_if(|group| group.start == at) {
                until = at + group.records as usize;
            }
            if let Some(place) = numbers.get_mut(node as usize) {
                *place = u32::try_from(at as u64 + shift).unwrap_or(NONE);
            }
        }
        numbers
    }
}
