//! Real files, read whole, against counts that share nothing with `source`.

mod properties;

use std::{collections::HashMap, ops::ControlFlow, path::Path};

use serde_json::Value;
use stoker::{
    record::SourceId,
    source::{Ceiling, Form, Item, Origin, SourceFile, read},
};

use crate::support::data;

#[derive(Debug, Default)]
struct Counts {
    records: usize,
    bundles: usize,
    malformed: Vec<&'static str>,
    references: usize,
    types: Vec<Option<String>>,
}

fn count(path: &Path) -> Counts {
    let form = match Form::of(path) {
        Form::Unrecognized => Form::Json,
        form => form,
    };
    let file = SourceFile {
        id: SourceId(0),
        origin: Origin::File(path.to_owned()),
        form,
    };
    let bytes = fs_err::read(path).expect("the file can be read");
    let mut counts = Counts::default();
    let reading = read(&file, None, Ceiling::Any, &mut |item| {
        match item {
            Item::Record(found) => {
                counts.records += 1;
                counts.references += found.scanned.references.len();
                let start =
                    usize::try_from(found.position.span.start).expect("an offset in memory");
                let whole = found.entry.map_or(found.bytes, |entry| entry.bytes);
                assert_eq!(&bytes[start..][..whole.len()], whole);
                counts.types.push(
                    found
                        .scanned
                        .resource_type
                        .map(|part| part.text(found.bytes).into_owned()),
                );
            }
            Item::BundleStart(_) => counts.bundles += 1,
            Item::BundleEnd => {}
            Item::Facets(_) | Item::Remark(_) => panic!("all files are FHIR's"),
            Item::Malformed(wrong) => counts.malformed.push(wrong.problem.what),
        }
        ControlFlow::Continue(())
    })
    .expect("the source can be read");
    assert_eq!(reading.records, counts.records as u64);
    assert_eq!(reading.malformed, counts.malformed.len() as u64);
    counts
}

fn references(value: &Value) -> usize {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| match value {
                Value::String(_) => usize::from(name == "reference"),
                _ => references(value),
            })
            .sum(),
        Value::Array(values) => values.iter().map(references).sum(),
        _ => 0,
    }
}

/// Counts records and references of a parsed value.
fn naive(value: &Value) -> (usize, usize) {
    if value["resourceType"] != "Bundle" {
        return (1, references(value));
    }
    let entries = value["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let inside = entries
        .iter()
        .map(|entry| references(&entry["resource"]))
        .sum();
    (entries.len(), inside)
}

#[test]
fn every_file_of_the_edge_cases_is_told_right() {
    let Some(folder) = data::set("fhir-edge-cases") else {
        return;
    };
    let manifest = fs_err::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let mut seen = 0;
    for line in manifest.lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        let [path, _, _, parse, _, flags, ..] = columns[..] else {
            panic!("{line}");
        };
        let name = path.rsplit('/').next().unwrap();
        let full = folder.join(path);
        if parse == "n/a" || !full.is_file() {
            continue;
        }
        seen += 1;
        let counts = count(&full);
        let not_objects = counts
            .malformed
            .iter()
            .all(|what| *what == "not a JSON object" || what.ends_with("occurs twice"));
        if parse == "ok" || name.starts_with("y_") {
            let accepted = not_objects || flags.contains("lenient-only") || name.starts_with("i_");
            assert!(accepted, "{path}: {counts:?}");
        } else if parse.starts_with("fail") && !name.starts_with("i_") || name.starts_with("n_") {
            assert!(
                counts.records == 0 && counts.malformed.len() == 1,
                "{path}: {counts:?}"
            );
            assert!(!not_objects, "{path}: {counts:?}");
        } else if parse.starts_with("ok=") {
            let total: usize = parse
                .split(',')
                .map(|part| part.rsplit('=').next().unwrap().parse::<usize>().unwrap())
                .sum();
            assert_eq!(
                counts.records + counts.malformed.len(),
                total,
                "{path}: {counts:?}"
            );
        }
    }
    assert!(seen > 1000, "only {seen} files of the manifest exist");
}

#[test]
fn records_and_references_agree_with_a_parser() {
    let mut files = 0;
    for (name, ok) in [
        ("fhir-r4-official-examples", "package"),
        ("synthea-r4-2021-smoke", ""),
        ("synthea-bulk-ndjson-10", ""),
    ] {
        let Some(folder) = data::set(name) else {
            return;
        };
        for entry in walkdir::WalkDir::new(folder.join(ok)) {
            let entry = entry.unwrap();
            let form = Form::of(entry.path());
            if !entry.file_type().is_file() || form == Form::Unrecognized {
                continue;
            }
            files += 1;
            let text = fs_err::read_to_string(entry.path()).unwrap();
            let texts: Vec<&str> = match form {
                Form::Ndjson => text
                    .lines()
                    .filter(|line| !line.trim().is_empty())
                    .collect(),
                _ => vec![text.trim_start_matches('\u{feff}')],
            };
            let counted = texts
                .iter()
                .map(|text| naive(&serde_json::from_str(text).unwrap()));
            let expected = counted.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let counts = count(entry.path());
            assert_eq!(
                (counts.records, counts.references, counts.malformed),
                (expected.0, expected.1, vec![]),
                "{}",
                entry.path().display()
            );
        }
    }
    assert!(files > 2000, "{files}");
}

#[test]
fn globs_find_files_in_order() {
    use stoker::{manifest::FilePattern, source::find};
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in [
        "a/1.json",
        "a/b/2.json",
        "a/b/draft-3.json",
        "a/.h/4.json",
        "m/.x.json",
        "a/r.txt",
        "a/c[1].json",
        "d/5.ndjson.gz",
    ] {
        fs_err::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs_err::write(root.join(name), "{}").unwrap();
    }
    fs_err::os::unix::fs::symlink(root, root.join("a/b/loop")).unwrap();
    let list = |patterns: &[&str]| {
        let patterns: Vec<_> = patterns
            .iter()
            .map(|pattern| FilePattern {
                pattern: pattern.trim_start_matches('!').to_owned(),
                exclude: pattern.starts_with('!'),
                folder: root.join("m"),
                place: ("m.yaml".into(), 3, 5),
            })
            .collect();
        let listing = find(&patterns);
        let names: HashMap<u32, String> = listing
            .files
            .iter()
            .map(|file| {
                let name = file.origin.to_string();
                let name = name
                    .rsplit("/m/../")
                    .next()
                    .unwrap()
                    .replace(&root.display().to_string(), "");
                (file.id.0, name)
            })
            .collect();
        let mut ordered: Vec<_> = names.into_iter().collect();
        ordered.sort_unstable();
        let names: Vec<_> = ordered.into_iter().map(|(_, name)| name).collect();
        let unmatched: Vec<_> = listing.unmatched.into_iter().map(|p| p.pattern).collect();
        let problems: Vec<_> = listing.problems.into_iter().map(|p| p.message).collect();
        (names.join(" "), unmatched.join(" "), problems.join("; "))
    };
    let found = |patterns: &[&str]| list(patterns).0;
    assert_eq!(
        found(&["../a/**/*.json", "!**/draft-*"]),
        "/a/1.json /a/b/2.json /a/c[1].json"
    );
    assert_eq!(
        found(&["../a/b/2.json", "../a/*.json"]),
        "/a/b/2.json /a/1.json /a/c[1].json"
    );
    assert_eq!(found(&["../a/c[1].json"]), "/a/c[1].json");
    assert_eq!(found(&["../a/.h/*.json"]), "/a/.h/4.json");
    assert_eq!(found(&[".*.json"]), "/m/.x.json");
    assert_eq!(found(&["../{a,d}/{1,5}.*"]), "/a/1.json /d/5.ndjson.gz");
    assert_eq!(
        found(&["../a/1.json", "!../a", "../a/1.json", "-", "-"]),
        "/a/1.json standard input"
    );
    assert_eq!(found(&["../a/*.txt"]), "/a/r.txt");
    let (names, unmatched, problems) = list(&["../a", "../none/*.json", "../a/[", "../no.json"]);
    assert_eq!(
        (names.as_str(), unmatched.as_str()),
        ("", "../none/*.json ../no.json")
    );
    assert!(
        problems.starts_with("`../a` is a folder; the glob cannot be read: "),
        "{problems}"
    );
}

/// What globs below a folder find, leave unmatched and say, with the severity of each problem.
fn found_below(root: &Path, patterns: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>) {
    use stoker::{manifest::FilePattern, source::find};
    let patterns: Vec<_> = patterns
        .iter()
        .map(|pattern| FilePattern {
            pattern: pattern.trim_start_matches('!').to_owned(),
            exclude: pattern.starts_with('!'),
            folder: root.to_owned(),
            place: ("m.yaml".into(), 3, 5),
        })
        .collect();
    let listing = find(&patterns);
    let short = |text: String| text.replace(&format!("{}/", root.display()), "");
    (
        listing
            .files
            .iter()
            .map(|file| short(file.origin.to_string()))
            .collect(),
        listing.unmatched.into_iter().map(|p| p.pattern).collect(),
        listing
            .problems
            .into_iter()
            .map(|p| short(format!("{:?}: {}", p.severity, p.message)))
            .collect(),
    )
}

#[test]
fn what_a_pattern_leaves_out_is_said() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs_err::create_dir_all(root.join("a/sub")).unwrap();
    for name in [
        "a/1.json",
        "a/2.JSON",
        "a/.3.json",
        "a/sub/4.json",
        "a/.git.json",
    ] {
        fs_err::write(root.join(name), "{}").unwrap();
    }
    let none: Vec<String> = Vec::new();
    assert_eq!(
        found_below(root, &["a/*.json"]),
        (
            vec!["a/1.json".to_owned()],
            none.clone(),
            vec![
                "Warning: `a/.3.json`, `a/.git.json` are hidden, and left out".to_owned(),
                "Warning: `a/2.JSON` matches the pattern but for upper and lower case, and is left out".to_owned(),
            ]
        )
    );
    // What is named elsewhere, or taken away, is not left out by mistake.
    assert_eq!(
        found_below(root, &["a/*.json", "a/.*.json", "a/*.JSON"]).2,
        none
    );
    assert_eq!(
        found_below(root, &["a/*.json", "!a/.*", "!a/*.JSON"]).2,
        none
    );
    let (_, unmatched, problems) = found_below(root, &["a/*.jsON"]);
    assert_eq!((unmatched.len(), problems.len()), (1, 1), "{problems:?}");

    fs_err::os::unix::fs::symlink("nowhere.json", root.join("a/link.json")).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("a/socket.json")).unwrap();
    let name = std::ffi::OsStr::from_bytes(b"a/m\xfcller\x1b.json");
    fs_err::write(root.join(name), "{}").unwrap();
    let (files, unmatched, problems) = found_below(root, &["a/*.json", "!a/.*", "!a/*.JSON"]);
    assert_eq!(
        (files, unmatched),
        (vec!["a/1.json".to_owned()], none.clone())
    );
    assert_eq!(
        problems,
        [
            "Error: `a/link.json` is a link to `nowhere.json`, which is not there",
            "Error: `a/socket.json` is no regular file",
            r"Error: the name of `a/m\xfcller\u{1b}.json` is not UTF-8, and cannot be written down in a plan",
        ]
    );
    // Each is one problem, not two, and can be taken away.
    for one in ["a/link.json", "a/socket.json", "a/sub"] {
        let (_, unmatched, problems) = found_below(root, &[one]);
        assert_eq!(
            (unmatched.len(), problems.len()),
            (0, 1),
            "{one}: {problems:?}"
        );
    }
    let patterns = [
        "a/*.json",
        "!a/.*",
        "!a/*.JSON",
        "!a/link.json",
        "!a/socket.json",
        "!a/m*",
    ];
    assert_eq!(found_below(root, &patterns).2, none);
}

#[test]
fn only_folders_that_can_match_are_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["1.json", "a/2.json", "b/3.ndjson", "c/d/4.json"] {
        fs_err::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs_err::write(root.join(name), "{}").unwrap();
    }
    // What cannot be looked into, also by root: a link that leads to itself.
    for name in ["loop", "c/loop"] {
        fs_err::os::unix::fs::symlink("loop", root.join(name)).unwrap();
    }
    for (pattern, expected) in [
        ("*.{json,ndjson}", vec!["1.json"]),
        ("{a,b}/*.{json,ndjson}", vec!["a/2.json", "b/3.ndjson"]),
        ("[ab]/*.json", vec!["a/2.json"]),
        ("{c/d,a}/*.json", vec!["a/2.json", "c/d/4.json"]),
        ("c/*/4.json", vec!["c/d/4.json"]),
        ("**/*.json", vec!["1.json", "a/2.json", "c/d/4.json"]),
    ] {
        let (files, unmatched, _) = found_below(root, &[pattern]);
        assert_eq!(files, expected, "{pattern}");
        assert!(unmatched.is_empty());
    }
}
