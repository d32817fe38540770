//! Asks stores whether they still hold what earlier runs have loaded, and says what is believed of each.
//!
//! A sample comes first; each record is read only where a part of the sample is gone. The module above says what follows
//! for a record of the plan.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, stream};
use rand::RngExt as _;

use super::{HeldError, PriorLoads, walk::Walk};
use crate::{
    history::{Before, Names},
    plan::Step,
    record::{Operation, StepId},
    send::TargetConnection,
};

/// The number of resources that are read to make sure: if a tenth of a store is gone, 30 find it out in 96 of 100
/// cases, half of it in all but one of 10^9.
const SAMPLE: usize = 30;

/// The number of records that are read together.
const TOGETHER: usize = 512;

/// Reads under way at once; the gate has a bound of its own.
const READS: usize = 64;

/// A target and what to believe of it.
pub(super) struct Asked<'a> {
    /// None where nobody is asked: then all is believed.
    link: Option<&'a TargetConnection>,
    pub(super) place: String,
    sample: Vec<Loaded>,
    pub(super) trust: Confidence,
    pub(super) held: PriorLoads,
}

/// The targets of which the history knows something, by their names.
pub(super) type Targets<'a> = HashMap<&'a str, Asked<'a>>;

/// The records of a target that are believed to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confidence {
    /// All that were loaded.
    All,
    /// Each that is found when it is read.
    Each,
    /// None: it is another store.
    Nothing,
}

/// The answer of a store that was asked for what was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// As it was loaded.
    There,
    /// Not any more, or changed.
    Gone,
    /// The store does not say.
    Untold,
}

/// A resource that an earlier run loaded.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub(super) record: StepId,
    kind: String,
    pub(super) id: String,
    pub(super) version: Option<String>,
    interaction: Operation,
    /// It refers to what has another name by now.
    pub(super) is_outdated: bool,
}

impl Loaded {
    pub(super) fn of(step: &Step, id: String, version: Option<String>) -> Self {
        Self {
            record: step.number,
            kind: step.kind.clone(),
            id,
            version,
            interaction: step.action.operation().unwrap_or(Operation::Create),
            is_outdated: false,
        }
    }

    /// Tells whether it replaces what the store has when it is sent again.
    pub(super) fn is_update(&self) -> bool {
        self.interaction.keeps_id() || self.interaction == Operation::ConditionalUpdate
    }
}

impl<'a> Asked<'a> {
    /// A target of which the history knows something, and all of it is believed so far.
    pub(super) fn of(target: &str, place: String, link: Option<&'a TargetConnection>) -> Self {
        Self {
            link,
            place,
            sample: Vec::new(),
            trust: Confidence::All,
            held: PriorLoads {
                target: target.to_owned(),
                loaded: 0,
                kept: 0,
                sampled: 0,
                missing: 0,
                asked: 0,
                gone: 0,
                untold: false,
                renewed: 0,
                outdated: 0,
                elsewhere: 0,
            },
        }
    }

    /// Takes a record into the sample, each with the same chance.
    pub(super) fn draw(&mut self, loaded: Loaded) {
        if self.sample.len() < SAMPLE {
            self.sample.push(loaded);
            return;
        }
        let at = rand::rng().random_range(0..self.held.loaded);
        let place = usize::try_from(at)
            .ok()
            .and_then(|at| self.sample.get_mut(at));
        if let Some(place) = place {
            *place = loaded;
        }
    }

    /// Reads the sample.
    pub(super) async fn make_sure(&mut self) -> Result<(), HeldError> {
        let sample = std::mem::take(&mut self.sample);
        if self.link.is_none() {
            return Ok(());
        }
        self.held.sampled = sample.len() as u64;
        let read: Vec<_> = stream::iter(sample.iter().map(|loaded| self.is_there(loaded)))
            .buffer_unordered(READS)
            .collect()
            .await;
        let mut there = 0;
        for presence in read {
            let presence = presence?;
            there += u64::from(presence == Presence::There);
            self.held.untold |= presence == Presence::Untold;
        }
        if self.held.untold {
            there = 0;
        }
        self.held.missing = self.held.sampled - there;
        tracing::info!(
            target = self.held.target,
            sampled = self.held.sampled,
            missing = self.held.missing,
            "the store was asked for a sample of what earlier runs have loaded"
        );
        self.trust = match (self.held.missing, there) {
            (0, _) => Confidence::All,
            (_, 0) => Confidence::Nothing,
            _ => Confidence::Each,
        };
        Ok(())
    }

    /// Finds out whether the store has what was loaded. A record that was created counts also when it was changed since: it
    /// is there.
    async fn is_there(&self, loaded: &Loaded) -> Result<Presence, HeldError> {
        let fail = |failure| HeldError::Target {
            target: self.held.target.clone(),
            failure,
        };
        let Some(TargetConnection { gate, target, .. }) = self.link else {
            return Ok(Presence::There);
        };
        let read = gate.call_for_record(|| target.read(&loaded.kind, &loaded.id));
        let read = read.await.map_err(fail)?;
        // Only the store's own word is believed: what is taken for gone is created once more.
        let untold = |status: String| match loaded.interaction {
            // The store knows it again by its name, and says that it has it.
            Operation::Store => Ok(Presence::Untold),
            _ => Err(HeldError::Untold {
                target: self.held.target.clone(),
                status,
            }),
        };
        match read.status().as_u16() {
            200 => {}
            404 | 410 => return Ok(Presence::Gone),
            // These say that nobody may look, which has to be mended.
            status @ (401 | 403) => {
                return Err(HeldError::Untold {
                    target: self.held.target.clone(),
                    status: status.to_string(),
                });
            }
            status => return untold(status.to_string()),
        }
        let found = target.held(&loaded.kind, read.headers(), read.body());
        if found.id.as_ref() != Some(&loaded.id) {
            return untold("200, and not with the resource,".to_owned());
        }
        let now = found.version;
        Ok(match (loaded.interaction, now, &loaded.version) {
            (Operation::Update | Operation::ConditionalUpdate, Some(now), Some(then))
                if now != *then =>
            {
                Presence::Gone
            }
            _ => Presence::There,
        })
    }
}

/// Finds out which records are gone from stores that no longer hold all of what was loaded, and takes back the names that
/// they had there.
pub(super) async fn find_gone(
    mut walk: Walk<'_>,
    asked: &Targets<'_>,
    names: &mut Names,
) -> Result<HashSet<StepId>, HeldError> {
    let mut gone = HashSet::new();
    if asked.values().all(|asked| asked.trust == Confidence::All) {
        return Ok(gone);
    }
    let mut chunk: Vec<(&Asked<'_>, Loaded)> = Vec::with_capacity(TOGETHER);
    loop {
        let known = walk.next(&mut |_| {})?;
        let is_over = known.is_none();
        if let Some((target, step, Before::Loaded { id, version, .. })) = known
            && let Some(asked) = asked.get(target)
        {
            match asked.trust {
                Confidence::All => {}
                Confidence::Each => chunk.push((asked, Loaded::of(&step, id, version))),
                Confidence::Nothing if keeps_id(&step) => {}
                Confidence::Nothing => names.take(step.number),
            }
        }
        if chunk.len() < TOGETHER && !is_over {
            continue;
        }
        let reads = chunk.iter().map(|(asked, loaded)| {
            Box::pin(asked.is_there(loaded)) as futures::future::LocalBoxFuture<'_, _>
        });
        let reads: Vec<_> = reads.collect();
        let there: Vec<_> = stream::iter(reads).buffered(READS).collect().await;
        for ((_, loaded), is_there) in chunk.drain(..).zip(there) {
            let presence: Presence = is_there?;
            if presence != Presence::There {
                if !loaded.interaction.keeps_id() {
                    names.take(loaded.record);
                }
                gone.insert(loaded.record);
            }
        }
        if is_over {
            return Ok(gone);
        }
    }
}

/// Tells whether a record is in the store under the id that it brought.
pub(super) fn keeps_id(step: &Step) -> bool {
    step.action.operation().is_some_and(Operation::keeps_id)
}
