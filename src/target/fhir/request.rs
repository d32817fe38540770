//! Builds FHIR requests. Bodies go out as the bytes that were in the file.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Method, Request, header};
use url::Url;

use super::condition;

const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json");

/// Builds the requests of one FHIR endpoint.
#[derive(Debug, Clone)]
pub struct RequestBuilder {
    base: String,
}

impl RequestBuilder {
    /// Takes the service base URL, with a trailing slash.
    pub fn new(base: &Url) -> Self {
        Self {
            base: base.as_str().to_owned(),
        }
    }

    /// Returns the service base URL, with a trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `POST [type]`.
    pub fn create(&self, kind: &str, body: Bytes) -> Request<Bytes> {
        self.request(Method::POST, kind, body)
    }

    /// `POST [type]` under a condition (`If-None-Exist`): content (design §10).
    pub fn conditional_create(
        &self,
        kind: &str,
        mut criteria: HeaderValue,
        body: Bytes,
    ) -> Request<Bytes> {
        let mut request = self.create(kind, body);
        criteria.set_sensitive(true);
        request.headers_mut().insert("if-none-exist", criteria);
        request
    }

    /// `PUT [type]/[id]`.
    pub fn update(&self, kind: &str, id: &str, body: Bytes) -> Request<Bytes> {
        self.request(Method::PUT, &format!("{kind}/{id}"), body)
    }

    /// `PUT [type]?criteria`.
    pub fn conditional_update(&self, kind: &str, criteria: &str, body: Bytes) -> Request<Bytes> {
        self.request(Method::PUT, &format!("{kind}?{criteria}"), body)
    }

    /// `GET [type]/[id]`.
    pub fn read(&self, kind: &str, id: &str) -> Request<Bytes> {
        self.request(Method::GET, &format!("{kind}/{id}"), Bytes::new())
    }

    /// `DELETE [type]/[id]`.
    pub fn delete(&self, kind: &str, id: &str) -> Request<Bytes> {
        self.request(Method::DELETE, &format!("{kind}/{id}"), Bytes::new())
    }

    /// `GET [type]?query`, for two results at the most: enough to tell one from several.
    ///
    /// The query is taken as it stands in a reference; what cannot stand in a URL is encoded. A server that does not know
    /// a parameter shall say so: one that left it out would answer with resources that nobody meant
    /// (<https://hl7.org/fhir/R4/search.html#errors>).
    pub fn search(&self, kind: &str, query: &str) -> Request<Bytes> {
        let query = condition::as_query(query);
        let path = format!("{kind}?{query}&_count=2");
        let mut request = self.request(Method::GET, &path, Bytes::new());
        let headers = request.headers_mut();
        headers.insert("prefer", HeaderValue::from_static("handling=strict"));
        // HAPI answers the same search for a minute with what it found first.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        request
    }

    /// `GET [type]?query` for all resources of a type; the query is Stoker's own.
    pub fn listing(&self, kind: &str, query: &str) -> Request<Bytes> {
        let mut request = self.request(Method::GET, &format!("{kind}?{query}"), Bytes::new());
        let no_cache = HeaderValue::from_static("no-cache");
        request
            .headers_mut()
            .insert(header::CACHE_CONTROL, no_cache);
        request
    }

    /// `GET` of the next page, as the store names it: relative to its base, or on the same host. None of one that leads to
    /// another, who has no business with what the store holds.
    pub fn following(&self, url: &str) -> Option<Request<Bytes>> {
        let base: Url = self.base.parse().ok()?;
        let url = base.join(url).ok()?;
        if url.origin() != base.origin() {
            return None;
        }
        let mut request = self.request(Method::GET, "", Bytes::new());
        *request.uri_mut() = url.as_str().parse().ok()?;
        Some(request)
    }

    /// `GET metadata`.
    pub fn capabilities(&self) -> Request<Bytes> {
        self.request(Method::GET, "metadata", Bytes::new())
    }

    /// `POST` of a batch or transaction to the base.
    pub fn bundle(&self, text: Bytes) -> Request<Bytes> {
        self.request(Method::POST, "", text)
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Bytes> {
        // The base of a system-level request is named without its trailing slash, as Google's paths have it.
        let url = match path {
            "" => self.base.trim_end_matches('/').to_owned(),
            path => format!("{}{path}", self.base),
        };
        let writes = method != Method::GET;
        let mut request = crate::target::request::request(method, &url, body);
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, FHIR_JSON);
        if writes {
            headers.insert(header::CONTENT_TYPE, FHIR_JSON);
        }
        request
    }
}

/// The bytes around the entries of a Bundle: `{"resourceType":"Bundle","type":"transaction","entry":[]}`.
pub const FRAME: usize = 64;

/// The text of a batch or transaction. The entries go out as they are given.
#[derive(Debug)]
pub struct BundleText {
    text: BytesMut,
    is_empty: bool,
}

impl BundleText {
    /// Begins a Bundle of a type, with room for `bytes` of entries.
    pub fn new(bundle_type: &str, bytes: usize) -> Self {
        let mut text = BytesMut::with_capacity(bytes + FRAME);
        for part in ["{\"resourceType\":\"Bundle\",\"type\":\"", bundle_type] {
            text.put_slice(part.as_bytes());
        }
        text.put_slice(b"\",\"entry\":[");
        Self {
            text,
            is_empty: true,
        }
    }

    /// Adds an entry.
    pub fn entry(&mut self, entry: &[u8]) {
        if !std::mem::take(&mut self.is_empty) {
            self.text.put_u8(b',');
        }
        self.text.put_slice(entry);
    }

    /// Ends the Bundle.
    pub fn end(mut self) -> Bytes {
        self.text.put_slice(b"]}");
        self.text.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> RequestBuilder {
        RequestBuilder::new(&"https://fhir.example/r4/".parse().unwrap())
    }

    #[test]
    fn a_conditional_create_carries_its_criteria_in_the_header() {
        let criteria = HeaderValue::from_static("identifier=a|b");
        let body = Bytes::from_static(b"{}");
        let request = requests().conditional_create("Patient", criteria, body);
        assert_eq!(request.uri(), "https://fhir.example/r4/Patient");
        assert_eq!(request.headers()["if-none-exist"], "identifier=a|b");
        assert!(!format!("{request:?}").contains("a|b"));
    }

    #[test]
    fn a_search_takes_the_query_as_it_was_written() {
        let uri = |query: &str| requests().search("Patient", query).uri().to_string();
        let base = "https://fhir.example/r4/Patient?";
        for (query, sent) in [
            ("identifier=urn:a|1", "identifier=urn:a%7C1"),
            ("identifier=urn%3Aa%7c1&x=y", "identifier=urn%3Aa%7c1&x=y"),
            ("name=Ä #1", "name=%C3%84%20%231"),
            ("name=100%", "name=100%25"),
            ("name=5%zz%2", "name=5%25zz%252"),
        ] {
            assert_eq!(uri(query), format!("{base}{sent}&_count=2"), "{query}");
        }
        let request = requests().search("Patient", "identifier=1");
        assert_eq!(request.headers()["prefer"], "handling=strict");
    }

    #[test]
    fn a_bundle_holds_its_entries_as_they_were() {
        let entries: [&[u8]; 2] = [b"{\"a\": 1.00}", b"{ }"];
        let mut text = BundleText::new("batch", 0);
        for entry in entries {
            text.entry(entry);
        }
        let request = requests().bundle(text.end());
        assert_eq!(request.uri(), "https://fhir.example/r4");
        assert_eq!(
            request.body(),
            "{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[{\"a\": 1.00},{ }]}"
        );
    }
}
