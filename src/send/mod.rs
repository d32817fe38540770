//! Carries a plan out: one gate per target, outcomes into the ledger, events to those who watch.
//!
//! A load is a stream: a thread reads its steps and their bodies (`scheduler`), each request is a task that the gate
//! carries to its end (`exchange`), and what became of it is settled (`committer`). Memory does not grow with the
//! plan: bodies share a byte budget, a record that waits for its next attempt keeps its position only. Planning,
//! and what the terminal shows, are not its business.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    event::{Event, LoadId, LoadPlanned, Observe},
    gate::{ByteBudget, Gate},
    journal::{self, Ending, JournalLine, Ledger, RecordState},
    lookup::Lookups,
    manifest::MaxErrors,
    plan::{
        self,
        file::{PlanEntry, Saved},
    },
    record::Operation,
    source::Bodies,
    target::Target,
};
use dependencies::{Cause, DependencyTracker, StoredId};
use habits::Habits;
use results::needed;
use rewrite::BodyRewriter;

mod answer_order;
mod at_work;
mod bisect;
mod carry;
mod committer;
mod context;
mod counts;
mod dependencies;
mod dry_run;
mod earlier;
mod exchange;
mod habits;
mod in_doubt;
mod load;
mod name;
mod occupied;
pub mod online;
mod prior_runs;
mod references;
mod results;
mod rewrite;
mod scheduler;
mod settlement;
mod skip_unchanged;
mod stop;
mod too_large;
mod two_steps;
pub mod verify;
mod versions;
mod ways;
mod work;

pub use at_work::{rest_after_session, was_cut_off_lately, was_written_lately};
pub use counts::RequestCounts;
pub use dry_run::DryRunTransport;
pub use earlier::{Earlier, Replay};
pub use exchange::RESENT;
pub use prior_runs::{Compared, HeldError, PriorLoads, skip_loaded};
pub use stop::Stop;

/// A target that has been connected to.
#[derive(Debug, Clone)]
pub struct TargetConnection {
    /// Its gate.
    pub gate: Arc<Gate>,
    /// Builds its requests and reads its answers.
    pub target: Arc<dyn Target>,
    /// Requests in flight at the most; what is read ahead is measured by it.
    pub slots: u32,
}

/// Everything that a run needs.
#[derive(Debug)]
pub struct RunContext {
    /// The plan that is carried out.
    pub plan: Arc<Saved>,
    /// The targets by name.
    pub links: HashMap<String, TargetConnection>,
    /// Reads the bodies of records.
    pub bodies: Arc<Bodies>,
    /// Takes what became of records.
    pub ledger: Arc<dyn Ledger>,
    /// Names the run, also in the tags of its records.
    pub journal: JournalLine,
    /// Watches.
    pub observe: Arc<dyn Observe>,
    /// Ends the run early.
    pub stop: Stop,
    /// The bodies in flight or waiting.
    pub budget: Arc<ByteBudget>,
    /// The records that an earlier session settled, and those that it had begun to send.
    pub earlier: Arc<Earlier>,
    /// The stores' answers about conditional references, each asked once.
    pub lookups: Arc<Lookups>,
    /// Figures that the tally and the stop rule read.
    pub counts: Arc<RequestCounts>,
}

impl RunContext {
    /// Tells those who watch how sending goes, target by target in the order of the plan.
    fn observe_targets(&self) {
        for target in &self.plan.header.targets {
            let name = &target.settings.name;
            if let Some(link) = self.links.get(name) {
                self.observe.observe(&Event::Target {
                    name: name.clone(),
                    state: link.gate.state(),
                });
            }
        }
    }
}

/// The interval at which the state of sending is told: as smooth as a person can read.
const SAMPLE: Duration = Duration::from_millis(250);

/// The reason why a run cannot go on. A rejected record is no such reason.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The journal could not be written.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The plan could not be read.
    #[error("{0}")]
    Plan(String),
    /// A source could not be read, or is no longer what it was when it was planned.
    #[error("{0}")]
    Source(String),
    /// Stoker itself is at fault: a task came to no end, or what must be true is not.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Of a task that did not come to its end. The words of a panic may be content, so they are not repeated.
    fn of_task(error: &tokio::task::JoinError) -> Self {
        let what = if error.is_panic() {
            "a task came to an end in the midst of its work"
        } else {
            "a task was dropped"
        };
        Self::Internal(what.to_owned())
    }
}

/// The ending of a run, when it ended in order.
#[derive(Debug, Clone)]
pub struct RunEnd {
    /// The manner of the ending.
    pub how: Ending,
    /// The reason, in words for people.
    pub reason: Option<String>,
    /// Advice for people on the reason.
    pub hint: Option<String>,
}

/// Carries a plan out.
///
/// # Errors
///
/// When the journal, the plan or a source fails; the journal then still holds all that was settled.
pub async fn run(setup: RunContext) -> Result<RunEnd, Error> {
    let setup = Arc::new(setup);
    let loads = setup.plan.header.loads.len();
    setup.observe.observe(&Event::Started {
        loads: planned(&setup.plan, &setup.earlier),
    });
    let dependencies = dependencies(&setup)?;
    let targets = setup.plan.header.loads.iter().map(|load| {
        let link = setup.links.get(&load.target);
        link.map(|link| Arc::clone(&link.target))
    });
    let rewriter = Arc::new(BodyRewriter {
        plan: Arc::clone(&setup.plan),
        bodies: Arc::clone(&setup.bodies),
        dependencies: dependencies.clone(),
        targets: targets.collect(),
        journal: Some(setup.journal.clone()),
    });
    // A load waits for those that its `after` names, through one channel per load.
    let (over, waits): (Vec<_>, Vec<_>) = (0..loads).map(|_| watch::channel(false)).unzip();
    let names: BTreeMap<&str, usize> = setup
        .plan
        .header
        .loads
        .iter()
        .enumerate()
        .map(|(i, l)| (l.name.as_str(), i))
        .collect();
    let habits: HashMap<&str, Arc<Habits>> = setup
        .plan
        .header
        .targets
        .iter()
        .map(|target| target.settings.name.as_str())
        .map(|name| (name, Arc::new(Habits::of(name))))
        .collect();
    let mut running = JoinSet::new();
    for (index, over) in over.into_iter().enumerate() {
        let before: Vec<watch::Receiver<bool>> = setup.plan.header.loads[index]
            .after
            .iter()
            .filter_map(|name| {
                names
                    .get(name.as_str())
                    .map(|&before| waits[before].clone())
            })
            .collect();
        let (setup, rewriter) = (Arc::clone(&setup), Arc::clone(&rewriter));
        let dependencies = dependencies.clone();
        let target = &setup.plan.header.loads[index].target;
        let known = habits.get(target.as_str()).cloned();
        let known = known.unwrap_or_else(|| Arc::new(Habits::of(target)));
        running.spawn(async move {
            for mut wait in before {
                // A closed channel is a load that failed; the run is stopping then.
                let _ = wait.wait_for(|over| *over).await;
            }
            let id = LoadId(u32::try_from(index).unwrap_or(u32::MAX));
            let ended = load::run(setup, rewriter, dependencies, known, id).await;
            let _ = over.send(true);
            ended
        });
    }
    let ended = all_ended(&setup, running).await;
    setup.observe_targets();
    setup.observe.observe(&Event::Finished);
    ended.map(|()| setup.stop.ended())
}

/// Waits until all loads have ended, and tells meanwhile how the targets are. The first error stops all of them.
async fn all_ended(
    setup: &RunContext,
    mut running: JoinSet<Result<(), Error>>,
) -> Result<(), Error> {
    let mut ended = Ok(());
    let mut is_stopping = false;
    let mut sample = tokio::time::interval(SAMPLE);
    loop {
        tokio::select! {
            joined = running.join_next() => {
                let Some(joined) = joined else { return ended };
                let joined = joined.unwrap_or_else(|error| Err(Error::of_task(&error)));
                if joined.is_err() {
                    setup.stop.fail();
                }
                ended = ended.and(joined);
            }
            _ = sample.tick() => setup.observe_targets(),
            () = setup.stop.stopping(), if !is_stopping => {
                is_stopping = true;
                let reason = setup.stop.ended().reason.unwrap_or_else(|| "an error".to_owned());
                setup.observe.observe(&Event::Stopping { reason });
            }
        }
    }
}

/// Returns the tracker of what records wait for, with what earlier sessions settled; none where no record refers to
/// another, or follows it.
fn dependencies(setup: &RunContext) -> Result<Option<Arc<DependencyTracker>>, Error> {
    let plan = &setup.plan;
    let summary = &plan.summary;
    let refers = summary.references.values().any(|found| found.links > 0);
    let follows = summary.loads.iter().any(|load| load.in_sequence > 0);
    if !refers && !follows {
        return Ok(None);
    }
    let dependencies = DependencyTracker::of(plan)?;
    let Some(history) = &setup.earlier.history else {
        return Ok(Some(Arc::new(dependencies)));
    };
    for (index, _) in (0_u32..).zip(&plan.header.loads) {
        let steps = plan
            .steps(LoadId(index))
            .map_err(|e| Error::Plan(e.to_string()))?;
        for entry in steps {
            let PlanEntry::Step(step) = entry.map_err(|e| Error::Plan(e.to_string()))? else {
                continue;
            };
            let line = match history.fate(step.number)? {
                RecordState::Settled(line) if setup.earlier.is_settled(step.number) => line,
                RecordState::Standing(line) => {
                    let stood = StoredId::of(&line);
                    let id = line.id.ok_or_else(|| {
                        let number = step.number;
                        Error::Internal(format!(
                            "record {number} stands in the store without an id"
                        ))
                    })?;
                    dependencies.mark_partial(step.number, &step.kind, &id, stood);
                    continue;
                }
                // The last is one that is tried once more.
                RecordState::Untouched | RecordState::Intended(_) | RecordState::Settled(_) => {
                    continue;
                }
            };
            // A record with an id is there, even if its second request was refused; the file's id is an update's only.
            let keeps_id = step.action.operation().is_some_and(Operation::keeps_id);
            let is_well = line.outcome.is_well();
            if let Some(id) = line.id.or(step.id.filter(|_| is_well && keeps_id)) {
                dependencies.mark_stored(step.number, &step.kind, &id);
            } else {
                let file = plan.source_name(step.position.source);
                let place = step.position.display(file).to_string();
                let cause = Cause {
                    record: line.by.unwrap_or(step.number),
                    needed: needed(&place, line.outcome).into(),
                };
                dependencies.mark_failed(step.number, &Arc::new(cause));
            }
        }
    }
    Ok(Some(Arc::new(dependencies)))
}

/// Tells whether `failed` failures end a run of `records`.
fn is_too_many(max: Option<MaxErrors>, failed: u64, records: u64) -> bool {
    match max {
        None => false,
        Some(MaxErrors::Count(count)) => failed > count,
        Some(MaxErrors::Percent(percent)) => failed as f64 * 100.0 > percent * records as f64,
    }
}

/// Says what each load is going to do, for those who draw it.
pub fn planned(plan: &Saved, earlier: &Earlier) -> Vec<LoadPlanned> {
    let loads = &plan.header.loads;
    let numbered = (0_u32..).map(LoadId).zip(loads);
    let ids: HashMap<&str, LoadId> = numbered
        .clone()
        .map(|(id, load)| (load.name.as_str(), id))
        .collect();
    numbered
        .zip(&plan.summary.loads)
        .map(
            |((id, load), totals): (_, &plan::LoadSummary)| LoadPlanned {
                name: load.name.clone(),
                target: load.target.clone(),
                records: totals.sent(),
                bytes: totals.bytes,
                after: load
                    .after
                    .iter()
                    .filter_map(|name| ids.get(name.as_str()).copied())
                    .collect(),
                before: earlier.before(plan.numbers(id)),
            },
        )
        .collect()
}
