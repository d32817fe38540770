//! A DICOM store, as the local store keeps it.

use std::sync::Arc;

use super::super::json::Object;
use super::super::settings::{Schema, Shape};
use super::Collected;

const NOTIFICATION: Shape = Shape::Object(&[
    ("pubsubTopic", Shape::Text),
    ("sendForBulkImport", Shape::Bool),
]);

/// The fields of `DicomStore`: their shapes (discovery document of the API, v1).
static STORE: Schema = Schema {
    fields: &[
        ("labels", Shape::Labels),
        ("name", Shape::Output),
        ("notificationConfig", NOTIFICATION),
        ("notificationConfigs", Shape::List(&NOTIFICATION)),
        ("streamConfigs", Shape::List(&Shape::Any)),
    ],
    immutable: &["name"],
};

/// A DICOM store.
#[derive(Debug)]
pub(in crate::emulator) struct Store {
    /// Names its rows; never used again.
    pub(in crate::emulator) key: i64,
    /// `projects/…/dicomStores/…`
    pub(in crate::emulator) name: String,
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
}
