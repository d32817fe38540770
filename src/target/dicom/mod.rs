//! DICOMweb stores, Google's, the local one and any other: instances are stored under their own UIDs.
//!
//! `write` makes requests, `answer` reads what came, `compare` tells an instance from another of its UIDs. Sources:
//! PS3.18 §10.4 (retrieve), §10.5 (store), §10.6 (search); healthcare.v1 discovery document, `dicomStores`. The meaning
//! of the bytes is [`crate::dicom`]'s knowledge.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use super::{
    Accepted, Answer, Deletion, Difference, Matches, MayBeNothing, Open, Parcel, Refusal,
    StoreListing, Target, Unbuilt, google::StoreName, request::request,
};
use crate::{
    dicom::answer::as_utf8,
    manifest::{Existing, LoadSettings},
    record::{Packaging, Step},
};

mod answer;
mod compare;
mod explain;
mod write;

pub(in crate::target) use explain::explain;
use write::Body;

/// The size in bytes from which on an instance is not held in memory: less is cheaper to hold than to read again.
const STREAMED: u64 = 8 << 20;

/// The media type of DICOMweb's answers.
const JSON: HeaderValue = HeaderValue::from_static("application/dicom+json");

/// A DICOMweb store.
#[derive(Debug, Clone)]
pub struct Dicom {
    base: String,
    google: Option<StoreName>,
}

impl Dicom {
    /// Takes the address of a service, with a trailing slash, and its resource name where it is Google-shaped.
    pub fn new(base: &url::Url, google: Option<StoreName>) -> Self {
        Self {
            base: base.as_str().to_owned(),
            google,
        }
    }

    /// Returns the cheapest question that any service answers: which studies there are, one at the most.
    pub fn first_study(&self) -> Request<Bytes> {
        self.request(Method::GET, "studies?limit=1", Bytes::new())
    }

    /// Makes a request to store no instance at all: a server that stores refuses it, or finds nothing to do, and one that does
    /// not says that nothing is there.
    pub fn store_nothing(&self) -> Request<Bytes> {
        const NOTHING: HeaderValue = HeaderValue::from_static(
            "multipart/related; type=\"application/dicom\"; boundary=stoker",
        );
        let body = Bytes::from_static(b"--stoker--\r\n");
        let mut request = self.request(Method::POST, "studies", body);
        request.headers_mut().insert(header::CONTENT_TYPE, NOTHING);
        request
    }

    /// Makes the request for an instance by its name, byte for byte as it was stored.
    pub fn retrieve(&self, name: &str) -> Request<Bytes> {
        const AS_STORED: HeaderValue = HeaderValue::from_static(
            "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
        );
        let mut request = self.request(Method::GET, name, Bytes::new());
        request.headers_mut().insert(header::ACCEPT, AS_STORED);
        request
    }

    /// Makes the request for the instances of the store behind the first `offset`.
    fn page(&self, offset: u64) -> Request<Bytes> {
        let path = format!("instances?limit=1000&offset={offset}");
        self.request(Method::GET, &path, Bytes::new())
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Bytes> {
        let mut request = request(method, &format!("{}{path}", self.base), body);
        request.headers_mut().insert(header::ACCEPT, JSON);
        request
    }
}

/// The instances of a STOW request: their classes stand in the bytes, their UIDs are what a dry run answers with.
#[derive(Debug, Clone)]
struct Enclosed(Vec<String>);

/// Returns the UID of the instance that a step stores: the last part of its name.
fn instance(step: &Step) -> &str {
    let id = step.id.as_deref().unwrap_or_default();
    id.rsplit_once('/').map_or(id, |(_, instance)| instance)
}

impl Target for Dicom {
    fn base(&self) -> &str {
        &self.base
    }

    fn streams_from(&self) -> Option<u64> {
        Some(STREAMED)
    }

    fn write(
        &self,
        parcel: &Parcel<'_>,
        bodies: &mut dyn Iterator<Item = Bytes>,
    ) -> Result<Request<Bytes>, Unbuilt> {
        let (content_type, body) = write::multipart(parcel, bodies)?;
        let mut request = match body {
            Body::Held(body) => self.request(Method::POST, "studies", body),
            Body::Streamed(body) => {
                let mut request = self.request(Method::POST, "studies", Bytes::new());
                request.extensions_mut().insert(body);
                request
            }
        };
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        let instances = parcel.steps.iter().map(instance);
        let enclosed = Enclosed(instances.map(str::to_owned).collect());
        request.extensions_mut().insert(enclosed);
        Ok(request)
    }

    fn answers(
        &self,
        parcel: &Parcel<'_>,
        answer: &Response<Bytes>,
    ) -> Result<Vec<Option<Answer>>, String> {
        let read = answer::read(answer).map_err(|why| why.to_string())?;
        Ok(answer::each(parcel.steps, &read, answer.status()))
    }

    fn refused_each(
        &self,
        parcel: &Parcel<'_>,
        answer: &Response<Bytes>,
    ) -> Option<Vec<Option<Answer>>> {
        // An answer that names nobody is about the whole, as one that cannot be read is.
        let Some(read) = answer::read(answer).ok().filter(|read| read.named() > 0) else {
            let leaves = parcel.settings.existing.what == Existing::Skip;
            return (leaves && parcel.steps.len() == 1)
                .then(|| answer::conflict(answer).map(|one| vec![Some(one)]))
                .flatten();
        };
        Some(answer::each(parcel.steps, &read, answer.status()))
    }

    fn refusal(&self, _: Option<&str>, answer: &[u8]) -> Refusal {
        answer::refusal(answer)
    }

    fn is_whole(&self, answer: &[u8]) -> bool {
        super::is_json(&as_utf8(None, answer))
    }

    fn is_nothing(&self, answer: &Response<Bytes>) -> bool {
        answer.status() == StatusCode::NO_CONTENT
            || answer.status() == StatusCode::OK && answer::is_empty_list(answer.body())
    }

    fn read(&self, _: &str, id: &str) -> Request<Bytes> {
        self.request(Method::GET, &format!("{id}/metadata"), Bytes::new())
    }

    fn search(&self, _: &str, _: &str) -> Request<Bytes> {
        self.first_study()
    }

    fn matches(&self, _: &str, _: &[u8]) -> Matches {
        // Storing has no condition.
        Matches::Refused(200)
    }

    fn held(&self, _: &str, _: &HeaderMap, answer: &[u8]) -> Accepted {
        Accepted {
            id: answer::name(answer),
            ..Accepted::default()
        }
    }

    fn is_ours(&self, step: &Step, _: &Bytes, answer: &Response<Bytes>) -> Option<bool> {
        // UIDs are unique in the world (PS3.5 §9): what is there under them is this instance.
        Some(step.id.is_some() && answer::name(answer.body()) == step.id)
    }

    fn read_to_compare(&self, step: &Step, exactly: bool) -> Option<Request<Bytes>> {
        let id = step.id.as_deref()?;
        Some(if exactly {
            self.retrieve(id)
        } else {
            self.read(&step.kind, id)
        })
    }

    fn differing(
        &self,
        open: Open<'_>,
        answer: &Response<Bytes>,
        exactly: bool,
    ) -> Result<Option<Vec<String>>, String> {
        compare::differing(open, answer, exactly)
    }

    fn delete(
        &self,
        deletions: &[Deletion<'_>],
        packaging: Option<Packaging>,
    ) -> Option<Request<Bytes>> {
        match (deletions, packaging) {
            ([one], None) => Some(self.request(Method::DELETE, one.record.id, Bytes::new())),
            _ => None,
        }
    }

    fn retrieve(&self, _: &str, id: &str) -> Request<Bytes> {
        Self::retrieve(self, id)
    }

    fn differences(
        &self,
        _: &Step,
        _: &LoadSettings,
        ours: &Bytes,
        answer: &Response<Bytes>,
    ) -> Result<Vec<Difference>, &'static str> {
        answer::differences(ours, answer)
    }

    fn list(&self, _: &str) -> Option<Request<Bytes>> {
        Some(self.page(0))
    }

    fn listed(&self, _: &str, before: u64, answer: &Response<Bytes>) -> Option<StoreListing> {
        let (ids, kinds) = answer::names(answer)?
            .into_iter()
            .unzip::<_, _, Vec<_>, _>();
        let next = (!ids.is_empty()).then(|| self.page(before + ids.len() as u64));
        Some(StoreListing {
            ids,
            kinds,
            next,
            is_elsewhere: false,
        })
    }

    fn alive(&self) -> Result<Request<Bytes>, url::ParseError> {
        if let Some(store) = &self.google {
            return store.get_store();
        }
        let mut read = self.first_study();
        read.extensions_mut().insert(MayBeNothing);
        Ok(read)
    }

    fn dry_run(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let enclosed = request.extensions().get::<Enclosed>();
        let instances = enclosed.map_or(&[][..], |enclosed| &enclosed.0);
        let mut response = Response::new(answer::all_stored(instances));
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response
    }

    fn empty(&self, _: &Request<Bytes>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from_static(b"[]"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }
}
