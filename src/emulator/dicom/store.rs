//! A DICOM store, as the local store keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::collection::Collected;
use super::super::json::Object;
use super::super::registry::Registry;
use super::super::settings::Schema;
use super::settings::STORE;

/// A DICOM store.
#[derive(Debug)]
pub(in crate::emulator) struct Store {
    /// Names its rows; never used again.
    pub(super) key: i64,
    /// `projects/…/dicomStores/…`
    pub(super) name: String,
    fields: Object,
}

impl Collected for Store {
    const COLLECTION: &'static str = "dicomStores";
    const ID: &'static str = "dicomStoreId";
    const WORD: &'static str = "DICOM store";

    fn new(key: i64, name: String, fields: Object) -> Arc<Self> {
        Arc::new(Self { key, name, fields })
    }

    fn key(&self) -> i64 {
        self.key
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> &Object {
        &self.fields
    }

    fn schema() -> &'static Schema {
        &STORE
    }

    fn all(registry: &Registry) -> &BTreeMap<String, Arc<Self>> {
        &registry.dicom
    }

    fn all_mut(registry: &mut Registry) -> &mut BTreeMap<String, Arc<Self>> {
        &mut registry.dicom
    }
}
