//! Carries one request to its end: what is known already is settled, the rest is sent, what was refused as a whole is taken
//! apart, what is in doubt is asked about, and what is left is sent again.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    Error,
    bisect::Bisector,
    context::LoadContext,
    exchange::{Batch, HandsOver, Sent},
    in_doubt::{self, Lost},
    name,
    occupied::{self, Replaced},
    references,
    results::ResultSender,
    settlement::{self, Attempted},
    skip_unchanged,
    too_large::{Size, is_circle, is_split, parts},
    versions::Held,
    work::Work,
};
use crate::{
    gate::Verdict,
    journal::Settlement,
    manifest::Settle,
    plan::{Packaging, Step, To},
    record::{Outcome, StepId},
    target::TooLarge,
};

/// Carries one request to its end and hands over what became of its records.
pub(super) async fn carry(
    load: Arc<LoadContext>,
    work: Work,
    ready: Option<OwnedSemaphorePermit>,
) -> Result<(), Error> {
    let mut outbox = ResultSender::new(&load, &work);
    match send(&load, work, ready, &mut outbox).await {
        Ok(settlements) => {
            outbox.send_result(settlements, None).await;
            Ok(())
        }
        Err(error) => {
            load.setup.stop.fail();
            Err(error)
        }
    }
}

async fn send(
    load: &LoadContext,
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
    let (work, settled, held) = skip_unchanged::compare(load, work).await;
    outbox.send_result(settled, None).await;
    let (work, settled) = references::look_up(load, work).await?;
    outbox.send_result(settled, None).await;
    let was_whole = work.atomic;
    let (work, settled) = in_doubt::settle_earlier(load, work).await?;
    // What is left may refer to what was just found: it is named from what is known here, for the settler may not have
    // told the others yet.
    let names_found = !settled.is_empty() && outbox.is_watched();
    outbox.send_result(settled, None).await;
    if was_split || is_split(&work) || !work.atomic && (was_whole || names_found) {
        // An earlier session began to send it in parts.
        carry_split(load, work, outbox, &held, false).await?;
    } else if !work.steps.is_empty() {
        carry_all(load, work, ready, outbox, &held).await?;
    }
    Ok(Vec::new())
}

/// Carries a request to its end. A Bundle that Stoker filled and the store refused as a whole is taken apart. What is
/// settled is handed over at once.
pub(super) async fn carry_all(
    load: &LoadContext,
    work: Work,
    mut ready: Option<OwnedSemaphorePermit>,
    outbox: &mut ResultSender<'_>,
    held: &Held,
) -> Result<(), Error> {
    // What was read of a Bundle that the store refused as a whole holds for its parts: nothing was written.
    let mut held = held.clone();
    let packaging = work.packaging;
    let mut apart = Bisector::of(work.steps.len());
    let mut replaced = Replaced::before(&load.setup.earlier, &work.steps);
    let mut queue = vec![work];
    let (mut lost, mut has_begun) = (Lost::default(), false);
    // Attempts that what is sent next has had.
    let mut spent = 0;
    // A Bundle that was refused as a whole and nobody says why; and whether any of its records is to blame.
    let (mut puzzle, mut has_culprit) = (None, false);
    while let Some(work) = queue.pop() {
        let work = if load.habits.mumbles() {
            let carried = (work.packaging, work.steps.len());
            match work.one_by_one() {
                Ok(singles) => {
                    load.measure(carried, Duration::ZERO, true);
                    queue.extend(singles);
                    continue;
                }
                Err(work) => work,
            }
        } else {
            work
        };
        let size = Size::of(&work.steps);
        if work.packaging.is_some() && load.sizes.is_over(size) {
            // What hangs together cannot go in parts. That it is too large is a guess from what others were answered: the store
            // itself says so, if it is.
            if load.may_split(work.atomic, work.steps.len()) && !is_circle(&work.steps) {
                Box::pin(carry_split(load, work, outbox, &held, false)).await?;
                continue;
            }
            if !work.atomic {
                let (packaging, parts) = (work.packaging, load.sizes.cut(work.steps));
                queue.extend(parts.into_iter().map(|steps| Work::again(steps, packaging)));
                continue;
            }
        }
        let on_wire = Arc::new(AtomicBool::new(false));
        // What came as an entry has a Bundle around it also where it goes alone.
        let is_alone = matches!(work.steps.as_slice(), [_]);
        let carried = (work.packaging.filter(|_| !is_alone), work.steps.len());
        let is_measured = !work.atomic && work.stands.is_none();
        let mut batch = Batch::new(work, load, Arc::clone(&on_wire));
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
        if load.setup.stop.is_stopping() && has_begun {
            outbox
                .send_result(replaced.tell(batch.abandon()), None)
                .await;
            continue;
        }
        has_begun = true;
        tokio::select! {
            biased;
            conclusion = load.link.gate.execute(&mut batch) => {
                if let Verdict::Stop(reason) = &conclusion.verdict {
                    load.end(&reason.to_string(), reason.hint());
                }
                let intent = batch.intent.take();
                if carried.0.is_some() && matches!(conclusion.verdict, Verdict::Done | Verdict::Partial { .. }) {
                    load.sizes.taken(size);
                }
                if let Some(work) = batch.too_large(&conclusion) {
                    held.extend(batch.versions());
                    drop(intent);
                    outbox.send_result(batch.conclude(&conclusion)?.settled, None).await;
                    Box::pin(carry_split(load, work, outbox, &held, true)).await?;
                    continue;
                }
                if let Some(work) = batch.unversioned() {
                    spent = batch.attempts;
                    load.setup.counts.retried();
                    queue.push(work);
                }
                let refused = batch.refused_whole(&conclusion);
                if is_measured {
                    let is_lost = carried.0.is_some() && load.habits.mumbles();
                    let is_refused = refused.is_some() || is_lost;
                    load.measure(carried, conclusion.latency, is_refused);
                }
                if let Some(refused) = refused {
                    puzzle.get_or_insert(size);
                    held.extend(batch.versions());
                    let settled = apart.take(&*load.link.target, refused, packaging, &mut queue);
                    has_culprit |= settled.is_some();
                    outbox.send_result(settled.into_iter().collect(), None).await;
                }
                let attempts = batch.attempts;
                let concluded = batch.conclude(&conclusion)?;
                // Who asks the store need not keep others from being sent: after a crash it is asked again.
                let asks = load.settings.settles_by() != Settle::None;
                let is_unknown = concluded.doubtful.is_some() && !asks;
                let (now, then) = if is_unknown { (None, intent) } else { (intent, None) };
                let is_refused = |one: &Settlement| one.line.outcome == Outcome::Rejected;
                has_culprit |= concluded.settled.iter().any(is_refused);
                outbox.send_result(replaced.tell(concluded.settled), now).await;
                for (settled, step) in concluded.nameless {
                    let named = name::name(load, settled, &step).await?;
                    outbox.send_result(vec![named], None).await;
                }
                let (occupied, in_doubt) = (concluded.occupied, concluded.in_doubt);
                let (settled, removed) = occupied::look_at_occupied(load, occupied, in_doubt, &mut replaced).await?;
                outbox.send_result(settled, None).await;
                if !removed.is_empty() {
                    spent = attempts;
                    load.setup.counts.retried();
                    queue.push(Work::again(removed, packaging));
                }
                if let Some(doubtful) = concluded.doubtful {
                    lost.add(&doubtful);
                    let may_send = lost.times < load.link.gate.attempts();
                    let (known, again) = in_doubt::recover(load, doubtful, may_send).await?;
                    outbox.send_result(replaced.tell(known), then).await;
                    if let Some(again) = again {
                        load.setup.counts.retried();
                        load.link.gate.rest(lost.times).await;
                        queue.push(again);
                    } else {
                        lost.end();
                    }
                } else {
                    lost.end();
                }
            }
            () = abandoned(&load.setup.stop, &on_wire) => {
                has_culprit = true;
                outbox.send_result(replaced.tell(batch.abandon()), None).await;
            }
        }
    }
    if let Some(size) = puzzle.filter(|_| !has_culprit) {
        // All of them were taken in smaller ones.
        load.sizes.refused(size, TooLarge::Records);
    }
    Ok(())
}

/// Carries the entries of a transaction to their end in parts, in the order in which they can arrive. `is_refused` tells
/// whether the store has refused all of them together for their size: then what hangs together as a whole cannot arrive.
pub(super) async fn carry_split(
    load: &LoadContext,
    work: Work,
    outbox: &mut ResultSender<'_>,
    held: &Held,
    is_refused: bool,
) -> Result<(), Error> {
    let count = work.steps.len();
    for (part, together) in parts(work.steps) {
        if together && part.len() == count && is_refused {
            // All of it hangs together, and that is what was refused.
            let note = "its transaction is larger than the target takes, and its entries refer to each other in a circle";
            let refused = |step: &Step| {
                let attempted = Attempted::default();
                settlement::told(step.number, Outcome::Rejected, Some(413), attempted, note)
            };
            outbox
                .send_result(part.iter().map(refused).collect(), None)
                .await;
            continue;
        }
        let (mut ready, mut blocked) = (Vec::new(), HashMap::new());
        for mut step in part {
            match resolve_natives(&mut step, outbox, together) {
                None => ready.push(step),
                Some(by) => {
                    blocked.insert(step.number, by);
                }
            }
        }
        // Who needs one of a circle that does not go cannot go either.
        let lacking = |ready: &[Step], blocked: &HashMap<StepId, String>| {
            let mut ready = ready.iter().enumerate();
            ready.find_map(|(at, step)| Some((at, needed_of(step, blocked)?)))
        };
        while let Some((at, need)) = lacking(&ready, &blocked) {
            let step = ready.remove(at);
            blocked.insert(step.number, outbox.place_of(need));
        }
        let told = blocked.into_iter().map(|(number, by)| {
            let attempted = Attempted::default();
            if load.setup.stop.is_stopping() {
                let note = "interrupted before it was sent";
                return settlement::told(number, Outcome::Pending, None, attempted, note);
            }
            let note = format!("it needs {by}, which did not arrive");
            settlement::told(number, Outcome::Blocked, None, attempted, note)
        });
        outbox.send_result(told.collect(), None).await;
        let chunks = if together {
            vec![ready]
        } else {
            load.sizes.cut(ready)
        };
        for steps in chunks.into_iter().filter(|steps| !steps.is_empty()) {
            let work = Work {
                steps,
                packaging: Some(Packaging::Transaction),
                atomic: together,
                bodies: Vec::new(),
                permits: Vec::new(),
                blocked: None,
                stands: None,
            };
            Box::pin(carry_all(load, work, None, outbox, held)).await?;
        }
    }
    Ok(())
}

/// Returns which of those that do not go an entry refers to.
fn needed_of(step: &Step, blocked: &HashMap<StepId, String>) -> Option<StepId> {
    step.links.iter().find_map(|link| match link.to {
        To::Step(to) if !link.late && blocked.contains_key(&to) => Some(to),
        _ => None,
    })
}

/// Puts in what became of the entries that an entry refers to. Returns which of them did not arrive.
fn resolve_natives(step: &mut Step, outbox: &ResultSender<'_>, together: bool) -> Option<String> {
    for link in step.links.iter_mut().filter(|link| !link.late) {
        let To::Step(to) = link.to else { continue };
        if !link.native && !outbox.watches(to) {
            continue;
        }
        match outbox.arrived.get(&to) {
            Some(Some(resource)) => {
                link.to = To::Resource(resource.clone());
                link.native = false;
            }
            // It travels with it.
            None if together || to == step.number => {}
            Some(None) | None => return Some(outbox.place_of(to)),
        }
    }
    None
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
