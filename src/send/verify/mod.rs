//! Compares what the stores hold with what the sources say: counts first, then records by their ids.
//!
//! `expect` finds out what should be there, from the plan and what its journal says, `compare` reads records back and
//! compares them, `count` counts and lists what the stores hold (`types`
//! where they list it all at once). Records of which the run does not know the end are asked
//! about before (`prove`). `state` keeps how far a verification came, for the same `subject`. A hash of the name and the number of each record are kept, and nothing else of those that are
//! the same.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::{Error as Broken, dependencies::DependencyTracker, rewrite::BodyRewriter};
use crate::{
    gate::CallFailure,
    journal::{self, JournalLine},
    lookup::{Lookups, OpenStore, Silent},
    plan::{self, file::Saved},
    source::Bodies,
    target::Difference,
};
use expect::{Expected, Walk};

mod compare;
mod count;
mod expect;
mod prove;
mod state;
mod subject;
mod types;

pub use count::Unlisted;
pub use prove::{Keep, Proven};
pub use state::State;
pub use subject::Subject;
pub use types::{TypeCount, TypeCounts};

/// The reason why the stores cannot be compared with the sources.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan cannot be read, or a source.
    #[error(transparent)]
    Unreadable(#[from] Broken),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A target gives no answers any more.
    #[error(transparent)]
    Silent(#[from] Silent),
    /// A target gave no answer to a search.
    #[error("target `{target}`: {failure}")]
    Target {
        /// Its name in the manifest.
        target: String,
        /// The failure of the search.
        failure: CallFailure,
    },
}

impl From<plan::file::Error> for Error {
    fn from(error: plan::file::Error) -> Self {
        Self::Unreadable(Broken::Plan(error.to_string()))
    }
}

/// The records to compare, and the depth of the comparison.
#[derive(Debug)]
pub struct Verify<'a> {
    /// The plan.
    pub plan: &'a Arc<Saved>,
    /// Reads the sources.
    pub bodies: &'a Arc<Bodies>,
    /// The journal of the run: the outcomes of the records.
    pub history: &'a journal::JournalIndex,
    /// The stores, by the names of their targets; none where the store itself is not there.
    pub stores: &'a HashMap<String, Option<OpenStore>>,
    /// The number of records that are read; all, where none is given.
    pub sample: Option<u64>,
    /// Nothing is read but counts.
    pub counts_only: bool,
    /// A record that no run has loaded is missing: the manifest is compared, and not a run.
    pub is_whole: bool,
    /// The values that differ are told, and not only where.
    pub shows_values: bool,
    /// Is told of each record what was found of it, with its target.
    pub audience: &'a dyn Audience,
}

/// Somebody who is told what is found of the records of a target.
pub trait Audience: Sync + std::fmt::Debug {
    /// Takes note of it.
    fn found(&self, target: &str, what: Verification, records: u64);
}

/// The result of comparing a record with its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verification {
    /// The store holds what the source says.
    Same,
    /// The store holds something else under its id.
    Changed,
    /// The store does not hold it.
    Missing,
    /// The store holds it, and no source says it.
    Extra,
    /// The store does not tell.
    Unknown,
}

/// The result for the records of one kind in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindComparison {
    /// The number of records by the sources.
    pub expected: u64,
    /// The number of records by the store's own count.
    pub held: Option<u64>,
    /// Read, and the same.
    pub same: u64,
    /// Read, and not the same.
    pub changed: u64,
    /// Not there.
    pub missing: u64,
    /// There, and no source says it.
    pub extra: u64,
    /// The store does not tell.
    pub unknown: u64,
}

/// A record that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    /// The target.
    pub target: String,
    /// Its kind.
    pub kind: String,
    /// The id in the store.
    pub id: Option<String>,
    /// The position of the record in its source, in words.
    pub place: Option<String>,
    /// The result of the comparison.
    pub outcome: Verification,
    /// The status of the read.
    pub status: Option<u16>,
    /// Stoker's own words.
    pub note: Option<String>,
    /// The paths at which the store's content differs from the source.
    pub differences: Vec<Difference>,
}

/// The result of a verification.
#[derive(Debug, Default)]
pub struct Verified {
    /// By target and kind; of stores that do not list by kind, all records have the kind "".
    pub kinds: BTreeMap<(String, String), KindComparison>,
    /// By target, of stores that do not list by kind: the types of their records.
    pub types: BTreeMap<String, TypeCounts>,
    /// Those that are not the same, the first of them.
    pub differing: Vec<Differing>,
    /// Records that were read.
    pub read: u64,
    /// Records that were only looked for: a condition matched them, and their content was never compared.
    pub looked_for: u64,
    /// Records of which the run did not know whether they arrived.
    pub proven: Proven,
    /// Records of the plan that were not loaded, and are not looked for.
    pub not_loaded: u64,
    /// Only some records were read.
    pub is_sample: bool,
    /// The kinds of which nobody knows what the stores hold besides.
    pub unlisted: Vec<Unlisted>,
}

/// The number of those that are not the same that are told one by one.
const NAMED: usize = 10_000;

/// The number of records after which it is written down how far it came: a resumed one reads no more than these once more.
const NOTED_EVERY: usize = 500;

impl Verification {
    /// Returns the word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Unknown => "unknown",
        }
    }
}

impl Verified {
    /// Returns how many were found so.
    pub fn of(&self, outcome: Verification) -> u64 {
        let of = |kind: &KindComparison| match outcome {
            Verification::Same => kind.same,
            Verification::Changed => kind.changed,
            Verification::Missing => kind.missing,
            Verification::Extra => kind.extra,
            Verification::Unknown => kind.unknown,
        };
        self.kinds.values().map(of).sum()
    }

    /// Tells whether it is known what a store holds of a kind besides.
    pub fn is_listed(&self, target: &str, kind: &str) -> bool {
        let mut unlisted = self.unlisted.iter();
        unlisted.all(|unlisted| unlisted.target != target || unlisted.kind != kind)
    }

    fn kind(&mut self, target: &str, kind: &str) -> &mut KindComparison {
        let key = (target.to_owned(), kind.to_owned());
        self.kinds.entry(key).or_default()
    }

    /// Adds what was found of others.
    fn add(&mut self, other: Self) {
        for (key, kind) in other.kinds {
            let sum = self.kinds.entry(key).or_default();
            sum.expected += kind.expected;
            sum.same += kind.same;
            sum.changed += kind.changed;
            sum.missing += kind.missing;
            sum.extra += kind.extra;
            sum.unknown += kind.unknown;
        }
        for differing in other.differing {
            self.name(differing);
        }
        self.read += other.read;
        self.looked_for += other.looked_for;
    }

    fn name(&mut self, differing: Differing) {
        if self.differing.len() < NAMED {
            self.differing.push(differing);
        }
    }
}

impl Verify<'_> {
    /// Compares. `told` is told how many records more were read; `state` keeps how far it came, and goes on from there.
    ///
    /// # Errors
    ///
    /// When plan, journal or a source cannot be read, the state cannot be written, or a target gives no answers any more.
    pub async fn run(
        &self,
        told: &dyn Fn(u64),
        mut state: Option<&mut State>,
    ) -> Result<Verified, Error> {
        let names = DependencyTracker::of(self.plan)?;
        let expected = Expected::of(self, &names)?;
        let mut verified = Verified {
            not_loaded: expected.not_loaded,
            types: expected.types.clone(),
            ..Verified::default()
        };
        for ((target, kind), count) in &expected.kinds {
            verified.kind(target, kind).expected = *count;
        }
        self.count(&expected, &mut verified).await?;
        if self.counts_only {
            verified.by_counts();
            return Ok(verified);
        }
        let rewriter = self.rewriter(Arc::new(names), None);
        let lookups = Lookups::default();
        let stores = self.stores.values().flatten();
        let requests: usize = stores.map(|store| store.requests).sum();
        let (mut walk, sampled) = Walk::new(self, &expected);
        verified.is_sample = sampled;
        if let Some((last, before)) = state.as_mut().and_then(|state| state.before()) {
            walk.go_on_after(last);
            told(before.read);
            verified.add(before);
        }
        let reader = compare::Reader {
            verify: self,
            rewriter: &rewriter,
            lookups: &lookups,
        };
        // In the order of the plan, so that one number says how far it came.
        let mut found = stream::iter(std::iter::from_fn(|| walk.next().transpose()))
            .map(|unit| async {
                let unit = unit?;
                let last = unit.items.last().map(|item| item.step.number);
                Ok::<_, Error>((last, reader.check(unit).await?))
            })
            .buffered(requests.max(1));
        let mut new = Verified::default();
        let mut since = 0;
        while let Some(checked) = found.next().await {
            let (last, checked) = checked?;
            told(checked.len() as u64);
            since += checked.len();
            for checked in checked {
                if let Some((target, what)) = checked.count(&expected, &mut new) {
                    self.audience.found(&target, what, 1);
                }
            }
            if let (Some(state), Some(last)) = (&mut state, last)
                && since >= NOTED_EVERY
            {
                state.note(last, &new)?;
                since = 0;
                verified.add(std::mem::take(&mut new));
            }
        }
        verified.add(new);
        drop(found);
        if sampled {
            verified.by_counts_as_well();
        } else {
            self.find_extra(&expected, &mut verified).await?;
        }
        Ok(verified)
    }

    fn rewriter(
        &self,
        names: Arc<DependencyTracker>,
        journal: Option<JournalLine>,
    ) -> BodyRewriter {
        let targets = self.plan.header.loads.iter().map(|load| {
            let store = self.stores.get(&load.target).and_then(Option::as_ref);
            store.map(|store| Arc::clone(&store.target))
        });
        BodyRewriter {
            plan: Arc::clone(self.plan),
            bodies: Arc::clone(self.bodies),
            dependencies: Some(names),
            targets: targets.collect(),
            journal,
        }
    }
}
