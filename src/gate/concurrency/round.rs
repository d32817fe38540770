//! A round of requests under one limit, and what it found.

use std::time::Duration;

use tokio::time::Instant;

/// The meaning of an answer for the load of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gate) enum Signal {
    /// It did its work, also where it refused the record.
    Taken,
    /// It refuses for now.
    Refused,
    /// It, or the way to it, failed: says nothing about the load.
    Failed,
}

/// A request on the wire.
#[derive(Debug, Clone, Copy)]
pub(in crate::gate) struct Ticket {
    pub(super) round: u64,
    pub(super) is_sampled: bool,
    pub(in crate::gate) sent: Instant,
}

/// The figures of a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) limit: u32,
    pub(super) throughput: f64,
    pub(super) latency: f64,
    pub(super) refused: f64,
    /// The limit was what held it back.
    pub(super) is_full: bool,
}

/// The requests of a round.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) size: u32,
    pub(super) sent: u32,
    pub(super) taken: u32,
    pub(super) refused: u32,
    pub(super) failed: u32,
    pub(super) busy: Duration,
    /// When it began.
    pub(super) began: Option<Instant>,
    /// Of those out, the times after it began at which they were sent.
    pub(super) offsets: Duration,
    /// The meter's requests times seconds when the round began.
    pub(super) load: f64,
}

impl Round {
    pub(super) fn returned(&self) -> u32 {
        self.taken + self.refused + self.failed
    }

    pub(super) fn share_refused(&self) -> f64 {
        f64::from(self.refused) / f64::from(std::cmp::max(self.returned(), 1))
    }

    /// All are back, or nearly all, and the rest takes unusually long.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let returned = self.returned();
        if self.sent < self.size || returned >= self.sent {
            return returned >= self.size;
        }
        let Some(began) = self.began else {
            return false;
        };
        let elapsed = now.saturating_duration_since(began);
        returned * 10 >= self.size * 9 && elapsed * returned > self.busy * 4
    }

    pub(super) fn figures(&self, limit: u32, load: f64, now: Instant) -> Figures {
        let elapsed = self.began.map_or(Duration::ZERO, |began| now - began);
        let level = (load - self.load) / elapsed.as_secs_f64().max(1e-9);
        let out = self.sent.saturating_sub(self.returned());
        // Those still out count with the time that they have taken so far.
        let busy = self.busy + (elapsed * out).saturating_sub(self.offsets);
        let busy = busy.as_secs_f64().max(1e-9);
        Figures {
            limit,
            throughput: level * f64::from(self.taken) / busy,
            latency: busy / f64::from(std::cmp::max(self.sent, 1)),
            refused: self.share_refused(),
            is_full: level >= 0.8 * f64::from(limit),
        }
    }
}

/// Adds up how many requests are under way, over time.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// The number of requests under way.
    pub(super) level: u32,
    at: Option<Instant>,
    /// Requests times seconds.
    pub(super) load: f64,
}

impl Meter {
    /// Adds up to now.
    pub(super) fn pass_to(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at.replace(now).unwrap_or(now));
        self.load += passed.as_secs_f64() * f64::from(self.level);
    }
}
