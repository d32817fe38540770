//! The names under which the embedded local store keeps what it has.

/// The project, location, dataset and store under which the embedded local store keeps its one FHIR store.
pub const LOCAL_PROJECT: &str = "local";
/// See [`LOCAL_PROJECT`].
pub const LOCAL_LOCATION: &str = "local";
/// See [`LOCAL_PROJECT`].
pub const LOCAL_DATASET: &str = "stoker";
/// See [`LOCAL_PROJECT`].
pub const LOCAL_FHIR_STORE: &str = "fhir";
