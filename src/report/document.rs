//! The types of `report.json`: what a report says, and its schema.
//!
//! No content of records stands here, and no word of a server but its `issue.code` and `issue.expression`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::{Outcome, StepId};

/// The version of `report.json`. It changes when a field goes away or changes its meaning, not when one is added.
pub const VERSION: u32 = 1;

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Stoker report", deny_unknown_fields)]
pub struct Report {
    /// The version of this format.
    pub report: u32,
    /// The version of Stoker that began the run.
    pub stoker: String,
    /// The run: the name of its directory.
    pub run: String,
    /// The manifest's name.
    pub name: String,
    /// The manifest's file.
    pub manifest: String,
    /// How the last session ended.
    pub ended: SessionEnd,
    /// Why, where it was stopped.
    pub reason: Option<String>,
    /// When the first session began.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started: Option<Timestamp>,
    /// When the last session ended in order.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub finished: Option<Timestamp>,
    /// How many sessions the run took: one, and one for each time it was resumed.
    pub sessions: u32,
    /// How long the sessions lasted together, from the start of the program to its end, in milliseconds; time between sessions
    /// is not counted.
    pub duration_ms: u64,
    /// How much of it went by before anything was sent: reading the sources, asking the targets.
    pub planning_ms: u64,
    /// How much of it went by while records were sent.
    pub sending_ms: u64,
    /// How much of it went by after that: writing the reports.
    pub closing_ms: u64,
    /// Records of the plan; the sum of all outcomes.
    pub records: u64,
    /// Bytes of the records' resources.
    pub bytes: u64,
    /// Records per outcome.
    pub outcomes: Totals,
    /// Of the unknown ones, those that were on their way when a session ended: a resumed run asks the store about them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub in_doubt: u64,
    /// Records for which the target was asked, per second of sending; none where nothing was measured.
    pub records_per_second: Option<f64>,
    /// The requests of all sessions.
    pub requests: RequestFigures,
    /// How long the last attempts took that settled records; none where nothing was sent.
    pub latency: Option<Latency>,
    /// Per load, in the order of the manifest.
    pub loads: Vec<LoadReport>,
    /// Records per resource type and outcome. Records without a type stand under the empty name.
    pub types: BTreeMap<String, Totals>,
    /// Records that earlier runs had loaded: they count as unchanged, and not each of them was looked for in the store.
    pub from_history: u64,
    /// The answers of the stores when they were asked whether they still hold what earlier runs had loaded; none where nothing
    /// is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryCheck>,
    /// Messages that were sent again because their acknowledgement was lost, and were acknowledged then: a receiver that does
    /// not know them by MSH-10 has them twice.
    #[serde(default, skip_serializing_if = "is_none")]
    pub resent: u64,
    /// Why records did not arrive, in Stoker's words, and what to do: rejected first, then unknown, blocked, unsupported;
    /// within one outcome the most frequent first.
    pub causes: Vec<Cause>,
    /// What went wrong, alike problems together: rejected first, then unknown, blocked, unsupported; within one
    /// outcome the most frequent first.
    pub problems: Vec<Problem>,
    /// Records with a problem that `problems` does not list, because too many kinds of problems came.
    pub unlisted_problems: u64,
}

/// The answers of the stores when they were asked whether they still hold what earlier runs had loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryCheck {
    /// Records that were asked for first, as a sample.
    pub sampled: u64,
    /// Of the records from the history, those that were asked for one by one, because some of the sample were gone.
    pub asked: u64,
    /// Records that earlier runs had loaded and that were no longer there as they were loaded: the run sends them again.
    pub gone: u64,
}

impl Report {
    /// Tells whether a further session has anything to do: records to send, or to ask about.
    pub fn can_go_on(&self) -> bool {
        self.outcomes.pending + self.in_doubt > 0
    }
}

/// How the last session of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    /// Every record has its outcome.
    Complete,
    /// The user interrupted it.
    Interrupted,
    /// More records failed than `max_errors` allows.
    MaxErrors,
    /// The target or the credentials failed.
    Target,
    /// Reading a source failed.
    Source,
    /// Stoker itself is at fault.
    Internal,
    /// A later load of the same manifest has taken over what was left.
    Superseded,
    /// Its end is not in the journal: it was killed, or is still going on.
    Unfinished,
}

/// Records per outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Totals {
    /// The store holds a new resource.
    pub created: u64,
    /// The store holds a new version.
    pub updated: u64,
    /// The store already held this content.
    pub unchanged: u64,
    /// A condition hit an existing resource; its content was not compared.
    pub matched: u64,
    /// The same identity and content as the record at another position.
    pub duplicate: u64,
    /// Never sent: it cannot be loaded there.
    pub unsupported: u64,
    /// Refused by the store.
    pub rejected: u64,
    /// Never sent: a record that it needs did not arrive.
    pub blocked: u64,
    /// Sent, and nothing can prove what became of it.
    pub unknown: u64,
    /// Not tried: the run was interrupted or stopped.
    pub pending: u64,
}

impl Totals {
    fn slot(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Created => &mut self.created,
            Outcome::Updated => &mut self.updated,
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Matched => &mut self.matched,
            Outcome::Duplicate => &mut self.duplicate,
            Outcome::Unsupported => &mut self.unsupported,
            Outcome::Rejected => &mut self.rejected,
            Outcome::Blocked => &mut self.blocked,
            Outcome::Unknown => &mut self.unknown,
            Outcome::Pending => &mut self.pending,
        }
    }

    /// Counts a record.
    pub fn count(&mut self, outcome: Outcome) {
        *self.slot(outcome) += 1;
    }

    /// Returns how many records ended so.
    pub fn of(&self, outcome: Outcome) -> u64 {
        *self.clone().slot(outcome)
    }

    /// Returns how many records there are.
    pub fn sum(&self) -> u64 {
        Outcome::ALL.iter().map(|outcome| self.of(*outcome)).sum()
    }

    /// Returns how many records are in the store as their sources want them.
    pub fn well(&self) -> u64 {
        Outcome::ALL
            .iter()
            .filter(|outcome| outcome.is_well())
            .map(|outcome| self.of(*outcome))
            .sum()
    }
}

/// The requests of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RequestFigures {
    /// The numbers are lower bounds: a session was killed, or goes on, and its figures are written down once a second.
    pub at_least: bool,
    /// Requests sent that write, repeated ones included.
    pub sent: u64,
    /// Requests sent that read: samples of what earlier runs loaded, comparisons, look-ups, questions what became of
    /// something.
    pub reads: u64,
    /// Requests that repeated an earlier one.
    pub retries: u64,
    /// How often each HTTP status came; `none` where no response came.
    pub statuses: BTreeMap<String, u64>,
    /// Bytes of request bodies.
    pub bytes_sent: u64,
    /// Bytes of response bodies.
    pub bytes_received: u64,
    /// What was noticed of how targets answer, in Stoker's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// How long attempts took, in microseconds, waiting not counted; exact to three digits.
///
/// Every record counts with the last attempt of the request in which it travelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Latency {
    /// How many records it was measured for.
    pub records: u64,
    /// Half of them took no longer.
    pub p50_us: u64,
    /// 95 in a hundred took no longer.
    pub p95_us: u64,
    /// 99 in a hundred took no longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// What became of a load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LoadReport {
    /// Its name.
    pub name: String,
    /// The name of its target.
    pub target: String,
    /// Files read.
    pub files: u64,
    /// Its records.
    pub records: u64,
    /// Bytes of the records' resources.
    pub bytes: u64,
    /// Records per outcome.
    pub outcomes: Totals,
    /// In which way its records were sent, where the target takes several and the first requests told which takes most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
}

/// Why records did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Cause {
    /// What became of the records that have this cause themselves.
    #[serde(deserialize_with = "outcome")]
    pub outcome: Word,
    /// What is wrong.
    pub what: String,
    /// What to do about it, where there is more to say than that the records are to be mended.
    pub next: Option<String>,
    /// The HTTP status, of the entry where it travelled in a Bundle.
    pub status: Option<u16>,
    /// `issue.code` of the server's OperationOutcome, or Stoker's word.
    pub code: Option<String>,
    /// The server's own code beside it, such as `HAPI-1094`.
    pub detail: Option<String>,
    /// How many records have this cause themselves.
    pub records: u64,
    /// How many more were refused because they travelled in a transaction with them.
    pub together: u64,
    /// How many more were not sent because they need one of them.
    pub blocked: u64,
    /// The loads of the records.
    pub loads: Vec<String>,
    /// The records by resource type. Those without a type stand under the empty name.
    pub types: BTreeMap<String, u64>,
    /// The first few of the records.
    pub examples: Vec<Example>,
}

/// Records that went wrong in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Problem {
    /// The load.
    pub load: String,
    /// The resource type; empty where the record has none.
    #[serde(rename = "type")]
    pub kind: String,
    /// One of `rejected`, `unknown`, `blocked`, `unsupported`.
    #[serde(deserialize_with = "outcome")]
    pub outcome: Word,
    /// The HTTP status, of the entry where it travelled in a Bundle.
    pub status: Option<u16>,
    /// `issue.code` of the server's OperationOutcome, or Stoker's word for what is not supported.
    pub code: Option<String>,
    /// How many records.
    pub records: u64,
    /// The first few of them.
    pub examples: Vec<Example>,
}

/// A word of Stoker's own. (By this name serde does not take it for text that is borrowed from what is read.)
pub(super) type Word = &'static str;

fn outcome<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    Outcome::deserialize(deserializer).map(Outcome::as_str)
}

/// One record of a [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Example {
    /// Its number in the plan, as in `records.ndjson`.
    #[schemars(with = "u64")]
    pub record: StepId,
    /// The file.
    pub file: String,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The index in `Bundle.entry`, from 0, of an entry.
    pub entry: Option<u32>,
    /// Where in the record: `issue.expression`.
    pub expression: Vec<String>,
    /// Stoker's own words.
    pub note: Option<String>,
}

impl Example {
    /// Returns the position for people, as `file:line` or `file:line (entry 3)`.
    pub fn place(&self) -> String {
        match self.entry {
            Some(entry) => format!("{}:{} (entry {entry})", self.file, self.line),
            None => format!("{}:{}", self.file, self.line),
        }
    }
}

/// Tells that there are none.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference over"
)]
fn is_none(count: &u64) -> bool {
    *count == 0
}
