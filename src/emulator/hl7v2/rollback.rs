//! `rollback`: a store as it was at a time.
//!
//! Messages that came after the time are found by their `createTime`; what became of others (new labels, deletion) is kept as
//! a change, with what was before. A rollback is made of changes itself, so that it can be rolled back. Without `force` it only
//! writes down what it would do.

use std::collections::BTreeSet;
use std::sync::Arc;

use fs_err::tokio as fs;
use rusqlite::params;
use tokio::io::AsyncWriteExt as _;

use super::super::app::App;
use super::super::buckets;
use super::super::database::DatabaseSession;
use super::super::google::{invalid, object, ok, text};
use super::super::json::{Json, Object};
use super::super::operation::{Ended, Operation, Stopped};
use super::super::reply::{Refusal, Reply};
use super::super::stores::Collected as _;
use super::super::stores::hl7v2::Store;
use super::changes::{self, Change};
use super::filter::instant;
use super::rows::{self, Message};

/// The changes to undo.
#[derive(Debug)]
struct Wanted {
    /// Microseconds; later changes are undone.
    since: i64,
    kind: Option<Change>,
    /// The ids of operations whose changes alone are undone.
    operations: Option<BTreeSet<String>>,
    /// The ids of messages that alone are touched.
    ids: Option<BTreeSet<String>>,
    without_rollbacks: bool,
    force: bool,
    operation: String,
}

/// A change after the time.
#[derive(Debug)]
struct Found {
    at: i64,
    id: String,
    change: Change,
    operation: String,
    is_rollback: bool,
    /// The message before the change, and the row that has its bytes.
    before: Option<(Message, i64)>,
}

/// Answers `rollback`.
pub(super) async fn rollback(
    app: &Arc<App>,
    store: &Arc<Store>,
    body: &[u8],
) -> Result<Reply, Refusal> {
    let request = object(body)?;
    let since = text(&request, &["rollbackTime"]);
    let since = since.ok_or_else(|| invalid("the field rollbackTime is required"))?;
    let bucket = text(&request, &["resultGcsBucket"]);
    let bucket = bucket.ok_or_else(|| invalid("the field resultGcsBucket is required"))?;
    let bucket = format!("gs://{}", bucket.strip_prefix("gs://").unwrap_or(bucket));
    let folder = buckets::folder(app.database.dir(), &bucket)?;
    let kind = match text(&request, &["changeType"]) {
        None | Some("CHANGE_TYPE_UNSPECIFIED" | "ALL") => None,
        Some("CREATE") => Some(Change::Create),
        Some("UPDATE") => Some(Change::Update),
        Some("DELETE") => Some(Change::Delete),
        Some(_) => {
            return Err(Refusal::payload(
                "Invalid value at 'changeType' (TYPE_ENUM).",
            ));
        }
    };
    let operations = request.get("filteringFields").and_then(Json::as_object);
    let operations = operations.and_then(|fields| fields.get("operationIds"));
    let operations = operations.map(|ids| {
        let ids = ids.each().iter().filter_map(Json::as_text);
        ids.map(last_part).collect()
    });
    let ids = match text(&request, &["inputGcsObject"]) {
        None => None,
        Some(uri) => {
            let uri = format!("gs://{}", uri.strip_prefix("gs://").unwrap_or(uri));
            let mut ids = BTreeSet::new();
            for file in buckets::objects(app.database.dir(), &uri)? {
                let lines = fs::read_to_string(&file).await;
                let lines = lines.map_err(|_| invalid(format!("{uri} cannot be read")))?;
                ids.extend(lines.lines().map(|line| last_part(line.trim())));
            }
            Some(ids)
        }
    };
    let is_set = |name: &str| request.get(name) == Some(&Json::Bool(true));
    let (without_rollbacks, force) = (is_set("excludeRollbacks"), is_set("force"));
    let since = instant(since)?;
    let method = "google.cloud.healthcare.v1.hl7v2.Hl7V2Service.RollbackHl7V2Messages";
    let (operation, answer) = Operation::begin(app, store.dataset(), method).await?;
    let wanted = Wanted {
        since,
        kind,
        operations,
        ids,
        without_rollbacks,
        force,
        operation: operation.id(),
    };
    let (weak, store) = (Arc::downgrade(app), Arc::clone(store));
    tokio::spawn(async move {
        let mut ended = Ended::default();
        let path = folder.join(format!("{}.ndjson", wanted.operation));
        let stopped = async {
            let app = weak.upgrade().ok_or(Stopped::Gone)?;
            let on = Arc::clone(&store);
            let undone = app
                .database
                .write(move |session| undo(session, &on, &wanted));
            let undone = undone.await?;
            ended.success = undone.len() as u64;
            fs::create_dir_all(&folder).await?;
            let mut file = fs::File::create(&path).await?;
            let lines = undone.into_iter().map(|(id, change)| {
                let line = [
                    ("changeType", Json::text(change.name())),
                    ("resourceId", Json::Text(id)),
                ];
                format!("{}\n", Json::object(line))
            });
            file.write_all(lines.collect::<String>().as_bytes()).await?;
            file.sync_all().await?;
            Ok(())
        };
        let stopped = stopped.await;
        let name = Json::text(store.name.as_str());
        ended.response = Object::from([("hl7v2Store".to_owned(), name)]);
        operation
            .conclude(
                &weak,
                ended,
                stopped,
                "google.cloud.healthcare.v1.hl7v2.RollbackHl7V2MessagesResponse",
            )
            .await;
    });
    Ok(ok(&answer))
}

/// Names are taken for their last part.
fn last_part(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

/// Undoes the changes that are wanted, the last one first, and returns them.
fn undo(
    session: &mut DatabaseSession,
    store: &Store,
    wanted: &Wanted,
) -> Result<Vec<(String, Change)>, Refusal> {
    store.ensure_present(&session.connection)?;
    let mut undone = Vec::new();
    for found in since(session, store, wanted.since)? {
        let is_wanted = wanted.kind.is_none_or(|kind| kind == found.change)
            && wanted
                .ids
                .as_ref()
                .is_none_or(|ids| ids.contains(&found.id))
            && !(wanted.without_rollbacks && found.is_rollback)
            && wanted
                .operations
                .as_ref()
                .is_none_or(|operations| operations.contains(&found.operation));
        if !is_wanted {
            continue;
        }
        if wanted.force {
            undo_one(session, store, wanted, &found)?;
        }
        undone.push((found.id, found.change));
    }
    Ok(undone)
}

fn undo_one(
    session: &mut DatabaseSession,
    store: &Store,
    wanted: &Wanted,
    found: &Found,
) -> Result<(), Refusal> {
    let now = rows::read(&session.connection, store, &found.id)?;
    let operation = Some(wanted.operation.as_str());
    match (found.change, now, &found.before) {
        (Change::Create, Some(now), _) => {
            changes::note(session, store, Change::Delete, &now, operation, true)?;
            rows::delete(&session.connection, store, &found.id)?;
        }
        (Change::Update, Some(now), Some((before, _))) => {
            changes::note(session, store, Change::Update, &now, operation, true)?;
            rows::set_labels(&session.connection, store, &found.id, &before.labels)?;
        }
        (Change::Delete, None, Some((before, key))) => {
            // One that came after the time as well was not there at it.
            let is_new = before.created > wanted.since;
            if !(is_new && wanted.kind.is_none()) {
                let data = changes::data(&session.connection, *key)?;
                let before = Message {
                    data,
                    ..before.clone()
                };
                changes::note(session, store, Change::Create, &before, operation, true)?;
                rows::put(session, store, &before, operation)?;
            }
        }
        // Something else has undone it already.
        _ => {}
    }
    Ok(())
}

/// Lists what has changed since a time, the last change first.
fn since(session: &DatabaseSession, store: &Store, time: i64) -> Result<Vec<Found>, Refusal> {
    let mut all = Vec::new();
    let connection = &session.connection;
    let sql =
        "SELECT id, created, ifnull(operation, '') FROM message WHERE store = ?1 AND created > ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params![store.key, time])?;
    while let Some(row) = found.next()? {
        all.push(Found {
            id: row.get(0)?,
            at: row.get(1)?,
            operation: row.get(2)?,
            change: Change::Create,
            is_rollback: false,
            before: None,
        });
    }
    let noted = changes::noted(connection, store, time)?.into_iter();
    all.extend(noted.map(|note| Found {
        at: note.at,
        id: note.before.id.clone(),
        change: note.change,
        operation: note.operation,
        is_rollback: note.is_rollback,
        before: Some((note.before, note.key)),
    }));
    all.sort_by_key(|found| std::cmp::Reverse(found.at));
    Ok(all)
}
