//! The preparation of a record for a store: what others are called in it, and what only the store can resolve.

use std::fmt;

use crate::{manifest::LoadSettings, record::StepId};

/// The settings and names by which a record is made ready.
pub struct Naming<'a> {
    /// The settings of its load.
    pub settings: &'a LoadSettings,
    /// Returns the name of another record of the plan, as far as it is known: `kind/id` as the store has it.
    pub names: &'a dyn Fn(StepId) -> Option<String>,
    /// The purpose of making it ready.
    pub purpose: Purpose,
    /// Other records that travel with it refer to it by links of the plan.
    pub is_linked: bool,
    /// The code of the tag by which the record is found again.
    pub tag: Option<String>,
}

/// The purpose for which a record is made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The record goes to the wire, with the entry around it in its source: all that it refers to has a name.
    Sending,
    /// As for [`Purpose::Sending`], where nobody knows the names that a store gives.
    DryRun,
    /// The record is looked at: what has no name yet is left as it stands in the source.
    Looking,
    /// The record is compared with what a store has: what the store resolves by itself is named, too, as far as it can
    /// be.
    Comparing,
}

impl Purpose {
    /// Tells whether what has no name may be left as it stands in the source.
    pub fn is_lenient(self) -> bool {
        self != Self::Sending
    }

    /// Tells whether it goes to the wire.
    pub fn is_for_wire(self) -> bool {
        matches!(self, Self::Sending | Self::DryRun)
    }
}

impl fmt::Debug for Naming<'_> {
    /// Shows neither names nor tag: they are content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Naming")
            .field("purpose", &self.purpose)
            .field("is_linked", &self.is_linked)
            .finish_non_exhaustive()
    }
}

/// The reason why a record could not be made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritten {
    /// Its bytes are not those that were planned.
    Changed,
    /// It refers to a record of this number, of which nothing is known.
    Unnamed(StepId),
}

/// A reference that only the store can resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The reference's place among those of the record.
    pub reference: u32,
    /// The kind of the records searched for.
    pub kind: String,
    /// The query of the search: content.
    pub query: String,
    /// The element in the record.
    pub path: String,
}
