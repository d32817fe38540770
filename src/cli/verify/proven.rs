//! Outcomes that a run did not know, and the stores prove, go into its journal and its reports.

use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;

use super::{Context, Error, failed, state};
use crate::{
    diagnostic::Diagnostic,
    history::History,
    journal::{Amendment, Ending, RunDirectory},
    plan::file::Saved,
    report,
    send::verify::{Proven, Verify},
    source::Bodies,
};

/// Asks about the records of which a run does not know whether they arrived, and writes down what is proven; none is returned
/// where there are none, or somebody is at work on the run.
pub(super) async fn prove(
    verify: &Verify<'_>,
    run: &RunDirectory,
    context: Context,
) -> Result<Option<Proven>, Error> {
    let end = verify.history.end.as_ref();
    let is_superseded = end.is_some_and(|end| end.how == Ending::Superseded);
    if is_superseded || run.unload().exists() || !verify.has_doubts() {
        return Ok(None);
    }
    if state::is_going_on(run) {
        let what = "the run is being carried out: what it does not know yet is not asked about";
        context.printer.problems(&[Diagnostic::warning(what)]);
        return Ok(None);
    }
    let mut journal = Amendment::open(run, verify.history).map_err(Error::disk)?;
    let proven = verify
        .prove(ended(run), &mut |proofs| journal.note(proofs))
        .await;
    journal.end().map_err(Error::disk)?;
    proven.map(Some).map_err(failed)
}

/// Returns when the run was over, as far as its journal tells: what was on its way then may still arrive for a while.
fn ended(run: &RunDirectory) -> Instant {
    let now = Instant::now();
    let written = fs_err::metadata(run.journal()).and_then(|journal| journal.modified());
    let age = written.map(|written| SystemTime::now().duration_since(written));
    match age {
        Ok(Ok(age)) => now.checked_sub(age).unwrap_or(now),
        _ => now,
    }
}

/// Writes the reports of a run anew, and tells the history what has become known.
pub(super) fn report_again(
    run: &RunDirectory,
    saved: &Saved,
    bodies: &Arc<Bodies>,
    context: Context,
) -> Result<(), Error> {
    let read = |source, span| {
        let read = bodies.read(source, span);
        read.map(|bytes| bytes.to_vec()).map_err(|e| e.to_string())
    };
    let concluded = report::conclude(run, None, &read, &mut |_, _, _| {}).map_err(Error::disk)?;
    let (_, written) = concluded.write().map_err(Error::disk)?;
    let mut problems = Vec::new();
    if let Some(why) = written.unreadable_because {
        problems.push(Diagnostic::warning(format!(
            "{} rejected records are missing in rejected/: {why}",
            written.unreadable
        )));
    }
    let state = state::of(&saved.header);
    if let Err(error) = History::open(&state).and_then(|mut history| history.take_in(run)) {
        let hint = "a later load reads it from the run itself";
        problems.push(Diagnostic::warning(error.to_string()).hint(hint));
    }
    context.printer.problems(&problems);
    Ok(())
}
