//! Decides what will be done with every record: settings, records and facts in, steps out.
//!
//! [`Planner`] decides, record by record, `graph` and `schedule` put in order: these are pure. `file` and `staging` write and
//! read plans as streamed segments, so that memory does not grow with the input; `staleness` looks at the sources
//! again. The sources are read by `survey`. `send` reads only the plan.

use serde::{Deserialize, Serialize};

pub use crate::record::{
    Action, Group, GroupId, Link, Other, Packaging, Reason, ReasonCode, Step, To, hash,
};
use crate::{
    manifest::{LoadSettings, RunSettings, TargetSettings},
    record::{LoadId, SourceId},
    source::{Fingerprint, Form},
    target::Facts,
};

pub(crate) mod batch;
pub(crate) mod capability_check;
pub mod file;
mod forecast;
pub(crate) mod graph;
pub(crate) mod independent;
pub mod json;
mod key;
mod order;
mod planner;
mod references;
mod root;
pub(crate) mod schedule;
pub(crate) mod staging;
mod staleness;
mod summary;
pub mod text;

pub use batch::{Batching, COMMA, ENVELOPE, batching, entry_size, ways};
pub use forecast::{Forecast, Forecaster, LoadForecast, PROOFS, PROOFS_OF_PARCEL, forecast};
pub use planner::{Decision, Planner};
pub use references::{Dangling, References};
pub use staleness::{changed_facts, changed_sources};
pub use summary::{LoadSummary, Summary};

/// The version of the plan's format.
pub const VERSION: u32 = 5;

/// The beginning of a plan: everything that holds for all of its steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanHeader {
    /// [`VERSION`] of the Stoker that wrote it.
    pub version: u32,
    /// The Stoker that wrote it.
    pub stoker: String,
    /// The manifest's name.
    pub name: String,
    /// The manifest's file; `-` for standard input.
    pub manifest: std::path::PathBuf,
    /// The directory in which the plan was made: relative paths hang on it.
    #[serde(default)]
    pub root: std::path::PathBuf,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// The targets, with the facts that the plan relies on.
    pub targets: Vec<PlannedTarget>,
    /// The loads, in the order of the manifest; [`LoadId`] indexes them.
    pub loads: Vec<LoadSettings>,
    /// Settings of the run.
    pub run: RunSettings,
}

impl PlanHeader {
    /// Returns the target of a load.
    pub fn target_of(&self, load: LoadId) -> Option<&PlannedTarget> {
        let name = &self.loads.get(load.0 as usize)?.target;
        self.targets
            .iter()
            .find(|target| target.settings.name == *name)
    }
}

/// A target and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedTarget {
    /// The settings of the target.
    pub settings: TargetSettings,
    /// The facts that the plan relies on.
    pub facts: Facts,
}

/// A source of a plan, with what it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedSource {
    /// Its number.
    pub id: SourceId,
    /// The load that reads it.
    pub load: LoadId,
    /// Its path as it is shown; `-` for standard input.
    pub name: String,
    /// The file; none for standard input.
    pub path: Option<std::path::PathBuf>,
    /// Its form.
    pub form: Form,
    /// It has to be kept as plain bytes to be read again: it is compressed, or standard input.
    pub spooled: bool,
    /// The fingerprint of the source when it was read.
    pub fingerprint: Fingerprint,
}
