//! What a verb was given: a manifest in a file or by standard input, and the part of it that is meant.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{Context, Error, Exit, secrets, select::Selection};
use crate::{
    manifest::{self, Manifest},
    plan::{self, PlanHeader, PlannedTarget},
    target::Facts,
};

/// What stands for standard input where a file is named.
pub(super) const STDIN: &str = "-";

/// The longest manifest that is read from standard input.
const LONGEST: u64 = 16 << 20;

/// Reads a manifest and leaves in it what is meant; warnings are shown, errors end the verb.
pub(super) fn read_manifest(
    path: &Path,
    selection: &Selection,
    context: Context,
) -> Result<Manifest, Error> {
    let environment = super::environment();
    let read = if path == Path::new(STDIN) {
        let mut text = String::new();
        let mut input = std::io::stdin().lock().take(LONGEST + 1);
        input.read_to_string(&mut text).map_err(|error| {
            Error::usage(format!(
                "cannot read a manifest from standard input: {error}"
            ))
        })?;
        if text.len() as u64 > LONGEST {
            return Err(Error::usage(
                "what comes by standard input is longer than a manifest can be",
            ));
        }
        manifest::read_text(&text, path, &environment)
    } else {
        manifest::read(path, &environment)
    };
    let (mut manifest, warnings) = read.map_err(|problems| Error::all(Exit::Usage, problems))?;
    context.printer.problems(&warnings);
    context.printer.problems(&selection.choose(&mut manifest)?);
    super::report::keep_known(&manifest)?;
    let google = super::variable("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from);
    let exposed = secrets::exposed(&manifest.targets, google.as_deref());
    context.printer.problems(&exposed);
    if path == Path::new(STDIN) && reads_stdin(&manifest) {
        return Err(Error::usage(
            "standard input is the manifest itself, and a load lists `-` among its files",
        )
        .hint("write the manifest, or the records, to a file"));
    }
    Ok(manifest)
}

/// Says that what was named as a manifest is a saved plan.
pub(super) fn no_manifest(path: &Path) -> Error {
    let path = path.display();
    Error::usage(format!("`{path}` is a saved plan, and no manifest")).hint(format!(
        "`stoker plan {path}` shows it, `stoker load {path}` loads it"
    ))
}

/// Makes the header of a plan.
pub(super) fn header(manifest: &Manifest, facts: Vec<Facts>) -> PlanHeader {
    PlanHeader {
        version: plan::VERSION,
        stoker: env!("CARGO_PKG_VERSION").to_owned(),
        name: manifest.name.clone(),
        manifest: manifest.path.clone(),
        // Without a working directory, relative paths could not have been read either.
        root: std::path::absolute(".").unwrap_or_default(),
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

/// Tells whether a load reads standard input.
pub(super) fn reads_stdin(manifest: &Manifest) -> bool {
    manifest
        .loads
        .iter()
        .flat_map(|load| &load.files)
        .any(|file| file.pattern == "-" && !file.exclude)
}
