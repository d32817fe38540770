//! FHIR's REST interactions and Bundles, as every kind of FHIR target speaks them.
//!
//! `request` builds, `response` reads, `condition` makes the criteria of conditional interactions. What differs
//! between servers is in their [`Facts`](super::Facts), not here. Source: <https://hl7.org/fhir/R4/http.html>.

mod condition;
mod request;
mod response;

pub use condition::{TAG_SYSTEM, criteria, criteria_of, identifier, tag_query};
pub use request::{BundleText, Requests};
pub use response::{Accepted, EntryAnswer, accepted, entries, is_fhirs, last_updated};
