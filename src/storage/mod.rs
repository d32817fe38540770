//! The places of the bytes of sources: files of this machine, and standard input.
//!
//! [`Storage`] is all that reading knows of it. The meaning of the bytes is the business of `source`; bytes that cannot
//! be read twice go through its spool.

use std::{
    fmt,
    io::{self, Read},
    path::PathBuf,
};

use crate::{
    diagnostic::{Diagnostic, shown},
    manifest::FilePattern,
};

mod files;
mod glob;
mod stdin;

pub use files::Files;
pub use stdin::Stdin;

/// A place where sources lie.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Finds what the patterns of a load name here.
    fn list(&self, patterns: &[FilePattern]) -> Listing;

    /// Opens a source from its beginning.
    ///
    /// # Errors
    ///
    /// When it is not there, or may not be read.
    fn open(&self, origin: &Origin) -> io::Result<Box<dyn Read>>;

    /// Returns what a source is now, without reading it; none where nothing can tell that it is still the same.
    ///
    /// # Errors
    ///
    /// When it is not there.
    fn stamp(&self, origin: &Origin) -> io::Result<Option<Stamp>>;

    /// Tells whether a source can be read at any place, and again.
    fn is_seekable(&self) -> bool;
}

/// The sources that patterns came to.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The sources, each once, with the number of the pattern that names it; in the order of the patterns.
    pub found: Vec<(usize, Origin)>,
    /// Patterns (none of those with `!`) that match nothing at all.
    pub unmatched: Vec<FilePattern>,
    /// Patterns that cannot be read, folders where files belong, folders that cannot be opened; warnings of files that may
    /// have been meant, and are left out.
    pub problems: Vec<Diagnostic>,
}

/// The marks by which a source is known to be still the same, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The stored (maybe compressed) size in bytes.
    pub size: u64,
    /// When it was last modified, in nanoseconds since 1970; 0 where nobody tells.
    pub modified: i128,
    /// Its number on its disk; 0 where it has none.
    pub inode: u64,
}

impl Stamp {
    /// The stamp of a source about which nobody tells anything.
    pub const NOTHING: Self = Self {
        size: 0,
        modified: 0,
        inode: 0,
    };
}

/// The place that a source comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// Standard input, `-` in a manifest.
    Stdin,
}

impl Origin {
    /// Returns the storage that the source lies in.
    pub fn storage(&self) -> &'static dyn Storage {
        match self {
            Self::File(_) => &Files,
            Self::Stdin => &Stdin,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(&shown(path)),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

/// Finds what the patterns of a load name, wherever it lies.
pub fn find(patterns: &[FilePattern]) -> Listing {
    let mut all = Files.list(patterns);
    all.found.extend(Stdin.list(patterns).found);
    all.found.sort_by_key(|(number, _)| *number);
    all
}

/// Of a source that is somewhere else: who opens it has mistaken its storage.
fn elsewhere() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it lies in another storage")
}
