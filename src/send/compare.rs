//! Reads what the store holds before an update, and leaves equal content alone.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Link,
    feed::Work,
    settle::{self, Attempted},
};
use crate::{journal::Settlement, record::Outcome, target::fhir::accepted};

/// Returns the settlement of a record that the store already holds as it is; none where it has to be sent.
///
/// Whatever goes wrong with the reading, the update itself will tell.
pub(super) async fn unchanged(link: &Link, work: &Work) -> Option<Settlement> {
    let (step, body) = (work.steps.first()?, work.bodies.first()?);
    let id = step.id.as_deref()?;
    let read = link
        .gate
        .look_up(|| link.requests.read(&step.kind, id))
        .await
        .ok()?;
    if read.status() != http::StatusCode::OK || !is_same(body, read.body()) {
        return None;
    }
    let note = "the store already holds this content";
    let mut settled = settle::told(
        step.number,
        Outcome::Unchanged,
        Some(200),
        Attempted::default(),
        note,
    );
    let place = accepted(read.headers(), read.body());
    settled.line.id = Some(id.to_owned());
    settled.line.version = place.version;
    Some(settled)
}

/// Compares two resources by content. What the server writes itself is left out: `meta.versionId`,
/// `meta.lastUpdated`, `meta.source`; numbers are compared by their text.
fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    match (content(ours), content(theirs)) {
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
