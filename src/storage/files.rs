//! Files of this machine.

use std::{
    io::{self, Read},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::UNIX_EPOCH,
};

use super::{Listing, Origin, Stamp, Storage, elsewhere, glob};
use crate::manifest::FilePattern;

/// The files of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Files;

impl Storage for Files {
    fn list(&self, patterns: &[FilePattern]) -> Listing {
        glob::list(patterns)
    }

    fn open(&self, origin: &Origin) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(fs_err::File::open(path(origin)?)?))
    }

    fn stamp(&self, origin: &Origin) -> io::Result<Option<Stamp>> {
        let metadata = fs_err::metadata(path(origin)?)?;
        let modified = match metadata.modified()?.duration_since(UNIX_EPOCH) {
            Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
            Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
        };
        Ok(Some(Stamp {
            size: metadata.len(),
            modified,
            inode: metadata.ino(),
        }))
    }

    fn is_seekable(&self) -> bool {
        true
    }
}

fn path(origin: &Origin) -> io::Result<&Path> {
    match origin {
        Origin::File(path) => Ok(path),
        Origin::Stdin => Err(elsewhere()),
    }
}
