//! The rows of instances.

use http::StatusCode;
use rusqlite::{Connection, Row, params};
use serde_json::{Map, Value};

use super::super::reply::Refusal;
use super::super::route::dicom::Place;
use super::super::stores::dicom::Store;

/// An instance is one row: whose it is, which file has its bytes, and what its data set says but for its pixels (`described`,
/// DICOM JSON).
pub(in crate::emulator) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS instance (
    key INTEGER PRIMARY KEY, store INTEGER NOT NULL, study TEXT NOT NULL, series TEXT NOT NULL, instance TEXT NOT NULL,
    class TEXT NOT NULL, syntax TEXT NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL, created INTEGER NOT NULL,
    described TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS instance_uids ON instance (store, study, series, instance);
CREATE INDEX IF NOT EXISTS instance_file ON instance (file);
";

/// The columns of an [`Instance`], in the order in which it reads them.
const COLUMNS: &str = "study, series, instance, class, syntax, file, bytes, created, described";

/// An instance as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) study: String,
    pub(super) series: String,
    /// Of the instance itself.
    pub(super) uid: String,
    pub(super) class: String,
    /// The transfer syntax of its file.
    pub(super) syntax: String,
    /// The name of its file: the SHA-256 of its bytes.
    pub(super) file: String,
    pub(super) bytes: u64,
    /// The time of storing, in microseconds.
    pub(super) created: i64,
    /// The data set without bulk data, as DICOM JSON.
    pub(super) described: String,
}

impl Instance {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            study: row.get(0)?,
            series: row.get(1)?,
            uid: row.get(2)?,
            class: row.get(3)?,
            syntax: row.get(4)?,
            file: row.get(5)?,
            bytes: row.get(6)?,
            created: row.get(7)?,
            described: row.get(8)?,
        })
    }

    /// Returns what its data set says.
    pub(super) fn set(&self) -> Result<Map<String, Value>, Refusal> {
        serde_json::from_str(&self.described).map_err(|_| {
            tracing::error!(file = self.file, "the row of an instance is damaged");
            let message = "the local store cannot read what it has written of an instance";
            Refusal::google(StatusCode::INTERNAL_SERVER_ERROR, message)
        })
    }

    /// Returns its address below the base of a service.
    pub(super) fn url(&self, base: &str) -> String {
        format!(
            "{base}/studies/{}/series/{}/instances/{}",
            self.study, self.series, self.uid
        )
    }
}

/// The instances of a store that are meant, as far as UIDs say it.
#[derive(Debug, Clone, Default)]
pub(super) struct Within {
    pub(super) study: Option<String>,
    pub(super) series: Option<String>,
    pub(super) instance: Option<String>,
}

impl From<&Place> for Within {
    fn from(place: &Place) -> Self {
        Self {
            study: Some(place.study.clone()),
            series: place.series.clone(),
            instance: place.instance.clone(),
        }
    }
}

/// Reads instances in the order in which they came; stops when `take` says so.
pub(super) fn each(
    connection: &Connection,
    store: &Store,
    within: &Within,
    mut take: impl FnMut(Instance) -> Result<bool, Refusal>,
) -> Result<(), Refusal> {
    let sql = format!(
        "SELECT {COLUMNS} FROM instance WHERE store = ?1 AND (?2 IS NULL OR study = ?2)
            AND (?3 IS NULL OR series = ?3) AND (?4 IS NULL OR instance = ?4) ORDER BY key"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let parameters = params![store.key, within.study, within.series, within.instance];
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        if !take(Instance::of(row)?)? {
            break;
        }
    }
    Ok(())
}

/// Reads all instances of a place, where there are any; but for what their data sets say, which may be long.
pub(super) fn all(
    connection: &Connection,
    store: &Store,
    place: &Place,
) -> Result<Vec<Instance>, Refusal> {
    let columns = COLUMNS.replace("described", "''");
    let sql = format!(
        "SELECT {columns} FROM instance WHERE store = ?1 AND study = ?2 AND (?3 IS NULL OR series = ?3)
            AND (?4 IS NULL OR instance = ?4) ORDER BY key"
    );
    let parameters = params![store.key, place.study, place.series, place.instance];
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(parameters, Instance::of)?;
    let found = found.collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Err(place.not_found());
    }
    Ok(found)
}

/// Tells whether an instance of these UIDs is there already.
pub(super) fn is_there(
    connection: &Connection,
    store: &Store,
    instance: &Instance,
) -> Result<bool, Refusal> {
    let sql =
        "SELECT 1 FROM instance WHERE store = ?1 AND study = ?2 AND series = ?3 AND instance = ?4";
    let parameters = params![store.key, instance.study, instance.series, instance.uid];
    Ok(connection.prepare_cached(sql)?.exists(parameters)?)
}

/// Writes a new instance.
pub(super) fn put(
    connection: &Connection,
    store: &Store,
    instance: &Instance,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO instance (store, study, series, instance, class, syntax, file, bytes, created, described)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection.prepare_cached(sql)?.execute(params![
        store.key,
        instance.study,
        instance.series,
        instance.uid,
        instance.class,
        instance.syntax,
        instance.file,
        instance.bytes,
        instance.created,
        instance.described,
    ])?;
    Ok(())
}

/// Deletes the instances of a place, and returns the files that they had.
pub(super) fn delete(
    connection: &Connection,
    store: &Store,
    place: &Place,
) -> Result<Vec<String>, Refusal> {
    let within = Within::from(place);
    let sql = "DELETE FROM instance WHERE store = ?1 AND study = ?2
        AND (?3 IS NULL OR series = ?3) AND (?4 IS NULL OR instance = ?4) RETURNING file";
    let mut statement = connection.prepare_cached(sql)?;
    let parameters = params![store.key, within.study, within.series, within.instance];
    let files = statement.query_map(parameters, |row| row.get(0))?;
    Ok(files.collect::<Result<_, _>>()?)
}

/// Returns the next instances of a place, or of all, behind a key in the order in which they came, and the key of each.
pub(super) fn behind(
    connection: &Connection,
    store: &Store,
    within: &Within,
    key: i64,
    most: usize,
) -> Result<Vec<(i64, Instance)>, Refusal> {
    let sql = format!(
        "SELECT {COLUMNS}, key FROM instance WHERE store = ?1 AND (?2 IS NULL OR study = ?2)
            AND (?3 IS NULL OR series = ?3) AND (?4 IS NULL OR instance = ?4) AND key > ?5 ORDER BY key LIMIT ?6"
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let parameters = params![
        store.key,
        within.study,
        within.series,
        within.instance,
        key,
        most
    ];
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(parameters, |row| Ok((row.get(9)?, Instance::of(row)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Counts of a place or of a whole store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) studies: u64,
    pub(super) series: u64,
    pub(super) instances: u64,
    /// Bytes of what data sets say.
    pub(super) described: u64,
    /// Bytes of files.
    pub(super) bytes: u64,
}

/// Counts the instances in a place.
pub(super) fn count(
    connection: &Connection,
    store: &Store,
    within: &Within,
) -> Result<Counts, Refusal> {
    let sql = "SELECT count(DISTINCT study), count(DISTINCT study || ' ' || series), count(*),
            ifnull(sum(octet_length(described)), 0), ifnull(sum(bytes), 0)
        FROM instance WHERE store = ?1 AND (?2 IS NULL OR study = ?2)
            AND (?3 IS NULL OR series = ?3) AND (?4 IS NULL OR instance = ?4)";
    let parameters = params![store.key, within.study, within.series, within.instance];
    Ok(connection
        .prepare_cached(sql)?
        .query_row(parameters, |row| {
            Ok(Counts {
                studies: row.get(0)?,
                series: row.get(1)?,
                instances: row.get(2)?,
                described: row.get(3)?,
                bytes: row.get(4)?,
            })
        })?)
}
