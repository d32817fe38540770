//! The manifest: what a user wrote, read, checked and resolved into settings.
//!
//! `document` turns YAML into a tree with places, once `depth` has found it to nest no deeper than it can be read, `read` puts the trees of a manifest and its includes
//! together, `resolve`, `target` and `load` turn them into the types below with all variables and defaults
//! filled in, and `check` holds the rules across loads. `schema` describes every key as it is written. All
//! problems are collected by `reader` and reported at once, each with its place. Nothing here looks at a target or opens a resource file; globs are
//! expanded by `source`.

mod auth;
mod check;
mod depth;
mod document;
mod flaw;
mod load;
mod name;
mod parts;
mod read;
mod reader;
mod resolve;
pub mod schema;
mod store;
mod substitute;
mod syntax;
mod target;
mod values;
pub mod write;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

pub use crate::hl7v2::wire::{Characters, Segments};

use crate::{
    record::Operation,
    unit::{ByteSize, Rate},
};

pub use self::{
    read::{ReadResult, read, read_text},
    schema::{reference, schema},
    target::HeaderError,
};
pub use self::{reader::nearest, resolve::DEFAULT_MEMORY, store::GOOGLE_ENDPOINT};

/// A manifest with everything resolved: variables substituted, includes merged, defaults filled in.
///
/// Relative paths have been joined to the folder of the manifest that wrote them. No secret stands in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The name; runs are named after it.
    pub name: String,
    /// The file it was read from.
    pub path: PathBuf,
    /// The targets, in the order of the files, those of included manifests first.
    pub targets: Vec<TargetSettings>,
    /// The loads, in the order of the files, those of included manifests first.
    pub loads: Vec<LoadSettings>,
    /// Settings of the run as a whole.
    pub run: RunSettings,
}

/// Settings of the run as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSettings {
    /// The number of failed records at which the run stops.
    pub max_errors: Option<MaxErrors>,
    /// Where runs and history are kept; none in plans of before it stood beside the manifest.
    pub state: Option<PathBuf>,
    /// How far the journal goes before a write counts as done.
    pub journal: Sync,
    /// What bodies in flight or waiting may take; as much again, what is known of records and references.
    pub memory: ByteSize,
}

impl RunSettings {
    /// Returns where the runs of a manifest are kept that does not say so: beside it.
    pub fn beside(manifest: &std::path::Path) -> PathBuf {
        manifest.with_file_name(".stoker")
    }
}

/// The failures after which a run stops.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxErrors {
    /// So many records.
    Count(u64),
    /// So many in a hundred of the plan's records.
    Percent(f64),
}

/// How far a journal line goes before it counts as durable (design §3).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// Handed to the kernel: survives `kill -9`.
    None,
    /// Also brought to the disk by group commit, moments later: a power cut costs the last group at most.
    #[default]
    Group,
    /// On the disk before anything goes on.
    Always,
}

/// A target: a store to load, and how to talk to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetSettings {
    /// Its name in the manifest.
    pub name: String,
    /// Which store it is.
    pub store: Store,
    /// How to prove who we are.
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
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How attempts are repeated.
    pub retry: Retry,
    /// The time after which a target that is down ends the run.
    pub give_up_after: Duration,
}

/// How many requests may be in flight: as many as the store takes best, between two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// So many at the least, however little the store takes; at least one.
    pub min: u32,
    /// So many at the most. The same as `min` for a number that is fixed.
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

/// How attempts are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts for one record, the first included.
    pub attempts: u32,
    /// The upper bound of the first wait; it doubles from there.
    pub base: Duration,
    /// No wait is longer, unless the server asks for it with `Retry-After`.
    pub max: Duration,
}

/// Which store a target is.
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
        /// The service base URL: what stands in front of `/studies`.
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
        /// Which of the stores of its dataset.
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
    /// Which kind of store it is.
    #[serde(default, skip_serializing_if = "Format::is_fhir")]
    pub format: Format,
    /// When present, the dataset and the store are created if missing, with these fields of the store's own.
    pub ensure: Option<BTreeMap<String, serde_json::Value>>,
}

/// How to prove who we are. Holds the places of secrets, never a secret.
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
        /// Where the password is.
        password: SecretPlace,
    },
}

/// Where a secret is kept.
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

/// A load: a named set of files bound for one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadSettings {
    /// Its name.
    pub name: String,
    /// The name of its target.
    pub target: String,
    /// In which format its records are: it follows from the target.
    #[serde(default, skip_serializing_if = "Format::is_fhir")]
    pub format: Format,
    /// How messages are read and sent, where its records are messages.
    #[serde(default, skip_serializing_if = "MessageSettings::is_default")]
    pub messages: MessageSettings,
    /// Loads that must be over before this one begins.
    pub after: Vec<String>,
    /// Globs, in order; one that begins with `!` takes away. `-` is standard input.
    pub files: Vec<FilePattern>,
    /// What is done with its records; none leaves Bundle entries their own request, and creates the rest.
    pub interaction: Option<Operation>,
    /// Which identifiers identify.
    pub identity: Identity,
    /// Before an update, read what the store holds and leave equal content alone.
    pub compare: bool,
    /// What becomes of a record whose name the store says is taken already.
    #[serde(default, skip_serializing_if = "ExistingSettings::is_default")]
    pub existing: ExistingSettings,
    /// In which Bundles its records travel.
    #[serde(rename = "bundle")]
    pub packaging: PackagingSettings,
    /// What becomes of a transaction that is too large for the target.
    pub transactions: Transactions,
    /// What becomes of records of the same identity with differing content.
    pub duplicates: Duplicates,
    /// What becomes of the version in a reference to a record of the run.
    pub versioned: Versioned,
    /// How the fate of a create is found out whose answer was lost; none leaves it to what `identity` allows.
    pub settle: Option<Settle>,
    /// Runs (directories) or `ids.ndjson` files whose assigned ids references are rewritten to.
    pub known: Vec<PathBuf>,
}

/// How messages are read and sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageSettings {
    /// How segments end in what is sent.
    #[serde(default)]
    pub segments: Segments,
    /// In which characters they are sent.
    #[serde(default)]
    pub charset: Characters,
    /// Which messages keep their order.
    #[serde(default)]
    pub order: MessageOrder,
    /// Labels that a store gives them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Which messages keep their order.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum MessageOrder {
    /// Those of one sender that name one patient.
    #[default]
    Patient,
    /// None.
    None,
    /// All of the load.
    Strict,
}

/// A format of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Resources and Bundles in JSON.
    #[default]
    Fhir,
    /// Messages.
    Hl7v2,
    /// Instances.
    Dicom,
}

impl MessageSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Format {
    /// Returns the segment under which the Healthcare API keeps stores of it (discovery document).
    pub fn collection(self) -> &'static str {
        match self {
            Self::Fhir => "fhirStores",
            Self::Dicom => "dicomStores",
            Self::Hl7v2 => "hl7V2Stores",
        }
    }

    /// Returns the id of the store of it that a local directory has unless it says otherwise.
    pub fn usual_id(self) -> &'static str {
        match self {
            Self::Fhir => "fhir",
            Self::Dicom => "dicom",
            Self::Hl7v2 => "hl7v2",
        }
    }

    /// Returns the word for a request with several records.
    pub fn parcel(self) -> &'static str {
        match self {
            Self::Fhir => "Bundle",
            Self::Dicom | Self::Hl7v2 => "request",
        }
    }

    /// Returns the word for stores of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fhir => "FHIR",
            Self::Dicom => "DICOM",
            Self::Hl7v2 => "HL7v2",
        }
    }

    /// Tells whether it is the one that most loads have.
    pub fn is_fhir(&self) -> bool {
        *self == Self::Fhir
    }

    /// Tells whether its records refer to others, by names that the store may have to be told anew.
    pub fn has_references(self) -> bool {
        match self {
            Self::Fhir => true,
            Self::Hl7v2 | Self::Dicom => false,
        }
    }
}

impl LoadSettings {
    /// Returns the settings of a load of which nothing is said but its name and its target.
    pub fn plain(name: &str, target: &str, format: Format) -> Self {
        Self {
            name: name.to_owned(),
            target: target.to_owned(),
            format,
            messages: MessageSettings::default(),
            after: Vec::new(),
            files: Vec::new(),
            interaction: None,
            identity: Identity::default(),
            compare: false,
            existing: ExistingSettings::default(),
            packaging: PackagingSettings::default(),
            transactions: Transactions::default(),
            duplicates: Duplicates::default(),
            versioned: Versioned::default(),
            settle: None,
            known: Vec::new(),
        }
    }

    /// Returns how the fate of a create is found out: by identifier where the load names any, unless it says otherwise.
    pub fn settles_by(&self) -> Settle {
        self.settle.unwrap_or(if self.identity.systems.is_empty() {
            Settle::None
        } else {
            Settle::Identifier
        })
    }
}

/// In which Bundles the records of a load travel; what is not set is chosen by the target's facts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackagingSettings {
    /// Their type.
    pub kind: Option<PackagingChoice>,
    /// Entries of one at the most.
    pub max_entries: Option<std::num::NonZeroU32>,
    /// Bytes of one at the most.
    pub max_bytes: Option<ByteSize>,
}

/// The type of the Bundles that Stoker fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PackagingChoice {
    /// Each entry for itself.
    Batch,
    /// All or nothing.
    Transaction,
    /// Records travel by themselves.
    None,
}

/// What becomes of a transaction of a source that is over the target's limits.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Transactions {
    /// It is split into parts; it is no longer all or nothing.
    #[default]
    Split,
    /// It is sent whole, and the target decides.
    Keep,
    /// It is not sent (`unsupported`).
    Refuse,
}

/// What becomes of records of the same identity. An identical copy is a `duplicate` unless they are ignored.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// The first is sent; the plan warns.
    #[default]
    First,
    /// The last is sent.
    Last,
    /// Nothing at all is sent before the conflict is mended.
    Error,
    /// Each is sent, as if the others were not there.
    Ignore,
}

/// What becomes of a record whose name the store says is taken already: by it, or by another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExistingSettings {
    /// What is done.
    pub what: Existing,
    /// Whether all bytes are compared, and not only what describes the record.
    #[serde(default)]
    pub bytes: bool,
}

impl ExistingSettings {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks with a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What is done with a record whose name is taken already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// It is left as it is, and nobody looks whether it is the same.
    #[default]
    Skip,
    /// It is read and compared; another one is a rejection.
    Verify,
    /// It is removed, and the record is stored in its place.
    Replace,
}

/// What becomes of the version in a reference (`Patient/1/_history/2`) to a record of the run.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Versioned {
    /// It is taken off: the versions in a file are never those that the store assigns.
    #[default]
    Strip,
    /// It stays.
    Keep,
}

/// How the fate of a create, or of a message to a receiver, is found out whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Settle {
    /// Every created resource gets a `meta.tag` that names run and record, and the store is asked for it.
    Tag,
    /// The store is asked for the identifier that `identity` names.
    Identifier,
    /// It is sent again: for messages to a receiver that knows those that it has already, by MSH-10.
    Resend,
    /// Nobody is asked: it is `unknown`.
    None,
}

impl Settle {
    /// Returns the word used in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Identifier => "identifier",
            Self::Resend => "resend",
            Self::None => "none",
        }
    }
}

/// One glob of a load, with the place where it was written (for messages).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePattern {
    /// The pattern as written, without a leading `!`; `-` for standard input.
    pub pattern: String,
    /// Takes files away instead of adding them.
    pub exclude: bool,
    /// The folder to which a relative pattern is relative.
    pub folder: PathBuf,
    /// The manifest that wrote it, line and column from 1.
    pub place: (PathBuf, usize, usize),
}

/// Which identifier systems identify records, per type (design §9).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Resource type → identifier systems, the first that a record has counts.
    pub systems: BTreeMap<String, Vec<String>>,
    /// What becomes of a record without such an identifier.
    pub missing: Missing,
}

/// What becomes of a record that a condition cannot be built for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// It is created without a condition.
    Create,
    /// It is not sent (`unsupported`).
    #[default]
    Refuse,
}
