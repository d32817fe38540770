//! The pauses between trials: longer after each that brought nothing.

use std::time::Duration;

use tokio::time::Instant;

/// Rounds between trials at the most.
pub(super) const LONGEST_PATIENCE: u32 = 64;

/// The time after which there is a trial all the same, if there were answers enough: a store that has recovered is
/// found out soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// When there is to be another trial in a direction.
#[derive(Debug)]
pub(super) struct Pause {
    /// Rounds to let pass.
    pub(super) patience: u32,
    rounds: u32,
    answers: u32,
    since: Option<Instant>,
    /// Answers to let pass, when time is to count.
    pub(super) least: u32,
}

impl Pause {
    pub(super) fn new(patience: u32, least: u32) -> Self {
        Self {
            patience,
            rounds: 0,
            answers: 0,
            since: None,
            least,
        }
    }

    pub(super) fn begin(&mut self, patience: u32, now: Instant) {
        *self = Self {
            patience: std::cmp::min(patience, LONGEST_PATIENCE),
            since: Some(now),
            ..Self::new(0, self.least)
        };
    }

    pub(super) fn pass(&mut self, answers: u32, now: Instant) {
        self.rounds += 1;
        self.answers += answers;
        self.since.get_or_insert(now);
    }

    pub(super) fn is_over(&self, now: Instant, part: u32) -> bool {
        self.rounds >= self.patience
            || self.answers >= self.least / part
                && self
                    .since
                    .is_some_and(|since| now - since >= LONGEST_PAUSE / part)
    }
}
