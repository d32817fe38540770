//! The state that earlier sessions of a run left: records that are settled, and records that were being sent when a
//! session was cut off.

use jiff::Timestamp;

use crate::{
    event::SettledBefore,
    journal::{self, JournalIndex, RecordState},
    plan::Step,
    record::{Outcome, StepId},
    target::ELSEWHERE,
};

/// The state that earlier sessions of a run left.
#[derive(Debug, Default)]
pub struct Earlier {
    /// The journal so far; none for a new run.
    pub history: Option<JournalIndex>,
    /// The settled records that are tried once more.
    pub replay: Replay,
    /// A session of this run, or of another in its state directory, was cut off a moment before this one.
    pub was_cut_off: bool,
}

/// The records of a run that are tried once more, besides those that were not tried, or whose sending was cut off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replay {
    /// Those that the store refused, and those that were blocked by such.
    pub rejected: bool,
    /// Those of which nobody knows. If asking the store proves nothing, they are sent all the same.
    pub unknown: bool,
    /// Some load lets the store be asked: then those of which nobody knows are asked about once more.
    pub asks: bool,
}

/// A record that may have arrived without anybody's knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubt {
    /// When it was first about to be sent: what the store had before is not it.
    pub(super) since: Option<Timestamp>,
    /// The code of the tag with which it was sent, if it had one.
    pub(super) tag: Option<String>,
    /// The record is sent once more where asking proves nothing.
    pub(super) is_replayed: bool,
    /// The store said that it took it under another name.
    pub(super) is_elsewhere: bool,
}

impl Doubt {
    pub(super) fn none() -> Self {
        Self {
            since: None,
            tag: None,
            is_replayed: false,
            is_elsewhere: false,
        }
    }
}

impl Earlier {
    /// Tells whether a record has an outcome that stands.
    pub fn is_settled(&self, record: StepId) -> bool {
        self.outcome(record).is_some()
    }

    /// Tells which outcome of a record stands.
    pub fn outcome(&self, record: StepId) -> Option<Outcome> {
        let outcome = self.history.as_ref()?.outcome(record)?;
        (!self.replay.is_of(outcome)).then_some(outcome)
    }

    /// Returns what the store made of a record that an earlier session settled well.
    pub(super) fn resource(&self, step: &Step) -> Result<Option<String>, journal::Error> {
        let Some(history) = &self.history else {
            return Ok(None);
        };
        Ok(match history.fate(step.number)? {
            RecordState::Settled(line) if line.outcome.is_well() => {
                let id = line.id.or_else(|| step.id.clone());
                id.map(|id| format!("{}/{id}", step.kind))
            }
            _ => None,
        })
    }

    /// Counts the outcomes that stand of the records with these numbers.
    pub(super) fn before(&self, numbers: std::ops::Range<StepId>) -> SettledBefore {
        let mut before = SettledBefore::default();
        let last = self.history.as_ref().and_then(JournalIndex::last_record);
        let end = last.map_or(0, |last| std::cmp::min(last.next(), numbers.end).0);
        let settled = (numbers.start.0..end).map(StepId);
        for outcome in settled.filter_map(|record| self.outcome(record)) {
            before.add(outcome);
        }
        before
    }

    /// Tells whether an earlier session was about to remove what the store had under the name of a record.
    pub(super) fn is_removed(&self, record: StepId) -> bool {
        let history = self.history.as_ref();
        history.is_some_and(|history| history.is_removed(record))
    }

    /// Tells whether the store holds a record without the references that close its cycle.
    pub(super) fn is_standing(&self, record: StepId) -> bool {
        let history = self.history.as_ref();
        history.is_some_and(|history| history.is_standing(record))
    }

    /// Tells whether a record may have arrived without anybody's knowing.
    pub(super) fn is_in_doubt(&self, record: StepId) -> bool {
        self.history.as_ref().is_some_and(|history| {
            history.is_interrupted(record)
                || self.replay.is_of(Outcome::Unknown)
                    && history.outcome(record) == Some(Outcome::Unknown)
        })
    }

    /// Returns what is known of a record that may have arrived; `own` is the tag with which this run sends it.
    pub(super) fn doubt(
        &self,
        record: StepId,
        own: Option<String>,
    ) -> Result<Option<Doubt>, journal::Error> {
        let Some(history) = self.history.as_ref().filter(|_| self.is_in_doubt(record)) else {
            return Ok(None);
        };
        let doubt = match history.fate(record)? {
            RecordState::Untouched | RecordState::Standing(_) => return Ok(None),
            RecordState::Intended(intend) => Doubt {
                since: Some(intend.at),
                tag: intend.tag.or(own),
                is_replayed: self.replay.unknown,
                is_elsewhere: false,
            },
            RecordState::Settled(line) => Doubt {
                since: line.since,
                tag: line.tag.or(own),
                is_replayed: self.replay.unknown,
                is_elsewhere: line.code.as_deref() == Some(ELSEWHERE),
            },
        };
        Ok(Some(doubt))
    }
}

impl Replay {
    fn is_of(self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Rejected | Outcome::Blocked => self.rejected,
            Outcome::Unknown => self.unknown || self.asks,
            _ => false,
        }
    }
}
