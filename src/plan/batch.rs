//! In which Bundles the records of a load travel: what the manifest says, within what the target takes.

use super::{Action, Packaging, PlanHeader, PlannedTarget};
pub use crate::record::ENVELOPE;
use crate::{
    diagnostic::Diagnostic,
    event::LoadId,
    manifest::{LoadSettings, PackagingChoice},
    target::Limits,
};

/// The Bundles that Stoker fills for a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Their type.
    pub packaging: Packaging,
    /// Entries of one at the most.
    pub entries: u32,
    /// Bytes of one at the most.
    pub bytes: u64,
}

impl Batching {
    /// Tells whether a Bundle of `entries` and `bytes` takes another entry of `next` bytes.
    pub fn takes(&self, entries: usize, bytes: u64, next: u64) -> bool {
        entries < self.entries as usize && bytes + next <= self.bytes
    }
}

/// Returns what a record of `bytes` adds to the size of its Bundle.
pub fn entry_size(action: &Action, bytes: u64) -> u64 {
    let around = match action {
        Action::Entry(_) => COMMA,
        _ => ENVELOPE,
    };
    bytes + around
}

/// Entries of a Bundle where the manifest names no number. Google's advice is "some batching" and against thousands
/// (data throughput page); who measured found the best near 50 (mimic-fhir#9), and its own uploader takes 5.
const ENTRIES: u32 = 50;

/// Bytes of a Bundle where neither manifest nor target name a number: answers within any timeout.
const BYTES: u64 = 5_000_000;

/// Returns how the records of a load are batched, as far as it is known before anything is sent; none where they travel by
/// themselves.
pub fn batching(header: &PlanHeader, load: LoadId) -> Option<Batching> {
    ways(header, load).into_iter().next().flatten()
}

/// Returns the ways in which the records of a load can travel, at least one; none of a way stands for records by themselves.
///
/// Sending finds out which of several ways takes most. The ways are in the order of the costs of a refusal: an entry of
/// a batch fails alone, one of a transaction takes the others with it, and a record alone pays a round trip each time.
pub fn ways(header: &PlanHeader, load: LoadId) -> Vec<Option<Batching>> {
    let (Some(settings), Some(target)) =
        (header.loads.get(load.0 as usize), header.target_of(load))
    else {
        return vec![None];
    };
    // The plan has already put together the records that may travel together.
    if !settings.format.has_references() {
        return vec![None];
    }
    let filled = |packaging| Some(filled(settings, target, packaging));
    match settings.packaging.kind {
        Some(PackagingChoice::Batch) => vec![filled(Packaging::Batch)],
        Some(PackagingChoice::Transaction) => vec![filled(Packaging::Transaction)],
        Some(PackagingChoice::None) => vec![None],
        // A record that is compared is read and settled by itself.
        None if settings.compare => vec![None],
        // Google charges every entry as if it came alone, and transactions contend for locks (its quotas and its data
        // throughput pages), so batches are what it favours; the local store is built like it.
        None if target.settings.store.is_googles() => {
            let batches = target.facts.batch == Some(true);
            vec![batches.then(|| filled(Packaging::Batch)).flatten()]
        }
        None => {
            let executed = [
                (Packaging::Batch, target.facts.batch),
                (Packaging::Transaction, target.facts.transaction),
            ];
            let known = executed.into_iter().filter(|(_, is)| *is == Some(true));
            known
                .map(|(packaging, _)| filled(packaging))
                .chain([None])
                .collect()
        }
    }
}

pub(crate) fn filled(
    settings: &LoadSettings,
    target: &PlannedTarget,
    packaging: Packaging,
) -> Batching {
    let limits = target.facts.limits;
    let most = match packaging {
        Packaging::Batch => limits.batch_entries,
        Packaging::Transaction => limits.transaction_entries,
    };
    let wanted = settings.packaging.max_entries.map_or(ENTRIES, u32::from);
    let bytes = settings.packaging.max_bytes.map_or(BYTES, |bytes| bytes.0);
    Batching {
        packaging,
        entries: wanted
            .min(most.unwrap_or(u32::MAX))
            .min(rate_entries(target)),
        bytes: bytes.min(limits.request_bytes.unwrap_or(u64::MAX)),
    }
}

/// Returns how many entries a Bundle that Stoker cuts may have under the target's rate, if it has one.
pub(crate) fn rate_entries(target: &PlannedTarget) -> u32 {
    target.settings.rate_entries().unwrap_or(u32::MAX)
}

/// Returns how many entries and bytes a part of a transaction may have that is over a target's limits.
pub(crate) fn part(load: &LoadSettings, target: &PlannedTarget) -> (usize, u64) {
    let limits = target.facts.limits;
    let entries = limits.transaction_entries.unwrap_or(u32::MAX);
    let entries = entries.min(rate_entries(target));
    let room = room(load, target.facts.limits);
    (entries as usize, room.saturating_sub(ENVELOPE))
}

/// Returns how many bytes a transaction may have: what the target takes, or where that is not known, what the manifest says.
pub(crate) fn room(load: &LoadSettings, limits: Limits) -> u64 {
    let said = load.packaging.max_bytes.map(|bytes| bytes.0);
    limits.request_bytes.or(said).unwrap_or(u64::MAX)
}

/// The bytes of an entry that goes out as it came, around it: a comma.
pub const COMMA: u64 = 1;

/// Names a choice of Bundles that the target does not execute, or that its rate does not let through.
pub(crate) fn refused(settings: &LoadSettings, target: &PlannedTarget) -> Option<Diagnostic> {
    let (rate_entries, parcel) = (rate_entries(target), settings.format.parcel());
    if let (Some(wanted), Some(rate)) = (settings.packaging.max_entries, target.settings.rate)
        && wanted.get() > rate_entries
    {
        return Some(
            Diagnostic::error(format!(
                "load `{}` wants {parcel}s of {wanted} entries, and at the rate of target `{}` ({rate}) they have at most {rate_entries}: a tenth of it",
                settings.name, target.settings.name
            ))
            .hint(format!("make `max_entries` smaller or raise the rate; a {parcel} costs its entries")),
        );
    }
    let (word, executes) = match settings.packaging.kind? {
        PackagingChoice::None => return None,
        PackagingChoice::Batch => ("batch", target.facts.batch),
        PackagingChoice::Transaction => ("transaction", target.facts.transaction),
    };
    (executes == Some(false)).then(|| {
        Diagnostic::error(format!(
            "load `{}` asks for {parcel}s of type {word}, and target `{}` executes none",
            settings.name, target.settings.name
        ))
        .hint("write `bundle: none`, or leave `bundle` out and let the target's facts decide")
    })
}
