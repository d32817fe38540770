//! A plan's totals, and what its reader should know before anything is sent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Action, References, Step};
use crate::diagnostic;

/// The totals of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Per load, in the order of the manifest.
    pub loads: Vec<LoadSummary>,
    /// Warnings for the reader, in Stoker's words, at most [`Summary::WARNINGS`] of a kind.
    pub warnings: Vec<String>,
    /// Per target that has any: what was found about its references.
    #[serde(default)]
    pub references: BTreeMap<String, References>,
}

/// The totals of a load.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadSummary {
    /// Files read.
    pub files: u64,
    /// Records, those that cannot be loaded included.
    pub records: u64,
    /// Bytes of the records' resources.
    pub bytes: u64,
    /// Bytes of the largest record that is sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub largest_record: u64,
    /// Per resource type: records and bytes. Records without a type stand under the empty name.
    pub types: BTreeMap<String, (u64, u64)>,
    /// Per interaction: records that are sent with it.
    pub interactions: BTreeMap<String, u64>,
    /// Bundles sent whole.
    pub groups: u64,
    /// The entries of the largest of them.
    pub largest_group: u32,
    /// Records that cannot be loaded, by reason code.
    pub unsupported: BTreeMap<String, u64>,
    /// Things in the sources that are no records to load, by reason code: they are left out on purpose, and are no
    /// failure.
    #[serde(default)]
    pub left_out: BTreeMap<String, u64>,
    /// Records that are not sent, because another has their identity or their condition.
    #[serde(default)]
    pub duplicates: u64,
    /// Records that are not sent, because they need one that cannot be loaded.
    #[serde(default)]
    pub blocked: u64,
    /// Groups that Stoker made of records that need each other.
    #[serde(default)]
    pub cycles: u64,
    /// Records that are created without the references that close a cycle, and then updated.
    #[serde(default)]
    pub two_steps: u64,
    /// Records that are sent when the one before them in their sequence is settled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_sequence: u64,
    /// Of what the records that are sent are parts of: how many there are, by the word for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub within: BTreeMap<String, u64>,
    /// By property: how many of the records that are sent have each value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, BTreeMap<String, u64>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Summary {
    /// The number of warnings of one kind that a summary keeps; beyond that it counts.
    pub const WARNINGS: usize = 20;

    /// Returns the number of records of all loads.
    pub fn records(&self) -> u64 {
        self.loads.iter().map(|load| load.records).sum()
    }

    /// Returns the number of records that cannot be loaded.
    pub fn unsupported(&self) -> u64 {
        self.loads
            .iter()
            .map(LoadSummary::unsupported_records)
            .sum()
    }

    /// Returns the number of records that are sent.
    pub fn sent(&self) -> u64 {
        self.loads.iter().map(LoadSummary::sent).sum()
    }

    /// Adds the warnings of a check.
    pub fn warn(&mut self, diagnostic: &diagnostic::Diagnostic) {
        self.warnings.push(diagnostic.message.clone());
    }
}

impl LoadSummary {
    /// Returns the number of records that cannot be loaded.
    pub fn unsupported_records(&self) -> u64 {
        self.unsupported.values().sum()
    }

    /// Returns the number of records that are sent.
    pub fn sent(&self) -> u64 {
        self.records - self.unsupported_records() - self.duplicates - self.blocked
    }

    /// Takes note that a record that was counted is not sent after all.
    pub(super) fn withdraw(&mut self, action: &Action) {
        if let Some(word) = action.operation().map(crate::record::Operation::as_str)
            && let Some(count) = self.interactions.get_mut(word)
        {
            *count -= 1;
            if *count == 0 {
                self.interactions.remove(word);
            }
        }
    }

    /// Counts something that is left out on purpose.
    pub(super) fn leave_out(&mut self, code: &str) {
        count(&mut self.left_out, code);
    }

    /// Counts a step.
    pub fn count(&mut self, step: &Step) {
        self.records += 1;
        self.bytes += step.body.length;
        let (records, bytes) = match self.types.get_mut(&step.kind) {
            Some(counts) => counts,
            None => self.types.entry(step.kind.clone()).or_default(),
        };
        *records += 1;
        *bytes += step.body.length;
        self.in_sequence += u64::from(step.follows().next().is_some());
        match &step.action {
            Action::Send(interaction) | Action::Entry(interaction) => {
                self.largest_record = std::cmp::max(self.largest_record, step.body.length);
                count(&mut self.interactions, interaction.as_str());
            }
            Action::Unsupported(reason) => count(&mut self.unsupported, reason.code.as_str()),
            Action::Duplicate(_) => self.duplicates += 1,
            Action::Blocked(_) => self.blocked += 1,
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, word: &str) {
    match counts.get_mut(word) {
        Some(count) => *count += 1,
        None => {
            counts.insert(word.to_owned(), 1);
        }
    }
}
