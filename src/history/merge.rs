//! Makes few segments of many, so that a record is looked for in a handful of them.

use std::{cmp::Reverse, collections::BinaryHeap, path::Path};

use super::{
    Error,
    directory::{place_of, segments, sequence_of},
    segment::{Key, Segment, Walk, Writer},
};
use crate::journal;

/// The number of segments that is not worth a merge.
const FEW: usize = 8;

/// Merges the newest segments, together with every older one that is not much larger than they are: their sizes then grow
/// from the newest to the oldest, and there are never many. Whoever finds another process at it leaves it to that one.
pub(super) fn merge(directory: &Path) -> Result<(), Error> {
    let paths = segments(directory)?;
    if paths.len() <= FEW {
        return Ok(());
    }
    let lock = directory.join("lock");
    let lock = journal::private_append(&lock).map_err(|e| Error::file(&lock, &e))?;
    if lock.file().try_lock().is_err() {
        return Ok(());
    }
    let paths = segments(directory)?;
    // The oldest first, as in `paths`.
    let mut merged: Vec<Segment> = Vec::new();
    let mut bytes = 0;
    for path in paths.iter().rev() {
        let segment = Segment::open(path)?;
        if merged.len() > FEW / 2 && segment.length() > 2 * bytes {
            break;
        }
        bytes += segment.length();
        merged.insert(0, segment);
    }
    let Some(newest) = merged.last() else {
        return Ok(());
    };
    let (mut targets, mut runs) = (Vec::<String>::new(), Vec::<(String, u64)>::new());
    for segment in merged.iter().rev() {
        for target in &segment.footer.targets {
            if !targets.contains(target) {
                targets.push(target.clone());
            }
        }
        // Of a run that was taken in more than once, the newest holds.
        for run in &segment.footer.runs {
            if !runs.iter().any(|(name, _)| *name == run.0) {
                runs.push(run.clone());
            }
        }
    }
    let mut writer = Writer::create(directory)?;
    join(&merged, |key, value| writer.row(key, value))?;
    // It takes the place of the newest in the order; between its naming and the removal of the others, both say the same.
    let sequence = sequence_of(&newest.path);
    let place = place_of(directory, sequence, PART_OF_MERGED);
    writer.finish(&place, targets, runs, true)?;
    for segment in &merged {
        fs_err::remove_file(&segment.path).map_err(|e| Error::file(&segment.path, &e))?;
    }
    Ok(())
}

/// Comes after all parts that a run has of the same sequence.
const PART_OF_MERGED: u64 = 99_999;

/// Hands over the rows of several segments, the oldest of which comes first, in the order of their keys; of a key the newest
/// row.
fn join(
    segments: &[Segment],
    mut each: impl FnMut(Key, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut heads: Vec<Head<'_>> = Vec::with_capacity(segments.len());
    // The smallest key first, and of equal ones that of the newest segment.
    let mut next = BinaryHeap::with_capacity(segments.len());
    for (age, segment) in segments.iter().rev().enumerate() {
        let mut head = Head {
            walk: segment.rows(),
            value: Vec::new(),
        };
        if let Some(key) = head.advance()? {
            next.push(Reverse((key, age)));
        }
        heads.push(head);
    }
    let mut told = None;
    while let Some(Reverse((key, age))) = next.pop() {
        let Some(head) = heads.get_mut(age) else {
            continue;
        };
        if told != Some(key) {
            each(key, &head.value)?;
            told = Some(key);
        }
        if let Some(key) = head.advance()? {
            next.push(Reverse((key, age)));
        }
    }
    Ok(())
}

/// The next row of a segment.
struct Head<'a> {
    walk: Walk<'a>,
    value: Vec<u8>,
}

impl Head<'_> {
    /// Goes to the next row, and returns its key.
    fn advance(&mut self) -> Result<Option<Key>, Error> {
        self.value.clear();
        Ok(self.walk.next()?.map(|(key, value)| {
            self.value.extend_from_slice(value);
            key
        }))
    }
}
