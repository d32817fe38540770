//! The results of unloading a run, for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use serde::Serialize;

use super::{Context, Error, Exit, How, asked};
use crate::{
    journal::{self, Removal, RunDirectory},
    report::format::quoted,
    unit::grouped,
    unload::{self, Left, Referred, RemovalCounts, RemovalPlan},
};

/// The results of unloading the records of a run.
pub(in crate::cli) struct Unloaded {
    pub(super) run: RunDirectory,
    pub(super) counts: RemovalCounts,
    pub(super) left: Left,
}

#[derive(Serialize)]
struct Report<'a> {
    run: String,
    outcomes: BTreeMap<&'static str, u64>,
    targets: BTreeMap<&'a str, BTreeMap<&'a str, BTreeMap<&'static str, u64>>>,
    stayed: &'a [unload::Stayed],
    transmitted: &'a BTreeMap<String, u64>,
    unknown: u64,
    nameless: u64,
    gone_before: u64,
    interrupted: bool,
}

/// The records that would be deleted or restored.
#[derive(Serialize)]
struct Foreseen<'a> {
    run: String,
    dry_run: bool,
    records: u64,
    targets: BTreeMap<&'a str, BTreeMap<&'a str, u64>>,
    updated: BTreeMap<&'a str, BTreeMap<&'a str, u64>>,
    changed: bool,
    restore: bool,
    transmitted: &'a BTreeMap<String, u64>,
    unknown: u64,
    nameless: u64,
    gone_before: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    referred: Option<asked::Told<'a>>,
}

/// Returns what there is to delete, for programs.
pub(in crate::cli) fn foreseen(
    run: &RunDirectory,
    draft: &RemovalPlan,
    referred: Option<&Referred>,
    how: How,
) -> Result<String, Error> {
    fn by_target(counts: &BTreeMap<(String, String), u64>) -> BTreeMap<&str, BTreeMap<&str, u64>> {
        let mut sorted: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for ((target, kind), count) in counts {
            sorted.entry(target).or_default().insert(kind, *count);
        }
        sorted
    }
    let foreseen = Foreseen {
        run: run.path().display().to_string(),
        dry_run: true,
        records: draft.records(),
        targets: by_target(&draft.kinds),
        updated: by_target(&draft.updated),
        changed: how.changed,
        restore: how.restore,
        transmitted: &draft.left.transmitted,
        unknown: draft.left.unknown,
        nameless: draft.left.nameless,
        gone_before: draft.left.away,
        referred: referred.map(asked::Told::of),
    };
    serde_json::to_string_pretty(&foreseen).map_err(Error::internal)
}

impl Unloaded {
    /// Nothing became of the records of a run that created none.
    pub(in crate::cli) fn nothing(run: RunDirectory) -> Self {
        Self {
            run,
            counts: RemovalCounts::default(),
            left: Left::default(),
        }
    }

    fn json(&self) -> Result<String, Error> {
        let mut outcomes: BTreeMap<&str, u64> = Removal::ALL
            .into_iter()
            .map(|outcome| (outcome.as_str(), self.counts.of(outcome)))
            .collect();
        outcomes.insert("pending", self.counts.pending);
        let mut targets: BTreeMap<&str, BTreeMap<&str, BTreeMap<&str, u64>>> = BTreeMap::new();
        for ((target, kind), counts) in &self.counts.kinds {
            let words = Removal::ALL.into_iter().map(Removal::as_str);
            let counts = words
                .zip(counts.iter().copied())
                .filter(|(_, count)| *count > 0);
            targets
                .entry(target)
                .or_default()
                .insert(kind, counts.collect());
        }
        let report = Report {
            run: self.run.path().display().to_string(),
            outcomes,
            targets,
            stayed: &self.counts.stayed,
            transmitted: &self.left.transmitted,
            unknown: self.left.unknown,
            nameless: self.left.nameless,
            gone_before: self.left.away,
            interrupted: self.counts.is_interrupted,
        };
        serde_json::to_string_pretty(&report).map_err(Error::internal)
    }

    /// Writes the report beside the journal; one that has nothing new to say leaves that of before.
    pub(super) fn keep(&self) -> Result<(), Error> {
        if self.counts.settled() == 0 {
            return Ok(());
        }
        let path = self.run.path().join("unload.json");
        let text = self.json()?;
        let file = journal::private_file(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(Error::disk)
    }

    /// Says what became of the records.
    pub(in crate::cli) fn tell(&self, json: bool, context: Context) -> Result<Exit, Error> {
        if json {
            context.printer.json(&self.json()?);
        } else if self.counts.settled() + self.counts.pending > 0 {
            context.printer.result(self.text().trim_end());
        }
        Ok(self.exit())
    }

    fn exit(&self) -> Exit {
        let left = &self.left;
        let is_all = left.unknown + left.nameless == 0 && left.transmitted.is_empty();
        if self.counts.is_interrupted {
            Exit::Interrupted
        } else if self.counts.is_clean() && is_all {
            Exit::Well
        } else {
            Exit::SomeFailed
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let counts = &self.counts;
        let outcomes = Removal::ALL
            .into_iter()
            .map(|outcome| (outcome.as_str(), counts.of(outcome)));
        let words = outcomes.chain([("pending", counts.pending)]);
        let words: Vec<String> = words
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{} {word}", grouped(count)))
            .collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {}", quoted(self.run.path()), words.join(", "));
        if counts.is_interrupted {
            let _ = writeln!(text, "interrupted; repeat the command to go on");
        }
        if counts.pending > 0 && !counts.is_interrupted {
            let _ = writeln!(
                text,
                "{} pending: not tried, or no answer came that tells; repeat the command to go on",
                grouped(counts.pending)
            );
        }
        for (outcome, what) in [
            (
                Removal::Changed,
                "changed since they were loaded; they stay (`--changed` deletes what the run created)",
            ),
            (Removal::Referred, "others refer to them; they stay"),
            (
                Removal::Refused,
                "the store refused, or does not tell; they stay",
            ),
        ] {
            let count = counts.of(outcome);
            if count == 0 {
                continue;
            }
            let _ = writeln!(
                text,
                "\n{} {outcome}: {what}",
                grouped(count),
                outcome = outcome.as_str()
            );
            let named = counts
                .stayed
                .iter()
                .filter(|stayed| stayed.outcome == outcome);
            for stayed in named.take(NAMED) {
                let status = stayed.status.map(|status| format!("  {status}"));
                let note = stayed.note.as_deref().map(|note| format!("  {note}"));
                let code = stayed.code.as_deref().map(|code| format!(" {code}"));
                let _ = writeln!(
                    text,
                    "    {}  {}{}{}{}",
                    stayed.place,
                    stayed.kind,
                    status.unwrap_or_default(),
                    code.unwrap_or_default(),
                    note.unwrap_or_default()
                );
            }
        }
        text
    }
}

/// The number of each kind of outcome that are named; `unload.ndjson` has all.
const NAMED: usize = 10;
