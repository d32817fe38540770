//! The scratch directory of verbs that leave nothing behind.

use std::path::PathBuf;

use super::Error;
use crate::journal::RunDirectory;

/// A directory that only this user may read, gone when it is dropped: the plan and the spool hold patients' data.
pub(super) struct Scratch {
    path: PathBuf,
    run: RunDirectory,
}

impl Scratch {
    /// Makes the directory.
    pub(super) fn create() -> Result<Self, Error> {
        let name = format!("stoker-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        crate::journal::private_directory(&path).map_err(Error::disk)?;
        let run = RunDirectory::create(&path, "scratch", jiff::Timestamp::now());
        match run {
            Ok(run) => Ok(Self { path, run }),
            Err(error) => {
                let _ = fs_err::remove_dir_all(&path);
                Err(Error::disk(error))
            }
        }
    }

    /// Returns the directory of a run that is never carried out.
    pub(super) fn run(&self) -> &RunDirectory {
        &self.run
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(&self.path);
    }
}
