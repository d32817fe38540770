//! Carries one load to its end: takes its requests from the feed, gives each a task, and keeps the number of tasks,
//! of records about to be sent, and of bytes in bounds.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};

use super::{
    Error, RunContext,
    carry::carry,
    committer::commit_all,
    context::LoadContext,
    dependencies::DependencyTracker,
    habits::Habits,
    rewrite::BodyRewriter,
    scheduler::{Dispatch, Scheduler},
    too_large::Sizes,
    versions::Versions,
    ways::Ways,
};
use crate::{event::LoadId, plan};

/// The number of requests of a load that may be under way, those waiting for their next attempt included.
///
/// A waiting request holds no body, only some kilobytes of its own. With 30 % of the answers `429 Retry-After: 5` as
/// many wait as may, so this is where memory and speed meet: 8,192 of them took 148 MB in all
/// (`tests/bench/memory.sh`).
const WINDOW: usize = 6 * 1024;

/// Requests that are made ready (body in hand) for every slot, so that a slot never waits for a file. Few, because
/// the bodies of what is ready are kept from those that are to be tried again.
const READY_PER_SLOT: usize = 2;

/// Carries one load to its end.
pub(super) async fn run(
    setup: Arc<RunContext>,
    rewriter: Arc<BodyRewriter>,
    dependencies: Option<Arc<DependencyTracker>>,
    habits: Arc<Habits>,
    id: LoadId,
) -> Result<(), Error> {
    let settings = Arc::new(setup.plan.header.loads[id.0 as usize].clone());
    let Some(link) = setup.links.get(&settings.target) else {
        let message = format!("there is no connection to target `{}`", settings.target);
        return Err(Error::Internal(message));
    };
    let slots = link.slots as usize;
    let ways = Arc::new(Ways::of(plan::ways(&setup.plan.header, id)));
    let feed = Scheduler {
        plan: Arc::clone(&setup.plan),
        rewriter: Arc::clone(&rewriter),
        dependencies: dependencies.clone(),
        budget: Arc::clone(&setup.budget),
        earlier: Arc::clone(&setup.earlier),
        stop: setup.stop.clone(),
        load: id,
        ways: Arc::clone(&ways),
    }
    .start(std::cmp::max(slots / 2, 1));
    let (name, target) = (settings.name.clone(), settings.target.clone());
    tracing::info!(target, load = name, "a load begins");
    let (settler, settled) = mpsc::channel(WINDOW);
    let facts = setup.plan.header.target_of(id).map(|target| &target.facts);
    let load = Arc::new(LoadContext {
        id,
        settings,
        link: link.clone(),
        records: setup.plan.summary.records(),
        settler,
        intents: Arc::new(Semaphore::new(slots)),
        ways,
        rewriter,
        habits,
        versions: Versions::of(facts),
        sizes: Sizes::default(),
        setup,
    });
    let settling = tokio::spawn(commit_all(
        Arc::clone(&load.setup),
        dependencies,
        id,
        settled,
    ));
    let sent = send_all(&load, feed, slots * READY_PER_SLOT).await;
    // The last sender goes with the load; then the settler has written all that came.
    drop(load);
    let settled = finished(settling.await);
    tracing::info!(target, load = name, "a load is over");
    sent.and(settled)
}

/// Gives every request a task, until the feed or the run is over.
async fn send_all(
    load: &Arc<LoadContext>,
    mut feed: mpsc::Receiver<Result<Dispatch, Error>>,
    ready: usize,
) -> Result<(), Error> {
    let stop = load.setup.stop.clone();
    let ready = Arc::new(Semaphore::new(ready));
    let mut tasks: JoinSet<Result<(), Error>> = JoinSet::new();
    let mut chunk = Dispatch::default();
    let mut failed = Ok(());
    while failed.is_ok() {
        let wanted = u32::try_from(chunk.jobs.len()).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            () = stop.stopping() => break,
            // Also one that panics ends the run.
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
    // The chunks that the feed still holds give their bytes back, and its thread ends.
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

/// Starts the requests of a chunk.
fn start(
    load: &Arc<LoadContext>,
    tasks: &mut JoinSet<Result<(), Error>>,
    chunk: Dispatch,
    mut permits: Option<OwnedSemaphorePermit>,
) {
    for job in chunk.jobs {
        let permit = permits.as_mut().and_then(|permits| permits.split(1));
        let (load, trial) = (Arc::clone(load), chunk.trial.clone());
        // The state of a request takes some ten kilobytes, which a task that is not boxed moves about ten times.
        tasks.spawn(Box::pin(async move {
            let ended = carry(load, job, permit).await;
            drop(trial);
            ended
        }));
    }
}

fn finished(joined: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    joined.unwrap_or_else(|error| Err(Error::of_task(&error)))
}
