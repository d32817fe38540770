//! Decides about a Bundle and its entries: what of it travels together, what alone, and what not at all.

use std::collections::HashSet;

use super::{Resources, left_out, refuse, step};
use crate::{
    manifest::Transactions,
    plan::{Action, Packaging, Planner, Reason, ReasonCode, Step, batch},
    source::{BundleKind, BundleStart, EntryAround, Found, SourceFile},
    target::fhir::FRAME,
};

/// The Bundle whose entries are coming.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) kind: BundleKind,
    /// The place at which it begins, as `file:line`.
    pub(super) place: String,
    /// Entries that travel together, until their group is full or the Bundle is over.
    waiting: Vec<(Step, u32)>,
    waiting_bytes: u64,
    /// The Bundle is over the target's limits, and travels in parts.
    split: bool,
    /// The target executes no transactions: its entries travel as if each stood alone.
    loose: bool,
    /// The reason why nothing of a transaction can be sent.
    refused: Option<Reason>,
    /// In a history: resources of which a newer version has come.
    pub(super) newer: HashSet<String>,
    /// The entries of it that are no records to load.
    pub(super) left_out: left_out::Entries,
}

impl Bundle {
    /// Begins a Bundle; the records that follow are its entries.
    pub(super) fn begin(planner: &mut Planner<'_>, file: &SourceFile, start: &BundleStart) -> Self {
        let facts = planner.facts();
        let limits = facts.limits;
        let most = limits.transaction_entries.unwrap_or(u32::MAX);
        let room = batch::room(planner.settings(), limits);
        let is_transaction = start.kind == BundleKind::Transaction;
        let too_large = is_transaction && (start.entries > most || start.span.length > room);
        let executes = facts.transaction != Some(false);
        let rule = planner.settings().transactions;
        let splits = rule == Transactions::Split;
        let refused = match start.kind {
            BundleKind::Transaction if !executes && !splits => Some(Reason::new(
                ReasonCode::NoTransaction,
                "the target executes no transactions",
            )),
            BundleKind::Transaction if too_large && rule == Transactions::Refuse => {
                Some(Reason::new(
                    ReasonCode::TransactionTooLarge,
                    format!(
                        "the transaction has {} entries and {} bytes, and the target takes {most} and {room}",
                        start.entries, start.span.length
                    ),
                ))
            }
            BundleKind::Transaction if !executes && facts.batch == Some(false) => {
                Some(Reason::new(
                    ReasonCode::NoTransaction,
                    "the target executes neither transactions nor batches",
                ))
            }
            BundleKind::Batch if facts.batch == Some(false) => Some(Reason::new(
                ReasonCode::NoBatch,
                "the target executes no batches",
            )),
            BundleKind::Missing => Some(Reason::new(
                ReasonCode::BundleType,
                "the Bundle has no type",
            )),
            BundleKind::Other => Some(Reason::new(
                ReasonCode::BundleType,
                "the Bundle's type is not one of R4's",
            )),
            _ => None,
        };
        if is_transaction && splits && refused.is_none() && (too_large || !executes) {
            let why = if executes {
                "is over the target's limits"
            } else {
                "goes to a target that executes none"
            };
            planner.warn(format!(
                "the transaction at {}:{} ({} entries) {why}: it is split, and no longer all or nothing",
                file.origin, start.line, start.entries
            ));
        }
        if start.entries == 0 {
            let warning = format!(
                "the Bundle at {}:{} is empty: there is nothing to load",
                file.origin, start.line
            );
            planner.notice("empty Bundles", warning);
        }
        Self {
            kind: start.kind,
            place: format!("{}:{}", file.origin, start.line),
            waiting: Vec::new(),
            waiting_bytes: 0,
            split: too_large && splits,
            loose: is_transaction && !executes,
            refused,
            newer: HashSet::new(),
            left_out: left_out::Entries::default(),
        }
    }

    /// Ends it: what waited goes out.
    pub(super) fn end(mut self, planner: &mut Planner<'_>) {
        self.flush(planner);
        if let Some(words) = self.left_out.words() {
            let kind = self.kind.as_str();
            let warning = format!("left out of the {kind} at {}: {words}", self.place);
            planner.notice("Bundles of which something is left out", warning);
        }
    }

    /// Refuses the whole transaction for one of its entries. Of what is none it does nothing.
    pub(super) fn refuse(
        &mut self,
        planner: &mut Planner<'_>,
        entry: Option<u32>,
        problem: &Reason,
    ) {
        let Some(entry) = entry else {
            return;
        };
        if self.kind != BundleKind::Transaction || self.refused.is_some() {
            return;
        }
        let refused = Reason::new(
            ReasonCode::TransactionRefused,
            format!(
                "entry {entry} of its transaction cannot be loaded: {}",
                problem.message
            ),
        );
        self.refused = Some(refused.clone());
        for (mut step, found) in std::mem::take(&mut self.waiting) {
            step.action = Action::Unsupported(refused.clone());
            planner.push(step, found);
        }
    }

    /// Lets a step wait for the others of its group.
    fn wait(&mut self, planner: &mut Planner<'_>, step: Step) {
        let limits = planner.facts().limits;
        let rate_entries = planner.target().map_or(u32::MAX, batch::rate_entries);
        let bytes_limit = limits.request_bytes.unwrap_or(u64::MAX);
        // A comma for each entry, and the frame of the Bundle around them.
        let bytes = step.position.span.length + 1;
        let is_batch = self.kind == BundleKind::Batch;
        let entries_limit = std::cmp::min(limits.batch_entries.unwrap_or(u32::MAX), rate_entries);
        let full = self.waiting.len() >= entries_limit as usize
            || self.waiting_bytes + bytes + FRAME as u64 > bytes_limit;
        if is_batch && full && !self.waiting.is_empty() {
            self.flush(planner);
        }
        self.waiting_bytes += bytes;
        self.waiting.push((step, planner.current()));
    }

    /// Sends what waits on its way: as a group, or as unsupported where the target would refuse its size.
    fn flush(&mut self, planner: &mut Planner<'_>) {
        let limits = planner.facts().limits;
        let steps = std::mem::take(&mut self.waiting);
        let bytes = std::mem::take(&mut self.waiting_bytes);
        if steps.is_empty() {
            return;
        }
        let packaging = match self.kind {
            BundleKind::Transaction => Packaging::Transaction,
            _ => Packaging::Batch,
        };
        let (kind, loose, split) = (packaging.as_str(), self.loose, self.split);
        let keeps = planner.settings().transactions == Transactions::Keep;
        let keeps = keeps && packaging == Packaging::Transaction;
        let over = limits
            .request_bytes
            .filter(|&limit| bytes + FRAME as u64 > limit);
        if let Some(limit) = over.filter(|_| !split && !loose && !keeps) {
            let message = format!("its {kind} has {bytes} bytes, and the target takes {limit}");
            for (mut step, found) in steps {
                step.action =
                    Action::Unsupported(Reason::new(ReasonCode::BundleTooLarge, message.as_str()));
                planner.push(step, found);
            }
            return;
        }
        if !loose {
            let records = u32::try_from(steps.len()).unwrap_or(u32::MAX);
            planner.group(packaging, records, bytes, split);
        }
        for (step, found) in steps {
            planner.push(step, found);
        }
    }
}

impl Resources {
    /// Tells whether the current Bundle is executed as a whole, not split into its resources.
    pub(super) fn is_executed(&self) -> bool {
        self.bundle
            .as_ref()
            .is_some_and(|b| matches!(b.kind, BundleKind::Transaction | BundleKind::Batch))
    }

    pub(super) fn refused(&self) -> Option<Reason> {
        self.bundle
            .as_ref()
            .and_then(|bundle| bundle.refused.clone())
    }

    /// Decides about an entry of a Bundle that is executed.
    pub(super) fn entry(
        &mut self,
        planner: &mut Planner<'_>,
        found: &Found<'_>,
        entry: &EntryAround<'_>,
    ) {
        let decided = self.judge_entry(planner, found, entry);
        match (decided, self.refused()) {
            // A problem of an entry itself is said of it, also where its transaction was refused before. An entry of a
            // batch is refused alone; a transaction is all or nothing.
            (Err(problem), _) => {
                if let Some(bundle) = &mut self.bundle {
                    bundle.refuse(planner, found.position.entry, &problem);
                }
                refuse(planner, found, problem);
            }
            (Ok(_), Some(refused)) => refuse(planner, found, refused),
            (Ok(operation), None) => {
                let step = step(planner, found, Action::Entry(operation));
                if let Some(bundle) = &mut self.bundle {
                    bundle.wait(planner, step);
                }
            }
        }
    }
}
