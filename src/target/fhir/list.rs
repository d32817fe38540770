//! Counts and lists the resources of a type, by searches without a condition.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::{place::Body, searchset::Searchset};

/// A page of names: servers that do not know `_elements` answer with more.
pub(super) const QUERY: &str = "_elements=id&_count=500";

/// Reads how many resources a search found.
pub(super) fn total(body: &[u8]) -> Option<u64> {
    Searchset::read(body)?.total
}

/// Reads the ids of the resources of a type on a page, and where the next one is.
pub(super) fn page(kind: &str, body: &[u8]) -> Option<(Vec<String>, Option<String>)> {
    let set = Searchset::read(body)?;
    let resources = set.entry.iter().filter_map(|entry| entry.resource);
    let names = resources.filter_map(|raw| Body::read(raw.get().as_bytes())?.name());
    // A server's remark on the search is no resource of the type.
    let ids = names.filter(|name| name.kind == kind).map(|name| name.id);
    Some((ids.collect(), set.link("next").map(str::to_owned)))
}

/// Reads how many resources of each type Google's metrics of a store count. Counts are strings there (int64 in JSON).
pub(super) fn counts(body: &[u8]) -> Option<HashMap<String, u64>> {
    #[derive(Deserialize)]
    struct Metrics {
        #[serde(default)]
        metrics: Vec<Metric>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metric {
        resource_type: String,
        #[serde(default)]
        count: Value,
    }
    // A list is read as a structure without members.
    if !body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let metrics: Metrics = serde_json::from_slice(body).ok()?;
    let counted = metrics.metrics.into_iter().map(|metric| {
        let count = match metric.count {
            Value::String(text) => text.parse().ok(),
            // A count of zero is left out in JSON.
            Value::Null => Some(0),
            number => number.as_u64(),
        };
        Some((metric.resource_type, count?))
    });
    counted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_count_in_strings() {
        let body = br#"{"name":"s","metrics":[{"resourceType":"Patient","count":"12"},{"resourceType":"Group"}]}"#;
        let counts = counts(body).unwrap();
        assert_eq!(
            (counts["Patient"], counts["Group"], counts.len()),
            (12, 0, 2)
        );
        assert!(super::counts(b"[]").is_none());
        assert!(
            super::counts(br#"{"metrics":[{"resourceType":"Patient","count":"x"}]}"#).is_none()
        );
    }

    #[test]
    fn a_page_has_names_and_a_next() {
        let body = br#"{"resourceType":"Bundle","total":3,"link":[{"relation":"self","url":"s"},{"relation":"next","url":"n"}],
            "entry":[{"resource":{"resourceType":"Patient","id":"a"}},{"resource":{"resourceType":"OperationOutcome","id":"b"}}]}"#;
        assert_eq!(total(body), Some(3));
        let (ids, next) = page("Patient", body).unwrap();
        assert_eq!(ids, ["a"]);
        assert_eq!(next.as_deref(), Some("n"));
        assert!(page("Patient", b"{}").is_none());
    }
}
