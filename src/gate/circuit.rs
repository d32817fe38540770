//! Whether anything may go to a target at all: the brake that it asks for, and the circuit that opens when it is down.
//!
//! **Brake.** `Retry-After` holds for the whole target: nothing new is sent before it is over. A target that took another
//! request while the refused one was under way shows that it does not mean all of them, and there is no brake; one that takes a
//! request sent after the refused one ends the brake. Each time that happens the target is believed less: twice as many
//! refusals in a row make the next brake. A brake that nothing contradicts makes it half as many once more. What a quota
//! refuses brakes all the same: once it is used up, nothing is taken any more.
//!
//! **Circuit.** When as many records fail in a row as were under way, and not one is taken between them, the target
//! is down (or lets nothing through, as when a quota is used up). Then one request at a time finds out whether it is
//! back; the others wait, use up none of their attempts, and hold no slot. After `give_up_after` the run ends. A target that
//! answers, and whose store is gone, is down too; and so is one that asks to wait longer than `give_up_after`: it is asked once
//! more when that time is over, and then the run ends.
//!
//! **Shut out.** A target that is there, and answers one request after the other that whoever sends them may not, or shall
//! go elsewhere, will not take the next million either: the run ends at once.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedMutexGuard},
    time::Instant,
};

use super::{Backoff, StopReason, health::is_about_the_sender, story::millis};
use crate::{event::Flow, manifest::Retry, unit::display_duration};

/// Failures in a row that open the circuit, at the least: with a third of the requests failing at random, one in six
/// thousand begins such a row, and all that it costs is a short wait.
const FAILURES: u32 = 8;

/// The upper bound of the refusals in a row that make a brake, however often the target has been contradicted: with a third of the
/// requests refused at random they come once in 10^15.
const DISBELIEF: u32 = 32;

/// The number of requests, refused for their sender with none between that got through, that stand for all: many times
/// what a policy about one type meets where the types are mixed, and few to mend.
const SHUT_OUT: u32 = 50;

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

/// The failure of a request.
#[derive(Debug)]
pub(super) struct Failed {
    /// Requests under way beside it.
    pub(super) level: u32,
    pub(super) sent: Instant,
    /// The wait that `Retry-After` asked for.
    pub(super) after: Option<Duration>,
    /// It was the first attempt of its record. Later ones are no sign: at the end of a run only those are left that
    /// the target cannot take.
    pub(super) is_first: bool,
    /// It says nothing about the record, because there is nothing that could take it.
    pub(super) away: Option<Unavailable>,
    /// It refused, and did not say that it was for another reason than a quota.
    pub(super) may_be_quota: bool,
    /// The failure in words without content.
    pub(super) what: String,
}

/// The part that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unavailable {
    /// The target: it could not be reached.
    Target,
    /// The store: the target answers, but not for it.
    Store,
}

/// The target was down, or let nothing through, and is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Back {
    /// The time that it was away.
    pub(super) after: Duration,
    /// It was there all the time, and refused as for a quota.
    pub(super) may_be_quota: bool,
}

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
    brake: Option<Brake>,
    /// The number of refusals in a row that make a brake; grows when brakes are contradicted.
    disbelief: u32,
    /// Refusals in a row that ask to wait.
    refusals: u32,
    /// When the latest request was taken.
    taken: Option<Instant>,
    row: Option<FailureStreak>,
    open: Option<OpenState>,
    /// Requests in a row that were refused for who sends them.
    shut_out: u32,
    /// When the latest request was sent that was refused for nothing of the kind.
    let_in: Option<Instant>,
    given_up: Option<StopReason>,
}

#[derive(Debug)]
struct Brake {
    until: Instant,
    /// When the request was sent that was answered so.
    sent: Instant,
}

/// Failures in a row.
#[derive(Debug)]
struct FailureStreak {
    since: Instant,
    failures: u32,
    level: u32,
    /// In one of them the target could not be reached.
    is_unreachable: bool,
    /// In one of them the store was gone.
    is_gone: bool,
    /// All of them may have been refusals for a quota.
    may_be_quota: bool,
    /// The last of the failures, in words.
    what: String,
}

/// The circuit is open.
#[derive(Debug)]
struct OpenState {
    since: Instant,
    next: Instant,
    waits: Backoff,
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
        if inner.brake.as_ref().is_some_and(|brake| brake.until <= now) {
            inner.brake = None;
            inner.disbelief /= 2;
        }
        let braked = inner.brake.as_ref().map(|brake| brake.until);
        let probe = inner.open.as_ref().map(|open| open.next);
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
        inner.taken = Some(Instant::now());
        inner.refusals = 0;
        let was_open = inner.open.is_some();
        let row = inner.row.take();
        let lifted = inner.brake.take_if(|brake| brake.sent <= sent).is_some();
        if lifted {
            inner.disbelief = (inner.disbelief * 2).clamp(2, DISBELIEF);
        }
        let open = inner.open.take();
        drop(inner);
        if was_open || lifted {
            self.changed.notify_waiters();
        }
        if lifted {
            tracing::info!(
                target = self.name,
                "it takes requests before the time is over: the wait ends"
            );
        }
        if let (Some(_), Some(row)) = (&open, &row) {
            self.tell_back(row);
        }
        let (open, row) = (open?, row?);
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
        let is_over = |row: &mut FailureStreak| {
            if row.is_gone {
                is_found
            } else {
                row.is_unreachable
            }
        };
        if let Some(row) = inner.row.take_if(is_over)
            && inner.open.take().is_some()
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
        inner.refusals += u32::from(failed.after.is_some());
        let meant_all = inner.taken.is_none_or(|taken| taken <= failed.sent)
            && inner.refusals >= inner.disbelief;
        let is_too_long = meant_all && failed.after.is_some_and(|after| after > self.give_up_after);
        if let Some(after) = failed.after.filter(|_| is_too_long) {
            let asked = display_duration(Duration::from_secs(after.as_secs()));
            failed.what = format!("{} and asks to wait {asked}", failed.what);
        }
        let brakes = meant_all && !is_too_long;
        if let Some(after) = failed.after.filter(|after| brakes && !after.is_zero()) {
            let until = now + after;
            if inner.brake.is_none() {
                let (target, ms) = (&*self.name, millis(after));
                tracing::info!(
                    target,
                    ms,
                    because = failed.what,
                    "the target asks to wait: nothing is sent until then"
                );
            }
            let brake = inner.brake.get_or_insert(Brake {
                until,
                sent: failed.sent,
            });
            brake.until = std::cmp::max(brake.until, until);
            brake.sent = std::cmp::max(brake.sent, failed.sent);
        }
        let row = inner.row.get_or_insert(FailureStreak {
            since: now,
            failures: 0,
            level: failed.level,
            is_unreachable: false,
            is_gone: false,
            may_be_quota: true,
            what: String::new(),
        });
        let is_away = failed.away.is_some();
        row.failures += u32::from(failed.is_first || is_away);
        row.is_unreachable |= failed.away == Some(Unavailable::Target);
        row.is_gone |= failed.away == Some(Unavailable::Store);
        row.may_be_quota &= failed.may_be_quota;
        row.what.clone_from(&failed.what);
        let (since, is_long) = (
            row.since,
            row.failures >= std::cmp::max(FAILURES, row.level),
        );
        let is_down = inner.open.is_some();
        // Asked before, it would say the same.
        let last = std::cmp::max(since + self.give_up_after, now);
        match &mut inner.open {
            Some(open) if is_too_long => open.next = last,
            None if is_too_long => {
                inner.open = Some(OpenState {
                    since: now,
                    next: last,
                    waits: Backoff::new(self.retry, self.seed),
                });
            }
            Some(open) if failed.sent >= open.next => open.next = now + wait(&mut open.waits),
            None if is_long => {
                let mut waits = Backoff::new(self.retry, self.seed);
                let next = now + wait(&mut waits);
                let (target, gives_up_ms) = (&*self.name, millis(self.give_up_after));
                tracing::info!(
                    target,
                    gives_up_ms,
                    because = failed.what,
                    "the target is down: the circuit is open, one request at a time asks whether it is back"
                );
                inner.open = Some(OpenState {
                    since: now,
                    next,
                    waits,
                });
            }
            _ => {}
        }
        let down = now - since;
        let is_down = is_down || is_too_long;
        if (is_down || is_away) && down >= self.give_up_after {
            let reason = StopReason::TargetDown {
                what: failed.what,
                down,
            };
            tracing::info!(
                target = self.name,
                down_ms = millis(down),
                "the target is given up"
            );
            inner.given_up = Some(reason.clone());
            drop(inner);
            self.changed.notify_waiters();
            return Err(reason);
        }
        Ok(is_down || is_away)
    }

    /// Takes note whether a request got through to where records are judged, or was refused for who sent it.
    ///
    /// # Errors
    ///
    /// Why the run ends, when all are refused so.
    pub(super) fn judged(&self, status: u16, sent: Instant) -> Result<(), StopReason> {
        let mut inner = self.lock();
        if status == 401 {
            return Ok(());
        }
        if !is_about_the_sender(status) {
            inner.shut_out = 0;
            inner.let_in = std::cmp::max(inner.let_in, Some(sent));
            return Ok(());
        }
        inner.shut_out += 1;
        if inner.shut_out < SHUT_OUT {
            return Ok(());
        }
        let reason = StopReason::ShutOut {
            status,
            requests: inner.shut_out,
        };
        tracing::info!(
            target = self.name,
            status = u64::from(status),
            "the target refuses all that is sent: it is given up"
        );
        inner.given_up = Some(reason.clone());
        drop(inner);
        self.changed.notify_waiters();
        Err(reason)
    }

    /// Tells whether a request that was sent after this moment got through to where records are judged.
    pub(super) fn let_in_since(&self, moment: Instant) -> bool {
        self.lock().let_in.is_some_and(|sent| sent >= moment)
    }

    /// Returns how the target is.
    pub(super) fn flow(&self) -> Flow {
        let inner = self.lock();
        let now = Instant::now();
        match (&inner.brake, &inner.open, &inner.row) {
            (Some(brake), ..) if brake.until > now => Flow::Braked(brake.until - now),
            (_, Some(_), Some(row)) => {
                let since = now - row.since;
                Flow::Down {
                    since,
                    left: self.give_up_after.saturating_sub(since),
                    what: row.what.clone(),
                }
            }
            _ => Flow::Open,
        }
    }
}

/// The prober is alone, so it needs no full jitter; half of the wait keeps it apart from other processes.
fn wait(waits: &mut Backoff) -> Duration {
    let (most, chance) = (waits.longest(), waits.wait());
    most / 2 + chance / 2
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
