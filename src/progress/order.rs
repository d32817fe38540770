//! The order of loads: those that wait for others, and when the last of them ends.

use std::time::Duration;

use super::{counters::LoadView, rate};
use crate::event::LoadPlanned;

/// Returns for each load the name of the first that has to end before it begins; none where it has begun, or need not wait.
pub(super) fn waits_for(planned: &[&LoadPlanned], loads: &[LoadView]) -> Vec<Option<String>> {
    let first = |(plan, load): (&&LoadPlanned, &LoadView)| {
        let has_begun = load.done > plan.before.done || load.in_flight > 0;
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
