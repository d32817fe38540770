//! The records of a plan that a target holds already: for `stoker plan --online`.
//!
//! Reads only. Kept are counts, the ids that the records of the plan will have where they refer to each other, and the
//! meanings of conditional references; the resource that a record's condition found is not kept, for a plan names each
//! record once. The number of records that are asked about at a time is bounded by the gate's look-ups. `sent` says which
//! records are asked about, `asker` asks.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, stream};
use serde::Serialize;

use super::{Earlier, rewrite::BodyRewriter};
use crate::{
    event::LoadId,
    gate::{CallFailure, Gate},
    lookup::Lookups,
    plan::{LoadSummary, file::Saved},
    record::StepId,
    source::Bodies,
    target::{Difference, Target},
};
use asker::{Asker, Found, Known};
use sent::{sent, updated};

mod asker;
mod sent;

/// The records of one load by the effect that the load would have, given what its target holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Online {
    /// Records that the target does not hold.
    pub create: u64,
    /// Records that would get a new version: their content differs, or they refer to a record whose id is not known yet.
    pub update: u64,
    /// Records that the target holds as they are, or whose condition is met already.
    pub leave: u64,
    /// Records that earlier runs have loaded and that a load therefore leaves alone, though the target holds them no more.
    pub missing: u64,
    /// Records that earlier runs have loaded and that a load therefore leaves alone, though the target holds something else.
    pub changed: u64,
    /// Records whose condition several resources meet.
    pub refused: u64,
    /// Records of which the target does not say.
    pub unknown: u64,
    /// Of those to create or to update, the ones that earlier runs have loaded: the load compares each of them itself.
    #[serde(skip)]
    pub again: u64,
}

impl Online {
    /// Returns the number of records that are not as a load would leave them, or of which that is not known.
    pub fn work(&self) -> u64 {
        self.create + self.update + self.refused + self.unknown + self.strayed()
    }

    /// Returns the number of records that a load leaves alone because earlier runs have loaded them, and that are no longer
    /// as they were loaded.
    pub fn strayed(&self) -> u64 {
        self.missing + self.changed
    }

    fn count(&mut self, found: &Found, known: Known) {
        *match (known, found) {
            (Known::Left, Found::Create) => &mut self.missing,
            (Known::Left, Found::Update(_)) => &mut self.changed,
            // The target is not asked again.
            (Known::Left, _) | (_, Found::Leave) => &mut self.leave,
            (_, Found::Create) => &mut self.create,
            (_, Found::Update(_)) => &mut self.update,
            (_, Found::Refused) => &mut self.refused,
            (_, Found::Unknown) => &mut self.unknown,
        } += 1;
        let is_sent = matches!(found, Found::Create | Found::Update(_));
        self.again += u64::from(known == Known::Compared && is_sent);
    }
}

/// A record that would get a new version.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// The number of its step.
    #[serde(skip)]
    number: StepId,
    /// The load.
    pub load: String,
    /// The position of the record in words: file, and line or entry.
    pub position: String,
    /// Its kind.
    pub kind: String,
    /// The id under which the store holds it.
    pub id: String,
    /// True if a load leaves it alone all the same, because earlier runs have loaded it.
    pub left_alone: bool,
    /// The paths at which the store's content is not the record's; none where that is not known yet.
    pub differences: Option<Vec<Difference>>,
}

impl Change {
    /// The number that is told of one plan.
    pub const MOST: usize = 200;
}

/// The records of a plan as the targets hold them.
#[derive(Debug, Default)]
pub struct Holdings {
    /// By load.
    pub loads: Vec<Online>,
    /// The records that would change, in the order of the plan, up to a limit; none where nobody asks for the
    /// differences.
    pub changes: Vec<Change>,
}

/// The reason why the targets could not be asked about a plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan cannot be read, or a source.
    #[error(transparent)]
    Unreadable(#[from] super::Error),
    /// A target gave no answer: it is down, or the credentials failed.
    #[error("target `{target}`: {failure}")]
    Target {
        /// Its name in the manifest.
        target: String,
        /// The failure of the request.
        failure: CallFailure,
    },
    /// A target no longer takes the credentials.
    #[error("target `{target}` does not accept the credentials (401)")]
    Credentials {
        /// Its name in the manifest.
        target: String,
    },
}

/// The number of records that are asked about at a time; the gate lets no more look-ups through either.
const AT_A_TIME: usize = 64;

/// Asks the targets about every record of a plan that would be sent. `gates` has the gate and the requests of each target;
/// what `earlier` runs have loaded is left as it is, as in a load, and asked for all the same; with `differs`, what would change is compared element by element;
/// `told` is told how many records more are known of.
///
/// # Errors
///
/// When the plan or a source cannot be read, or a target gives no answers any more. A record of which an answer does not say is
/// counted, not an error.
pub async fn ask(
    plan: &Arc<Saved>,
    bodies: &Arc<Bodies>,
    gates: &BTreeMap<String, (&Gate, &Arc<dyn Target>)>,
    earlier: &Earlier,
    differs: bool,
    told: &dyn Fn(u64),
) -> Result<Holdings, Error> {
    let targets = plan.header.loads.iter().map(|load| {
        let found = gates.get(&load.target);
        found.map(|(_, target)| Arc::clone(target))
    });
    let rewriter = BodyRewriter {
        plan: Arc::clone(plan),
        bodies: Arc::clone(bodies),
        dependencies: updated(plan)?.map(Arc::new),
        targets: targets.collect(),
        journal: None,
    };
    let lookups = Lookups::default();
    let mut loads = Vec::with_capacity(plan.header.loads.len());
    let mut changes = Vec::new();
    for (index, settings) in (0_u32..).zip(&plan.header.loads) {
        let mut counts = Online::default();
        let Some(&(gate, target)) = gates.get(&settings.target) else {
            loads.push(counts);
            continue;
        };
        let asker = Asker {
            gate,
            target: &**target,
            rewriter: &rewriter,
            lookups: &lookups,
            settings,
            earlier,
            differs,
        };
        let missing = plan
            .header
            .target_of(LoadId(index))
            .is_some_and(|target| target.facts.missing);
        if missing {
            // A store that does not exist yet holds nothing: everything is new.
            let totals = plan.summary.loads.get(index as usize);
            counts.create = totals.map_or(0, LoadSummary::sent);
            told(counts.create);
            loads.push(counts);
            continue;
        }
        let mut found = stream::iter(sent(plan, LoadId(index))?)
            .map(|sent| async {
                let sent = sent?;
                let known = asker.known(&sent.step);
                let found = asker.one(&sent, known).await?;
                Ok::<_, Error>((found, known))
            })
            .buffer_unordered(AT_A_TIME);
        while let Some(found) = found.next().await {
            let (found, known) = found?;
            counts.count(&found, known);
            if let Found::Update(Some(change)) = found
                && changes.len() < Change::MOST
            {
                changes.push(*change);
            }
            told(1);
        }
        loads.push(counts);
    }
    changes.sort_by_key(|change: &Change| change.number);
    Ok(Holdings { loads, changes })
}
