//! Opening a source, by what it is and by what it is called, and handing it to the reader of its form.

use std::{
    io::{self, Read},
    ops::ControlFlow,
    path::Path,
};

use sha2::{Digest as _, Sha256};

use super::{
    Ceiling, Error, ErrorKind, Fingerprint, Form, Item, Origin, Reading, SourceFile, Spool, Stamp,
    chunks::{PIECE, StreamReader},
    decompress::{Compression, HEAD, plain},
    dicom,
    emitter::{ItemEmitter, Stop},
    hl7v2, json, ndjson,
    text::{End, Text},
};
use crate::manifest::MessageSettings;

/// Reads all records of a source in their order.
///
/// A value that cannot be read as a record becomes [`Item::Malformed`]; a `.json` file that is not well-formed yields
/// nothing else, and a file that cannot be opened, is spoilt or is cut yields one that says so. Compressed sources are
/// spooled if there is a `spool` (else they are decompressed twice), and standard input must be.
///
/// # Errors
///
/// The source cannot be read to its end, through no fault of its own. Items that were visited before stay valid.
pub fn read(
    file: &SourceFile,
    spool: Option<&Spool>,
    ceiling: Ceiling,
    visit: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
) -> Result<Reading, Error> {
    read_as(file, spool, ceiling, &MessageSettings::default(), visit)
}

/// As [`read`]; messages are read as `messages` says.
///
/// # Errors
///
/// As for [`read`].
pub fn read_as(
    file: &SourceFile,
    spool: Option<&Spool>,
    ceiling: Ceiling,
    messages: &MessageSettings,
    visit: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
) -> Result<Reading, Error> {
    let how = How {
        spool,
        ceiling,
        messages,
        only_a_glance: false,
    };
    run(file, how, visit)
}

/// Reads the first records of a file, as [`read`] does, but looks at no more of it than the visitor wants.
///
/// # Errors
///
/// As for [`read`].
pub fn glance(
    file: &SourceFile,
    visit: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
) -> Result<Reading, Error> {
    let how = How {
        spool: None,
        ceiling: Ceiling::Any,
        messages: &MessageSettings::default(),
        only_a_glance: true,
    };
    run(file, how, visit)
}

/// The means and settings of reading a source.
#[derive(Clone, Copy)]
struct How<'s> {
    spool: Option<&'s Spool>,
    ceiling: Ceiling,
    messages: &'s MessageSettings,
    /// Compressed data is not looked at to its end before.
    only_a_glance: bool,
}

fn run(
    file: &SourceFile,
    how: How<'_>,
    visit: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
) -> Result<Reading, Error> {
    let mut sink = ItemEmitter::new(file.id, visit);
    let result = match &file.origin {
        Origin::File(path) => from_file(file, path, how, &mut sink),
        origin @ Origin::Stdin => match origin.storage().open(origin) {
            Ok(mut stream) => from_stream(file, &mut *stream, how, &mut sink),
            Err(error) => Err(error.into()),
        },
    };
    let result = result.or_else(|kind| match kind.damage() {
        Some(damage) => match damage.tell_whole(&mut sink) {
            Ok(()) | Err(Stop::Visitor) => Ok(sink.reading(None, 0, None, None)),
            Err(Stop::Failed(kind)) => Err(kind),
        },
        None => Err(kind),
    });
    result.map_err(|kind| Error {
        origin: file.origin.clone(),
        records: sink.records,
        kind,
    })
}

/// Reads a source that can be read again.
fn from_file(
    file: &SourceFile,
    path: &Path,
    how: How<'_>,
    sink: &mut ItemEmitter<'_>,
) -> Result<Reading, ErrorKind> {
    if file.form == Form::Unrecognized {
        return Err(ErrorKind::Unrecognized);
    }
    let storage = file.origin.storage();
    let stamp = || -> Result<Stamp, ErrorKind> {
        storage.stamp(&file.origin)?.ok_or(ErrorKind::NeedsSpool)
    };
    let opened = storage.open(&file.origin)?;
    let before = stamp()?;
    let mut stored = HashingReader::new(opened);
    let mut head = Vec::new();
    (&mut stored).take(HEAD as u64).read_to_end(&mut head)?;
    let compression = Compression::of(&head);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let note = match (Compression::promised(&name), compression) {
        (promised, found) if promised == found => None,
        (Compression::Gzip | Compression::Zstd, _) if head.is_empty() => {
            return Err(ErrorKind::Empty);
        }
        (_, Compression::None) => {
            Some("the file is named as compressed, and is not; it was read as it is")
        }
        _ => Some("the file is compressed in another way than its name says; it was decompressed"),
    };
    let joined = head.chain(&mut stored);
    let (plain_path, bytes, flow) = match (compression, how.spool) {
        (Compression::None, _) => {
            let text = Text {
                first: Box::new(joined),
                again: &|| Ok(storage.open(&file.origin)?),
                size: Some(before.size),
            };
            let flow = read_text(text, file.form, End::Whole, how, sink);
            (Some(path.to_owned()), before.size, flow)
        }
        (_, Some(spool)) => {
            let (bytes, filled) = spool.fill(file.id, &mut *plain(joined, compression)?);
            let spooled = spool.path(file.id);
            let again = || -> Result<Box<dyn Read>, ErrorKind> {
                Ok(Box::new(
                    fs_err::File::open(&spooled).map_err(ErrorKind::Spool)?,
                ))
            };
            let flow = decompressed(file.form, bytes, filled, &again, how, sink);
            (Some(spooled), bytes, flow)
        }
        (_, None) => {
            let again = || -> Result<Box<dyn Read>, ErrorKind> {
                Ok(plain(storage.open(&file.origin)?, compression)?)
            };
            // Damage is known before any of the data is told, as it is with a spool.
            let (bytes, filled) = if how.only_a_glance {
                (u64::MAX, Ok(()))
            } else {
                drain(&mut *plain(joined, compression)?)
            };
            let flow = decompressed(file.form, bytes, filled, &again, how, sink);
            (None, bytes, flow)
        }
    };
    let fingerprint = match flow {
        Ok(()) => {
            // A malformed file may not have been read to its end; its hash still is of all of it.
            io::copy(&mut stored, &mut io::sink())?;
            // A file that is gone by now has changed, too.
            let is_same = stamp().is_ok_and(|now| now == before);
            if !is_same || stored.count != before.size {
                return Err(ErrorKind::Changed);
            }
            Some(stored.fingerprint(before))
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
    how: How<'_>,
    sink: &mut ItemEmitter<'_>,
) -> Result<Reading, ErrorKind> {
    let spool = how.spool.ok_or(ErrorKind::NeedsSpool)?;
    let mut stored = HashingReader::new(stream);
    let mut head = Vec::new();
    (&mut stored).take(HEAD as u64).read_to_end(&mut head)?;
    let compression = Compression::of(&head);
    let (bytes, filled) = spool.fill(file.id, &mut *plain(head.chain(&mut stored), compression)?);
    let spooled = spool.path(file.id);
    let form = match file.form {
        Form::Either => json::sniff(&spooled)?,
        form => form,
    };
    let again = || -> Result<Box<dyn Read>, ErrorKind> {
        Ok(Box::new(
            fs_err::File::open(&spooled).map_err(ErrorKind::Spool)?,
        ))
    };
    let fingerprint = match decompressed(form, bytes, filled, &again, how, sink) {
        Ok(()) => {
            io::copy(&mut stored, &mut io::sink())?;
            Some(stored.fingerprint(Stamp::NOTHING))
        }
        Err(Stop::Visitor) => None,
        Err(Stop::Failed(kind)) => return Err(kind),
    };
    Ok(sink.reading(fingerprint, bytes, Some(spooled), None))
}

/// Reads to the end, and returns how many bytes came, and why not all of them if so.
fn drain(reader: &mut dyn Read) -> (u64, Result<(), ErrorKind>) {
    let mut buffer = vec![0; PIECE];
    let mut bytes = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return (bytes, Ok(())),
            Ok(read) => bytes += read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (bytes, Err(error.into())),
        }
    }
}

/// Reads what has been decompressed: `bytes` of it came, and no more if it has not ended well.
fn decompressed(
    form: Form,
    bytes: u64,
    ended: Result<(), ErrorKind>,
    again: &dyn Fn() -> Result<Box<dyn Read>, ErrorKind>,
    how: How<'_>,
    sink: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    let end = match ended {
        Ok(()) => End::Whole,
        Err(kind) => match kind.damage() {
            // The text before the damage is whole lines of NDJSON at best.
            Some(damage) if damage.keeps && form == Form::Ndjson => End::Cut(damage),
            Some(damage) => return damage.tell_whole(sink),
            None => return Err(kind.into()),
        },
    };
    let text = Text {
        first: Box::new(again()?.take(bytes)),
        again,
        size: (bytes < u64::MAX).then_some(bytes),
    };
    read_text(text, form, end, how, sink)
}

/// Hands a text to the reader of its form.
fn read_text(
    text: Text<'_>,
    form: Form,
    end: End,
    how: How<'_>,
    sink: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    let ceiling = how.ceiling;
    match form {
        Form::Ndjson => {
            let mut feed = StreamReader::new(text.first, PIECE);
            ndjson::read(&mut feed, end, ceiling, sink)
        }
        Form::Json | Form::Either => json::read(text, ceiling, sink),
        Form::Hl7v2 => {
            let mut reader = text.first;
            hl7v2::read(&mut *reader, how.messages, ceiling, sink)
        }
        Form::Dicom => {
            let mut reader = text.first;
            dicom::read(&mut *reader, sink)
        }
        Form::Unrecognized => Err(ErrorKind::Unrecognized.into()),
    }
}

/// Returns the first bytes of what a file holds, `most` of them; decompressed, where it is compressed. If that ends early,
/// a reader of all of it is told why.
///
/// # Errors
///
/// When it cannot be opened or read.
pub fn beginning(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut file = fs_err::File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let compression = Compression::of(&head);
    let joined = io::Cursor::new(head).chain(file);
    let mut beginning = Vec::new();
    let read = plain(joined, compression)?
        .take(most as u64)
        .read_to_end(&mut beginning);
    match read {
        Err(error) if compression == Compression::None => Err(error),
        _ => Ok(beginning),
    }
}

/// Hashes and counts what is read through it.
struct HashingReader<R> {
    reader: R,
    hash: Sha256,
    count: u64,
}

impl<R> HashingReader<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            hash: Sha256::new(),
            count: 0,
        }
    }

    fn fingerprint(self, stamp: Stamp) -> Fingerprint {
        use std::fmt::Write as _;
        let mut sha256 = String::with_capacity(64);
        for byte in self.hash.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Fingerprint {
            stamp: Stamp {
                size: self.count,
                ..stamp
            },
            sha256,
        }
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        self.count += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
