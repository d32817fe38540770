//! Decides what is shown where: the one place that writes to the terminal.
//!
//! Results go to standard output, everything about the way there to standard error, so that a verb's output can be
//! piped. `-q` leaves results and errors.

use std::io::{self, IsTerminal, Write};

use super::{Color, render};
use crate::diagnostic::Diagnostic;

/// Writes to the terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    quiet: bool,
    color_out: bool,
    color_err: bool,
}

impl Printer {
    /// Makes a printer; `no_color` is whether the environment asks for none (<https://no-color.org>).
    pub(super) fn new(quiet: bool, color: Color, no_color: bool) -> Self {
        let decide = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !no_color,
        };
        Self {
            quiet,
            color_out: decide(io::stdout().is_terminal()),
            color_err: decide(io::stderr().is_terminal()),
        }
    }

    /// Tells whether only results and errors are wanted.
    pub(super) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Tells whether standard output takes colour.
    pub(super) fn colors_output(self) -> bool {
        self.color_out
    }

    /// Tells whether standard error takes colour.
    pub(super) fn colors_messages(self) -> bool {
        self.color_err
    }

    /// Tells whether people watch standard error.
    pub(super) fn is_watched() -> bool {
        io::stderr().is_terminal()
    }

    #[expect(clippy::unused_self, reason = "whoever may print holds a printer")]
    /// Writes a result. A reader that has gone away (`stoker plan … | head`) is no error.
    pub(super) fn result(self, text: &str) {
        write_all(&mut io::stdout().lock(), text);
    }

    #[expect(clippy::unused_self, reason = "whoever may print holds a printer")]
    /// Writes a result byte by byte as it is.
    pub(super) fn result_bytes(self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    /// Writes a message about the way to the result.
    pub(super) fn message(self, text: &str) {
        if !self.quiet {
            write_all(&mut io::stderr().lock(), text);
        }
    }

    /// Writes problems: errors always, warnings unless quiet.
    pub(super) fn problems(self, problems: &[Diagnostic]) {
        let shown: Vec<Diagnostic> = problems
            .iter()
            .filter(|p| !self.quiet || p.severity == crate::diagnostic::Severity::Error)
            .cloned()
            .collect();
        if !shown.is_empty() {
            write_all(
                &mut io::stderr().lock(),
                &render::render(&shown, self.color_err),
            );
        }
    }
}

fn write_all(out: &mut impl Write, text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    // Nothing can be said about a terminal that is gone.
    let _ = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(end.as_bytes()));
    let _ = out.flush();
}
