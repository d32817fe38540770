//! Loads, with defaults filled in. The rules across loads are `check`'s.

use std::path::PathBuf;

use super::{
    FilePattern, Format, LoadSettings, Settle,
    basics::load_basics,
    document::{Entry, Node, Spot, Value},
    name::name,
    parts::over,
    reader::{Reader, Text, get},
    schema,
};
use crate::{diagnostic::Diagnostic, record::Operation};

/// A load with the places that rules across loads point at.
pub(super) struct Draft {
    pub(super) settings: LoadSettings,
    pub(super) name: Option<Text>,
    pub(super) spot: Spot,
    pub(super) target: Option<Text>,
    pub(super) after: Vec<Text>,
    /// The load's own `interaction`, and its place.
    pub(super) own_interaction: Option<(Operation, Spot)>,
    /// The keys that the load sets itself, and their places.
    pub(super) own_keys: Vec<(String, Spot)>,
    /// The load's `duplicates` are about records that the store has already, and not about records that come twice in
    /// the files.
    pub(super) is_about_existing: Option<bool>,
    /// The place of the bound on the entries of its Bundles.
    pub(super) max_entries: Option<Spot>,
}

/// Reads a load.
///
/// `run_known` is what all loads know of earlier runs.
pub(super) fn load(
    reader: &mut Reader<'_>,
    node: &Node,
    defaults: &[Entry],
    run_known: &[PathBuf],
) -> Option<Draft> {
    let own = reader.map("load", node, Some(schema::Load::KEYS))?;
    let entries = over(own, defaults);
    let name = if let Some(node) = get(own, "name") {
        self::name(reader, "name", node)
    } else {
        reader.report_missing("the load", node.spot, "name");
        None
    };
    let what = match &name {
        Some(name) => format!("the load `{}`", name.written),
        None => "the load".to_owned(),
    };
    let basics = load_basics(reader, &entries);
    let after = get(own, "after").map_or_else(Vec::new, |node| reader.texts("after", node));
    let files = if let Some(node) = get(own, "files") {
        files(reader, node)
    } else {
        let spot = name.as_ref().map_or(node.spot, |name| name.spot);
        reader.report_missing(&what, spot, "files");
        Vec::new()
    };
    if let Some(interaction) = basics.interaction {
        let conditional = matches!(
            interaction,
            Operation::ConditionalCreate | Operation::ConditionalUpdate
        );
        let spot = get(&entries, "interaction").map_or(node.spot, |node| node.spot);
        if conditional && get(&entries, "identity").is_none() {
            reader.report(
                spot,
                Diagnostic::error(format!("`{interaction}` needs `identity`")).hint(
                    "name the identifier systems: `identity: { Patient: [\"https://clinic.example/mrn\"] }`",
                ),
            );
        }
        if let Some(identity) = own
            .iter()
            .find(|entry| entry.key == "identity" && !conditional)
            && interaction != Operation::Create
        {
            reader.report(
                identity.key_spot,
                Diagnostic::warning(format!("`identity` has no effect with `{interaction}`"))
                    .hint("use `conditional-create` or `conditional-update`, or leave it out"),
            );
        }
        let updates = matches!(
            interaction,
            Operation::Update | Operation::ConditionalUpdate
        );
        if basics.compare
            && !updates
            && let Some(compare) = own.iter().find(|entry| entry.key == "compare")
        {
            reader.report(
                compare.key_spot,
                Diagnostic::warning(format!("`compare` has no effect with `{interaction}`"))
                    .hint("it compares before an `update`; leave it out"),
            );
        }
    }
    if basics.settle == Some(Settle::Identifier) && basics.identity.systems.is_empty() {
        let spot = get(&entries, "settle").map_or(node.spot, |node| node.spot);
        reader.report(
            spot,
            Diagnostic::error("`settle: identifier` needs `identity`").hint(
                "name the identifier systems: `identity: { Patient: [\"https://clinic.example/mrn\"] }`, or settle by `tag`",
            ),
        );
    }
    let own_interaction = get(own, "interaction").and_then(|node| {
        let spot = node.spot;
        basics.interaction.map(|interaction| (interaction, spot))
    });
    Some(Draft {
        settings: LoadSettings {
            name: name
                .as_ref()
                .map_or_else(String::new, |name| name.value.clone()),
            target: String::new(),
            format: Format::default(),
            messages: basics.messages,
            after: after.iter().map(|name| name.value.clone()).collect(),
            files,
            interaction: basics.interaction,
            identity: basics.identity,
            compare: basics.compare,
            existing: basics.existing,
            packaging: basics.packaging,
            transactions: basics.transactions,
            duplicates: basics.duplicates,
            versioned: basics.versioned,
            settle: basics.settle,
            known: [basics.known.as_slice(), run_known].concat(),
        },
        spot: name.as_ref().map_or(node.spot, |name| name.spot),
        name,
        target: basics.target,
        after,
        own_interaction,
        is_about_existing: basics.is_about_existing,
        own_keys: own
            .iter()
            .map(|entry| (entry.key.clone(), entry.key_spot))
            .collect(),
        max_entries: basics
            .packaging
            .max_entries
            .and(get(&entries, "bundle"))
            .and_then(|node| match &node.value {
                Value::Map(bundle) => get(bundle, "max_entries"),
                _ => None,
            })
            .map(|node| node.spot),
    })
}

fn files(reader: &mut Reader<'_>, node: &Node) -> Vec<FilePattern> {
    let mut patterns: Vec<FilePattern> = Vec::new();
    for text in reader.texts("files", node) {
        reader.warn_of_tilde(&text);
        let (pattern, exclude) = match text.value.strip_prefix('!') {
            Some(pattern) => (pattern, true),
            None => (text.value.as_str(), false),
        };
        if pattern.is_empty() || (exclude && pattern == "-") {
            let message = format!("`{}` is not a pattern", text.written);
            let hint =
                "write a glob such as `data/**/*.json`, or `!` and a glob to leave files out";
            reader.report(text.spot, Diagnostic::error(message).hint(hint));
            continue;
        }
        patterns.push(FilePattern {
            pattern: pattern.to_owned(),
            exclude,
            folder: match reader.folder(text.spot) {
                // A place that can be walked, for a manifest named without its folder.
                folder if folder.as_os_str().is_empty() => PathBuf::from("."),
                folder => folder.to_owned(),
            },
            place: (
                reader.file(text.spot).to_owned(),
                text.spot.line,
                text.spot.column,
            ),
        });
    }
    if !patterns.is_empty() && patterns.iter().all(|pattern| pattern.exclude) {
        let message = "`files` only takes files away, so that none is left";
        let hint = "add a pattern without `!` before them";
        reader.report(node.spot, Diagnostic::error(message).hint(hint));
    }
    patterns
}
