//! Text in pieces: views of bytes in memory, or a buffer that slides over a stream. Both look the same to a reader
//! that may be cut anywhere, and neither holds more than it is asked to keep.

use std::io::{self, Read};

use super::{ErrorKind, LARGEST_RECORD};

/// Bytes that are read at once: enough that system calls do not count, few enough for caches.
pub(super) const PIECE: usize = 256 << 10;

/// The largest growth of a buffer at once, in bytes.
const LARGEST_GROWTH: usize = 16 << 20;

/// A piece of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextChunk<'a> {
    pub(super) bytes: &'a [u8],
    /// Offset of its first byte in the text.
    pub(super) base: u64,
    /// True if the text ends with it.
    pub(super) last: bool,
}

/// A text that is given out in pieces, from front to back.
pub(super) trait ChunkReader {
    /// Returns a piece that begins at offset `from` and holds more than the last one did after `from`; bytes before
    /// `from` are given up.
    fn piece(&mut self, from: u64) -> io::Result<TextChunk<'_>>;
}

/// Bytes in memory.
#[derive(Debug)]
pub(super) struct SliceReader<'a> {
    bytes: &'a [u8],
    end: usize,
    size: usize,
}

impl<'a> SliceReader<'a> {
    pub(super) fn new(bytes: &'a [u8], size: usize) -> Self {
        Self {
            bytes,
            end: 0,
            size,
        }
    }
}

impl ChunkReader for SliceReader<'_> {
    fn piece(&mut self, from: u64) -> io::Result<TextChunk<'_>> {
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        // As much as is held once more, so that reading a long entry again costs little.
        let grown = self.end.saturating_sub(start).max(self.size);
        self.end = self.end.saturating_add(grown);
        if self.end > self.bytes.len() {
            self.end = self.bytes.len();
        }
        Ok(TextChunk {
            bytes: self.bytes.get(start..self.end).unwrap_or_default(),
            base: from,
            last: self.end == self.bytes.len(),
        })
    }
}

/// A stream, of which the wanted bytes are held in a buffer.
#[derive(Debug)]
pub(super) struct StreamReader<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte in the stream.
    base: u64,
    size: usize,
    last: bool,
    failed: Option<io::Error>,
}

impl<R: Read> StreamReader<R> {
    pub(super) fn new(reader: R, size: usize) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            base: 0,
            size,
            last: false,
            failed: None,
        }
    }

    pub(super) fn into_inner(self) -> R {
        self.reader
    }

    /// Returns how much memory the buffer has taken.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }
}

impl<R: Read> ChunkReader for StreamReader<R> {
    fn piece(&mut self, from: u64) -> io::Result<TextChunk<'_>> {
        let given_up = usize::try_from(from.saturating_sub(self.base)).unwrap_or(usize::MAX);
        if given_up >= self.buffer.len() {
            self.base += self.buffer.len() as u64;
            self.buffer.clear();
        } else {
            self.buffer.drain(..given_up);
            self.base = from;
        }
        // A long token makes the buffer grow by as much as it holds, so that reading it again costs little. A first
        // piece shows at least a byte order mark.
        let grown = self.buffer.len().min(LARGEST_GROWTH);
        let wanted = self.size.max(grown).max(if self.base == 0 { 4 } else { 1 });
        if !self.last {
            self.buffer.reserve_exact(wanted);
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            let before = self.buffer.len();
            match (&mut self.reader)
                .take(wanted as u64)
                .read_to_end(&mut self.buffer)
            {
                Ok(read) => self.last = read < wanted,
                // The bytes that came before the failure are shown first.
                Err(error) if self.buffer.len() > before => self.failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        Ok(TextChunk {
            bytes: &self.buffer,
            base: self.base,
            last: self.last,
        })
    }
}

/// Refuses to keep more than a record may have.
pub(super) fn is_too_large(kept: u64) -> bool {
    kept > LARGEST_RECORD as u64
}

/// The place of a byte in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LineAndColumn {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) path: String,
}

/// Finds line, column and element of the byte at `offset`; `skip` bytes in front (a byte order mark) are no text.
pub(super) fn locate(
    feed: &mut dyn ChunkReader,
    skip: u64,
    offset: u64,
) -> Result<LineAndColumn, ErrorKind> {
    let mut finder = crate::fhir::path::PathFinder::new();
    let (mut line, mut column) = (1, 1);
    let mut counted = skip;
    let mut from = skip;
    loop {
        let piece = feed.piece(from)?;
        let length = usize::try_from(offset.saturating_sub(piece.base)).unwrap_or(usize::MAX);
        let complete = length <= piece.bytes.len() || piece.last;
        let text = piece.bytes.get(..length).unwrap_or(piece.bytes);
        let fresh = usize::try_from(counted.saturating_sub(piece.base)).unwrap_or(usize::MAX);
        for byte in text.get(fresh..).unwrap_or_default() {
            match byte {
                b'\n' => (line, column) = (line + 1, 1),
                0x80..0xC0 => {} // the rest of a character
                _ => column += 1,
            }
        }
        counted = piece.base + text.len() as u64;
        from = piece.base + finder.read(text) as u64;
        if complete {
            return Ok(LineAndColumn {
                line,
                column,
                path: finder.path(),
            });
        }
    }
}
