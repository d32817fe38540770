//! A FHIR store, as the local store keeps it.

use std::sync::Arc;

use http::StatusCode;

use super::super::json::Object;
use super::super::reply::Refusal;
use super::super::settings::Settings;

/// A FHIR store.
#[derive(Debug)]
pub(in crate::emulator) struct Store {
    /// Names its rows; never used again.
    pub(in crate::emulator) key: i64,
    /// `projects/…/fhirStores/…`
    pub(in crate::emulator) name: String,
    pub(in crate::emulator) fields: Object,
    pub(in crate::emulator) settings: Settings,
}

impl Store {
    pub(in crate::emulator) fn new(key: i64, name: String, fields: Object) -> Arc<Self> {
        let settings = Settings::of(&fields);
        Arc::new(Self {
            key,
            name,
            fields,
            settings,
        })
    }

    /// Says that the store does not exist.
    pub(in crate::emulator) fn not_found(&self) -> Refusal {
        not_found(&self.name)
    }

    /// Refuses what is about versions, where none are kept.
    pub(in crate::emulator) fn refuse_without_versions(&self) -> Result<(), Refusal> {
        if self.settings.disable_resource_versioning {
            let text = "the store keeps no versions (disableResourceVersioning)";
            return Err(Refusal::unsupported(StatusCode::BAD_REQUEST, text));
        }
        Ok(())
    }
}

/// Says that a FHIR store of that name does not exist.
pub(in crate::emulator) fn not_found(name: &str) -> Refusal {
    Refusal::google(
        StatusCode::NOT_FOUND,
        format!("FHIR store not found: {name}"),
    )
}
