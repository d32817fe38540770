//! The connections to a receiver: how many there are, and which are idle.
//!
//! Many receivers serve one connection at a time, or a few. What connects beyond that waits in the queue of the receiver's
//! system: a message can be written there, and nobody reads it. So a new connection is on trial until something was answered
//! on it, and no more are on trial than have passed, or one. One that stays without an answer while others got theirs shows
//! that the receiver may serve no more: as many are let go as it takes to give it its turn, and no more are opened than were
//! served. Where it is not answered even then, the message was the cause, and nothing is kept of it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::connection::Connection;

/// The time for which an idle connection is kept: firewalls let go of what is silent for some minutes.
const IDLE: Duration = Duration::from_mins(1);

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
    /// No more are opened.
    most: Option<usize>,
    /// One that was stuck was answered when others had gone.
    is_sure: bool,
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

/// Which connection a message may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'m> {
    /// The control id of the message; empty where it has none.
    pub(super) control_id: &'m [u8],
}

/// The place of one connection among those that there may be. It is given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    pool: Arc<Pool>,
    standing: Standing,
    /// Its connection is idle: it stays counted.
    is_kept: bool,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place, and for the idle connection in it, if there is one.
    pub(super) async fn place(self: &Arc<Self>, wish: Wish<'_>) -> (Place, Option<Connection>) {
        // Mostly there is one: then nothing need be listened for.
        if let Some(found) = self.try_place(wish) {
            return found;
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = self.try_place(wish) {
                return found;
            }
            changed.await;
        }
    }

    fn try_place(self: &Arc<Self>, wish: Wish<'_>) -> Option<(Place, Option<Connection>)> {
        let mut inner = self.lock();
        let (standing, connection) = if let Some((connection, standing)) = inner.take_idle(wish) {
            (standing, Some(connection))
        } else {
            if inner.is_full()
                && let Some(unfit) = inner.idle.pop()
            {
                // It makes room for one that is fit for this message.
                inner.gone(unfit.standing);
            }
            if inner.is_full() || inner.trials >= std::cmp::max(1, inner.heard()) {
                return None;
            }
            inner.open += 1;
            inner.trials += 1;
            (Standing::Trial, None)
        };
        let place = Place {
            pool: Arc::clone(self),
            standing,
            is_kept: false,
        };
        Some((place, connection))
    }

    /// Tells whether any connection is open: then one more, only to look, could keep a message waiting.
    pub(super) fn is_in_use(&self) -> bool {
        self.lock().open > 0
    }
}

impl Inner {
    /// Returns an idle connection that is still there, and on which a message can be told from those before it.
    fn take_idle(&mut self, wish: Wish<'_>) -> Option<(Connection, Standing)> {
        let mut at = self.idle.len();
        while at > 0 {
            at -= 1;
            let idle = self.idle.get_mut(at)?;
            let is_there = idle.since.elapsed() < IDLE && idle.connection.is_usable();
            let is_fit = is_there && idle.connection.can_tell(wish.control_id);
            if is_there && !is_fit {
                continue;
            }
            let idle = self.idle.remove(at);
            if is_fit {
                return Some((idle.connection, idle.standing));
            }
            self.gone(idle.standing);
        }
        None
    }

    fn heard(&self) -> usize {
        self.open - self.trials - self.stuck
    }

    fn is_full(&self) -> bool {
        self.most.is_some_and(|most| self.open >= most)
    }

    /// Takes note that a connection is no more.
    fn gone(&mut self, standing: Standing) {
        self.open -= 1;
        match standing {
            Standing::Trial => self.trials -= 1,
            Standing::Stuck => {
                self.stuck -= 1;
                if self.stuck == 0 && !self.is_sure {
                    // It was not for want of a place.
                    self.most = None;
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

    /// Takes note that something was answered.
    pub(super) fn heard(&mut self) {
        let mut inner = self.pool.lock();
        match self.standing {
            Standing::Heard => return,
            Standing::Trial => inner.trials -= 1,
            Standing::Stuck => {
                inner.stuck -= 1;
                if let Some(most) = inner.most
                    && !inner.is_sure
                {
                    inner.is_sure = true;
                    tracing::info!(
                        connections = most as u64,
                        "the receiver serves no more connections at a time"
                    );
                }
            }
        }
        self.standing = Standing::Heard;
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
            inner.most = Some(inner.most.map_or(heard, |most| std::cmp::min(most, heard)));
            for idle in std::mem::take(&mut inner.idle) {
                inner.gone(idle.standing);
            }
        }
        drop(inner);
        self.pool.changed.notify_waiters();
    }

    /// Keeps the connection for the next message, unless there are too many.
    pub(super) fn keep(mut self, connection: Connection) {
        let mut inner = self.pool.lock();
        if inner.most.is_some_and(|most| inner.open > most) {
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
        if !self.is_kept {
            self.pool.lock().gone(self.standing);
            self.pool.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const WISH: Wish<'static> = Wish { control_id: b"m1" };

    /// Returns a place for which nobody has to wait.
    fn now(pool: &Arc<Pool>) -> Option<(Place, Option<Connection>)> {
        pool.place(WISH).now_or_never()
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
        first.heard();
        let (mut second, _) = now(&pool).unwrap();
        assert!(now(&pool).is_none());
        second.heard();
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
        first.heard();
        let (ours, mut theirs) = connection(&listener).await;
        first.keep(ours);
        let (_, idle) = now(&pool).unwrap();
        assert!(idle.is_some(), "it is taken before another is opened");
        drop(idle);
        let (mut first, _) = now(&pool).unwrap();
        first.heard();
        let (mut second, _) = now(&pool).unwrap();
        second.is_stuck();
        // The first is let go as soon as it is idle.
        let (ours, _theirs) = connection(&listener).await;
        first.keep(ours);
        assert!(now(&pool).is_none(), "there is one, and it is stuck");
        second.heard();
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
        first.heard();
        let (mut second, _) = now(&pool).unwrap();
        second.is_stuck();
        assert!(now(&pool).is_none());
        drop(second);
        assert!(now(&pool).is_some(), "it was not for want of a place");
    }

    #[tokio::test]
    async fn what_was_closed_or_speaks_is_not_used() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for closes in [true, false] {
            let pool = Arc::default();
            let (mut place, _) = now(&pool).unwrap();
            place.heard();
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
