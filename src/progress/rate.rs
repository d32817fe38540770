//! The speed of the work, and the time that it will take.

use std::time::Duration;

/// The weight of the past falls to 1/e in this time: long enough to calm batches and retries, short enough to show
/// that a target has slowed down.
const MEMORY: Duration = Duration::from_secs(10);

/// No forecast is made from less than this.
const WARM_UP: Duration = Duration::from_secs(1);

/// No forecast is made where nothing was done for longer than this: the speed is that of a time that is past.
const SILENCE: Duration = Duration::from_secs(10);

/// A forecast beyond this says nothing.
const HORIZON: Duration = Duration::from_hours(100);

/// An exponentially weighted rate, without bias at its start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Speed {
    /// When and how many at the last look.
    last: (Duration, u64),
    /// When the first look was.
    first: Duration,
    /// When something was done for the last time, or could not be.
    moved: Duration,
    rate: f64,
    /// The share of the past that has been observed; 1 after a while.
    weight: f64,
}

impl Speed {
    /// Begins at a time, with `done` before it.
    pub(super) fn since(now: Duration, done: u64) -> Self {
        Self {
            last: (now, done),
            first: now,
            moved: now,
            ..Self::default()
        }
    }

    /// Takes note of how many are done at a time.
    pub(super) fn look(&mut self, now: Duration, done: u64) {
        let (then, before) = self.last;
        let passed = now.saturating_sub(then).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let share = 1.0 - (-passed / MEMORY.as_secs_f64()).exp();
        let rate = done.saturating_sub(before) as f64 / passed;
        self.rate += share * (rate - self.rate);
        self.weight += share * (1.0 - self.weight);
        self.last = (now, done);
        if done > before {
            self.moved = now;
        }
    }

    /// Takes note that nothing has begun: waiting for other loads does not make a load slow.
    pub(super) fn wait(&mut self, now: Duration) {
        self.last.0 = now;
        self.first = now;
        self.moved = now;
    }

    /// Takes note that nothing can be done: an outage says nothing about the speed afterwards.
    pub(super) fn pause(&mut self, now: Duration, done: u64) {
        let passed = now.saturating_sub(self.last.0);
        self.first += passed;
        self.moved += passed;
        self.last = (now, done);
    }

    /// Tells whether `done` were already there at the last look.
    pub(super) fn is_settled(&self, done: u64) -> bool {
        self.last.1 >= done
    }

    /// Tells whether the last record was done too long ago for a forecast.
    pub(super) fn is_silent(&self) -> bool {
        self.last.0.saturating_sub(self.moved) > SILENCE
    }

    /// Returns how many a second, of late.
    pub(super) fn per_second(&self) -> f64 {
        if self.weight > 0.0 {
            self.rate / self.weight
        } else {
            0.0
        }
    }

    /// Returns how long the rest will take; none where that cannot be told.
    pub(super) fn remaining(&self, left: u64) -> Option<Duration> {
        let (now, _) = self.last;
        if left == 0 || self.is_silent() || now.saturating_sub(self.first) < WARM_UP {
            return None;
        }
        time_for(left, self.per_second())
    }
}

/// Returns how long `left` take at a speed; none where that says nothing.
pub(super) fn time_for(left: u64, per_second: f64) -> Option<Duration> {
    let seconds = left as f64 / per_second;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration < HORIZON)
}
