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
    Error, Setup, compare,
    dress::Dresser,
    exchange::{Batch, Refused},
    feed::{Feed, Work},
    is_too_many,
    precedence::Precedence,
    settle::{self, Attempted},
};
use crate::{
    event::{Event, LoadId},
    fhir::outcome,
    gate::Verdict,
    journal::{Ending, Settlement},
    lookup::Matches,
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

/// How many settlements are written together at the most.
const SETTLED_TOGETHER: usize = 256;

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
    loop {
        let wanted = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            () = stop.stopping() => break,
            Some(joined) = tasks.join_next(), if !tasks.is_empty() => finished(joined)?,
            permit = Arc::clone(&ready).acquire_many_owned(wanted), if wanted > 0 => {
                start(load, &mut tasks, std::mem::take(&mut chunk), permit.ok());
            }
            next = feed.recv(), if wanted == 0 && tasks.len() < WINDOW => match next {
                None => break,
                Some(next) => chunk = next?,
            },
        }
    }
    // What the feed still holds gives its bytes back, and its thread ends.
    drop(chunk);
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

/// What became of a record, and what others want to know of it.
struct Told {
    settlement: Settlement,
    bytes: u64,
    kind: String,
    /// The id in the file, under which an update keeps it.
    own_id: Option<String>,
    /// Its position, or that of the record that kept it from arriving, where it did not.
    cause: Option<Arc<str>>,
}

/// Writes down what became of records, as many together as have come, and tells those who watch and those who wait.
async fn settle_all(
    setup: Arc<Setup>,
    precedence: Option<Arc<Precedence>>,
    load: LoadId,
    mut settled: mpsc::Receiver<Vec<Told>>,
) -> Result<(), Error> {
    let mut batch = Vec::new();
    while settled.recv_many(&mut batch, SETTLED_TOGETHER).await > 0 {
        let mut settlements = Vec::with_capacity(batch.len());
        let mut told = Vec::with_capacity(batch.len());
        for told_of in batch.drain(..).flatten() {
            let line = &told_of.settlement.line;
            let id = line.id.clone();
            told.push((
                line.record,
                line.outcome,
                told_of.bytes,
                id.or(told_of.own_id).map(|id| (told_of.kind, id)),
                told_of.cause,
            ));
            settlements.push(told_of.settlement);
        }
        if let Err(error) = setup.ledger.settle(settlements).await {
            setup.stop.fail();
            return Err(error.into());
        }
        for (record, outcome, bytes, resource, cause) in told {
            setup.observe.observe(&Event::Settled {
                load,
                outcome,
                bytes,
            });
            let Some(precedence) = &precedence else {
                continue;
            };
            match (resource, cause) {
                (Some((kind, id)), None) => precedence.arrived(record, &kind, &id),
                // Not tried: the run is stopping, and a later session goes on with those who wait.
                _ if outcome == Outcome::Pending => {}
                (_, cause) => precedence.failed(record, &cause.unwrap_or_else(|| "?".into())),
            }
        }
    }
    Ok(())
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
struct Sent {
    bytes: u64,
    kind: String,
    own_id: Option<String>,
    place: String,
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

    fn sent(&self, step: &Step) -> Sent {
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

    /// Finds out what the conditional references of records mean that only the store can tell, before they are sent.
    /// What refers to nothing, or to several, is rejected; of those who go together, all are.
    async fn look_up(&self, mut work: Work) -> Result<(Work, Vec<Settlement>), Error> {
        let mut settled = Vec::new();
        let mut found_any = false;
        let mut at = 0;
        while let Some(step) = work.steps.get(at) {
            if step.links.iter().all(|link| link.to != plan::To::Search) {
                at += 1;
                continue;
            }
            let searches = self.dresser.searches(step)?;
            let mut wrong = None;
            let mut links = Vec::with_capacity(searches.len());
            for search in searches {
                let (gate, requests) = (&self.link.gate, &self.link.requests);
                let (kind, query) = (&search.kind, &search.query);
                let answer = self.setup.lookups.one(gate, requests, kind, query).await;
                let what = match answer {
                    Ok(Matches::One(id)) => {
                        links.push(plan::Link {
                            reference: search.reference,
                            to: plan::To::Resource(format!("{kind}/{id}")),
                        });
                        continue;
                    }
                    Ok(Matches::None) => "matches nothing in the store".to_owned(),
                    Ok(Matches::Several) => "matches several resources in the store".to_owned(),
                    Ok(Matches::Refused(status)) => {
                        format!("cannot be looked up: the store answered {status}")
                    }
                    Err(failure) => format!("cannot be looked up: {failure}"),
                };
                wrong.get_or_insert((search, what));
            }
            let Some((search, what)) = wrong else {
                if let Some(step) = work.steps.get_mut(at) {
                    step.links.retain(|link| link.to != plan::To::Search);
                    step.links.append(&mut links);
                }
                found_any = true;
                at += 1;
                continue;
            };
            let note = format!(
                "its conditional reference to a {} {what}; it was not sent",
                search.kind
            );
            let attempted = Attempted::default();
            let reject = |step: &Step, note: String| {
                let mut settled =
                    settle::told(step.number, Outcome::Rejected, None, attempted, note);
                settled.line.code = Some("unresolved-reference".to_owned());
                settled
            };
            let culprit = work.steps.remove(at);
            if at < work.bodies.len() {
                work.bodies.remove(at);
            }
            if work.atomic {
                let place = self.sent(&culprit).place;
                let others = work.steps.drain(..);
                settled.extend(others.map(|step| {
                    let note = format!("its transaction was not sent because of {place}");
                    reject(&step, note)
                }));
            }
            let mut rejected = reject(&culprit, note);
            rejected.line.expression = vec![search.path];
            settled.push(rejected);
        }
        if found_any {
            // With what was found they are made ready once more.
            work.bodies = self.dresser.read(&work.steps, work.atomic)?;
        }
        Ok((work, settled))
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

/// Takes apart a Bundle that was refused as a whole: first the entry that the store names, else by halves, and when that
/// has taken too many requests, one by one. The store's refusal of one record must not cost the others.
struct Apart {
    /// Requests that may still be spent on halves.
    left: u32,
}

impl Apart {
    /// A Bundle of n entries may cost 2·log2(n) + 8 requests before its records go one by one: enough to corner one bad
    /// entry by halves, with room for some more that the store names.
    fn of(entries: usize) -> Self {
        let log = usize::BITS - entries.leading_zeros();
        Self { left: 2 * log + 8 }
    }

    /// Returns what is settled by the refusal itself; the rest goes into the queue.
    fn take(
        &mut self,
        refused: Refused,
        bundle: Option<plan::BundleType>,
        queue: &mut Vec<Work>,
    ) -> Option<Settlement> {
        let Refused {
            mut steps,
            mut bodies,
            status,
            answer,
            attempts,
        } = refused;
        let mut again = |steps: Vec<Step>, bodies: Vec<bytes::Bytes>| {
            if !steps.is_empty() {
                queue.push(Work {
                    steps,
                    bundle,
                    atomic: false,
                    bodies,
                    permits: Vec::new(),
                    blocked: None,
                });
            }
        };
        let attempted = Attempted {
            attempts,
            latency: None,
        };
        let named = outcome::entry(&outcome::read(&answer)).filter(|&at| at < steps.len());
        if let Some(at) = named.filter(|_| self.left >= 1) {
            self.left -= 1;
            let step = steps.remove(at);
            if at < bodies.len() {
                bodies.remove(at);
            }
            again(steps, bodies);
            let note = Some("the store refused its Bundle because of it".to_owned());
            return Some(settle::rejected(
                step.number,
                status,
                &answer,
                attempted,
                note,
            ));
        }
        if self.left >= 2 {
            self.left -= 2;
            let half = steps.len() / 2;
            let later = bodies.split_off(std::cmp::min(half, bodies.len()));
            again(steps.split_off(half), later);
            again(steps, bodies);
            return None;
        }
        let mut bodies = bodies.into_iter();
        for step in steps {
            again(vec![step], bodies.next().into_iter().collect());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        plan::{Action, BundleType},
        record::{Position, SourceId, Span},
    };

    fn step(number: u64) -> Step {
        let span = Span {
            start: 0,
            length: 0,
        };
        Step {
            number,
            load: LoadId(0),
            position: Position {
                source: SourceId(0),
                index: number,
                line: number,
                entry: None,
                span,
            },
            body: span,
            kind: "Patient".to_owned(),
            id: None,
            full_url: None,
            action: Action::Send(Interaction::Create),
            links: Vec::new(),
        }
    }

    proptest! {
        /// A store refuses every Bundle that holds a bad record, and names one, or none.
        #[test]
        fn what_is_taken_apart_is_conserved(
            size in 2_u64..400,
            bad in proptest::collection::btree_set(0_u64..400, 1..20),
            names: bool,
        ) {
            let bad: BTreeSet<u64> = bad.into_iter().map(|at| at % size).collect();
            let mut apart = Apart::of(usize::try_from(size).unwrap());
            let most = apart.left;
            let work = |steps| Work {
                steps,
                bundle: Some(BundleType::Batch),
                atomic: false,
                bodies: Vec::new(),
                permits: Vec::new(),
                blocked: None,
            };
            let mut queue = vec![work((0..size).map(step).collect())];
            let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
            let (mut bundles, mut singles) = (0_u32, 0_u64);
            while let Some(work) = queue.pop() {
                let numbers: Vec<u64> = work.steps.iter().map(|step| step.number).collect();
                let culprit = numbers.iter().position(|number| bad.contains(number));
                if let [number] = numbers.as_slice() {
                    singles += 1;
                    if culprit.is_some() { rejected.push(*number) } else { accepted.push(*number) }
                    continue;
                }
                bundles += 1;
                let Some(culprit) = culprit else {
                    accepted.extend(numbers);
                    continue;
                };
                let answer = if names {
                    format!(r#"{{"issue":[{{"severity":"error","code":"value","expression":["Bundle.entry[{culprit}].resource"]}}]}}"#)
                } else {
                    r#"{"issue":[{"severity":"error","code":"value"}]}"#.to_owned()
                };
                let refused = Refused {
                    steps: work.steps,
                    bodies: Vec::new(),
                    status: 400,
                    answer: answer.into(),
                    attempts: 1,
                };
                let settled = apart.take(refused, work.bundle, &mut queue);
                rejected.extend(settled.map(|settled| settled.line.record));
            }
            accepted.sort_unstable();
            rejected.sort_unstable();
            let good: Vec<u64> = (0..size).filter(|number| !bad.contains(number)).collect();
            prop_assert_eq!(accepted, good);
            prop_assert_eq!(rejected, bad.into_iter().collect::<Vec<u64>>());
            // The first is the Bundle itself; what comes after the halves goes one by one.
            prop_assert!(bundles <= most + 1, "{} of {}", bundles, most);
            prop_assert!(singles <= size);
        }
    }
}
