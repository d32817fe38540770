//! The state of messages before they were changed, for clients that want it back.

use rusqlite::{Connection, params};

use super::super::database::DatabaseSession;
use super::super::reply::Refusal;
use super::super::stores::hl7v2::Store;
use super::rows::{COLUMNS, Message, sent_order};

/// The kind of a change to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Update,
    Delete,
}

impl Change {
    /// Returns its name in the API.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// A change that was noted.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) at: i64,
    pub(super) change: Change,
    pub(super) operation: String,
    pub(super) is_rollback: bool,
    /// The message as it was before the change, without its bytes; as it is now, if a rollback brought it back.
    pub(super) before: Message,
    /// Names the row, for [`data`].
    pub(super) key: i64,
}

/// Notes a change. New messages are not noted: their `created` tells when they came.
pub(super) fn note(
    session: &mut DatabaseSession,
    store: &Store,
    change: Change,
    before: &Message,
    operation: Option<&str>,
    is_rollback: bool,
) -> Result<(), Refusal> {
    let at = session.clock.tick().0;
    let sql = "INSERT INTO message_change
        (store, at, change, operation, rollback, id, created, sent, kind, facility, patients, labels, data)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    session.connection.prepare_cached(sql)?.execute(params![
        store.key,
        at,
        change.name(),
        operation.unwrap_or_default(),
        is_rollback,
        before.id,
        before.created,
        sent_order(&before.content),
        before.content.kind,
        before.content.facility,
        before.content.patients,
        before.labels,
        // Of all others the bytes are still in the store.
        if change == Change::Delete {
            before.data.as_slice()
        } else {
            &[]
        },
    ])?;
    Ok(())
}

/// Reads the changes that were noted after a time.
pub(super) fn noted(
    connection: &Connection,
    store: &Store,
    since: i64,
) -> Result<Vec<Note>, Refusal> {
    let sql = format!(
        "SELECT {COLUMNS}, at, change, operation, rollback, rowid FROM message_change WHERE store = ?1 AND at > ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![store.key, since])?;
    let mut notes = Vec::new();
    while let Some(row) = found.next()? {
        let change: String = row.get(9)?;
        notes.push(Note {
            at: row.get(8)?,
            change: match change.as_str() {
                "CREATE" => Change::Create,
                "UPDATE" => Change::Update,
                _ => Change::Delete,
            },
            operation: row.get(10)?,
            is_rollback: row.get(11)?,
            key: row.get(12)?,
            before: Message::of(row, false)?,
        });
    }
    Ok(notes)
}

/// Reads the bytes of a message that was deleted.
pub(super) fn data(connection: &Connection, key: i64) -> Result<Vec<u8>, Refusal> {
    let data = connection
        .prepare_cached("SELECT data FROM message_change WHERE rowid = ?1")?
        .query_row(params![key], |row| row.get(0));
    Ok(data?)
}
