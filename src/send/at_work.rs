//! The time that a server is given to end what it may still be at work on, though nobody waits for its answer any more.
//!
//! A conditional write leaves the store as once would, whatever was sent before, where the server looks and writes in one. Many look
//! first, and write later: two that are at work beside each other both find nothing, and the record is there twice. So what may
//! still be at work, because its answer was lost or its session was cut off, is given time to end before it is sent again.

use std::time::{Duration, SystemTime};

use super::Earlier;
use crate::{
    event::LoadId, journal::JournalIndex, manifest::Store, plan::file::Saved, record::Operation,
};

/// The local store commits within milliseconds; other servers seldom take longer than the second for a request whose client is
/// gone.
pub(super) const LOCAL_GRACE: Duration = Duration::from_millis(500);
/// See [`LOCAL_GRACE`].
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// A session whose journal was last written to before this time has nothing at work: while it went on, it wrote each second.
const LONG_GONE: Duration = Duration::from_mins(1);

/// Returns how long a conditional write rests after its answer was lost. Google's stores, whose index is synchronous, and the local
/// one look and write in one.
pub(super) fn rest(store: Option<&Store>) -> Duration {
    if store.is_some_and(Store::is_googles) {
        Duration::ZERO
    } else {
        GRACE
    }
}

/// Returns how long a run rests before it sends anything, where a session was cut off a moment ago: as long as its conditional writes
/// would, if any may be left.
pub fn rest_after_session(plan: &Saved, earlier: &Earlier) -> Duration {
    let settled = earlier.history.as_ref().map(|history| history.counts().0);
    if settled.is_some_and(|settled| settled >= plan.summary.records()) {
        return Duration::ZERO;
    }
    let loads = (0_u32..).zip(&plan.summary.loads);
    let conditional = loads.filter(|(_, totals)| {
        let mut operations = Operation::CONDITIONAL.iter();
        operations.any(|operation| totals.interactions.contains_key(operation.as_str()))
    });
    let rests = conditional.map(|(load, _)| {
        let target = plan.header.target_of(LoadId(load));
        rest(target.map(|target| &target.settings.store))
    });
    // Without a conditional write there is nothing to wait for.
    rests.max().unwrap_or(Duration::ZERO)
}

/// Tells whether the last session of a journal was cut off a moment ago, and may have left requests at work: it was killed, or ended
/// before all was done, as after a second Ctrl-C. It is asked before the next session is written into the journal.
pub fn was_cut_off_lately(history: &JournalIndex) -> bool {
    let is_done = history.end.as_ref().is_some_and(|end| end.how.is_done());
    !history.sessions.is_empty() && !is_done && was_written_lately(history.written)
}

/// Tells whether a journal that was last written to at a time may be that of a session which was cut off a moment ago.
pub fn was_written_lately(written: Option<SystemTime>) -> bool {
    // A clock that was set back says nothing.
    let since = written.and_then(|at| at.elapsed().ok());
    since.is_none_or(|since| since < LONG_GONE)
}
