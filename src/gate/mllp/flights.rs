//! The control ids of the messages that are on their way to a receiver, on any connection.
//!
//! A receiver may give a control id back in other capitals. That names the message, unless another one on its way has just
//! that id.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The control ids on their way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    ids: Mutex<Vec<Box<[u8]>>>,
}

/// A message on its way; its id is taken off when dropped.
#[derive(Debug)]
pub(super) struct Flight<'f> {
    flights: &'f Flights,
    id: Box<[u8]>,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that a message is on its way.
    pub(super) fn begin(&self, control_id: &[u8]) -> Flight<'_> {
        let id: Box<[u8]> = control_id.trim_ascii().into();
        self.lock().push(id.clone());
        Flight { flights: self, id }
    }

    /// Tells whether a message with just this id is on its way.
    pub(super) fn has(&self, control_id: &[u8]) -> bool {
        self.lock().iter().any(|id| **id == *control_id)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut ids = self.flights.lock();
        if let Some(at) = ids.iter().position(|id| *id == self.id) {
            ids.swap_remove(at);
        }
    }
}
