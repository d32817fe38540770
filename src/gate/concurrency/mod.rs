//! Finds how many requests at a time a store takes best: a pure climber, driven by what comes back.
//!
//! It compares rounds. A round is a number of requests sent under one limit; its figure is the throughput that they
//! stand for (Little's law: requests at a time, over the time that each took on the wire). A higher limit is
//! kept if the throughput grew with it, a lower one if it did not fall. So a store that queues is not given more than it
//! works on, one that refuses is held where it does not, and one whose records merely became larger keeps its
//! limit. Time spent waiting for a rate is not on the wire and does not count.
//!
//! Here requests and answers become rounds. `judge` compares them, `moves` changes the limit, `pause` says when the next trial
//! is due, `quota` tells refusals that have nothing to do with the limit.

use std::time::Duration;

use tokio::time::Instant;

mod judge;
mod moves;
mod pause;
mod quota;
mod round;

pub(super) use round::{Signal, Ticket};

use moves::{LARGEST_STEP, ROUND_OF_DOUBLING, Trial};
use pause::Pause;
use quota::QuotaDetector;
use round::{Meter, Round};

/// The limit at which climbing begins: little enough for any store, and six doublings from the largest default.
const START: u32 = 8;

/// The share of refusals from which the limit of a round is too high. Half of what a settled run may see at the most.
const TOLERATED: f64 = 0.01;

/// The number of answers that show at once that much is refused; the rest of the round is not waited for.
const ENOUGH: u32 = 16;
const MANY: f64 = 0.5;

/// The number of refusals that is no chance any more, where their share is small. With a share that is plain, fewer do.
const REFUSALS: u32 = 8;
const PLAIN: f64 = 0.05;
const PLAIN_REFUSALS: u32 = 3;

/// Answers between trials at the least, so that a refusal or two among them are few.
const ANSWERS_BETWEEN: u32 = 200;

/// A lower limit is tried more seldom, because a trial costs: what is too high only makes a store's queue longer.
const ANSWERS_BETWEEN_LOWER: u32 = 2000;

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
}
