//! `report.md`: what people paste into a pull request.

use std::{fmt::Write as _, time::Duration};

use super::{
    Report, Totals,
    text::{display_latency, headline, kind, plain, problem_line},
};
use crate::{
    record::Outcome,
    unit::{ByteSize, display_duration, grouped, speed},
};

/// Renders a report as Markdown.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let out = &mut text;
    let _ = writeln!(out, "## {}\n", escaped(&headline(report)));
    if let Some(reason) = &report.reason {
        let _ = writeln!(out, "{}\n", escaped(reason));
    }
    let _ = writeln!(out, "| | |\n|---|---|");
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "| {name} | {value} |");
    };
    row("Run", &escaped(&report.run));
    if let Some(started) = report.started {
        row("Started", &started.to_string());
    }
    row(
        "Duration",
        &display_duration(Duration::from_millis(report.duration_ms)),
    );
    if let Some(rate) = report.records_per_second {
        row("Speed", &format!("{} records/s", speed(rate)));
    }
    let requests = &report.requests;
    row(
        "Requests",
        &format!(
            "{}, {} of them repeated",
            grouped(requests.sent),
            grouped(requests.retries)
        ),
    );
    if !requests.statuses.is_empty() {
        let statuses: Vec<_> = requests
            .statuses
            .iter()
            .map(|(status, count)| format!("{} × {}", escaped(status), grouped(*count)))
            .collect();
        row("Status codes", &statuses.join(", "));
    }
    row(
        "Bytes",
        &format!(
            "{} sent, {} received",
            ByteSize(requests.bytes_sent),
            ByteSize(requests.bytes_received)
        ),
    );
    if let Some(latency) = report.latency {
        row(
            "Latency",
            &format!(
                "p50 {}, p95 {}, p99 {}, max {}",
                display_latency(latency.p50_us),
                display_latency(latency.p95_us),
                display_latency(latency.p99_us),
                display_latency(latency.max_us)
            ),
        );
    }
    let loads = report.loads.iter().map(|load| {
        let name = format!("{} → {}", escaped(&load.name), escaped(&load.target));
        (name, load.outcomes)
    });
    table(out, "Load", loads, report.outcomes);
    let types = report
        .types
        .iter()
        .map(|(name, totals)| (escaped(kind(name)), *totals));
    table(out, "Type", types, report.outcomes);
    problems(out, report);
    text
}

fn table(out: &mut String, title: &str, rows: impl Iterator<Item = (String, Totals)>, all: Totals) {
    let outcomes: Vec<_> = Outcome::ALL
        .into_iter()
        .filter(|outcome| all.of(*outcome) > 0)
        .collect();
    let _ = write!(out, "\n| {title} | records |");
    for outcome in &outcomes {
        let _ = write!(out, " {outcome} |");
    }
    let _ = writeln!(out, "\n|---|---:|{}", "---:|".repeat(outcomes.len()));
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
