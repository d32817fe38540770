//! `stoker plan`: what a load would do.

use std::{
    collections::HashMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::{
    Context, Error, Exit, carry,
    connect::{self, Connection},
    interrupt,
    load::{self, ProgressKind},
    online::{self, Scratch},
    printer::Printer,
    secrets,
};
use crate::{
    diagnostic::Severity,
    manifest::{self, Manifest},
    plan::{self, Header, PlannedTarget, Summary, Survey, file},
    send::{Stop, online::Online},
    source::{self, Spool},
    target::Facts,
};

/// Arguments of `stoker plan`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// The manifest
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    /// Save the plan, so that `stoker load FILE` does exactly that or refuses
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Ask no target; rely on the documented facts of its kind
    #[arg(long)]
    offline: bool,
    /// Also ask the targets what they hold already
    #[arg(long, conflicts_with = "offline")]
    online: bool,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// Exit with 10 when there is work to do, with 0 when there is none
    #[arg(long)]
    detailed_exitcode: bool,
}

/// Runs the verb.
pub(super) async fn run(args: PlanArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    let manifest = read_manifest(&args.manifest, context)?;
    let connections = if args.offline {
        HashMap::new()
    } else {
        let header = header(&manifest, documented(&manifest));
        unless_interrupted(&stop, connect::connect_all(&header)).await?
    };
    let planned = make(&args, &manifest, &connections, &stop, context).await;
    connect::close_all(connections).await;
    planned
}

async fn make(
    args: &PlanArgs,
    manifest: &Manifest,
    connections: &HashMap<String, Connection>,
    stop: &Stop,
    context: Context,
) -> Result<Exit, Error> {
    let mut header = header(manifest, documented(manifest));
    if !args.offline {
        header = unless_interrupted(stop, connect::with_facts(header, connections)).await?;
    }
    if let (Some(out), true) = (&args.out, reads_stdin(manifest)) {
        return Err(Error::usage(format!(
            "a plan that reads standard input cannot be saved to `{}`",
            out.display()
        ))
        .hint("write standard input to a file and list that"));
    }
    // What is asked about has to be read again, also where nothing of the plan is kept; and so do records of cycles that
    // no transaction can hold.
    let reads_again = |target: &PlannedTarget| target.facts.transaction == Some(false);
    let scratch = args.online || reads_stdin(manifest) || header.targets.iter().any(reads_again);
    let scratch = scratch.then(Scratch::create).transpose()?;
    let surveyed = survey(args, &header, scratch.as_ref(), stop, context).await?;
    refuse_problems(&surveyed.problems, context)?;
    let online = match &scratch {
        Some(scratch) if args.online => {
            let plan = args.out.clone().unwrap_or_else(|| scratch.plan());
            let asked = online::ask(&plan, scratch, connections, context.printer);
            Some(unless_interrupted(stop, asked).await?)
        }
        _ => None,
    };
    let online = online.as_deref();
    if args.json {
        context
            .printer
            .json(&json(&header, &surveyed.summary, online));
    } else {
        context
            .printer
            .result(&text(&header, &surveyed.summary, online));
    }
    if let Some(out) = &args.out {
        context.printer.message(&format!(
            "saved; load it with: stoker load {}",
            out.display()
        ));
    }
    let work = match online {
        Some(online) => online.iter().any(|load| load.work() > 0),
        None => surveyed.summary.sent() > 0,
    };
    Ok(if args.detailed_exitcode && work {
        Exit::WorkToDo
    } else {
        Exit::Well
    })
}

/// Reads all sources into the plan that is saved, that is asked about, or that is thrown away.
async fn survey(
    args: &PlanArgs,
    header: &Header,
    scratch: Option<&Scratch>,
    stop: &Stop,
    context: Context,
) -> Result<Survey, Error> {
    // Only people are shown how far the reading is: it ends with the plan, which says everything.
    let how = if Printer::is_watched() {
        ProgressKind::Auto
    } else {
        ProgressKind::None
    };
    let watcher = load::watcher(how, context.printer);
    let surveying = tokio::task::spawn_blocking({
        let (header, stop, observe) = (header.clone(), stop.clone(), watcher.observer());
        let out = args.out.clone().or(scratch.map(Scratch::plan));
        let spool = scratch.map(Scratch::spool);
        move || {
            let spool = spool.map(|spool| Spool::new(spool, carry::SPOOL).map_err(Error::disk));
            let spool = spool.transpose()?;
            let mut discard = file::Discard;
            let mut writer;
            let sink: &mut dyn file::Sink = match &out {
                Some(out) => {
                    writer = file::Writer::create(out).map_err(Error::disk)?;
                    &mut writer
                }
                None => &mut discard,
            };
            plan::survey(
                &header,
                sink,
                spool.as_ref(),
                &std::env::temp_dir(),
                &*observe,
                &|| stop.is_stopping(),
                &mut |_, _| {},
            )
            .map_err(survey_failed)
        }
    });
    let surveyed = tokio::select! {
        surveyed = surveying => surveyed.map_err(Error::disk)?,
        // It looks up between records only, and standard input may bring none.
        () = stop.dropping() => Err(interrupted()),
    };
    watcher.finish();
    surveyed
}

/// Gives work up at the first signal.
async fn unless_interrupted<T>(
    stop: &Stop,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        done = work => done,
        () = stop.stopping() => Err(interrupted()),
    }
}

fn interrupted() -> Error {
    Error::new(
        Exit::Interrupted,
        "interrupted while planning; nothing was sent",
    )
}

fn text(header: &Header, summary: &Summary, online: Option<&[Online]>) -> String {
    let mut text = plan::text::text(header, summary);
    for (load, found) in header.loads.iter().zip(online.unwrap_or_default()) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\nonline: load {}: {}",
            load.name,
            online::words(found)
        );
    }
    text
}

fn json(header: &Header, summary: &Summary, online: Option<&[Online]>) -> String {
    let mut json = plan::text::json(header, summary);
    let loads = json
        .get_mut("loads")
        .and_then(serde_json::Value::as_array_mut);
    let found = online.unwrap_or_default();
    for (load, found) in loads.into_iter().flatten().zip(found) {
        if let Some(load) = load.as_object_mut() {
            load.insert("online".to_owned(), serde_json::json!(found));
        }
    }
    format!("{json:#}")
}

/// Reads a manifest; warnings are shown, errors end the verb.
pub(super) fn read_manifest(path: &Path, context: Context) -> Result<Manifest, Error> {
    match manifest::read(path, &super::store::environment()) {
        Ok((manifest, warnings)) => {
            context.printer.problems(&warnings);
            super::report::keep_known(&manifest)?;
            let google = super::variable("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from);
            let exposed = secrets::exposed(&manifest.targets, google);
            context.printer.problems(&exposed);
            Ok(manifest)
        }
        Err(problems) => Err(Error::all(Exit::Usage, problems)),
    }
}

/// Makes the header of a plan.
pub(super) fn header(manifest: &Manifest, facts: Vec<Facts>) -> Header {
    Header {
        version: plan::VERSION,
        stoker: env!("CARGO_PKG_VERSION").to_owned(),
        name: manifest.name.clone(),
        manifest: manifest.path.clone(),
        created: jiff::Timestamp::now(),
        targets: manifest
            .targets
            .iter()
            .cloned()
            .zip(facts)
            .map(|(settings, facts)| PlannedTarget { settings, facts })
            .collect(),
        loads: manifest.loads.clone(),
        run: manifest.run.clone(),
    }
}

/// Returns the documented facts of each target.
pub(super) fn documented(manifest: &Manifest) -> Vec<Facts> {
    manifest
        .targets
        .iter()
        .map(|target| Facts::documented(&target.store))
        .collect()
}

/// Ends the verb when a plan has errors.
pub(super) fn refuse_problems(
    problems: &[crate::diagnostic::Diagnostic],
    context: Context,
) -> Result<(), Error> {
    if problems.iter().any(|p| p.severity == Severity::Error) {
        return Err(Error::all(Exit::Usage, problems.to_vec()));
    }
    context.printer.problems(problems);
    Ok(())
}

/// Turns the failure of a survey into what the user is told.
pub(super) fn survey_failed(error: plan::Error) -> Error {
    match error {
        plan::Error::Interrupted => Error::new(Exit::Interrupted, error),
        plan::Error::Plan(_) => Error::disk(error),
        plan::Error::Source(source) => {
            let hint = match source.kind {
                source::Kind::Io(_) => {
                    "the limit of open files (`ulimit -n`) or the memory is used up; give the process more"
                }
                source::Kind::Spool(_) | source::Kind::SpoolFull { .. } => {
                    "make room where the run keeps decompressed sources, beside its journal"
                }
                _ => "nothing was sent; load again",
            };
            Error::disk(source).hint(hint)
        }
    }
}

/// Tells whether a load reads standard input.
pub(super) fn reads_stdin(manifest: &Manifest) -> bool {
    manifest
        .loads
        .iter()
        .flat_map(|load| &load.files)
        .any(|file| file.pattern == "-" && !file.exclude)
}

/// Shows the warnings of a plan.
pub(super) fn warn(summary: &Summary, printer: Printer) {
    for warning in &summary.warnings {
        printer.problems(&[crate::diagnostic::Diagnostic::warning(warning)]);
    }
}
