//! The manifest: what a user wrote, read, checked and resolved into settings.
//!
//! `document` turns YAML into a tree with places, once `depth` has found it to nest no deeper than it can be read, `read` puts the trees of a manifest and its includes
//! together, `resolve`, `target`, `load` and `basics` turn them into the types below with all variables and defaults
//! filled in, and `check` holds the rules across loads. `schema` describes every key as it is written. All
//! problems are collected by `reader` and reported at once, each with its place. Nothing here looks at a target or opens a resource file; globs are
//! expanded by `source`.

mod auth;
mod basics;
mod check;
mod depth;
mod document;
mod flaw;
mod load;
mod load_settings;
mod name;
mod parts;
mod read;
mod reader;
mod resolve;
pub mod schema;
mod store;
mod substitute;
mod syntax;
mod target;
mod target_settings;
mod values;
pub mod write;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::hl7v2::wire::{Characters, Segments};

use crate::unit::ByteSize;

pub use self::{
    load_settings::{
        Duplicates, Existing, ExistingSettings, FilePattern, Format, Identity, LoadSettings,
        MessageOrder, MessageSettings, Missing, PackagingChoice, PackagingSettings, Settle,
        Transactions, Versioned,
    },
    read::{ReadResult, read, read_text},
    schema::{reference, schema},
    target::HeaderError,
    target_settings::{
        Auth, Concurrency, GoogleStore, Retry, SecretPlace, Store, TargetSettings, Tls,
    },
};
pub use self::{reader::nearest, resolve::DEFAULT_MEMORY, store::GOOGLE_ENDPOINT};

/// A manifest with everything resolved: variables substituted, includes merged, defaults filled in.
///
/// Relative paths have been joined to the folder of the manifest that wrote them. No secret stands in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The name; runs are named after it.
    pub name: String,
    /// The file it was read from.
    pub path: PathBuf,
    /// The targets, in the order of the files, those of included manifests first.
    pub targets: Vec<TargetSettings>,
    /// The loads, in the order of the files, those of included manifests first.
    pub loads: Vec<LoadSettings>,
    /// Settings of the run as a whole.
    pub run: RunSettings,
}

/// Settings of the run as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSettings {
    /// The number of failed records at which the run stops.
    pub max_errors: Option<MaxErrors>,
    /// The directory of runs and history; none in plans of before it stood beside the manifest.
    pub state: Option<PathBuf>,
    /// The durability that a line of the journal needs before it counts as written.
    pub journal: Sync,
    /// The memory for bodies in flight or waiting, and for answers; as much again holds what is known of records and
    /// references.
    pub memory: ByteSize,
}

impl RunSettings {
    /// Returns the directory for the runs of a manifest that names none: beside it.
    pub fn beside(manifest: &std::path::Path) -> PathBuf {
        manifest.with_file_name(".stoker")
    }
}

/// The failures after which a run stops.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxErrors {
    /// A number of records.
    Count(u64),
    /// A percentage of the plan's records.
    Percent(f64),
}

/// How far a journal line goes before it counts as durable (design §3).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// Handed to the kernel: survives `kill -9`.
    None,
    /// Also brought to the disk by group commit, moments later: a power cut costs the last group at most.
    #[default]
    Group,
    /// On the disk before anything goes on.
    Always,
}
