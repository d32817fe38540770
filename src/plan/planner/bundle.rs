//! Decides about a Bundle and its entries: what of it travels together, what alone, and what not at all.

use std::collections::HashSet;

use super::{Decision, Planner, left_out, reason};
use crate::{
    manifest::Transactions,
    plan::{Action, Group, GroupId, Packaging, Reason, Step, batch},
    source::{BundleKind, BundleStart, Entry, Found, SourceFile},
};

/// The Bundle whose entries are coming.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) kind: BundleKind,
    /// Where it begins, as `file:line`.
    pub(super) place: String,
    /// Entries that travel together, until their group is full or the Bundle is over.
    waiting: Vec<(Step, u32)>,
    waiting_bytes: u64,
    /// It is over the target's limits, and travels in parts.
    split: bool,
    /// The target executes no transactions: its entries travel as if each stood alone.
    loose: bool,
    /// Why nothing of a transaction can be sent.
    refused: Option<Reason>,
    /// In a history: resources of which a newer version has come.
    pub(super) newer: HashSet<String>,
    /// What of it is no record to load.
    pub(super) left_out: left_out::Entries,
}

impl Planner<'_> {
    /// Begins a Bundle; the records that follow are its entries.
    pub fn bundle_start(&mut self, file: &SourceFile, start: &BundleStart) {
        let facts = self.facts();
        let limits = facts.limits;
        let most = limits.transaction_entries.unwrap_or(u32::MAX);
        let room = batch::room(self.settings(), limits);
        let is_transaction = start.kind == BundleKind::Transaction;
        let too_large = is_transaction && (start.entries > most || start.span.length > room);
        let executes = facts.transaction != Some(false);
        let rule = self.settings().transactions;
        let splits = rule == Transactions::Split;
        let refused = match start.kind {
            BundleKind::Transaction if !executes && !splits => Some(reason(
                "no-transaction",
                "the target executes no transactions",
            )),
            BundleKind::Transaction if too_large && rule == Transactions::Refuse => Some(reason(
                "transaction-too-large",
                &format!(
                    "the transaction has {} entries and {} bytes, and the target takes {most} and {room}",
                    start.entries, start.span.length
                ),
            )),
            BundleKind::Transaction if !executes && facts.batch == Some(false) => Some(reason(
                "no-transaction",
                "the target executes neither transactions nor batches",
            )),
            BundleKind::Batch if facts.batch == Some(false) => {
                Some(reason("no-batch", "the target executes no batches"))
            }
            BundleKind::Missing => Some(reason("bundle-type", "the Bundle has no type")),
            BundleKind::Other => Some(reason(
                "bundle-type",
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
            self.warn(format!(
                "the transaction at {}:{} ({} entries) {why}: it is split, and no longer all or nothing",
                file.origin, start.line, start.entries
            ));
        }
        if start.entries == 0 {
            let warning = format!(
                "the Bundle at {}:{} is empty: there is nothing to load",
                file.origin, start.line
            );
            self.notice("empty Bundles", warning);
        }
        self.bundle = Some(Bundle {
            kind: start.kind,
            place: format!("{}:{}", file.origin, start.line),
            waiting: Vec::new(),
            waiting_bytes: 0,
            split: too_large && splits,
            loose: is_transaction && !executes,
            refused,
            newer: HashSet::new(),
            left_out: left_out::Entries::default(),
        });
    }

    /// Ends a Bundle: what waited goes out.
    pub fn bundle_end(&mut self) {
        self.flush();
        let Some(bundle) = self.bundle.take() else {
            return;
        };
        if let Some(words) = bundle.left_out.words() {
            let kind = bundle.kind.as_str();
            let warning = format!("left out of the {kind} at {}: {words}", bundle.place);
            self.notice("Bundles of which something is left out", warning);
        }
    }

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
    pub(super) fn entry(&mut self, found: &Found<'_>, entry: &Entry<'_>) {
        let decided = self.judge_entry(found, entry);
        match (decided, self.refused()) {
            // What is wrong with an entry itself is said of it, also where its transaction was refused before.
            (Err(problem), _) => self.refuse_entry(found, problem),
            (Ok(_), Some(refused)) => self.refuse(found, refused),
            (Ok(interaction), None) => self.wait(self.step(found, Action::Entry(interaction))),
        }
    }

    /// An entry of a batch is refused alone; a transaction is all or nothing.
    fn refuse_entry(&mut self, found: &Found<'_>, problem: Reason) {
        self.refuse_transaction(found.position.entry, &problem);
        self.refuse(found, problem);
    }

    /// Refuses the whole transaction for one of its entries. Outside transactions it does nothing.
    pub(super) fn refuse_transaction(&mut self, entry: Option<u32>, problem: &Reason) {
        let (Some(entry), Some(bundle)) = (entry, &mut self.bundle) else {
            return;
        };
        if bundle.kind != BundleKind::Transaction || bundle.refused.is_some() {
            return;
        }
        let refused = reason(
            "transaction-refused",
            &format!(
                "entry {entry} of its transaction cannot be loaded: {}",
                problem.message
            ),
        );
        bundle.refused = Some(refused.clone());
        for (mut step, found) in std::mem::take(&mut bundle.waiting) {
            step.action = Action::Unsupported(refused.clone());
            self.push(step, found);
        }
    }

    /// Lets a step wait for the others of its group.
    fn wait(&mut self, step: Step) {
        let limits = self.facts().limits;
        let rate_entries = self
            .header
            .target_of(self.load)
            .map_or(u32::MAX, batch::rate_entries);
        let bytes_limit = limits.bundle_bytes.unwrap_or(u64::MAX);
        let Some(bundle) = &mut self.bundle else {
            return;
        };
        // A comma for each entry, and the frame of the Bundle around them.
        let bytes = step.position.span.length + 1;
        let is_batch = bundle.kind == BundleKind::Batch;
        let entries_limit = std::cmp::min(limits.batch_entries.unwrap_or(u32::MAX), rate_entries);
        let full = bundle.waiting.len() >= entries_limit as usize
            || bundle.waiting_bytes + bytes + FRAME > bytes_limit;
        if is_batch && full && !bundle.waiting.is_empty() {
            self.flush();
        }
        if let Some(bundle) = &mut self.bundle {
            bundle.waiting_bytes += bytes;
            bundle.waiting.push((step, self.found));
        }
    }

    /// Sends what waits on its way: as a group, or as unsupported where the target would refuse its size.
    fn flush(&mut self) {
        let limits = self.facts().limits;
        let Some(bundle) = &mut self.bundle else {
            return;
        };
        let steps = std::mem::take(&mut bundle.waiting);
        let bytes = std::mem::take(&mut bundle.waiting_bytes);
        if steps.is_empty() {
            return;
        }
        let bundle_type = match bundle.kind {
            BundleKind::Transaction => Packaging::Transaction,
            _ => Packaging::Batch,
        };
        let (kind, loose, split) = (bundle_type.as_str(), bundle.loose, bundle.split);
        let keeps = self.settings().transactions == Transactions::Keep;
        let keeps = keeps && bundle_type == Packaging::Transaction;
        let over = limits.bundle_bytes.filter(|&limit| bytes + FRAME > limit);
        if let Some(limit) = over.filter(|_| !split && !loose && !keeps) {
            let message = format!("its {kind} has {bytes} bytes, and the target takes {limit}");
            for (mut step, found) in steps {
                step.action = Action::Unsupported(reason("bundle-too-large", &message));
                self.push(step, found);
            }
            return;
        }
        if !loose {
            let records = u32::try_from(steps.len()).unwrap_or(u32::MAX);
            let id = GroupId(self.next_group);
            self.next_group += 1;
            let group = Group {
                id,
                packaging: bundle_type,
                records,
                bytes,
                atomic: bundle_type == Packaging::Transaction && !split,
            };
            self.out.push(Decision::Group { group, split });
        }
        for (step, found) in steps {
            self.push(step, found);
        }
    }
}

/// The bytes around the entries of a Bundle: `{"resourceType":"Bundle","type":"transaction","entry":[]}`.
const FRAME: u64 = 64;
