//! Carries one load to its end: takes its requests from the feed, gives each a task, and keeps the number of tasks,
//! of records about to be sent, and of bytes in bounds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};

use super::{
    Error, RunContext,
    bisect::Bisector,
    committer::{RecordResult, commit_all},
    dependencies::DependencyTracker,
    exchange::{Batch, HandsOver, Sent},
    habits::Habits,
    in_doubt::Lost,
    is_too_many,
    occupied::Replaced,
    results::ResultSender,
    rewrite::BodyRewriter,
    scheduler::{Dispatch, Scheduler},
    settlement::{self, Attempted},
    too_large::{Size, Sizes, is_circle, is_split},
    versions::{Held, Versions},
    ways::Ways,
    work::Work,
};
use crate::{
    event::{Event, LoadId},
    gate::Verdict,
    journal::{Ending, Settlement},
    manifest::{LoadSettings, Settle},
    plan::{self, Packaging, Step},
    record::Outcome,
    target::TooLarge,
};

/// How many requests of a load may be under way, those waiting for their next attempt included.
///
/// A waiting one holds no body, only some kilobytes of its own. With 30 % of the answers `429 Retry-After: 5` as many wait as
/// may, so this is where memory and speed meet: 8,192 of them took 148 MB in all (`tests/bench/memory.sh`).
const WINDOW: usize = 6 * 1024;

/// For every slot, so many requests are made ready (body in hand), so that a slot never waits for a file. Few, because
/// the bodies of what is ready are kept from those that are to be tried again.
const READY_PER_SLOT: usize = 2;

/// Carries one load to its end.
pub(super) async fn run(
    setup: Arc<RunContext>,
    dresser: Arc<BodyRewriter>,
    precedence: Option<Arc<DependencyTracker>>,
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
        dresser: Arc::clone(&dresser),
        precedence: precedence.clone(),
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
    let load = Arc::new(Load {
        id,
        settings,
        link: link.clone(),
        records: setup.plan.summary.records(),
        settler,
        intents: Arc::new(Semaphore::new(slots)),
        ways,
        dresser,
        habits,
        versions: Versions::of(facts),
        sizes: Sizes::default(),
        setup,
    });
    let settling = tokio::spawn(commit_all(Arc::clone(&load.setup), precedence, id, settled));
    let sent = send_all(&load, feed, slots * READY_PER_SLOT).await;
    // The last sender goes with the load; then the settler has written all that came.
    drop(load);
    let settled = finished(settling.await);
    tracing::info!(target, load = name, "a load is over");
    sent.and(settled)
}

/// Gives every request a task, until the feed or the run is over.
async fn send_all(
    load: &Arc<Load>,
    mut feed: mpsc::Receiver<Result<Dispatch, Error>>,
    ready: usize,
) -> Result<(), Error> {
    let stop = load.setup.stop.clone();
    let ready = Arc::new(Semaphore::new(ready));
    let mut tasks: JoinSet<Result<(), Error>> = JoinSet::new();
    let mut chunk = Dispatch::default();
    let mut failed = Ok(());
    while failed.is_ok() {
        let wanted = u32::try_from(chunk.works.len()).unwrap_or(u32::MAX);
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

/// Starts the requests of a chunk.
fn start(
    load: &Arc<Load>,
    tasks: &mut JoinSet<Result<(), Error>>,
    chunk: Dispatch,
    mut permits: Option<OwnedSemaphorePermit>,
) {
    for work in chunk.works {
        let permit = permits.as_mut().and_then(|permits| permits.split(1));
        let (load, trial) = (Arc::clone(load), chunk.trial.clone());
        tasks.spawn(async move {
            let ended = load.carry(work, permit).await;
            drop(trial);
            ended
        });
    }
}

fn finished(joined: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    joined.unwrap_or_else(|error| Err(Error::of_task(&error)))
}

/// One load on its way.
pub(super) struct Load {
    pub(super) id: LoadId,
    pub(super) settings: Arc<LoadSettings>,
    pub(super) link: super::TargetConnection,
    records: u64,
    pub(super) settler: mpsc::Sender<Vec<RecordResult>>,
    /// A request that must not be sent twice holds one from before it leaves until what became of it is written down: so
    /// many are in doubt after a crash, and no more.
    pub(super) intents: Arc<Semaphore>,
    ways: Arc<Ways>,
    pub(super) dresser: Arc<BodyRewriter>,
    /// What has been learnt of its target.
    pub(super) habits: Arc<Habits>,
    pub(super) setup: Arc<RunContext>,
    /// The types whose updates name a version.
    pub(super) versions: Versions,
    /// What the target takes in one request.
    pub(super) sizes: Sizes,
}

impl Load {
    /// Carries one request to its end and hands over what became of its records.
    async fn carry(
        self: Arc<Self>,
        work: Work,
        ready: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Error> {
        let mut outbox = ResultSender::new(&self, &work);
        match self.send(work, ready, &mut outbox).await {
            Ok(settlements) => {
                outbox.send_result(settlements, None).await;
                Ok(())
            }
            Err(error) => {
                self.setup.stop.fail();
                Err(error)
            }
        }
    }

    async fn send(
        &self,
        work: Work,
        ready: Option<OwnedSemaphorePermit>,
        outbox: &mut ResultSender<'_>,
    ) -> Result<Vec<Settlement>, Error> {
        if let Some(by) = &work.blocked {
            let note = format!("it needs {}", by.needed);
            let blocked = |step: &Step| {
                let attempted = Attempted::default();
                let note = note.clone();
                let mut settled =
                    settlement::told(step.number, Outcome::Blocked, None, attempted, note);
                settled.line.by = Some(by.record);
                settled
            };
            return Ok(work.steps.iter().map(blocked).collect());
        }
        // What is settled below may leave one that refers to others of a transaction that went in parts.
        let was_split = is_split(&work);
        let (work, settled, held) = self.compare(work).await;
        outbox.send_result(settled, None).await;
        let (work, settled) = self.look_up(work).await?;
        outbox.send_result(settled, None).await;
        let was_whole = work.atomic;
        let (work, settled) = self.settle_earlier(work).await?;
        // What is left may refer to what was just found: it is named from what is known here, for the settler may not have
        // told the others yet.
        let names_found = !settled.is_empty() && outbox.is_watched();
        outbox.send_result(settled, None).await;
        if was_split || is_split(&work) || !work.atomic && (was_whole || names_found) {
            // An earlier session began to send it in parts.
            self.carry_split(work, outbox, &held, false).await?;
        } else if !work.steps.is_empty() {
            self.carry_all(work, ready, outbox, &held).await?;
        }
        Ok(Vec::new())
    }

    /// Carries a request to its end. A Bundle that Stoker filled and the store refused as a whole is taken apart. What is
    /// settled is handed over at once.
    pub(super) async fn carry_all(
        &self,
        work: Work,
        mut ready: Option<OwnedSemaphorePermit>,
        outbox: &mut ResultSender<'_>,
        held: &Held,
    ) -> Result<(), Error> {
        // What was read of a Bundle that the store refused as a whole holds for its parts: nothing was written.
        let mut held = held.clone();
        let packaging = work.packaging;
        let mut apart = Bisector::of(work.steps.len());
        let mut replaced = Replaced::before(&self.setup.earlier, &work.steps);
        let mut queue = vec![work];
        let (mut lost, mut has_begun) = (Lost::default(), false);
        // Attempts that what is sent next has had.
        let mut spent = 0;
        // A Bundle that was refused as a whole and nobody says why; and whether any of its records is to blame.
        let (mut puzzle, mut has_culprit) = (None, false);
        while let Some(work) = queue.pop() {
            let work = match self.one_by_one(work) {
                Ok(singles) => {
                    queue.extend(singles);
                    continue;
                }
                Err(work) => work,
            };
            let size = Size::of(&work.steps);
            if work.packaging.is_some() && self.sizes.is_over(size) {
                // What hangs together cannot go in parts. That it is too large is a guess from what others were answered: the store
                // itself says so, if it is.
                if self.may_split(work.atomic, work.steps.len()) && !is_circle(&work.steps) {
                    Box::pin(self.carry_split(work, outbox, &held, false)).await?;
                    continue;
                }
                if !work.atomic {
                    let (packaging, parts) = (work.packaging, self.sizes.cut(work.steps));
                    queue.extend(parts.into_iter().map(|steps| Work::again(steps, packaging)));
                    continue;
                }
            }
            let on_wire = Arc::new(AtomicBool::new(false));
            // What came as an entry has a Bundle around it also where it goes alone.
            let is_alone = matches!(work.steps.as_slice(), [_]);
            let carried = (work.packaging.filter(|_| !is_alone), work.steps.len());
            let is_measured = !work.atomic && work.stands.is_none();
            let mut batch = Batch::new(work, self, Arc::clone(&on_wire));
            batch.hold(ready.take());
            batch.since = lost.since;
            if lost.times > 0 || batch.was_in_doubt() {
                batch.sent = Sent::Perhaps;
            }
            batch.attempts = std::cmp::max(lost.attempts, std::mem::take(&mut spent));
            batch.held.clone_from(&held);
            if outbox.is_watched() {
                batch.hands_over = HandsOver::Together;
            }
            if self.setup.stop.is_stopping() && has_begun {
                outbox
                    .send_result(replaced.tell(batch.abandon()), None)
                    .await;
                continue;
            }
            has_begun = true;
            tokio::select! {
                biased;
                conclusion = self.link.gate.execute(&mut batch) => {
                    if let Verdict::Stop(reason) = &conclusion.verdict {
                        self.end(&reason.to_string(), reason.hint());
                    }
                    let intent = batch.intent.take();
                    if carried.0.is_some() && matches!(conclusion.verdict, Verdict::Done | Verdict::Partial { .. }) {
                        self.sizes.taken(size);
                    }
                    if let Some(work) = batch.too_large(&conclusion) {
                        held.extend(batch.versions());
                        drop(intent);
                        outbox.send_result(batch.conclude(&conclusion)?.settled, None).await;
                        Box::pin(self.carry_split(work, outbox, &held, true)).await?;
                        continue;
                    }
                    if let Some(work) = batch.unversioned() {
                        spent = batch.attempts;
                        self.setup.counts.retried();
                        queue.push(work);
                    }
                    let refused = batch.refused_whole(&conclusion);
                    if is_measured {
                        let is_lost = carried.0.is_some() && self.habits.mumbles();
                        let is_refused = refused.is_some() || is_lost;
                        self.measure(carried, conclusion.latency, is_refused);
                    }
                    if let Some(refused) = refused {
                        puzzle.get_or_insert(size);
                        held.extend(batch.versions());
                        let settled = apart.take(&*self.link.target, refused, packaging, &mut queue);
                        has_culprit |= settled.is_some();
                        outbox.send_result(settled.into_iter().collect(), None).await;
                    }
                    let attempts = batch.attempts;
                    let concluded = batch.conclude(&conclusion)?;
                    // Who asks the store need not keep others from being sent: after a crash it is asked again.
                    let asks = self.settings.settles_by() != Settle::None;
                    let is_unknown = concluded.doubtful.is_some() && !asks;
                    let (now, then) = if is_unknown { (None, intent) } else { (intent, None) };
                    let is_refused = |one: &Settlement| one.line.outcome == Outcome::Rejected;
                    has_culprit |= concluded.settled.iter().any(is_refused);
                    outbox.send_result(replaced.tell(concluded.settled), now).await;
                    for (settled, step) in concluded.nameless {
                        let named = self.name(settled, &step).await?;
                        outbox.send_result(vec![named], None).await;
                    }
                    let (occupied, in_doubt) = (concluded.occupied, concluded.in_doubt);
                    let (settled, removed) = self.look_at_occupied(occupied, in_doubt, &mut replaced).await?;
                    outbox.send_result(settled, None).await;
                    if !removed.is_empty() {
                        spent = attempts;
                        self.setup.counts.retried();
                        queue.push(Work::again(removed, packaging));
                    }
                    if let Some(doubtful) = concluded.doubtful {
                        lost.add(&doubtful);
                        let may_send = lost.times < self.link.gate.attempts();
                        let (known, again) = self.recover(doubtful, may_send).await?;
                        outbox.send_result(replaced.tell(known), then).await;
                        if let Some(again) = again {
                            self.setup.counts.retried();
                            self.link.gate.rest(lost.times).await;
                            queue.push(again);
                        } else {
                            lost.end();
                        }
                    } else {
                        lost.end();
                    }
                }
                () = abandoned(&self.setup.stop, &on_wire) => {
                    has_culprit = true;
                    outbox.send_result(replaced.tell(batch.abandon()), None).await;
                }
            }
        }
        if let Some(size) = puzzle.filter(|_| !has_culprit) {
            // All of them were taken in smaller ones.
            self.sizes.refused(size, TooLarge::Records);
        }
        Ok(())
    }

    /// Takes note of how a request went, where it is still to be found out in which way most records go.
    pub(super) fn measure(
        &self,
        (packaging, records): (Option<Packaging>, usize),
        busy: Duration,
        is_refused: bool,
    ) {
        if let Some(found) = self.ways.answered(packaging, records, busy, is_refused) {
            let (target, load, way) = (
                &*self.settings.target,
                &*self.settings.name,
                found.to_string(),
            );
            tracing::info!(target, load, way, "the way of sending is found");
            self.setup.counts.found(load, found.to_string());
            let load = self.id;
            self.setup.observe.observe(&Event::Way {
                load,
                way: found.to_string(),
            });
        }
    }

    /// Ends the run because of its target.
    pub(super) fn end(&self, reason: &str, hint: Option<String>) {
        let reason = format!("target `{}`: {reason}", self.settings.target);
        self.setup.stop.end(Ending::Target, &reason, hint);
    }

    /// Ends the run when more records have failed than the manifest allows.
    pub(super) fn count_failures(&self, settlements: &[Settlement]) {
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
            // How many it will be in the end is not known yet: what is on its way is waited for.
            let reason = "more records failed than `max_errors` allows";
            let hint = "mend the records in rejected/, or raise `max_errors`".to_owned();
            self.setup.stop.end(Ending::MaxErrors, reason, Some(hint));
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
