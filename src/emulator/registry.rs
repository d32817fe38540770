//! All datasets, operations and FHIR stores, in memory: they are few, and every request asks for one.
//!
//! The database is read when the server starts; `admin` keeps both the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use rusqlite::{Connection, params};

use super::Provided;
use super::json::{Json, Object};
use super::reply::Refusal;
use super::settings::Settings;
use super::{collection, dicom, hl7v2};

/// A FHIR store.
#[derive(Debug)]
pub(super) struct Store {
    /// Names its rows; never used again.
    pub(super) key: i64,
    /// `projects/…/fhirStores/…`
    pub(super) name: String,
    pub(super) fields: Object,
    pub(super) settings: Settings,
}

impl Store {
    pub(super) fn new(key: i64, name: String, fields: Object) -> Arc<Self> {
        let settings = Settings::of(&fields);
        Arc::new(Self {
            key,
            name,
            fields,
            settings,
        })
    }

    /// Says that the store does not exist.
    pub(super) fn not_found(&self) -> Refusal {
        store_not_found(&self.name)
    }
}

fn store_not_found(name: &str) -> Refusal {
    Refusal::google(
        StatusCode::NOT_FOUND,
        format!("FHIR store not found: {name}"),
    )
}

/// All datasets, stores and operations, by name.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) datasets: BTreeMap<String, Object>,
    pub(super) stores: BTreeMap<String, Arc<Store>>,
    pub(super) hl7v2: BTreeMap<String, Arc<hl7v2::Store>>,
    pub(super) dicom: BTreeMap<String, Arc<dicom::Store>>,
    pub(super) operations: BTreeMap<String, Json>,
    /// What was set as access policies. The store asks none of them, and forgets them with its process.
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
            if collection::take::<dicom::Store>(&mut registry, key, &name, &fields)
                || collection::take::<hl7v2::Store>(&mut registry, key, &name, &fields)
            {
                continue;
            }
            registry
                .stores
                .insert(name.clone(), Store::new(key, name, fields));
        }
        for row in connection
            .prepare("SELECT name, body FROM operation")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        {
            let (name, body): (String, String) = row?;
            let operation = super::operation::found(fields(body));
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
            self.stores.insert(name.clone(), Store::new(key, name, all));
        }
        if let Some(store) = &provided.hl7v2 {
            collection::provide::<hl7v2::Store>(self, connection, dataset, store)?;
        }
        if let Some(store) = &provided.dicom {
            collection::provide::<dicom::Store>(self, connection, dataset, store)?;
        }
        Ok(())
    }

    /// Returns the store of that name.
    pub(super) fn store(&self, name: &str) -> Result<Arc<Store>, Refusal> {
        self.stores
            .get(name)
            .cloned()
            .ok_or_else(|| store_not_found(name))
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

    /// Google answers calls about stores of a missing dataset as forbidden.
    pub(super) fn parent(&self, dataset: &str) -> Result<(), Refusal> {
        if self.datasets.contains_key(dataset) {
            return Ok(());
        }
        let message = format!("Permission denied on resource '{dataset}' (or it may not exist).");
        Err(Refusal::google(StatusCode::FORBIDDEN, message))
    }
}
