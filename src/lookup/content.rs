//! Whether a store holds what a record says.

use std::collections::BTreeMap;

use serde_json::Value;

/// Compares two resources by content. What the server writes itself is left out: `meta.versionId`,
/// `meta.lastUpdated`, `meta.source`; numbers are compared by their text.
pub fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    match (content(ours), content(theirs)) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => false,
    }
}

/// Compares a record with the resource that a store made of it, under an id of its own: as [`is_same`] does, but for `id`.
pub fn is_same_but_id(ours: &[u8], theirs: &[u8]) -> bool {
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

fn content(json: &[u8]) -> Option<BTreeMap<String, Value>> {
    let mut resource: BTreeMap<String, Value> = serde_json::from_slice(json).ok()?;
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
    use super::is_same;

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
