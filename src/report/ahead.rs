//! Reading ahead: another thread makes items in batches, and the one that needs them takes them one by one.

use std::{
    sync::mpsc,
    thread::{Scope, ScopedJoinHandle},
    vec,
};

/// The number of items of a batch: enough that handing it over costs nothing beside making it.
const TOGETHER: usize = 256;

/// The number of batches that wait: enough to keep both threads busy.
const WAITING: usize = 4;

/// Items that another thread makes, in their order.
#[derive(Debug)]
pub(super) struct Ahead<T> {
    batches: mpsc::Receiver<Vec<T>>,
    batch: vec::IntoIter<T>,
}

/// The other end: it is given the items.
#[derive(Debug)]
pub(super) struct Maker<T> {
    batches: mpsc::SyncSender<Vec<T>>,
    batch: Vec<T>,
}

/// Nobody takes the items any more: the other end has failed, and says so itself.
#[derive(Debug)]
pub(super) struct Deserted;

impl<T: Send> Ahead<T> {
    /// Lets a thread of `scope` make the items.
    pub(super) fn of<'scope>(
        scope: &'scope Scope<'scope, '_>,
        make: impl FnOnce(&mut Maker<T>) -> Result<(), Deserted> + Send + 'scope,
    ) -> Self
    where
        T: 'scope,
    {
        let (sender, batches) = mpsc::sync_channel(WAITING);
        let mut maker = Maker {
            batches: sender,
            batch: Vec::with_capacity(TOGETHER),
        };
        let _: ScopedJoinHandle<'_, Result<(), Deserted>> = scope.spawn(move || {
            make(&mut maker)?;
            maker.hand_over()
        });
        Self {
            batches,
            batch: Vec::new().into_iter(),
        }
    }
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(item) = self.batch.next() {
                return Some(item);
            }
            self.batch = self.batches.recv().ok()?.into_iter();
        }
    }
}

impl<T> Maker<T> {
    /// Hands over the next item.
    pub(super) fn push(&mut self, item: T) -> Result<(), Deserted> {
        self.batch.push(item);
        if self.batch.len() < TOGETHER {
            return Ok(());
        }
        self.hand_over()
    }

    fn hand_over(&mut self) -> Result<(), Deserted> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(TOGETHER));
        self.batches.send(batch).map_err(|_| Deserted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_arrive_in_their_order_and_all_of_them() {
        for count in [0, 1, TOGETHER - 1, TOGETHER, TOGETHER * (WAITING + 3) + 1] {
            let taken: Vec<usize> = std::thread::scope(|scope| {
                Ahead::of(scope, |maker| (0..count).try_for_each(|n| maker.push(n))).collect()
            });
            assert_eq!(taken, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_maker_ends_when_nobody_takes_its_items() {
        std::thread::scope(|scope| {
            let mut ahead = Ahead::of(scope, |maker| {
                loop {
                    maker.push(1)?;
                }
            });
            assert_eq!(ahead.next(), Some(1));
        });
    }
}
