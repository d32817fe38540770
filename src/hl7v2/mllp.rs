//! MLLP: messages on a connection, framed by 0x0B before and 0x1C 0x0D behind.
//!
//! The framing of release 2 is the same; its commits are blocks of one byte, [`COMMIT_ACK`] or [`COMMIT_NAK`]. Connections are left to
//! others.

/// Begins a frame (VT).
pub const START: u8 = 0x0b;
/// Ends a frame, before a CR (FS).
pub const END: u8 = 0x1c;
/// The block by which a receiver of release 2 says that it has a message (ACK).
pub const COMMIT_ACK: u8 = 0x06;
/// The block by which such a receiver says that it has not (NAK).
pub const COMMIT_NAK: u8 = 0x15;

/// Bytes between frames that are kept to be shown.
const SHOWN: usize = 512;

/// A message that cannot be framed: it holds a byte of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of the message is {byte:#04x}, which frames messages in MLLP")]
pub struct Unframeable {
    /// The place of the byte in the message.
    pub at: usize,
    /// The byte.
    pub byte: u8,
}

/// Tells whether a message can be framed: it holds no byte of the frame.
pub fn is_frameable(message: &[u8]) -> bool {
    memchr::memchr2(START, END, message).is_none()
}

/// Returns a message in its frame.
pub fn frame(message: &[u8]) -> Result<Vec<u8>, Unframeable> {
    if let Some(at) = memchr::memchr2(START, END, message) {
        let byte = message.get(at).copied().unwrap_or_default();
        return Err(Unframeable { at, byte });
    }
    let mut framed = Vec::with_capacity(message.len() + 3);
    framed.push(START);
    framed.extend_from_slice(message);
    framed.extend_from_slice(&[END, b'\r']);
    Ok(framed)
}

/// A finding on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// The content of a frame.
    Block(Vec<u8>),
    /// Bytes outside of any frame.
    Junk {
        /// The number of bytes.
        length: u64,
        /// The first of the bytes.
        first: Vec<u8>,
    },
    /// A frame that did not end before the next one began.
    Cut(Vec<u8>),
}

/// A frame larger than the decoder keeps; what follows on the connection cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an MLLP frame larger than {limit} bytes")]
pub struct FrameTooLarge {
    /// The limit.
    pub limit: usize,
}

/// Takes what comes on a connection, in pieces of any size, and gives the frames. It keeps at most the limit and one piece.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    kept: Vec<u8>,
    searched: usize,
    is_inside: bool,
    /// The last frame ended without its CR: one that comes late is no junk.
    is_bare: bool,
    junk: u64,
    first: Vec<u8>,
}

impl Decoder {
    /// A decoder that takes frames of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: Vec::new(),
            searched: 0,
            is_inside: false,
            is_bare: false,
            junk: 0,
            first: Vec::new(),
        }
    }

    /// Takes bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
    }

    /// Returns the next thing that has come whole; `None` when more bytes are needed.
    pub fn received(&mut self) -> Result<Option<Received>, FrameTooLarge> {
        if !self.is_inside {
            if self.is_bare
                && let Some(&next) = self.kept.first()
            {
                self.is_bare = false;
                self.drop_first(usize::from(next == b'\r'));
            }
            let start = memchr::memchr(START, &self.kept);
            let junk = start.unwrap_or(self.kept.len());
            self.add_junk(junk);
            self.drop_first(junk);
            if start.is_none() {
                return Ok(None);
            }
            self.drop_first(1);
            self.is_inside = true;
            if let Some(junk) = self.take_junk() {
                return Ok(Some(junk));
            }
        }
        loop {
            let rest = self.kept.get(self.searched..).unwrap_or_default();
            let Some(at) = memchr::memchr2(START, END, rest) else {
                self.searched = self.kept.len();
                return self.within_limit(self.kept.len());
            };
            let at = self.searched + at;
            if self.kept.get(at) == Some(&START) {
                self.within_limit(at)?;
                let block = self.take(at, at + 1);
                self.is_inside = true;
                return Ok(Some(Received::Cut(block)));
            }
            match self.kept.get(at + 1) {
                None => {
                    self.searched = at;
                    return self.within_limit(at);
                }
                Some(b'\r') => {
                    self.within_limit(at)?;
                    return Ok(Some(Received::Block(self.take(at, at + 2))));
                }
                // The beginning of the next frame has ended this one; so has a line end of another kind.
                Some(&next @ (START | b'\n')) => {
                    self.within_limit(at)?;
                    let next = at + 1 + usize::from(next == b'\n');
                    return Ok(Some(Received::Block(self.take(at, next))));
                }
                // Alone it is a byte of the message, however wrong.
                Some(_) => self.searched = at + 1,
            }
        }
    }

    /// Returns the first bytes of a frame that has begun and not ended.
    pub fn begun(&self) -> &[u8] {
        let length = std::cmp::min(self.kept.len(), SHOWN);
        self.kept
            .get(..length)
            .filter(|_| self.is_inside)
            .unwrap_or_default()
    }

    /// Tells whether the last byte is one that ends a frame, if no CR follows.
    pub fn may_have_ended(&self) -> bool {
        self.is_inside && self.kept.last() == Some(&END)
    }

    /// Returns the content of a frame that ended without its CR, where nothing else is to come.
    pub fn ended_bare(&mut self) -> Option<Vec<u8>> {
        if !self.may_have_ended() {
            return None;
        }
        let end = self.kept.len() - 1;
        self.is_bare = true;
        Some(self.take(end, end + 1))
    }

    /// Returns what is left when the connection has ended: junk, or the part of a frame.
    pub fn rest(mut self) -> Option<Received> {
        if self.is_inside {
            return Some(Received::Cut(self.kept));
        }
        self.add_junk(self.kept.len());
        self.take_junk()
    }

    /// Tells whether a frame has begun and not ended.
    pub fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// Returns what has come outside of any frame since the last one, if anything has: an answer without a frame, perhaps.
    pub fn take_junk(&mut self) -> Option<Received> {
        let length = std::mem::take(&mut self.junk);
        let first = std::mem::take(&mut self.first);
        (length > 0).then_some(Received::Junk { length, first })
    }

    fn add_junk(&mut self, length: usize) {
        let junk = self.kept.get(..length).unwrap_or_default();
        self.junk += junk.len() as u64;
        let room = SHOWN - self.first.len();
        self.first.extend(junk.iter().take(room));
    }

    fn within_limit(&self, size: usize) -> Result<Option<Received>, FrameTooLarge> {
        if size > self.limit {
            return Err(FrameTooLarge { limit: self.limit });
        }
        Ok(None)
    }

    fn take(&mut self, end: usize, next: usize) -> Vec<u8> {
        let block = self.kept.get(..end).unwrap_or_default().to_vec();
        self.drop_first(next);
        self.searched = 0;
        self.is_inside = false;
        block
    }

    fn drop_first(&mut self, length: usize) {
        self.kept.drain(..length.min(self.kept.len()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(pieces: &[&[u8]]) -> (Vec<Received>, Option<Received>) {
        let mut decoder = Decoder::new(1000);
        let mut all = Vec::new();
        for piece in pieces {
            decoder.feed(piece);
            while let Some(received) = decoder.received().unwrap() {
                all.push(received);
            }
        }
        (all, decoder.rest())
    }

    fn block(text: &str) -> Received {
        Received::Block(text.as_bytes().to_vec())
    }

    #[test]
    fn frames() {
        assert_eq!(frame(b"MSH|").unwrap(), b"\x0bMSH|\x1c\r");
        assert_eq!(frame(b"a\x1cb"), Err(Unframeable { at: 1, byte: END }));
        assert_eq!(frame(b"a\rb\x0b"), Err(Unframeable { at: 3, byte: START }));
        let (all, rest) = decoded(&[b"\x0bmsg1\x1c\r\x0bmsg\rmsg\x1c\r\x0b\x1c\r\x0b\x06\x1c\r"]);
        assert_eq!(
            all,
            [block("msg1"), block("msg\rmsg"), block(""), block("\x06")]
        );
        assert_eq!(rest, None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let junk = |length, first: &str| Received::Junk {
            length,
            first: first.as_bytes().to_vec(),
        };
        let cut = |text: &str| Received::Cut(text.as_bytes().to_vec());
        for (bytes, expected, rest) in [
            ("msg\x1c\r", vec![], Some(junk(5, "msg\x1c\r"))),
            (
                "x\x0bm\x1c\r\n",
                vec![junk(1, "x"), block("m")],
                Some(junk(1, "\n")),
            ),
            ("\x0bmsg\r", vec![], Some(cut("msg\r"))),
            ("\x0bmsg\x1c", vec![], Some(cut("msg\x1c"))),
            ("\x0ba\x0bb\x1c\r", vec![cut("a"), block("b")], None),
            ("\x0ba\x1cb\x1c\x1c\r", vec![block("a\x1cb\x1c")], None),
            ("", vec![], None),
        ] {
            assert_eq!(decoded(&[bytes.as_bytes()]), (expected, rest), "{bytes:?}");
        }
        let mut decoder = Decoder::new(4);
        decoder.feed(b"\x0b1234\x1c\r\x0b12345");
        assert_eq!(decoder.received(), Ok(Some(block("1234"))));
        assert_eq!(decoder.received(), Err(FrameTooLarge { limit: 4 }));
    }

    #[test]
    fn a_frame_may_end_without_its_cr() {
        let (all, _) = decoded(&[b"\x0ba\x1c\x0bb\x1c\n\x0bc\x1cd\x1c\r"]);
        assert_eq!(all, [block("a"), block("b"), block("c\x1cd")]);
        for late in [&b"\r"[..], b""] {
            let mut decoder = Decoder::new(100);
            decoder.feed(b"\x0bmsg");
            assert_eq!(decoder.received(), Ok(None));
            assert_eq!(decoder.ended_bare(), None);
            decoder.feed(b"\x1c");
            assert_eq!(decoder.received(), Ok(None));
            assert_eq!(decoder.ended_bare().unwrap(), b"msg");
            decoder.feed(late);
            assert_eq!(decoder.received(), Ok(None));
            decoder.feed(b"\x0bnext\x1c\r");
            assert_eq!(decoder.received(), Ok(Some(block("next"))));
        }
    }

    #[test]
    fn junk_is_counted_and_not_kept() {
        let mut decoder = Decoder::new(4);
        for _ in 0..1000 {
            decoder.feed(&[b'x'; 100]);
            assert_eq!(decoder.received(), Ok(None));
            assert!(decoder.kept.is_empty());
        }
        let first = vec![b'x'; SHOWN];
        assert_eq!(
            decoder.take_junk(),
            Some(Received::Junk {
                length: 100_000,
                first
            })
        );
        assert_eq!(decoder.rest(), None);
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(bytes in prop::collection::vec(prop::sample::select(vec![START, END, b'\r', b'a', b'b']), 0..60), size in 1_usize..7) {
            let whole = decoded(&[&bytes]);
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(decoded(&pieces), whole);
        }

        #[test]
        fn what_is_framed_comes_back(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5)) {
            let framed: Vec<(Vec<u8>, Vec<u8>)> = messages.into_iter()
                .filter_map(|message| frame(&message).ok().map(|framed| (message, framed))).collect();
            let sent: Vec<u8> = framed.iter().flat_map(|(_, framed)| framed.clone()).collect();
            let expected: Vec<Received> = framed.into_iter().map(|(message, _)| Received::Block(message)).collect();
            prop_assert_eq!(decoded(&[&sent]), (expected, None));
        }
    }
}
