//! Carries one load to its end: takes its requests from the feed, gives each a task, and keeps the number of tasks,
//! of records about to be sent, and of bytes in bounds.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};

use super::{
    Error, Setup,
    apart::Apart,
    compare,
    dress::Dresser,
    exchange::Batch,
    feed::{Feed, Work},
    is_too_many,
    precedence::Precedence,
    settle::{self, Attempted},
    settler::{Told, settle_all},
};
use crate::{
    event::LoadId,
    gate::Verdict,
    journal::{Ending, Settlement},
    manifest::LoadSettings,
    plan::{self, Step},
    record::{Interaction, Outcome},
};

/// How many requests of a load may be under way, those waiting for their next attempt included.
///
/// A waiting one holds no body, only some 2 kB; with 30 % of the answers `429 Retry-After: 5` about 8,000 wait
/// at 4,000 requests a second, so this is where memory and speed meet.
const WINDOW: usize = 8 * 1024;

/// For every slot, so many requests are made ready (intended in the journal, body in hand), so that a slot never
/// waits for the journal. Few, because what is intended and not settled is in doubt after a crash.
const READY_PER_SLOT: usize = 2;

/// Carries one load to its end.
pub(super) async fn run(
    setup: Arc<Setup>,
    dresser: Arc<Dresser>,
    precedence: Option<Arc<Precedence>>,
    id: LoadId,
) -> Result<(), Error> {
    let settings = Arc::new(setup.plan.header.loads[id.0 as usize].clone());
    let Some(link) = setup.links.get(&settings.target) else {
        let message = format!("there is no connection to target `{}`", settings.target);
        return Err(Error::Plan(message));
    };
    let slots = link.slots as usize;
    let feed = Feed {
        plan: Arc::clone(&setup.plan),
        dresser: Arc::clone(&dresser),
        precedence: precedence.clone(),
        budget: Arc::clone(&setup.budget),
        earlier: Arc::clone(&setup.earlier),
        stop: setup.stop.clone(),
        load: id,
        batching: plan::batching(&setup.plan.header, id),
    }
    .start(std::cmp::max(slots / 2, 1));
    let (settler, settled) = mpsc::channel(WINDOW);
    let load = Arc::new(Load {
        id,
        settings,
        link: link.clone(),
        records: setup.plan.summary.records(),
        settler,
        dresser,
        setup,
    });
    let settling = tokio::spawn(settle_all(Arc::clone(&load.setup), precedence, id, settled));
    let sent = send_all(&load, feed, slots * READY_PER_SLOT).await;
    // The last sender goes with the load; then the settler has written all that came.
    drop(load);
    let settled = finished(settling.await);
    sent.and(settled)
}

/// Gives every request a task, until the feed or the run is over.
async fn send_all(
    load: &Arc<Load>,
    mut feed: mpsc::Receiver<Result<Vec<Work>, Error>>,
    ready: usize,
) -> Result<(), Error> {
    let stop = load.setup.stop.clone();
    let ready = Arc::new(Semaphore::new(ready));
    let mut tasks: JoinSet<Result<(), Error>> = JoinSet::new();
    let mut chunk: Vec<Work> = Vec::new();
    let mut failed = Ok(());
    while failed.is_ok() {
        let wanted = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            () = stop.stopping() => break,
            Some(joined) = tasks.join_next(), if !tasks.is_empty() => failed = finished(joined),
            permit = Arc::clone(&ready).acquire_many_owned(wanted), if wanted > 0 => {
                start(load, &mut tasks, std::mem::take(&mut chunk), permit.ok());
            }
            next = feed.recv(), if wanted == 0 && tasks.len() < WINDOW => match next {
                None => break,
                Some(Ok(next)) => chunk = next,
                Some(Err(error)) => failed = Err(error),
            },
        }
    }
    if failed.is_err() {
        // No new work in other loads either; what is on its way is waited for in all of them.
        stop.fail();
    }
    // What the feed still holds gives its bytes back, and its thread ends.
    drop(chunk);
    feed.close();
    while feed.recv().await.is_some() {}
    loop {
        tokio::select! {
            biased;
            joined = tasks.join_next() => match joined {
                None => return failed,
                Some(joined) => failed = failed.and(finished(joined)),
            },
            () = stop.dropping() => {
                tasks.shutdown().await;
                return failed;
            }
        }
    }
}

/// Starts the requests of a chunk. Its records are intended together, by whichever task comes first.
fn start(
    load: &Arc<Load>,
    tasks: &mut JoinSet<Result<(), Error>>,
    chunk: Vec<Work>,
    mut permits: Option<OwnedSemaphorePermit>,
) {
    let doubtful: Vec<u64> = chunk
        .iter()
        .filter(|work| work.blocked.is_none())
        .flat_map(|work| doubtful(&work.steps))
        .filter(|&record| !load.setup.earlier.is_interrupted(record))
        .collect();
    let ledger = Arc::clone(&load.setup.ledger);
    let intended: Intended = async move {
        if doubtful.is_empty() {
            Ok(())
        } else {
            ledger.intend(&doubtful).await
        }
    }
    .boxed()
    .shared();
    for work in chunk {
        let permit = permits.as_mut().and_then(|permits| permits.split(1));
        tasks.spawn(Arc::clone(load).carry(work, intended.clone(), permit));
    }
}

/// The records of a chunk stand in the journal as about to be sent.
type Intended = Shared<BoxFuture<'static, Result<(), crate::journal::Error>>>;

/// Returns the records that must not be sent twice.
fn doubtful(steps: &[Step]) -> impl Iterator<Item = u64> {
    steps
        .iter()
        .filter(|step| {
            !step
                .action
                .interaction()
                .is_some_and(Interaction::is_idempotent)
        })
        .map(|step| step.number)
}

fn finished(joined: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    joined.unwrap_or_else(|error| Err(Error::Plan(format!("a task failed: {error}"))))
}

/// One load on its way.
pub(super) struct Load {
    pub(super) id: LoadId,
    pub(super) settings: Arc<LoadSettings>,
    pub(super) link: super::Link,
    records: u64,
    settler: mpsc::Sender<Vec<Told>>,
    pub(super) dresser: Arc<Dresser>,
    pub(super) setup: Arc<Setup>,
}

/// What is kept of a record while it is sent.
pub(super) struct Sent {
    bytes: u64,
    kind: String,
    own_id: Option<String>,
    pub(super) place: String,
}

impl Load {
    /// Carries one request to its end and hands over what became of its records.
    async fn carry(
        self: Arc<Self>,
        work: Work,
        intended: Intended,
        ready: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Error> {
        let blocked = work.blocked.clone();
        let mut sent: HashMap<u64, Sent> = work
            .steps
            .iter()
            .map(|step| (step.number, self.sent(step)))
            .collect();
        let settlements = self.send(work, intended, ready).await?;
        if settlements.is_empty() {
            return Ok(());
        }
        self.count_failures(&settlements);
        let told = settlements
            .into_iter()
            .filter_map(|settlement| {
                let sent = sent.remove(&settlement.line.record)?;
                let cause = (!settlement.line.outcome.is_well())
                    .then(|| blocked.clone().unwrap_or_else(|| sent.place.into()));
                Some(Told {
                    settlement,
                    bytes: sent.bytes,
                    kind: sent.kind,
                    own_id: sent.own_id,
                    cause,
                })
            })
            .collect();
        // Nobody takes it only when the journal has failed, and that is reported where it happened.
        let _ = self.settler.send(told).await;
        Ok(())
    }

    pub(super) fn sent(&self, step: &Step) -> Sent {
        let file = self.setup.plan.source_name(step.position.source);
        let keeps_id = step.action.interaction() == Some(Interaction::Update);
        Sent {
            bytes: step.body.length,
            kind: step.kind.clone(),
            own_id: step.id.clone().filter(|_| keeps_id),
            place: step.position.display(file).to_string(),
        }
    }

    async fn send(
        &self,
        work: Work,
        intended: Intended,
        ready: Option<OwnedSemaphorePermit>,
    ) -> Result<Vec<Settlement>, Error> {
        if let Some(by) = &work.blocked {
            let note = format!("it needs {by}, which did not arrive");
            let blocked = |step: &Step| {
                let attempted = Attempted::default();
                settle::told(step.number, Outcome::Blocked, None, attempted, note.clone())
            };
            return Ok(work.steps.iter().map(blocked).collect());
        }
        let doubtful: Vec<u64> = doubtful(&work.steps).collect();
        if let Some(in_doubt) = self.in_doubt(&doubtful) {
            return Ok(in_doubt);
        }
        let work = match self.compare(work).await {
            Ok(settled) => return Ok(settled),
            Err(work) => work,
        };
        let (work, mut settled) = self.look_up(work).await?;
        if work.steps.is_empty() {
            return Ok(settled);
        }
        intended.await?;
        settled.extend(self.carry_all(work, ready, &doubtful).await?);
        Ok(settled)
    }

    /// Carries a request to its end. A Bundle that Stoker filled and the store refused as a whole is taken apart.
    async fn carry_all(
        &self,
        work: Work,
        mut ready: Option<OwnedSemaphorePermit>,
        doubtful: &[u64],
    ) -> Result<Vec<Settlement>, Error> {
        let bundle = work.bundle;
        let mut apart = Apart::of(work.steps.len());
        let mut settled = Vec::new();
        let mut queue = vec![work];
        while let Some(work) = queue.pop() {
            let on_wire = Arc::new(AtomicBool::new(false));
            let mut batch = Batch::new(work, self, Arc::clone(&on_wire));
            batch.hold(ready.take());
            if self.setup.stop.is_stopping() && !settled.is_empty() {
                settled.extend(batch.abandon(doubtful));
                continue;
            }
            tokio::select! {
                biased;
                conclusion = self.link.gate.carry(&mut batch) => {
                    if let Verdict::Stop(reason) = &conclusion.verdict {
                        let hint = reason.hint();
                        self.setup.stop.end(Ending::Target, &reason.to_string(), hint);
                    }
                    if let Some(refused) = batch.refused_whole(&conclusion) {
                        settled.extend(apart.take(refused, bundle, &mut queue));
                    }
                    settled.extend(batch.conclude(&conclusion)?);
                }
                () = abandoned(&self.setup.stop, &on_wire) => {
                    settled.extend(batch.abandon(doubtful));
                }
            }
        }
        Ok(settled)
    }

    /// Records whose sending an earlier session had begun, and which must not be sent twice.
    fn in_doubt(&self, doubtful: &[u64]) -> Option<Vec<Settlement>> {
        let earlier = &self.setup.earlier;
        if !doubtful
            .iter()
            .any(|&record| earlier.is_interrupted(record))
        {
            return None;
        }
        let note =
            "the run was cut off while it was being sent; whether the store took it is not known";
        Some(
            doubtful
                .iter()
                .map(|&r| settle::told(r, Outcome::Unknown, None, Attempted::default(), note))
                .collect(),
        )
    }

    /// Leaves alone what the store already holds, where the load asks for it.
    async fn compare(&self, work: Work) -> Result<Vec<Settlement>, Work> {
        let is_update = matches!(
            work.steps.as_slice(),
            [step] if work.bundle.is_none()
                && step.action.interaction() == Some(Interaction::Update)
        );
        if !self.settings.compare || !is_update {
            return Err(work);
        }
        compare::unchanged(&self.link, &work)
            .await
            .map_or(Err(work), |settled| Ok(vec![settled]))
    }

    /// Ends the run when more records have failed than the manifest allows.
    fn count_failures(&self, settlements: &[Settlement]) {
        let failed = settlements
            .iter()
            .filter(|s| {
                matches!(
                    s.line.outcome,
                    Outcome::Rejected | Outcome::Blocked | Outcome::Unknown
                )
            })
            .count() as u64;
        if failed == 0 {
            return;
        }
        let failed = self.setup.counts.failed(failed);
        let max = self.setup.plan.header.run.max_errors;
        if is_too_many(max, failed, self.records) {
            let reason = format!("{failed} records failed, more than `max_errors` allows");
            let hint = "mend the records in rejected/, or raise `max_errors`".to_owned();
            self.setup.stop.end(Ending::MaxErrors, &reason, Some(hint));
        }
    }
}

/// Resolves when the run is stopping and the request is not on the wire: what is sent is waited for, what only
/// waits for its next attempt is not.
async fn abandoned(stop: &super::Stop, on_wire: &AtomicBool) {
    // Only asked about while stopping, so a coarse step costs nothing.
    const STEP: Duration = Duration::from_millis(20);
    stop.stopping().await;
    while on_wire.load(Ordering::Acquire) {
        tokio::time::sleep(STEP).await;
    }
}
