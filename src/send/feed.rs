//! Reads the steps of a load and their bodies, ahead of what is sent.
//!
//! Files are read on a thread of their own, so that a slow disk holds up nothing else. It waits for the byte
//! budget before it reads a body, which is what keeps memory flat.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Earlier, Error, Stop};
use crate::{
    event::LoadId,
    gate::{ByteBudget, BytePermit},
    plan::{
        BundleType, Step,
        file::{Entry, Saved},
    },
    record::Span,
    source::Bodies,
};

/// One request to be.
#[derive(Debug)]
pub(super) struct Work {
    /// Its records: one, or those of a group.
    pub(super) steps: Vec<Step>,
    /// The Bundle in which they travel together.
    pub(super) bundle: Option<BundleType>,
    /// What goes to the wire of each record: the resource, or the whole entry.
    pub(super) bodies: Vec<Bytes>,
    /// The part of the budget that the bodies hold.
    pub(super) permit: BytePermit,
}

/// Reads a load in a thread; the channel ends with the load.
pub(super) struct Feed {
    pub(super) plan: Arc<Saved>,
    pub(super) bodies: Arc<Bodies>,
    pub(super) budget: Arc<ByteBudget>,
    pub(super) earlier: Arc<Earlier>,
    pub(super) stop: Stop,
    pub(super) load: LoadId,
}

impl Feed {
    /// Starts reading. Requests come in chunks of at most so many, because handing each over by itself would cost
    /// more than sending it.
    pub(super) fn start(self, chunk: usize) -> mpsc::Receiver<Result<Vec<Work>, Error>> {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let runtime = tokio::runtime::Handle::current();
        let failed = sender.clone();
        let spawned = std::thread::Builder::new()
            .name("feed".to_owned())
            .spawn(move || {
                if let Err(error) = self.read(&sender, &runtime, chunk) {
                    let _ = sender.blocking_send(Err(error));
                }
            });
        if let Err(error) = spawned {
            let _ = failed.try_send(Err(Error::Source(format!(
                "cannot start a thread: {error}"
            ))));
        }
        receiver
    }

    fn read(
        &self,
        sender: &mpsc::Sender<Result<Vec<Work>, Error>>,
        runtime: &tokio::runtime::Handle,
        chunk: usize,
    ) -> Result<(), Error> {
        let plan_failed = |e: crate::plan::file::Error| Error::Plan(e.to_string());
        let mut entries = self.plan.steps(self.load).map_err(plan_failed)?;
        let mut waiting: Vec<Work> = Vec::with_capacity(chunk);
        while let Some(entry) = entries.next() {
            let (bundle, steps) = match entry.map_err(plan_failed)? {
                Entry::Step(step) => (None, vec![step]),
                Entry::Group(group) => {
                    let mut steps = Vec::with_capacity(group.records as usize);
                    for _ in 0..group.records {
                        match entries.next() {
                            Some(Ok(Entry::Step(step))) => steps.push(step),
                            Some(Err(error)) => return Err(plan_failed(error)),
                            _ => {
                                return Err(Error::Plan(
                                    "a group of the plan is cut short".to_owned(),
                                ));
                            }
                        }
                    }
                    (Some(group.bundle), steps)
                }
            };
            let steps = self.left_to_do(steps);
            if steps.is_empty() {
                continue;
            }
            if self.stop.is_stopping() || sender.is_closed() {
                return Ok(());
            }
            let size = steps
                .iter()
                .map(|step| wire_span(step, bundle).length)
                .sum();
            let permit = if let Some(permit) = self.budget.try_acquire(size) {
                permit
            } else {
                // What waits here holds a part of the budget: it must go before more is waited for.
                if !hand_over(sender, &mut waiting) {
                    return Ok(());
                }
                runtime.block_on(self.budget.acquire(size))
            };
            let bodies = read_bodies(&self.bodies, &self.plan, &steps, bundle)?;
            waiting.push(Work {
                steps,
                bundle,
                bodies,
                permit,
            });
            if waiting.len() >= chunk && !hand_over(sender, &mut waiting) {
                return Ok(());
            }
        }
        hand_over(sender, &mut waiting);
        Ok(())
    }

    /// Drops what is never sent, and what an earlier session settled.
    fn left_to_do(&self, steps: Vec<Step>) -> Vec<Step> {
        steps
            .into_iter()
            .filter(|step| {
                step.action.interaction().is_some() && !self.earlier.is_settled(step.number)
            })
            .collect()
    }
}

/// How many chunks may wait to be sent.
const CHUNKS: usize = 2;

/// Hands a chunk over; tells whether anybody still wants more.
fn hand_over(sender: &mpsc::Sender<Result<Vec<Work>, Error>>, waiting: &mut Vec<Work>) -> bool {
    waiting.is_empty() || sender.blocking_send(Ok(std::mem::take(waiting))).is_ok()
}

/// Returns the bytes of a record that go to the wire.
pub(super) fn wire_span(step: &Step, bundle: Option<BundleType>) -> Span {
    if bundle.is_some() {
        step.position.span
    } else {
        step.body
    }
}

/// Reads what goes to the wire of each record.
pub(super) fn read_bodies(
    bodies: &Bodies,
    plan: &Saved,
    steps: &[Step],
    bundle: Option<BundleType>,
) -> Result<Vec<Bytes>, Error> {
    steps
        .iter()
        .map(|step| {
            let source = step.position.source;
            bodies
                .read(source, wire_span(step, bundle))
                .map_err(|error| {
                    let file = plan.source_name(source);
                    Error::Source(format!(
                        "cannot read {}: {error}",
                        step.position.display(file)
                    ))
                })
        })
        .collect()
}
