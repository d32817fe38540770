//! Records a second, smoothed, and how long the rest will take.

use std::time::Duration;

use tokio::time::Instant;

/// How fast records are done, as an exponentially weighted mean.
#[derive(Debug, Default)]
pub(super) struct Speed {
    last: Option<(Instant, u64)>,
    rate: Option<f64>,
}

/// The mean forgets half of what it knew in so long: quick enough to show a brake, slow enough to be read.
const HALF_LIFE: Duration = Duration::from_secs(5);

impl Speed {
    /// Takes note of how many records are done, and returns how many are done a second.
    pub(super) fn update(&mut self, done: u64, now: Instant) -> f64 {
        if let Some((then, before)) = self.last {
            let seconds = now.duration_since(then).as_secs_f64();
            if seconds <= 0.0 {
                return self.rate.unwrap_or(0.0);
            }
            let current = done.saturating_sub(before) as f64 / seconds;
            let keep = 0.5_f64.powf(seconds / HALF_LIFE.as_secs_f64());
            self.rate = Some(match self.rate {
                Some(rate) => rate * keep + current * (1.0 - keep),
                None => current,
            });
        }
        self.last = Some((now, done));
        self.rate.unwrap_or(0.0)
    }

    /// Returns how long so many records will take; none while nobody can tell.
    pub(super) fn left(&self, records: u64) -> Option<Duration> {
        // Slower than this the estimate says nothing that anybody would believe.
        const SLOWEST: f64 = 0.001;
        let rate = self.rate.filter(|rate| *rate > SLOWEST)?;
        Duration::try_from_secs_f64(records as f64 / rate).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_steady_speed_is_told_and_nothing_is_told_too_soon() {
        let mut speed = Speed::default();
        assert_eq!(speed.left(100), None);
        for second in 0..10 {
            speed.update(second * 50, Instant::now());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(speed.left(100), Some(Duration::from_secs(2)));
        for _ in 0..600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            speed.update(450, Instant::now());
        }
        assert_eq!(speed.left(100), None);
    }
}
