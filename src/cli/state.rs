//! The state directory beside a manifest: where it is, whose runs it holds, which of them is meant, and whether it goes on.

use std::path::{Path, PathBuf};

use super::{Error, printer::Printer};
use crate::{
    diagnostic::Diagnostic,
    journal::RunDirectory,
    manifest::RunSettings,
    plan::{PlanHeader, file::Saved},
    report::format::quoted,
};

/// The state directory beside a manifest that names none.
const STATE: &str = ".stoker";

/// Returns the directory in which the runs of a manifest are kept.
pub(super) fn of(header: &PlanHeader) -> PathBuf {
    let state = header.run.state.clone();
    state.unwrap_or_else(|| RunSettings::beside(&header.manifest))
}

/// Returns the state directory of this directory, or of the nearest above it that has one.
pub(super) fn nearest() -> PathBuf {
    let here = std::path::absolute(".").unwrap_or_default();
    let mut states = here.ancestors().map(|folder| folder.join(STATE));
    let found = states.find(|state| state.join("runs").is_dir());
    found.map_or_else(|| PathBuf::from(STATE), |state| near(&state))
}

/// A path as it is shown: from the working directory, where it lies below that.
fn near(path: &Path) -> PathBuf {
    let here = std::path::absolute(".").unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).to_owned()
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs_err::canonicalize(one), fs_err::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Says that the working directory holds runs of a manifest whose state lies elsewhere: they are not asked.
pub(super) fn warn_of_others(header: &PlanHeader, state: &Path, printer: Printer) {
    let here = PathBuf::from(STATE);
    if is_same_file(&here, state) {
        return;
    }
    // A run that cannot be read is none of this manifest.
    let runs = RunDirectory::all(&here).unwrap_or_default();
    let mut headers = runs
        .iter()
        .rev()
        .filter_map(|run| Saved::open(&run.plan()).ok());
    if headers.any(|saved| saved.header.is_of(header)) {
        let what = format!(
            "{} of this directory holds runs of {}; they are not asked, its state is {}",
            here.display(),
            header.manifest.display(),
            state.display()
        );
        let hint = format!(
            "`state:` in the manifest names another place, or move it: mv {} {}",
            here.display(),
            state.display()
        );
        printer.problems(&[Diagnostic::warning(what).hint(hint)]);
    }
}

/// Finds the run that a verb is given: its directory, or its name; the latest one where none is given.
pub(super) fn find(given: Option<&Path>) -> Result<RunDirectory, Error> {
    let state = nearest();
    let all = || RunDirectory::all(&state).map_err(Error::disk);
    let Some(given) = given else {
        return all()?.pop().ok_or_else(|| {
            Error::usage("there is no run in .stoker/runs")
                .hint("name the directory of a run; every load prints that of its own")
        });
    };
    if let Ok(run) = RunDirectory::open(given) {
        return Ok(run);
    }
    let mut runs = all()?;
    if let Some(at) = runs.iter().position(|run| Path::new(&run.name()) == given) {
        return Ok(runs.swap_remove(at));
    }
    let shown = quoted(given);
    let what = if given.exists() {
        format!("{shown} is no run: it holds no journal")
    } else {
        format!("there is no run {shown}")
    };
    let is_yaml = given
        .extension()
        .is_some_and(|ending| ending == "yaml" || ending == "yml");
    if is_yaml && given.is_file() {
        let hint = format!(
            "`stoker load {shown} --resume` goes on with the latest run of a manifest; `stoker runs --manifest {shown}` lists them"
        );
        return Err(Error::usage(format!("{shown} is a manifest, and no run")).hint(hint));
    }
    let latest: Vec<String> = runs
        .iter()
        .rev()
        .take(5)
        .map(|run| quoted(run.path()))
        .collect();
    let hint = if latest.is_empty() {
        "runs stand in .stoker/runs beside the manifest, and every load prints the path of its own"
            .to_owned()
    } else if let [only] = latest.as_slice() {
        format!("the only run is {only}")
    } else {
        format!("the latest runs are {}", latest.join(", "))
    };
    Err(Error::usage(what).hint(hint))
}

/// Tells whether a process is at work on a run.
pub(super) fn is_going_on(run: &RunDirectory) -> bool {
    is_locked(&run.journal())
}

/// Tells whether a process deletes what a run created.
pub(super) fn is_being_unloaded(run: &RunDirectory) -> bool {
    is_locked(&run.unload())
}

/// Tells whether a process compares the stores with what a run loaded.
pub(super) fn is_being_verified(run: &RunDirectory) -> bool {
    matches!(run.hold_alone(), Ok(None))
}

fn is_locked(path: &Path) -> bool {
    let file = fs_err::File::open(path);
    file.is_ok_and(|file| {
        matches!(
            file.file().try_lock(),
            Err(std::fs::TryLockError::WouldBlock)
        )
    })
}
