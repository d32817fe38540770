//! Typed access to the values of a manifest: what is wrong is noted, and reading goes on.
//!
//! Knows shapes (text, numbers, words, maps with fixed keys) and no key of the manifest. A value from the environment
//! is in no message.

use std::{ops::RangeInclusive, path::PathBuf};

use super::{
    document::{Entry, Node, Spot, Value},
    flaw::from_column,
    reader::{Reader, Text, nearest, speaks_of_secrets},
    substitute::{self, Problem},
};
use crate::{
    diagnostic::Diagnostic,
    path::tidy,
    unit::{ParseUnitError, grouped},
};

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

impl Reader<'_> {
    pub(super) fn report_kind(&mut self, name: &str, node: &Node, expected: &str) {
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
            // The parser of YAML takes a number that is larger than it can hold for text.
            Value::Text(text) if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) => {
                None
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
                format!("a whole number, {} or more", grouped(*least))
            } else {
                format!(
                    "a whole number from {} to {}",
                    grouped(*least),
                    grouped(*most)
                )
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
                // A variable's value is not shown, only that the variable holds it.
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
        Some(tidy(&self.folder(text.spot).join(text.value)))
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
        if self.is_full() {
            return self.report(entry.key_spot, Diagnostic::error("an unknown key"));
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
