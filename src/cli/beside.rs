//! The state beside a manifest: whose runs it holds, and where it is looked for.

use std::path::{Path, PathBuf};

use super::{load::STATE, printer::Printer};
use crate::{
    diagnostic::Diagnostic,
    journal::RunDirectory,
    plan::{PlanHeader, file::Saved},
};

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
    // What cannot be read is no run of this manifest.
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
