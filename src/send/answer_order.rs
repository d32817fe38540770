//! Proves that a target answers the records of a parcel in the order in which they were sent, before the ids of those that it
//! created are believed.
//!
//! The standard asks for that order (<https://hl7.org/fhir/R4/http.html#transaction-response>), and where several of one kind are
//! created nothing in the answer shows another: a reference that is rewritten by a shuffled answer leads to the wrong record.
//! So some records of the first parcels are read back. A record whose content is that of another one of its parcel proves that
//! the order is not kept; from then on each is read back, and what is created travels one by one where it can. A target that does not
//! let its records be read is believed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::StatusCode;

use super::{Error, context::LoadContext, habits::AnswerOrder};
use crate::{
    gate::Largest,
    journal::Settlement,
    plan::Step,
    record::{Operation, Outcome},
    target::Likeness,
};

/// The number of records that are read back before an order is believed. A server that answers parcels of two in any order
/// is found out with a chance of 15 in 16; with larger parcels it hardly escapes.
const ENOUGH: usize = 8;

/// The number of records of one parcel that are read back: those at both ends, and two between.
const OF_PARCEL: usize = 4;

/// The number of records that are read at once, beside the gate's own bound.
const READS: usize = 16;

/// The most records of one answer that are told by their content. Each is compared with each: those of a transaction of 25,000 would take
/// hours, and is no answer that a server in whose order nothing can be trusted has been seen to give.
const SORTED: usize = 500;

/// Said of a record whose id could not be told.
const UNTOLD: &str = "the target answers records of one request in another order than they were sent in, and which of its \
                      resources is this one could not be told";

/// Said of a record whose id was found by its content.
const FOUND: &str = "the target answers records of one request in another order than they were sent in; this one was found by its \
                     content";

/// A record that the target says it created, and the resource that it is said to be.
pub(super) type Created = (Settlement, Step);

/// Records of a parcel that were created, under ids that depend on the order of its answer.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    pub(super) created: Vec<Created>,
    /// The answer itself has shown that it has another order.
    pub(super) is_shuffled: bool,
}

/// Takes from what a parcel settled those records whose ids depend on the order of its answer: several of one kind that were
/// created.
pub(super) fn depends_on_order(settled: &mut Vec<Created>) -> Vec<Created> {
    // The id of an update is that of its URL.
    let is_created = |(settled, step): &Created| {
        let is_create = matches!(
            step.action.operation(),
            Some(Operation::Create | Operation::ConditionalCreate)
        );
        let line = &settled.line;
        is_create && line.outcome == Outcome::Created && line.id.is_some()
    };
    let mut times: HashMap<String, usize> = HashMap::new();
    for (_, step) in settled.iter().filter(|one| is_created(one)) {
        *times.entry(step.kind.clone()).or_default() += 1;
    }
    let depends =
        |one: &Created| is_created(one) && times.get(&one.1.kind).is_some_and(|times| *times > 1);
    let (depending, rest) = settled.drain(..).partition(depends);
    *settled = rest;
    depending
}

/// Settles records whose ids depend on the order of an answer: as they stand where the order is kept, else by their content.
pub(super) async fn settle(load: &LoadContext, ordered: Ordered) -> Result<Vec<Settlement>, Error> {
    let Ordered {
        mut created,
        is_shuffled,
    } = ordered;
    if created.is_empty() {
        return Ok(Vec::new());
    }
    let mut order = load.habits.order().await;
    if *order == AnswerOrder::Kept && !is_shuffled {
        return Ok(created.into_iter().map(|(settled, _)| settled).collect());
    }
    let bodies = read_bodies(load, &created).await?;
    let before = *order;
    if is_shuffled {
        *order = AnswerOrder::Shuffled;
    } else if let AnswerOrder::Unproven(so_far) = before {
        *order = look(load, &created, &bodies, so_far).await;
    }
    if *order == AnswerOrder::Shuffled && before != AnswerOrder::Shuffled {
        load.habits.learn_disorder(&load.setup.counts);
    }
    let is_shuffled = *order == AnswerOrder::Shuffled;
    drop(order);
    if is_shuffled {
        sort(load, &mut created, &bodies).await;
    }
    Ok(created.into_iter().map(|(settled, _)| settled).collect())
}

/// Reads what the store keeps of each record, as far as it is known.
async fn read_bodies(load: &LoadContext, created: &[Created]) -> Result<Vec<Bytes>, Error> {
    let steps: Vec<Step> = created.iter().map(|(_, step)| step.clone()).collect();
    let (rewriter, target) = (load.rewriter.clone(), Arc::clone(&load.link.target));
    let read = tokio::task::spawn_blocking(move || {
        let bodies = rewriter.read_to_look(&steps)?;
        let kept = |(step, body): (&Step, &Bytes)| body.slice_ref(target.kept(step, body));
        Ok::<_, Error>(steps.iter().zip(&bodies).map(kept).collect())
    });
    read.await.map_err(|error| Error::of_task(&error))?
}

/// Reads some records back and compares them with what was sent.
async fn look(
    load: &LoadContext,
    created: &[Created],
    bodies: &[Bytes],
    so_far: usize,
) -> AnswerOrder {
    let last = created.len() - 1;
    let places: BTreeSet<usize> = (0..OF_PARCEL)
        .map(|at| at * last / (OF_PARCEL - 1))
        .collect();
    let mut proven = so_far;
    for at in places {
        let (Some(one), Some(own)) = (created.get(at), bodies.get(at)) else {
            continue;
        };
        let Some(held) = read(load, one, own.len()).await else {
            continue;
        };
        let is_alike =
            |ours: &Bytes| (load.link.target).is_alike(Likeness::ButReferences, ours, &held);
        let mut others = created.iter().zip(bodies);
        if !is_alike(own)
            && others.any(|((_, other), ours)| other.kind == one.1.kind && is_alike(ours))
        {
            return AnswerOrder::Shuffled;
        }
        // A store that changes what it keeps beyond recognition proves nothing, and is not asked for ever.
        proven += 1;
    }
    if proven >= ENOUGH {
        AnswerOrder::Kept
    } else {
        AnswerOrder::Unproven(std::cmp::max(proven, so_far + 1))
    }
}

/// Gives each record the id of that resource which has its content, among those that the answer names.
async fn sort(load: &LoadContext, created: &mut [Created], bodies: &[Bytes]) {
    let target = &load.link.target;
    if created.len() > SORTED {
        for (settled, _) in created {
            let line = &mut settled.line;
            (line.id, line.version) = (None, None);
            line.note = Some(UNTOLD.to_owned());
        }
        return;
    }
    let reads = created.iter().zip(bodies).map(|(one, body)| {
        // Boxed: the futures borrow from this one, and the compiler loses track of that otherwise.
        Box::pin(read(load, one, body.len())) as futures::future::BoxFuture<'_, _>
    });
    let reads: Vec<_> = reads.collect();
    let held: Vec<Option<Bytes>> = stream::iter(reads).buffered(READS).collect().await;
    let named = created.iter().map(|(settled, step)| {
        let line = &settled.line;
        (step.kind.clone(), line.id.clone(), line.version.clone())
    });
    let named: Vec<_> = named.collect();
    // The places in the answer whose resources have the content of each record.
    let fitting = created.iter().zip(bodies).map(|((_, step), body)| {
        let places = held.iter().zip(&named).enumerate();
        let fits = places.filter(|(_, (held, (kind, ..)))| {
            let is_alike = |held: &Bytes| target.is_alike(Likeness::ButReferences, body, held);
            *kind == step.kind && held.as_ref().is_some_and(is_alike)
        });
        fits.map(|(at, _)| at).collect::<Vec<usize>>()
    });
    let fitting: Vec<Vec<usize>> = fitting.collect();
    let mut times: HashMap<usize, usize> = HashMap::new();
    for place in fitting.iter().flatten() {
        *times.entry(*place).or_default() += 1;
    }
    for ((settled, _), places) in created.iter_mut().zip(&fitting) {
        let found = match places.as_slice() {
            [place] if times.get(place) == Some(&1) => named.get(*place),
            _ => None,
        };
        let line = &mut settled.line;
        let note = if let Some((_, id, version)) = found {
            (line.id, line.version) = (id.clone(), version.clone());
            FOUND
        } else {
            (line.id, line.version) = (None, None);
            UNTOLD
        };
        line.note = Some(note.to_owned());
    }
}

/// Reads the resource that a record is said to be; none where the target does not give it.
async fn read(load: &LoadContext, (settled, step): &Created, bytes: usize) -> Option<Bytes> {
    let id = settled.line.id.as_deref()?;
    let mut read = load.link.target.read(&step.kind, id);
    read.extensions_mut().insert(Largest::holding(bytes));
    match load.link.gate.call_for_record(|| read.clone()).await {
        Ok(answer) if answer.status() == StatusCode::OK => Some(answer.into_body()),
        Ok(_) => None,
        Err(failure) => {
            // The answer that created it stands; a target that is down ends the run.
            if failure.is_final {
                load.end_by(&failure);
            }
            None
        }
    }
}
