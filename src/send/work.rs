//! A request to be: records that go together, and what is at hand of them.

use std::sync::Arc;

use bytes::Bytes;

use super::dependencies::Cause;
use crate::{
    gate::BytePermit,
    plan::{Link, Packaging, Step, To},
    record::Outcome,
};

/// The bodies of a Bundle that is larger than this are read when its text is made, one by one: all of them and the text
/// would be twice as much in memory.
pub(super) const READ_LATE: u64 = 1 << 20;

/// One request to be.
#[derive(Debug)]
pub(super) struct Work {
    /// Its records: one, or those of a Bundle.
    pub(super) steps: Vec<Step>,
    /// The Bundle in which they travel together.
    pub(super) packaging: Option<Packaging>,
    /// They go together or not at all.
    pub(super) atomic: bool,
    /// The bytes of each record for the wire: the resource, or the whole entry. Empty: to be read when the request is
    /// sent.
    pub(super) bodies: Vec<Bytes>,
    /// The part of the budget that the bodies hold.
    pub(super) permits: Vec<BytePermit>,
    /// They are not sent: the record because of which what they need cannot be had.
    pub(super) blocked: Option<Arc<Cause>>,
    /// It is the second request of a record that stands in the store: what came of the first.
    pub(super) stands: Option<Stands>,
}

impl Work {
    /// Tells whether they travel in one transaction.
    pub(super) fn is_together(&self) -> bool {
        is_together(self.packaging, self.atomic)
    }

    /// Makes a request of records that are read when it is sent, and need not go together.
    pub(super) fn again(steps: Vec<Step>, packaging: Option<Packaging>) -> Self {
        Self {
            steps,
            packaging,
            atomic: false,
            bodies: Vec::new(),
            permits: Vec::new(),
            blocked: None,
            stands: None,
        }
    }

    /// Lets records travel by themselves that Stoker put together. Returns it as it is where they cannot: what came as an
    /// entry keeps its request, and that only a parcel can carry.
    pub(super) fn one_by_one(self) -> Result<Vec<Self>, Self> {
        // Only a transaction can name what it is about to create.
        let names_itself = |step: &Step| {
            let to = |link: &Link| link.to == To::Step(step.number) && !link.late;
            step.links.iter().any(to)
        };
        let is_bound = |step: &Step| step.is_entry() || names_itself(step);
        let is_filled =
            self.packaging.is_some() && !self.atomic && !self.steps.iter().any(is_bound);
        if !is_filled {
            return Err(self);
        }
        let mut bodies = self.bodies.into_iter();
        let single = |step| Self {
            steps: vec![step],
            packaging: None,
            atomic: false,
            bodies: bodies.next().into_iter().collect(),
            permits: Vec::new(),
            blocked: None,
            stands: None,
        };
        let mut singles: Vec<Self> = self.steps.into_iter().map(single).collect();
        // The first is taken last, and the memory is counted until then.
        if let Some(first) = singles.first_mut() {
            first.permits = self.permits;
        }
        Ok(singles)
    }
}

/// Tells whether records travel in one transaction, so that their references may name others of it, and themselves.
pub(super) fn is_together(packaging: Option<Packaging>, atomic: bool) -> bool {
    atomic || packaging == Some(Packaging::Transaction)
}

/// The result of the first request of a record that travels in two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stands {
    /// The outcome of the record, if the second succeeds.
    pub(super) outcome: Outcome,
    /// The number of times that the first was sent.
    pub(super) attempts: u32,
}
