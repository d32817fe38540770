//! The layout of the database: its tables, and how one of an earlier layout becomes one of this.

use std::path::Path;

use rusqlite::{Connection, params};

use super::integrity::links;
use super::json::Json;
use super::registry::Registry;
use super::{dicom, hl7v2};

/// The layout below; a database with another number is not opened.
const LAYOUT: i64 = 2;

/// Live resources are in `resource`; what they were before, and deletions (`text` is null), in `history`.
/// `token` indexes identifiers (`parameter` 1) and tags (2); a missing system is the empty text.
const SCHEMA: &str = "
CREATE TABLE clock (last INTEGER NOT NULL);
INSERT INTO clock VALUES (0);
CREATE TABLE dataset (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE operation (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE store (key INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE TABLE resource (
    key INTEGER PRIMARY KEY, store INTEGER NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
    version INTEGER NOT NULL, method TEXT NOT NULL, text TEXT NOT NULL);
CREATE UNIQUE INDEX resource_id ON resource (store, kind, id);
CREATE TABLE history (
    store INTEGER NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
    version INTEGER NOT NULL, method TEXT NOT NULL, text TEXT);
CREATE UNIQUE INDEX history_id ON history (store, kind, id, version);
CREATE TABLE token (
    store INTEGER NOT NULL, parameter INTEGER NOT NULL, kind TEXT NOT NULL,
    value TEXT NOT NULL, system TEXT NOT NULL, resource INTEGER NOT NULL,
    PRIMARY KEY (store, parameter, kind, value, system, resource)) WITHOUT ROWID;
";

/// The references between resources, in stores that enforce referential integrity. Since layout 2.
const LINKS: &str = "
CREATE TABLE link (
    source INTEGER NOT NULL, store INTEGER NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (source, kind, id)) WITHOUT ROWID;
CREATE INDEX link_target ON link (store, kind, id);
";

/// Opens the database of the directory, making its tables when it is new.
pub(super) fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    // 8 KiB pages hold most resources without overflow; the log is folded in every 32 MiB, so that its fsync is
    // rare; 16 MiB of cache keep the inner nodes of the indexes of some ten million resources.
    connection.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    let layout: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if layout == 0 {
        connection.execute_batch(&format!(
            "BEGIN; {SCHEMA} {LINKS} PRAGMA user_version = {LAYOUT}; COMMIT;"
        ))?;
    } else if layout == 1 {
        connection.execute_batch(&format!("BEGIN; {LINKS}"))?;
        note_references(&connection)?;
        connection.execute_batch(&format!("PRAGMA user_version = {LAYOUT}; COMMIT;"))?;
    } else if layout != LAYOUT {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISMATCH),
            Some(format!(
                "its layout is {layout}, this version of stoker reads {LAYOUT}"
            )),
        ));
    }
    connection.execute_batch(hl7v2::TABLES)?;
    connection.execute_batch(dicom::TABLES)?;
    Ok(connection)
}

/// Notes the references of all resources of a database that has none of them yet.
fn note_references(connection: &Connection) -> Result<(), rusqlite::Error> {
    let registry = Registry::load(connection)?;
    for store in registry
        .stores
        .values()
        .filter(|store| store.settings.integrity)
    {
        let mut all =
            connection.prepare("SELECT key, kind, text FROM resource WHERE store = ?1")?;
        let mut rows = all.query(params![store.key])?;
        while let Some(row) = rows.next()? {
            let (source, kind, text): (i64, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let Ok(Json::Object(fields)) = Json::parse(text.as_bytes()) else {
                continue;
            };
            for link in links(store, &kind, &fields) {
                let sql =
                    "INSERT OR IGNORE INTO link (source, store, kind, id) VALUES (?1, ?2, ?3, ?4)";
                connection
                    .prepare_cached(sql)?
                    .execute(params![source, store.key, link.kind, link.id])?;
            }
        }
    }
    Ok(())
}
