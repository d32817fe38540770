//! Rows: what a later run should know of a record, as bytes; and those of a run, collected and sorted.

use std::{
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use jiff::Timestamp;

use super::{
    Before, Error, ReferenceMeaning,
    directory::{next_sequence, place_of},
    segment::{Key, Writer},
};
use crate::record::Operation;

/// Returns the key of the n-th record of the same target, interaction and content.
pub(super) fn key(target: &str, interaction: Operation, hash: u128, nth: u32) -> Key {
    let mut bytes = Vec::with_capacity(target.len() + 48);
    bytes.extend_from_slice(&hash.to_le_bytes());
    bytes.extend_from_slice(&nth.to_le_bytes());
    bytes.extend_from_slice(interaction.as_str().as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(target.as_bytes());
    xxhash_rust::xxh3::xxh3_128(&bytes)
}

const LOADED: u8 = 0;
/// Loaded, and the id is a UUID in lower case: 16 bytes instead of 36.
const LOADED_UUID: u8 = 1;
const DOUBTFUL: u8 = 2;
/// Loaded, and deleted since.
const GONE: u8 = 3;
/// Taken under another name.
const ELSEWHERE: u8 = 4;
/// Beside the first two: its references lead to nothing that has a name of its own.
const MEANS_NOTHING: u8 = 0x10;
/// Beside the first two: 8 bytes follow, the hash of the names of what it refers to.
const MEANS: u8 = 0x20;

/// Appends what is known of a record.
pub(super) fn write(out: &mut Vec<u8>, before: &Before) {
    let optional = |out: &mut Vec<u8>, text: &Option<String>| {
        out.push(u8::from(text.is_some()));
        out.extend_from_slice(text.as_deref().unwrap_or_default().as_bytes());
    };
    match before {
        Before::Loaded {
            id,
            version,
            meaning,
        } => {
            let uuid = uuid::Uuid::try_parse(id).ok();
            let uuid = uuid.filter(|uuid| uuid.to_string() == *id);
            let kind = uuid.map_or(LOADED, |_| LOADED_UUID);
            match meaning {
                ReferenceMeaning::Untold => out.push(kind),
                ReferenceMeaning::Nothing => out.push(kind | MEANS_NOTHING),
                ReferenceMeaning::Of(hash) => {
                    out.push(kind | MEANS);
                    out.extend_from_slice(&hash.to_le_bytes());
                }
            }
            if let Some(uuid) = uuid {
                out.extend_from_slice(uuid.as_bytes());
            } else {
                // The length is that of the value's; an id of FHIR has at most 64 bytes.
                let length = u16::try_from(id.len()).unwrap_or(u16::MAX);
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(id.as_bytes());
            }
            optional(out, version);
        }
        Before::Gone => out.push(GONE),
        Before::Elsewhere => out.push(ELSEWHERE),
        Before::Doubtful { since, tag } => {
            out.push(DOUBTFUL);
            out.extend_from_slice(&since.as_millisecond().to_le_bytes());
            optional(out, tag);
        }
    }
}

/// Reads what [`write()`] wrote.
pub(super) fn read(value: &[u8]) -> Option<Before> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let optional = |bytes: &[u8]| match bytes.split_first()? {
        (0, _) => Some(None),
        (_, rest) => text(rest).map(Some),
    };
    let (kind, rest) = value.split_first()?;
    let (meaning, rest) = match kind & (MEANS | MEANS_NOTHING) {
        MEANS => {
            let (hash, rest) = rest.split_first_chunk::<8>()?;
            (ReferenceMeaning::Of(u64::from_le_bytes(*hash)), rest)
        }
        MEANS_NOTHING => (ReferenceMeaning::Nothing, rest),
        0 => (ReferenceMeaning::Untold, rest),
        _ => return None,
    };
    Some(match kind & !(MEANS | MEANS_NOTHING) {
        LOADED => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let (id, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            Before::Loaded {
                id: text(id)?,
                version: optional(rest)?,
                meaning,
            }
        }
        LOADED_UUID => {
            let (id, rest) = rest.split_first_chunk::<16>()?;
            Before::Loaded {
                id: uuid::Uuid::from_bytes(*id).to_string(),
                version: optional(rest)?,
                meaning,
            }
        }
        GONE => Before::Gone,
        ELSEWHERE => Before::Elsewhere,
        DOUBTFUL => {
            let (since, rest) = rest.split_first_chunk::<8>()?;
            Before::Doubtful {
                since: Timestamp::from_millisecond(i64::from_le_bytes(*since)).ok()?,
                tag: optional(rest)?,
            }
        }
        _ => return None,
    })
}

/// The number of rows that are sorted in memory: some 3 MB. The rows after them come into another segment.
const TOGETHER: usize = 1 << 15;

/// Rows as they come, sorted into segments. Each segment is sorted and written by a thread of its own, one at a time: rows come in
/// at the end of a load, for which a user waits.
#[derive(Debug)]
pub(super) struct Collected {
    directory: PathBuf,
    place: Option<(u64, u64)>,
    rows: Rows,
    targets: Vec<String>,
    writing: Option<JoinHandle<Result<(), Error>>>,
}

/// The rows of one segment.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<(Key, u32, u32)>,
    values: Vec<u8>,
}

impl Rows {
    fn push(&mut self, key: Key, before: &Before) {
        let start = self.values.len();
        write(&mut self.values, before);
        // A segment's worth of values stays far below 4 GB: longer ones are left out by the writer.
        let at = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.rows.push((key, at(start), at(self.values.len())));
    }

    fn write(mut self, writer: &mut Writer) -> Result<(), Error> {
        // Of one key the last row holds: their values begin in the order in which they came.
        self.rows
            .sort_unstable_by_key(|(key, start, _)| (*key, *start));
        let mut rows = self.rows.iter().peekable();
        while let Some((key, start, end)) = rows.next() {
            if rows.peek().is_some_and(|(next, ..)| next == key) {
                continue;
            }
            let value = self.values.get(*start as usize..*end as usize);
            // None where there are more values than numbers for their places.
            let value = value.ok_or_else(|| writer.too_large())?;
            writer.row(*key, value)?;
        }
        Ok(())
    }
}

impl Collected {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            place: None,
            rows: Rows::default(),
            targets: Vec::new(),
            writing: None,
        }
    }

    pub(super) fn target(&mut self, place: &str) {
        if !self.targets.iter().any(|target| target == place) {
            self.targets.push(place.to_owned());
        }
    }

    pub(super) fn push(&mut self, key: Key, before: &Before) -> Result<(), Error> {
        self.rows.push(key, before);
        if self.rows.rows.len() >= TOGETHER {
            self.flush(Vec::new(), false)?;
        }
        Ok(())
    }

    fn flush(&mut self, runs: Vec<(String, u64)>, durable: bool) -> Result<(), Error> {
        self.written()?;
        let mut writer = Writer::create(&self.directory)?;
        let (sequence, part) = match self.place {
            Some(place) => place,
            None => (next_sequence(&self.directory)?, 0),
        };
        self.place = Some((sequence, part + 1));
        let place = place_of(&self.directory, sequence, part);
        let rows = std::mem::take(&mut self.rows);
        let targets = self.targets.clone();
        self.writing = Some(thread::spawn(move || {
            rows.write(&mut writer)?;
            writer.finish(&place, targets, runs, durable)
        }));
        Ok(())
    }

    /// Waits for the segment that is being written.
    fn written(&mut self) -> Result<(), Error> {
        let Some(writing) = self.writing.take() else {
            return Ok(());
        };
        let panicked = |_| Error::file(&self.directory, &"the thread that writes it has panicked");
        writing.join().map_err(panicked)?
    }

    /// Writes the rest, and that all rows of these runs are there.
    pub(super) fn finish(mut self, runs: Vec<(String, u64)>, durable: bool) -> Result<(), Error> {
        self.flush(runs, durable)?;
        self.written()
    }
}
