//! Exit codes, and the error that carries one.

use std::{fmt, process::ExitCode};

use crate::diagnostic::Diagnostic;

/// How the process ends. The numbers are part of the interface (README, "Exit codes").
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
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a verb could not be carried out: what people are shown, and the exit code.
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
        Self::new(Exit::Disk, message)
    }
}
