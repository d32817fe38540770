//! The stores themselves: made, listed, read, patched, deleted.
//!
//! One change at a time: it is written to the database, then to the [`Registry`].

use std::sync::Arc;

use http::{Method, StatusCode};
use rusqlite::{Connection, params};

use super::super::admin::{
    self, delete_rows, invalid, label_filter, new_id, not_found, ok, page, parameter, save,
};
use super::super::json::{Json, Object};
use super::super::registry::Registry;
use super::super::reply::{Refusal, Reply};
use super::super::serve::App;
use super::path::Path;
use super::settings::STORE;
use super::{files, rows};

/// A DICOM store.
#[derive(Debug)]
pub(in crate::emulator) struct Store {
    /// Names its rows; never used again.
    pub(super) key: i64,
    /// `projects/…/dicomStores/…`
    pub(super) name: String,
    pub(super) fields: Object,
}

impl Store {
    pub(in crate::emulator) fn new(key: i64, name: String, fields: Object) -> Arc<Self> {
        Arc::new(Self { key, name, fields })
    }

    /// Returns the name of its dataset.
    pub(super) fn dataset(&self) -> &str {
        let parts = self.name.split_once("/dicomStores/");
        parts.map_or(self.name.as_str(), |(dataset, _)| dataset)
    }

    /// Refuses to write to a store that was deleted while the request waited.
    pub(super) fn ensure_present(&self, connection: &Connection) -> Result<(), Refusal> {
        let there = connection
            .prepare_cached("SELECT 1 FROM store WHERE key = ?1")?
            .exists(params![self.key])?;
        if there {
            Ok(())
        } else {
            Err(store_not_found(&self.name))
        }
    }
}

/// Tells whether a store of that name is an DICOM store.
pub(in crate::emulator) fn is_store(name: &str) -> bool {
    name.contains("/dicomStores/")
}

fn store_not_found(name: &str) -> Refusal {
    Refusal::google(
        StatusCode::NOT_FOUND,
        format!("DICOM store not found: {name}"),
    )
}

fn find(registry: &Registry, dataset: &str, name: &str) -> Result<Arc<Store>, Refusal> {
    registry.parent(dataset)?;
    let store = registry.dicom.get(name).cloned();
    store.ok_or_else(|| store_not_found(name))
}

/// Returns the store of that name.
pub(super) fn open(app: &App, dataset: &str, name: &str) -> Result<Arc<Store>, Refusal> {
    find(&app.registry(), dataset, name)
}

/// Returns the name of the store that a path names, if it is there.
pub(in crate::emulator) fn there(registry: &Registry, path: &Path) -> Result<String, Refusal> {
    match path {
        Path::Store { dataset, name } => find(registry, dataset, name).map(|_| name.clone()),
        _ => Err(not_found()),
    }
}

/// The stores whose names begin with a parent's, and the keys of their rows.
pub(in crate::emulator) fn below<'a>(
    registry: &'a Registry,
    parent: &str,
) -> impl Iterator<Item = (String, i64)> + use<'a> {
    admin::below(&registry.dicom, parent).map(|(name, store)| (name.clone(), store.key))
}

/// Makes a store when it is missing; its dataset is there.
pub(in crate::emulator) fn provide(
    registry: &mut Registry,
    connection: &Connection,
    dataset: &str,
    store: &str,
) -> Result<(), rusqlite::Error> {
    let name = format!("{dataset}/dicomStores/{store}");
    if registry.dicom.contains_key(&name) {
        return Ok(());
    }
    let fields = Object::from([("name".to_owned(), Json::text(name.as_str()))]);
    let body = Json::Object(fields.clone()).to_string();
    let sql = "INSERT INTO store (name, body) VALUES (?1, ?2)";
    connection.execute(sql, params![name, body])?;
    let key = connection.last_insert_rowid();
    let store = Store::new(key, name.clone(), fields);
    registry.dicom.insert(name, store);
    Ok(())
}

/// Answers a call about stores themselves.
pub(super) async fn answer(
    app: &App,
    method: &Method,
    path: Path,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    match (method, path) {
        (&Method::GET, Path::Stores { dataset }) => list(app, &dataset, query),
        (&Method::GET, Path::Store { dataset, name }) => {
            let store = open(app, &dataset, &name)?;
            Ok(ok(&Json::Object(store.fields.clone())))
        }
        (method, path) => {
            let _turn = app.administration.lock().await;
            match (method, path) {
                (&Method::POST, Path::Stores { dataset }) => {
                    create(app, &dataset, query, body).await
                }
                (&Method::PATCH, Path::Store { dataset, name }) => {
                    let store = open(app, &dataset, &name)?;
                    patch(app, &store, query, body).await
                }
                (&Method::DELETE, Path::Store { dataset, name }) => {
                    let key = open(app, &dataset, &name)?.key;
                    let held = app
                        .database
                        .write(move |session| {
                            let held = rows::files_of(&session.connection, key)?;
                            delete_rows(session, key)?;
                            Ok(held)
                        })
                        .await?;
                    files::release_all(app, held).await?;
                    app.registry_mut().dicom.remove(&name);
                    Ok(ok(&Json::Object(Object::new())))
                }
                _ => Err(not_found()),
            }
        }
    }
}

fn list(app: &App, dataset: &str, query: &[(String, String)]) -> Result<Reply, Refusal> {
    let registry = app.registry();
    registry.parent(dataset)?;
    let label = label_filter(parameter(query, "filter").unwrap_or_default())?;
    let parent = format!("{dataset}/dicomStores/");
    let items = admin::below(&registry.dicom, &parent).filter(|(_, store)| {
        label.as_ref().is_none_or(|(key, value)| {
            let labels = store.fields.get("labels").and_then(Json::as_object);
            let found = labels.and_then(|labels| labels.get(key)?.as_text());
            found == Some(value)
        })
    });
    let items = items.map(|(name, store)| (name.clone(), Json::Object(store.fields.clone())));
    page("dicomStores", &parent, items, query)
}

async fn create(
    app: &App,
    dataset: &str,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    app.registry().parent(dataset)?;
    let name = format!("{dataset}/dicomStores/{}", new_id(query, "dicomStoreId")?);
    let mut fields = STORE.read(body)?;
    fields.insert("name".to_owned(), Json::text(name.as_str()));
    if app.registry().dicom.contains_key(&name) {
        return Err(Refusal::google(
            StatusCode::CONFLICT,
            format!("DICOM store already exists: {name}"),
        ));
    }
    let sql = "INSERT INTO store (name, body) VALUES (?1, ?2)";
    let key = save(app, sql, &name, &fields).await?;
    let store = Store::new(key, name.clone(), fields.clone());
    app.registry_mut().dicom.insert(name, store);
    Ok(ok(&Json::Object(fields)))
}

async fn patch(
    app: &App,
    store: &Store,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    let mask = parameter(query, "updateMask").filter(|mask| !mask.is_empty());
    let mask = mask.ok_or_else(|| invalid("update_mask is required"))?;
    let fields = STORE.patch(&store.fields, &STORE.read(body)?, Some(mask))?;
    let sql = "UPDATE store SET body = ?2 WHERE name = ?1";
    save(app, sql, &store.name, &fields).await?;
    let patched = Store::new(store.key, store.name.clone(), fields.clone());
    app.registry_mut().dicom.insert(store.name.clone(), patched);
    Ok(ok(&Json::Object(fields)))
}
