//! Stores of the kinds that stand beside the FHIR stores of a dataset: made, listed, read, patched, deleted, all in one way.
//!
//! One change at a time: it is written to the database, then to the [`Registry`]. What the stores of a kind hold, and what their
//! fields mean, is the kind's own business ([`Collected`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use rusqlite::{Connection, params};

use super::admin::{
    self, delete_rows, invalid, label_filter, new_id, not_found, ok, page, parameter, save,
};
use super::dicom;
use super::json::{Json, Object};
use super::registry::Registry;
use super::reply::{Refusal, Reply};
use super::serve::App;
use super::settings::Schema;

/// A store of such a kind.
pub(super) trait Collected: Sized + Send + Sync + 'static {
    /// The segment of paths under which its kind stands, such as `dicomStores`.
    const COLLECTION: &'static str;
    /// The parameter that names a new one.
    const ID: &'static str;
    /// The word for one.
    const WORD: &'static str;

    /// Takes the key that names its rows, its resource name and its fields.
    fn new(key: i64, name: String, fields: Object) -> Arc<Self>;
    /// The key that names its rows; never used again.
    fn key(&self) -> i64;
    /// Its resource name.
    fn name(&self) -> &str;
    /// Its fields.
    fn fields(&self) -> &Object;
    /// The shapes of its fields.
    fn schema() -> &'static Schema;
    /// All of its kind, by name.
    fn all(registry: &Registry) -> &BTreeMap<String, Arc<Self>>;
    /// See [`Collected::all`].
    fn all_mut(registry: &mut Registry) -> &mut BTreeMap<String, Arc<Self>>;

    /// The fields that one has which the local store itself makes.
    fn provided() -> Object {
        Object::new()
    }

    /// Refuses fields that cannot be had, or cannot be changed to from those before.
    fn check(_fields: &Object, _before: Option<&Self>) -> Result<(), Refusal> {
        Ok(())
    }

    /// Returns the name of its dataset.
    fn dataset(&self) -> &str {
        let name = self.name();
        let parts = name.split_once(&format!("/{}/", Self::COLLECTION));
        parts.map_or(name, |(dataset, _)| dataset)
    }

    /// Refuses to write to a store that was deleted while the request waited.
    fn ensure_present(&self, connection: &Connection) -> Result<(), Refusal> {
        let there = connection
            .prepare_cached("SELECT 1 FROM store WHERE key = ?1")?
            .exists(params![self.key()])?;
        if there {
            Ok(())
        } else {
            Err(missing::<Self>(self.name()))
        }
    }
}

/// Returns the resource name of a store.
pub(super) fn named<S: Collected>(dataset: &str, id: &str) -> String {
    format!("{dataset}/{}/{id}", S::COLLECTION)
}

/// Takes a store that the database has; tells whether it is of this kind.
pub(super) fn take<S: Collected>(
    registry: &mut Registry,
    key: i64,
    name: &str,
    fields: &Object,
) -> bool {
    let is_of_kind = name.contains(&format!("/{}/", S::COLLECTION));
    if is_of_kind {
        let store = S::new(key, name.to_owned(), fields.clone());
        S::all_mut(registry).insert(name.to_owned(), store);
    }
    is_of_kind
}

fn missing<S: Collected>(name: &str) -> Refusal {
    Refusal::google(
        StatusCode::NOT_FOUND,
        format!("{} not found: {name}", S::WORD),
    )
}

/// Returns the store of that name, if it is there.
pub(super) fn find<S: Collected>(
    registry: &Registry,
    dataset: &str,
    name: &str,
) -> Result<Arc<S>, Refusal> {
    registry.parent(dataset)?;
    let store = S::all(registry).get(name).cloned();
    store.ok_or_else(|| missing::<S>(name))
}

/// Returns the store of that name.
pub(super) fn open<S: Collected>(app: &App, dataset: &str, name: &str) -> Result<Arc<S>, Refusal> {
    find(&app.registry(), dataset, name)
}

/// The stores whose names begin with a parent's, and the keys of their rows.
pub(super) fn below<'a, S: Collected>(
    registry: &'a Registry,
    parent: &str,
) -> impl Iterator<Item = (String, i64)> + use<'a, S> {
    admin::below(S::all(registry), parent).map(|(name, store)| (name.clone(), store.key()))
}

/// Makes a store when it is missing; its dataset is there.
pub(super) fn provide<S: Collected>(
    registry: &mut Registry,
    connection: &Connection,
    dataset: &str,
    id: &str,
) -> Result<(), rusqlite::Error> {
    let name = named::<S>(dataset, id);
    if S::all(registry).contains_key(&name) {
        return Ok(());
    }
    let mut fields = S::provided();
    fields.insert("name".to_owned(), Json::text(name.as_str()));
    let body = Json::Object(fields.clone()).to_string();
    let sql = "INSERT INTO store (name, body) VALUES (?1, ?2)";
    connection.execute(sql, params![name, body])?;
    let store = S::new(connection.last_insert_rowid(), name.clone(), fields);
    S::all_mut(registry).insert(name, store);
    Ok(())
}

/// Answers a call about stores themselves: about one where it is named, else about all of a dataset.
pub(super) async fn answer<S: Collected>(
    app: &App,
    method: &Method,
    dataset: &str,
    name: Option<&str>,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    match (method, name) {
        (&Method::GET, None) => list::<S>(app, dataset, query),
        (&Method::GET, Some(name)) => {
            let store = open::<S>(app, dataset, name)?;
            Ok(ok(&Json::Object(store.fields().clone())))
        }
        (method, name) => {
            let _turn = app.administration.lock().await;
            match (method, name) {
                (&Method::POST, None) => create::<S>(app, dataset, query, body).await,
                (&Method::PATCH, Some(name)) => {
                    let store = open::<S>(app, dataset, name)?;
                    patch(app, &*store, query, body).await
                }
                (&Method::DELETE, Some(name)) => {
                    let store = open::<S>(app, dataset, name)?;
                    delete(app, &*store).await
                }
                _ => Err(not_found()),
            }
        }
    }
}

fn list<S: Collected>(
    app: &App,
    dataset: &str,
    query: &[(String, String)],
) -> Result<Reply, Refusal> {
    let registry = app.registry();
    registry.parent(dataset)?;
    let label = label_filter(parameter(query, "filter").unwrap_or_default())?;
    let parent = named::<S>(dataset, "");
    let items = admin::below(S::all(&registry), &parent).filter(|(_, store)| {
        label.as_ref().is_none_or(|(key, value)| {
            let labels = store.fields().get("labels").and_then(Json::as_object);
            let found = labels.and_then(|labels| labels.get(key)?.as_text());
            found == Some(value)
        })
    });
    let items = items.map(|(name, store)| (name.clone(), Json::Object(store.fields().clone())));
    page(S::COLLECTION, &parent, items, query)
}

async fn create<S: Collected>(
    app: &App,
    dataset: &str,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    app.registry().parent(dataset)?;
    let name = named::<S>(dataset, new_id(query, S::ID)?);
    let mut fields = S::schema().read(body)?;
    S::check(&fields, None)?;
    fields.insert("name".to_owned(), Json::text(name.as_str()));
    if S::all(&app.registry()).contains_key(&name) {
        return Err(Refusal::google(
            StatusCode::CONFLICT,
            format!("{} already exists: {name}", S::WORD),
        ));
    }
    let sql = "INSERT INTO store (name, body) VALUES (?1, ?2)";
    let key = save(app, sql, &name, &fields).await?;
    let store = S::new(key, name.clone(), fields.clone());
    S::all_mut(&mut app.registry_mut()).insert(name, store);
    Ok(ok(&Json::Object(fields)))
}

async fn patch<S: Collected>(
    app: &App,
    store: &S,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    let mask = parameter(query, "updateMask").filter(|mask| !mask.is_empty());
    let mask = mask.ok_or_else(|| invalid("update_mask is required"))?;
    let schema = S::schema();
    let fields = schema.patch(store.fields(), &schema.read(body)?, Some(mask))?;
    S::check(&fields, Some(store))?;
    let sql = "UPDATE store SET body = ?2 WHERE name = ?1";
    save(app, sql, store.name(), &fields).await?;
    let patched = S::new(store.key(), store.name().to_owned(), fields.clone());
    S::all_mut(&mut app.registry_mut()).insert(store.name().to_owned(), patched);
    Ok(ok(&Json::Object(fields)))
}

async fn delete<S: Collected>(app: &App, store: &S) -> Result<Reply, Refusal> {
    let key = store.key();
    let held = app
        .database
        .write(move |session| {
            let held = dicom::files_of(&session.connection, key)?;
            delete_rows(session, key)?;
            Ok(held)
        })
        .await?;
    S::all_mut(&mut app.registry_mut()).remove(store.name());
    dicom::release_all(app, held).await?;
    Ok(ok(&Json::Object(Object::new())))
}
