//! Large runs that sent nothing, because earlier runs had loaded everything: only their totals are kept.
//!
//! A pipeline that loads a million records every night, and sends none, would otherwise write as much each time as the
//! first run did. The lines of such a run's plan and journal stand in those of the runs that loaded the records as well.

use super::{Error, FEW, Report};
use crate::{
    journal::{self, Journal, RunDirectory, format},
    record::Outcome,
};

/// Tells whether a run is to be kept in brief: it is over, it is large, no target was asked for any of its records (`asked`
/// counts those for which one was), and nothing is left to do.
pub(super) fn is_brief(report: &Report, asked: u64) -> bool {
    let as_before = [Outcome::Unchanged, Outcome::Duplicate];
    let others = Outcome::ALL
        .into_iter()
        .filter(|outcome| !as_before.contains(outcome));
    report.ended == super::SessionEnd::Complete
        && report.records > FEW
        && report.requests.sent == 0
        && asked == 0
        && others
            .map(|outcome| report.outcomes.of(outcome))
            .sum::<u64>()
            == 0
}

/// Makes a run brief whose documents have been written: the journal keeps its sessions, the plan goes.
///
/// # Errors
///
/// When the journal cannot be written; then the run stays as it was.
pub fn shorten(run: &RunDirectory, report: &Report) -> Result<(), Error> {
    let told = journal::read(&run.journal())?;
    Journal::shorten(
        run,
        &told,
        format::BriefLine {
            records: report.records,
        },
    )?;
    fs_err::remove_file(run.plan()).map_err(|e| Error::write(&run.plan(), &e))
}

/// The most bytes of a journal that may be a brief one.
const SHORT: u64 = 1 << 20;

/// Returns the report of a run that is kept in brief.
pub(super) fn report(run: &RunDirectory) -> Result<Option<Report>, Error> {
    let Some(text) = document(run, "report.json")? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|e| Error::Disagree {
            run: run.path().to_owned(),
            why: format!("its report.json cannot be read ({e}), and nothing else tells its totals"),
        })
}

/// Returns a document of a run that is kept in brief.
pub(super) fn document(run: &RunDirectory, name: &str) -> Result<Option<String>, Error> {
    // Such a journal has a line or two a session; that of another run need not be read to know that it is none.
    let size = fs_err::metadata(run.journal()).map_or(0, |metadata| metadata.len());
    if size > SHORT || journal::read(&run.journal())?.brief.is_none() {
        return Ok(None);
    }
    fs_err::read_to_string(run.path().join(name))
        .map(Some)
        .map_err(|e| Error::Disagree {
            run: run.path().to_owned(),
            why: format!(
                "it sent nothing and keeps its totals only, and {name} is not there ({e})"
            ),
        })
}
