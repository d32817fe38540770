//! Notes the records that earlier runs have loaded, before anything is sent, after making sure that the store still
//! holds them.
//!
//! The word of the history is a hint. A sample of it is read first: where all of it is there, the rest is believed;
//! where none is, the store is another one, and all is loaded; otherwise every single record is looked at. The records
//! noted stand in the journal like any other outcome, so that a resumed run goes by the same. `walk` finds the records,
//! `confidence` asks the stores, `notes` writes.
//!
//! A record whose references mean something else than when it was loaded is another one, though its bytes are the same: an
//! update is sent again. A create is not, for that would double it; it is counted, and said.

use std::collections::{HashMap, HashSet};

use super::{Error, TargetConnection};
use crate::{
    gate::CallFailure,
    history::{self, Before, History, Names, ReferenceMeaning},
    journal::{self, Journal},
    plan::file::Saved,
    record::{Operation, StepId},
};
use confidence::{Asked, Confidence, Loaded, Targets, find_gone, keeps_id};
use notes::Notes;
use walk::Walk;

mod confidence;
mod notes;
mod walk;

/// The records that earlier runs had loaded into a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriorLoads {
    /// The target's name.
    pub target: String,
    /// Records of the plan that earlier runs had loaded.
    pub loaded: u64,
    /// The number of loaded records that are left alone.
    pub kept: u64,
    /// The number of loaded records that were read to make sure; none where nobody was asked.
    pub sampled: u64,
    /// The number of records of the sample that are no longer as they were loaded.
    pub missing: u64,
    /// Of the records left alone, those that were read one by one because some of the sample were missing.
    pub asked: u64,
    /// The number of loaded records that the store no longer holds as they were loaded, as far as it was asked.
    pub gone: u64,
    /// The store did not say of some of the sample whether it holds it, and to send it again does no harm: all are sent.
    pub untold: bool,
    /// The number of updates that are sent again because a record that they refer to has another name by now.
    pub renewed: u64,
    /// The number of creates that are left alone although a record that they refer to has another name by now.
    pub outdated: u64,
    /// The number of records that the store said it took under other names than were sent, and that are not sent again.
    pub elsewhere: u64,
}

/// The treatment of records that are compared with what the store holds before they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Each is asked about when its turn comes.
    Asked,
    /// Each that an earlier run loaded is taken to be as it was: for a plan, which makes no such reads.
    Believed,
}

/// The reason why it could not be found out what earlier runs have loaded.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] history::Error),
    /// The plan cannot be read, or the journal not be written.
    #[error(transparent)]
    Run(#[from] Error),
    /// The store cannot be asked.
    #[error("target `{target}` cannot be asked whether it still holds what was loaded: {failure}")]
    Target {
        /// The target.
        target: String,
        /// The failure of the request.
        failure: CallFailure,
    },
    /// The store's answer does not tell.
    #[error(
        "target `{target}` does not say whether it still holds what was loaded: it answered {status} to a read"
    )]
    Untold {
        /// The target.
        target: String,
        /// The status, and what is odd about it.
        status: String,
    },
}

impl PriorLoads {
    /// Returns how many records were read to make sure: the sample, and all of them where some of it were missing and others
    /// there.
    pub fn reads(&self) -> u64 {
        let is_each = self.missing > 0 && self.missing < self.sampled;
        self.sampled + if is_each { self.loaded } else { 0 }
    }
}

impl From<journal::Error> for HeldError {
    fn from(error: journal::Error) -> Self {
        Self::Run(error.into())
    }
}

/// Notes in the journal what earlier runs have loaded of a plan, and what they left in doubt.
///
/// `earlier` is the journal so far, should a session have been cut off while it did the same. A target without a link is not
/// asked, and believed to hold what it held.
///
/// # Errors
///
/// When history, plan, journal or a store fails; nothing was sent then.
pub async fn skip_loaded(
    plan: &Saved,
    links: &HashMap<String, TargetConnection, impl std::hash::BuildHasher>,
    history: &History,
    journal: &Journal,
    earlier: Option<&journal::JournalIndex>,
    compared: Compared,
) -> Result<Vec<PriorLoads>, HeldError> {
    let mut asked = known_targets(plan, links, history)?;
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let places: HashMap<&str, String> = asked
        .iter()
        .map(|(name, asked)| (*name, asked.place.clone()))
        .collect();
    let walk = || Walk::of(plan, history, places.clone(), compared);
    let mut names = Names::default();
    draw_samples(walk(), &mut asked, &mut names)?;
    for asked in asked.values_mut() {
        asked.make_sure().await?;
    }
    let gone = find_gone(walk(), &asked, &mut names).await?;
    let notes = Notes::of(journal, earlier);
    note_all(walk(), &mut asked, &gone, &names, notes).await?;
    let mut held: Vec<PriorLoads> = asked.into_values().map(|asked| asked.held).collect();
    held.retain(|held| held.loaded + held.elsewhere > 0);
    held.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(held)
}

/// Returns the targets of a plan of which the history knows something.
fn known_targets<'a>(
    plan: &'a Saved,
    links: &'a HashMap<String, TargetConnection, impl std::hash::BuildHasher>,
    history: &History,
) -> Result<Targets<'a>, HeldError> {
    let mut known = HashMap::new();
    for target in &plan.header.targets {
        let (name, place) = (&target.settings.name, target.settings.store.place());
        if history.knows(&place)? {
            let asked = Asked::of(name, place, links.get(name));
            known.insert(name.as_str(), asked);
        }
    }
    Ok(known)
}

/// Counts what earlier runs have loaded, draws a sample of it for each target, and collects the names that records have
/// there.
fn draw_samples(
    mut walk: Walk<'_>,
    asked: &mut Targets<'_>,
    names: &mut Names,
) -> Result<(), HeldError> {
    while let Some((target, step, before)) = walk.next(&mut |step| names.keep(step))? {
        if let (Some(asked), Before::Loaded { id, version, .. }) = (asked.get_mut(target), before) {
            asked.held.loaded += 1;
            if !keeps_id(&step) {
                names.give(step.number, &step.kind, &id);
            }
            // Of what has no name there nobody can ask.
            let operation = step.action.operation();
            if operation.is_some_and(Operation::names_something) {
                asked.draw(Loaded::of(&step, id, version));
            }
        }
    }
    Ok(())
}

/// Notes what is left alone because a store holds it, and what is in doubt. `gone` are the records that were not found.
async fn note_all(
    mut walk: Walk<'_>,
    asked: &mut Targets<'_>,
    gone: &HashSet<StepId>,
    names: &Names,
    mut notes: Notes<'_>,
) -> Result<(), HeldError> {
    while let Some((target, step, before)) = walk.next(&mut |_| {})? {
        let Some(asked) = asked.get_mut(target) else {
            continue;
        };
        if asked.trust == Confidence::Nothing || gone.contains(&step.number) {
            let is_known = matches!(before, Before::Loaded { .. }) && !asked.held.untold;
            asked.held.gone += u64::from(is_known);
            continue;
        }
        match before {
            Before::Loaded {
                id,
                version,
                meaning,
            } => {
                let mut loaded = Loaded::of(&step, id, version);
                if !meaning.still_holds(names.meaning(&step.links)) {
                    if loaded.is_update() {
                        asked.held.renewed += 1;
                        continue;
                    }
                    // An older Stoker did not note what its references meant.
                    loaded.is_outdated = meaning != ReferenceMeaning::Untold;
                    asked.held.outdated += u64::from(loaded.is_outdated);
                }
                asked.held.kept += 1;
                asked.held.asked += u64::from(asked.trust == Confidence::Each);
                notes.keep(&loaded).await?;
            }
            Before::Gone => {}
            Before::Elsewhere => {
                asked.held.elsewhere += 1;
                notes.elsewhere(step.number).await?;
            }
            Before::Doubtful { since, tag } => notes.doubt(step.number, since, tag).await?,
        }
    }
    notes.flush().await
}
