//! A plan on disk: segments of lines that are written and read as a stream, never one JSON value.
//!
//! ```json
//! {"header":{…}}
//! {"step":[source,index,line,entry,start,length,body start,body length,type,id,fullUrl,action,links,known links,late,[hash]]}
//! {"group":{"id":0,"bundle":"transaction","records":146,"bytes":338112}}
//! {"source":{…}}
//! {"end":{"summary":{…},"loads":[[start,end,first step],…],"sources":[start,end]}}
//! ```
//!
//! The steps of a load are one stretch of lines, so that every load is read by itself; the last line says where
//! each stretch is. A file without that line was not finished and is refused. Each line ends with its checksum
//! (`checksum`), left out above.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Group, PlanHeader, PlannedSource, Step, Summary};
use crate::event::LoadId;
pub use read::{PlanEntry, Saved, Steps};
use step::StepLine;
pub(super) use step::{read_step, write_step};
pub use write::Writer;

mod read;
mod step;
mod write;

/// A plan could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{what}{}: {why}", of(path.as_ref()))]
pub struct Error {
    what: &'static str,
    /// None where the reason names the place.
    path: Option<PathBuf>,
    why: String,
}

fn of(path: Option<&PathBuf>) -> String {
    path.map_or_else(String::new, |path| format!(" `{}`", path.display()))
}

/// Takes a plan as it is being made.
pub trait Sink {
    /// Takes the beginning. Called once, first.
    fn header(&mut self, header: &PlanHeader) -> Result<(), Error>;
    /// Begins a load; the steps that follow are its own.
    fn load(&mut self, load: LoadId) -> Result<(), Error>;
    /// Announces that the next steps travel together.
    fn group(&mut self, group: &Group) -> Result<(), Error>;
    /// Takes a step.
    fn step(&mut self, step: &Step) -> Result<(), Error>;
    /// Takes all sources and the summary. Called once, last.
    fn end(&mut self, sources: &[PlannedSource], summary: &Summary) -> Result<(), Error>;
}

impl Error {
    /// A step has no number: the plan would say something else than was decided.
    pub(super) fn unnumbered() -> Self {
        Self {
            what: "internal error; please report it: cannot write the plan",
            path: None,
            why: "a record that others refer to has no number".to_owned(),
        }
    }

    /// A load is asked for that the plan does not hold.
    pub(super) fn no_load(path: &std::path::Path, load: crate::record::LoadId) -> Self {
        Self {
            what: "cannot read the plan",
            path: Some(path.to_owned()),
            why: format!("it holds no load {}", load.0),
        }
    }

    /// The draft of a plan could not be written or read.
    pub(crate) fn draft(error: &std::io::Error) -> Self {
        Self {
            what: "cannot keep the draft of the plan",
            path: None,
            why: error.to_string(),
        }
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are steps, and one is there at a time"
)]
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum WrittenLine<'a> {
    Header(&'a PlanHeader),
    Group(&'a Group),
    Step(StepLine<'a>),
    Source(&'a PlannedSource),
    End(EndRef<'a>),
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are steps, and one is there at a time"
)]
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReadLine<'a> {
    Header(Box<PlanHeader>),
    Group(Group),
    #[serde(borrow)]
    Step(StepLine<'a>),
    Source(Box<PlannedSource>),
    End(Box<End>),
}

#[derive(Serialize)]
struct EndRef<'a> {
    summary: &'a Summary,
    loads: &'a [(u64, u64, u64)],
    sources: (u64, u64),
}

#[derive(Deserialize)]
struct End {
    summary: Summary,
    loads: Vec<(u64, u64, u64)>,
    sources: (u64, u64),
}

#[cfg(test)]
mod tests;
