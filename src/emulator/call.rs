//! A request to a FHIR store, as its handlers get it.

use std::sync::Arc;

use axum::body::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::access;
use super::fault::Entries;
use super::reply::Refusal;
use super::route::fhir::FhirPath;
use super::stores::fhir::Store;

/// A request to a FHIR store.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) store: Arc<Store>,
    /// The absolute URL of the store's FHIR base, without a slash at the end.
    pub(super) base: String,
    pub(super) path: FhirPath,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The entries of a batch that a fault scenario lets fail.
    pub(super) entries: Option<Entries>,
}

impl Call {
    /// Returns a header, where it is text.
    pub(super) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Refuses bodies that do not say that they are JSON.
    pub(super) fn check_media_type(&self) -> Result<(), Refusal> {
        if self.body.is_empty() || access::is_json(&self.headers) {
            return Ok(());
        }
        Err(Refusal::unsupported(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a body must be sent as Content-Type: application/fhir+json",
        ))
    }
}
