//! Deletes what a run created, after showing what that is: for `unload`, and for `reset` run by run.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

mod asked;
mod question;
mod told;

use super::{
    Context, Error, Exit, connect,
    observed::Observed,
    printer::Printer,
    state, stores,
    watching::{AtWork, SAMPLED_EVERY, SHOWN_EVERY, records},
};
use crate::{
    diagnostic::Diagnostic,
    history::History,
    journal::{self, RemovalJournal, Removals, RunDirectory},
    lookup::OpenStore,
    manifest::Store,
    plan::file::Saved,
    report::format::{kind as shown_kind, quoted},
    send::Stop,
    unit::grouped,
    unload::{self, Later, Left, Referred, RemovalCounts, RemovalPlan, Unload},
};
pub(in crate::cli) use question::{answered, ask_for};
use question::{can_be_asked, unless_stopped};
pub(in crate::cli) use told::{Unloaded, foreseen};

/// The manner in which records are deleted.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Debug, Clone, Copy, clap::Args)]
pub(in crate::cli) struct How {
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Delete without asking
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
    /// Also delete what was changed since it was loaded
    #[arg(long)]
    pub(in crate::cli) changed: bool,
    /// Put back what a run has updated to what it was before, where the store keeps versions
    #[arg(long)]
    pub(in crate::cli) restore: bool,
}

impl How {
    /// Returns what is asked before anything is done to a run, or to several.
    pub(in crate::cli) fn question(self, deletes: u64, restores: u64, of: &str) -> Option<String> {
        let restores = if self.restore { restores } else { 0 };
        match (deletes, restores) {
            (0, 0) => None,
            (deletes, 0) => Some(format!("Delete {}{of}?", records(deletes))),
            (0, restores) => Some(format!("Restore {}{of}?", records(restores))),
            (deletes, restores) => Some(format!(
                "Delete {} and restore {}{of}?",
                records(deletes),
                grouped(restores)
            )),
        }
    }
}

/// Finds out in which versions unloadings of later runs have put records back: that is no stranger's change.
pub(in crate::cli) fn put_back_after(run: &RunDirectory) -> Result<Later, Error> {
    let mut later = Later::of_the_past();
    let Some(state) = run.path().parent().and_then(std::path::Path::parent) else {
        return Ok(later);
    };
    let mut newer = RunDirectory::all(state).map_err(Error::disk)?;
    let at = newer.iter().position(|one| one.name() == run.name());
    newer.drain(..at.map_or(newer.len(), |at| at + 1));
    let has_restored = |run: &RunDirectory| {
        let told = run.unload().exists().then(|| journal::read(&run.journal()));
        let told = told.and_then(Result::ok);
        let removals = told.and_then(|told| Removals::read(run, &told.journal).ok());
        removals.is_some_and(|removals| removals.has_restored())
    };
    if !newer.iter().any(has_restored) {
        return Ok(later);
    }
    for newer in newer.into_iter().rev() {
        // Of a run that cannot be read, or goes on, nobody knows what it does.
        if let Ok(Some(opened)) = Opened::open(newer, &Later::default()) {
            opened.note(&mut later)?;
        }
    }
    Ok(later)
}

/// A run that is about to be unloaded.
pub(in crate::cli) struct Opened {
    run: RunDirectory,
    saved: Saved,
    history: journal::JournalIndex,
    pub(in crate::cli) draft: RemovalPlan,
}

impl Opened {
    /// Opens a run; none is returned of one that sent nothing, and is kept in brief.
    ///
    /// `later` are the versions in which runs that are unloaded before it have left what they changed.
    pub(in crate::cli) fn open(run: RunDirectory, later: &Later) -> Result<Option<Self>, Error> {
        if state::is_going_on(&run) {
            let message = format!("{} is being carried out", quoted(run.path()));
            return Err(Error::usage(message).hint("wait for its end, or interrupt it"));
        }
        let history = journal::read(&run.journal()).map_err(Error::disk)?;
        if history.brief.is_some() {
            return Ok(None);
        }
        let saved = Saved::open(&run.plan()).map_err(Error::disk)?;
        let removals = Removals::read(&run, &history.journal).map_err(Error::disk)?;
        let draft = RemovalPlan::of(&saved, &history, &removals, later).map_err(failed)?;
        Ok(Some(Self {
            run,
            saved,
            history,
            draft,
        }))
    }

    /// Returns the targets on which something is done, with how many records.
    pub(in crate::cli) fn targets(&self, how: How) -> Vec<(String, u64)> {
        let restores = how.restore && self.draft.updates() > 0;
        let names = self.draft.targets(restores);
        let count = |name: &str| {
            let updated = self.draft.updated.iter().filter(|_| restores);
            let all = self.draft.kinds.iter().chain(updated);
            all.filter(|((of, _), _)| of == name)
                .map(|(_, count)| count)
                .sum()
        };
        let counted = names.into_iter().map(|name| (name.to_owned(), count(name)));
        counted.collect()
    }

    /// Notes in which versions the run has left what it changed, and its unloading what it put back.
    pub(in crate::cli) fn note(&self, later: &mut Later) -> Result<(), Error> {
        later.add(&self.draft, &self.history).map_err(failed)
    }

    /// Notes what its unloading has put back just now; `number` is that of the run among those of `later`.
    pub(in crate::cli) fn note_put_back(
        &self,
        number: usize,
        later: &mut Later,
    ) -> Result<(), Error> {
        let removals = Removals::read(&self.run, &self.history.journal).map_err(Error::disk)?;
        let none = Later::default();
        let draft =
            RemovalPlan::of(&self.saved, &self.history, &removals, &none).map_err(failed)?;
        later.put_back(number, &draft);
        Ok(())
    }

    /// Shows what there is to delete, and what others refer to of it.
    pub(in crate::cli) fn show(
        &self,
        how: How,
        referred: Option<&Referred>,
        json: bool,
        context: Context,
    ) -> Result<(), Error> {
        let mut text = String::new();
        let run = quoted(self.run.path());
        let count = self.draft.records();
        // Writing to a string cannot fail.
        let _ = match (count, self.draft.left.away) {
            (0, 0) => writeln!(text, "{run} created nothing that can be deleted"),
            (0, away) => writeln!(
                text,
                "nothing to delete of {run}: all {} that it created are gone",
                records(away)
            ),
            (_, 0) => writeln!(text, "{run} created {}", records(count)),
            (_, away) => writeln!(
                text,
                "of what {run} created, {} are left and {} are gone",
                records(count),
                grouped(away)
            ),
        };
        let mut last = "";
        for ((target, kind), count) in &self.draft.kinds {
            if target != last {
                let _ = writeln!(text, "\ntarget {target}");
                last = target;
            }
            let _ = writeln!(text, "{:>11}  {}", grouped(*count), shown_kind(kind));
        }
        if count > 0 {
            let rest = if how.changed {
                "What was changed since is deleted as well (--changed)."
            } else {
                "What was changed since it was loaded stays; so does what others refer to, whoever made them, and what that refers to."
            };
            let _ = writeln!(text, "\n{rest}");
        }
        if let Some(referred) = referred {
            asked::text(referred, &mut text);
        }
        let updated = self.draft.updates();
        if updated > 0 {
            let rest = if how.restore {
                "put back to what they were, where the store keeps that version and nobody changed them since (--restore)."
            } else {
                "they stay as the run left them (`--restore` puts back what was there before)."
            };
            let what = if updated == 1 { "was" } else { "were" };
            let _ = writeln!(text, "\n{} {what} updated: {rest}", records(updated));
        }
        let restores = how.restore && updated > 0;
        if json && how.dry_run {
            context
                .printer
                .json(&foreseen(&self.run, &self.draft, referred, how)?);
        } else if !json && (how.dry_run || count == 0 && !restores) {
            context.printer.result(text.trim_end());
        } else {
            context.printer.message(text.trim_end());
        }
        context.printer.problems(&left(&self.draft.left, &run));
        context.printer.problems(&self.of_others());
        if let Some(referred) = referred {
            asked::problems(referred, context);
        }
        Ok(())
    }

    /// Says of which records nobody knows whether they were there before the run.
    fn of_others(&self) -> Vec<Diagnostic> {
        let targets = self.saved.header.targets.iter();
        let servers = targets.filter(|t| matches!(t.settings.store, Store::Dicomweb { .. }));
        let named = servers.filter_map(|target| {
            let name = &target.settings.name;
            let kinds = self.draft.kinds.iter().filter(|((of, _), _)| of == name);
            let count: u64 = kinds.map(|(_, count)| count).sum();
            (count > 0).then(|| {
                let what = format!(
                    "target `{name}` is a DICOMweb server, which may answer alike whether it stores an instance or has it already: \
                     some of the {} to delete may have been there before the run",
                    records(count)
                );
                Diagnostic::warning(what)
                    .hint("where others store the same instances there, delete these by hand")
            })
        });
        named.collect()
    }

    /// Deletes what the run created.
    pub(in crate::cli) async fn unload(
        &self,
        how: How,
        observed: &Observed,
        stop: &Stop,
        context: Context,
    ) -> Result<Unloaded, Error> {
        let mut counts = RemovalCounts::default();
        let restores = how.restore && self.draft.updates() > 0;
        if self.draft.records() > 0 || restores {
            let names = self.draft.targets(restores);
            let at_work = AtWork::begin(context.printer, "asking the stores what they are");
            let connecting = stores::connect(&self.saved.header, &names);
            let connections = unless_stopped(stop, connecting).await?;
            let ended = async {
                let circle = self.draft.largest_circle();
                let facts = stores::of(&self.saved.header, &names, &connections, circle, observed);
                let stores = unless_stopped(stop, facts).await?;
                drop(at_work);
                self.carry_out(how, &stores, observed, stop, context).await
            }
            .await;
            connect::close_all(connections).await;
            counts = ended?;
        }
        if !self.history.is_over() && !state::is_going_on(&self.run) {
            // Nobody is to go on with it.
            journal::supersede(&self.run, &self.history, "`stoker unload`")
                .await
                .map_err(Error::disk)?;
        }
        self.remember(context);
        let unloaded = Unloaded {
            run: self.run.clone(),
            counts,
            left: self.draft.left.clone(),
        };
        unloaded.keep()?;
        Ok(unloaded)
    }

    async fn carry_out(
        &self,
        how: How,
        stores: &HashMap<String, Option<OpenStore>>,
        observed: &Observed,
        stop: &Stop,
        context: Context,
    ) -> Result<RemovalCounts, Error> {
        let (mut journal, _) =
            RemovalJournal::open(&self.run, &self.history.journal).map_err(Error::disk)?;
        let unload = Unload {
            plan: &self.saved,
            history: &self.history,
            draft: &self.draft,
            stores,
            changed: how.changed,
            restores: how.restore,
            done: observed,
        };
        let mut all = self.draft.records();
        if how.restore {
            all += self.draft.updates();
        }
        let at_work = AtWork::begin(context.printer, "looking up what refers to what");
        let done = AtomicU64::new(0);
        let is_stopping = || stop.is_stopping();
        let told = |more: u64| {
            done.fetch_add(more, Ordering::Relaxed);
        };
        let mut going = std::pin::pin!(unload.run(&mut journal, &is_stopping, &told));
        let mut sampling = tokio::time::interval(SAMPLED_EVERY);
        let mut showing = tokio::time::interval(SHOWN_EVERY);
        showing.reset();
        let mut is_told = false;
        loop {
            tokio::select! {
                ended = &mut going => return ended.map_err(failed),
                () = stop.stopping(), if !is_told => {
                    is_told = true;
                    context.printer.message(STOPPING);
                }
                _ = sampling.tick() => {
                    observed.sample(stores);
                    let done = done.load(Ordering::Relaxed);
                    if done > 0 {
                        at_work.so_far("deleting", done, all);
                    }
                }
                () = stop.dropping() => {
                    return Err(Error::new(Exit::Interrupted, "interrupted")
                        .hint("repeat the command to go on"));
                }
                _ = showing.tick() => if !at_work.is_shown() {
                    let done = done.load(Ordering::Relaxed);
                    let message = format!("{} of {}", grouped(done), records(all));
                    context.printer.message(&message);
                }
            }
        }
    }

    /// Tells the history what is gone. A later load reads it from the run where that fails.
    fn remember(&self, context: Context) {
        let state = state::of(&self.saved.header);
        let kept = RunDirectory::all(&state).map_err(|error| error.to_string());
        let kept = kept.and_then(|all| {
            let taken = History::open(&state).and_then(|mut history| history.take_out(&all));
            taken.map_err(|error| error.to_string())
        });
        if let Err(why) = kept {
            let hint = "a later load reads it from the run itself";
            let problem = Diagnostic::warning(why).hint(hint);
            context.printer.problems(&[problem]);
        }
    }
}

/// Said at the first signal: what was asked of a store is waited for.
const STOPPING: &str = "stopping: what is under way is waited for; Ctrl-C once more drops it";

fn failed(error: unload::Error) -> Error {
    match error {
        unload::Error::Target(ref silent) => {
            let hint = silent.hint.clone();
            let failed = Error::new(Exit::Target, &error)
                .hint("repeat the command to go on: what is deleted is not asked for again");
            match hint {
                Some(hint) => failed.hint(hint),
                None => failed,
            }
        }
        unload::Error::Plan(_) | unload::Error::Journal(_) => Error::disk(error),
        unload::Error::Internal(_) => Error::internal(error),
    }
}

/// Says what the run may have left that cannot be deleted.
fn left(left: &Left, run: &str) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for (target, count) in &left.transmitted {
        let what = format!(
            "target `{target}` is a receiver over MLLP, and has taken {}: it keeps nothing that could be named, so that they cannot be unloaded",
            records(*count)
        );
        problems.push(Diagnostic::warning(what));
    }
    if left.unknown > 0 {
        let what = format!(
            "nobody knows whether {} arrived: they are not deleted, and may be there",
            records(left.unknown)
        );
        let hint = format!(
            "before it is unloaded, `stoker resume {run}` asks for those that were cut off, and `stoker verify {run}` looks for them"
        );
        problems.push(Diagnostic::warning(what).hint(hint));
    }
    if left.nameless > 0 {
        let what = format!(
            "the store took {} without saying under which id: they cannot be deleted",
            records(left.nameless)
        );
        problems.push(Diagnostic::warning(what));
    }
    problems
}
