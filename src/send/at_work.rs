//! Waits until a server has ended what it may still be at work on, though nobody waits for its answer any more.
//!
//! A conditional write leaves the store as once would, whatever was sent before, where the server looks and writes in one. Many look
//! first, and write later: two that are at work beside each other both find nothing, and the record is there twice. So what may
//! still be at work, because its answer did not come in time or its session was killed, is given time to end before it is sent again.

use std::time::Duration;

use super::RunContext;
use crate::{event::LoadId, journal::JournalIndex, manifest::Store, record::Operation};

/// The local store commits within milliseconds; other servers seldom take longer than the second for a request whose client is
/// gone.
pub(super) const LOCAL_GRACE: Duration = Duration::from_millis(500);
/// See [`LOCAL_GRACE`].
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// A session whose directory was last written to before this time has nothing at work: while it went on, it wrote each second.
const LONG_GONE: Duration = Duration::from_mins(1);

/// Returns how long a request of conditional writes rests after its answer did not come in time. Google's stores, whose index is synchronous,
/// and the local one look and write in one.
pub(super) fn rest(store: Option<&Store>) -> Duration {
    if store.is_some_and(Store::is_googles) {
        Duration::ZERO
    } else {
        GRACE
    }
}

/// Waits for what a session that was killed a moment ago may have left at work, or until the run is stopping.
pub async fn wait_for_session(setup: &RunContext) {
    let Some(history) = &setup.earlier.history else {
        return;
    };
    let is_left = history.counts().0 < setup.plan.summary.records();
    if !is_left {
        return;
    }
    let rests = (0_u32..)
        .zip(&setup.plan.summary.loads)
        .map(|(load, totals)| {
            let target = setup.plan.header.target_of(LoadId(load));
            let is_conditional = Operation::CONDITIONAL
                .iter()
                .any(|operation| totals.interactions.contains_key(operation.as_str()));
            let rest = rest(target.map(|target| &target.settings.store));
            if is_conditional { rest } else { Duration::ZERO }
        });
    let rest = rests.max().unwrap_or_default();
    if rest.is_zero() {
        return;
    }
    tracing::info!(
        seconds = rest.as_secs(),
        "the session before was cut off: a target may still be at work on its conditional writes, and is given time to end them"
    );
    tokio::select! {
        () = tokio::time::sleep(rest) => {}
        () = setup.stop.stopping() => {}
    }
}

/// Tells whether the last session of a journal was cut off a moment ago; asked before the next one is written into it.
pub fn was_cut_off_lately(history: &JournalIndex) -> bool {
    if history.sessions.is_empty() || history.end.is_some() {
        return false;
    }
    // A clock that was set back says nothing.
    let since = history.written.and_then(|at| at.elapsed().ok());
    since.is_none_or(|since| since < LONG_GONE)
}
