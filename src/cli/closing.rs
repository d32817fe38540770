//! The end of a load: the outcomes of its records, for people and for later loads. The user has no prompt before this is
//! done.
//!
//! One pass over plan and journal sums up, keeps what was rejected, and takes what was loaded into the history; what can be
//! computed again is not written. The journal comes first, so that whatever fails here can be made up for.

use std::{path::Path, sync::Arc};

use tokio::time::Instant;

use super::{Error, milliseconds, printer::Printer};
use crate::{
    diagnostic::Diagnostic,
    event::Event,
    history::{self, Intake},
    journal::{Journal, RunDirectory, Tally},
    plan::file::Saved,
    progress,
    report::{self, Report, SessionEnd},
    source::Bodies,
};

/// Records that are gone through before their number is shown.
const SHOWN_EVERY: u64 = 4096;

/// A load of which everything has been sent that will be.
pub(super) struct Closing<'a> {
    pub(super) printer: Printer,
    pub(super) watcher: &'a progress::Watcher,
    pub(super) run: &'a RunDirectory,
    pub(super) state: &'a Path,
    pub(super) saved: &'a Saved,
    pub(super) bodies: &'a Arc<Bodies>,
    pub(super) journal: &'a Journal,
    /// When sending was over.
    pub(super) sent: Instant,
    /// The session's figures by then.
    pub(super) last: Tally,
}

impl Closing<'_> {
    /// Writes the reports, and keeps what was loaded for later loads.
    pub(super) async fn close(self) -> Result<Report, Error> {
        let observer = self.watcher.observer();
        observer.observe(&Event::Finished);
        let read = |source, span| {
            self.bodies
                .read(source, span)
                .map(|bytes| bytes.to_vec())
                .map_err(|e| e.to_string())
        };
        let planned = self.saved.summary.records();
        let mut intake = Ok(Intake::of(self.state, &self.saved.header, planned));
        let mut records = 0;
        let concluded = report::conclude(
            self.run,
            self.journal.told(),
            &read,
            &mut |step, fate, told| {
                records += 1;
                if records % SHOWN_EVERY == 0 {
                    observer.observe(&Event::Concluding { records });
                }
                if let Ok(taking) = &mut intake
                    && let Err(error) = taking.take(step, fate, told)
                {
                    intake = Err(error);
                }
            },
        );
        let mut concluded = concluded.map_err(Error::disk)?;
        let closing_ms = milliseconds(self.sent.elapsed());
        let closed = Tally {
            closing_ms,
            ..self.last.clone()
        };
        // A journal that could not be written has been told of; its report says less by these milliseconds.
        if self.journal.closed(closed).await.is_ok() {
            concluded.closed(closing_ms);
        }
        let is_brief = concluded.is_brief();
        if !is_brief {
            self.remember(intake);
        }
        let (reported, written) = concluded.write().map_err(Error::disk)?;
        if let Some(why) = written.unreadable_because {
            let message = format!(
                "{} rejected records are missing in rejected/: {why}",
                written.unreadable
            );
            self.warn(Diagnostic::warning(message));
        }
        // A run that is not over may be resumed, and needs what its sources cannot give twice.
        if reported.ended == SessionEnd::Complete {
            let _ = fs_err::remove_dir_all(self.run.spool());
        }
        if is_brief && let Err(error) = report::shorten(self.run, &reported) {
            let hint = "nothing is wrong with it; it takes more room than it need";
            self.warn(Diagnostic::warning(error.to_string()).hint(hint));
        }
        Ok(reported)
    }

    /// Keeps what the run has loaded for later ones. A history that cannot be written costs a later load its time only.
    fn remember(&self, intake: Result<Intake, history::Error>) {
        let size = fs_err::metadata(self.run.journal()).map_or(0, |metadata| metadata.len());
        if let Err(error) = intake.and_then(|intake| intake.finish(self.run, size)) {
            let hint = "a later load reads it from the run itself";
            self.warn(Diagnostic::warning(error.to_string()).hint(hint));
        }
    }

    fn warn(&self, problem: Diagnostic) {
        self.watcher.suspend(|| self.printer.problems(&[problem]));
    }
}
