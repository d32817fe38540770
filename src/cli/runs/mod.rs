//! `stoker runs`: lists the runs of a state directory, and removes old ones.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Serialize;

use super::{Context, Error, Exit, given, number, planning, select::Selection, state};
use crate::{
    journal::RunDirectory,
    report::{self, Report, format::plain},
    unit::{ByteSize, grouped},
};

mod prune;

/// Arguments of `stoker runs`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct RunsArgs {
    #[command(subcommand)]
    verb: Option<RunsVerb>,
    #[command(flatten)]
    place: Place,
    /// Print a JSON object a run
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum RunsVerb {
    /// Remove runs that are over; what they loaded stays known to later loads
    Prune(prune::PruneArgs),
}

/// The place of the runs.
#[derive(Debug, clap::Args)]
struct Place {
    /// The state directory [default: that of the manifest, or the nearest .stoker]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The manifest whose state directory it is
    #[arg(long, value_name = "FILE", conflicts_with = "state")]
    manifest: Option<PathBuf>,
}

impl Place {
    fn state(&self, context: Context) -> Result<PathBuf, Error> {
        match (&self.state, &self.manifest) {
            (Some(state), _) => Ok(state.clone()),
            (None, Some(file)) => {
                let manifest = given::read_manifest(file, &Selection::default(), context)?;
                let header = planning::header(&manifest);
                Ok(state::of(&header))
            }
            (None, None) => Ok(state::nearest()),
        }
    }
}

/// Runs the verb.
pub(super) fn run(args: &RunsArgs, context: Context) -> Result<Exit, Error> {
    if let Some(RunsVerb::Prune(prune)) = &args.verb {
        return prune::run(prune, context);
    }
    let state = args.place.state(context)?;
    let runs = RunDirectory::all(&state).map_err(Error::disk)?;
    let listed: Vec<Listed> = runs.iter().rev().map(Listed::of).collect();
    if args.json {
        for run in &listed {
            let line = serde_json::to_string(run).map_err(Error::disk)?;
            context.printer.json(&line);
        }
    } else if listed.is_empty() {
        let message = format!("no runs in {}", plain(&state.display().to_string()));
        context.printer.message(&message);
    } else {
        context.printer.result(&table(&listed));
    }
    Ok(Exit::Well)
}

/// A run in a listing.
#[derive(Debug, Serialize)]
struct Listed {
    run: String,
    directory: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcomes: Option<report::Totals>,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Listed {
    fn of(run: &RunDirectory) -> Self {
        let mut listed = Self {
            run: run.name(),
            directory: run.path().to_owned(),
            manifest: None,
            started: None,
            state: "damaged",
            outcomes: None,
            bytes: size(run.path()),
            problem: None,
        };
        let told = match kept(run) {
            Some(report) => Ok(report),
            None => report::of(run),
        };
        match told {
            Ok(report) => {
                listed.state = word_of(&report, run);
                listed.manifest = Some(report.manifest);
                listed.started = report.started;
                listed.outcomes = Some(report.outcomes);
            }
            Err(error) => listed.problem = Some(error.to_string()),
        }
        listed
    }
}

/// Returns the report that a run keeps, if nothing has happened since it was written.
fn kept(run: &RunDirectory) -> Option<Report> {
    let path = run.path().join("report.json");
    let written = fs_err::metadata(&path).and_then(|m| m.modified()).ok()?;
    let told = fs_err::metadata(run.journal())
        .and_then(|m| m.modified())
        .ok()?;
    // A report that cannot be read is computed again.
    (written >= told)
        .then(|| fs_err::read(&path).ok())
        .flatten()
        .and_then(|text| serde_json::from_slice(&text).ok())
}

fn word_of(report: &Report, run: &RunDirectory) -> &'static str {
    match report.ended {
        _ if state::is_being_unloaded(run) => "being unloaded",
        _ if run.unload().exists() && !state::is_going_on(run) => "unloaded",
        report::SessionEnd::Complete => "complete",
        report::SessionEnd::Interrupted => "interrupted",
        report::SessionEnd::MaxErrors => "too many failed",
        report::SessionEnd::Target => "target failed",
        report::SessionEnd::Source => "source failed",
        report::SessionEnd::Internal => "a bug in Stoker",
        report::SessionEnd::Superseded => "taken over",
        report::SessionEnd::Unfinished if state::is_going_on(run) => "going on",
        report::SessionEnd::Unfinished => "killed",
    }
}

fn size(directory: &Path) -> u64 {
    let files = walkdir::WalkDir::new(directory).into_iter().flatten();
    let sizes = files.filter_map(|file| file.metadata().ok());
    sizes
        .filter(std::fs::Metadata::is_file)
        .map(|m| m.len())
        .sum()
}

fn table(listed: &[Listed]) -> String {
    let mut rows =
        vec![["Run", "Started", "State", "Size", "Outcomes", "Manifest"].map(str::to_owned)];
    for run in listed {
        let outcomes = match (&run.outcomes, &run.problem) {
            (Some(totals), _) => {
                let all = crate::record::Outcome::ALL.into_iter();
                let words: Vec<String> = all
                    .filter(|outcome| totals.of(*outcome) > 0)
                    .map(|outcome| format!("{} {outcome}", grouped(totals.of(outcome))))
                    .collect();
                words.join(", ")
            }
            // The reason is too long for a column.
            (None, _) => "not known".to_owned(),
        };
        let started = run
            .started
            .map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
        rows.push([
            plain(&run.run),
            started.unwrap_or_default(),
            run.state.to_owned(),
            ByteSize(run.bytes).to_string(),
            plain(&outcomes),
            plain(run.manifest.as_deref().unwrap_or_default()),
        ]);
    }
    let mut text = Vec::new();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells: Vec<String> = cells
            .map(|(column, (cell, width))| match column {
                3 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            })
            .collect();
        // Writing to a vector cannot fail.
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    for run in listed {
        if let Some(problem) = &run.problem {
            let _ = writeln!(text, "\n{}: {}", plain(&run.run), plain(problem));
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}
