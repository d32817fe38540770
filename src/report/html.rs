//! `report.html`: the report for a browser, on a desk or a phone. One file that needs no other, and runs no script.
//!
//! Like all reports it holds positions, types, codes and Stoker's own words, and no content of records (design §10).

use std::{fmt::Write as _, time::Duration};

use super::{
    Report, Totals,
    text::{display_latency, headline, kind, plain, problem_line},
};
use crate::{
    record::Outcome,
    unit::{ByteSize, display_duration, grouped, speed},
};

/// Light and dark as the system is, in its own fonts; tables scroll by themselves where the screen is narrow.
const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--bad:#b3261e;--well:#1a7f37}
@media(prefers-color-scheme:dark){:root{--bad:#ff8a80;--well:#7ee787}}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
div{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--line);text-align:left;overflow-wrap:normal}
td.n,th.n{text-align:right}.bad{color:var(--bad)}.well{color:var(--well)}
ul{padding-left:1.2rem}code{font-size:.9em}";

/// Renders a report as a page.
pub fn render(report: &Report) -> String {
    let mut page = String::new();
    let out = &mut page;
    let title = escaped(&headline(report));
    let failed = Outcome::ALL
        .into_iter()
        .any(|outcome| !outcome.is_well() && report.outcomes.of(outcome) > 0);
    let class = if failed { "bad" } else { "well" };
    let _ = writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1 class=\"{class}\">{title}</h1>"
    );
    if let Some(reason) = &report.reason {
        let _ = writeln!(out, "<p>{}</p>", escaped(reason));
    }
    figures(out, report);
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
    out.push_str("</body>\n</html>\n");
    page
}

fn figures(out: &mut String, report: &Report) {
    let _ = writeln!(out, "<div><table>\n<tbody>");
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "<tr><th>{name}</th><td>{value}</td></tr>");
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
    let _ = writeln!(out, "</tbody>\n</table></div>");
}

fn table(out: &mut String, title: &str, rows: impl Iterator<Item = (String, Totals)>, all: Totals) {
    let outcomes: Vec<_> = Outcome::ALL
        .into_iter()
        .filter(|outcome| all.of(*outcome) > 0)
        .collect();
    let _ = write!(
        out,
        "<div><table>\n<thead><tr><th>{title}</th><th class=\"n\">records</th>"
    );
    for outcome in &outcomes {
        let _ = write!(out, "<th class=\"n\">{outcome}</th>");
    }
    let _ = writeln!(out, "</tr></thead>\n<tbody>");
    let mut row = |name: &str, totals: Totals| {
        let _ = write!(
            out,
            "<tr><td>{name}</td><td class=\"n\">{}</td>",
            grouped(totals.sum())
        );
        for outcome in &outcomes {
            let count = totals.of(*outcome);
            let class = if count > 0 && !outcome.is_well() {
                "n bad"
            } else {
                "n"
            };
            let _ = write!(out, "<td class=\"{class}\">{}</td>", grouped(count));
        }
        let _ = writeln!(out, "</tr>");
    };
    for (name, totals) in rows {
        row(&name, totals);
    }
    row("<strong>total</strong>", all);
    let _ = writeln!(out, "</tbody>\n</table></div>");
}

fn problems(out: &mut String, report: &Report) {
    if report.problems.is_empty() {
        return;
    }
    let _ = writeln!(out, "<h2>Problems</h2>\n<ul>");
    for problem in &report.problems {
        let _ = writeln!(
            out,
            "<li>{} (load {})\n<ul>",
            escaped(&problem_line(problem)),
            escaped(&problem.load)
        );
        for example in &problem.examples {
            let _ = write!(out, "<li><code>{}</code>", escaped(&example.place()));
            if !example.expression.is_empty() {
                let _ = write!(out, " at {}", escaped(&example.expression.join(", ")));
            }
            if let Some(note) = &example.note {
                let _ = write!(out, ": {}", escaped(note));
            }
            let _ = writeln!(out, "</li>");
        }
        let rest = problem.records - problem.examples.len() as u64;
        if rest > 0 {
            let _ = writeln!(out, "<li>… and {} more like it</li>", grouped(rest));
        }
        let _ = writeln!(out, "</ul></li>");
    }
    if report.unlisted_problems > 0 {
        let _ = writeln!(
            out,
            "<li>… and {} with other problems</li>",
            super::text::records(report.unlisted_problems)
        );
    }
    let _ = writeln!(out, "</ul>");
}

/// Takes their meaning from the characters that HTML gives one.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
