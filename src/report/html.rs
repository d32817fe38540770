//! `report.html`: the report for a browser, on a desk or a phone. One file that needs no other, and runs no script.
//!
//! Like all reports it holds positions, types, codes and Stoker's own words, and no content of records (design §10).

use std::fmt::Write as _;

use super::{
    Report, Totals,
    figures::{Table, present, tables},
    problems::{cause_line, codes, example_line, of_what, unlisted},
    text::{headline, plain},
};
use crate::{record::Outcome, unit::grouped};

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
    for table in tables(report) {
        write_table(out, &table, report.outcomes);
    }
    problems(out, report);
    out.push_str("</body>\n</html>\n");
    page
}

fn figures(out: &mut String, report: &Report) {
    let _ = writeln!(out, "<div><table>\n<tbody>");
    for (name, value) in super::figures::figures(report) {
        let _ = writeln!(out, "<tr><th>{name}</th><td>{}</td></tr>", escaped(&value));
    }
    let _ = writeln!(out, "</tbody>\n</table></div>");
}

fn write_table(out: &mut String, table: &Table, all: Totals) {
    let outcomes = present(all);
    let _ = write!(
        out,
        "<div><table>\n<thead><tr><th>{}</th><th class=\"n\">records</th>",
        table.title
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
    for (name, totals) in &table.rows {
        row(&escaped(name), *totals);
    }
    row("<strong>total</strong>", all);
    let _ = writeln!(out, "</tbody>\n</table></div>");
}

fn problems(out: &mut String, report: &Report) {
    if report.causes.is_empty() {
        return;
    }
    let _ = writeln!(out, "<h2>Problems</h2>\n<ul>");
    for cause in &report.causes {
        let _ = writeln!(
            out,
            "<li><strong>{}</strong>\n<ul>",
            escaped(&cause_line(cause))
        );
        let among = [codes(cause), of_what(cause)];
        for line in among.iter().filter(|line| !line.is_empty()) {
            let _ = writeln!(out, "<li>{}</li>", escaped(line));
        }
        for example in &cause.examples {
            let line = escaped(&example_line(cause, example));
            let _ = writeln!(out, "<li><code>{line}</code></li>");
        }
        let rest = cause.records.saturating_sub(cause.examples.len() as u64);
        if rest > 0 {
            let _ = writeln!(out, "<li>… and {} more</li>", grouped(rest));
        }
        if let Some(next) = &cause.next {
            let _ = writeln!(out, "<li>→ {}</li>", escaped(next));
        }
        let _ = writeln!(out, "</ul></li>");
    }
    let rest = unlisted(report, report.causes.len());
    if rest > 0 {
        let _ = writeln!(
            out,
            "<li>… and {} with other problems</li>",
            super::text::records(rest)
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
