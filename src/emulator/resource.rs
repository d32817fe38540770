//! Single resources: create, read, update, delete, and their conditional forms.
//!
//! Every write of a resource goes through [`put`] or [`remove`]: the place where checks of a whole store's integrity
//! belong, when they come.

use super::database::Database;
use super::error::{Failure, Reply};
use super::{validate, version};
use http::{StatusCode, header};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Map, Value, json};

/// A FHIR store, as its requests need it.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) key: i64,
    /// The absolute URL of the store's FHIR base, without a trailing slash.
    pub(super) base: String,
    pub(super) update_create: bool,
    pub(super) versioning: bool,
    pub(super) strict: bool,
}

/// Where a request goes: the store's name and its base URL; looked up in the transaction that does the work.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) base: String,
}

impl Place {
    /// The store itself, or 404.
    pub(super) fn find(&self, db: &Connection) -> Result<Store, Failure> {
        let found: Option<(i64, String)> = db
            .prepare_cached("SELECT key, body FROM stores WHERE name = ?")?
            .query_row([&self.name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (key, body) = found.ok_or_else(|| {
            Failure::google(
                StatusCode::NOT_FOUND,
                format!("FHIR store not found: {}", self.name),
            )
        })?;
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let set = |field: &str| body.get(field) == Some(&Value::Bool(true));
        Ok(Store {
            key,
            base: self.base.clone(),
            update_create: set("enableUpdateCreate"),
            versioning: !set("disableResourceVersioning"),
            strict: set("defaultSearchHandlingStrict"),
        })
    }
}

/// A resource ready to be written: identified, stamped and serialized, off the writer's thread where possible.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) kind: String,
    pub(super) id: String,
    value: Map<String, Value>,
    version: i64,
    text: String,
}

impl Draft {
    /// A draft of `value` under `id`; the client's own `id`, `versionId` and `lastUpdated` give way.
    pub(super) fn new(kind: &str, id: String, value: Value) -> Self {
        let mut value = match value {
            Value::Object(object) => object,
            _ => Map::new(),
        };
        value.insert("id".into(), Value::String(id.clone()));
        let mut draft = Self {
            kind: kind.into(),
            id,
            value,
            version: 0,
            text: String::new(),
        };
        draft.stamp(0);
        draft
    }

    fn stamp(&mut self, after: i64) {
        self.version = version::next(after);
        let meta = self.value.entry("meta").or_insert_with(|| json!({}));
        if !meta.is_object() {
            *meta = json!({});
        }
        if let Value::Object(meta) = meta {
            meta.insert("versionId".into(), version::id(self.version).into());
            meta.insert("lastUpdated".into(), version::instant(self.version).into());
        }
        // A map of strings and values always serializes.
        self.text = serde_json::to_string(&self.value).unwrap_or_default();
    }
}

/// A new server-assigned id.
pub(super) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// What became of one interaction.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) status: StatusCode,
    pub(super) kind: String,
    pub(super) id: String,
    /// Nothing for a deletion.
    pub(super) version: Option<i64>,
    pub(super) text: String,
}

impl Done {
    pub(super) fn location(&self, base: &str) -> Option<String> {
        let version = version::id(self.version?);
        Some(format!(
            "{base}/{}/{}/_history/{version}",
            self.kind, self.id
        ))
    }

    pub(super) fn into_reply(self, base: &str) -> Reply {
        let location = self
            .location(base)
            .filter(|_| self.status == StatusCode::CREATED);
        let mut reply = Reply::fhir(self.status, self.text);
        if let Some(version) = self.version {
            reply.headers.push((header::ETAG, version::etag(version)));
            reply
                .headers
                .push((header::LAST_MODIFIED, version::http_date(version)));
        }
        reply
            .headers
            .extend(location.map(|location| (header::LOCATION, location)));
        reply
    }
}

/// A condition on `identifier`, the only one the API's conditional interactions know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    /// Nothing: any system. Empty: no system.
    pub(super) system: Option<String>,
    /// Nothing: any value.
    pub(super) value: Option<String>,
}

impl Condition {
    /// A token as `system|value`, `value`, `|value` or `system|`.
    pub(super) fn token(token: &str) -> Option<Self> {
        let (system, value) = match token.split_once('|') {
            Some((system, value)) => (Some(system.to_owned()), value),
            None => (None, token),
        };
        let value = (!value.is_empty()).then(|| value.to_owned());
        if value.is_none() && system.as_deref().is_none_or(str::is_empty) {
            return None;
        }
        Some(Self { system, value })
    }

    /// Reads `identifier=system|value`, percent-decoded, with or without `?` in front.
    pub(super) fn parse(query: &str) -> Result<Self, Failure> {
        let query = query.trim();
        let query = query.strip_prefix('?').unwrap_or(query);
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let condition = match (pairs.next(), pairs.next()) {
            (Some((name, token)), None) if name == "identifier" => Self::token(&token),
            _ => None,
        };
        condition.filter(|condition| condition.value.is_some()).ok_or_else(|| {
            Failure::query(
                "conditional interactions take exactly identifier=system|value or identifier=value",
            )
        })
    }

    /// The one resource that meets the condition, or none; more are an error.
    pub(super) fn only(
        &self,
        db: &Connection,
        store: &Store,
        kind: &str,
    ) -> Result<Option<String>, Failure> {
        let ids: Vec<String> = db
            .prepare_cached(
                "SELECT DISTINCT id FROM identifiers WHERE store = ?1 AND type = ?2 AND value = ?3
                 AND (?4 IS NULL OR system = ?4) LIMIT 2",
            )?
            .query_map(params![store.key, kind, self.value, self.system], |row| {
                row.get(0)
            })?
            .collect::<Result<_, _>>()?;
        match ids.len() {
            0 | 1 => Ok(ids.into_iter().next()),
            _ => Err(Failure::ambiguous()),
        }
    }
}

/// The current version and text of a resource.
fn current(
    db: &Connection,
    store: &Store,
    kind: &str,
    id: &str,
) -> Result<Option<(i64, String)>, Failure> {
    Ok(db
        .prepare_cached(
            "SELECT version, text FROM resources WHERE store = ? AND type = ? AND id = ?",
        )?
        .query_row(params![store.key, kind, id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?)
}

/// The last superseded version of a resource, and whether it is its deletion.
fn last(
    db: &Connection,
    store: &Store,
    kind: &str,
    id: &str,
) -> Result<Option<(i64, bool)>, Failure> {
    Ok(db
        .prepare_cached(
            "SELECT version, deleted FROM history WHERE store = ? AND type = ? AND id = ? ORDER BY version DESC LIMIT 1",
        )?
        .query_row(params![store.key, kind, id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Writes a draft: the one way a resource comes to be or changes.
fn put(
    db: &Connection,
    store: &Store,
    mut draft: Draft,
    old: Option<(i64, String)>,
) -> Result<Done, Failure> {
    let status = if let Some((version, text)) = old {
        if draft.version <= version {
            draft.stamp(version);
        }
        retire(db, store, &draft.kind, &draft.id, version, &text)?;
        StatusCode::OK
    } else {
        if let Some((version, _)) = last(db, store, &draft.kind, &draft.id)?
            && draft.version <= version
        {
            draft.stamp(version);
        }
        StatusCode::CREATED
    };
    db.prepare_cached(
        "INSERT INTO resources (store, type, id, version, text) VALUES (?, ?, ?, ?, ?)",
    )?
    .execute(params![
        store.key,
        draft.kind,
        draft.id,
        draft.version,
        draft.text
    ])?;
    for (sql, tokens) in [
        (
            "INSERT OR IGNORE INTO identifiers (store, type, value, system, id) VALUES (?, ?, ?, ?, ?)",
            identifiers(&draft.value),
        ),
        (
            "INSERT OR IGNORE INTO tags (store, type, value, system, id) VALUES (?, ?, ?, ?, ?)",
            tags(&draft.value),
        ),
    ] {
        for (system, value) in tokens {
            db.prepare_cached(sql)?
                .execute(params![store.key, draft.kind, value, system, draft.id])?;
        }
    }
    Ok(Done {
        status,
        kind: draft.kind,
        id: draft.id,
        version: Some(draft.version),
        text: draft.text,
    })
}

/// Moves the current version into history, and out of the indexes.
fn retire(
    db: &Connection,
    store: &Store,
    kind: &str,
    id: &str,
    version: i64,
    text: &str,
) -> Result<(), Failure> {
    if store.versioning {
        db.prepare_cached("INSERT INTO history (store, type, id, version, deleted, text) VALUES (?, ?, ?, ?, 0, ?)")?
            .execute(params![store.key, kind, id, version, text])?;
    }
    db.prepare_cached("DELETE FROM resources WHERE store = ? AND type = ? AND id = ?")?
        .execute(params![store.key, kind, id])?;
    let value: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    for (sql, tokens) in [
        (
            "DELETE FROM identifiers WHERE store = ? AND type = ? AND value = ? AND system = ? AND id = ?",
            identifiers(&value),
        ),
        (
            "DELETE FROM tags WHERE store = ? AND type = ? AND value = ? AND system = ? AND id = ?",
            tags(&value),
        ),
    ] {
        for (system, token) in tokens {
            db.prepare_cached(sql)?
                .execute(params![store.key, kind, token, system, id])?;
        }
    }
    Ok(())
}

/// The resource's own identifiers as (system, value); some types have one, most a list.
fn identifiers(value: &Map<String, Value>) -> Vec<(&str, &str)> {
    tokens(value.get("identifier"), "value")
}

fn tags(value: &Map<String, Value>) -> Vec<(&str, &str)> {
    tokens(value.get("meta").and_then(|meta| meta.get("tag")), "code")
}

fn tokens<'a>(value: Option<&'a Value>, field: &str) -> Vec<(&'a str, &'a str)> {
    let all = match value {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    all.iter()
        .filter_map(|one| {
            let system = one.get("system").and_then(Value::as_str).unwrap_or("");
            Some((system, one.get(field)?.as_str()?))
        })
        .collect()
}

/// Creates a draft, unless a resource meets the condition: that one is answered then.
pub(super) fn create(
    db: &Connection,
    store: &Store,
    draft: Draft,
    condition: Option<&Condition>,
) -> Result<Done, Failure> {
    if let Some(condition) = condition
        && let Some(id) = condition.only(db, store, &draft.kind)?
    {
        return read(db, store, &draft.kind, &id);
    }
    put(db, store, draft, None)
}

/// The version conditions of a write.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions {
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
}

/// Writes a draft under its id: always a new version.
pub(super) fn update(
    db: &Connection,
    store: &Store,
    draft: Draft,
    versions: &Versions,
) -> Result<Done, Failure> {
    let old = current(db, store, &draft.kind, &draft.id)?;
    if versions
        .if_none_match
        .as_deref()
        .is_some_and(|v| v.trim() == "*")
        && old.is_some()
    {
        return Err(Failure::precondition("the resource exists already"));
    }
    if let Some(wanted) = &versions.if_match
        && !old
            .as_ref()
            .is_some_and(|(version, _)| version::matches(wanted, *version))
    {
        return Err(Failure::precondition(
            "the current version is not the one of If-Match",
        ));
    }
    if old.is_none() && !store.update_create {
        return Err(Failure::fhir(
            StatusCode::METHOD_NOT_ALLOWED,
            "not-supported",
            "update_create_disabled",
            format!(
                "resource not found: {}/{}; enableUpdateCreate is false, so an update creates nothing",
                draft.kind, draft.id
            ),
        ));
    }
    put(db, store, draft, old)
}

/// The id a conditional update writes to: the match, the body's own, or a new one.
pub(super) fn target(
    db: &Connection,
    store: &Store,
    kind: &str,
    value: &Value,
    condition: &Condition,
) -> Result<(String, bool), Failure> {
    let own = value.get("id").and_then(Value::as_str);
    match (condition.only(db, store, kind)?, own) {
        (Some(found), Some(own)) if found != own => Err(mismatch(&found, own)),
        (Some(found), _) => Ok((found, true)),
        (None, Some(own)) => Ok((own.to_owned(), true)),
        (None, None) => Ok((new_id(), false)),
    }
}

/// The two ids of a request differ (sourced text).
pub(super) fn mismatch(path: &str, payload: &str) -> Failure {
    Failure::fhir(
        StatusCode::BAD_REQUEST,
        "structure",
        "resource_mismatch",
        format!(
            "resource id mismatch, id of specified resource: {path}, id from payload: {payload}"
        ),
    )
}

/// Refuses a PUT whose body does not carry the path's id.
pub(super) fn same_id(value: &Value, id: &str) -> Result<(), Failure> {
    match value.get("id").and_then(Value::as_str) {
        Some(own) if own == id => Ok(()),
        own => Err(mismatch(id, own.unwrap_or(""))),
    }
}

/// Deletes a resource; no error if there is none.
pub(super) fn remove(
    db: &Connection,
    store: &Store,
    kind: &str,
    id: &str,
) -> Result<Done, Failure> {
    if let Some((version, text)) = current(db, store, kind, id)? {
        retire(db, store, kind, id, version, &text)?;
        if store.versioning {
            db.prepare_cached("INSERT INTO history (store, type, id, version, deleted, text) VALUES (?, ?, ?, ?, 1, '')")?
                .execute(params![store.key, kind, id, version::next(version)])?;
        }
    }
    Ok(Done {
        status: StatusCode::OK,
        kind: kind.into(),
        id: id.into(),
        version: None,
        text: "{}".into(),
    })
}

/// The current version, 404, or 410.
pub(super) fn read(db: &Connection, store: &Store, kind: &str, id: &str) -> Result<Done, Failure> {
    match current(db, store, kind, id)? {
        Some((version, text)) => Ok(Done {
            status: StatusCode::OK,
            kind: kind.into(),
            id: id.into(),
            version: Some(version),
            text,
        }),
        None if last(db, store, kind, id)?.is_some() => Err(gone(kind, id)),
        None => Err(Failure::missing(kind, id)),
    }
}

fn gone(kind: &str, id: &str) -> Failure {
    Failure::fhir(
        StatusCode::GONE,
        "deleted",
        "storage_error",
        format!("resource has been deleted: {kind}/{id}"),
    )
}

/// One version of a resource.
fn version_read(
    db: &Connection,
    store: &Store,
    kind: &str,
    id: &str,
    vid: &str,
) -> Result<Done, Failure> {
    let wanted = version::parse(vid).ok_or_else(|| Failure::missing(kind, id))?;
    let found: Option<(bool, String)> = db
        .prepare_cached(
            "SELECT 0, text FROM resources WHERE store = ?1 AND type = ?2 AND id = ?3 AND version = ?4 UNION ALL
             SELECT deleted, text FROM history WHERE store = ?1 AND type = ?2 AND id = ?3 AND version = ?4",
        )?
        .query_row(params![store.key, kind, id, wanted], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        Some((false, text)) => Ok(Done {
            status: StatusCode::OK,
            kind: kind.into(),
            id: id.into(),
            version: Some(wanted),
            text,
        }),
        Some((true, _)) => Err(gone(kind, id)),
        None => Err(Failure::missing(kind, &format!("{id}/_history/{vid}"))),
    }
}

/// All versions of a resource, newest first.
fn history(db: &Connection, store: &Store, kind: &str, id: &str) -> Result<Reply, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT version, 0, text FROM resources WHERE store = ?1 AND type = ?2 AND id = ?3 UNION ALL
         SELECT version, deleted, text FROM history WHERE store = ?1 AND type = ?2 AND id = ?3 ORDER BY 1 DESC",
    )?;
    let rows: Vec<(i64, bool, String)> = statement
        .query_map(params![store.key, kind, id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return Err(Failure::missing(kind, id));
    }
    let entries: Vec<Value> = rows
        .into_iter()
        .map(|(version, deleted, text)| {
            let mut entry = json!({
                "fullUrl": format!("{}/{kind}/{id}", store.base),
                "response": {"status": "200 OK", "etag": version::etag(version), "lastModified": version::instant(version)},
            });
            entry["request"] = json!({"method": if deleted {"DELETE"} else {"PUT"}, "url": format!("{kind}/{id}")});
            if !deleted {
                entry["resource"] = serde_json::from_str(&text).unwrap_or_default();
            }
            entry
        })
        .collect();
    let bundle = json!({"resourceType": "Bundle", "type": "history", "total": entries.len(), "entry": entries});
    Ok(Reply::fhir(StatusCode::OK, bundle.to_string()))
}

/// The request headers that matter here.
#[derive(Debug, Clone, Default)]
pub(super) struct Headers {
    pub(super) versions: Versions,
    pub(super) if_none_exist: Option<String>,
}

/// Answers `POST Type`.
pub(super) async fn post(
    db: &Database,
    place: Place,
    kind: &str,
    headers: &Headers,
    body: &[u8],
) -> Result<Reply, Failure> {
    let condition = headers
        .if_none_exist
        .as_deref()
        .map(Condition::parse)
        .transpose()?;
    let value = validate::json(body)?;
    validate::resource(&value, Some(kind))?;
    let draft = Draft::new(kind, new_id(), value);
    db.write(move |db| {
        let store = place.find(db)?;
        Ok(create(db, &store, draft, condition.as_ref())?.into_reply(&store.base))
    })
    .await
}

/// Answers `PUT Type/id`.
pub(super) async fn put_one(
    db: &Database,
    place: Place,
    kind: &str,
    id: &str,
    headers: Headers,
    body: &[u8],
) -> Result<Reply, Failure> {
    validate::id(id)?;
    let value = validate::json(body)?;
    validate::resource(&value, Some(kind))?;
    same_id(&value, id)?;
    let draft = Draft::new(kind, id.to_owned(), value);
    db.write(move |db| {
        let store = place.find(db)?;
        Ok(update(db, &store, draft, &headers.versions)?.into_reply(&store.base))
    })
    .await
}

/// Answers `PUT Type?condition`.
pub(super) async fn put_where(
    db: &Database,
    place: Place,
    kind: String,
    query: &str,
    headers: Headers,
    body: &[u8],
) -> Result<Reply, Failure> {
    let condition = Condition::parse(query)?;
    let value = validate::json(body)?;
    validate::resource(&value, Some(&kind))?;
    db.write(move |db| {
        let store = place.find(db)?;
        let (id, chosen) = target(db, &store, &kind, &value, &condition)?;
        let draft = Draft::new(&kind, id, value);
        let done = if chosen {
            update(db, &store, draft, &headers.versions)?
        } else {
            create(db, &store, draft, None)?
        };
        Ok(done.into_reply(&store.base))
    })
    .await
}

/// Answers `DELETE Type/id`, or `DELETE Type?condition` where there is no id.
pub(super) async fn delete(
    db: &Database,
    place: Place,
    kind: String,
    id: Option<String>,
    query: &str,
) -> Result<Reply, Failure> {
    let condition = if id.is_none() {
        Some(Condition::parse(query)?)
    } else {
        None
    };
    db.write(move |db| {
        let store = place.find(db)?;
        let id = match (id, condition) {
            (None, Some(condition)) => condition.only(db, &store, &kind)?,
            (id, _) => id,
        };
        match id {
            Some(id) => Ok(remove(db, &store, &kind, &id)?.into_reply(&store.base)),
            None => Ok(Reply::fhir(StatusCode::OK, "{}".into())),
        }
    })
    .await
}

/// Which versions of a resource are asked for.
pub(super) enum Asked {
    /// `GET Type/id`
    Current,
    /// `GET Type/id/_history`
    All,
    /// `GET Type/id/_history/vid`
    One(String),
}

/// Answers what is read by id.
pub(super) async fn get(
    db: &Database,
    place: Place,
    kind: String,
    id: String,
    of: Asked,
    headers: Headers,
) -> Result<Reply, Failure> {
    db.read(move |db| {
        let store = place.find(db)?;
        let done = match of {
            Asked::Current => read(db, &store, &kind, &id)?,
            Asked::All => return history(db, &store, &kind, &id),
            Asked::One(vid) => version_read(db, &store, &kind, &id, &vid)?,
        };
        let known = headers.versions.if_none_match.as_deref();
        if let (Some(known), Some(version)) = (known, done.version)
            && version::matches(known, version)
        {
            let mut reply = Reply::fhir(StatusCode::NOT_MODIFIED, String::new());
            reply.headers.push((header::ETAG, version::etag(version)));
            return Ok(reply);
        }
        Ok(done.into_reply(&store.base))
    })
    .await
}
