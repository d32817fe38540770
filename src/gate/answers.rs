//! The bytes of answers: how large one may be, and the part of the memory that all which are being read share.
//!
//! The size of an answer is bounded by that of its request: a store says where it put a record, or sends it back. The
//! first bytes of an answer are free, because nearly all are small; a longer answer takes its room from a budget, and
//! where that is used up, one answer goes on while the others wait with their connections. So a server can fill no more
//! memory than the budget and one answer, however many it gives at a time and however well they are compressed.

use std::sync::Arc;

use ::http::Request;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::{ByteBudget, BytePermit};
use crate::manifest::DEFAULT_MEMORY;

/// The largest size of the answer to a request, in bytes, where its maker knows better than the request's size tells.
/// It travels with the request, in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Largest(pub u64);

impl Largest {
    /// The answer to a read of a resource that is to be compared with one of `bytes` bytes: however it is indented, one that
    /// is larger is another.
    pub fn holding(bytes: usize) -> Self {
        Self((bytes as u64).saturating_mul(2 * ECHO).saturating_add(MORE))
    }
}

/// The number of bytes that a server may add to a resource, narrative included.
const MORE: u64 = 1 << 18;

/// The bytes that an answer may have besides an echo of the request: a resource that the store held before, a page of
/// remarks, a server's description of itself.
const FLOOR: u64 = 16 << 20;

/// A server that sends back what it got may indent it, and add what it makes of it.
const ECHO: u64 = 4;

/// The part of an answer, in bytes, that needs no room of its own.
const FREE: u64 = 16 << 10;

/// Room is taken in steps of this size at the least.
const STEP: u64 = 64 << 10;

/// A buffer that grows has up to twice the size of what is in it.
const GROWTH: u64 = 2;

/// Returns how large the answer to a request may be.
pub(super) fn largest(request: &Request<Bytes>) -> u64 {
    match request.extensions().get::<Largest>() {
        Some(Largest(bytes)) => *bytes,
        None => FLOOR.saturating_add(ECHO.saturating_mul(request.body().len() as u64)),
    }
}

/// The memory that answers share.
#[derive(Debug)]
pub struct AnswerBudget {
    shared: ByteBudget,
    /// The one permit to go on beyond the budget: its holder needs no more room.
    alone: Arc<Semaphore>,
}

/// The room of an answer, given back when it has been read and dropped.
#[derive(Debug, Default)]
pub(super) struct Room {
    held: u64,
    parts: Vec<BytePermit>,
    alone: Option<OwnedSemaphorePermit>,
}

impl AnswerBudget {
    /// Makes a budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        Self {
            shared: ByteBudget::new(bytes),
            alone: Arc::new(Semaphore::new(1)),
        }
    }

    /// Makes the budget of what `memory` leaves to answers; the rest is for what is sent.
    pub fn of_memory(memory: u64) -> Self {
        Self::new(share(memory))
    }

    /// Waits until an answer has room for `bytes` in all.
    pub(super) async fn grow(&self, room: &mut Room, bytes: u64) {
        let wanted = bytes.saturating_mul(GROWTH);
        if bytes <= FREE || wanted <= room.held || room.alone.is_some() {
            return;
        }
        // As much again, so that a large answer takes few steps.
        let step = std::cmp::max(wanted - room.held, std::cmp::max(room.held, STEP));
        if let Some(part) = self.shared.try_acquire(step) {
            room.held += step;
            room.parts.push(part);
        } else {
            // It is never closed.
            room.alone = Arc::clone(&self.alone).acquire_owned().await.ok();
        }
    }
}

impl Default for AnswerBudget {
    fn default() -> Self {
        Self::of_memory(DEFAULT_MEMORY.0)
    }
}

/// Returns how much of `memory` is for answers.
pub fn share(memory: u64) -> u64 {
    memory / 4
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sent(bytes: usize) -> Request<Bytes> {
        Request::new(Bytes::from(vec![b' '; bytes]))
    }

    #[test]
    fn what_was_sent_says_what_may_come_back() {
        assert_eq!(largest(&sent(0)), FLOOR);
        assert_eq!(largest(&sent(1000)), FLOOR + 4000);
        let mut request = sent(1000);
        request.extensions_mut().insert(Largest(7));
        assert_eq!(largest(&request), 7);
    }

    /// Many large answers at once: the budget, and one of them beyond it.
    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_goes_on_alone() {
        let budget = AnswerBudget::new(1 << 20);
        let mut rooms: Vec<Room> = (0..8).map(|_| Room::default()).collect();
        for room in &mut rooms {
            budget.grow(room, FREE).await;
            assert_eq!(room.held, 0);
        }
        let mut waiting = 0;
        for room in &mut rooms {
            let grown = budget.grow(room, 150 << 10);
            let grown = tokio::time::timeout(Duration::from_secs(1), grown).await;
            waiting += u32::from(grown.is_err());
        }
        let held: u64 = rooms.iter().map(|room| room.held).sum();
        assert!(held <= 1 << 20, "{held}");
        let alone = rooms.iter().position(|room| room.alone.is_some()).unwrap();
        assert_eq!(waiting, 4, "three have room, one is alone");
        // It may go on; when it is over, the next does.
        budget.grow(&mut rooms[alone], 1 << 30).await;
        rooms[alone] = Room::default();
        let next = budget.grow(&mut rooms[7], 150 << 10);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), next)
                .await
                .is_ok()
        );
    }
}
