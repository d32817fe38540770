//! Decides what is shown where: the one place that writes to the terminal.
//!
//! Results go to standard output, everything about the way there to standard error, so that a verb's output can be
//! piped. `-q` leaves errors and results; the summary of a load is one only where something is wrong. Every text that
//! is written here has passed [`plain_lines`], so that no name of a file and no word of a server can steer the
//! terminal; only what is exact by its purpose, and what was coloured by its maker, who took care of that, goes out as
//! it is.
//!
//! Standard error is shared with the code that draws a run ([`Printer::gives_way_to`]): bars are taken away before anything
//! else is written there. If progress is JSON, every line there is: a message is an object with the member `message`
//! (`note`, `warning` or `error`) and its `text`.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use serde::Serialize;

use super::{Color, render, terminal::Terminal, wrap};
use crate::{
    diagnostic::{Diagnostic, Severity, plain_lines, steers},
    progress::{Ink, Watcher},
};

/// Writes to the terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    quiet: bool,
    color_out: bool,
    color_err: bool,
    terminal: Terminal,
    /// The reason why standard output could not be written, once it could not.
    unwritten: &'static OnceLock<io::Error>,
}

/// There is one standard output.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// There is one standard error, and one who draws there.
static WATCHER: Mutex<Option<Watcher>> = Mutex::new(None);

/// Programs read standard error.
static SPEAKS_JSON: AtomicBool = AtomicBool::new(false);

/// A message, where programs read standard error.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "message")]
    what: &'static str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    hints: &'a [String],
}

impl<'a> Message<'a> {
    fn note(text: &'a str) -> Self {
        Self {
            what: "note",
            text: text.trim_end(),
            file: None,
            line: None,
            column: None,
            hints: &[],
        }
    }

    fn of(problem: &'a Diagnostic) -> Self {
        let place = problem.place.as_ref();
        Self {
            what: match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            file: place.map(|place| place.file.to_string_lossy()),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            hints: &problem.hints,
            ..Self::note(&problem.message)
        }
    }

    fn json(&self) -> String {
        // Strings and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Printer {
    /// Makes a printer on a terminal.
    pub(super) fn new(quiet: bool, color: Color, terminal: Terminal) -> Self {
        let decide = |is_terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal.colour.unwrap_or(is_terminal),
        };
        Self {
            quiet,
            color_out: decide(io::stdout().is_terminal()),
            color_err: decide(io::stderr().is_terminal()),
            terminal,
            unwritten: &UNWRITTEN,
        }
    }

    /// Lets what is written next stand over the `^C` that a terminal has echoed.
    pub(super) fn over_the_echo() {
        let mut out = io::stderr();
        if out.is_terminal() {
            // A terminal that is gone shows nothing.
            let _ = out.write_all(b"\r");
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

    /// Tells whether people watch standard error on a terminal that can move its cursor.
    pub(super) fn draws(self) -> bool {
        Self::is_watched() && !self.terminal.is_dumb
    }

    /// Returns how bars are drawn.
    pub(super) fn ink(self) -> Ink {
        Ink {
            is_coloured: self.color_err,
            is_ascii: self.terminal.is_ascii,
        }
    }

    /// Tells whether people watch standard error.
    pub(super) fn is_watched() -> bool {
        io::stderr().is_terminal()
    }

    /// Writes a result for people. That it could not be written is told at the end ([`Printer::unwritten`]): what a verb does
    /// besides is done to its end.
    pub(super) fn result(self, text: &str) {
        self.styled(&plain_lines(text));
    }

    /// Writes a text whose lines mean something, such as a page: none is broken.
    pub(super) fn document(self, text: &str) {
        let text = plain_lines(text);
        if io::stdout().is_terminal() {
            self.exact(&self.terminal.spelled(&text));
        } else {
            self.exact(&text);
        }
    }

    /// Writes a result that its maker has coloured, and has made harmless.
    pub(super) fn styled(self, text: &str) {
        if io::stdout().is_terminal() {
            let text = self.terminal.spelled(text);
            self.exact(&fitted(&text, &console::Term::stdout()));
        } else {
            self.exact(text);
        }
    }

    fn exact(self, text: &str) {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let mut out = io::stdout().lock();
        let written = out
            .write_all(text.as_bytes())
            .and_then(|()| out.write_all(end.as_bytes()))
            .and_then(|()| out.flush());
        self.note(written);
    }

    /// Writes JSON. Only on a terminal is what could steer it written by JSON's own escapes, which mean the same.
    pub(super) fn json(self, text: &str) {
        if io::stdout().is_terminal() {
            self.exact(&harmless_json(text));
        } else {
            self.exact(text);
        }
    }

    /// Writes a result byte by byte as it is.
    pub(super) fn result_bytes(self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        let written = out.write_all(bytes).and_then(|()| out.flush());
        self.note(written);
    }

    /// Writes many lines of JSON, piece by piece; none is returned when they could not be written. Only on a terminal is what
    /// could steer it written by JSON's own escapes.
    pub(super) fn json_lines<T>(
        self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
    ) -> Option<T> {
        let is_terminal = io::stdout().is_terminal();
        let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let written = if is_terminal {
            let mut lines = HarmlessLines::new(&mut out);
            write(&mut lines).and_then(|value| lines.flush().map(|()| value))
        } else {
            write(&mut out).and_then(|value| out.flush().map(|()| value))
        };
        match written {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(Err(error));
                None
            }
        }
    }

    fn note(self, written: io::Result<()>) {
        if let Err(error) = written {
            // The first reason is the one that counts.
            let _ = self.unwritten.set(error);
        }
    }

    /// Tells why standard output could not be written, if it could not.
    pub(super) fn unwritten(self) -> Option<&'static io::Error> {
        self.unwritten.get()
    }

    /// Names who draws on standard error from now on.
    pub(super) fn gives_way_to(watcher: &Watcher) {
        *WATCHER.lock().unwrap_or_else(PoisonError::into_inner) = Some(watcher.clone());
    }

    /// From now on programs read standard error: every line there is a JSON object.
    pub(super) fn speak_json() {
        SPEAKS_JSON.store(true, Relaxed);
    }

    /// Tells whether programs read standard error.
    pub(super) fn speaks_json() -> bool {
        SPEAKS_JSON.load(Relaxed)
    }

    /// Writes a message about the way to the result.
    pub(super) fn message(self, text: &str) {
        if self.quiet {
            return;
        }
        if Self::speaks_json() {
            beside(&harmless_json(&Message::note(text).json()));
        } else {
            let text = self.spelled(&plain_lines(text)).into_owned();
            if Self::is_watched() {
                beside(&fitted(&text, &console::Term::stderr()));
            } else {
                beside(&text);
            }
        }
    }

    /// Writes problems: errors always, warnings unless quiet.
    pub(super) fn problems(self, problems: &[Diagnostic]) {
        let shown: Vec<Diagnostic> = problems
            .iter()
            .filter(|p| !self.quiet || p.severity == Severity::Error)
            .cloned()
            .collect();
        if Self::speaks_json() {
            for problem in &shown {
                beside(&harmless_json(&Message::of(problem).json()));
            }
        } else if !shown.is_empty() {
            let text = render::render(&shown, self.color_err);
            let text = self.spelled(&text);
            // A piece of a manifest has a picture below it, which stands where it does.
            let is_plain = shown.iter().all(|problem| problem.place.is_none());
            if is_plain && Self::is_watched() {
                beside(&fitted(&text, &console::Term::stderr()));
            } else {
                beside(&text);
            }
        }
    }

    /// Spells a text as standard error shows it.
    fn spelled(self, text: &str) -> Cow<'_, str> {
        if Self::is_watched() {
            self.terminal.spelled(text)
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Writes a line of the log, which its maker has made harmless.
    pub(super) fn log(line: &str) {
        beside(line);
    }
}

/// Breaks lines at words, as wide as the window is.
fn fitted(text: &str, window: &console::Term) -> String {
    match window.size_checked() {
        Some((_, columns)) => wrap::wrapped(text, columns.into()),
        None => text.to_owned(),
    }
}

/// Writes lines of JSON in which nothing can steer a terminal.
struct HarmlessLines<W> {
    out: W,
    /// The beginning of a line.
    held: Vec<u8>,
}

impl<W: Write> HarmlessLines<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            held: Vec::new(),
        }
    }
}

impl<W: Write> Write for HarmlessLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if let Some(end) = memchr::memrchr(b'\n', &self.held) {
            let rest = self.held.split_off(end + 1);
            let lines = std::mem::replace(&mut self.held, rest);
            let lines = harmless_json(&String::from_utf8_lossy(&lines));
            self.out.write_all(lines.as_bytes())?;
        }
        Ok(bytes.len())
    }

    /// A line that is not over is written as far as it goes.
    fn flush(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.held);
        let rest = harmless_json(&String::from_utf8_lossy(&rest));
        self.out.write_all(rest.as_bytes())?;
        self.out.flush()
    }
}

/// Writes to standard error beside what is drawn there.
fn beside(text: &str) {
    // The code that suspends the bars may be about to write, too: the lock is not held meanwhile.
    let watcher = {
        let watcher = WATCHER.lock().unwrap_or_else(PoisonError::into_inner);
        watcher.clone().unwrap_or_else(Watcher::none)
    };
    watcher.suspend(|| write_all(&mut io::stderr().lock(), text));
}

/// Writes the characters that could steer a terminal as JSON's escapes. They stand in strings only, as elsewhere JSON has none.
pub(super) fn harmless_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        if matches!(c, '\n' | '\r' | '\t') || !steers(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = std::fmt::Write::write_fmt(&mut out, format_args!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn write_all(out: &mut impl Write, text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    // Nothing can be said about a terminal that is gone.
    let _ = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(end.as_bytes()));
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{Diagnostic, HarmlessLines, Message, harmless_json};

    #[test]
    fn a_message_for_programs_says_what_it_is() {
        let problem = Diagnostic::warning("two\nlines").hint("do it");
        assert_eq!(
            Message::of(&problem).json(),
            r#"{"message":"warning","text":"two\nlines","hints":["do it"]}"#
        );
        assert_eq!(
            Message::note("so\n").json(),
            r#"{"message":"note","text":"so"}"#
        );
    }

    #[test]
    fn lines_of_json_are_harmless_wherever_they_are_cut() {
        let line = "{\"file\":\"a\u{9b}31m\u{202e}é\"}\n";
        let text = line.repeat(3);
        for piece in 1..text.len() {
            let mut out = Vec::new();
            let mut lines = HarmlessLines::new(&mut out);
            for bytes in text.as_bytes().chunks(piece) {
                lines.write_all(bytes).unwrap();
            }
            lines.flush().unwrap();
            let expected = "{\"file\":\"a\\u009b31m\\u202eé\"}\n".repeat(3);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{piece}");
        }
    }

    #[test]
    fn json_on_a_terminal_means_the_same() {
        let json = "{\n\t\"a\u{202e}\": \"\u{7f}é\u{e0041}\"}";
        let shown = harmless_json(json);
        assert!(
            shown
                .chars()
                .all(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        );
        assert_eq!(shown, "{\n\t\"a\\u202e\": \"\\u007fé\\udb40\\udc41\"}");
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
    }
}
