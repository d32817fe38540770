//! All datasets, operations and stores, with their rows. They are in memory too: they are few, and every request asks for one.
//!
//! The database is read when the server starts; `admin` and `collection` keep both the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use jiff::tz::TimeZone;
use rusqlite::{Connection, params};

use super::Provided;
use super::database::{Database, DatabaseSession};
use super::google::{ABORTED, status};
use super::json::{Json, Object};
use super::reply::Refusal;
use super::stores::{Collected, dicom, fhir, hl7v2, missing};

/// All datasets, stores and operations, by name.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) datasets: BTreeMap<String, Object>,
    pub(super) stores: BTreeMap<String, Arc<fhir::Store>>,
    pub(super) hl7v2: BTreeMap<String, Arc<hl7v2::Store>>,
    pub(super) dicom: BTreeMap<String, Arc<dicom::Store>>,
    pub(super) operations: BTreeMap<String, Json>,
    /// Access policies as they were set, by the name of their dataset or store. The local store asks none of them, and
    /// forgets them with its process.
    pub(super) policies: BTreeMap<String, Json>,
}

impl Registry {
    /// Reads what the database has.
    pub(super) fn load(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let mut registry = Self::default();
        let fields = |text: String| match Json::parse(text.as_bytes()) {
            Ok(Json::Object(fields)) => fields,
            _ => Object::new(),
        };
        for row in connection
            .prepare("SELECT name, body FROM dataset")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        {
            let (name, body): (String, String) = row?;
            registry.datasets.insert(name, fields(body));
        }
        for row in connection
            .prepare("SELECT key, name, body FROM store")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        {
            let (key, name, body): (i64, String, String) = row?;
            let fields = fields(body);
            if take::<dicom::Store>(&mut registry, key, &name, &fields)
                || take::<hl7v2::Store>(&mut registry, key, &name, &fields)
            {
                continue;
            }
            registry
                .stores
                .insert(name.clone(), fhir::Store::new(key, name, fields));
        }
        for row in connection
            .prepare("SELECT name, body FROM operation")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        {
            let (name, body): (String, String) = row?;
            let operation = found(fields(body));
            registry.operations.insert(name, operation);
        }
        Ok(registry)
    }

    /// Makes a dataset and a store in it, as far as they are missing.
    pub(super) fn provide(
        &mut self,
        connection: &Connection,
        provided: &Provided,
    ) -> Result<(), rusqlite::Error> {
        let Provided {
            dataset,
            store,
            fields,
            ..
        } = provided;
        let named = |name: &str| Object::from([("name".to_owned(), Json::text(name))]);
        if !self.datasets.contains_key(dataset) {
            let fields = named(dataset);
            let body = Json::Object(fields.clone()).to_string();
            let sql = "INSERT INTO dataset (name, body) VALUES (?1, ?2)";
            connection.execute(sql, params![dataset, body])?;
            self.datasets.insert(dataset.clone(), fields);
        }
        let name = format!("{dataset}/fhirStores/{store}");
        if !self.stores.contains_key(&name) {
            let mut all = named(&name);
            for (key, value) in fields {
                if let Ok(value) = Json::parse(value.to_string().as_bytes()) {
                    all.insert(key.clone(), value);
                }
            }
            let body = Json::Object(all.clone()).to_string();
            let sql = "INSERT INTO store (name, body) VALUES (?1, ?2)";
            connection.execute(sql, params![name, body])?;
            let key = connection.last_insert_rowid();
            self.stores
                .insert(name.clone(), fhir::Store::new(key, name, all));
        }
        if let Some(store) = &provided.hl7v2 {
            provide::<hl7v2::Store>(self, connection, dataset, store)?;
        }
        if let Some(store) = &provided.dicom {
            provide::<dicom::Store>(self, connection, dataset, store)?;
        }
        Ok(())
    }

    /// Returns the store of that name.
    pub(super) fn store(&self, name: &str) -> Result<Arc<fhir::Store>, Refusal> {
        self.stores
            .get(name)
            .cloned()
            .ok_or_else(|| fhir::not_found(name))
    }

    pub(super) fn dataset(&self, name: &str) -> Result<&Object, Refusal> {
        self.datasets.get(name).ok_or_else(|| {
            Refusal::google(StatusCode::NOT_FOUND, format!("Dataset not found: {name}"))
        })
    }

    pub(super) fn operation(&self, name: &str) -> Result<&Json, Refusal> {
        self.operations.get(name).ok_or_else(|| {
            let message = format!("operation not found: {name}");
            Refusal::google(StatusCode::NOT_FOUND, message)
        })
    }

    /// Returns the time zone of a dataset, in which times without an offset are read.
    pub(super) fn zone(&self, dataset: &str) -> TimeZone {
        let dataset = self.datasets.get(dataset);
        let zone = dataset.and_then(|dataset| dataset.get("timeZone")?.as_text());
        zone.and_then(|zone| TimeZone::get(zone).ok())
            .unwrap_or(TimeZone::UTC)
    }

    /// Google answers calls about stores of a missing dataset as forbidden.
    pub(super) fn parent(&self, dataset: &str) -> Result<(), Refusal> {
        if self.datasets.contains_key(dataset) {
            return Ok(());
        }
        let message = format!("Permission denied on resource '{dataset}' (or it may not exist).");
        Err(Refusal::google(StatusCode::FORBIDDEN, message))
    }
}

/// Returns an operation as it is when a server starts.
fn found(mut body: Object) -> Json {
    if !body.contains_key("done") {
        body.insert("done".to_owned(), Json::Bool(true));
        let why = "aborted: the server ended before the operation did";
        body.insert("error".to_owned(), status(ABORTED, why));
    }
    Json::Object(body)
}

/// A kind of stores that the registry keeps beside the FHIR stores.
pub(super) trait Registered: Collected {
    /// All of its kind, by name.
    fn all(registry: &Registry) -> &BTreeMap<String, Arc<Self>>;
    /// See [`Registered::all`].
    fn all_mut(registry: &mut Registry) -> &mut BTreeMap<String, Arc<Self>>;
}

impl Registered for dicom::Store {
    fn all(registry: &Registry) -> &BTreeMap<String, Arc<Self>> {
        &registry.dicom
    }

    fn all_mut(registry: &mut Registry) -> &mut BTreeMap<String, Arc<Self>> {
        &mut registry.dicom
    }
}

impl Registered for hl7v2::Store {
    fn all(registry: &Registry) -> &BTreeMap<String, Arc<Self>> {
        &registry.hl7v2
    }

    fn all_mut(registry: &mut Registry) -> &mut BTreeMap<String, Arc<Self>> {
        &mut registry.hl7v2
    }
}

/// Returns the resource name of a store.
pub(super) fn named<S: Registered>(dataset: &str, id: &str) -> String {
    format!("{dataset}/{}/{id}", S::COLLECTION)
}

/// Takes a store that the database has; tells whether it is of this kind.
pub(super) fn take<S: Registered>(
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

/// Returns the store of that name, if it is there.
pub(super) fn find<S: Registered>(
    registry: &Registry,
    dataset: &str,
    name: &str,
) -> Result<Arc<S>, Refusal> {
    registry.parent(dataset)?;
    let store = S::all(registry).get(name).cloned();
    store.ok_or_else(|| missing::<S>(name))
}

/// The stores whose names begin with a parent's, and the keys of their rows.
pub(super) fn stores_below<'a, S: Registered>(
    registry: &'a Registry,
    parent: &str,
) -> impl Iterator<Item = (String, i64)> + use<'a, S> {
    below(S::all(registry), parent).map(|(name, store)| (name.clone(), store.key()))
}

/// Makes a store when it is missing; its dataset is there.
pub(super) fn provide<S: Registered>(
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

/// Those of the map whose name begins with the parent's.
pub(super) fn below<'a, T>(
    map: &'a BTreeMap<String, T>,
    parent: &str,
) -> impl Iterator<Item = (&'a String, &'a T)> + use<'a, T> {
    let prefix = parent.to_owned();
    map.range(parent.to_owned()..)
        .take_while(move |(name, _)| name.starts_with(&prefix))
}

/// Writes the fields of something that has a name; the statement takes the name and the body.
pub(super) async fn save(
    database: &Database,
    sql: &'static str,
    name: &str,
    fields: &Object,
) -> Result<i64, Refusal> {
    let (name, body) = (name.to_owned(), Json::Object(fields.clone()).to_string());
    database
        .write(move |session| {
            session.connection.execute(sql, params![name, body])?;
            Ok(session.connection.last_insert_rowid())
        })
        .await
}

/// Deletes a store, and whatever it holds.
pub(super) fn delete_rows(session: &mut DatabaseSession, key: i64) -> Result<(), Refusal> {
    for table in [
        "token",
        "history",
        "resource",
        "message",
        "message_change",
        "instance",
    ] {
        session.connection.execute(
            &format!("DELETE FROM {table} WHERE store = ?1"),
            params![key],
        )?;
    }
    session
        .connection
        .execute("DELETE FROM store WHERE key = ?1", params![key])?;
    Ok(())
}
