//! The clock of a target, as the `Date` of its answers tells it.
//!
//! Ours may be wrong, and may jump while a run goes on. One clock alone can tell if the store wrote something before or
//! after a moment, and that is the store's. It is known to a second (RFC 9110, section 6.6.1), and is never taken to be
//! later than it is.

use std::sync::{Mutex, PoisonError};

use ::http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The clock of a target, as far as its answers tell it.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The last `Date`, and when it came.
    heard: Mutex<Option<(Timestamp, Instant)>>,
}

impl Clock {
    /// Takes note of the time of an answer.
    pub(super) fn hear(&self, headers: &HeaderMap) {
        if let Some(date) = date(headers) {
            let heard = Some((date, Instant::now()));
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
        }
    }

    /// Returns the target's time, if it has ever told it.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let (date, at) = (*self.heard.lock().unwrap_or_else(PoisonError::into_inner))?;
        let since = SignedDuration::try_from(at.elapsed()).ok()?;
        date.checked_add(since).ok()
    }
}

/// Reads the `Date` of an answer.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    Timestamp::try_from(httpdate::parse_http_date(date).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_from_the_last_answer_whatever_ours_does() {
        let clock = Clock::default();
        assert_eq!(clock.now(), None);
        let mut headers = HeaderMap::new();
        clock.hear(&headers);
        assert_eq!(clock.now(), None);
        headers.insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        clock.hear(&headers);
        tokio::time::sleep(Duration::from_secs(90)).await;
        let now: Timestamp = "1994-11-06T08:51:07Z".parse().unwrap();
        assert_eq!(clock.now(), Some(now));
        headers.insert("date", "yesterday".parse().unwrap());
        clock.hear(&headers);
        assert_eq!(clock.now(), Some(now));
    }
}
