//! Opening a source, by what it is and by what it is called, and handing it to the reader of its form.

use std::{
    cell::Cell,
    io::{self, Read},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use sha2::{Digest as _, Sha256};

use super::{
    Error, Fingerprint, Form, Found, Item, Kind, Malformed, Origin, Reading, SourceFile, Spool,
    Visit, bundle,
    decompress::{Compression, plain},
    feed::{PIECE, SliceFeed, StreamFeed, locate},
    json, ndjson,
};
use crate::{
    fhir::{Scanner, SyntaxError},
    record::{Position, SourceId, Span},
};

/// Reads all records of a source in their order.
///
/// What cannot be read as a record becomes [`Item::Malformed`]; a `.json` file that is not well-formed yields nothing
/// else. Compressed sources are spooled if there is a `spool`, and standard input must be.
///
/// # Errors
///
/// The source cannot be read to its end. Items that were visited before stay valid.
pub fn read(
    file: &SourceFile,
    spool: Option<&Spool>,
    visit: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
) -> Result<Reading, Error> {
    let mut sink = Sink::new(file.id, visit);
    let result = match &file.origin {
        Origin::File(path) => from_file(file, path, spool, &mut sink),
        Origin::Stdin => from_stream(file, &mut io::stdin().lock(), spool, &mut sink),
    };
    result.map_err(|kind| Error {
        origin: file.origin.clone(),
        records: sink.records,
        kind,
    })
}

fn from_file(
    file: &SourceFile,
    path: &Path,
    spool: Option<&Spool>,
    sink: &mut Sink<'_>,
) -> Result<Reading, Kind> {
    if file.form == Form::Unrecognized {
        return Err(Kind::Unrecognized);
    }
    let opened = fs_err::File::open(path)?;
    let before = stamp(&opened)?;
    let mut stored = Tap::new(&opened);
    let mut head = Vec::new();
    (&mut stored).take(4).read_to_end(&mut head)?;
    let compression = Compression::of(&head);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let note = match (Compression::promised(&name), compression) {
        (promised, found) if promised == found => None,
        (Compression::Gzip, _) if head.is_empty() => return Err(Kind::Corrupt("gzip")),
        (Compression::Zstd, _) if head.is_empty() => return Err(Kind::Corrupt("zstd")),
        (_, Compression::None) => {
            Some("the file is named as compressed, and is not; it was read as it is")
        }
        _ => Some("the file is compressed in another way than its name says; it was decompressed"),
    };
    let joined = head.chain(&mut stored);
    let (plain_path, bytes, flow) = match (compression, spool) {
        (Compression::None, _) => {
            let text = Text {
                first: Box::new(joined),
                again: &|| Ok(Box::new(fs_err::File::open(path)?)),
                size: Some(before.0),
            };
            let flow = text.read(file.form, End::Whole, sink);
            (Some(path.to_owned()), before.0, flow)
        }
        (_, Some(spool)) => {
            let (bytes, filled) = spool.fill(file.id, &mut *plain(joined, compression)?);
            let spooled = spool.path(file.id);
            let flow = from_spool(file.form, &spooled, bytes, filled, sink);
            (Some(spooled), bytes, flow)
        }
        (_, None) => {
            let counted = Cell::new(0);
            let text = Text {
                first: Box::new(Counted(plain(joined, compression)?, &counted)),
                again: &|| Ok(plain(fs_err::File::open(path)?, compression)?),
                size: None,
            };
            let flow = text.read(file.form, End::Whole, sink);
            (None, counted.get(), flow)
        }
    };
    let fingerprint = match flow {
        Ok(()) => {
            // A malformed file may not have been read to its end; its hash still is of all of it.
            io::copy(&mut stored, &mut io::sink())?;
            if stamp(&opened)? != before || stored.count != before.0 {
                return Err(Kind::Changed);
            }
            Some(stored.fingerprint(before.1, before.2))
        }
        Err(Stop::Visitor) => None,
        Err(Stop::Failed(kind)) => return Err(kind),
    };
    Ok(sink.reading(fingerprint, bytes, plain_path, note))
}

/// Reads a stream that can be read once.
fn from_stream(
    file: &SourceFile,
    stream: &mut dyn Read,
    spool: Option<&Spool>,
    sink: &mut Sink<'_>,
) -> Result<Reading, Kind> {
    let spool = spool.ok_or(Kind::NeedsSpool)?;
    let mut stored = Tap::new(stream);
    let mut head = Vec::new();
    (&mut stored).take(4).read_to_end(&mut head)?;
    let compression = Compression::of(&head);
    let (bytes, filled) = spool.fill(file.id, &mut *plain(head.chain(&mut stored), compression)?);
    let spooled = spool.path(file.id);
    let form = match file.form {
        Form::Either => json::sniff(&spooled)?,
        form => form,
    };
    let fingerprint = match from_spool(form, &spooled, bytes, filled, sink) {
        Ok(()) => {
            io::copy(&mut stored, &mut io::sink())?;
            Some(stored.fingerprint(0, 0))
        }
        Err(Stop::Visitor) => None,
        Err(Stop::Failed(kind)) => return Err(kind),
    };
    Ok(sink.reading(fingerprint, bytes, Some(spooled), None))
}

fn from_spool(
    form: Form,
    path: &Path,
    bytes: u64,
    filled: Result<(), Kind>,
    sink: &mut Sink<'_>,
) -> Result<(), Stop> {
    let open = || -> Result<Box<dyn Read>, Kind> { Ok(Box::new(fs_err::File::open(path)?)) };
    if let Err(kind) = filled {
        // What came before the failure is whole lines of NDJSON at best.
        if form == Form::Ndjson {
            let text = Text {
                first: open()?,
                again: &open,
                size: Some(bytes),
            };
            text.read(form, End::Cut, sink)?;
        }
        return Err(kind.into());
    }
    let text = Text {
        first: open()?,
        again: &open,
        size: Some(bytes),
    };
    text.read(form, End::Whole, sink)
}

/// Plain bytes to be read, once through `first`, and maybe again.
pub(super) struct Text<'t> {
    pub(super) first: Box<dyn Read + 't>,
    pub(super) again: &'t dyn Fn() -> Result<Box<dyn Read>, Kind>,
    /// The size, where it is known before reading.
    pub(super) size: Option<u64>,
}

/// Whether a text is known to have lost its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    Cut,
}

impl Text<'_> {
    fn read(self, form: Form, end: End, sink: &mut Sink<'_>) -> Result<(), Stop> {
        match form {
            Form::Ndjson => ndjson::read(&mut StreamFeed::new(self.first, PIECE), end, sink),
            Form::Json | Form::Either => json::read(self, sink),
            Form::Unrecognized => Err(Kind::Unrecognized.into()),
        }
    }
}

/// Why reading stopped early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The visitor wants no more.
    Visitor,
    /// It cannot go on.
    Failed(Kind),
}

impl<K: Into<Kind>> From<K> for Stop {
    fn from(kind: K) -> Self {
        Self::Failed(kind.into())
    }
}

/// Numbers what is found and tells it to the visitor.
pub(super) struct Sink<'v> {
    source: SourceId,
    visit: &'v mut Visit<'v>,
    pub(super) scanner: Scanner,
    index: u64,
    pub(super) bundles: u64,
    pub(super) records: u64,
    malformed: u64,
}

/// Where a value begins in its source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) offset: u64,
    pub(super) line: u64,
    /// In characters, from 1.
    pub(super) column: u64,
}

impl<'v> Sink<'v> {
    fn new<'a: 'v>(source: SourceId, visit: &'v mut Visit<'a>) -> Self {
        // Two lifetimes, because a mutable reference to a trait object fixes the object's own.
        Self {
            source,
            visit: shorten(visit),
            scanner: Scanner::new(),
            index: 0,
            bundles: 0,
            records: 0,
            malformed: 0,
        }
    }

    pub(super) fn tell(&mut self, item: Item<'_>) -> Result<(), Stop> {
        match (self.visit)(item) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Visitor),
        }
    }

    /// Gives the next position.
    pub(super) fn position(&mut self, start: Start, length: u64, entry: Option<u32>) -> Position {
        let index = self.index;
        self.index += 1;
        Position {
            source: self.source,
            index,
            line: start.line,
            entry,
            span: Span {
                start: start.offset,
                length,
            },
        }
    }

    /// Reads one trimmed value: a record, a Bundle, or something malformed.
    pub(super) fn value(
        &mut self,
        text: &[u8],
        start: Start,
        hint: impl Fn(&SyntaxError) -> Option<&'static str>,
    ) -> Result<(), Stop> {
        // What looks like a Bundle is tried as one first, to spare it a scan that would be thrown away; what the text
        // is does not depend on it.
        let head = text.get(..256).unwrap_or(text);
        let looks = memchr::memmem::find(head, b"\"Bundle\"").is_some();
        let failed = if looks {
            None
        } else {
            match self.scanner.scan(text) {
                Ok(found) if !found.is(text, "Bundle") => {
                    self.record(text, start)?;
                    return Ok(());
                }
                Ok(_) => None,
                Err(error) => Some(error),
            }
        };
        match bundle::outline(text) {
            Ok(Some(outline)) => {
                let mut feed = SliceFeed::new(text, PIECE);
                let length = text.len() as u64;
                bundle::read(&mut feed, 0, start, length, &outline, self)
            }
            Ok(None) if failed.is_none() => match self.scanner.scan(text) {
                Ok(_) => self.record(text, start),
                Err(error) => self.malformed(text, start, None, error, hint),
            },
            Ok(None) => match failed {
                Some(error) => self.malformed(text, start, None, error, hint),
                None => Ok(()),
            },
            Err(error) => self.malformed(text, start, None, failed.unwrap_or(error), hint),
        }
    }

    /// Tells of the record that was scanned last.
    fn record(&mut self, text: &[u8], start: Start) -> Result<(), Stop> {
        let position = self.position(start, text.len() as u64, None);
        self.records += 1;
        let found = Found {
            position,
            bytes: text,
            scanned: self.scanner.found(),
            entry: None,
        };
        match (self.visit)(Item::Record(found)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Visitor),
        }
    }

    /// Tells of an entry's record; `bytes` are of its resource, which was scanned last.
    pub(super) fn entry(
        &mut self,
        position: Position,
        bytes: &[u8],
        entry: super::Entry<'_>,
    ) -> Result<(), Stop> {
        self.records += 1;
        let found = Found {
            position,
            bytes,
            scanned: self.scanner.found(),
            entry: Some(entry),
        };
        match (self.visit)(Item::Record(found)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Visitor),
        }
    }

    /// Tells of a text that is wrong at the error's offset.
    pub(super) fn malformed(
        &mut self,
        text: &[u8],
        start: Start,
        entry: Option<u32>,
        problem: SyntaxError,
        hint: impl Fn(&SyntaxError) -> Option<&'static str>,
    ) -> Result<(), Stop> {
        let place = locate(
            &mut SliceFeed::new(text, text.len()),
            0,
            problem.offset as u64,
        )?;
        let column = if place.line == 1 {
            start.column + place.column - 1
        } else {
            place.column
        };
        let malformed = Malformed {
            position: self.position(start, text.len() as u64, entry),
            line: start.line + place.line - 1,
            column,
            hint: hint(&problem),
            problem,
        };
        self.tell_malformed(malformed)
    }

    pub(super) fn tell_malformed(&mut self, malformed: Malformed) -> Result<(), Stop> {
        self.malformed += 1;
        self.tell(Item::Malformed(malformed))
    }

    fn reading(
        &self,
        fingerprint: Option<Fingerprint>,
        bytes: u64,
        plain: Option<PathBuf>,
        note: Option<&'static str>,
    ) -> Reading {
        Reading {
            fingerprint,
            records: self.records,
            malformed: self.malformed,
            bytes,
            plain,
            note,
        }
    }
}

fn shorten<'v, 'a: 'v>(visit: &'v mut Visit<'a>) -> &'v mut Visit<'v> {
    visit
}

/// Returns size, time of the last change, and inode of a file, without reading it.
///
/// # Errors
///
/// When it is not there.
pub fn look(path: &Path) -> io::Result<(u64, i128, u64)> {
    of_metadata(&fs_err::metadata(path)?)
}

/// Size, time of the last change, and inode.
fn stamp(file: &fs_err::File) -> io::Result<(u64, i128, u64)> {
    of_metadata(&file.metadata()?)
}

fn of_metadata(metadata: &std::fs::Metadata) -> io::Result<(u64, i128, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let modified = match metadata.modified()?.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
    };
    Ok((metadata.len(), modified, metadata.ino()))
}

/// Hashes and counts what is read through it.
struct Tap<R> {
    reader: R,
    hash: Sha256,
    count: u64,
}

impl<R> Tap<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            hash: Sha256::new(),
            count: 0,
        }
    }

    fn fingerprint(self, modified: i128, inode: u64) -> Fingerprint {
        use std::fmt::Write as _;
        let mut sha256 = String::with_capacity(64);
        for byte in self.hash.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Fingerprint {
            size: self.count,
            modified,
            inode,
            sha256,
        }
    }
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        self.count += read as u64;
        Ok(read)
    }
}

/// Counts what is read through it.
struct Counted<'c, R>(R, &'c Cell<u64>);

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.set(self.1.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
