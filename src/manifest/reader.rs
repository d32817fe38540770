//! Typed access to the values of a manifest: what is wrong is noted with its place, and reading goes on.
//!
//! Knows shapes (text, numbers, words, maps with fixed keys) and no key of the manifest. Keeps what must not
//! be shown out of messages: text from the environment, and lines on which a secret stands.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use super::{
    document::{Entry, Flaw, Node, Spot, Value, from_column},
    substitute::{self, Problem},
};
use crate::{
    diagnostic::{Diagnostic, Place, Severity},
    unit::ParseUnitError,
};

/// A file that was read.
struct File {
    path: PathBuf,
    folder: PathBuf,
    lines: Vec<String>,
}

/// A text with its variables filled in.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) value: String,
    /// As it stands in the file: what messages may show.
    pub(super) written: String,
    pub(super) spot: Spot,
}

/// Reads values, and collects what is wrong with them.
pub(super) struct Reader<'e> {
    env: &'e dyn Fn(&str) -> Option<String>,
    files: Vec<File>,
    found: Vec<(Option<Spot>, Diagnostic)>,
    hidden: BTreeSet<(usize, usize)>,
}

/// Returns the value of a key.
pub(super) fn get<'n>(entries: &'n [Entry], key: &str) -> Option<&'n Node> {
    entries
        .iter()
        .find(|entry| entry.key == key)
        .map(|entry| &entry.node)
}

/// Tells whether a word speaks of secrets, so that what stands beside it should not be shown.
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
pub(super) fn nearest<'c>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
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

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Text(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}

fn quoted_list(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let words: Vec<String> = words
        .into_iter()
        .map(|word| format!("`{}`", word.as_ref()))
        .collect();
    words.join(", ")
}

impl<'e> Reader<'e> {
    pub(super) fn new(env: &'e dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            env,
            files: Vec::new(),
            found: Vec::new(),
            hidden: BTreeSet::new(),
        }
    }

    /// Takes in a file, so that places can name it. Returns its number.
    pub(super) fn add_file(&mut self, path: &Path, lines: &[&str]) -> usize {
        self.files.push(File {
            path: path.to_owned(),
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
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
        self.found.push((spot.into(), diagnostic));
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
                diagnostic = diagnostic.at(Place {
                    file: self.file(spot).to_owned(),
                    line: spot.line,
                    column: spot.column,
                    length: spot.length,
                });
                if !self.hidden.contains(&(spot.file, spot.line)) {
                    diagnostic = diagnostic.showing(self.line(spot));
                }
            }
            // A value that several targets share, by defaults or by an alias, is read several times.
            if !diagnostics.contains(&diagnostic) {
                diagnostics.push(diagnostic);
            }
        }
        diagnostics
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

    fn line(&self, spot: Spot) -> &str {
        self.files
            .get(spot.file)
            .and_then(|file| file.lines.get(spot.line.saturating_sub(1)))
            .map_or("", String::as_str)
    }

    fn report_kind(&mut self, name: &str, node: &Node, expected: &str) {
        if let Value::Null = node.value {
            self.report_empty(name, node.spot);
            return;
        }
        let mut diagnostic = Diagnostic::error(format!(
            "`{name}` must be {expected}, not {}",
            kind(&node.value)
        ));
        if expected == "text" && matches!(node.value, Value::Number(_) | Value::Bool(_)) {
            diagnostic = diagnostic.hint("put it in quotes");
        }
        self.report(node.spot, diagnostic);
    }

    fn report_empty(&mut self, name: &str, spot: Spot) {
        self.report(
            spot,
            Diagnostic::error(format!("`{name}` is empty"))
                .hint("give it a value, or take the key out if it is not needed"),
        );
    }

    /// Notes that a key is missing from a map.
    pub(super) fn report_missing(&mut self, what: &str, spot: Spot, key: &str) {
        self.report(
            spot,
            Diagnostic::error(format!("{what} has no `{key}`")).hint(format!("add `{key}: …`")),
        );
    }

    /// Reads a text that is not empty.
    pub(super) fn text(&mut self, name: &str, node: &Node) -> Option<Text> {
        let Value::Text(written) = &node.value else {
            self.report_kind(name, node, "text");
            return None;
        };
        let value = self.complete(written, node.spot)?;
        if value.is_empty() {
            self.report_empty(name, node.spot);
            return None;
        }
        Some(Text {
            value,
            written: written
                .chars()
                .flat_map(|c| {
                    if c.is_control() {
                        c.escape_default().collect()
                    } else {
                        vec![c]
                    }
                })
                .collect(),
            spot: node.spot,
        })
    }

    /// Fills in the variables of a text.
    fn complete(&mut self, written: &str, spot: Spot) -> Option<String> {
        let problems = match substitute::complete(written, self.env) {
            Ok(completed) => return Some(completed.text),
            Err(problems) => problems,
        };
        for problem in problems {
            let (written, diagnostic) = match problem {
                Problem::Unset { name, written } => (
                    written,
                    Diagnostic::error(format!("the variable `{name}` is not set"))
                        .hint(format!("set it, or write `${{{name}:-default}}`")),
                ),
                Problem::Malformed { written } => (
                    written,
                    Diagnostic::error("this is not a variable").hint(
                        "write `${NAME}` or `${NAME:-default}`; a plain `${` is written `$${`",
                    ),
                ),
            };
            let at = self.within(spot, written);
            self.report(at, diagnostic);
        }
        None
    }

    /// Finds a part of a value on the value's line.
    fn within(&self, spot: Spot, part: &str) -> Spot {
        let rest = from_column(self.line(spot), spot.column);
        match rest.find(part) {
            Some(at) => Spot {
                column: spot.column + rest.get(..at).unwrap_or("").chars().count(),
                length: part.chars().count(),
                ..spot
            },
            None => spot,
        }
    }

    /// Reads one text or a list of texts; not none.
    pub(super) fn texts(&mut self, name: &str, node: &Node) -> Vec<Text> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                self.report_empty(name, node.spot);
                Vec::new()
            }
            Value::List(items) => {
                let item_name = format!("an item of `{name}`");
                items
                    .iter()
                    .filter_map(|item| match item.value {
                        Value::Text(_) => self.text(name, item),
                        Value::Null => {
                            let hint = "remove the `-`, or write something after it";
                            let message = format!("{item_name} is empty");
                            self.report(item.spot, Diagnostic::error(message).hint(hint));
                            None
                        }
                        ref other => {
                            let message = format!("{item_name} must be text, not {}", kind(other));
                            self.report(
                                item.spot,
                                Diagnostic::error(message).hint("put it in quotes"),
                            );
                            None
                        }
                    })
                    .collect()
            }
            Value::Text(_) => self.text(name, node).into_iter().collect(),
            _ => {
                self.report_kind(name, node, "text or a list of texts");
                Vec::new()
            }
        }
    }

    /// Reads a whole number, also one that a variable gives.
    pub(super) fn number(
        &mut self,
        name: &str,
        node: &Node,
        range: &RangeInclusive<u64>,
    ) -> Option<u64> {
        let number = match &node.value {
            Value::Number(number) => number.as_u64(),
            Value::Text(written) if written.contains("${") => {
                self.text(name, node)?.value.trim().parse().ok()
            }
            _ => {
                self.report_kind(name, node, "a number");
                return None;
            }
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            let expected = if *most == u64::MAX {
                format!("a whole number from {least}")
            } else {
                format!("a whole number from {least} to {most}")
            };
            let message = format!("`{name}` must be {expected}");
            self.report(node.spot, Diagnostic::error(message));
        }
        number
    }

    /// Reads `true` or `false`, also when a variable gives it.
    pub(super) fn boolean(&mut self, name: &str, node: &Node) -> Option<bool> {
        let value = match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(written) if written.contains("${") => {
                self.text(name, node)?.value.trim().parse().ok()
            }
            Value::Text(_) | Value::Number(_) => None,
            _ => {
                self.report_kind(name, node, "`true` or `false`");
                return None;
            }
        };
        if value.is_none() {
            let message = format!("`{name}` must be `true` or `false`");
            self.report(node.spot, Diagnostic::error(message));
        }
        value
    }

    /// Reads one of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &str,
        node: &Node,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(name, node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(*value);
        }
        let all = || words.iter().map(|(word, _)| *word);
        let mut diagnostic =
            Diagnostic::error(format!("`{}` is not a value of `{name}`", text.written));
        if let Some(near) = nearest(&text.written, all()) {
            diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
        }
        self.report(
            text.spot,
            diagnostic.hint(format!("it can be {}", quoted_list(all()))),
        );
        None
    }

    /// Reads a value with a unit.
    pub(super) fn unit<T>(
        &mut self,
        name: &str,
        node: &Node,
        parse: impl Fn(&str) -> Result<T, ParseUnitError>,
    ) -> Option<T> {
        let (value, written) = match &node.value {
            Value::Number(number) => (number.to_string(), number.to_string()),
            Value::Text(_) => {
                let text = self.text(name, node)?;
                (text.value, text.written)
            }
            _ => {
                self.report_kind(name, node, "text");
                return None;
            }
        };
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let error = error.to_string();
                // What a variable holds is not shown, only that it holds it.
                let rest = error
                    .strip_prefix(&format!("`{value}`"))
                    .unwrap_or_default();
                let (what, hint) = rest.split_once("; ").unwrap_or((rest, ""));
                let subject = if value == written {
                    ""
                } else {
                    "the value of "
                };
                let mut diagnostic = Diagnostic::error(format!("{subject}`{written}`{what}"));
                if !hint.is_empty() {
                    diagnostic = diagnostic.hint(hint);
                }
                self.report(node.spot, diagnostic);
                None
            }
        }
    }

    /// Reads a path; a relative one is relative to the folder of its manifest.
    pub(super) fn path(&mut self, name: &str, node: &Node) -> Option<PathBuf> {
        let text = self.text(name, node)?;
        self.warn_of_tilde(&text);
        Some(self.folder(text.spot).join(text.value))
    }

    /// Warns of a `~/`, which only a shell expands.
    pub(super) fn warn_of_tilde(&mut self, text: &Text) {
        if let Some(rest) = text.written.strip_prefix("~/") {
            self.report(
                text.spot,
                Diagnostic::warning("`~` is not expanded: this is a folder of that name")
                    .hint(format!("write `${{HOME}}/{rest}`")),
            );
        }
    }

    /// Reads a map. With `keys`, it may hold no others.
    pub(super) fn map<'n>(
        &mut self,
        name: &str,
        node: &'n Node,
        keys: Option<&[&'static str]>,
    ) -> Option<&'n [Entry]> {
        let Value::Map(entries) = &node.value else {
            self.report_kind(name, node, "a map");
            return None;
        };
        if entries.is_empty() {
            self.report_empty(name, node.spot);
            return None;
        }
        if let Some(keys) = keys {
            for entry in entries {
                if !keys.contains(&entry.key.as_str()) {
                    self.report_unknown(entry, keys);
                }
            }
        }
        Some(entries)
    }

    /// Notes a key that does not exist.
    pub(super) fn report_unknown(&mut self, entry: &Entry, keys: &[&'static str]) {
        if speaks_of_secrets(&entry.key) {
            self.hidden
                .insert((entry.key_spot.file, entry.key_spot.line));
            self.hide(&entry.node);
        }
        let diagnostic = match nearest(&entry.key, keys.iter().copied()) {
            Some(near) => Diagnostic::error(format!(
                "unknown key {:?}, did you mean {near:?}?",
                entry.key
            )),
            None => Diagnostic::error(format!("unknown key {:?}", entry.key))
                .hint(format!("the keys here are {}", quoted_list(keys))),
        };
        self.report(entry.key_spot, diagnostic);
    }

    /// Reads any value as JSON, variables filled in.
    pub(super) fn json(&mut self, name: &str, node: &Node) -> Option<serde_json::Value> {
        Some(match &node.value {
            Value::Null => {
                self.report_empty(name, node.spot);
                return None;
            }
            Value::Bool(value) => (*value).into(),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::Text(text) => self.complete(text, node.spot)?.into(),
            Value::List(items) => items
                .iter()
                .filter_map(|item| self.json(name, item))
                .collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries
                    .iter()
                    .filter_map(|entry| {
                        Some((entry.key.clone(), self.json(&entry.key, &entry.node)?))
                    })
                    .collect(),
            ),
        })
    }
}
