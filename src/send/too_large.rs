//! The handling of requests that are larger than a target takes: their limit is learnt, Bundles that Stoker fills keep
//! to it from then on, and a transaction that may be split goes in parts.
//!
//! Within a transaction its store finds the entries that others refer to. In parts, the entries referred to go first,
//! and the references are written anew with the ids that the store gave; an entry that needs one that did not arrive is
//! blocked.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{rewrite::wire_span, work::Work};
use crate::{
    plan::{Step, To},
    record::StepId,
    target::TooLarge,
};

/// The number of bytes that an entry has around its resource, most of the time.
const AROUND: u64 = 256;

/// The limits learnt of the size of requests.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    known: Mutex<Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// The smallest that was refused for its size.
    refused: Size,
    /// The largest that was taken.
    taken: Size,
}

/// The size of a Bundle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    entries: usize,
    bytes: u64,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            refused: Size {
                entries: usize::MAX,
                bytes: u64::MAX,
            },
            taken: Size::default(),
        }
    }
}

impl Size {
    pub(super) fn of(steps: &[Step]) -> Self {
        let bytes = steps.iter().map(|step| wire_span(step).length + AROUND);
        Self {
            entries: steps.len(),
            bytes: bytes.sum(),
        }
    }
}

impl Sizes {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that a Bundle was refused for its size.
    pub(super) fn refused(&self, size: Size, why: TooLarge) {
        let mut known = self.known();
        match why {
            TooLarge::Bytes => known.refused.bytes = known.refused.bytes.min(size.bytes),
            TooLarge::Records => known.refused.entries = known.refused.entries.min(size.entries),
        }
    }

    /// Takes note that a Bundle was taken.
    pub(super) fn taken(&self, size: Size) {
        let mut known = self.known();
        known.taken.bytes = known.taken.bytes.max(size.bytes);
        known.taken.entries = known.taken.entries.max(size.entries);
    }

    /// Tells whether a Bundle would be refused for its size.
    pub(super) fn is_over(&self, size: Size) -> bool {
        let refused = self.known().refused;
        size.entries > 1 && (size.bytes >= refused.bytes || size.entries >= refused.entries)
    }

    /// Cuts what goes in Bundles into as many as its target takes: as large as the largest that was taken, and at least half
    /// of the smallest that was refused.
    pub(super) fn cut(&self, steps: Vec<Step>) -> Vec<Vec<Step>> {
        let Known { refused, taken } = *self.known();
        let most = |refused: u64, taken: u64| {
            let half = (refused / 2).max(1);
            if taken < refused {
                taken.max(half)
            } else {
                half
            }
        };
        let bytes = most(refused.bytes, taken.bytes);
        let entries = most(refused.entries as u64, taken.entries as u64);
        let mut parts: Vec<Vec<Step>> = Vec::new();
        let mut size = Size::default();
        for step in steps {
            let own = Size::of(std::slice::from_ref(&step));
            let fits = (size.entries as u64) < entries && size.bytes + own.bytes <= bytes;
            if let Some(part) = parts.last_mut().filter(|_| fits) {
                part.push(step);
            } else {
                parts.push(vec![step]);
                size = Size::default();
            }
            size.entries += 1;
            size.bytes += own.bytes;
        }
        parts
    }
}

/// Tells whether a Bundle is one of a transaction that was split: entries refer to others of it in words that only its store
/// understands.
pub(super) fn is_split(work: &Work) -> bool {
    let own = own(&work.steps);
    let needs_another = |step: &Step| {
        let mut needs = needs(step, &own);
        needs.any(|need| need != step.number)
    };
    let is_native = |step: &Step| step.links.iter().any(|link| link.native);
    work.packaging.is_some()
        && !work.atomic
        && (work.steps.iter().any(needs_another) || work.steps.iter().any(is_native))
}

/// Returns the entries of a transaction in the order in which they can go: each part needs only those before it. Those that need
/// each other in a circle are the last, and stay together.
pub(super) fn parts(steps: Vec<Step>) -> Vec<(Vec<Step>, bool)> {
    let own = own(&steps);
    let mut left: BTreeMap<StepId, (Step, BTreeSet<StepId>)> = steps
        .into_iter()
        .map(|step| {
            let needs = needs(&step, &own).filter(|need| *need != step.number);
            let needs = needs.collect();
            (step.number, (step, needs))
        })
        .collect();
    let mut parts = Vec::new();
    loop {
        let free: Vec<StepId> = left
            .iter()
            .filter(|(_, (_, needs))| needs.is_empty())
            .map(|(&number, _)| number)
            .collect();
        if free.is_empty() {
            break;
        }
        let part = free.iter().filter_map(|number| left.remove(number));
        parts.push((part.map(|(step, _)| step).collect(), false));
        for (_, needs) in left.values_mut() {
            for number in &free {
                needs.remove(number);
            }
        }
    }
    if !left.is_empty() {
        parts.push((left.into_values().map(|(step, _)| step).collect(), true));
    }
    parts
}

/// Tells whether no entry of a transaction can go before the others: each needs another one.
pub(super) fn is_circle(steps: &[Step]) -> bool {
    let own = own(steps);
    let needs_another = |step: &Step| needs(step, &own).any(|need| need != step.number);
    steps.iter().all(needs_another)
}

fn own(steps: &[Step]) -> HashSet<StepId> {
    steps.iter().map(|step| step.number).collect()
}

/// Returns what an entry needs of its own transaction.
pub(super) fn needs(step: &Step, own: &HashSet<StepId>) -> impl Iterator<Item = StepId> {
    step.links.iter().filter_map(|link| match link.to {
        To::Step(to) if !link.late && own.contains(&to) => Some(to),
        _ => None,
    })
}

/// Said of a transaction that was refused as a whole.
pub(super) const HINT: &str = "the target takes no request as large as its transaction; `transactions: split` sends it in parts, which are no longer all or nothing";
