//! Finds out which resources refer to others: a search for these, with all that refers to them.

use serde_json::Value;

use super::{loosen::is_of, place::Body, searchset::Searchset};
use crate::target::{Named, Referrers};

/// The number from which on a store may have left some out (`_maxinclude` is 1,000 of HAPI, and of the local store).
const MOST: usize = 1_000;

/// Returns the query; the ids are those of a store, which need no encoding.
pub(super) fn query(records: &[Named<'_>]) -> String {
    let ids: Vec<&str> = records.iter().map(|record| record.id).collect();
    let (ids, count) = (ids.join(","), records.len());
    format!("_id={ids}&_revinclude=*&_count={count}")
}

/// Reads who refers to records. A store that does not know the parameter leaves it out of what it says that it followed
/// (R4, search.html#conformance): its answer says nothing.
pub(super) fn read(records: &[Named<'_>], body: &[u8]) -> Option<Referrers> {
    let set = Searchset::read(body)?;
    if !(set.link("self")).is_some_and(|url| url.contains("_revinclude")) {
        return None;
    }
    let names: Vec<String> = records
        .iter()
        .map(|record| format!("{}/{}", record.kind, record.id))
        .collect();
    let mut referrers = Referrers {
        found: Vec::new(),
        is_whole: set.link("next").is_none(),
    };
    let mut included = 0;
    for entry in set.entry.iter().filter(|entry| entry.is_included()) {
        included += 1;
        let Some(raw) = entry.resource else { continue };
        let Some(name) = Body::read(raw.get().as_bytes()).and_then(|body| body.name()) else {
            continue;
        };
        let Ok(resource) = serde_json::from_str::<Value>(raw.get()) else {
            continue;
        };
        let mut to = Vec::new();
        find(&names, &resource, &mut to);
        to.sort_unstable();
        to.dedup();
        if !to.is_empty() {
            referrers.found.push((name.kind, name.id, to));
        }
    }
    referrers.is_whole &= included < MOST;
    Some(referrers)
}

fn find(names: &[String], value: &Value, to: &mut Vec<usize>) {
    match value {
        Value::Object(members) => {
            if let Some(text) = members.get("reference").and_then(Value::as_str) {
                let at = names.iter().position(|name| is_of(text, name));
                to.extend(at);
            }
            members.values().for_each(|member| find(names, member, to));
        }
        Value::Array(items) => items.iter().for_each(|item| find(names, item, to)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: [Named<'static>; 2] = [
        Named {
            kind: "Patient",
            id: "a",
        },
        Named {
            kind: "Patient",
            id: "b",
        },
    ];

    fn bundle(own: &str, entries: &str) -> Vec<u8> {
        format!(
            r#"{{"resourceType":"Bundle","link":[{{"relation":"self","url":"{own}"}}],"entry":[{entries}]}}"#
        )
        .into_bytes()
    }

    #[test]
    fn those_that_came_along_refer_to_those_that_were_asked_for() {
        assert_eq!(query(&OF), "_id=a,b&_revinclude=*&_count=2");
        let entries = r#"{"resource":{"resourceType":"Patient","id":"a"},"search":{"mode":"match"}},
            {"resource":{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/b"},"performer":[{"reference":"https://x/fhir/Patient/a"}]},"search":{"mode":"include"}},
            {"resource":{"resourceType":"Observation","id":"q","subject":{"reference":"Patient/ab"}},"search":{"mode":"include"}}"#;
        let found = read(&OF, &bundle("Patient?_id=a,b&_revinclude=*", entries)).unwrap();
        let expected = ("Observation".to_owned(), "o".to_owned(), vec![0, 1]);
        assert_eq!(found.found, [expected]);
        assert!(found.is_whole);
    }

    #[test]
    fn a_store_that_left_the_parameter_out_says_nothing() {
        assert!(read(&OF, &bundle("Patient?_id=a,b", "")).is_none());
        assert!(read(&OF, b"{}").is_none());
    }
}
