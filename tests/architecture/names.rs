//! One word, one type; and what the papers name is there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fs_err as fs;

use super::{code, root, sources};

/// Names that several public types have, and why.
const SHARED: &[&str] = &[
    // The error of a module, as in the standard library (`io::Error`, `fmt::Error`); never imported without its module.
    "Error",
    // What the manifest says after it is read, and its wire form in the private module `manifest::schema`.
    "Auth",
    "Concurrency",
    "Identity",
    "MaxErrors",
    "SecretPlace",
];

/// Returns the name of the public type that a line declares.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line
        .strip_prefix("pub ")
        .or_else(|| line.strip_prefix("pub(crate) "))?;
    let (word, rest) = rest.split_once(' ')?;
    ["struct", "enum", "trait", "type", "union"]
        .contains(&word)
        .then(|| rest.split(|c: char| !c.is_alphanumeric()).next())
        .flatten()
        .filter(|name| !name.is_empty())
}

#[test]
fn no_two_public_types_have_one_name() {
    let root = root();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut types: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        for line in code(&file).lines() {
            let Some(name) = declared(line) else { continue };
            let inside = file.strip_prefix(&root).unwrap().to_path_buf();
            let places = types.entry(name.to_owned()).or_default();
            if !places.contains(&inside) {
                places.push(inside);
            }
        }
    }
    assert!(types.len() > 300, "only {} types were found", types.len());
    let several: BTreeMap<_, _> = types
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .collect();
    let unknown: Vec<_> = several
        .iter()
        .filter(|(name, _)| !SHARED.contains(&name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "types of one name: {unknown:#?}");
    let idle: Vec<_> = SHARED
        .iter()
        .filter(|name| !several.contains_key(&(**name).to_owned()))
        .collect();
    assert!(idle.is_empty(), "these names are not shared: {idle:?}");
}

/// Returns what stands between backticks in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Tells whether a file defines a function of this name.
fn defines(file: &Path, function: &str) -> bool {
    let text = fs::read_to_string(file).unwrap();
    text.contains(&format!("fn {function}(")) || text.contains(&format!("fn {function}<"))
}

#[test]
fn the_papers_name_files_and_functions_that_are_there() {
    let project = root().parent().unwrap().to_path_buf();
    let mut papers = vec![project.join("CONTRIBUTING.md")];
    for folder in ["docs", "docs/decisions"] {
        let listed = fs::read_dir(project.join(folder)).unwrap();
        let listed = listed.map(|entry| entry.unwrap().path());
        papers.extend(listed.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    let (mut seen, mut missing) = (0, Vec::new());
    for paper in papers {
        let text = fs::read_to_string(&paper).unwrap();
        for quote in quoted(&text) {
            let (path, function) = match quote.split_once("::") {
                Some((path, inside)) => (path, inside.rsplit("::").next()),
                None => (quote, None),
            };
            let is_source = Path::new(path)
                .extension()
                .is_some_and(|extension| extension == "rs");
            if !is_source || path.contains([' ', '<', '*', '{', '…']) {
                continue;
            }
            seen += 1;
            let file = [project.join("src").join(path), project.join(path)]
                .into_iter()
                .find(|file| file.is_file());
            let is_there = file.is_some_and(|file| {
                function.is_none_or(|function| defines(&file, function.trim_end_matches("()")))
            });
            if !is_there {
                missing.push(format!("{}: {quote}", paper.display()));
            }
        }
    }
    assert!(seen > 15, "only {seen} files are named");
    assert!(missing.is_empty(), "named and not there: {missing:#?}");
}
