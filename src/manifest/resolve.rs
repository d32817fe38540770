//! From parts to settings: the manifest as a whole and its run. Targets are `target`'s, loads are `load`'s.

use std::path::Path;

use super::{
    Manifest, MaxErrors, RunSettings, Sync,
    basics::{known, load_basics},
    check,
    document::{Entry, Node, Value},
    load::load,
    name::{self, MAX_NAME, unfit},
    parts::Parts,
    reader::{Reader, get},
    schema, target,
};
use crate::{diagnostic::Diagnostic, unit::ByteSize};

/// The memory for bodies and answers where the manifest does not say: the design's budget (§3).
pub const DEFAULT_MEMORY: ByteSize = ByteSize(64_000_000);

/// Resolves everything. The result counts only if the reader has noted no error.
pub(super) fn manifest(reader: &mut Reader<'_>, parts: &Parts, path: &Path) -> Manifest {
    let name = get(&parts.root, "name")
        .and_then(|node| name::name(reader, "name", node))
        .map_or_else(|| name_of_file(path), |name| name.value);
    let run = run(reader, &parts.root, path);
    // Defaults are read once by themselves, so that a wrong one is found even where every target sets its own.
    target::settings_of_defaults(reader, &parts.target_defaults);
    load_basics(reader, &parts.load_defaults);
    let targets: Vec<_> = parts
        .targets
        .iter()
        .filter_map(|entry| target::settings(reader, entry, &parts.target_defaults))
        .collect();
    let known = get(&parts.root, "known")
        .map(|node| self::known(reader, node))
        .unwrap_or_default();
    let drafts: Vec<_> = parts
        .loads
        .iter()
        .filter_map(|node| load(reader, node, &parts.load_defaults, &known))
        .collect();
    let loads = check::loads(reader, parts, &targets, drafts);
    Manifest {
        name,
        path: path.to_owned(),
        targets,
        loads,
        run,
    }
}

fn name_of_file(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = stem
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME)
        .collect();
    match unfit(&name) {
        // It is what stands for standard input.
        None if name != "-" => name,
        _ => "manifest".to_owned(),
    }
}

fn run(reader: &mut Reader<'_>, root: &[Entry], path: &Path) -> RunSettings {
    let journal = get(root, "journal")
        .and_then(|node| reader.map("journal", node, Some(schema::Journal::KEYS)))
        .and_then(|journal| get(journal, "sync"))
        .and_then(|node| {
            let words = [
                ("none", Sync::None),
                ("group", Sync::Group),
                ("always", Sync::Always),
            ];
            reader.word("sync", node, &words)
        });
    RunSettings {
        max_errors: get(root, "max_errors").and_then(|node| max_errors(reader, node)),
        state: match get(root, "state") {
            Some(node) => reader.path("state", node),
            None => Some(RunSettings::beside(path)),
        },
        journal: journal.unwrap_or_default(),
        memory: get(root, "memory")
            .and_then(|node| {
                let size = reader.unit("memory", node, str::parse::<ByteSize>)?;
                if size.0 == 0 {
                    let message = "`memory` must be more than nothing";
                    reader.report(node.spot, Diagnostic::error(message).hint("write `64 MB`"));
                }
                Some(size)
            })
            .unwrap_or(DEFAULT_MEMORY),
    }
}

fn max_errors(reader: &mut Reader<'_>, node: &Node) -> Option<MaxErrors> {
    let text = match &node.value {
        Value::Number(number) => number.to_string(),
        _ => reader.text("max_errors", node)?.value,
    };
    let text = text.trim();
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent
            .trim()
            .parse()
            .ok()
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(MaxErrors::Percent),
        None => text.parse().ok().map(MaxErrors::Count),
    };
    if parsed.is_none() {
        let message = "`max_errors` must be a number of records or a percentage";
        let hint = "write `100` or `2%`";
        reader.report(node.spot, Diagnostic::error(message).hint(hint));
    }
    parsed
}
