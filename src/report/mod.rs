//! What became of a run, computed from its directory alone: plan and journal in, documents out.
//!
//! [`of`] streams the plan's steps, joins each with what the journal says of it, and sums up; [`write()`] does the
//! same pass once more for the documents that hold a line a record. Nothing is taken from events, so the end of
//! `load` and `stoker report RUN` are the same code. What may stand where is design §10: content of records
//! and server texts go to `rejected/` only.

use std::path::{Path, PathBuf};

use crate::{
    journal::{self, RunDirectory},
    plan,
    record::{SourceId, Span},
};

mod document;
mod figures;
pub mod html;
pub mod json;
mod junit;
pub mod markdown;
mod records;
mod rejected;
mod staged;
mod tally;
pub mod text;
mod walk;

pub use document::{
    Ended, Example, Latency, LoadReport, Problem, Report, Requests, Totals, VERSION,
};
pub use tally::of;

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan could not be read.
    #[error(transparent)]
    Plan(#[from] plan::file::Error),
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Plan and journal do not belong together, or one of them is damaged.
    #[error("the plan and the journal of `{}` do not agree: {why}", run.display())]
    Disagree {
        /// The run's directory.
        run: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// A document could not be written.
    #[error("cannot write `{}`: {why}", path.display())]
    Write {
        /// The document.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

impl Error {
    fn write(path: &Path, why: &impl std::fmt::Display) -> Self {
        Self::Write {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }
}

/// Reads bytes of a source again: the `bodies` of [`write()`]. The error says why it cannot, without content.
pub type Bodies<'a> = dyn Fn(SourceId, Span) -> Result<Vec<u8>, String> + 'a;

/// What [`write()`] wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Written {
    /// The manifest that loads the rejected records; none where there are none.
    pub rejected_manifest: Option<PathBuf>,
    /// How many rejected records could not be read from their sources again, and so are missing in `rejected/`
    /// (or stand there from an earlier report).
    pub unreadable: u64,
    /// Why the first of them could not be read.
    pub unreadable_because: Option<String>,
}

/// Renders `junit.xml` of a run.
///
/// # Errors
///
/// When plan or journal cannot be read.
pub fn junit(run: &RunDirectory, report: &Report) -> Result<String, Error> {
    let mut joined = walk::Joined::open(run)?;
    let mut junit = junit::Junit::new(report);
    joined.walk(|plan, record| {
        junit.take(plan, record);
        Ok(())
    })?;
    junit.render()
}

/// Writes all documents of a run into its directory: `report.json`, `report.md`, `report.html`, `junit.xml`,
/// `records.ndjson`, `ids.ndjson`, and `rejected/`.
///
/// Every document appears whole or not at all, readable by its owner only; writing twice gives the same bytes.
///
/// # Errors
///
/// When plan or journal cannot be read, or a document cannot be written. A source that cannot be read again is
/// no error: see [`Written::unreadable`].
pub fn write(run: &RunDirectory, report: &Report, bodies: &Bodies<'_>) -> Result<Written, Error> {
    let mut joined = walk::Joined::open(run)?;
    let directory = run.path();
    let mut records = records::Records::create(directory)?;
    let mut junit = junit::Junit::new(report);
    let mut rejected = rejected::Rejected::new(run, joined.plan(), bodies);
    joined.walk(|plan, ended| {
        records.take(plan, ended)?;
        junit.take(plan, ended);
        rejected.take(plan, ended)
    })?;
    records.finish()?;
    let written = rejected.finish()?;
    staged::write(&directory.join("junit.xml"), junit.render()?.as_bytes())?;
    staged::write(
        &directory.join("report.md"),
        markdown::render(report).as_bytes(),
    )?;
    staged::write(
        &directory.join("report.html"),
        html::render(report).as_bytes(),
    )?;
    staged::write(
        &directory.join("report.json"),
        json::render(report).as_bytes(),
    )?;
    Ok(written)
}
