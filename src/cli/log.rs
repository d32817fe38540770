//! Logs: what `tracing` is told, as lines for people or JSON for machines, on standard error or in a file.
//!
//! The words of an event are decided where it is told: no query strings, no bodies, no server's words, no secrets. Here
//! lines are made of them, one write each, so that neither bars nor other processes that append to the file tear them.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use clap::ValueEnum;
use serde_json::Value;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use super::{
    Error,
    printer::{Printer, harmless_json},
};
use crate::diagnostic::{Diagnostic, plain};

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

/// The destination of log lines, their form, and the highest level.
#[derive(Debug)]
struct Log {
    most: LevelFilter,
    format: LogFormat,
    to: To,
}

#[derive(Debug)]
enum To {
    /// Beside bars and messages.
    Stderr,
    File {
        file: std::fs::File,
        path: PathBuf,
        printer: Printer,
        /// It has been said that it cannot be written.
        has_failed: AtomicBool,
    },
}

/// Begins to log. A file is opened, and made its owner's alone where it is new; without `-v` it gets what `-v` shows.
pub(super) fn begin(
    verbose: u8,
    format: LogFormat,
    file: Option<&Path>,
    printer: Printer,
) -> Result<(), Error> {
    let most = match (verbose, file) {
        (0, None) => return Ok(()),
        // Quiet: what is wrong, also of logs.
        (_, None) if printer.is_quiet() => LevelFilter::WARN,
        (0 | 1, _) => LevelFilter::INFO,
        (2, _) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let to = match file {
        None => To::Stderr,
        Some(path) => To::File {
            file: open(path)?,
            path: path.to_owned(),
            printer,
            has_failed: AtomicBool::new(false),
        },
    };
    let log = Log { most, format, to };
    // Only tests within one process would begin twice.
    let _ = tracing_subscriber::registry().with(log).try_init();
    Ok(())
}

fn open(path: &Path) -> Result<std::fs::File, Error> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let opened = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    opened.map_err(|error| {
        let what = format!("cannot open the log file {}: {error}", path.display());
        Error::elsewhere(what, "`--log-file` takes another file")
    })
}

impl<S: Subscriber> Layer<S> for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        // Events of other crates may hold anything.
        let is_ours = metadata.target().split("::").next() == Some("stoker");
        is_ours && *metadata.level() <= self.most
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        let level = *event.metadata().level();
        let as_json = match &self.to {
            To::Stderr => self.format == LogFormat::Json || Printer::speaks_json(),
            To::File { .. } => self.format == LogFormat::Json,
        };
        let now = jiff::Timestamp::now();
        let mut line = if as_json {
            // JSON's own escapes leave what steers a terminal in Unicode's way.
            harmless_json(&told.json(level, now))
        } else {
            told.text(level, now)
        };
        line.push('\n');
        self.to.write(&line);
    }
}

impl To {
    fn write(&self, line: &str) {
        match self {
            Self::Stderr => Printer::log(line),
            Self::File {
                file,
                path,
                printer,
                has_failed,
            } => {
                let mut file = file;
                if let Err(error) = file.write_all(line.as_bytes())
                    && !has_failed.swap(true, Relaxed)
                {
                    let what = format!("cannot write the log file {}: {error}", path.display());
                    let problem = Diagnostic::error(what).hint("the work goes on without it");
                    printer.problems(&[problem]);
                }
            }
        }
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The text and the fields of an event.
#[derive(Default)]
struct Told {
    text: String,
    fields: Vec<(&'static str, Value)>,
}

impl Told {
    /// `2026-01-31T08:15:00.123Z info  the target asks to wait  target=clinic ms=4000`
    fn text(self, level: Level, now: jiff::Timestamp) -> String {
        let mut line = format!("{now:.3} {:<5} {}", word(level), plain(&self.text));
        for (at, (name, value)) in self.fields.iter().enumerate() {
            let gap = if at == 0 { "  " } else { " " };
            // Writing to a String cannot fail.
            let _ = match value {
                Value::String(value) if is_plain_word(value) => write!(line, "{gap}{name}={value}"),
                Value::String(value) => write!(line, "{gap}{name}=\"{}\"", plain(value)),
                other => write!(line, "{gap}{name}={other}"),
            };
        }
        line
    }

    /// `{"log":"info","at":"2026-01-31T08:15:00.123Z","text":"the target asks to wait","target":"clinic","ms":4000}`
    fn json(self, level: Level, now: jiff::Timestamp) -> String {
        let first = [
            ("log", word(level).into()),
            ("at", format!("{now:.3}").into()),
            ("text", Value::from(self.text)),
        ];
        let mut line = String::new();
        for (name, value) in first.into_iter().chain(self.fields) {
            let before = if line.is_empty() { '{' } else { ',' };
            // Names of fields are words of the code; writing to a String cannot fail.
            let _ = write!(line, "{before}\"{name}\":{value}");
        }
        line.push('}');
        line
    }
}

/// Tells whether a value can stand without quotation marks.
fn is_plain_word(value: &str) -> bool {
    !value.is_empty()
        && value
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '='))
}

impl Told {
    fn note(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.text = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.note(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        Told {
            text: "the target\nasks to wait".to_owned(),
            fields: vec![
                ("target", "clinic".into()),
                ("because", "the server answered \u{1b}[2J 503".into()),
                ("ms", 4000.into()),
            ],
        }
    }

    #[test]
    fn a_line_stays_a_line_and_steers_no_terminal() {
        let now = "2026-01-31T08:15:00.1239Z".parse().unwrap();
        assert_eq!(
            told().text(Level::INFO, now),
            "2026-01-31T08:15:00.123Z info  the target\\u{a}asks to wait  target=clinic \
             because=\"the server answered \\u{1b}[2J 503\" ms=4000"
        );
        let json: Value = serde_json::from_str(&told().json(Level::WARN, now)).unwrap();
        assert_eq!(json["log"], "warn");
        assert_eq!(json["at"], "2026-01-31T08:15:00.123Z");
        assert_eq!(json["text"], "the target\nasks to wait");
        assert_eq!(
            (&json["target"], &json["ms"]),
            (&"clinic".into(), &4000.into())
        );
    }
}
