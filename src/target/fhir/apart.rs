//! Bundles that read or delete records by their names, and their answers, taken apart into one for each.
//!
//! Both are safe to repeat, so an answer is given to a record only where nothing speaks against it: who is left without one
//! is asked for, or deleted, by itself.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    BundleText,
    entries::status,
    etag,
    place::Body,
    response::{Asked, Verb, said},
};
use crate::{
    record::Packaging,
    target::{Accepted, Deletion, Little, Named, Said},
};

/// The usual size in bytes of an entry without a resource.
const ENTRY: usize = 128;

/// Makes the batch that reads records.
pub(super) fn reads(records: &[Named<'_>]) -> Bytes {
    let mut text = BundleText::new(Packaging::Batch.as_str(), records.len() * ENTRY);
    for Named { kind, id } in records {
        let url = format!("{kind}/{id}");
        let entry = json!({"request": {"method": "GET", "url": url}});
        text.entry(entry.to_string().as_bytes());
    }
    text.end()
}

/// Makes the Bundle that deletes records, each in the version that is named.
pub(super) fn deletes(deletions: &[Deletion<'_>], packaging: Packaging) -> Bytes {
    let mut text = BundleText::new(packaging.as_str(), deletions.len() * ENTRY);
    for Deletion { record, version } in deletions {
        let url = format!("{}/{}", record.kind, record.id);
        let mut request = json!({"method": "DELETE", "url": url});
        if let (Some(version), Some(members)) = (version, request.as_object_mut()) {
            members.insert("ifMatch".to_owned(), etag(version).into());
        }
        text.entry(json!({ "request": request }).to_string().as_bytes());
    }
    text.end()
}

/// An answer that came as the entry of a Bundle: whoever wrote it knows records.
#[derive(Debug, Clone, Copy)]
struct OfBundle;

/// Tells whether an answer was taken from a Bundle.
pub(super) fn is_of_bundle(answer: &Response<Bytes>) -> bool {
    answer.extensions().get::<OfBundle>().is_some()
}

/// Judges the answer to a deletion. Google answers 200 with an empty object.
pub(super) fn deleted(record: Named<'_>, answer: &Response<Bytes>) -> Said {
    let body = answer.body().trim_ascii();
    let status = answer.status();
    if status == StatusCode::ACCEPTED {
        return Said::Little(Little::Later);
    }
    if body.is_empty() || body == b"{}" {
        return Said::Taken(Accepted::default());
    }
    let asked = Asked {
        verb: Verb::Delete,
        kind: record.kind,
        own: Some(record.id),
        sent: None,
    };
    said(&asked, status.as_u16(), answer.headers(), body)
}

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
    response: Option<Given<'a>>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Given<'a> {
    status: Option<serde_json::Value>,
    etag: Option<String>,
    #[serde(borrow)]
    outcome: Option<&'a RawValue>,
}

/// Takes the answer to a Bundle apart.
pub(super) fn apart(
    records: &[Named<'_>],
    body: &Bytes,
) -> Result<Vec<Option<Response<Bytes>>>, String> {
    let bundle: Bundle<'_> = serde_json::from_slice(body).map_err(|e| {
        format!(
            "the answer is not a Bundle (line {}, column {})",
            e.line(),
            e.column()
        )
    })?;
    if bundle.resource_type != "Bundle" {
        return Err("the answer is not a Bundle".to_owned());
    }
    if bundle.entry.len() != records.len() {
        let (given, asked) = (bundle.entry.len(), records.len());
        return Err(format!(
            "the answer has {given} entries, and {asked} were sent"
        ));
    }
    let entries = bundle.entry.iter().zip(records);
    Ok(entries
        .map(|(entry, record)| own(entry, *record, body))
        .collect())
}

fn own(entry: &Entry<'_>, record: Named<'_>, body: &Bytes) -> Option<Response<Bytes>> {
    let given = entry.response.as_ref()?;
    let (status, _) = status(given.status.as_ref()?)?;
    let said = entry.resource.or(given.outcome);
    let named = said.and_then(|raw| Body::read(raw.get().as_bytes())?.name());
    if named.is_some_and(|name| name.kind != record.kind || name.id != record.id) {
        return None;
    }
    let said = said.map_or_else(Bytes::new, |raw| body.slice_ref(raw.get().as_bytes()));
    let mut response = Response::new(said);
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    response.extensions_mut().insert(OfBundle);
    let tag = given.etag.as_deref();
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: [Named<'_>; 3] = [
        Named {
            kind: "Patient",
            id: "a",
        },
        Named {
            kind: "Patient",
            id: "b",
        },
        Named {
            kind: "Patient",
            id: "c",
        },
    ];

    #[test]
    fn every_entry_becomes_an_answer_of_its_own() {
        let answer = Bytes::from_static(
            br#"{"resourceType":"Bundle","type":"batch-response","entry":[
            {"response":{"status":"200 OK","etag":"W/\"3\""},"resource":{"resourceType":"Patient","id":"a","n":1.00}},
            {"response":{"status":"404","outcome":{"resourceType":"OperationOutcome","id":"trace"}}},
            {"response":{"status":"200"},"resource":{"resourceType":"Patient","id":"z"}}]}"#,
        );
        let read = apart(&RECORDS, &answer).unwrap();
        let first = read[0].as_ref().unwrap();
        assert_eq!(
            first.body(),
            &br#"{"resourceType":"Patient","id":"a","n":1.00}"#[..]
        );
        assert_eq!(first.headers()["etag"], "W/\"3\"");
        assert_eq!(read[1].as_ref().unwrap().status(), 404);
        // An entry that names another resource is the answer to nobody.
        assert!(read[2].is_none());
        assert!(apart(&RECORDS[..2], &answer).is_err());
        assert!(apart(&RECORDS, &Bytes::from_static(b"<html>")).is_err());
    }

    #[test]
    fn a_deletion_names_the_version_that_was_looked_at() {
        let [a, b, _] = RECORDS;
        let deletion = |record, version| Deletion { record, version };
        let text = deletes(
            &[deletion(a, Some("3")), deletion(b, None)],
            Packaging::Transaction,
        );
        let text: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(text["entry"][0]["request"]["ifMatch"], "W/\"3\"");
        assert!(text["entry"][1]["request"]["ifMatch"].is_null());
    }

    #[test]
    fn a_deletion_is_believed_where_nothing_else_is_said() {
        let judge = |status: u16, body: &'static str| {
            let mut answer = Response::new(Bytes::from_static(body.as_bytes()));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            deleted(RECORDS[0], &answer)
        };
        let fails = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"conflict"}]}"#;
        let fine = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational"}]}"#;
        for (status, body) in [(200, "{}"), (204, ""), (200, ""), (200, fine)] {
            assert!(
                matches!(judge(status, body), Said::Taken(_)),
                "{status} {body}"
            );
        }
        assert_eq!(judge(200, fails), Said::Refused);
        assert!(matches!(judge(200, "<html>"), Said::Little(_)));
        assert!(matches!(judge(202, ""), Said::Little(_)));
    }
}
