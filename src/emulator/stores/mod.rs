//! The stores of a dataset, as they are kept: FHIR stores, and those of the kinds that stand beside them.
//!
//! The state of the stores of a kind, and the answers to requests about them, are the business of `single`, `dicom` and
//! `hl7v2`.

pub(super) mod dicom;
pub(super) mod fhir;
pub(super) mod hl7v2;

use std::sync::Arc;

use http::StatusCode;
use rusqlite::{Connection, params};

use super::json::Object;
use super::reply::Refusal;
use super::settings::Schema;

/// A store of a kind that stands beside the FHIR stores.
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

/// Says that a store of that name is not there.
pub(super) fn missing<S: Collected>(name: &str) -> Refusal {
    Refusal::google(
        StatusCode::NOT_FOUND,
        format!("{} not found: {name}", S::WORD),
    )
}
