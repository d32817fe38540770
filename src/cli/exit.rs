//! Exit codes, and the error that carries one.

use std::{fmt, process::ExitCode};

use crate::diagnostic::Diagnostic;

/// The end of the process, as an exit code. The numbers are part of the interface (README, "Exit codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything settled well.
    Well,
    /// Loaded, but some records were rejected, blocked, unknown or could not be loaded.
    SomeFailed,
    /// The arguments or the manifest are wrong; nothing was sent. Also clap's code.
    Usage,
    /// Stopped: more records failed than `max_errors` allows.
    MaxErrors,
    /// The target or the credentials failed.
    Target,
    /// The journal could not be written, or another file of the run.
    Disk,
    /// `plan --detailed-exitcode`: there is work to do.
    WorkToDo,
    /// Stoker itself is at fault (`EX_SOFTWARE` of sysexits.h).
    Internal,
    /// Interrupted by the user; the journal is closed.
    Interrupted,
}

impl Exit {
    /// Returns the code.
    pub fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::SomeFailed => 1,
            Self::Usage => 2,
            Self::MaxErrors => 3,
            Self::Target => 4,
            Self::Disk => 5,
            Self::WorkToDo => 10,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }

    /// Says what went wrong, where something did.
    pub fn wrong(self) -> Option<&'static str> {
        Some(match self {
            Self::Well | Self::WorkToDo => return None,
            Self::SomeFailed => "some records were not loaded",
            Self::Usage => "the arguments or the manifest are wrong",
            Self::MaxErrors => "stopped by max_errors",
            Self::Target => "the target or the credentials failed",
            Self::Disk => "the journal, the disk or standard output failed",
            Self::Internal => "a bug in Stoker",
            Self::Interrupted => "interrupted",
        })
    }
}

/// The advice that helps wherever what a run keeps cannot be written.
pub(super) const ELSEWHERE: &str =
    "`state: FOLDER` in the manifest names another folder for what runs keep";

/// The beginning of the advice that journals and plans add to what they say of damage; a test holds them to it.
const WAY_ON: &str = "; put the file back";

/// The reason why the system writes nothing in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Forbidden,
    ReadOnly,
    NoFolder,
    NotThere,
    IsFolder,
    Full,
}

impl Trouble {
    /// Reads the system's number out of a message. Its numbers for these are the same on all systems that Stoker runs on, but that of
    /// a quota, which is Linux's.
    fn of(message: &str) -> Option<Self> {
        let (_, number) = message.split_once("(os error ")?;
        Some(match number.split_once(')')?.0 {
            "1" | "13" => Self::Forbidden,
            "2" => Self::NotThere,
            "17" | "20" => Self::NoFolder,
            "21" => Self::IsFolder,
            "28" | "122" => Self::Full,
            "30" => Self::ReadOnly,
            _ => return None,
        })
    }

    fn words(self) -> &'static str {
        match self {
            Self::Forbidden => {
                "the user of this process has no right to do so: see who owns the folder"
            }
            Self::ReadOnly => "that file system can only be read",
            Self::NoFolder => "a part of that path is a file, and no folder",
            Self::NotThere => "the folder has to exist: make it with mkdir -p",
            Self::IsFolder => "that is a folder: name a file in it",
            Self::Full => "make room on that disk",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The reason why a verb could not be carried out: the problems to show, and the exit code.
#[derive(Debug)]
pub struct Error {
    /// The exit code.
    pub exit: Exit,
    /// The problems, worst first.
    pub problems: Vec<Diagnostic>,
}

impl Error {
    /// Makes an error of one problem.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            problems: vec![Diagnostic::error(message.to_string())],
        }
    }

    /// Makes an error of several problems.
    pub fn all(exit: Exit, problems: Vec<Diagnostic>) -> Self {
        Self { exit, problems }
    }

    /// Adds a hint to the last problem.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(last) = self.problems.last_mut() {
            last.hints.push(hint.into());
        }
        self
    }

    /// Makes a usage error.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Makes an error of the disk.
    pub fn disk(message: impl fmt::Display) -> Self {
        let message = message.to_string();
        if let Some((what, way_on)) = message.split_once(WAY_ON) {
            return Self::new(Exit::Disk, what)
                .hint([WAY_ON.trim_start_matches("; "), way_on].concat());
        }
        let trouble = Trouble::of(&message);
        let error = Self::new(Exit::Disk, message);
        match trouble {
            None | Some(Trouble::NotThere | Trouble::IsFolder) => error,
            Some(Trouble::Full) => error.hint(format!("{}; {ELSEWHERE}", Trouble::Full.words())),
            Some(trouble) => error.hint(trouble.words()),
        }
    }

    /// Makes an error of a folder that is to keep a run, and does not yet.
    pub fn state(message: impl fmt::Display) -> Self {
        Self::elsewhere(message, ELSEWHERE)
    }

    /// Makes an error of a file or folder that is written where the user said; `elsewhere` tells how another place is named.
    pub fn elsewhere(message: impl fmt::Display, elsewhere: &str) -> Self {
        let message = message.to_string();
        let trouble = Trouble::of(&message);
        let error = Self::new(Exit::Disk, message);
        match trouble {
            None => error.hint(elsewhere),
            Some(trouble) => error.hint(format!("{}; {elsewhere}", trouble.words())),
        }
    }

    /// Makes an error of Stoker's own: nothing that the user did, or could mend.
    pub fn internal(message: impl fmt::Display) -> Self {
        let message = format!("{message}: this is a bug in Stoker");
        Self::new(Exit::Internal, message).hint(
            "please report it with the version, the command, and what `-vv` logs; the run's directory, if it began one, \
             has all that was settled",
        )
    }

    /// Makes an error of a task that did not come to its end. The message of a panic may be content (design §10), so
    /// that only its place is shown, which the panic itself has done.
    pub fn task(error: &tokio::task::JoinError) -> Self {
        Self::internal(if error.is_panic() {
            "a part of the work came to an end in the midst of it"
        } else {
            "a part of the work was dropped"
        })
    }
}

/// Says where a panic was, and not what it said: that may be content of records (design §10).
pub(super) fn name_panics() {
    std::panic::set_hook(Box::new(|info| {
        use std::io::Write as _;
        let at = info.location().map(ToString::to_string);
        let at = at.unwrap_or_else(|| "an unknown place".to_owned());
        // Nothing can be said about a terminal that is gone.
        let _ = writeln!(std::io::stderr(), "internal error at {at}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_about_a_damaged_file_is_said_apart() {
        use crate::{journal, plan::file::Saved};

        let folder = tempfile::tempdir().unwrap();
        let (empty, damaged) = (folder.path().join("empty"), folder.path().join("damaged"));
        fs_err::write(&empty, "").unwrap();
        fs_err::write(&damaged, "{\"header\":\n").unwrap();
        for path in [&empty, &damaged] {
            let journal = journal::read(path).unwrap_err().to_string();
            let plan = Saved::open(path).unwrap_err().to_string();
            for said in [journal, plan] {
                let error = Error::disk(&said);
                let [problem] = error.problems.as_slice() else {
                    panic!("one problem");
                };
                assert!(!problem.message.contains("put the file"), "{said}");
                let [hint] = problem.hints.as_slice() else {
                    panic!("no advice: {said}");
                };
                assert!(hint.starts_with("put the file back"), "{hint}");
            }
        }
    }

    #[test]
    fn the_system_says_why_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs_err::write(&file, "").unwrap();
        let below = fs_err::create_dir_all(file.join("below")).unwrap_err();
        let missing = fs_err::write(folder.path().join("no/file"), "").unwrap_err();
        let is_folder = fs_err::write(folder.path(), "").unwrap_err();
        for (error, trouble) in [
            (below, Trouble::NoFolder),
            (missing, Trouble::NotThere),
            (is_folder, Trouble::IsFolder),
        ] {
            assert_eq!(Trouble::of(&error.to_string()), Some(trouble), "{error}");
        }
    }

    #[tokio::test]
    async fn a_task_that_panics_is_a_bug_and_nothing_else() {
        let joined = tokio::spawn(async { std::panic::resume_unwind(Box::new("Plantedname")) });
        let error = Error::task(&joined.await.unwrap_err());
        assert_eq!(error.exit.code(), 70);
        let [problem] = error.problems.as_slice() else {
            panic!("one problem");
        };
        assert!(problem.message.contains("this is a bug in Stoker"));
        assert!(!format!("{problem:?}").contains("Plantedname"));
    }
}
