//! The order of deletions: a record is deleted when all that refer to it are. Records that refer to each other in a
//! circle have one turn together.

use super::Error;

/// The references of records to records: of each, where its own begin in `to`.
#[derive(Debug, Default)]
pub(super) struct References {
    pub(super) starts: Vec<u32>,
    pub(super) to: Vec<u32>,
}

impl References {
    pub(super) fn of(&self, node: u32) -> &[u32] {
        let at = |node: usize| self.starts.get(node).map(|start| *start as usize);
        let node = node as usize;
        match (at(node), at(node + 1)) {
            (Some(start), Some(end)) => self.to.get(start..end).unwrap_or_default(),
            _ => &[],
        }
    }

    fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }
}

/// Records that have one turn: one, or those of a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Circle {
    pub(super) id: u32,
    pub(super) nodes: Vec<u32>,
}

impl Circle {
    /// Returns its first record.
    pub(super) fn first(&self) -> Result<u32, Error> {
        let first = self.nodes.first().copied();
        first.ok_or_else(|| Error::Internal("a circle without records has its turn".to_owned()))
    }
}

/// The turns of the records.
#[derive(Debug)]
pub(super) struct Turns<'a> {
    references: &'a References,
    /// The circle of each record.
    circle: Vec<u32>,
    /// The records, circle by circle, and where each circle begins.
    members: Vec<u32>,
    begins: Vec<u32>,
    /// Per circle: how many references to it come from those that have had no turn, and whether one that stays refers to it.
    waiting: Vec<u32>,
    kept: Vec<bool>,
    ready: Vec<u32>,
}

fn get(of: &[u32], at: u32) -> u32 {
    of.get(at as usize).copied().unwrap_or_default()
}

fn set(of: &mut [u32], at: u32, value: u32) {
    if let Some(place) = of.get_mut(at as usize) {
        *place = value;
    }
}

impl<'a> Turns<'a> {
    pub(super) fn new(references: &'a References) -> Self {
        let (circle, circles) = circles(references);
        let mut begins = vec![0_u32; circles as usize + 1];
        for id in &circle {
            let next = get(&begins, id + 1) + 1;
            set(&mut begins, id + 1, next);
        }
        let mut sum = 0;
        for begin in &mut begins {
            sum += *begin;
            *begin = sum;
        }
        let mut next = begins.clone();
        let mut members = vec![0_u32; circle.len()];
        let mut waiting = vec![0_u32; circles as usize];
        for (node, id) in (0_u32..).zip(&circle) {
            let at = get(&next, *id);
            set(&mut members, at, node);
            set(&mut next, *id, at + 1);
            for to in references.of(node) {
                let other = get(&circle, *to);
                if other != *id {
                    let more = get(&waiting, other) + 1;
                    set(&mut waiting, other, more);
                }
            }
        }
        let ready = (0_u32..circles).filter(|id| get(&waiting, *id) == 0);
        let ready = ready.collect();
        Self {
            references,
            circle,
            members,
            begins,
            kept: vec![false; waiting.len()],
            waiting,
            ready,
        }
    }

    fn circle_of(&self, id: u32) -> Circle {
        let (start, end) = (get(&self.begins, id), get(&self.begins, id + 1));
        let nodes = self.members.get(start as usize..end as usize);
        Circle {
            id,
            nodes: nodes.unwrap_or_default().to_vec(),
        }
    }

    /// Returns those whose turn it is: who may be deleted, and who stays because one that stays refers to it.
    pub(super) fn ready(&mut self) -> (Vec<Circle>, Vec<Circle>) {
        let ready = std::mem::take(&mut self.ready);
        let is_free = |id: &u32| self.kept.get(*id as usize) == Some(&false);
        let (free, kept): (Vec<u32>, Vec<u32>) = ready.into_iter().partition(is_free);
        let all = |ids: Vec<u32>| ids.into_iter().map(|id| self.circle_of(id)).collect();
        (all(free), all(kept))
    }

    /// Takes note that a circle has had its turn, and whether all of it is away.
    pub(super) fn settled(&mut self, id: u32, is_away: bool) {
        for node in self.circle_of(id).nodes {
            for to in self.references.of(node) {
                let other = get(&self.circle, *to);
                if other == id {
                    continue;
                }
                if let Some(kept) = self.kept.get_mut(other as usize) {
                    *kept |= !is_away;
                }
                let left = get(&self.waiting, other).saturating_sub(1);
                set(&mut self.waiting, other, left);
                if left == 0 {
                    self.ready.push(other);
                }
            }
        }
    }
}

/// Returns how many records the largest circle has.
pub(super) fn largest(references: &References) -> u32 {
    let (circle, circles) = circles(references);
    let mut sizes = vec![0_u32; circles as usize];
    for id in circle {
        let size = get(&sizes, id) + 1;
        set(&mut sizes, id, size);
    }
    sizes.into_iter().max().unwrap_or_default()
}

/// Nobody has come there yet.
const UNSEEN: u32 = u32::MAX;

/// Returns the circle of each record, and how many there are (Tarjan's algorithm, without recursion).
fn circles(references: &References) -> (Vec<u32>, u32) {
    let count = references.len();
    let mut circle = vec![UNSEEN; count];
    let mut seen = vec![UNSEEN; count];
    let mut low = vec![0_u32; count];
    let mut stack: Vec<u32> = Vec::new();
    let mut path: Vec<(u32, u32)> = Vec::new();
    let (mut clock, mut circles) = (0, 0);
    for root in (0_u32..).take(count) {
        if get(&seen, root) != UNSEEN {
            continue;
        }
        path.push((root, 0));
        while let Some((node, next)) = path.pop() {
            if next == 0 {
                set(&mut seen, node, clock);
                set(&mut low, node, clock);
                clock += 1;
                stack.push(node);
            }
            let to = references.of(node);
            let mut next = next;
            let mut goes_deeper = false;
            while let Some(&other) = to.get(next as usize) {
                next += 1;
                if get(&seen, other) == UNSEEN {
                    path.push((node, next));
                    path.push((other, 0));
                    goes_deeper = true;
                    break;
                }
                if get(&circle, other) == UNSEEN {
                    let lowest = get(&low, node).min(get(&seen, other));
                    set(&mut low, node, lowest);
                }
            }
            if goes_deeper {
                continue;
            }
            if get(&low, node) == get(&seen, node) {
                while let Some(member) = stack.pop() {
                    set(&mut circle, member, circles);
                    if member == node {
                        break;
                    }
                }
                circles += 1;
            }
            if let Some((above, _)) = path.last() {
                let lowest = get(&low, *above).min(get(&low, node));
                set(&mut low, *above, lowest);
            }
        }
    }
    (circle, circles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(of: &[&[u32]]) -> References {
        let mut references = References {
            starts: vec![0],
            to: Vec::new(),
        };
        for to in of {
            references.to.extend_from_slice(to);
            let end = u32::try_from(references.to.len()).unwrap();
            references.starts.push(end);
        }
        references
    }

    fn sorted(circles: Vec<Circle>) -> Vec<Vec<u32>> {
        let mut nodes: Vec<Vec<u32>> = circles
            .into_iter()
            .map(|mut circle| {
                circle.nodes.sort_unstable();
                circle.nodes
            })
            .collect();
        nodes.sort();
        nodes
    }

    fn settle(turns: &mut Turns<'_>, circles: &[Circle], is_away: bool) {
        for circle in circles {
            turns.settled(circle.id, is_away);
        }
    }

    #[test]
    fn who_refers_goes_first_and_circles_go_together() {
        // 0 → 1 → 2 → 3 → 1, 3 → 4, and 5 to itself and to 4 twice.
        let references = references(&[&[1], &[2], &[3], &[1, 4], &[], &[5, 4, 4]]);
        let mut turns = Turns::new(&references);
        let (first, kept) = turns.ready();
        assert!(kept.is_empty());
        assert_eq!(sorted(first.clone()), [vec![0], vec![5]]);
        settle(&mut turns, &first, true);
        let (second, _) = turns.ready();
        assert_eq!(sorted(second.clone()), [vec![1, 2, 3]]);
        settle(&mut turns, &second, true);
        let (third, _) = turns.ready();
        assert_eq!(sorted(third), [vec![4]]);
    }

    #[test]
    fn what_somebody_refers_to_who_stays_stays() {
        let references = references(&[&[1], &[2], &[], &[2]]);
        let mut turns = Turns::new(&references);
        let (first, _) = turns.ready();
        for circle in &first {
            turns.settled(circle.id, circle.nodes == [3]);
        }
        let (free, kept) = turns.ready();
        assert!(free.is_empty());
        assert_eq!(sorted(kept.clone()), [vec![1]]);
        settle(&mut turns, &kept, false);
        let (free, kept) = turns.ready();
        assert!(free.is_empty());
        assert_eq!(sorted(kept), [vec![2]]);
    }

    #[test]
    fn a_long_chain_takes_no_stack() {
        let count = 200_000_u32;
        let all: Vec<Vec<u32>> = (0..count).map(|node| vec![(node + 1) % count]).collect();
        let slices: Vec<&[u32]> = all.iter().map(Vec::as_slice).collect();
        let references = references(&slices);
        let (_, circles) = circles(&references);
        assert_eq!(circles, 1);
    }
}
