//! The retries of a target besides the attempts of each record: so that an ailing store is not hammered.
//!
//! Every request that is taken earns a retry, and some are free. A store that takes half of what it gets is held up by
//! nothing here; one that takes next to nothing gets the free ones only. A request that finds none left waits; no record
//! fails for it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Retries a second that are always free, as in Finagle's retry budget: enough to find out that a store is back.
const FREE: f64 = 10.0;

/// The number of retries that can be saved up: ten seconds of the free ones, so that a short trouble is over quickly.
const MOST: f64 = 100.0;

/// A budget of retries.
#[derive(Debug)]
pub(super) struct RetryBudget {
    balance: Mutex<Balance>,
    /// Those who wait, wait in a row.
    row: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Balance {
    retries: f64,
    at: Instant,
}

impl RetryBudget {
    pub(super) fn new() -> Self {
        Self {
            balance: Mutex::new(Balance {
                retries: MOST,
                at: Instant::now(),
            }),
            row: tokio::sync::Mutex::default(),
        }
    }

    /// Takes note that a request was taken.
    pub(super) fn earn(&self) {
        self.change(|balance| balance.retries = (balance.retries + 1.0).min(MOST));
    }

    /// Waits until a retry may be made, and spends it.
    pub(super) async fn spend(&self) {
        let _turn = self.row.lock().await;
        loop {
            let missing = self.change(|balance| {
                let missing = 1.0 - balance.retries;
                if missing <= 0.0 {
                    balance.retries -= 1.0;
                }
                missing
            });
            if missing <= 0.0 {
                return;
            }
            // tokio's timer counts in milliseconds.
            let wait = Duration::from_secs_f64(missing / FREE).max(Duration::from_millis(1));
            tokio::time::sleep(wait).await;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Balance) -> T) -> T {
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let free = (now - balance.at).as_secs_f64() * FREE;
        balance.retries = (balance.retries + free).min(MOST);
        balance.at = now;
        change(&mut balance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_saved_goes_at_once_and_the_rest_as_it_is_earned() {
        let budget = RetryBudget::new();
        let start = Instant::now();
        for _ in 0..100 {
            budget.spend().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..50 {
            budget.spend().await;
        }
        let free = start.elapsed().as_secs_f64();
        assert!((4.9..5.2).contains(&free), "{free}");
        for _ in 0..60 {
            budget.earn();
        }
        let start = Instant::now();
        for _ in 0..60 {
            budget.spend().await;
        }
        assert!(start.elapsed() < Duration::from_millis(100));
    }
}
