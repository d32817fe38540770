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
