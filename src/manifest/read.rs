//! From files to parts: reads a manifest and all that it includes, and puts their parts together.

use std::{
    collections::BTreeSet,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    Manifest,
    document::{self, Entry, Node, Spot, Value},
    flaw::lines,
    parts::{Parts, already, over},
    reader::{Reader, Text, get},
    resolve, schema,
};
use crate::diagnostic::{Diagnostic, TextPosition};

/// The result of reading a manifest: the manifest with its warnings, or all that is wrong.
pub type ReadResult = Result<(Manifest, Vec<Diagnostic>), Vec<Diagnostic>>;

/// Reads a manifest and its included files, checks it, and fills in variables and defaults.
///
/// All problems are given at once: errors and warnings if there is an error, else the manifest and the
/// warnings. `env` gives the variables of the environment.
pub fn read(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> ReadResult {
    match read_file(path, &crate::diagnostic::shown(path), By::User) {
        Ok(text) => read_text(&text, path, env),
        Err(diagnostic) => Err(vec![*diagnostic]),
    }
}

/// Reads a manifest from text, as if it stood in the file `path`.
pub fn read_text(text: &str, path: &Path, env: &dyn Fn(&str) -> Option<String>) -> ReadResult {
    let mut reader = Reader::new(env);
    let mut parts = Parts::default();
    let mut visit = Visit {
        open: vec![identity(path)],
        seen: BTreeSet::new(),
    };
    add(&mut reader, &mut parts, &mut visit, path, text);
    if parts.root.is_empty() {
        return Err(reader.finish());
    }
    let manifest = resolve::manifest(&mut reader, &parts, path);
    if reader.has_errors() {
        return Err(reader.finish());
    }
    Ok((manifest, reader.finish()))
}

/// The files being read, outermost first, and those that have been.
struct Visit {
    open: Vec<PathBuf>,
    seen: BTreeSet<PathBuf>,
}

/// Names a file in one way, however it was reached.
fn identity(path: &Path) -> PathBuf {
    fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The largest manifest, far above what people write; what is generated may list many thousand files.
const LARGEST: u64 = 8 << 20;

/// The author of a manifest's name, and so what may be read as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// A file that the user names, also a pipe.
    User,
    /// A regular file that a manifest includes: reading a device or a pipe would never end, or wait for ever.
    Include,
}

/// Reads a file as text. `shown` is its name in messages.
fn read_file(path: &Path, shown: &str, by: By) -> Result<String, Box<Diagnostic>> {
    if by == By::Include
        && let Ok(metadata) = fs_err::metadata(path)
        && !metadata.is_file()
        && !metadata.is_dir()
    {
        return Err(Box::new(
            Diagnostic::error(format!("`{shown}` is no regular file"))
                .hint("only files can be included"),
        ));
    }
    let mut bytes = Vec::new();
    fs_err::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            Box::new(match error.kind() {
                io::ErrorKind::NotFound => Diagnostic::error(format!("there is no file `{shown}`"))
                    .hint("check the path; `stoker init DIR` writes a manifest for a directory"),
                io::ErrorKind::IsADirectory => {
                    Diagnostic::error(format!("`{shown}` is a directory"))
                        .hint("name the manifest in it; `stoker init DIR` writes one")
                }
                io::ErrorKind::PermissionDenied => {
                    Diagnostic::error(format!("`{shown}` may not be read"))
                        .hint("check the permissions of the file and of its folders")
                }
                kind => Diagnostic::error(format!("`{shown}` cannot be read: {kind}")),
            })
        })?;
    if bytes.len() as u64 > LARGEST {
        return Err(Box::new(
            Diagnostic::error(format!("`{shown}` is larger than 8 MiB, and no manifest"))
                .hint("list files by globs; a manifest names files, and holds none"),
        ));
    }
    if bytes.contains(&0) {
        return Err(Box::new(
            Diagnostic::error(format!("`{shown}` is no text, and no manifest"))
                .hint("name a manifest; `stoker init DIR` writes one for a directory"),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
        let lines = lines(&before);
        Box::new(
            Diagnostic::error(format!("`{shown}` is not UTF-8 text"))
                .at(TextPosition {
                    file: path.to_owned(),
                    line: lines.len(),
                    column: lines.last().map_or(0, |line| line.chars().count()) + 1,
                    length: 1,
                })
                .hint("save it as UTF-8"),
        )
    })
}

/// Tells whether a text shows itself as a manifest by a key of its own at the top, in YAML or JSON. A text that does
/// not may be any file of the system, whose lines are nobody's business.
fn looks_like_manifest(lines: &[&str]) -> bool {
    lines.iter().any(|line| {
        let line = line.trim_start_matches([' ', '{', ',']);
        let (key, rest) = match line.split_once(':') {
            Some((key, rest)) => (key.trim().trim_matches(['"', '\'']), rest.trim_start()),
            None => return false,
        };
        match key {
            "version" => rest.starts_with('1'),
            "targets" | "loads" => true,
            _ => false,
        }
    })
}

/// Adds the parts of a file, after those of the files that it includes.
fn add(reader: &mut Reader<'_>, parts: &mut Parts, visit: &mut Visit, path: &Path, text: &str) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_root = visit.open.len() == 1;
    let lines = lines(text);
    let file = reader.add_file(path, &lines, looks_like_manifest(&lines));
    let Some(entries) = top_entries(reader, text, file) else {
        parts.incomplete = true;
        return;
    };
    let entries = &entries;
    version(reader, entries, top(file));
    if let Some(include) = get(entries, "include") {
        for included in reader.texts("include", include) {
            let path = crate::path::tidy(&reader.folder(included.spot).join(&included.value));
            add_included(reader, parts, visit, &path, &included);
        }
    }
    if let Some(defaults) = get(entries, "defaults") {
        add_defaults(reader, parts, defaults);
    }
    if let Some(targets) = get(entries, "targets") {
        add_targets(reader, parts, targets);
    }
    if let Some(loads) = get(entries, "loads") {
        add_loads(reader, parts, loads);
    }
    if is_root {
        parts.root.clone_from(entries);
    } else {
        warn_of_unused(reader, entries);
    }
}

/// Returns the beginning of a file.
fn top(file: usize) -> Spot {
    Spot {
        file,
        line: 1,
        column: 1,
        length: 1,
    }
}

/// Returns the keys of a manifest with their values; none where the text is no manifest.
fn top_entries(reader: &mut Reader<'_>, text: &str, file: usize) -> Option<Vec<Entry>> {
    const BEGIN: &str = "begin with `version: 1`, then `targets:` and `loads:`";
    let (root, flaws) = document::parse(text, file);
    let readable = flaws.is_empty();
    for flaw in flaws {
        reader.report_flaw(flaw);
    }
    let entries = match &root {
        Some(Node {
            value: Value::Map(entries),
            ..
        }) if !entries.is_empty() => entries,
        _ => {
            if readable {
                let message = if root.is_some() {
                    "the manifest is not a map of keys"
                } else {
                    "the manifest is empty"
                };
                reader.report(top(file), Diagnostic::error(message).hint(BEGIN));
            }
            return None;
        }
    };
    // Of any other file of the system, not even what seem to be its keys is anybody's business.
    let is_none_of_ours = |entry: &Entry| !schema::Manifest::KEYS.contains(&entry.key.as_str());
    if entries.iter().all(is_none_of_ours) {
        let message = "this is no manifest: it has none of a manifest's keys";
        reader.report(top(file), Diagnostic::error(message).hint(BEGIN));
        return None;
    }
    let entries = entries.clone();
    if let Some(root) = &root {
        reader.map("manifest", root, Some(schema::Manifest::KEYS));
    }
    Some(entries)
}

/// Adds the settings for all targets and all loads.
fn add_defaults(reader: &mut Reader<'_>, parts: &mut Parts, node: &Node) {
    let Some(defaults) = reader.map("defaults", node, Some(schema::Defaults::KEYS)) else {
        return;
    };
    if let Some(node) = get(defaults, "target")
        && let Some(own) = reader.map("target", node, Some(schema::TargetDefaults::KEYS))
    {
        parts.target_defaults = over(own, &parts.target_defaults);
    }
    if let Some(node) = get(defaults, "load")
        && let Some(own) = reader.map("load", node, Some(schema::LoadDefaults::KEYS))
    {
        parts.load_defaults = over(own, &parts.load_defaults);
    }
}

/// Adds the targets, each name once.
fn add_targets(reader: &mut Reader<'_>, parts: &mut Parts, node: &Node) {
    for target in reader.map("targets", node, None).into_iter().flatten() {
        if let Some(first) = parts.targets.iter().find(|other| other.key == target.key) {
            let message = format!("the target {:?} is defined twice", target.key);
            let hint = already(reader, first.key_spot);
            reader.report(target.key_spot, Diagnostic::error(message).hint(hint));
        } else {
            parts.targets.push(target.clone());
        }
    }
}

/// Adds the loads, in their order.
fn add_loads(reader: &mut Reader<'_>, parts: &mut Parts, node: &Node) {
    let message = match &node.value {
        Value::List(loads) if !loads.is_empty() => {
            parts.loads.extend(loads.iter().cloned());
            return;
        }
        Value::Null | Value::List(_) => "`loads` is empty",
        _ => "`loads` must be a list",
    };
    let hint = "write `- name: …` for each load";
    reader.report(node.spot, Diagnostic::error(message).hint(hint));
}

/// Names the settings of a run that an included manifest makes in vain.
fn warn_of_unused(reader: &mut Reader<'_>, entries: &[Entry]) {
    for entry in entries {
        if ["max_errors", "state", "memory", "journal", "known"].contains(&entry.key.as_str()) {
            reader.report(
                entry.key_spot,
                Diagnostic::warning(format!(
                    "`{}` of an included manifest is not used",
                    entry.key
                ))
                .hint("set it in the manifest that includes this one"),
            );
        }
    }
}

fn add_included(
    reader: &mut Reader<'_>,
    parts: &mut Parts,
    visit: &mut Visit,
    path: &Path,
    included: &Text,
) {
    let spot = included.spot;
    let identity = identity(path);
    if let Some(at) = visit.open.iter().position(|open| *open == identity) {
        let mut names: Vec<String> = visit
            .open
            .iter()
            .skip(at)
            .chain([&identity])
            .map(|path| {
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.dedup();
        let message = if names.len() == 1 {
            "the manifest includes itself".to_owned()
        } else {
            format!("the manifests include each other: {}", names.join(" → "))
        };
        reader.report(
            spot,
            Diagnostic::error(message).hint("remove one of the includes"),
        );
        return;
    }
    // A file that two others include counts once.
    if !visit.seen.insert(identity.clone()) {
        return;
    }
    match read_file(path, &included.written, By::Include) {
        Ok(text) => {
            visit.open.push(identity);
            add(reader, parts, visit, path, &text);
            visit.open.pop();
        }
        Err(diagnostic) => {
            parts.incomplete = true;
            let mut problem = Diagnostic::error(diagnostic.message);
            problem.hints = if path.exists() {
                diagnostic.hints
            } else {
                let hint = "included paths are relative to the manifest that includes them";
                vec![hint.to_owned()]
            };
            reader.report(spot, problem);
        }
    }
}

fn version(reader: &mut Reader<'_>, entries: &[Entry], top: Spot) {
    match get(entries, "version") {
        None => reader.report(
            top,
            Diagnostic::error("the manifest has no `version`").hint("begin with `version: 1`"),
        ),
        Some(node) => match &node.value {
            Value::Number(number) if number.as_u64() == Some(1) => {}
            Value::Number(number) => reader.report(
                node.spot,
                Diagnostic::error(format!("version {number} of the manifest is not known"))
                    .hint("write `version: 1`, or use a newer Stoker"),
            ),
            _ => reader.report(
                node.spot,
                Diagnostic::error("`version` must be the number 1").hint("write `version: 1`"),
            ),
        },
    }
}
