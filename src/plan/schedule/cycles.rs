//! Cycles that no transaction can hold: some of their records are created without the references that close them, and
//! updated when what these refer to is there.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
};

use super::{Arrangement, ENVELOPE};
use crate::{
    plan::{
        Reason, ReasonCode,
        graph::{NONE, Node, Resolution},
    },
    record::{LINK, Operation},
    target::{self, Stuck},
};

/// The references of records that come with a second request: of each record, their places.
type Late = Vec<(Node, Vec<u32>)>;

impl Arrangement<'_> {
    /// Opens the cycles that cannot travel as transactions. Returns why those that cannot be opened either stay behind.
    pub(super) fn break_cycles(
        &mut self,
        cycles: &BTreeMap<u32, Vec<Node>>,
    ) -> BTreeMap<u32, Reason> {
        let mut refused = BTreeMap::new();
        for (&component, members) in cycles {
            let Some(obstacle) = self.obstacle(members) else {
                continue;
            };
            match self.opened(members) {
                Ok(late) => self.graph.late.extend(late),
                Err(why) => {
                    let count = members.len();
                    let through = match count {
                        1 => "it refers to itself".to_owned(),
                        _ => format!("it refers to itself through {count} records"),
                    };
                    let reason = Reason {
                        code: ReasonCode::Cycle,
                        message: format!("{through}, {obstacle}, and {why}"),
                        path: None,
                    };
                    refused.insert(component, reason);
                }
            }
        }
        refused
    }

    /// The reason why a cycle cannot travel as one transaction.
    fn obstacle(&self, members: &[Node]) -> Option<String> {
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
        let room = facts.limits.request_bytes.unwrap_or(u64::MAX);
        let count = members.len();
        if facts.transaction == Some(false) {
            Some("the target executes no transactions".to_owned())
        } else if count as u64 > u64::from(most) || bytes > room {
            Some(format!(
                "they have {bytes} bytes, the target takes {most} records and {room} bytes in a transaction"
            ))
        } else {
            None
        }
    }

    /// Finds an order in which the records of a cycle can be created, each without the references to those that come
    /// later, if it can be without them. Else says why there is none.
    ///
    /// A record that needs no other any more comes first, then the one that the most others need. A record that can be
    /// placed now could also be placed later, so when none can be any more, no order can hold the rest.
    fn opened(&mut self, members: &[Node]) -> Result<Late, String> {
        let places: HashMap<Node, usize> =
            (0..).zip(members).map(|(at, &node)| (node, at)).collect();
        let mut needs: Vec<Vec<(u32, usize)>> = Vec::with_capacity(members.len());
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); members.len()];
        for (from, &node) in members.iter().enumerate() {
            let group = self.graph.node(node).map(|kept| kept.group);
            if group != Some(NONE) {
                return Err(
                    "some of them came in a request of their file that is sent whole".to_owned(),
                );
            }
            let closes = self.closes(node);
            let mut of_node = Vec::new();
            for edge in self.graph.edges(node) {
                let Resolution::Record { node: to, .. } = edge.came else {
                    continue;
                };
                if let Some(&to) = places.get(&to)
                    && (to != from || closes)
                {
                    of_node.push((edge.ordinal, to));
                    if let Some(by) = needed_by.get_mut(to) {
                        by.push(from);
                    }
                }
            }
            needs.push(of_node);
        }
        let mut left: Vec<usize> = needs.iter().map(Vec::len).collect();
        let rank = |at: usize, left: usize| {
            let wanted = needed_by.get(at).map_or(0, Vec::len);
            Reverse((left > 0, Reverse(wanted), at))
        };
        let mut next: BinaryHeap<_> = (0..).zip(&left).map(|(at, &left)| rank(at, left)).collect();
        let mut is_placed = vec![false; members.len()];
        let mut late = Vec::new();
        let mut stuck = None;
        while let Some(Reverse((_, _, at))) = next.pop() {
            let (Some(false), Some(&node), Some(of_node)) =
                (is_placed.get(at), members.get(at), needs.get(at))
            else {
                continue;
            };
            let is_open = |to: usize| is_placed.get(to) == Some(&false);
            let of_node: Vec<u32> = of_node
                .iter()
                .filter(|(_, to)| is_open(*to))
                .map(|(ordinal, _)| *ordinal)
                .collect();
            if !of_node.is_empty() {
                if let Err(why) = self.can_wait(node, &of_node) {
                    stuck = Some(why);
                    continue;
                }
                late.push((node, of_node));
            }
            if let Some(placed) = is_placed.get_mut(at) {
                *placed = true;
            }
            for &by in needed_by.get(at).into_iter().flatten() {
                if let Some(left) = left.get_mut(by) {
                    *left = left.saturating_sub(1);
                    next.push(rank(by, *left));
                }
            }
        }
        if is_placed.iter().all(|placed| *placed) {
            Ok(late)
        } else {
            Err(stuck.unwrap_or_default())
        }
    }

    /// Tells whether a record can be created without some of its references; else why not.
    fn can_wait(&mut self, node: Node, ordinals: &[u32]) -> Result<(), String> {
        let place = self.place(node);
        let Some(step) = self.step(node) else {
            return Err(format!("{place} cannot be read again"));
        };
        if !matches!(
            step.action.operation(),
            Some(
                Operation::Create
                    | Operation::Update
                    | Operation::ConditionalCreate
                    | Operation::ConditionalUpdate
            )
        ) {
            return Err(format!("{place} is neither a create nor an update"));
        }
        // Only references are checked by stores; other links may lead nowhere for a while.
        let references: Vec<u32> = ordinals.iter().copied().filter(|&at| at < LINK).collect();
        if references.is_empty() {
            return Ok(());
        }
        let bytes = (self.read)(step.position.source, step.body)
            .ok_or_else(|| format!("{place} cannot be read twice to see what it can be without"))?;
        let format = self.settings(node).map(|(load, _)| load.format);
        let without = format.map_or(Err(Stuck::Changed), |format| {
            target::without(format, &bytes, &references)
        });
        without.map_err(|stuck| match stuck {
            Stuck::Unread => format!("{place} cannot be read again"),
            Stuck::Changed => format!("{place} is no longer what it was"),
            Stuck::Required(path) => format!("{place} cannot be created without {path}"),
        })
    }
}
