//! The control ids of the messages that are on their way to a receiver, on any connection.
//!
//! A receiver may give a control id back otherwise than it was sent. That names the message, unless it may name another one on its
//! way as well.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::hl7v2::control_id::ControlId;

/// The control ids on their way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    ids: Mutex<Vec<ControlId>>,
}

/// A message on its way; its id is taken off when dropped.
#[derive(Debug)]
pub(super) struct Flight<'f> {
    flights: &'f Flights,
    id: ControlId,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, Vec<ControlId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that a message is on its way.
    pub(super) fn begin(&self, control_id: &ControlId) -> Flight<'_> {
        let id = control_id.clone();
        self.lock().push(id.clone());
        Flight { flights: self, id }
    }

    /// Tells whether a message is on its way that an acknowledgement may name, and that has another id than this.
    pub(super) fn has_another(&self, named: &ControlId, control_id: &ControlId) -> bool {
        let ids = self.lock();
        ids.iter().any(|id| id.may_be(named) && !id.is(control_id))
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
