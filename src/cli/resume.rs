//! `stoker resume`: carries a run that was cut off to its end, in its own directory.
//!
//! What the journal says is settled is not sent again. A record whose creation had begun and of which no more is known
//! is reported as `unknown`, never sent twice.

use std::path::PathBuf;

use super::{
    Context, Error, Exit, connect, interrupt,
    load::{self, ProgressKind},
};
use crate::{
    journal::{self, RunDirectory},
    plan::{self, file::Saved},
    send::Stop,
};

/// Arguments of `stoker resume`.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// How to show progress
    #[arg(long, value_enum, default_value_t = ProgressKind::Auto, value_name = "HOW")]
    progress: ProgressKind,
}

/// Runs the verb.
pub(super) async fn run(args: ResumeArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    let run = RunDirectory::open(&args.run).map_err(|error| {
        Error::usage(format!("`{}` is no run: {error}", args.run.display()))
            .hint("runs stand in .stoker/runs/, and every load prints the path of its own")
    })?;
    let saved = Saved::open(&run.plan()).map_err(Error::disk)?;
    let history = journal::read(&run.journal()).map_err(Error::disk)?;
    load::check_sources(&saved, &run).await?;
    let connections = connect::connect_all(&saved.header).await?;
    let watcher = load::watcher(args.progress, context.printer);
    let ended = async {
        let now = connect::with_facts(saved.header.clone(), &connections).await?;
        let changed = plan::changed_facts(&saved.header, &now);
        if !changed.is_empty() {
            return Err(Error::all(Exit::Usage, changed));
        }
        load::carry_out(
            false,
            context,
            &stop,
            &watcher,
            &run,
            &connections,
            Some(history),
        )
        .await
    }
    .await;
    watcher.finish();
    connect::close_all(connections).await;
    ended
}
