//! From a manifest to a plan, as `load`, `plan`, `check` and `verify` have it made; and what makes a plan one that is refused.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Context, Error, Exit,
    connect::Connection,
    printer::Printer,
    prior_runs::{Asked, Consulted, Purpose},
    scratch::Scratch,
    sources::SPOOL,
    state,
};
use crate::{
    diagnostic::{Diagnostic, Severity},
    journal::{Journal, RunDirectory, format},
    manifest::{Manifest, Sync},
    plan::{
        self, PlanHeader, PlannedTarget, Summary,
        file::{Saved, Sink, Writer},
    },
    progress::Watcher,
    send::{Earlier, Stop},
    source::{self, Malformed, SourceFile, Spool},
    survey::{self, Survey},
    target::Facts,
};

/// Makes the header of a plan, with the documented facts of its targets.
pub(super) fn header(manifest: &Manifest) -> PlanHeader {
    PlanHeader {
        version: plan::VERSION,
        stoker: env!("CARGO_PKG_VERSION").to_owned(),
        name: manifest.name.clone(),
        manifest: manifest.path.clone(),
        // Without a working directory, relative paths could not have been read either.
        root: std::path::absolute(".").unwrap_or_default(),
        created: jiff::Timestamp::now(),
        targets: manifest
            .targets
            .iter()
            .map(|settings| PlannedTarget {
                facts: Facts::documented(&settings.store),
                settings: settings.clone(),
            })
            .collect(),
        loads: manifest.loads.clone(),
        run: manifest.run.clone(),
    }
}

/// The means of reading sources into a plan.
pub(super) struct Planning<'a> {
    pub(super) header: &'a PlanHeader,
    /// The directory in which what is too long to be held lies meanwhile.
    pub(super) scratch: PathBuf,
    /// The directory for the plain bytes of sources that cannot be read twice, so that they can be read again; none
    /// where nothing is kept.
    pub(super) spool: Option<PathBuf>,
    pub(super) watcher: &'a Watcher,
    pub(super) stop: &'a Stop,
}

impl<'a> Planning<'a> {
    /// Plans in the directory of a run.
    pub(super) fn in_run(
        header: &'a PlanHeader,
        run: &RunDirectory,
        watcher: &'a Watcher,
        stop: &'a Stop,
    ) -> Self {
        Self {
            header,
            scratch: run.path().to_owned(),
            spool: Some(run.spool()),
            watcher,
            stop,
        }
    }

    /// Plans in a directory that is gone afterwards, whatever is done there.
    pub(super) fn aside(
        header: &'a PlanHeader,
        scratch: &Scratch,
        watcher: &'a Watcher,
        stop: &'a Stop,
    ) -> Self {
        Self::in_run(header, scratch.run(), watcher, stop)
    }

    /// Reads all sources into the file of a plan; `elsewhere` tells how another place for it is named.
    pub(super) async fn write(self, to: &Path, elsewhere: &'static str) -> Result<Survey, Error> {
        let to = to.to_owned();
        let open = move || Writer::create(&to).map_err(|error| Error::elsewhere(error, elsewhere));
        let (surveyed, _) = self.plan(open, |_, _| {}).await?;
        Ok(surveyed)
    }

    /// Reads all sources into a plan, which goes where `open` says; every verb's plan is made here. `malformed` is shown what
    /// is malformed.
    pub(super) async fn plan<S: Sink + Send + 'static>(
        self,
        open: impl FnOnce() -> Result<S, Error> + Send + 'static,
        mut malformed: impl FnMut(&SourceFile, &Malformed) + Send + 'static,
    ) -> Result<(Survey, S), Error> {
        let (header, stop, observe) = (
            self.header.clone(),
            self.stop.clone(),
            self.watcher.observer(),
        );
        let (scratch, spool) = (self.scratch, self.spool);
        let planning = tokio::task::spawn_blocking(move || {
            let spool = spool.map(|folder| Spool::new(folder, SPOOL));
            let spool = spool.transpose().map_err(Error::disk)?;
            let mut sink = open()?;
            let surveyed = survey::survey(
                &header,
                &mut sink,
                spool.as_ref(),
                &scratch,
                &*observe,
                &|| stop.is_stopping(),
                &mut malformed,
            );
            Ok((surveyed.map_err(failed)?, sink))
        });
        tokio::select! {
            planned = planning => planned.map_err(|error| Error::task(&error))?,
            // The reading looks up between records only, and standard input may bring none: nothing was sent that it would have to
            // wait for.
            () = self.stop.dropping() => Err(interrupted()),
            () = patience(self.stop) => Err(interrupted()),
        }
    }
}

/// Waits for the first signal, and then for as long as the reading has to look up.
async fn patience(stop: &Stop) {
    stop.stopping().await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
}

/// Finds out what earlier runs have loaded of a plan.
pub(super) async fn consult(
    purpose: Purpose,
    fresh: bool,
    saved: &Arc<Saved>,
    scratch: &Scratch,
    connections: &HashMap<String, Connection>,
    context: Context,
) -> Result<Asked, Error> {
    let mut links = HashMap::new();
    for (name, connection) in connections {
        // A plan writes nothing.
        let link = connection.dry_run_link(saved.largest_request(name))?;
        links.insert(name.clone(), link);
    }
    let session = format::SessionLine {
        number: 1,
        started: jiff::Timestamp::now(),
    };
    let journal = Journal::open(scratch.run(), Sync::None, session, None).map_err(Error::disk)?;
    let asked = Consulted {
        state: &state::of(&saved.header),
        saved,
        links: &links,
        journal: &journal,
        run: scratch.run(),
        purpose,
    };
    asked.ask(Earlier::default(), fresh, context.printer).await
}

/// Gives work up at the first signal.
pub(super) async fn unless_interrupted<T>(
    stop: &Stop,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        done = work => done,
        () = stop.stopping() => Err(interrupted()),
    }
}

fn interrupted() -> Error {
    Error::new(
        Exit::Interrupted,
        "interrupted while planning; nothing was sent",
    )
}

/// A plan holds as long as its targets are what it relies on.
pub(super) fn refuse_changed_facts(
    planned: &PlanHeader,
    now: &PlanHeader,
    way_on: &str,
) -> Result<(), Error> {
    let changed = plan::changed_facts(planned, now);
    if changed.is_empty() {
        Ok(())
    } else {
        let changed = changed.into_iter().map(|problem| problem.hint(way_on));
        Err(Error::all(Exit::Usage, changed.collect()))
    }
}

/// Ends the verb when a pattern cannot be followed or finds nothing: that is known before any target is asked.
pub(super) async fn refuse_patterns(manifest: &Manifest) -> Result<(), Error> {
    let files: Vec<_> = (manifest.loads.iter())
        .map(|load| load.files.clone())
        .collect();
    let looking = move || {
        let found = files.iter().map(|files| survey::pattern_problems(files));
        found.flatten().collect::<Vec<_>>()
    };
    let problems = tokio::task::spawn_blocking(looking).await;
    let problems = problems.map_err(|error| Error::task(&error))?;
    if problems.iter().any(|p| p.severity == Severity::Error) {
        return Err(Error::all(Exit::Usage, problems));
    }
    Ok(())
}

/// Ends the verb when a plan has errors.
pub(super) fn refuse_problems(problems: &[Diagnostic], context: Context) -> Result<(), Error> {
    if problems.iter().any(|p| p.severity == Severity::Error) {
        return Err(Error::all(Exit::Usage, problems.to_vec()));
    }
    context.printer.problems(problems);
    Ok(())
}

/// Turns the failure of a survey into what the user is told.
fn failed(error: survey::Error) -> Error {
    match error {
        survey::Error::Interrupted => Error::new(Exit::Interrupted, error),
        survey::Error::Plan(_) => Error::disk(error),
        survey::Error::Source(source) => {
            let hint = match source.kind {
                source::ErrorKind::Io(_) => {
                    "the limit of open files (`ulimit -n`) or the memory is used up; give the process more"
                }
                source::ErrorKind::Spool(_) | source::ErrorKind::SpoolFull { .. } => {
                    "make room where the run keeps decompressed sources, beside its journal"
                }
                _ => "nothing was sent; load again",
            };
            Error::disk(source).hint(hint)
        }
    }
}

/// Shows the warnings of a plan, and what its targets will refuse: a plan for people shows it at length.
pub(super) fn warn(summary: &Summary, printer: Printer) {
    let mut warnings: Vec<Diagnostic> =
        (summary.warnings.iter()).map(Diagnostic::warning).collect();
    for (target, found) in &summary.references {
        if found.refused == 0 {
            continue;
        }
        let first = found.samples.iter().find(|dangling| dangling.refused);
        let first = first.map_or_else(String::new, |dangling| {
            let (to, from, path) = (&dangling.to, &dangling.from, &dangling.path);
            format!("; the first is to {to}, from {from} at {path}")
        });
        let message = format!(
            "target `{target}` refuses {} to what is neither in the files nor there already, and with that up to {}{first}",
            plan::text::plural(found.refused, "reference"),
            plan::text::plural(found.at_risk, "record"),
        );
        warnings.push(Diagnostic::warning(message).hint("`stoker plan` lists them"));
    }
    printer.problems(&warnings);
}
