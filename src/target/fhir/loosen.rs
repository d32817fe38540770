//! Takes references out of a resource that is about to be deleted, so that what it refers to can go before it.
//!
//! The written resource carries a tag with a hash of its content: a run that is killed in between knows it again, as
//! long as nobody has changed it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{record, target::Named};

/// The system of the tag.
const SYSTEM: &str = "urn:x-stoker:unload";

/// Stands where a reference was: an element without any content is none.
const DISPLAY: &str = "about to be deleted";

/// Returns a resource without its references to these, with a tag.
pub(super) fn loosened(of: &[Named<'_>], resource: &[u8], mark: &str) -> Option<Bytes> {
    let mut resource: Value = serde_json::from_slice(resource).ok()?;
    let names: Vec<String> = of.iter().map(|n| format!("{}/{}", n.kind, n.id)).collect();
    take_out(&names, &mut resource);
    let code = format!("{mark}.{}", hash(&resource)?);
    let meta = resource.as_object_mut()?.entry("meta");
    let meta = meta
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()?;
    let tags = meta
        .entry("tag")
        .or_insert_with(|| Value::Array(Vec::new()));
    tags.as_array_mut()?
        .push(json!({"system": SYSTEM, "code": code}));
    Some(Bytes::from(resource.to_string()))
}

/// Tells whether a resource is what was written with this mark.
pub(super) fn is_loosened(resource: &[u8], mark: &str) -> bool {
    let resource: Option<Value> = serde_json::from_slice(resource).ok();
    resource.is_some_and(|resource| {
        let Some(hash) = hash(&resource) else {
            return false;
        };
        let code = format!("{mark}.{hash}");
        let tags = resource.pointer("/meta/tag").and_then(Value::as_array);
        tags.into_iter().flatten().any(|tag| {
            tag.get("system").and_then(Value::as_str) == Some(SYSTEM)
                && tag.get("code").and_then(Value::as_str) == Some(&code)
        })
    })
}

/// Of all but what the store itself says of the resource.
fn hash(resource: &Value) -> Option<String> {
    let mut resource = resource.as_object()?.clone();
    resource.remove("meta");
    let sorted: std::collections::BTreeMap<_, _> = resource.into_iter().collect();
    let text = serde_json::to_vec(&sorted).ok()?;
    Some(format!("{:032x}", record::hash(&text)))
}

fn take_out(names: &[String], value: &mut Value) {
    match value {
        Value::Object(members) => {
            let refers = members.get("reference").and_then(Value::as_str);
            let refers = refers.is_some_and(|text| names.iter().any(|name| is_of(text, name)));
            if refers {
                members.remove("reference");
                members.entry("display").or_insert_with(|| DISPLAY.into());
            }
            members
                .values_mut()
                .for_each(|member| take_out(names, member));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| take_out(names, item)),
        _ => {}
    }
}

/// Tells whether a reference is to `Type/id`: relative or by the store's base, with a version or without.
pub(super) fn is_of(reference: &str, name: &str) -> bool {
    let (reference, _) = reference
        .split_once("/_history/")
        .unwrap_or((reference, ""));
    let before = reference.strip_suffix(name);
    before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_references_to_the_others_go_and_a_change_is_noticed() {
        let of = [Named {
            kind: "Location",
            id: "b",
        }];
        let resource = br#"{"resourceType":"Location","id":"a","meta":{"versionId":"2"},"partOf":{"reference":"Location/b"},
            "managingOrganization":{"reference":"Organization/b"},"endpoint":[{"reference":"https://x/fhir/Location/b/_history/1","display":"d"},
            {"reference":"Location/ab"}]}"#;
        let body = loosened(&of, resource, "r.m.1").unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(!text.contains("Location/b\""), "{text}");
        assert!(
            text.contains("Organization/b") && text.contains("Location/ab"),
            "{text}"
        );
        assert!(is_loosened(&body, "r.m.1"));
        assert!(!is_loosened(&body, "r.m.2"));
        assert!(!is_loosened(resource, "r.m.1"));
        let changed = text.replace("\"d\"", "\"e\"");
        assert!(!is_loosened(changed.as_bytes(), "r.m.1"));
        // A member that the store writes itself is no change.
        let written = text.replace("\"versionId\":\"2\"", "\"versionId\":\"3\"");
        assert!(is_loosened(written.as_bytes(), "r.m.1"));
    }
}
