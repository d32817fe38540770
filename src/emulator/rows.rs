//! The rows of resources: their current version, their history and their tokens.
//!
//! [`keep`] is the one place where a new version of a resource enters the store, and [`remove`] the one where a resource
//! leaves it. The callers check if its references hold, because a transaction holds only as a whole.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::database::DatabaseSession;
use super::instant::Instant;
use super::integrity::{self, Link};
use super::reply::Refusal;
use super::resource::{Resource, Token};
use super::stores::fhir::Store;

/// The current version of a resource.
#[derive(Debug)]
pub(super) struct Current {
    key: i64,
    pub(super) version: Instant,
    method: String,
    pub(super) text: String,
}

/// Refuses to write to a store that was deleted while the request waited.
pub(super) fn ensure_present(connection: &Connection, store: &Store) -> Result<(), Refusal> {
    let there = connection
        .prepare_cached("SELECT 1 FROM store WHERE key = ?1")?
        .exists(params![store.key])?;
    if there {
        Ok(())
    } else {
        Err(store.not_found())
    }
}

/// Reads the current version of a resource.
pub(super) fn current(
    connection: &Connection,
    store: &Store,
    kind: &str,
    id: &str,
) -> Result<Option<Current>, Refusal> {
    let sql = "SELECT key, version, method, text FROM resource WHERE store = ?1 AND kind = ?2 AND id = ?3";
    let row = connection
        .prepare_cached(sql)?
        .query_row(params![store.key, kind, id], |row| {
            Ok(Current {
                key: row.get(0)?,
                version: Instant(row.get(1)?),
                method: row.get(2)?,
                text: row.get(3)?,
            })
        });
    Ok(row.optional()?)
}

/// Says why a resource that is not there is not there: never (404) or no more (410).
pub(super) fn absent(
    connection: &Connection,
    store: &Store,
    kind: &str,
    id: &str,
) -> Result<Refusal, Refusal> {
    let sql = "SELECT 1 FROM history WHERE store = ?1 AND kind = ?2 AND id = ?3";
    let was = connection
        .prepare_cached(sql)?
        .exists(params![store.key, kind, id])?;
    let name = format!("{kind}/{id}");
    Ok(if was {
        Refusal::gone(&name)
    } else {
        Refusal::missing(&name)
    })
}

/// Stores a new version, in place of the old one, which becomes history.
#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
pub(super) fn keep(
    session: &DatabaseSession,
    store: &Store,
    kind: &str,
    id: &str,
    version: Instant,
    method: &str,
    text: &str,
    tokens: &[Token],
    links: &[Link],
    old: Option<Current>,
) -> Result<(), Refusal> {
    let connection = &session.connection;
    let is_new = old.is_none();
    let key = if let Some(old) = old {
        forget_tokens(connection, store, kind, &old)?;
        archive(connection, store, kind, id, &old)?;
        let sql = "UPDATE resource SET version = ?2, method = ?3, text = ?4 WHERE key = ?1";
        connection
            .prepare_cached(sql)?
            .execute(params![old.key, version.0, method, text])?;
        old.key
    } else {
        let sql = "INSERT INTO resource (store, kind, id, version, method, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        connection
            .prepare_cached(sql)?
            .insert(params![store.key, kind, id, version.0, method, text])?
    };
    let sql = "INSERT INTO token (store, parameter, kind, value, system, resource) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    for token in tokens {
        let parameter = token.parameter as i64;
        connection.prepare_cached(sql)?.execute(params![
            store.key,
            parameter,
            kind,
            token.value,
            token.system,
            key
        ])?;
    }
    integrity::note(connection, store, key, is_new, links)
}

/// Replaces the text of the current version, whose tokens stay; what it refers to is known only now.
pub(super) fn complete(
    session: &DatabaseSession,
    store: &Store,
    kind: &str,
    id: &str,
    text: &str,
    links: &[Link],
) -> Result<(), Refusal> {
    let sql =
        "UPDATE resource SET text = ?4 WHERE store = ?1 AND kind = ?2 AND id = ?3 RETURNING key";
    let key: i64 = session
        .connection
        .prepare_cached(sql)?
        .query_row(params![store.key, kind, id, text], |row| row.get(0))?;
    integrity::note(&session.connection, store, key, false, links)
}

/// Takes a resource away; a store without versioning keeps no trace of it.
pub(super) fn remove(
    session: &mut DatabaseSession,
    store: &Store,
    kind: &str,
    id: &str,
    old: &Current,
) -> Result<(), Refusal> {
    let version = session.clock.tick();
    let connection = &session.connection;
    forget_tokens(connection, store, kind, old)?;
    integrity::forget(connection, old.key)?;
    archive(connection, store, kind, id, old)?;
    connection
        .prepare_cached("DELETE FROM resource WHERE key = ?1")?
        .execute(params![old.key])?;
    if !store.settings.disable_resource_versioning {
        let sql = "INSERT INTO history (store, kind, id, version, method, text) VALUES (?1, ?2, ?3, ?4, 'DELETE', NULL)";
        connection
            .prepare_cached(sql)?
            .execute(params![store.key, kind, id, version.0])?;
    }
    Ok(())
}

fn archive(
    connection: &Connection,
    store: &Store,
    kind: &str,
    id: &str,
    old: &Current,
) -> Result<(), Refusal> {
    if store.settings.disable_resource_versioning {
        return Ok(());
    }
    let sql = "INSERT INTO history (store, kind, id, version, method, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    connection.prepare_cached(sql)?.execute(params![
        store.key,
        kind,
        id,
        old.version.0,
        old.method,
        old.text
    ])?;
    Ok(())
}

/// Removes the tokens of a version; its text says which they are.
fn forget_tokens(
    connection: &Connection,
    store: &Store,
    kind: &str,
    old: &Current,
) -> Result<(), Refusal> {
    let Ok(resource) = Resource::parse(old.text.as_bytes(), None) else {
        return Ok(());
    };
    let sql = "DELETE FROM token WHERE store = ?1 AND parameter = ?2 AND kind = ?3 AND value = ?4 AND system = ?5 AND resource = ?6";
    for token in resource.tokens() {
        let parameter = token.parameter as i64;
        connection.prepare_cached(sql)?.execute(params![
            store.key,
            parameter,
            kind,
            token.value,
            token.system,
            old.key
        ])?;
    }
    Ok(())
}
