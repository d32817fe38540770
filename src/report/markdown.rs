//! `report.md`: what people paste into a pull request.

use std::fmt::Write as _;

use super::{
    Report, SessionEnd, Totals,
    figures::{Table, figures, present, tables},
    format::plain,
    problems::{cause_line, codes, example_line, of_what, unlisted},
    text::headline,
};
use crate::unit::grouped;

/// Renders a report as Markdown.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let out = &mut text;
    let _ = writeln!(out, "## {}\n", escaped(&headline(report)));
    // That it was interrupted stands in the line above.
    let reason = report.reason.as_ref();
    if let Some(reason) = reason.filter(|_| report.ended != SessionEnd::Interrupted) {
        let _ = writeln!(out, "{}\n", escaped(reason));
    }
    let _ = writeln!(out, "| | |\n|---|---|");
    for (name, value) in figures(report) {
        let _ = writeln!(out, "| {name} | {} |", escaped(&value));
    }
    for table in tables(report) {
        write_table(out, &table, report.outcomes);
    }
    problems(out, report);
    text
}

fn write_table(out: &mut String, table: &Table, all: Totals) {
    let outcomes = present(all);
    let _ = write!(out, "\n| {} | records |", table.title);
    for outcome in &outcomes {
        let _ = write!(out, " {outcome} |");
    }
    let _ = writeln!(out, "\n|---|---:|{}", "---:|".repeat(outcomes.len()));
    let rows = table
        .rows
        .iter()
        .map(|(name, totals)| (escaped(name), *totals));
    for (name, totals) in rows.chain([("**total**".to_owned(), all)]) {
        let _ = write!(out, "| {name} | {} |", grouped(totals.sum()));
        for outcome in &outcomes {
            let _ = write!(out, " {} |", grouped(totals.of(*outcome)));
        }
        let _ = writeln!(out);
    }
}

fn problems(out: &mut String, report: &Report) {
    if report.causes.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n### Problems\n");
    for cause in &report.causes {
        let _ = writeln!(out, "- **{}**", escaped(&cause_line(cause)));
        let among = [codes(cause), of_what(cause)];
        for line in among.iter().filter(|line| !line.is_empty()) {
            let _ = writeln!(out, "  - {}", escaped(line));
        }
        for example in &cause.examples {
            let _ = writeln!(out, "  - {}", escaped(&example_line(cause, example)));
        }
        let rest = cause.records.saturating_sub(cause.examples.len() as u64);
        if rest > 0 {
            let _ = writeln!(out, "  - … and {} more", grouped(rest));
        }
        if let Some(next) = &cause.next {
            let _ = writeln!(out, "  - → {}", escaped(next));
        }
    }
    let rest = unlisted(report, report.causes.len());
    if rest > 0 {
        let _ = writeln!(
            out,
            "- … and {} with other problems",
            super::format::records(rest)
        );
    }
}

/// Takes their meaning from the characters that Markdown, or HTML in it, gives one.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in plain(text).chars() {
        if matches!(
            c,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '@'
        ) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
