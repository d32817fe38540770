//! The targets of which no pictures are drawn, in a table: what was sent to each, and how it was taken.

use std::{fmt::Write as _, time::Duration};

use super::{escaped, grouped};
use crate::{
    samples::Sample,
    unit::{ByteSize, display_duration},
};

/// Writes a row for each.
pub(super) fn write(out: &mut String, targets: &[&str], samples: &[Sample]) {
    const HEADS: [&str; 8] = [
        "records",
        "requests",
        "refusals",
        "retries",
        "asked to wait",
        "down",
        "sent",
        "received",
    ];
    let _ = write!(
        out,
        "<h3>Further targets</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th>target</th>"
    );
    for head in HEADS {
        let _ = write!(out, "<th class=\"n\">{head}</th>");
    }
    let _ = writeln!(out, "</tr></thead>\n<tbody>");
    let time = |ms| display_duration(Duration::from_millis(ms));
    for target in targets {
        let of = || samples.iter().filter(|sample| sample.target == **target);
        let sum = |figure: &dyn Fn(&Sample) -> u64| of().map(figure).sum::<u64>();
        let cells = [
            grouped(sum(&|s| s.outcomes.values().sum())),
            grouped(sum(&|s| s.attempts)),
            grouped(sum(&|s| s.refusals)),
            grouped(sum(&|s| s.retries)),
            time(sum(&|s| s.braked_ms)),
            time(sum(&|s| s.down_ms)),
            ByteSize(sum(&|s| s.bytes_sent)).to_string(),
            ByteSize(sum(&|s| s.bytes_received)).to_string(),
        ];
        let _ = write!(out, "<tr><td>{}</td>", escaped(target));
        for cell in cells {
            let _ = write!(out, "<td class=\"n\">{cell}</td>");
        }
        let _ = writeln!(out, "</tr>");
    }
    let _ = writeln!(out, "</tbody>\n</table></div>");
}
