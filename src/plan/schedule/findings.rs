//! The words of a plan on its references: how many of each kind, the first that dangle, and what may come of it.

use std::collections::{BTreeMap, HashMap};

use super::{Arrangement, Disposition};
use crate::{
    plan::{
        References,
        graph::{ByTarget, Edge, Node, Resolution},
        order::Order,
        references::Dangling,
    },
    spill::SpillVec,
    target,
};

impl Arrangement<'_> {
    /// Counts what was found, and names the first dangling references.
    pub(super) fn count(
        &mut self,
        order: &Order,
        cycles: &BTreeMap<u32, Vec<Node>>,
        fates: &HashMap<Node, Disposition>,
    ) {
        let mut counts: ByTarget<References> = BTreeMap::new();
        for (&target, &total) in self.graph.scanned() {
            counts.entry(target).or_default().total = total;
        }
        let mut samples: Vec<(Node, u32, bool)> = Vec::new();
        for node in self.nodes() {
            let Some(kept) = self.graph.node(node) else {
                continue;
            };
            let is_sent = self.live(node);
            if !is_sent
                && !matches!(
                    fates.get(&node),
                    Some(Disposition::Blocked(_) | Disposition::Unsupported(_))
                )
            {
                let unsent = self.graph.edges(node).filter(|edge| !edge.is_link).count() as u64;
                if unsent > 0 {
                    let references = counts.entry(self.graph.target(kept.load)).or_default();
                    references.unsent += unsent;
                }
                continue;
            }
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
                if let Some(refused) = count_edge(references, &edge, checks)
                    && samples.len() < References::SAMPLES
                {
                    samples.push((node, edge.ordinal, refused));
                }
            }
        }
        for &node in self.at_risk(order).iter() {
            if let Some(kept) = self.graph.node(node) {
                let references = counts.entry(self.graph.target(kept.load)).or_default();
                references.at_risk += 1;
            }
        }
        for members in cycles.values() {
            let Some(kept) = members.first().and_then(|&n| self.graph.node(n)) else {
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
        for (node, ordinal, refused) in samples {
            if let Some(dangling) = self.sample(node, ordinal, refused) {
                self.references(node).samples.push(dangling);
            }
        }
    }

    /// Returns the records that do not arrive if the store holds nothing of what the plan does not know: those that refer
    /// to it, those that travel with them or not at all, and those that need them.
    pub(super) fn at_risk(&self, order: &Order) -> SpillVec<Node> {
        let mut lost = SpillVec::filled(&self.graph.room, 0_u8, order.level.len());
        let mut units: SpillVec<Node> = SpillVec::new(&self.graph.room);
        units.extend(self.nodes().filter(|&node| self.live(node)));
        units.sort_unstable_by_key(|&node| (self.component(order, node), node));
        let mut at_risk = SpillVec::new(&self.graph.room);
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
                    Resolution::Search => true,
                    Resolution::Dangling { here } => here && checks,
                    Resolution::Record { node: need, .. } => lost
                        .get(self.component(order, need) as usize)
                        .is_some_and(|&lost| lost != 0),
                    Resolution::Known(_) | Resolution::Ambiguous | Resolution::Within => false,
                })
            });
            if is_lost {
                if let Some(lost) = lost.get_mut(component as usize) {
                    *lost = 1;
                }
                at_risk.extend(members.iter().copied());
            }
        }
        at_risk
    }

    pub(super) fn sample(&mut self, node: Node, ordinal: u32, refused: bool) -> Option<Dangling> {
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
        let (load, bound) = self.settings(node)?;
        let target::Shown { to, path } =
            target::shown(load.format, &bytes, ordinal, Some(&bound.facts))?;
        Some(Dangling { to, path, ..unread })
    }
}

/// Counts a reference. Returns whether the store will refuse it, where it leads to nothing that the plan knows; `checks` tells
/// whether the store looks at references.
fn count_edge(references: &mut References, edge: &Edge, checks: bool) -> Option<bool> {
    references.other_links += u64::from(edge.is_link);
    let is_known = matches!(edge.came, Resolution::Record { .. } | Resolution::Known(_));
    references.versioned += u64::from(edge.versioned && is_known);
    match edge.came {
        Resolution::Record { .. } => references.links += 1,
        Resolution::Known(_) => references.known += 1,
        Resolution::Within => references.within += 1,
        Resolution::Ambiguous => references.ambiguous += 1,
        Resolution::Search => {
            references.looked_up += 1;
            return Some(true);
        }
        Resolution::Dangling { here } => {
            references.dangling += 1;
            let refused = here && checks;
            references.refused += u64::from(refused);
            return Some(refused);
        }
    }
    None
}
