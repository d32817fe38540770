//! The bytes of a deflated data set (RFC 1951). A stream that ends before its last block is an error here: the reader of the
//! crate takes it for whole.

use std::{
    io::{self, Read},
    ops::Range,
};

use flate2::{Decompress, FlushDecompress, Status};

/// The number of deflated bytes that are held at a time.
const PIECE: usize = 16 << 10;

/// Inflates what it reads.
pub(super) struct Inflated<R> {
    from: R,
    state: Decompress,
    piece: Box<[u8]>,
    /// The part of the piece that is not inflated yet.
    left: Range<usize>,
    has_ended: bool,
}

impl<R> Inflated<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from,
            state: Decompress::new(false),
            piece: vec![0; PIECE].into_boxed_slice(),
            left: 0..0,
            has_ended: false,
        }
    }
}

impl<R: Read> Read for Inflated<R> {
    /// Fails with `UnexpectedEof` where the stream is cut, and with `InvalidInput` where it is none.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.has_ended && !buffer.is_empty() {
            if self.left.is_empty() {
                self.left = 0..self.from.read(&mut self.piece)?;
            }
            let deflated = self.piece.get(self.left.clone()).unwrap_or_default();
            let (taken, given) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(deflated, buffer, FlushDecompress::None)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            let number = |count: u64| usize::try_from(count).map_err(io::Error::other);
            let taken = number(self.state.total_in() - taken)?;
            let given = number(self.state.total_out() - given)?;
            let is_over = self.left.is_empty();
            self.left.start += taken;
            self.has_ended = status == Status::StreamEnd;
            if given > 0 {
                return Ok(given);
            }
            if is_over && !self.has_ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if taken == 0 && !self.has_ended {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::fast();
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflated(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        Inflated::new(bytes).read_to_end(&mut all).map(|_| all)
    }

    #[test]
    fn what_is_no_stream_is_told() {
        assert_eq!(
            inflated(&[0xff; 100]).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        assert_eq!(
            inflated(b"").unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    proptest! {
        #[test]
        fn a_stream_is_cut_wherever_it_ends_early(bytes in prop::collection::vec(0..4_u8, 0..50_000), cut: prop::sample::Index) {
            let whole = deflated(&bytes);
            prop_assert_eq!(inflated(&whole).unwrap(), bytes);
            // Padding behind it is nobody's.
            prop_assert!(inflated(&[&whole[..], &[0]].concat()).is_ok());
            let error = inflated(&whole[..cut.index(whole.len())]).unwrap_err();
            prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
