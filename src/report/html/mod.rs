//! `report.html`: the report for a browser, on a desk, a phone or paper. One file that needs no other, and runs no script.
//!
//! The verdict and what next come first, then pictures of how the run went, then problems, plan and reality, settings, facts and
//! sessions. Each picture has a table that says the same. Like all reports it holds positions, types, codes and Stoker's own
//! words, and no content of records (design §10).

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest as _, Sha256};

use super::{
    Report, Totals,
    figures::{Table, present, tables},
    format::plain,
    problems::{cause_line, codes, example_line, of_what, unlisted},
    text::headline,
};
use crate::{
    record::Outcome,
    unit::{display_duration, grouped},
};
use pictures::{Picture, Shape};
use timeline::Axis;

mod around;
mod draw;
mod latency;
mod next;
mod numbers;
mod others;
mod pictures;
mod timeline;
mod types;
mod verified;

pub use around::Around;
pub(super) use around::Requests;
pub use verified::render as verified;

/// Light and dark as the system is, in its own fonts; tables scroll by themselves where the screen is narrow.
const STYLE: &str = include_str!("page.css");

/// Sorts tables, where scripts are allowed. The page needs none to be read.
pub const SCRIPT: &str = include_str!("page.js");

/// Targets of which pictures are drawn; further ones stand in a table: a page of more pictures is none that anybody reads.
const TARGETS: usize = 6;

/// Renders a report as a page.
pub fn render(report: &Report, around: &Around) -> String {
    let mut page = String::new();
    let out = &mut page;
    let title = escaped(&headline(report));
    let failed = Outcome::ALL
        .into_iter()
        .any(|outcome| is_ill(outcome, around) && report.outcomes.of(outcome) > 0);
    let (class, verdict) = if failed {
        ("bad", "verdict ill")
    } else {
        ("well", "verdict")
    };
    // No other script runs, whatever may stand in the page.
    let hash = BASE64.encode(Sha256::digest(SCRIPT));
    let _ = writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <section class=\"{verdict}\">\n<h1 class=\"{class}\">{title}</h1>"
    );
    write_verdict(out, report, around);
    let _ = writeln!(out, "</section>");
    if around.goes_on {
        let pending = grouped(report.outcomes.pending);
        let _ = writeln!(
            out,
            "<p>It goes on: {pending} records are still to come.</p>"
        );
    } else {
        next::write(out, report, &around.run);
    }
    let _ = writeln!(out, "<h2>Figures</h2>");
    rows(out, super::figures::figures(report).iter());
    let mut number = 0;
    write_pictures(out, report, around, &mut number);
    problems(out, report);
    let _ = writeln!(out, "<h2>Outcomes</h2>");
    for table in tables(report) {
        write_table(out, &table, report.outcomes);
    }
    write_plan(out, report, around);
    let _ = writeln!(out, "</main>\n<script>{SCRIPT}</script>\n</body>\n</html>");
    page
}

/// Tells whether a record that ended so is not loaded, and will not be.
fn is_ill(outcome: Outcome, around: &Around) -> bool {
    let may_come = around.goes_on && outcome == Outcome::Pending;
    !(outcome.is_well() || may_come)
}

/// Says in a sentence or two what is in the store, and why the rest is not.
fn write_verdict(out: &mut String, report: &Report, around: &Around) {
    if let Some(reason) = &report.reason {
        let _ = writeln!(out, "<p>{}</p>", escaped(reason));
    }
    let totals = &report.outcomes;
    let ill = Outcome::ALL.into_iter().filter(|o| is_ill(*o, around));
    let ill: Vec<String> = ill
        .filter(|outcome| totals.of(*outcome) > 0)
        .map(|outcome| format!("{} {outcome}", grouped(totals.of(outcome))))
        .collect();
    let not = if ill.is_empty() {
        String::new()
    } else {
        format!(
            "; <strong class=\"bad\">not loaded: {}</strong>",
            ill.join(", ")
        )
    };
    let _ = writeln!(
        out,
        "<p><strong>loaded: {}</strong>{not}.</p>",
        grouped(totals.well())
    );
    if let Some(first) = report.causes.first() {
        let _ = writeln!(out, "<p>Why: {}</p>", escaped(&cause_line(first)));
    }
}

/// Writes facts, each with its name.
fn rows<'a, N: AsRef<str> + 'a>(out: &mut String, rows: impl Iterator<Item = &'a (N, String)>) {
    let _ = writeln!(
        out,
        "<div class=\"scroll\"><table class=\"facts\">\n<tbody>"
    );
    for (name, value) in rows {
        let (name, value) = (escaped(name.as_ref()), escaped(value));
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>"
        );
    }
    let _ = writeln!(out, "</tbody>\n</table></div>");
}

fn write_pictures(out: &mut String, report: &Report, around: &Around, number: &mut u32) {
    let _ = writeln!(out, "<h2>How it went</h2>");
    match &around.samples {
        Err(why) => {
            let _ = writeln!(
                out,
                "<p class=\"dim\">{} Its course over time is not drawn.</p>",
                escaped(why)
            );
        }
        Ok(found) if found.samples.is_empty() => {
            let _ = writeln!(
                out,
                "<p class=\"dim\">Nothing was sent: there is no course over time to draw.</p>"
            );
        }
        Ok(found) => {
            if found.unreadable > 0 {
                let _ = writeln!(
                    out,
                    "<p class=\"dim\">{} of {} could not be read, and are missing in the pictures.</p>",
                    crate::plan::text::plural(found.unreadable, "line"),
                    crate::samples::FILE
                );
            }
            let axis = Axis::of(&found.samples);
            if axis.stretches.len() > 1 {
                let _ = writeln!(
                    out,
                    "<p class=\"dim\">The band below each axis shows the sessions; the time between them is left out.</p>"
                );
            }
            let targets: Vec<_> = around
                .header
                .targets
                .iter()
                .map(|target| target.settings.name.as_str())
                .filter(|name| found.samples.iter().any(|s| s.target == **name))
                .collect();
            for target in targets.iter().take(TARGETS) {
                let _ = writeln!(out, "<h3>Target {}</h3>", escaped(target));
                let _ = writeln!(out, "<div class=\"pictures\">");
                for picture in pictures::over_time(&axis, &found.samples, target) {
                    write_picture(out, &picture, number);
                }
                let _ = writeln!(out, "</div>");
            }
            if let Some(further) = targets.get(TARGETS..).filter(|rest| !rest.is_empty()) {
                others::write(out, further, &found.samples);
            }
        }
    }
    if report.records > 0 {
        let _ = writeln!(out, "<h3>All targets</h3>\n<div class=\"pictures\">");
        write_picture(out, &types::outcomes(report), number);
        let _ = writeln!(out, "</div>");
    }
}

fn write_picture(out: &mut String, picture: &Picture, number: &mut u32) {
    *number += 1;
    let title = escaped(&picture.title);
    let _ = writeln!(
        out,
        "<figure>\n<figcaption id=\"picture-{number}\">{title}</figcaption>"
    );
    match &picture.svg {
        Ok(svg) => {
            let label = format!("aria-labelledby=\"picture-{number}\"");
            out.push_str(&svg.replacen("LABEL", &label, 1));
        }
        Err(why) => {
            let _ = writeln!(
                out,
                "<p class=\"bad\">It could not be drawn ({}); the table says the same.</p>",
                escaped(why)
            );
        }
    }
    let _ = write!(out, "<p class=\"key\">");
    for key in &picture.key {
        let shape = match key.shape {
            Shape::Line => "",
            Shape::Box => " class=\"box\"",
            Shape::Pale => " class=\"box s\"",
        };
        let _ = write!(
            out,
            "<span><b class=\"{}\"><i{shape}></i></b>{}</span> ",
            key.colour,
            escaped(&key.word)
        );
    }
    let _ = write!(
        out,
        "</p>\n<details><summary>As a table</summary>\n<div class=\"scroll\"><table aria-labelledby=\"picture-{number}\">\n<thead><tr>"
    );
    for (index, head) in picture.head.iter().enumerate() {
        let class = if index == 0 { "" } else { " class=\"n\"" };
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", escaped(head));
    }
    let _ = writeln!(out, "</tr></thead>\n<tbody>");
    for row in &picture.rows {
        out.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let cell = escaped(cell);
            if index == 0 {
                let _ = write!(out, "<th scope=\"row\">{cell}</th>");
            } else {
                let _ = write!(out, "<td class=\"n\">{cell}</td>");
            }
        }
        out.push_str("</tr>\n");
    }
    let _ = writeln!(out, "</tbody>\n</table></div></details>\n</figure>");
}

/// Writes what was planned and what became of it, the settings, the facts and the sessions.
fn write_plan(out: &mut String, report: &Report, around: &Around) {
    let _ = writeln!(
        out,
        "<h2>Plan and reality</h2>\n<div class=\"scroll\"><table>\n\
         <thead><tr><th></th><th scope=\"col\">planned</th><th scope=\"col\">measured</th></tr></thead>\n<tbody>"
    );
    for [what, planned, measured] in around.plan_and_reality(report) {
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
            escaped(&what),
            escaped(&planned),
            escaped(&measured)
        );
    }
    let _ = writeln!(out, "</tbody>\n</table></div>\n<h2>Settings that held</h2>");
    rows(out, around.settings().iter());
    let _ = writeln!(out, "<h2>Targets</h2>");
    for target in &around.header.targets {
        let _ = writeln!(out, "<h3>{}</h3>", escaped(&target.settings.name));
        rows(out, around::of_target(target).iter());
    }
    let _ = writeln!(
        out,
        "<h2>Sessions</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">session</th>\
         <th scope=\"col\">began</th><th scope=\"col\">sent for</th><th scope=\"col\">end</th></tr></thead>\n<tbody>"
    );
    for session in &around.sessions {
        let class = if session.is_well {
            ""
        } else {
            " class=\"bad\""
        };
        let sending = session
            .sending
            .map_or("not known".to_owned(), display_duration);
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td{class}>{}</td></tr>",
            session.line.number,
            super::figures::to_the_second(session.line.started),
            escaped(&sending),
            session.end
        );
    }
    let _ = writeln!(out, "</tbody>\n</table></div>");
}

fn write_table(out: &mut String, table: &Table, all: Totals) {
    let outcomes = present(all);
    let _ = write!(
        out,
        "<div class=\"scroll\"><table>\n<thead><tr><th>{}</th><th class=\"n\">records</th>",
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
            super::format::records(rest)
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
