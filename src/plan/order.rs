//! In which order records can arrive: strongly connected components, and how deep each lies.
//!
//! Pure, over any graph of numbered units. Tarjan's algorithm, with a stack of its own instead of the thread's, because
//! a chain may be as long as the plan.

use std::sync::Arc;

use crate::spill::{MemoryBudget, SpillVec};

/// The needs of units: of each unit, the units that it needs, one list after the other.
#[derive(Debug)]
pub(super) struct Needs {
    starts: SpillVec<u32>,
    needed: SpillVec<u32>,
    room: Arc<MemoryBudget>,
}

impl Needs {
    /// Collects edges, each from a unit to one that it needs. `edges` is walked twice and must say the same.
    pub(super) fn collect(
        room: &Arc<MemoryBudget>,
        units: usize,
        edges: impl Fn(&mut dyn FnMut(u32, u32)),
    ) -> Self {
        let mut starts = SpillVec::filled(room, 0_u32, units + 1);
        edges(&mut |from, _| {
            if let Some(count) = starts.get_mut(from as usize + 1) {
                *count += 1;
            }
        });
        let mut sum = 0;
        for start in starts.iter_mut() {
            sum += *start;
            *start = sum;
        }
        let mut needed = SpillVec::filled(room, 0_u32, sum as usize);
        let mut next = SpillVec::filled(room, 0_u32, starts.len());
        next.copy_from_slice(&starts);
        edges(&mut |from, to| {
            if let Some(at) = next.get_mut(from as usize) {
                if let Some(place) = needed.get_mut(*at as usize) {
                    *place = to;
                }
                *at += 1;
            }
        });
        Self {
            starts,
            needed,
            room: Arc::clone(room),
        }
    }

    /// Returns the units that a unit needs.
    pub(super) fn of(&self, unit: u32) -> &[u32] {
        let at = |unit: u32| self.starts.get(unit as usize).copied().unwrap_or_default() as usize;
        self.needed.get(at(unit)..at(unit + 1)).unwrap_or_default()
    }

    fn units(&self) -> u32 {
        u32::try_from(self.starts.len() - 1).unwrap_or(u32::MAX)
    }
}

/// The order.
#[derive(Debug)]
pub(super) struct Order {
    /// Of each unit, its component. A component is numbered after all that it needs.
    pub(super) component: SpillVec<u32>,
    /// Of each component, how long the longest chain below it is; 0 where it needs nobody.
    pub(super) level: SpillVec<u32>,
    /// The components of several units, or of one that needs itself.
    pub(super) cycles: Vec<u32>,
}

const UNSEEN: u32 = u32::MAX;

/// Finds components and levels.
pub(super) fn order(needs: &Needs) -> Order {
    let units = needs.units();
    let mut search = Search {
        needs,
        seen: SpillVec::filled(&needs.room, UNSEEN, units as usize),
        low: SpillVec::filled(&needs.room, 0, units as usize),
        component: SpillVec::filled(&needs.room, UNSEEN, units as usize),
        level: SpillVec::new(&needs.room),
        cycles: Vec::new(),
        open: SpillVec::new(&needs.room),
        next: 0,
    };
    for unit in 0..units {
        if get(&search.seen, unit) == UNSEEN {
            search.from(unit);
        }
    }
    Order {
        component: search.component,
        level: search.level,
        cycles: search.cycles,
    }
}

struct Search<'a> {
    needs: &'a Needs,
    /// When a unit was reached.
    seen: SpillVec<u32>,
    /// The earliest open unit that can be reached from it.
    low: SpillVec<u32>,
    component: SpillVec<u32>,
    level: SpillVec<u32>,
    cycles: Vec<u32>,
    /// Units that have been reached and have no component yet.
    open: SpillVec<u32>,
    next: u32,
}

impl Search<'_> {
    fn reach(&mut self, unit: u32) {
        set(&mut self.seen, unit, self.next);
        set(&mut self.low, unit, self.next);
        self.next += 1;
        self.open.push(unit);
    }

    fn from(&mut self, root: u32) {
        self.reach(root);
        // Each frame is a unit and how many of its needs have been followed.
        let mut frames = vec![(root, 0_usize)];
        while let Some((unit, followed)) = frames.last_mut() {
            let unit = *unit;
            if let Some(&need) = self.needs.of(unit).get(*followed) {
                *followed += 1;
                if get(&self.seen, need) == UNSEEN {
                    self.reach(need);
                    frames.push((need, 0));
                } else if get(&self.component, need) == UNSEEN {
                    self.lower(unit, get(&self.seen, need));
                }
                continue;
            }
            frames.pop();
            let low = get(&self.low, unit);
            if let Some(&(above, _)) = frames.last() {
                self.lower(above, low);
            }
            if low == get(&self.seen, unit) {
                self.close(unit);
            }
        }
    }

    fn lower(&mut self, unit: u32, low: u32) {
        let lower = std::cmp::min(get(&self.low, unit), low);
        set(&mut self.low, unit, lower);
    }

    /// Makes a component of all units that were reached since `root`.
    fn close(&mut self, root: u32) {
        let component = u32::try_from(self.level.len()).unwrap_or(u32::MAX);
        let from = self
            .open
            .iter()
            .rposition(|&unit| unit == root)
            .unwrap_or_default();
        let members = self.open.get(from..).unwrap_or_default().to_vec();
        self.open.truncate(from);
        for &unit in &members {
            set(&mut self.component, unit, component);
        }
        let mut level = 0;
        let mut is_cycle = members.len() > 1;
        for &unit in &members {
            for &need in self.needs.of(unit) {
                let other = get(&self.component, need);
                if other == component {
                    is_cycle = true;
                } else {
                    level = std::cmp::max(level, get(&self.level, other) + 1);
                }
            }
        }
        self.level.push(level);
        if is_cycle {
            self.cycles.push(component);
        }
    }
}

fn get(of: &[u32], at: u32) -> u32 {
    of.get(at as usize).copied().unwrap_or_default()
}

fn set(of: &mut [u32], at: u32, to: u32) {
    if let Some(place) = of.get_mut(at as usize) {
        *place = to;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn order_of(units: usize, edges: &[(u32, u32)]) -> Order {
        let needs = Needs::collect(&MemoryBudget::endless(), units, |edge| {
            for &(from, to) in edges {
                edge(from, to);
            }
        });
        order(&needs)
    }

    #[test]
    fn a_chain_as_long_as_a_plan_is_no_trouble() {
        let edges: Vec<(u32, u32)> = (0..200_000).map(|n| (n, n + 1)).collect();
        let order = order_of(200_001, &edges);
        assert_eq!(order.level[order.component[0] as usize], 200_000);
        assert!(order.cycles.is_empty());
    }

    #[test]
    fn one_that_needs_itself_is_a_cycle() {
        let order = order_of(3, &[(0, 0), (1, 0)]);
        assert_eq!(order.cycles, [order.component[0]]);
        assert_eq!(order.level[order.component[1] as usize], 1);
    }

    /// Returns the units that can be reached from each, by trying everything.
    fn reach(units: u32, edges: &[(u32, u32)]) -> BTreeMap<u32, BTreeSet<u32>> {
        (0..units)
            .map(|unit| {
                let (mut reached, mut todo) = (BTreeSet::new(), vec![unit]);
                while let Some(at) = todo.pop() {
                    for &(_, to) in edges.iter().filter(|(from, _)| *from == at) {
                        if reached.insert(to) {
                            todo.push(to);
                        }
                    }
                }
                (unit, reached)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn components_and_levels_are_what_reachability_says(
            units in 1_u32..12,
            edges in proptest::collection::vec((0_u32..12, 0_u32..12), 0..30),
        ) {
            let edges: Vec<_> = edges.into_iter().map(|(a, b)| (a % units, b % units)).collect();
            let order = order_of(units as usize, &edges);
            let reach = reach(units, &edges);
            for a in 0..units {
                for b in 0..units {
                    let together = a == b || (reach[&a].contains(&b) && reach[&b].contains(&a));
                    let (ca, cb) = (order.component[a as usize], order.component[b as usize]);
                    prop_assert_eq!(ca == cb, together);
                    if reach[&a].contains(&b) && ca != cb {
                        prop_assert!(order.level[ca as usize] > order.level[cb as usize]);
                        prop_assert!(ca > cb);
                    }
                }
                let in_cycle = reach[&a].contains(&a);
                prop_assert_eq!(order.cycles.contains(&order.component[a as usize]), in_cycle);
            }
        }
    }
}
