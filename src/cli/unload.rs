//! `stoker unload`: deletes what a run created, after showing what that is.

use std::path::PathBuf;

use super::{
    Context, Error, Exit, interrupt, state,
    unloading::{How, Opened, Unloaded, ask_for, foreseen, put_back_after},
};
use crate::{send::Stop, unload::RemovalPlan};

/// Arguments of `stoker unload`.
#[derive(Debug, clap::Args)]
pub(super) struct UnloadArgs {
    /// The run's directory, or its name
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    how: How,
    /// Print what became of the records as JSON; with --dry-run, what would be deleted
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) async fn run(args: UnloadArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    let run = state::find(Some(&args.run))?;
    let Some(opened) = Opened::open(run.clone(), &put_back_after(&run)?)? else {
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
    let referred = opened.ask_for_others(args.how, &goes, &stop).await?;
    opened.show(args.how, referred.as_ref(), args.json, context)?;
    if args.how.dry_run {
        return Ok(Exit::Well);
    }
    let (deletes, restores) = (opened.draft.records(), opened.draft.updates());
    if let Some(question) = args.how.question(deletes, restores, "") {
        ask_for(args.how, &question, &stop).await?;
    }
    let unloaded = opened.unload(args.how, &stop, context).await?;
    unloaded.tell(args.json, context)
}
