//! Proves that a target answers the records of a parcel in the order in which they were sent, before the ids of those that it
//! created are believed.
//!
//! The standard asks for that order (<https://hl7.org/fhir/R4/http.html#transaction-response>), and where several of one kind are
//! created nothing in the answer shows another: a reference that is rewritten by a shuffled answer leads to the wrong record.
//! So some records of the first parcels are read back. A record whose content is that of another one of its parcel proves that
//! the order is not kept; from then on each is read back, and what is created travels one by one where it can. A target that does not
//! let its records be read is believed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::StatusCode;

use super::{Error, context::LoadContext, habits::AnswerOrder};
use crate::{
    gate::Largest,
    journal::{SettleLine, Settlement},
    plan::{PROOFS, PROOFS_OF_PARCEL, Step},
    record::{Operation, Outcome},
    target::Likeness,
};

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

/// Said of a record that was refused, where nobody can tell which of several refusals is its own.
const REFUSED: &str = "the target answers records of one request in another order than they were sent in; this one is not among \
                       what it created, and was refused as others of the request were";

/// Said of a record of which nobody can tell whether it was created or refused.
const UNSURE: &str = "the target answers records of one request in another order than they were sent in, created some and refused \
                      others, and which this one is could not be told";

/// Records of a parcel whose fate depends on the order of its answer.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// Those that were created, as it seems.
    pub(super) created: Vec<Created>,
    /// Those that were refused, as it seems, beside others of their kind that were created.
    pub(super) refused: Vec<Created>,
    /// Those that are to be sent again, as it seems, beside others of their kind that were created: pending.
    pub(super) put_off: Vec<Created>,
    /// The answer itself has shown that it has another order.
    pub(super) is_shuffled: bool,
}

/// The fate of a record depends on the order of an answer where the target gives it its id; the id of an update is that of its URL.
fn is_create(step: &Step) -> bool {
    matches!(
        step.action.operation(),
        Some(Operation::Create | Operation::ConditionalCreate)
    )
}

/// Returns the kinds of which a parcel has created some records, as it seems.
pub(super) fn kinds_created(settled: &[Created]) -> HashSet<String> {
    let created = settled.iter().filter(|one| is_created(one));
    created.map(|(_, step)| step.kind.clone()).collect()
}

/// Tells whether a record that a target asks to send again may be one that it has created, if its answers have another order.
pub(super) fn may_be_created(step: &Step, created: &HashSet<String>) -> bool {
    is_create(step) && created.contains(&step.kind)
}

fn is_created((settled, step): &Created) -> bool {
    let line = &settled.line;
    is_create(step) && line.outcome == Outcome::Created && line.id.is_some()
}

/// Takes from what a parcel settled those records whose fate depends on the order of its answer: several of one kind of which
/// some were created. Those that are put off are among `ordered` already.
pub(super) fn take_dependent(settled: &mut Vec<Created>, ordered: &mut Ordered, is_atomic: bool) {
    // The records of a transaction are refused together.
    let is_refused = |(settled, step): &Created| {
        !is_atomic && is_create(step) && settled.line.outcome == Outcome::Rejected
    };
    let mut times: HashMap<String, (usize, usize)> = HashMap::new();
    for one in settled.iter() {
        let (created, refused) = times.entry(one.1.kind.clone()).or_default();
        *created += usize::from(is_created(one));
        *refused += usize::from(is_refused(one));
    }
    for (_, step) in &ordered.put_off {
        times.entry(step.kind.clone()).or_default().1 += 1;
    }
    for one in std::mem::take(settled) {
        let (created, refused) = times.get(&one.1.kind).copied().unwrap_or_default();
        if created == 0 || created + refused < 2 {
            settled.push(one);
        } else if is_created(&one) {
            ordered.created.push(one);
        } else if is_refused(&one) {
            ordered.refused.push(one);
        } else {
            settled.push(one);
        }
    }
}

/// Settles records whose fate depends on the order of an answer: as it says where the order is kept, else by their content.
/// A record that is pending then is to be sent again.
pub(super) async fn settle(load: &LoadContext, ordered: Ordered) -> Result<Vec<Created>, Error> {
    let is_shuffled = ordered.is_shuffled;
    let places = ordered.created.len();
    let mut pool = ordered.created;
    pool.extend(ordered.refused);
    pool.extend(ordered.put_off);
    if places == 0 {
        return Ok(pool);
    }
    let mut order = load.habits.order().await;
    if *order == AnswerOrder::Kept && !is_shuffled {
        return Ok(pool);
    }
    let bodies = read_bodies(load, &pool).await?;
    let before = *order;
    if is_shuffled {
        *order = AnswerOrder::Shuffled;
    } else if let AnswerOrder::Unproven(so_far) = before {
        *order = look(load, &pool, places, &bodies, so_far).await;
    }
    if *order == AnswerOrder::Shuffled && before != AnswerOrder::Shuffled {
        load.habits.learn_disorder(&load.setup.counts);
    }
    let is_shuffled = *order == AnswerOrder::Shuffled;
    drop(order);
    if is_shuffled {
        sort(load, &mut pool, places, &bodies).await;
    }
    Ok(pool)
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
///
/// The first `places` of the records in `pool` were created, as it seems; the others were not.
async fn look(
    load: &LoadContext,
    pool: &[Created],
    places: usize,
    bodies: &[Bytes],
    so_far: usize,
) -> AnswerOrder {
    let last = places - 1;
    let looked: BTreeSet<usize> = (0..PROOFS_OF_PARCEL)
        .map(|at| at * last / (PROOFS_OF_PARCEL - 1))
        .collect();
    let mut proven = so_far;
    for at in looked {
        let (Some(one), Some(own)) = (pool.get(at), bodies.get(at)) else {
            continue;
        };
        let Some(held) = read(load, one, own.len()).await else {
            continue;
        };
        let is_alike =
            |ours: &Bytes| (load.link.target).is_alike(Likeness::ButReferences, ours, &held);
        let mut others = pool.iter().zip(bodies);
        if !is_alike(own)
            && others.any(|((_, other), ours)| other.kind == one.1.kind && is_alike(ours))
        {
            return AnswerOrder::Shuffled;
        }
        // A store that changes what it keeps beyond recognition proves nothing, and is not asked for ever.
        proven += 1;
    }
    if proven >= PROOFS {
        AnswerOrder::Kept
    } else {
        AnswerOrder::Unproven(std::cmp::max(proven, so_far + 1))
    }
}

/// Gives each record its fate by its content: the id of that resource, among those that the answer names, which has the content.
/// Once all of these are told of one kind, the others of the kind were refused; if some of them are to be sent again, all are, for
/// nobody can tell which, and none of them was taken.
///
/// The first `places` of the records in `pool` were created, as it seems; the others were refused, or are pending.
async fn sort(load: &LoadContext, pool: &mut [Created], places: usize, bodies: &[Bytes]) {
    let found = if pool.len() > SORTED {
        vec![None; pool.len()]
    } else {
        find(load, pool, places, bodies).await
    };
    let fates: Vec<(usize, SettleLine, Option<String>)> = (pool.iter().enumerate())
        .map(|(at, (settled, _))| (at, settled.line.clone(), settled.said.clone()))
        .collect();
    let mut kinds: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, (_, step)) in pool.iter().enumerate() {
        kinds.entry(step.kind.clone()).or_default().push(at);
    }
    for members in kinds.into_values() {
        let created = members.iter().filter(|at| **at < places).count();
        let told = |at: &usize| found.get(*at).copied().flatten();
        let is_all_told = members.iter().filter_map(told).count() == created;
        let is_any_refused = created < members.len();
        let mut refusals = members.iter().filter(|at| **at >= places);
        let is_pending =
            |(_, line, _): &(usize, SettleLine, Option<String>)| line.outcome == Outcome::Pending;
        let put_off = (members.iter().copied()).find(|at| fates.get(*at).is_some_and(is_pending));
        for &at in &members {
            let (fate, note) = match told(&at) {
                Some(place) => (Some(place), FOUND),
                None if !is_any_refused => (Some(at), UNTOLD),
                None if is_all_told && put_off.is_some() => (put_off, REFUSED),
                None if is_all_told => (refusals.next().copied(), REFUSED),
                None => (None, UNSURE),
            };
            let Some((settled, _)) = pool.get_mut(at) else {
                continue;
            };
            let line = &mut settled.line;
            let (record, attempts) = (line.record, line.attempts);
            match fate.and_then(|fate| fates.get(fate)) {
                Some((_, of, said)) => {
                    *line = SettleLine {
                        record,
                        ..of.clone()
                    };
                    settled.said.clone_from(said);
                }
                None => {
                    *line = SettleLine {
                        attempts,
                        ..SettleLine::new(record, Outcome::Unknown)
                    };
                }
            }
            if note == UNTOLD {
                (line.id, line.version) = (None, None);
            }
            line.note = Some(note.to_owned());
        }
    }
}

/// Returns for each record the place, among the first `places`, whose resource alone has its content, and no other's.
async fn find(
    load: &LoadContext,
    pool: &[Created],
    places: usize,
    bodies: &[Bytes],
) -> Vec<Option<usize>> {
    let target = &load.link.target;
    let reads = pool.iter().zip(bodies).take(places).map(|(one, body)| {
        // Boxed: the futures borrow from this one, and the compiler loses track of that otherwise.
        Box::pin(read(load, one, body.len())) as futures::future::BoxFuture<'_, _>
    });
    let reads: Vec<_> = reads.collect();
    let held: Vec<Option<Bytes>> = stream::iter(reads).buffered(READS).collect().await;
    let fitting = pool.iter().zip(bodies).map(|((_, step), body)| {
        let places = held.iter().zip(pool).enumerate();
        let fits = places.filter(|(_, (held, (_, other)))| {
            let is_alike = |held: &Bytes| target.is_alike(Likeness::ButReferences, body, held);
            other.kind == step.kind && held.as_ref().is_some_and(is_alike)
        });
        fits.map(|(at, _)| at).collect::<Vec<usize>>()
    });
    let fitting: Vec<Vec<usize>> = fitting.collect();
    let mut times: HashMap<usize, usize> = HashMap::new();
    for place in fitting.iter().flatten() {
        *times.entry(*place).or_default() += 1;
    }
    let only = |places: &Vec<usize>| match places.as_slice() {
        [place] if times.get(place) == Some(&1) => Some(*place),
        _ => None,
    };
    fitting.iter().map(only).collect()
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
