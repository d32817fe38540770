//! A plan as people read it.

use std::fmt::Write;

use super::{Forecast, LoadForecast, LoadSummary, PlanHeader, References, Summary};
use crate::{
    manifest::Settle,
    record::Operation,
    unit::{ByteSize, display_duration},
};

/// The number of types of a load that are listed before the rest is summed up.
const TYPES: usize = 12;

/// Renders a plan for people.
pub fn text(header: &PlanHeader, summary: &Summary, forecast: &Forecast) -> String {
    let mut out = String::new();
    for (index, (load, totals)) in header.loads.iter().zip(&summary.loads).enumerate() {
        let found = forecast.loads.get(index).copied().unwrap_or_default();
        let target = header
            .targets
            .iter()
            .find(|t| t.settings.name == load.target);
        let place = target
            .map(|t| t.settings.store.describe())
            .unwrap_or_default();
        line(
            &mut out,
            format_args!("load {} → {} ({place})", load.name, load.target),
        );
        if !load.after.is_empty() {
            line(
                &mut out,
                format_args!("  after         {}", load.after.join(", ")),
            );
        }
        line(
            &mut out,
            format_args!(
                "  records       {} in {}, {}",
                totals.records,
                plural(totals.files, "file"),
                ByteSize(totals.bytes)
            ),
        );
        let interactions: Vec<String> = totals
            .interactions
            .iter()
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        if !interactions.is_empty() {
            line(
                &mut out,
                format_args!("  interactions  {}", interactions.join(", ")),
            );
        }
        let together = match totals.groups {
            _ if found.requests == 0 => String::new(),
            0 => String::new(),
            groups if !load.format.has_references() => format!(
                ", {groups} of several records (largest: {})",
                totals.largest_group
            ),
            groups => format!(
                ", {} sent whole (largest: {})",
                plural(groups, load.format.parcel()),
                plural(totals.largest_group.into(), "entry").replace("entrys", "entries")
            ),
        };
        if found.loaded > 0 {
            let assumed = if forecast.is_assumed {
                " (assumed to be there still: the target was not asked)"
            } else {
                ""
            };
            line(
                &mut out,
                format_args!(
                    "  unchanged     {}: earlier runs have loaded them{assumed}",
                    found.loaded
                ),
            );
        }
        line(
            &mut out,
            format_args!("  requests      {}{together}", requests(&found)),
        );
        reads(&mut out, &found);
        if let Some(time) = estimate(header, load.target.as_str(), totals, &found) {
            line(
                &mut out,
                format_args!("  time          at least {time} at the target's rate"),
            );
        }
        types(&mut out, totals);
        if !totals.within.is_empty() {
            let parts = totals.within.iter().rev();
            let parts: Vec<String> = parts
                .map(|(word, count)| format!("{count} {word}"))
                .collect();
            line(
                &mut out,
                format_args!("  within        {}", parts.join(", ")),
            );
        }
        for (word, values) in &totals.properties {
            let mut values: Vec<_> = values.iter().collect();
            values.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let values = values
                .iter()
                .map(|(value, count)| format!("{value} {count}"));
            let values: Vec<String> = values.collect();
            line(&mut out, format_args!("  {word}  {}", values.join(", ")));
        }
        if totals.cycles > 0 {
            line(
                &mut out,
                format_args!(
                    "  cycles        {}: their records need each other, and travel as transactions",
                    totals.cycles
                ),
            );
        }
        if totals.two_steps > 0 {
            line(
                &mut out,
                format_args!(
                    "  in two steps  {}: created without the references that close a cycle, then updated with them",
                    totals.two_steps
                ),
            );
        }
        if totals.duplicates > 0 {
            line(
                &mut out,
                format_args!(
                    "  duplicate     {}: another record has the same identity, or is sought by the same condition",
                    totals.duplicates
                ),
            );
        }
        if totals.blocked > 0 {
            line(
                &mut out,
                format_args!(
                    "  blocked       {}: they need records that cannot be loaded",
                    totals.blocked
                ),
            );
        }
        for (code, count) in &totals.unsupported {
            line(&mut out, format_args!("  unsupported   {count} ({code})"));
        }
        for (code, count) in &totals.left_out {
            line(
                &mut out,
                format_args!("  left out      {count} ({code}): no record to load"),
            );
        }
        if load.interaction == Some(Operation::Transmit) {
            let words = match load.settle {
                Some(Settle::Resend) => {
                    "a message whose acknowledgement is lost is sent again: the receiver has to know it by MSH-10"
                }
                _ => {
                    "a message whose acknowledgement is lost ends as unknown (`settle: resend` sends it again)"
                }
            };
            line(
                &mut out,
                format_args!(
                    "  receiver      cannot be asked what it has: only its acknowledgements tell"
                ),
            );
            line(&mut out, format_args!("  settle        {words}"));
        }
        if let Some(target) = target {
            if target.facts.assumed {
                line(
                    &mut out,
                    format_args!("  facts         assumed: the target was not asked"),
                );
            }
            if target.facts.missing {
                line(
                    &mut out,
                    format_args!("  store         does not exist yet and will be created"),
                );
            }
        }
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
    if forecast.loaded() > 0 {
        let _ = write!(rest, ", {} unchanged", forecast.loaded());
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
                plural(forecast.samples, "resource")
            ),
        );
    }
    out
}

/// Returns how many records are sent.
pub fn to_send(summary: &Summary, forecast: &Forecast) -> u64 {
    summary.sent().saturating_sub(forecast.loaded())
}

/// Says how many requests a load comes to.
fn requests(found: &LoadForecast) -> String {
    let about = if found.is_estimate { "about " } else { "" };
    format!("{about}{}", found.requests)
}

/// Says what a load reads besides.
fn reads(out: &mut String, found: &LoadForecast) {
    let kinds = [
        (found.compared, "to compare"),
        (
            found.looked_up,
            "at the most to look up what conditional references mean",
        ),
    ];
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !kinds.is_empty() {
        line(out, format_args!("  reads         {}", kinds.join(", ")));
    }
}

/// The number of dangling references that people are shown; `--json` has more.
const DANGLING: usize = 10;

fn references(out: &mut String, target: &str, found: &References) {
    let fates = match found.other_links {
        0 => String::new(),
        links => format!(
            ", and {} of attachments and narratives",
            plural(links, "link")
        ),
    };
    line(
        out,
        format_args!("references at {target}: {}{fates}", found.total),
    );
    let lines = [
        (found.links, "to records of this plan"),
        (found.known, "to records of earlier runs"),
        (
            found.within,
            "within their own record: to what it contains, or to itself",
        ),
        (
            found.looked_up,
            "conditional, to nothing in this plan: the store is asked for it when their records are sent",
        ),
        (
            found.ambiguous,
            "conditional, and several records of the plan answer to them",
        ),
        (found.dangling, "dangling: to nothing that is known here"),
        (
            found.unsent,
            "of records that are not sent (duplicate or unsupported)",
        ),
    ];
    for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
        line(out, format_args!("  {count:>9}  {what}"));
    }
    for dangling in found.samples.iter().take(DANGLING) {
        let refused = if dangling.refused {
            "; refused unless it is there already"
        } else {
            ""
        };
        line(
            out,
            format_args!(
                "             {} from {} at {}{refused}",
                dangling.to, dangling.from, dangling.path
            ),
        );
    }
    let more = (found.dangling + found.looked_up).saturating_sub(DANGLING as u64);
    if more > 0 {
        line(
            out,
            format_args!(
                "             and {more} more (up to {} with --json)",
                References::SAMPLES
            ),
        );
    }
    if found.versioned > 0 {
        line(
            out,
            format_args!(
                "  {:>9}  name a version, which the store assigns anew (`versioned`)",
                found.versioned
            ),
        );
    }
    if found.refused > 0 {
        line(
            out,
            format_args!(
                "  {:>9}  of the dangling the target refuses, unless it holds the resource already",
                found.refused
            ),
        );
    }
    if found.at_risk > 0 {
        line(
            out,
            format_args!(
                "  {:>9}  records at the most are refused or blocked for it",
                found.at_risk
            ),
        );
    }
    line(
        out,
        format_args!(
            "  longest chain {}{}",
            plural(found.longest_chain.into(), "record"),
            match found.cycles {
                0 => String::new(),
                cycles => format!(
                    ", {} of {}",
                    plural(cycles, "cycle"),
                    plural(found.cycle_records, "record")
                ),
            }
        ),
    );
    if found.identical + found.differing > 0 {
        line(
            out,
            format_args!(
                "  duplicates    {} identical, {} differing",
                found.identical, found.differing
            ),
        );
    }
    out.push('\n');
}

/// Returns how long a load takes at the least when its target has a rate.
fn estimate(
    header: &PlanHeader,
    target: &str,
    totals: &LoadSummary,
    found: &LoadForecast,
) -> Option<String> {
    let rate = header
        .targets
        .iter()
        .find(|t| t.settings.name == target)?
        .settings
        .rate?;
    let operations = totals.sent().saturating_sub(found.loaded);
    let windows = operations as f64 / f64::from(rate.amount.get());
    Some(display_duration(rate.window.duration().mul_f64(windows)))
}

fn types(out: &mut String, totals: &LoadSummary) {
    let mut types: Vec<_> = totals.types.iter().collect();
    types.sort_by_key(|(kind, (records, _))| (std::cmp::Reverse(*records), (*kind).clone()));
    for (kind, (records, bytes)) in types.iter().take(TYPES) {
        let kind = if kind.is_empty() { "(no type)" } else { kind };
        line(
            out,
            format_args!(
                "  {kind:<28} {records:>9}  {:>10}",
                ByteSize(*bytes).to_string()
            ),
        );
    }
    if types.len() > TYPES {
        let rest: u64 = types
            .iter()
            .skip(TYPES)
            .map(|(_, (records, _))| records)
            .sum();
        let more = format!("{} more types", types.len() - TYPES);
        line(out, format_args!("  {more:<28} {rest:>9}"));
    }
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
