//! A load of a plan as people read it.

use std::cmp::Reverse;

use super::{line, plural};
use crate::{
    manifest::{LoadSettings, Settle},
    plan::{LoadForecast, LoadSummary, PlannedTarget},
    record::Operation,
    unit::{ByteSize, display_duration},
};

/// The number of types of a load that are listed before the rest is summed up.
const TYPES: usize = 12;

/// A load, and what was found of it.
pub(super) struct Load<'a> {
    pub(super) settings: &'a LoadSettings,
    pub(super) totals: &'a LoadSummary,
    pub(super) target: Option<&'a PlannedTarget>,
    pub(super) found: &'a LoadForecast,
    /// True if what earlier runs have loaded is assumed to be there still.
    pub(super) is_assumed: bool,
}

impl Load<'_> {
    /// Writes all that there is to say of the load.
    pub(super) fn write(&self, out: &mut String) {
        let Self {
            settings, target, ..
        } = self;
        let place = target.map_or_else(String::new, |t| t.settings.store.describe());
        line(
            out,
            format_args!("load {} → {} ({place})", settings.name, settings.target),
        );
        self.size(out);
        self.elsewhere(out);
        self.requests(out);
        self.kinds(out);
        self.exceptions(out);
        self.receiver(out);
        self.facts(out);
    }

    /// Says how much there is, and what is done with it.
    fn size(&self, out: &mut String) {
        let totals = self.totals;
        if !self.settings.after.is_empty() {
            about(
                out,
                "after",
                format_args!("{}", self.settings.after.join(", ")),
            );
        }
        about(
            out,
            "records",
            format_args!(
                "{} in {}, {}{}",
                totals.records,
                plural(totals.files, "file"),
                ByteSize(totals.bytes),
                self.largest()
            ),
        );
        let interactions = totals.interactions.iter();
        let interactions: Vec<String> = interactions
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        if !interactions.is_empty() {
            about(
                out,
                "interactions",
                format_args!("{}", interactions.join(", ")),
            );
        }
        let unchanged = self.found.loaded.saturating_sub(self.found.strayed);
        if unchanged > 0 {
            let assumed = if self.is_assumed {
                " (assumed to be there still: the target was not asked)"
            } else {
                ""
            };
            about(
                out,
                "unchanged",
                format_args!("{unchanged}: earlier runs have loaded them{assumed}"),
            );
        }
        if self.found.strayed > 0 {
            about(
                out,
                "left alone",
                format_args!(
                    "{}: earlier runs have loaded them; the target holds them no more, or otherwise",
                    self.found.strayed
                ),
            );
        }
    }

    /// Says how large the largest record is, of formats whose records may be of any size.
    fn largest(&self) -> String {
        let LoadSummary {
            records,
            largest_record,
            ..
        } = *self.totals;
        if self.settings.format.has_references() || records < 2 || largest_record == 0 {
            return String::new();
        }
        format!(", largest record {}", ByteSize(largest_record))
    }

    /// Says how many are left alone because their target has them under other names.
    fn elsewhere(&self, out: &mut String) {
        let elsewhere = self.found.elsewhere;
        if elsewhere > 0 {
            about(
                out,
                "other names",
                format_args!(
                    "{elsewhere}: the target said that it stored them under other names; they are not sent again"
                ),
            );
        }
    }

    /// Says how many requests the load comes to, what it reads besides, and how long it takes at the least.
    fn requests(&self, out: &mut String) {
        let LoadForecast {
            requests,
            is_estimate,
            compared,
            looked_up,
            proved,
            ..
        } = *self.found;
        let roughly = if is_estimate { "about " } else { "" };
        about(
            out,
            "requests",
            format_args!("{roughly}{requests}{}", self.together()),
        );
        let reads = [
            (compared, "to compare"),
            (
                looked_up,
                "at the most to look up what conditional references mean",
            ),
            (
                proved,
                "at the most to see that answers come in the order of the requests",
            ),
        ];
        let reads: Vec<String> = reads
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !reads.is_empty() {
            about(out, "reads", format_args!("{}", reads.join(", ")));
        }
        if let Some(time) = self.estimate() {
            about(
                out,
                "time",
                format_args!("at least {time} at the target's rate"),
            );
        }
    }

    /// Says which of the records travel together.
    fn together(&self) -> String {
        let (totals, format) = (self.totals, self.settings.format);
        match totals.groups {
            _ if self.found.requests == 0 => String::new(),
            0 => String::new(),
            groups if !format.has_references() => format!(
                ", {groups} of several records (largest: {})",
                totals.largest_group
            ),
            groups => format!(
                ", {} sent whole (largest: {})",
                plural(groups, format.parcel()),
                plural(totals.largest_group.into(), "entry").replace("entrys", "entries")
            ),
        }
    }

    /// Returns how long the load takes at the least when its target has a rate.
    fn estimate(&self) -> Option<String> {
        let rate = self.target?.settings.rate?;
        let there = self.found.loaded + self.found.elsewhere;
        let operations = self.totals.sent().saturating_sub(there);
        let windows = operations as f64 / f64::from(rate.amount.get());
        Some(display_duration(rate.window.duration().mul_f64(windows)))
    }

    /// Lists the kinds of its records, and what they say of themselves.
    fn kinds(&self, out: &mut String) {
        let totals = self.totals;
        let mut types: Vec<_> = totals.types.iter().collect();
        types.sort_by_key(|(kind, (records, _))| (Reverse(*records), (*kind).clone()));
        for (kind, (records, bytes)) in types.iter().take(TYPES) {
            let kind = if kind.is_empty() { "(no type)" } else { kind };
            let bytes = ByteSize(*bytes).to_string();
            line(out, format_args!("  {kind:<28} {records:>9}  {bytes:>10}"));
        }
        if types.len() > TYPES {
            let rest = types.iter().skip(TYPES);
            let rest: u64 = rest.map(|(_, (records, _))| records).sum();
            let more = format!("{} more types", types.len() - TYPES);
            line(out, format_args!("  {more:<28} {rest:>9}"));
        }
        if !totals.within.is_empty() {
            let parts = totals.within.iter().rev();
            let parts: Vec<String> = parts
                .map(|(word, count)| format!("{count} {word}"))
                .collect();
            about(out, "within", format_args!("{}", parts.join(", ")));
        }
        for (word, values) in &totals.properties {
            let mut values: Vec<_> = values.iter().collect();
            values.sort_by_key(|(_, count)| Reverse(**count));
            let values = values
                .iter()
                .map(|(value, count)| format!("{value} {count}"));
            let values: Vec<String> = values.collect();
            line(out, format_args!("  {word}  {}", values.join(", ")));
        }
    }

    /// Lists the records that go another way than one by one, or none at all.
    fn exceptions(&self, out: &mut String) {
        let totals = self.totals;
        let counts = [
            (
                "cycles",
                totals.cycles,
                "their records need each other, and travel as transactions",
            ),
            (
                "in two steps",
                totals.two_steps,
                "created without the references that close a cycle, then updated with them",
            ),
            (
                "duplicate",
                totals.duplicates,
                "another record has the same identity, or is sought by the same condition",
            ),
            (
                "blocked",
                totals.blocked,
                "they need records that cannot be loaded",
            ),
        ];
        for (label, count, why) in counts.into_iter().filter(|(_, count, _)| *count > 0) {
            about(out, label, format_args!("{count}: {why}"));
        }
        for (code, count) in &totals.unsupported {
            about(out, "unsupported", format_args!("{count} ({code})"));
        }
        for (code, count) in &totals.left_out {
            about(
                out,
                "left out",
                format_args!("{count} ({code}): no record to load"),
            );
        }
    }

    /// Says what it means that a receiver cannot be asked.
    fn receiver(&self, out: &mut String) {
        if self.settings.interaction != Some(Operation::Transmit) {
            return;
        }
        let words = match self.settings.settle {
            Some(Settle::Resend) => {
                "a message whose acknowledgement is lost is sent again: the receiver has to know it by MSH-10"
            }
            _ => {
                "a message whose acknowledgement is lost ends as unknown (`settle: resend` sends it again)"
            }
        };
        about(
            out,
            "receiver",
            format_args!("cannot be asked what it has: only its acknowledgements tell"),
        );
        about(out, "settle", format_args!("{words}"));
    }

    /// Says what the plan takes for granted of the target.
    fn facts(&self, out: &mut String) {
        let Some(target) = self.target else { return };
        if target.facts.assumed {
            about(
                out,
                "facts",
                format_args!("assumed: the target was not asked"),
            );
        }
        if target.facts.missing {
            about(
                out,
                "store",
                format_args!("does not exist yet and will be created"),
            );
        }
    }
}

/// Writes a line about the load, under its label.
fn about(out: &mut String, label: &str, text: std::fmt::Arguments<'_>) {
    line(out, format_args!("  {label:<12}  {text}"));
}
