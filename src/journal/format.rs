//! The journal's lines: newline-delimited JSON, one object with a single member that names the kind of line.
//!
//! ```json
//! {"journal":{"version":3,"run":"clinic-20261123T070000Z","mark":"5f0c21aa","stoker":"0.1.0"}}
//! {"session":{"number":1,"started":"2026-11-23T07:00:00Z"}}
//! {"intend":{"at":"2026-11-23T07:00:01.204Z","records":[12,13]}}
//! {"withdraw":[13]}
//! {"remove":[14]}
//! {"consulted":{"loaded":0}}
//! {"settle":{"record":12,"outcome":"created","attempts":1,"status":201,"id":"…","version":"…","latency_us":1830}}
//! {"tally":{"session":1,"elapsed_ms":1200,"requests":40,"retries":2,"statuses":{"201":38,"429":2},…}}
//! {"end":{"session":1,"at":"2026-11-23T07:00:09Z","how":"complete"}}
//! {"brief":{"records":600000}}
//! ```
//!
//! A record that travels in two steps (created without the references that close a cycle, then updated) has a `settle`
//! line with the outcome `pending` and its id when the store holds it, and another with its outcome when it is whole.
//!
//! Each line ends with its checksum (`checksum`), left out above: `…,"c":"9a3f01bc"}`. A line that has no line break at its
//! end is a torn tail and is ignored. Records are named by their step number in the plan. No content of records and no server text stands here (design §10).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::record::{Lack, Outcome, StepId};

/// The version of the journal's format.
pub const VERSION: u32 = 3;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first line: what this file is.
    Journal(JournalLine),
    /// A session begins: a run is carried to its end over one or more of them.
    Session(SessionLine),
    /// Records are about to be sent in a way that must not happen twice.
    Intend(IntendLine),
    /// Records that were about to be sent are known not to have arrived; they wait for their next attempt.
    Withdraw(Vec<StepId>),
    /// The store's resources under the names of these records are about to be removed, and the records to take their
    /// place.
    Remove(Vec<StepId>),
    /// The loads of earlier runs have been looked up, and stand above.
    Consulted(ConsultedLine),
    /// The outcome of a record. The last line of a record holds.
    Settle(SettleLine),
    /// The figures of a session so far. The last line of a session holds.
    Tally(Tally),
    /// A session ended in order.
    End(EndLine),
    /// The run sent nothing and is kept in brief.
    Brief(BriefLine),
}

/// The first line of the file: its version, the run's name and mark, and the Stoker that began it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// [`VERSION`].
    pub version: u32,
    /// The name of the run, which is the name of its directory.
    pub run: String,
    /// Tells it from another run of the same name, made elsewhere in the same second.
    pub mark: String,
    /// The Stoker that began it.
    pub stoker: String,
}

impl JournalLine {
    /// Returns what marks a record of this run in a store, as the code of a `meta.tag`.
    pub fn tag(&self, record: StepId) -> String {
        format!("{}.{}.{record}", self.run, self.mark)
    }
}

/// Records about to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntendLine {
    /// When, by the store's clock if it tells it: nothing that a store had before then is theirs.
    pub at: Timestamp,
    /// The records.
    pub records: Vec<StepId>,
    /// Another run was about to send them, and this is what it marked them with (one record a line then).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Earlier runs have been asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsultedLine {
    /// The number of records that they had loaded and that are left alone.
    pub loaded: u64,
    /// The number of records that the stores were asked for first, to make sure; none where an older Stoker did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<u64>,
    /// Of those left alone, the ones that were asked for one by one, because some of the sample were gone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub asked: u64,
    /// The number of records that earlier runs had loaded and that the stores no longer hold as they were loaded: they are
    /// sent again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gone: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The beginning of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLine {
    /// From 1.
    pub number: u32,
    /// When it began.
    pub started: Timestamp,
}

/// The outcome of a record, with its facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettleLine {
    /// The record's step number in the plan.
    pub record: StepId,
    /// Its outcome.
    pub outcome: Outcome,
    /// The number of requests that were sent with it; 0 where nothing was sent. An attempt without a connection is none.
    pub attempts: u32,
    /// The last HTTP status, of the entry where it travelled in a Bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The id that the store holds it under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The version that the store gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The latency of the last attempt, in microseconds; waiting for slots, rate and retries not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
    /// `issue.code` of the server's OperationOutcome, or Google's status word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The server's own code beside it, of a vocabulary that is known: `HAPI-1094`, `invalid_references`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// `issue.expression`: where in the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expression: Vec<String>,
    /// The things that a refused record lacks, as far as the record itself and the plan show them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<Lack>,
    /// The record because of which it was refused or not sent, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<StepId>,
    /// Stoker's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The time when a record of unknown outcome was first about to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The tag that another run gave to a record of unknown outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

impl SettleLine {
    /// Begins with a record of which nothing but its outcome is known, and no attempt was made.
    pub fn new(record: StepId, outcome: Outcome) -> Self {
        Self {
            record,
            outcome,
            attempts: 0,
            status: None,
            id: None,
            version: None,
            latency_us: None,
            code: None,
            detail: None,
            expression: Vec::new(),
            lacks: Vec::new(),
            by: None,
            note: None,
            since: None,
            tag: None,
        }
    }
}

/// The settlement of a record: its line, and the server's words.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The line for the journal.
    pub line: SettleLine,
    /// The server's words: content, so they go to `rejected/` only.
    pub said: Option<String>,
}

/// The figures of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The session's number.
    pub session: u32,
    /// The time for which sending has lasted, in milliseconds.
    pub elapsed_ms: u64,
    /// The time before that, for reading the sources and asking the targets, in milliseconds.
    #[serde(default)]
    pub planning_ms: u64,
    /// The time after that, for writing the reports, in milliseconds; known when they are written.
    #[serde(default)]
    pub closing_ms: u64,
    /// Requests sent that write, repeated ones included.
    pub requests: u64,
    /// Requests sent that read: samples of what earlier runs loaded, comparisons, look-ups, questions what became of
    /// something.
    #[serde(default)]
    pub reads: u64,
    /// Attempts that repeated an earlier one.
    pub retries: u64,
    /// The number of answers of each HTTP status; `none` where no response came.
    pub statuses: BTreeMap<String, u64>,
    /// Bytes of request bodies.
    pub bytes_sent: u64,
    /// Bytes of response bodies.
    pub bytes_received: u64,
    /// Remarks on the answers of targets, in Stoker's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// For each load of which it was found out, by its name: in which way its records were sent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ways: BTreeMap<String, String>,
}

/// The rest of a large run that sent nothing, because earlier runs had loaded all of it: neither its plan nor a line a
/// record. `report.json` holds its totals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BriefLine {
    /// The records of its plan.
    pub records: u64,
}

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndLine {
    /// The session's number.
    pub session: u32,
    /// When it ended.
    pub at: Timestamp,
    /// The manner of the ending.
    pub how: Ending,
    /// The reason, in Stoker's words, where it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Ending {
    /// Tells whether nothing was left to do by the session: all was done, or another run has taken it over.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Complete | Self::Superseded)
    }
}

/// The ending of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
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
}
