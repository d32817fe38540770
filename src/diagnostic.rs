//! Problems with a place, a cause and a way out: one type for errors and warnings.
//!
//! A diagnostic carries facts; the wording of the whole report is made in `cli`'s printer. Text quoted in
//! a snippet comes from manifests only (design §10); problems of records carry a position and no content.

use std::path::PathBuf;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing can be done until it is mended.
    Error,
    /// The work can go on; the user should know.
    Warning,
}

/// A place in a text file that people wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters to underline; at least 1.
    pub length: usize,
}

/// One problem: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: a lower-case phrase without a period.
    pub message: String,
    /// Where; none for problems that have no place.
    pub place: Option<Place>,
    /// The file's line at that place, to be shown; only for manifests.
    pub snippet: Option<String>,
    /// What to do about it, one phrase each.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// Starts an error.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            place: None,
            snippet: None,
            hints: Vec::new(),
        }
    }

    /// Starts a warning.
    pub fn warning(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(message)
        }
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Adds the line that is shown.
    #[must_use]
    pub fn showing(mut self, line: impl Into<String>) -> Self {
        self.snippet = Some(line.into());
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}
