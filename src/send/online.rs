//! The records of a plan that a target holds already: for `stoker plan --online`.
//!
//! Reads only. Kept are counts, the ids that the records of the plan will have where they refer to each other, and the
//! meanings of conditional references; the resource that a record's condition found is not kept, for a plan names each
//! record once. The number of records that are asked about at a time is bounded by the gate's look-ups.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use serde::Serialize;

use super::{Earlier, dependencies::DependencyTracker, rewrite::BodyRewriter};
use crate::{
    event::LoadId,
    gate::{CallFailure, Gate},
    lookup::{self, Lookups, Matches},
    manifest::LoadSettings,
    plan::{
        Action, Link, LoadSummary, Packaging, Step, To,
        file::{self, PlanEntry, Saved},
    },
    record::{Operation, StepId},
    source::Bodies,
    target::{Difference, Likeness, Target},
};

/// The records of one load by the effect that the load would have, given what its target holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Online {
    /// Records that the target does not hold.
    pub create: u64,
    /// Records that would get a new version: their content differs, or they refer to a record whose id is not known yet.
    pub update: u64,
    /// Records that the target holds as they are, or whose condition is met already.
    pub leave: u64,
    /// Records whose condition several resources meet.
    pub refused: u64,
    /// Records of which the target does not say.
    pub unknown: u64,
}

impl Online {
    /// Returns the number of records that are not left as they are.
    pub fn work(&self) -> u64 {
        self.create + self.update + self.refused + self.unknown
    }

    fn count(&mut self, found: &Found) {
        *match found {
            Found::Create => &mut self.create,
            Found::Update(_) => &mut self.update,
            Found::Leave => &mut self.leave,
            Found::Refused => &mut self.refused,
            Found::Unknown => &mut self.unknown,
        } += 1;
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

/// Why the targets could not be asked about a plan.
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

/// The result for one record, or the reason why no other record needs to be asked about.
type Answer = Result<Found, Error>;

#[derive(Debug)]
enum Found {
    Create,
    /// With what changes, where that is asked for.
    Update(Option<Box<Change>>),
    Leave,
    Refused,
    Unknown,
}

/// The number of records that are asked about at a time; the gate lets no more look-ups through either.
const AT_A_TIME: usize = 64;

/// Asks the targets about every record of a plan that would be sent. `gates` has the gate and the requests of each target;
/// what `earlier` runs have created is left as it is, as in a load; with `differs`, what would change is compared element by element;
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
            .map(|sent| async { asker.one(&sent?).await })
            .buffer_unordered(AT_A_TIME);
        while let Some(found) = found.next().await {
            let found = found?;
            counts.count(&found);
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

/// A record that would be sent, with what the others of its transaction are called, and became.
struct Sent {
    step: Step,
    beside: Arc<HashMap<String, String>>,
}

/// Returns the records of a load that would be sent.
///
/// A transaction is read whole: what its records call each other by, the store rewrites itself, and no link of the plan
/// tells.
fn sent(
    plan: &Saved,
    load: LoadId,
) -> Result<impl Iterator<Item = Result<Sent, super::Error>>, super::Error> {
    let failed = |error: file::Error| super::Error::Plan(error.to_string());
    let mut entries = plan.steps(load).map_err(failed)?;
    let mut read = VecDeque::new();
    let mut beside = Arc::default();
    Ok(std::iter::from_fn(move || {
        loop {
            let step = match read.pop_front() {
                Some(step) => step,
                None => match entries.next()?.map_err(failed) {
                    Ok(PlanEntry::Step(step)) => {
                        beside = Arc::default();
                        step
                    }
                    Ok(PlanEntry::Group(group)) if group.packaging == Packaging::Transaction => {
                        for entry in entries.by_ref().take(group.records as usize) {
                            match entry.map_err(failed) {
                                Ok(PlanEntry::Step(step)) => read.push_back(step),
                                Ok(PlanEntry::Group(_)) => {}
                                Err(error) => return Some(Err(error)),
                            }
                        }
                        beside = Arc::new(names(read.iter()));
                        continue;
                    }
                    Ok(PlanEntry::Group(_)) => continue,
                    Err(error) => return Some(Err(error)),
                },
            };
            if step.action.operation().is_some() {
                let beside = Arc::clone(&beside);
                return Some(Ok(Sent { step, beside }));
            }
        }
    }))
}

/// Returns what those records of a transaction are called whose id the file decides.
fn names<'a>(steps: impl Iterator<Item = &'a Step>) -> HashMap<String, String> {
    steps
        .filter(|step| step.action.operation() == Some(Operation::Update))
        .filter_map(|step| {
            let (url, id) = (step.full_url.as_ref()?, step.id.as_ref()?);
            Some((url.clone(), format!("{}/{id}", step.kind)))
        })
        .collect()
}

/// Returns what the records are called whose id the file decides, for the references to them; none where no record
/// refers to another.
fn updated(plan: &Saved) -> Result<Option<DependencyTracker>, super::Error> {
    let mut found = plan.summary.references.values();
    if found.all(|found| found.links == 0) {
        return Ok(None);
    }
    let names = DependencyTracker::of(plan)?;
    for (index, _) in (0_u32..).zip(&plan.header.loads) {
        for step in sent(plan, LoadId(index))? {
            let Sent { step, .. } = step?;
            if let (Some(Operation::Update), Some(id)) = (step.action.operation(), &step.id) {
                names.mark_stored(step.number, &step.kind, id);
            }
        }
    }
    Ok(Some(names))
}

struct Asker<'a> {
    gate: &'a Gate,
    target: &'a dyn Target,
    rewriter: &'a BodyRewriter,
    lookups: &'a Lookups,
    settings: &'a LoadSettings,
    earlier: &'a Earlier,
    /// Whether changes are compared element by element.
    differs: bool,
}

impl Asker<'_> {
    async fn one(&self, Sent { step, beside }: &Sent) -> Answer {
        match step.action.operation() {
            Some(Operation::Update) => self.update(step, beside).await,
            Some(Operation::ConditionalCreate) => self.condition(step, Found::Leave).await,
            Some(Operation::ConditionalUpdate) => self.condition(step, Found::Update(None)).await,
            // Only the history knows of a create: the store cannot be asked.
            Some(Operation::Create | Operation::Transmit)
                if self.earlier.is_settled(step.number) =>
            {
                Ok(Found::Leave)
            }
            Some(Operation::Create | Operation::Transmit) => Ok(Found::Create),
            Some(operation) if operation.keeps_id() => self.by_name(step).await,
            _ => Ok(Found::Update(None)),
        }
    }

    /// Asks for a record whose name tells what it is.
    async fn by_name(&self, step: &Step) -> Answer {
        let Some(id) = step.id.as_deref() else {
            return Ok(Found::Unknown);
        };
        let read = self
            .gate
            .call_interactive(|| self.target.read(&step.kind, id))
            .await;
        let response = read.map_err(|failure| self.no_answer(failure))?;
        Ok(match response.status().as_u16() {
            200 => Found::Leave,
            404 | 410 => Found::Create,
            401 => return Err(self.refused()),
            _ => Found::Unknown,
        })
    }

    async fn update(&self, step: &Step, beside: &HashMap<String, String>) -> Answer {
        let Some(id) = step.id.as_deref() else {
            return Ok(Found::Unknown);
        };
        let read = self
            .gate
            .call_interactive(|| self.target.read(&step.kind, id))
            .await;
        let response = read.map_err(|failure| self.no_answer(failure))?;
        Ok(match response.status().as_u16() {
            200 => match self.body(step, beside).await? {
                Some(body) if self.target.is_alike(Likeness::Same, &body, response.body()) => {
                    Found::Leave
                }
                body if self.differs => {
                    let differences = body.and_then(|body| {
                        let told = self
                            .target
                            .differences(step, self.settings, &body, &response);
                        told.ok()
                    });
                    let file = self.rewriter.plan.source_name(step.position.source);
                    Found::Update(Some(Box::new(Change {
                        number: step.number,
                        load: self.settings.name.clone(),
                        position: step.position.display(file).to_string(),
                        kind: step.kind.clone(),
                        id: id.to_owned(),
                        differences,
                    })))
                }
                _ => Found::Update(None),
            },
            404 | 410 => Found::Create,
            401 => return Err(self.refused()),
            _ => Found::Unknown,
        })
    }

    /// Returns a resource as the store would have it, its references rewritten; none where one of them leads nowhere yet.
    async fn body(
        &self,
        step: &Step,
        beside: &HashMap<String, String>,
    ) -> Result<Option<Bytes>, Error> {
        let mut step = step.clone();
        for link in &mut step.links {
            link.late = false;
        }
        for search in self.rewriter.searches(&step)? {
            let (kind, query) = (&search.kind, &search.query);
            let asked = self.lookups.one(self.gate, self.target, kind, query);
            match asked.await.map_err(|failure| self.no_answer(failure))? {
                Matches::One(id) => step.links.push(Link {
                    reference: search.reference,
                    to: To::Resource(format!("{kind}/{id}")),
                    late: false,
                    native: false,
                }),
                Matches::Refused(401) => return Err(self.refused()),
                _ => return Ok(None),
            }
        }
        // A link that the server resolves by itself within a request is put in below, by the records beside this one.
        step.links
            .retain(|link| link.to != To::Search && !link.native);
        if let Action::Entry(interaction) = step.action {
            // The record is compared, not the entry around it.
            // The hash is that of the whole entry.
            step.hash = 0;
            step.action = Action::Send(interaction);
        }
        if !beside.is_empty() {
            let body = self.rewriter.bodies.read(step.position.source, step.body);
            // A body that cannot be read here cannot be read below either, and is said there.
            for (reference, resource) in self.target.beside(&body.unwrap_or_default(), beside) {
                if step.links.iter().all(|link| link.reference != reference) {
                    step.links.push(Link {
                        reference,
                        to: To::Resource(resource),
                        late: false,
                        native: false,
                    });
                }
            }
        }
        Ok(self.rewriter.read_to_look(&[step])?.pop())
    }

    async fn condition(&self, step: &Step, hit: Found) -> Answer {
        let Some(query) = self.query(step) else {
            return Ok(Found::Unknown);
        };
        let asked = lookup::one(self.gate, self.target, &step.kind, &query).await;
        Ok(match asked.map_err(|failure| self.no_answer(failure))? {
            Matches::None => Found::Create,
            Matches::One(_) => hit,
            Matches::Several => Found::Refused,
            Matches::Refused(401) => return Err(self.refused()),
            Matches::Refused(_) => Found::Unknown,
        })
    }

    fn no_answer(&self, failure: CallFailure) -> Error {
        Error::Target {
            target: self.settings.target.clone(),
            failure,
        }
    }

    fn refused(&self) -> Error {
        Error::Credentials {
            target: self.settings.target.clone(),
        }
    }

    /// Returns the condition of a record: its own request's, or that of the load.
    fn query(&self, step: &Step) -> Option<String> {
        // A record with a request of its own has its condition in the request; another has it in its body.
        let span = match &step.action {
            Action::Entry(_) => step.position.span,
            _ => step.body,
        };
        let body = self.rewriter.bodies.read(step.position.source, span).ok()?;
        self.target.condition(self.settings, step, &body)
    }
}
