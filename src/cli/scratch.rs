//! The scratch directory of verbs that leave nothing behind.

use std::{
    fs::File,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::Error;
use crate::journal::{RunDirectory, private_directory, private_file};

/// The beginning of a directory's name; the rest is a UUID.
const PREFIX: &str = "stoker-";

/// The advice that helps wherever such a directory cannot be made.
pub(super) const ELSEWHERE: &str =
    "`TMPDIR` names another folder for what is removed again at the end";

/// The file in the directory that its process holds locked.
const LOCK: &str = "lock";

/// A directory that only this user may read, gone when it is dropped: the plan and the spool hold patients' data.
///
/// A process that is killed leaves its directory. The next one that makes a directory beside it removes it.
pub(super) struct Scratch {
    path: PathBuf,
    run: RunDirectory,
    _lock: File,
}

impl Scratch {
    /// Makes the directory.
    pub(super) fn create() -> Result<Self, Error> {
        let folder = std::env::temp_dir();
        let name = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
        let path = folder.join(&name);
        private_directory(&path).map_err(aside)?;
        let made = lock(&path).and_then(|lock| {
            let run = RunDirectory::create(&path, "scratch", jiff::Timestamp::now())?;
            Ok((lock, run))
        });
        match made {
            Ok((lock, run)) => {
                sweep(&folder, &path);
                Ok(Self {
                    path,
                    run,
                    _lock: lock,
                })
            }
            Err(error) => {
                let _ = fs_err::remove_dir_all(&path);
                Err(aside(error))
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

fn aside(error: std::io::Error) -> Error {
    Error::elsewhere(error, ELSEWHERE)
}

fn lock(directory: &Path) -> std::io::Result<File> {
    let (file, _) = private_file(&directory.join(LOCK))?.into_parts();
    // A file system without locks lets nobody take the directory for one that was left: that needs the lock as well.
    let _ = file.try_lock();
    Ok(file)
}

/// Removes the directories in `folder` that killed processes of the owner of `own` have left. One that cannot be removed stays: it is
/// not this command's task.
fn sweep(folder: &Path, own: &Path) {
    let (Ok(entries), Ok(owner)) = (fs_err::read_dir(folder), fs_err::symlink_metadata(own)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let uuid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_ours = uuid.is_some_and(|uuid| uuid::Uuid::try_parse(uuid).is_ok())
            // The metadata are those of a link itself: none is followed.
            && entry.metadata().is_ok_and(|held| held.is_dir() && held.uid() == owner.uid());
        let path = entry.path();
        if !is_ours || path == own {
            continue;
        }
        // A directory without this file is just being made.
        let Ok(lock) = fs_err::File::open(path.join(LOCK)) else {
            continue;
        };
        if lock.file().try_lock().is_ok() {
            let _ = fs_err::remove_dir_all(&path);
        }
    }
}
