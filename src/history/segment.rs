//! A file of rows in the order of their keys, which is written once and never changed.
//!
//! ```text
//! row row row … checksum     a block of some 4 kB: key (16 bytes), length (2), value
//! block block block …
//! {"version":1,…}            the footer: JSON
//! length of the footer (4), its checksum (4), "stokerhi"
//! ```
//!
//! The footer holds the first key of each block, so that a row is found with one read. It gets its name when it is whole:
//! whatever is killed when, nobody sees half of one. Several processes may read and write beside each other.

use std::{
    io::{BufWriter, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Error;
use crate::journal;

/// The key of a row.
pub(super) type Key = u128;

/// The version of the format.
const VERSION: u32 = 1;

/// The size in bytes at which a block is ended.
const BLOCK: usize = 4096;

/// A footer's own end: its length, its checksum, and what kind of file this is.
const END: usize = 16;
const MAGIC: &[u8; 8] = b"stokerhi";

/// A key, and the length of its value.
const HEAD: usize = 18;

/// The facts of a segment as a whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Footer {
    version: u32,
    /// The number of rows.
    pub(super) rows: u64,
    /// The targets of which something is known.
    pub(super) targets: Vec<String>,
    /// The runs of which all rows are here, or in segments before this one, and how long their journals were.
    pub(super) runs: Vec<(String, u64)>,
    /// The offset of each block, the end of the last one, and the first key of each as two halves.
    starts: Vec<u64>,
    keys: Vec<(u64, u64)>,
}

/// A segment open for reading.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) footer: Footer,
    file: fs_err::File,
    keys: Vec<Key>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl Segment {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file = fs_err::File::open(path).map_err(|e| Error::file(path, &e))?;
        let footer = read_footer(&file)
            .map_err(|e| Error::file(path, &e))?
            .ok_or_else(|| Error::damaged(path))?;
        if footer.version != VERSION {
            let why = format!(
                "it has version {}, and this Stoker reads version {VERSION}",
                footer.version
            );
            return Err(Error::file(path, &why));
        }
        if footer.starts.len() != footer.keys.len() + 1 {
            return Err(Error::damaged(path));
        }
        let key = |(high, low): &(u64, u64)| Key::from(*high) << 64 | Key::from(*low);
        Ok(Self {
            path: path.to_owned(),
            keys: footer.keys.iter().map(key).collect(),
            footer,
            file,
        })
    }

    /// Returns how many bytes its rows have.
    pub(super) fn length(&self) -> u64 {
        self.footer.starts.last().copied().unwrap_or_default()
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, key: Key, block: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
        let after = self.keys.partition_point(|first| *first <= key);
        let Some(number) = after.checked_sub(1) else {
            return Ok(None);
        };
        self.read(number, block)?;
        let mut rows = Rows { block, at: 0 };
        while let Some((found, value)) = rows.next() {
            if found >= key {
                return Ok((found == key).then(|| value.to_vec()));
            }
        }
        Ok(None)
    }

    /// Reads a block, and checks it.
    fn read(&self, number: usize, block: &mut Vec<u8>) -> Result<(), Error> {
        let damaged = || Error::damaged(&self.path);
        let at = |n: usize| self.footer.starts.get(n).copied();
        let (Some(start), Some(end)) = (at(number), at(number + 1)) else {
            return Err(damaged());
        };
        let length = end.checked_sub(start).filter(|length| *length < 1 << 24);
        let length = length.and_then(|length| usize::try_from(length).ok());
        block.resize(length.ok_or_else(damaged)?, 0);
        let read = self.file.file().read_exact_at(block, start);
        read.map_err(|e| Error::file(&self.path, &e))?;
        let rows = block.len().checked_sub(4).ok_or_else(damaged)?;
        let sum = number_of(block.get(rows..)).ok_or_else(damaged)?;
        block.truncate(rows);
        if crc32c::crc32c_append(low(start), block) == sum {
            Ok(())
        } else {
            Err(damaged())
        }
    }

    /// Returns all rows, in the order of their keys.
    pub(super) fn rows(&self) -> Walk<'_> {
        Walk {
            segment: self,
            next: 0,
            block: Vec::new(),
            at: 0,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn low(number: u64) -> u32 {
    number as u32
}

fn number_of(bytes: Option<&[u8]>) -> Option<u32> {
    Some(u32::from_le_bytes(number(bytes?, 0)?))
}

fn read_footer(file: &fs_err::File) -> std::io::Result<Option<Footer>> {
    let size = file.metadata()?.len();
    let Some(before) = size.checked_sub(END as u64) else {
        return Ok(None);
    };
    let mut end = [0; END];
    file.file().read_exact_at(&mut end, before)?;
    let (Some(length), Some(sum)) = (number_of(Some(&end)), number_of(end.get(4..))) else {
        return Ok(None);
    };
    let Some(start) = before.checked_sub(u64::from(length)) else {
        return Ok(None);
    };
    let mut json = vec![0; length as usize];
    file.file().read_exact_at(&mut json, start)?;
    if end.get(8..) != Some(MAGIC.as_slice()) || crc32c::crc32c(&json) != sum {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&json).ok())
}

struct Rows<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Rows<'a> {
    fn next(&mut self) -> Option<(Key, &'a [u8])> {
        let key = Key::from_be_bytes(number(self.block, self.at)?);
        let length = u16::from_le_bytes(number(self.block, self.at + 16)?);
        let start = self.at + HEAD;
        let value = self.block.get(start..start + usize::from(length))?;
        self.at = start + value.len();
        Some((key, value))
    }
}

/// The rows of a segment, one after the other.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    segment: &'a Segment,
    next: usize,
    block: Vec<u8>,
    at: usize,
}

impl Walk<'_> {
    pub(super) fn next(&mut self) -> Result<Option<(Key, &[u8])>, Error> {
        while self.at >= self.block.len() {
            if self.next >= self.segment.keys.len() {
                return Ok(None);
            }
            self.segment.read(self.next, &mut self.block)?;
            self.next += 1;
            self.at = 0;
        }
        let mut rows = Rows {
            block: &self.block,
            at: self.at,
        };
        let row = rows.next();
        let at = rows.at;
        let row = row.ok_or_else(|| Error::damaged(&self.segment.path))?;
        self.at = at;
        Ok(Some(row))
    }
}

/// A segment being written; the rows have to come in the order of their keys.
#[derive(Debug)]
pub(super) struct Writer {
    file: BufWriter<fs_err::File>,
    temporary: PathBuf,
    footer: Footer,
    block: Vec<u8>,
    offset: u64,
    finished: bool,
}

impl Writer {
    pub(super) fn create(directory: &Path) -> Result<Self, Error> {
        journal::private_directory(directory).map_err(|e| Error::file(directory, &e))?;
        let temporary = directory.join(format!(".{:016x}.new", rand::random::<u64>()));
        let file = journal::private_file(&temporary).map_err(|e| Error::file(&temporary, &e))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 18, file),
            temporary,
            footer: Footer {
                version: VERSION,
                starts: vec![0],
                ..Footer::default()
            },
            block: Vec::with_capacity(BLOCK + 256),
            offset: 0,
            finished: false,
        })
    }

    /// Returns the error of more values than a segment can have.
    pub(super) fn too_large(&self) -> Error {
        Error::file(&self.temporary, &"it would have more than 4 GB of values")
    }

    pub(super) fn row(&mut self, key: Key, value: &[u8]) -> Result<(), Error> {
        // Ids, versions and tags have a few dozen bytes; what is longer is no use as a hint.
        let Ok(length) = u16::try_from(value.len()) else {
            return Ok(());
        };
        if self.block.is_empty() {
            #[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
            let halves = ((key >> 64) as u64, key as u64);
            self.footer.keys.push(halves);
        }
        self.block.extend_from_slice(&key.to_be_bytes());
        self.block.extend_from_slice(&length.to_le_bytes());
        self.block.extend_from_slice(value);
        self.footer.rows += 1;
        if self.block.len() >= BLOCK {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), Error> {
        if self.block.is_empty() {
            return Ok(());
        }
        let sum = crc32c::crc32c_append(low(self.offset), &self.block);
        self.block.extend_from_slice(&sum.to_le_bytes());
        self.file
            .write_all(&self.block)
            .map_err(|e| Error::file(&self.temporary, &e))?;
        self.offset += self.block.len() as u64;
        self.footer.starts.push(self.offset);
        self.block.clear();
        Ok(())
    }

    /// Puts the segment in its place. With `durable` it is on the disk by then: what it was made from may go.
    pub(super) fn finish(
        mut self,
        place: &Path,
        targets: Vec<String>,
        runs: Vec<(String, u64)>,
        durable: bool,
    ) -> Result<(), Error> {
        self.end_block()?;
        self.footer.targets = targets;
        self.footer.runs = runs;
        let written = (|| {
            let json = serde_json::to_vec(&self.footer).map_err(std::io::Error::other)?;
            let length = u32::try_from(json.len()).map_err(std::io::Error::other)?;
            self.file.write_all(&json)?;
            self.file.write_all(&length.to_le_bytes())?;
            self.file.write_all(&crc32c::crc32c(&json).to_le_bytes())?;
            self.file.write_all(MAGIC)?;
            self.file.flush()?;
            if durable {
                self.file.get_ref().sync_data()?;
            }
            fs_err::rename(&self.temporary, place)
        })();
        written.map_err(|e: std::io::Error| Error::file(place, &e))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // A file that cannot be removed is in nobody's way.
            let _ = fs_err::remove_file(&self.temporary);
        }
    }
}
