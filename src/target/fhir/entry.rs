//! Changes around the resource of an entry that goes out with its own request: few, and only of what would not hold.
//!
//! The resource itself is `rewrite`'s business; entries that get a request of the load are made anew by `write`.

use crate::fhir::{SyntaxError, TextRange, bundle::envelope, condition::written, escape};

/// Returns the edits of an entry, in order.
///
/// With a `full_url` it gets that one, because others of its transaction refer to it and its own is no address, or missing.
/// A condition in `ifNoneExist` is brought into the standard's form: what follows the `?`.
///
/// # Errors
///
/// The entry is not what it was when it was planned.
pub(super) fn edits(
    entry: &[u8],
    full_url: Option<&str>,
) -> Result<Vec<(TextRange, String)>, SyntaxError> {
    let envelope = envelope(entry)?;
    let mut edits = Vec::new();
    if let Some(url) = full_url {
        let url = escape(url);
        if let Some(part) = envelope.full_url {
            edits.push((part, url.into_owned()));
        } else {
            // The entry is an object, and not an empty one: it holds a resource.
            let start = memchr::memchr(b'{', entry).map_or(0, |at| at + 1);
            let place = TextRange { start, end: start };
            edits.push((place, format!("\"fullUrl\":\"{url}\",")));
        }
    }
    if let Some(part) = envelope.request.and_then(|request| request.if_none_exist) {
        let condition = part.text(entry);
        let written = written(&condition);
        if written.has_front {
            edits.push((part, escape(written.query).into_owned()));
        }
    }
    edits.sort_by_key(|(part, _)| part.start);
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::fhir::splice::splice;

    fn edited(entry: &str, full_url: Option<&str>) -> Value {
        let edits = edits(entry.as_bytes(), full_url).unwrap();
        let text = splice(entry.as_bytes(), &edits).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_condition_is_brought_into_the_standards_form() {
        for written in [
            "Patient?identifier=a|\\u00e9",
            "?identifier=a|é",
            "identifier=a|é",
        ] {
            let entry = format!(
                r#"{{"resource":{{"ifNoneExist":"?x=y"}},"request":{{"ifNoneExist":"{written}","method":"POST"}}}}"#
            );
            let edited = edited(&entry, None);
            assert_eq!(
                edited["request"]["ifNoneExist"], "identifier=a|é",
                "{written}"
            );
            assert_eq!(edited["resource"]["ifNoneExist"], "?x=y");
        }
    }

    #[test]
    fn a_full_url_is_put_in_or_replaced() {
        let bare = r#" { "resource":{"fullUrl":"no"},"request":{}}"#;
        assert_eq!(edited(bare, Some("urn:uuid:1"))["fullUrl"], "urn:uuid:1");
        let odd = r#"{"resource":{"fullUrl":"no"},"fullUrl":"resource:0"}"#;
        let edited_odd = edited(odd, Some("urn:uuid:1"));
        assert_eq!(edited_odd["fullUrl"], "urn:uuid:1");
        assert_eq!(edited_odd["resource"]["fullUrl"], "no");
        assert_eq!(edited(odd, None)["fullUrl"], "resource:0");
    }
}
