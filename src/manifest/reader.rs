//! The mistakes of a manifest, collected with their places while reading goes on.
//!
//! Keeps lines on which a secret stands out of all snippets. Values are read by `values`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::document::{Entry, Flaw, Node, Spot, Value};
use crate::diagnostic::{Diagnostic, Severity, TextPosition};

/// The highest number of problems that are told; more than that is another kind of file.
const MOST: usize = 200;

/// The highest number of problems that are kept, to tell the first of them.
const KEPT: usize = 1_000;

/// A file that was read.
struct File {
    path: PathBuf,
    folder: PathBuf,
    lines: Vec<String>,
    /// True if its lines may be shown.
    is_shown: bool,
}

/// A text with its variables filled in.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) value: String,
    /// As it stands in the file: what messages may show.
    pub(super) written: String,
    pub(super) spot: Spot,
}

/// The reader of values, with the mistakes that it found.
pub(super) struct Reader<'e> {
    pub(super) env: &'e dyn Fn(&str) -> Option<String>,
    files: Vec<File>,
    found: Vec<(Option<Spot>, Diagnostic)>,
    /// The number of further problems, which are not kept.
    beyond: usize,
    pub(super) hidden: BTreeSet<(usize, usize)>,
}

/// Returns the value of a key.
pub(super) fn get<'n>(entries: &'n [Entry], key: &str) -> Option<&'n Node> {
    entries
        .iter()
        .find(|entry| entry.key == key)
        .map(|entry| &entry.node)
}

/// Tells whether a word speaks of secrets, so that the text beside it should not be shown.
pub(super) fn speaks_of_secrets(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "secret",
        "token",
        "passw",
        "authorization",
        "bearer",
        "credential",
        "api_key",
        "apikey",
        "api-key",
        "private_key",
    ];
    let text = text.to_lowercase();
    WORDS.iter().any(|word| text.contains(word))
}

/// Returns the candidate that was probably meant.
pub fn nearest<'c>(wrong: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let wrong = plain(wrong);
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&wrong, &plain(candidate)),
                candidate,
            )
        })
        // One slip in two or three letters, two in four to six, and so on; more would be guessing.
        .filter(|(distance, _)| *distance <= wrong.chars().count().div_ceil(3).min(wrong.len() / 2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

impl<'e> Reader<'e> {
    pub(super) fn new(env: &'e dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            env,
            files: Vec::new(),
            found: Vec::new(),
            beyond: 0,
            hidden: BTreeSet::new(),
        }
    }

    /// Takes in a file, so that places can name it and, if `is_shown`, messages show its lines. Returns its number.
    pub(super) fn add_file(&mut self, path: &Path, lines: &[&str], is_shown: bool) -> usize {
        self.files.push(File {
            path: path.to_owned(),
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
            is_shown,
        });
        self.files.len() - 1
    }

    /// Returns the path of the file in which something stands.
    pub(super) fn file(&self, spot: Spot) -> &Path {
        self.files
            .get(spot.file)
            .map_or(Path::new(""), |file| &file.path)
    }

    /// Returns the folder of the file in which something stands.
    pub(super) fn folder(&self, spot: Spot) -> &Path {
        self.files
            .get(spot.file)
            .map_or(Path::new(""), |file| &file.folder)
    }

    /// Notes a problem.
    pub(super) fn report(&mut self, spot: impl Into<Option<Spot>>, diagnostic: Diagnostic) {
        if self.found.len() < KEPT || (diagnostic.severity == Severity::Error && !self.has_errors())
        {
            self.found.push((spot.into(), diagnostic));
        } else {
            self.beyond += 1;
        }
    }

    /// Tells whether a further problem is only counted, and its words are not worth the time.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= KEPT
    }

    /// Notes what is wrong with the YAML itself.
    pub(super) fn report_flaw(&mut self, flaw: Flaw) {
        let line = self.line(flaw.spot);
        if speaks_of_secrets(line) {
            self.hidden.insert((flaw.spot.file, flaw.spot.line));
        }
        let mut diagnostic = Diagnostic::error(flaw.message);
        diagnostic.hints.extend(flaw.hint);
        self.report(flaw.spot, diagnostic);
    }

    /// Keeps the lines of a value out of all snippets: a secret stands there.
    pub(super) fn hide(&mut self, node: &Node) {
        self.hidden.insert((node.spot.file, node.spot.line));
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| self.hide(item)),
            Value::Map(entries) => entries.iter().for_each(|entry| self.hide(&entry.node)),
            _ => {}
        }
    }

    /// Tells whether anything is an error so far.
    pub(super) fn has_errors(&self) -> bool {
        self.found
            .iter()
            .any(|(_, diagnostic)| diagnostic.severity == Severity::Error)
    }

    /// Gives all problems with their places, in the order of the places, each once.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        let mut found = std::mem::take(&mut self.found);
        found.sort_by_key(|(spot, _)| *spot);
        let mut diagnostics: Vec<Diagnostic> = Vec::with_capacity(found.len());
        for (spot, mut diagnostic) in found {
            if let Some(spot) = spot {
                diagnostic = diagnostic.at(TextPosition {
                    file: self.file(spot).to_owned(),
                    line: spot.line,
                    column: spot.column,
                    length: spot.length,
                });
                let is_shown = self.files.get(spot.file).is_some_and(|file| file.is_shown);
                if is_shown && !self.hidden.contains(&(spot.file, spot.line)) {
                    diagnostic = self.showing(diagnostic, spot);
                }
            }
            // A value that several targets share, by defaults or by an alias, is read several times. Equal problems
            // stand together, but for those that were noted of other things at the same place.
            let mut same_place = diagnostics
                .iter()
                .rev()
                .take_while(|other| other.place == diagnostic.place);
            if !same_place.any(|other| *other == diagnostic) {
                diagnostics.push(diagnostic);
            }
        }
        if diagnostics.len() > MOST {
            let more = diagnostics.split_off(MOST);
            let is_wrong = more.iter().any(|one| one.severity == Severity::Error);
            diagnostics.push(Diagnostic {
                severity: if is_wrong {
                    Severity::Error
                } else {
                    Severity::Warning
                },
                ..Diagnostic::error(format!(
                    "there are {} more problems than are shown",
                    more.len() + self.beyond
                ))
            });
        }
        diagnostics
    }

    /// Adds the line that is shown; of an endless one, what is around the place.
    fn showing(&self, diagnostic: Diagnostic, spot: Spot) -> Diagnostic {
        const LONG: usize = 4_000;
        let line = self.line(spot);
        if line.len() <= LONG {
            return diagnostic.showing(line);
        }
        let end = spot.column.saturating_add(LONG);
        if end <= 2 * LONG {
            diagnostic.showing(line.chars().take(end).collect::<String>())
        } else {
            // Its beginning is too far away to be of use.
            diagnostic
        }
    }

    /// Finds the place of a value again, of which only file, line and column were kept.
    pub(super) fn spot_at(&self, path: &Path, line: usize, column: usize) -> Option<Spot> {
        Some(Spot {
            file: self.files.iter().position(|file| file.path == path)?,
            line,
            column,
            length: 1,
        })
    }

    pub(super) fn line(&self, spot: Spot) -> &str {
        self.files
            .get(spot.file)
            .and_then(|file| file.lines.get(spot.line.saturating_sub(1)))
            .map_or("", String::as_str)
    }
}
