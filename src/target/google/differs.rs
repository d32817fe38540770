//! Fields in which a store is not what a manifest wants it to be.
//!
//! Only fields that the manifest gives are looked at. A field that the API leaves out of an answer has the value that
//! is nothing (`false`, `0`, an empty text), as protobuf's JSON has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A field of a store that is not as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingDifference {
    /// The field, as `consentConfig.version`.
    pub field: String,
    /// The value that the manifest wants, as JSON.
    pub wanted: String,
    /// The value that the store has, as JSON; none where it is not set.
    pub found: Option<String>,
}

impl SettingDifference {
    /// Tells whether the field can only be set when the store is made (discovery document: immutable).
    pub fn is_fixed(&self) -> bool {
        let field = self.field.split('.').next().unwrap_or_default();
        [
            "version",
            "disableReferentialIntegrity",
            "disableResourceVersioning",
        ]
        .contains(&field)
    }
}

/// Returns the fields in which a store differs from what is wanted, in the order of their names.
pub fn differences(wanted: &BTreeMap<String, Value>, store: &Value) -> Vec<SettingDifference> {
    let mut found = Vec::new();
    for (field, wanted) in wanted {
        compare(field, wanted, store.get(field), &mut found);
    }
    found
}

fn compare(field: &str, wanted: &Value, store: Option<&Value>, found: &mut Vec<SettingDifference>) {
    if let (Value::Object(wanted), Some(Value::Object(_)) | None) = (wanted, store) {
        for (name, wanted) in wanted {
            let store = store.and_then(|store| store.get(name));
            compare(&format!("{field}.{name}"), wanted, store, found);
        }
        return;
    }
    let is_same = match store {
        None => is_nothing(wanted),
        Some(store) => is_same(wanted, store),
    };
    if !is_same {
        found.push(SettingDifference {
            field: field.to_owned(),
            wanted: wanted.to_string(),
            found: match (store, wanted) {
                (Some(store), _) => Some(store.to_string()),
                (None, Value::Bool(_)) => Some("false".to_owned()),
                (None, _) => None,
            },
        });
    }
}

fn is_same(wanted: &Value, store: &Value) -> bool {
    match (wanted, store) {
        (Value::Array(wanted), Value::Array(store)) => {
            let mut pairs = wanted.iter().zip(store);
            wanted.len() == store.len() && pairs.all(|(wanted, store)| is_same(wanted, store))
        }
        (Value::Object(wanted), Value::Object(store)) => {
            let mut fields = wanted.iter();
            fields.all(|(name, wanted)| match store.get(name) {
                Some(store) => is_same(wanted, store),
                None => is_nothing(wanted),
            })
        }
        // Protobuf's JSON writes long numbers as text.
        (Value::Number(number), Value::String(text)) => number.to_string() == *text,
        (wanted, store) => wanted == store,
    }
}

/// Tells whether a value is the one that a field has which is not set.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        // Of every enumeration the first value is unspecified, which the API documents to be the same as disabled.
        Value::String(text) => {
            text.is_empty() || text.ends_with("_UNSPECIFIED") || text == "DISABLED"
        }
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(wanted: &Value, store: &Value) -> Vec<String> {
        let wanted = serde_json::from_value(wanted.clone()).unwrap();
        let found = differences(&wanted, store).into_iter();
        found.map(|difference| difference.field).collect()
    }

    #[test]
    fn what_is_left_out_has_the_value_that_is_nothing() {
        let store = json!({"name": "x", "version": "R4", "enableUpdateCreate": true});
        for (wanted, differing) in [
            (json!({}), vec![]),
            (json!({"version": "R4", "enableUpdateCreate": true}), vec![]),
            (
                json!({"enableUpdateCreate": false}),
                vec!["enableUpdateCreate"],
            ),
            (json!({"disableReferentialIntegrity": false}), vec![]),
            (
                json!({"disableReferentialIntegrity": true}),
                vec!["disableReferentialIntegrity"],
            ),
            (json!({"version": "R5"}), vec!["version"]),
            (
                json!({"complexDataTypeReferenceParsing": "DISABLED"}),
                vec![],
            ),
            (
                json!({"validationConfig": {"disableProfileValidation": true, "disableFhirpathValidation": false}}),
                vec!["validationConfig.disableProfileValidation"],
            ),
            (json!({"labels": {"env": "test"}}), vec!["labels.env"]),
        ] {
            assert_eq!(fields(&wanted, &store), differing, "{wanted}");
        }
    }

    #[test]
    fn lists_are_compared_item_by_item() {
        let store = json!({"notificationConfigs": [{"pubsubTopic": "a", "sendFullResource": true}], "n": "10"});
        for (wanted, is_same) in [
            (json!({"notificationConfigs": [{"pubsubTopic": "a"}]}), true),
            (
                json!({"notificationConfigs": [{"pubsubTopic": "b"}]}),
                false,
            ),
            (json!({"notificationConfigs": []}), false),
            (json!({"n": 10}), true),
        ] {
            assert_eq!(fields(&wanted, &store).is_empty(), is_same, "{wanted}");
        }
    }

    #[test]
    fn a_difference_says_what_is_there() {
        let wanted = serde_json::from_value(json!({"version": "R5"})).unwrap();
        let found = differences(&wanted, &json!({"version": "R4"}));
        assert_eq!(
            found,
            [SettingDifference {
                field: "version".to_owned(),
                wanted: "\"R5\"".to_owned(),
                found: Some("\"R4\"".to_owned()),
            }]
        );
        assert!(found[0].is_fixed());
    }
}
