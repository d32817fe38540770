//! The body of a STOW request: heads, tail and boundary, and how long all of it is.
//!
//! Some servers look for the boundary anywhere in a body, not only at the beginning of a line, and cut an instance that
//! holds it. A boundary is therefore chosen at random, and looked for in the bytes of every part before it is used. The bytes
//! of the parts, and who streams them, are left to others.

use std::io::{self, Read};

use memchr::memmem::Finder;

/// The boundary between the parts of a body: a token that needs no quotes, since old servers refuse quoted ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// Makes the boundary of a random number.
    pub fn of(random: u128) -> Self {
        Self(format!("stoker-{random:032x}"))
    }

    /// Returns the token.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the value of the request's `Content-Type`. The type is quoted, since others refuse it bare.
    pub fn content_type(&self) -> String {
        format!(
            "multipart/related; type=\"application/dicom\"; boundary={}",
            self.0
        )
    }

    /// Returns the head that goes before the bytes of a part.
    pub fn head(&self) -> String {
        format!(
            "\r\n--{}\r\nContent-Type: application/dicom\r\n\r\n",
            self.0
        )
    }

    /// Returns the line that goes behind the last part.
    pub fn tail(&self) -> String {
        format!("\r\n--{}--\r\n", self.0)
    }

    /// Returns how long a body with parts of these lengths is; `None` where no number holds it.
    pub fn total(&self, parts: impl IntoIterator<Item = u64>) -> Option<u64> {
        let head = self.head().len() as u64;
        let mut total = self.tail().len() as u64;
        for part in parts {
            total = total.checked_add(head)?.checked_add(part)?;
        }
        Some(total)
    }

    /// Tells whether the boundary stands in what `part` gives. No more than a piece of it is in memory.
    pub fn stands_in(&self, part: impl Read) -> io::Result<bool> {
        let mut search = BoundarySearch::new(self);
        let mut reader = io::BufReader::with_capacity(1 << 16, part);
        loop {
            let chunk = io::BufRead::fill_buf(&mut reader)?;
            if chunk.is_empty() {
                return Ok(false);
            }
            if search.feed(chunk) {
                return Ok(true);
            }
            let length = chunk.len();
            io::BufRead::consume(&mut reader, length);
        }
    }

    /// Tells whether it stands in a part that is held.
    pub fn stands_in_held(&self, part: &[u8]) -> bool {
        BoundarySearch::new(self).feed(part)
    }
}

/// Returns the bytes of the instance that a server sent; none where there is none, or where there are several. Some servers
/// send a single instance without parts around it.
///
/// A part ends at a line break and the boundary behind it (RFC 2046 §5.1.1): a boundary in the midst of a line is content.
pub fn only_part<'b>(content_type: &str, body: &'b [u8]) -> Option<&'b [u8]> {
    let media = content_type.split(';').next().unwrap_or(content_type);
    if media.trim().eq_ignore_ascii_case("application/dicom") {
        return (!body.is_empty()).then_some(body);
    }
    let delimiter = format!("--{}", boundary_of(content_type)?);
    let start = Finder::new(delimiter.as_bytes()).find(body)?;
    let rest = body.get(start + delimiter.len()..)?;
    let head = Finder::new(b"\r\n\r\n").find(rest)?;
    let content = rest.get(head + 4..)?;
    let end = format!("\r\n{delimiter}");
    let end = Finder::new(end.as_bytes());
    let length = end.find(content)?;
    let behind = content.get(length + end.needle().len()..)?;
    behind
        .starts_with(b"--")
        .then(|| content.get(..length))
        .flatten()
}

/// Reads the boundary that a `Content-Type` of several parts names, quoted or not.
pub fn boundary_of(content_type: &str) -> Option<&str> {
    let (media, parameters) = content_type.split_once(';')?;
    if !media.trim().eq_ignore_ascii_case("multipart/related") {
        return None;
    }
    // No value of the others has a semicolon in it: they are media types and UIDs.
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        (name.trim().eq_ignore_ascii_case("boundary")).then(|| value.trim())
    })?;
    let value = value.strip_prefix('"').map_or(value, |value| {
        value.split_once('"').map_or(value, |(value, _)| value)
    });
    (1..=70).contains(&value.len()).then_some(value)
}

/// Looks for a boundary in bytes that come in pieces.
#[derive(Debug)]
pub struct BoundarySearch {
    finder: Finder<'static>,
    /// The end of what came before: shorter than the boundary.
    before: Vec<u8>,
}

impl BoundarySearch {
    /// Begins with nothing seen.
    pub fn new(boundary: &Boundary) -> Self {
        Self {
            finder: Finder::new(boundary.0.as_bytes()).into_owned(),
            before: Vec::new(),
        }
    }

    /// Takes the next piece, and tells whether the boundary ends in it.
    pub fn feed(&mut self, piece: &[u8]) -> bool {
        let most = self.finder.needle().len().saturating_sub(1);
        let seam = self.before.len();
        self.before
            .extend_from_slice(piece.get(..piece.len().min(most)).unwrap_or_default());
        if self.finder.find(&self.before).is_some() || self.finder.find(piece).is_some() {
            return true;
        }
        if piece.len() >= most {
            self.before.clear();
            let end = piece.len() - most;
            self.before
                .extend_from_slice(piece.get(end..).unwrap_or_default());
        } else {
            let over = (seam + piece.len()).saturating_sub(most);
            self.before.drain(..over);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_is_as_long_as_said() {
        let boundary = Boundary::of(7);
        let mut body = String::new();
        for part in ["one", "", "three"] {
            body.push_str(&boundary.head());
            body.push_str(part);
        }
        body.push_str(&boundary.tail());
        assert_eq!(boundary.total([3, 0, 5]), Some(body.len() as u64));
        assert_eq!(boundary.total([u64::MAX]), None);
        assert!(body.starts_with("\r\n--stoker-"));
        assert!(boundary.as_str().len() <= 70);
    }

    #[test]
    fn the_only_part_of_an_answer_is_found() {
        let kind = "Multipart/Related; type=\"application/dicom\"; boundary=\"b 1\"";
        let body = b"before\r\n--b 1\r\nContent-Type: application/dicom\r\n\r\none --b 1 two\r\n\r\n--b 1--\r\n";
        assert_eq!(only_part(kind, body), Some(&b"one --b 1 two\r\n"[..]));
        let bare = "multipart/related;boundary=b";
        assert_eq!(only_part(bare, b"--b\r\n\r\n\r\n--b--"), Some(&b""[..]));
        assert_eq!(only_part(bare, b"--b\r\n\r\nx\r\n--b--"), Some(&b"x"[..]));
        let single = "Application/DICOM; transfer-syntax=1.2.840.10008.1.2.1";
        assert_eq!(only_part(single, b"x"), Some(&b"x"[..]));
        // Cut, several, none, another type.
        for (kind, body) in [
            (bare, &b"--b\r\n\r\nx"[..]),
            (bare, b"--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--"),
            (bare, b""),
            ("application/dicom", b""),
            ("text/html", b"--b\r\n\r\nx\r\n--b--"),
            ("multipart/related", b"--b\r\n\r\nx\r\n--b--"),
        ] {
            assert_eq!(only_part(kind, body), None);
        }
    }

    proptest! {
        #[test]
        fn a_boundary_is_found_over_every_seam(
            before in proptest::collection::vec(any::<u8>(), 0..100),
            with in any::<bool>(),
            cut in 0..39_usize,
            sizes in proptest::collection::vec(1..50_usize, 1..20),
        ) {
            let boundary = Boundary::of(0xfeed);
            let mut bytes = before;
            // The beginning of the boundary alone is none.
            bytes.extend_from_slice(&boundary.as_str().as_bytes()[..cut.min(38)]);
            if with {
                bytes.extend_from_slice(boundary.as_str().as_bytes());
            }
            bytes.extend_from_slice(b"behind");
            let mut search = BoundarySearch::new(&boundary);
            let mut rest = bytes.as_slice();
            let mut found = false;
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at((*size).min(rest.len()));
                found |= search.feed(piece);
                rest = behind;
            }
            prop_assert_eq!(found, with);
            prop_assert_eq!(boundary.stands_in(bytes.as_slice()).unwrap(), with);
        }
    }
}
