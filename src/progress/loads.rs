//! The state of loads at one moment, their order (those that wait for others), and when the last of them ends.

use std::time::Duration;

use super::rate::{self, Speed};
use crate::event::LoadPlanned;

/// The state of a load at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct LoadView {
    pub(super) name: String,
    pub(super) target: String,
    pub(super) planned: u64,
    pub(super) done: u64,
    pub(super) bytes: u64,
    pub(super) in_flight: u64,
    pub(super) retries: u64,
    /// Records of which the target is asked what it holds, before they are sent.
    pub(super) reading: u64,
    pub(super) rejected: u64,
    /// Records that are blocked or unknown.
    pub(super) failed: u64,
    pub(super) per_second: f64,
    pub(super) remaining: Option<Duration>,
    /// The way in which its records go, and how that compares with others.
    pub(super) way: Option<String>,
    /// The load that has to end before this one begins, while it has not.
    pub(super) waits_for: Option<String>,
}

impl LoadView {
    /// Tells whether all records are done.
    pub(super) fn is_over(&self) -> bool {
        self.done >= self.planned
    }

    /// Returns how many records in a hundred are done; never 100 before all are.
    pub(super) fn percent(&self) -> u64 {
        match self.planned {
            0 => 100,
            planned => std::cmp::min(self.done, planned).saturating_mul(100) / planned,
        }
    }
}

impl LoadView {
    /// Says how fast it goes and how long the rest takes. While its target is down neither can be told, and the speed of
    /// before holds for afterwards.
    pub(super) fn foresee(&mut self, elapsed: Duration, speed: &mut Speed, is_down: bool) {
        if is_down {
            speed.pause(elapsed, self.done);
            return;
        }
        if !(self.is_over() && speed.is_settled(self.done)) {
            // A load that is over keeps the speed it had.
            speed.look(elapsed, self.done);
        }
        self.per_second = speed.per_second();
        self.remaining = speed.remaining(self.planned.saturating_sub(self.done));
    }
}

/// Returns for each load the name of the first that has to end before it begins; none where it has begun, or need not wait.
pub(super) fn waits_for(planned: &[&LoadPlanned], loads: &[LoadView]) -> Vec<Option<String>> {
    let first = |(plan, load): (&&LoadPlanned, &LoadView)| {
        let has_begun = load.done > plan.before.done || load.in_flight + load.reading > 0;
        let before = plan.after.iter();
        let mut before = before.filter_map(|id| loads.get(id.0 as usize));
        let first = before.find(|other| !has_begun && !load.is_over() && !other.is_over());
        first.map(|other| other.name.clone())
    };
    planned.iter().zip(loads).map(first).collect()
}

/// Foresees when the last load ends: those that wait for others begin when these end, the others go side by side. One of
/// which nothing is known yet is taken to be as fast as all together are.
pub(super) fn last_end(
    planned: &[&LoadPlanned],
    loads: &[LoadView],
    per_second: f64,
) -> Option<Duration> {
    let mut ends: Vec<Option<Duration>> = Vec::new();
    // A load may wait for one that stands below it; no chain is longer than there are loads.
    ends.resize(loads.len(), Some(Duration::ZERO));
    for _ in loads {
        let before = ends.clone();
        for ((end, planned), load) in ends.iter_mut().zip(planned).zip(loads) {
            if load.is_over() {
                continue;
            }
            let waits = planned.after.iter();
            let begins = waits.map(|id| before.get(id.0 as usize).copied().flatten());
            let begins = begins.collect::<Option<Vec<_>>>();
            let begins = begins.map(|ends| ends.into_iter().max().unwrap_or_default());
            let is_begun = load.done > planned.before.done || load.in_flight > 0;
            let left = load.planned.saturating_sub(load.done);
            let own = load.remaining.filter(|_| is_begun);
            let own = own.or_else(|| rate::time_for(left, per_second));
            *end = begins
                .zip(own)
                .and_then(|(begins, own)| begins.checked_add(own));
        }
        if ends == before {
            break;
        }
    }
    let last = ends
        .into_iter()
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .max()?;
    (!last.is_zero()).then_some(last)
}
