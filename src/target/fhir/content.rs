//! Compares a store's resource with what a record says.

use std::collections::BTreeMap;

use serde_json::Value;

/// Compares two resources by content. Members that the server writes itself are left out: `meta.versionId`,
/// `meta.lastUpdated`, `meta.source`; numbers are compared by their text.
pub(super) fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    match (content(ours), content(theirs)) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => false,
    }
}

/// Compares a record with the resource that a store made of it, under an id of its own: as [`is_same`] does, but for `id`.
pub(super) fn is_same_but_id(ours: &[u8], theirs: &[u8]) -> bool {
    let without_id = |json| {
        let mut content = content(json)?;
        content.remove("id");
        Some(content)
    };
    match (without_id(ours), without_id(theirs)) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => false,
    }
}

/// Tells whether a resource is what a store under this base made of a record: as [`is_same_but_id`] does, and a store may
/// write references to its own resources with its base, give a record without a narrative one, and add to `meta`
/// (profiles, tags, security labels) what its own rules say.
pub(super) fn is_made_of(ours: &[u8], theirs: &[u8], base: &str) -> bool {
    let (Some(mut ours), Some(mut theirs)) = (content(ours), content(theirs)) else {
        return false;
    };
    for resource in [&mut ours, &mut theirs] {
        for value in resource.values_mut() {
            relative(value, base);
        }
    }
    is_made(ours, theirs)
}

fn is_made(mut ours: Content, mut theirs: Content) -> bool {
    for resource in [&mut ours, &mut theirs] {
        resource.remove("id");
    }
    if !ours.contains_key("text") {
        theirs.remove("text");
    }
    let meta = (ours.remove("meta"), theirs.remove("meta"));
    let holds = match &meta {
        (Some(ours), Some(theirs)) => holds(theirs, ours),
        (ours, _) => ours.is_none(),
    };
    holds && ours == theirs
}

/// As [`is_made_of`], whatever the references lead to.
pub(super) fn is_made_of_but_references(ours: &[u8], theirs: &[u8]) -> bool {
    let (Some(mut ours), Some(mut theirs)) = (content(ours), content(theirs)) else {
        return false;
    };
    for resource in [&mut ours, &mut theirs] {
        resource.values_mut().for_each(forget_references);
    }
    is_made(ours, theirs)
}

fn forget_references(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(forget_references),
        Value::Object(members) => {
            members.remove("reference");
            members.values_mut().for_each(forget_references);
        }
        _ => {}
    }
}

/// Takes the base of a store from the references to its own resources.
fn relative(value: &mut Value, base: &str) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| relative(value, base)),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "reference" => {
                        if let Some(rest) = text.strip_prefix(base) {
                            *text = rest.to_owned();
                        }
                    }
                    value => relative(value, base),
                }
            }
        }
        _ => {}
    }
}

/// Tells whether a value holds all that another does: of lists every element, of objects every member.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Array(whole), Value::Array(part)) => part
            .iter()
            .all(|element| whole.iter().any(|other| holds(other, element))),
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, value)| whole.get(name).is_some_and(|other| holds(other, value))),
        (whole, part) => whole == part,
    }
}

/// The members of a resource, without those that the server writes itself.
type Content = BTreeMap<String, Value>;

fn content(json: &[u8]) -> Option<Content> {
    let mut resource: Content = serde_json::from_slice(json).ok()?;
    if let Some(meta) = resource.get_mut("meta").and_then(Value::as_object_mut) {
        for set_by_the_server in ["versionId", "lastUpdated", "source"] {
            meta.remove(set_by_the_server);
        }
        if meta.is_empty() {
            resource.remove("meta");
        }
    }
    Some(resource)
}

#[cfg(test)]
mod tests {
    use super::{is_made_of, is_same};

    #[test]
    fn what_a_store_adds_of_itself_is_no_difference() {
        let base = "https://a.example/fhir/";
        let made = |theirs: &str| {
            let ours = br#"{"resourceType":"Condition","meta":{"tag":[{"system":"s","code":"c"}]},"subject":{"reference":"Patient/1"}}"#;
            is_made_of(ours, theirs.as_bytes(), base)
        };
        let tag = r#""tag":[{"system":"x","code":"y"},{"system":"s","code":"c","display":"C"}]"#;
        let text = r#""text":{"status":"generated","div":"<div/>"}"#;
        let subject = r#""subject":{"reference":"https://a.example/fhir/Patient/1"}"#;
        let condition = r#""resourceType":"Condition","id":"7""#;
        assert!(made(&format!(
            r#"{{{condition},{text},"meta":{{"versionId":"1","profile":["p"],{tag}}},{subject}}}"#
        )));
        // Another subject, another element, without the tag.
        for theirs in [
            format!(r#"{{{condition},"meta":{{{tag}}},"subject":{{"reference":"Patient/2"}}}}"#),
            format!(r#"{{{condition},"meta":{{{tag}}},{subject},"onsetString":"x"}}"#),
            format!(r#"{{{condition},"meta":{{"versionId":"1"}},{subject}}}"#),
            format!(r"{{{condition},{subject}}}"),
        ] {
            assert!(!made(&theirs), "{theirs}");
        }
        // The narrative that was sent is content.
        let ours = format!(r"{{{condition},{text},{subject}}}");
        assert!(!is_made_of(
            ours.as_bytes(),
            format!(r"{{{condition},{subject}}}").as_bytes(),
            base
        ));
    }

    #[test]
    fn only_content_counts() {
        let ours = br#"{"resourceType":"Patient","id":"a","n":1.00}"#;
        let theirs = br#"{"id":"a","meta":{"versionId":"1","lastUpdated":"x"},"n":1.00,"resourceType":"Patient"}"#;
        assert!(is_same(ours, theirs));
        assert!(!is_same(
            ours,
            br#"{"resourceType":"Patient","id":"a","n":1.0}"#
        ));
        assert!(!is_same(
            ours,
            br#"{"resourceType":"Patient","id":"a","n":1.00,"meta":{"tag":[]}}"#
        ));
        assert!(!is_same(ours, b"<html>"));
    }
}
