//! Decides which updates name the version of a resource that they replace (`If-Match`), and finds the versions out.
//!
//! A target says in its CapabilityStatement for which types it wants that, or says so when it refuses an update; then it holds
//! for all updates of the type. A version that `compare` has read goes along too, so that nothing is overwritten that changed
//! in between. Versions are opaque: what a store gives is given back as it is (<https://hl7.org/fhir/R4/http.html#concurrency>).

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, stream};
use http::{Response, header};

use super::TargetConnection;
use crate::{
    plan::Step,
    record::{Operation, StepId},
    target::{Facts, Target},
};

pub(super) use crate::target::{HeldVersion as Tag, HeldVersions as Held};

/// The types whose updates have to name a version.
#[derive(Debug)]
pub(super) struct Versions {
    wanted: Mutex<BTreeSet<String>>,
}

impl Versions {
    /// Begins with what a target says of itself.
    pub(super) fn of(facts: Option<&Facts>) -> Self {
        let said = facts.map(|facts| facts.versioned_update.iter().cloned());
        Self {
            wanted: Mutex::new(said.into_iter().flatten().collect()),
        }
    }

    /// Tells whether updates of a type have to name a version.
    pub(super) fn wants(&self, kind: &str) -> bool {
        self.wanted().contains(kind)
    }

    /// Takes note that updates of a type have to name a version.
    pub(super) fn learn(&self, kind: &str) {
        if !self.wants(kind) {
            tracing::info!(kind, "the target wants a version with each update");
            self.wanted().insert(kind.to_owned());
        }
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the versions that updates have to name, as far as they are not known. Whatever goes wrong with the reading, the
    /// update itself will tell.
    /// `tell` is told how many are read, and what it returns is dropped when they are.
    pub(super) async fn read<R>(
        &self,
        connection: &TargetConnection,
        steps: &[Step],
        held: &mut Held,
        tell: impl FnOnce(usize) -> R,
    ) {
        let wanted: Vec<(StepId, String, String)> = steps
            .iter()
            .filter(|step| is_update(step) && !held.contains_key(&step.number))
            .filter(|step| self.wants(&step.kind))
            .filter_map(|step| Some((step.number, step.kind.clone(), step.id.clone()?)))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let _reading = tell(wanted.len());
        let (gate, target) = (&connection.gate, &*connection.target);
        let reads = wanted.into_iter().map(|(number, kind, id)| async move {
            let read = gate.call_for_record(|| target.read(&kind, &id)).await;
            (
                number,
                read.map_or(Tag::Unasked, |read| tag_of(target, &kind, &read)),
            )
        });
        // Boxed: the futures borrow from this one, and the compiler loses track of that otherwise.
        let reads: Vec<futures::future::BoxFuture<'_, _>> = reads
            .map(|read| Box::pin(read) as futures::future::BoxFuture<'_, _>)
            .collect();
        let read: Vec<(StepId, Tag)> = stream::iter(reads).buffer_unordered(READS).collect().await;
        held.extend(read);
    }
}

/// The number of versions that are read at once for one request, beside the gate's own bound.
const READS: usize = 16;

/// Tells whether a record replaces what the store has under its id.
pub(super) fn is_update(step: &Step) -> bool {
    step.action.operation() == Some(Operation::Update) && step.id.is_some()
}

/// Returns the version of what was read, as it goes into `If-Match`.
pub(super) fn tag_of(target: &dyn Target, kind: &str, read: &Response<bytes::Bytes>) -> Tag {
    match read.status().as_u16() {
        200 => {}
        404 | 410 => return Tag::Absent,
        // A refusal for now, or by a proxy in between, says nothing of the store.
        408 | 425 | 429 | 500.. => return Tag::Unasked,
        _ => return Tag::Unsaid,
    }
    let given = read.headers().get(header::ETAG);
    let given = given.and_then(|tag| tag.to_str().ok()).map(str::trim);
    let tag = match given.filter(|tag| !tag.is_empty() && tag.len() <= LONGEST_TAG) {
        Some(tag) if tag.ends_with('"') => Some(tag.to_owned()),
        // Some write it bare.
        Some(bare) => Some(format!("W/\"{bare}\"")),
        None => {
            let held = target.held(kind, &http::HeaderMap::new(), read.body());
            held.version.map(|version| format!("W/\"{version}\""))
        }
    };
    // A version that no header can have cannot be given back.
    let tag = tag.filter(|tag| http::HeaderValue::from_str(tag).is_ok());
    tag.map_or(Tag::Unsaid, Tag::Of)
}

/// Versions have at most 64 characters in FHIR; what is much longer is none.
const LONGEST_TAG: usize = 256;

/// Tells whether an answer to an update that named no version asks for one.
///
/// 428 means just this (RFC 6585 §3); 412 can mean nothing else where no condition was sent; 400 is what Microsoft's server
/// says, in words that name the header.
pub(super) fn wants_version(status: u16, answer: &[u8]) -> bool {
    match status {
        412 | 428 => true,
        400 | 422 => names_header(answer),
        _ => false,
    }
}

/// No more of an answer is searched: an error is short.
const SEARCHED: usize = 16 * 1024;

/// Tells whether an answer speaks of the header.
pub(super) fn names_header(answer: &[u8]) -> bool {
    let answer = answer.get(..SEARCHED).unwrap_or(answer);
    let text = answer.to_ascii_lowercase();
    [&b"if-match"[..], b"ifmatch", b"if match"]
        .iter()
        .any(|words| memchr::memmem::find(&text, words).is_some())
}

/// Tells whether a status says that the resource has another version than the update names. Older wordings of the standard
/// have 409, and HAPI and Spark keep to them.
pub(super) fn is_changed(status: u16) -> bool {
    matches!(status, 409 | 412)
}

/// The note of a record whose resource changed after it was read.
pub(super) const CHANGED: &str = "the store's resource changed after it was read, and was not overwritten: load again to compare with what is there now";

/// The note where a version is wanted that nobody can name.
pub(super) const UNSAID: &str = "the store wants each update to name the version that it replaces (If-Match), and does not say which version it has";

/// The note where a version is wanted and nobody could be asked for it.
pub(super) const UNASKED: &str = "the store wants each update to name the version that it replaces (If-Match), and could not be asked which version it has: load again";

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::target::fhir::Fhir;

    fn store() -> Fhir {
        Fhir::new(&"https://fhir.example/r4/".parse().unwrap(), None)
    }

    fn read(tag: Option<&str>, body: &'static str) -> Tag {
        let mut response = Response::builder();
        if let Some(tag) = tag {
            response = response.header("etag", tag);
        }
        tag_of(
            &store(),
            "Patient",
            &response.body(Bytes::from_static(body.as_bytes())).unwrap(),
        )
    }

    #[test]
    fn a_version_is_given_back_as_it_was_given() {
        let body = r#"{"resourceType":"Patient","id":"a","meta":{"versionId":"7"}}"#;
        for (given, sent) in [
            (Some("W/\"0\""), "W/\"0\""),
            (Some("\"a-b\""), "\"a-b\""),
            (Some("13"), "W/\"13\""),
            (Some(""), "W/\"7\""),
            (None, "W/\"7\""),
        ] {
            assert_eq!(read(given, body), Tag::Of(sent.to_owned()), "{given:?}");
        }
        assert_eq!(read(None, "{}"), Tag::Unsaid);
        let body = r#"{"resourceType":"Patient","id":"a","meta":{"versionId":"sieben\nacht"}}"#;
        assert_eq!(read(None, body), Tag::Unsaid);
    }

    #[test]
    fn a_refusal_for_now_is_no_word_about_a_version() {
        let read = |status: u16| {
            let response = Response::builder().status(status);
            tag_of(
                &store(),
                "Patient",
                &response.body(Bytes::from_static(b"{}")).unwrap(),
            )
        };
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(read(status), Tag::Unasked, "{status}");
        }
        assert_eq!((read(404), read(410)), (Tag::Absent, Tag::Absent));
        assert_eq!((read(401), read(403)), (Tag::Unsaid, Tag::Unsaid));
    }

    #[test]
    fn a_refusal_for_want_of_a_version_is_known() {
        let says = br#"{"issue":[{"code":"required","diagnostics":"A valid If-Match header is required"}]}"#;
        assert!(wants_version(400, says) && wants_version(428, b"") && wants_version(412, b""));
        assert!(!wants_version(400, br#"{"issue":[{"code":"value"}]}"#));
        assert!(!wants_version(409, says));
    }
}
