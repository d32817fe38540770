//! Where a target is: the address that its requests begin with.

use url::Url;

use super::google;
use crate::manifest::{Store, TargetSettings};

/// A FHIR endpoint: the service base URL, and the store behind it where it is Google-shaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The FHIR service base, with a trailing slash.
    pub base: Url,
    /// The Google resource name of the store, for admin calls.
    pub google: Option<google::StoreName>,
}

impl Endpoint {
    /// Returns the endpoint of a target. A local target needs the address of its server.
    ///
    /// # Errors
    ///
    /// When a name cannot be part of a URL.
    pub fn of(settings: &TargetSettings, local: Option<&Url>) -> Result<Self, url::ParseError> {
        match (&settings.store, local) {
            (Store::Fhir { url }, _) => Ok(Self {
                base: with_slash(url),
                google: None,
            }),
            (Store::GoogleFhir(store), _) => {
                let name = google::StoreName::of(store);
                Ok(Self {
                    base: name.fhir_base()?,
                    google: Some(name),
                })
            }
            (Store::Local { .. }, Some(server)) => {
                let name = google::StoreName::local(server);
                Ok(Self {
                    base: name.fhir_base()?,
                    google: Some(name),
                })
            }
            (Store::Local { .. }, None) => Err(url::ParseError::EmptyHost),
        }
    }
}

fn with_slash(url: &Url) -> Url {
    let mut url = url.clone();
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    url
}
