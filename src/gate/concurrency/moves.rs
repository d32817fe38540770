//! Moves of the limit: up and down in trials, down after refusals; each begins a round, as long as its trial needs it.
//!
//! When a move is made is `judge`'s to say.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    ANSWERS_BETWEEN, ConcurrencyLimiter, REFUSALS,
    pause::LONGEST_PATIENCE,
    round::{Figures, Round},
};

/// Requests of a round at the least, so that the mean of latencies that vary by half is true to some 6 %.
const ROUND: u32 = 64;

/// A doubling is to be told from nothing, which fewer show; the climb begins with them.
pub(super) const ROUND_OF_DOUBLING: u32 = 32;

/// The longest round, of a trial against a small share.
const LONGEST_ROUND: u32 = 1024;

/// The first step of a trial: large enough to be seen over the noise of a round, and little is lost by it.
pub(super) const STEP: f64 = 1.25;
pub(super) const LARGEST_STEP: f64 = 2.0;

/// The smallest step, where larger ones were refused: what is refused is seen without any noise.
pub(super) const SMALLEST_STEP: f64 = 1.06;

/// For every request that a trial has more at a time, and that may be refused.
const ANSWERS_A_RISK: f64 = 150.0;

/// The time for which a share of refusals is borne, from a store that refuses it whatever the limit, before the limit is tried again.
pub(super) const BEARING: Duration = Duration::from_mins(1);

/// The trial under way; its figures are those that it is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trial {
    /// Nothing.
    None,
    /// More at a time.
    Up(Figures),
    /// Fewer at a time, to see whether as much comes back.
    Down(Figures),
    /// Fewer at a time, because of refusals.
    Cut(Figures),
    /// As many as before, because fewer did not help.
    Again(Figures),
}

impl ConcurrencyLimiter {
    /// Tries more at a time.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "limits are small and positive"
    )]
    pub(super) fn up(&mut self, base: Figures, now: Instant) {
        let limit = self.scaled(self.step).max(self.limit + 1).min(self.max);
        let risk = f64::from(limit.saturating_sub(self.limit));
        self.until_up.least = std::cmp::max(ANSWERS_BETWEEN, (risk * ANSWERS_A_RISK) as u32);
        if limit > self.limit {
            self.go_on(limit, Trial::Up(base));
        } else {
            self.step = STEP;
            self.until_up.begin(LONGEST_PATIENCE, now);
            self.go_on(self.limit, Trial::None);
        }
    }

    /// Tries fewer at a time.
    pub(super) fn down(&mut self, base: Figures, factor: f64, now: Instant) {
        let limit = self.scaled(factor).min(self.limit - 1).max(self.min);
        if limit < self.limit {
            self.go_on(limit, Trial::Down(base));
        } else {
            self.until_down.begin(LONGEST_PATIENCE, now);
            self.go_on(self.limit, Trial::None);
        }
    }

    /// Lowers the limit by what was refused, and a little more.
    pub(super) fn cut(&mut self, found: Figures, base: Figures, now: Instant) {
        let limit = self.scaled((1.0 - 1.25 * found.refused).clamp(0.5, 0.95));
        let limit = limit.min(self.limit - 1).max(self.min);
        if limit < self.limit {
            self.before_cut.get_or_insert(self.limit);
            self.step = STEP;
            self.go_on(limit, Trial::Cut(base));
        } else {
            // There is nothing to lower. Then it is borne for a while, and more is tried.
            self.bearing = Some((found.refused * 1.5, now + BEARING));
            self.before_cut = None;
            self.until_up.begin(1, now);
            self.go_on(limit, Trial::None);
        }
    }

    /// Begins a round.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounds are small and positive"
    )]
    pub(super) fn go_on(&mut self, limit: u32, trial: Trial) {
        let size = match trial {
            Trial::Up(base) if limit >= base.limit * 2 => {
                std::cmp::max(ROUND_OF_DOUBLING, 2 * limit)
            }
            Trial::Cut(base) | Trial::Again(base) => {
                let refusals = f64::from(REFUSALS) / base.refused.max(0.001);
                let refusals = std::cmp::min(refusals as u32, LONGEST_ROUND);
                std::cmp::max(std::cmp::max(ROUND, limit), refusals)
            }
            _ => std::cmp::max(ROUND, limit),
        };
        if limit != self.limit {
            (self.answers, self.refused) = (0, 0);
        }
        self.limit = limit;
        self.trial = trial;
        self.number += 1;
        self.round = Round {
            size,
            ..Round::default()
        };
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "limits are small and positive"
    )]
    fn scaled(&self, factor: f64) -> u32 {
        (f64::from(self.limit) * factor).round() as u32
    }
}
