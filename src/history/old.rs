//! Takes over `history.sqlite`, in which an older Stoker kept the same.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{Before, Error, ReferenceMeaning, rows};
use crate::{journal, record::Operation};

/// The version of its tables that is read; what is older was begun anew by its own Stoker, too.
const VERSION: i64 = 1;

/// Makes segments of the old file, and removes it. Whoever finds another process at it waits for that one.
pub(super) fn take_over(state: &Path, directory: &Path) -> Result<(), Error> {
    let path = state.join("history.sqlite");
    if !path.exists() {
        return Ok(());
    }
    journal::private_directory(directory).map_err(|e| Error::file(directory, &e))?;
    let lock = directory.join("lock");
    let lock = journal::private_append(&lock).map_err(|e| Error::file(&lock, &e))?;
    lock.file().lock().map_err(|e| Error::file(directory, &e))?;
    if !path.exists() {
        return Ok(());
    }
    read(&path, directory).map_err(|error| match error {
        Failure::Sqlite(why) => Error::Damaged {
            path: path.clone(),
            why: why.to_string(),
        },
        Failure::Other(error) => error,
    })?;
    for end in ["-wal", "-shm", ""] {
        let path = state.join(format!("history.sqlite{end}"));
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file(&path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

enum Failure {
    Sqlite(rusqlite::Error),
    Other(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

fn read(path: &Path, directory: &Path) -> Result<(), Failure> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(std::time::Duration::from_secs(30))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != VERSION {
        return Ok(());
    }
    let mut collected = rows::Collected::new(directory);
    let mut query = connection.prepare(
        "SELECT place, interaction, hash, nth, id, version, since, tag FROM record JOIN target ON target.number = record.target",
    )?;
    let mut found = query.query([])?;
    while let Some(row) = found.next()? {
        let place: String = row.get(0)?;
        let interaction: String = row.get(1)?;
        let hash: [u8; 16] = row.get(2)?;
        let nth: u32 = row.get(3)?;
        let (id, since): (Option<String>, Option<String>) = (row.get(4)?, row.get(6)?);
        let before = match (id, since.and_then(|since| since.parse().ok())) {
            (Some(id), _) => Before::Loaded {
                id,
                version: row.get(5)?,
                meaning: ReferenceMeaning::Untold,
            },
            (None, Some(since)) => Before::Doubtful {
                since,
                tag: row.get(7)?,
            },
            (None, None) => continue,
        };
        // An interaction that this Stoker does not know is none that it would ask for.
        let Some(interaction) = Operation::ALL
            .into_iter()
            .find(|i| i.as_str() == interaction)
        else {
            continue;
        };
        collected.target(&place);
        let key = rows::key(&place, interaction, u128::from_be_bytes(hash), nth);
        collected.push(key, &before)?;
    }
    let mut runs = connection.prepare("SELECT name, size FROM run")?;
    let runs = runs.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    let mut known = Vec::new();
    for run in runs {
        let (name, size): (String, i64) = run?;
        known.extend(u64::try_from(size).ok().map(|size| (name, size)));
    }
    collected.finish(known, true)?;
    Ok(())
}
