//! The input of a verb: a manifest in a file or by standard input, and the part of it that is meant; or a saved plan.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{Context, Error, Exit, secrets, select::Selection};
use crate::{
    diagnostic,
    journal::RunDirectory,
    manifest::{self, Manifest},
    report,
    send::Stop,
};

/// The name of standard input in place of a file's.
const STDIN: &str = "-";

/// The first bytes of a saved plan.
const PLAN: &[u8] = b"{\"header\":";

/// The longest manifest that is read from standard input.
const LONGEST: u64 = 16 << 20;

/// Does as [`read_manifest`] does, and ends when it is interrupted: standard input, and a pipe in place of a file, may bring nothing.
pub(super) async fn await_manifest(
    path: &Path,
    selection: &Selection,
    context: Context,
    stop: &Stop,
) -> Result<Manifest, Error> {
    let (path, selection) = (path.to_owned(), selection.clone());
    let reading = tokio::task::spawn_blocking(move || read_manifest(&path, &selection, context));
    tokio::select! {
        read = reading => read.map_err(|error| Error::task(&error))?,
        () = stop.stopping() => Err(Error::new(
            Exit::Interrupted,
            "interrupted while the manifest was being read",
        )),
    }
}

/// Reads a manifest and leaves in it what is meant; warnings are shown, errors end the verb.
pub(super) fn read_manifest(
    path: &Path,
    selection: &Selection,
    context: Context,
) -> Result<Manifest, Error> {
    is_written(path)?;
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
        if text.as_bytes().starts_with(PLAN) {
            let what = "what comes by standard input is a saved plan, and no manifest";
            return Err(Error::usage(what).hint("name the plan's file: `stoker load FILE`"));
        }
        manifest::read_text(&text, path, &environment)
    } else if is_plan(path) {
        return Err(no_manifest(path));
    } else if let Some(error) = taken_for_a_manifest(path) {
        return Err(error);
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

/// Makes sure that a plan can write down where its sources lie: it is JSON, and JSON is UTF-8.
fn is_written(manifest: &Path) -> Result<(), Error> {
    // Without a current folder the manifest's own name is all that there is.
    let whole = std::path::absolute(manifest).unwrap_or_else(|_| manifest.to_owned());
    if whole.to_str().is_some() {
        return Ok(());
    }
    let what = format!(
        "the name of `{}` is not UTF-8, and cannot be written down in a plan",
        diagnostic::shown(&whole)
    );
    Err(Error::usage(what).hint("rename the folder or the file, such as with `convmv`"))
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
    // The bytes of a pipe can be read only once, by the reader of manifests.
    if path == Path::new(STDIN) || !fs_err::metadata(path).is_ok_and(|found| found.is_file()) {
        return false;
    }
    let mut first = Vec::new();
    let read = fs_err::File::open(path)
        .and_then(|file| file.take(PLAN.len() as u64).read_to_end(&mut first));
    read.is_ok() && first == PLAN
}

/// Says what a run, or a file of records, is that was named as a manifest.
fn taken_for_a_manifest(path: &Path) -> Option<Error> {
    let shown = report::format::quoted(path);
    if RunDirectory::open(path).is_ok() {
        let hint = format!(
            "`stoker resume {shown}` goes on with it, `stoker report {shown}` shows what became of it"
        );
        return Some(Error::usage(format!("{shown} is a run, and no manifest")).hint(hint));
    }
    if !fs_err::metadata(path).is_ok_and(|found| found.is_file()) {
        return None;
    }
    let mut first = Vec::new();
    let file = fs_err::File::open(path).ok()?;
    file.take(8 << 10).read_to_end(&mut first).ok()?;
    let start = first.trim_ascii_start();
    let has = |text: &[u8]| memchr::memmem::find(&first, text).is_some();
    let holds = if first.get(128..132) == Some(b"DICM".as_slice()) {
        "a DICOM instance"
    } else if start.starts_with(b"{") && has(b"\"resourceType\"") {
        "FHIR resources"
    } else if [&b"MSH|"[..], b"FHS|", b"BHS|"]
        .iter()
        .any(|begin| start.starts_with(begin))
    {
        "HL7v2 messages"
    } else {
        return None;
    };
    let what = format!("{shown} holds {holds}, and is no manifest");
    Some(Error::usage(what).hint(
        "`stoker init DIR` writes a manifest that loads a folder; `stoker create FILE` loads one record",
    ))
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
