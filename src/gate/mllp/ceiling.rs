//! The ceiling on the connections to a receiver: how many it has shown to serve.
//!
//! It is shown in two ways. A connection that stays without an answer while others have theirs is stuck, until others are
//! let go; and a connection that is closed is one too many. A connection that is closed before anything was sent on it
//! costs nothing, so that one more is tried after a while: a receiver may have been busy for a moment. One that costs a
//! message is not tried again.

use std::time::Duration;

use tokio::time::Instant;

/// The time after which one more is tried, where some were refused.
const AGAIN: Duration = Duration::from_secs(30);

/// Messages lost in a row, each on a new connection while others were served, that show one connection too many: one
/// loss may be the message's own fault.
const LOST: u32 = 2;

/// No more connections are opened than it says.
#[derive(Debug, Default)]
pub(super) struct Ceiling {
    /// By those that were stuck.
    stuck: Option<usize>,
    /// One that was stuck was answered when others had gone.
    is_sure: bool,
    /// By those that were closed.
    closed: Option<usize>,
    /// One more is tried then.
    again: Option<Instant>,
    /// Messages lost in a row, on new connections.
    lost: u32,
}

impl Ceiling {
    /// Tells whether as many are open as there may be; after a while, one more.
    pub(super) fn is_reached(&mut self, open: usize, now: Instant) -> bool {
        if self.again.is_some_and(|again| now >= again) {
            self.closed = self.closed.map(|most| most + 1);
            self.again = Some(now + AGAIN);
        }
        self.most().is_some_and(|most| open >= most)
    }

    /// Tells whether this number may stay open.
    pub(super) fn holds(&self, open: usize) -> bool {
        self.most().is_none_or(|most| open <= most)
    }

    /// Returns when one more is tried.
    pub(super) fn until(&self) -> Option<Instant> {
        self.again
    }

    /// Says how many are served, where that was shown.
    pub(super) fn words(&self) -> Option<String> {
        let stuck = self.stuck.filter(|_| self.is_sure);
        let most = [stuck, self.closed].into_iter().flatten().min()?;
        let connections = if most == 1 {
            "connection"
        } else {
            "connections"
        };
        Some(format!(
            "serves no more than {most} {connections} at a time: no more were kept open"
        ))
    }

    fn most(&self) -> Option<usize> {
        [self.stuck, self.closed].into_iter().flatten().min()
    }

    /// Takes note that one is stuck while `others` have their answers.
    pub(super) fn one_is_stuck(&mut self, others: usize) {
        self.stuck = Some(self.stuck.map_or(others, |most| most.min(others)));
    }

    /// Takes note that one that was stuck was answered when others had gone.
    pub(super) fn got_its_turn(&mut self) {
        if let Some(most) = self.stuck
            && !self.is_sure
        {
            self.is_sure = true;
            told(most);
        }
    }

    /// Takes note that none is stuck any more; where none got its turn, it was not for want of a place.
    pub(super) fn none_is_stuck(&mut self) {
        if !self.is_sure {
            self.stuck = None;
        }
    }

    /// Takes note that one was closed before anything was sent on it, while there were `others`.
    pub(super) fn refused(&mut self, others: usize, now: Instant) {
        self.lower(others);
        // A connection that has cost a message is not tried again.
        if self.lost < LOST {
            self.again = Some(now + AGAIN);
        }
    }

    /// Takes note that a message was lost on a new connection, while there were `others`.
    pub(super) fn lost(&mut self, others: usize) {
        self.lost = self.lost.saturating_add(1);
        if self.lost >= LOST {
            self.lower(others);
            self.again = None;
        }
    }

    /// Takes note that a new connection was served.
    pub(super) fn passed(&mut self) {
        if self.lost < LOST {
            self.lost = 0;
        }
    }

    fn lower(&mut self, others: usize) {
        let most = std::cmp::max(1, others);
        if self.closed.is_none_or(|before| most < before) {
            if self.closed.is_none() {
                told(most);
            }
            self.closed = Some(most);
        }
    }
}

fn told(most: usize) {
    tracing::info!(
        connections = most as u64,
        "the receiver serves no more connections at a time"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_refused_is_tried_again_and_one_that_cost_messages_is_not() {
        let now = Instant::now();
        let mut ceiling = Ceiling::default();
        assert!(!ceiling.is_reached(1000, now) && ceiling.words().is_none());
        ceiling.refused(3, now);
        assert!(ceiling.is_reached(3, now) && ceiling.holds(3) && !ceiling.holds(4));
        ceiling.refused(5, now);
        assert!(ceiling.is_reached(3, now), "it is not raised by that");
        assert!(ceiling.words().unwrap().contains("than 3 connections"));
        let later = now + AGAIN;
        assert!(!ceiling.is_reached(3, later) && ceiling.is_reached(4, later));
        ceiling.lost(3);
        ceiling.passed();
        ceiling.lost(3);
        assert!(
            !ceiling.is_reached(3, later),
            "one may be the message's fault"
        );
        ceiling.lost(3);
        assert!(ceiling.is_reached(3, later) && ceiling.until().is_none());
        assert!(ceiling.is_reached(3, later + AGAIN + AGAIN));
        ceiling.lost(0);
        assert!(!ceiling.is_reached(0, later), "one is always tried");
    }
}
