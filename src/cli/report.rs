//! `stoker report`: what became of every record of a run, computed again from its journal.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{Context, Error, Exit};
use crate::{
    journal::RunDirectory,
    record::Outcome,
    report::{self, Ended, Report},
};

/// Arguments of `stoker report`.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
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
}

/// Runs the verb.
pub(super) fn run(args: &ReportArgs, context: Context) -> Result<Exit, Error> {
    let run = RunDirectory::open(&args.run).map_err(|error| {
        Error::usage(format!("`{}` is no run: {error}", args.run.display()))
            .hint("runs stand in .stoker/runs/, and every load prints the path of its own")
    })?;
    let report = report::of(&run).map_err(Error::disk)?;
    let text = match args.format {
        Format::Text => report::text::render(&report, &run, context.printer.colors_output()),
        Format::Json => report::json::render(&report),
        Format::Markdown => report::markdown::render(&report),
        Format::Html => report::html::render(&report),
        Format::Junit => report::junit(&run, &report).map_err(Error::disk)?,
    };
    context.printer.result(&text);
    Ok(exit_of(&report))
}

/// Returns the exit code of a run.
pub(super) fn exit_of(report: &Report) -> Exit {
    match report.ended {
        Ended::MaxErrors => return Exit::MaxErrors,
        Ended::Target => return Exit::Target,
        Ended::Source => return Exit::Disk,
        Ended::Internal => return Exit::Internal,
        Ended::Interrupted => return Exit::Interrupted,
        Ended::Complete | Ended::Superseded | Ended::Unfinished => {}
    }
    let failed = Outcome::ALL
        .into_iter()
        .any(|o| !o.is_well() && report.outcomes.of(o) > 0);
    if failed { Exit::SomeFailed } else { Exit::Well }
}
