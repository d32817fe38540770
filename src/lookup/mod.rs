//! Asks a store which resource a conditional reference means, once for each; `store`
//! reads several records at a time.
//!
//! A conditional reference (`Practitioner?identifier=system|value`) to nothing in the plan can only mean what the store
//! holds already. The standard lets stores resolve it in transactions only
//! (<https://hl7.org/fhir/R4/http.html#trules>), so it is asked for before anything that holds it is sent. The query is
//! content: it stands in no message (design §10).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::OnceCell;

mod store;

use crate::{
    gate::{CallFailure, Gate},
    target::Target,
};

pub use crate::target::Matches;
pub use store::{OpenStore, Silent, StoreWays, Watch, errand};

/// The pauses between questions whether something is gone that a store has promised to remove (202): half a minute in all.
pub const REMOVING: [Duration; 6] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// Returns the word for a finding, for the log.
fn word(found: &Matches) -> &'static str {
    match found {
        Matches::None => "none",
        Matches::One(_) => "one",
        Matches::Several => "several",
        Matches::Refused(_) => "no answer that tells",
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
    target: &dyn Target,
    kind: &str,
    query: &str,
) -> Result<Matches, CallFailure> {
    if query.trim_matches('&').is_empty() {
        return Ok(Matches::Several);
    }
    let mut found = Matches::Refused(200);
    for _ in 0..READINGS {
        let response = gate.call_for_record(|| target.search(kind, query)).await?;
        found = match response.status().as_u16() {
            200 => target.matches(kind, response.body()),
            status => Matches::Refused(status),
        };
        if found != Matches::Refused(200) {
            break;
        }
    }
    tracing::info!(
        target = gate.name(),
        kind,
        found = word(&found),
        "the store was asked which resource a condition means"
    );
    Ok(found)
}

/// The number of times that a search is made whose answer does not say: it may have been cut short on the way.
const READINGS: u32 = 3;

/// The look-ups of a run: each is made once, however many ask for it.
#[derive(Debug, Default)]
pub struct Lookups {
    found: Mutex<HashMap<(String, String), Answer>>,
}

/// The finding of a look-up, once there is one.
type Answer = Arc<OnceCell<Result<Matches, CallFailure>>>;

impl Lookups {
    /// Returns what the store has for `kind?query`, as [`one`] does.
    ///
    /// # Errors
    ///
    /// When the store cannot be asked. All that waited are told so; a later caller asks again, as after a refusal that
    /// speaks of the moment only.
    pub async fn one(
        &self,
        gate: &Gate,
        target: &dyn Target,
        kind: &str,
        query: &str,
    ) -> Result<Matches, CallFailure> {
        let key = (format!("{}{kind}", target.base()), query.to_owned());
        let cell = Arc::clone(self.found().entry(key.clone()).or_default());
        let answer = cell
            .get_or_init(|| one(gate, target, kind, query))
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
fn passes(answer: &Result<Matches, CallFailure>) -> bool {
    matches!(
        answer,
        Err(_) | Ok(Matches::Refused(401 | 408 | 425 | 429 | 500..))
    )
}
