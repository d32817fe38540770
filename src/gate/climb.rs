//! Finds how many requests at a time a store takes best: a pure climber, driven by what comes back.
//!
//! It compares rounds. A round is a number of requests sent under one limit; its figure is the throughput that they
//! stand for (Little's law: requests at a time, over the time that each took on the wire). A higher limit is
//! kept if the throughput grew with it, a lower one if it did not fall. So a store that queues is not given more than it
//! works on, one that refuses is held where it does not, and one whose records merely became larger keeps its
//! limit. Time spent waiting for a rate is not on the wire and does not count.

use std::time::Duration;

use tokio::time::Instant;

/// Where climbing begins: little enough for any store, and six doublings from the largest default.
const START: u32 = 8;

/// Requests of a round at the least, so that the mean of latencies that vary by half is true to some 6 %.
const ROUND: u32 = 64;

/// A doubling is to be told from nothing, which fewer show; the climb begins with them.
const ROUND_OF_DOUBLING: u32 = 32;

/// A round of which so many are refused is at too high a limit. Half of what a settled run may see at the most.
const TOLERATED: f64 = 0.01;

/// So many answers show at once that much is refused; the rest of the round is not waited for.
const ENOUGH: u32 = 16;
const MANY: f64 = 0.5;

/// A few refusals are chance, where their share is small; so many are not. With a share that is plain, fewer do.
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

/// What a lower limit may cost.
const COSTS_NOTHING: f64 = 0.95;

/// Rounds between trials at the most, and the time after which there is one all the same, if there were answers enough
/// that a refusal or two are few: a store that has recovered is found out soon.
const LONGEST_PATIENCE: u32 = 64;
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
const ANSWERS_BETWEEN: u32 = 200;

/// For every request that a trial has more at a time, and that may be refused.
const ANSWERS_A_RISK: f64 = 150.0;

/// A lower limit is tried more seldom, because a trial costs: what is too high only makes a store's queue longer.
const ANSWERS_BETWEEN_LOWER: u32 = 2000;

/// Rounds after a cut before more is tried again: enough to be sure that nothing is refused now.
const AFTER_CUT: u32 = 4;

/// A store that refuses a share whatever the limit has it borne for so long before the limit is tried again.
const BEARING: Duration = Duration::from_mins(1);

/// What an answer says about the load of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It did its work, also where it refused the record.
    Taken,
    /// It refuses for now.
    Refused,
    /// It, or the way to it, failed: says nothing about the load.
    Failed,
}

/// A request on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    round: u64,
    is_sampled: bool,
    pub(super) sent: Instant,
}

/// What a round found.
#[derive(Debug, Clone, Copy)]
struct Figures {
    limit: u32,
    throughput: f64,
    latency: f64,
    refused: f64,
    /// The limit was what held it back.
    is_full: bool,
}

/// The requests of a round.
#[derive(Debug, Default)]
struct Round {
    size: u32,
    sent: u32,
    taken: u32,
    refused: u32,
    failed: u32,
    busy: Duration,
    /// When it began.
    began: Option<Instant>,
    /// Of those out, the times after it began at which they were sent.
    offsets: Duration,
    /// What the load was when it began.
    load: f64,
}

impl Round {
    fn returned(&self) -> u32 {
        self.taken + self.refused + self.failed
    }

    fn share_refused(&self) -> f64 {
        f64::from(self.refused) / f64::from(std::cmp::max(self.returned(), 1))
    }

    /// All are back, or nearly all, and the rest takes unusually long.
    fn is_over(&self, now: Instant) -> bool {
        let returned = self.returned();
        if self.sent < self.size || returned >= self.sent {
            return returned >= self.size;
        }
        let Some(began) = self.began else {
            return false;
        };
        let elapsed = now.saturating_duration_since(began);
        returned * 10 >= self.size * 9 && elapsed * returned > self.busy * 4
    }

    fn figures(&self, limit: u32, load: f64, now: Instant) -> Figures {
        let elapsed = self.began.map_or(Duration::ZERO, |began| now - began);
        let level = (load - self.load) / elapsed.as_secs_f64().max(1e-9);
        let out = self.sent.saturating_sub(self.returned());
        // Those still out count with the time that they have taken so far.
        let busy = self.busy + (elapsed * out).saturating_sub(self.offsets);
        let busy = busy.as_secs_f64().max(1e-9);
        Figures {
            limit,
            throughput: level * f64::from(self.taken) / busy,
            latency: busy / f64::from(std::cmp::max(self.sent, 1)),
            refused: self.share_refused(),
            is_full: level >= 0.8 * f64::from(limit),
        }
    }
}

/// What is being tried; the figures are those that it is compared with.
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

/// When there is to be another trial in a direction.
#[derive(Debug)]
struct Pause {
    /// Rounds to let pass.
    patience: u32,
    rounds: u32,
    answers: u32,
    since: Option<Instant>,
    /// Answers to let pass, when time is to count.
    least: u32,
}

impl Pause {
    fn new(patience: u32, least: u32) -> Self {
        Self {
            patience,
            rounds: 0,
            answers: 0,
            since: None,
            least,
        }
    }

    fn begin(&mut self, patience: u32, now: Instant) {
        *self = Self {
            patience: std::cmp::min(patience, LONGEST_PATIENCE),
            since: Some(now),
            ..Self::new(0, self.least)
        };
    }

    fn pass(&mut self, answers: u32, now: Instant) {
        self.rounds += 1;
        self.answers += answers;
        self.since.get_or_insert(now);
    }

    fn is_over(&self, now: Instant, part: u32) -> bool {
        self.rounds >= self.patience
            || self.answers >= self.least / part
                && self
                    .since
                    .is_some_and(|since| now - since >= LONGEST_PAUSE / part)
    }
}

/// Finds the limit.
#[derive(Debug)]
pub(super) struct Climb {
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
    /// The highest limit at which all was taken lately.
    good: u32,
    /// The lowest limit since then at which much less was refused all the same.
    bad: Option<u32>,
    /// How often refusals have come and gone since, whatever the limit.
    turns: u32,
    is_quota: bool,
    bearing: Option<(f64, Instant)>,
    /// Answers and refusals since the limit was changed.
    answers: u32,
    refused: u32,
    /// Requests under way, and since when so many.
    level: u32,
    at: Option<Instant>,
    /// Requests under way times seconds, over all the time.
    load: f64,
}

impl Climb {
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
            good: 0,
            bad: None,
            turns: 0,
            is_quota: false,
            bearing: None,
            answers: 0,
            refused: 0,
            level: 0,
            at: None,
            load: 0.0,
        }
    }

    /// Returns how many may be under way at a time.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Takes note that a request goes out.
    pub(super) fn sent(&mut self, now: Instant) -> Ticket {
        self.pass_to(now);
        self.level += 1;
        let round = &mut self.round;
        let is_sampled = self.min < self.max && round.sent < round.size;
        if is_sampled {
            if round.began.is_none() {
                round.load = self.load;
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
        self.pass_to(now);
        self.level = self.level.saturating_sub(1);
    }

    fn pass_to(&mut self, now: Instant) {
        let passed = now - self.at.replace(now).unwrap_or(now);
        self.load += passed.as_secs_f64() * f64::from(self.level);
    }

    /// Takes note that a request came to nothing: it was given up while on the wire.
    pub(super) fn lost(&mut self, ticket: Ticket) {
        if ticket.is_sampled && ticket.round == self.number {
            self.back(ticket);
            self.round.failed += 1;
        }
    }

    /// Takes note of an answer, and of how long its slot was held for it.
    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        answer: Answer,
        held: Duration,
        now: Instant,
    ) {
        if !ticket.is_sampled || ticket.round != self.number {
            return;
        }
        self.back(ticket);
        let round = &mut self.round;
        round.busy += held;
        match answer {
            Answer::Taken => round.taken += 1,
            Answer::Refused => round.refused += 1,
            Answer::Failed => round.failed += 1,
        }
        let share = round.share_refused();
        let tolerated = self.tolerated(now);
        let is_trial_refused = matches!(self.trial, Trial::Up(_))
            && self.round.refused >= PLAIN_REFUSALS
            && f64::from(self.round.refused) > tolerated * f64::from(self.round.size);
        let is_much_refused = self.round.returned() >= ENOUGH && share > MANY + tolerated;
        if is_trial_refused || is_much_refused || self.round.is_over(now) {
            self.pass_to(now);
            let figures = self.round.figures(self.limit, self.load, now);
            self.judge(figures, now);
        }
    }

    fn back(&mut self, ticket: Ticket) {
        if let Some(began) = self.round.began {
            self.round.offsets = self.round.offsets.saturating_sub(ticket.sent - began);
        }
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

    /// Compares limits at which all is taken with limits at which not. A store that has too much to do takes what
    /// is little; after a quota was used up, as much is taken as was refused before.
    fn compare(&mut self, found: Figures) {
        if found.refused > 4.0 * PLAIN {
            if f64::from(found.limit) <= 0.7 * f64::from(self.good) {
                self.bad = Some(self.bad.map_or(found.limit, |bad| bad.min(found.limit)));
            }
        } else if found.is_full && found.refused <= TOLERATED {
            match self.bad {
                None => self.good = std::cmp::max(self.good, found.limit),
                Some(bad) if found.limit >= bad * 3 / 2 => {
                    self.turns += 1;
                    // A store that has recovered has done so once.
                    if self.turns == 2 {
                        self.turns = 0;
                        self.is_quota = true;
                        self.before_cut = Some(self.good);
                    }
                    self.bad = None;
                    self.good = found.limit;
                }
                Some(_) => {}
            }
        }
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
        self.compare(found);
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
            // What once was may come back soon.
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
            // There is nothing to lower. Then it is borne for a while, so that more may be tried.
            self.bearing = Some((found.refused * 1.5, now + BEARING / 6));
            self.before_cut = None;
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
