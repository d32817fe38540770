//! Asks a store which resource a conditional reference means, once for each; `content` compares what it holds with a record.
//!
//! A conditional reference (`Practitioner?identifier=system|value`) to nothing in the plan can only mean what the store
//! holds already. The standard lets stores resolve it in transactions only (<https://hl7.org/fhir/R4/http.html#trules>), so
//! it is asked for before anything that holds it is sent. What is asked is content: it stands in no message (design §10).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Deserialize;
use tokio::sync::OnceCell;

pub mod content;

use crate::{
    fhir::reference::is_id,
    gate::{Failure, Gate},
    target::fhir::Requests,
};

/// What a store has for a conditional reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matches {
    /// Nothing.
    None,
    /// One resource, of this id.
    One(String),
    /// More than one.
    Several,
    /// The store does not answer such a search; with this status. 200 stands for an answer that does not say.
    Refused(u16),
}

impl Matches {
    fn word(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::One(_) => "one",
            Self::Several => "several",
            Self::Refused(_) => "no answer that tells",
        }
    }
}

/// Asks a store what it has for `kind?query`; the query as it stands in a record, without its question mark.
///
/// Nobody is asked about an empty query: it leaves all resources of the type.
///
/// # Errors
///
/// When no answer came, or the credentials failed.
pub async fn one(
    gate: &Gate,
    requests: &Requests,
    kind: &str,
    query: &str,
) -> Result<Matches, Failure> {
    if query.trim_matches('&').is_empty() {
        return Ok(Matches::Several);
    }
    let mut found = Matches::Refused(200);
    for _ in 0..READINGS {
        let response = gate.ask(|| requests.search(kind, query)).await?;
        found = match response.status().as_u16() {
            200 => read(kind, response.body()),
            status => Matches::Refused(status),
        };
        if found != Matches::Refused(200) {
            break;
        }
    }
    let target = gate.name();
    tracing::info!(
        target,
        kind,
        found = found.word(),
        "the store was asked which resource a condition means"
    );
    Ok(found)
}

/// How often a search is made whose answer does not say: it may have been cut short on the way.
const READINGS: u32 = 3;

/// The look-ups of a run: each is made once, however many ask for it.
#[derive(Debug, Default)]
pub struct Lookups {
    found: Mutex<HashMap<(String, String), Answer>>,
}

/// What was found, once it was.
type Answer = Arc<OnceCell<Result<Matches, Failure>>>;

impl Lookups {
    /// Returns what the store has for `kind?query`, as [`one`] does.
    ///
    /// # Errors
    ///
    /// When the store cannot be asked. All who waited are told so; whoever comes later asks again, as after a refusal
    /// that speaks of the moment only.
    pub async fn one(
        &self,
        gate: &Gate,
        requests: &Requests,
        kind: &str,
        query: &str,
    ) -> Result<Matches, Failure> {
        let key = (format!("{}{kind}", requests.base()), query.to_owned());
        let cell = Arc::clone(self.found().entry(key.clone()).or_default());
        let answer = cell
            .get_or_init(|| one(gate, requests, kind, query))
            .await
            .clone();
        if passes(&answer) {
            let mut found = self.found();
            // Somebody may be asking anew already.
            if found.get(&key).is_some_and(|kept| Arc::ptr_eq(kept, &cell)) {
                found.remove(&key);
            }
        }
        answer
    }

    fn found(&self) -> MutexGuard<'_, HashMap<(String, String), Answer>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether an answer speaks of the moment (load, an outage, a token that expired) and not of the search.
fn passes(answer: &Result<Matches, Failure>) -> bool {
    matches!(
        answer,
        Err(_) | Ok(Matches::Refused(401 | 408 | 425 | 429 | 500..))
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Searchset {
    resource_type: String,
    #[serde(rename = "type")]
    bundle_type: String,
    total: Option<u64>,
    #[serde(default)]
    entry: Vec<Entry>,
    #[serde(default)]
    link: Vec<Relation>,
}

#[derive(Deserialize)]
struct Relation {
    relation: String,
}

#[derive(Deserialize)]
struct Entry {
    resource: Option<Resource>,
    search: Option<Search>,
}

#[derive(Deserialize)]
struct Search {
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource_type: String,
    id: Option<String>,
}

/// Reads a searchset: only matches of the type count, not what comes along (`include`, `outcome`).
///
/// A record is going to hold what this returns, so an answer in doubt is taken for none: another Bundle, an id that is
/// none, a total without its entries.
fn read(kind: &str, body: &[u8]) -> Matches {
    const DOES_NOT_SAY: Matches = Matches::Refused(200);
    let Ok(set) = serde_json::from_slice::<Searchset>(body) else {
        return DOES_NOT_SAY;
    };
    if set.resource_type != "Bundle" || set.bundle_type != "searchset" {
        return DOES_NOT_SAY;
    }
    let is_match = |entry: &Entry| {
        let mode = entry
            .search
            .as_ref()
            .and_then(|search| search.mode.as_deref());
        mode.is_none_or(|mode| mode == "match")
    };
    let mut found = set
        .entry
        .into_iter()
        .filter(is_match)
        .filter_map(|entry| entry.resource)
        .filter(|resource| resource.resource_type == kind)
        .map(|resource| resource.id);
    let goes_on = set.link.iter().any(|link| link.relation == "next");
    let total = set.total.unwrap_or_default();
    match (found.next(), found.next()) {
        (None, _) if total == 0 && !goes_on => Matches::None,
        (Some(_), Some(_)) => Matches::Several,
        (Some(_), None) if total > 1 || goes_on => Matches::Several,
        (Some(Some(id)), None) if is_id(&id) => Matches::One(id),
        (None, _) | (Some(_), None) => DOES_NOT_SAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        r#"{"resource":{"resourceType":"Patient","id":"a"},"search":{"mode":"match"}}"#;

    /// A searchset with these members, read.
    fn matches(members: &str) -> Matches {
        let set = format!(r#"{{"resourceType":"Bundle","type":"searchset",{members}}}"#);
        read("Patient", set.as_bytes())
    }

    #[test]
    fn only_matches_of_the_type_count() {
        let come_along = r#"{"resource":{"resourceType":"Patient","id":"b"},"search":{"mode":"include"}},
            {"resource":{"resourceType":"OperationOutcome","id":"c"},"search":{"mode":"outcome"}},
            {"resource":{"resourceType":"OperationOutcome"}}, {"fullUrl":"x"}"#;
        let one = Matches::One("a".to_owned());
        assert_eq!(
            matches(&format!(r#""total":1,"entry":[{ONE},{come_along}]"#)),
            one
        );
        let no_mode = r#"{"resource":{"resourceType":"Patient","id":"a"}}"#;
        assert_eq!(matches(&format!(r#""entry":[{no_mode}]"#)), one);
        assert_eq!(matches(r#""total":0"#), Matches::None);
        assert_eq!(
            matches(&format!(r#""entry":[{come_along}]"#)),
            Matches::None
        );
    }

    #[test]
    fn several_are_never_taken_for_one() {
        let other = ONE.replace("\"a\"", "\"b\"");
        for members in [
            format!(r#""entry":[{ONE},{other}]"#),
            format!(r#""total":2,"entry":[{ONE}]"#),
            format!(r#""entry":[{ONE}],"link":[{{"relation":"next","url":"x"}}]"#),
        ] {
            assert_eq!(matches(&members), Matches::Several, "{members}");
        }
    }

    #[test]
    fn an_answer_in_doubt_says_nothing() {
        let silent = Matches::Refused(200);
        for members in [
            r#""total":1"#,
            r#""link":[{"relation":"next","url":"x"}]"#,
            r#""entry":[{"resource":{"resourceType":"Patient"}}]"#,
            r#""entry":[{"resource":{"resourceType":"Patient","id":"a\"b/c"}}]"#,
        ] {
            assert_eq!(matches(members), silent, "{members}");
        }
        for body in [
            "<html>",
            "{}",
            r#"{"resourceType":"OperationOutcome","issue":[]}"#,
            r#"{"resourceType":"Bundle","type":"batch-response"}"#,
        ] {
            assert_eq!(read("Patient", body.as_bytes()), silent, "{body}");
        }
    }
}
