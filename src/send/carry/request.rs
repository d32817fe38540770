//! Sends a request until nothing of it is left: in smaller ones where the target does not take it as it is, and once more
//! where it may.
//!
//! Its parts are requests of the same kind, so that they stand in a queue here. The module above settles what is known of
//! its records before it is sent.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::parts::{self, left, sort};
use crate::{
    gate::{Conclusion, Verdict},
    journal::Settlement,
    manifest::Settle,
    plan::{Packaging, Step},
    record::{Outcome, StepId},
    send::{
        Error, Stop, answer_order,
        bisect::Bisector,
        context::LoadContext,
        exchange::{Batch, Concluded, HandsOver, Prior},
        in_doubt::{self, Lost},
        name,
        occupied::{self, Replaced},
        results::ResultSender,
        too_large::{self, Size, is_circle},
        two_steps::is_second,
        versions::Held,
        work::Work,
    },
    target::TooLarge,
};

/// Carries a request to its end. A parcel that Stoker put together and the store refused as a whole is taken apart. Records
/// that are settled are handed over at once.
pub(super) async fn carry_all(
    load: &LoadContext,
    work: Work,
    ready: Option<OwnedSemaphorePermit>,
    sender: &mut ResultSender<'_>,
    held: &Held,
) -> Result<(), Error> {
    let mut request = Request {
        load,
        packaging: work.packaging,
        bisector: Bisector::of(work.steps.len()),
        replaced: Replaced::before(&load.setup.earlier, &work.steps),
        // The versions that were read of a request that the store refused as a whole hold for its parts: nothing was
        // written.
        held: held.clone(),
        queue: vec![work],
        ready,
        sender,
        lost: Lost::default(),
        lost_at: None,
        spent: 0,
        parted: HashMap::new(),
        has_begun: false,
        puzzle: None,
        has_culprit: false,
    };
    while let Some(work) = request.queue.pop() {
        if let Some(work) = request.cut(work).await? {
            request.send(work).await?;
        }
    }
    if let Some(size) = request.puzzle.filter(|_| !request.has_culprit) {
        // All of them were taken in smaller ones.
        load.sizes.refused(size, TooLarge::Records);
    }
    Ok(())
}

/// A request on its way, with what became of it so far: its parts, and what is sent once more.
struct Request<'a, 'o, 's> {
    load: &'a LoadContext,
    packaging: Option<Packaging>,
    /// The requests still to be sent; the next is the last.
    queue: Vec<Work>,
    /// Its place among those that are made ready, until the first attempt.
    ready: Option<OwnedSemaphorePermit>,
    sender: &'o mut ResultSender<'s>,
    /// The versions in the store that were read for it.
    held: Held,
    bisector: Bisector,
    replaced: Replaced,
    /// The lost answers in a row, with the attempts made meanwhile.
    lost: Lost,
    /// When an attempt ended on which the server may still be at work.
    lost_at: Option<Instant>,
    /// Attempts that what is sent next has had.
    spent: u32,
    /// The records of what was given up as a whole, with the attempts that they had in it.
    parted: HashMap<StepId, u32>,
    has_begun: bool,
    /// The size of what was refused as a whole, and nobody says why.
    puzzle: Option<Size>,
    /// Any of its records is to blame for a refusal.
    has_culprit: bool,
}

/// Returns the attempts of a part of what was given up as a whole: it has failed in company as often as a request may. One
/// record by itself gets another one, so that a passing trouble is not taken for its own.
fn attempts_of_part(records: usize) -> u32 {
    if records > 1 { 1 } else { 2 }
}

/// Tells whether an earlier session may have sent any of some records.
fn was_in_doubt(load: &LoadContext, steps: &[Step]) -> bool {
    let earlier = &load.setup.earlier;
    steps.iter().any(|step| earlier.is_in_doubt(step.number))
}

/// The facts of an attempt besides its records: its size, its packaging, and whether it is measured.
struct Sending {
    size: Size,
    /// The packaging of its records, and their number.
    carried: (Option<Packaging>, usize),
    /// The attempt counts in the trial of ways of sending.
    is_measured: bool,
}

impl Request<'_, '_, '_> {
    /// Cuts what would go in a way that the target is known not to take. Returns what goes as it is.
    async fn cut(&mut self, work: Work) -> Result<Option<Work>, Error> {
        let load = self.load;
        let work = work.unpacked();
        let work = if load.habits.mumbles() {
            let carried = (work.packaging, work.steps.len());
            match work.one_by_one() {
                Ok(singles) => {
                    load.measure(carried, Duration::ZERO, true);
                    self.queue.extend(singles);
                    return Ok(None);
                }
                Err(work) => work,
            }
        } else {
            work
        };
        if work.packaging.is_none() || !load.sizes.is_over(Size::of(&work.steps)) {
            return Ok(Some(work));
        }
        // Records that need each other in a circle cannot go in parts. That the Bundle is too large is a guess from the
        // answers to others: the store itself says so, if it is.
        if load.may_split(work.atomic, work.steps.len()) && !is_circle(&work.steps) {
            Box::pin(carry_split(load, work, self.sender, &self.held, false)).await?;
            return Ok(None);
        }
        if work.atomic {
            return Ok(Some(work));
        }
        let (packaging, parts) = (work.packaging, load.sizes.cut(work.steps));
        let parts = parts.into_iter();
        self.queue
            .extend(parts.map(|steps| Work::unread(steps, packaging)));
        Ok(None)
    }

    /// Sends some of its records, and sees to what became of them.
    async fn send(&mut self, work: Work) -> Result<(), Error> {
        let load = self.load;
        let on_wire = Arc::new(AtomicBool::new(false));
        // A record that came as an entry has a Bundle around it also where it goes alone.
        let is_alone = matches!(work.steps.as_slice(), [_]);
        let sending = Sending {
            size: Size::of(&work.steps),
            carried: (work.packaging.filter(|_| !is_alone), work.steps.len()),
            is_measured: !work.atomic && !work.steps.iter().any(is_second),
        };
        let had = self.had_before(&work.steps);
        if had.is_some() && self.lost.times == 0 {
            // A part is one more attempt of what has failed.
            load.setup.counts.retried();
            load.link.gate.spend_retry().await;
        }
        let spent = std::cmp::max(self.lost.attempts, std::mem::take(&mut self.spent));
        let prior = Prior {
            attempts: std::cmp::max(spent, had.unwrap_or(0)),
            most_attempts: had.map(|_| attempts_of_part(sending.carried.1)),
            since: self.lost.since,
            may_have_been_taken: self.lost.times > 0 || was_in_doubt(load, &work.steps),
            lost_at: self.lost_at,
            held: self.held.clone(),
        };
        let hands_over = if self.sender.is_watched() {
            HandsOver::Together
        } else {
            HandsOver::AtOnce
        };
        let (wire, ready) = (Arc::clone(&on_wire), self.ready.take());
        let mut batch = Batch::new(load, work, prior, hands_over, wire, ready);
        if load.setup.stop.is_stopping() && self.has_begun {
            let abandoned = self.replaced.tell(batch.abandon());
            self.sender.send_result(abandoned, None).await;
            return Ok(());
        }
        self.has_begun = true;
        let conclusion = tokio::select! {
            biased;
            conclusion = load.link.gate.execute(&mut batch) => conclusion,
            () = abandoned(&load.setup.stop, &on_wire) => {
                self.has_culprit = true;
                let abandoned = self.replaced.tell(batch.abandon());
                self.sender.send_result(abandoned, None).await;
                return Ok(());
            }
        };
        self.conclude(batch, &conclusion, &sending).await
    }

    /// Settles what an attempt says of its records, and puts into the queue what is to be sent again.
    async fn conclude(
        &mut self,
        mut batch: Batch<'_>,
        conclusion: &Conclusion,
        sending: &Sending,
    ) -> Result<(), Error> {
        let load = self.load;
        if let Verdict::Stop(reason) = &conclusion.verdict {
            load.end(&reason.to_string(), reason.hint());
        }
        let is_parcel = sending.carried.0.is_some();
        if is_parcel && matches!(conclusion.verdict, Verdict::Done | Verdict::Partial { .. }) {
            load.sizes.taken(sending.size);
        }
        if let Some(work) = batch.too_large(conclusion) {
            self.held.extend(batch.versions());
            let settled = batch.conclude(conclusion)?.settled;
            self.sender.send_result(settled, None).await;
            return Box::pin(carry_split(load, work, self.sender, &self.held, true)).await;
        }
        if let Some(work) = batch.unversioned() {
            self.again(work, batch.times_sent());
        }
        let refused = batch.refused_whole(conclusion);
        if sending.is_measured {
            let is_lost = is_parcel && load.habits.mumbles();
            let is_refused = refused.is_some() || is_lost;
            load.measure(sending.carried, conclusion.latency, is_refused);
        }
        if let Some(refused) = refused {
            self.puzzle.get_or_insert(sending.size);
            self.held.extend(batch.versions());
            let (target, queue) = (&*load.link.target, &mut self.queue);
            let settled = self.bisector.take(target, refused, self.packaging, queue);
            self.has_culprit |= settled.is_some();
            self.sender
                .send_result(settled.into_iter().collect(), None)
                .await;
        }
        let attempts = batch.times_sent();
        self.lost_at = batch.lost_at();
        self.settle(batch.conclude(conclusion)?, attempts).await
    }

    /// Hands over what is settled, and asks the store about the rest.
    async fn settle(&mut self, concluded: Concluded, attempts: u32) -> Result<(), Error> {
        let load = self.load;
        // A question to the store need not hold up other requests: after a crash the store is asked again.
        let asks = load.settings.settles_by() != Settle::None;
        let is_unknown = concluded.doubtful.is_some() && !asks;
        let (now, then) = if is_unknown {
            (None, concluded.intent)
        } else {
            (concluded.intent, None)
        };
        let is_refused = |one: &Settlement| one.line.outcome == Outcome::Rejected;
        self.has_culprit |= concluded.settled.iter().any(is_refused);
        self.has_culprit |= !concluded.ordered.refused.is_empty();
        let settled = self.replaced.tell(concluded.settled);
        self.sender.send_result(settled, now).await;
        let ordered = answer_order::settle(load, concluded.ordered).await?;
        let is_pending = |(one, _): &(Settlement, Step)| one.line.outcome == Outcome::Pending;
        let (put_off, ordered): (Vec<_>, Vec<_>) = ordered.into_iter().partition(is_pending);
        let ordered = ordered.into_iter().map(|(settled, _)| settled).collect();
        self.sender.send_result(ordered, None).await;
        if !put_off.is_empty() {
            load.link.gate.rest(attempts).await;
            let steps = put_off.into_iter().map(|(_, step)| step).collect();
            self.again(Work::unread(steps, self.packaging), attempts);
        }
        for (settled, step) in concluded.nameless {
            let named = name::name(load, settled, &step).await?;
            let named = named.into_iter().collect();
            self.sender.send_result(named, None).await;
        }
        let (occupied, in_doubt) = (concluded.occupied, concluded.in_doubt);
        let looked = occupied::look_at_occupied(load, occupied, in_doubt, &mut self.replaced);
        let (settled, removed) = looked.await?;
        self.sender.send_result(settled, None).await;
        if !removed.is_empty() {
            self.again(Work::unread(removed, self.packaging), attempts);
        }
        let Some(doubtful) = concluded.doubtful else {
            self.lost.end();
            return Ok(());
        };
        self.lost.add(&doubtful.request);
        let mut records = doubtful.records.iter().map(|one| one.step.number);
        let is_part = records.any(|record| self.parted.contains_key(&record));
        let most = is_part.then(|| attempts_of_part(doubtful.records.len()));
        let most = std::cmp::min(most.unwrap_or(u32::MAX), load.link.gate.attempts());
        let may_send = self.lost.times < most;
        let had = doubtful.request.attempted.attempts;
        let recovered = in_doubt::recover(load, doubtful, may_send).await?;
        let known = self.replaced.tell(recovered.settled);
        self.sender.send_result(known, then).await;
        if let Some(again) = recovered.again {
            load.setup.counts.retried();
            load.link.gate.rest(self.lost.times).await;
            self.queue.push(again);
        } else {
            self.lost.end();
        }
        self.part(recovered.apart, had);
        Ok(())
    }

    /// Takes apart what was given up as a whole and did not arrive, after the attempts that it had.
    fn part(&mut self, steps: Vec<Step>, had: u32) {
        if steps.is_empty() {
            return;
        }
        tracing::info!(
            target = self.load.settings.target,
            load = self.load.settings.name,
            records = steps.len() as u64,
            "a request that was given up goes in parts: one of its records may be to blame"
        );
        let had = steps.iter().map(|step| (step.number, had));
        self.parted.extend(had);
        self.bisector.part(steps, self.packaging, &mut self.queue);
    }

    /// Returns the attempts that records had in a request that was given up as a whole; none where they were in no such one.
    fn had_before(&self, steps: &[Step]) -> Option<u32> {
        let had = steps
            .iter()
            .filter_map(|step| self.parted.get(&step.number));
        had.max().copied()
    }

    /// Sends records once more that have had their attempts.
    fn again(&mut self, work: Work, attempts: u32) {
        self.spent = attempts;
        self.load.setup.counts.retried();
        self.queue.push(work);
    }
}

/// Carries the entries of a transaction to their end in parts, in the order in which they can arrive. `is_refused` tells
/// whether the store has refused all of them together for their size: then what hangs together as a whole cannot arrive.
pub(super) async fn carry_split(
    load: &LoadContext,
    work: Work,
    sender: &mut ResultSender<'_>,
    held: &Held,
    is_refused: bool,
) -> Result<(), Error> {
    let count = work.steps.len();
    for (part, together) in too_large::parts(work.steps) {
        if together && part.len() == count && is_refused {
            // All of it hangs together, and that is what was refused.
            let refused = part.iter().map(parts::too_large);
            sender.send_result(refused.collect(), None).await;
            continue;
        }
        let (ready, blocked) = sort(part, sender, together);
        let is_stopping = load.setup.stop.is_stopping();
        let told = blocked
            .into_iter()
            .map(|(number, by)| left(number, &by, is_stopping));
        sender.send_result(told.collect(), None).await;
        let chunks = if together {
            vec![ready]
        } else {
            load.sizes.cut(ready)
        };
        for steps in chunks.into_iter().filter(|steps| !steps.is_empty()) {
            let work = Work {
                atomic: together,
                ..Work::unread(steps, Some(Packaging::Transaction))
            };
            Box::pin(carry_all(load, work, None, sender, held)).await?;
        }
    }
    Ok(())
}

/// Resolves when the run is stopping and the request is not on the wire: what is sent is waited for, what only
/// waits for its next attempt is not.
async fn abandoned(stop: &Stop, on_wire: &AtomicBool) {
    // Only asked about while stopping, so a coarse step costs nothing.
    const STEP: Duration = Duration::from_millis(20);
    stop.stopping().await;
    while on_wire.load(Ordering::Acquire) {
        tokio::time::sleep(STEP).await;
    }
}
