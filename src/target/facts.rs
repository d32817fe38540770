//! The facts of a target that a plan needs, and what is documented of its kind before it is asked.

use serde::{Deserialize, Serialize};

use super::google;
use crate::{
    fhir::types::{is_known_type, is_resource_type},
    manifest::{Format, GoogleStore, Store},
};

/// The facts of a target that a plan needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// These are the documented facts of its kind; the target itself was not asked.
    pub assumed: bool,
    /// The target does not exist yet and will be created.
    pub missing: bool,
    /// The version of its protocol, where that has several: of FHIR as in `CapabilityStatement.fhirVersion`, such as `4.0.1`.
    #[serde(rename = "fhir_version")]
    pub version: Option<String>,
    /// Whether `PUT` of an id that is not there creates it.
    pub update_create: Option<bool>,
    /// Whether `If-None-Exist` is honoured.
    pub conditional_create: Option<bool>,
    /// Whether `PUT [type]?criteria` is honoured.
    pub conditional_update: Option<bool>,
    /// Whether it executes transactions.
    pub transaction: Option<bool>,
    /// Whether it executes batches.
    pub batch: Option<bool>,
    /// Whether it refuses references to what is not there.
    pub integrity: Option<bool>,
    /// The resource types it takes, sorted; none where it does not say.
    pub types: Option<Vec<String>>,
    /// The resource types of which it takes an update only with the version that it replaces, sorted.
    #[serde(default)]
    pub versioned_update: Vec<String>,
    /// The character sets that it takes; none where it takes any, or does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charsets: Option<Vec<String>>,
    /// Records travel to it in frames, whose bytes no record may hold.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub framed: bool,
    /// The limits of its requests.
    pub limits: Limits,
    /// The fields in which the target is not what the manifest wants it to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<google::SettingDifference>,
}

/// The limits of a target's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Entries of a transaction.
    pub transaction_entries: Option<u32>,
    /// Entries of a batch.
    pub batch_entries: Option<u32>,
    /// Bytes of a request with several records.
    #[serde(rename = "bundle_bytes")]
    pub request_bytes: Option<u64>,
    /// Bytes of a request with a single record.
    pub resource_bytes: Option<u64>,
}

impl Limits {
    /// Google's published limits: executeBundle 50 MB, other FHIR requests 10 MB, transactions 4,500 entries
    /// (quotas page). A batch has no entry limit there; 4,500 keeps its answers within reach of a timeout.
    pub const GOOGLE: Self = Self {
        transaction_entries: Some(4_500),
        batch_entries: Some(4_500),
        request_bytes: Some(50_000_000),
        resource_bytes: Some(10_000_000),
    };

    /// No limit is known.
    pub const UNKNOWN: Self = Self {
        transaction_entries: None,
        batch_entries: None,
        request_bytes: None,
        resource_bytes: None,
    };
}

impl Facts {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        assumed: true,
        missing: false,
        version: None,
        update_create: None,
        conditional_create: None,
        conditional_update: None,
        transaction: None,
        batch: None,
        integrity: None,
        types: None,
        versioned_update: Vec::new(),
        charsets: None,
        framed: false,
        limits: Limits::UNKNOWN,
        differs: Vec::new(),
    };

    /// Tells whether the target has a resource type: as it lists them; else, of R4, as R4 has them; else, as any version of
    /// FHIR has.
    pub fn takes(&self, kind: &str) -> bool {
        match &self.types {
            Some(types) => types.binary_search_by(|t| t.as_str().cmp(kind)).is_ok(),
            None if self.speaks_r4() => is_resource_type(kind),
            None => is_known_type(kind),
        }
    }

    /// Tells whether the target says that it speaks R4. R4B is another version: it has other types.
    pub fn speaks_r4(&self) -> bool {
        let version = self.version.as_deref();
        version.is_some_and(|version| version == "4.0" || version.starts_with("4.0."))
    }

    /// Says what cannot be known of a target that speaks another version than the one which is known by heart; nothing of one
    /// that speaks it.
    pub fn foreign(&self, target: &str) -> Option<String> {
        let version = self.version.as_deref().filter(|_| !self.speaks_r4())?;
        let types = match self.types {
            Some(_) => "which resource types there are is known from the target",
            None => "which of FHIR's resource types it takes is not known",
        };
        Some(format!(
            "target `{target}` speaks FHIR {version}, and records are read as R4's: it may refuse what R4 has and it has not; {types}; which references a record cannot be without is known of R4 only, so a cycle that is opened may lose one that {version} requires"
        ))
    }

    /// Returns what is documented for the kind of a store, before it is asked.
    pub fn documented(store: &Store) -> Self {
        let google = |settings: Option<&std::collections::BTreeMap<String, serde_json::Value>>| {
            let flag = |name: &str| {
                settings
                    .and_then(|s| s.get(name))
                    .and_then(serde_json::Value::as_bool)
            };
            Self {
                assumed: true,
                missing: false,
                version: Some(version_of(settings)),
                update_create: settings.map(|_| flag("enableUpdateCreate").unwrap_or(false)),
                conditional_create: Some(true),
                conditional_update: Some(true),
                transaction: Some(true),
                batch: Some(true),
                integrity: settings.map(|_| !flag("disableReferentialIntegrity").unwrap_or(false)),
                types: None,
                versioned_update: Vec::new(),
                charsets: None,
                framed: false,
                limits: Limits::GOOGLE,
                differs: Vec::new(),
            }
        };
        match store {
            Store::Google(GoogleStore {
                format: Format::Fhir,
                ensure,
                ..
            }) => google(ensure.as_ref()),
            Store::Local {
                format: Format::Fhir,
                store,
                ..
            } => google(Some(&local_store_settings(store))),
            Store::Google(store) => Self::of_format(store.format, true),
            Store::Local { format, .. } => Self::of_format(*format, true),
            Store::Dicomweb { .. } => Self::of_format(Format::Dicom, false),
            Store::Mllp { .. } => Self {
                framed: true,
                ..Self::of_format(Format::Hl7v2, false)
            },
            Store::Fhir { .. } => Self::UNKNOWN,
        }
    }
}

impl Facts {
    /// Returns the documented facts of stores of a format whose records refer to no others.
    ///
    /// Google takes 10 MB of a message in base64, which are 7.5 MB of bytes (quotas page); an instance has no limit there but
    /// that of a request's time. Several instances may travel in one request (PS3.18 §10.5), several messages not.
    fn of_format(format: Format, is_googles: bool) -> Self {
        let limits = match format {
            Format::Hl7v2 if is_googles => Limits {
                resource_bytes: Some(7_500_000),
                ..Limits::UNKNOWN
            },
            _ => Limits::UNKNOWN,
        };
        Self {
            transaction: Some(false),
            batch: Some(format == Format::Dicom),
            integrity: Some(false),
            // Any other is refused with AE (GoogleCloudPlatform/mllp#21).
            charsets: (format == Format::Hl7v2 && is_googles)
                .then(|| vec!["ASCII".to_owned(), "UTF-8".to_owned()]),
            limits,
            ..Self::UNKNOWN
        }
    }
}

/// Returns the FHIR version that a FhirStore of these settings speaks: its `version` is a word.
fn version_of(settings: Option<&std::collections::BTreeMap<String, serde_json::Value>>) -> String {
    let word = settings.and_then(|settings| settings.get("version"));
    let version = match word.and_then(serde_json::Value::as_str) {
        Some("DSTU2") => "1.0.2",
        Some("STU3") => "3.0.2",
        Some("R5") => "5.0.0",
        _ => "4.0.1",
    };
    version.to_owned()
}

/// Returns the FhirStore settings with which a local store is created.
///
/// Client ids are allowed, unlike Google's default, so that a first load by `update` works with no settings.
pub fn local_store_settings(
    given: &std::collections::BTreeMap<String, serde_json::Value>,
) -> std::collections::BTreeMap<String, serde_json::Value> {
    let mut settings = std::collections::BTreeMap::from([
        ("version".to_owned(), serde_json::json!("R4")),
        ("enableUpdateCreate".to_owned(), serde_json::json!(true)),
    ]);
    settings.extend(given.clone());
    settings
}

/// Tells whether a search that finds nothing proves that nothing is there: whether the index keeps up with the writes.
///
/// Google indexes identifiers at once and everything else within seconds (FHIR best practices; the search page). The local
/// store indexes within its transactions; other servers are taken to do so as well, as those that stand on a database do.
pub fn miss_proves(store: &Store, by_identifier: bool) -> bool {
    match store {
        Store::Google(_) => by_identifier,
        Store::Local { .. } | Store::Fhir { .. } | Store::Dicomweb { .. } | Store::Mllp { .. } => {
            true
        }
    }
}
