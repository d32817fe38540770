//! Asks a store which resource a conditional reference means, once for each; `online` asks what it holds of a whole plan,
//! and `content` compares.
//!
//! A conditional reference (`Practitioner?identifier=system|value`) to nothing in the plan can only mean what the store
//! holds already. The standard lets stores resolve it in transactions only (<https://hl7.org/fhir/R4/http.html#trules>), so
//! it is asked for before anything that holds it is sent. What is asked is content: it stands in no message (design §10).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;
use tokio::sync::OnceCell;

pub mod content;
pub mod online;

use crate::{
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
    /// The store does not answer such a search; with this status.
    Refused(u16),
}

/// The look-ups of a run: each is made once, however many ask for it.
#[derive(Debug, Default)]
pub struct Lookups {
    found: Mutex<HashMap<(String, String), Answer>>,
}

/// What was found, once it was.
type Answer = Arc<OnceCell<Matches>>;

impl Lookups {
    /// Returns what the store has for `kind?query`.
    ///
    /// # Errors
    ///
    /// When the store cannot be asked; the next who wants to know asks again.
    pub async fn one(
        &self,
        gate: &Gate,
        requests: &Requests,
        kind: &str,
        query: &str,
    ) -> Result<Matches, Failure> {
        let key = (format!("{}{kind}", requests.base()), query.to_owned());
        let cell = {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(found.entry(key).or_default())
        };
        let matches = cell
            .get_or_try_init(|| async {
                let response = gate.look_up(|| requests.search(kind, query)).await?;
                Ok(match response.status().as_u16() {
                    200 => read(kind, response.body()),
                    status => Matches::Refused(status),
                })
            })
            .await?;
        Ok(matches.clone())
    }
}

#[derive(Deserialize)]
struct Searchset {
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
fn read(kind: &str, body: &[u8]) -> Matches {
    let Ok(set) = serde_json::from_slice::<Searchset>(body) else {
        return Matches::Refused(200);
    };
    let is_match = |entry: &Entry| {
        let mode = entry
            .search
            .as_ref()
            .and_then(|search| search.mode.as_deref());
        mode.is_none_or(|mode| mode == "match")
    };
    let mut ids = set
        .entry
        .into_iter()
        .filter(is_match)
        .filter_map(|entry| entry.resource)
        .filter(|resource| resource.resource_type == kind)
        .filter_map(|resource| resource.id);
    let goes_on = set.link.iter().any(|link| link.relation == "next");
    match (ids.next(), ids.next()) {
        (None, _) => Matches::None,
        (Some(id), None) if !goes_on => Matches::One(id),
        _ => Matches::Several,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(body: &str) -> Matches {
        read("Patient", body.as_bytes())
    }

    #[test]
    fn only_matches_of_the_type_count() {
        let one = r#"{"resource":{"resourceType":"Patient","id":"a"},"search":{"mode":"match"}}"#;
        let come_along = r#"{"resource":{"resourceType":"Patient","id":"b"},"search":{"mode":"include"}},
            {"resource":{"resourceType":"OperationOutcome","id":"c"},"search":{"mode":"outcome"}}"#;
        assert_eq!(
            matches(&format!(r#"{{"total":1,"entry":[{one},{come_along}]}}"#)),
            Matches::One("a".to_owned())
        );
        assert_eq!(
            matches(&format!(r#"{{"entry":[{one},{one}]}}"#)),
            Matches::Several
        );
        assert_eq!(matches(r#"{"total":0}"#), Matches::None);
        assert_eq!(matches("<html>"), Matches::Refused(200));
        let next = r#""link":[{"relation":"next","url":"x"}]"#;
        assert_eq!(
            matches(&format!(r#"{{{next},"entry":[{one}]}}"#)),
            Matches::Several
        );
    }
}
