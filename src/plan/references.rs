//! The figures of a plan on the references of a target's records.

use serde::{Deserialize, Serialize};

/// The references of all records of a target.
///
/// Each has one fate, so that [`References::fates`] equals [`References::total`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct References {
    /// References, as they were found when the records were scanned.
    #[serde(default)]
    pub total: u64,
    /// References to records of the plan, and links that are none ([`References::other_links`]).
    pub links: u64,
    /// References to records of earlier runs (`known`), and links that are none.
    pub known: u64,
    /// Of these two the links that are no references: URLs of attachments, links of narratives.
    #[serde(default)]
    pub other_links: u64,
    /// References within their own record: to what it contains, to itself, or inside of a Bundle that is stored as it is.
    #[serde(default)]
    pub within: u64,
    /// References of records that are not sent.
    #[serde(default)]
    pub unsent: u64,
    /// Conditional references that only the store can resolve; they are looked up when their records are sent.
    pub looked_up: u64,
    /// References to nothing that the plan knows of.
    pub dangling: u64,
    /// Of those, the ones that the target refuses unless it holds the resource already.
    pub refused: u64,
    /// Records that are refused, or blocked by such, if the store holds nothing of what dangles or is looked up.
    #[serde(default)]
    pub at_risk: u64,
    /// Conditional references that several records of the plan answer to.
    pub ambiguous: u64,
    /// References to a version of a record of the plan.
    pub versioned: u64,
    /// The number of records in the longest chain of references: 1 where nobody refers to anybody.
    pub longest_chain: u32,
    /// Sets of records that need each other.
    pub cycles: u64,
    /// The records in them.
    pub cycle_records: u64,
    /// Records with the identity and the content of another.
    pub identical: u64,
    /// Records with the identity of another, and other content.
    pub differing: u64,
    /// The first references that dangle or are looked up, at most [`References::SAMPLES`].
    pub samples: Vec<Dangling>,
}

/// A reference to nothing that the plan knows of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dangling {
    /// The thing that it refers to; of a conditional reference only the type.
    pub to: String,
    /// The position of its record, as `file:line`.
    pub from: String,
    /// The element in the record.
    pub path: String,
    /// The target refuses it unless it holds the resource already.
    pub refused: bool,
}

impl References {
    /// The number of dangling references that are listed; beyond that they are counted.
    pub const SAMPLES: usize = 100;

    /// Returns how many references have a fate.
    pub fn fates(&self) -> u64 {
        self.links + self.known - self.other_links
            + self.looked_up
            + self.dangling
            + self.ambiguous
            + self.within
            + self.unsent
    }

    /// Tells whether there is anything to say.
    pub fn is_empty(&self) -> bool {
        *self
            == Self {
                longest_chain: self.longest_chain,
                ..Self::default()
            }
    }
}
