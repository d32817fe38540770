//! The connections to a receiver: how many there are, and which are idle.
//!
//! Many receivers serve one connection at a time, or a few. A connection beyond that waits in the queue of the receiver's
//! system: a message can be written there, and nobody reads it. So a new connection is on trial until something was
//! answered on it, and no more are on trial than have passed, or one. One that stays without an answer while others got
//! theirs shows that the receiver may serve no more: as many are let go as it takes to give it its turn, and no more are
//! opened than were served. If it is not answered even then, the message was the cause, and nothing is kept of it.
//!
//! Other receivers, and the balancers before them, close what is too many. One that is closed before anything was sent on
//! it, or two in a row on which a message was lost, show that too: `ceiling` keeps it. `habits` learns what connections are
//! like.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    astray::Astray,
    ceiling::Ceiling,
    connection::{Connection, Pulse},
    habits::{Loss, Losses, Reuse, WATCH},
};
use crate::hl7v2::control_id::ControlId;

/// The connections to a receiver.
#[derive(Debug, Default)]
pub(super) struct Pool {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    idle: Vec<Idle>,
    /// All there are, and those that are being opened.
    open: usize,
    /// Those on trial.
    trials: usize,
    /// Those that have been on trial for too long.
    stuck: usize,
    /// The largest number that has been served at a time.
    served: usize,
    ceiling: Ceiling,
    reuse: Reuse,
    /// One that nobody knows to take another message has one.
    is_trying: bool,
    losses: Losses,
    astray: Astray,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
    standing: Standing,
}

/// The standing of a connection, by what was answered on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing was answered on it yet.
    Trial,
    /// Nothing was answered on it, and it has been waited for.
    Stuck,
    /// Something was.
    Heard,
}

/// The needs of a message that asks for a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'m> {
    /// The control id of the message; empty where it has none.
    pub(super) control_id: &'m ControlId,
}

/// The place of one connection among those that there may be. It is given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    pool: Arc<Pool>,
    standing: Standing,
    /// Its connection is idle: it stays counted.
    is_kept: bool,
    /// It is a trial: nobody knows yet if its connection takes another message.
    is_trying: bool,
    /// For how long its connection was idle.
    idle: Duration,
    /// More than were served at a time are open.
    is_beyond: bool,
}

/// No acknowledgement was heard of as many messages, in a row: one more is not risked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unheard {
    pub(super) messages: u32,
    /// Something came that is none.
    pub(super) is_unclear: bool,
}

/// The answer to a message that asks for a connection.
enum Found {
    Place(Place, Option<Box<Connection>>),
    /// Nothing, before something changes, or until then.
    Wait(Option<Instant>),
    Unheard(Unheard),
}

/// The answer of the idle connections to a message.
enum Taken {
    Idle(Box<Connection>, Standing, Duration, bool),
    /// One that is being watched, until then.
    Watched(Instant),
    /// Some that wait for what is being tried.
    Untried,
    Nothing,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place, and for the idle connection in it, if there is one.
    pub(super) async fn place(
        self: &Arc<Self>,
        wish: Wish<'_>,
    ) -> Result<(Place, Option<Connection>), Unheard> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.try_place(wish) {
                Found::Place(place, connection) => {
                    return Ok((place, connection.map(|connection| *connection)));
                }
                Found::Unheard(unheard) => return Err(unheard),
                Found::Wait(None) => changed.await,
                Found::Wait(Some(until)) => {
                    let _ = tokio::time::timeout_at(until, changed).await;
                }
            }
        }
    }

    fn try_place(self: &Arc<Self>, wish: Wish<'_>) -> Found {
        let mut inner = self.lock();
        let now = Instant::now();
        let place = |standing, is_beyond| Place {
            pool: Arc::clone(self),
            standing,
            is_kept: false,
            is_trying: false,
            idle: Duration::ZERO,
            is_beyond,
        };
        let has_untried = match inner.take_idle(wish, now) {
            Taken::Idle(connection, standing, idle, is_trying) => {
                inner.is_trying |= is_trying;
                let mut place = place(standing, false);
                (place.is_trying, place.idle) = (is_trying, idle);
                return Found::Place(place, Some(connection));
            }
            Taken::Watched(until) => return Found::Wait(Some(until)),
            Taken::Untried => true,
            Taken::Nothing => false,
        };
        let unheard = inner.trials + inner.stuck;
        if inner.heard() == 0 && !inner.losses.may_risk(now, unheard) {
            return if unheard > 0 {
                Found::Wait(None)
            } else {
                Found::Unheard(Unheard {
                    messages: inner.losses.count(),
                    is_unclear: inner.losses.is_unclear(),
                })
            };
        }
        if inner.is_full(now)
            && !has_untried
            && let Some(unfit) = inner.idle.pop()
        {
            // It makes room for one that is fit for this message.
            inner.gone(unfit.standing);
        }
        if inner.is_full(now) || inner.trials >= inner.most_trials() {
            return Found::Wait(inner.ceiling.until());
        }
        if inner.astray.has(wish.control_id)
            && let Some(idle) = inner.idle.pop()
        {
            // A receiver that serves one at a time serves no fresh one beside it.
            inner.gone(idle.standing);
        }
        inner.open += 1;
        inner.trials += 1;
        Found::Place(place(Standing::Trial, inner.open > inner.served), None)
    }

    /// Says what was learnt of the receiver, where that has cost something.
    pub(super) fn habits(&self) -> Vec<String> {
        let inner = self.lock();
        let words = [
            inner.reuse.words(),
            inner.ceiling.words(),
            inner.losses.words(),
        ];
        words.into_iter().flatten().collect()
    }

    /// Tells whether any connection is open: then one more, only to look, could keep a message waiting.
    pub(super) fn is_in_use(&self) -> bool {
        self.lock().open > 0
    }
}

impl Inner {
    /// Returns an idle connection that is still there, and on which a message can be told from those before it.
    fn take_idle(&mut self, wish: Wish<'_>, now: Instant) -> Taken {
        let is_astray = self.astray.has(wish.control_id);
        let (mut watched, mut has_untried) = (None, false);
        let mut at = self.idle.len();
        while at > 0 {
            at -= 1;
            let Some(idle) = self.idle.get_mut(at) else {
                break;
            };
            let (pulse, answered) = (idle.connection.idle_pulse(), idle.connection.answered());
            let since = now.saturating_duration_since(idle.since);
            let may_go_on = since < self.reuse.idle() && self.reuse.may_go_on(answered);
            if pulse != Pulse::Quiet || !may_go_on {
                let idle = self.idle.remove(at);
                if pulse == Pulse::Gone {
                    self.reuse.found_closed(answered, since);
                }
                self.gone(idle.standing);
                continue;
            }
            if !idle.connection.can_tell(wish.control_id) || (is_astray && answered > 0) {
                continue;
            }
            let is_untried = self.reuse.is_untried(answered);
            if is_untried && self.is_trying {
                has_untried = true;
                continue;
            }
            if is_untried && since < WATCH {
                watched = Some(idle.since + WATCH);
                continue;
            }
            let idle = self.idle.remove(at);
            return Taken::Idle(Box::new(idle.connection), idle.standing, since, is_untried);
        }
        match watched {
            // A connection that was found closed meanwhile may have shown that there is nothing to wait for.
            Some(until) if !self.reuse.closes() => Taken::Watched(until),
            _ if has_untried => Taken::Untried,
            _ => Taken::Nothing,
        }
    }

    fn heard(&self) -> usize {
        self.open - self.trials - self.stuck
    }

    /// Returns how many may be on trial. If each connection has a single message, those that were served are gone.
    fn most_trials(&self) -> usize {
        let served = if self.reuse.closes() {
            self.served.saturating_mul(2)
        } else {
            self.heard()
        };
        std::cmp::max(1, served)
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.ceiling.is_reached(self.open, now)
    }

    /// Takes note that a connection is no more.
    fn gone(&mut self, standing: Standing) {
        self.open -= 1;
        match standing {
            Standing::Trial => self.trials -= 1,
            Standing::Stuck => {
                self.stuck -= 1;
                if self.stuck == 0 {
                    // It was not for want of a place.
                    self.ceiling.none_is_stuck();
                }
            }
            Standing::Heard => {}
        }
    }
}

impl Place {
    /// Tells whether nothing has been answered on the connection yet.
    pub(super) fn is_on_trial(&self) -> bool {
        self.standing == Standing::Trial
    }

    /// Tells whether its connection is one more than the receiver has been seen to serve.
    pub(super) fn is_beyond(&self) -> bool {
        self.is_beyond
    }

    /// Takes note that something was answered; `answered` counts the messages of this connection.
    pub(super) fn heard(&mut self, answered: u32) {
        let mut inner = self.pool.lock();
        inner.reuse.answered(answered);
        inner.losses.end();
        if std::mem::take(&mut self.is_trying) {
            inner.is_trying = false;
        } else if self.standing == Standing::Heard {
            return;
        }
        match self.standing {
            Standing::Heard => {}
            Standing::Trial => {
                inner.trials -= 1;
                inner.ceiling.passed();
            }
            Standing::Stuck => {
                inner.stuck -= 1;
                inner.ceiling.got_its_turn();
            }
        }
        self.standing = Standing::Heard;
        let served = if inner.reuse.closes() {
            inner.open
        } else {
            inner.heard()
        };
        inner.served = std::cmp::max(inner.served, served);
        drop(inner);
        self.pool.changed.notify_waiters();
    }

    /// Takes note that nothing was answered for long, on a connection that is on trial.
    pub(super) fn is_stuck(&mut self) {
        if self.standing != Standing::Trial {
            return;
        }
        let mut inner = self.pool.lock();
        let heard = inner.heard();
        inner.trials -= 1;
        inner.stuck += 1;
        self.standing = Standing::Stuck;
        if heard > 0 {
            inner.ceiling.one_is_stuck(heard);
            for idle in std::mem::take(&mut inner.idle) {
                inner.gone(idle.standing);
            }
        }
        drop(inner);
        self.pool.changed.notify_waiters();
    }

    /// Takes note that its connection could not be had, or was closed before anything was sent on it. Tells whether there are
    /// others to wait for, which the receiver does serve.
    pub(super) fn was_refused(self) -> bool {
        let mut inner = self.pool.lock();
        let others = inner.open - 1;
        let is_served = others > 0 && (inner.heard() > 0 || inner.reuse.closes());
        if is_served {
            inner.ceiling.refused(others, Instant::now());
            inner.served = std::cmp::min(inner.served, others);
        }
        is_served
    }

    /// Takes note that a message was lost, with no byte heard, on a connection that had `answered` others.
    pub(super) fn lost(&mut self, wish: Wish<'_>, answered: u32, is_closed: bool) {
        let mut inner = self.pool.lock();
        inner.astray.add(wish.control_id);
        if answered > 0 {
            let how = if is_closed {
                Loss::Closed
            } else {
                Loss::Silent
            };
            inner.reuse.lost(answered, self.idle, how);
        }
        if self.standing != Standing::Heard {
            inner.losses.add(Instant::now());
            let others = inner.open - 1;
            if is_closed && inner.heard() > 0 {
                inner.ceiling.lost(others);
            }
        }
    }

    /// Takes note that what came for a message is no acknowledgement of it, on a connection that had `answered` others. A receiver
    /// that speaks so at once has served nothing yet.
    pub(super) fn unclear(&mut self, wish: Wish<'_>, answered: u32) {
        let mut inner = self.pool.lock();
        inner.astray.add(wish.control_id);
        if answered > 0 {
            inner.reuse.lost(answered, self.idle, Loss::Unclear);
        }
        if self.standing != Standing::Heard {
            inner.losses.add_unclear(Instant::now());
        }
    }

    /// Keeps the connection for the next message, unless there are too many.
    pub(super) fn keep(mut self, connection: Connection) {
        let mut inner = self.pool.lock();
        let may_stay = inner.ceiling.holds(inner.open);
        if !may_stay || !inner.reuse.may_go_on(connection.answered()) {
            return;
        }
        inner.idle.push(Idle {
            connection,
            since: Instant::now(),
            standing: self.standing,
        });
        drop(inner);
        self.is_kept = true;
        self.pool.changed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.pool.lock();
        if self.is_trying {
            inner.is_trying = false;
        }
        if !self.is_kept {
            inner.gone(self.standing);
            drop(inner);
            self.pool.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn wish(control_id: &ControlId) -> Wish<'_> {
        Wish { control_id }
    }

    /// Returns a place for which nobody has to wait.
    fn now(pool: &Arc<Pool>) -> Option<(Place, Option<Connection>)> {
        pool.place(wish(&ControlId::plain("m1")))
            .now_or_never()?
            .ok()
    }

    async fn connection(listener: &TcpListener) -> (Connection, tokio::net::TcpStream) {
        let address = listener.local_addr().unwrap().to_string();
        let until = Instant::now() + Duration::from_secs(5);
        let ours = Connection::open(&address, None, until).await.unwrap();
        (ours, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn connections_are_added_as_they_are_answered() {
        let pool = Arc::default();
        let (mut first, _) = now(&pool).unwrap();
        assert!(now(&pool).is_none(), "the first has to be answered");
        first.heard(1);
        let (mut second, _) = now(&pool).unwrap();
        assert!(now(&pool).is_none());
        second.heard(1);
        // Two may be tried where two were answered.
        let _both = (now(&pool).unwrap(), now(&pool).unwrap());
        assert!(now(&pool).is_none());
        // One that failed makes room for another.
        drop(second);
        drop(first);
        assert!(now(&pool).is_none());
    }

    #[tokio::test]
    async fn one_that_is_stuck_gets_the_place_of_another() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Arc::default();
        let (mut first, _) = now(&pool).unwrap();
        first.heard(1);
        let (ours, mut theirs) = connection(&listener).await;
        first.keep(ours);
        let (_, idle) = now(&pool).unwrap();
        assert!(idle.is_some(), "it is taken before another is opened");
        drop(idle);
        let (mut first, _) = now(&pool).unwrap();
        first.heard(1);
        let (mut second, _) = now(&pool).unwrap();
        second.is_stuck();
        // The first is let go as soon as it is idle.
        let (ours, _theirs) = connection(&listener).await;
        first.keep(ours);
        assert!(now(&pool).is_none(), "there is one, and it is stuck");
        second.heard(1);
        assert!(now(&pool).is_none(), "the receiver serves one");
        drop(second);
        assert!(now(&pool).is_some());
        let end = tokio::io::AsyncReadExt::read(&mut theirs, &mut [0; 1]).await;
        assert_eq!(end.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_message_that_is_not_answered_costs_no_place() {
        let pool = Arc::default();
        let (mut first, _) = now(&pool).unwrap();
        first.heard(1);
        let (mut second, _) = now(&pool).unwrap();
        second.is_stuck();
        assert!(now(&pool).is_none());
        drop(second);
        assert!(now(&pool).is_some(), "it was not for want of a place");
    }

    #[tokio::test]
    async fn answers_that_are_no_acknowledgements_are_risked_as_seldom_as_silence() {
        let id = ControlId::plain("m1");
        let pool: Arc<Pool> = Arc::default();
        for _ in 0..3 {
            let (mut place, _) = now(&pool).unwrap();
            assert!(now(&pool).is_none(), "one at a time");
            place.unclear(wish(&id), 0);
        }
        let unheard = pool.place(wish(&id)).now_or_never().unwrap().unwrap_err();
        assert_eq!((unheard.messages, unheard.is_unclear), (3, true));
        // Beside others that are served, one says nothing of the receiver.
        let pool: Arc<Pool> = Arc::default();
        let (mut served, _) = now(&pool).unwrap();
        served.heard(1);
        for _ in 0..9 {
            now(&pool).unwrap().0.unclear(wish(&id), 0);
        }
    }

    #[tokio::test]
    async fn what_was_closed_or_speaks_is_not_used() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for closes in [true, false] {
            let pool = Arc::default();
            let (mut place, _) = now(&pool).unwrap();
            place.heard(1);
            let (ours, mut theirs) = connection(&listener).await;
            if closes {
                drop(theirs);
            } else {
                tokio::io::AsyncWriteExt::write_all(&mut theirs, b"x")
                    .await
                    .unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            place.keep(ours);
            assert!(now(&pool).unwrap().1.is_none());
        }
    }
}
