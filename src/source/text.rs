//! The plain bytes of a source, as its readers get them.

use std::io::Read;

use super::{ErrorKind, damage::Damage};

/// Plain bytes to be read, once through `first`, and maybe again.
pub(super) struct Text<'t> {
    pub(super) first: Box<dyn Read + 't>,
    pub(super) again: &'t dyn Fn() -> Result<Box<dyn Read>, ErrorKind>,
    /// The size, where it is known before reading.
    pub(super) size: Option<u64>,
}

/// The end of a text: whole, or lost to a known damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    Cut(Damage),
}

/// The byte order mark of UTF-8.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns the length of the byte order mark in front.
pub(super) fn skip_mark(bytes: &[u8]) -> usize {
    if bytes.starts_with(MARK) {
        MARK.len()
    } else {
        0
    }
}

/// Takes JSON's white space off both ends; returns how much stood in front.
pub(super) fn trim(bytes: &[u8]) -> (usize, &[u8]) {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let before = bytes.iter().take_while(|byte| space(byte)).count();
    let rest = bytes.get(before..).unwrap_or_default();
    let after = rest.iter().rev().take_while(|byte| space(byte)).count();
    (before, rest.get(..rest.len() - after).unwrap_or_default())
}
