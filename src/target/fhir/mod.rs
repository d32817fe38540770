//! FHIR's REST interactions and Bundles, as every kind of FHIR target speaks them.
//!
//! `rewrite` makes records ready (with `entry`), `request` builds single requests, `write` those of a parcel, `response` judges answers, `entries` those to Bundles,
//! `apart` makes Bundles that read or delete and takes their answers apart, `place` reads whose id it is, `search` what a condition means, `condition` makes the criteria of conditional
//! interactions, `differ` compares, `list` counts and lists, `rehearse` answers a dry run. What differs between servers is in their [`Facts`](super::Facts), not here.
//! Source: <https://hl7.org/fhir/R4/http.html>.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use url::Url;

use super::{
    Accepted, Answer, Difference, Listing, Matches, Named, Naming, Parcel, Refusal, Said, Search,
    Target, Unbuilt, Unwritten, google,
};
use crate::{
    fhir::{Scanner, outcome},
    manifest::LoadSettings,
    record::{Packaging, Step},
};

#[cfg(test)]
mod answers_tests;
mod apart;
mod condition;
mod differ;
mod entries;
mod entry;
mod list;
mod place;
mod rehearse;
mod request;
mod response;
mod rewrite;
mod search;
mod write;

pub use condition::{TAG_SYSTEM, criteria, criteria_of, identifying, tag_query};
pub use entries::entries;
pub use place::{accepted, last_updated};
pub use request::{BundleText, Requests};
pub use response::{Asked, Verb, said};
pub use write::{full_url, own_if_match};

/// A FHIR store.
#[derive(Debug, Clone)]
pub struct Fhir {
    requests: Requests,
    /// The store's resource name, where it is Google-shaped.
    google: Option<google::StoreName>,
}

impl Fhir {
    /// Takes the service base URL, with a trailing slash, and the store behind it where it is Google-shaped.
    pub fn new(base: &Url, google: Option<google::StoreName>) -> Self {
        Self {
            requests: Requests::new(base),
            google,
        }
    }
}

impl Target for Fhir {
    fn base(&self) -> &str {
        self.requests.base()
    }

    fn rewrite(&self, step: &Step, naming: &Naming<'_>, bytes: Bytes) -> Result<Bytes, Unwritten> {
        let mut scanner = Scanner::new();
        let bytes = rewrite::rewrite(self.base(), &mut scanner, step, naming, bytes)?;
        if !naming.purpose.is_for_wire() {
            return Ok(bytes);
        }
        let is_remade = naming.settings.interaction.is_some();
        let is_unnamed = step.full_url.is_none() && naming.is_linked;
        rewrite::wrapped(step, is_remade, is_unnamed, bytes)
    }

    fn address(&self, step: &Step) -> String {
        rewrite::address(step)
    }

    fn searches(&self, step: &Step, bytes: &[u8]) -> Result<Vec<Search>, Unwritten> {
        rewrite::searches(step, bytes)
    }

    fn write(
        &self,
        parcel: &Parcel<'_>,
        bodies: &mut dyn Iterator<Item = Bytes>,
    ) -> Result<Request<Bytes>, Unbuilt> {
        write::write(&self.requests, parcel, bodies)
    }

    fn answers(
        &self,
        parcel: &Parcel<'_>,
        answer: &Response<Bytes>,
    ) -> Result<Vec<Option<Answer>>, String> {
        let asked: Vec<Asked<'_>> = parcel.steps.iter().map(Asked::of).collect();
        if parcel.packaging.is_some() {
            return entries(answer.body(), &asked);
        }
        let status = answer.status().as_u16();
        let one = asked.first().map(|asked| Answer {
            status,
            said: said(asked, status, answer.headers(), answer.body()),
            outcome: None,
        });
        Ok(vec![one])
    }

    fn refusal(&self, kind: Option<&str>, answer: &[u8]) -> Refusal {
        let problem = outcome::read(answer);
        let culprit = outcome::entry(&problem);
        let mut expression = problem.expression;
        if let Some(kind) = kind {
            // What is said of its place in a Bundle that Stoker made is left out: the record stands elsewhere.
            let own = |expression: &String| outcome::own(kind, expression);
            expression = expression.iter().filter_map(own).collect();
            expression.dedup();
        }
        Refusal {
            code: problem.code,
            detail: problem.detail,
            expression,
            culprit,
            text: problem.text,
        }
    }

    fn read(&self, kind: &str, id: &str) -> Request<Bytes> {
        self.requests.read(kind, id)
    }

    fn search(&self, kind: &str, query: &str) -> Request<Bytes> {
        self.requests.search(kind, query)
    }

    fn matches(&self, kind: &str, answer: &[u8]) -> Matches {
        search::matches(kind, answer)
    }

    fn held(&self, kind: &str, headers: &HeaderMap, answer: &[u8]) -> Accepted {
        place::held(kind, headers, answer)
    }

    fn keeps_versions(&self) -> bool {
        true
    }

    fn read_all(&self, records: &[Named<'_>]) -> Option<Request<Bytes>> {
        Some(self.requests.bundle(apart::reads(records)))
    }

    fn delete(
        &self,
        records: &[Named<'_>],
        packaging: Option<Packaging>,
    ) -> Option<Request<Bytes>> {
        match (records, packaging) {
            (records, Some(packaging)) => {
                let text = apart::deletes(records, packaging);
                Some(self.requests.bundle(text))
            }
            ([record], None) => Some(self.requests.delete(record.kind, record.id)),
            (_, None) => None,
        }
    }

    fn deleted(&self, record: Named<'_>, answer: &Response<Bytes>) -> Said {
        apart::deleted(record, answer)
    }

    fn apart(
        &self,
        records: &[Named<'_>],
        answer: &Response<Bytes>,
    ) -> Result<Vec<Option<Response<Bytes>>>, String> {
        apart::apart(records, answer.body())
    }

    fn differences(
        &self,
        step: &Step,
        _: &LoadSettings,
        ours: &Bytes,
        answer: &Response<Bytes>,
    ) -> Result<Vec<Difference>, &'static str> {
        differ::differences(&step.kind, ours, answer.body(), self.base())
            .ok_or("the store's answer is no resource")
    }

    fn lists_by_kind(&self) -> bool {
        true
    }

    fn count(&self, kind: &str) -> Option<Request<Bytes>> {
        Some(self.requests.listing(kind, "_summary=count"))
    }

    fn counted(&self, answer: &Response<Bytes>) -> Option<u64> {
        list::total(answer.body())
    }

    fn list(&self, kind: &str) -> Option<Request<Bytes>> {
        Some(self.requests.listing(kind, list::QUERY))
    }

    fn listed(&self, kind: &str, _: u64, answer: &Response<Bytes>) -> Option<Listing> {
        let (ids, next) = list::page(kind, answer.body())?;
        let next = next.and_then(|url| self.requests.following(&url));
        Some(Listing { ids, next })
    }

    fn alive(&self) -> Result<Request<Bytes>, url::ParseError> {
        match &self.google {
            Some(name) => name.get_store(),
            None => Ok(self.requests.capabilities()),
        }
    }

    fn rehearse(&self, request: &Request<Bytes>) -> Response<Bytes> {
        self.answer_taken(request)
    }

    fn empty(&self, request: &Request<Bytes>) -> Response<Bytes> {
        self.answer_empty(request)
    }
}
