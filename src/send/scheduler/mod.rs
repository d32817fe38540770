//! Reads the steps of a load and their bodies, ahead of what is sent, in an order in which they can arrive.
//!
//! Files are read on a thread of their own, so that a slow disk holds up nothing else. It waits for the byte budget before
//! it reads a body, which is what keeps memory flat. A record that needs another one that is on its way is parked as a
//! place in the plan, and taken up again when that one has arrived. `unit` is what is read and parked as one; `packer`
//! fills Bundles with what is ready.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::mpsc;

use super::{
    Earlier, Error, Stop,
    dependencies::{Cause, DependencyTracker, Readiness},
    rewrite::{BodyRewriter, wire_span},
    settlement::accepted_outcome,
    two_steps::{goes_alone, second},
    ways::Ways,
    work::{Blocked, Job, READ_LATE, Stands, Work, is_together},
};
use crate::{
    event::LoadId,
    gate::ByteBudget,
    plan::{
        Step, To,
        file::{Saved, Steps},
    },
    record::{Operation, StepId},
};
pub(super) use packer::Dispatch;
use packer::Packer;
use unit::{Unit, failed};

mod packer;
mod unit;

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
                let means = (&self.stop, &self.budget, &self.ways);
                let mut feeding = SchedulerTask {
                    feed: &self,
                    packer: Packer::new(&sender, means, runtime, chunk),
                    parked_in_a_row: 0,
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

/// The reading of a load, on its thread.
struct SchedulerTask<'a> {
    feed: &'a Scheduler,
    packer: Packer<'a>,
    /// The number of records in a row that had to wait.
    parked_in_a_row: u32,
}

impl SchedulerTask<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let load = self.feed.load.0 as usize;
        let mut stream = self.feed.plan.steps(self.feed.load).map_err(failed)?;
        let mut is_read = false;
        let dependencies = self.feed.dependencies.as_ref();
        while !self.packer.is_over() {
            if self.take_released()? {
                continue;
            }
            let (parked, late) = dependencies.map_or((0, 0), |p| p.parked(load));
            if !is_read && parked < PARKED {
                is_read = !self.read_on(&mut stream)?;
                continue;
            }
            // Nothing more is ready: what was collected must go, for the rest may wait for it.
            self.packer.flush();
            match dependencies {
                Some(dependencies) if parked + late > 0 => dependencies.wait_for_all(load),
                _ => break,
            }
        }
        self.packer.flush();
        Ok(())
    }

    /// Takes up something that was parked and may go now, or never will. Tells whether there was any.
    fn take_released(&mut self) -> Result<bool, Error> {
        let feed = self.feed;
        let dependencies = feed.dependencies.as_ref();
        let released = dependencies.and_then(|p| p.next(feed.load.0 as usize));
        let Some((parked, readiness)) = released else {
            return Ok(false);
        };
        let (offset, first) = parked.place;
        let again = feed.plan.steps_at(feed.load, offset, first);
        match Unit::read(&mut again.map_err(failed)?)? {
            Some(unit) if parked.late => self.take_second(unit, readiness)?,
            Some(unit) => self.take(unit, readiness)?,
            None => {}
        }
        Ok(true)
    }

    /// Reads the next of the plan, and takes it or parks it. Tells whether there was any.
    fn read_on(&mut self, stream: &mut Steps) -> Result<bool, Error> {
        let load = self.feed.load.0 as usize;
        let place = stream.place();
        let Some(unit) = Unit::read(stream)? else {
            return Ok(false);
        };
        let Some(dependencies) = &self.feed.dependencies else {
            self.take(unit, Readiness::Ready)?;
            return Ok(true);
        };
        for step in &unit.steps {
            if step.action.operation().is_none() {
                dependencies.pass(step.number);
            }
        }
        if let Some(needs) = self.second_needs(&unit) {
            let readiness = dependencies.try_start_second(load, needs, place)?;
            // Only what an earlier session left standing need not wait for its first request.
            if readiness != Readiness::Parked {
                self.take_second(unit, readiness)?;
                return Ok(true);
            }
        }
        let (needs, follows) = (unit.needs(), unit.follows());
        let readiness = dependencies.try_start(load, needs, follows, unit.is_patient(), place)?;
        if readiness == Readiness::Parked {
            self.parked_in_a_row += 1;
            if self.parked_in_a_row == PATIENCE {
                self.packer.flush();
            }
        } else {
            self.parked_in_a_row = 0;
            self.take(unit, readiness)?;
        }
        Ok(true)
    }

    /// Takes the records of a unit that are still to be sent, and settles those that cannot arrive.
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
        let permit = self.packer.permit(size);
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
        };
        if group.is_some() || goes_alone(&mut work) {
            self.packer.push(Job::Send(work));
        } else {
            self.packer.fill(work);
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
        let is_settled = |step: &Step| self.feed.earlier.is_settled(step.number);
        let needs = unit.second_needs();
        needs.filter(|_| !unit.steps.iter().any(is_settled))
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
        let step = second(step, id);
        if let Readiness::Blocked(by) = readiness {
            self.packer.push(Job::Block(Blocked {
                steps: vec![step],
                by,
                stands: Some(stands),
            }));
            return Ok(());
        }
        let permits = vec![self.packer.permit(wire_span(&step).length)];
        let steps = vec![step];
        let work = Work {
            bodies: self.feed.rewriter.read(&steps, false)?,
            permits,
            ..Work::unread(steps, None)
        };
        self.packer.push(Job::Second(work, stands));
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
        self.packer.push(Job::Block(Blocked {
            steps,
            by,
            stands: None,
        }));
    }
}
