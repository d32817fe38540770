//! The rows of messages.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::database::DatabaseSession;
use super::super::reply::Refusal;
use super::super::stores::hl7v2::Content;
use super::super::stores::hl7v2::Store;

/// A message is one row; what is looked through stands before its bytes, so that these are read only when they are wanted.
/// `operation` is the import that brought it. `message_change` has what messages were before they were changed.
/// `sent` is in microseconds, [`NEVER`] where MSH-7 says nothing.
pub(in crate::emulator) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS message (
    key INTEGER PRIMARY KEY, store INTEGER NOT NULL, id TEXT NOT NULL, created INTEGER NOT NULL, sent INTEGER NOT NULL,
    kind TEXT NOT NULL, facility TEXT NOT NULL, patients TEXT NOT NULL, labels TEXT NOT NULL,
    operation TEXT, data BLOB NOT NULL, ack BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS message_id ON message (store, id);
CREATE INDEX IF NOT EXISTS message_sent ON message (store, sent, id);
CREATE TABLE IF NOT EXISTS message_change (
    store INTEGER NOT NULL, at INTEGER NOT NULL, change TEXT NOT NULL, operation TEXT NOT NULL, rollback INTEGER NOT NULL,
    id TEXT NOT NULL, created INTEGER NOT NULL, sent INTEGER NOT NULL,
    kind TEXT NOT NULL, facility TEXT NOT NULL, patients TEXT NOT NULL, labels TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS message_change_at ON message_change (store, at);
";

/// The columns of a [`Message`], in the order in which it reads them.
pub(super) const COLUMNS: &str = "id, created, sent, kind, facility, patients, labels, data";

/// Stands for no time.
const NEVER: i64 = i64::MIN;

/// A message as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: String,
    /// Microseconds.
    pub(super) created: i64,
    pub(super) content: Content,
    /// A JSON object.
    pub(super) labels: String,
    pub(super) data: Vec<u8>,
}

/// Reads all but the bytes of a message.
pub(super) fn content(row: &Row<'_>) -> rusqlite::Result<Content> {
    let sent: i64 = row.get(2)?;
    Ok(Content {
        sent: (sent != NEVER).then_some(sent),
        kind: row.get(3)?,
        facility: row.get(4)?,
        patients: row.get(5)?,
    })
}

impl Message {
    /// Reads a row of [`COLUMNS`], with the bytes of the message where they are wanted.
    pub(super) fn of(row: &Row<'_>, with_data: bool) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            created: row.get(1)?,
            content: content(row)?,
            labels: row.get(6)?,
            data: if with_data { row.get(7)? } else { Vec::new() },
        })
    }
}

/// The place of a message among those that are ordered by the time they were sent.
pub(super) fn sent_order(content: &Content) -> i64 {
    content.sent.unwrap_or(NEVER)
}

/// Reads a message.
pub(super) fn read(
    connection: &Connection,
    store: &Store,
    id: &str,
) -> Result<Option<Message>, Refusal> {
    let sql = format!("SELECT {COLUMNS} FROM message WHERE store = ?1 AND id = ?2");
    let row = connection
        .prepare_cached(&sql)?
        .query_row(params![store.key, id], |row| Message::of(row, true));
    Ok(row.optional()?)
}

/// Reads the acknowledgement with which a message was answered.
pub(super) fn ack(
    connection: &Connection,
    store: &Store,
    id: &str,
) -> Result<Option<Vec<u8>>, Refusal> {
    let row = connection
        .prepare_cached("SELECT ack FROM message WHERE store = ?1 AND id = ?2")?
        .query_row(params![store.key, id], |row| row.get(0));
    Ok(row.optional()?.flatten())
}

/// Remembers an acknowledgement.
pub(super) fn set_ack(
    connection: &Connection,
    store: &Store,
    id: &str,
    ack: &[u8],
) -> Result<(), Refusal> {
    connection
        .prepare_cached("UPDATE message SET ack = ?3 WHERE store = ?1 AND id = ?2")?
        .execute(params![store.key, id, ack])?;
    Ok(())
}

/// Writes a new message, and the operation that brings it.
pub(super) fn put(
    session: &mut DatabaseSession,
    store: &Store,
    message: &Message,
    operation: Option<&str>,
) -> Result<(), Refusal> {
    let sql = "INSERT INTO message (store, id, created, sent, kind, facility, patients, labels, data, operation)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    session.connection.prepare_cached(sql)?.execute(params![
        store.key,
        message.id,
        message.created,
        sent_order(&message.content),
        message.content.kind,
        message.content.facility,
        message.content.patients,
        message.labels,
        message.data,
        operation,
    ])?;
    Ok(())
}

/// Sets the labels of a message.
pub(super) fn set_labels(
    connection: &Connection,
    store: &Store,
    id: &str,
    labels: &str,
) -> Result<(), Refusal> {
    connection
        .prepare_cached("UPDATE message SET labels = ?3 WHERE store = ?1 AND id = ?2")?
        .execute(params![store.key, id, labels])?;
    Ok(())
}

/// Deletes a message.
pub(super) fn delete(connection: &Connection, store: &Store, id: &str) -> Result<(), Refusal> {
    connection
        .prepare_cached("DELETE FROM message WHERE store = ?1 AND id = ?2")?
        .execute(params![store.key, id])?;
    Ok(())
}

/// Says that a message is not there.
pub(super) fn no_message(store: &str, id: &str) -> Refusal {
    let message = format!("HL7v2 message not found: {store}/messages/{id}");
    Refusal::google(http::StatusCode::NOT_FOUND, message)
}
