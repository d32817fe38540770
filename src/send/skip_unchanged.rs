//! Reads what the store holds before updates, and leaves equal content alone. A record that differs goes with the version
//! that was read, so that nothing is overwritten that changed in between.

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{
    context::LoadContext,
    settlement::{self, Attempted},
    two_steps,
    versions::{Held, Tag, is_update, tag_of},
    work::Work,
};
use crate::{
    gate::Largest,
    journal::Settlement,
    lookup::{self, Matches},
    plan::Step,
    record::{Operation, Outcome},
    target::Likeness,
};

/// The number of records of one request that are compared at once, beside the gate's own bound.
const READS: usize = 16;

/// The state of the store where a record would go.
enum Found {
    /// The store holds it as it is.
    Same(Box<Settlement>),
    /// The store has something else there, or nothing; with what goes into `If-Match`.
    Other(Tag),
    /// Nobody knows.
    Unread,
}

/// Leaves alone what the store already holds, where the load asks for it. Returns what has to be sent, what is settled,
/// and the versions that were read. Of what goes together or not at all, nothing is left alone.
pub(super) async fn compare(load: &LoadContext, mut work: Work) -> (Work, Vec<Settlement>, Held) {
    let mut held = Held::new();
    if !load.settings.compare || work.atomic {
        return (work, Vec::new(), held);
    }
    // The bodies of a request such as a large Bundle are read when it is made; here they are read only to be compared.
    let is_read_late = work.bodies.len() != work.steps.len();
    if is_read_late {
        match load.rewriter.read_to_look(&work.steps) {
            Ok(read) => work.bodies = read,
            // A body that cannot be read fails where the request is made.
            Err(_) => return (work, Vec::new(), held),
        }
    }
    let whole = two_steps::whole(&load.rewriter, &work);
    let comparisons = work.steps.iter().zip(&work.bodies).map(|(step, body)| {
        let body = whole.clone().unwrap_or_else(|| body.clone());
        let step = step.clone();
        Box::pin(async move { compare_one(load, &step, &body).await })
            as futures::future::BoxFuture<'_, Found>
    });
    let comparisons: Vec<_> = comparisons.collect();
    let _reading = load.reading(comparisons.len());
    let found: Vec<Found> = stream::iter(comparisons).buffered(READS).collect().await;
    let mut settled = Vec::new();
    let (mut steps, mut bodies) = (Vec::new(), Vec::new());
    let read = work.steps.into_iter().zip(work.bodies).zip(found);
    for ((step, body), found) in read {
        match found {
            Found::Same(same) => {
                settled.push(*same);
                continue;
            }
            Found::Other(tag) => {
                held.insert(step.number, tag);
            }
            Found::Unread => {}
        }
        steps.push(step);
        bodies.push(body);
    }
    if is_read_late {
        bodies.clear();
    }
    (work.steps, work.bodies) = (steps, bodies);
    (work, settled, held)
}

/// Compares one record. Whatever goes wrong with the reading, the update itself will tell.
async fn compare_one(load: &LoadContext, step: &Step, body: &Bytes) -> Found {
    let (gate, target) = (&load.link.gate, &*load.link.target);
    let ours = target.kept(step, body);
    let id = match step.action.operation() {
        Some(Operation::Update) => step.id.clone(),
        Some(Operation::ConditionalUpdate) => meant(load, step, ours).await,
        _ => None,
    };
    let Some(id) = id else {
        return Found::Unread;
    };
    let read = gate.call_interactive(|| {
        let mut read = target.read(&step.kind, &id);
        read.extensions_mut().insert(Largest::holding(ours.len()));
        read
    });
    let Ok(read) = read.await else {
        return Found::Unread;
    };
    // Under a condition the store keeps the id that it gave.
    let likeness = if is_update(step) {
        Likeness::Same
    } else {
        Likeness::ButId
    };
    let is_read = read.status() == http::StatusCode::OK;
    if !is_read || !target.is_alike(likeness, ours, read.body()) {
        return match tag_of(target, &step.kind, &read) {
            // An update that needs the version asks for it once more.
            Tag::Unasked => Found::Unread,
            tag if is_update(step) => Found::Other(tag),
            _ => Found::Unread,
        };
    }
    let note = "the store already holds this content";
    let mut settled = settlement::told(
        step.number,
        Outcome::Unchanged,
        Some(200),
        Attempted::default(),
        note,
    );
    settled.line.id = Some(id);
    settled.line.version = target.held(&step.kind, read.headers(), read.body()).version;
    Found::Same(Box::new(settled))
}

/// Returns the id of the one record that a conditional update means.
async fn meant(load: &LoadContext, step: &Step, kept: &[u8]) -> Option<String> {
    // The condition of an entry's own request is the store's to read.
    if step.is_entry() && load.settings.interaction.is_none() {
        return None;
    }
    let (gate, target) = (&load.link.gate, &*load.link.target);
    let criteria = target.identifying(&load.settings, step, kept)?;
    match lookup::one(gate, target, &step.kind, &criteria).await {
        Ok(Matches::One(id)) => Some(id),
        _ => None,
    }
}
