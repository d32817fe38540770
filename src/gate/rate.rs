//! A rate that holds in any sliding window.
//!
//! GCRA by governor, on a clock over tokio's, waiting with tokio's sleep. A bucket of burst b that refills at r per
//! window lets b + r through in the worst window. A refill of N − b would keep to a rate of N, and give away a tenth of it
//! where Bundles are as large as they may be; so operations refill at N, which spreads them, and a record of what left
//! within the last window holds back what would be more than N (`Window`). Bytes, whose largest request is small beside the
//! rate, refill at N − 2b.
//!
//! Tokens are handed out to one request at a time, in order, so that small requests do not overtake a large one for
//! ever: bytes first, operations last. One that has paid its bytes may thus leave later than it paid; the rate of
//! bytes keeps another burst in reserve for that. A body larger than the burst pays in pieces. A window that begins
//! while it pays sees the whole body, but only part of the payment; so what it has beyond the burst is owed once
//! more, and who comes next pays that first. A body of more bytes than a window may hold leaves alone; then that one
//! window is above the rate, and the mean is not.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

use super::Cost;
use crate::unit::Rate;

/// The largest request can never pass under the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a request of {largest} operations can never pass at {rate}: each record in it counts; \
     raise the rate, or write it per minute"
)]
pub struct RateError {
    largest: u32,
    rate: Rate,
}

/// A limit on what passes in any sliding window.
#[derive(Debug)]
struct Limiter {
    buckets: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Elapsed>>,
    clock: TokioClock,
    burst: NonZeroU32,
    /// The amounts that left lately, where the bucket alone would let more through.
    window: Option<Mutex<Window>>,
}

/// The amounts that left within the last window.
#[derive(Debug)]
struct Window {
    most: u64,
    length: Duration,
    left: VecDeque<Left>,
    sum: u64,
}

/// The amount that left at about the same time.
#[derive(Debug)]
struct Left {
    first: Instant,
    /// It is forgotten by the last, so that nothing is too early.
    last: Instant,
    sum: u64,
}

/// Requests do not arrive as evenly as they leave: a window is taken to be longer by this part.
const UNEVEN: u32 = 200;

/// The highest number of parts in which a window is kept.
const PARTS: u32 = 1000;

impl Window {
    fn new(rate: Rate) -> Self {
        let length = rate.window.duration();
        Self {
            most: rate.amount.get().into(),
            length: length + length / UNEVEN,
            left: VecDeque::new(),
            sum: 0,
        }
    }

    /// Lets `cost` leave now, or says when to ask again.
    fn take(&mut self, cost: u64, now: Instant) -> Result<(), Instant> {
        while let Some(oldest) = self.left.front()
            && oldest.last + self.length <= now
        {
            self.sum -= oldest.sum;
            self.left.pop_front();
        }
        if let Some(oldest) = self.left.front()
            && self.sum + cost > self.most
        {
            return Err(oldest.last + self.length);
        }
        self.sum += cost;
        match self.left.back_mut() {
            Some(latest) if now < latest.first + self.length / PARTS => {
                latest.last = now;
                latest.sum += cost;
            }
            _ => self.left.push_back(Left {
                first: now,
                last: now,
                sum: cost,
            }),
        }
        Ok(())
    }
}

/// The time whose allowance may go at once, at the least: tokio's timer counts in milliseconds, and a smaller burst would hold
/// back a fast rate to one request a tick.
const TICKS: Duration = Duration::from_millis(10);

/// Of a rate, the burst for the timer's sake is at most this part, so that nearly all of it refills evenly.
const BURST_PART: u32 = 10;

/// Of a rate in bytes, this part may go at once, and is kept in reserve. A smaller part would cut small bodies into
/// many waits, a larger one leaves too little to refill.
const BYTES_BURST: u32 = 20;

/// The rates of a target.
#[derive(Debug)]
pub(super) struct Rates {
    operations: Option<Limiter>,
    bytes: Option<Limiter>,
    /// Held by the one request that is being served; tokio's mutex is fair. It holds the bytes that are owed.
    turn: tokio::sync::Mutex<u64>,
}

impl Rates {
    /// Makes the rates for requests of `largest` operations at the most.
    pub(super) fn new(
        rate: Option<Rate>,
        bytes_rate: Option<Rate>,
        largest: u32,
    ) -> Result<Self, RateError> {
        Ok(Self {
            operations: rate.map(|rate| Limiter::new(rate, largest)).transpose()?,
            bytes: bytes_rate.map(Limiter::of_bytes),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Waits until a request of this cost may leave. It is to leave at once then.
    pub(super) async fn ready(&self, cost: Cost) {
        if self.operations.is_none() && self.bytes.is_none() {
            return;
        }
        let mut owed = self.turn.lock().await;
        if let Some(limiter) = &self.bytes {
            limiter.ready(owed.saturating_add(cost.bytes)).await;
            *owed = cost.bytes.saturating_sub(limiter.burst.get().into());
        }
        if let Some(limiter) = &self.operations {
            limiter.ready(cost.operations.into()).await;
        }
    }
}

impl Limiter {
    /// Makes a limiter for requests that cost `largest` at the most.
    ///
    /// # Errors
    ///
    /// When such a request would use up the whole window, so that nothing could refill.
    fn new(rate: Rate, largest: u32) -> Result<Self, RateError> {
        let amount = rate.amount.get();
        // At a rate of 1 the burst is the whole of it: then the next goes one window later.
        if amount == 1 && largest <= 1 {
            return Ok(Self::with(rate, NonZeroU32::MIN, NonZeroU32::MIN, None));
        }
        let ticks = rate.window.duration().as_millis() / TICKS.as_millis();
        let ticked = amount / u32::try_from(ticks).unwrap_or(u32::MAX);
        let burst = std::cmp::max(largest, std::cmp::min(ticked, amount / BURST_PART));
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        match amount.checked_sub(burst.get()).and_then(NonZeroU32::new) {
            Some(_) => {
                let window = Some(Mutex::new(Window::new(rate)));
                Ok(Self::with(rate, burst, rate.amount, window))
            }
            None => Err(RateError { largest, rate }),
        }
    }

    /// Makes a limiter for bytes. A body of any size passes, in pieces of the burst.
    fn of_bytes(rate: Rate) -> Self {
        let amount = rate.amount.get();
        let burst = NonZeroU32::new(amount / BYTES_BURST).unwrap_or(NonZeroU32::MIN);
        let refill = amount.saturating_sub(2 * burst.get());
        Self::with(
            rate,
            burst,
            NonZeroU32::new(refill).unwrap_or(NonZeroU32::MIN),
            None,
        )
    }

    fn with(
        rate: Rate,
        burst: NonZeroU32,
        refill: NonZeroU32,
        window: Option<Mutex<Window>>,
    ) -> Self {
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
        let clock = TokioClock {
            start: Instant::now(),
        };
        Self {
            buckets: RateLimiter::direct_with_clock(quota, clock),
            clock,
            burst,
            window,
        }
    }

    /// Waits until `cost` may pass. More than the burst passes in pieces, the full bursts last.
    async fn ready(&self, cost: u64) {
        let (cost, burst) = (std::cmp::max(cost, 1), u64::from(self.burst.get()));
        let rest = u32::try_from(cost % burst).ok().and_then(NonZeroU32::new);
        if let Some(rest) = rest {
            self.wait_for(rest).await;
        }
        for _ in 0..cost / burst {
            self.wait_for(self.burst).await;
        }
    }

    async fn wait_for(&self, piece: NonZeroU32) {
        // A piece is never larger than the burst, which is the only error there is.
        while let Ok(Err(not_until)) = self.buckets.check_n(piece) {
            tokio::time::sleep(not_until.wait_time_from(self.clock.now())).await;
        }
        while let Some(window) = &self.window {
            let taken = {
                let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
                window.take(piece.get().into(), Instant::now())
            };
            let Err(until) = taken else { return };
            tokio::time::sleep_until(until).await;
        }
    }
}

/// governor's clock over tokio's, so that paused time drives it.
#[derive(Debug, Clone, Copy)]
struct TokioClock {
    start: Instant,
}

/// Time since the limiter was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Elapsed(Duration);

impl Clock for TokioClock {
    type Instant = Elapsed;

    fn now(&self) -> Elapsed {
        Elapsed(self.start.elapsed())
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    /// Lets requests of the given costs through, with pauses between, and returns when each passed.
    fn passed(rate: Rate, largest: u32, costs: &[(u32, u64)]) -> Vec<(Duration, u32)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(async {
            let limiter = Arc::new(Limiter::new(rate, largest).unwrap());
            let start = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for &(cost, pause) in costs {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let limiter = Arc::clone(&limiter);
                tasks.spawn(async move {
                    limiter.ready(cost.into()).await;
                    (start.elapsed(), cost)
                });
            }
            tasks.join_all().await
        })
    }

    /// Returns the most that passed in any window, wherever it begins.
    fn worst_window(mut passed: Vec<(Duration, u32)>, window: Duration) -> u32 {
        passed.sort_unstable();
        let (mut inside, mut sum, mut worst) = (VecDeque::new(), 0, 0);
        for (at, cost) in passed {
            while inside
                .front()
                .is_some_and(|&(first, _)| first + window <= at)
            {
                let (_, gone): (Duration, u32) = inside.pop_front().unwrap();
                sum -= gone;
            }
            inside.push_back((at, cost));
            sum += cost;
            worst = std::cmp::max(worst, sum);
        }
        worst
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn no_sliding_window_is_above_the_rate(
            amount in 2u32..3000,
            per_minute: bool,
            share in 1u32..8,
            pauses in proptest::collection::vec((any::<u32>(), prop_oneof![9 => Just(0u64), 1 => 0u64..5000]), 1..300),
        ) {
            let largest = std::cmp::max(amount / (share + 1), 1);
            let window = if per_minute { crate::unit::Window::Minute } else { crate::unit::Window::Second };
            let rate = Rate { amount: NonZeroU32::new(amount).unwrap(), window };
            let costs: Vec<(u32, u64)> =
                pauses.iter().map(|&(cost, pause)| (cost % largest + 1, pause)).collect();
            let passed = passed(rate, largest, &costs);
            prop_assert_eq!(passed.len(), costs.len());
            prop_assert!(worst_window(passed, window.duration()) <= amount);
        }
    }

    /// The rate is used, also where it is faster than the timer: 3,000 requests at 1,000/s take some 3 s.
    #[test]
    fn a_fast_rate_is_reached() {
        let rate: Rate = "1000/s".parse().unwrap();
        let last = passed(rate, 1, &vec![(1, 0); 3000])
            .into_iter()
            .map(|(at, _)| at)
            .max()
            .unwrap();
        assert!((2.7..3.4).contains(&last.as_secs_f64()), "{last:?}");
    }

    /// Large requests get the whole rate as well: 100 Bundles of 30 at 300/s take 10 s, and not a tenth more.
    #[test]
    fn a_rate_is_reached_by_parcels() {
        let rate: Rate = "300/s".parse().unwrap();
        let passed = passed(rate, 30, &vec![(30, 0); 100]);
        let last = passed.into_iter().map(|(at, _)| at).max().unwrap();
        assert!((9.0..10.2).contains(&last.as_secs_f64()), "{last:?}");
    }

    /// A request that is first held back after a long time waits no longer than one that is held back at once.
    #[tokio::test(start_paused = true)]
    async fn a_late_wait_is_as_short_as_an_early_one() {
        let limiter = Limiter::new("100/s".parse().unwrap(), 10).unwrap();
        limiter.ready(1).await;
        tokio::time::sleep(Duration::from_hours(1)).await;
        let start = Instant::now();
        for _ in 0..5 {
            limiter.ready(10).await;
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    #[test]
    fn a_request_that_can_never_pass_is_an_error() {
        let rate: Rate = "100/s".parse().unwrap();
        assert!(Limiter::new(rate, 99).is_ok());
        let error = Limiter::new(rate, 100).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("100 operations can never pass at 100/s"),
            "{error}"
        );
    }
}
