//! The depth to which a YAML text nests, found without parsing it: the parser needs time by the square of the depth of
//! brackets, and no text should take minutes to be refused.
//!
//! The count is of the brackets that are open, and of the `- ` and `? ` in front of a line's value. Quotes, comments,
//! block texts and plain texts with brackets in them are passed over as YAML has them; where that is not exact, a
//! bracket too many does no harm, because the limit is far above what a manifest needs.

/// Far above the depth of any manifest, and below what the parser takes.
const DEEPEST: usize = 100;

/// Returns the place at which the text nests deeper than any manifest does: line and column, from 1.
pub(super) fn too_deep(lines: &[&str]) -> Option<(usize, usize)> {
    let mut scan = Scan {
        open: 0,
        quote: None,
        block: None,
    };
    (1..)
        .zip(lines)
        .find_map(|(number, line)| scan.line(line).map(|column| (number, column)))
}

struct Scan {
    /// Brackets that are open.
    open: usize,
    /// The quote in which the line before ended.
    quote: Option<char>,
    /// In a block text (`|`, `>`): the indentation of the line that began it.
    block: Option<usize>,
}

impl Scan {
    /// Reads a line, and returns the column at which it goes too deep.
    fn line(&mut self, line: &str) -> Option<usize> {
        let indent = line.chars().take_while(|c| *c == ' ').count();
        if let Some(of) = self.block {
            if line.trim().is_empty() || indent > of {
                return None;
            }
            self.block = None;
        }
        let mut dashes = 0;
        // True while a value may begin here; a plain text goes on to its end.
        let mut begins = true;
        let mut before = ' ';
        let mut escaped = false;
        let mut characters = (1..).zip(line.chars()).peekable();
        while let Some((column, c)) = characters.next() {
            if let Some(quote) = self.quote {
                if escaped {
                    escaped = false;
                } else if c == '\\' && quote == '"' {
                    escaped = true;
                } else if c == quote {
                    // Two single quotes are one, and the text goes on.
                    let is_doubled =
                        quote == '\'' && characters.next_if(|(_, next)| *next == quote).is_some();
                    if !is_doubled {
                        self.quote = None;
                    }
                }
                before = c;
                continue;
            }
            let next = characters.peek().map_or(' ', |(_, next)| *next);
            let in_flow = self.open > 0;
            match c {
                '#' if before.is_whitespace() => return None,
                '"' | '\'' if begins => (self.quote, begins) = (Some(c), false),
                '[' | '{' if begins || in_flow => (self.open, begins) = (self.open + 1, true),
                ']' | '}' if in_flow => (self.open, begins) = (self.open - 1, false),
                ',' if in_flow => begins = true,
                '-' | '?' if begins && next.is_whitespace() => dashes += 1,
                ':' if next.is_whitespace() || (in_flow && !next.is_alphanumeric()) => {
                    begins = true;
                }
                '|' | '>' if begins && !in_flow => {
                    self.block = Some(indent);
                    return None;
                }
                // An anchor or a tag stands in front of the value.
                '&' | '!' if begins => {
                    while characters.next_if(|(_, c)| !c.is_whitespace()).is_some() {}
                }
                _ if c.is_whitespace() => {}
                _ => begins = false,
            }
            if self.open + dashes > DEEPEST {
                return Some(column);
            }
            before = c;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<(usize, usize)> {
        too_deep(&text.lines().collect::<Vec<_>>())
    }

    #[test]
    fn depth_is_told_with_its_place() {
        assert_eq!(of(&"[".repeat(101)), Some((1, 101)));
        assert_eq!(of(&"a: [\n".repeat(101)), Some((101, 4)));
        assert_eq!(of(&("[".repeat(100) + &"]".repeat(100))), None);
        assert_eq!(of(&"- ".repeat(101)), Some((1, 201)));
        assert_eq!(of(&"{a: ".repeat(200)), Some((1, 401)));
        assert_eq!(of(&"[!t &a [".repeat(200)), Some((1, 401)));
    }

    #[test]
    fn brackets_in_texts_do_not_count() {
        let texts = [
            "- a[b\n",
            "- 'it''s [[[['\n",
            "- \"\\\"[[[[\"\n",
            "# [[[[\n",
            "a: b # {{{{\n",
            "a: |\n  [[[[\n  {{{{\n",
            "- a: >-\n    [[[[\n",
            "files: ['[[[', \"{{{\"] # [\n",
            "a: x{{{{\n",
        ];
        for text in texts {
            assert_eq!(of(&text.repeat(200)), None, "{text}");
        }
    }
}
