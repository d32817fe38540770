//! The YAML parser's messages about a text it cannot read, in the words of people who write YAML.

use std::fmt;

use super::flaw::{Context, Flaw, TOO_MANY, from_column};

impl Context<'_> {
    /// Says in the words of people who write YAML what the parser could not read.
    pub(super) fn syntax(&self, error: &serde_yaml::Error) -> Flaw {
        let text = error.to_string();
        let (line, column) = error
            .location()
            .map_or((1, 1), |location| (location.line(), location.column()));
        let mut at = (line.min(self.lines.len().max(1)), column);
        let here = self
            .lines
            .get(at.0 - 1)
            .map_or("", |line| from_column(line, at.1));
        let begun = text.rsplit(", while ").next().and_then(place_of_text);
        let (message, hint) = if text.starts_with("found character that cannot start any token") {
            match here.chars().next() {
                Some('\t') => (
                    "a tab stands where YAML wants spaces".to_owned(),
                    "indent with spaces",
                ),
                Some(first) => (
                    format!("a plain value cannot begin with `{}`", first.escape_debug()),
                    "put the value in quotes",
                ),
                None => (
                    "a character stands where none can".to_owned(),
                    "put the value in quotes",
                ),
            }
        } else if text.contains("while scanning a quoted scalar") && !text.contains("escape") {
            at = begun.unwrap_or(at);
            (
                "this quote is never closed".to_owned(),
                "close it with the same quote",
            )
        } else if text.contains("escape") {
            (
                "an unknown escape in a double-quoted value".to_owned(),
                "write `\\\\` for a backslash, or use single quotes",
            )
        } else if text.contains("flow mapping") || text.contains("flow sequence") {
            at = begun.unwrap_or(at);
            (
                "this `{` or `[` is not closed, or a comma is missing in it".to_owned(),
                "close it, or write one item a line",
            )
        } else if text.starts_with("mapping values are not allowed") {
            (
                "a `:` stands where none can".to_owned(),
                "check the indentation, and put values that hold `: ` in quotes",
            )
        } else if text.starts_with("could not find expected ':'") {
            at = begun.unwrap_or(at);
            (
                "this line is not `key: value`".to_owned(),
                "put a `:` and a space after the key, or check the indentation",
            )
        } else if text.starts_with("did not find expected") {
            (
                "this line does not fit the lines above it".to_owned(),
                "check the indentation: keys of one map, and items of one list, begin in the same column; and that quotes are closed",
            )
        } else if text.starts_with("unknown anchor") {
            (
                "this alias names an anchor that is not there".to_owned(),
                "define it first with `&name`",
            )
        } else if text.starts_with("recursion limit") {
            (
                "the values are nested too deeply".to_owned(),
                "a manifest needs no such depth",
            )
        } else if text.contains(TOO_MANY) {
            (
                "the aliases expand to far more than is written".to_owned(),
                "write the values out",
            )
        } else {
            let words = text.split(" at line ").next().unwrap_or_default();
            (
                format!("this is not YAML: {words}"),
                "check the lines around it",
            )
        };
        Flaw {
            spot: self.spot(at.0.max(1), at.1.max(1), None),
            message,
            hint: Some(hint.to_owned()),
        }
    }
}

/// Reads the place at the end of an error of the parser. (Inside a seed the type of the error is opaque.)
pub(super) fn place_in(error: &impl fmt::Display) -> Option<(usize, usize)> {
    let text = error.to_string();
    // The parser leaves the place out where it is the very first character.
    if text == "recursion limit exceeded" {
        return Some((1, 1));
    }
    place_of_text(&text)
}

fn place_of_text(text: &str) -> Option<(usize, usize)> {
    let (_, place) = text.rsplit_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    Some((line.parse().ok()?, column.parse().ok()?))
}
