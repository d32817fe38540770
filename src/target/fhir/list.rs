//! Counts and lists the resources of a type, by searches without a condition.

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

#[cfg(test)]
mod tests {
    use super::*;

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
