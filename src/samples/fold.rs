//! Folds neighbouring samples into one, so that a long run takes no more lines than a short one.

use std::collections::BTreeMap;

use super::Sample;

/// Folds samples that begin in the same stretch of `width` milliseconds, session by session and target by target. All that is
/// counted stays the same in sum; of what is a level, the most stays (of a ceiling the least).
pub fn fold(samples: Vec<Sample>, width: u64) -> Vec<Sample> {
    let width = std::cmp::max(width, 1);
    let mut folded: BTreeMap<(u32, u64, String), Sample> = BTreeMap::new();
    for sample in samples {
        let key = (sample.session, sample.at_ms / width, sample.target.clone());
        match folded.get_mut(&key) {
            Some(kept) => kept.add(sample),
            None => {
                folded.insert(key, sample);
            }
        }
    }
    folded.into_values().collect()
}

/// Returns the width, a second times a power of two, in which samples become no more than `most` lines: at least `from`. If
/// there are more targets than that, they become no fewer than a line for each.
pub fn width(samples: &[Sample], most: usize, from: u64) -> u64 {
    let mut width = std::cmp::max(from, 1_000);
    let last = samples.iter().map(Sample::end_ms).max().unwrap_or(0);
    loop {
        let stretches: std::collections::BTreeSet<_> = samples
            .iter()
            .map(|sample| (sample.session, sample.at_ms / width, &sample.target))
            .collect();
        if stretches.len() <= most || width > last {
            return width;
        }
        width *= 2;
    }
}

impl Sample {
    /// Takes another of the same target and session into this one.
    fn add(&mut self, other: Self) {
        let begin = std::cmp::min(self.at_ms, other.at_ms);
        let end = std::cmp::max(self.end_ms(), other.end_ms());
        self.at_ms = begin;
        self.for_ms = end - begin;
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.attempts += other.attempts;
        self.refusals += other.refusals;
        self.retries += other.retries;
        let mut latency: BTreeMap<u8, u64> = self.latency.drain(..).collect();
        for (bucket, count) in other.latency {
            *latency.entry(bucket).or_default() += count;
        }
        self.latency = latency.into_iter().collect();
        self.in_flight = std::cmp::max(self.in_flight, other.in_flight);
        self.slots = std::cmp::max(self.slots, other.slots);
        self.ceiling = match (self.ceiling, other.ceiling) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        self.braked_ms += other.braked_ms;
        self.down_ms += other.down_ms;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }
}
