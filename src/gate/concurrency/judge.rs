//! Judges a round by the trial that it belongs to, and says which move comes next.
//!
//! A round is compared with the one before its trial. The moves themselves, and how long the next round is, stand in `moves`.

use tokio::time::Instant;

use super::{
    ConcurrencyLimiter, PLAIN, PLAIN_REFUSALS, REFUSALS,
    moves::{BEARING, LARGEST_STEP, SMALLEST_STEP, STEP, Trial},
    round::Figures,
};

/// The share of the throughput that a lower limit has to keep, so that it costs nothing.
const COSTS_NOTHING: f64 = 0.95;

/// Rounds after a cut before more is tried again: enough to be sure that nothing is refused now.
const AFTER_CUT: u32 = 4;

impl ConcurrencyLimiter {
    /// Judges a round, and begins the next one.
    pub(super) fn judge(&mut self, found: Figures, now: Instant) {
        self.answers += self.round.returned();
        self.refused += self.round.refused;
        let share = f64::from(self.refused) / f64::from(std::cmp::max(self.answers, 1));
        let found = Figures {
            refused: share,
            ..found
        };
        let least = if share > PLAIN {
            PLAIN_REFUSALS
        } else {
            REFUSALS
        };
        let is_refused = self.refused >= least && share > self.tolerated(now);
        if self.turns.see(found) {
            self.is_quota = true;
            self.before_cut = Some(self.turns.good());
        }
        match self.trial {
            Trial::Up(base) => self.judge_more(base, found, is_refused, now),
            Trial::Down(base) => self.judge_fewer(base, found, is_refused, now),
            Trial::Again(base) => self.judge_again(base, found, is_refused, now),
            Trial::Cut(base) if is_refused => self.judge_cut(base, found, now),
            Trial::None if is_refused => self.cut(found, found, now),
            Trial::Cut(_) => {
                self.before_cut = None;
                self.usual = Some(found.latency);
                self.until_up.begin(AFTER_CUT, now);
                self.go_on(self.limit, Trial::None);
            }
            Trial::None => self.steady(found, now),
        }
    }

    /// More at a time is kept where the throughput grew with it, and nothing was refused.
    fn judge_more(&mut self, base: Figures, found: Figures, is_refused: bool, now: Instant) {
        let growth = f64::from(found.limit) / f64::from(base.limit) - 1.0;
        let has_grown = found.throughput >= base.throughput * (1.0 + growth / 2.0);
        if !is_refused && found.is_full && has_grown {
            self.until_up.patience = 1;
            self.step = (2.0 * self.step - 1.0).min(LARGEST_STEP);
            if found.limit * 2 <= self.best {
                self.step = LARGEST_STEP;
            }
            self.best = std::cmp::max(self.best, found.limit);
            self.usual = Some(found.latency);
            self.up(found, now);
        } else {
            self.step = if is_refused {
                (f64::midpoint(1.0, self.step)).clamp(SMALLEST_STEP, STEP)
            } else {
                STEP
            };
            self.until_up.begin(self.until_up.patience * 2, now);
            self.go_on(base.limit, Trial::None);
        }
    }

    /// Fewer at a time are kept where they bring as much.
    fn judge_fewer(&mut self, base: Figures, found: Figures, is_refused: bool, now: Instant) {
        if is_refused {
            self.cut(found, found, now);
        } else if found.throughput >= base.throughput * COSTS_NOTHING {
            self.until_down.patience = 1;
            self.usual = Some(found.latency);
            // The first figures stay the measure, so that many small losses do not add up.
            let limit = found.limit;
            self.down(Figures { limit, ..base }, 1.0 / STEP, now);
        } else {
            // If it is slower than usual, it is so whatever the limit.
            self.usual = Some(base.latency);
            self.until_down.begin(self.until_down.patience * 2, now);
            self.go_on(base.limit, Trial::None);
        }
    }

    /// A cut after which as many are refused was not enough, or in vain.
    fn judge_cut(&mut self, base: Figures, found: Figures, now: Instant) {
        // If fewer are refused as often and bring less in proportion, the limit is not to blame.
        let part = f64::from(found.limit) / f64::from(base.limit);
        let brings = found.throughput / base.throughput.max(1e-9) / part;
        let is_in_vain = part < 0.8 && (0.8..1.2).contains(&brings);
        if is_in_vain && found.refused >= base.refused * 0.5 {
            let limit = self.before_cut.unwrap_or(base.limit);
            self.go_on(limit, Trial::Again(Figures { limit, ..base }));
        } else {
            self.cut(found, base, now);
        }
    }

    /// As many as before the cut are kept, and the refusals borne, where they bring as much as before.
    fn judge_again(&mut self, base: Figures, found: Figures, is_refused: bool, now: Instant) {
        if is_refused && found.throughput >= base.throughput * 0.8 {
            self.bearing = Some((found.refused.max(base.refused) * 1.5, now + BEARING));
            self.before_cut = None;
            self.go_on(self.limit, Trial::None);
        } else if is_refused {
            self.cut(found, found, now);
        } else {
            self.go_on(self.limit, Trial::None);
        }
    }

    /// Begins a trial where it is time for one.
    fn steady(&mut self, found: Figures, now: Instant) {
        let usual = *self.usual.get_or_insert(found.latency);
        let answers = self.round.returned();
        self.until_up.pass(answers, now);
        self.until_down.pass(answers, now);
        if !found.is_full {
            self.go_on(self.limit, Trial::None);
        } else if found.latency > 2.0 * usual {
            self.down(found, 0.5, now);
        } else if self
            .until_up
            .is_over(now, if self.limit * 2 <= self.best { 2 } else { 1 })
        {
            // A limit that was good once may soon be good again.
            self.up(found, now);
        } else if self.until_down.is_over(now, 1) {
            self.down(found, 1.0 / STEP, now);
        } else {
            self.go_on(self.limit, Trial::None);
        }
    }
}
