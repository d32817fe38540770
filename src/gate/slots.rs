//! The number of requests under way at a time: it is set, or found by [`ConcurrencyLimiter`] between two bounds.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::concurrency::{ConcurrencyLimiter, Signal, Ticket};
use crate::manifest::Concurrency;

/// A slot rests no longer than this after a refusal, however slow the store is otherwise.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// The part of a new latency in the usual one: a mean over the last few dozen.
const SMOOTHING: f64 = 1.0 / 32.0;

/// The slots of a target.
#[derive(Debug)]
pub(super) struct Slots {
    semaphore: Arc<Semaphore>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    climb: ConcurrencyLimiter,
    /// Slots there are, those that are to go included.
    count: u32,
    /// Slots that go as soon as they come back.
    debt: u32,
    on_wire: u32,
    usual: Option<f64>,
}

/// A slot; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    permit: Option<OwnedSemaphorePermit>,
    ticket: Option<Ticket>,
    /// A request was sent with it.
    is_busy: bool,
}

impl Slots {
    pub(super) fn new(concurrency: Concurrency) -> Arc<Self> {
        let climb = ConcurrencyLimiter::new(concurrency.min, concurrency.max);
        let count = climb.limit();
        Arc::new(Self {
            semaphore: Arc::new(Semaphore::new(count as usize)),
            inner: Mutex::new(Inner {
                climb,
                count,
                debt: 0,
                on_wire: 0,
                usual: None,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot.
    pub(super) async fn acquire(self: &Arc<Self>) -> Slot {
        loop {
            // The semaphore is never closed.
            let permit = Arc::clone(&self.semaphore).acquire_owned().await.ok();
            let slot = Slot {
                slots: Arc::clone(self),
                permit,
                ticket: None,
                is_busy: false,
            };
            // A slot that was handed over just before the number shrank goes like one that comes back.
            if self.lock().debt == 0 {
                return slot;
            }
        }
    }

    /// Returns the number of slots, and of requests on the wire.
    pub(super) fn figures(&self) -> (u32, u32) {
        let inner = self.lock();
        (inner.climb.limit(), inner.on_wire)
    }

    /// Tells, once, that refusals come and go whatever the number of slots.
    pub(super) fn take_quota(&self) -> bool {
        self.lock().climb.take_quota()
    }

    /// Takes back what refusals have cost: concurrency was not their cause.
    pub(super) fn restore(&self) {
        let mut inner = self.lock();
        inner.climb.restore();
        self.adjust(&mut inner);
    }

    /// Makes as many slots as the climb says.
    fn adjust(&self, inner: &mut Inner) {
        let (limit, count) = (inner.climb.limit(), inner.count - inner.debt);
        if limit > count {
            let kept = std::cmp::min(limit - count, inner.debt);
            inner.debt -= kept;
            let new = limit - count - kept;
            inner.count += new;
            self.semaphore.add_permits(new as usize);
        } else if limit < count {
            let gone = self.semaphore.forget_permits((count - limit) as usize);
            let gone = u32::try_from(gone).unwrap_or(u32::MAX);
            inner.count -= gone;
            inner.debt += count - limit - gone;
        }
    }
}

impl Slot {
    /// Tells whether the slot is still one of those there are: their number may shrink while it is held.
    pub(super) fn is_kept(&self) -> bool {
        self.slots.lock().debt == 0
    }

    /// Takes note that the request goes on the wire; returns how many are there with it.
    pub(super) fn sent(&mut self) -> u32 {
        let mut inner = self.slots.lock();
        inner.on_wire += 1;
        self.ticket = Some(inner.climb.sent(Instant::now()));
        self.is_busy = true;
        inner.on_wire
    }

    /// Takes note of the answer. After a refusal the slot rests until a request that is taken would have come back:
    /// otherwise a store that refuses quickly would be asked the more often, the less it can take.
    pub(super) fn answered(&mut self, answer: Signal) -> Option<Instant> {
        let now = Instant::now();
        let ticket = self.ticket.take()?;
        let mut inner = self.slots.lock();
        inner.on_wire -= 1;
        let latency = now - ticket.sent;
        let mut held = latency;
        if answer == Signal::Taken {
            let seconds = latency.as_secs_f64();
            let usual = inner.usual.unwrap_or(seconds);
            inner.usual = Some(usual + (seconds - usual) * SMOOTHING);
        } else if answer == Signal::Refused {
            let usual = Duration::from_secs_f64(inner.usual.unwrap_or_default());
            held = std::cmp::max(latency, std::cmp::min(usual, LONGEST_REST));
        }
        inner.climb.answered(ticket, answer, held, now);
        self.slots.adjust(&mut inner);
        (held > latency).then(|| ticket.sent + held)
    }

    /// Gives the slot back at a time to come.
    pub(super) fn rest_until(self, until: Instant) {
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            drop(self);
        });
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut inner = self.slots.lock();
        if let Some(ticket) = self.ticket.take() {
            inner.on_wire -= 1;
            inner.climb.lost(ticket);
        }
        if self.is_busy {
            inner.climb.freed(Instant::now());
        }
        if inner.debt > 0
            && let Some(permit) = self.permit.take()
        {
            inner.debt -= 1;
            inner.count -= 1;
            permit.forget();
        }
    }
}
