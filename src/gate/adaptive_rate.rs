//! A ceiling on the rate, learned from a target that refuses by quota: it refuses however few requests are under way,
//! so only fewer in a given time help.
//!
//! The ceiling begins at what the target took before it let nothing more through, measured over a second for a quota
//! that was used up briefly and over a minute for one that lasted (Google's are per minute). It is cut by a part when
//! requests are refused under it, and grows a little every second when none are: slowly at first, so that a constant
//! quota is touched seldom, then faster, so that one that was raised is found out.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Of what the target took, the ceiling is this part: the room is what keeps refusals rare.
const CUT: f64 = 0.95;

/// The cut where next to nothing is taken, so that what was taken is no measure.
const DEEP_CUT: f64 = 0.7;

/// Refusals up to this share are the price of knowing where the quota is.
const TOLERATED: f64 = 0.01;

/// The growth of the ceiling in a second, right after a cut; it doubles in this time, up to the largest.
const GROWTH: f64 = 0.01;
const DOUBLES_IN: f64 = 10.0;
const LARGEST_GROWTH: f64 = 0.5;

/// Below what was taken before, growth is faster.
const GROWTH_BACK: f64 = 0.5;

/// The least ceiling, in operations a second.
const LEAST: f64 = 0.2;

/// The interval at which the ceiling is judged.
const INTERVAL: Duration = Duration::from_secs(1);

/// A quota that let nothing through for longer than this is counted by the minute. One that is counted by the second is
/// found to be free again by the third probe at the latest.
const BRIEF: Duration = Duration::from_secs(4);

/// The time over which one count of taken operations runs; all [`BUCKETS`] cover the minute that a quota may look back.
const BUCKET: Duration = Duration::from_millis(100);
const BUCKETS: usize = 600;

/// The time after which a ceiling that held nobody back is forgotten.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// tokio's timer counts in milliseconds, so requests that wait come late; this is what may be made up for.
const SLACK: Duration = Duration::from_millis(10);

/// The number of operations that must have been taken before a ceiling is learned from them.
const ENOUGH: u64 = 20;

/// Paces the requests of a target.
#[derive(Debug)]
pub(super) struct AdaptiveRate {
    inner: Mutex<Inner>,
    /// Those who wait, wait in a row.
    row: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Inner {
    /// Operations taken, in buckets; the last is the current one.
    buckets: VecDeque<(Instant, u64)>,
    ceiling: Option<Ceiling>,
    /// No ceiling helped; until then none is tried again.
    in_vain: Option<Instant>,
}

#[derive(Debug)]
struct Ceiling {
    /// Operations a second.
    rate: f64,
    /// The rate that the target is known to have taken, in operations a second.
    known: f64,
    /// When the next request may go.
    next: Instant,
    /// When it was last cut, or learned.
    cut: Instant,
    /// When it last held anybody back.
    held: Instant,
    interval: Interval,
    /// The rate, and the share that was refused, when it began to be cut.
    first: Option<(f64, f64)>,
}

#[derive(Debug)]
struct Interval {
    began: Instant,
    taken: u64,
    answers: u32,
    refused: u32,
}

impl Interval {
    fn new(began: Instant) -> Self {
        Self {
            began,
            taken: 0,
            answers: 0,
            refused: 0,
        }
    }
}

impl AdaptiveRate {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                buckets: VecDeque::new(),
                ceiling: None,
                in_vain: None,
            }),
            row: tokio::sync::Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the ceiling, in operations a second, where there is one.
    pub(super) fn ceiling(&self) -> Option<f64> {
        self.lock().ceiling.as_ref().map(|ceiling| ceiling.rate)
    }

    /// Tells whether the ceiling is what holds requests back now.
    pub(super) fn is_holding(&self) -> bool {
        let inner = self.lock();
        let held = inner.ceiling.as_ref().map(|ceiling| ceiling.held);
        held.is_some_and(|held| held.elapsed() <= INTERVAL)
    }

    /// Waits until a request of `operations` may go.
    pub(super) async fn ready(&self, operations: u32) {
        if self.lock().ceiling.is_none() {
            return;
        }
        let _turn = self.row.lock().await;
        loop {
            let now = Instant::now();
            let until = {
                let mut inner = self.lock();
                let Some(ceiling) = &mut inner.ceiling else {
                    return;
                };
                if ceiling.next <= now + SLACK {
                    let cost = f64::from(std::cmp::max(operations, 1)) / ceiling.rate;
                    let from = now.checked_sub(SLACK).unwrap_or(now);
                    ceiling.next =
                        std::cmp::max(ceiling.next, from) + Duration::from_secs_f64(cost);
                    return;
                }
                ceiling.held = now;
                // In pieces, because the ceiling may change meanwhile.
                std::cmp::min(ceiling.next, now + INTERVAL)
            };
            tokio::time::sleep_until(until).await;
        }
    }

    /// Takes note of an answer to a request of `operations` that went out at a time.
    pub(super) fn answered(&self, operations: u32, is_refused: bool, sent: Instant) {
        let mut inner = self.lock();
        let now = Instant::now();
        if !is_refused {
            inner.take(operations, now);
        }
        let second = inner.taken_in(INTERVAL, now) as f64;
        let Some(ceiling) = &mut inner.ceiling else {
            return;
        };
        // An answer to a request from before the cut says nothing about it.
        if sent >= ceiling.cut {
            let interval = &mut ceiling.interval;
            interval.answers += 1;
            if is_refused {
                interval.refused += 1;
            } else {
                interval.taken += u64::from(operations);
            }
        }
        let mut helps = true;
        let is_idle = ceiling.held + FORGOTTEN < now;
        if ceiling.interval.began + INTERVAL <= now {
            helps = ceiling.judge(second, now);
        }
        if !helps {
            inner.in_vain = Some(now + FORGOTTEN);
        }
        if !helps || is_idle {
            inner.ceiling = None;
        }
    }

    /// Learns a ceiling from what was taken before the target let nothing through for a time.
    pub(super) fn learn(&self, blocked: Duration) {
        let mut inner = self.lock();
        let now = Instant::now();
        let (taken, rate) = if blocked <= BRIEF {
            let taken = inner.most_in_a_second();
            (taken, taken as f64)
        } else {
            let taken = inner.taken_in(Duration::from_mins(1), now);
            (taken, taken as f64 / 60.0)
        };
        if taken < ENOUGH || inner.in_vain.is_some_and(|until| now < until) {
            return;
        }
        let rate = match &inner.ceiling {
            Some(ceiling) => ceiling.rate.min(rate),
            None => rate,
        };
        inner.ceiling = Some(Ceiling {
            rate: (rate * CUT).max(LEAST),
            known: rate,
            next: now,
            cut: now,
            held: now,
            interval: Interval::new(now),
            first: None,
        });
    }
}

impl Inner {
    fn take(&mut self, operations: u32, now: Instant) {
        match self.buckets.back_mut() {
            Some((began, taken)) if now < *began + BUCKET => *taken += u64::from(operations),
            _ => {
                if self.buckets.len() == BUCKETS {
                    self.buckets.pop_front();
                }
                self.buckets.push_back((now, operations.into()));
            }
        }
    }

    fn taken_in(&self, window: Duration, now: Instant) -> u64 {
        let recent = self.buckets.iter().rev();
        recent
            .take_while(|(began, _)| *began + window > now)
            .map(|(_, taken)| taken)
            .sum()
    }

    /// The most that was taken in any second that is remembered.
    fn most_in_a_second(&self) -> u64 {
        let (mut most, mut sum, mut first) = (0, 0, 0);
        for &(began, taken) in &self.buckets {
            sum += taken;
            while let Some(&(oldest, gone)) = self.buckets.get(first)
                && oldest + Duration::from_secs(1) <= began
            {
                sum -= gone;
                first += 1;
            }
            most = std::cmp::max(most, sum);
        }
        most
    }
}

impl Ceiling {
    /// Cuts or raises the ceiling by what came back in an interval. Returns whether that helps: where as large a share
    /// is refused of a quarter, it is no quota.
    fn judge(&mut self, taken_in_a_second: f64, now: Instant) -> bool {
        let interval = std::mem::replace(&mut self.interval, Interval::new(now));
        let seconds = (now - interval.began).as_secs_f64();
        let refused = f64::from(interval.refused) / f64::from(std::cmp::max(interval.answers, 1));
        let before = self.rate;
        if refused > TOLERATED {
            let (rate, share) = *self.first.get_or_insert((self.rate, refused));
            if self.rate < rate / 4.0 && (0.7 * share..0.9).contains(&refused) {
                return false;
            }
            let taken = taken_in_a_second.min(self.rate);
            self.rate = if taken > self.rate / 2.0 {
                taken * CUT
            } else {
                self.rate * DEEP_CUT
            };
            self.known = taken;
            self.cut = now;
        } else if self.held >= interval.began {
            self.first = None;
            let clean = (now - self.cut).as_secs_f64();
            let growth = if self.rate < self.known * CUT {
                GROWTH_BACK
            } else {
                (GROWTH * (clean / DOUBLES_IN).exp2()).min(LARGEST_GROWTH)
            };
            self.rate *= 1.0 + growth * seconds.min(2.0);
        }
        self.rate = self.rate.max(LEAST);
        // A waiting request has been promised a time at the old rate.
        let left = self.next.saturating_duration_since(now);
        self.next = now + left.mul_f64((before / self.rate).min(10.0));
        true
    }
}
