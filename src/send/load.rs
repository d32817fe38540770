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

use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    Error, Setup, compare,
    exchange::Batch,
    feed::{Feed, Work},
    is_too_many,
    settle::{self, Attempted},
};
use crate::{
    event::{Event, LoadId},
    journal::{Ending, Settlement},
    manifest::LoadSettings,
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
pub(super) async fn run(setup: Arc<Setup>, id: LoadId) -> Result<(), Error> {
    let settings = Arc::new(setup.plan.header.loads[id.0 as usize].clone());
    let Some(link) = setup.links.get(&settings.target) else {
        return Err(Error::Plan(format!(
            "there is no connection to target `{}`",
            settings.target
        )));
    };
    let ready = link.slots as usize * READY_PER_SLOT;
    let mut feed = Feed {
        plan: Arc::clone(&setup.plan),
        bodies: Arc::clone(&setup.bodies),
        budget: Arc::clone(&setup.budget),
        earlier: Arc::clone(&setup.earlier),
        stop: setup.stop.clone(),
        load: id,
    }
    .start(ready);
    let load = Arc::new(Load {
        id,
        settings,
        link: link.clone(),
        ready: Semaphore::new(ready),
        records: setup.plan.summary.records(),
        setup,
    });
    let stop = load.setup.stop.clone();
    let mut tasks: JoinSet<Result<(), Error>> = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.stopping() => break,
            Some(joined) = tasks.join_next(), if !tasks.is_empty() => finished(joined)?,
            work = feed.recv(), if tasks.len() < WINDOW => match work {
                None => break,
                Some(work) => {
                    tasks.spawn(Arc::clone(&load).carry(work?));
                }
            },
        }
    }
    // What the feed still holds gives its bytes back, and its thread ends.
    feed.close();
    while feed.recv().await.is_some() {}
    loop {
        tokio::select! {
            biased;
            joined = tasks.join_next() => match joined {
                None => return Ok(()),
                Some(joined) => finished(joined)?,
            },
            () = stop.dropping() => {
                tasks.shutdown().await;
                return Ok(());
            }
        }
    }
}

fn finished(joined: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    joined.unwrap_or_else(|error| Err(Error::Plan(format!("a task failed: {error}"))))
}

/// One load on its way.
struct Load {
    id: LoadId,
    settings: Arc<LoadSettings>,
    link: super::Link,
    ready: Semaphore,
    records: u64,
    setup: Arc<Setup>,
}

impl Load {
    /// Carries one request to its end and settles its records.
    async fn carry(self: Arc<Self>, work: Work) -> Result<(), Error> {
        let sizes: HashMap<u64, u64> = work
            .steps
            .iter()
            .map(|step| (step.number, step.body.length))
            .collect();
        let settlements = self.send(work).await?;
        self.count_failures(&settlements);
        let outcomes: Vec<(u64, Outcome)> = settlements
            .iter()
            .map(|s| (s.line.record, s.line.outcome))
            .collect();
        if !settlements.is_empty() {
            self.setup.ledger.settle(settlements).await?;
        }
        for (record, outcome) in outcomes {
            let bytes = sizes.get(&record).copied().unwrap_or_default();
            self.setup.observe.observe(&Event::Settled {
                load: self.id,
                outcome,
                bytes,
            });
        }
        Ok(())
    }

    async fn send(self: &Arc<Self>, work: Work) -> Result<Vec<Settlement>, Error> {
        // A closed semaphore does not happen: it lives as long as the load.
        let ready = self.ready.acquire().await.ok();
        let doubtful: Vec<u64> = work
            .steps
            .iter()
            .filter(|step| {
                !step
                    .action
                    .interaction()
                    .is_some_and(Interaction::is_idempotent)
            })
            .map(|step| step.number)
            .collect();
        if let Some(in_doubt) = self.in_doubt(&doubtful) {
            return Ok(in_doubt);
        }
        if self.setup.stop.is_stopping() {
            return Ok(Vec::new());
        }
        let work = match self.compare(work).await {
            Ok(settled) => return Ok(settled),
            Err(work) => work,
        };
        if !doubtful.is_empty() {
            self.setup.ledger.intend(&doubtful).await?;
        }
        let on_wire = Arc::new(AtomicBool::new(false));
        let mut batch = Batch::new(
            work,
            self.id,
            Arc::clone(&self.settings),
            &self.link.requests,
            Arc::clone(&self.setup),
            Arc::clone(&on_wire),
            ready,
        );
        tokio::select! {
            biased;
            conclusion = self.link.gate.carry(&mut batch) => {
                if let crate::gate::Verdict::Stop(reason) = &conclusion.verdict {
                    let hint = reason.hint();
                    self.setup.stop.end(Ending::Target, &reason.to_string(), hint);
                }
                batch.conclude(&conclusion)
            }
            () = abandoned(&self.setup.stop, &on_wire) => Ok(batch.abandon(&doubtful)),
        }
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
