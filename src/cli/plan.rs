//! `stoker plan`: what a load would do.

use std::{
    collections::HashMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Context, Error, Exit,
    connect::{self, Connection},
    given::{self, reads_stdin},
    interrupt, online,
    planning::{self, Planning, unless_interrupted},
    prior_runs::Purpose,
    scratch::{self, Scratch},
    select::Selection,
    watching,
};
use crate::{
    diagnostic::Severity,
    journal::private_file,
    manifest::Manifest,
    plan::{self, Forecast, PlanHeader, file::Saved},
    send::{
        Earlier, Stop,
        online::{Holdings, Online},
    },
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
    /// Exit with 10 when there is work to do, with 0 when there is none; with --online also when what earlier runs have
    /// loaded is no longer as they loaded it
    #[arg(long)]
    detailed_exitcode: bool,
}

/// The advice where the file of a plan cannot be written.
const OUT: &str = "`--out FILE` names another place";

/// Runs the verb.
pub(super) async fn run(args: PlanArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    if given::is_plan(&args.manifest) {
        return show(&args, &stop, context).await;
    }
    let manifest = given::await_manifest(&args.manifest, &args.selection, context, &stop).await?;
    planning::refuse_patterns(&manifest).await?;
    let connections = connect(&args, &planning::header(&manifest), &stop).await?;
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
    unless_interrupted(stop, connect::connect_to_plan(header)).await
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
    let mut header = planning::header(manifest);
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
    let draft = args.out.as_deref().map(Draft::of).transpose()?;
    let (plan, elsewhere) = match &draft {
        Some(draft) => (draft.path.clone(), OUT),
        None => (scratch.run().plan(), scratch::ELSEWHERE),
    };
    let watcher = watching::for_people(context.printer);
    let how = Planning::aside(&header, &scratch, &watcher, stop);
    let surveyed = how.write(&plan, elsewhere).await;
    watcher.finish();
    planning::refuse_problems(&surveyed?.problems, context)?;
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
    let forecast = match &online {
        Some(found) => online::amend(forecast, found),
        None => forecast,
    };
    let exit = print(args, &saved, &forecast, online.as_ref(), context);
    if let (Some(out), Some(draft)) = (&args.out, draft) {
        draft.becomes(out)?;
        context.printer.message(&format!(
            "saved; load it with: stoker load {}",
            crate::report::format::quoted(out)
        ));
    }
    Ok(exit)
}

/// A plan beside the file that it is to be: until it is whole, what was there stays. It is gone when it is dropped.
struct Draft {
    path: PathBuf,
}

impl Draft {
    /// Begins it. Its name is nobody else's, neither the user's nor that of another `plan` into the same place, and no pattern
    /// finds it.
    fn of(out: &Path) -> Result<Self, Error> {
        let is_file = fs_err::metadata(out).map_or(true, |found| found.is_file());
        let Some(file) = out.file_name().filter(|_| is_file) else {
            let what = format!(
                "cannot write the plan to `{}`: it is no file, and a plan is read again once it is written",
                out.display()
            );
            return Err(Error::elsewhere(what, OUT));
        };
        let mut name = std::ffi::OsString::from(".");
        name.push(file);
        name.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
        let path = resolved(out).with_file_name(name);
        private_file(&path).map_err(|error| {
            // The name of the draft says nothing to anybody.
            let (draft, meant) = (path.display().to_string(), out.display().to_string());
            let why = error.to_string().replace(&draft, &meant);
            Error::elsewhere(format!("cannot write the plan: {why}"), OUT)
        })?;
        Ok(Self { path })
    }

    /// Puts it in its place.
    fn becomes(self, out: &Path) -> Result<(), Error> {
        fs_err::rename(&self.path, resolved(out)).map_err(|error| Error::elsewhere(error, OUT))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs_err::remove_file(&self.path);
    }
}

/// Follows a link, so that what it leads to is replaced.
fn resolved(out: &Path) -> PathBuf {
    fs_err::canonicalize(out).unwrap_or_else(|_| out.to_owned())
}

/// Finds out what earlier runs have loaded of a plan, and what is sent then.
async fn foresee(
    args: &PlanArgs,
    saved: &Arc<Saved>,
    scratch: &Scratch,
    connections: &HashMap<String, Connection>,
    context: Context,
) -> Result<(Forecast, Earlier), Error> {
    let asked = planning::consult(
        Purpose::Plan,
        args.fresh,
        saved,
        scratch,
        connections,
        context,
    )
    .await?;
    let outcome = |record| asked.earlier.outcome(record);
    let forecast = plan::forecast(saved, &outcome).map_err(Error::disk)?;
    let forecast = Forecast {
        samples: asked.reads,
        is_assumed: args.offline,
        ..forecast
    };
    Ok((forecast, asked.earlier))
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
        rendered.push_str(&online::changes(online, context.show_content));
    }
    if args.json {
        context.printer.json(&rendered);
    } else {
        context.printer.result(&rendered);
    }
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
        text.push_str(&online::strayed(found));
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
