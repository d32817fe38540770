//! The problems of records that did not arrive, as people read them: the lines that all forms of a report have in common,
//! and how a terminal shows them.

use std::fmt::Write as _;

use super::{
    Cause, Report, Words,
    format::{Paint, WIDTH, kind, plain, records},
    mistake::without_place,
};
use crate::{record::Outcome, unit::grouped};

/// Causes that a terminal shows; the rest is in `report.md`.
const CAUSES: usize = 8;

/// Writes the causes for a terminal, with the server's words where they are at hand.
pub(super) fn problems(
    out: &mut String,
    report: &Report,
    paint: Paint,
    mut words: Option<&mut Words>,
) {
    if report.causes.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", paint.bold("Problems"));
    for cause in report.causes.iter().take(CAUSES) {
        let outcome = Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == cause.outcome);
        let line = plain(&cause_line(cause));
        let mut lines = wrapped(&line, 2, 6).into_iter();
        let first = lines.next().unwrap_or_default();
        let first = match (outcome, first.split_once(cause.outcome)) {
            (Some(outcome), Some((before, rest))) => {
                format!("{before}{}{rest}", paint.outcome(outcome, cause.outcome))
            }
            _ => first,
        };
        let _ = writeln!(out, "{first}");
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
        let among = [codes(cause), of_what(cause)];
        let among: Vec<_> = among.into_iter().filter(|text| !text.is_empty()).collect();
        if !among.is_empty() {
            write_wrapped(out, &plain(&among.join(" · ")), 6, 8);
        }
        for example in &cause.examples {
            let _ = writeln!(out, "      {}", plain(&example_line(cause, example)));
            let said = words.as_mut().and_then(|words| words.of(example.record));
            if let Some(said) = said {
                write_wrapped(out, &format!("the server said: {}", plain(&said)), 8, 10);
            }
        }
        let rest = cause.records.saturating_sub(cause.examples.len() as u64);
        if rest > 0 {
            let _ = writeln!(out, "      … and {} more", grouped(rest));
        }
        if let Some(next) = &cause.next {
            write_wrapped(out, &format!("→ {}", plain(next)), 6, 8);
        }
    }
    let rest = unlisted(report, CAUSES);
    if rest > 0 {
        let _ = writeln!(out, "  … and {} with other problems", records(rest));
    }
}

/// Returns how many records have a cause that is not among the first ones.
pub(super) fn unlisted(report: &Report, shown: usize) -> u64 {
    let listed = report.causes.iter().take(shown);
    let listed: u64 = listed
        .map(|cause| cause.records + cause.together + cause.blocked)
        .sum();
    let totals = &report.outcomes;
    let all = totals.rejected + totals.unknown + totals.blocked + totals.unsupported;
    all.saturating_sub(listed)
}

/// Says what a cause is and whom it concerns: `583 rejected, and 2,431 blocked by them: reference to …`.
pub(super) fn cause_line(cause: &Cause) -> String {
    let mut line = format!("{} {}", grouped(cause.records), cause.outcome);
    let brought = [
        (cause.together, "more of their transactions"),
        (cause.blocked, "blocked by them"),
    ];
    for (count, words) in brought.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(line, ", and {} {words}", grouped(count));
    }
    let _ = write!(line, ": {}", cause.what);
    line
}

/// Returns what the answer says in codes: `400 processing HAPI-1094`.
pub(super) fn codes(cause: &Cause) -> String {
    let status = cause.status.map(|status| status.to_string());
    let codes = [status, cause.code.clone(), cause.detail.clone()];
    let codes: Vec<_> = codes.into_iter().flatten().collect();
    codes.join(" ")
}

/// Returns of which types and loads the records of a cause are: `Patient 4, Encounter 2 (load people)`.
pub(super) fn of_what(cause: &Cause) -> String {
    /// The rest is summed up.
    const TYPES: usize = 6;
    let mut types: Vec<_> = cause.types.iter().collect();
    types.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut words: Vec<_> = types
        .iter()
        .take(TYPES)
        .map(|(name, count)| format!("{} {}", kind(name), grouped(**count)))
        .collect();
    if let Some(more) = types.len().checked_sub(TYPES).filter(|more| *more > 0) {
        words.push(format!("{more} more types"));
    }
    let loads = match cause.loads.as_slice() {
        [] => String::new(),
        [one] => format!(" (load {one})"),
        several => format!(" (loads {})", several.join(", ")),
    };
    format!("{}{loads}", words.join(", "))
}

/// Returns where a record of a cause stands, and what is to be said of it alone.
pub(super) fn example_line(cause: &Cause, example: &super::Example) -> String {
    let mut words = example.place();
    if !example.expression.is_empty() {
        let _ = write!(words, "  at {}", example.expression.join(", "));
    }
    // The words on a cause need not be said of each record; of records in doubt, `records.ndjson` says more.
    let is_told = cause.outcome != Outcome::Unknown.as_str();
    let note = example.note.as_deref().filter(|_| is_told);
    let (said, place) = without_place(note.unwrap_or_default());
    if said != cause.what
        && let Some(note) = note
    {
        let _ = write!(words, "  {note}");
    } else if let Some((place, line)) = place
        && line != example.line
    {
        // The record begins on another line than the one with the mistake.
        let _ = write!(words, "  {place}");
    }
    words
}

/// Breaks a text between its words, so that no line is wider than a summary may be.
fn wrapped(text: &str, first: usize, then: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = " ".repeat(first);
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(then)));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines
}

fn write_wrapped(out: &mut String, text: &str, first: usize, then: usize) {
    for line in wrapped(text, first, then) {
        let _ = writeln!(out, "{line}");
    }
}
