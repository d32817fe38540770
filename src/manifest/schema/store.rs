//! Which store a target is, as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::{NonEmpty, OrVariable, WebUrl};

map! {
    /// A FHIR store of the Google Cloud Healthcare API, by its resource name.
    Google {
        /// Project id.
        project: NonEmpty,
        /// Location, such as `us-central1`.
        location: NonEmpty,
        /// Dataset id.
        dataset: NonEmpty,
        /// FHIR store id.
        fhir_store: NonEmpty,
        /// Another address of the API than `https://healthcare.googleapis.com/`.
        endpoint: Option<WebUrl>,
    }
}

map! {
    /// Any FHIR R4 server.
    Fhir {
        /// The service base URL.
        url: WebUrl,
    }
}

map! {
    /// The embedded local store.
    LocalStore {
        /// Its directory, relative to the manifest.
        dir: NonEmpty,
        /// Settings used when the store is created.
        store: Option<FhirStore>,
    }
}

map! {
    /// Settings of a FHIR store, by the Healthcare API's own names (`projects.locations.datasets.fhirStores`).
    #[expect(non_snake_case, reason = "the Healthcare API's own names")]
    FhirStore {
        /// The FHIR version.
        version: Option<OrVariable<FhirVersion>>,
        /// A PUT may create, with the id of the file.
        enableUpdateCreate: Option<OrVariable<bool>>,
        /// References are not checked.
        disableReferentialIntegrity: Option<OrVariable<bool>>,
        /// No history is kept.
        disableResourceVersioning: Option<OrVariable<bool>>,
        /// An unknown search parameter is an error.
        defaultSearchHandlingStrict: Option<OrVariable<bool>>,
        /// Whether references inside complex types, such as extensions, count as references.
        complexDataTypeReferenceParsing: Option<OrVariable<ReferenceParsing>>,
        /// What is validated.
        validationConfig: Option<BTreeMap<String, Value>>,
        /// How consent is enforced.
        consentConfig: Option<BTreeMap<String, Value>>,
        /// Where changes are announced (Pub/Sub).
        notificationConfigs: Option<Vec<BTreeMap<String, Value>>>,
        /// Where changes are announced; superseded by `notificationConfigs`.
        notificationConfig: Option<BTreeMap<String, Value>>,
        /// Where resources are streamed to.
        streamConfigs: Option<Vec<BTreeMap<String, Value>>>,
        /// Where `$export` writes.
        bulkExportGcsDestination: Option<BTreeMap<String, Value>>,
        /// Labels of the store.
        labels: Option<BTreeMap<String, NonEmpty>>,
        /// History bundles may be imported.
        enableHistoryImport: Option<OrVariable<bool>>,
        /// History may be modified (v1beta1).
        enableHistoryModifications: Option<OrVariable<bool>>,
    }
}

/// A version of FHIR.
#[derive(JsonSchema)]
pub enum FhirVersion {
    /// FHIR DSTU2.
    DSTU2,
    /// FHIR STU3.
    STU3,
    /// FHIR R4.
    R4,
    /// FHIR R5.
    R5,
}

/// Whether references inside complex types count.
#[derive(JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
pub enum ReferenceParsing {
    /// They do not.
    Disabled,
    /// They do.
    Enabled,
}

/// The embedded local store.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Local {
    /// Its directory, relative to the manifest.
    Dir(NonEmpty),
    /// Its directory and settings.
    Store(Box<LocalStore>),
}

/// Whether the store is created when it is missing.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Ensure {
    /// With default settings, for FHIR R4.
    Defaults(OrVariable<bool>),
    /// With these settings.
    Settings(Box<FhirStore>),
}
