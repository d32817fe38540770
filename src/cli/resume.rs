//! `stoker resume`: carries a run that was cut off to its end, in its own directory.

use std::path::PathBuf;

use super::{
    Context, Error, Exit, interrupt,
    resuming::{self, ReplayArgs, SendingArgs},
    state, watching,
};
use crate::send::Stop;

/// Arguments of `stoker resume`.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The run's directory, or its name [default: the latest run]
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    #[command(flatten)]
    replay: ReplayArgs,
    #[command(flatten)]
    pub(super) sending: SendingArgs,
}

/// Runs the verb.
pub(super) async fn run(args: ResumeArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    let run = state::find(args.run.as_deref())?;
    let watcher = watching::watcher(args.sending.progress, context.printer);
    let (verb, of) = (Some("resume"), run.name());
    let told = args
        .sending
        .metrics
        .begin(watcher, verb, &of, context)
        .await?;
    let live = args.sending.live.begin(context.printer).await?;
    if let Some(live) = &live {
        live.follow(&run);
    }
    let ended = resuming::go_on(
        &run,
        args.replay,
        args.sending.verify_sources,
        context,
        &stop,
        &told.watcher,
    );
    let ended = ended.await;
    let watcher = told.watcher.clone();
    told.end(&ended, context).await;
    if let Some(live) = live {
        let keeps = args.sending.live.keeps() && ended.is_ok();
        live.end(keeps, &stop, &watcher, context.printer).await;
    }
    ended
}
