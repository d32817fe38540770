//! The summary that stands at the end of a load: what a tired person wants to know, in one screen.
//!
//! Makes a text and writes nothing. Control characters from file names and servers are escaped, so that nothing
//! that was read can steer a terminal.

use std::{fmt::Write as _, time::Duration};

use super::{
    Report, SessionEnd, Totals, Words,
    format::{Paint, WIDTH, display_latency, kind, plain, quoted, records, sent, stretches},
    past,
    problems::problems,
};
use crate::{
    journal::RunDirectory,
    record::Outcome,
    unit::{ByteSize, display_duration, grouped, speed},
};

/// Types that are shown; the rest is in `report.md`.
const TYPES: usize = 16;

/// The column at which the values of the summary begin.
const LABEL: usize = 28;

/// The form of a summary.
#[derive(Debug, Default)]
pub struct View {
    /// Outcomes that need attention are marked by ANSI sequences.
    pub colour: bool,
    /// Only what is wrong is shown, and nothing where nothing is.
    pub quiet: bool,
    /// The server's words are shown as well: they may be patients' data.
    pub words: Option<Words>,
}

/// Renders the summary of a run.
pub fn render(report: &Report, run: &RunDirectory, mut view: View) -> String {
    let paint = Paint(view.colour);
    let mut text = String::new();
    let out = &mut text;
    if view.quiet
        && report.outcomes.well() == report.records
        && report.ended == SessionEnd::Complete
    {
        return text;
    }
    let _ = writeln!(out, "{}", paint.bold(&headline(report)));
    // That it was interrupted stands in the line above.
    let reason = report.reason.as_ref();
    if let Some(reason) = reason.filter(|_| report.ended != SessionEnd::Interrupted) {
        let _ = writeln!(out, "{}", plain(reason));
    }
    if !view.quiet {
        let _ = writeln!(out);
        figures(out, report, paint);
        all_tables(out, report, paint);
    }
    problems(out, report, paint, view.words.as_mut());
    closing(out, report, run, view.words.is_some());
    text
}

fn all_tables(out: &mut String, report: &Report, paint: Paint) {
    if report.loads.len() > 1 {
        let rows: Vec<_> = report
            .loads
            .iter()
            .map(|load| (load.name.as_str(), load.outcomes))
            .collect();
        table(out, "Load", &rows, rows.len(), paint);
    }
    let mut types: Vec<_> = report
        .types
        .iter()
        .map(|(name, totals)| (kind(name), *totals))
        .collect();
    // Types with something to look at come first, then the large ones.
    types.sort_by_key(|(_, totals)| {
        let ill = totals.sum() - totals.well();
        (std::cmp::Reverse(ill), std::cmp::Reverse(totals.sum()))
    });
    table(out, "Type", &types, TYPES, paint);
    for remark in &report.requests.remarks {
        let _ = writeln!(out, "Note: {}", plain(remark));
    }
    if !report.requests.remarks.is_empty() {
        let _ = writeln!(out);
    }
}

/// Says in one line how it went.
pub(super) fn headline(report: &Report) -> String {
    let well = report.outcomes.well();
    let name = plain(&report.name);
    let total = grouped(report.records);
    let loaded = match (report.records, well) {
        (0, _) => "nothing to load".to_owned(),
        (1, 1) => "the one record is loaded".to_owned(),
        (all, well) if all == well => format!("all {total} records loaded"),
        _ => format!("{} of {} loaded", grouped(well), records(report.records)),
    };
    let ended = match report.ended {
        SessionEnd::Complete => "",
        SessionEnd::Interrupted => ", interrupted",
        SessionEnd::MaxErrors => ", stopped: too many records failed",
        SessionEnd::Target => ", stopped: the target failed",
        SessionEnd::Source => ", stopped: a source could not be read",
        SessionEnd::Internal => ", stopped: a bug in Stoker",
        SessionEnd::Superseded => ", taken over by a later load",
        SessionEnd::Unfinished => ", not finished",
    };
    format!("{name}: {loaded}{ended}")
}

fn figures(out: &mut String, report: &Report, paint: Paint) {
    row(out, "Records", "[total]", &grouped(report.records));
    for outcome in Outcome::ALL {
        let count = report.outcomes.of(outcome);
        if count > 0 {
            let value = paint.outcome(outcome, &grouped(count));
            row(out, "", &format!("[{outcome}]"), &value);
        }
    }
    if let Some(value) = past::brief(report) {
        row(out, "", "[from history]", &value);
    }
    if report.resent > 0 {
        let value = format!(
            "{}, which the receiver has to know by MSH-10, or has twice",
            grouped(report.resent)
        );
        row(out, "", "[sent again]", &value);
    }
    let requests = &report.requests;
    row(
        out,
        "Requests",
        "[total, retries]",
        &format!("{}, {}", sent(requests), grouped(requests.retries)),
    );
    if requests.reads > 0 {
        row(out, "Reads", "[total]", &grouped(requests.reads));
    }
    if !requests.statuses.is_empty() {
        let statuses: Vec<_> = requests
            .statuses
            .iter()
            .map(|(status, count)| format!("{}:{}", plain(status), grouped(*count)))
            .collect();
        row(out, "Status codes", "[code:count]", &statuses.join(", "));
    }
    row(
        out,
        "Bytes",
        "[sent, received]",
        &format!(
            "{}, {}",
            ByteSize(requests.bytes_sent),
            ByteSize(requests.bytes_received)
        ),
    );
    let duration = display_duration(Duration::from_millis(report.duration_ms));
    match report.sessions {
        0 | 1 => row(out, "Duration", "[total]", &duration),
        n => row(
            out,
            "Duration",
            "[total]",
            &format!("{duration} in {n} sessions"),
        ),
    }
    row(
        out,
        "",
        "[plan, send, close]",
        &stretches(report).join(", "),
    );
    if let Some(rate) = report.records_per_second {
        row(out, "Speed", "[records/s]", &speed(rate));
    }
    if let Some(latency) = report.latency {
        let values = [
            latency.p50_us,
            latency.p95_us,
            latency.p99_us,
            latency.max_us,
        ];
        row(
            out,
            "Latency",
            "[p50, p95, p99, max]",
            &values.map(display_latency).join(", "),
        );
    }
    for (load, way) in super::figures::ways(report) {
        row(out, "Sent as", &format!("[{}]", plain(load)), &plain(way));
    }
}

fn row(out: &mut String, label: &str, unit: &str, value: &str) {
    let label = format!("{label:<13} {unit}");
    let _ = writeln!(out, "{label:<LABEL$}   {value}", LABEL = LABEL + 6);
}

/// A column: its title, the outcome that it counts if it is one, and its value.
type Column<'a> = (&'a str, Option<Outcome>, Box<dyn Fn(&Totals) -> u64>);

fn table(out: &mut String, title: &str, rows: &[(&str, Totals)], most: usize, paint: Paint) {
    let seen: Vec<_> = Outcome::ALL
        .into_iter()
        .filter(|outcome| rows.iter().any(|(_, totals)| totals.of(*outcome) > 0))
        .collect();
    if rows.is_empty() || seen.is_empty() {
        return;
    }
    let records: Column<'_> = ("records", None, Box::new(Totals::sum));
    let mut columns: Vec<Column<'_>> = vec![records];
    let of = |outcome: Outcome| -> Column<'_> {
        (
            outcome.as_str(),
            Some(outcome),
            Box::new(move |totals: &Totals| totals.of(outcome)),
        )
    };
    let first = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .chain([title.len()])
        .max()
        .unwrap_or_default();
    let first = std::cmp::min(first, 32);
    let wide = |outcomes: &[Outcome]| {
        first
            + outcomes
                .iter()
                .map(|o| std::cmp::max(o.as_str().len(), 7) + 2)
                .sum::<usize>()
            + 9
    };
    if wide(&seen) > WIDTH {
        columns.push(("well", None, Box::new(Totals::well)));
        columns.extend(seen.iter().filter(|o| !o.is_well()).map(|o| of(*o)));
    } else {
        columns.extend(seen.iter().map(|o| of(*o)));
    }
    let shown = rows.get(..most).unwrap_or(rows);
    let widths: Vec<_> = columns
        .iter()
        .map(|(name, _, value)| {
            let cells = shown.iter().map(|(_, totals)| grouped(value(totals)).len());
            cells.chain([name.len()]).max().unwrap_or_default() + 2
        })
        .collect();
    let mut line = format!("\n{title:<first$}");
    for ((name, _, _), width) in columns.iter().zip(&widths) {
        let _ = write!(line, "{name:>width$}");
    }
    let _ = writeln!(out, "{line}");
    for (name, totals) in shown {
        let mut line = format!("{:<first$}", cut(&plain(name), first));
        for ((_, outcome, value), width) in columns.iter().zip(&widths) {
            let value = value(totals);
            let cell = match value {
                0 => format!("{:>width$}", "-"),
                _ => format!("{:>width$}", grouped(value)),
            };
            match outcome {
                Some(outcome) if value > 0 => line.push_str(&paint.outcome(*outcome, &cell)),
                _ => line.push_str(&cell),
            }
        }
        let _ = writeln!(out, "{line}");
    }
    if let Some(rest) = rows.len().checked_sub(most).filter(|rest| *rest > 0) {
        let _ = writeln!(out, "… and {rest} more in report.md");
    }
}

fn closing(out: &mut String, report: &Report, run: &RunDirectory, shows_words: bool) {
    let path = quoted(run.path());
    let totals = &report.outcomes;
    let _ = writeln!(
        out,
        "\nRun             {}",
        plain(&run.path().display().to_string())
    );
    let _ = writeln!(out, "Report again    stoker report {path}");
    let is_kept = fs_err::metadata(run.answers()).is_ok_and(|answers| answers.len() > 0);
    let has_answers = (totals.rejected + totals.unknown > 0) && is_kept;
    if has_answers {
        let command = if shows_words {
            String::new()
        } else {
            format!("\n                stoker report {path} --show-content")
        };
        let _ = writeln!(
            out,
            "Server's words  in {}; they may hold patients' data{command}",
            quoted(&run.answers())
        );
    }
    if report.can_go_on() {
        let _ = writeln!(out, "Go on           stoker resume {path}");
    }
    if totals.rejected > 0 {
        let manifest = run.rejected().join("manifest.yaml");
        let blocked = match totals.blocked {
            0 => "",
            _ => " (the blocked ones stand there, too)",
        };
        let _ = writeln!(
            out,
            "Rejected        mend the records in {}{blocked}, then\n                stoker load {}\n                \
             or, once the store takes them as they are, stoker resume {path} --replay rejected",
            quoted(&run.rejected()),
            quoted(&manifest)
        );
    } else if totals.blocked > 0 && totals.unknown == 0 {
        let _ = writeln!(
            out,
            "Blocked         mend what they need, and load again: what has arrived is not sent twice"
        );
    }
    if totals.unknown > report.in_doubt {
        // A record that waits for one in doubt is blocked, and goes with it.
        let replay = if totals.blocked > 0 { "all" } else { "unknown" };
        let _ = writeln!(
            out,
            "Unknown         as said above; to send them again\n                stoker resume {path} --replay {replay}"
        );
    }
    if let Some(told) = past::at_length(report) {
        let _ = writeln!(out, "From history    {told}");
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
