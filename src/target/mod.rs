//! Targets: what the core knows of a store. Builds requests and reads answers; sends nothing itself.
//!
//! [`Target`] is the seam: planning and sending know a store by it alone. Each kind has a folder: `fhir` knows FHIR's
//! REST interactions and Bundles, which every kind of FHIR target shares; `google` knows the resource names and admin
//! calls of the Cloud Healthcare API around them. The facts of a target that are known without asking it stand in
//! [`Facts::documented`].

use std::{collections::HashMap, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};

use crate::{
    manifest::{Format, LoadSettings},
    record::{Lack, Packaging, Step},
};

mod answer;
mod arrival;
pub mod dicom;
mod difference;
mod endpoint;
mod explain;
mod facts;
pub mod fhir;
mod files;
pub mod google;
pub mod hl7v2;
mod in_the_way;
mod likeness;
mod local;
pub mod mllp;
mod named;
mod naming;
mod parcel;
mod references;
mod request;
mod status;
mod too_large;

use answer::is_json;
pub use answer::{
    Accepted, Answer, ELSEWHERE, HeldVersion, HeldVersions, Little, Matches, MayBeNothing, Refusal,
    Said,
};
pub use arrival::Arrival;
pub use difference::{Difference, Open, Referrers, StoreListing, Version};
pub use endpoint::Endpoint;
pub use explain::{Explained, Refused, explain, said};
pub use facts::{Facts, Limits, local_store_settings, miss_proves};
pub use files::{Standing, around, standing, under};
pub use in_the_way::InTheWay;
pub use likeness::Likeness;
pub use local::{LOCAL_DATASET, LOCAL_FHIR_STORE, LOCAL_LOCATION, LOCAL_PROJECT};
pub use named::{Deletion, Named};
pub use naming::{Naming, Purpose, Search, Unwritten};
pub use parcel::{Parcel, Unbuilt};
pub use references::{Shown, Stuck, shown, without};
pub use too_large::TooLarge;

/// A store, as the core knows it.
///
/// A request is carried in the types of the `http` crate whatever the protocol is: method, address and body. A transport
/// that is not HTTP reads of it what it needs, and answers with 200 and what came.
pub trait Target: Send + Sync + fmt::Debug {
    /// Returns the address that all its requests begin with, with a trailing slash. Credentials go to its host only.
    fn base(&self) -> &str;

    /// Returns from how many bytes on a record is not held but sent from its file, as it stands there; none where its bytes
    /// have to be looked at.
    fn streams_from(&self) -> Option<u64> {
        None
    }

    /// Makes the bytes of a record ready: references get the names that the store knows.
    ///
    /// # Errors
    ///
    /// When the bytes are not those that were planned, or a name is missing.
    fn rewrite(
        &self,
        _step: &Step,
        _naming: &Naming<'_>,
        bytes: Bytes,
    ) -> Result<Bytes, Unwritten> {
        Ok(bytes)
    }

    /// Returns how others that travel in one request with a record name it.
    fn address(&self, step: &Step) -> String {
        step.id.clone().unwrap_or_default()
    }

    /// Returns the references of a record that only the store can resolve, and has to be asked about before.
    ///
    /// # Errors
    ///
    /// When the bytes are not those that were planned.
    fn searches(&self, _step: &Step, _bytes: &[u8]) -> Result<Vec<Search>, Unwritten> {
        Ok(Vec::new())
    }

    /// Makes the request of one record, or of several that travel together. `bodies` gives what goes to the wire of each,
    /// in their order; where it ends early, the request is not sent.
    ///
    /// # Errors
    ///
    /// The record of which no request can be made, and the reason.
    fn write(
        &self,
        parcel: &Parcel<'_>,
        bodies: &mut dyn Iterator<Item = Bytes>,
    ) -> Result<Request<Bytes>, Unbuilt>;

    /// Reads what an answer with a status of success says of each record, in their order; none of a record that it does not
    /// tell of.
    ///
    /// # Errors
    ///
    /// The reason why the answer to several records cannot be read, in words without content. The fate of the records
    /// is then unknown.
    fn answers(
        &self,
        parcel: &Parcel<'_>,
        answer: &Response<Bytes>,
    ) -> Result<Vec<Option<Answer>>, String>;

    /// Reads what an answer with a status of refusal says of each record, where it does; none where it refuses the whole.
    fn refused_each(
        &self,
        _parcel: &Parcel<'_>,
        _answer: &Response<Bytes>,
    ) -> Option<Vec<Option<Answer>>> {
        None
    }

    /// Reads a refusal. `kind` is that of the record, where the answer speaks of its place among others.
    fn refusal(&self, kind: Option<&str>, answer: &[u8]) -> Refusal;

    /// Says in words without content what an answer with a status that is none of success was.
    fn words(&self, status: u16, _answer: &[u8]) -> String {
        format!("the store answered {status}")
    }

    /// Returns what the store keeps of a record, within what goes to the wire of it.
    fn kept<'b>(&self, _step: &Step, body: &'b Bytes) -> &'b [u8] {
        body
    }

    /// Returns the query by which the store looks for a record before it writes it; none where it is written without a
    /// condition. `body` is what goes to the wire of it. Content.
    fn condition(&self, _settings: &LoadSettings, _step: &Step, _body: &[u8]) -> Option<String> {
        None
    }

    /// Returns the query that finds a record by the identifiers which the manifest names; `kept` is what the store keeps of
    /// it. Content.
    fn identifying(&self, _settings: &LoadSettings, _step: &Step, _kept: &[u8]) -> Option<String> {
        None
    }

    /// Returns the query that finds what has a tag of ours; none where the store keeps no tags.
    fn tagged(&self, _tag: &str) -> Option<String> {
        None
    }

    /// Tells whether what a store holds has a tag of ours.
    fn has_tag(&self, _held: &[u8], _tag: &str) -> bool {
        false
    }

    /// Tells whether what a store holds is what was sent of a record.
    fn is_alike(&self, _likeness: Likeness, ours: &[u8], theirs: &[u8]) -> bool {
        ours == theirs
    }

    /// Tells whether the read of a record came to its end: an answer that was cut says nothing.
    fn is_whole(&self, _answer: &[u8]) -> bool {
        true
    }

    /// Tells whether the answer to the read of a record says that there is none, though its status is one of success.
    fn is_nothing(&self, _answer: &Response<Bytes>) -> bool {
        false
    }

    /// Tells whether the records of a parcel are certainly answered in the order in which they were sent.
    fn answers_in_order(&self) -> bool {
        true
    }

    /// Reads when a record was last written, by the clock of its store.
    fn written_at(&self, _answer: &[u8]) -> Option<jiff::Timestamp> {
        None
    }

    /// Tells whether a record names the version that it replaces by itself.
    fn names_its_version(&self, _step: &Step, _body: &[u8]) -> bool {
        false
    }

    /// Tells whether a refusal is for the size of the request, and for which.
    fn too_large(&self, status: u16, _answer: &[u8]) -> Option<TooLarge> {
        TooLarge::of_status(status)
    }

    /// Tells whether a refusal is one of the moment: another request was in the way, so that this one had no effect, and may be
    /// taken the next time.
    fn passes(&self, _status: u16, _answer: &[u8]) -> bool {
        false
    }

    /// Tells whether the codes of a refusal say that a record refers to what the store does not hold.
    fn misses_reference(&self, _status: u16, _code: Option<&str>, _detail: Option<&str>) -> bool {
        false
    }

    /// Finds what a refused record lacks, as it stands in its source. `linked` are those of its references that lead to a
    /// record of the plan, or of an earlier run.
    fn lacks(
        &self,
        _kind: &str,
        _body: &[u8],
        _linked: &[u32],
        _facts: Option<&Facts>,
    ) -> Vec<Lack> {
        Vec::new()
    }

    /// Returns what the references of a record mean among those that travel with it, by what these are called; `names` has
    /// what each became. With the place of each reference in the record.
    fn beside(&self, _body: &[u8], _names: &HashMap<String, String>) -> Vec<(u32, String)> {
        Vec::new()
    }

    /// Makes the read of one record by its kind and the id under which the store holds it.
    fn read(&self, kind: &str, id: &str) -> Request<Bytes>;

    /// Makes the search for records of a kind, for two at the most: enough to tell one from several.
    fn search(&self, kind: &str, query: &str) -> Request<Bytes>;

    /// Reads what a search found.
    fn matches(&self, kind: &str, answer: &[u8]) -> Matches;

    /// Reads under which id, and in which version, a store holds what it answers with.
    fn held(&self, kind: &str, headers: &HeaderMap, answer: &[u8]) -> Accepted;

    /// Tells whether what a store answered to the read of a record's own name is this record, where the name alone tells
    /// that or the store says what it compares by; none where the core has to compare contents. `ours` is what was sent.
    fn is_ours(&self, _step: &Step, _ours: &Bytes, _answer: &Response<Bytes>) -> Option<bool> {
        None
    }

    /// Makes the read by which a record is compared with what the store has under its name: by all its bytes where `exactly`,
    /// else by what describes it. None where nothing can be compared so.
    fn read_to_compare(&self, _step: &Step, _exactly: bool) -> Option<Request<Bytes>> {
        None
    }

    /// Tells in which elements a record differs from what the store answered to [`Target::read_to_compare`]; none where it is
    /// the same. `open` opens the bytes of the record.
    ///
    /// # Errors
    ///
    /// The reason why the answer cannot be compared, in words without content.
    fn differing(
        &self,
        _open: Open<'_>,
        _answer: &Response<Bytes>,
        _exactly: bool,
    ) -> Result<Option<Vec<String>>, String> {
        Err("such records cannot be compared".to_owned())
    }

    /// Tells whether what was read under the name of a record says of itself that it is another one, or none.
    fn is_named_otherwise(&self, record: Named<'_>, answer: &Response<Bytes>) -> bool {
        let held = self.held(record.kind, answer.headers(), answer.body());
        held.id.is_some_and(|id| id != record.id)
    }

    /// Tells whether the store gives each state of a record a version of its own, so that what was changed is known by it.
    fn keeps_versions(&self) -> bool {
        false
    }

    /// Tells whether what was read of a record tells since when the store has it ([`Target::is_from_before`]).
    fn tells_age(&self) -> bool {
        false
    }

    /// Tells whether what was read is surely older than `since`, a time of our clock.
    fn is_from_before(&self, _answer: &Response<Bytes>, _since: jiff::Timestamp) -> bool {
        false
    }

    /// Makes the read of several records in one request; none where each has to be read by itself.
    fn read_all(&self, _records: &[Named<'_>]) -> Option<Request<Bytes>> {
        None
    }

    /// Makes the request that deletes a record, or several that travel together. None where nothing can be deleted, or not
    /// in this way.
    fn delete(
        &self,
        _deletions: &[Deletion<'_>],
        _packaging: Option<Packaging>,
    ) -> Option<Request<Bytes>> {
        None
    }

    /// Tells what the answer to the deletion of one record says, whose status is one of success.
    fn deleted(&self, _record: Named<'_>, answer: &Response<Bytes>) -> Said {
        match answer.status() {
            // It was promised, and may not be done yet.
            StatusCode::ACCEPTED => Said::Little(Little::Later),
            _ => Said::Taken(Accepted::default()),
        }
    }

    /// Tells whether an answer that a record is not there is the store's own, and not that of something before it which knows
    /// nothing of records.
    fn is_own_miss(&self, _answer: &Response<Bytes>) -> bool {
        true
    }

    /// Returns the query that finds a record by its id; none where records are not searched for.
    fn by_id(&self, _id: &str) -> Option<String> {
        None
    }

    /// Makes the request that finds what refers to records of one kind; none where the records of such stores refer to nothing.
    fn referrers(&self, _records: &[Named<'_>]) -> Option<Request<Bytes>> {
        None
    }

    /// Reads what refers to them; none where the answer does not tell.
    fn referring(&self, _records: &[Named<'_>], _answer: &Response<Bytes>) -> Option<Referrers> {
        None
    }

    /// Makes the read of the versions of a record that the store keeps; none where it keeps none.
    fn history(&self, _record: Named<'_>) -> Option<Request<Bytes>> {
        None
    }

    /// Reads the versions of a record, the newest first; none where the answer does not tell.
    fn versions(&self, _record: Named<'_>, _answer: &Response<Bytes>) -> Option<Vec<Version>> {
        None
    }

    /// Makes the request that takes from a record what refers to any of `of`, so that these can be deleted; `current`
    /// is the answer to its read. The written record carries a mark, by which [`Target::is_loosened`] knows it again.
    fn loosen(
        &self,
        _record: Named<'_>,
        _of: &[Named<'_>],
        _current: &Response<Bytes>,
        _mark: &str,
    ) -> Option<Request<Bytes>> {
        None
    }

    /// Tells whether a store holds what [`Target::loosen`] wrote with this mark, and nobody has changed it since.
    fn is_loosened(&self, _answer: &Response<Bytes>, _mark: &str) -> bool {
        false
    }

    /// Makes the request that puts a record back to what it was, if it is still in this version.
    fn restore(
        &self,
        _record: Named<'_>,
        _version: &str,
        _before: Bytes,
    ) -> Option<Request<Bytes>> {
        None
    }

    /// Takes the answer to a request for several records apart: an answer of its own for each, in their order; none of one
    /// that it does not tell of.
    ///
    /// # Errors
    ///
    /// The reason why it cannot be read, in words without content.
    fn apart(
        &self,
        _records: &[Named<'_>],
        _answer: &Response<Bytes>,
    ) -> Result<Vec<Option<Response<Bytes>>>, String> {
        Err("this kind of store answers for one record at a time".to_owned())
    }

    /// Makes the read of a record with all that it holds, to be compared with its source.
    fn retrieve(&self, kind: &str, id: &str) -> Request<Bytes> {
        self.read(kind, id)
    }

    /// Returns where what the store holds of a record is not what its source says. `ours` is the record as the store
    /// should have it, its references rewritten.
    ///
    /// # Errors
    ///
    /// The reason why the answer does not tell, in words without content.
    fn differences(
        &self,
        step: &Step,
        settings: &LoadSettings,
        ours: &Bytes,
        answer: &Response<Bytes>,
    ) -> Result<Vec<Difference>, &'static str>;

    /// Tells whether the store can be asked for the records of one kind; else it lists all it has.
    fn lists_by_kind(&self) -> bool {
        false
    }

    /// Makes the request that counts the records of a kind; none where they have to be listed.
    fn count(&self, _kind: &str) -> Option<Request<Bytes>> {
        None
    }

    /// Reads a count.
    fn counted(&self, _answer: &Response<Bytes>) -> Option<u64> {
        None
    }

    /// Makes the request that counts the records of all kinds at once; none where each kind is counted by itself.
    fn count_all(&self) -> Option<Request<Bytes>> {
        None
    }

    /// Reads the counts of all kinds: of one that is not named there are none.
    fn counted_all(&self, _answer: &Response<Bytes>) -> Option<HashMap<String, u64>> {
        None
    }

    /// Returns the name under which the store counts the records of a kind.
    fn counted_as<'a>(&self, kind: &'a str) -> &'a str {
        kind
    }

    /// Makes the request for the first page of the records of a kind, or of all; none where they cannot be listed.
    fn list(&self, _kind: &str) -> Option<Request<Bytes>> {
        None
    }

    /// Reads a page of records; none where it is no page. `before` is how many came on the pages before it.
    fn listed(&self, _kind: &str, _before: u64, _answer: &Response<Bytes>) -> Option<StoreListing> {
        None
    }

    /// Returns the cheapest read that tells whether the store is there.
    ///
    /// # Errors
    ///
    /// When a name cannot be part of a URL.
    fn alive(&self) -> Result<Request<Bytes>, url::ParseError>;

    /// Answers a write as a store would that takes everything, with ids made up: the last stage of a dry run.
    fn dry_run(&self, request: &Request<Bytes>) -> Response<Bytes>;

    /// Answers a read as a store would that holds nothing.
    fn empty(&self, request: &Request<Bytes>) -> Response<Bytes>;
}

/// Returns the store at an endpoint.
pub fn of(endpoint: &Endpoint) -> Arc<dyn Target> {
    match (endpoint.format, &endpoint.google) {
        (Format::Hl7v2, None) => Arc::new(mllp::Mllp::new(&endpoint.base)),
        (Format::Hl7v2, Some(store)) => Arc::new(hl7v2::Hl7v2::new(&endpoint.base, store.clone())),
        (Format::Dicom, store) => Arc::new(dicom::Dicom::new(&endpoint.base, store.clone())),
        _ => Arc::new(fhir::Fhir::new(&endpoint.base, endpoint.google.clone())),
    }
}
