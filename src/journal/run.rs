//! The directory of a run: which file is where, with which permissions.

use std::{
    fs::TryLockError,
    io::{self, BufRead as _, BufReader, Read as _},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::format::Line;
use crate::{checksum, record::StepId};

/// The directory of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

/// The server's answer to a record that it refused: a line of `rejected/answers.ndjson`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidLine {
    /// The record's step number in the plan.
    pub record: StepId,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The server's words, cut at [`SaidLine::LIMIT`].
    pub answer: String,
}

impl SaidLine {
    /// The most bytes of one answer that are kept: an OperationOutcome with many issues fits, a server that
    /// answers with a whole page for each of a million records does not fill the disk.
    pub const LIMIT: usize = 16 * 1024;
}

impl RunDirectory {
    /// Makes the directory of a new run, `<state>/runs/<name>-<time>`; a number is added if it is taken.
    pub fn create(state: &Path, name: &str, now: jiff::Timestamp) -> io::Result<Self> {
        let runs = state.join("runs");
        private_directory(&runs)?;
        let time = now.strftime("%Y%m%dT%H%M%SZ");
        let name: String = name
            .chars()
            .map(|c| {
                if c.is_alphanumeric() || "-_.".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        for attempt in 1..1000 {
            let path = match attempt {
                1 => runs.join(format!("{name}-{time}")),
                n => runs.join(format!("{name}-{time}-{n}")),
            };
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(io::Error::new(
                        error.kind(),
                        format!(
                            "cannot make the run directory `{}`: {error}",
                            path.display()
                        ),
                    ));
                }
            }
        }
        Err(io::Error::other(format!(
            "`{}` holds too many runs of this name",
            runs.display()
        )))
    }

    /// Returns the runs of a state directory that have begun, the oldest first by what their journals say: the times of files
    /// are others where the directory was copied.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn all(state: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs_err::read_dir(state.join("runs")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut runs = Vec::new();
        for entry in entries {
            let entry = entry?;
            // A directory on its way out has a dot before its name.
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let run = Self { path: entry.path() };
            if let Some(begun) = begun(&run.journal()) {
                runs.push((begun, run));
            }
        }
        runs.sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
        Ok(runs.into_iter().map(|(_, run)| run).collect())
    }

    /// Keeps the run from being removed, as long as the file is held.
    ///
    /// # Errors
    ///
    /// When its plan cannot be opened or locked.
    pub fn hold(&self) -> io::Result<fs_err::File> {
        let plan = fs_err::File::open(self.plan())?;
        plan.file().lock_shared()?;
        Ok(plan)
    }

    /// Keeps all others from holding the run; none where somebody does.
    ///
    /// # Errors
    ///
    /// When its plan cannot be opened or locked.
    pub fn hold_alone(&self) -> io::Result<Option<fs_err::File>> {
        let plan = fs_err::File::open(self.plan())?;
        match plan.file().try_lock() {
            Ok(()) => Ok(Some(plan)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Opens the directory of a run that exists.
    pub fn open(path: &Path) -> io::Result<Self> {
        let run = Self {
            path: path.to_owned(),
        };
        fs_err::metadata(run.journal())?;
        Ok(run)
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the run's name: the directory's.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// Returns the plan's file.
    pub fn plan(&self) -> PathBuf {
        self.path.join("plan.ndjson")
    }

    /// Returns the journal's file.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.ndjson")
    }

    /// Returns the file that tells how long the journal was when a session ended in order.
    pub fn length(&self) -> PathBuf {
        self.path.join("journal.length")
    }

    /// Returns the journal of its unloading.
    pub fn unload(&self) -> PathBuf {
        self.path.join("unload.ndjson")
    }

    /// Returns the directory of spooled sources.
    pub fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// Returns the directory of rejected records, the only place where content may stand.
    pub fn rejected(&self) -> PathBuf {
        self.path.join("rejected")
    }

    /// Returns the file of what the server said of rejected records.
    pub fn answers(&self) -> PathBuf {
        self.rejected().join("answers.ndjson")
    }
}

/// The most bytes that are read to find out when a run began: its journal's first two lines are short.
const BEGINNING: u64 = 1 << 14;

/// Returns when a run began, by its first session; by the journal's file, where that is not told yet or cannot be read. None where
/// there is no journal.
fn begun(journal: &Path) -> Option<jiff::Timestamp> {
    let file = fs_err::File::open(journal).ok()?;
    let metadata = file.metadata().ok()?;
    let mut lines = BufReader::new(file.take(BEGINNING));
    let mut told = None;
    let (mut seed, mut offset) = (checksum::FIRST, 0);
    for _ in 0..2 {
        let mut line = Vec::new();
        let Ok(length) = lines.read_until(b'\n', &mut line) else {
            break;
        };
        let Ok(sum) = checksum::strip(&mut line, seed, offset) else {
            break;
        };
        if offset == 0 {
            seed = sum;
        }
        offset += length as u64;
        if let Ok(Line::Session(session)) = serde_json::from_slice(&line) {
            told = Some(session.started);
        }
    }
    let by_file = || {
        let at = metadata.created().or_else(|_| metadata.modified()).ok()?;
        jiff::Timestamp::try_from(at).ok()
    };
    told.or_else(by_file).or(Some(jiff::Timestamp::UNIX_EPOCH))
}

/// Makes a directory (and its parents) that only its owner may read.
pub fn private_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot make `{}`: {error}", path.display()),
            )
        })
}

/// Opens a file for appending that only its owner may read.
pub fn private_append(path: &Path) -> io::Result<fs_err::File> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// Creates or empties a file that only its owner may read.
pub fn private_file(path: &Path) -> io::Result<fs_err::File> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    fs_err::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}
