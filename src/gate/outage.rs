//! Tells a target that is down from one that refuses a record.
//!
//! A refused connection says nothing about the record, so it uses up none of its attempts; but a run must not wait
//! for ever for a target that has gone.

use std::{sync::Mutex, time::Duration};

use tokio::time::Instant;

/// Since when a target has not been reached.
#[derive(Debug)]
pub(super) struct Outage {
    since: Mutex<Option<Instant>>,
    give_up_after: Duration,
}

impl Outage {
    pub(super) fn new(give_up_after: Duration) -> Self {
        Self {
            since: Mutex::new(None),
            give_up_after,
        }
    }

    /// Takes note that the target was reached.
    pub(super) fn up(&self) {
        if let Ok(mut since) = self.since.lock() {
            *since = None;
        }
    }

    /// Takes note that it was not; returns for how long, once that is too long.
    pub(super) fn down(&self) -> Option<Duration> {
        let mut since = self.since.lock().ok()?;
        let down = since.get_or_insert_with(Instant::now).elapsed();
        (down >= self.give_up_after).then_some(down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_target_is_given_up_after_its_time_and_not_before() {
        let outage = Outage::new(Duration::from_mins(1));
        assert_eq!(outage.down(), None);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(outage.down(), None);
        outage.up();
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(outage.down(), None);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(outage.down(), Some(Duration::from_mins(1)));
    }
}
