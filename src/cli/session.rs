//! Carries a run to its end, whether it is new or goes on: the sources, the journal, the sending, the report.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use super::{
    Context, Error, Exit,
    closing::Closing,
    connect::Connection,
    made, milliseconds,
    printer::Printer,
    prior_runs::{Consulted, Purpose},
    sources::readable,
    state,
    summary::{exit_of, summary},
};
use crate::{
    diagnostic::Diagnostic,
    event::{Event, Several, Unobserved},
    gate::{self, ByteBudget},
    journal::{self, Journal, JournalIndex, Ledger, RunDirectory, format},
    plan::{PlanHeader, file::Saved},
    progress, report,
    samples::Sampling,
    send::{self, Earlier, RequestCounts, RunContext, RunEnd, Stop, TargetConnection},
    source::Bodies,
    unit::display_duration,
};

/// The time between two writings of a session's figures, should it be killed.
const TALLY_EVERY: Duration = Duration::from_secs(1);

/// A run that is carried to its end.
pub(super) struct Session<'a> {
    pub(super) context: Context,
    pub(super) stop: &'a Stop,
    pub(super) watcher: &'a progress::Watcher,
    pub(super) run: &'a RunDirectory,
    pub(super) connections: &'a HashMap<String, Connection>,
}

/// A plan and its bodies.
pub(super) struct Opened {
    pub(super) saved: Arc<Saved>,
    pub(super) bodies: Arc<Bodies>,
}

impl Session<'_> {
    pub(super) fn open(&self) -> Result<Opened, Error> {
        let saved = Arc::new(Saved::open(&self.run.plan()).map_err(Error::disk)?);
        let sources = readable(&saved.sources, &self.run.spool());
        let bodies = Arc::new(Bodies::new(sources));
        Ok(Opened { saved, bodies })
    }

    /// Begins a new run: sends what its plan holds, but for what earlier runs have loaded, and reports.
    pub(super) async fn begin(&self, state: &Path, fresh: bool) -> Result<Exit, Error> {
        self.carry_out(Earlier::default(), Some(state), fresh).await
    }

    /// Goes on with a run.
    pub(super) async fn go_on(&self, earlier: Earlier, state: &Path) -> Result<Exit, Error> {
        let is_consulted = earlier.history.as_ref().is_some_and(|h| h.is_consulted);
        let state = (!is_consulted).then_some(state);
        self.carry_out(earlier, state, false).await
    }

    /// Tells whether a session of this run, or of another in the state directory, was cut off a moment ago.
    fn was_cut_off_lately(
        &self,
        own: Option<&JournalIndex>,
        header: &PlanHeader,
    ) -> Result<bool, Error> {
        if own.is_some_and(send::was_cut_off_lately) {
            return Ok(true);
        }
        let others = RunDirectory::all(&state::of(header)).map_err(Error::disk)?;
        let mut others = others.iter().filter(|run| run.name() != self.run.name());
        Ok(others.any(|run| {
            let journal = run.journal();
            let written = fs_err::metadata(&journal).and_then(|held| held.modified());
            // A journal that cannot be read is named where its records matter.
            send::was_written_lately(written.ok())
                && !state::is_going_on(run)
                && journal::read(&journal).is_ok_and(|told| send::was_cut_off_lately(&told))
        }))
    }

    /// Waits for what the session that was cut off may have left at work, or until the run is stopping.
    async fn rest(&self, rest: Duration) {
        if rest.is_zero() {
            return;
        }
        self.context.printer.message(&format!(
            "a session was cut off a moment ago, and a target may still be at work on its conditional writes: sending begins in {}",
            display_duration(rest)
        ));
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = self.stop.stopping() => {}
        }
    }

    async fn carry_out(
        &self,
        earlier: Earlier,
        consult: Option<&Path>,
        fresh: bool,
    ) -> Result<Exit, Error> {
        let Opened { saved, bodies } = self.open()?;
        let printer = self.context.printer;
        self.make_stores(&saved).await?;
        let mut links = HashMap::new();
        for (name, connection) in self.connections {
            links.insert(name.clone(), connection.link(saved.largest_request(name))?);
        }
        let sessions = earlier.history.iter().flat_map(|history| &history.sessions);
        let number = u32::try_from(sessions.clone().count())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let started = jiff::Timestamp::now();
        let first = sessions.map(|session| session.started).next();
        let first = first.unwrap_or(started);
        let session = format::SessionLine { number, started };
        let was_cut_off = self.was_cut_off_lately(earlier.history.as_ref(), &saved.header)?;
        let journal = self.open_journal(&saved, session, earlier.history.as_ref())?;
        let mut earlier = match consult {
            Some(state) => {
                let asked = Consulted {
                    state,
                    saved: &saved,
                    links: &links,
                    journal: &journal,
                    run: self.run,
                    purpose: Purpose::Load,
                };
                self.watcher.observer().observe(&Event::AtWork {
                    what: "looking up what earlier runs have loaded, and whether it is still there"
                        .to_owned(),
                    done: 0,
                    all: 0,
                });
                asked.consult(earlier, fresh, printer).await?
            }
            None => earlier,
        };
        earlier.was_cut_off = was_cut_off;
        let counts = Arc::new(RequestCounts::default());
        let began = tokio::time::Instant::now();
        let (reads, remarks) = (reads_of(&links), remarks_of(&links));
        let since = Duration::try_from(jiff::Timestamp::now().duration_since(first));
        // A clock that was set back since then: the session begins where the last sample ends.
        let sampling = Sampling::begin(self.run, number, since.unwrap_or_default());
        let setup = RunContext {
            observe: Arc::new(Several(vec![self.watcher.observer(), sampling.observer()])),
            ..self.setup(&saved, &bodies, links, &journal, earlier, &counts)
        };
        let planning_ms = milliseconds(began - self.context.started);
        let tally = || {
            let mut tally = format::Tally {
                planning_ms,
                ..counts.tally(milliseconds(began.elapsed()), reads())
            };
            tally.remarks.extend(remarks());
            tally
        };
        if was_cut_off {
            self.rest(send::rest_after_session(&saved, &setup.earlier))
                .await;
        }
        let mut sending = std::pin::pin!(send::run(setup));
        let ended = loop {
            tokio::select! {
                ended = &mut sending => break ended,
                () = tokio::time::sleep(TALLY_EVERY) => {
                    // A journal that cannot be written ends the run through the next settlement.
                    let _ = journal.tally(tally()).await;
                }
            }
        };
        let (sent, last) = (tokio::time::Instant::now(), tally());
        if let Err(error) = sampling.finish() {
            let problem = Diagnostic::warning(error.to_string()).hint(
                "nothing else is lost: the report lacks pictures of how the run went over time",
            );
            self.watcher.suspend(|| printer.problems(&[problem]));
        }
        let ended = close(&journal, number, last.clone(), ended)
            .await
            .map_err(|error| error.hint(go_on(self.run)));
        let state = state::of(&saved.header);
        let closing = Closing {
            printer,
            watcher: self.watcher,
            run: self.run,
            state: &state,
            saved: &saved,
            bodies: &bodies,
            journal: &journal,
            sent,
            last,
        };
        let reported = closing.close().await;
        self.watcher.finish();
        let reported = match (reported, &ended) {
            (Ok(reported), _) => reported,
            // The error that stopped the run goes before the report's error of the same reason.
            (Err(_), Err(_)) => return ended.map(|_| Exit::Disk),
            (Err(error), Ok(_)) => return Err(error.hint(report_again(self.run))),
        };
        let text = summary(&reported, self.run, self.context)?;
        if !text.is_empty() {
            printer.styled(&text);
        }
        finish(printer, self.run, &reported, ended)
    }

    /// Creates the stores that are missing and that the manifest asks for.
    async fn make_stores(&self, saved: &Saved) -> Result<(), Error> {
        let printer = self.context.printer;
        for (name, connection) in self.connections {
            if connection.ensure().await? {
                made::note(&state::of(&saved.header), name, connection)?;
                let message = format!("created the store of target `{name}`");
                self.watcher.suspend(|| printer.message(&message));
            }
        }
        Ok(())
    }

    /// Opens the journal for a session of the run, and tells those who watch that it begins.
    fn open_journal(
        &self,
        saved: &Saved,
        session: format::SessionLine,
        history: Option<&JournalIndex>,
    ) -> Result<Arc<Journal>, Error> {
        let number = session.number;
        let sync = saved.header.run.journal;
        let journal = Journal::open(self.run, sync, session, history).map_err(Error::disk)?;
        tracing::info!(run = %self.run.path().display(), session = number, "a session of the run begins");
        self.watcher.observer().observe(&Event::Session {
            run: journal.line().run.clone(),
            mark: journal.line().mark.clone(),
            number,
        });
        Ok(Arc::new(journal))
    }

    /// Puts together what `send` needs.
    pub(super) fn setup(
        &self,
        saved: &Arc<Saved>,
        bodies: &Arc<Bodies>,
        links: HashMap<String, TargetConnection>,
        journal: &Arc<Journal>,
        earlier: Earlier,
        counts: &Arc<RequestCounts>,
    ) -> RunContext {
        let memory = saved.header.run.memory.0;
        RunContext {
            plan: Arc::clone(saved),
            links,
            bodies: Arc::clone(bodies),
            ledger: Arc::clone(journal) as Arc<dyn Ledger>,
            journal: journal.line().clone(),
            observe: Arc::new(Unobserved),
            stop: self.stop.clone(),
            // The rest of the memory is for answers.
            budget: Arc::new(ByteBudget::new(memory - gate::share(memory))),
            earlier: Arc::new(earlier),
            lookups: Arc::default(),
            counts: Arc::clone(counts),
        }
    }
}

/// Returns what tells how many reads have gone out by these links.
pub(super) fn reads_of(links: &HashMap<String, TargetConnection>) -> impl Fn() -> u64 + use<> {
    let gates: Vec<_> = links.values().map(|link| Arc::clone(&link.gate)).collect();
    move || gates.iter().map(|gate| gate.reads()).sum()
}

/// Returns the remarks on the connections to the targets, as they are when it is asked.
fn remarks_of(links: &HashMap<String, TargetConnection>) -> impl Fn() -> Vec<String> + use<> {
    let gates: Vec<_> = links.values().map(|link| Arc::clone(&link.gate)).collect();
    move || gates.iter().flat_map(|gate| gate.remarks()).collect()
}

/// Writes the last lines of a session.
async fn close(
    journal: &Arc<Journal>,
    session: u32,
    tally: format::Tally,
    ended: Result<RunEnd, send::Error>,
) -> Result<RunEnd, Error> {
    let end = |how, reason| format::EndLine {
        session,
        at: jiff::Timestamp::now(),
        how,
        reason,
    };
    match ended {
        Ok(ended) => {
            journal.tally(tally).await.map_err(unwritten)?;
            journal
                .end(end(ended.how, ended.reason.clone()))
                .await
                .map_err(unwritten)?;
            Ok(ended)
        }
        Err(error @ (send::Error::Source(_) | send::Error::Plan(_))) => {
            // The error at hand says more than that the journal cannot be ended: its next reader finds a run that was cut off.
            let _ = journal.tally(tally).await;
            let _ = journal
                .end(end(format::Ending::Source, Some(error.to_string())))
                .await;
            Err(Error::disk(error)
                .hint("load the manifest again (what has been loaded is not sent twice), or put the file back as it was"))
        }
        Err(error @ send::Error::Journal(_)) => Err(unwritten(error)),
        Err(error @ send::Error::Internal(_)) => {
            // See above.
            let _ = journal.tally(tally).await;
            let _ = journal
                .end(end(format::Ending::Internal, Some(error.to_string())))
                .await;
            Err(Error::internal(error))
        }
    }
}

fn unwritten(error: impl std::fmt::Display) -> Error {
    Error::disk(error).hint("what was settled before stands in the journal; make room")
}

/// Says how to go on with a run.
fn go_on(run: &RunDirectory) -> String {
    format!(
        "then go on with `stoker resume {}`",
        report::format::quoted(run.path())
    )
}

/// Says how the report of a run that is over is had once there is room for it.
fn report_again(run: &RunDirectory) -> String {
    format!(
        "what was loaded is in the journal; make room, then `stoker report {}` shows what became of it",
        report::format::quoted(run.path())
    )
}

/// Says how a run ended, and what can be done about it.
fn finish(
    printer: Printer,
    run: &RunDirectory,
    reported: &report::Report,
    ended: Result<RunEnd, Error>,
) -> Result<Exit, Error> {
    let ended = ended?;
    if let Some(reason) = &ended.reason {
        let mut problem = Diagnostic::error(reason);
        problem.hints.extend(ended.hint.clone());
        printer.problems(&[problem]);
    }
    tracing::info!(run = %run.path().display(), "the run is over");
    Ok(exit_of(reported))
}
