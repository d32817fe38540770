//! The forms of numbers, paths and foreign texts in reports.

use std::{path::Path, time::Duration};

use super::{Report, document::RequestFigures};
use crate::{
    diagnostic,
    record::Outcome,
    unit::{display_duration, grouped},
};

/// The widest table. Beyond it, outcomes that are all well share a column.
pub(super) const WIDTH: usize = 96;

/// Quotes a path for a shell where it needs it.
pub fn quoted(path: &Path) -> String {
    let path = plain(&path.display().to_string());
    let safe = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
    if !path.is_empty() && path.chars().all(safe) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// Takes the power to steer a terminal from a foreign text.
pub fn plain(text: &str) -> String {
    diagnostic::plain(text).into_owned()
}

/// Returns the name under which a type is shown.
pub fn kind(kind: &str) -> &str {
    if kind.is_empty() { "(no type)" } else { kind }
}

/// Renders a number of records: `1 record`, `1,204 records`.
pub(super) fn records(count: u64) -> String {
    match count {
        1 => "1 record".to_owned(),
        n => format!("{} records", grouped(n)),
    }
}

/// Renders microseconds with three digits.
pub(super) fn display_latency(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => display_duration(Duration::from_micros(us)),
    }
}

/// Marks what needs attention, or nothing.
#[derive(Clone, Copy)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn bold(self, text: &str) -> String {
        self.sequence("1", text)
    }

    pub(super) fn outcome(self, outcome: Outcome, text: &str) -> String {
        match outcome {
            Outcome::Rejected | Outcome::Blocked | Outcome::Unknown => self.sequence("31", text),
            Outcome::Unsupported | Outcome::Pending => self.sequence("33", text),
            _ => text.to_owned(),
        }
    }

    fn sequence(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Returns how long planning, sending and closing took.
pub(super) fn stretches(report: &Report) -> [String; 3] {
    let stretches = [report.planning_ms, report.sending_ms, report.closing_ms];
    stretches.map(|ms| display_duration(Duration::from_millis(ms)))
}

/// Says how many requests were sent, as far as it is known.
pub(super) fn sent(requests: &RequestFigures) -> String {
    let least = if requests.at_least { "at least " } else { "" };
    format!("{least}{}", grouped(requests.sent))
}
