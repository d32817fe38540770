//! The messages that were lost on their way to a receiver: one that is sent again begins on a fresh connection, for those that
//! have answered others may acknowledge nothing more.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, RandomState},
};

use crate::hl7v2::control_id::ControlId;

/// The number of messages that are kept; those lost before them are forgotten.
const KEPT: usize = 1024;

/// The control ids of messages that were lost, as hashes: two ids of one hash cost a connection, and no more.
#[derive(Debug, Default)]
pub(super) struct Astray {
    hashes: VecDeque<u64>,
    state: RandomState,
}

impl Astray {
    /// Takes note that the message of this control id was lost.
    pub(super) fn add(&mut self, control_id: &ControlId) {
        if self.has(control_id) {
            return;
        }
        if self.hashes.len() >= KEPT {
            self.hashes.pop_front();
        }
        self.hashes
            .push_back(self.state.hash_one(control_id.as_bytes()));
    }

    /// Tells whether a message of this control id was lost.
    pub(super) fn has(&self, control_id: &ControlId) -> bool {
        !self.hashes.is_empty()
            && self
                .hashes
                .contains(&self.state.hash_one(control_id.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_messages_are_known() {
        let mut astray = Astray::default();
        let id = ControlId::plain;
        assert!(!astray.has(&id("m0")));
        for n in 0..=KEPT {
            astray.add(&id(&format!("m{n}")));
            astray.add(&id("m1"));
        }
        assert!(!astray.has(&id("m0")) && astray.has(&id("m1")) && astray.has(&id("m1024")));
    }
}
