//! The bytes of records, read again when they are to be sent.

use std::{
    collections::HashMap,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{Error, ErrorKind, Origin};
use crate::record::{SourceId, Span, Stretch};

/// Files that are held open: far below the usual limit of 1,024 a process, far above the files that a run reads at one
/// time.
const OPEN: usize = 64;

/// Bytes that are read ahead of a small span, when spans come in order. 64 such blocks are 8 MiB.
const BLOCK: usize = 128 << 10;

/// Gaps between spans (the newline, the commas and envelopes of a Bundle) up to this still count as order.
const GAP: u64 = 4 << 10;

/// Reads spans of plain sources: files, or their spools. May be shared by threads.
#[derive(Debug)]
pub struct Bodies {
    paths: HashMap<SourceId, PathBuf>,
    open: Mutex<OpenFiles>,
}

#[derive(Debug, Default)]
struct OpenFiles {
    clock: u64,
    files: HashMap<SourceId, (u64, Arc<OpenFile>)>,
}

#[derive(Debug)]
struct OpenFile {
    file: fs_err::File,
    ahead: Mutex<Ahead>,
}

/// The block that was read last, with the bytes behind its span.
#[derive(Debug, Default)]
struct Ahead {
    start: u64,
    block: Vec<u8>,
    /// The offset at which the last span ended.
    end: u64,
}

impl Bodies {
    /// Takes the plain file of every source.
    pub fn new(sources: Vec<(SourceId, PathBuf)>) -> Self {
        Self {
            paths: sources.into_iter().collect(),
            open: Mutex::default(),
        }
    }

    /// Reads a span of a source.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or ends before the span does: it has changed since it was scanned.
    pub fn read(&self, source: SourceId, span: Span) -> Result<Bytes, Error> {
        let path = self.paths.get(&source);
        self.read_span(source, span).map_err(|error| Error {
            origin: Origin::File(path.cloned().unwrap_or_default()),
            records: 0,
            kind: match error.kind() {
                io::ErrorKind::UnexpectedEof => ErrorKind::Changed,
                _ => error.into(),
            },
        })
    }

    /// Returns where a span of a source lies, with the hash of its bytes, read piece by piece.
    ///
    /// # Errors
    ///
    /// As for [`Bodies::read`].
    pub fn stretch(&self, source: SourceId, span: Span) -> Result<Stretch, Error> {
        let path = self.paths.get(&source).cloned().unwrap_or_default();
        let hash = self.hash_span(source, span).map_err(|error| Error {
            origin: Origin::File(path.clone()),
            records: 0,
            kind: match error.kind() {
                io::ErrorKind::UnexpectedEof => ErrorKind::Changed,
                _ => error.into(),
            },
        })?;
        Ok(Stretch { path, span, hash })
    }

    fn hash_span(&self, source: SourceId, span: Span) -> io::Result<u128> {
        let file = self.open(source)?;
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        let mut block = vec![0; BLOCK];
        let mut done = 0;
        while done < span.length {
            let wanted = usize::try_from(span.length - done).map_or(BLOCK, |left| left.min(BLOCK));
            let piece = block.get_mut(..wanted).unwrap_or_default();
            file.file.file().read_exact_at(piece, span.start + done)?;
            hash.update(piece);
            done += wanted as u64;
        }
        Ok(hash.digest128())
    }

    fn read_span(&self, source: SourceId, span: Span) -> io::Result<Bytes> {
        let length = usize::try_from(span.length).map_err(io::Error::other)?;
        let file = self.open(source)?;
        let mut ahead = file.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = ahead.get(span.start, length) {
            let bytes = Bytes::copy_from_slice(bytes);
            ahead.end = span.start + span.length;
            return Ok(bytes);
        }
        // The first span of a file may be its only one: a file of one record is read to its end and no further.
        let in_order = ahead.end > 0 && span.start >= ahead.end && span.start - ahead.end <= GAP;
        ahead.end = span.start + span.length;
        if in_order && length <= BLOCK / 4 {
            let Ahead { start, block, .. } = &mut *ahead;
            *start = span.start;
            block.resize(BLOCK, 0);
            let filled = read_up_to(&file.file, block, span.start)?;
            block.truncate(filled);
            return match ahead.get(span.start, length) {
                Some(bytes) => Ok(Bytes::copy_from_slice(bytes)),
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        drop(ahead);
        let mut bytes = vec![0; length];
        file.file.file().read_exact_at(&mut bytes, span.start)?;
        Ok(bytes.into())
    }

    fn open(&self, source: SourceId) -> io::Result<Arc<OpenFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clock += 1;
        let clock = open.clock;
        if let Some((used, file)) = open.files.get_mut(&source) {
            *used = clock;
            return Ok(Arc::clone(file));
        }
        let path = self
            .paths
            .get(&source)
            .ok_or_else(|| io::Error::other("the plan does not know this source"))?;
        let file = Arc::new(OpenFile {
            file: fs_err::File::open(path)?,
            ahead: Mutex::default(),
        });
        if open.files.len() >= OPEN {
            let oldest = open.files.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                open.files.remove(&oldest);
            }
        }
        open.files.insert(source, (clock, Arc::clone(&file)));
        Ok(file)
    }
}

impl Ahead {
    fn get(&self, start: u64, length: usize) -> Option<&[u8]> {
        let from = usize::try_from(start.checked_sub(self.start)?).ok()?;
        self.block.get(from..from.checked_add(length)?)
    }
}

/// Fills the buffer as far as the file goes.
fn read_up_to(file: &fs_err::File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        match file.file().read_at(rest, start + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_of_spans_reads_the_bytes_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..300_000_u32)
            .flat_map(|n| (n ^ 0x5bd1).to_le_bytes())
            .collect();
        let sources: Vec<_> = (0..80)
            .map(|id| {
                let path = folder.path().join(id.to_string());
                fs_err::write(&path, text.get(id as usize..).unwrap()).unwrap();
                (SourceId(id), path)
            })
            .collect();
        let bodies = Bodies::new(sources);
        let read =
            |id: u32, start: u64, length: u64| bodies.read(SourceId(id), Span { start, length });
        let at = |offset: u64| usize::try_from(offset).unwrap();
        for step in [1_000_u64, 33_333, 200_000] {
            let mut start = 0;
            while start + step < 1_000_000 {
                for id in [0, u32::try_from(start % 80).unwrap()] {
                    let expected = &text[at(u64::from(id) + start)..][..at(step) - 7];
                    assert_eq!(read(id, start, step - 7).unwrap(), expected);
                }
                start += step;
            }
        }
        assert_eq!(read(3, 5, 0).unwrap(), "");
        assert_eq!(read(3, 999_000, 9).unwrap(), text[3 + 999_000..][..9]);
        for start in [1_199_999, 5_000_000] {
            let error = read(0, start, 100).unwrap_err();
            assert!(matches!(error.kind, ErrorKind::Changed), "{error:?}");
        }
        assert!(read(81, 0, 1).is_err());
    }
}
