//! `stoker runs prune`: removes old runs. The records that they loaded stay known to later loads, because the history has
//! them.

use std::path::{Path, PathBuf};

use jiff::{Span, Timestamp, tz::TimeZone};

use super::{Context, Error, Exit, Place, number, size, state};
use crate::{
    history::History,
    journal::{self, RunDirectory},
    plan::file::Saved,
    report::format::{plain, quoted},
    unit::ByteSize,
};

/// Arguments of `stoker runs prune`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub(super) struct PruneArgs {
    /// Keep the latest N runs
    #[arg(long, value_name = "N", group = "which", value_parser = number::any, allow_negative_numbers = true)]
    keep: Option<usize>,
    /// Remove only runs that began longer ago, such as `30d`, `2 weeks` or `12h`
    #[arg(long, value_name = "T", group = "which", value_parser = number::ago, allow_hyphen_values = true)]
    older_than: Option<Span>,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

/// Directories that are on their way out have this before their names.
const LEAVING: &str = ".pruned-";

/// Runs the verb.
pub(super) fn run(args: &PruneArgs, context: Context) -> Result<Exit, Error> {
    let state = args.place.state(context)?;
    let printer = context.printer;
    let mut runs = RunDirectory::all(&state).map_err(Error::disk)?;
    runs.reverse();
    let before = match args.older_than {
        Some(span) => Some(long_ago(span)?),
        None => None,
    };
    let mut history = History::open(&state).map_err(|error| {
        let hint = error.hint();
        Error::disk(error).hint(hint)
    })?;
    let mut manifests = Manifests::default();
    manifests.add(args.place.manifest.as_deref());
    let (mut removed, mut bytes) = (0_u64, 0);
    let old = |(place, run): (usize, &RunDirectory)| {
        let counts = args.keep.is_some_and(|keep| place < keep);
        let young = before.is_some_and(|before| began(run).is_none_or(|began| began >= before));
        !counts && !young
    };
    let chosen: Vec<bool> = runs.iter().enumerate().map(old).collect();
    // Those that stay may need others: they are looked at first.
    for (run, _) in runs.iter().zip(&chosen).filter(|(_, chosen)| !**chosen) {
        manifests.of_run(run);
    }
    for (run, _) in runs.iter().zip(&chosen).filter(|(_, chosen)| **chosen) {
        let shown = quoted(run.path());
        let size = size(run.path());
        // Held until it is removed, so that nobody begins to read it meanwhile.
        let held = alone(run)?;
        let stays = match stays(run, &manifests) {
            Some(why) => Some(why),
            None if matches!(held, Held::Shared) => {
                Some("it is being verified, by another Stoker".to_owned())
            }
            None if args.dry_run => None,
            None => forgets(run, &runs, &mut history),
        };
        if let Some(why) = stays {
            printer.result(&format!("kept {shown}: {why}"));
            manifests.of_run(run);
            continue;
        }
        if args.dry_run {
            printer.result(&format!("would remove {shown} ({})", ByteSize(size)));
        } else {
            remove(&state, run).map_err(Error::disk)?;
            printer.result(&format!("removed {shown} ({})", ByteSize(size)));
        }
        removed += 1;
        bytes += size;
    }
    if !args.dry_run {
        sweep(&state).map_err(Error::disk)?;
    }
    let words = if args.dry_run {
        "would be removed"
    } else {
        "removed"
    };
    let runs = if removed == 1 { "run" } else { "runs" };
    printer.message(&format!("{removed} {runs} {words}, {}", ByteSize(bytes)));
    Ok(Exit::Well)
}

/// The holder of a run that is about to be removed.
enum Held {
    Alone(#[expect(dead_code, reason = "the lock lasts as long as the file")] fs_err::File),
    Shared,
    /// It has no plan that could be read.
    Unheld,
}

fn alone(run: &RunDirectory) -> Result<Held, Error> {
    match run.hold_alone() {
        Ok(held) => Ok(held.map_or(Held::Shared, Held::Alone)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Held::Unheld),
        Err(error) => Err(Error::disk(error)),
    }
}

fn long_ago(span: Span) -> Result<Timestamp, Error> {
    let span = span.abs();
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    now.checked_sub(span)
        .map(|then| then.timestamp())
        .map_err(|error| Error::usage(format!("--older-than: {error}")))
}

/// When a run began: by its journal, so that a copied directory is as old as its run.
fn began(run: &RunDirectory) -> Option<Timestamp> {
    let told = journal::read(&run.journal()).ok()?;
    told.sessions.first().map(|session| session.started)
}

/// Tells why a run is not removed.
fn stays(run: &RunDirectory, manifests: &Manifests) -> Option<String> {
    if state::is_going_on(run) {
        return Some("it is being carried out".to_owned());
    }
    match journal::read(&run.journal()) {
        Ok(told) if !told.is_over() => {
            let path = quoted(run.path());
            return Some(format!(
                "it is not over; `stoker resume {path}` goes on with it"
            ));
        }
        Ok(_) => {}
        Err(error) => {
            return Some(format!(
                "{error}. Remove the directory yourself if what it loaded may be forgotten"
            ));
        }
    }
    let by = manifests.naming(&run.name(), run.path())?;
    Some(format!("{} names it (`known`)", quoted(&by)))
}

/// Takes a run into the history, and tells why it cannot be removed if that fails.
fn forgets(run: &RunDirectory, all: &[RunDirectory], history: &mut History) -> Option<String> {
    let taken = history.take_in(run);
    let taken = taken.and_then(|()| history.take_out(all));
    let kept = taken.and_then(|()| history.sync());
    let error = kept.err()?;
    Some(format!(
        "what it loaded would be forgotten ({error}). Remove the directory yourself if it may be"
    ))
}

/// Removes a run. It gets another name first, so that half of it is never taken for a run.
fn remove(state: &Path, run: &RunDirectory) -> std::io::Result<()> {
    let leaving = state.join("runs").join(format!("{LEAVING}{}", run.name()));
    fs_err::rename(run.path(), &leaving)?;
    fs_err::remove_dir_all(&leaving)
}

/// Removes what an earlier prune that was killed has left.
fn sweep(state: &Path) -> std::io::Result<()> {
    let Ok(entries) = fs_err::read_dir(state.join("runs")) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(LEAVING) {
            fs_err::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The manifests at hand: those of the runs that stay, those beside them, and those of rejected records.
#[derive(Debug, Default)]
struct Manifests {
    files: Vec<(PathBuf, String)>,
    folders: Vec<PathBuf>,
}

/// A manifest is read to see whether it names a run; what is larger is none.
const LARGEST: u64 = 1 << 22;

impl Manifests {
    fn of_run(&mut self, run: &RunDirectory) {
        self.file(&run.rejected().join("manifest.yaml"));
        if let Ok(saved) = Saved::open(&run.plan()) {
            self.add(Some(&saved.header.manifest));
        }
    }

    /// Adds a manifest and all that stand in its folder: one may include another.
    fn add(&mut self, manifest: Option<&Path>) {
        let folder = manifest.and_then(Path::parent).unwrap_or(Path::new(""));
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        if self.folders.iter().any(|known| known == folder) {
            return;
        }
        self.folders.push(folder.to_owned());
        let Ok(entries) = fs_err::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let path = path.strip_prefix("./").unwrap_or(&path);
            let extension = path.extension().unwrap_or_default();
            if extension == "yaml" || extension == "yml" {
                self.file(path);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let is_small = fs_err::metadata(path).is_ok_and(|m| m.is_file() && m.len() < LARGEST);
        if is_small && let Ok(text) = fs_err::read_to_string(path) {
            self.files.push((path.to_owned(), text));
        }
    }

    /// Returns a manifest outside of a run that names it. A run's name holds the second of its beginning: what else has it
    /// means the run.
    fn naming(&self, name: &str, run: &Path) -> Option<PathBuf> {
        let files = self.files.iter().filter(|(path, _)| !path.starts_with(run));
        // A second run of the same second is called as the first, and `-2`.
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-');
        let names = |text: &str| {
            let mut found = text.match_indices(name);
            found.any(|(at, _)| text.get(at + name.len()..).is_none_or(ends))
        };
        let mut naming = files.filter(|(_, text)| names(text));
        naming
            .next()
            .map(|(path, _)| PathBuf::from(plain(&path.display().to_string())))
    }
}
