//! The endpoint of a target: the address that its requests begin with.

use url::Url;

use super::google;
use crate::manifest::{Format, Store, TargetSettings};

/// An endpoint: the service base URL, and the store behind it where it is Google-shaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The service base, with a trailing slash.
    pub base: Url,
    /// The format of the records that the store takes.
    pub format: Format,
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
        let format = settings.store.format();
        match (&settings.store, local) {
            (Store::Fhir { url } | Store::Dicomweb { url }, _) => Ok(Self {
                base: with_slash(url),
                google: None,
                format,
            }),
            (Store::Mllp { address, .. }, _) => Ok(Self {
                base: format!("mllp://{address}/").parse()?,
                google: None,
                format,
            }),
            (Store::Google(store), _) => {
                let name = google::StoreName::of(store);
                Ok(Self {
                    base: name.base()?,
                    google: Some(name),
                    format,
                })
            }
            (Store::Local { id, .. }, Some(server)) => {
                let name = google::StoreName::local(server, format, id.as_deref());
                Ok(Self {
                    base: name.base()?,
                    google: Some(name),
                    format,
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
