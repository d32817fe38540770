//! `stoker verify`: compares what the stores hold with what the sources say.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    sync::Arc,
};

mod kept;
mod proven;
mod told;

use super::{
    Context, Error, Exit, connect, given, interrupt,
    metrics::MetricsArgs,
    number,
    observed::Observed,
    planning::{self, Planning},
    prior_runs::Purpose,
    scratch::{self, Scratch},
    select::Selection,
    sources, state, stores,
    watching::{self, AtWork, SAMPLED_EVERY, SHOWN_EVERY, records},
};
use kept::{Aside, Kept};
use proven::prove;
use told::Told;

use crate::{
    diagnostic::Diagnostic,
    event::Observe,
    journal::{self, RunDirectory},
    manifest::Store as Settings,
    plan::file::Saved,
    progress,
    report::format::quoted,
    send::{
        Stop,
        verify::{self, State, Verified, Verify},
    },
    source::Bodies,
};

/// Arguments of `stoker verify`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct VerifyArgs {
    /// A run (its directory, or its name), or a manifest [default: the latest run]
    #[arg(value_name = "RUN|MANIFEST")]
    what: Option<PathBuf>,
    /// The number of records to read, drawn from all [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "all", value_parser = number::some, allow_negative_numbers = true)]
    sample: Option<u64>,
    /// Read every record, and name those that no source says
    #[arg(long)]
    all: bool,
    /// Only count what the stores hold, type by type
    #[arg(long, conflicts_with_all = ["all", "sample"])]
    counts: bool,
    /// What the stores hold besides is no difference
    #[arg(long)]
    ignore_extra: bool,
    /// Begin anew, also where an earlier verification was cut off (`--all` goes on with it)
    #[arg(long)]
    fresh: bool,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    metrics: MetricsArgs,
}

/// The number of records that are read where nothing else is said: if one in a hundred is not the same, it is found out nearly always.
const SAMPLE: u64 = 1_000;

/// Runs the verb.
pub(in crate::cli) async fn run(mut args: VerifyArgs, context: Context) -> Result<Exit, Error> {
    let what = if let Some(what) = args.what.take() {
        what
    } else {
        let run = state::find(None)?;
        let message = format!("verifying the latest run, {}", quoted(run.path()));
        context.printer.message(&message);
        run.path().to_owned()
    };
    args.what = Some(what.clone());
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    let of = what.display().to_string();
    let none = progress::Watcher::none();
    let told = args.metrics.begin(none, Some("verify"), &of, context);
    let told = told.await?;
    let observe = told.watcher.observer();
    let work = async {
        if what.is_file() {
            of_manifest(&args, &what, &observe, &stop, context).await
        } else {
            of_run(&args, &what, &observe, context).await
        }
    };
    let ended = tokio::select! {
        done = work => done,
        () = stop.stopping() => {
            let hint = "repeat the command: with `--all`, the verification goes on where it was";
            Err(Error::new(Exit::Interrupted, "interrupted").hint(hint))
        }
    };
    told.end(&ended, context).await;
    ended
}

async fn of_run(
    args: &VerifyArgs,
    what: &Path,
    observe: &Arc<dyn Observe>,
    context: Context,
) -> Result<Exit, Error> {
    let run = state::find(Some(what))?;
    // Nobody removes it meanwhile; one that is kept in brief has nothing to be held by.
    let _held = match run.hold() {
        Ok(held) => Some(held),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::disk(error)),
    };
    let at_work = AtWork::begin(
        context.printer,
        "reading the journal and the plan of the run",
    );
    let history = journal::read(&run.journal()).map_err(Error::disk)?;
    if history.brief.is_some() {
        drop(at_work);
        let message = format!("{} sent nothing, and is kept in brief", quoted(run.path()));
        return Err(Error::usage(message).hint("verify the manifest: `stoker verify MANIFEST`"));
    }
    if run.unload().exists() {
        let what = "the run was unloaded since: what was deleted is missing";
        let warning = Diagnostic::warning(what);
        context
            .printer
            .problems(&[warning.hint("`unload.json` beside its report says what was deleted")]);
    }
    let saved = Saved::open(&run.plan()).map_err(Error::disk)?;
    let was_spooled = run.spool().exists();
    at_work.say("looking whether the sources are as they were");
    let checked = sources::check_sources(&saved, &run, false, WAY_ON).await;
    let verified = match checked {
        Ok(()) => {
            let work = Work {
                args,
                saved: Arc::new(saved),
                run: &run,
                is_whole: false,
                observe,
                context,
            };
            work.verify(history, at_work).await
        }
        Err(error) => Err(error),
    };
    // Bytes that were spooled to be read again are not needed any more.
    if !was_spooled {
        let _ = fs_err::remove_dir_all(run.spool());
    }
    verified
}

/// Said while the targets are asked about themselves.
const ASKING: &str = "asking the stores what they are";

/// The advice about sources that are not what they were.
const WAY_ON: &str = "put it back as it was, or verify the manifest: `stoker verify MANIFEST` goes by what the files say now";

async fn of_manifest(
    args: &VerifyArgs,
    what: &Path,
    observe: &Arc<dyn Observe>,
    stop: &Stop,
    context: Context,
) -> Result<Exit, Error> {
    if given::is_plan(what) {
        let message = format!("{} is a saved plan", quoted(what));
        return Err(Error::usage(message).hint("name a run, or the manifest"));
    }
    let manifest = given::await_manifest(what, &Selection::default(), context, stop).await?;
    let header = planning::header(&manifest);
    for target in &header.targets {
        connect::refuse_missing(&target.settings)?;
    }
    let at_work = AtWork::begin(context.printer, ASKING);
    let connections = connect::connect_all(&header).await?;
    let verified = async {
        let header = connect::with_facts(header, &connections).await?;
        drop(at_work);
        let scratch = Scratch::create()?;
        let watcher = watching::for_people(context.printer).and(Arc::clone(observe));
        let how = Planning::aside(&header, &scratch, &watcher, stop);
        let surveyed = how.write(&scratch.run().plan(), scratch::ELSEWHERE).await;
        watcher.finish();
        planning::refuse_problems(&surveyed?.problems, context)?;
        let at_work = AtWork::begin(context.printer, "looking up what earlier runs have loaded");
        let saved = Saved::open(&scratch.run().plan()).map_err(Error::disk)?;
        let saved = Arc::new(saved);
        planning::consult(
            Purpose::Verify,
            false,
            &saved,
            &scratch,
            &connections,
            context,
        )
        .await?;
        let history = journal::read(&scratch.run().journal()).map_err(Error::disk)?;
        let work = Work {
            args,
            saved,
            run: scratch.run(),
            is_whole: true,
            observe,
            context,
        };
        work.verify(history, at_work).await
    }
    .await;
    connect::close_all(connections).await;
    verified
}

/// The work of a verification.
struct Work<'a> {
    args: &'a VerifyArgs,
    saved: Arc<Saved>,
    run: &'a RunDirectory,
    /// The manifest is compared, and not a run.
    is_whole: bool,
    observe: &'a Arc<dyn Observe>,
    context: Context,
}

impl Work<'_> {
    /// Returns the targets that can be asked, with how many records the plan has for them; says which cannot.
    fn targets(&self) -> Vec<(String, u64)> {
        let header = &self.saved.header;
        let mut targets: Vec<(String, u64)> = Vec::new();
        for (load, summary) in header.loads.iter().zip(&self.saved.summary.loads) {
            let target = header
                .targets
                .iter()
                .find(|t| t.settings.name == load.target);
            let is_receiver =
                target.is_some_and(|t| matches!(t.settings.store, Settings::Mllp { .. }));
            if is_receiver {
                let what = format!(
                    "target `{}` is a receiver over MLLP, which cannot be asked what it has: load `{}` is left out",
                    load.target, load.name
                );
                let problem = Diagnostic::warning(what);
                self.context.printer.problems(&[problem]);
                continue;
            }
            match targets.iter_mut().find(|(name, _)| *name == load.target) {
                Some((_, records)) => *records += summary.records,
                None => targets.push((load.target.clone(), summary.records)),
            }
        }
        targets
    }

    async fn verify(self, history: journal::JournalIndex, at_work: AtWork) -> Result<Exit, Error> {
        let Self {
            args,
            ref saved,
            run,
            is_whole,
            observe,
            context,
        } = self;
        let header = &saved.header;
        let targets = self.targets();
        let names: Vec<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
        let observed = Observed::begin(Arc::clone(observe), targets.clone());
        let bodies = Arc::new(Bodies::new(sources::readable(&saved.sources, &run.spool())));
        at_work.say(ASKING);
        let connections = stores::connect(header, &names).await?;
        let kept = (!is_whole).then_some(Kept { run, context });
        let verified = async {
            let stores = stores::of(header, &names, &connections, 0, &observed).await?;
            let amended;
            let mut verify = Verify {
                plan: saved,
                bodies: &bodies,
                history: &history,
                stores: &stores,
                sample: (!args.all).then(|| args.sample.unwrap_or(SAMPLE)),
                counts_only: args.counts,
                is_whole,
                shows_values: context.show_content,
                audience: &observed,
            };
            let proven = if args.counts {
                None
            } else {
                if verify.has_doubts() {
                    at_work.say("asking about records of which nobody knows whether they arrived");
                }
                prove(&verify, run, context).await?
            };
            if proven.is_some() {
                amended = journal::read(&run.journal()).map_err(Error::disk)?;
                verify.history = &amended;
                if !is_whole {
                    proven::report_again(run, saved, &bodies, context)?;
                }
            }
            let (mut state, mut aside) = (None, None);
            if args.all {
                match kept {
                    Some(kept) => state = Some(kept.state(verify.history, args.fresh)?),
                    None => aside = Aside::open(&verify, args, context)?,
                }
            }
            let going = state.as_mut().or(aside.as_mut().map(|a| &mut a.state));
            let mut verified = carry_out(&verify, going, &observed, &at_work, context).await?;
            verified.proven = proven.unwrap_or_default();
            if let Some(state) = state {
                state.end().map_err(Error::disk)?;
            }
            if let Some(aside) = aside {
                aside.end()?;
            }
            Ok(verified)
        }
        .await;
        observed.finish();
        connect::close_all(connections).await;
        drop(at_work);
        let mut told = Told {
            args,
            verified: verified?,
            is_noted: !is_whole,
            page: None,
            context,
        };
        if let Some(kept) = kept {
            told.page = Some(kept.write(&told)?);
        }
        told.tell()
    }
}

/// Compares, and shows how far it came.
async fn carry_out(
    verify: &Verify<'_>,
    state: Option<&mut State>,
    observed: &Observed,
    at_work: &AtWork,
    context: Context,
) -> Result<Verified, Error> {
    let all: u64 = verify.plan.summary.records();
    let all = verify.sample.map_or(all, |sample| sample.min(all));
    at_work.say("counting what the stores hold");
    let read = Cell::new(0_u64);
    let told = |more: u64| read.set(read.get() + more);
    let mut going = std::pin::pin!(verify.run(&told, state));
    let mut sampling = tokio::time::interval(SAMPLED_EVERY);
    let mut showing = tokio::time::interval(SHOWN_EVERY);
    showing.reset();
    loop {
        tokio::select! {
            ended = &mut going => return ended.map_err(failed),
            _ = sampling.tick() => {
                observed.sample(verify.stores);
                if read.get() > 0 {
                    at_work.so_far("comparing with the stores", read.get(), all);
                }
            }
            _ = showing.tick() => if !at_work.is_shown() {
                context.printer.message(&format!("{} compared", records(read.get())));
            }
        }
    }
}

fn failed(error: verify::Error) -> Error {
    match error {
        verify::Error::Unreadable(_) | verify::Error::Journal(_) => Error::disk(error),
        verify::Error::Silent(ref silent) => {
            let hint = silent.hint.clone();
            let failed = Error::new(Exit::Target, &error);
            match hint {
                Some(hint) => failed.hint(hint),
                None => failed,
            }
        }
        verify::Error::Target { target, failure } => {
            connect::at_target(&target, connect::failed(&failure))
        }
    }
}
