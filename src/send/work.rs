//! The jobs that the scheduler hands over: requests to be, and records that cannot be sent.

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

/// A job for some records.
#[derive(Debug)]
pub(super) enum Job {
    /// They are sent.
    Send(Work),
    /// One that stands in the store is sent a second time, with the references that it was created without.
    Second(Work, Stands),
    /// They cannot be sent: a record that they need is not there.
    Block(Blocked),
}

/// Records that cannot be sent.
#[derive(Debug)]
pub(super) struct Blocked {
    pub(super) steps: Vec<Step>,
    /// The record because of which what they need cannot be had.
    pub(super) by: Arc<Cause>,
    /// The result of the first request, where it is the second of a record that stands in the store.
    pub(super) stands: Option<Stands>,
}

/// One request to be: records that go together, and what is at hand of them.
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
}

impl Work {
    /// Tells whether they travel in one transaction.
    pub(super) fn is_together(&self) -> bool {
        is_together(self.packaging, self.atomic)
    }

    /// Makes a request of records that are read when it is sent, and need not go together.
    pub(super) fn unread(steps: Vec<Step>, packaging: Option<Packaging>) -> Self {
        Self {
            steps,
            packaging,
            atomic: false,
            bodies: Vec::new(),
            permits: Vec::new(),
        }
    }

    /// Lets records travel by themselves that Stoker put together. Returns it as it is where they cannot: what came as an
    /// entry keeps its request, and that only a parcel can carry.
    pub(super) fn one_by_one(self) -> Result<Vec<Self>, Self> {
        if !self.is_filled() {
            return Err(self);
        }
        let mut bodies = self.bodies.into_iter();
        let single = |step| Self {
            bodies: bodies.next().into_iter().collect(),
            ..Self::unread(vec![step], None)
        };
        let mut singles: Vec<Self> = self.steps.into_iter().map(single).collect();
        // The first is taken last, and the memory is counted until then.
        if let Some(first) = singles.first_mut() {
            first.permits = self.permits;
        }
        Ok(singles)
    }

    /// Takes the parcel from around a single record that need not have one. A target may take the record and no parcel, so
    /// that only what it says of the record by itself is said of the record.
    pub(super) fn unpacked(mut self) -> Self {
        if self.steps.len() == 1 && self.is_filled() {
            self.packaging = None;
        }
        self
    }

    /// Tells whether Stoker put the records together, and each may travel by itself.
    fn is_filled(&self) -> bool {
        // Only a transaction can name what it is about to create.
        let names_itself = |step: &Step| {
            let to = |link: &Link| link.to == To::Step(step.number) && !link.late;
            step.links.iter().any(to)
        };
        let is_bound = |step: &Step| step.is_entry() || names_itself(step);
        self.packaging.is_some() && !self.atomic && !self.steps.iter().any(is_bound)
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
