//! The bytes of bodies in flight or waiting, shared by all that is sent.
//!
//! A body larger than the whole budget goes alone. A waiting request holds nothing, so none waits for ever: the budget is
//! given back when a body has been sent or parked.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget is counted in blocks, because a semaphore counts no further than 2^32 permits at a time; and a body of
/// nothing costs something too, since a task comes with it.
const BLOCK: u64 = 1024;

/// A budget of bytes.
#[derive(Debug)]
pub struct ByteBudget {
    semaphore: Arc<Semaphore>,
    blocks: u32,
}

/// A part of a budget; given back when dropped.
#[derive(Debug)]
pub struct BytePermit {
    _permit: Option<OwnedSemaphorePermit>,
}

impl ByteBudget {
    /// Makes a budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let blocks = u32::try_from(bytes / BLOCK)
            .unwrap_or(u32::MAX >> 4)
            .clamp(1, u32::MAX >> 4);
        Self {
            semaphore: Arc::new(Semaphore::new(blocks as usize)),
            blocks,
        }
    }

    /// Takes `bytes` if they are free now.
    pub fn try_acquire(&self, bytes: u64) -> Option<BytePermit> {
        let blocks = self.blocks_of(bytes);
        let permit = Arc::clone(&self.semaphore)
            .try_acquire_many_owned(blocks)
            .ok()?;
        Some(BytePermit {
            _permit: Some(permit),
        })
    }

    fn blocks_of(&self, bytes: u64) -> u32 {
        let blocks = u32::try_from(bytes / BLOCK + 1).unwrap_or(u32::MAX);
        std::cmp::min(blocks, self.blocks)
    }

    /// Waits until `bytes` are free, and takes them. A body larger than the budget takes all of it.
    pub async fn acquire(&self, bytes: u64) -> BytePermit {
        let blocks = self.blocks_of(bytes);
        // The semaphore is never closed.
        BytePermit {
            // It is never closed.
            _permit: Arc::clone(&self.semaphore)
                .acquire_many_owned(blocks)
                .await
                .ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_are_shared_and_given_back() {
        let budget = ByteBudget::new(10 * BLOCK);
        let first = budget.acquire(8 * BLOCK).await;
        let second = budget.acquire(5 * BLOCK);
        tokio::pin!(second);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), &mut second)
                .await
                .is_err()
        );
        drop(first);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), &mut second)
                .await
                .is_ok()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_larger_than_the_budget_goes_alone() {
        let budget = ByteBudget::new(10 * BLOCK);
        let alone = budget.acquire(1 << 40).await;
        let next = budget.acquire(0);
        tokio::pin!(next);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), &mut next)
                .await
                .is_err()
        );
        drop(alone);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), &mut next)
                .await
                .is_ok()
        );
    }
}
