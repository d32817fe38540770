//! The end of a server that other processes still ask.
//!
//! A connection that is closed under a request leaves its client in doubt. So a server that is to end first answers
//! requests of other processes, without doing it, with [`LEAVING`], until they have stopped coming.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

/// Stands in every answer: which start of a server gave it. A server that answers without it is no local store.
pub const INSTANCE: &str = "stoker-instance";
/// Stands in the answer of a server that is about to end: the request was not looked at, and another process is to serve the
/// store.
pub const LEAVING: &str = "stoker-leaving";
/// Stands in a request: which start of a server is meant. Another, that has got its address, refuses without a look.
pub const EXPECTED: &str = "stoker-expected";
/// Stands in a request: the id of the process that asks.
pub const CLIENT: &str = "stoker-client";

/// The longest silence after which another process may still ask again at any moment.
const RECENT: Duration = Duration::from_secs(10);
/// The time without a request after which all other processes count as told.
const QUIET: Duration = Duration::from_millis(200);
/// The longest that a server waits for that.
const LONGEST: Duration = Duration::from_secs(2);

/// The state of a server's leaving, and the last request of another process.
#[derive(Debug)]
pub(super) struct Leaving {
    since: Instant,
    begun: AtomicBool,
    /// When another process asked last, in milliseconds after `since`; below zero: never.
    last: AtomicI64,
}

impl Default for Leaving {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            begun: AtomicBool::new(false),
            last: AtomicI64::new(-1),
        }
    }
}

impl Leaving {
    /// Takes note of a request, and tells whether it comes too late.
    pub(super) fn hear(&self, headers: &HeaderMap) -> bool {
        let client = headers.get(CLIENT).and_then(|value| value.to_str().ok());
        if client != Some(std::process::id().to_string().as_str()) {
            let now = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
            self.last.store(now, Ordering::Relaxed);
        }
        self.begun.load(Ordering::Acquire)
    }

    /// Turns away whatever comes from now on, until nobody comes any more.
    pub(super) async fn leave(&self) {
        self.begun.store(true, Ordering::Release);
        if self.silence().is_none_or(|silence| silence > RECENT) {
            return;
        }
        let told = Instant::now();
        while told.elapsed() < LONGEST
            && (told.elapsed() < QUIET || self.silence().is_some_and(|silence| silence < QUIET))
        {
            tokio::time::sleep(QUIET / 8).await;
        }
    }

    /// Returns the time since another process last asked; `None` when none ever did.
    fn silence(&self) -> Option<Duration> {
        let last = u64::try_from(self.last.load(Ordering::Relaxed)).ok()?;
        let last = self.since + Duration::from_millis(last);
        Some(last.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(process: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(CLIENT),
            process.parse().unwrap(),
        )])
    }

    #[tokio::test(start_paused = true)]
    async fn who_served_only_itself_ends_at_once() {
        let leaving = Leaving::default();
        assert!(!leaving.hear(&from(&std::process::id().to_string())));
        let began = Instant::now();
        leaving.leave().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(leaving.hear(&from("0")));
    }

    #[tokio::test(start_paused = true)]
    async fn others_are_told_until_they_no_longer_come() {
        let leaving = std::sync::Arc::new(Leaving::default());
        assert!(!leaving.hear(&HeaderMap::new()));
        let began = Instant::now();
        let asks = tokio::spawn({
            let leaving = std::sync::Arc::clone(&leaving);
            async move {
                for _ in 0..5 {
                    tokio::time::sleep(QUIET / 2).await;
                    assert!(leaving.hear(&from("0")));
                }
            }
        });
        leaving.leave().await;
        assert!(
            began.elapsed() > 3 * QUIET && began.elapsed() < LONGEST,
            "{:?}",
            began.elapsed()
        );
        asks.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_stops_asking_is_not_waited_for() {
        let leaving = std::sync::Arc::new(Leaving::default());
        leaving.hear(&from("0"));
        let asks = tokio::spawn({
            let leaving = std::sync::Arc::clone(&leaving);
            async move {
                loop {
                    leaving.hear(&from("0"));
                    tokio::time::sleep(QUIET / 10).await;
                }
            }
        });
        let began = Instant::now();
        leaving.leave().await;
        assert!(began.elapsed() < LONGEST + QUIET);
        asks.abort();
    }
}
