//! The fields of Dataset and FhirStore: their shapes (discovery document of the API, v1), and update masks.

use super::json::{Json, Object};
use super::reply::Refusal;

/// The shape of a field.
#[derive(Debug)]
pub(super) enum Shape {
    Bool,
    Text,
    Choice(&'static [&'static str]),
    Labels,
    List(&'static Self),
    Object(&'static [(&'static str, Self)]),
    /// Kept as it is sent.
    Any,
    /// Answered by the API, ignored when sent.
    Output,
}

/// A kind of administrative resource.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) fields: &'static [(&'static str, Shape)],
    pub(super) immutable: &'static [&'static str],
}

/// Dataset.
pub(super) static DATASET: Schema = Schema {
    fields: &[
        (
            "encryptionSpec",
            Shape::Object(&[("kmsKeyName", Shape::Text)]),
        ),
        ("name", Shape::Output),
        ("satisfiesPzi", Shape::Output),
        ("satisfiesPzs", Shape::Output),
        ("timeZone", Shape::Text),
    ],
    immutable: &["name", "encryptionSpec", "satisfiesPzi", "satisfiesPzs"],
};

const NOTIFICATION: Shape = Shape::Object(&[
    ("pubsubTopic", Shape::Text),
    ("sendFullResource", Shape::Bool),
    ("sendPreviousResourceOnDelete", Shape::Bool),
]);

const SCHEMA_CONFIG: Shape = Shape::Object(&[
    ("lastUpdatedPartitionConfig", PARTITION),
    ("recursiveStructureDepth", Shape::Text),
    (
        "schemaType",
        Shape::Choice(&["SCHEMA_TYPE_UNSPECIFIED", "ANALYTICS", "ANALYTICS_V2"]),
    ),
]);

const PARTITION: Shape = Shape::Object(&[
    ("expirationMs", Shape::Text),
    (
        "type",
        Shape::Choice(&["PARTITION_TYPE_UNSPECIFIED", "HOUR", "DAY", "MONTH", "YEAR"]),
    ),
]);

/// FhirStore.
pub(super) static FHIR_STORE: Schema = Schema {
    fields: &[
        (
            "bulkExportGcsDestination",
            Shape::Object(&[("uri", Shape::Text)]),
        ),
        (
            "complexDataTypeReferenceParsing",
            Shape::Choice(&[
                "COMPLEX_DATA_TYPE_REFERENCE_PARSING_UNSPECIFIED",
                "DISABLED",
                "ENABLED",
            ]),
        ),
        (
            "consentConfig",
            Shape::Object(&[
                (
                    "accessDeterminationLogConfig",
                    Shape::Object(&[(
                        "logLevel",
                        Shape::Choice(&["LOG_LEVEL_UNSPECIFIED", "DISABLED", "MINIMUM", "VERBOSE"]),
                    )]),
                ),
                ("accessEnforced", Shape::Bool),
                (
                    "consentHeaderHandling",
                    Shape::Object(&[(
                        "profile",
                        Shape::Choice(&[
                            "SCOPE_PROFILE_UNSPECIFIED",
                            "PERMIT_EMPTY_SCOPE",
                            "REQUIRED_ON_READ",
                        ]),
                    )]),
                ),
                ("enforcedAdminConsents", Shape::Output),
                (
                    "version",
                    Shape::Choice(&["CONSENT_ENFORCEMENT_VERSION_UNSPECIFIED", "V1"]),
                ),
            ]),
        ),
        ("defaultSearchHandlingStrict", Shape::Bool),
        ("disableReferentialIntegrity", Shape::Bool),
        ("disableResourceVersioning", Shape::Bool),
        ("enableUpdateCreate", Shape::Bool),
        ("labels", Shape::Labels),
        ("name", Shape::Output),
        (
            "notificationConfig",
            Shape::Object(&[
                ("pubsubTopic", Shape::Text),
                ("sendFullResource", Shape::Bool),
            ]),
        ),
        ("notificationConfigs", Shape::List(&NOTIFICATION)),
        (
            "streamConfigs",
            Shape::List(&Shape::Object(&[
                (
                    "bigqueryDestination",
                    Shape::Object(&[
                        ("datasetUri", Shape::Text),
                        ("force", Shape::Bool),
                        ("schemaConfig", SCHEMA_CONFIG),
                        (
                            "writeDisposition",
                            Shape::Choice(&[
                                "WRITE_DISPOSITION_UNSPECIFIED",
                                "WRITE_EMPTY",
                                "WRITE_TRUNCATE",
                                "WRITE_APPEND",
                            ]),
                        ),
                    ]),
                ),
                (
                    "deidentifiedStoreDestination",
                    Shape::Object(&[("store", Shape::Text)]),
                ),
                ("resourceTypes", Shape::List(&Shape::Text)),
            ])),
        ),
        (
            "validationConfig",
            Shape::Object(&[
                ("disableFhirpathValidation", Shape::Bool),
                ("disableProfileValidation", Shape::Bool),
                ("disableReferenceTypeValidation", Shape::Bool),
                ("disableRequiredFieldValidation", Shape::Bool),
                ("enabledImplementationGuides", Shape::List(&Shape::Text)),
                ("enableFhirpathProfileValidation", Shape::Bool),
            ]),
        ),
        (
            "version",
            Shape::Choice(&["VERSION_UNSPECIFIED", "DSTU2", "STU3", "R4", "R5"]),
        ),
    ],
    immutable: &[
        "name",
        "version",
        "disableReferentialIntegrity",
        "disableResourceVersioning",
    ],
};

impl Schema {
    /// Reads a body; an empty one has no fields. Unset values (`false`, empty, null) are left out, as the API does.
    pub(super) fn read(&self, body: &[u8]) -> Result<Object, Refusal> {
        if body.trim_ascii().is_empty() {
            return Ok(Object::new());
        }
        let json = Json::parse(body).map_err(|error| Refusal::payload(&format!("{error}.")))?;
        let Json::Object(object) = json else {
            return Err(Refusal::payload("Root element must be a message."));
        };
        self.read_object(object)
    }

    /// Reads an object that has been parsed.
    pub(super) fn read_object(&self, object: Object) -> Result<Object, Refusal> {
        read_object(self.fields, object, "")
    }

    /// Applies the fields that the mask names. Without a mask the fields of the body are meant.
    pub(super) fn patch(
        &self,
        current: &Object,
        change: &Object,
        mask: Option<&str>,
    ) -> Result<Object, Refusal> {
        let paths: Vec<String> = match mask {
            Some(mask) => mask.split(',').map(|path| camel(path.trim())).collect(),
            None => change.keys().cloned().collect(),
        };
        let mut patched = current.clone();
        for path in &paths {
            let root = path.split('.').next().unwrap_or_default();
            if !self.fields.iter().any(|(name, _)| *name == root) {
                let message = format!("update_mask names the unknown field \"{path}\"");
                return Err(Refusal::google(http::StatusCode::BAD_REQUEST, message));
            }
            if self.immutable.contains(&root) {
                let message = format!("the field \"{path}\" is immutable and cannot be updated");
                return Err(Refusal::google(http::StatusCode::BAD_REQUEST, message));
            }
            let steps: Vec<&str> = path.split('.').collect();
            set(&mut patched, &steps, get(change, &steps));
        }
        Ok(patched)
    }
}

fn get<'a>(object: &'a Object, steps: &[&str]) -> Option<&'a Json> {
    let (first, rest) = steps.split_first()?;
    let value = object.get(*first)?;
    if rest.is_empty() {
        Some(value)
    } else {
        get(value.as_object()?, rest)
    }
}

fn set(object: &mut Object, steps: &[&str], value: Option<&Json>) {
    let Some((first, rest)) = steps.split_first() else {
        return;
    };
    if rest.is_empty() {
        match value {
            Some(value) => object.insert((*first).to_owned(), value.clone()),
            None => object.remove(*first),
        };
        return;
    }
    let inner = object
        .entry((*first).to_owned())
        .or_insert_with(|| Json::Object(Object::new()));
    if let Json::Object(inner) = inner {
        set(inner, rest, value);
        if inner.is_empty() {
            object.remove(*first);
        }
    }
}

/// Masks come in both of protobuf's spellings.
fn camel(path: &str) -> String {
    let mut out = String::new();
    let mut raise = false;
    for letter in path.chars() {
        match letter {
            '_' => raise = true,
            _ if raise => {
                out.extend(letter.to_uppercase());
                raise = false;
            }
            _ => out.push(letter),
        }
    }
    out
}

fn read_object(
    fields: &'static [(&'static str, Shape)],
    object: Object,
    path: &str,
) -> Result<Object, Refusal> {
    let mut read = Object::new();
    for (key, value) in object {
        let Some((_, shape)) = fields.iter().find(|(name, _)| *name == key) else {
            let place = if path.is_empty() {
                String::new()
            } else {
                format!(" at '{path}'")
            };
            return Err(Refusal::payload(&format!(
                "Unknown name \"{key}\"{place}: Cannot find field."
            )));
        };
        let inner = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        if let Some(value) = read_value(shape, value, &inner)? {
            read.insert(key, value);
        }
    }
    Ok(read)
}

fn read_value(shape: &'static Shape, value: Json, path: &str) -> Result<Option<Json>, Refusal> {
    let wrong = |what: &str| Refusal::payload(&format!("Invalid value at '{path}' ({what})."));
    Ok(match (shape, value) {
        (Shape::Output, _) | (_, Json::Null) | (Shape::Bool, Json::Bool(false)) => None,
        (Shape::Any, value) => Some(value),
        (Shape::Bool, Json::Bool(true)) => Some(Json::Bool(true)),
        (Shape::Bool, _) => return Err(wrong("TYPE_BOOL")),
        (Shape::Text, Json::Text(text)) => (!text.is_empty()).then_some(Json::Text(text)),
        // An int64 may come as a number; the API answers it as a string.
        (Shape::Text, Json::Number(text)) if path.ends_with("Depth") || path.ends_with("Ms") => {
            Some(Json::Text(text))
        }
        (Shape::Text, _) => return Err(wrong("TYPE_STRING")),
        (Shape::Choice(choices), Json::Text(text)) => {
            let Some(at) = choices.iter().position(|choice| *choice == text) else {
                return Err(wrong(&format!(
                    "TYPE_ENUM), \"{text}\"; known are: {}",
                    choices.join(", ")
                )));
            };
            // The first of every enumeration means "unset", unless it is a value of its own.
            (at > 0 || !text.ends_with("UNSPECIFIED")).then_some(Json::Text(text))
        }
        (Shape::Choice(_), _) => return Err(wrong("TYPE_ENUM")),
        (Shape::Labels, Json::Object(labels)) => {
            if labels.len() > 64 {
                return Err(wrong("at most 64 labels"));
            }
            for (key, label) in &labels {
                let Some(label) = label.as_text() else {
                    return Err(wrong("TYPE_STRING"));
                };
                if let Some(why) = unfit_label(key, label) {
                    return Err(wrong(&format!("the label \"{key}\": {why}")));
                }
            }
            (!labels.is_empty()).then_some(Json::Object(labels))
        }
        (Shape::List(inner), Json::List(items)) => {
            let mut read = Vec::new();
            for (index, item) in items.into_iter().enumerate() {
                let item = read_value(inner, item, &format!("{path}[{index}]"))?;
                read.push(item.unwrap_or_else(|| {
                    if matches!(inner, Shape::Text) {
                        Json::text("")
                    } else {
                        Json::Object(Object::new())
                    }
                }));
            }
            (!read.is_empty()).then_some(Json::List(read))
        }
        (Shape::List(_), _) => return Err(wrong("expected an array")),
        (Shape::Object(fields), Json::Object(object)) => {
            let read = read_object(fields, object, path)?;
            (!read.is_empty()).then_some(Json::Object(read))
        }
        (Shape::Object(_) | Shape::Labels, _) => return Err(wrong("expected an object")),
    })
}

/// Says why a pair is no label: keys match `[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}`, values
/// `[\p{Ll}\p{Lo}\p{N}_-]{0,63}`, and neither takes more than 128 bytes (FhirStore.labels).
fn unfit_label(key: &str, value: &str) -> Option<&'static str> {
    // A letter without case is one of `Lo`; title case does not occur outside of `Lt`, which is uppercase to nobody but
    // itself.
    let letter = |c: char| c.is_lowercase() || (c.is_alphabetic() && !c.is_uppercase());
    let rest = |c: char| letter(c) || c.is_numeric() || matches!(c, '_' | '-');
    if !key.chars().next().is_some_and(letter) {
        return Some("a key begins with a lowercase letter");
    }
    if !key.chars().all(rest) || !value.chars().all(rest) {
        return Some("keys and values have lowercase letters, digits, `_` and `-`");
    }
    if [key, value]
        .iter()
        .any(|text| text.chars().count() > 63 || text.len() > 128)
    {
        return Some("keys and values have at most 63 characters and 128 bytes");
    }
    None
}

/// The settings of a FHIR store that decide how requests are answered.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "FhirStore's own fields, under its own names"
)]
pub(super) struct Settings {
    pub(super) enable_update_create: bool,
    pub(super) disable_resource_versioning: bool,
    pub(super) default_search_handling_strict: bool,
    /// References inside extensions take part in rewriting.
    pub(super) complex_references: bool,
    /// References have to lead to what is there.
    pub(super) integrity: bool,
    /// Also those inside extensions.
    pub(super) checks_extensions: bool,
}

impl Settings {
    /// Reads them from a FhirStore's fields.
    pub(super) fn of(fields: &Object) -> Self {
        let set = |name: &str| matches!(fields.get(name), Some(Json::Bool(true)));
        let parsing = fields
            .get("complexDataTypeReferenceParsing")
            .and_then(Json::as_text);
        Self {
            enable_update_create: set("enableUpdateCreate"),
            disable_resource_versioning: set("disableResourceVersioning"),
            default_search_handling_strict: set("defaultSearchHandlingStrict"),
            // Sources disagree about the default; a reference that is not rewritten would be lost.
            complex_references: parsing != Some("DISABLED"),
            integrity: !set("disableReferentialIntegrity"),
            checks_extensions: parsing == Some("ENABLED"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_checked() {
        let long = "a".repeat(64);
        for (key, value) in [
            ("a", ""),
            ("team-1", "x_y"),
            ("größe", "9"),
            (&long[1..], "日本"),
        ] {
            assert_eq!(unfit_label(key, value), None, "{key} {value}");
        }
        for (key, value) in [
            ("", "x"),
            ("1a", "x"),
            ("-a", "x"),
            ("Team", "x"),
            ("a b", "x"),
            ("a.b", "x"),
            ("a", "X"),
            (&long, "x"),
            ("a", &long),
        ] {
            assert!(unfit_label(key, value).is_some(), "{key} {value}");
        }
    }
}
