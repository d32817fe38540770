//! The directory of a history: which segments there are, and in which order they were written.
//!
//! The name of a segment says where it stands in that order; nothing else names it. Its rows are `segment`'s business.

use std::path::{Path, PathBuf};

use super::Error;

/// Returns where the history of a state directory lies.
pub(super) fn directory_of(state: &Path) -> PathBuf {
    state.join("history")
}

/// Returns the segments of a history, the oldest first.
pub(super) fn segments(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs_err::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file(directory, &error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::file(directory, &e))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "rows")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Returns the sequence of a segment that is newer than all others.
pub(super) fn next_sequence(directory: &Path) -> Result<u64, Error> {
    let last = segments(directory)?.pop();
    Ok(last.map_or(0, |path| sequence_of(&path)) + 1)
}

/// Returns the sequence of a segment: its place among the others, the oldest first.
pub(super) fn sequence_of(path: &Path) -> u64 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.split('-').next().unwrap_or_default();
    // A file that is named otherwise was put there by somebody; it counts as the oldest.
    digits.parse().unwrap_or_default()
}

/// Names a segment. Two processes may choose the same sequence; then it does not matter which is newer.
pub(super) fn place_of(directory: &Path, sequence: u64, part: u64) -> PathBuf {
    let own: u32 = rand::random();
    directory.join(format!("{sequence:010}-{part:05}-{own:08x}.rows"))
}
