//! The samples of a run, second by second: `samples.ndjson` in its directory, from which the pictures of its report are
//! drawn.
//!
//! A [`Recorder`] counts what `send` tells those who watch, target by target; a thread of [`Sampling`] writes the counts down,
//! a line a second and target. A file that grows long is folded: neighbouring seconds become one line, so that ten hours
//! take as many lines as twenty minutes do. Samples are no truth: a sample that is missing is a gap in a picture and
//! nothing else, and no figure of a report comes from here. They hold counts and the names of targets, and no content.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::record::Outcome;

mod fold;
mod reader;
mod recorder;
mod writer;

pub use fold::{fold, width};
pub use reader::{SamplesRead, read};
pub use recorder::Recorder;
pub use writer::{Error, Sampling};

/// The file in the directory of a run.
pub const FILE: &str = "samples.ndjson";

/// The figures of a target for a second, or for several that were folded into one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it begins, in milliseconds since the first session of the run began.
    pub at_ms: u64,
    /// The length of the sample, in milliseconds.
    pub for_ms: u64,
    /// The session, from 1.
    pub session: u32,
    /// The target's name.
    pub target: String,
    /// Records settled meanwhile, by outcome.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Requests put on the wire, repeated ones included.
    #[serde(default)]
    pub attempts: u64,
    /// Answers by which the target refused for now: it asked to be slower.
    #[serde(default)]
    pub refusals: u64,
    /// Requests that were to be tried again.
    #[serde(default)]
    pub retries: u64,
    /// The latencies of answers: pairs of a bucket ([`bucket`]) and the number of answers in it, by bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<(u8, u64)>,
    /// The most requests that were seen under way.
    #[serde(default)]
    pub in_flight: u32,
    /// The most requests that were allowed to be.
    #[serde(default)]
    pub slots: u32,
    /// Operations a second at the most, where that was learned from refusals: the least meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<f64>,
    /// Milliseconds for which the target had asked to wait.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub braked_ms: u64,
    /// Milliseconds for which it was down, and one request at a time asked whether it is back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub down_ms: u64,
    /// Bytes of request bodies.
    #[serde(default)]
    pub bytes_sent: u64,
    /// Bytes of response bodies.
    #[serde(default)]
    pub bytes_received: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Sample {
    /// Returns when it ends, in milliseconds since the first session of the run began.
    pub fn end_ms(&self) -> u64 {
        self.at_ms.saturating_add(self.for_ms)
    }

    /// Returns how many records were settled.
    pub fn settled(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Tells whether there is nothing to say.
    fn is_idle(&self) -> bool {
        self.settled() + self.attempts + self.refusals + self.retries == 0
            && self.latency.is_empty()
            && self.braked_ms + self.down_ms + u64::from(self.in_flight) == 0
    }

    /// Returns the time that no more than a share of the answers exceeded, to a bucket's width.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.latency.iter().map(|(_, count)| count).sum();
        let mut left = (all as f64 * share).ceil();
        for (bucket, count) in &self.latency {
            left -= *count as f64;
            if left <= 0.0 {
                return Some(upper(*bucket));
            }
        }
        self.latency.last().map(|(bucket, _)| upper(*bucket))
    }
}

/// Buckets of a histogram of latency: beyond the last but one, 1.5 hours, nothing is told apart.
pub const BUCKETS: u8 = 104;

/// The upper end of the first bucket: no store over a network answers sooner.
const FIRST_US: f64 = 100.0;

/// Buckets for a doubling: each is a fifth wider than the one before, which a picture cannot show more exactly.
const A_DOUBLING: f64 = 4.0;

/// Returns into which bucket a latency falls: 0 up to 100 µs, and from there four for each doubling.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 0 and the number of buckets"
)]
pub fn bucket(latency: Duration) -> u8 {
    let doublings = (latency.as_secs_f64() * 1e6 / FIRST_US).log2();
    (doublings * A_DOUBLING)
        .ceil()
        .clamp(0.0, f64::from(BUCKETS - 1)) as u8
}

/// Returns the upper end of a bucket.
pub fn upper(bucket: u8) -> Duration {
    let micros = FIRST_US * (f64::from(bucket) / A_DOUBLING).exp2();
    Duration::from_secs_f64(micros / 1e6)
}

/// Returns where the samples of a run stand.
pub fn path(run: &crate::journal::RunDirectory) -> PathBuf {
    run.path().join(FILE)
}

#[cfg(test)]
mod tests;
