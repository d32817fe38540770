//! `stoker plan`: what a load would do.

use std::{
    collections::HashMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) use super::given::{STDIN, documented, header, no_manifest, read_manifest, reads_stdin};
use super::{
    Context, Error, Exit,
    connect::{self, Connection},
    interrupt,
    load::{self, ProgressKind},
    online,
    printer::Printer,
    prior_runs::{Asked, Consulted, Purpose},
    scratch::Scratch,
    select::Selection,
    session,
};
use crate::{
    diagnostic::{Diagnostic, Severity},
    journal::{Journal, format},
    manifest::{Manifest, Sync},
    plan::{
        self, Forecast, PlanHeader, Summary,
        file::{self, Saved},
    },
    send::{
        Earlier, Stop,
        online::{Holdings, Online},
    },
    source::{self, Spool},
};

/// Arguments of `stoker plan`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// The manifest (`-` reads it from standard input), or a saved plan
    #[arg(value_name = "MANIFEST|PLAN")]
    manifest: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// Save the plan, so that `stoker load FILE` does exactly that or refuses
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Ask no target; rely on the documented facts of its kind
    #[arg(long)]
    offline: bool,
    /// Also ask the targets what they hold already
    #[arg(long, conflicts_with = "offline")]
    online: bool,
    /// Plan everything, also what earlier runs have loaded
    #[arg(long)]
    fresh: bool,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// Also show where the records that would change differ from what the targets hold; values with --show-content
    #[arg(long, requires = "online")]
    diff: bool,
    /// Exit with 10 when there is work to do, with 0 when there is none
    #[arg(long)]
    detailed_exitcode: bool,
}

/// Runs the verb.
pub(super) async fn run(args: PlanArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    if load::is_plan(&args.manifest) {
        return show(&args, &stop, context).await;
    }
    let manifest = read_manifest(&args.manifest, &args.selection, context)?;
    let connections = connect(&args, &header(&manifest, documented(&manifest)), &stop).await?;
    let planned = make(&args, &manifest, &connections, &stop, context).await;
    connect::close_all(connections).await;
    planned
}

async fn connect(
    args: &PlanArgs,
    header: &PlanHeader,
    stop: &Stop,
) -> Result<HashMap<String, Connection>, Error> {
    if args.offline {
        return Ok(HashMap::new());
    }
    unless_interrupted(stop, connect::connect_all(header)).await
}

/// Shows a saved plan, and what of it is left to do.
async fn show(args: &PlanArgs, stop: &Stop, context: Context) -> Result<Exit, Error> {
    let what = match (&args.out, args.online, args.selection.is_everything()) {
        (Some(_), _, _) => "it is saved already",
        (_, true, _) => "--online asks about a manifest's records",
        (_, _, false) => "its loads were chosen when it was made",
        _ => "",
    };
    if !what.is_empty() {
        let message = format!("`{}` is a saved plan: {what}", args.manifest.display());
        return Err(Error::usage(message).hint("name the manifest"));
    }
    let saved = Arc::new(Saved::open(&args.manifest).map_err(Error::usage)?);
    let connections = connect(args, &saved.header, stop).await?;
    let shown = async {
        let scratch = Scratch::create()?;
        if !args.offline {
            let now = connect::with_facts(saved.header.clone(), &connections);
            let now = unless_interrupted(stop, now).await?;
            for mut problem in plan::changed_facts(&saved.header, &now) {
                problem.severity = Severity::Warning;
                context
                    .printer
                    .problems(&[problem.hint("a load would refuse this plan: plan again")]);
            }
        }
        let foreseen = foresee(args, &saved, &scratch, &connections, context);
        let (forecast, _) = unless_interrupted(stop, foreseen).await?;
        Ok(print(args, &saved, &forecast, None, context))
    }
    .await;
    connect::close_all(connections).await;
    shown
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
    let scratch = Scratch::create()?;
    let surveyed = survey(args.out.as_deref(), &header, &scratch, stop, context).await?;
    refuse_problems(&surveyed.problems, context)?;
    let plan = args.out.clone().unwrap_or_else(|| scratch.run().plan());
    let saved = Arc::new(Saved::open(&plan).map_err(Error::disk)?);
    let foreseen = foresee(args, &saved, &scratch, connections, context);
    let (forecast, earlier) = unless_interrupted(stop, foreseen).await?;
    let online = if args.online {
        let asked = online::ask(
            &saved,
            &scratch,
            connections,
            &earlier,
            args.diff,
            context.printer,
        );
        Some(unless_interrupted(stop, asked).await?)
    } else {
        None
    };
    let exit = print(args, &saved, &forecast, online.as_ref(), context);
    if let Some(out) = &args.out {
        context.printer.message(&format!(
            "saved; load it with: stoker load {}",
            out.display()
        ));
    }
    Ok(exit)
}

/// Finds out what earlier runs have loaded of a plan, and what is sent then.
async fn foresee(
    args: &PlanArgs,
    saved: &Arc<Saved>,
    scratch: &Scratch,
    connections: &HashMap<String, Connection>,
    context: Context,
) -> Result<(Forecast, Earlier), Error> {
    let asked = consult(
        Purpose::Plan,
        args.fresh,
        saved,
        scratch,
        connections,
        context,
    )
    .await?;
    let is_settled = |record| asked.earlier.is_settled(record);
    let forecast = plan::forecast(saved, &is_settled).map_err(Error::disk)?;
    let forecast = Forecast {
        samples: asked.sampled,
        is_assumed: args.offline,
        ..forecast
    };
    Ok((forecast, asked.earlier))
}

/// Finds out what earlier runs have loaded of a plan.
pub(super) async fn consult(
    purpose: Purpose,
    fresh: bool,
    saved: &Arc<Saved>,
    scratch: &Scratch,
    connections: &HashMap<String, Connection>,
    context: Context,
) -> Result<Asked, Error> {
    let mut links = HashMap::new();
    for (name, connection) in connections {
        // A plan writes nothing.
        let link = connection.rehearsal(saved.largest_request(name))?;
        links.insert(name.clone(), link);
    }
    let session = format::SessionLine {
        number: 1,
        started: jiff::Timestamp::now(),
    };
    let journal = Journal::open(scratch.run(), Sync::None, session, None).map_err(Error::disk)?;
    let asked = Consulted {
        state: &load::state_of(&saved.header),
        saved,
        links: &links,
        journal: &journal,
        run: scratch.run(),
        purpose,
    };
    asked.ask(Earlier::default(), fresh, context.printer).await
}

/// Prints a plan; returns whether there is work to do.
fn print(
    args: &PlanArgs,
    saved: &Saved,
    forecast: &Forecast,
    online: Option<&Holdings>,
    context: Context,
) -> Exit {
    let loads = online.map(|online| online.loads.as_slice());
    let mut rendered = if args.json {
        json(saved, forecast, online, context.show_content)
    } else {
        text(saved, forecast, loads)
    };
    if let (Some(online), false) = (online, args.json) {
        rendered.push_str(&super::online::changes(online, context.show_content));
    }
    context.printer.result(&rendered);
    let work = match loads {
        Some(loads) => loads.iter().any(|load| load.work() > 0),
        None => plan::text::to_send(&saved.summary, forecast) > 0,
    };
    if args.detailed_exitcode && work {
        Exit::WorkToDo
    } else {
        Exit::Well
    }
}

/// Reads all sources into the plan that is saved, or that is thrown away.
pub(super) async fn survey(
    out: Option<&Path>,
    header: &PlanHeader,
    scratch: &Scratch,
    stop: &Stop,
    context: Context,
) -> Result<crate::survey::Survey, Error> {
    // Only people are shown how far the reading is: it ends with the plan, which says everything.
    let how = if Printer::is_watched() {
        ProgressKind::Auto
    } else {
        ProgressKind::None
    };
    let watcher = load::watcher(how, context.printer);
    let surveying = tokio::task::spawn_blocking({
        let (header, stop, observe) = (header.clone(), stop.clone(), watcher.observer());
        let out = out.map_or_else(|| scratch.run().plan(), Path::to_owned);
        let run = scratch.run().clone();
        move || {
            let spool = Spool::new(run.spool(), session::SPOOL).map_err(Error::disk)?;
            let mut writer = file::Writer::create(&out).map_err(Error::disk)?;
            crate::survey::survey(
                &header,
                &mut writer,
                Some(&spool),
                run.path(),
                &*observe,
                &|| stop.is_stopping(),
                &mut |_, _| {},
            )
            .map_err(survey_failed)
        }
    });
    let surveyed = tokio::select! {
        surveyed = surveying => surveyed.map_err(|error| Error::task(&error))?,
        // It looks up between records only, and standard input may bring none.
        () = stop.dropping() => Err(interrupted()),
    };
    watcher.finish();
    surveyed
}

/// Gives work up at the first signal.
pub(super) async fn unless_interrupted<T>(
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

fn text(saved: &Saved, forecast: &Forecast, online: Option<&[Online]>) -> String {
    let mut text = plan::text::text(&saved.header, &saved.summary, forecast);
    for (load, found) in saved.header.loads.iter().zip(online.unwrap_or_default()) {
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

fn json(
    saved: &Saved,
    forecast: &Forecast,
    online: Option<&Holdings>,
    show_content: bool,
) -> String {
    let mut json = plan::json::render(&saved.header, &saved.summary, forecast);
    let loads = json
        .get_mut("loads")
        .and_then(serde_json::Value::as_array_mut);
    let found = online.map_or(&[][..], |online| &online.loads);
    for (load, found) in loads.into_iter().flatten().zip(found) {
        if let Some(load) = load.as_object_mut() {
            load.insert("online".to_owned(), serde_json::json!(found));
        }
    }
    let changes = online.map_or(&[][..], |online| &online.changes);
    if let (Some(json), false) = (json.as_object_mut(), changes.is_empty()) {
        let mut changes = changes.to_vec();
        let all = changes
            .iter_mut()
            .flat_map(|change| &mut change.differences);
        for difference in all.flatten().filter(|_| !show_content) {
            (difference.ours, difference.theirs) = (None, None);
        }
        json.insert("changes".to_owned(), serde_json::json!(changes));
    }
    format!("{json:#}")
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
pub(super) fn survey_failed(error: crate::survey::Error) -> Error {
    match error {
        crate::survey::Error::Interrupted => Error::new(Exit::Interrupted, error),
        crate::survey::Error::Plan(_) => Error::disk(error),
        crate::survey::Error::Source(source) => {
            let hint = match source.kind {
                source::ErrorKind::Io(_) => {
                    "the limit of open files (`ulimit -n`) or the memory is used up; give the process more"
                }
                source::ErrorKind::Spool(_) | source::ErrorKind::SpoolFull { .. } => {
                    "make room where the run keeps decompressed sources, beside its journal"
                }
                _ => "nothing was sent; load again",
            };
            Error::disk(source).hint(hint)
        }
    }
}

/// Shows the warnings of a plan, and what its targets will refuse: a plan for people shows it at length.
pub(super) fn warn(summary: &Summary, printer: Printer) {
    let mut warnings: Vec<Diagnostic> =
        (summary.warnings.iter()).map(Diagnostic::warning).collect();
    for (target, found) in &summary.references {
        if found.refused == 0 {
            continue;
        }
        let first = found.samples.iter().find(|dangling| dangling.refused);
        let first = first.map_or_else(String::new, |dangling| {
            let (to, from, path) = (&dangling.to, &dangling.from, &dangling.path);
            format!("; the first is to {to}, from {from} at {path}")
        });
        let message = format!(
            "target `{target}` refuses {} to what is neither in the files nor there already, and with that up to {}{first}",
            plan::text::plural(found.refused, "reference"),
            plan::text::plural(found.at_risk, "record"),
        );
        warnings.push(Diagnostic::warning(message).hint("`stoker plan` lists them"));
    }
    printer.problems(&warnings);
}
