//! Notes the records that earlier runs have loaded, before anything is sent, after making sure that the store still
//! holds them.
//!
//! The word of the history is a hint. A sample of it is read first: where all of it is there, the rest is believed;
//! where none is, the store is another one, and all is loaded; otherwise every single record is looked at. The records
//! noted stand in the journal like any other outcome, so that a resumed run goes by the same.
//!
//! A record whose references mean something else than when it was loaded is another one, though its bytes are the same: an
//! update is sent again. A create is not, for that would double it; it is counted, and said.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, stream};
use rand::RngExt as _;

use super::{
    Error, TargetConnection,
    settlement::{self, Attempted},
};
use crate::{
    event::LoadId,
    gate::CallFailure,
    history::{self, Before, Counter, History, Names, ReferenceMeaning},
    journal::{self, Journal, Ledger as _, Settlement},
    plan::{
        Step,
        file::{PlanEntry, Saved, Steps},
    },
    record::{Operation, Outcome, StepId},
};

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
    /// The number of updates that are sent again because a record that they refer to has another name by now.
    pub renewed: u64,
    /// The number of creates that are left alone although a record that they refer to has another name by now.
    pub outdated: u64,
}

/// The treatment of records that are compared with what the store holds before they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Each is asked about when its turn comes.
    Asked,
    /// Each that an earlier run loaded is taken to be as it was: for a plan, which makes no such reads.
    Believed,
}

/// Why it could not be found out what earlier runs have loaded.
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

impl From<journal::Error> for HeldError {
    fn from(error: journal::Error) -> Self {
        Self::Run(error.into())
    }
}

/// The number of resources that are read to make sure: if a tenth of a store is gone, 30 find it out in 96 of 100
/// cases, half of it in all but one of 10^9.
const SAMPLE: usize = 30;

/// The number of records that are settled, or read, together.
const TOGETHER: usize = 512;

/// Reads under way at once; the gate has a bound of its own.
const READS: usize = 64;

/// A target and what to believe of it.
struct Asked<'a> {
    /// None where nobody is asked: then all is believed.
    link: Option<&'a TargetConnection>,
    place: String,
    sample: Vec<Loaded>,
    trust: Confidence,
    held: PriorLoads,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Confidence {
    All,
    Each,
    Nothing,
}

/// A resource that an earlier run loaded.
#[derive(Debug, Clone)]
struct Loaded {
    record: StepId,
    kind: String,
    id: String,
    version: Option<String>,
    interaction: Operation,
    /// It refers to what has another name by now.
    is_outdated: bool,
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
    let mut asked: HashMap<&str, Asked<'_>> = HashMap::new();
    for target in &plan.header.targets {
        let (name, place) = (&target.settings.name, target.settings.store.place());
        let link = links.get(name);
        if history.knows(&place)? {
            let held = PriorLoads {
                target: name.clone(),
                loaded: 0,
                kept: 0,
                sampled: 0,
                missing: 0,
                renewed: 0,
                outdated: 0,
            };
            let asking = Asked {
                link,
                place,
                sample: Vec::new(),
                trust: Confidence::All,
                held,
            };
            asked.insert(name.as_str(), asking);
        }
    }
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let places: HashMap<&str, String> = asked
        .iter()
        .map(|(name, asked)| (*name, asked.place.clone()))
        .collect();
    let walk = || Walk {
        plan,
        history,
        places: places.clone(),
        counter: Counter::default(),
        compared,
        load: 0,
        steps: None,
    };
    let mut names = Names::default();
    let mut first = walk();
    while let Some((target, step, before)) = first.next(&mut |step| names.keep(step))? {
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
    for asked in asked.values_mut() {
        asked.make_sure().await?;
    }
    let gone = find_gone(walk(), &asked, &mut names).await?;
    let mut notes = Notes {
        journal,
        earlier,
        waiting: Vec::new(),
    };
    let mut last = walk();
    while let Some((target, step, before)) = last.next(&mut |_| {})? {
        let Some(asked) = asked.get_mut(target) else {
            continue;
        };
        if asked.trust == Confidence::Nothing || gone.contains(&step.number) {
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
                notes.keep(&loaded).await?;
            }
            Before::Gone => {}
            Before::Doubtful { since, tag } => notes.doubt(step.number, since, tag).await?,
        }
    }
    notes.flush().await?;
    let mut held: Vec<PriorLoads> = asked.into_values().map(|asked| asked.held).collect();
    held.retain(|held| held.loaded > 0);
    held.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(held)
}

/// Finds out which records are gone from stores that no longer hold all of what was loaded, and takes back the names that
/// they had there.
async fn find_gone(
    mut walk: Walk<'_>,
    asked: &HashMap<&str, Asked<'_>>,
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
            if !is_there? {
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

fn keeps_id(step: &Step) -> bool {
    step.action.operation().is_some_and(Operation::keeps_id)
}

/// The records of a plan of which the history knows something, in order.
struct Walk<'a> {
    plan: &'a Saved,
    history: &'a History,
    /// The place of each target, where anything is known of it.
    places: HashMap<&'a str, String>,
    counter: Counter,
    compared: Compared,
    load: u32,
    steps: Option<Steps>,
}

/// A record, the target that it is bound for, and what is known of it.
type Known<'a> = (&'a str, Step, Before);

impl<'a> Walk<'a> {
    /// Returns the next one; `see` sees every record that is sent on the way there.
    fn next(&mut self, see: &mut dyn FnMut(&Step)) -> Result<Option<Known<'a>>, HeldError> {
        let failed = |e: crate::plan::file::Error| Error::Plan(e.to_string());
        let plan = self.plan;
        while let Some(load) = plan.header.loads.get(self.load as usize) {
            let Some(place) = self.places.get(load.target.as_str()) else {
                self.load += 1;
                continue;
            };
            let steps = match &mut self.steps {
                Some(steps) => steps,
                none => none.insert(plan.steps(LoadId(self.load)).map_err(failed)?),
            };
            for entry in steps {
                let PlanEntry::Step(step) = entry.map_err(failed)? else {
                    continue;
                };
                let Some(interaction) = step.action.operation() else {
                    continue;
                };
                see(&step);
                // Also what is compared counts, so that the n-th stays the n-th.
                let nth = self.counter.count(place, interaction, step.hash);
                let is_compared = load.compare && interaction == Operation::Update;
                let changes = matches!(interaction, Operation::Delete | Operation::Patch);
                if is_compared && self.compared == Compared::Asked || changes {
                    continue;
                }
                if let Some(before) = self.history.before(place, interaction, step.hash, nth)? {
                    return Ok(Some((&load.target, step, before)));
                }
            }
            self.steps = None;
            self.load += 1;
        }
        Ok(None)
    }
}

impl Loaded {
    fn of(step: &Step, id: String, version: Option<String>) -> Self {
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
    fn is_update(&self) -> bool {
        self.interaction.keeps_id() || self.interaction == Operation::ConditionalUpdate
    }
}

impl Asked<'_> {
    /// Takes a record into the sample, each with the same chance.
    fn draw(&mut self, loaded: Loaded) {
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
    async fn make_sure(&mut self) -> Result<(), HeldError> {
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
        for is_there in read {
            there += u64::from(is_there?);
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

    /// Tells whether the store has what was loaded. What was created counts also when it was changed since: it is there.
    async fn is_there(&self, loaded: &Loaded) -> Result<bool, HeldError> {
        let fail = |failure| HeldError::Target {
            target: self.held.target.clone(),
            failure,
        };
        let Some(TargetConnection { gate, target, .. }) = self.link else {
            return Ok(true);
        };
        let read = gate.call_for_record(|| target.read(&loaded.kind, &loaded.id));
        let read = read.await.map_err(fail)?;
        // Only the store's own word is believed: what is taken for gone is created once more.
        let untold = |status: String| HeldError::Untold {
            target: self.held.target.clone(),
            status,
        };
        match read.status().as_u16() {
            200 => {}
            404 | 410 => return Ok(false),
            status => return Err(untold(status.to_string())),
        }
        let found = target.held(&loaded.kind, read.headers(), read.body());
        if found.id.as_ref() != Some(&loaded.id) {
            return Err(untold("200, and not with the resource,".to_owned()));
        }
        let now = found.version;
        Ok(match (loaded.interaction, now, &loaded.version) {
            (Operation::Update | Operation::ConditionalUpdate, Some(now), Some(then)) => {
                now == *then
            }
            _ => true,
        })
    }
}

/// The settlements that are about to be written to the journal.
struct Notes<'a> {
    journal: &'a Journal,
    earlier: Option<&'a journal::JournalIndex>,
    waiting: Vec<Settlement>,
}

impl Notes<'_> {
    fn is_noted(&self, record: StepId) -> bool {
        self.earlier.is_some_and(|earlier| {
            earlier.outcome(record).is_some() || earlier.is_interrupted(record)
        })
    }

    async fn keep(&mut self, loaded: &Loaded) -> Result<(), HeldError> {
        if self.is_noted(loaded.record) {
            return Ok(());
        }
        let note = if loaded.is_outdated {
            "an earlier run created it; what it refers to has another name in the store by now, and it refers to what was there then"
        } else {
            "an earlier run loaded it"
        };
        let attempted = Attempted::default();
        let mut settled =
            settlement::told(loaded.record, Outcome::Unchanged, None, attempted, note);
        settled.line.id = Some(loaded.id.clone());
        settled.line.version.clone_from(&loaded.version);
        self.waiting.push(settled);
        if self.waiting.len() >= TOGETHER {
            self.flush().await?;
        }
        Ok(())
    }

    async fn doubt(
        &mut self,
        record: StepId,
        since: jiff::Timestamp,
        tag: Option<String>,
    ) -> Result<(), HeldError> {
        if !self.is_noted(record) {
            self.journal.inherit(record, since, tag).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), HeldError> {
        if !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            self.journal.settle(waiting).await?;
        }
        Ok(())
    }
}
