//! The lines of a YAML text, places in them, and what is wrong with the YAML itself.

use std::cell::{Cell, RefCell};

/// A stretch of one line of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// The number of the file, as `read` counts.
    pub(super) file: usize,
    /// Line, from 1.
    pub(super) line: usize,
    /// Column in characters, from 1.
    pub(super) column: usize,
    /// Length in characters, at least 1.
    pub(super) length: usize,
}

/// Something wrong with the YAML itself.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) spot: Spot,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// The error of a text that comes to more; `syntax` puts it into words.
pub(super) const TOO_MANY: &str = "repetition limit exceeded";

/// Returns the lines of a text as the YAML parser counts them.
pub(super) fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        let (line, tail) = rest.split_at(at);
        lines.push(line);
        rest = match tail.strip_prefix("\r\n") {
            Some(tail) => tail,
            None => tail
                .get(tail.chars().next().map_or(0, char::len_utf8)..)
                .unwrap_or(""),
        };
    }
    lines.push(rest);
    lines
}

/// The text being read, and what is wrong with it so far.
pub(super) struct Context<'a> {
    file: usize,
    pub(super) lines: &'a [&'a str],
    /// The columns of each line.
    columns: Vec<Columns>,
    pub(super) flaws: RefCell<Vec<Flaw>>,
    /// Keys and values that may still come.
    pub(super) left: Cell<usize>,
}

/// The columns of a line by their bytes: JSON is YAML too, and may be one long line, whose characters are not to be
/// counted anew for each of its values.
struct Columns {
    /// The offsets of characters at equal distances; none where each character is a byte.
    marks: Option<Vec<usize>>,
}

impl Columns {
    const EVERY: usize = 64;

    fn of(line: &str) -> Self {
        let marks = || {
            line.char_indices()
                .step_by(Self::EVERY)
                .map(|(at, _)| at)
                .collect()
        };
        Self {
            marks: (!line.is_ascii()).then(marks),
        }
    }

    /// Returns the rest of the line from a column on.
    fn from<'l>(&self, line: &'l str, column: usize) -> &'l str {
        let passed = column.saturating_sub(1);
        match &self.marks {
            None => line.get(passed..).unwrap_or_default(),
            Some(marks) => marks
                .get(passed / Self::EVERY)
                .and_then(|at| line.get(*at..))
                .map_or("", |rest| from_column(rest, passed % Self::EVERY + 1)),
        }
    }
}

impl<'a> Context<'a> {
    /// Begins a text of which nothing is wrong yet. `most` keys and values may come.
    pub(super) fn new(lines: &'a [&'a str], file: usize, most: usize) -> Self {
        Self {
            file,
            lines,
            columns: lines.iter().map(|line| Columns::of(line)).collect(),
            flaws: RefCell::new(Vec::new()),
            left: Cell::new(most),
        }
    }

    pub(super) fn flaw(&self, spot: Spot, message: impl Into<String>, hint: &str) {
        self.flaws.borrow_mut().push(Flaw {
            spot,
            message: message.into(),
            hint: Some(hint.to_owned()),
        });
    }

    pub(super) fn spot(&self, line: usize, column: usize, text: Option<&str>) -> Spot {
        let text_line = self
            .lines
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        let rest = self
            .columns
            .get(line.saturating_sub(1))
            .map_or("", |columns| columns.from(text_line, column));
        Spot {
            file: self.file,
            line,
            column,
            length: underlined(rest, text).max(1),
        }
    }
}

/// Returns the rest of the line from a column on.
pub(super) fn from_column(line: &str, column: usize) -> &str {
    line.char_indices()
        .nth(column.saturating_sub(1))
        .and_then(|(at, _)| line.get(at..))
        .unwrap_or("")
}

/// Returns how many characters of `rest` belong to the value that begins it.
fn underlined(rest: &str, text: Option<&str>) -> usize {
    if let Some(text) = text
        && !text.is_empty()
        && rest.starts_with(text)
    {
        return text.chars().count();
    }
    let mut characters = rest.chars();
    match characters.next() {
        Some(quote @ ('"' | '\'')) => {
            let mut length = 1;
            let mut escaped = false;
            for character in characters {
                length += 1;
                if escaped {
                    escaped = false;
                } else if character == '\\' && quote == '"' {
                    escaped = true;
                } else if character == quote {
                    break;
                }
            }
            length
        }
        Some('{' | '[') => 1,
        _ => {
            let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}');
            let word = rest.split(ends).next().unwrap_or_default();
            word.strip_suffix(':').unwrap_or(word).chars().count()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters() {
        for line in ["", "abc", "é", &"aé日😀".repeat(100)] {
            let columns = Columns::of(line);
            for column in 0..line.chars().count() + 3 {
                assert_eq!(
                    columns.from(line, column),
                    from_column(line, column),
                    "{column}"
                );
            }
        }
    }
}
