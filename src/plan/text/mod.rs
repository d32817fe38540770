//! A plan as people read it.

mod load;
mod references;

use std::fmt::Write;

use self::{load::Load, references::references};
use super::{Forecast, LoadSummary, PlanHeader, Summary};
use crate::record::LoadId;

/// Renders a plan for people.
pub fn text(header: &PlanHeader, summary: &Summary, forecast: &Forecast) -> String {
    let mut out = String::new();
    let loads = header.loads.iter().zip(&summary.loads);
    for (index, ((settings, totals), found)) in (0..).zip(loads.zip(&forecast.loads)) {
        let load = Load {
            settings,
            totals,
            target: header.target_of(LoadId(index)),
            found,
            is_assumed: forecast.is_assumed,
        };
        load.write(&mut out);
        out.push('\n');
    }
    for (target, found) in &summary.references {
        references(&mut out, target, found);
    }
    for warning in &summary.warnings {
        line(&mut out, format_args!("warning: {warning}"));
    }
    let unsupported = summary.unsupported();
    let mut rest = format!("{} that cannot be loaded", plural(unsupported, "record"));
    let strayed = forecast.strayed();
    let unchanged = forecast.loaded().saturating_sub(strayed);
    if unchanged > 0 {
        let _ = write!(rest, ", {unchanged} unchanged");
    }
    if strayed > 0 {
        let _ = write!(rest, ", {strayed} changed or gone and left alone");
    }
    if forecast.elsewhere() > 0 {
        let _ = write!(rest, ", {} under other names", forecast.elsewhere());
    }
    let counts = |count: fn(&LoadSummary) -> u64| summary.loads.iter().map(count).sum::<u64>();
    for (count, word) in [
        (counts(|load| load.duplicates), "duplicate"),
        (counts(|load| load.blocked), "blocked"),
    ] {
        if count > 0 {
            // Writing to a string cannot fail.
            let _ = write!(rest, ", {count} {word}");
        }
    }
    line(
        &mut out,
        format_args!(
            "plan: {} to send, {rest}",
            plural(to_send(summary, forecast), "record")
        ),
    );
    if forecast.samples > 0 {
        line(
            &mut out,
            format_args!(
                "      a load reads {} first, to make sure that what earlier runs have loaded is still there",
                plural(forecast.samples, "record")
            ),
        );
    }
    out
}

/// Returns how many records are sent.
pub fn to_send(summary: &Summary, forecast: &Forecast) -> u64 {
    let there = forecast.loaded() + forecast.elsewhere();
    summary.sent().saturating_sub(there)
}

/// Returns a number with its word, such as `1 record` or `3 records`.
pub fn plural(count: u64, word: &str) -> String {
    if count == 1 {
        format!("1 {word}")
    } else {
        format!("{count} {word}s")
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}
