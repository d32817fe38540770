//! What holds of the code as a whole: who may depend on whom, which words the core knows, what is pure, and that no files go in
//! circles.
//!
//! A higher layer may use a lower one, never the reverse (`src/lib.rs` draws the map). `words` has the words of formats that
//! the core does not know, `pure` what the pure modules do not touch, `circles` which files use each other.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

mod circles;
mod comments;
mod names;
mod pure;
mod words;

/// The layer of every module. Modules of one layer do not know each other, but for the edges in [`BESIDE`].
const LAYERS: &[(&str, u32)] = &[
    ("unit", 0),
    ("diagnostic", 0),
    ("record", 0),
    ("event", 0),
    ("fhir", 0),
    ("hl7v2", 0),
    ("dicom", 0),
    ("spill", 0),
    ("checksum", 0),
    ("path", 0),
    ("small_file", 0),
    ("manifest", 1),
    ("storage", 1),
    ("source", 1),
    ("target", 1),
    ("auth", 1),
    ("plan", 2),
    ("gate", 2),
    ("survey", 3),
    ("probe", 3),
    ("ensure", 3),
    ("lookup", 3),
    ("send", 3),
    ("journal", 3),
    ("history", 3),
    ("unload", 3),
    ("samples", 3),
    ("report", 4),
    ("progress", 4),
    ("metrics", 4),
    ("telemetry", 4),
    ("emulator", 5),
    ("cli", 6),
];

/// Edges inside a layer. The manifest's settings are the vocabulary in which a user speaks to the others.
const BESIDE: &[(&str, &str)] = &[
    // Conditional references are looked up before their records are sent.
    ("send", "lookup"),
    ("event", "record"),
    ("event", "unit"),
    // What a refusal means depends on what was asked for.
    ("fhir", "record"),
    ("source", "manifest"),
    // Where bytes lie is known to whoever reads them.
    ("source", "storage"),
    ("storage", "manifest"),
    ("target", "manifest"),
    ("auth", "manifest"),
    ("send", "journal"),
    // What earlier runs loaded is read from their journals, and noted before anything is sent.
    ("history", "journal"),
    ("send", "history"),
    // What a run created is read from its journal, and what was deleted of it is noted beside that.
    ("unload", "journal"),
    // Records are read, several at a time, before they are deleted.
    ("unload", "lookup"),
    // What is pushed is read off the counters.
    ("telemetry", "metrics"),
    // Samples stand in the directory of a run.
    ("samples", "journal"),
];

fn layer(module: &str) -> Option<u32> {
    LAYERS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, layer)| *layer)
}

/// Returns where the code stands.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns the code of a file without its comments and its unit tests.
fn code(file: &Path) -> String {
    let text = fs_err::read_to_string(file).unwrap();
    let own = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    let lines = own.lines().map(|line| match line.trim_start() {
        comment if comment.starts_with("//") => "",
        _ => line.split(" // ").next().unwrap(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// Returns the modules of this crate that a text uses, by `crate::name` and by `use crate::{name, …}`.
fn used(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut word, mut start) = (0, String::new(), true);
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => (word, start) = (String::new(), true),
                    c if depth == 0 && start && (c.is_alphanumeric() || c == '_') => word.push(c),
                    c if depth == 0 && !c.is_whitespace() => start = false,
                    _ => {}
                }
                if depth == 0 && !word.is_empty() {
                    names.insert(word.clone());
                }
            }
        } else {
            names.insert(
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect(),
            );
        }
    }
    names.retain(|name| layer(name).is_some());
    names
}

#[test]
fn dependencies_point_down() {
    let root = root();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let first = inside.iter().next().unwrap().to_string_lossy().into_owned();
        let module = first.trim_end_matches(".rs").to_owned();
        let Some(own) = layer(&module) else {
            assert!(
                ["lib", "main"].contains(&module.as_str()),
                "`{module}` has no layer"
            );
            continue;
        };
        let text = fs_err::read_to_string(&file).unwrap();
        for other in used(&text) {
            let below = layer(&other).unwrap() < own;
            let beside = BESIDE.contains(&(module.as_str(), other.as_str()));
            if other != module && !below && !beside {
                wrong.push(format!("{} uses {other}", inside.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "dependencies that do not point down:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_modules_of_a_use_are_found() {
    let text = "use crate::{\n    event::{Event, LoadId},\n    record::Outcome,\n};\nlet x = crate::plan::Step;";
    let found: Vec<String> = used(text).into_iter().collect();
    assert_eq!(found, ["event", "plan", "record"]);
}

#[test]
fn no_file_of_the_tests_is_forgotten() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for entry in fs_err::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if ["main", "data", "bench", "clients", "servers"].contains(&name.as_str()) {
            continue;
        }
        let main = fs_err::read_to_string(root.join("main.rs")).unwrap();
        assert!(
            main.contains(&format!("mod {name}")),
            "tests/main.rs does not name `{name}`"
        );
    }
}
