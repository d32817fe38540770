//! FHIR's REST interactions and Bundles, as every kind of FHIR target speaks them.
//!
//! `request` builds, `response` judges answers, `entries` those to Bundles, `place` reads whose id it is, `condition` makes the criteria of conditional interactions. What differs
//! between servers is in their [`Facts`](super::Facts), not here. Source: <https://hl7.org/fhir/R4/http.html>.

#[cfg(test)]
mod answers_tests;
mod condition;
mod entries;
mod place;
mod request;
mod response;

pub use condition::{TAG_SYSTEM, criteria, criteria_of, identifying, tag_query};
pub use entries::{EntryAnswer, entries};
pub use place::{Accepted, accepted, last_updated};
pub use request::{BundleText, Requests};
pub use response::{Asked, Little, Said, Verb, said};
