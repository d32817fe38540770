//! `stoker plan`: what a load would do.

use std::{
    collections::HashMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::{
    Context, Error, Exit,
    connect::{self, Connection},
    printer::Printer,
};
use crate::{
    diagnostic::Severity,
    event::Unobserved,
    lookup::online::{self, Online},
    manifest::{self, Manifest},
    plan::{self, Header, PlannedTarget, Summary, file},
    source::{Bodies, Spool},
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
    let manifest = read_manifest(&args.manifest, context)?;
    let connections = if args.offline {
        HashMap::new()
    } else {
        connect::connect_all(&header(&manifest, documented(&manifest))).await?
    };
    let planned = make(&args, &manifest, &connections, context).await;
    connect::close_all(connections).await;
    planned
}

async fn make(
    args: &PlanArgs,
    manifest: &Manifest,
    connections: &HashMap<String, Connection>,
    context: Context,
) -> Result<Exit, Error> {
    let mut header = header(manifest, documented(manifest));
    if !args.offline {
        header = connect::with_facts(header, connections).await?;
    }
    if let (Some(out), true) = (&args.out, reads_stdin(manifest)) {
        return Err(Error::usage(format!(
            "a plan that reads standard input cannot be saved to `{}`",
            out.display()
        ))
        .hint("write standard input to a file and list that"));
    }
    // What is asked about has to be read again, also where nothing of the plan is kept.
    let scratch = args.online.then(Scratch::create).transpose()?;
    let surveyed = tokio::task::spawn_blocking({
        let (header, out) = (header.clone(), args.out.clone());
        let scratch = scratch.as_ref().map(|scratch| scratch.0.clone());
        move || {
            let out = out.or(scratch.as_ref().map(|scratch| scratch.join(PLAN)));
            let spool = scratch.as_ref().map(|scratch| {
                Spool::new(scratch.join("spool"), super::load::SPOOL).map_err(Error::disk)
            });
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
                &Unobserved,
                &|| false,
                &mut |_, _| {},
            )
            .map_err(survey_failed)
        }
    })
    .await
    .map_err(Error::disk)??;
    refuse_problems(&surveyed.problems, context)?;
    let online = match &scratch {
        Some(scratch) => Some(ask(args, scratch, connections).await?),
        None => None,
    };
    let online = online.as_deref();
    let rendered = if args.json {
        json(&header, &surveyed.summary, online)
    } else {
        text(&header, &surveyed.summary, online)
    };
    context.printer.result(&rendered);
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

fn text(header: &Header, summary: &Summary, online: Option<&[Online]>) -> String {
    let mut text = plan::text::text(header, summary);
    for (load, found) in header.loads.iter().zip(online.unwrap_or_default()) {
        let mut counts = vec![
            format!("{} to create", found.create),
            format!("{} to update", found.update),
            format!("{} to leave as they are", found.leave),
        ];
        for (count, what) in [
            (found.refused, "whose condition several resources meet"),
            (found.unknown, "of which the target does not say"),
        ] {
            if count > 0 {
                counts.push(format!("{count} {what}"));
            }
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\nonline: load {}: {}", load.name, counts.join(", "));
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

/// The plan's name in a scratch directory.
const PLAN: &str = "plan.ndjson";

/// A directory that only this user may read, gone when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> Result<Self, Error> {
        let name = format!("stoker-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        crate::journal::private_directory(&path).map_err(Error::disk)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

/// Asks the targets what they hold already.
async fn ask(
    args: &PlanArgs,
    scratch: &Scratch,
    connections: &HashMap<String, Connection>,
) -> Result<Vec<Online>, Error> {
    let path = args.out.clone().unwrap_or_else(|| scratch.0.join(PLAN));
    let saved = file::Saved::open(&path).map_err(Error::disk)?;
    let spool = scratch.0.join("spool");
    let bodies = Bodies::new(super::load::readable(&saved.sources, &spool));
    let gates = connections
        .iter()
        .map(|(name, connection)| (name.clone(), (&*connection.gate, &connection.requests)))
        .collect();
    online::ask(&saved, &bodies, &gates)
        .await
        .map_err(Error::disk)
}

/// Reads a manifest; warnings are shown, errors end the verb.
pub(super) fn read_manifest(path: &Path, context: Context) -> Result<Manifest, Error> {
    match manifest::read(path, &super::store::environment()) {
        Ok((manifest, warnings)) => {
            context.printer.problems(&warnings);
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
