//! Ends a run early, in order: why, and how far.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::RunEnd;
use crate::journal::Ending;

/// Ends a run early. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// No new work.
    stopping: CancellationToken,
    /// Requests in flight are dropped.
    dropping: CancellationToken,
    why: Arc<Mutex<Option<RunEnd>>>,
}

impl Stop {
    /// Takes note of a signal: the first lets what is in flight finish, the second drops it.
    pub fn interrupt(&self) {
        if self.is_stopping() {
            self.dropping.cancel();
        }
        self.end(Ending::Interrupted, "interrupted", None);
    }

    /// Ends the run for a reason; the first reason holds.
    pub fn end(&self, how: Ending, reason: &str, hint: Option<String>) {
        self.why().get_or_insert_with(|| RunEnd {
            how,
            reason: Some(reason.to_owned()),
            hint,
        });
        self.stopping.cancel();
    }

    /// Ends the run because of an error that is reported elsewhere.
    pub(super) fn fail(&self) {
        self.stopping.cancel();
    }

    /// Tells whether no new work is to be started.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Waits until no new work is to be started.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Waits until what is in flight is to be dropped.
    pub async fn dropping(&self) {
        self.dropping.cancelled().await;
    }

    /// Returns how the run ended.
    pub fn ended(&self) -> RunEnd {
        let complete = RunEnd {
            how: Ending::Complete,
            reason: None,
            hint: None,
        };
        self.why().clone().unwrap_or(complete)
    }

    fn why(&self) -> MutexGuard<'_, Option<RunEnd>> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
