//! A rate that holds in any sliding window.
//!
//! GCRA by governor, on a clock over tokio's, waiting with tokio's sleep. A bucket of burst b that refills at r per
//! window lets b + r through in the worst window; so for a rate of N the burst is the largest request and the refill
//! N − b, and b + (N − b) ≤ N in every window, wherever it begins (design §4).

use std::{num::NonZeroU32, sync::OnceLock, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

use crate::unit::Rate;

/// The largest request can never pass under the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a request of {largest} operations can never pass at {rate}: a Bundle costs its entries; \
     raise the rate, or write it per minute"
)]
pub struct RateError {
    largest: u32,
    rate: Rate,
}

/// Lets through at most so much in any sliding window.
#[derive(Debug)]
pub struct Limiter {
    buckets: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Elapsed>>,
    clock: TokioClock,
    burst: NonZeroU32,
}

/// Of a rate in bytes, this part may go at once. A smaller part would cut small bodies into many waits, a larger
/// one leaves too little to refill.
const BYTES_BURST: u32 = 10;

impl Limiter {
    /// Makes a limiter for requests that cost `largest` at the most.
    ///
    /// # Errors
    ///
    /// When such a request would use up the whole window, so that nothing could refill.
    pub fn new(rate: Rate, largest: u32) -> Result<Self, RateError> {
        let amount = rate.amount.get();
        // At a rate of 1 the burst is the whole of it: then the next goes one window later.
        if amount == 1 && largest <= 1 {
            return Ok(Self::with(rate, NonZeroU32::MIN, NonZeroU32::MIN));
        }
        let burst = NonZeroU32::new(largest).unwrap_or(NonZeroU32::MIN);
        match amount.checked_sub(burst.get()).and_then(NonZeroU32::new) {
            Some(refill) => Ok(Self::with(rate, burst, refill)),
            None => Err(RateError { largest, rate }),
        }
    }

    /// Makes a limiter for bytes. A body of any size passes, in pieces of the burst.
    pub fn of_bytes(rate: Rate) -> Self {
        let amount = rate.amount.get();
        let burst = NonZeroU32::new(amount / BYTES_BURST).unwrap_or(NonZeroU32::MIN);
        let refill = NonZeroU32::new(amount.saturating_sub(burst.get())).unwrap_or(NonZeroU32::MIN);
        Self::with(rate, burst, refill)
    }

    fn with(rate: Rate, burst: NonZeroU32, refill: NonZeroU32) -> Self {
        // Rounded up, so that the refill is never faster than asked for.
        let nanos = rate
            .window
            .duration()
            .as_nanos()
            .div_ceil(u128::from(refill.get()));
        let period = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let quota = Quota::with_period(std::cmp::max(period, Duration::from_nanos(1)))
            .unwrap_or_else(|| Quota::per_second(refill))
            .allow_burst(burst);
        let clock = TokioClock::default();
        Self {
            buckets: RateLimiter::direct_with_clock(quota, clock.clone()),
            clock,
            burst,
        }
    }

    /// Waits until so much may pass. More than the burst passes in pieces, and the last of them is waited for: a body
    /// of many windows is sent when all of it has been paid for.
    pub async fn ready(&self, cost: u32) {
        let mut left = std::cmp::max(cost, 1);
        while let Some(piece) = NonZeroU32::new(std::cmp::min(left, self.burst.get())) {
            match self.buckets.check_n(piece) {
                Ok(Ok(())) => left -= piece.get(),
                Ok(Err(not_until)) => {
                    let wait = not_until.wait_time_from(self.clock.now());
                    // tokio's timer counts in milliseconds; one that wakes early would only turn once more.
                    tokio::time::sleep(wait).await;
                }
                // A piece is never larger than the burst.
                Err(_) => return,
            }
        }
    }
}

/// governor's clock over tokio's, so that paused time drives it.
#[derive(Debug, Clone, Default)]
struct TokioClock {
    start: OnceLock<Instant>,
}

/// Time since the clock was first asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Elapsed(Duration);

impl Clock for TokioClock {
    type Instant = Elapsed;

    fn now(&self) -> Elapsed {
        Elapsed(self.start.get_or_init(Instant::now).elapsed())
    }
}

impl Reference for Elapsed {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.into()))
    }
}

impl std::ops::Add<Nanos> for Elapsed {
    type Output = Self;

    fn add(self, duration: Nanos) -> Self {
        Self(self.0.saturating_add(duration.into()))
    }
}
