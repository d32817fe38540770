//! The changes that later runs have made to what an earlier one created: runs of one manifest are unloaded together, the newest
//! first, and what one of them changed is no stranger's change.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher as _,
};

use super::{Error, RemovalPlan};
use crate::journal::{JournalIndex, RecordState};

/// The versions in which later runs have left what they changed, by a hash of the record's name: of two that share one, the
/// version tells the other apart.
#[derive(Debug, Default)]
pub struct Later {
    versions: HashMap<u64, Option<String>>,
    state: foldhash::quality::RandomState,
}

impl Later {
    /// Adds what a run has changed and not created; the newest run comes first.
    ///
    /// # Errors
    ///
    /// When its journal cannot be read.
    pub fn add(&mut self, draft: &RemovalPlan, history: &JournalIndex) -> Result<(), Error> {
        for changed in &draft.changed {
            let version = match history.fate(changed.last)? {
                RecordState::Settled(line) | RecordState::Standing(line) => line.version,
                RecordState::Untouched | RecordState::Intended(_) => None,
            };
            let name = self.name(&changed.target, &changed.kind, &changed.id);
            self.versions.entry(name).or_insert(version);
        }
        Ok(())
    }

    /// Takes out of a run's changes those of records that an earlier run has created, and that go with it.
    pub fn leave_out(&self, draft: &mut RemovalPlan, created: &HashSet<u64>) {
        draft.changed.retain(|changed| {
            !created.contains(&self.name(&changed.target, &changed.kind, &changed.id))
        });
        draft.count_changed();
    }

    pub(super) fn name(&self, target: &str, kind: &str, id: &str) -> u64 {
        self.state.hash_one((target, kind, id))
    }

    /// Returns the version in which a later run has left a record, as far as it knows; none where none has changed it.
    pub(super) fn version(&self, name: u64) -> Option<&Option<String>> {
        self.versions.get(&name)
    }
}
