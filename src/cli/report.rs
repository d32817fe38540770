//! `stoker report`: what became of every record of a run, computed again from its journal.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{Context, Error, Exit, runs};
use crate::{
    journal::RunDirectory,
    manifest::Manifest,
    record::Outcome,
    report::{self, Report, SessionEnd, Words, text::View},
};

/// Arguments of `stoker report`.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The run's directory, or its name [default: the latest run]
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// As `report.json` has it.
    Json,
    /// As `report.md` has it.
    Markdown,
    /// As `report.html` has it.
    Html,
    /// As `junit.xml` has it.
    Junit,
    /// A line of JSON for every record: what became of it.
    #[value(alias = "ndjson")]
    Records,
    /// A line of JSON for every record that has an id in the store: which.
    Ids,
}

/// Runs the verb.
pub(super) fn run(args: &ReportArgs, context: Context) -> Result<Exit, Error> {
    let run = runs::find(args.run.as_deref())?;
    let report = report::of(&run).map_err(unreadable)?;
    if let Format::Records | Format::Ids = args.format {
        let write = if args.format == Format::Ids {
            report::write_ids
        } else {
            report::write_records
        };
        let written = context.printer.stream(|out| match write(&run, out) {
            Ok(()) => Ok(Ok(())),
            Err(report::Error::Out(error)) => Err(error),
            Err(error) => Ok(Err(error)),
        });
        written.unwrap_or(Ok(())).map_err(unreadable)?;
        return Ok(exit_of(&report));
    }
    let printer = context.printer;
    match args.format {
        Format::Text => {
            let text = summary(&report, &run, context)?;
            if !text.is_empty() {
                printer.styled(&text);
            }
        }
        Format::Json => printer.json(&report::json::render(&report)),
        Format::Markdown => printer.result(&report::markdown::render(&report)),
        Format::Html => printer.result(&report::page(&run, &report).map_err(unreadable)?),
        Format::Junit => printer.result(&report::junit(&run, &report).map_err(unreadable)?),
        // They have been written.
        Format::Records | Format::Ids => {}
    }
    Ok(exit_of(&report))
}

/// Writes down the ids of the runs that a manifest refers to, where a large one has not done so itself.
pub(super) fn keep_known(manifest: &Manifest) -> Result<(), Error> {
    for path in manifest.loads.iter().flat_map(|load| &load.known) {
        if let Ok(run) = RunDirectory::open(path) {
            report::keep_ids(&run).map_err(|error| {
                let what = format!("the ids of {} are not known: {error}", path.display());
                Error::new(Exit::Usage, what)
                    .hint("`known` takes the run that loaded the records; `stoker runs` lists them")
            })?;
        }
    }
    Ok(())
}

fn unreadable(error: report::Error) -> Error {
    let is_brief = matches!(error, report::Error::Brief(_));
    let error = Error::disk(error);
    if is_brief {
        error.hint("its records stand in the runs that loaded them: `stoker runs` lists them")
    } else {
        error
    }
}

/// Renders the summary of a run as the flags want it: empty where only what is wrong is wanted, and nothing is.
pub(super) fn summary(
    report: &Report,
    run: &RunDirectory,
    context: Context,
) -> Result<String, Error> {
    let words = context.show_content.then(|| Words::open(run)).transpose();
    let view = View {
        colour: context.printer.colors_output(),
        quiet: context.printer.is_quiet(),
        words: words.map_err(Error::disk)?,
    };
    Ok(report::text::render(report, run, view))
}

/// Returns the exit code of a run.
pub(super) fn exit_of(report: &Report) -> Exit {
    match report.ended {
        SessionEnd::MaxErrors => return Exit::MaxErrors,
        SessionEnd::Target => return Exit::Target,
        SessionEnd::Source => return Exit::Disk,
        SessionEnd::Internal => return Exit::Internal,
        SessionEnd::Interrupted => return Exit::Interrupted,
        SessionEnd::Complete | SessionEnd::Superseded | SessionEnd::Unfinished => {}
    }
    let failed = Outcome::ALL
        .into_iter()
        .any(|o| !o.is_well() && report.outcomes.of(o) > 0);
    if failed { Exit::SomeFailed } else { Exit::Well }
}
