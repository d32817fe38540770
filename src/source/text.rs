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

/// Whether a text is known to have lost its end, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    Cut(Damage),
}
