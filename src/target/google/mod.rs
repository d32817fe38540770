//! The Cloud Healthcare API around its protocols: resource names, and the admin calls that create datasets and stores.
//!
//! Paths and fields: healthcare.v1 discovery document.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::Value;
use url::Url;

pub use differs::{SettingDifference, differences};

use super::{LOCAL_DATASET, LOCAL_LOCATION, LOCAL_PROJECT};
use crate::manifest::{Format, GoogleStore};

mod differs;

/// The resource name of a store, and the API that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreName {
    endpoint: Url,
    project: String,
    location: String,
    dataset: String,
    store: String,
    format: Format,
}

impl StoreName {
    /// Returns the name of a manifest's store.
    pub fn of(store: &GoogleStore) -> Self {
        Self {
            endpoint: store.endpoint.clone(),
            project: store.project.clone(),
            location: store.location.clone(),
            dataset: store.dataset.clone(),
            store: store.store.clone(),
            format: store.format,
        }
    }

    /// Returns the name of the store of a format that a local server keeps, under its usual id unless another is given.
    pub fn local(server: &Url, format: Format, id: Option<&str>) -> Self {
        Self {
            endpoint: server.clone(),
            project: LOCAL_PROJECT.to_owned(),
            location: LOCAL_LOCATION.to_owned(),
            dataset: LOCAL_DATASET.to_owned(),
            store: id.unwrap_or(format.usual_id()).to_owned(),
            format,
        }
    }

    /// Returns the service base of its protocol, with a trailing slash.
    ///
    /// # Errors
    ///
    /// When the endpoint cannot be a base.
    pub fn base(&self) -> Result<Url, url::ParseError> {
        let own = self.path();
        let path: &[&str] = match self.format {
            Format::Fhir => &["fhir", ""],
            Format::Dicom => &["dicomWeb", ""],
            Format::Hl7v2 => &[""],
        };
        self.url(&[&own, path].concat(), None)
    }

    fn path(&self) -> [&str; 4] {
        let collection = self.format.collection();
        ["datasets", &self.dataset, collection, &self.store]
    }

    /// Returns the request that reads the store's settings.
    pub fn get_store(&self) -> Result<Request<Bytes>, url::ParseError> {
        Ok(read(&self.url(&self.path(), None)?))
    }

    /// Returns the request that reads the dataset.
    pub fn get_dataset(&self) -> Result<Request<Bytes>, url::ParseError> {
        Ok(read(&self.url(&["datasets", &self.dataset], None)?))
    }

    /// Returns the request that creates the dataset; answered with a long-running operation.
    pub fn create_dataset(&self) -> Result<Request<Bytes>, url::ParseError> {
        let url = self.url(&["datasets"], Some(("datasetId", &self.dataset)))?;
        Ok(write(&url, &Value::Object(serde_json::Map::new())))
    }

    /// Returns the request that creates the store with these fields of its own.
    pub fn create_store(
        &self,
        settings: &BTreeMap<String, Value>,
    ) -> Result<Request<Bytes>, url::ParseError> {
        let path = ["datasets", &self.dataset, self.format.collection()];
        let id = match self.format {
            Format::Fhir => "fhirStoreId",
            Format::Dicom => "dicomStoreId",
            Format::Hl7v2 => "hl7V2StoreId",
        };
        let url = self.url(&path, Some((id, &self.store)))?;
        Ok(write(
            &url,
            &Value::Object(settings.clone().into_iter().collect()),
        ))
    }

    /// Returns the request that counts what the store holds.
    ///
    /// The metrics of a FHIR store say how many resources of each type it has; its search knows no `_summary=count`.
    pub fn get_metrics(&self) -> Result<Request<Bytes>, url::ParseError> {
        let method = match self.format {
            Format::Fhir => "getFHIRStoreMetrics",
            Format::Dicom => "getDICOMStoreMetrics",
            Format::Hl7v2 => "getHL7v2StoreMetrics",
        };
        let store = format!("{}:{method}", self.store);
        let collection = self.format.collection();
        Ok(read(&self.url(
            &["datasets", &self.dataset, collection, &store],
            None,
        )?))
    }

    /// Returns the request that deletes the store, with all that it holds.
    pub fn delete_store(&self) -> Result<Request<Bytes>, url::ParseError> {
        let url = self.url(&self.path(), None)?;
        Ok(request(Method::DELETE, &url, Bytes::new()))
    }

    /// Returns the store's id in its dataset.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// Returns the request that asks how an operation is getting on, by its resource name.
    pub fn get_operation(&self, name: &str) -> Result<Request<Bytes>, url::ParseError> {
        let mut url = self.endpoint.clone();
        url.path_segments_mut()
            .map_err(|()| url::ParseError::RelativeUrlWithCannotBeABaseBase)?
            .pop_if_empty()
            .push("v1")
            .extend(name.split('/'));
        Ok(read(&url))
    }

    /// Returns the store's full resource name, for people.
    pub fn display(&self) -> String {
        format!(
            "projects/{}/locations/{}/datasets/{}/{}/{}",
            self.project,
            self.location,
            self.dataset,
            self.format.collection(),
            self.store
        )
    }

    /// Returns the dataset's id.
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    fn url(&self, path: &[&str], query: Option<(&str, &str)>) -> Result<Url, url::ParseError> {
        let mut url = self.endpoint.clone();
        url.path_segments_mut()
            .map_err(|()| url::ParseError::RelativeUrlWithCannotBeABaseBase)?
            .pop_if_empty()
            .extend(["v1", "projects", &self.project, "locations", &self.location])
            .extend(path);
        if let Some((name, value)) = query {
            url.query_pairs_mut().append_pair(name, value);
        }
        Ok(url)
    }
}

fn read(url: &Url) -> Request<Bytes> {
    request(Method::GET, url, Bytes::new())
}

fn write(url: &Url, body: &Value) -> Request<Bytes> {
    let mut request = request(Method::POST, url, Bytes::from(body.to_string()));
    let json = header::HeaderValue::from_static("application/json; charset=utf-8");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    request
}

fn request(method: Method, url: &Url, body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    // A `Url` that has been parsed is always a valid URI.
    if let Ok(uri) = url.as_str().parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// Returns the role that may write into a store (IAM page).
pub fn editor(format: Format) -> &'static str {
    match format {
        Format::Fhir => "roles/healthcare.fhirResourceEditor",
        Format::Dicom => "roles/healthcare.dicomEditor",
        Format::Hl7v2 => "roles/healthcare.hl7V2Editor",
    }
}

/// Reads how many records of each kind the metrics of a store count; `member` holds the kind. Counts are strings there (int64 in
/// JSON).
pub(super) fn counts(body: &[u8], member: &str) -> Option<HashMap<String, u64>> {
    let metrics: Value = serde_json::from_slice(body).ok()?;
    let metrics = match metrics.as_object()?.get("metrics") {
        None => return Some(HashMap::new()),
        Some(metrics) => metrics.as_array()?,
    };
    let counted = metrics.iter().map(|metric| {
        let count = match metric.get("count") {
            Some(Value::String(text)) => text.parse().ok(),
            // A count of zero is left out in JSON.
            None | Some(Value::Null) => Some(0),
            Some(number) => number.as_u64(),
        };
        Some((metric.get(member)?.as_str()?.to_owned(), count?))
    });
    counted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_count_in_strings() {
        let body = br#"{"name":"s","metrics":[{"resourceType":"Patient","count":"12"},{"resourceType":"Group"}]}"#;
        let found = counts(body, "resourceType").unwrap();
        assert_eq!((found["Patient"], found["Group"], found.len()), (12, 0, 2));
        assert!(counts(b"[]", "resourceType").is_none());
        assert!(counts(body, "messageType").is_none());
        let odd = br#"{"metrics":[{"messageType":"ADT","count":"x"}]}"#;
        assert!(counts(odd, "messageType").is_none());
    }
}
