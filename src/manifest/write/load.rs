//! A load of the manifest, in its own shape.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_yaml::Value;

use super::value::shown;
use crate::{
    manifest::{
        Characters, Existing, LoadSettings, MessageOrder, Missing, PackagingChoice, Segments,
        Settle, Transactions, Versioned,
    },
    record::Operation,
};

#[derive(Serialize)]
pub(super) struct Load {
    pub(super) name: String,
    pub(super) target: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) after: Vec<String>,
    pub(super) files: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interaction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) compare: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bundle: Option<BundleOf>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) transactions: Transactions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duplicates: Option<Value>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) versioned: Versioned,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) settle: Option<Settle>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) segments: Segments,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) charset: Characters,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) order: MessageOrder,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
    /// This run first: what it loaded is what the mended records refer to.
    pub(super) known: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct BundleOf {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<PackagingChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_entries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Renders a load, without its files.
pub(super) fn load(settings: &LoadSettings) -> Load {
    let identity = &settings.identity;
    let mut systems: serde_yaml::Mapping = identity
        .systems
        .iter()
        .map(|(kind, systems)| {
            let systems = systems.iter().map(|s| Value::from(s.as_str())).collect();
            (Value::from(kind.as_str()), Value::Sequence(systems))
        })
        .collect();
    if identity.missing == Missing::Create {
        systems.insert(Value::from("missing"), Value::from("create"));
    }
    Load {
        name: settings.name.clone(),
        target: settings.target.clone(),
        after: settings.after.clone(),
        files: Vec::new(),
        interaction: settings.interaction.map(word),
        identity: (!systems.is_empty()).then_some(Value::Mapping(systems)),
        compare: match (settings.compare, settings.existing.bytes) {
            (_, true) => Some(Value::from("bytes")),
            (true, false) => Some(Value::from(true)),
            (false, false) => None,
        },
        bundle: (!is_default(&settings.packaging)).then(|| BundleOf {
            kind: settings.packaging.kind,
            max_entries: settings.packaging.max_entries.map(u32::from),
            max_bytes: settings.packaging.max_bytes.map(|size| size.0),
        }),
        transactions: settings.transactions,
        duplicates: match settings.existing.what {
            Existing::Skip if is_default(&settings.duplicates) => None,
            Existing::Skip => serde_yaml::to_value(settings.duplicates).ok(),
            existing => serde_yaml::to_value(existing).ok(),
        },
        versioned: settings.versioned,
        settle: settings.settle,
        segments: settings.messages.segments,
        charset: settings.messages.charset,
        order: settings.messages.order,
        labels: settings.messages.labels.clone(),
        known: std::iter::once("..".to_owned())
            .chain(settings.known.iter().map(|path| shown(path)))
            .collect(),
    }
}

/// Returns the manifest's word for what is done with records.
fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::CreateMessage => Operation::Create.as_str(),
        Operation::Transmit => Operation::Ingest.as_str(),
        other => other.as_str(),
    }
}
