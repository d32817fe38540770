//! Going on with a run that was cut off, as `resume` and `load --resume` do.
//!
//! Records that the journal calls settled are not sent again, unless `--replay` asks for it. A record whose creation
//! had begun and of which no more is known is asked for, as the load's `settle` says; it is never sent twice by
//! guessing.

use clap::ValueEnum;

use super::{
    Context, Error, Exit, connect, live::LiveArgs, metrics::MetricsArgs, planning,
    session::Session, sources::check_sources, state, watching::ProgressKind,
};
use crate::{
    journal::{self, Ending, RunDirectory},
    manifest::Settle,
    plan::file::Saved,
    progress,
    send::{Earlier, Replay, Stop},
};

/// The choice of the records that are tried once more.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(super) struct ReplayArgs {
    /// Which records to send
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    replay: Which,
}

/// The arguments of all that sends the records of a run.
#[derive(Debug, clap::Args)]
pub(super) struct SendingArgs {
    /// Read sources again that look unchanged
    #[arg(long)]
    pub(super) verify_sources: bool,
    /// How to show progress
    #[arg(long, value_enum, default_value_t = ProgressKind::Auto, value_name = "HOW")]
    pub(super) progress: ProgressKind,
    #[command(flatten)]
    pub(super) metrics: MetricsArgs,
    #[command(flatten)]
    pub(super) live: LiveArgs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Those that were not tried, or whose sending was cut off
    #[default]
    Interrupted,
    /// Also those that were rejected, or blocked
    Rejected,
    /// Also those of which nobody knows whether they arrived: this may double them where asking proves nothing
    Unknown,
    /// All that is not in the store, or may not be
    All,
}

/// The advice about a run that can no longer be carried out as it was planned.
const WAY_ON: &str =
    "put it back as it was, or load the manifest again: what this run has loaded is not sent twice";

/// Goes on with a run.
pub(super) async fn go_on(
    run: &RunDirectory,
    replay: ReplayArgs,
    verify_sources: bool,
    context: Context,
    stop: &Stop,
    watcher: &progress::Watcher,
) -> Result<Exit, Error> {
    let history = journal::read(&run.journal()).map_err(Error::disk)?;
    if history.brief.is_some() {
        let message = format!(
            "{} is over, and nothing was left to send",
            run.path().display()
        );
        return Err(Error::usage(message).hint("load the manifest again to send what is new"));
    }
    let saved = Saved::open(&run.plan()).map_err(Error::disk)?;
    saved.verify().map_err(Error::disk)?;
    if let Some(end) = &history.end
        && end.how == Ending::Superseded
    {
        let by = end.reason.as_deref().unwrap_or("a later load");
        let message = format!("{} was taken over by {by}", run.path().display());
        return Err(Error::usage(message).hint("go on with that one, or load the manifest again"));
    }
    if run.unload().exists() {
        let message = format!("{} was unloaded", run.path().display());
        return Err(Error::usage(message)
            .hint("load the manifest again: what was deleted is created once more"));
    }
    check_sources(&saved, run, verify_sources, WAY_ON).await?;
    let connections = connect::connect_all(&saved.header).await?;
    let ended = async {
        let now = connect::with_facts(saved.header.clone(), &connections).await?;
        planning::refuse_changed_facts(&saved.header, &now, WAY_ON)?;
        // Questions that could not be asked before are asked now.
        let asks = (saved.header.loads.iter()).any(|load| load.settles_by() != Settle::None);
        let which = replay.replay;
        let replay = Replay {
            rejected: matches!(which, Which::Rejected | Which::All),
            unknown: matches!(which, Which::Unknown | Which::All),
            asks,
        };
        let earlier = Earlier {
            history: Some(history),
            replay,
            was_cut_off: false,
        };
        let carry = Session {
            context,
            stop,
            watcher,
            run,
            connections: &connections,
        };
        carry.go_on(earlier, &state::of(&saved.header)).await
    }
    .await;
    connect::close_all(connections).await;
    ended
}
