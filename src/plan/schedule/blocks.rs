//! The records that cannot go, and the reason: broken barriers, cycles that nothing opens, and all that need such.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Arrangement, Disposition, NAMED};
use crate::{
    diagnostic::Diagnostic,
    plan::{
        Reason, ReasonCode,
        graph::{self, Node, Resolution},
        order::Order,
    },
    spill::SpillVec,
};

impl Arrangement<'_> {
    /// References against a barrier (`after`) can never hold.
    pub(super) fn broken_barriers(&mut self) -> Vec<Diagnostic> {
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
        let load = |node: Node| self.graph.node(node).map_or(0, |kept| kept.load);
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
                let load = self.graph.node(node).map_or(0, |kept| kept.load);
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
    pub(super) fn cycles(&self, order: &Order) -> BTreeMap<u32, Vec<Node>> {
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

    /// Finds the records that cannot be loaded because of their references, and those that need them.
    pub(super) fn propagate_blocks(
        &mut self,
        order: &Order,
        cycles: &BTreeMap<u32, Vec<Node>>,
        refused: &BTreeMap<u32, Reason>,
        fates: &mut HashMap<Node, Disposition>,
    ) {
        for (component, reason) in refused {
            for &node in cycles.get(component).into_iter().flatten() {
                fates.insert(node, Disposition::Unsupported(Box::new(reason.clone())));
            }
        }
        for node in self.nodes().filter(|&node| self.live(node)) {
            let is_ambiguous = |edge: graph::Edge| edge.came == Resolution::Ambiguous;
            if self.graph.edges(node).any(is_ambiguous) {
                let reason = Reason {
                    code: ReasonCode::AmbiguousReference,
                    message: "several records answer to one of its conditional references"
                        .to_owned(),
                    path: None,
                };
                fates.insert(node, Disposition::Unsupported(Box::new(reason)));
            }
        }
        for &node in fates.keys() {
            if let Some(kept) = self.graph.nodes.get_mut(node as usize) {
                kept.withdraw();
            }
        }
        // Components are numbered after what they need, so one pass in that order sees the whole chain.
        let mut units: SpillVec<Node> = SpillVec::new(&self.graph.room);
        units.extend(self.nodes());
        units.sort_unstable_by_key(|&node| (self.component(order, node), node));
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
            // A record that cannot go, or has been taken out, keeps back all that travel with it.
            let by = by.or_else(|| {
                let together = members.len() > 1;
                let refused =
                    |node: &&Node| matches!(fates.get(*node), Some(Disposition::Unsupported(_)));
                members.iter().find(refused).copied().filter(|_| together)
            });
            let Some(by) = by else { continue };
            let root = match fates.get(&by) {
                Some(Disposition::Blocked(root)) => *root,
                _ => by,
            };
            for node in members {
                if self.live(node) {
                    fates.insert(node, Disposition::Blocked(root));
                    if let Some(kept) = self.graph.nodes.get_mut(node as usize) {
                        kept.withdraw();
                    }
                }
            }
        }
    }
}
