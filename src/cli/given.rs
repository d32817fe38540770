//! The input of a verb: a manifest in a file or by standard input, and the part of it that is meant; or a saved plan.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{Context, Error, Exit, secrets, select::Selection};
use crate::{
    journal::RunDirectory,
    manifest::{self, Manifest},
    report,
};

/// The name of standard input in place of a file's.
const STDIN: &str = "-";

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
    keep_known(&manifest)?;
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

/// Writes down the ids of the runs that a manifest refers to, where a large one has not done so itself.
fn keep_known(manifest: &Manifest) -> Result<(), Error> {
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

/// Tells a saved plan from a manifest by its first bytes. An unreadable file is no plan: reading it as a manifest says
/// why.
pub(super) fn is_plan(path: &Path) -> bool {
    const HEADER: &[u8] = b"{\"header\":";
    let mut first = Vec::new();
    let read = fs_err::File::open(path)
        .and_then(|file| file.take(HEADER.len() as u64).read_to_end(&mut first));
    path != Path::new(STDIN) && read.is_ok() && first == HEADER
}

/// Says that what was named as a manifest is a saved plan.
pub(super) fn no_manifest(path: &Path) -> Error {
    let path = path.display();
    Error::usage(format!("`{path}` is a saved plan, and no manifest")).hint(format!(
        "`stoker plan {path}` shows it, `stoker load {path}` loads it"
    ))
}

/// Tells whether a load reads standard input.
pub(super) fn reads_stdin(manifest: &Manifest) -> bool {
    manifest
        .loads
        .iter()
        .flat_map(|load| &load.files)
        .any(|file| file.pattern == "-" && !file.exclude)
}
