//! The things that a verification is about: the progress of one is of use to the next only while these are the same.

use std::{fmt::Write as _, hash::Hasher as _};

use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use super::{Error, Verify, expect};
use crate::{event::LoadId, journal::JournalIndex, plan::file::PlanEntry, send::Error as Broken};

/// The subject of a verification, as the first line of its progress has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// That of the run, or a hash of the manifest's records and what is known of them.
    pub(super) mark: String,
    /// The length of the run's journal in bytes of whole lines, or how many records were hashed.
    pub(super) extent: u64,
}

impl Subject {
    /// A run, as far as its journal tells.
    pub fn of_run(history: &JournalIndex) -> Self {
        Self {
            mark: history.journal.mark.clone(),
            extent: history.whole,
        }
    }

    /// The records of a manifest, as its sources have them now, and the ids under which earlier runs have loaded them.
    ///
    /// # Errors
    ///
    /// When the plan or the journal cannot be read.
    pub fn of_sources(verify: &Verify<'_>) -> Result<Self, Error> {
        let (plan, mut hash) = (verify.plan, Xxh3::new());
        for target in &plan.header.targets {
            hash.update(target.settings.store.place().as_bytes());
            hash.write_u8(0xff);
        }
        take(&mut hash, &plan.header.loads)?;
        take(&mut hash, &plan.sources)?;
        let mut fates = verify.history.fates();
        let (mut extent, mut text) = (0, String::new());
        for index in (0_u32..).take(plan.header.loads.len()) {
            for entry in plan.steps(LoadId(index))? {
                let PlanEntry::Step(step) = entry? else {
                    continue;
                };
                let how = expect::how(&step, fates.of(step.number)?, verify.is_whole);
                text.clear();
                // Writing to a string cannot fail.
                let _ = write!(text, "{step:?}{how:?}");
                hash.update(text.as_bytes());
                extent += 1;
            }
        }
        Ok(Self {
            mark: format!("{:032x}", hash.digest128()),
            extent,
        })
    }
}

fn take(hash: &mut Xxh3, what: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec(what);
    let text = text.map_err(|error| Error::Unreadable(Broken::Plan(error.to_string())))?;
    hash.update(&text);
    Ok(())
}
