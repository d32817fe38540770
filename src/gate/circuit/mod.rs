//! The permission to send to a target at all: the brake that it asks for, and the circuit that opens when it is down.
//!
//! The rules stand in files of their own: `brake` has those of `Retry-After`, `outage` those of failures in a row and of
//! the circuit that they open, `shut_out` those of a target that lets nobody in. Here they are joined into one answer: a
//! request may go out, it waits, or the run ends.
//!
//! While the circuit is open one request at a time asks whether the target is back; the others wait, use up none of their
//! attempts, and hold no slot. A target that has taken nothing for `give_up_after` is asked once more, and the run ends: no wait,
//! of ours or of a `Retry-After`, reaches beyond that question. The run ends at once where the target shuts all out.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedMutexGuard},
    time::Instant,
};

use super::{Backoff, StopReason, story::millis};
use crate::{event::Flow, manifest::Retry, unit::display_duration};

use brake::Brake;
pub(super) use outage::{Failed, Unavailable};
use outage::{FailureStreak, Question};
use shut_out::Admission;

mod brake;
mod outage;
mod shut_out;

/// The permission to send. A probe's keeps the others back until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    probe: Option<OwnedMutexGuard<()>>,
}

impl Permit {
    pub(super) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

/// The target was down, or let nothing through, and is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Back {
    /// The time that it was away.
    pub(super) after: Duration,
    /// It was there all the time, and refused as for a quota.
    pub(super) may_be_quota: bool,
}

/// The way to a target, open or not.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    /// The target's name, for the log.
    name: String,
    inner: Mutex<Inner>,
    /// Those who wait, wait in a row; the first of them watches the time.
    turn: Arc<tokio::sync::Mutex<()>>,
    changed: Notify,
    retry: Retry,
    give_up_after: Duration,
    seed: u64,
}

#[derive(Debug, Default)]
struct Inner {
    brake: Brake,
    /// Failures in a row, and the circuit that they have opened.
    row: Option<FailureStreak>,
    admission: Admission,
    given_up: Option<StopReason>,
}

enum Next {
    Go,
    Probe,
    At(Instant),
}

impl CircuitBreaker {
    pub(super) fn new(name: String, retry: Retry, give_up_after: Duration, seed: u64) -> Self {
        Self {
            name,
            inner: Mutex::default(),
            turn: Arc::default(),
            changed: Notify::new(),
            retry,
            give_up_after,
            seed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request may go out.
    ///
    /// # Errors
    ///
    /// When the target has been given up.
    pub(super) async fn admit(&self) -> Result<Permit, StopReason> {
        if matches!(self.next()?, Next::Go) {
            return Ok(Permit { probe: None });
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.next()? {
                Next::Go => return Ok(Permit { probe: None }),
                Next::Probe => return Ok(Permit { probe: Some(turn) }),
                Next::At(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = changed => {}
                },
            }
        }
    }

    /// Tells whether a request that was admitted may still go out.
    pub(super) fn still_admits(&self, pass: &Permit) -> bool {
        match self.next() {
            Ok(Next::Go) => true,
            Ok(Next::Probe) => pass.is_probe(),
            Ok(Next::At(_)) | Err(_) => false,
        }
    }

    fn next(&self) -> Result<Next, StopReason> {
        let mut inner = self.lock();
        if let Some(reason) = &inner.given_up {
            return Err(reason.clone());
        }
        let now = Instant::now();
        let braked = inner.brake.until(now);
        let open = inner.row.as_ref().and_then(|row| row.open.as_ref());
        let probe = open.map(|open| open.next);
        Ok(match (braked, probe) {
            (None, None) => Next::Go,
            (None, Some(at)) if at <= now => Next::Probe,
            (Some(at), None) | (None, Some(at)) => Next::At(at),
            (Some(braked), Some(probe)) => Next::At(std::cmp::max(braked, probe)),
        })
    }

    /// Takes note that a request was taken.
    pub(super) fn taken(&self, sent: Instant) -> Option<Back> {
        let mut inner = self.lock();
        let is_lifted = inner.brake.taken(sent);
        let row = inner.row.take();
        drop(inner);
        let open = row.as_ref().and_then(|row| row.open.as_ref());
        if open.is_some() || is_lifted {
            self.changed.notify_waiters();
        }
        if is_lifted {
            tracing::info!(
                target = self.name,
                "it takes requests before the time is over: the wait ends"
            );
        }
        let (open, row) = (open?, row.as_ref()?);
        self.tell_back(row);
        // One that was under way all the time shows nothing of what came between.
        (sent >= open.since).then(|| Back {
            after: row.since.elapsed(),
            may_be_quota: row.may_be_quota,
        })
    }

    /// Takes note that the target can be reached, and whether its store was found there. One that was reached all the time
    /// and refused may go on refusing.
    pub(super) fn reached(&self, is_found: bool) {
        let mut inner = self.lock();
        if let Some(row) = inner.row.take_if(|row| row.is_over(is_found))
            && row.open.is_some()
        {
            drop(inner);
            self.changed.notify_waiters();
            self.tell_back(&row);
        }
    }

    /// Returns how long anything waits for the target at the most, whatever it asks for.
    pub(super) fn patience(&self) -> Duration {
        self.give_up_after
    }

    /// Returns when a target that has failed since then is asked for the last time.
    fn last_question(&self, row: &FailureStreak) -> Instant {
        row.since + self.give_up_after
    }

    /// Cuts a wait of a record at the last question to a target that takes nothing: after it there is nothing to wait for.
    pub(super) fn cut(&self, wait: Duration) -> Duration {
        let inner = self.lock();
        let last = inner.row.as_ref().map(|row| self.last_question(row));
        let left = last.and_then(|last| last.checked_duration_since(Instant::now()));
        match left.filter(|left| !left.is_zero()) {
            Some(left) => std::cmp::min(wait, left),
            None => wait,
        }
    }

    fn tell_back(&self, row: &FailureStreak) {
        let (target, after_ms) = (&*self.name, millis(row.since.elapsed()));
        tracing::info!(
            target,
            after_ms,
            "the target is back: the circuit is closed"
        );
    }

    /// Takes note that a request failed. Returns whether that says nothing about the record, because the target is
    /// down; and why the run ends, when it has been so for too long.
    pub(super) fn failed(&self, mut failed: Failed) -> Result<bool, StopReason> {
        let mut inner = self.lock();
        let now = Instant::now();
        let meant_all = inner.brake.failed(failed.sent, failed.after.is_some());
        let mut row = inner
            .row
            .take()
            .unwrap_or_else(|| FailureStreak::begin(now, failed.level));
        row.add(&failed);
        let last = self.last_question(&row);
        let asked = failed.after.filter(|_| meant_all);
        let is_too_long = asked.is_some_and(|after| {
            after > self.give_up_after || row.is_a_sign() && now + after > last
        });
        if let Some(after) = asked.filter(|_| is_too_long) {
            let asked = display_duration(Duration::from_secs(after.as_secs()));
            row.what = format!("{} and asks to wait {asked}", failed.what);
            failed.what.clone_from(&row.what);
        }
        if let Some(after) = asked.filter(|after| !is_too_long && !after.is_zero()) {
            self.pull_brake(&mut inner.brake, now + after, &failed);
        }
        let row = inner.row.insert(row);
        let was_open = row.open.is_some();
        // Asked before, it would say the same.
        let last = std::cmp::max(last, now);
        let waits = || Backoff::new(self.retry, self.seed);
        let question = if is_too_long {
            Question::At(last)
        } else {
            Question::Before(last)
        };
        if row.ask_next(now, failed.sent, question, waits) {
            let (target, gives_up_ms) = (&*self.name, millis(self.give_up_after));
            tracing::info!(
                target,
                gives_up_ms,
                because = failed.what,
                "the target is down: the circuit is open, one request at a time asks whether it is back"
            );
        }
        let down = now - row.since;
        let has_no_room = failed.away == Some(Unavailable::Room) && row.is_a_sign();
        let is_down = was_open || is_too_long || failed.is_about_all() || has_no_room;
        if is_down && down >= self.give_up_after {
            tracing::info!(
                target = self.name,
                down_ms = millis(down),
                "the target is given up"
            );
            let reason = StopReason::TargetDown {
                what: failed.what,
                down,
            };
            return Err(self.give_up(inner, reason));
        }
        Ok(is_down)
    }

    fn pull_brake(&self, brake: &mut Brake, until: Instant, failed: &Failed) {
        if brake.pull(until, failed.sent) {
            let ms = millis(failed.after.unwrap_or_default());
            tracing::info!(
                target = self.name,
                ms,
                because = failed.what,
                "the target asks to wait: nothing is sent until then"
            );
        }
    }

    /// Lets nothing go any more. All that wait are told.
    fn give_up(&self, mut inner: MutexGuard<'_, Inner>, reason: StopReason) -> StopReason {
        inner.given_up = Some(reason.clone());
        drop(inner);
        self.changed.notify_waiters();
        reason
    }

    /// Takes note whether a request got through to where records are judged, or was refused for who sent it.
    ///
    /// # Errors
    ///
    /// The reason why the run ends, when all are refused so.
    pub(super) fn judged(&self, status: u16, sent: Instant) -> Result<(), StopReason> {
        let mut inner = self.lock();
        let Some(requests) = inner.admission.judged(status, sent) else {
            return Ok(());
        };
        tracing::info!(
            target = self.name,
            status = u64::from(status),
            "the target refuses all that is sent: it is given up"
        );
        Err(self.give_up(inner, StopReason::ShutOut { status, requests }))
    }

    /// Tells whether a request that was sent after this moment got through to where records are judged.
    pub(super) fn let_in_since(&self, moment: Instant) -> bool {
        self.lock().admission.let_in_since(moment)
    }

    /// Returns how the target is.
    pub(super) fn flow(&self) -> Flow {
        let inner = self.lock();
        let now = Instant::now();
        if let Some(left) = inner.brake.left(now) {
            return Flow::Braked(left);
        }
        match inner.row.as_ref().filter(|row| row.open.is_some()) {
            Some(row) => {
                let since = now - row.since;
                Flow::Down {
                    since,
                    left: self.give_up_after.saturating_sub(since),
                    what: row.what.clone(),
                }
            }
            None => Flow::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sent: Instant) -> Failed {
        Failed {
            level: 4,
            sent,
            after: Some(Duration::from_secs(5)),
            is_first: true,
            away: None,
            may_be_quota: true,
            what: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_is_contradicted_is_believed_less() {
        let retry = Retry {
            attempts: 8,
            base: Duration::from_millis(500),
            max: Duration::from_secs(32),
        };
        let keeper = CircuitBreaker::new(String::new(), retry, Duration::from_mins(10), 1);
        let is_braked = || matches!(keeper.flow(), Flow::Braked(_));
        let pass = || tokio::time::advance(Duration::from_millis(1));
        let start = Instant::now();
        keeper.failed(refused(start)).unwrap();
        assert!(is_braked());
        // It took one that was sent later.
        pass().await;
        keeper.taken(Instant::now());
        assert!(!is_braked());
        // Now two in a row are needed, and none that was under way while another was taken counts.
        keeper.failed(refused(start)).unwrap();
        keeper.failed(refused(start)).unwrap();
        assert!(!is_braked());
        keeper.taken(Instant::now());
        pass().await;
        keeper.failed(refused(Instant::now())).unwrap();
        assert!(!is_braked());
        keeper.failed(refused(Instant::now())).unwrap();
        assert!(is_braked());
        // A brake that nothing contradicts restores the belief.
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(keeper.admit().await.is_ok() && !is_braked());
        keeper.failed(refused(Instant::now())).unwrap();
        assert!(is_braked());
    }
}
