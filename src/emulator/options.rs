//! How a local store is to be opened.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::fault::Scenario;

/// Options for opening a local store.
#[derive(Clone)]
pub struct Options {
    /// The directory; made when missing, for its user only.
    pub dir: PathBuf,
    /// The address to listen at; must be loopback. Port 0 takes any free port.
    pub bind: SocketAddr,
    /// When set, every request must carry `Authorization: Bearer <token>`.
    pub token: Option<String>,
    /// The faults that the store commits on purpose.
    pub faults: Option<Scenario>,
    /// Origins whose pages a browser may let ask, as they stand in `Origin`: none but its own, unless named here.
    pub origins: Vec<String>,
    /// A FHIR store that shall be there from the start.
    pub provide: Option<Provided>,
}

impl Options {
    /// Options without anything special, on a free port of loopback.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            bind: ([127, 0, 0, 1], 0).into(),
            token: None,
            faults: None,
            origins: Vec::new(),
            provide: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Options")
            .field("dir", &self.dir)
            .field("bind", &self.bind)
            .finish_non_exhaustive()
    }
}

/// A FHIR store that is made when it is missing.
#[derive(Debug, Clone)]
pub struct Provided {
    /// `projects/…/datasets/…`
    pub dataset: String,
    /// Its id in the dataset.
    pub store: String,
    /// FhirStore's own fields.
    pub fields: std::collections::BTreeMap<String, serde_json::Value>,
    /// The id of an HL7v2 store that shall be there as well, in the same dataset.
    pub hl7v2: Option<String>,
    /// The same of a DICOM store.
    pub dicom: Option<String>,
}
