//! Small files that a setting names (a certificate, a token, a scenario of faults): read whole, within a limit.
//!
//! A setting is written by hand, so it may name anything: a device that never ends, a pipe that nobody writes into. Both would
//! keep a load from ever beginning. Sources of records are `storage`'s and `source`'s; they have rules of their own.

use std::{
    fmt, fs,
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
};

/// The largest file of a setting, in bytes: far above a bundle of all authorities of the web (some 250 kB).
pub const LARGEST: u64 = 16 << 20;

/// The time within which the writer of a pipe has to write: as long as a password manager may ask its user.
const PATIENCE: Duration = Duration::from_secs(30);

/// The reason why a file cannot be read. The words hold nothing of its content.
#[derive(Debug)]
#[non_exhaustive]
pub enum SmallFileError {
    /// There is no such file.
    Missing,
    /// It is a folder.
    Folder,
    /// It is neither a file nor a pipe.
    Device,
    /// It has more bytes than this limit.
    TooLarge(u64),
    /// It is a pipe into which nobody has written in time.
    Silent,
    /// The system refused.
    Refused(io::ErrorKind),
}

impl std::error::Error for SmallFileError {}

impl fmt::Display for SmallFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such file"),
            Self::Folder => f.write_str("it is a folder"),
            Self::Device => f.write_str("it is neither a file nor a pipe"),
            Self::TooLarge(most) => write!(f, "it is larger than {} MiB", most >> 20),
            Self::Silent => write!(
                f,
                "it is a pipe, and nobody wrote into it within {} s",
                PATIENCE.as_secs()
            ),
            Self::Refused(kind) => write!(f, "{kind}"),
        }
    }
}

impl From<io::Error> for SmallFileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::IsADirectory => Self::Folder,
            kind => Self::Refused(kind),
        }
    }
}

/// Reads a file or a pipe whole, of `most` bytes at the most.
///
/// # Errors
///
/// When it is not there, is something else, is larger, or nobody writes into the pipe.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, SmallFileError> {
    read_within(path, most, PATIENCE)
}

fn read_within(path: &Path, most: u64, patience: Duration) -> Result<Vec<u8>, SmallFileError> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(SmallFileError::Folder);
    }
    if !kind.is_file() && !kind.is_fifo() {
        return Err(SmallFileError::Device);
    }
    // Opening a pipe would wait for its writer, and no signal would end that.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let mut bytes = Vec::new();
    if kind.is_file() {
        (&file).take(most + 1).read_to_end(&mut bytes)?;
    } else {
        read_pipe(&file, most + 1, patience, &mut bytes)?;
    }
    if bytes.len() as u64 > most {
        return Err(SmallFileError::TooLarge(most));
    }
    Ok(bytes)
}

/// Reads a pipe to its end, or `most` bytes of it.
fn read_pipe(
    file: &fs::File,
    most: u64,
    patience: Duration,
    bytes: &mut Vec<u8>,
) -> Result<(), SmallFileError> {
    let until = Instant::now() + patience;
    let mut piece = [0; 8192];
    while (bytes.len() as u64) < most {
        let left = until.saturating_duration_since(Instant::now());
        let mut waiting = [PollFd::new(file, PollFlags::IN)];
        let timeout = Timespec::try_from(left).map_err(|_| SmallFileError::Silent)?;
        match poll(&mut waiting, Some(&timeout)) {
            Ok(0) => return Err(SmallFileError::Silent),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let mut file = file;
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(piece.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use fs_err as fs;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn pipe(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        path
    }

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert!(matches!(read(&path, 3), Err(SmallFileError::TooLarge(3))));
    }

    #[test]
    fn things_that_never_end_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for (path, why) in [
            (Path::new("/dev/zero"), "neither a file nor a pipe"),
            (folder.path(), "a folder"),
            (&folder.path().join("nothing"), "no such file"),
        ] {
            let told = read(path, LARGEST).unwrap_err().to_string();
            assert!(told.contains(why), "{told}");
        }
        let path = pipe(folder.path());
        assert!(matches!(
            read_within(&path, LARGEST, SHORT),
            Err(SmallFileError::Silent)
        ));
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe(folder.path());
        let writer = {
            let path = path.clone();
            std::thread::spawn(move || {
                std::thread::sleep(SHORT);
                fs::write(path, vec![b'x'; 100_000]).unwrap();
            })
        };
        assert_eq!(read(&path, LARGEST).unwrap().len(), 100_000);
        writer.join().unwrap();
    }

    #[test]
    fn a_file_of_somebody_else_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        // The superuser may read everything.
        if let Err(why) = read(&path, LARGEST) {
            assert_eq!(why.to_string(), "permission denied");
        }
    }
}
