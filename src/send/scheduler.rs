//! Reads the steps of a load and their bodies, ahead of what is sent, in an order in which they can arrive.
//!
//! Files are read on a thread of their own, so that a slow disk holds up nothing else. It waits for the byte
//! budget before it reads a body, which is what keeps memory flat. What needs a record that is on its way is parked as
//! a place in the plan, and taken up again when that record has arrived; Bundles are filled from what is ready.

use std::{collections::HashMap, ops::Range, sync::Arc};

use tokio::sync::mpsc;

use super::{
    Earlier, Error, Stop,
    dependencies::{Cause, DependencyTracker, Readiness},
    rewrite::{BodyRewriter, wire_span},
    settlement::accepted_outcome,
    two_steps::{goes_alone, second},
    ways::{Trial, Turn, Ways},
    work::{Stands, Work, is_together},
};
use crate::{
    event::LoadId,
    gate::{ByteBudget, BytePermit},
    plan::{
        Action, Batching, Group, Packaging, Step, To, entry_size,
        file::{PlanEntry, Saved, Steps},
    },
    record::{Operation, StepId},
};

/// Reads a load in a thread; the channel ends with the load.
pub(super) struct Scheduler {
    pub(super) plan: Arc<Saved>,
    pub(super) rewriter: Arc<BodyRewriter>,
    pub(super) dependencies: Option<Arc<DependencyTracker>>,
    pub(super) budget: Arc<ByteBudget>,
    pub(super) earlier: Arc<Earlier>,
    pub(super) stop: Stop,
    pub(super) load: LoadId,
    /// In which Bundles the records go, if in any.
    pub(super) ways: Arc<Ways>,
}

/// The number of chunks that may wait to be sent.
const CHUNKS: usize = 2;

/// The number of records and groups of a load that may wait for others. Beyond that the feed waits too: the first
/// record read needs only records read before it (the plan is in order of depth), so something always goes on.
const PARKED: usize = 64 * 1024;

/// The number of records in a row that had to wait after which a Bundle goes that is not full.
const PATIENCE: u32 = 256;

/// The bodies of a Bundle that is larger than this are read when its text is made, one by one: all of them and the text
/// would be twice as much in memory.
pub(super) const READ_LATE: u64 = 1 << 20;

/// Requests that are handed over together.
#[derive(Debug, Default)]
pub(super) struct Dispatch {
    pub(super) works: Vec<Work>,
    /// Held until the last of them has ended, where it is still found out how they go best.
    pub(super) trial: Option<Arc<Trial>>,
}

type Sender = mpsc::Sender<Result<Dispatch, Error>>;

impl Scheduler {
    /// Starts reading. Requests come in chunks of at most `chunk`, because handing each over by itself would cost
    /// more than sending it.
    pub(super) fn start(self, chunk: usize) -> mpsc::Receiver<Result<Dispatch, Error>> {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let runtime = tokio::runtime::Handle::current();
        let failed = sender.clone();
        let spawned = std::thread::Builder::new()
            .name("feed".to_owned())
            .spawn(move || {
                let mut feeding = SchedulerTask {
                    feed: &self,
                    sender: &sender,
                    runtime,
                    chunk,
                    waiting: Vec::with_capacity(chunk),
                    filling: None,
                    alone: 0,
                    is_over: false,
                };
                if let Err(error) = feeding.run() {
                    let _ = sender.blocking_send(Err(error));
                }
            });
        if let Err(error) = spawned {
            let _ = failed.try_send(Err(Error::Internal(format!(
                "cannot start a thread: {error}"
            ))));
        }
        receiver
    }
}

/// A step, or a group with its steps.
struct Unit {
    steps: Vec<Step>,
    group: Option<Group>,
}

struct SchedulerTask<'a> {
    feed: &'a Scheduler,
    sender: &'a Sender,
    runtime: tokio::runtime::Handle,
    chunk: usize,
    waiting: Vec<Work>,
    /// The Bundle that is being filled, and its bytes.
    filling: Option<(Work, u64, Batching)>,
    /// The number of records that go by themselves before the next turn is asked for.
    alone: u32,
    /// Nobody takes anything any more.
    is_over: bool,
}

impl SchedulerTask<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let load = self.feed.load.0 as usize;
        let mut stream = self.feed.plan.steps(self.feed.load).map_err(failed)?;
        let mut is_read = false;
        let mut in_a_row = 0;
        let dependencies = self.feed.dependencies.clone();
        while !self.is_over && !self.feed.stop.is_stopping() && !self.sender.is_closed() {
            if let Some((parked, readiness)) = dependencies.as_ref().and_then(|p| p.next(load)) {
                let (offset, first) = parked.place;
                let again = self.feed.plan.steps_at(self.feed.load, offset, first);
                match unit(&mut again.map_err(failed)?)? {
                    Some(unit) if parked.late => self.take_second(unit, readiness)?,
                    Some(unit) => self.take(unit, readiness)?,
                    None => {}
                }
                continue;
            }
            let (parked, late) = dependencies.as_ref().map_or((0, 0), |p| p.parked(load));
            if !is_read && parked < PARKED {
                let place = stream.place();
                let Some(unit) = unit(&mut stream)? else {
                    is_read = true;
                    continue;
                };
                if let (Some(dependencies), Some(needs)) = (&dependencies, self.second_needs(&unit))
                {
                    let readiness = dependencies.try_start_second(load, needs, place)?;
                    // Only what an earlier session left standing need not wait for its first request.
                    if readiness != Readiness::Parked {
                        self.take_second(unit, readiness)?;
                        continue;
                    }
                }
                let readiness = match &dependencies {
                    Some(dependencies) => {
                        let patient = unit.group.is_some_and(|group| !group.atomic);
                        dependencies.try_start(
                            load,
                            needs(&unit),
                            follows(&unit),
                            patient,
                            place,
                        )?
                    }
                    None => Readiness::Ready,
                };
                if readiness == Readiness::Parked {
                    in_a_row += 1;
                    if in_a_row == PATIENCE {
                        self.flush();
                    }
                } else {
                    in_a_row = 0;
                    self.take(unit, readiness)?;
                }
                continue;
            }
            // Nothing more is ready: what was collected must go, for the rest may wait for it.
            self.flush();
            match &dependencies {
                Some(dependencies) if parked + late > 0 => dependencies.wait_for_all(load),
                _ => break,
            }
        }
        self.flush();
        Ok(())
    }

    fn take(&mut self, unit: Unit, readiness: Readiness) -> Result<(), Error> {
        let Unit { mut steps, group } = unit;
        let mut atomic = group.is_some_and(|group| group.atomic);
        // A transaction of which a record was settled by itself went in parts; the rest of it does.
        let is_rest = atomic && self.name_settled(&mut steps)?;
        atomic &= !is_rest;
        let steps: Vec<Step> = steps
            .into_iter()
            .filter(|step| {
                let earlier = &self.feed.earlier;
                step.action.operation().is_some()
                    && !earlier.is_settled(step.number)
                    && !earlier.is_standing(step.number)
            })
            .collect();
        if steps.is_empty() {
            return Ok(());
        }
        let readiness = match self.blocked_later(&steps) {
            Some(by) => Readiness::Blocked(by),
            None => readiness,
        };
        let steps = match (readiness, group) {
            (Readiness::Blocked(_), Some(group)) if !group.atomic => self.unblocked(steps),
            (Readiness::Blocked(by), _) => {
                self.block(steps, by);
                Vec::new()
            }
            _ => steps,
        };
        if steps.is_empty() {
            return Ok(());
        }
        let size = steps.iter().map(|step| wire_span(step).length).sum();
        let permit = self.permit(size);
        // The rest of a transaction is read part by part, once it is known what became of those before it.
        let bodies = if is_rest || group.is_some() && size > READ_LATE {
            Vec::new()
        } else {
            let packaging = group.map(|group| group.packaging);
            let together = is_together(packaging, atomic);
            self.feed.rewriter.read(&steps, together)?
        };
        let mut work = Work {
            steps,
            packaging: group.map(|group| group.packaging),
            atomic,
            bodies,
            permits: vec![permit],
            blocked: None,
            stands: None,
        };
        if group.is_some() || goes_alone(&mut work) {
            self.push(work);
        } else {
            self.fill(work);
        }
        Ok(())
    }

    /// Puts in what became of those entries of a transaction that an earlier session settled. Tells whether there are any, and
    /// others to be sent.
    fn name_settled(&self, steps: &mut [Step]) -> Result<bool, Error> {
        let earlier = &self.feed.earlier;
        let is_sent = |step: &&Step| step.action.operation().is_some();
        let settled = steps.iter().filter(is_sent);
        let settled: Vec<&Step> = settled.filter(|s| earlier.is_settled(s.number)).collect();
        if settled.is_empty() || settled.len() == steps.iter().filter(is_sent).count() {
            return Ok(false);
        }
        let mut resources = HashMap::new();
        for step in settled {
            resources.insert(step.number, earlier.resource(step)?);
        }
        for link in steps.iter_mut().flat_map(|step| &mut step.links) {
            let To::Step(to) = link.to else { continue };
            match resources.get(&to) {
                Some(Some(resource)) => {
                    link.to = To::Resource(resource.clone());
                    link.native = false;
                }
                // It did not arrive: whoever carries the rest finds nothing in its place.
                Some(None) => link.native = true,
                None => {}
            }
        }
        Ok(true)
    }

    /// Returns what will keep a record from becoming whole, if that is known before it is sent.
    fn blocked_later(&self, steps: &[Step]) -> Option<Arc<Cause>> {
        let dependencies = self.feed.dependencies.as_ref()?;
        let needs: Vec<StepId> = steps.iter().flat_map(Step::late_needs).collect();
        (!needs.is_empty())
            .then(|| dependencies.blocks(&needs))
            .flatten()
    }

    /// Returns what the second request of a record needs; none where it has no second, or is settled.
    fn second_needs(&self, unit: &Unit) -> Option<Vec<StepId>> {
        let [step] = unit.steps.as_slice() else {
            return None;
        };
        if !step.is_in_two_steps() || self.feed.earlier.is_settled(step.number) {
            return None;
        }
        let mut needs: Vec<StepId> = step.late_needs().collect();
        needs.push(step.number);
        needs.sort_unstable();
        needs.dedup();
        Some(needs)
    }

    /// Puts in what a record was created without.
    fn take_second(&mut self, unit: Unit, readiness: Readiness) -> Result<(), Error> {
        let dependencies = self.feed.dependencies.as_ref();
        let Some((step, (stood, id))) = unit.steps.into_iter().next().and_then(|step| {
            // One that does not stand was settled by its first request.
            let stands = dependencies?.standing(step.number)?;
            Some((step, stands))
        }) else {
            return Ok(());
        };
        let interaction = step.action.operation().unwrap_or(Operation::Create);
        let stands = Stands {
            outcome: accepted_outcome(interaction, stood.status),
            attempts: stood.attempts,
        };
        let steps = vec![second(step, id)];
        let mut work = Work {
            steps,
            packaging: None,
            atomic: false,
            bodies: Vec::new(),
            permits: Vec::new(),
            blocked: None,
            stands: Some(stands),
        };
        if let Readiness::Blocked(by) = readiness {
            work.blocked = Some(by);
        } else {
            let size = work.steps.iter().map(|step| wire_span(step).length).sum();
            work.permits = vec![self.permit(size)];
            work.bodies = self.feed.rewriter.read(&work.steps, false)?;
        }
        self.push(work);
        Ok(())
    }

    /// Settles those of a group whose needs did not arrive; returns the others.
    fn unblocked(&mut self, steps: Vec<Step>) -> Vec<Step> {
        let mut left = Vec::with_capacity(steps.len());
        for step in steps {
            let needs: Vec<StepId> = step.needs().collect();
            let blocks = self.feed.dependencies.as_ref();
            match blocks.and_then(|dependencies| dependencies.blocks(&needs)) {
                Some(by) => self.block(vec![step], by),
                None => left.push(step),
            }
        }
        left
    }

    fn block(&mut self, steps: Vec<Step>, by: Arc<Cause>) {
        self.push(Work {
            steps,
            packaging: None,
            atomic: false,
            bodies: Vec::new(),
            permits: Vec::new(),
            blocked: Some(by),
            stands: None,
        });
    }

    fn permit(&mut self, size: u64) -> BytePermit {
        if let Some(permit) = self.feed.budget.try_acquire(size) {
            return permit;
        }
        // The requests that wait here hold a part of the budget: they must go before more is waited for.
        self.flush();
        self.runtime.block_on(self.feed.budget.acquire(size))
    }

    /// Puts a record into the Bundle that is being filled, or lets it travel by itself.
    fn fill(&mut self, mut work: Work) {
        let is_entry = work
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::Entry(_)));
        let size: u64 = work.bodies.iter().map(|body| body.len() as u64).sum();
        let size = (work.steps.first()).map_or(size, |step| entry_size(&step.action, size));
        let fits = (self.filling.as_ref()).is_none_or(|(filling, bytes, batching)| {
            batching.takes(filling.steps.len(), *bytes, size)
        });
        if !fits {
            self.end_parcel();
        }
        if let Some((filling, bytes, _)) = &mut self.filling {
            filling.steps.append(&mut work.steps);
            filling.bodies.append(&mut work.bodies);
            filling.permits.append(&mut work.permits);
            *bytes += size;
            return;
        }
        if self.alone == 0 {
            match self.turn() {
                Turn::Together(batching) => {
                    work.packaging = Some(batching.packaging);
                    self.filling = Some((work, size, batching));
                    return;
                }
                Turn::Alone(count) => self.alone = count,
            }
        }
        self.alone -= 1;
        // A record that came as an entry keeps its request, and that only a Bundle can carry.
        work.packaging = is_entry.then_some(Packaging::Batch);
        self.push(work);
    }

    /// Returns in which way the next records go; waits for the answers that tell.
    fn turn(&mut self) -> Turn {
        loop {
            if let Some(turn) = self.feed.ways.next() {
                return turn;
            }
            if self.is_over || self.feed.stop.is_stopping() || self.sender.is_closed() {
                // It is not sent any more.
                return Turn::Alone(1);
            }
            // The answers that are awaited are those to what is collected here, too.
            self.hand_over();
            self.feed.ways.wait(&self.feed.stop);
        }
    }

    fn end_parcel(&mut self) {
        if let Some((mut work, ..)) = self.filling.take() {
            // A single record needs no Bundle around it, unless it came as an entry.
            let is_entry = |step: &Step| matches!(step.action, Action::Entry(_));
            if work.steps.len() == 1 && !work.steps.iter().any(is_entry) {
                work.packaging = None;
            }
            self.push(work);
        }
    }

    fn push(&mut self, work: Work) {
        self.waiting.push(work);
        if self.waiting.len() >= self.chunk {
            self.hand_over();
        }
    }

    fn flush(&mut self) {
        self.end_parcel();
        self.hand_over();
    }

    /// Hands a chunk over.
    fn hand_over(&mut self) {
        if !self.waiting.is_empty() {
            let chunk = Dispatch {
                works: std::mem::take(&mut self.waiting),
                trial: self.feed.ways.hand_over().map(Arc::new),
            };
            self.is_over |= self.sender.blocking_send(Ok(chunk)).is_err();
        }
    }
}

/// Returns what a unit needs from outside of itself, among what is left to do.
fn needs(unit: &Unit) -> Vec<StepId> {
    let own: Range<StepId> = match (unit.steps.first(), unit.steps.last()) {
        (Some(first), Some(last)) => first.number..last.number.next(),
        _ => StepId(0)..StepId(0),
    };
    let mut needs: Vec<StepId> = unit
        .steps
        .iter()
        .flat_map(Step::needs)
        .filter(|need| !own.contains(need))
        .collect();
    needs.sort_unstable();
    needs.dedup();
    needs
}

/// Returns what goes before a unit; records that travel together follow nothing.
fn follows(unit: &Unit) -> Option<StepId> {
    unit.steps.first().and_then(Step::follows)
}

/// Reads the next step, or the next group with its steps.
fn unit(entries: &mut Steps) -> Result<Option<Unit>, Error> {
    let group = match entries.next() {
        None => return Ok(None),
        Some(entry) => match entry.map_err(failed)? {
            PlanEntry::Step(step) => {
                return Ok(Some(Unit {
                    steps: vec![step],
                    group: None,
                }));
            }
            PlanEntry::Group(group) => group,
        },
    };
    let mut steps = Vec::with_capacity(group.records as usize);
    for _ in 0..group.records {
        match entries.next() {
            Some(Ok(PlanEntry::Step(step))) => steps.push(step),
            Some(Err(error)) => return Err(failed(error)),
            _ => return Err(Error::Plan("a group of the plan is cut short".to_owned())),
        }
    }
    Ok(Some(Unit {
        steps,
        group: Some(group),
    }))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Plan(error.to_string())
}
