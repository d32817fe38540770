//! The report of a run, computed from its directory alone: plan and journal in, documents out.
//!
//! [`of`] streams the plan's steps, joins each with its state in the journal, and sums up; [`conclude`] does the same
//! at the end of a load, and keeps the rejected records on the way. Nothing is taken from events, so the end of `load`
//! and `stoker report RUN` are the same code. Of a large run that sent nothing only the totals are kept (`brief`). The
//! places for content are given by design §10: content of records and server texts go to `rejected/` only.

use std::path::{Path, PathBuf};

use crate::{
    journal::{self, JournalIndex, RecordState, RunDirectory},
    plan::{self, Step},
    record::{SourceId, Span},
};

mod aggregate;
mod ahead;
mod atomic_file;
mod brief;
mod causes;
mod document;
mod figures;
pub mod format;
pub mod html;
mod join;
pub mod json;
mod junit;
pub mod markdown;
mod mistake;
mod past;
mod problems;
mod records;
mod rejected;
pub mod text;
mod why;
mod words;

pub use aggregate::of;
pub use brief::shorten;
pub use document::{
    Cause, Example, HistoryCheck, Latency, LoadReport, Problem, Report, RequestFigures, SessionEnd,
    Totals, VERSION,
};
pub use html::SCRIPT;
pub use records::{FEW, keep_ids, write_ids, write_records};
pub use words::Words;

/// The reason why a report could not be made.
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
        /// The disagreement, in words.
        why: String,
    },
    /// There is no line a record any more.
    #[error("`{}` sent nothing, and keeps its totals only", _0.display())]
    Brief(PathBuf),
    /// The report could not be written to its output.
    #[error("cannot write: {_0}")]
    Out(#[source] std::io::Error),
    /// A document could not be written.
    #[error("cannot write `{}`: {why}", path.display())]
    Write {
        /// The document.
        path: PathBuf,
        /// The system's error, in words.
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
pub type ReadBody<'a> = dyn Fn(SourceId, Span) -> Result<Vec<u8>, String> + 'a;

/// The facts of the files that [`write()`] wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct WrittenFiles {
    /// The manifest that loads the rejected records; none where there are none.
    pub rejected_manifest: Option<PathBuf>,
    /// The number of rejected records that could not be read from their sources again, and so are missing in
    /// `rejected/` (or stand there from an earlier report).
    pub unreadable: u64,
    /// The reason why the first of them could not be read.
    pub unreadable_because: Option<String>,
}

/// Renders `junit.xml` of a run.
///
/// # Errors
///
/// When plan or journal cannot be read.
pub fn junit(run: &RunDirectory, report: &Report) -> Result<String, Error> {
    if let Some(kept) = brief::document(run, "junit.xml")? {
        return Ok(kept);
    }
    let joined = join::JoinedRun::open(run)?;
    let mut junit = junit::Junit::new(joined.plan());
    joined.walk(|plan, record, _| {
        junit.take(plan, record);
        Ok(())
    })?;
    junit.render(report)
}

/// Renders `report.html` of a run.
///
/// # Errors
///
/// When plan or journal cannot be read.
pub fn page(run: &RunDirectory, report: &Report) -> Result<String, Error> {
    if let Some(kept) = brief::document(run, "report.html")? {
        return Ok(kept);
    }
    let joined = join::JoinedRun::open(run)?;
    let requests = html::Requests::counted(joined.plan())?;
    let around = html::Around::of(run, joined.plan(), joined.history(), requests);
    Ok(html::render(report, &around))
}

/// Renders the page of a run that goes on, as it stands just now.
///
/// # Errors
///
/// When plan or journal cannot be read.
pub fn page_of_now(run: &RunDirectory) -> Result<String, Error> {
    let joined = join::JoinedRun::open(run)?;
    let mut sum = aggregate::Aggregate::new(joined.plan());
    joined.walk(|plan, record, _| {
        sum.take(plan, record);
        Ok(())
    })?;
    let report = sum.report(run, &joined)?;
    let requests = html::Requests::counted(joined.plan())?;
    let mut around = html::Around::of(run, joined.plan(), joined.history(), requests);
    around.goes_on();
    Ok(html::render(&report, &around))
}

/// A run whose records have been gone through; its documents are still to be written.
#[derive(Debug)]
pub struct Concluded {
    run: RunDirectory,
    report: Report,
    junit: junit::Junit,
    around: html::Around,
    written: WrittenFiles,
    is_brief: bool,
}

/// A further taker of every record of a run that is concluded, with what its journal says of the record.
pub type Each<'a> = dyn FnMut(&Step, RecordState, &JournalIndex) + 'a;

/// Goes through the records of a run once: sums them up, and keeps those that were rejected.
///
/// `told` is what its journal says where that is known already; `each` is told of every record.
///
/// # Errors
///
/// When plan or journal cannot be read, or what was rejected cannot be kept. A source that cannot be read again is no
/// error: see [`WrittenFiles::unreadable`].
pub fn conclude(
    run: &RunDirectory,
    told: Option<JournalIndex>,
    bodies: &ReadBody<'_>,
    each: &mut Each<'_>,
) -> Result<Concluded, Error> {
    let joined = match told {
        Some(told) => join::JoinedRun::of(run, told)?,
        None => join::JoinedRun::open(run)?,
    };
    let few = joined.plan().summary.records() <= records::FEW;
    let mut records = if few {
        Some(records::Records::create(run.path())?)
    } else {
        None
    };
    let mut junit = junit::Junit::new(joined.plan());
    let mut rejected = rejected::Rejected::new(run, joined.plan(), bodies);
    let mut tally = aggregate::Aggregate::new(joined.plan());
    let mut forecaster = plan::Forecaster::of(joined.plan());
    joined.walk(|plan, record, fate| {
        tally.take(plan, record);
        forecaster.take(&record.step, record.group, &|_| None);
        junit.take(plan, record);
        if let Some(records) = &mut records {
            records.take(plan, record)?;
        }
        rejected.take(plan, record)?;
        each(&record.step, fate, joined.history());
        Ok(())
    })?;
    if let Some(records) = records {
        records.finish()?;
    }
    let written = rejected.finish()?;
    let asked = tally.asked();
    let report = tally.report(run, &joined)?;
    let requests = Some(html::Requests::of(&forecaster.end()));
    let around = html::Around::of(run, joined.plan(), joined.history(), requests);
    Ok(Concluded {
        run: run.clone(),
        is_brief: brief::is_brief(&report, asked),
        report,
        junit,
        around,
        written,
    })
}

impl Concluded {
    /// Tells whether only the totals need to be kept ([`shorten`]): earlier runs had loaded everything.
    pub fn is_brief(&self) -> bool {
        self.is_brief
    }

    /// Adds how long the end of the last session took, in milliseconds.
    pub fn closed(&mut self, closing_ms: u64) {
        self.report.closing_ms += closing_ms;
        self.report.duration_ms += closing_ms;
    }

    /// Writes `report.json`, `report.md`, `report.html` and `junit.xml` into the directory of the run.
    ///
    /// Every document appears whole or not at all, readable by its owner only.
    ///
    /// # Errors
    ///
    /// When a document cannot be written.
    pub fn write(self) -> Result<(Report, WrittenFiles), Error> {
        let Self {
            run,
            report,
            junit,
            around,
            written,
            is_brief: _,
        } = self;
        let directory = run.path();
        let documents = [
            ("junit.xml", junit.render(&report)?),
            ("report.md", markdown::render(&report)),
            ("report.html", html::render(&report, &around)),
            ("report.json", json::render(&report)),
        ];
        for (name, text) in documents {
            atomic_file::write(&directory.join(name), text.as_bytes())?;
        }
        Ok((report, written))
    }
}

/// Writes all documents of a run into its directory: `report.json`, `report.md`, `report.html`, `junit.xml`, `rejected/`, and
/// where it has few records, `records.ndjson` and `ids.ndjson`. Writing twice gives the same bytes.
///
/// # Errors
///
/// As [`conclude`] and [`Concluded::write`].
pub fn write(run: &RunDirectory, bodies: &ReadBody<'_>) -> Result<WrittenFiles, Error> {
    let concluded = conclude(run, None, bodies, &mut |_, _, _| {})?;
    Ok(concluded.write()?.1)
}
