//! The JSON Schema says the same as the code, as far as a schema can.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;
use stoker::manifest;

use super::{env, files};

const SCHEMA: &str = "resources/manifest.schema.json";

fn as_json(path: &Path) -> Value {
    let text = fs_err::read_to_string(path).unwrap();
    let mut value: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    value.apply_merge().unwrap();
    serde_json::to_value(value).unwrap()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a switch for people who changed the schema"
)]
fn the_schema_is_current() {
    let schema = serde_json::to_string_pretty(&manifest::schema()).unwrap() + "\n";
    if std::env::var_os("STOKER_UPDATE").is_some() {
        fs_err::write(SCHEMA, &schema).unwrap();
    }
    assert!(
        fs_err::read_to_string(SCHEMA).unwrap_or_default() == schema,
        "{SCHEMA} is not what the types say: run the test again with STOKER_UPDATE=1"
    );
}

const REFERENCE: &str = "docs/manifest.md";

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a switch for people who changed the schema"
)]
fn the_page_of_all_keys_is_current() {
    let page = manifest::reference();
    if std::env::var_os("STOKER_UPDATE").is_some() {
        fs_err::create_dir_all("docs").unwrap();
        fs_err::write(REFERENCE, &page).unwrap();
    }
    assert!(
        fs_err::read_to_string(REFERENCE).unwrap_or_default() == page,
        "{REFERENCE} is not what the schema says: run the test again with STOKER_UPDATE=1"
    );
    // Every key is there, with its example and what it means.
    let mut all = BTreeSet::new();
    keys_of(&manifest::schema(), &mut all);
    assert!(all.len() > 70, "{all:?}");
    for key in all {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")));
        let row = row.unwrap_or_else(|| panic!("{key} has no row"));
        let cells: Vec<&str> = row.split(" | ").collect();
        let [_, kind, _, example, meaning] = cells[..] else {
            panic!("{row}");
        };
        assert!(
            !kind.is_empty() && example.starts_with('`') && meaning.len() > 10,
            "{row}"
        );
    }
}

/// Collects the names of all keys that the schema has, at any depth.
fn keys_of(schema: &Value, into: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for (name, value) in map {
                if name == "properties" {
                    into.extend(value.as_object().unwrap().keys().cloned());
                }
                if !["default", "examples"].contains(&name.as_str()) {
                    keys_of(value, into);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys_of(value, into)),
        _ => {}
    }
}

#[test]
fn examples_and_defaults_of_the_schema_are_valid() {
    fn walk(value: &Value, schema: &Value, seen: &mut usize) {
        if let Value::Object(map) = value {
            let examples = map
                .get("examples")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            for example in examples.chain(map.get("default")) {
                let mut alone = value.clone();
                alone["definitions"] = schema["definitions"].clone();
                assert!(
                    jsonschema::validator_for(&alone).unwrap().is_valid(example),
                    "{example} in {value:#}"
                );
                *seen += 1;
            }
        }
        match value {
            Value::Object(map) => map.values().for_each(|value| walk(value, schema, seen)),
            Value::Array(values) => values.iter().for_each(|value| walk(value, schema, seen)),
            _ => {}
        }
    }
    let schema = manifest::schema();
    let mut seen = 0;
    walk(&schema, &schema, &mut seen);
    assert!(seen > 80, "{seen}");
}

#[test]
fn what_the_code_takes_the_schema_takes() {
    let validator = jsonschema::validator_for(&manifest::schema()).unwrap();
    for path in files("valid").iter().chain(&files("invalid/rules")) {
        let problems: Vec<String> = validator
            .iter_errors(&as_json(path))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(problems.is_empty(), "{}: {problems:#?}", path.display());
    }
}

#[test]
fn what_has_the_wrong_shape_both_refuse() {
    let validator = jsonschema::validator_for(&manifest::schema()).unwrap();
    for path in files("invalid/structure") {
        assert!(!validator.is_valid(&as_json(&path)), "{}", path.display());
        assert!(manifest::read(&path, &env).is_err(), "{}", path.display());
    }
}

/// Collects the names of all keys, at any depth.
fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                into.insert(key.clone());
                keys(value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
        _ => {}
    }
}

/// Collects the properties that a schema describes, and those without a description.
fn properties(schema: &Value, into: &mut BTreeSet<String>, silent: &mut Vec<String>) {
    if let Some(map) = schema.get("properties").and_then(Value::as_object) {
        for (key, value) in map {
            into.insert(key.clone());
            if value.get("description").is_none() && value.get("$ref").is_none() {
                silent.push(key.clone());
            }
        }
        let closed = schema.get("additionalProperties").is_some();
        assert!(closed, "a map of fixed keys takes others: {schema}");
    }
    match schema {
        Value::Object(map) => map
            .values()
            .for_each(|value| properties(value, into, silent)),
        Value::Array(items) => items.iter().for_each(|item| properties(item, into, silent)),
        _ => {}
    }
}

#[test]
fn every_key_is_described_and_seen_working() {
    let mut described = BTreeSet::new();
    let mut silent = Vec::new();
    properties(&manifest::schema(), &mut described, &mut silent);
    assert!(silent.is_empty(), "without a description: {silent:?}");
    let mut used = BTreeSet::new();
    keys(
        &as_json(Path::new("tests/data/valid/everything.yaml")),
        &mut used,
    );
    let unused: Vec<_> = described.difference(&used).collect();
    assert!(unused.is_empty(), "not in everything.yaml: {unused:?}");
}
