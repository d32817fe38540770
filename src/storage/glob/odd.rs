//! The oddities that a pattern comes upon beside its files, and what is said of them: nothing is left out in silence.

use std::path::PathBuf;

use crate::{
    diagnostic::{Diagnostic, Severity, TextPosition, shown},
    manifest::FilePattern,
    path::tidy,
};

/// An oddity that a pattern came upon beside its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Oddity {
    /// A link to nothing.
    Dangling,
    /// A pipe, a socket, a device.
    Irregular,
    /// A file whose name is not UTF-8: a plan cannot write it down.
    NotUtf8,
    /// The pattern matches but for the dot in front of the file's name.
    Hidden,
    /// The pattern matches but for the case of letters.
    OtherCase,
}

/// The number of a kind that are named; the rest is counted.
const NAMED: usize = 3;

/// Tells of what was met, each kind once a pattern.
pub(super) fn oddities(
    patterns: &[FilePattern],
    mut odd: Vec<(usize, Oddity, PathBuf)>,
) -> Vec<Diagnostic> {
    odd.sort();
    odd.dedup();
    let mut problems = Vec::new();
    for same in odd.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let Some((number, what, path)) = same.first() else {
            continue;
        };
        let Some(pattern) = patterns.get(*number) else {
            continue;
        };
        let mut names: Vec<String> = same
            .iter()
            .take(NAMED)
            .map(|(_, _, path)| format!("`{}`", shown(&tidy(path))))
            .collect();
        if same.len() > NAMED {
            names.push(format!("and {} more", same.len() - NAMED));
        }
        let (names, is_one) = (names.join(", "), same.len() == 1);
        let verb = if is_one { "is" } else { "are" };
        problems.push(match what {
            Oddity::Dangling => {
                let target = fs_err::read_link(path).unwrap_or_default();
                let lead = if is_one {
                    format!("is a link to `{}`, which is not there", shown(&target))
                } else {
                    "are links to what is not there".to_owned()
                };
                problem(pattern, format!("{names} {lead}"))
                    .hint("mend the link, or leave it out with a pattern that begins with `!`")
            }
            Oddity::Irregular => {
                let what = if is_one { "no regular file" } else { "no regular files" };
                problem(pattern, format!("{names} {verb} {what}"))
                    .hint("records are read from files; `-` reads standard input")
            }
            Oddity::NotUtf8 => {
                let of = if is_one { "the name of" } else { "the names of" };
                problem(pattern, format!("{of} {names} {verb} not UTF-8, and cannot be written down in a plan"))
                    .hint("rename the file, such as with `convmv`, or leave it out with a pattern that begins with `!`")
            }
            Oddity::Hidden => Diagnostic {
                severity: Severity::Warning,
                ..problem(pattern, format!("{names} {verb} hidden, and left out"))
                    .hint("hidden files are found only where the pattern names their dot, such as `**/.*.json`; exclude them with `!` if they are not meant")
            },
            Oddity::OtherCase => Diagnostic {
                severity: Severity::Warning,
                ..problem(
                    pattern,
                    format!("{names} {} the pattern but for upper and lower case, and {verb} left out", if is_one { "matches" } else { "match" }),
                )
                .hint("write both, such as `*.{json,JSON}`; exclude them with `!` if they are not meant")
            },
        });
    }
    problems
}

/// A problem at a pattern.
pub(super) fn problem(pattern: &FilePattern, message: String) -> Diagnostic {
    let (file, line, column) = &pattern.place;
    Diagnostic::error(message).at(TextPosition {
        file: file.clone(),
        line: *line,
        column: *column,
        length: pattern.pattern.chars().count().max(1),
    })
}
