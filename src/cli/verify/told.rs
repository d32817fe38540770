//! The findings of a comparison of the stores with the sources, for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use serde::Serialize;

use super::{Context, Error, Exit, VerifyArgs};
use crate::{
    report::format::{plain, quoted},
    send::verify::{
        Differing, KindComparison, Proven, TypeCount, Unlisted, Verification, Verified,
    },
    unit::grouped,
};

use super::records;

/// The findings, and how they are told.
pub(super) struct Told<'a> {
    pub(super) args: &'a VerifyArgs,
    pub(super) verified: Verified,
    /// The proven outcomes have been written into the run.
    pub(super) is_noted: bool,
    /// The page that shows the findings.
    pub(super) page: Option<PathBuf>,
    pub(super) context: Context,
}

#[derive(Serialize)]
struct Report<'a> {
    same: bool,
    sample: bool,
    read: u64,
    outcomes: BTreeMap<&'static str, u64>,
    kinds: Vec<Row<'a>>,
    differing: Vec<DifferingRow<'a>>,
    matched_and_looked_for: u64,
    in_doubt: Doubt,
    not_loaded: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    not_listed: &'a [Unlisted],
}

#[derive(Serialize)]
struct Doubt {
    there: u64,
    not_there: u64,
    unproven: u64,
}

#[derive(Serialize)]
struct Row<'a> {
    target: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    counts: &'a KindComparison,
    /// Those of a store that lists all it has at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<TypeRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    types_not_counted: Option<&'a str>,
}

#[derive(Serialize)]
struct TypeRow<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    count: &'a TypeCount,
}

#[derive(Serialize)]
struct DifferingRow<'a> {
    target: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a str>,
    outcome: Verification,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<At<'a>>,
}

#[derive(Serialize)]
struct At<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'a str>,
}

const OUTCOMES: [(Verification, &str); 5] = [
    (Verification::Same, "same"),
    (Verification::Changed, "changed"),
    (Verification::Missing, "missing"),
    (Verification::Extra, "extra"),
    (Verification::Unknown, "unknown"),
];

impl Told<'_> {
    fn is_same(&self) -> bool {
        let differ = OUTCOMES.iter().filter(|(outcome, _)| match outcome {
            Verification::Same => false,
            Verification::Extra => !self.args.ignore_extra,
            _ => true,
        });
        let differ = differ
            .map(|(outcome, _)| self.verified.of(*outcome))
            .sum::<u64>();
        // A listing that was asked for, and is not whole, leaves a question open.
        let is_listed = !self.args.all || self.unlisted().is_empty();
        differ == 0 && is_listed
    }

    /// Those of which nobody knows what is there besides, where it counts.
    fn unlisted(&self) -> &[Unlisted] {
        if self.args.ignore_extra {
            &[]
        } else {
            &self.verified.unlisted
        }
    }

    pub(super) fn tell(&self) -> Result<Exit, Error> {
        if self.args.json {
            self.context.printer.json(&self.json()?);
        } else {
            let mut text = self.text();
            if let Some(page) = &self.page {
                let _ = writeln!(text, "\nPage      {}", quoted(page));
            }
            self.context.printer.result(text.trim_end());
        }
        Ok(if self.is_same() {
            Exit::Well
        } else {
            Exit::SomeFailed
        })
    }

    /// Those that are told: what is there besides, only where it counts.
    fn differing(&self) -> impl Iterator<Item = &Differing> {
        let differing = self.verified.differing.iter();
        differing.filter(|d| d.outcome != Verification::Extra || !self.args.ignore_extra)
    }

    pub(super) fn json(&self) -> Result<String, Error> {
        let verified = &self.verified;
        let is_shown = self.context.show_content;
        let Proven {
            there,
            not_there,
            unproven,
        } = verified.proven;
        let report = Report {
            same: self.is_same(),
            sample: verified.is_sample,
            read: verified.read,
            outcomes: OUTCOMES
                .into_iter()
                .map(|(outcome, word)| (word, verified.of(outcome)))
                .collect(),
            kinds: verified
                .kinds
                .iter()
                .map(|((target, kind), counts)| {
                    let of = verified.types.get(target).filter(|_| kind.is_empty());
                    let types = of.into_iter().flat_map(|of| &of.types);
                    Row {
                        target,
                        kind,
                        counts,
                        types: types.map(|(kind, count)| TypeRow { kind, count }).collect(),
                        types_not_counted: of.and_then(|of| of.why_not.as_deref()),
                    }
                })
                .collect(),
            differing: self
                .differing()
                .map(|differing| DifferingRow {
                    target: &differing.target,
                    kind: &differing.kind,
                    id: differing.id.as_deref(),
                    place: differing.place.as_deref(),
                    outcome: differing.outcome,
                    status: differing.status,
                    note: differing.note.as_deref(),
                    differences: differing
                        .differences
                        .iter()
                        .map(|difference| At {
                            path: &difference.path,
                            source: difference.ours.as_deref().filter(|_| is_shown),
                            store: difference.theirs.as_deref().filter(|_| is_shown),
                        })
                        .collect(),
                })
                .collect(),
            matched_and_looked_for: verified.looked_for,
            in_doubt: Doubt {
                there,
                not_there,
                unproven,
            },
            not_loaded: verified.not_loaded,
            not_listed: self.unlisted(),
        };
        serde_json::to_string_pretty(&report).map_err(Error::internal)
    }

    pub(super) fn text(&self) -> String {
        let verified = &self.verified;
        let mut text = String::new();
        let words: Vec<String> = OUTCOMES
            .iter()
            .map(|(outcome, word)| (verified.of(*outcome), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{} {word}", grouped(count)))
            .collect();
        let what = match (self.args.counts, verified.is_sample) {
            (true, _) => "counted only".to_owned(),
            (_, true) => format!("a sample of {} was read", records(verified.read)),
            _ => format!("{} read", records(verified.read)),
        };
        let words = if words.is_empty() {
            let nothing = if self.is_same() {
                "nothing differs"
            } else {
                "nothing is found to differ"
            };
            nothing.to_owned()
        } else {
            words.join(", ")
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{words}; {what}");
        self.table(&mut text);
        self.list(&mut text);
        for Unlisted { target, kind, why } in self.unlisted() {
            let what = match &**kind {
                "" => format!("target {target}"),
                kind => format!("{} of target {target}", plain(kind)),
            };
            let _ = writeln!(
                text,
                "\nNot listed  {what}: {why}; nobody knows what is there besides (`--ignore-extra` leaves it out)"
            );
        }
        let proven = verified.proven;
        if proven.all() > 0 {
            let _ = writeln!(
                text,
                "\nIn doubt  {} of which the run did not know whether they arrived: {} are there, {} are not, {} nobody knows of{}",
                records(proven.all()),
                grouped(proven.there),
                grouped(proven.not_there),
                grouped(proven.unproven),
                if self.is_noted && proven.there + proven.not_there > 0 {
                    "; the run says so now"
                } else {
                    ""
                }
            );
        }
        if verified.looked_for > 0 {
            let _ = writeln!(
                text,
                "\n{} met a condition when they were loaded; that they are there was looked for, not what they hold",
                records(verified.looked_for)
            );
        }
        if verified.not_loaded > 0 {
            let _ = writeln!(
                text,
                "\nNot loaded, and not looked for: {} of the plan",
                records(verified.not_loaded)
            );
        }
        text
    }

    fn table(&self, text: &mut String) {
        let kinds = &self.verified.kinds;
        let mut last = "";
        for ((target, kind), counts) in kinds {
            if target != last {
                let _ = writeln!(
                    text,
                    "\n{target:<24} {:>10} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8}",
                    "sources", "store", "same", "changed", "missing", "extra", "unknown"
                );
                last = target;
            }
            let held = counts.held.map_or_else(|| "?".to_owned(), grouped);
            let name = if kind.is_empty() { "(all)" } else { kind };
            let cell = |count: u64| match count {
                0 => "-".to_owned(),
                count => grouped(count),
            };
            let extra = match counts.extra {
                0 if !self.verified.is_listed(target, kind) => "?".to_owned(),
                count => cell(count),
            };
            let _ = writeln!(
                text,
                "  {:<22} {:>10} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8}",
                plain(name),
                grouped(counts.expected),
                held,
                cell(counts.same),
                cell(counts.changed),
                cell(counts.missing),
                extra,
                cell(counts.unknown)
            );
            if kind.is_empty() {
                self.types(text, target);
            }
        }
    }

    /// Writes the types of what a store lists all at once.
    fn types(&self, text: &mut String, target: &str) {
        let Some(of) = self.verified.types.get(target) else {
            return;
        };
        for (kind, TypeCount { expected, held }) in &of.types {
            let held = held.map_or_else(|| "?".to_owned(), grouped);
            let name = if kind.is_empty() { "(no type)" } else { kind };
            let _ = writeln!(
                text,
                "    {:<20} {:>10} {held:>10}",
                plain(name),
                grouped(*expected)
            );
        }
        if let Some(why) = &of.why_not {
            let _ = writeln!(text, "    not counted by type: {why}");
        }
    }

    fn list(&self, text: &mut String) {
        for (outcome, word) in OUTCOMES {
            let found: Vec<&Differing> =
                self.differing().filter(|d| d.outcome == outcome).collect();
            if found.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n{word}");
            for differing in found.iter().take(NAMED) {
                let id = differing.id.as_deref().unwrap_or("no id");
                let place = differing.place.as_deref().unwrap_or_default();
                let status = differing
                    .status
                    .filter(|_| outcome == Verification::Unknown);
                let status = status
                    .map(|status| format!("  {status}"))
                    .unwrap_or_default();
                let note = differing
                    .note
                    .as_ref()
                    .map(|note| format!("  {note}"))
                    .unwrap_or_default();
                let kind = if differing.kind.is_empty() {
                    String::new()
                } else {
                    format!("{}  ", differing.kind)
                };
                let _ = writeln!(text, "  {kind}{id}  {place}{status}{note}");
                for difference in &differing.differences {
                    let _ = writeln!(text, "      {}", difference.path);
                    if self.context.show_content {
                        let of = |value: &Option<String>| {
                            value.clone().unwrap_or_else(|| "nothing".to_owned())
                        };
                        let (ours, theirs) = (of(&difference.ours), of(&difference.theirs));
                        let _ =
                            writeln!(text, "          source {ours}\n          store  {theirs}");
                    }
                }
            }
            if found.len() > NAMED {
                let _ = writeln!(
                    text,
                    "  … and {} more (--json names them)",
                    grouped((found.len() - NAMED) as u64)
                );
            }
        }
    }
}

/// The number of each outcome that are named for people.
const NAMED: usize = 20;
