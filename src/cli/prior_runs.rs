//! The meaning of earlier runs of a state directory for the one at hand: records that they loaded are left alone, and
//! runs that were cut off are taken over.

use std::{collections::HashMap, path::Path};

use super::{Error, Exit, printer::Printer};
use crate::{
    diagnostic::Diagnostic,
    history::{self, History},
    journal::{self, Journal, RunDirectory, format::ConsultedLine},
    plan::file::Saved,
    send::{self, Compared, Earlier, HeldError, PriorLoads, TargetConnection},
};

/// The result of asking earlier runs.
pub(super) struct Asked {
    /// The journal so far, with the records that earlier runs have loaded, and the choice of what is tried once more.
    pub(super) earlier: Earlier,
    /// Records that were read to make sure.
    pub(super) reads: u64,
}

/// The reason why earlier runs are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To load: what those left that were cut off is taken over.
    Load,
    /// To do everything but send.
    DryRun,
    /// To say what a load would do.
    Plan,
    /// To compare what is there with the sources: nothing is left alone, and nothing is said of it.
    Verify,
}

/// A run that asks the earlier ones.
pub(super) struct Consulted<'a> {
    pub(super) state: &'a Path,
    pub(super) saved: &'a Saved,
    pub(super) links: &'a HashMap<String, TargetConnection>,
    pub(super) journal: &'a Journal,
    pub(super) run: &'a RunDirectory,
    pub(super) purpose: Purpose,
}

impl Consulted<'_> {
    /// Asks the earlier runs, and returns what this one knows then. With `fresh` nobody is asked.
    pub(super) async fn consult(
        &self,
        earlier: Earlier,
        fresh: bool,
        printer: Printer,
    ) -> Result<Earlier, Error> {
        let asked = self.ask(earlier, fresh, printer).await?;
        Ok(asked.earlier)
    }

    /// As [`Consulted::consult`], and tells how many records were read to make sure.
    pub(super) async fn ask(
        &self,
        earlier: Earlier,
        fresh: bool,
        printer: Printer,
    ) -> Result<Asked, Error> {
        let (mut consulted, mut reads) = (ConsultedLine::default(), 0);
        let mut sampled = 0;
        let has_past = || {
            let runs = RunDirectory::all(self.state).map_err(Error::disk)?;
            Ok::<_, Error>(!runs.is_empty())
        };
        // A verb that only looks begins no history.
        if !fresh && (self.purpose == Purpose::Load || has_past()?) {
            let mut history = History::open(self.state).map_err(broken)?;
            self.take_in(&mut history, printer).await?;
            let noted = send::skip_loaded(
                self.saved,
                self.links,
                &history,
                self.journal,
                earlier.history.as_ref(),
                match self.purpose {
                    Purpose::Load | Purpose::DryRun => Compared::Asked,
                    Purpose::Plan | Purpose::Verify => Compared::Believed,
                },
            );
            for held in noted.await.map_err(failed)? {
                consulted.loaded += held.kept;
                consulted.asked += held.asked;
                consulted.gone += held.gone;
                sampled += held.sampled;
                reads += held.reads();
                if self.purpose != Purpose::Verify {
                    printer.message(&words(&held));
                    printer.problems(&outdated(&held));
                }
            }
        }
        // A run with no past has made sure of nothing.
        consulted.sampled = (consulted.loaded + consulted.gone > 0).then_some(sampled);
        let noted = self.journal.consulted(consulted).await;
        noted.map_err(Error::disk)?;
        if fresh {
            return Ok(Asked { earlier, reads });
        }
        let history = journal::read(&self.run.journal()).map_err(Error::disk)?;
        let earlier = Earlier {
            history: Some(history),
            replay: earlier.replay,
            was_cut_off: false,
        };
        Ok(Asked { earlier, reads })
    }

    /// Takes in what the runs of the state directory say; those of the same manifest that were cut off are taken over.
    async fn take_in(&self, history: &mut History, printer: Printer) -> Result<(), Error> {
        let runs = RunDirectory::all(self.state).map_err(Error::disk)?;
        let mut taken = Vec::new();
        for run in runs {
            if run.name() == self.run.name() {
                continue;
            }
            if let Err(error) = history.take_in(&run) {
                if let history::Error::Damaged { .. } | history::Error::File { .. } = error {
                    return Err(broken(error));
                }
                let what = format!("{}: {error}", run.path().display());
                let hint = "what it loaded is not known to this run";
                printer.problems(&[Diagnostic::warning(what).hint(hint)]);
                continue;
            }
            taken.push(run.clone());
            let Ok(saved) = Saved::open(&run.plan()) else {
                continue;
            };
            let is_same = saved.header.is_of(&self.saved.header);
            // A run with loads that this one does not carry out keeps its rest as its own.
            let covers = |name: &str| self.saved.header.loads.iter().any(|load| load.name == name);
            let is_covered = (saved.header.loads.iter()).all(|load| covers(&load.name));
            if self.purpose != Purpose::Load || !is_same || !is_covered {
                continue;
            }
            let told = match journal::read(&run.journal()) {
                Ok(told) if !told.is_over() => told,
                Ok(_) | Err(_) => continue,
            };
            let by = self.run.path().display().to_string();
            if journal::supersede(&run, &told, &by).await.is_ok() {
                printer.message(&format!(
                    "{} was cut off; this run takes over what it left",
                    run.path().display()
                ));
            } else {
                let what = format!("{} is being carried out", run.path().display());
                let hint = "what it has yet to load is loaded by this run as well";
                printer.problems(&[Diagnostic::warning(what).hint(hint)]);
            }
        }
        // Records that were unloaded since are not there any more.
        history.take_out(&taken).map_err(broken)?;
        // A large run has left many segments, and each record is looked for in all of them.
        history.compact().map_err(broken)
    }
}

fn words(held: &PriorLoads) -> String {
    let PriorLoads {
        target,
        loaded,
        kept,
        sampled,
        missing,
        asked: _,
        gone: _,
        untold,
        renewed,
        outdated: _,
        elsewhere,
    } = held;
    let elsewhere = match elsewhere {
        0 => String::new(),
        elsewhere => format!(
            "; it has stored {elsewhere} under other names than were sent, and they are not sent again (`--fresh` does)"
        ),
    };
    let again = match renewed {
        0 => String::new(),
        renewed => format!(
            "; {renewed} updates are sent again although their files are the same, for what they refer to is loaded anew, or has another id by now"
        ),
    };
    if *loaded == 0 {
        return format!(
            "target `{target}`: nothing of the records is known to be there as it was sent{elsewhere}"
        );
    }
    if *sampled == 0 {
        return format!(
            "target `{target}`: earlier runs have loaded {loaded} of the records; it is assumed that they are still there, for it was not asked{again}{elsewhere}"
        );
    }
    if *untold {
        return format!(
            "target `{target}` does not say whether it still holds what earlier runs have loaded: all {loaded} of the records are sent again, and `duplicates` says what becomes of those that it has already{elsewhere}"
        );
    }
    match (*missing, *kept) {
        (0, _) => format!(
            "target `{target}`: earlier runs have loaded {loaded} of the records; they are left alone (`--fresh` loads them again){again}{elsewhere}"
        ),
        (missing, _) if missing == *sampled => format!(
            "target `{target}` holds none of the {sampled} records that were sampled of what earlier runs have loaded: everything is loaded again"
        ),
        (missing, kept) => format!(
            "target `{target}` no longer holds {missing} of {sampled} sampled records as earlier runs have loaded them; of {loaded} records {kept} are still there, the others are loaded again{again}{elsewhere}"
        ),
    }
}

/// Warns of created records that are not created a second time: somebody has to know that they refer to what was there
/// before.
fn outdated(held: &PriorLoads) -> Vec<Diagnostic> {
    let PriorLoads {
        target, outdated, ..
    } = held;
    if *outdated == 0 {
        return Vec::new();
    }
    let what = format!(
        "target `{target}`: {outdated} records that earlier runs created refer to others that are loaded anew, or have another id by now; they are left as they are, and refer to what was there before"
    );
    let hint = "`interaction: update` (or a condition) lets them be brought up to date; `--fresh` creates all of it once more";
    vec![Diagnostic::warning(what).hint(hint)]
}

/// A history that cannot be used ends a load, which might send everything twice otherwise. There is always a way on.
fn broken(error: history::Error) -> Error {
    let hint = error.hint();
    Error::disk(error).hint(hint)
}

fn failed(error: HeldError) -> Error {
    match error {
        HeldError::History(error) => broken(error),
        HeldError::Run(error) => Error::disk(error),
        HeldError::Untold { .. } => Error::new(Exit::Target, &error).hint(
            "let the credentials read what is there; `--fresh` loads all of it once more, and creates again what is there".to_owned(),
        ),
        HeldError::Target { ref failure, .. } => {
            let hint = failure.hint().map(str::to_owned);
            let error = Error::new(Exit::Target, &error);
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        }
    }
}
