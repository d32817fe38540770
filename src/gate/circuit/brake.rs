//! The brake: `Retry-After` holds for the whole target, as far as the target is believed.
//!
//! Nothing new is sent before the time is over. A target that took another request while the refused one was under way
//! shows that it does not mean all of them, and there is no brake; one that takes a request sent after the refused one ends
//! the brake. Each time that happens the target is believed less: twice as many refusals in a row make the next brake. A
//! brake that nothing contradicts makes it half as many once more. The refusals of a quota brake all the same: once it is
//! used up, nothing is taken any more. A target that is down is `outage`'s business.

use std::time::Duration;

use tokio::time::Instant;

/// The upper bound of the refusals in a row that make a brake, however often the target has been contradicted: with a third of the
/// requests refused at random they come once in 10^15.
const DISBELIEF: u32 = 32;

/// The brake of a target.
#[derive(Debug, Default)]
pub(super) struct Brake {
    hold: Option<Hold>,
    /// The number of refusals in a row that make a brake; grows when brakes are contradicted.
    disbelief: u32,
    /// Refusals in a row that ask to wait.
    refusals: u32,
    /// When the latest request was taken.
    taken: Option<Instant>,
}

/// Nothing is sent for a time.
#[derive(Debug)]
struct Hold {
    until: Instant,
    /// When the request was sent that was answered so.
    sent: Instant,
}

impl Brake {
    /// Returns until when nothing is sent. A time that is over restores the belief in the target.
    pub(super) fn until(&mut self, now: Instant) -> Option<Instant> {
        if self.hold.take_if(|hold| hold.until <= now).is_some() {
            self.disbelief /= 2;
        }
        self.hold.as_ref().map(|hold| hold.until)
    }

    /// Returns how long nothing is sent from now on.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let hold = self.hold.as_ref().filter(|hold| hold.until > now);
        hold.map(|hold| hold.until - now)
    }

    /// Takes note that a request was taken. Tells whether that ends the brake.
    pub(super) fn taken(&mut self, sent: Instant) -> bool {
        self.taken = Some(Instant::now());
        self.refusals = 0;
        let is_lifted = self.hold.take_if(|hold| hold.sent <= sent).is_some();
        if is_lifted {
            self.disbelief = (self.disbelief * 2).clamp(2, DISBELIEF);
        }
        is_lifted
    }

    /// Takes note that a request failed that was sent then. Tells whether a wait that the target asks for is believed to be
    /// meant for all.
    pub(super) fn failed(&mut self, sent: Instant, asks_to_wait: bool) -> bool {
        self.refusals += u32::from(asks_to_wait);
        self.taken.is_none_or(|taken| taken <= sent) && self.refusals >= self.disbelief
    }

    /// Lets nothing be sent for a time, because of the answer to a request that was sent then. Tells whether anything was
    /// sent before.
    pub(super) fn pull(&mut self, until: Instant, sent: Instant) -> bool {
        let is_new = self.hold.is_none();
        let hold = self.hold.get_or_insert(Hold { until, sent });
        hold.until = std::cmp::max(hold.until, until);
        hold.sent = std::cmp::max(hold.sent, sent);
        is_new
    }
}
