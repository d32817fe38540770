//! The changes that later runs have made to what an earlier one created or changed: runs of one manifest are unloaded together,
//! the newest first, and what one of them changed is no stranger's change. Nor is what an unloading put back.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher as _,
};

use jiff::Timestamp;

use super::{Error, RemovalPlan, removal_plan::Changed};
use crate::journal::{JournalIndex, RecordState};

/// The changes by later runs, by a hash of the record's name: of two that share one, the version tells the other apart.
#[derive(Debug, Default)]
pub struct Later {
    events: HashMap<u64, Vec<Event>>,
    /// The number of runs that were added.
    runs: usize,
    /// Only what unloadings have put back is looked for: the changes that still stand are not unloaded.
    is_of_the_past: bool,
    state: foldhash::quality::RandomState,
}

/// A change to a record by a run, or its taking back by the unloading of that run.
#[derive(Debug, Clone)]
struct Event {
    at: Timestamp,
    /// The run's number among those that were added.
    run: usize,
    is_taken_back: bool,
    /// The version in which the store has it then, as far as that is known.
    version: Option<String>,
}

/// The state in which later runs, or their unloadings, have left a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftAs {
    /// The version, as far as it is known.
    pub(super) version: Option<String>,
}

impl Later {
    /// For a run that is unloaded by itself: what later runs have changed, and was not put back, stays.
    pub fn of_the_past() -> Self {
        Self {
            is_of_the_past: true,
            ..Self::default()
        }
    }

    /// Adds what a run has changed and not created, and what its unloading has put back; the newest run comes first.
    ///
    /// # Errors
    ///
    /// When its journal cannot be read.
    pub fn add(&mut self, draft: &RemovalPlan, history: &JournalIndex) -> Result<(), Error> {
        let at = history.sessions.first().map(|session| session.started);
        let at = at.unwrap_or(Timestamp::UNIX_EPOCH);
        let run = self.runs;
        self.runs += 1;
        let restored = draft.restored.iter().map(|restored| &restored.changed);
        for changed in draft.changed.iter().chain(restored) {
            let version = match history.fate(changed.last)? {
                RecordState::Settled(line) | RecordState::Standing(line) => line.version,
                RecordState::Untouched | RecordState::Intended(_) => None,
            };
            let event = Event {
                at,
                run,
                is_taken_back: false,
                version,
            };
            self.push(changed, event);
        }
        self.put_back(run, draft);
        Ok(())
    }

    /// Takes note of what the unloading of a run has put back; `run` is its number among those that were added, from 0.
    pub fn put_back(&mut self, run: usize, draft: &RemovalPlan) {
        for restored in &draft.restored {
            let event = Event {
                at: restored.at,
                run,
                is_taken_back: true,
                version: restored.version.clone(),
            };
            self.push(&restored.changed, event);
        }
    }

    fn push(&mut self, changed: &Changed, event: Event) {
        let name = self.name(&changed.target, &changed.kind, &changed.id);
        self.events.entry(name).or_default().push(event);
    }

    /// Takes out of a run's changes those of records that an earlier run has created, and that go with it.
    pub fn leave_out(&self, draft: &mut RemovalPlan, created: &HashSet<u64>) {
        draft.changed.retain(|changed| {
            !created.contains(&self.name(&changed.target, &changed.kind, &changed.id))
        });
        draft.count_changed();
    }

    /// Tells the draft of a run in which versions unloadings of later runs have put its records back since it was made; `run`
    /// is its number.
    pub fn follow(&self, run: usize, draft: &mut RemovalPlan) {
        for changed in &mut draft.changed {
            let name = self.name(&changed.target, &changed.kind, &changed.id);
            if let Some(version) = self.is_back(name, run) {
                changed.since = Some(version);
            }
        }
    }

    pub(super) fn name(&self, target: &str, kind: &str, id: &str) -> u64 {
        self.state.hash_one((target, kind, id))
    }

    /// Returns in which state later runs, or their unloadings, have left a record; none where none has changed it.
    pub(super) fn left(&self, name: u64) -> Option<LeftAs> {
        let version = if self.is_of_the_past {
            Some(self.since(name)?)
        } else {
            self.ordered(name, self.runs).pop()?.version
        };
        Some(LeftAs { version })
    }

    /// Returns the version in which a record is again what it was before all later runs; none where it is not.
    pub(super) fn since(&self, name: u64) -> Option<String> {
        self.is_back(name, self.runs)
    }

    /// As [`Later::since`], by the runs before this number.
    fn is_back(&self, name: u64, before: usize) -> Option<String> {
        let events = self.ordered(name, before);
        let mut standing = Vec::new();
        for event in &events {
            if !event.is_taken_back {
                standing.push(event.run);
            } else if standing.last() == Some(&event.run) {
                standing.pop();
            }
        }
        let last = events.into_iter().next_back()?;
        last.version.filter(|_| standing.is_empty())
    }

    fn ordered(&self, name: u64, before: usize) -> Vec<Event> {
        let events = self.events.get(&name).into_iter().flatten();
        let mut events: Vec<Event> = events.filter(|e| e.run < before).cloned().collect();
        events.sort_by_key(|event| event.at);
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events at these seconds: of a run, taken back or not, with the version.
    fn later(events: &[(i64, usize, bool, &str)]) -> Later {
        let events = events
            .iter()
            .map(|(at, run, is_taken_back, version)| Event {
                at: Timestamp::from_second(*at).unwrap(),
                run: *run,
                is_taken_back: *is_taken_back,
                version: Some((*version).to_owned()),
            });
        Later {
            events: HashMap::from([(7, events.collect())]),
            runs: 9,
            ..Later::default()
        }
    }

    fn since(events: &[(i64, usize, bool, &str)]) -> Option<String> {
        later(events).since(7)
    }

    #[test]
    fn what_all_later_runs_did_has_to_be_taken_back() {
        let back = |version: &str| Some(version.to_owned());
        assert_eq!(since(&[(1, 0, false, "2"), (2, 0, true, "3")]), back("3"));
        // Loaded and restored again and again.
        let again = [
            (1, 1, false, "2"),
            (2, 1, true, "3"),
            (3, 0, false, "4"),
            (4, 0, true, "5"),
        ];
        assert_eq!(since(&again), back("5"));
        // Two that were loaded first, and restored one after the other.
        let both = [
            (1, 1, false, "2"),
            (2, 0, false, "3"),
            (3, 0, true, "4"),
            (4, 1, true, "5"),
        ];
        assert_eq!(since(&both), back("5"));
        // The first of them stands.
        assert_eq!(since(&both[..3]), None);
        let left = later(&both[..3]).left(7).unwrap();
        assert_eq!(left.version, back("4"));
        assert_eq!(since(&[(1, 0, false, "2")]), None);
        assert_eq!(later(&[]).left(8), None);
    }
}
