//! The summary of a run, and the exit code that it comes to.

use super::{Context, Error, Exit};
use crate::{
    journal::RunDirectory,
    record::Outcome,
    report::{self, Report, SessionEnd, Words, text::View},
};

/// Renders the summary of a run as the flags want it: empty where only what is wrong is wanted, and nothing is.
pub(super) fn summary(
    report: &Report,
    run: &RunDirectory,
    context: Context,
) -> Result<String, Error> {
    let words = context.show_content.then(|| Words::open(run)).transpose();
    let view = View {
        colour: context.printer.colors_output(),
        quiet: context.printer.is_quiet(),
        words: words.map_err(Error::disk)?,
    };
    Ok(report::text::render(report, run, view))
}

/// Returns the exit code of a run.
pub(super) fn exit_of(report: &Report) -> Exit {
    match report.ended {
        SessionEnd::MaxErrors => return Exit::MaxErrors,
        SessionEnd::Target => return Exit::Target,
        SessionEnd::Source => return Exit::Disk,
        SessionEnd::Internal => return Exit::Internal,
        SessionEnd::Interrupted => return Exit::Interrupted,
        SessionEnd::Complete | SessionEnd::Superseded | SessionEnd::Unfinished => {}
    }
    let failed = Outcome::ALL
        .into_iter()
        .any(|o| !o.is_well() && report.outcomes.of(o) > 0);
    if failed { Exit::SomeFailed } else { Exit::Well }
}
