//! Deletes what a run created, in reverse order of its references: nothing is deleted that something refers to.
//!
//! `draft` finds what there is to delete, and who refers to whom; `referred` asks the stores what else refers to them; `circles`
//! finds those that refer to each other, which have to go together; `carry` decides of each record by what the store has;
//! `deletion` sends what is decided; `restore` puts back what was changed. The journal of the unloading tells what happened
//! ([`RemovalJournal`]). Deletions may be repeated, so a run that is unloaded twice, or killed on the way, ends with the same
//! store.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt as _, stream};

use crate::{
    journal::{self, Removal, RemovalJournal, RemovalLine},
    lookup::{OpenStore, Silent},
    plan::file::{self, Saved},
    record::StepId,
};

mod carry;
mod circles;
mod deletion;
mod item;
mod later;
mod opened;
mod referred;
mod removal_plan;
mod restore;

use circles::{Circle, Turns};
pub use later::Later;
pub use referred::{Referred, ReferredTo};
pub use removal_plan::{Left, RemovalPlan};

/// The reason why an unloading cannot go on. The records that were deleted before stand in its journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan of the run.
    #[error(transparent)]
    Plan(#[from] file::Error),
    /// The journal of the run, or of its unloading.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A target is down, or does not take the credentials.
    #[error(transparent)]
    Target(#[from] Silent),
    /// Nobody is connected to the target of a load, or the plan is not the journal's.
    #[error("{0}")]
    Internal(String),
}

/// A record that stays.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stayed {
    /// The target.
    pub target: String,
    /// The position of the record in its source, in words.
    pub place: String,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The reason why it stays.
    pub outcome: Removal,
    /// The last HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code of the store's refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Stoker's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The result for one record, with its target, kind and position.
#[derive(Debug, Clone)]
struct Ended {
    line: RemovalLine,
    target: String,
    kind: String,
    place: String,
}

/// Records that are carried in the same requests.
#[derive(Debug)]
struct Unit<'a> {
    store: &'a OpenStore,
    circles: Vec<Circle>,
}

/// The numbers of records by their removal.
#[derive(Debug, Default)]
pub struct RemovalCounts {
    /// By target and kind, in the order of [`Removal::ALL`].
    pub kinds: BTreeMap<(String, String), [u64; Removal::ALL.len()]>,
    /// Those that stay, and why: the first of them.
    pub stayed: Vec<Stayed>,
    /// Those that were not tried, or of which no answer came.
    pub pending: u64,
    /// The unloading was interrupted.
    pub is_interrupted: bool,
}

/// The number of those that stay that are named.
const NAMED: usize = 50;

impl RemovalCounts {
    /// Returns how many records ended so.
    pub fn of(&self, outcome: Removal) -> u64 {
        let counts = self.kinds.values();
        counts
            .filter_map(|counts| counts.get(outcome as usize))
            .sum()
    }

    /// Returns how many records have an outcome.
    pub fn settled(&self) -> u64 {
        self.kinds.values().flatten().sum()
    }

    /// Tells whether the stores hold nothing any more of what was to be deleted.
    pub fn is_clean(&self) -> bool {
        let stay = Removal::ALL
            .into_iter()
            .filter(|outcome| !outcome.is_undone());
        self.pending == 0 && stay.map(|outcome| self.of(outcome)).sum::<u64>() == 0
    }

    fn take(&mut self, ended: Ended) {
        let Ended {
            line,
            target,
            kind,
            place,
        } = ended;
        let counts = self
            .kinds
            .entry((target.clone(), kind.clone()))
            .or_default();
        if let Some(count) = counts.get_mut(line.outcome as usize) {
            *count += 1;
        }
        if !line.outcome.is_undone() && self.stayed.len() < NAMED {
            self.stayed.push(Stayed {
                target,
                place,
                kind,
                outcome: line.outcome,
                status: line.status,
                code: line.code,
                note: line.note,
            });
        }
    }
}

/// Somebody who is told what is done to the records of a target.
pub trait Done: Sync + std::fmt::Debug {
    /// Takes note of it.
    fn done(&self, target: &str, outcome: Removal);
}

/// The run to unload, and the settings of the unloading.
#[derive(Debug)]
pub struct Unload<'a> {
    /// The plan of the run.
    pub plan: &'a Saved,
    /// The journal of the run: the outcomes of its records.
    pub history: &'a journal::JournalIndex,
    /// The records to delete.
    pub draft: &'a RemovalPlan,
    /// The stores, by the names of their targets; none where the store itself is not there any more.
    pub stores: &'a HashMap<String, Option<OpenStore>>,
    /// Records that are not what the run left are deleted as well.
    pub changed: bool,
    /// Records that the run has changed are put back to what they were.
    pub restores: bool,
    /// Is told of each record what was done to it, with its target.
    pub done: &'a dyn Done,
}

impl Unload<'_> {
    /// Deletes. `is_stopping` tells whether no new work is to be begun; `told` is told how many records more have an outcome.
    ///
    /// # Errors
    ///
    /// When plan or journal cannot be read or written, or a target gives no answers any more.
    pub async fn run(
        &self,
        journal: &mut RemovalJournal,
        is_stopping: &(dyn Fn() -> bool + Sync),
        told: &(dyn Fn(u64) + Sync),
    ) -> Result<RemovalCounts, Error> {
        let mut notes = Notes {
            counts: RemovalCounts::default(),
            journal,
            told,
            done: self.done,
        };
        let mut ended = Ok(());
        let mut all = self.draft.records();
        if self.restores {
            all += self.draft.updates();
            ended = self.restore(&mut notes, is_stopping).await;
        }
        if ended.is_ok() {
            ended = self.carry_out(&mut notes, is_stopping).await;
        }
        notes.journal.end()?;
        let mut counts = notes.counts;
        ended?;
        counts.is_interrupted = is_stopping() && counts.settled() < all;
        let pending = all.saturating_sub(counts.settled());
        counts.pending = pending;
        Ok(counts)
    }

    async fn carry_out(
        &self,
        notes: &mut Notes<'_>,
        is_stopping: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), Error> {
        let mut turns = Turns::new(self.draft.references());
        // Those that were refused, and what was said of them.
        let mut refused: Vec<(Circle, Vec<Ended>)> = Vec::new();
        let mut has_moved = false;
        let stores = self.stores.values().flatten();
        let requests: usize = stores.map(|store| store.requests).sum();
        while !is_stopping() {
            let (mut wave, kept) = turns.ready();
            if wave.is_empty() && kept.is_empty() {
                if refused.is_empty() {
                    break;
                }
                let again = std::mem::take(&mut refused);
                if !std::mem::take(&mut has_moved) {
                    for (circle, ended) in again {
                        notes.note(ended)?;
                        turns.settled(circle.id, false);
                    }
                    continue;
                }
                // The reason of a refusal may have been a record that is gone by now.
                wave = again.into_iter().map(|(circle, _)| circle).collect();
            }
            for circle in kept {
                let stay = circle
                    .nodes
                    .iter()
                    .map(|node| Ok(self.item(*node)?.stays(Removal::Referred, REFERRED)));
                notes.note(stay.collect::<Result<_, Error>>()?)?;
                turns.settled(circle.id, false);
            }
            let (wave, lost) = self.without_store(wave)?;
            for circle in lost {
                let gone = circle.nodes.iter();
                let gone = gone.map(|node| Ok(self.item(*node)?.stays(Removal::Gone, NO_STORE)));
                notes.note(gone.collect::<Result<_, Error>>()?)?;
                turns.settled(circle.id, true);
            }
            let units = self.units(wave)?;
            let mut done = stream::iter(units.into_iter().map(|unit| async {
                let carried = if is_stopping() {
                    Ok(Vec::new())
                } else {
                    self.carry(&unit).await
                };
                (unit, carried)
            }))
            .buffer_unordered(requests.max(1));
            let mut failed = None;
            while let Some((unit, ended)) = done.next().await {
                // A unit that is under way when one fails comes to its end, and is noted.
                let mut ended = match ended {
                    Ok(ended) => ended,
                    Err(error) => {
                        failed.get_or_insert(error);
                        continue;
                    }
                };
                for mut circle in unit.circles {
                    let numbers: Vec<StepId> = circle
                        .nodes
                        .iter()
                        .filter_map(|node| self.draft.number(*node))
                        .collect();
                    let (own, others): (Vec<Ended>, Vec<Ended>) = ended
                        .into_iter()
                        .partition(|ended| numbers.contains(&ended.line.record));
                    ended = others;
                    // Of whom no answer came, nobody knows: what it refers to stays.
                    let is_answered = own.len() == circle.nodes.len();
                    let (away, stay): (Vec<_>, Vec<_>) = own
                        .into_iter()
                        .partition(|ended| ended.line.outcome.is_away());
                    has_moved |= !away.is_empty();
                    let left = stay.iter().map(|ended| ended.line.record);
                    let left: Vec<StepId> = left.collect();
                    notes.note(away)?;
                    if is_answered && stay.iter().any(|ended| may_change_its_mind(&ended.line)) {
                        circle.nodes.retain(|node| {
                            let number = self.draft.number(*node);
                            number.is_some_and(|number| left.contains(&number))
                        });
                        refused.push((circle, stay));
                        continue;
                    }
                    turns.settled(circle.id, is_answered && stay.is_empty());
                    notes.note(stay)?;
                }
            }
            drop(done);
            if let Some(error) = failed {
                return Err(error);
            }
        }
        for (_, ended) in refused {
            notes.note(ended)?;
        }
        Ok(())
    }

    /// Tells those apart whose store is not there any more.
    fn without_store(&self, wave: Vec<Circle>) -> Result<(Vec<Circle>, Vec<Circle>), Error> {
        let (mut there, mut lost) = (Vec::with_capacity(wave.len()), Vec::new());
        for circle in wave {
            match self.stores.get(self.target_of(circle.first()?)?) {
                Some(None) => lost.push(circle),
                _ => there.push(circle),
            }
        }
        Ok((there, lost))
    }

    /// Puts together what is carried in the same requests.
    fn units(&self, wave: Vec<Circle>) -> Result<Vec<Unit<'_>>, Error> {
        let mut units: Vec<Unit<'_>> = Vec::new();
        // The one of each target that may still be filled, and how many bytes its records have.
        let mut open: HashMap<&str, (usize, u64)> = HashMap::new();
        for circle in wave {
            let first = circle.first()?;
            let target = self.target_of(first)?;
            let store = self.stores.get(target).and_then(Option::as_ref);
            let store = store.ok_or_else(|| {
                Error::Internal(format!("nobody is connected to the target `{target}`"))
            })?;
            let bytes = self.draft.bytes(first);
            let place = open.get_mut(target).filter(|_| circle.nodes.len() == 1);
            if let Some((at, sum)) = place
                && let Some(unit) = units.get_mut(*at)
                && unit.circles.len() < store.batch
                && *sum + bytes <= BYTES
            {
                *sum += bytes;
                unit.circles.push(circle);
                continue;
            }
            if circle.nodes.len() == 1 {
                open.insert(target, (units.len(), bytes));
            }
            units.push(Unit {
                store,
                circles: vec![circle],
            });
        }
        Ok(units)
    }

    fn target_of(&self, node: u32) -> Result<&str, Error> {
        let load = self.draft.load(node);
        let load = load.and_then(|load| self.plan.header.loads.get(load as usize));
        let load = load.ok_or_else(|| Error::Internal("a record has no load".to_owned()))?;
        Ok(&load.target)
    }
}

/// The bytes of the records that are read in one request: their answers stay far below what one may take.
const BYTES: u64 = 2 << 20;

/// Said of a record that is gone because its store is.
const NO_STORE: &str = "the store itself is not there any more";

/// Said of a record that stays because another one refers to it.
const REFERRED: &str = "a record that stays refers to it";

/// A refusal by the store may have been for the sake of a record that is deleted later.
fn may_change_its_mind(line: &RemovalLine) -> bool {
    line.status.is_some() && matches!(line.outcome, Removal::Referred | Removal::Refused)
}

/// Writes down what becomes of records, and counts it.
struct Notes<'a> {
    counts: RemovalCounts,
    journal: &'a mut RemovalJournal,
    told: &'a (dyn Fn(u64) + Sync),
    done: &'a dyn Done,
}

impl Notes<'_> {
    fn note(&mut self, ended: Vec<Ended>) -> Result<(), Error> {
        if ended.is_empty() {
            return Ok(());
        }
        let lines = ended.iter().map(|ended| ended.line.clone()).collect();
        self.journal.note(lines)?;
        (self.told)(ended.len() as u64);
        for ended in ended {
            self.done.done(&ended.target, ended.line.outcome);
            self.counts.take(ended);
        }
        Ok(())
    }
}
