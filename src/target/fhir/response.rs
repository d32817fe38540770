//! Reads FHIR responses: which id and version a resource got, and what became of every entry of a Bundle.

use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Where a resource went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The id under which the store holds it.
    pub id: Option<String>,
    /// The version that the store gave it.
    pub version: Option<String>,
}

/// What a server said of one entry of a Bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryAnswer {
    /// The status code at the beginning of `response.status`.
    pub status: u16,
    /// Where the resource went.
    pub accepted: Accepted,
    /// `response.outcome` as the server wrote it: content.
    pub outcome: Option<String>,
}

/// Reads where a single resource went: from `Location` and `ETag`, else from the resource in the body.
///
/// Google's plain create is documented to answer with the resource; `Location` is what the standard requires.
pub fn accepted(headers: &HeaderMap, body: &[u8]) -> Accepted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut accepted = text(header::LOCATION).map(of_location).unwrap_or_default();
    if accepted.version.is_none() {
        accepted.version = text(header::ETAG).and_then(of_etag);
    }
    if accepted.id.is_none() {
        let resource: Option<Resource> = serde_json::from_slice(body).ok();
        if let Some(resource) = resource {
            accepted.id = resource.id.as_deref().and_then(believed);
            accepted.version = accepted
                .version
                .or_else(|| believed(resource.meta?.version_id?.as_str()));
        }
    }
    accepted
}

/// Tells whether an answer that says that all is well is a FHIR server's, and not a page of something in between.
///
/// A server names what it wrote (`Location`, `ETag`) or sends it; one that does neither says at least 201 or 204.
pub fn is_fhirs(response: &http::Response<bytes::Bytes>) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        #[serde(rename = "resourceType")]
        _resource_type: String,
    }
    let names = |name| response.headers().contains_key(name);
    if names(header::LOCATION) || names(header::ETAG) {
        return true;
    }
    match response.body().trim_ascii() {
        [] => matches!(response.status().as_u16(), 201 | 204 | 304),
        body => serde_json::from_slice::<Typed>(body).is_ok(),
    }
}

#[derive(Deserialize)]
struct Resource {
    id: Option<String>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "versionId")]
    version_id: Option<String>,
    #[serde(rename = "lastUpdated")]
    last_updated: Option<String>,
}

/// Reads when a resource was last written, by the clock of its store.
pub fn last_updated(body: &[u8]) -> Option<jiff::Timestamp> {
    let resource: Resource = serde_json::from_slice(body).ok()?;
    resource.meta?.last_updated?.parse().ok()
}

/// Reads `[base]/[type]/[id]/_history/[version]`, with or without base and version.
fn of_location(location: &str) -> Accepted {
    let (resource, version) = match location.split_once("/_history/") {
        Some((resource, version)) => (resource, Some(version)),
        None => (location, None),
    };
    let id = resource.trim_end_matches('/').rsplit('/').next();
    Accepted {
        id: id.and_then(believed),
        version: version.and_then(believed),
    }
}

/// Reads the version from a weak or strong entity tag: `W/"3"` is version `3`.
fn of_etag(etag: &str) -> Option<String> {
    believed(etag.trim_start_matches("W/").trim_matches('"'))
}

/// The longest id that is believed: FHIR's have 64 characters, those of some servers a few more.
const LONGEST_ID: usize = 128;

/// Takes an id or a version that could stand in a URL. Anything else may be words, which stand nowhere but in `rejected/`.
fn believed(id: &str) -> Option<String> {
    let is_id = (1..=LONGEST_ID).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    is_id.then(|| id.to_owned())
}

/// Reads the answers to the entries of a Bundle, in the order of the request.
///
/// # Errors
///
/// Why the body is not the answer to a Bundle of so many entries. What became of the entries is then unknown.
pub fn entries(body: &[u8], expected: usize) -> Result<Vec<EntryAnswer>, String> {
    let bundle: Bundle<'_> = serde_json::from_slice(body).map_err(|e| {
        format!(
            "the answer is not a Bundle (line {}, column {})",
            e.line(),
            e.column()
        )
    })?;
    if bundle.entry.len() != expected {
        return Err(format!(
            "the answer has {} entries, and {expected} were sent",
            bundle.entry.len()
        ));
    }
    bundle
        .entry
        .into_iter()
        .enumerate()
        .map(|(index, entry)| {
            let response = entry
                .response
                .ok_or_else(|| format!("entry {index} has no response"))?;
            let status = response
                .status
                .split(' ')
                .next()
                .and_then(|code| code.parse().ok())
                .filter(|code| (100..1000).contains(code))
                .ok_or_else(|| format!("entry {index} has no status code"))?;
            let mut accepted = response
                .location
                .as_deref()
                .map(of_location)
                .unwrap_or_default();
            if let (None, Some(etag)) = (&accepted.version, &response.etag) {
                accepted.version = of_etag(etag);
            }
            if let (None, Some(resource)) = (&accepted.id, entry.resource) {
                accepted.id = resource.id.as_deref().and_then(believed);
            }
            let outcome = response.outcome.map(|outcome| outcome.get().to_owned());
            Ok(EntryAnswer {
                status,
                accepted,
                outcome,
            })
        })
        .collect()
}

#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    response: Option<Response<'a>>,
    resource: Option<Resource>,
}

#[derive(Deserialize)]
struct Response<'a> {
    status: String,
    location: Option<String>,
    etag: Option<String>,
    #[serde(borrow)]
    outcome: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect()
    }

    fn place(id: &str, version: Option<&str>) -> Accepted {
        Accepted {
            id: Some(id.to_owned()),
            version: version.map(str::to_owned),
        }
    }

    #[test]
    fn the_id_comes_from_the_location_or_the_body() {
        let location = headers(&[("location", "https://a.example/fhir/Patient/7/_history/2")]);
        assert_eq!(accepted(&location, b""), place("7", Some("2")));
        let relative = headers(&[("location", "Patient/7"), ("etag", "W/\"MTY\"")]);
        assert_eq!(accepted(&relative, b""), place("7", Some("MTY")));
        let body = br#"{"resourceType":"Patient","id":"8","meta":{"versionId":"1"}}"#;
        assert_eq!(accepted(&HeaderMap::new(), body), place("8", Some("1")));
        assert_eq!(accepted(&HeaderMap::new(), b"<html>"), Accepted::default());
    }

    #[test]
    fn every_entry_of_an_answer_is_read() {
        let body = br#"{"resourceType":"Bundle","type":"batch-response","entry":[
            {"response":{"status":"201 Created","location":"https://a.example/fhir/Patient/7/_history/2"}},
            {"response":{"status":"400 Bad Request","outcome":{"issue":[ 1.00 ]}}}]}"#;
        let read = entries(body, 2).unwrap();
        assert_eq!(
            (read[0].status, &read[0].accepted),
            (201, &place("7", Some("2")))
        );
        assert_eq!(
            (read[1].status, read[1].outcome.as_deref()),
            (400, Some(r#"{"issue":[ 1.00 ]}"#))
        );
    }

    #[test]
    fn an_answer_that_does_not_fit_is_an_error() {
        assert_eq!(
            entries(br#"{"entry":[]}"#, 1).unwrap_err(),
            "the answer has 0 entries, and 1 were sent"
        );
        assert!(
            entries(b"{\"entry\":[{\"resp", 1)
                .unwrap_err()
                .contains("not a Bundle")
        );
        let no_status = br#"{"entry":[{"response":{"status":"fine"}}]}"#;
        assert_eq!(
            entries(no_status, 1).unwrap_err(),
            "entry 0 has no status code"
        );
    }
}
