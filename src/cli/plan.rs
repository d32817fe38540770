//! `stoker plan`: what a load would do.

use std::path::{Path, PathBuf};

use super::{Context, Error, Exit, connect, printer::Printer};
use crate::{
    diagnostic::Severity,
    event::Unobserved,
    manifest::{self, Manifest},
    plan::{self, Header, PlannedTarget, Summary, file},
    target::Facts,
};

/// Arguments of `stoker plan`.
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
    let header = if args.offline {
        header(&manifest, documented(&manifest))
    } else {
        connect::facts(&manifest).await?
    };
    if let (Some(out), true) = (&args.out, reads_stdin(&manifest)) {
        return Err(Error::usage(format!(
            "a plan that reads standard input cannot be saved to `{}`",
            out.display()
        ))
        .hint("write standard input to a file and list that"));
    }
    let surveyed = tokio::task::spawn_blocking({
        let (header, out) = (header.clone(), args.out.clone());
        move || {
            let mut discard = file::Discard;
            let mut writer;
            let sink: &mut dyn file::Sink = match &out {
                Some(out) => {
                    writer = file::Writer::create(out)?;
                    &mut writer
                }
                None => &mut discard,
            };
            plan::survey(
                &header,
                sink,
                None,
                &std::env::temp_dir(),
                &Unobserved,
                &|| false,
                &mut |_, _| {},
            )
        }
    })
    .await
    .map_err(Error::disk)?
    .map_err(survey_failed)?;
    refuse_problems(&surveyed.problems, context)?;
    if args.json {
        context
            .printer
            .result(&plan::text::json(&header, &surveyed.summary));
    } else {
        context
            .printer
            .result(&plan::text::text(&header, &surveyed.summary));
    }
    if let Some(out) = &args.out {
        context.printer.message(&format!(
            "saved; load it with: stoker load {}",
            out.display()
        ));
    }
    let work = surveyed.summary.sent() > 0;
    Ok(if args.detailed_exitcode && work {
        Exit::WorkToDo
    } else {
        Exit::Well
    })
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
