//! Reads the answer to a search that means one resource.

use serde::Deserialize;

use crate::{fhir::reference::is_id, target::Matches};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Searchset {
    resource_type: String,
    #[serde(rename = "type")]
    bundle_type: String,
    total: Option<u64>,
    #[serde(default)]
    entry: Vec<Entry>,
    #[serde(default)]
    link: Vec<Relation>,
}

#[derive(Deserialize)]
struct Relation {
    relation: String,
}

#[derive(Deserialize)]
struct Entry {
    resource: Option<Resource>,
    search: Option<Search>,
}

#[derive(Deserialize)]
struct Search {
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource_type: String,
    id: Option<String>,
}

/// Reads a searchset: only matches of the type count, not what comes along (`include`, `outcome`).
///
/// A record is going to hold what this returns, so an answer in doubt is taken for none: another Bundle, an id that is
/// none, a total without its entries.
pub(super) fn matches(kind: &str, body: &[u8]) -> Matches {
    const DOES_NOT_SAY: Matches = Matches::Refused(200);
    let Ok(set) = serde_json::from_slice::<Searchset>(body) else {
        return DOES_NOT_SAY;
    };
    if set.resource_type != "Bundle" || set.bundle_type != "searchset" {
        return DOES_NOT_SAY;
    }
    let is_match = |entry: &Entry| {
        let mode = entry
            .search
            .as_ref()
            .and_then(|search| search.mode.as_deref());
        mode.is_none_or(|mode| mode == "match")
    };
    let mut found = set
        .entry
        .into_iter()
        .filter(is_match)
        .filter_map(|entry| entry.resource)
        .filter(|resource| resource.resource_type == kind)
        .map(|resource| resource.id);
    let goes_on = set.link.iter().any(|link| link.relation == "next");
    let total = set.total.unwrap_or_default();
    match (found.next(), found.next()) {
        (None, _) if total == 0 && !goes_on => Matches::None,
        (Some(_), Some(_)) => Matches::Several,
        (Some(_), None) if total > 1 || goes_on => Matches::Several,
        (Some(Some(id)), None) if is_id(&id) => Matches::One(id),
        (None, _) | (Some(_), None) => DOES_NOT_SAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        r#"{"resource":{"resourceType":"Patient","id":"a"},"search":{"mode":"match"}}"#;

    /// A searchset with these members, read.
    fn matches(members: &str) -> Matches {
        let set = format!(r#"{{"resourceType":"Bundle","type":"searchset",{members}}}"#);
        super::matches("Patient", set.as_bytes())
    }

    #[test]
    fn only_matches_of_the_type_count() {
        let come_along = r#"{"resource":{"resourceType":"Patient","id":"b"},"search":{"mode":"include"}},
            {"resource":{"resourceType":"OperationOutcome","id":"c"},"search":{"mode":"outcome"}},
            {"resource":{"resourceType":"OperationOutcome"}}, {"fullUrl":"x"}"#;
        let one = Matches::One("a".to_owned());
        assert_eq!(
            matches(&format!(r#""total":1,"entry":[{ONE},{come_along}]"#)),
            one
        );
        let no_mode = r#"{"resource":{"resourceType":"Patient","id":"a"}}"#;
        assert_eq!(matches(&format!(r#""entry":[{no_mode}]"#)), one);
        assert_eq!(matches(r#""total":0"#), Matches::None);
        assert_eq!(
            matches(&format!(r#""entry":[{come_along}]"#)),
            Matches::None
        );
    }

    #[test]
    fn several_are_never_taken_for_one() {
        let other = ONE.replace("\"a\"", "\"b\"");
        for members in [
            format!(r#""entry":[{ONE},{other}]"#),
            format!(r#""total":2,"entry":[{ONE}]"#),
            format!(r#""entry":[{ONE}],"link":[{{"relation":"next","url":"x"}}]"#),
        ] {
            assert_eq!(matches(&members), Matches::Several, "{members}");
        }
    }

    #[test]
    fn an_answer_in_doubt_says_nothing() {
        let silent = Matches::Refused(200);
        for members in [
            r#""total":1"#,
            r#""link":[{"relation":"next","url":"x"}]"#,
            r#""entry":[{"resource":{"resourceType":"Patient"}}]"#,
            r#""entry":[{"resource":{"resourceType":"Patient","id":"a\"b/c"}}]"#,
        ] {
            assert_eq!(matches(members), silent, "{members}");
        }
        // Nothing at all is not "nothing found".
        for body in [
            "",
            "\r\n",
            "[]",
            "<html>",
            "{}",
            r#"{"resourceType":"OperationOutcome","issue":[]}"#,
            r#"{"resourceType":"Bundle","type":"batch-response"}"#,
        ] {
            assert_eq!(super::matches("Patient", body.as_bytes()), silent, "{body}");
        }
    }
}
