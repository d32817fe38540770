//! FHIR's REST interactions and Bundles, as every kind of FHIR target speaks them.
//!
//! `rewrite` makes records ready (with `entry`), `request` builds single requests, `write` those of a parcel,
//! `response` judges answers, `entries` those to Bundles, `apart` makes Bundles that read or delete and takes their
//! answers apart, `place` reads whose id it is, `search` what a condition means, `condition` makes the criteria of
//! conditional interactions, `differ` compares for people, `content` for the core, `kept` finds what a store keeps,
//! `lacks` what a refused record has not, `list` counts and lists, `history` reads versions, `loosen` takes references
//! out, `dry_run` answers a dry run. Differences between servers are in their [`Facts`], not here. Source:
//! <https://hl7.org/fhir/R4/http.html>.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use url::Url;

use super::{
    Accepted, Answer, Deletion, Difference, Facts, Likeness, Matches, Named, Naming, Parcel,
    Referrers, Refusal, Said, Search, StoreListing, Target, TooLarge, Unbuilt, Unwritten, Version,
    google, is_json,
};
use crate::{
    fhir::{
        Scanner,
        meaning::{self, Meaning},
        outcome,
    },
    manifest::LoadSettings,
    record::{Lack, Packaging, Step},
};

#[cfg(test)]
mod answers_tests;
mod apart;
mod condition;
mod content;
mod differ;
mod dry_run;
mod entries;
#[cfg(test)]
mod entries_tests;
mod entry;
mod explain;
mod history;
mod kept;
mod lacks;
mod list;
mod loosen;
mod place;
mod referrers;
mod request;
mod response;
mod rewrite;
mod search;
mod searchset;
mod write;

pub use condition::{TAG_SYSTEM, criteria, criteria_of, identifying};
pub use entries::entries;
pub(super) use explain::explain;
pub use place::accepted;
pub use request::{BundleText, FRAME, RequestBuilder};
pub use response::{Asked, Verb, said};
pub use write::full_url;

/// Has a request carried out in this version only; none where the version is none that a header takes.
fn if_match(mut request: Request<Bytes>, version: &str) -> Option<Request<Bytes>> {
    let tag = http::HeaderValue::from_str(&etag(version)).ok()?;
    request.headers_mut().insert(http::header::IF_MATCH, tag);
    Some(request)
}

/// Returns the entity tag of a version (<https://hl7.org/fhir/R4/http.html#concurrency>).
fn etag(version: &str) -> String {
    format!("W/\"{version}\"")
}

/// A FHIR store.
#[derive(Debug, Clone)]
pub struct Fhir {
    requests: RequestBuilder,
    /// The store's resource name, where it is Google-shaped.
    google: Option<google::StoreName>,
}

impl Fhir {
    /// Takes the service base URL, with a trailing slash, and the store behind it where it is Google-shaped.
    pub fn new(base: &Url, google: Option<google::StoreName>) -> Self {
        Self {
            requests: RequestBuilder::new(base),
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

    /// The entries of a batch have their fates by themselves: a server may say them under the status of one that failed. An
    /// answer that tells the fate of no entry refuses the whole.
    fn refused_each(
        &self,
        parcel: &Parcel<'_>,
        answer: &Response<Bytes>,
    ) -> Option<Vec<Option<Answer>>> {
        if parcel.packaging != Some(Packaging::Batch) {
            return None;
        }
        let asked: Vec<Asked<'_>> = parcel.steps.iter().map(Asked::of).collect();
        let answers = entries(answer.body(), &asked).ok()?;
        answers.iter().any(Option::is_some).then_some(answers)
    }

    fn refusal(&self, kind: Option<&str>, answer: &[u8]) -> Refusal {
        let problem = outcome::read(answer);
        let culprit = outcome::entry(&problem);
        let mut expression = problem.expression;
        if let Some(kind) = kind {
            // An expression about the record's place in a Bundle that Stoker made is left out: the record stands
            // elsewhere.
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

    fn kept<'b>(&self, step: &Step, body: &'b Bytes) -> &'b [u8] {
        kept::resource(step, body)
    }

    fn condition(&self, settings: &LoadSettings, step: &Step, body: &[u8]) -> Option<String> {
        condition::of_step(settings, step, body)
    }

    fn identifying(&self, settings: &LoadSettings, step: &Step, kept: &[u8]) -> Option<String> {
        criteria_of(&settings.identity, &step.kind, kept)
    }

    fn tagged(&self, tag: &str) -> Option<String> {
        Some(condition::tag_query(TAG_SYSTEM, tag))
    }

    fn has_tag(&self, held: &[u8], tag: &str) -> bool {
        kept::has_tag(held, tag)
    }

    fn is_alike(&self, likeness: Likeness, ours: &[u8], theirs: &[u8]) -> bool {
        match likeness {
            Likeness::Same => content::is_same(ours, theirs),
            Likeness::ButId => content::is_same_but_id(ours, theirs),
            Likeness::MadeOf => content::is_made_of(ours, theirs, self.base()),
            Likeness::ButReferences => content::is_made_of_but_references(ours, theirs),
        }
    }

    fn is_whole(&self, answer: &[u8]) -> bool {
        is_json(answer)
    }

    /// Google's stores, and the local one, keep the order; of others the standard only asks for it.
    fn answers_in_order(&self) -> bool {
        self.google.is_some()
    }

    fn written_at(&self, answer: &[u8]) -> Option<jiff::Timestamp> {
        place::last_updated(answer)
    }

    fn names_its_version(&self, step: &Step, body: &[u8]) -> bool {
        step.is_entry() && write::own_if_match(body)
    }

    /// Of servers that answer 400 the code or the words say it (Microsoft's, Medplum's).
    fn too_large(&self, status: u16, answer: &[u8]) -> Option<TooLarge> {
        match status {
            400 | 422 => response::too_large(&outcome::read(answer)),
            _ => TooLarge::of_status(status),
        }
    }

    fn passes(&self, status: u16, answer: &[u8]) -> bool {
        status == 409 && response::is_raced(&outcome::read(answer))
    }

    fn misses_reference(&self, status: u16, code: Option<&str>, detail: Option<&str>) -> bool {
        meaning::of(None, Some(status), code, detail) == Meaning::MissingReference
    }

    fn lacks(&self, kind: &str, body: &[u8], linked: &[u32], facts: Option<&Facts>) -> Vec<Lack> {
        lacks::of(kind, body, linked, facts)
    }

    fn beside(&self, body: &[u8], names: &HashMap<String, String>) -> Vec<(u32, String)> {
        rewrite::beside(body, names)
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

    fn is_named_otherwise(&self, record: Named<'_>, answer: &Response<Bytes>) -> bool {
        !place::is_named(answer.body(), record.kind, record.id)
    }

    fn keeps_versions(&self) -> bool {
        true
    }

    fn read_all(&self, records: &[Named<'_>]) -> Option<Request<Bytes>> {
        Some(self.requests.bundle(apart::reads(records)))
    }

    fn delete(
        &self,
        deletions: &[Deletion<'_>],
        packaging: Option<Packaging>,
    ) -> Option<Request<Bytes>> {
        match (deletions, packaging) {
            (deletions, Some(packaging)) => {
                let text = apart::deletes(deletions, packaging);
                Some(self.requests.bundle(text))
            }
            ([one], None) => {
                let Named { kind, id } = one.record;
                let request = self.requests.delete(kind, id);
                match one.version {
                    Some(version) => if_match(request, version),
                    None => Some(request),
                }
            }
            (_, None) => None,
        }
    }

    fn deleted(&self, record: Named<'_>, answer: &Response<Bytes>) -> Said {
        apart::deleted(record, answer)
    }

    /// Stores say what they miss in an `OperationOutcome`; a proxy, or a server that has the store at another address, says it
    /// in a page or not at all.
    fn is_own_miss(&self, answer: &Response<Bytes>) -> bool {
        let is_googles = || self.google.is_some() && is_json(answer.body());
        apart::is_of_bundle(answer) || place::is_resource(answer.body()) || is_googles()
    }

    fn by_id(&self, id: &str) -> Option<String> {
        Some(format!("_id={id}"))
    }

    fn referrers(&self, records: &[Named<'_>]) -> Option<Request<Bytes>> {
        let kind = records.first()?.kind;
        let query = referrers::query(records);
        Some(self.requests.listing(kind, &query))
    }

    fn referring(&self, records: &[Named<'_>], answer: &Response<Bytes>) -> Option<Referrers> {
        referrers::read(records, answer.body())
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

    fn history(&self, record: Named<'_>) -> Option<Request<Bytes>> {
        let Named { kind, id } = record;
        Some(
            self.requests
                .listing(&format!("{kind}/{id}/_history"), history::QUERY),
        )
    }

    fn versions(&self, record: Named<'_>, answer: &Response<Bytes>) -> Option<Vec<Version>> {
        history::versions(record, answer.body())
    }

    fn restore(&self, record: Named<'_>, version: &str, before: Bytes) -> Option<Request<Bytes>> {
        let request = self.requests.update(record.kind, record.id, before);
        if_match(request, version)
    }

    fn loosen(
        &self,
        record: Named<'_>,
        of: &[Named<'_>],
        current: &Response<Bytes>,
        mark: &str,
    ) -> Option<Request<Bytes>> {
        let body = loosen::loosened(of, current.body(), mark)?;
        let held = self.held(record.kind, current.headers(), current.body());
        match held.version {
            Some(version) => self.restore(record, &version, body),
            None => Some(self.requests.update(record.kind, record.id, body)),
        }
    }

    fn is_loosened(&self, answer: &Response<Bytes>, mark: &str) -> bool {
        loosen::is_loosened(answer.body(), mark)
    }

    fn lists_by_kind(&self) -> bool {
        true
    }

    fn count_all(&self) -> Option<Request<Bytes>> {
        self.google.as_ref()?.get_metrics().ok()
    }

    fn counted_all(&self, answer: &Response<Bytes>) -> Option<HashMap<String, u64>> {
        google::counts(answer.body(), "resourceType")
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

    fn listed(&self, kind: &str, _: u64, answer: &Response<Bytes>) -> Option<StoreListing> {
        let (ids, next) = list::page(kind, answer.body())?;
        let is_last = next.is_none();
        let next = next.and_then(|url| self.requests.following(&url));
        Some(StoreListing {
            ids,
            kinds: Vec::new(),
            is_elsewhere: !is_last && next.is_none(),
            next,
        })
    }

    fn alive(&self) -> Result<Request<Bytes>, url::ParseError> {
        match &self.google {
            Some(name) => name.get_store(),
            None => Ok(self.requests.capabilities()),
        }
    }

    fn dry_run(&self, request: &Request<Bytes>) -> Response<Bytes> {
        self.answer_taken(request)
    }

    fn empty(&self, request: &Request<Bytes>) -> Response<Bytes> {
        self.answer_empty(request)
    }
}
