//! Compressed files, opened by what they hold and not by what they are called, and capped.

use std::{
    io::{self, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::ErrorKind;
use crate::dicom::element::MARK;

/// The first bytes of a file by which its compression is told.
pub(super) const HEAD: usize = PREAMBLE + MARK.len();

/// The length of the preamble of a DICOM file.
const PREAMBLE: usize = 128;

/// Bytes that may come of one stored byte, once more than [`FREE`] have come. Synthea's NDJSON comes to 40 with zstd;
/// gzip cannot do more than 1,032, which nothing but a bomb reaches.
const RATIO: u64 = 500;

/// Decompressed bytes that are free of the ratio: small files of equal lines compress well.
const FREE: u64 = 1 << 30;

/// The most that one file may come to.
const LARGEST: u64 = 1 << 42;

/// The compression of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Tells it by the first bytes (RFC 1952 §2.3.1, RFC 8878 §3.1.1); [`HEAD`] of them are enough. The preamble of a DICOM file
    /// may hold anything, also what begins compressed data.
    pub(super) fn of(head: &[u8]) -> Self {
        if head.get(PREAMBLE..) == Some(MARK) {
            Self::None
        } else if head.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::None
        }
    }

    /// Tells it by the name of a file.
    pub(super) fn promised(name: &str) -> Self {
        match name.to_ascii_lowercase().rsplit_once('.') {
            Some((_, "gz")) => Self::Gzip,
            Some((_, "zst")) => Self::Zstd,
            _ => Self::None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Reads the plain bytes of a stream.
pub(super) fn plain<'r>(
    stored: impl Read + 'r,
    compression: Compression,
) -> io::Result<Box<dyn Read + 'r>> {
    if compression == Compression::None {
        return Ok(Box::new(stored));
    }
    let taken = Arc::new(AtomicU64::new(0));
    let stored = BufReader::with_capacity(
        64 << 10,
        Counted {
            reader: stored,
            taken: Arc::clone(&taken),
        },
    );
    let decoder: Box<dyn Read + 'r> = match compression {
        Compression::Gzip | Compression::None => {
            Box::new(flate2::bufread::MultiGzDecoder::new(stored))
        }
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(stored)?),
    };
    Ok(Box::new(Capped {
        decoder,
        compression,
        taken,
        given: 0,
    }))
}

struct Counted<R> {
    reader: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

struct Capped<'r> {
    decoder: Box<dyn Read + 'r>,
    compression: Compression,
    taken: Arc<AtomicU64>,
    given: u64,
}

impl Read for Capped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.decoder.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            // An error of the system has a code; what has none, the decoder has made up.
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(ErrorKind::Cut(self.compression.name()).wrap());
            }
            Err(_) => return Err(ErrorKind::Corrupt(self.compression.name()).wrap()),
        };
        self.given += read as u64;
        let taken = self.taken.load(Ordering::Relaxed);
        if self.given > FREE && (self.given / RATIO > taken || self.given > LARGEST) {
            return Err(ErrorKind::Bomb {
                ratio: RATIO,
                beyond: FREE,
            }
            .wrap());
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(stored: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        plain(stored, Compression::of(stored))?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn members_and_frames_are_joined() {
        assert_eq!(read(&[gzip(b"ab"), gzip(b"cd")].concat()).unwrap(), b"abcd");
        let frame = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        assert_eq!(
            read(&[frame(b"ab"), frame(b"cd")].concat()).unwrap(),
            b"abcd"
        );
        assert_eq!(read(b"plain").unwrap(), b"plain");
    }

    #[test]
    fn cut_and_spoilt_data_is_told() {
        let text: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
        for (stored, name) in [
            (gzip(&text), "gzip"),
            (zstd::encode_all(&text[..], 1).unwrap(), "zstd"),
        ] {
            let error = ErrorKind::from(read(&stored[..stored.len() / 2]).unwrap_err());
            assert!(
                matches!(error, ErrorKind::Cut(found) if found == name),
                "{error:?}"
            );
        }
        let mut spoilt = gzip(&text);
        let length = spoilt.len();
        spoilt[length - 6] ^= 1;
        assert!(matches!(
            ErrorKind::from(read(&spoilt).unwrap_err()),
            ErrorKind::Corrupt("gzip")
        ));
    }

    #[test]
    fn a_bomb_is_stopped() {
        let stored = zstd::encode_all(io::repeat(0).take(FREE + (64 << 20)), 1).unwrap();
        let error = io::copy(
            &mut plain(&stored[..], Compression::Zstd).unwrap(),
            &mut io::sink(),
        );
        assert!(matches!(
            ErrorKind::from(error.unwrap_err()),
            ErrorKind::Bomb { .. }
        ));
    }
}
