//! The events of a run, for those who watch it. One vocabulary between `send` and everything that only looks on.
//!
//! Events come after the journal has been written and may be dropped; nothing is computed from them that a
//! report states. Observers must return at once.

use std::{sync::Arc, time::Duration};

pub use crate::record::LoadId;
use crate::{record::Outcome, unit::Rate};

/// The plan of a load, for those who draw it.
#[derive(Debug, Clone)]
pub struct LoadPlanned {
    /// The load's name in the manifest; empty where no load is carried out, but something with what a target holds.
    pub name: String,
    /// The name of its target.
    pub target: String,
    /// The number of records that the plan holds for it.
    pub records: u64,
    /// The size of these records, in bytes.
    pub bytes: u64,
    /// Loads that end before it begins.
    pub after: Vec<LoadId>,
    /// The records of it that were settled before: in earlier sessions of the run, and in earlier runs.
    pub before: SettledBefore,
}

/// Records of a load that had an outcome when sending began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SettledBefore {
    /// All of them.
    pub done: u64,
    /// Of these, those that were rejected.
    pub rejected: u64,
    /// Of these, those that were blocked, or of which nobody knows.
    pub failed: u64,
}

impl SettledBefore {
    /// Counts one more.
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Rejected => self.rejected += 1,
            Outcome::Blocked | Outcome::Unknown => self.failed += 1,
            // It was stopped before it was tried: nothing is done.
            Outcome::Pending => return,
            _ => {}
        }
        self.done += 1;
    }
}

/// The state of sending to a target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetState {
    /// The state of the way to the target.
    pub flow: Flow,
    /// The number of requests that may be in flight now.
    pub slots: u32,
    /// The number of requests that are in flight.
    pub in_flight: u32,
    /// Operations a second at the most, where that was learned from the target's refusals.
    pub ceiling: Option<f64>,
    /// The rate that the user has set.
    pub rate: Option<Rate>,
}

/// The state of the way to a target: open, or why nothing goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// They do.
    Open,
    /// The target asked to wait; nothing is sent for this time.
    Braked(Duration),
    /// The target is down; one request at a time finds out whether it is back.
    Down {
        /// For how long it has been down.
        since: Duration,
        /// The time for which it will still be waited for.
        left: Duration,
        /// The failure of the last attempt, in words without content.
        what: String,
    },
}

/// Something that happened in a run.
#[derive(Debug, Clone)]
pub enum Event {
    /// The sources are being read; records found so far.
    Scanning {
        /// Records found so far.
        records: u64,
        /// Bytes read so far.
        bytes: u64,
    },
    /// Something is being done of which no record tells: for people.
    AtWork {
        /// The work, such as `asking the stores`.
        what: String,
        /// Records so far.
        done: u64,
        /// All of them; 0 where that is not known.
        all: u64,
    },
    /// Some records are being read back from the target before they are sent, or have been.
    Reading {
        /// The load that they belong to.
        load: LoadId,
        /// The number of records.
        records: u64,
        /// The answers are there.
        is_over: bool,
    },
    /// A session of a run begins to be kept in the journal.
    Session {
        /// The run's name.
        run: String,
        /// Tells it from another run of that name.
        mark: String,
        /// From 1.
        number: u32,
    },
    /// Sending begins. [`LoadId`] indexes `loads`.
    Started {
        /// The loads, in the order of the manifest.
        loads: Vec<LoadPlanned>,
    },
    /// A request left for the target.
    Sent {
        /// The load that it belongs to.
        load: LoadId,
        /// Bytes of its body.
        bytes: u64,
    },
    /// A request came back, whatever it said.
    Answered {
        /// The load that it belongs to.
        load: LoadId,
        /// The HTTP status, or none where no response came.
        status: Option<u16>,
        /// The target refused it for now: it asks to be slower.
        is_refused: bool,
        /// The time that it was on the wire.
        latency: Duration,
        /// Bytes of the answer's body.
        bytes: u64,
    },
    /// An attempt failed and will be made again.
    Retrying {
        /// The load that it belongs to.
        load: LoadId,
        /// The wait before it.
        after: Duration,
    },
    /// A record has its outcome, and the journal holds it.
    Settled {
        /// The load that it belongs to.
        load: LoadId,
        /// Its outcome.
        outcome: Outcome,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The state of sending to a target just now; sampled a few times a second.
    Target {
        /// The target's name.
        name: String,
        /// The state.
        state: TargetState,
    },
    /// It was found out in which way a target takes most records of a load.
    Way {
        /// The load.
        load: LoadId,
        /// The way, and how it compares with the others: words for people.
        way: String,
    },
    /// Records were compared with their store, or taken out of it.
    LookedAfter {
        /// The work that they belong to.
        load: LoadId,
        /// The finding, or the deed: the word of the report.
        outcome: &'static str,
        /// The number of records.
        records: u64,
    },
    /// No new work is started; what is in flight is being finished.
    Stopping {
        /// The reason, in words for people.
        reason: String,
    },
    /// Nothing is sent any more; the reports are being written.
    Finished,
    /// The number of records that have been gone through for the reports.
    Concluding {
        /// Records so far.
        records: u64,
    },
}

/// Someone who watches a run. Called from many tasks at once; must not block.
pub trait Observe: Send + Sync + std::fmt::Debug {
    /// Takes note of an event.
    fn observe(&self, event: &Event);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observe for Unobserved {
    fn observe(&self, _: &Event) {}
}

/// Several watch, in this order.
#[derive(Debug, Clone, Default)]
pub struct Several(pub Vec<Arc<dyn Observe>>);

impl Observe for Several {
    fn observe(&self, event: &Event) {
        for watcher in &self.0 {
            watcher.observe(event);
        }
    }
}
