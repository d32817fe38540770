//! Stores of the kinds that stand beside the FHIR stores of a dataset: made, listed, read, patched, deleted, all in one way.
//!
//! One change at a time: it is written to the database, then to the [`Registry`](super::registry::Registry). The
//! content of the stores of a kind, and the meaning of their fields, are the kind's own business
//! ([`Collected`](super::stores::Collected)).

use std::sync::Arc;

use http::{Method, StatusCode};

use super::app::App;
use super::files;
use super::google::{invalid, label_filter, new_id, not_found, ok, page};
use super::json::{Json, Object};
use super::query::parameter;
use super::registry::{Registered, below, delete_rows, find, named, save};
use super::reply::{Refusal, Reply};

/// Returns the store of that name.
pub(super) fn open<S: Registered>(app: &App, dataset: &str, name: &str) -> Result<Arc<S>, Refusal> {
    find(&app.registry(), dataset, name)
}

/// Answers a call about stores themselves: about one where it is named, else about all of a dataset.
pub(super) async fn answer<S: Registered>(
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

fn list<S: Registered>(
    app: &App,
    dataset: &str,
    query: &[(String, String)],
) -> Result<Reply, Refusal> {
    let registry = app.registry();
    registry.parent(dataset)?;
    let label = label_filter(parameter(query, "filter").unwrap_or_default())?;
    let parent = named::<S>(dataset, "");
    let items = below(S::all(&registry), &parent).filter(|(_, store)| {
        label.as_ref().is_none_or(|(key, value)| {
            let labels = store.fields().get("labels").and_then(Json::as_object);
            let found = labels.and_then(|labels| labels.get(key)?.as_text());
            found == Some(value)
        })
    });
    let items = items.map(|(name, store)| (name.clone(), Json::Object(store.fields().clone())));
    page(S::COLLECTION, &parent, items, query)
}

async fn create<S: Registered>(
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
    let key = save(&app.database, sql, &name, &fields).await?;
    let store = S::new(key, name.clone(), fields.clone());
    S::all_mut(&mut app.registry_mut()).insert(name, store);
    Ok(ok(&Json::Object(fields)))
}

async fn patch<S: Registered>(
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
    save(&app.database, sql, store.name(), &fields).await?;
    let patched = S::new(store.key(), store.name().to_owned(), fields.clone());
    S::all_mut(&mut app.registry_mut()).insert(store.name().to_owned(), patched);
    Ok(ok(&Json::Object(fields)))
}

async fn delete<S: Registered>(app: &App, store: &S) -> Result<Reply, Refusal> {
    let key = store.key();
    let held = app
        .database
        .write(move |session| {
            let held = files::files_of(&session.connection, key)?;
            delete_rows(session, key)?;
            Ok(held)
        })
        .await?;
    S::all_mut(&mut app.registry_mut()).remove(store.name());
    files::release_all(app, held).await?;
    Ok(ok(&Json::Object(Object::new())))
}
