//! `stoker report`: what became of every record of a run, computed again from its journal.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{
    Context, Error, Exit, state,
    summary::{exit_of, summary},
};
use crate::report;

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

/// The form in which a report is printed.
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
    let run = state::find(args.run.as_deref())?;
    let report = report::of(&run).map_err(unreadable)?;
    if let Format::Records | Format::Ids = args.format {
        let write = if args.format == Format::Ids {
            report::write_ids
        } else {
            report::write_records
        };
        let written = context.printer.json_lines(|out| match write(&run, out) {
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
        Format::Markdown => printer.document(&report::markdown::render(&report)),
        Format::Html => printer.document(&report::page(&run, &report).map_err(unreadable)?),
        Format::Junit => printer.document(&report::junit(&run, &report).map_err(unreadable)?),
        // They have been written.
        Format::Records | Format::Ids => {}
    }
    Ok(exit_of(&report))
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
