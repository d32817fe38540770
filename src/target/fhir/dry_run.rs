//! Answers as a store would that takes everything, or holds nothing: what a dry run is told.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::Fhir;

impl Fhir {
    /// Returns the part of a URL behind the service base; none of a URL that is not below it.
    fn below<'r>(&self, request: &'r Request<Bytes>) -> Option<&'r str> {
        let base = self.requests.base().parse::<http::Uri>().ok()?;
        let path = request.uri().path();
        let base = base.path().trim_end_matches('/');
        let below = path.strip_prefix(base)?;
        Some(below.trim_start_matches('/'))
    }

    /// Answers a read of a store that holds nothing.
    pub(super) fn answer_empty(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let below = self.below(request).unwrap_or_default();
        if request.uri().query().is_some() {
            let nothing = json!({"resourceType": "Bundle", "type": "searchset", "entry": []});
            answer(StatusCode::OK, None, nothing.to_string())
        } else if below.contains('/') {
            answer(StatusCode::NOT_FOUND, None, String::new())
        } else {
            answer(StatusCode::OK, None, "{}".to_owned())
        }
    }

    /// Answers a write that a store has taken.
    pub(super) fn answer_taken(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let below = self.below(request).unwrap_or_default();
        if below.is_empty() {
            return bundle(request.body());
        }
        if request.method() == Method::DELETE {
            return answer(StatusCode::NO_CONTENT, None, String::new());
        }
        let place = format!("{}{}", self.requests.base(), place(below));
        answer(StatusCode::CREATED, Some(&place), String::new())
    }
}

/// Returns the made-up place of a written resource: under its own id, or under a made-up one.
fn place(url: &str) -> String {
    let resource = url.split('?').next().unwrap_or_default();
    match resource.split_once('/') {
        Some((kind, id)) if !id.is_empty() => format!("{kind}/{id}/_history/1"),
        _ => {
            let kind = resource.trim_end_matches('/');
            format!("{kind}/{}/_history/1", uuid::Uuid::new_v4())
        }
    }
}

fn answer(status: StatusCode, location: Option<&str>, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(location) = location.and_then(|location| location.parse().ok()) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/fhir+json"),
    );
    response
}

/// A Bundle, as far as its answer depends on it.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    entry: Vec<SentEntry<'a>>,
}

#[derive(Deserialize)]
struct SentEntry<'a> {
    #[serde(borrow)]
    request: Option<SentRequest<'a>>,
}

#[derive(Deserialize)]
struct SentRequest<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
}

/// Answers a Bundle of which every entry was taken.
fn bundle(body: &[u8]) -> Response<Bytes> {
    let Ok(sent) = serde_json::from_slice::<Sent<'_>>(body) else {
        // Stoker made it, so this is seen in tests only; it must not pass for a success.
        return answer(StatusCode::BAD_REQUEST, None, String::new());
    };
    let entries = sent.entry.iter().map(|entry| {
        let request = entry.request.as_ref();
        let (method, url) = request.map_or(("", ""), |request| (&*request.method, &*request.url));
        match method {
            "DELETE" => json!({"response": {"status": "204"}}),
            "GET" | "HEAD" => json!({"response": {"status": "200"}}),
            _ => {
                // Of an absolute URL the last two parts are meant, and of one for a whole type the last.
                let parts: Vec<&str> = url
                    .split('?')
                    .next()
                    .unwrap_or_default()
                    .split('/')
                    .collect();
                let by_id = method != "POST" && !url.contains('?');
                let kept = parts.len().saturating_sub(if by_id { 2 } else { 1 });
                let resource = parts.get(kept..).unwrap_or_default().join("/");
                json!({"response": {"status": "201", "location": place(&resource)}})
            }
        }
    });
    let text = json!({
        "resourceType": "Bundle",
        "type": format!("{}-response", sent.kind),
        "entry": entries.collect::<Vec<_>>(),
    });
    answer(StatusCode::OK, None, text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{
        Target,
        fhir::{Asked, RequestBuilder, Verb, accepted, entries},
    };

    const BASE: &str = "https://fhir.example/r4/";

    fn taken(request: &Request<Bytes>) -> Response<Bytes> {
        Fhir::new(&BASE.parse().unwrap(), None).dry_run(request)
    }

    fn requests() -> RequestBuilder {
        RequestBuilder::new(&BASE.parse().unwrap())
    }

    #[test]
    fn a_write_is_answered_with_an_id() {
        let body = || Bytes::from_static(b"{}");
        let made = taken(&requests().create("Patient", body()));
        let id = |answer: &Response<Bytes>| accepted("Patient", answer.headers(), answer.body()).id;
        assert_eq!(made.status(), 201);
        assert!(id(&made).is_some());
        let put = taken(&requests().update("Patient", "p1", body()));
        assert_eq!(id(&put).as_deref(), Some("p1"));
        let conditional = requests().conditional_update("Patient", "identifier=a|b", body());
        assert!(id(&taken(&conditional)).is_some());
    }

    #[test]
    fn a_bundle_is_answered_entry_by_entry() {
        let text = r#"{"resourceType":"Bundle","type":"batch","entry":[
            {"resource":{},"request":{"method":"POST","url":"Patient"}},
            {"resource":{},"request":{"method":"PUT","url":"Patient/p1"}},
            {"resource":{},"request":{"method":"PUT","url":"https://fhir.example/r4/Patient/p2"}},
            {"resource":{},"request":{"method":"PUT","url":"Patient?identifier=a|b/c"}},
            {"request":{"method":"DELETE","url":"Patient/p3"}}]}"#;
        let answer = taken(&requests().bundle(Bytes::from_static(text.as_bytes())));
        let value: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(value["type"], "batch-response");
        let place = |at: usize| value["entry"][at]["response"]["location"].as_str().unwrap();
        assert!(place(0).starts_with("Patient/") && place(0).len() > 40);
        assert_eq!(place(1), "Patient/p1/_history/1");
        assert_eq!(place(2), "Patient/p2/_history/1");
        assert!(place(3).starts_with("Patient/") && !place(3).contains("identifier"));
        assert_eq!(value["entry"][4]["response"]["status"], "204");
        let asked = |verb| Asked {
            verb,
            kind: "Patient",
            own: None,
            sent: None,
        };
        let asked = [
            Verb::Create,
            Verb::Update,
            Verb::Update,
            Verb::Update,
            Verb::Delete,
        ]
        .map(asked);
        assert_eq!(entries(answer.body(), &asked).unwrap().len(), 5);
    }

    #[test]
    fn a_store_that_is_not_there_is_empty() {
        let store = Fhir::new(&BASE.parse().unwrap(), None);
        let read = store.empty(&requests().read("Patient", "p1"));
        assert_eq!(read.status(), 404);
        let found = store.empty(&requests().search("Patient", "a=b"));
        assert_eq!(found.status(), 200);
    }
}
