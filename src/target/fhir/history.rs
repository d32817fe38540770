//! Reads the versions of a resource (<https://hl7.org/fhir/R4/http.html#history>): Google and others tell the newest first.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::place::Body;
use crate::target::{Named, Version};

/// The number of versions that are asked for: what a run changed is near the top.
pub(super) const QUERY: &str = "_count=50";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    resource_type: String,
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

/// Returns the versions on a page, the newest first. An entry without a resource is a deletion.
pub(super) fn versions(record: Named<'_>, body: &Bytes) -> Option<Vec<Version>> {
    let bundle: Bundle<'_> = serde_json::from_slice(body).ok()?;
    if bundle.resource_type != "Bundle" {
        return None;
    }
    let read = bundle.entry.into_iter().map(|entry| {
        let Some(raw) = entry.resource else {
            return Some(Version {
                version: String::new(),
                resource: None,
            });
        };
        let text = raw.get().as_bytes();
        let name = Body::read(text)?.name()?;
        if name.kind != record.kind || name.id != record.id {
            return None;
        }
        Some(Version {
            version: name.version?,
            resource: Some(body.slice_ref(text)),
        })
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_of_this_resource_and_keep_their_bytes() {
        let record = Named {
            kind: "Patient",
            id: "a",
        };
        let body = Bytes::from_static(
            br#"{"resourceType":"Bundle","type":"history","entry":[
            {"resource":{"resourceType":"Patient","id":"a","meta":{"versionId":"2"},"x":1.50}},
            {"request":{"method":"DELETE","url":"Patient/a"}},
            {"resource":{"resourceType":"Patient","id":"a","meta":{"versionId":"1"}}}]}"#,
        );
        let versions = versions(record, &body).unwrap();
        let told: Vec<&str> = versions.iter().map(|v| v.version.as_str()).collect();
        assert_eq!(told, ["2", "", "1"]);
        let text = versions[0].resource.as_ref().unwrap();
        assert!(text.ends_with(br#""x":1.50}"#), "{text:?}");
        assert!(versions[1].resource.is_none());
        let other = Named { id: "b", ..record };
        assert!(super::versions(other, &body).is_none());
        assert!(super::versions(record, &Bytes::from_static(b"{}")).is_none());
    }
}
