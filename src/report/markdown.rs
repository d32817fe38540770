//! `report.md`: what people paste into a pull request.

use std::fmt::Write as _;

use super::{
    Report, Totals,
    figures::{Table, figures, present, tables},
    text::{headline, plain, problem_line},
};
use crate::unit::grouped;

/// Renders a report as Markdown.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let out = &mut text;
    let _ = writeln!(out, "## {}\n", escaped(&headline(report)));
    if let Some(reason) = &report.reason {
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
    if report.problems.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n### Problems\n");
    for problem in &report.problems {
        let _ = writeln!(
            out,
            "- {} (load {})",
            escaped(&problem_line(problem)),
            escaped(&problem.load)
        );
        for example in &problem.examples {
            let _ = write!(out, "  - {}", escaped(&example.place()));
            if !example.expression.is_empty() {
                let _ = write!(out, " at {}", escaped(&example.expression.join(", ")));
            }
            if let Some(note) = &example.note {
                let _ = write!(out, ": {}", escaped(note));
            }
            let _ = writeln!(out);
        }
        let rest = problem.records - problem.examples.len() as u64;
        if rest > 0 {
            let _ = writeln!(out, "  - … and {} more like it", grouped(rest));
        }
    }
    if report.unlisted_problems > 0 {
        let _ = writeln!(
            out,
            "- … and {} with other problems",
            super::text::records(report.unlisted_problems)
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
