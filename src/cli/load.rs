//! `stoker load`: plans and loads. The pipeline from end to end.

use std::path::{Path, PathBuf};

use super::{
    Context, Error, Exit, connect, dry_run, exit, given, interrupt,
    live::Live,
    planning::{self, Planning},
    resuming::{self, ReplayArgs, SendingArgs},
    scratch::{self, Scratch},
    select::Selection,
    session::Session,
    sources::check_sources,
    state, watching,
};
use crate::{
    journal::{self, RunDirectory},
    manifest::Manifest,
    plan::{PlanHeader, file::Saved},
    progress,
    send::Stop,
    survey::Survey,
};

/// Arguments of `stoker load`.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// The manifest (`-` reads it from standard input), or a plan saved by `stoker plan --out`
    #[arg(value_name = "MANIFEST|PLAN")]
    file: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// Do everything but send: read, plan, build every request
    #[arg(long, conflicts_with_all = ["live", "live_keep"])]
    dry_run: bool,
    /// Go on with the latest run of this manifest, if it is not over; else begin one
    #[arg(long, conflicts_with_all = ["dry_run", "fresh"])]
    resume: bool,
    /// Load everything, also what earlier runs have loaded
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    pub(super) sending: SendingArgs,
}

/// Runs the verb.
pub(super) async fn run(args: LoadArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    let watcher = watching::watcher(args.sending.progress, context.printer);
    let of = args.file.display().to_string();
    // A dry run leaves no history, with a collector neither.
    let verb = (!args.dry_run).then_some("load");
    let told = args
        .sending
        .metrics
        .begin(watcher, verb, &of, context)
        .await?;
    let watcher = told.watcher.clone();
    let live = args.sending.live.begin(context.printer).await?;
    let outcome = async {
        let given = if given::is_plan(&args.file) {
            if !args.selection.is_everything() {
                return Err(Error::usage("a saved plan is loaded whole")
                    .hint("give --load or --target to `stoker plan --out`"));
            }
            let saved = Saved::open(&args.file).map_err(Error::usage)?;
            saved.verify().map_err(Error::usage)?;
            Given::Plan(Box::new(saved))
        } else {
            let manifest =
                given::await_manifest(&args.file, &args.selection, context, &stop).await?;
            Given::Manifest(Box::new(manifest))
        };
        if args.resume
            && let Some(run) = unfinished(&given, context)?
        {
            let replay = ReplayArgs::default();
            if let Some(live) = &live {
                live.follow(&run);
            }
            return resuming::go_on(
                &run,
                replay,
                args.sending.verify_sources,
                context,
                &stop,
                &watcher,
            )
            .await;
        }
        begin(&args, context, &stop, &watcher, live.as_ref(), given).await
    }
    .await;
    told.end(&outcome, context).await;
    if let Some(live) = live {
        live.end(
            args.sending.live.keeps() && outcome.is_ok(),
            &stop,
            &watcher,
            context.printer,
        )
        .await;
    }
    outcome
}

/// The input of a load: a manifest, or a saved plan.
enum Given {
    Manifest(Box<Manifest>),
    Plan(Box<Saved>),
}

impl Given {
    fn header(&self) -> PlanHeader {
        match self {
            Self::Manifest(manifest) => planning::header(manifest),
            Self::Plan(saved) => saved.header.clone(),
        }
    }
}

async fn begin(
    args: &LoadArgs,
    context: Context,
    stop: &Stop,
    watcher: &progress::Watcher,
    live: Option<&Live>,
    given: Given,
) -> Result<Exit, Error> {
    if let Given::Manifest(manifest) = &given {
        planning::refuse_patterns(manifest).await?;
    }
    let header = given.header();
    let mut connections = connect::connect_to_plan(&header).await?;
    let ended = async {
        let now = connect::with_facts(header, &connections).await?;
        if let Given::Plan(saved) = &given {
            planning::refuse_changed_facts(&saved.header, &now, PLAN_AGAIN)?;
        }
        let state = state::of(&now);
        state::warn_of_others(&now, &state, context.printer);
        let scratch = args.dry_run.then(Scratch::create).transpose()?;
        let unmade = Unmade::of(&state);
        let run = match &scratch {
            Some(scratch) => scratch.run().clone(),
            None => RunDirectory::create(&state, &now.name, jiff::Timestamp::now())
                .map_err(Error::state)?,
        };
        let planned = match &given {
            Given::Manifest(_) => {
                let elsewhere = match &scratch {
                    Some(_) => scratch::ELSEWHERE,
                    None => exit::ELSEWHERE,
                };
                let how = Planning::in_run(&now, &run, watcher, stop);
                let surveyed = how.write(&run.plan(), elsewhere).await;
                surveyed.and_then(|surveyed| told(&surveyed, context, watcher))
            }
            Given::Plan(saved) => {
                let checked =
                    check_sources(saved, &run, args.sending.verify_sources, PLAN_AGAIN).await;
                checked.and_then(|()| copy(&args.file, &run.plan()).map_err(Error::disk))
            }
        };
        if let Err(error) = planned {
            unmade.discard(&run);
            return Err(error);
        }
        if scratch.is_none()
            && let Err(error) = connect::make_local_stores(&mut connections).await
        {
            unmade.discard(&run);
            return Err(error);
        }
        if let Some(live) = live {
            live.follow(&run);
        }
        let carry = Session {
            context,
            stop,
            watcher,
            run: &run,
            connections: &connections,
        };
        match scratch {
            Some(_) => dry_run::run(&carry, &state, args.fresh).await,
            None => carry.begin(&state, args.fresh).await,
        }
    }
    .await;
    connect::close_all(connections).await;
    ended
}

/// The advice about a saved plan that no longer holds.
const PLAN_AGAIN: &str = "plan again with `stoker plan --out`";

/// Copies a saved plan into its run, where it is its owner's alone, whoever may read the saved one.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut plan = journal::private_file(to)?;
    std::io::copy(&mut fs_err::File::open(from)?, &mut plan)?;
    Ok(())
}

/// Tells the problems of a plan, which may end the verb.
fn told(surveyed: &Survey, context: Context, watcher: &progress::Watcher) -> Result<(), Error> {
    planning::refuse_problems(&surveyed.problems, context)?;
    watcher.suspend(|| planning::warn(&surveyed.summary, context.printer));
    Ok(())
}

/// Finds the latest run of what is to be loaded, if it is not over.
fn unfinished(given: &Given, context: Context) -> Result<Option<RunDirectory>, Error> {
    let header = given.header();
    let runs = RunDirectory::all(&state::of(&header)).map_err(Error::disk)?;
    for run in runs.into_iter().rev() {
        // A run that cannot be read is none of this manifest.
        let (Ok(saved), Ok(history)) = (Saved::open(&run.plan()), journal::read(&run.journal()))
        else {
            continue;
        };
        // A run of other loads is another load of the same manifest.
        if !saved.header.is_of(&header) || !saved.header.has_loads_of(&header) {
            continue;
        }
        if history.is_over() || run.unload().exists() {
            return Ok(None);
        }
        if !saved.header.loads_as(&header) {
            let what = format!(
                "{} has changed since the run that was cut off was planned",
                header.manifest.display()
            );
            let hint = format!(
                "`stoker resume {}` goes on with what was planned; `load` without --resume begins anew",
                run.path().display()
            );
            return Err(Error::usage(what).hint(hint));
        }
        let name = run.path().display();
        context.printer.message(&format!("going on with {name}"));
        return Ok(Some(run));
    }
    Ok(None)
}

/// The folders that were not there before a run.
struct Unmade(Vec<PathBuf>);

impl Unmade {
    /// Looks at the state directory and what is made in it, the innermost first.
    fn of(state: &Path) -> Self {
        let folders = [state.join("runs"), state.to_owned()];
        let is_missing = |folder: &PathBuf| !folder.exists();
        Self(folders.into_iter().filter(is_missing).collect())
    }

    /// Removes the directory of a run that never began, and the folders that were made for it, as far as nobody else has begun
    /// to use them.
    fn discard(&self, run: &RunDirectory) {
        let _ = fs_err::remove_dir_all(run.path());
        for folder in &self.0 {
            let _ = fs_err::remove_dir(folder);
        }
    }
}
