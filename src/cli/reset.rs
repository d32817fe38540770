//! `stoker reset`: unloads all runs of a manifest, the newest first; with `--stores` also deletes the stores that loads of it
//! have made.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{
    Context, Error, Exit, connect, given, interrupt,
    made::{Made, MadeStore},
    metrics::MetricsArgs,
    observed::Observed,
    planning,
    select::Selection,
    state, stores,
    unloading::{How, Opened, answered, ask_for},
    watching::AtWork,
};
use crate::{
    diagnostic::Diagnostic,
    journal::{self, RunDirectory},
    plan::{self, PlanHeader, file::Saved},
    progress,
    report::format::quoted,
    send::Stop,
    unload::Later,
};

/// Arguments of `stoker reset`.
#[derive(Debug, clap::Args)]
pub(super) struct ResetArgs {
    /// The manifest
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    #[command(flatten)]
    how: How,
    /// Also delete the stores that were made because the manifest says `ensure`, with all that they hold; asks for the name of
    /// each
    #[arg(long)]
    stores: bool,
    #[command(flatten)]
    metrics: MetricsArgs,
}

/// Says of which run nobody knows whether it is one of the manifest.
fn left_out(run: &RunDirectory, error: &plan::file::Error, context: Context) {
    let what = format!(
        "{} is left out, whatever it created: {error}",
        quoted(run.path())
    );
    context.printer.problems(&[Diagnostic::warning(what)]);
}

/// Runs the verb.
pub(super) async fn run(args: ResetArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    let manifest =
        given::await_manifest(&args.manifest, &Selection::default(), context, &stop).await?;
    let header = planning::header(&manifest);
    let state = state::of(&header);
    let mut opened = Vec::new();
    let mut later = Later::default();
    let at_work = AtWork::begin(context.printer, "reading the runs of the manifest");
    for run in RunDirectory::all(&state)
        .map_err(Error::disk)?
        .into_iter()
        .rev()
    {
        let is_own = match Saved::open(&run.plan()) {
            Ok(saved) => saved.header.is_of(&header),
            Err(error) => {
                // One that sent nothing has no plan any more.
                let is_brief = journal::read(&run.journal()).is_ok_and(|read| read.brief.is_some());
                if !is_brief {
                    left_out(&run, &error, context);
                }
                false
            }
        };
        if is_own && let Some(run) = Opened::open(run, &later)? {
            run.note(&mut later)?;
            opened.push(run);
        }
    }
    drop(at_work);
    // A record that one run created, and a later one changed, goes with the one that created it.
    let created = opened.iter().map(|run| run.draft.changed_later());
    let created: HashSet<u64> = created.flatten().collect();
    for run in &mut opened {
        later.leave_out(&mut run.draft, &created);
    }
    let all: u64 = opened.iter().map(|run| run.draft.records()).sum();
    // A record that another of these runs created goes as well.
    let goes = |place: &str, kind: &str, id: &str| {
        let mut runs = opened.iter();
        runs.any(|run| run.draft.deletes(place, kind, id))
    };
    for run in &opened {
        let referred = run.ask_for_others(args.how, &goes, &stop, context).await?;
        run.show(args.how, referred.as_ref(), false, context)?;
    }
    let made = if args.stores {
        Made::read(&state)?.of(&header)
    } else {
        Vec::new()
    };
    for made in &made {
        let what = format!(
            "the store {} of target `{}` was made by a load",
            made.name, made.target
        );
        context.printer.message(&what);
    }
    if args.how.dry_run {
        if opened.is_empty() && made.is_empty() {
            let nothing = format!(
                "nothing to delete: {} has no runs",
                header.manifest.display()
            );
            context.printer.result(&nothing);
        }
        return Ok(Exit::Well);
    }
    let updates: u64 = opened.iter().map(|run| run.draft.updates()).sum();
    let runs = match opened.iter().filter(|run| run.draft.records() > 0).count() {
        1 => " of 1 run".to_owned(),
        runs => format!(" of {runs} runs"),
    };
    match args.how.question(all, updates, &runs) {
        Some(question) => ask_for(args.how, &question, &stop).await?,
        None if made.is_empty() => context.printer.message("nothing to delete"),
        None => {}
    }
    let of = args.manifest.display().to_string();
    let none = progress::Watcher::none();
    let told = args.metrics.begin(none, Some("reset"), &of, context);
    let told = told.await?;
    let ended = async {
        let mut targets: Vec<(String, u64)> = Vec::new();
        for (name, count) in opened.iter().flat_map(|run| run.targets(args.how)) {
            match targets.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += count,
                None => targets.push((name, count)),
            }
        }
        let observed = Observed::begin(told.watcher.observer(), targets);
        let mut exit = Exit::Well;
        for (number, run) in opened.iter_mut().enumerate() {
            later.follow(number, &mut run.draft);
            let unloaded = run.unload(args.how, &observed, &stop, context).await?;
            match unloaded.tell(false, context)? {
                Exit::Well => {}
                Exit::Interrupted => return Ok(Exit::Interrupted),
                worse => exit = worse,
            }
            if args.how.restore {
                run.note_put_back(number, &mut later)?;
            }
        }
        observed.finish();
        for made in &made {
            if !delete(&header, &state, made, &stop, context).await? {
                exit = Exit::SomeFailed;
            }
        }
        Ok(exit)
    }
    .await;
    told.end(&ended, context).await;
    ended
}

/// Deletes a store, after its name was given.
async fn delete(
    header: &PlanHeader,
    state: &Path,
    made: &MadeStore,
    stop: &Stop,
    context: Context,
) -> Result<bool, Error> {
    let names = [made.target.as_str()];
    let connections = stores::connect(header, &names).await?;
    let deleted = async {
        let Some(connection) = connections.get(&made.target) else {
            return Ok(true);
        };
        let Some(name) = &connection.endpoint.google else {
            return Ok(true);
        };
        let id = name.store();
        let question = format!(
            "Deletes the store {} with all that it holds. Type its name ({id}) to go on: ",
            made.name
        );
        if answered(&question, "the store was not deleted", stop).await? != id {
            let what = format!(
                "the store {} was not deleted: another name was given",
                made.name
            );
            context.printer.message(&what);
            return Ok(false);
        }
        let request = name.delete_store().map_err(Error::usage)?;
        let answer = connection.gate.call_interactive(|| request.clone()).await;
        let answer = answer.map_err(|failure| connect::failed(&failure))?;
        match answer.status().as_u16() {
            200..=299 | 404 => {
                context
                    .printer
                    .result(&format!("deleted the store {}", made.name));
                Ok(true)
            }
            _ => {
                let what = format!("the store {} was not deleted", made.name);
                Err(connect::refused(&what, &answer, context))
            }
        }
    }
    .await;
    connect::close_all(connections).await;
    let is_deleted = deleted?;
    if is_deleted {
        Made::forget(state, &made.place)?;
    }
    Ok(is_deleted)
}
