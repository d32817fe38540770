//! Diagnostics as text for a terminal, in the look of rustc: what, where, the line itself, and what to do.
//!
//! Lays out, and takes the power to steer a terminal from names and words; what may be shown was decided where the
//! diagnostic was made. The verb prints it.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Severity, TextPosition, plain_lines, shown};

/// Renders diagnostics in the order of their places, those without a place first, with an empty line between.
pub fn render(diagnostics: &[Diagnostic], color: bool) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| &diagnostic.place);
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let texts: Vec<String> = sorted
        .into_iter()
        .map(|diagnostic| one(&renderer, diagnostic))
        .collect();
    texts.join("\n\n")
}

/// Counts diagnostics for a last line: `2 errors, 1 warning`; none if there is nothing to count.
pub fn count(diagnostics: &[Diagnostic]) -> Option<String> {
    let of = |severity, word: &str| {
        let count = diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count();
        match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            _ => Some(format!("{count} {word}s")),
        }
    };
    let parts: Vec<String> = [
        of(Severity::Error, "error"),
        of(Severity::Warning, "warning"),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn one(renderer: &Renderer, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(plain_lines(&diagnostic.message)));
    match (&diagnostic.place, &diagnostic.snippet) {
        (Some(place), Some(line)) => {
            group = group.element(
                Snippet::source(line.as_str())
                    .path(shown(&place.file))
                    .line_start(place.line)
                    .annotation(AnnotationKind::Primary.span(span(place, line))),
            );
        }
        (Some(place), None) => {
            group = group.element(
                Origin::path(shown(&place.file))
                    .line(place.line)
                    .char_column(place.column),
            );
        }
        (None, _) => {}
    }
    let hint = Level::HELP.with_name("hint");
    if diagnostic.place.is_none() {
        // Without a place there is no margin that the hints could hang on.
        let hints = diagnostic.hints.iter().map(|text| {
            let title = hint.clone().primary_title(plain_lines(text));
            renderer.render(&[Group::with_title(title)])
        });
        let lines: Vec<String> = std::iter::once(renderer.render(&[group]))
            .chain(hints)
            .collect();
        return lines.join("\n");
    }
    for text in &diagnostic.hints {
        group = group.element(hint.clone().message(plain_lines(text)));
    }
    renderer.render(&[group])
}

/// Returns the bytes of the line that are underlined: characters counted from 1 become bytes from 0.
fn span(place: &TextPosition, line: &str) -> std::ops::Range<usize> {
    let byte = |character: usize| {
        line.char_indices()
            .nth(character)
            .map_or(line.len(), |(at, _)| at)
    };
    let start = place.column.saturating_sub(1);
    byte(start)..byte(start.saturating_add(place.length.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: usize, column: usize, length: usize) -> TextPosition {
        TextPosition {
            file: "m.yaml".into(),
            line,
            column,
            length,
        }
    }

    #[test]
    fn diagnostics_are_sorted_and_underlined_by_characters() {
        let diagnostics = [
            Diagnostic::warning("later").at(place(12, 3, 1)),
            Diagnostic::error("größe is wrong")
                .at(place(2, 9, 4))
                .showing("größe:  blau # x")
                .hint("first")
                .hint("second"),
            Diagnostic::error("no place").hint("do it"),
        ];
        insta::assert_snapshot!(render(&diagnostics, false), @"
        error: no place
        hint: do it

        error: größe is wrong
         --> m.yaml:2:9
          |
        2 | größe:  blau # x
          |         ^^^^
          |
          = hint: first
          = hint: second

        warning: later
        --> m.yaml:12:3
        ");
        assert_eq!(count(&diagnostics).as_deref(), Some("2 errors, 1 warning"));
        assert_eq!(count(&[]), None);
        assert!(render(&diagnostics, true).contains("\u{1b}["));
    }

    #[test]
    fn no_name_and_no_word_steers_the_terminal() {
        let hostile = "a\u{1b}]0;x\u{7}\u{202e}b";
        let place = TextPosition {
            file: hostile.into(),
            ..place(1, 2, 1)
        };
        for problem in [
            Diagnostic::error(hostile).hint(hostile),
            Diagnostic::error(hostile).hint(hostile).at(place.clone()),
            Diagnostic::error(hostile)
                .hint(hostile)
                .at(place)
                .showing(hostile),
        ] {
            let text = render(&[problem], false);
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
            assert!(text.contains(r"a\u{1b}]0;x\u{7}\u{202e}b"), "{text}");
        }
    }

    #[test]
    fn a_place_beyond_its_line_is_no_reason_to_fail() {
        let beyond = Diagnostic::error("x").at(place(1, 99, 99)).showing("ab");
        assert!(render(&[beyond], false).contains("m.yaml:1:"));
        let empty = Diagnostic::error("x").at(place(1, 1, 1)).showing("");
        assert!(render(&[empty], false).contains("m.yaml:1:1"));
    }
}
