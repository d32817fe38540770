//! Takes back what was deleted: a later load must know that it is not there any more.
//!
//! A row goes by the id that it tells: whichever run loaded, found or updated what was deleted since. A record that was
//! loaded anew meanwhile has another id, or is an update, which may be sent again.

use std::{collections::HashSet, hash::BuildHasher as _};

use super::{Before, Counter, Error, History, merge, rows};
use crate::{
    event::LoadId,
    journal::{self, RecordState, Removals, RunDirectory},
    plan::file::{PlanEntry, Saved},
    record::StepId,
};

/// Names of records that were deleted, by a hash: one that is taken for another is loaded again at the worst.
#[derive(Debug, Default)]
struct Gone {
    names: HashSet<u64>,
    state: foldhash::quality::RandomState,
}

impl Gone {
    fn hash(&self, place: &str, kind: &str, id: &str) -> u64 {
        self.state.hash_one((place, kind, id))
    }
}

impl History {
    /// Takes back what the unloadings of runs tell, where they tell more than when they were last asked. The records that
    /// the runs have loaded are taken in before.
    ///
    /// # Errors
    ///
    /// When a run or the history cannot be read or written.
    pub fn take_out(&mut self, runs: &[RunDirectory]) -> Result<(), Error> {
        let mut gone = Gone::default();
        let mut taken = Vec::new();
        for run in runs {
            // Nobody unloaded it.
            let Ok(metadata) = fs_err::metadata(run.unload()) else {
                continue;
            };
            let name = format!("{}/unload", run.name());
            if self.known(&name) == Some(metadata.len()) {
                continue;
            }
            let told = journal::read(&run.journal())?;
            let removals = Removals::read(run, &told.journal)?;
            each(run, &told, &mut |named| {
                if removals.is_undone(named.number) {
                    let hash = gone.hash(named.place, named.kind, named.id);
                    gone.names.insert(hash);
                }
                Ok(())
            })?;
            taken.push((name, metadata.len()));
        }
        if taken.is_empty() {
            return Ok(());
        }
        for run in runs {
            match self.take_in(run) {
                // A run that cannot be read tells nothing.
                Ok(()) | Err(Error::Plan(_) | Error::Journal(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut collected = rows::Collected::new(&self.directory);
        for run in runs {
            // A run that cannot be read has told the history nothing.
            let Ok(told) = journal::read(&run.journal()) else {
                continue;
            };
            each(run, &told, &mut |named| {
                let hash = gone.hash(named.place, named.kind, named.id);
                if !gone.names.contains(&hash) {
                    return Ok(());
                }
                let known = self.row(named.key)?;
                if matches!(known, Some(Before::Loaded { id, .. }) if id == named.id) {
                    collected.target(named.place);
                    collected.push(named.key, &Before::Gone)?;
                }
                Ok(())
            })?;
        }
        collected.finish(taken, true)?;
        merge::merge(&self.directory)?;
        self.look()
    }
}

/// A record that a store had under a name.
struct Named<'a> {
    number: StepId,
    place: &'a str,
    kind: &'a str,
    id: &'a str,
    key: super::segment::Key,
}

/// Walks the records of a run that have a name in their store.
fn each(
    run: &RunDirectory,
    told: &journal::JournalIndex,
    see: &mut dyn FnMut(&Named<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    if told.brief.is_some() {
        return Ok(());
    }
    let plan = Saved::open(&run.plan())?;
    let mut fates = told.fates();
    let mut counter = Counter::default();
    for (index, _) in (0_u32..).zip(&plan.header.loads) {
        let Some(target) = plan.header.target_of(LoadId(index)) else {
            continue;
        };
        let place = target.settings.store.place();
        for entry in plan.steps(LoadId(index))? {
            let PlanEntry::Step(step) = entry? else {
                continue;
            };
            let Some(operation) = step.action.operation() else {
                continue;
            };
            let nth = counter.count(&place, operation, step.hash);
            let (RecordState::Settled(line) | RecordState::Standing(line)) =
                fates.of(step.number)?
            else {
                continue;
            };
            let own = step.id.as_ref().filter(|_| operation.keeps_id());
            let Some(id) = line.id.as_ref().or(own) else {
                continue;
            };
            see(&Named {
                number: step.number,
                place: &place,
                kind: &step.kind,
                id,
                key: rows::key(&place, operation, step.hash, nth),
            })?;
        }
    }
    Ok(())
}
