//! Makes few segments of many, so that a record is looked for in a handful of them.

use std::path::Path;

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
    let mut walks: Vec<Head<'_>> = Vec::with_capacity(segments.len());
    for segment in segments {
        let mut head = Head {
            walk: segment.rows(),
            key: None,
            value: Vec::new(),
        };
        head.advance()?;
        walks.push(head);
    }
    while let Some(key) = walks.iter().filter_map(|head| head.key).min() {
        let mut is_told = false;
        for head in walks.iter_mut().rev() {
            if head.key == Some(key) {
                if !is_told {
                    each(key, &head.value)?;
                    is_told = true;
                }
                head.advance()?;
            }
        }
    }
    Ok(())
}

/// The next row of a segment.
struct Head<'a> {
    walk: Walk<'a>,
    key: Option<Key>,
    value: Vec<u8>,
}

impl Head<'_> {
    fn advance(&mut self) -> Result<(), Error> {
        self.value.clear();
        self.key = match self.walk.next()? {
            Some((key, value)) => {
                self.value.extend_from_slice(value);
                Some(key)
            }
            None => None,
        };
        Ok(())
    }
}
