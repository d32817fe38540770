//! `stoker unload`: deletes what a run created, after showing what that is.

use std::path::PathBuf;

use super::{
    Context, Error, Exit, interrupt,
    metrics::MetricsArgs,
    observed::Observed,
    state,
    unloading::{How, Opened, Unloaded, ask_for, foreseen, put_back_after},
    watching::AtWork,
};
use crate::{progress, report::format::quoted, send::Stop, unload::RemovalPlan};

/// Arguments of `stoker unload`.
#[derive(Debug, clap::Args)]
pub(super) struct UnloadArgs {
    /// The run's directory, or its name
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    #[command(flatten)]
    how: How,
    /// Print what became of the records as JSON; with --dry-run, what would be deleted
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    metrics: MetricsArgs,
}

/// Runs the verb.
pub(super) async fn run(args: UnloadArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    if let Some(file) = args.run.as_deref().filter(|run| run.is_file()) {
        let file = quoted(file);
        let hint = format!(
            "`stoker reset {file}` unloads all runs of a manifest; `stoker runs` lists them"
        );
        return Err(Error::usage(format!("{file} is a file, and no run")).hint(hint));
    }
    let run = state::find(args.run.as_deref())?;
    if args.run.is_none() {
        // The run to delete is never guessed.
        let run = quoted(run.path());
        let hint = format!("the latest run is {run}: stoker unload {run}");
        return Err(Error::usage("`stoker unload` has to be told which run").hint(hint));
    }
    let opened = {
        let _at_work = AtWork::begin(
            context.printer,
            "reading the journal and the plan of the run",
        );
        Opened::open(run.clone(), &put_back_after(&run)?)?
    };
    let Some(opened) = opened else {
        context
            .printer
            .message("nothing to delete: the run created nothing");
        if args.json && args.how.dry_run {
            let plan = foreseen(&run, &RemovalPlan::default(), None, args.how)?;
            context.printer.json(&plan);
        } else if args.json {
            return Unloaded::nothing(run).tell(true, context);
        }
        return Ok(Exit::Well);
    };
    let goes = |place: &str, kind: &str, id: &str| opened.draft.deletes(place, kind, id);
    let referred = opened
        .ask_for_others(args.how, &goes, &stop, context)
        .await?;
    opened.show(args.how, referred.as_ref(), args.json, context)?;
    if args.how.dry_run {
        return Ok(Exit::Well);
    }
    let (deletes, restores) = (opened.draft.records(), opened.draft.updates());
    if let Some(question) = args.how.question(deletes, restores, "") {
        ask_for(args.how, &question, &stop).await?;
    }
    // A plan that is only shown, or not agreed to, leaves nothing with a collector.
    let (none, of) = (progress::Watcher::none(), run.name());
    let told = args.metrics.begin(none, Some("unload"), &of, context);
    let told = told.await?;
    let ended = async {
        let observed = Observed::begin(told.watcher.observer(), opened.targets(args.how));
        let unloaded = opened.unload(args.how, &observed, &stop, context).await?;
        observed.finish();
        unloaded.tell(args.json, context)
    }
    .await;
    told.end(&ended, context).await;
    ended
}
