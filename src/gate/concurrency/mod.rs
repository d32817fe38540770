//! Finds how many requests at a time a store takes best: a pure climber, driven by what comes back.
//!
//! It compares rounds. A round is a number of requests sent under one limit; its figure is the throughput that they
//! stand for (Little's law: requests at a time, over the time that each took on the wire). A higher limit is
//! kept if the throughput grew with it, a lower one if it did not fall. So a store that queues is not given more than it
//! works on, one that refuses is held where it does not, and one whose records merely became larger keeps its
//! limit. Time spent waiting for a rate is not on the wire and does not count.

use std::time::Duration;

use tokio::time::Instant;

mod pause;
mod quota;
mod round;

pub(super) use round::{Signal, Ticket};

use pause::{LONGEST_PATIENCE, Pause};
use quota::QuotaDetector;
use round::{Figures, Meter, Round};

/// The limit at which climbing begins: little enough for any store, and six doublings from the largest default.
const START: u32 = 8;

/// Requests of a round at the least, so that the mean of latencies that vary by half is true to some 6 %.
const ROUND: u32 = 64;

/// A doubling is to be told from nothing, which fewer show; the climb begins with them.
const ROUND_OF_DOUBLING: u32 = 32;

/// The share of refusals from which the limit of a round is too high. Half of what a settled run may see at the most.
const TOLERATED: f64 = 0.01;

/// The number of answers that show at once that much is refused; the rest of the round is not waited for.
const ENOUGH: u32 = 16;
const MANY: f64 = 0.5;

/// The number of refusals that is no chance any more, where their share is small. With a share that is plain, fewer do.
const REFUSALS: u32 = 8;
const PLAIN: f64 = 0.05;
const PLAIN_REFUSALS: u32 = 3;

/// The longest round, of a trial against a small share.
const LONGEST_ROUND: u32 = 1024;

/// The first step of a trial: large enough to be seen over the noise of a round, and little is lost by it.
const STEP: f64 = 1.25;
const LARGEST_STEP: f64 = 2.0;

/// The smallest step, where larger ones were refused: what is refused is seen without any noise.
const SMALLEST_STEP: f64 = 1.06;

/// The share of the throughput that a lower limit has to keep, so that it costs nothing.
const COSTS_NOTHING: f64 = 0.95;

/// Answers between trials at the least, so that a refusal or two among them are few.
const ANSWERS_BETWEEN: u32 = 200;

/// For every request that a trial has more at a time, and that may be refused.
const ANSWERS_A_RISK: f64 = 150.0;

/// A lower limit is tried more seldom, because a trial costs: what is too high only makes a store's queue longer.
const ANSWERS_BETWEEN_LOWER: u32 = 2000;

/// Rounds after a cut before more is tried again: enough to be sure that nothing is refused now.
const AFTER_CUT: u32 = 4;

/// The time for which a share of refusals is borne, from a store that refuses it whatever the limit, before the limit is tried again.
const BEARING: Duration = Duration::from_mins(1);

/// The trial under way; its figures are those that it is compared with.
#[derive(Debug, Clone, Copy)]
enum Trial {
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

/// Finds the limit.
#[derive(Debug)]
pub(super) struct ConcurrencyLimiter {
    min: u32,
    max: u32,
    limit: u32,
    number: u64,
    round: Round,
    trial: Trial,
    step: f64,
    until_up: Pause,
    until_down: Pause,
    /// The latency that the limit was chosen at.
    usual: Option<f64>,
    /// The limit before it was cut.
    before_cut: Option<u32>,
    /// The highest limit that was worth it.
    best: u32,
    turns: QuotaDetector,
    /// Refusals come and go whatever the limit.
    is_quota: bool,
    bearing: Option<(f64, Instant)>,
    /// Answers and refusals since the limit was changed.
    answers: u32,
    refused: u32,
    meter: Meter,
}

impl ConcurrencyLimiter {
    pub(super) fn new(min: u32, max: u32) -> Self {
        let min = std::cmp::max(min, 1);
        let max = std::cmp::max(max, min);
        let limit = START.clamp(min, max);
        Self {
            min,
            max,
            limit,
            number: 0,
            round: Round {
                size: std::cmp::max(ROUND_OF_DOUBLING, 2 * limit),
                ..Round::default()
            },
            trial: Trial::None,
            step: LARGEST_STEP,
            until_up: Pause::new(1, ANSWERS_BETWEEN),
            until_down: Pause::new(4, ANSWERS_BETWEEN_LOWER),
            usual: None,
            before_cut: None,
            best: 0,
            turns: QuotaDetector::default(),
            is_quota: false,
            bearing: None,
            answers: 0,
            refused: 0,
            meter: Meter::default(),
        }
    }

    /// Returns how many may be under way at a time.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Takes note that a request goes out.
    pub(super) fn sent(&mut self, now: Instant) -> Ticket {
        self.meter.pass_to(now);
        self.meter.level += 1;
        let round = &mut self.round;
        let is_sampled = self.min < self.max && round.sent < round.size;
        if is_sampled {
            if round.began.is_none() {
                round.load = self.meter.load;
            }
            let began = *round.began.get_or_insert(now);
            round.sent += 1;
            round.offsets += now - began;
        }
        Ticket {
            round: self.number,
            is_sampled,
            sent: now,
        }
    }

    /// Takes note that the slot of a request is free again.
    pub(super) fn freed(&mut self, now: Instant) {
        self.meter.pass_to(now);
        self.meter.level = self.meter.level.saturating_sub(1);
    }

    /// Takes note that a request came to nothing: it was given up while on the wire.
    pub(super) fn lost(&mut self, ticket: Ticket) {
        if self.take_back(ticket) {
            self.round.failed += 1;
        }
    }

    /// Takes note of an answer, and of how long its slot was held for it.
    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        answer: Signal,
        held: Duration,
        now: Instant,
    ) {
        if self.take_back(ticket) {
            self.round.busy += held;
            match answer {
                Signal::Taken => self.round.taken += 1,
                Signal::Refused => self.round.refused += 1,
                Signal::Failed => self.round.failed += 1,
            }
        }
        let tolerated = self.tolerated(now);
        let round = &self.round;
        let is_trial_refused = matches!(self.trial, Trial::Up(_))
            && round.refused >= PLAIN_REFUSALS
            && f64::from(round.refused) > tolerated * f64::from(round.size);
        let is_much_refused =
            round.returned() >= ENOUGH && round.share_refused() > MANY + tolerated;
        if is_trial_refused || is_much_refused || round.is_over(now) {
            self.meter.pass_to(now);
            let figures = self.round.figures(self.limit, self.meter.load, now);
            self.judge(figures, now);
        }
    }

    /// Takes a request out of those that are out. Returns whether it counts for the round.
    fn take_back(&mut self, ticket: Ticket) -> bool {
        let counts = ticket.is_sampled && ticket.round == self.number;
        if let Some(began) = self.round.began.filter(|_| counts) {
            let offset = ticket.sent.saturating_duration_since(began);
            self.round.offsets = self.round.offsets.saturating_sub(offset);
        }
        counts
    }

    /// Takes back what was cut: the limit was not to blame.
    pub(super) fn restore(&mut self) {
        if let Some(limit) = self.before_cut.take() {
            self.go_on(limit, Trial::None);
        }
    }

    fn tolerated(&self, now: Instant) -> f64 {
        match self.bearing {
            Some((share, until)) if now < until => share,
            _ => TOLERATED,
        }
    }

    /// Tells, once, that refusals come and go whatever the limit, as those of a quota do.
    pub(super) fn take_quota(&mut self) -> bool {
        std::mem::take(&mut self.is_quota)
    }

    fn judge(&mut self, found: Figures, now: Instant) {
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
            Trial::Up(base) => {
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
            Trial::Down(base) => {
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
            Trial::Cut(base) if is_refused => {
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
            Trial::Again(base) => {
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

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "limits are small and positive"
    )]
    fn up(&mut self, base: Figures, now: Instant) {
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

    fn down(&mut self, base: Figures, factor: f64, now: Instant) {
        let limit = self.scaled(factor).min(self.limit - 1).max(self.min);
        if limit < self.limit {
            self.go_on(limit, Trial::Down(base));
        } else {
            self.until_down.begin(LONGEST_PATIENCE, now);
            self.go_on(self.limit, Trial::None);
        }
    }

    /// Lowers the limit by what was refused, and a little more.
    fn cut(&mut self, found: Figures, base: Figures, now: Instant) {
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
    fn go_on(&mut self, limit: u32, trial: Trial) {
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
