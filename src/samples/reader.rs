//! Reads samples back. Whatever stands in the file, a report gets its page: what cannot be read is counted and left out.

use std::io::{self, BufRead as _, BufReader, Read as _};

use super::{BUCKETS, Sample, path};
use crate::journal::RunDirectory;

/// The samples of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SamplesRead {
    /// In the order of their beginnings.
    pub samples: Vec<Sample>,
    /// Lines that say nothing that is known.
    pub unreadable: u64,
}

/// The most bytes that are read: many times what a file that is folded has, so that a foreign one does not fill the memory.
const MOST: u64 = 64 << 20;

/// The longest stretch and the latest time that are believed, in milliseconds: a century.
const LATEST: u64 = 100 * 365 * 86_400_000;

/// Reads the samples of a run; none where it has no such file: it is older than samples, or sent nothing. A line at the end
/// that is torn is left out.
///
/// # Errors
///
/// When the file cannot be read.
pub fn read(run: &RunDirectory) -> io::Result<Option<SamplesRead>> {
    let file = match fs_err::File::open(path(run)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut found = SamplesRead::default();
    let mut lines = BufReader::new(file.take(MOST));
    let mut line = Vec::new();
    loop {
        line.clear();
        // A torn line has no break at its end.
        if lines.read_until(b'\n', &mut line)? == 0 || line.last() != Some(&b'\n') {
            break;
        }
        match serde_json::from_slice::<Sample>(&line) {
            Ok(sample) if is_sound(&sample) => found.samples.push(sample),
            _ => found.unreadable += 1,
        }
    }
    found.samples.sort_by_key(|sample| sample.at_ms);
    Ok(Some(found))
}

/// Tells whether what was read can be what was written.
fn is_sound(sample: &Sample) -> bool {
    /// No sum over a whole file overflows.
    const COUNT: u64 = 1 << 44;
    let buckets = sample.latency.iter();
    let counts = [
        sample.attempts,
        sample.refusals,
        sample.retries,
        sample.braked_ms,
        sample.down_ms,
        sample.bytes_sent >> 16,
        sample.bytes_received >> 16,
    ];
    sample.at_ms <= LATEST
        && sample.for_ms <= LATEST
        && buckets.clone().all(|(bucket, _)| *bucket < BUCKETS)
        && counts.into_iter().all(|count| count < COUNT)
        && buckets.map(|(_, count)| count).all(|count| *count < COUNT)
        && sample.outcomes.values().all(|count| *count < COUNT)
        && sample.ceiling.is_none_or(f64::is_finite)
}
