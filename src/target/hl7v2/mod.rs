//! HL7v2 stores of the Healthcare API, Google's and the local one: messages are stored under the digest of their bytes.
//!
//! `write` makes requests, `answer` reads what came. Source: healthcare.v1 discovery document, `hl7V2Stores.messages`.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use serde_json::json;

use super::{
    Accepted, Answer, Deletion, Difference, Matches, Parcel, Refusal, StoreListing, Target,
    Unbuilt,
    google::{self, StoreName},
    request::request,
};
use crate::{
    hl7v2::wire::wire,
    manifest::LoadSettings,
    record::{Operation, Packaging, Step},
};

pub(super) mod answer;
mod explain;

pub(in crate::target) use explain::explain;
pub use explain::{advice, what as acknowledged};

/// An HL7v2 store.
#[derive(Debug, Clone)]
pub struct Hl7v2 {
    base: String,
    store: StoreName,
}

impl Hl7v2 {
    /// Takes the address of a store, with a trailing slash, and its resource name.
    pub fn new(base: &url::Url, store: StoreName) -> Self {
        Self {
            base: base.as_str().to_owned(),
            store,
        }
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Bytes> {
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        let writes = method != Method::GET;
        let mut request = request(method, &format!("{}{path}", self.base), body);
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, JSON);
        if writes {
            headers.insert(header::CONTENT_TYPE, JSON);
        }
        request
    }
}

impl Target for Hl7v2 {
    fn base(&self) -> &str {
        &self.base
    }

    fn write(
        &self,
        parcel: &Parcel<'_>,
        bodies: &mut dyn Iterator<Item = Bytes>,
    ) -> Result<Request<Bytes>, Unbuilt> {
        let (step, body) = parcel.single(bodies)?;
        let settings = &parcel.settings.messages;
        // A message that cannot be converted is not planned to be sent.
        let sent =
            wire(&body, settings.segments, settings.charset).map_err(|_| Unbuilt::changed(step))?;
        // Base64 holds nothing that JSON escapes.
        let mut text = String::with_capacity(sent.len() * 4 / 3 + 64);
        text.push_str("{\"message\":{\"data\":\"");
        STANDARD.encode_string(&sent, &mut text);
        text.push('"');
        if !settings.labels.is_empty() {
            text.push_str(",\"labels\":");
            text.push_str(&json!(settings.labels).to_string());
        }
        text.push_str("}}");
        let path = match step.action.operation() {
            Some(Operation::CreateMessage) => "messages",
            _ => "messages:ingest",
        };
        Ok(self.request(Method::POST, path, Bytes::from(text)))
    }

    fn answers(
        &self,
        parcel: &Parcel<'_>,
        answer: &Response<Bytes>,
    ) -> Result<Vec<Option<Answer>>, String> {
        let steps = parcel.steps.first();
        Ok(vec![steps.map(|step| answer::taken(step, answer))])
    }

    fn refused_each(
        &self,
        _: &Parcel<'_>,
        answer: &Response<Bytes>,
    ) -> Option<Vec<Option<Answer>>> {
        answer::is_there(answer).map(|there| vec![Some(there)])
    }

    fn refusal(&self, _: Option<&str>, answer: &[u8]) -> Refusal {
        answer::refusal(answer)
    }

    fn is_whole(&self, answer: &[u8]) -> bool {
        super::is_json(answer)
    }

    fn read(&self, _: &str, id: &str) -> Request<Bytes> {
        let path = format!("messages/{id}?view=RAW_ONLY");
        self.request(Method::GET, &path, Bytes::new())
    }

    fn search(&self, _: &str, _: &str) -> Request<Bytes> {
        self.request(Method::GET, "messages?pageSize=1", Bytes::new())
    }

    fn matches(&self, _: &str, _: &[u8]) -> Matches {
        // No operation on messages has a condition.
        Matches::Refused(200)
    }

    fn held(&self, _: &str, _: &HeaderMap, answer: &[u8]) -> Accepted {
        Accepted {
            id: answer::id(answer),
            ..Accepted::default()
        }
    }

    fn is_ours(&self, step: &Step, _: &Bytes, answer: &Response<Bytes>) -> Option<bool> {
        // The name is the digest of the bytes.
        Some(step.id.is_some() && answer::id(answer.body()) == step.id)
    }

    fn tells_age(&self) -> bool {
        true
    }

    fn is_from_before(&self, answer: &Response<Bytes>, since: jiff::Timestamp) -> bool {
        answer::is_from_before(answer, since)
    }

    fn delete(
        &self,
        deletions: &[Deletion<'_>],
        packaging: Option<Packaging>,
    ) -> Option<Request<Bytes>> {
        match (deletions, packaging) {
            ([one], None) => {
                let path = format!("messages/{}", one.record.id);
                Some(self.request(Method::DELETE, &path, Bytes::new()))
            }
            _ => None,
        }
    }

    fn differences(
        &self,
        _: &Step,
        settings: &LoadSettings,
        ours: &Bytes,
        answer: &Response<Bytes>,
    ) -> Result<Vec<Difference>, &'static str> {
        let messages = &settings.messages;
        let sent = wire(ours, messages.segments, messages.charset)
            .map_err(|_| "it cannot be written as it was sent")?;
        let theirs = answer::bytes(answer.body()).ok_or("the store's answer holds no message")?;
        Ok(answer::differences(&sent, &theirs))
    }

    fn count_all(&self) -> Option<Request<Bytes>> {
        self.store.get_metrics().ok()
    }

    fn counted_all(&self, answer: &Response<Bytes>) -> Option<HashMap<String, u64>> {
        google::counts(answer.body(), "messageType")
    }

    /// The store knows the type of a message (`ADT`), and not its event.
    fn counted_as<'a>(&self, kind: &'a str) -> &'a str {
        kind.split('^').next().unwrap_or(kind)
    }

    fn list(&self, _: &str) -> Option<Request<Bytes>> {
        Some(self.request(Method::GET, "messages?pageSize=1000", Bytes::new()))
    }

    fn listed(&self, _: &str, _: u64, answer: &Response<Bytes>) -> Option<StoreListing> {
        let (ids, token) = answer::page(answer.body())?;
        let next = token.map(|token| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            let query = query.append_pair("pageToken", &token).finish();
            let path = format!("messages?pageSize=1000&{query}");
            self.request(Method::GET, &path, Bytes::new())
        });
        Some(StoreListing {
            ids,
            kinds: Vec::new(),
            next,
            is_elsewhere: false,
        })
    }

    fn alive(&self) -> Result<Request<Bytes>, url::ParseError> {
        self.store.get_store()
    }

    fn dry_run(&self, _: &Request<Bytes>) -> Response<Bytes> {
        Response::new(Bytes::from_static(b"{\"name\":\"messages/made-up\"}"))
    }

    fn empty(&self, _: &Request<Bytes>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from_static(b"{}"));
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        response
    }
}
