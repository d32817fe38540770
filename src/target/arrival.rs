//! When an answer came, and how long it was waited for: by these an answer that tells a time by its server's clock can be read.

use std::time::Duration;

use bytes::Bytes;
use http::Response;

/// The arrival of an answer. It travels with the answer, in its extensions; the gate adds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The time at which the answer was there, by our clock.
    pub at: jiff::Timestamp,
    /// The time from the sending of the request until then.
    pub took: Duration,
}

impl Arrival {
    /// Adds an arrival to the answer that has just come.
    pub fn mark(answer: &mut Response<Bytes>, took: Duration) {
        let at = jiff::Timestamp::now();
        answer.extensions_mut().insert(Self { at, took });
    }

    /// Returns the arrival of an answer; none of one that came by no gate.
    pub fn of(answer: &Response<Bytes>) -> Option<Self> {
        answer.extensions().get().copied()
    }
}
