//! The settings that a load and the defaults of loads share.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    Characters, Duplicates, Existing, ExistingSettings, Identity, MessageOrder, MessageSettings,
    Missing, PackagingChoice, PackagingSettings, Segments, Settle, Transactions, Versioned,
    document::{Entry, Node, Value},
    reader::{Reader, Text, get, nearest},
    schema,
};
use crate::{
    diagnostic::Diagnostic, fhir::types::RESOURCE_TYPES, record::Operation, unit::ByteSize,
};

const INTERACTIONS: [(&str, Operation); 7] = [
    ("create", Operation::Create),
    ("update", Operation::Update),
    ("conditional-create", Operation::ConditionalCreate),
    ("conditional-update", Operation::ConditionalUpdate),
    ("ingest", Operation::Ingest),
    ("store", Operation::Store),
    ("transmit", Operation::Transmit),
];

/// The settings that a load and the defaults of loads share.
pub(super) struct Basics {
    pub(super) target: Option<Text>,
    pub(super) interaction: Option<Operation>,
    pub(super) identity: Identity,
    pub(super) compare: bool,
    pub(super) existing: ExistingSettings,
    pub(super) is_about_existing: Option<bool>,
    pub(super) packaging: PackagingSettings,
    pub(super) transactions: Transactions,
    pub(super) duplicates: Duplicates,
    pub(super) versioned: Versioned,
    pub(super) settle: Option<Settle>,
    pub(super) messages: MessageSettings,
    pub(super) known: Vec<PathBuf>,
}

/// Reads what a load and the defaults of loads share.
pub(super) fn load_basics(reader: &mut Reader<'_>, entries: &[Entry]) -> Basics {
    let compare = get(entries, "compare").and_then(|node| compare(reader, node));
    let word =
        get(entries, "duplicates").and_then(|node| reader.word("duplicates", node, &DUPLICATES));
    let (duplicates, what) = match word {
        Some(OnDuplicate::OfFiles(duplicates)) => (duplicates, Existing::default()),
        Some(OnDuplicate::OfStore(existing)) => (Duplicates::default(), existing),
        None => Default::default(),
    };
    Basics {
        target: get(entries, "target").and_then(|node| reader.text("target", node)),
        interaction: get(entries, "interaction")
            .and_then(|node| reader.word("interaction", node, &INTERACTIONS)),
        identity: get(entries, "identity")
            .and_then(|node| identity(reader, node))
            .unwrap_or_default(),
        compare: compare == Some(Compare::Content),
        existing: ExistingSettings {
            what,
            bytes: compare == Some(Compare::Bytes),
        },
        is_about_existing: word.map(|word| matches!(word, OnDuplicate::OfStore(_))),
        packaging: get(entries, "bundle")
            .map(|node| packaging(reader, node))
            .unwrap_or_default(),
        transactions: get(entries, "transactions")
            .and_then(|node| reader.word("transactions", node, &TRANSACTIONS))
            .unwrap_or_default(),
        duplicates,
        versioned: get(entries, "versioned")
            .and_then(|node| reader.word("versioned", node, &VERSIONED))
            .unwrap_or_default(),
        settle: get(entries, "settle").and_then(|node| reader.word("settle", node, &SETTLE)),
        messages: messages(reader, entries),
        known: get(entries, "known")
            .map(|node| known(reader, node))
            .unwrap_or_default(),
    }
}

/// Reads whether and how contents are compared.
fn compare(reader: &mut Reader<'_>, node: &Node) -> Option<Compare> {
    match &node.value {
        Value::Bool(true) => Some(Compare::Content),
        Value::Bool(false) => Some(Compare::No),
        Value::Text(_) => reader.word("compare", node, &COMPARE),
        _ => {
            reader.report_kind("compare", node, "`true`, `false` or `bytes`");
            None
        }
    }
}

/// Reads how messages are read and sent.
fn messages(reader: &mut Reader<'_>, entries: &[Entry]) -> MessageSettings {
    let labels = get(entries, "labels").and_then(|node| reader.map("labels", node, None));
    let labels = labels.unwrap_or_default().iter().filter_map(|entry| {
        let text = reader.text(&entry.key, &entry.node)?;
        Some((entry.key.clone(), text.value))
    });
    let labels = labels.collect();
    MessageSettings {
        segments: get(entries, "segments")
            .and_then(|node| reader.word("segments", node, &SEGMENTS))
            .unwrap_or_default(),
        charset: get(entries, "charset")
            .and_then(|node| reader.word("charset", node, &CHARACTERS))
            .unwrap_or_default(),
        order: get(entries, "order")
            .and_then(|node| reader.word("order", node, &ORDERS))
            .unwrap_or_default(),
        labels,
    }
}

const SEGMENTS: [(&str, Segments); 2] = [("cr", Segments::Cr), ("as-is", Segments::AsIs)];

const CHARACTERS: [(&str, Characters); 2] = [
    ("as-is", Characters::AsIs),
    ("convert", Characters::Convert),
];

const ORDERS: [(&str, MessageOrder); 3] = [
    ("patient", MessageOrder::Patient),
    ("none", MessageOrder::None),
    ("strict", MessageOrder::Strict),
];

const PACKAGINGS: [(&str, PackagingChoice); 3] = [
    ("batch", PackagingChoice::Batch),
    ("transaction", PackagingChoice::Transaction),
    ("none", PackagingChoice::None),
];

const TRANSACTIONS: [(&str, Transactions); 3] = [
    ("split", Transactions::Split),
    ("keep", Transactions::Keep),
    ("refuse", Transactions::Refuse),
];

/// The values of `compare`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    No,
    Content,
    Bytes,
}

const COMPARE: [(&str, Compare); 3] = [
    ("true", Compare::Content),
    ("false", Compare::No),
    ("bytes", Compare::Bytes),
];

/// The subject of `duplicates`, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDuplicate {
    /// Records of one identity in the files.
    OfFiles(Duplicates),
    /// Records that the store has already under the same name.
    OfStore(Existing),
}

const DUPLICATES: [(&str, OnDuplicate); 7] = [
    ("first", OnDuplicate::OfFiles(Duplicates::First)),
    ("last", OnDuplicate::OfFiles(Duplicates::Last)),
    ("error", OnDuplicate::OfFiles(Duplicates::Error)),
    ("ignore", OnDuplicate::OfFiles(Duplicates::Ignore)),
    ("skip", OnDuplicate::OfStore(Existing::Skip)),
    ("verify", OnDuplicate::OfStore(Existing::Verify)),
    ("replace", OnDuplicate::OfStore(Existing::Replace)),
];

const SETTLE: [(&str, Settle); 4] = [
    ("tag", Settle::Tag),
    ("identifier", Settle::Identifier),
    ("resend", Settle::Resend),
    ("none", Settle::None),
];

const VERSIONED: [(&str, Versioned); 2] = [("strip", Versioned::Strip), ("keep", Versioned::Keep)];

/// Reads `bundle`: a word, or a map.
fn packaging(reader: &mut Reader<'_>, node: &Node) -> PackagingSettings {
    if matches!(node.value, Value::Text(_)) {
        return PackagingSettings {
            kind: reader.word("bundle", node, &PACKAGINGS),
            ..PackagingSettings::default()
        };
    }
    let Some(entries) = reader.map("bundle", node, Some(schema::BundleSettings::KEYS)) else {
        return PackagingSettings::default();
    };
    let mut settings = PackagingSettings {
        kind: get(entries, "type").and_then(|node| reader.word("type", node, &PACKAGINGS)),
        max_entries: get(entries, "max_entries")
            .and_then(|node| reader.number("max_entries", node, &(1..=u64::from(u32::MAX))))
            .and_then(|number| u32::try_from(number).ok()?.try_into().ok()),
        max_bytes: get(entries, "max_bytes").and_then(|node| {
            let size = reader.unit("max_bytes", node, str::parse::<ByteSize>)?;
            if size.0 == 0 {
                let message = "`max_bytes` must be more than nothing";
                reader.report(node.spot, Diagnostic::error(message).hint("write `10 MB`"));
            }
            Some(size)
        }),
    };
    if settings.kind == Some(PackagingChoice::None) {
        let sizes = ["max_entries", "max_bytes"];
        for entry in entries {
            if sizes.contains(&entry.key.as_str()) {
                reader.report(
                    entry.key_spot,
                    Diagnostic::warning(format!("`{}` has no effect with `type: none`", entry.key))
                        .hint("leave it out, or let records travel in a `batch`"),
                );
            }
        }
        // A setting without effect is not held against a limit later on either.
        settings.max_entries = None;
        settings.max_bytes = None;
    }
    settings
}

/// Reads `known`: paths of earlier runs, which have to be there.
pub(super) fn known(reader: &mut Reader<'_>, node: &Node) -> Vec<PathBuf> {
    let texts = reader.texts("known", node);
    let mut paths = Vec::with_capacity(texts.len());
    for text in texts {
        reader.warn_of_tilde(&text);
        let path = crate::path::tidy(&reader.folder(text.spot).join(&text.value));
        // The ids of a large run are made from its journal when they are asked for.
        let is_there = if path.is_dir() {
            ["journal.ndjson", "ids.ndjson"]
                .iter()
                .any(|name| path.join(name).is_file())
        } else {
            path.is_file()
        };
        if !is_there {
            let message = format!("`{}` is no run, and no file of ids", text.written);
            let hint = "name the directory of a run (`.stoker/runs/…`) or a file that `stoker report RUN --format ids` has printed";
            reader.report(text.spot, Diagnostic::error(message).hint(hint));
        }
        paths.push(path);
    }
    paths
}

fn identity(reader: &mut Reader<'_>, node: &Node) -> Option<Identity> {
    let mut identity = Identity::default();
    let entries = reader.map("identity", node, None)?;
    let mut systems = BTreeMap::new();
    for entry in entries {
        if entry.key == "missing" {
            let words = [("create", Missing::Create), ("refuse", Missing::Refuse)];
            identity.missing = reader
                .word("missing", &entry.node, &words)
                .unwrap_or_default();
        } else if RESOURCE_TYPES.contains(&entry.key.as_str()) {
            let texts = reader.texts(&entry.key, &entry.node);
            systems.insert(
                entry.key.clone(),
                texts.into_iter().map(|text| text.value).collect(),
            );
        } else {
            let mut diagnostic =
                Diagnostic::error(format!("{:?} is not a resource type of FHIR R4", entry.key));
            let known = RESOURCE_TYPES.iter().copied().chain(["missing"]);
            if let Some(near) = nearest(&entry.key, known) {
                diagnostic = diagnostic.hint(format!("did you mean {near:?}?"));
            }
            reader.report(entry.key_spot, diagnostic);
        }
    }
    if entries.iter().all(|entry| entry.key == "missing") {
        let message = "`identity` names no resource type";
        let hint = "write `identity: { Patient: [\"https://clinic.example/mrn\"] }`";
        reader.report(node.spot, Diagnostic::error(message).hint(hint));
    }
    identity.systems = systems;
    Some(identity)
}
