//! `stoker unload`: deletes what a run created, after showing what that is.

use std::path::PathBuf;

use super::{
    Context, Error, Exit, interrupt, state,
    unloading::{How, Opened, ask_for},
};
use crate::send::Stop;

/// Arguments of `stoker unload`.
#[derive(Debug, clap::Args)]
pub(super) struct UnloadArgs {
    /// The run's directory, or its name
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    how: How,
    /// Print what became of the records as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) async fn run(args: UnloadArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    let run = state::find(Some(&args.run))?;
    let Some(opened) = Opened::open(run)? else {
        context
            .printer
            .message("nothing to delete: the run created nothing");
        return Ok(Exit::Well);
    };
    opened.show(args.how, context);
    if args.how.dry_run {
        return Ok(Exit::Well);
    }
    let (deletes, restores) = (opened.draft.records(), opened.draft.updates());
    if let Some(question) = args.how.question(deletes, restores, "") {
        ask_for(args.how, &question)?;
    }
    let unloaded = opened.unload(args.how, &stop, context).await?;
    unloaded.tell(args.json, context)
}
