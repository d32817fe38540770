//! The habits of a receiver with its connections, as they are learnt: how many messages it answers on one, for how long an idle
//! one is good, and how many messages were lost in a row where nothing was heard; and whether it answers what asks for no answer.
//!
//! Many receivers close a connection behind each acknowledgement, some of them a moment later. A message that was written
//! into such a connection is lost without a trace, so that nobody can say whether it was taken. So the first connection that has
//! answered is watched before it is used again, and one alone tries that. One that is closed meanwhile shows the habit;
//! three in a row that are lost show it as well, for a loss may have been the message's own fault. Some receivers keep the connection
//! open and acknowledge nothing more on it: three in a row show that, too.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use super::PATIENCE;

/// The time for which the first answered connection is watched: receivers that close behind an acknowledgement do so within
/// 20 ms. It is waited for once.
pub(super) const WATCH: Duration = Duration::from_millis(50);

/// A connection that is found closed so soon was closed behind its acknowledgement, and not for being idle.
const BEHIND: Duration = Duration::from_secs(1);

/// Messages lost in a row, on connections that nobody knew to take another, that show the habit. With a receiver that
/// closes at one message in ten, two in a row are common.
const SURE: u32 = 3;

/// The time for which an idle connection is kept: firewalls let go of what is silent for some minutes.
const IDLE: Duration = Duration::from_mins(1);

/// The number of messages that may be lost in a row on connections on which nothing was heard. A few may be at fault themselves.
const RISKED: u32 = 3;

/// The longest pause before one more is risked.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The habit of a receiver that tells if a connection may have another message.
#[derive(Debug)]
pub(super) struct Reuse {
    /// The largest number of messages that were answered on one connection.
    longest: u32,
    limit: Limit,
    idle: Duration,
    /// The end of the connection on which the latest message was lost, or of the one that was found closed.
    end: Loss,
}

/// The way in which a message was lost on a connection on which others were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The connection was closed.
    Closed,
    /// Nothing came in time.
    Silent,
    /// Something came that is no acknowledgement of it.
    Unclear,
}

/// The number of messages that are answered on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// It is not known if a connection that has answered this number takes another.
    Tried { answered: u32, lost: u32 },
    /// There is none that is known.
    None,
    /// The receiver closes a connection on which it has answered this number.
    Closes(u32),
}

impl Default for Reuse {
    fn default() -> Self {
        Self {
            longest: 0,
            limit: Limit::Tried {
                answered: 1,
                lost: 0,
            },
            idle: IDLE,
            end: Loss::Closed,
        }
    }
}

impl Reuse {
    /// Tells whether a connection with `answered` messages may have another.
    pub(super) fn may_go_on(&self, answered: u32) -> bool {
        !matches!(self.limit, Limit::Closes(limit) if answered >= limit)
    }

    /// Tells whether nobody knows if such a connection takes another message.
    pub(super) fn is_untried(&self, answered: u32) -> bool {
        matches!(self.limit, Limit::Tried { answered: limit, .. } if answered >= limit)
    }

    /// Tells whether connections are closed behind a number of messages.
    pub(super) fn closes(&self) -> bool {
        matches!(self.limit, Limit::Closes(_))
    }

    /// Returns how long an idle connection is good.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    /// Takes note of the number of messages that a connection has answered.
    pub(super) fn answered(&mut self, answered: u32) {
        self.longest = std::cmp::max(self.longest, answered);
        if let Limit::Tried {
            answered: tried, ..
        } = self.limit
            && answered > tried
        {
            self.limit = Limit::None;
        }
    }

    /// Takes note that a connection was found closed, having been `idle` since its last answer.
    pub(super) fn found_closed(&mut self, answered: u32, idle: Duration) {
        if self.is_untried(answered) && idle < BEHIND {
            self.end = Loss::Closed;
            self.learn(answered);
        }
    }

    /// Takes note that a message was lost on a connection that had answered others.
    pub(super) fn lost(&mut self, answered: u32, idle: Duration, how: Loss) {
        if !self.closes() {
            self.end = how;
        }
        match self.limit {
            Limit::Tried { lost, .. } if lost + 1 >= SURE && self.is_untried(answered) => {
                self.learn(answered);
            }
            Limit::Tried { .. } | Limit::None
                if self.is_untried(answered) || (answered >= self.longest && idle < WATCH) =>
            {
                let lost = match self.limit {
                    Limit::Tried { lost, .. } => lost + 1,
                    _ => 1,
                };
                self.limit = Limit::Tried { answered, lost };
            }
            // It was idle for too long, and nothing told of its end.
            _ if idle >= WATCH && how != Loss::Unclear => {
                self.idle = std::cmp::min(self.idle, idle / 2);
            }
            _ => {}
        }
    }

    /// Says after how many messages connections are closed, where they are.
    pub(super) fn words(&self) -> Option<String> {
        match self.limit {
            Limit::Closes(most) if self.end != Loss::Closed => Some(format!(
                "acknowledges on each connection no more than {most} of the messages: none was used for more"
            )),
            Limit::Closes(1) => Some(
                "closes each connection behind its first acknowledgement: none was used for more than one message"
                    .to_owned(),
            ),
            Limit::Closes(most) => Some(format!(
                "closes each connection behind {most} acknowledgements: none was used for more messages"
            )),
            Limit::Tried { .. } | Limit::None => None,
        }
    }

    fn learn(&mut self, answered: u32) {
        self.limit = Limit::Closes(answered);
        let messages = u64::from(answered);
        if self.end == Loss::Closed {
            tracing::info!(
                messages,
                "the receiver closes each connection behind this number of messages: none is used for more"
            );
        } else {
            tracing::info!(
                messages,
                "the receiver acknowledges no more than this number of messages on each connection: none is used for more"
            );
        }
    }
}

/// The messages that were lost in a row, with no acknowledgement heard on their connections or on any other.
#[derive(Debug, Default)]
pub(super) struct Losses {
    in_row: u32,
    /// The largest number that there was in a row.
    longest: u32,
    /// Something came for one of them that is no acknowledgement.
    is_unclear: bool,
    /// None is risked before.
    next: Option<Instant>,
}

impl Losses {
    /// Takes note that a message was lost.
    pub(super) fn add(&mut self, now: Instant) {
        self.in_row = self.in_row.saturating_add(1);
        self.longest = std::cmp::max(self.longest, self.in_row);
        if let Some(beyond) = self.in_row.checked_sub(RISKED) {
            let pause = Duration::from_secs(1 << std::cmp::min(beyond, 6));
            self.next = Some(now + std::cmp::min(pause, LONGEST_PAUSE));
        }
    }

    /// Takes note that a message was answered by what is no acknowledgement.
    pub(super) fn add_unclear(&mut self, now: Instant) {
        self.add(now);
        self.is_unclear = true;
    }

    /// Tells whether something came for one of them.
    pub(super) fn is_unclear(&self) -> bool {
        self.is_unclear
    }

    /// Takes note that an acknowledgement was heard.
    pub(super) fn end(&mut self) {
        *self = Self {
            longest: self.longest,
            ..Self::default()
        };
    }

    /// Says how many were lost before one at a time was risked, where it came to that.
    pub(super) fn words(&self) -> Option<String> {
        let longest = (self.longest >= RISKED).then_some(self.longest)?;
        Some(format!(
            "acknowledged none of {longest} messages in a row: behind the first {RISKED} of them one at a time was risked"
        ))
    }

    /// Tells whether one more may be risked, beside those that are `waiting` for an answer already.
    pub(super) fn may_risk(&self, now: Instant, waiting: usize) -> bool {
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        match self.next {
            Some(next) => now >= next && waiting == 0,
            None => self.in_row.saturating_add(waiting) < RISKED,
        }
    }

    /// Returns how many were lost.
    pub(super) fn count(&self) -> u32 {
        self.in_row
    }
}

/// The habit of a receiver with messages that ask for no answer.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// The number of unanswered messages, up to [`Silence::ENOUGH`]; [`Silence::ANSWERS`] once one was answered.
    silences: AtomicU32,
}

impl Silence {
    const ANSWERS: u32 = u32::MAX;

    /// The number of unanswered messages which shows that no answer is to come.
    const ENOUGH: u32 = 3;

    /// Returns how long an answer is waited for; none where it is known not to come.
    pub(super) fn grace(&self) -> Option<Duration> {
        match self.silences.load(Relaxed) {
            Self::ANSWERS => Some(PATIENCE),
            0..Self::ENOUGH => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Says that none is waited for any more, where it has come to that.
    pub(super) fn words(&self) -> Option<&'static str> {
        self.grace().is_none().then_some(
            "answers no message that asks for no answer: such were sent without waiting for one",
        )
    }

    pub(super) fn answers(&self) {
        self.silences.store(Self::ANSWERS, Relaxed);
    }

    pub(super) fn is_silent(&self) {
        let more = |count| (count < Self::ENOUGH).then(|| count + 1);
        // One that answers is not forgotten.
        let _ = self.silences.fetch_update(Relaxed, Relaxed, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[test]
    fn a_close_behind_the_answer_shows_the_habit_at_once() {
        let mut reuse = Reuse::default();
        reuse.answered(1);
        assert!(reuse.is_untried(1) && reuse.may_go_on(1));
        reuse.found_closed(1, SOON);
        assert!(reuse.closes() && !reuse.may_go_on(1) && reuse.may_go_on(0));
        assert!(reuse.words().unwrap().contains("first acknowledgement"));
        // Closed long after its answer, it was closed for being idle.
        let mut reuse = Reuse::default();
        reuse.answered(1);
        reuse.found_closed(1, Duration::from_secs(9));
        assert!(reuse.may_go_on(1));
    }

    #[test]
    fn two_lost_messages_may_be_their_own_fault_and_three_are_the_receivers() {
        let mut reuse = Reuse::default();
        reuse.answered(1);
        reuse.lost(1, WATCH, Loss::Closed);
        reuse.lost(1, WATCH, Loss::Closed);
        assert!(reuse.is_untried(1) && reuse.may_go_on(1));
        reuse.answered(2);
        assert!(!reuse.is_untried(2));
        // Every tenth closes.
        reuse.answered(10);
        reuse.lost(10, SOON, Loss::Closed);
        assert!(reuse.is_untried(10) && !reuse.is_untried(9));
        reuse.lost(10, SOON, Loss::Closed);
        assert!(reuse.may_go_on(10));
        reuse.lost(10, SOON, Loss::Closed);
        assert!(!reuse.may_go_on(10) && reuse.may_go_on(9));
    }

    #[test]
    fn a_receiver_that_says_no_more_shows_its_habit_as_one_that_closes_does() {
        for how in [Loss::Silent, Loss::Unclear] {
            let mut reuse = Reuse::default();
            reuse.answered(1);
            for _ in 0..3 {
                assert!(reuse.may_go_on(1));
                reuse.lost(1, WATCH, how);
            }
            assert!(!reuse.may_go_on(1));
            let words = reuse.words().unwrap();
            assert!(words.contains("no more than 1"), "{words}");
            assert_eq!(reuse.idle(), IDLE);
        }
    }

    #[test]
    fn a_receiver_that_starts_anew_has_no_habit_and_a_silent_end_has_a_time() {
        let mut reuse = Reuse::default();
        reuse.answered(50);
        reuse.lost(20, SOON, Loss::Closed);
        assert!(!reuse.is_untried(50) && reuse.idle() == IDLE);
        reuse.lost(20, Duration::from_secs(30), Loss::Closed);
        assert_eq!(reuse.idle(), Duration::from_secs(15));
    }

    #[test]
    fn a_receiver_that_answers_all_the_same_is_not_forgotten() {
        let habit = Silence::default();
        for _ in 0..5 {
            habit.is_silent();
        }
        assert!(habit.grace().is_none() && habit.words().is_some());
        habit.answers();
        habit.is_silent();
        assert_eq!(habit.words(), None);
        assert_eq!(habit.grace(), Some(PATIENCE));
    }

    #[test]
    fn a_few_are_risked_and_then_one_at_a_time() {
        let now = Instant::now();
        let mut losses = Losses::default();
        assert!(losses.may_risk(now, 2) && !losses.may_risk(now, 3));
        for _ in 0..3 {
            assert!(losses.may_risk(now, 0));
            losses.add(now);
        }
        assert!(!losses.may_risk(now, 0));
        let later = now + Duration::from_secs(1);
        assert!(losses.may_risk(later, 0) && !losses.may_risk(later, 1));
        losses.add(later);
        assert!(!losses.may_risk(later + Duration::from_secs(1), 0));
        (0..100).for_each(|_| losses.add(later));
        assert!(losses.may_risk(later + LONGEST_PAUSE, 0));
        assert!(!losses.is_unclear());
        losses.add_unclear(later);
        assert!(losses.is_unclear() && !losses.may_risk(later, 0));
        losses.end();
        assert!(losses.may_risk(now, 0) && losses.count() == 0 && !losses.is_unclear());
        assert!(losses.words().unwrap().contains("none of 105 messages"));
    }
}
