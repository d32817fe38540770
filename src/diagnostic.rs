//! Problems with a place, a cause and a way out: one type for errors and warnings.
//!
//! A diagnostic carries facts; the wording of the whole report is made in `cli`'s printer. Text quoted in
//! a snippet comes from manifests only (design §10); problems of records carry a position and no content. [`plain`] is what
//! every foreign text passes before it meets a terminal.

use std::{
    borrow::Cow,
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// Tells whether a character could steer a terminal, turn the direction of its text, or hide in it.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // The soft hyphen, marks and overrides of direction, joiners and separators without a width, tags.
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes what could steer a terminal as an escape, such as `\u{1b}`: names of files and words of servers may hold it.
/// Line breaks are escaped like the rest, so that the text stays on its line.
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, steers)
}

/// Does the same to a text of several lines: line breaks and tabs stay.
pub fn plain_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| steers(c) && !matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, is_wrong: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_wrong) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_wrong(c) {
            plain.extend(c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

/// Writes a path as it is shown to people: bytes that are not UTF-8 as `\xff`, and what could steer a terminal as an escape.
pub fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut shown = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        shown.push_str(&plain(chunk.valid()));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing can be done until it is mended.
    Error,
    /// The work can go on; the user should know.
    Warning,
}

/// A place in a text file that people wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextPosition {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The number of characters to underline; at least 1.
    pub length: usize,
}

/// One problem: its message, its place, and advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The severity.
    pub severity: Severity,
    /// The message: a lower-case phrase without a period.
    pub message: String,
    /// The place; none for problems that have none.
    pub place: Option<TextPosition>,
    /// The file's line at that place, to be shown; only for manifests.
    pub snippet: Option<String>,
    /// Pieces of advice, one phrase each.
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
    pub fn at(mut self, place: TextPosition) -> Self {
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

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert!(matches!(
            plain("größe, 日本 😀"),
            Cow::Borrowed("größe, 日本 😀")
        ));
        let hostile = "a\u{1b}[31mb\u{7}\u{9b}2J\u{202e}txt\u{2066}\u{200b}\r\n\t\u{7f}";
        let escapes = r"a\u{1b}[31mb\u{7}\u{9b}2J\u{202e}txt\u{2066}\u{200b}\u{d}";
        assert_eq!(plain(hostile), format!(r"{escapes}\u{{a}}\u{{9}}\u{{7f}}"));
        assert_eq!(plain_lines(hostile), format!("{escapes}\n\t\\u{{7f}}"));
        for c in ('\0'..=char::MAX).filter(|c| c.is_control()) {
            assert!(!plain(&c.to_string()).contains(c), "{c:?}");
        }
        let name = std::ffi::OsStr::from_bytes(b"m\xfcller\x1b.json");
        assert_eq!(shown(Path::new(name)), r"m\xfcller\u{1b}.json");
    }
}
