//! The figures of a run, and its outcomes by load and by type, for all reports that people read. Escaping is left to
//! the form in which each is written.

use std::time::Duration;

use super::{
    Report, Totals,
    format::{display_latency, kind, sent, stretches},
    past,
};
use crate::{
    record::Outcome,
    unit::{ByteSize, display_duration, grouped, speed},
};

/// Outcomes, in rows of one kind.
pub(super) struct Table {
    /// The column's title for the name of a row: load or type.
    pub(super) title: &'static str,
    /// The name of each row, and the outcomes of its records.
    pub(super) rows: Vec<(String, Totals)>,
}

/// Returns the figures of a run, each with its name.
pub(super) fn figures(report: &Report) -> Vec<(&'static str, String)> {
    let mut rows = vec![("Run", report.run.clone())];
    if let Some(started) = report.started {
        rows.push(("Started", to_the_second(started)));
    }
    let duration = Duration::from_millis(report.duration_ms);
    let [planning, sending, closing] = stretches(report);
    rows.push((
        "Duration",
        format!(
            "{}: planning {planning}, sending {sending}, closing {closing}",
            display_duration(duration)
        ),
    ));
    if let Some(rate) = report.records_per_second {
        rows.push(("Speed", format!("{} records/s", speed(rate))));
    }
    if let Some(told) = past::brief(report) {
        rows.push(("From history", told));
    }
    if report.resent > 0 {
        let count = grouped(report.resent);
        rows.push((
            "Sent again",
            format!("{count} messages, which the receiver has to know by MSH-10, or has twice"),
        ));
    }
    let requests = &report.requests;
    let (sent, retries) = (sent(requests), grouped(requests.retries));
    rows.push(("Requests", format!("{sent}, {retries} of them repeated")));
    if requests.reads > 0 {
        rows.push(("Reads", grouped(requests.reads)));
    }
    if !requests.statuses.is_empty() {
        let statuses: Vec<_> = requests
            .statuses
            .iter()
            .map(|(status, count)| format!("{status} × {}", grouped(*count)))
            .collect();
        rows.push(("Status codes", statuses.join(", ")));
    }
    let (sent, received) = (
        ByteSize(requests.bytes_sent),
        ByteSize(requests.bytes_received),
    );
    rows.push(("Bytes", format!("{sent} sent, {received} received")));
    if let Some(latency) = report.latency {
        let text = format!(
            "p50 {}, p95 {}, p99 {}, max {}",
            display_latency(latency.p50_us),
            display_latency(latency.p95_us),
            display_latency(latency.p99_us),
            display_latency(latency.max_us)
        );
        rows.push(("Latency", text));
    }
    for (load, way) in ways(report) {
        rows.push(("Sent as", format!("{load}: {way}")));
    }
    let remarks = requests.remarks.iter();
    rows.extend(remarks.map(|remark| ("Note", remark.clone())));
    rows
}

/// Returns the loads of which it was found out in which way they are sent best, with the way.
pub(super) fn ways(report: &Report) -> impl Iterator<Item = (&str, &str)> {
    let loads = report.loads.iter();
    loads.filter_map(|load| Some((load.name.as_str(), load.way.as_deref()?)))
}

/// Returns the outcomes by load, and by type.
pub(super) fn tables(report: &Report) -> [Table; 2] {
    let loads = report.loads.iter();
    let types = report.types.iter();
    [
        Table {
            title: "Load",
            rows: loads
                .map(|load| (format!("{} → {}", load.name, load.target), load.outcomes))
                .collect(),
        },
        Table {
            title: "Type",
            rows: types
                .map(|(name, totals)| (kind(name).to_owned(), *totals))
                .collect(),
        },
    ]
}

/// Returns the outcomes that there are: the columns of a table.
pub(super) fn present(all: Totals) -> Vec<Outcome> {
    let outcomes = Outcome::ALL.into_iter();
    outcomes.filter(|outcome| all.of(*outcome) > 0).collect()
}

/// Writes a time as people read it: what is behind the second tells nobody anything.
pub(super) fn to_the_second(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
