//! Senders that a target shuts out: it answers one request after the other that whoever sends them may not, or shall go
//! elsewhere.
//!
//! Such a target will not take the next million either. A refusal for the record, or a token that has expired, is none of these.

use tokio::time::Instant;

use crate::gate::health::is_about_the_sender;

/// The number of requests, refused for their sender with none between that got through, that stand for all: many times
/// what a policy about one type meets where the types are mixed, and few to mend.
const SHUT_OUT: u32 = 50;

/// The requests that got through to where records are judged, and those that did not.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// Requests in a row that were refused for who sends them.
    shut_out: u32,
    /// When the latest request was sent that was refused for nothing of the kind.
    let_in: Option<Instant>,
}

impl Admission {
    /// Takes note of the status of an answer. Returns how many requests in a row were refused for their sender, when they
    /// stand for all.
    pub(super) fn judged(&mut self, status: u16, sent: Instant) -> Option<u32> {
        if status == 401 {
            return None;
        }
        if !is_about_the_sender(status) {
            self.shut_out = 0;
            self.let_in = std::cmp::max(self.let_in, Some(sent));
            return None;
        }
        self.shut_out += 1;
        (self.shut_out >= SHUT_OUT).then_some(self.shut_out)
    }

    /// Tells whether a request that was sent after this moment got through.
    pub(super) fn let_in_since(&self, moment: Instant) -> bool {
        self.let_in.is_some_and(|sent| sent >= moment)
    }
}
