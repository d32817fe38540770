//! Puts the records of a plan in order: what is needed before what needs it, what needs each other together.
//!
//! Pure but for the draft that it reads and the sink that it writes. `cycles` opens cycles that no transaction
//! can hold, `blocks` finds what cannot go, `findings` what there is
//! to say, `sequence` the final order; whoever sends it holds to the links, not to the order.

use std::collections::HashMap;

use super::{
    Packaging, PlanHeader, PlannedSource, Reason, References, Step, Summary,
    batch::ENVELOPE,
    file::{self, Sink},
    graph::{self, Graph, NONE, Node},
    independent::IndependentLoad,
    order::{Needs, Order, order},
    staging,
};
use crate::{
    diagnostic::Diagnostic,
    event::LoadId,
    manifest::LoadSettings,
    record::{SourceId, Span},
    target::Facts,
};

mod blocks;
mod cycles;
mod findings;
mod sequence;

/// Reads the bytes of a record again; none where they cannot be read twice.
pub(crate) type Read<'a> = &'a dyn Fn(SourceId, Span) -> Option<Vec<u8>>;

/// The parts of an arrangement: the graph, the draft, and what they came from.
pub(crate) struct Arrangement<'a> {
    pub(crate) header: &'a PlanHeader,
    pub(crate) graph: Graph,
    pub(crate) draft: staging::StagingReader,
    /// Of each load that needs no graph, its steps.
    pub(crate) plain: Vec<Option<IndependentLoad>>,
    /// Of each load that needs no graph and has begun, the number of its first step.
    pub(crate) firsts: Vec<u64>,
    pub(crate) sources: &'a [PlannedSource],
    pub(crate) read: Read<'a>,
    /// The failure of the first step of the draft that could not be read again; what is said of the plan lacks it.
    pub(crate) unread: Option<std::io::Error>,
    pub(crate) summary: &'a mut Summary,
}

/// The reason why a record that was to be sent is not.
enum Disposition {
    /// Boxed, because nearly all are duplicates, and there may be as many as records.
    Unsupported(Box<Reason>),
    Duplicate(Node),
    Blocked(Node),
}

/// Records that travel together, as a stretch of the final order.
struct AtomicSet {
    start: usize,
    records: u32,
    packaging: Packaging,
    bytes: u64,
    atomic: bool,
    /// As it came, so that the target resolves the references in it by itself.
    whole: bool,
}

/// The number of conflicts and broken barriers that are named before the rest is counted.
const NAMED: usize = 20;

impl Arrangement<'_> {
    /// Writes the plan's steps to the sink. Returns the problems that stand in the way of a load.
    pub(crate) fn write(mut self, sink: &mut dyn Sink) -> Result<Vec<Diagnostic>, file::Error> {
        let mut problems = Vec::new();
        let (copies, conflicts) = self.graph.resolve();
        let mut fates: HashMap<Node, Disposition> = copies
            .iter()
            .map(|copy| (copy.node, Disposition::Duplicate(copy.of)))
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
        self.dissolve_batches();
        let order = self.order();
        problems.extend(self.broken_barriers());
        let cycles = self.cycles(&order);
        let refused = self.break_cycles(&cycles);
        self.propagate_blocks(&order, &cycles, &refused, &mut fates);
        self.count(&order, &cycles, &fates);
        // The cycles that are left travel as transactions; the records of the others have an order now.
        let (order, cycles) = if self.graph.late.is_empty() {
            (order, cycles)
        } else {
            let order = self.order();
            let cycles = self.cycles(&order);
            (order, cycles)
        };
        let (sequence, groups) = self.sequence(&order, &cycles, &fates);
        self.emit(sink, &sequence, &groups, &fates)?;
        match self.unread {
            Some(error) => Err(file::Error::draft(&error)),
            None => Ok(problems),
        }
    }

    fn facts(&self, node: Node) -> Option<(&super::PlannedTarget, &Facts)> {
        let load = self.graph.node(node)?.load;
        let target = self.header.target_of(LoadId(u32::from(load)))?;
        Some((target, &target.facts))
    }

    fn settings(&self, node: Node) -> Option<(&LoadSettings, &super::PlannedTarget)> {
        let load = LoadId(u32::from(self.graph.node(node)?.load));
        let settings = self.header.loads.get(load.0 as usize)?;
        Some((settings, self.header.target_of(load)?))
    }

    fn references(&mut self, node: Node) -> &mut References {
        let load = self.graph.node(node).map_or(0, |kept| kept.load);
        let name = self
            .header
            .target_of(LoadId(u32::from(load)))
            .map_or(String::new(), |target| target.settings.name.clone());
        self.summary.references.entry(name).or_default()
    }

    fn live(&self, node: Node) -> bool {
        self.graph
            .node(node)
            .is_some_and(graph::NodeRecord::is_live)
    }

    fn step(&mut self, node: Node) -> Option<Step> {
        let line = self.graph.node(node)?.line;
        match self.draft.peek(line) {
            Ok(step) => Some(step),
            Err(error) => {
                self.unread.get_or_insert(error);
                None
            }
        }
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
    fn dissolve_batches(&mut self) {
        for index in 0..self.graph.groups.len() {
            let Some(group) = self.graph.groups.get(index).copied() else {
                continue;
            };
            let members = group.first..group.end;
            if group.group.packaging != Packaging::Batch
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
        let needs = Needs::collect(&graph.room, graph.nodes.len(), |edge| {
            for node in self.nodes().filter(|&node| self.live(node)) {
                let from = graph.unit(node);
                for need in graph.first_needs(node).filter(|&need| self.live(need)) {
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
            .node(node)
            .is_some_and(graph::NodeRecord::keeps_id);
        let checks = self
            .facts(node)
            .is_none_or(|(_, facts)| facts.integrity != Some(false));
        let loose = self.graph.unit(node) == node
            && self.graph.node(node).is_some_and(|kept| {
                self.graph
                    .groups
                    .get(kept.group as usize)
                    .is_none_or(|group| group.split)
            });
        loose && (!keeps || checks)
    }

    fn component(&self, order: &Order, node: Node) -> u32 {
        let unit = self.graph.unit(node);
        order.component.get(unit as usize).copied().unwrap_or(NONE)
    }

    fn bytes(&self, node: Node) -> u64 {
        self.graph
            .node(node)
            .map_or(0, |kept| u64::from(kept.bytes))
    }
}
