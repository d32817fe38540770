//! Claims the file of a journal for one process, and mends its end.
//!
//! A process that writes holds a lock on the file until it ends. A process that was killed may have left a part of a line.

use std::{fs::TryLockError, io, path::Path};

/// Locks a file, unless another process has done so.
pub(super) fn claim(file: &fs_err::File) -> io::Result<()> {
    file.file().try_lock().map_err(|error| match error {
        TryLockError::Error(error) => error,
        TryLockError::WouldBlock => io::Error::other("another Stoker is at work on this run"),
    })
}

/// A torn tail would join the first new line; it was never durable, so it goes. Whole lines that came since the journal was
/// read are another session's, and stay.
pub(super) fn cut_torn_tail(file: &fs_err::File, path: &Path, whole: u64) -> io::Result<()> {
    use io::{Read as _, Seek as _};
    let mut tail = Vec::new();
    let mut read = fs_err::File::open(path)?;
    read.seek(io::SeekFrom::Start(whole))?;
    read.read_to_end(&mut tail)?;
    if tail.contains(&b'\n') {
        let message = "another Stoker has gone on with this run meanwhile; try again";
        return Err(io::Error::other(message));
    }
    file.set_len(whole)
}
