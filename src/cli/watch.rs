//! `stoker watch`: the bars of a run that goes on in another process of this machine.
//!
//! All that is drawn is read from the run's plan and journal, so that a run can be watched by whoever may read them, as often as
//! they like, and does not know of it.

use std::{path::PathBuf, time::Duration};

use super::{
    Context, Error, Exit, state,
    summary::{exit_of, summary},
    watching::{self, ProgressKind},
};
use crate::{
    event::{Event, LoadId, Observe},
    journal::{self, Follower, Line, RunDirectory},
    plan::file::Saved,
    record::{Outcome, StepId},
    report,
    send::{self, Earlier, Replay},
};

/// The time between two looks at the journal: as often as bars are drawn.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `stoker watch`.
#[derive(Debug, clap::Args)]
pub(super) struct WatchArgs {
    /// The run's directory, or its name [default: the latest run]
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t = ProgressKind::Auto, value_name = "HOW")]
    pub(super) progress: ProgressKind,
}

/// The end of watching.
enum Seen {
    /// The session is over, and its reports are written.
    Over,
    /// Nobody is at work on the run any more, and nobody ended it.
    Killed,
    /// The user has seen enough.
    Left,
}

/// Runs the verb.
pub(super) async fn run(args: WatchArgs, context: Context) -> Result<Exit, Error> {
    let run = state::find(args.run.as_deref())?;
    let shown = report::format::quoted(run.path());
    if state::is_being_unloaded(&run) {
        let message = format!("{shown} is being unloaded: what it created is deleted");
        context.printer.message(&message);
        return Ok(Exit::Well);
    }
    if state::is_being_verified(&run) {
        let message =
            format!("{shown} is being verified, and not carried out; this is what became of it");
        context.printer.message(&message);
        return told(&run, context);
    }
    if !state::is_going_on(&run) {
        let message = format!("nobody is at work on {shown}; this is what became of it");
        context.printer.message(&message);
        return told(&run, context);
    }
    let watcher = watching::watcher(args.progress, context.printer);
    let observer = watcher.observer();
    let seen = tokio::select! {
        seen = follow(&run, &*observer) => seen,
        left = tokio::signal::ctrl_c() => left.map(|()| Seen::Left).map_err(Error::disk),
    };
    watcher.finish();
    match seen? {
        Seen::Over => told(&run, context),
        Seen::Left => {
            let message = format!("the run goes on; `stoker watch {shown}` shows it again");
            context.printer.message(&message);
            Ok(Exit::Well)
        }
        Seen::Killed => {
            let problem = format!("{shown} was killed: its process is gone, and did not end it");
            Err(Error::new(Exit::SomeFailed, problem)
                .hint(format!("`stoker resume {shown}` goes on with it")))
        }
    }
}

fn told(run: &RunDirectory, context: Context) -> Result<Exit, Error> {
    let report = report::of(run).map_err(Error::disk)?;
    let text = summary(&report, run, context)?;
    if !text.is_empty() {
        context.printer.styled(&text);
    }
    Ok(exit_of(&report))
}

/// Tells of what happens in a run until nobody is at work on it any more.
async fn follow(run: &RunDirectory, observe: &dyn Observe) -> Result<Seen, Error> {
    let (saved, history) = {
        let run = run.clone();
        let read = tokio::task::spawn_blocking(move || {
            let saved = Saved::open(&run.plan()).map_err(Error::disk)?;
            let history = journal::read(&run.journal()).map_err(Error::disk)?;
            Ok::<_, Error>((saved, history))
        });
        read.await.map_err(|error| Error::task(&error))??
    };
    let mut follower = Follower::behind(&history, &run.journal()).map_err(Error::disk)?;
    let mut session = history.sessions.last().map(|session| session.number);
    let earlier = Earlier {
        history: Some(history),
        replay: Replay::default(),
        was_cut_off: false,
    };
    observe.observe(&Event::Started {
        loads: send::planned(&saved, &earlier),
    });
    let loads: Vec<(LoadId, std::ops::Range<StepId>, u64)> = (0..)
        .map(LoadId)
        .zip(&saved.summary.loads)
        .map(|(id, totals)| {
            // The journal does not say how large a record is.
            let each = totals.bytes.checked_div(totals.sent()).unwrap_or(0);
            (id, saved.numbers(id), each)
        })
        .collect();
    let mut is_over = false;
    loop {
        // Asked before the journal is read: what is written in between is read all the same.
        let is_going_on = state::is_going_on(run);
        while let Some(line) = follower.next_line().map_err(Error::disk)? {
            match line {
                Line::Settle(settled) if settled.outcome != Outcome::Pending => {
                    let of = |(_, numbers, _): &&(_, std::ops::Range<StepId>, _)| {
                        numbers.contains(&settled.record)
                    };
                    if let Some((load, _, bytes)) = loads.iter().find(of) {
                        observe.observe(&Event::Settled {
                            load: *load,
                            outcome: settled.outcome,
                            bytes: *bytes,
                        });
                    }
                }
                Line::Session(begun) => session = Some(begun.number),
                Line::End(end) if Some(end.session) == session => {
                    is_over = true;
                    observe.observe(&Event::Finished);
                }
                _ => {}
            }
        }
        match (is_going_on, is_over) {
            (false, true) => return Ok(Seen::Over),
            // Others have begun to unload it, before it was seen that its own process is gone.
            (true, true) if state::is_being_unloaded(run) => return Ok(Seen::Over),
            (false, false) => return Ok(Seen::Killed),
            (true, _) => tokio::time::sleep(LOOK).await,
        }
    }
}
