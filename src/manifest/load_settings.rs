//! The settings of a load, resolved: which files, what is done with their records, and how.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Characters, Segments};
use crate::{record::Operation, unit::ByteSize};

/// A load: a named set of files bound for one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadSettings {
    /// Its name.
    pub name: String,
    /// The name of its target.
    pub target: String,
    /// The format of its records: it follows from the target.
    #[serde(default, skip_serializing_if = "Format::is_fhir")]
    pub format: Format,
    /// The reading and sending of messages, where its records are messages.
    #[serde(default, skip_serializing_if = "MessageSettings::is_default")]
    pub messages: MessageSettings,
    /// Loads that must be over before this one begins.
    pub after: Vec<String>,
    /// Globs, in order; one that begins with `!` takes away. `-` is standard input.
    pub files: Vec<FilePattern>,
    /// The operation for its records; none leaves Bundle entries their own request, and creates the rest.
    pub interaction: Option<Operation>,
    /// The identifiers by which records are identified.
    pub identity: Identity,
    /// Before an update, read what the store holds and leave equal content alone.
    pub compare: bool,
    /// The treatment of a record whose name the store says is taken already.
    #[serde(default, skip_serializing_if = "ExistingSettings::is_default")]
    pub existing: ExistingSettings,
    /// The Bundles in which its records travel.
    #[serde(rename = "bundle")]
    pub packaging: PackagingSettings,
    /// The treatment of a transaction that is too large for the target.
    pub transactions: Transactions,
    /// The treatment of records of the same identity with differing content.
    pub duplicates: Duplicates,
    /// The treatment of the version in a reference to a record of the run.
    pub versioned: Versioned,
    /// The way in which the fate of a create is found out whose answer was lost; none leaves it to what `identity`
    /// allows.
    pub settle: Option<Settle>,
    /// Runs (directories) or `ids.ndjson` files whose assigned ids references are rewritten to.
    pub known: Vec<PathBuf>,
}

/// Settings for reading and sending messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageSettings {
    /// The ends of segments in sent messages.
    #[serde(default)]
    pub segments: Segments,
    /// The character set in which messages are sent.
    #[serde(default)]
    pub charset: Characters,
    /// The messages that keep their order.
    #[serde(default)]
    pub order: MessageOrder,
    /// Labels that a store gives the messages.
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

/// The Bundles in which the records of a load travel; a setting that is left out is chosen by the target's facts.
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

/// The treatment of a record whose name the store says is taken already: by the same record, or by another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExistingSettings {
    /// The choice among leaving it, comparing it and replacing it.
    pub what: Existing,
    /// True if all bytes are compared, and not only what describes the record.
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

/// The treatment of a record whose name is taken already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// The store's record is left as it is, and nobody looks whether it is the same.
    #[default]
    Skip,
    /// The store's record is read and compared; another one is a rejection.
    Verify,
    /// The store's record is removed, and the load's is stored in its place.
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

/// The identifier systems that identify records, per type (design §9).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Resource type → identifier systems, the first that a record has counts.
    pub systems: BTreeMap<String, Vec<String>>,
    /// The treatment of a record without such an identifier.
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
