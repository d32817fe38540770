//! Failures in a row, and the circuit that they open.
//!
//! When as many records fail in a row as were under way, and not one is taken between them, the target is down (or lets
//! nothing through, as when a quota is used up). Then one request at a time finds out whether it is back. A target that
//! answers, and whose store is gone, is down too; and so is one that asks to wait beyond the time at which it is given up:
//! it is asked once more when that time has come. The end of the run, and the requests that wait meanwhile, are the
//! business of the module above.

use std::time::Duration;

use tokio::time::Instant;

use crate::gate::Backoff;

/// Failures in a row that open the circuit, at the least: with a third of the requests failing at random, one in six
/// thousand begins such a row, and all that it costs is a short wait.
const FAILURES: u32 = 8;

/// The failure of a request.
#[derive(Debug)]
pub(in crate::gate) struct Failed {
    /// Requests under way beside it.
    pub(in crate::gate) level: u32,
    pub(in crate::gate) sent: Instant,
    /// The wait that `Retry-After` asked for.
    pub(in crate::gate) after: Option<Duration>,
    /// It was the first attempt of its record. Later ones are no sign: at the end of a run only those are left that
    /// the target cannot take.
    pub(in crate::gate) is_first: bool,
    /// It says nothing about the record, because there is nothing that could take it.
    pub(in crate::gate) away: Option<Unavailable>,
    /// It refused, and did not say that it was for another reason than a quota.
    pub(in crate::gate) may_be_quota: bool,
    /// The failure in words without content.
    pub(in crate::gate) what: String,
}

impl Failed {
    /// Tells whether it is about the target, whichever record it was that met it.
    pub(in crate::gate) fn is_about_all(&self) -> bool {
        matches!(self.away, Some(Unavailable::Target | Unavailable::Store))
    }
}

/// The part that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gate) enum Unavailable {
    /// The target: it could not be reached.
    Target,
    /// The store: the target answers, but not for it.
    Store,
    /// The room in it: nothing more can be kept. Of a record that is tried again while others are taken it says nothing but
    /// that this one is too large for what is left.
    Room,
}

/// Failures in a row.
#[derive(Debug)]
pub(super) struct FailureStreak {
    pub(super) since: Instant,
    failures: u32,
    level: u32,
    /// In one of them the target could not be reached.
    is_unreachable: bool,
    /// In one of them the store was gone.
    is_gone: bool,
    /// All of them may have been refusals for a quota.
    pub(super) may_be_quota: bool,
    /// The last of the failures, in words.
    pub(super) what: String,
    /// They have opened the circuit.
    pub(super) open: Option<OpenState>,
}

/// The circuit is open.
#[derive(Debug)]
pub(super) struct OpenState {
    pub(super) since: Instant,
    /// When it is asked next whether the target is back.
    pub(super) next: Instant,
    waits: Backoff,
}

impl FailureStreak {
    /// Begins with a failure; `level` is the number of requests that were under way beside it.
    pub(super) fn begin(now: Instant, level: u32) -> Self {
        Self {
            since: now,
            failures: 0,
            level,
            is_unreachable: false,
            is_gone: false,
            may_be_quota: true,
            what: String::new(),
            open: None,
        }
    }

    /// Adds a failure.
    pub(super) fn add(&mut self, failed: &Failed) {
        self.failures += u32::from(failed.is_first || failed.is_about_all());
        self.is_unreachable |= failed.away == Some(Unavailable::Target);
        self.is_gone |= failed.away == Some(Unavailable::Store);
        self.may_be_quota &= failed.may_be_quota;
        self.what.clone_from(&failed.what);
    }

    /// Tells whether it is over when the target can be reached, and its store was found there, or not.
    pub(super) fn is_over(&self, is_found: bool) -> bool {
        if self.is_gone {
            is_found
        } else {
            self.is_unreachable
        }
    }

    /// Tells whether it says something of the target: some of those that failed were tried for the first time.
    pub(super) fn is_a_sign(&self) -> bool {
        self.failures > 0
    }

    /// Sets the time of the next question whether the target is back, after a failure of a request that was sent then. Tells
    /// whether the number of failures has opened the circuit.
    pub(super) fn ask_next(
        &mut self,
        now: Instant,
        sent: Instant,
        question: Question,
        waits: impl FnOnce() -> Backoff,
    ) -> bool {
        let is_long = self.failures >= std::cmp::max(FAILURES, self.level);
        match (&mut self.open, question) {
            (Some(open), Question::At(at)) => open.next = at,
            (None, Question::At(next)) => {
                self.open = Some(OpenState {
                    since: now,
                    next,
                    waits: waits(),
                });
            }
            (Some(open), Question::Before(last)) if sent >= open.next => {
                open.next = std::cmp::min(now + wait(&mut open.waits), last);
            }
            (None, Question::Before(last)) if is_long => {
                let mut waits = waits();
                let next = std::cmp::min(now + wait(&mut waits), last);
                self.open = Some(OpenState {
                    since: now,
                    next,
                    waits,
                });
                return true;
            }
            _ => {}
        }
        false
    }
}

/// When a target that is down is asked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// At that time: it has said that asking before is of no use.
    At(Instant),
    /// After a wait, and by that time at the latest.
    Before(Instant),
}

/// The prober is alone, so it needs no full jitter; half of the wait keeps it apart from other processes.
fn wait(waits: &mut Backoff) -> Duration {
    let (most, chance) = (waits.longest(), waits.wait());
    most / 2 + chance / 2
}
