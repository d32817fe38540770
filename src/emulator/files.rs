//! The files of instances, named by the SHA-256 of their bytes: what is equal is there once.
//!
//! A file comes into its place, durably, before the row that names it is committed, and goes after the last row that does is
//! gone. Both are done by the one writer of the database, so that no file goes that a row is about to name. A crash in between
//! leaves a file that nobody names, and never a row without its file.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use http::StatusCode;
use rusqlite::{Connection, params};

use super::app::App;
use super::reply::Refusal;

/// The folder of the files of instances, in the directory of the local store.
const FOLDER: &str = "dicom";
/// The folder of files that are still coming, in that folder.
const INCOMING: &str = "incoming";

/// Returns the folder of all files.
pub(super) fn folder(app: &App) -> PathBuf {
    app.database.dir().join(FOLDER)
}

/// Returns the path of a file: folders of two digits, so that none grows beyond what is handled well.
pub(super) fn path(folder: &Path, file: &str) -> PathBuf {
    folder.join(file.get(..2).unwrap_or("00")).join(file)
}

/// Makes a file in which bytes come; it goes away unless it is put in its place.
pub(super) fn incoming(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let incoming = folder.join(INCOMING);
    fs_err::create_dir_all(&incoming)?;
    tempfile::Builder::new()
        .prefix("instance-")
        .tempfile_in(incoming)
}

/// Takes away what came half when an earlier server was killed.
pub(super) fn clean(dir: &Path) -> io::Result<()> {
    match fs_err::remove_dir_all(dir.join(FOLDER).join(INCOMING)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts files in their places, by their names, and sees to it that they stay there.
pub(super) fn keep(folder: &Path, files: Vec<(String, tempfile::TempPath)>) -> Result<(), Refusal> {
    let mut touched = BTreeSet::new();
    for (name, from) in files {
        let to = path(folder, &name);
        let Some(parent) = to.parent() else { continue };
        if !parent.is_dir() {
            fs_err::create_dir_all(parent).map_err(|error| failed(&error))?;
            touched.insert(folder.to_owned());
        }
        if !to.is_file() {
            from.persist(&to).map_err(|error| failed(&error.error))?;
            touched.insert(parent.to_owned());
        }
    }
    for folder in touched {
        let synced = fs_err::File::open(&folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Deletes those of the files that no row names any more, once the change is committed that let go of them.
pub(super) async fn release_all(app: &App, files: Vec<String>) -> Result<(), Refusal> {
    if files.is_empty() {
        return Ok(());
    }
    let folder = folder(app);
    app.database
        .write(move |session| release(&session.connection, &folder, &files))
        .await
}

fn release(connection: &Connection, folder: &Path, files: &[String]) -> Result<(), Refusal> {
    for file in files {
        if !is_held(connection, file)? {
            match fs_err::remove_file(path(folder, file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Returns the files of all instances of a store.
pub(super) fn files_of(connection: &Connection, store: i64) -> Result<Vec<String>, Refusal> {
    let mut statement = connection.prepare_cached("SELECT file FROM instance WHERE store = ?1")?;
    let files = statement.query_map(params![store], |row| row.get(0))?;
    Ok(files.collect::<Result<_, _>>()?)
}

/// Tells whether any instance of any store has a file.
fn is_held(connection: &Connection, file: &str) -> Result<bool, Refusal> {
    let sql = "SELECT 1 FROM instance WHERE file = ?1";
    Ok(connection.prepare_cached(sql)?.exists(params![file])?)
}

/// Returns the refusal for a failing disk; the reason goes to the log.
pub(super) fn failed(error: &io::Error) -> Refusal {
    tracing::error!(kind = ?error.kind(), "the local store cannot keep a file");
    if matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) {
        return Refusal::full();
    }
    let words = "the local store cannot read or write its files";
    Refusal::google(StatusCode::INTERNAL_SERVER_ERROR, words)
}
