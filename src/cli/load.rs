//! `stoker load`: plans and loads. The pipeline from end to end.

use std::{
    collections::HashMap,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::ValueEnum;

use super::{
    Context, Error, Exit,
    connect::{self, Connection},
    interrupt, plan as planning,
    printer::Printer,
    report::exit_of,
};
use crate::{
    event::Observe,
    gate::ByteBudget,
    journal::{History, Journal, Ledger, RunDirectory, format},
    plan::{self, Header, PlannedSource, file::Saved},
    progress, report,
    send::{self, Counts, Earlier, Ended, Setup, Stop},
    source::{Bodies, Spool},
};

/// Arguments of `stoker load`.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// The manifest, or a plan saved by `stoker plan --out`
    #[arg(value_name = "MANIFEST|PLAN")]
    file: PathBuf,
    /// Do everything but send: read, plan, build every request
    #[arg(long)]
    dry_run: bool,
    /// How to show progress
    #[arg(long, value_enum, default_value_t = ProgressKind::Auto, value_name = "HOW")]
    progress: ProgressKind,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressKind {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// Bars
    Bars,
    /// A line every few seconds
    Lines,
    /// A JSON object every second, on standard error
    Json,
    /// Nothing
    None,
}

/// Where runs are kept when neither the manifest says so.
const STATE: &str = ".stoker";

/// The most bytes of decompressed sources that a run keeps: a full disk is worse than a clear refusal.
pub(super) const SPOOL: u64 = 1 << 40;

/// How often the figures of a session are written down, should it be killed.
const TALLY_EVERY: Duration = Duration::from_secs(5);

/// Runs the verb.
pub(super) async fn run(args: LoadArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    let watcher = watcher(args.progress, context.printer);
    let outcome = if is_plan(&args.file)? {
        load_saved(&args, context, &stop, &watcher).await
    } else {
        load_manifest(&args, context, &stop, &watcher).await
    };
    watcher.finish();
    outcome
}

async fn load_manifest(
    args: &LoadArgs,
    context: Context,
    stop: &Stop,
    watcher: &progress::Watcher,
) -> Result<Exit, Error> {
    let manifest = planning::read_manifest(&args.file, context)?;
    let header = planning::header(&manifest, planning::documented(&manifest));
    let connections = connect::connect_all(&header).await?;
    let ended = async {
        let header = connect::with_facts(header, &connections).await?;
        let state = header
            .run
            .state
            .clone()
            .unwrap_or_else(|| PathBuf::from(STATE));
        let run =
            RunDirectory::create(&state, &header.name, header.created).map_err(Error::disk)?;
        let planned = survey(&header, &run, stop, watcher.observer()).await;
        let surveyed = match planned {
            Ok(surveyed) => surveyed,
            Err(error) => {
                discard(&run);
                return Err(error);
            }
        };
        if let Err(error) = planning::refuse_problems(&surveyed.problems, context) {
            discard(&run);
            return Err(error);
        }
        watcher.suspend(|| planning::warn(&surveyed.summary, context.printer));
        carry_out(
            args.dry_run,
            context,
            stop,
            watcher,
            &run,
            &connections,
            None,
        )
        .await
    }
    .await;
    connect::close_all(connections).await;
    ended
}

async fn load_saved(
    args: &LoadArgs,
    context: Context,
    stop: &Stop,
    watcher: &progress::Watcher,
) -> Result<Exit, Error> {
    let saved = Saved::open(&args.file).map_err(Error::usage)?;
    let connections = connect::connect_all(&saved.header).await?;
    let ended = async {
        let now = connect::with_facts(saved.header.clone(), &connections).await?;
        let changed = plan::changed_facts(&saved.header, &now);
        if !changed.is_empty() {
            return Err(Error::all(Exit::Usage, changed));
        }
        let state = now
            .run
            .state
            .clone()
            .unwrap_or_else(|| PathBuf::from(STATE));
        let run =
            RunDirectory::create(&state, &now.name, jiff::Timestamp::now()).map_err(Error::disk)?;
        let checked = check_sources(&saved, &run).await;
        if let Err(error) = checked {
            discard(&run);
            return Err(error);
        }
        copy(&args.file, &run.plan()).map_err(Error::disk)?;
        carry_out(
            args.dry_run,
            context,
            stop,
            watcher,
            &run,
            &connections,
            None,
        )
        .await
    }
    .await;
    connect::close_all(connections).await;
    ended
}

/// Copies a saved plan into its run, where it is its owner's alone, whoever may read the saved one.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut plan = crate::journal::private_file(to)?;
    std::io::copy(&mut fs_err::File::open(from)?, &mut plan)?;
    Ok(())
}

/// Reads all sources into the plan of a run.
async fn survey(
    header: &Header,
    run: &RunDirectory,
    stop: &Stop,
    observe: Arc<dyn Observe>,
) -> Result<plan::Survey, Error> {
    let (header, run, stop) = (header.clone(), run.clone(), stop.clone());
    tokio::task::spawn_blocking(move || {
        let mut writer = plan::file::Writer::create(&run.plan()).map_err(Error::disk)?;
        let spool = Spool::new(run.spool(), SPOOL).map_err(Error::disk)?;
        plan::survey(
            &header,
            &mut writer,
            Some(&spool),
            run.path(),
            &*observe,
            &|| stop.is_stopping(),
            &mut |_, _| {},
        )
        .map_err(planning::survey_failed)
    })
    .await
    .map_err(Error::disk)?
}

/// Reads the sources of a saved plan again: they must be what they were, and those that are compressed are spooled.
pub(super) async fn check_sources(saved: &Saved, run: &RunDirectory) -> Result<(), Error> {
    let (sources, spool) = (saved.sources.clone(), run.spool());
    let changed = tokio::task::spawn_blocking(move || {
        let spool = Spool::new(spool, SPOOL).map_err(Error::disk)?;
        Ok(plan::changed_sources(&sources, &spool))
    })
    .await
    .map_err(Error::disk)??;
    if changed.is_empty() {
        Ok(())
    } else {
        Err(Error::all(Exit::Usage, changed))
    }
}

/// Sends what the plan of a run holds, and reports.
pub(super) async fn carry_out(
    dry_run: bool,
    context: Context,
    stop: &Stop,
    watcher: &progress::Watcher,
    run: &RunDirectory,
    connections: &HashMap<String, Connection>,
    earlier: Option<History>,
) -> Result<Exit, Error> {
    let saved = Arc::new(Saved::open(&run.plan()).map_err(Error::disk)?);
    let bodies = Arc::new(Bodies::new(readable(&saved.sources, &run.spool())));
    if dry_run {
        let ended = rehearse(&saved, &bodies, context);
        discard(run);
        return ended;
    }
    for (name, connection) in connections {
        if connection.ensure().await? {
            context
                .printer
                .message(&format!("created the store of target `{name}`"));
        }
    }
    let mut links = HashMap::new();
    for (name, connection) in connections {
        links.insert(name.clone(), connection.link(saved.largest_request(name))?);
    }
    let sessions = earlier.as_ref().map_or(0, |history| history.sessions.len());
    let number = u32::try_from(sessions)
        .unwrap_or(u32::MAX)
        .saturating_add(1);
    let session = format::SessionLine {
        number,
        started: jiff::Timestamp::now(),
    };
    let whole = earlier.as_ref().map(|history| history.whole);
    let sync = saved.header.run.journal;
    let journal = Journal::open(run, sync, session, whole).map_err(Error::disk)?;
    let journal = Arc::new(journal);
    let counts = Arc::new(Counts::default());
    let began = tokio::time::Instant::now();
    let setup = Setup {
        plan: Arc::clone(&saved),
        links,
        bodies: Arc::clone(&bodies),
        ledger: Arc::clone(&journal) as Arc<dyn Ledger>,
        observe: watcher.observer(),
        stop: stop.clone(),
        budget: Arc::new(ByteBudget::new(saved.header.run.memory.0)),
        earlier: Arc::new(Earlier { history: earlier }),
        lookups: Arc::default(),
        counts: Arc::clone(&counts),
    };
    let tally = || {
        let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        counts.tally(elapsed)
    };
    let mut sending = std::pin::pin!(send::run(setup));
    let ended = loop {
        tokio::select! {
            ended = &mut sending => break ended,
            () = tokio::time::sleep(TALLY_EVERY) => {
                // A journal that cannot be written ends the run through the next settlement.
                let _ = journal.tally(tally()).await;
            }
        }
    };
    let ended = close(&journal, number, tally(), ended)
        .await
        .map_err(|error| error.hint(go_on(run)));
    watcher.finish();
    let reported = match (write_report(context.printer, run, &bodies), &ended) {
        (Ok(reported), _) => reported,
        // What stopped the run goes before what its report met for the same reason.
        (Err(_), Err(_)) => return ended.map(|_| Exit::Disk),
        (Err(error), Ok(_)) => return Err(error.hint(go_on(run))),
    };
    context.printer.result(&report::text::render(
        &reported,
        run,
        context.printer.colors_output(),
    ));
    finish(context.printer, run, &reported, ended)
}

/// Writes the last lines of a session.
async fn close(
    journal: &Arc<Journal>,
    session: u32,
    tally: format::Tally,
    ended: Result<Ended, send::Error>,
) -> Result<Ended, Error> {
    let end = |how, reason| format::EndLine {
        session,
        at: jiff::Timestamp::now(),
        how,
        reason,
    };
    match ended {
        Ok(ended) => {
            journal.tally(tally).await.map_err(Error::disk)?;
            journal
                .end(end(ended.how, ended.reason.clone()))
                .await
                .map_err(Error::disk)?;
            Ok(ended)
        }
        Err(error @ (send::Error::Source(_) | send::Error::Plan(_))) => {
            let _ = journal.tally(tally).await;
            let _ = journal
                .end(end(format::Ending::Source, Some(error.to_string())))
                .await;
            Err(Error::disk(error))
        }
        Err(error @ send::Error::Journal(_)) => {
            Err(Error::disk(error).hint("what was settled before stands in the journal; make room"))
        }
    }
}

/// Says how to go on with a run.
fn go_on(run: &RunDirectory) -> String {
    format!(
        "then go on with `stoker resume {}`",
        report::text::quoted(run.path())
    )
}

fn write_report(
    printer: Printer,
    run: &RunDirectory,
    bodies: &Arc<Bodies>,
) -> Result<report::Report, Error> {
    let reported = report::of(run).map_err(Error::disk)?;
    let read = |source, span| {
        bodies
            .read(source, span)
            .map(|bytes| bytes.to_vec())
            .map_err(|e| e.to_string())
    };
    let written = report::write(run, &reported, &read).map_err(Error::disk)?;
    if let Some(why) = written.unreadable_because {
        let message = format!(
            "{} rejected records are missing in rejected/: {why}",
            written.unreadable
        );
        printer.problems(&[crate::diagnostic::Diagnostic::warning(message)]);
    }
    // A run that is not over may be resumed, and needs what its sources cannot give twice.
    if reported.ended == report::Ended::Complete {
        let _ = fs_err::remove_dir_all(run.spool());
    }
    Ok(reported)
}

/// Says how a run ended, and what can be done about it.
fn finish(
    printer: Printer,
    run: &RunDirectory,
    reported: &report::Report,
    ended: Result<Ended, Error>,
) -> Result<Exit, Error> {
    let ended = ended?;
    if let Some(reason) = &ended.reason {
        let mut problem = crate::diagnostic::Diagnostic::error(reason);
        problem.hints.extend(ended.hint.clone());
        printer.problems(&[problem]);
    }
    tracing::info!(run = %run.path().display(), "the run is over");
    Ok(exit_of(reported))
}

/// Builds every request and sends none.
fn rehearse(saved: &Arc<Saved>, bodies: &Arc<Bodies>, context: Context) -> Result<Exit, Error> {
    let rehearsed = send::rehearse(saved, bodies)
        .map_err(|error| Error::disk(error).hint("nothing was sent"))?;
    context
        .printer
        .result(&plan::text::text(&saved.header, &saved.summary));
    context.printer.result(&format!(
        "dry run: {} requests with {} built, none sent",
        rehearsed.requests,
        crate::unit::ByteSize(rehearsed.bytes)
    ));
    Ok(if saved.summary.unsupported() > 0 {
        Exit::SomeFailed
    } else {
        Exit::Well
    })
}

/// Returns the file from which each source can be read at any place.
pub(super) fn readable(
    sources: &[PlannedSource],
    spool: &Path,
) -> Vec<(crate::record::SourceId, PathBuf)> {
    sources
        .iter()
        .map(|source| {
            let spooled = spool.join(format!("{}.plain", source.id.0));
            let path = match &source.path {
                Some(path) if !source.spooled => path.clone(),
                _ => spooled,
            };
            (source.id, path)
        })
        .collect()
}

/// Removes the directory of a run that never began.
fn discard(run: &RunDirectory) {
    let _ = fs_err::remove_dir_all(run.path());
}

/// Tells a saved plan from a manifest by its first bytes.
fn is_plan(path: &Path) -> Result<bool, Error> {
    const HEADER: &[u8] = b"{\"header\":";
    let mut first = Vec::new();
    fs_err::File::open(path)
        .and_then(|file| file.take(HEADER.len() as u64).read_to_end(&mut first))
        .map_err(|error| {
            Error::usage(error).hint("`stoker init DIR` writes a manifest for a directory of files")
        })?;
    Ok(first == HEADER)
}

pub(super) fn watcher(kind: ProgressKind, printer: Printer) -> progress::Watcher {
    match kind {
        _ if printer.is_quiet() => progress::Watcher::none(),
        ProgressKind::Auto if Printer::is_watched() => {
            progress::Watcher::bars(printer.colors_messages())
        }
        ProgressKind::Bars => progress::Watcher::bars(printer.colors_messages()),
        ProgressKind::Auto | ProgressKind::Lines => {
            progress::Watcher::lines(Box::new(std::io::stderr()))
        }
        ProgressKind::Json => progress::Watcher::json(Box::new(std::io::stderr())),
        ProgressKind::None => progress::Watcher::none(),
    }
}
