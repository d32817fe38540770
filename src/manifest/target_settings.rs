//! The settings of a target, resolved: where its store is, how it is reached, and how fast it may be loaded.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use super::Format;
use crate::unit::Rate;

/// A target: a store to load, and how to talk to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetSettings {
    /// The target's name in the manifest.
    pub name: String,
    /// The kind of store, with its keys.
    pub store: Store,
    /// The way to prove who we are.
    pub auth: Auth,
    /// TLS settings.
    pub tls: Tls,
    /// A proxy for this target; without it the environment's proxies hold.
    pub proxy: Option<Url>,
    /// Headers added to every request, as they are written: variables are filled in by
    /// [`completed_headers`](Self::completed_headers), so that no plan holds what they hold.
    pub headers: BTreeMap<String, String>,
    /// The project that pays for the quota (`x-goog-user-project`).
    pub quota_project: Option<String>,
    /// The highest rate of operations; a Bundle costs its entries.
    pub rate: Option<Rate>,
    /// The highest rate of bytes of request bodies.
    pub bytes_rate: Option<Rate>,
    /// Requests in flight.
    pub concurrency: Concurrency,
    /// The longest that one attempt may take.
    pub timeout: Duration,
    /// The repetition of attempts.
    pub retry: Retry,
    /// The time after which a target that is down ends the run.
    pub give_up_after: Duration,
}

/// The bounds of the number of requests in flight, within which the store's best number is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// The lower bound, however little the store takes; at least one.
    pub min: u32,
    /// The upper bound. The same as `min` for a number that is fixed.
    pub max: u32,
}

impl Default for Concurrency {
    /// A store that takes one at a time is a store too. At the top, 256 requests of 100 ms are 2,560 a second, and as
    /// many connections are within what a process may open on any system; a store that takes more is worth a setting.
    fn default() -> Self {
        Self { min: 1, max: 256 }
    }
}

impl Concurrency {
    /// This many, always.
    pub fn fixed(number: u32) -> Self {
        Self {
            min: number,
            max: number,
        }
    }
}

/// The repetition of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts for one record, the first included.
    pub attempts: u32,
    /// The upper bound of the first wait; it doubles from there.
    pub base: Duration,
    /// No wait is longer, unless the server asks for it with `Retry-After`.
    pub max: Duration,
}

/// The kind of store of a target, with its keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// A store of the Google Cloud Healthcare API.
    #[serde(rename = "google_fhir")]
    Google(GoogleStore),
    /// Any FHIR R4 server.
    Fhir {
        /// The service base URL.
        url: Url,
    },
    /// Any DICOMweb server.
    Dicomweb {
        /// The service base URL: the part in front of `/studies`.
        url: Url,
    },
    /// Any receiver of HL7v2 messages over MLLP.
    Mllp {
        /// Host and port.
        address: String,
        /// Connections are encrypted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        tls: bool,
    },
    /// The embedded local store.
    Local {
        /// Its directory.
        dir: PathBuf,
        /// Settings of the store used when it is created: `FhirStore`'s, `DicomStore`'s or `Hl7V2Store`'s own fields.
        store: BTreeMap<String, serde_json::Value>,
        /// The format of the store, which chooses it among those of its dataset.
        #[serde(default, skip_serializing_if = "Format::is_fhir")]
        format: Format,
        /// The store's id, where it is not the usual one of its kind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
}

impl Store {
    /// Returns the format of the records that it takes.
    pub fn format(&self) -> Format {
        match self {
            Self::Google(store) => store.format,
            Self::Local { format, .. } => *format,
            Self::Fhir { .. } => Format::Fhir,
            Self::Dicomweb { .. } => Format::Dicom,
            Self::Mllp { .. } => Format::Hl7v2,
        }
    }

    /// Tells whether it is the embedded one.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local { .. })
    }

    /// Tells whether it is a store of the Healthcare API, or built like one, as the embedded one is.
    pub fn is_googles(&self) -> bool {
        matches!(self, Self::Google(_) | Self::Local { .. })
    }

    /// Returns the fields with which it is wanted; none where it is taken as it is.
    pub fn wanted(&self) -> Option<&BTreeMap<String, serde_json::Value>> {
        match self {
            Self::Google(store) => store.ensure.as_ref(),
            Self::Local { store, .. } => Some(store).filter(|fields| !fields.is_empty()),
            Self::Fhir { .. } | Self::Dicomweb { .. } | Self::Mllp { .. } => None,
        }
    }

    /// Returns where it is, for people; never a query.
    pub fn describe(&self) -> String {
        match self {
            Self::Local { dir, format, .. } => match format {
                Format::Fhir => format!("local store {}", dir.display()),
                other => format!("local {} store {}", other.as_str(), dir.display()),
            },
            Self::Fhir { url } | Self::Dicomweb { url } => {
                let mut url = url.clone();
                url.set_query(None);
                format!("{} server {url}", self.format().as_str())
            }
            Self::Mllp { address, .. } => format!("receiver of messages {address}"),
            Self::Google(s) => format!(
                "projects/{}/locations/{}/datasets/{}/{}/{}",
                s.project,
                s.location,
                s.dataset,
                s.format.collection(),
                s.store
            ),
        }
    }

    /// Returns what names the store among all stores, from one run to the next.
    pub fn place(&self) -> String {
        match self {
            Self::Google(store) => format!(
                "{}projects/{}/locations/{}/datasets/{}/{}/{}",
                store.endpoint,
                store.project,
                store.location,
                store.dataset,
                store.format.collection(),
                store.store
            ),
            Self::Fhir { url } | Self::Dicomweb { url } => url.to_string(),
            Self::Mllp { address, .. } => format!("mllp:{address}"),
            Self::Local {
                dir, format, id, ..
            } => {
                let dir = fs_err::canonicalize(dir)
                    .or_else(|_| std::path::absolute(dir))
                    .unwrap_or_else(|_| dir.clone());
                match (format, id) {
                    // As it was before a directory held other stores.
                    (Format::Fhir, None) => format!("local:{}", dir.display()),
                    (format, id) => {
                        let id = id.as_deref().unwrap_or(format.usual_id());
                        format!("local:{}#{}/{id}", dir.display(), format.collection())
                    }
                }
            }
        }
    }
}

/// A store of the Google Cloud Healthcare API, by its resource name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoogleStore {
    /// The API, `https://healthcare.googleapis.com/` unless pointed elsewhere.
    pub endpoint: Url,
    /// Project id.
    pub project: String,
    /// Location, such as `us-central1`.
    pub location: String,
    /// Dataset id.
    pub dataset: String,
    /// Store id.
    #[serde(rename = "fhir_store")]
    pub store: String,
    /// The format of the store.
    #[serde(default, skip_serializing_if = "Format::is_fhir")]
    pub format: Format,
    /// When present, the dataset and the store are created if missing, with these fields of the store's own.
    pub ensure: Option<BTreeMap<String, serde_json::Value>>,
}

/// The way to prove who we are. Holds the places of secrets, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Nothing is sent.
    None,
    /// Google credentials: the file, or Application Default Credentials where there is none.
    Google {
        /// A credential file of any kind Google hands out.
        credentials: Option<PathBuf>,
    },
    /// `Authorization: Bearer`.
    Bearer(SecretPlace),
    /// `Authorization: Basic`.
    Basic {
        /// The user name.
        user: String,
        /// The place of the password.
        password: SecretPlace,
    },
}

/// The place of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretPlace {
    /// An environment variable.
    Env(String),
    /// A file; trailing line breaks are dropped. Read anew when a token is refused.
    File(PathBuf),
}

/// TLS settings. Certificates are always verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// A PEM file of certificate authorities trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// A PEM file with the client's certificate chain.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the client's private key.
    pub key: Option<PathBuf>,
}
