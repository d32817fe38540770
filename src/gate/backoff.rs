//! The wait before the next attempt: truncated exponential backoff with full jitter.
//!
//! Full jitter spreads the waiting evenly over the whole span, so that those who failed together do not come back
//! together. The spans are those of Google's guidance (data throughput page): doubling, up to a maximum.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::manifest::Retry;

/// The waits of one exchange, in order.
#[derive(Debug, Clone)]
pub struct Backoff {
    retry: Retry,
    waits: u32,
    random: SmallRng,
}

impl Backoff {
    /// Starts with the first wait. The seed makes the chances repeatable.
    pub fn new(retry: Retry, seed: u64) -> Self {
        Self {
            retry,
            waits: 0,
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// Returns the next wait, drawn by chance.
    pub fn wait(&mut self) -> Duration {
        let chance = self.random.random();
        self.wait_at(chance)
    }

    /// Returns the longest that the next wait can be.
    pub(super) fn longest(&self) -> Duration {
        let doubled = self
            .retry
            .base
            .saturating_mul(1_u32.checked_shl(self.waits).unwrap_or(u32::MAX));
        std::cmp::min(doubled, self.retry.max)
    }

    /// Returns the next wait for a chance in `0.0..=1.0`.
    fn wait_at(&mut self, chance: f64) -> Duration {
        let longest = self.longest();
        self.waits = self.waits.saturating_add(1);
        longest.mul_f64(chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let retry = Retry {
            attempts: 8,
            base: Duration::from_millis(500),
            max: Duration::from_secs(4),
        };
        let mut backoff = Backoff::new(retry, 0);
        let longest: Vec<u128> = (0..6).map(|_| backoff.wait_at(1.0).as_millis()).collect();
        assert_eq!(longest, [500, 1000, 2000, 4000, 4000, 4000]);
        assert_eq!(backoff.wait_at(0.0), Duration::ZERO);
        backoff.waits = 40;
        assert_eq!(backoff.wait_at(0.5), Duration::from_secs(2));
    }
}
