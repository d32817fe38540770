//! Fills Bundles with the records that are ready, and hands requests over in chunks.
//!
//! In which Bundles records go, if in any, `ways` finds out; a Bundle that is not full goes when nothing else is ready. The
//! memory of the bodies is asked for here, because what is collected holds a part of it. The readiness of records is not
//! decided here.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    gate::{ByteBudget, BytePermit},
    plan::{Batching, Packaging, Step, entry_size},
    send::{
        Error, Stop,
        ways::{Trial, Turn, Ways},
        work::{Job, Work},
    },
};

/// Requests that are handed over together.
#[derive(Debug, Default)]
pub(in crate::send) struct Dispatch {
    pub(in crate::send) jobs: Vec<Job>,
    /// Held until the last of them has ended, where it is still found out how they go best.
    pub(in crate::send) trial: Option<Arc<Trial>>,
}

/// The channel to those who send.
pub(super) type Sender = mpsc::Sender<Result<Dispatch, Error>>;

/// The requests that are filled and collected.
pub(super) struct Packer<'a> {
    sender: &'a Sender,
    stop: &'a Stop,
    budget: &'a Arc<ByteBudget>,
    ways: &'a Arc<Ways>,
    runtime: tokio::runtime::Handle,
    /// The number of requests that are handed over together.
    chunk: usize,
    waiting: Vec<Job>,
    /// The Bundle that is being filled, and its bytes.
    filling: Option<(Work, u64, Batching)>,
    /// The number of records that go by themselves before the next turn is asked for.
    alone: u32,
    /// Nobody takes anything any more.
    is_abandoned: bool,
}

impl<'a> Packer<'a> {
    /// Has collected nothing.
    pub(super) fn new(
        sender: &'a Sender,
        (stop, budget, ways): (&'a Stop, &'a Arc<ByteBudget>, &'a Arc<Ways>),
        runtime: tokio::runtime::Handle,
        chunk: usize,
    ) -> Self {
        Self {
            sender,
            stop,
            budget,
            ways,
            runtime,
            chunk,
            waiting: Vec::with_capacity(chunk),
            filling: None,
            alone: 0,
            is_abandoned: false,
        }
    }

    /// Tells whether nothing more is sent: nobody takes it, or the run is being stopped.
    pub(super) fn is_over(&self) -> bool {
        self.is_abandoned || self.stop.is_stopping() || self.sender.is_closed()
    }

    /// Waits until there is memory for bodies.
    pub(super) fn permit(&mut self, size: u64) -> BytePermit {
        if let Some(permit) = self.budget.try_acquire(size) {
            return permit;
        }
        // The requests that wait here hold a part of the budget: they must go before more is waited for.
        self.flush();
        self.runtime.block_on(self.budget.acquire(size))
    }

    /// Puts a record into the Bundle that is being filled, or lets it travel by itself.
    pub(super) fn fill(&mut self, mut work: Work) {
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
        work.packaging = has_entry(&work).then_some(Packaging::Batch);
        self.push(Job::Send(work));
    }

    /// Returns in which way the next records go; waits for the answers that tell.
    fn turn(&mut self) -> Turn {
        loop {
            if let Some(turn) = self.ways.next() {
                return turn;
            }
            if self.is_over() {
                // It is not sent any more.
                return Turn::Alone(1);
            }
            // The answers that are awaited are those to what is collected here, too.
            self.hand_over();
            self.ways.wait(self.stop);
        }
    }

    fn end_parcel(&mut self) {
        if let Some((mut work, ..)) = self.filling.take() {
            // A single record needs no Bundle around it, unless it came as an entry.
            if work.steps.len() == 1 && !has_entry(&work) {
                work.packaging = None;
            }
            self.push(Job::Send(work));
        }
    }

    /// Takes what is as it goes.
    pub(super) fn push(&mut self, job: Job) {
        self.waiting.push(job);
        if self.waiting.len() >= self.chunk {
            self.hand_over();
        }
    }

    /// Lets go what was collected, full or not.
    pub(super) fn flush(&mut self) {
        self.end_parcel();
        self.hand_over();
    }

    /// Hands a chunk over.
    fn hand_over(&mut self) {
        if !self.waiting.is_empty() {
            let chunk = Dispatch {
                jobs: std::mem::take(&mut self.waiting),
                trial: self.ways.hand_over().map(Arc::new),
            };
            self.is_abandoned |= self.sender.blocking_send(Ok(chunk)).is_err();
        }
    }
}

/// Tells whether any of the records came as an entry, with a request of its own.
fn has_entry(work: &Work) -> bool {
    work.steps.iter().any(Step::is_entry)
}
