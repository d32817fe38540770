//! The parts of a multipart body that comes in pieces (RFC 2046 §5.1.1): a part ends only at a line break with the boundary
//! behind it, and no more than a head and the length of a boundary is held.

use memchr::memmem::Finder;

/// The longest head of a part, in bytes.
const LONGEST_HEAD: usize = 16 << 10;

/// A finding in a body.
#[derive(Debug, PartialEq, Eq)]
pub enum PartEvent<'a> {
    /// A part begins; its head, as it stands there.
    Begins(&'a [u8]),
    /// Bytes of the part.
    Bytes(&'a [u8]),
    /// The part is over.
    Ends,
}

/// The reason why a body is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedParts {
    /// No boundary at all.
    #[error("the body holds no boundary")]
    NoBoundary,
    /// A head that does not end.
    #[error("the head of a part is longer than 16 KiB")]
    Head,
    /// The last boundary is missing.
    #[error("the body ends before its last boundary")]
    Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Before,
    /// Behind a boundary.
    Head,
    /// Before the line break that ends a head: it begins the next boundary, where the part has no bytes.
    Begun,
    /// Inside of a part.
    Part,
    /// Behind the last boundary.
    Behind,
}

/// Finds the parts of a body.
#[derive(Debug)]
pub struct PartSplitter {
    delimiter: Finder<'static>,
    held: Vec<u8>,
    state: State,
}

impl PartSplitter {
    /// Begins a body with this boundary.
    pub fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        Self {
            delimiter: Finder::new(delimiter.as_bytes()).into_owned(),
            // The first boundary may stand at the very beginning.
            held: b"\r\n".to_vec(),
            state: State::Before,
        }
    }

    /// Takes the next piece of the body.
    ///
    /// # Errors
    ///
    /// When the head of a part does not end.
    pub fn feed(
        &mut self,
        piece: &[u8],
        take: &mut dyn FnMut(PartEvent<'_>),
    ) -> Result<(), MalformedParts> {
        self.held.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let rest = self.held.get(at..).unwrap_or_default();
            match self.state {
                State::Before => {
                    let Some(found) = self.delimiter.find(rest) else {
                        at += self.surely(rest);
                        break;
                    };
                    at += found + self.delimiter.needle().len();
                    self.state = State::Head;
                }
                State::Head => {
                    if rest.starts_with(b"--") {
                        self.state = State::Behind;
                        continue;
                    }
                    match memchr::memmem::find(rest, b"\r\n\r\n") {
                        Some(end) => {
                            take(PartEvent::Begins(rest.get(..end).unwrap_or_default()));
                            at += end + 2;
                            self.state = State::Begun;
                        }
                        None if rest.len() > LONGEST_HEAD => return Err(MalformedParts::Head),
                        None => break,
                    }
                }
                State::Begun => {
                    let needle = self.delimiter.needle();
                    if !rest.starts_with(needle) {
                        if needle.starts_with(rest) {
                            break;
                        }
                        at += 2;
                    }
                    self.state = State::Part;
                }
                State::Part => {
                    let Some(found) = self.delimiter.find(rest) else {
                        let surely = self.surely(rest);
                        bytes(rest.get(..surely), take);
                        at += surely;
                        break;
                    };
                    bytes(rest.get(..found), take);
                    take(PartEvent::Ends);
                    at += found + self.delimiter.needle().len();
                    self.state = State::Head;
                }
                State::Behind => {
                    at = self.held.len();
                    break;
                }
            }
        }
        self.held.drain(..at);
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// When its last boundary has not come.
    pub fn finish(self) -> Result<(), MalformedParts> {
        match self.state {
            State::Behind => Ok(()),
            State::Before => Err(MalformedParts::NoBoundary),
            State::Head | State::Begun | State::Part => Err(MalformedParts::Cut),
        }
    }

    /// Returns how many of these bytes cannot be the beginning of a delimiter.
    fn surely(&self, rest: &[u8]) -> usize {
        rest.len()
            .saturating_sub(self.delimiter.needle().len().saturating_sub(1))
    }
}

fn bytes(part: Option<&[u8]>, take: &mut dyn FnMut(PartEvent<'_>)) {
    if let Some(part) = part.filter(|part| !part.is_empty()) {
        take(PartEvent::Bytes(part));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Head and body of a part.
    type Part = (Vec<u8>, Vec<u8>);

    /// Returns the parts, whatever the pieces are.
    fn split(body: &[u8], sizes: &[usize]) -> Result<Vec<Part>, MalformedParts> {
        let mut splitter = PartSplitter::new("b");
        let mut parts = Vec::new();
        let mut rest = body;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at((*size).clamp(1, rest.len()));
            splitter.feed(piece, &mut |event| match event {
                PartEvent::Begins(head) => parts.push((head.to_vec(), Vec::new())),
                PartEvent::Bytes(bytes) => parts.last_mut().unwrap().1.extend_from_slice(bytes),
                PartEvent::Ends => {}
            })?;
            rest = behind;
        }
        splitter.finish()?;
        Ok(parts)
    }

    #[test]
    fn a_body_that_is_none_says_why() {
        assert_eq!(split(b"", &[1]), Err(MalformedParts::NoBoundary));
        assert_eq!(split(b"--a\r\n", &[3]), Err(MalformedParts::NoBoundary));
        assert_eq!(split(b"--b\r\n\r\nx", &[3]), Err(MalformedParts::Cut));
        assert_eq!(
            split(b"--b\r\n\r\nx\r\n--b", &[3]),
            Err(MalformedParts::Cut)
        );
        assert_eq!(split(b"--b--", &[1]), Ok(vec![]));
        let endless = [b"--b\r\n".as_slice(), &vec![b'x'; 20_000]].concat();
        assert_eq!(split(&endless, &[5_000]), Err(MalformedParts::Head));
    }

    proptest! {
        #[test]
        fn parts_come_out_as_they_went_in(
            parts in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![Just(b'-'), Just(b'b'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..40),
                0..5,
            ),
            sizes in proptest::collection::vec(1..20_usize, 1..6),
            has_head: bool,
            is_terse: bool,
        ) {
            let holds = |part: &Vec<u8>| memchr::memmem::find(part, b"\r\n--b").is_some() || part.starts_with(b"--b");
            prop_assume!(!parts.iter().any(holds));
            let head: &[u8] = if has_head { b"\r\nContent-Type: application/dicom" } else { b"" };
            let mut body = b"before".to_vec();
            for part in &parts {
                body.extend_from_slice(b"\r\n--b");
                body.extend_from_slice(head);
                // One line break ends the head and begins the next boundary, where others write two.
                let is_terse = is_terse && part.is_empty();
                body.extend_from_slice(if is_terse { b"\r\n" } else { b"\r\n\r\n" });
                body.extend_from_slice(part);
            }
            body.extend_from_slice(b"\r\n--b--\r\nbehind");
            let expected: Vec<_> = parts.iter().map(|part| (head.to_vec(), part.clone())).collect();
            prop_assert_eq!(split(&body, &sizes), Ok(expected));
        }

        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200), sizes in proptest::collection::vec(1..20_usize, 1..6)) {
            let _ = split(&body, &sizes);
        }
    }
}
