//! Reads the sources of all loads through the planner into a sink, as a stream.
//!
//! This is the part of planning that touches files; every decision is the planner's.

mod known;
mod problems;
mod resources;
mod surveyor;

use std::path::Path;

pub use self::problems::pattern_problems;
use self::surveyor::Surveyor;
use crate::{
    diagnostic::Diagnostic,
    event::{LoadId, Observe},
    plan::{
        PlanHeader, PlannedSource, Summary,
        file::{self, Sink},
    },
    source::{self, Malformed, SourceFile, Spool},
};

/// The findings of a survey.
#[derive(Debug)]
pub struct Survey {
    /// The totals.
    pub summary: Summary,
    /// The sources, by their number.
    pub sources: Vec<PlannedSource>,
    /// The problems that stand in the way of a load; nothing may be sent while there are errors.
    pub problems: Vec<Diagnostic>,
}

/// The reason why a survey could not be carried to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan could not be written.
    #[error(transparent)]
    Plan(#[from] file::Error),
    /// A source cannot be read to its end, through no fault of its own.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The survey was interrupted.
    #[error("interrupted while the sources were being read; nothing was sent")]
    Interrupted,
}

/// A callback that is shown every malformed record as it is found, for `check`.
pub type OnMalformed<'a> = &'a mut dyn FnMut(&SourceFile, &Malformed);

/// Reads all sources and writes the plan.
///
/// Sources that cannot be read twice go through `spool`; until their order is known, the steps stand in a nameless file
/// in the directory `scratch`. `is_stopped` is asked between records.
pub fn survey(
    header: &PlanHeader,
    sink: &mut dyn Sink,
    spool: Option<&Spool>,
    scratch: &Path,
    observe: &dyn Observe,
    is_stopped: &dyn Fn() -> bool,
    malformed: OnMalformed<'_>,
) -> Result<Survey, Error> {
    sink.header(header)?;
    let mut surveyor = Surveyor::new(header, scratch, observe, is_stopped, malformed)?;
    for (index, load) in (0..).zip(&header.loads) {
        surveyor.load(LoadId(index), load, spool)?;
    }
    surveyor.arrange(sink)
}
