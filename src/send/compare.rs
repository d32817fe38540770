//! Reads what the store holds before an update, and leaves equal content alone.

use super::{
    Link,
    feed::Work,
    settle::{self, Attempted},
};
use crate::{
    journal::Settlement, lookup::content::is_same, record::Outcome, target::fhir::accepted,
};

/// Returns the settlement of a record that the store already holds as it is; none where it has to be sent.
///
/// `whole` is the record with all its references, where it is first sent without some. Whatever goes wrong with the reading, the update itself will tell.
pub(super) async fn unchanged(
    link: &Link,
    work: &Work,
    whole: Option<&[u8]>,
) -> Option<Settlement> {
    let (step, body) = (work.steps.first()?, work.bodies.first()?);
    let body = whole.unwrap_or(body);
    let id = step.id.as_deref()?;
    let read = link
        .gate
        .look_up(|| link.requests.read(&step.kind, id))
        .await
        .ok()?;
    if read.status() != http::StatusCode::OK || !is_same(body, read.body()) {
        return None;
    }
    let note = "the store already holds this content";
    let mut settled = settle::told(
        step.number,
        Outcome::Unchanged,
        Some(200),
        Attempted::default(),
        note,
    );
    let place = accepted(&step.kind, read.headers(), read.body());
    settled.line.id = Some(id.to_owned());
    settled.line.version = place.version;
    Some(settled)
}
