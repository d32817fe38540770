//! Which store a target is, as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::{NonEmpty, OrVariable, Tls, WebUrl};

map! {
    /// A store of the Google Cloud Healthcare API, by its resource name: exactly one of `fhir_store`, `dicom_store` and `hl7v2_store`.
    Google {
        /// Project id.
        #[schemars(extend("examples" = ["${PROJECT}"]))]
        project: NonEmpty,
        /// Location, such as `us-central1`.
        #[schemars(extend("examples" = ["us-central1"]))]
        location: NonEmpty,
        /// Dataset id.
        #[schemars(extend("examples" = ["demo"]))]
        dataset: NonEmpty,
        /// FHIR store id.
        #[schemars(extend("examples" = ["r4"]))]
        fhir_store: Option<NonEmpty>,
        /// DICOM store id.
        #[schemars(extend("examples" = ["imaging"]))]
        dicom_store: Option<NonEmpty>,
        /// HL7v2 store id.
        #[schemars(extend("examples" = ["feed"]))]
        hl7v2_store: Option<NonEmpty>,
        /// The address of the API, for a proxy or an emulator.
        #[schemars(extend("examples" = ["https://eu-healthcare.example/"], "default" = "https://healthcare.googleapis.com/"))]
        endpoint: Option<WebUrl>,
    }
}

map! {
    /// Any FHIR R4 server.
    Fhir {
        /// The service base URL: what stands in front of `/Patient/1`.
        #[schemars(extend("examples" = ["https://fhir.example/r4"]))]
        url: WebUrl,
    }
}

map! {
    /// Any DICOMweb server.
    Dicomweb {
        /// The service base URL: what stands in front of `/studies`.
        #[schemars(extend("examples" = ["https://pacs.example/dicom-web"]))]
        url: WebUrl,
    }
}

map! {
    /// Any receiver of HL7v2 messages over MLLP.
    Mllp {
        /// Host and port.
        #[schemars(extend("examples" = ["mllp.example:2575"]))]
        address: NonEmpty,
        /// Encrypt connections: `true`, or the TLS settings. Without it, where the target has TLS settings.
        #[schemars(extend("examples" = [true, {"ca": "certs/ca.pem"}]))]
        tls: Option<MllpTls>,
    }
}

/// Whether connections are encrypted.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum MllpTls {
    /// With the target's TLS settings, or the system's authorities alone; or not at all.
    Whether(OrVariable<bool>),
    /// With these settings.
    Settings(Box<Tls>),
}

map! {
    /// The embedded local store. Its directory is a dataset: it holds a FHIR, a DICOM and an HL7v2 store.
    LocalStore {
        /// Its directory, relative to the manifest.
        #[schemars(extend("examples" = [".stoker/store"]))]
        dir: NonEmpty,
        /// The id of the FHIR store in it; `fhir` unless one is named.
        #[schemars(extend("examples" = ["fhir"]))]
        fhir_store: Option<NonEmpty>,
        /// The id of the DICOM store in it: the target is that store.
        #[schemars(extend("examples" = ["dicom"]))]
        dicom_store: Option<NonEmpty>,
        /// The id of the HL7v2 store in it: the target is that store.
        #[schemars(extend("examples" = ["hl7v2"]))]
        hl7v2_store: Option<NonEmpty>,
        /// Settings used when the store is created, by the Healthcare API's own names for its kind.
        #[schemars(extend("examples" = [{"disableReferentialIntegrity": true}]))]
        store: Option<BTreeMap<String, Value>>,
    }
}

map! {
    /// Settings of a DICOM store, by the Healthcare API's own names (`projects.locations.datasets.dicomStores`).
    #[expect(non_snake_case, reason = "the Healthcare API's own names")]
    DicomStore {
        /// Labels of the store.
        #[schemars(extend("examples" = [{"team": "imaging"}]))]
        labels: Option<BTreeMap<String, NonEmpty>>,
        /// Where changes are announced (Pub/Sub).
        #[schemars(extend("examples" = [{"pubsubTopic": "projects/p/topics/t"}]))]
        notificationConfig: Option<BTreeMap<String, Value>>,
        /// Where metadata is streamed to.
        #[schemars(extend("examples" = [[{"bigqueryDestination": {"tableUri": "bq://p.d.t"}}]]))]
        streamConfigs: Option<Vec<BTreeMap<String, Value>>>,
    }
}

map! {
    /// Settings of an HL7v2 store, by the Healthcare API's own names (`projects.locations.datasets.hl7V2Stores`).
    #[expect(non_snake_case, reason = "the Healthcare API's own names")]
    Hl7V2Store {
        /// How messages are parsed; `version: V3` is what new stores should have.
        #[schemars(extend("examples" = [{"version": "V3"}]))]
        parserConfig: Option<BTreeMap<String, Value>>,
        /// A message whose bytes the store holds already is refused; without it, it is taken and nothing changes.
        #[schemars(extend("examples" = [true]))]
        rejectDuplicateMessage: Option<OrVariable<bool>>,
        /// Labels of the store.
        #[schemars(extend("examples" = [{"team": "feeds"}]))]
        labels: Option<BTreeMap<String, NonEmpty>>,
        /// Where changes are announced (Pub/Sub).
        #[schemars(extend("examples" = [[{"pubsubTopic": "projects/p/topics/t"}]]))]
        notificationConfigs: Option<Vec<BTreeMap<String, Value>>>,
    }
}

map! {
    /// Settings of a FHIR store, by the Healthcare API's own names (`projects.locations.datasets.fhirStores`).
    #[expect(non_snake_case, reason = "the Healthcare API's own names")]
    FhirStore {
        /// The FHIR version.
        #[schemars(extend("examples" = ["R4"]))]
        version: Option<OrVariable<FhirVersion>>,
        /// A PUT may create, with the id of the file.
        #[schemars(extend("examples" = [true]))]
        enableUpdateCreate: Option<OrVariable<bool>>,
        /// References are not checked.
        #[schemars(extend("examples" = [true]))]
        disableReferentialIntegrity: Option<OrVariable<bool>>,
        /// No history is kept.
        #[schemars(extend("examples" = [true]))]
        disableResourceVersioning: Option<OrVariable<bool>>,
        /// An unknown search parameter is an error.
        #[schemars(extend("examples" = [true]))]
        defaultSearchHandlingStrict: Option<OrVariable<bool>>,
        /// Whether references inside complex types, such as extensions, count as references.
        #[schemars(extend("examples" = ["ENABLED"]))]
        complexDataTypeReferenceParsing: Option<OrVariable<ReferenceParsing>>,
        /// What is validated.
        #[schemars(extend("examples" = [{"disableProfileValidation": true}]))]
        validationConfig: Option<BTreeMap<String, Value>>,
        /// How consent is enforced.
        #[schemars(extend("examples" = [{"version": "V1"}]))]
        consentConfig: Option<BTreeMap<String, Value>>,
        /// Where changes are announced (Pub/Sub).
        #[schemars(extend("examples" = [[{"pubsubTopic": "projects/p/topics/t"}]]))]
        notificationConfigs: Option<Vec<BTreeMap<String, Value>>>,
        /// Where changes are announced; superseded by `notificationConfigs`.
        #[schemars(extend("examples" = [{"pubsubTopic": "projects/p/topics/t"}]))]
        notificationConfig: Option<BTreeMap<String, Value>>,
        /// Where resources are streamed to.
        #[schemars(extend("examples" = [[{"resourceTypes": ["Patient"]}]]))]
        streamConfigs: Option<Vec<BTreeMap<String, Value>>>,
        /// Where `$export` writes.
        #[schemars(extend("examples" = [{"uriPrefix": "gs://bucket/folder"}]))]
        bulkExportGcsDestination: Option<BTreeMap<String, Value>>,
        /// Labels of the store.
        #[schemars(extend("examples" = [{"team": "data"}]))]
        labels: Option<BTreeMap<String, NonEmpty>>,
        /// History bundles may be imported.
        #[schemars(extend("examples" = [true]))]
        enableHistoryImport: Option<OrVariable<bool>>,
        /// History may be modified (v1beta1).
        #[schemars(extend("examples" = [true]))]
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
