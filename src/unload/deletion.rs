//! Sends deletions, and finds out what their answers mean.
//!
//! A deletion names the version that was looked at, so that a change which came in between is not lost. The store is asked for a
//! record again where the answer to its deletion does not prove that it is gone; a miss is believed of what speaks the store's
//! protocol, or where a search finds nothing either.

use bytes::Bytes;
use http::Response;

use super::{
    Ended, Error, REFERRED, Unload,
    item::{Item, OTHER_VERSION},
};
use crate::{
    journal::Removal,
    lookup::{self, Matches, OpenStore, REMOVING, Silent},
    record::Packaging,
    target::{Deletion, Little, Named, Said},
};

const UNTOLD: &str = "the store's answer does not tell whether it was deleted";
const UNANSWERED: &str = "no answer came to its deletion that tells, however often it was tried, and the store has it still";
const THERE_STILL: &str =
    "the store says that it is not there (404) where it is to be deleted, and has it still";
const PROMISED: &str =
    "the store says that it will delete it (202), and has it still; repeat the command later";
/// Said of a record of which nobody knows whether it is gone.
pub(super) const UNPROVEN: &str = "what answers says that it is not there, in no words of the store's protocol, and a search for it does not \
     tell either: a proxy may have answered";

/// The reason why an answer to a deletion does not tell what became of the record.
#[derive(Debug)]
enum Doubt {
    /// It says nothing of it.
    Untold,
    /// None came.
    Unanswered,
    /// It says, with this status, that the record is not there.
    Missing(u16),
    /// It promises the deletion.
    Promised,
    /// It may be about the version that was named.
    Version,
}

/// Tells whether a refusal may be for the version that a deletion names: it is another one, or the store takes no such condition.
fn may_be_for_the_version(status: u16) -> bool {
    matches!(status, 400 | 412 | 428 | 501)
}

impl Unload<'_> {
    /// Deletes the records of a circle, all or none.
    pub(super) async fn together(
        &self,
        store: &OpenStore,
        mut items: Vec<Item>,
    ) -> Result<Vec<Ended>, Error> {
        let mut ended = Vec::with_capacity(items.len());
        let first = deletions(store, &items);
        let is_conditional = first.iter().any(|deletion| deletion.version.is_some());
        let Some(mut answer) = transaction(store, &first).await? else {
            return Ok(ended);
        };
        if is_conditional && may_be_for_the_version(answer.status().as_u16()) {
            let all = items.len();
            items = self.check(store, items, &mut ended).await?;
            let is_unsure = items.len() + ended.len() < all;
            if is_unsure || ended.iter().any(|ended| !ended.line.outcome.is_away()) {
                let others = items.iter();
                ended.extend(others.map(|item| item.stays(Removal::Referred, REFERRED)));
                return Ok(ended);
            }
            if items.is_empty() {
                return Ok(ended);
            }
            let again: Vec<Deletion<'_>> = items.iter().map(Item::in_any_version).collect();
            match transaction(store, &again).await? {
                Some(again) => answer = again,
                None => return Ok(ended),
            }
        }
        let status = answer.status();
        if !status.is_success() {
            ended.extend(items.iter().map(|item| item.refused(store, &answer)));
            return Ok(ended);
        }
        let names: Vec<Named<'_>> = items.iter().map(Item::name).collect();
        let untold = vec![None; items.len()];
        let told = if status.as_u16() == 202 {
            vec![Some(answer); items.len()]
        } else {
            store.target.apart(&names, &answer).unwrap_or(untold)
        };
        let told = items.iter().zip(told);
        let told = told.map(|(item, answer)| Told {
            item,
            is_conditional: false,
            answer,
        });
        settle(store, told.collect(), &mut ended).await?;
        Ok(ended)
    }
}

/// The answer to the deletion of a record.
struct Told<'i> {
    item: &'i Item,
    /// The deletion named a version.
    is_conditional: bool,
    answer: Option<Response<Bytes>>,
}

/// Returns the deletions of records: each in the version that was looked at, where the store takes that.
fn deletions<'i>(store: &OpenStore, items: &'i [Item]) -> Vec<Deletion<'i>> {
    let refuses = store.ways.refuses_versions();
    let deletion = |item: &'i Item| {
        if refuses {
            item.in_any_version()
        } else {
            item.deletion()
        }
    };
    items.iter().map(deletion).collect()
}

/// Sends deletions in one transaction; none is returned where no answer came that tells.
async fn transaction(
    store: &OpenStore,
    deletions: &[Deletion<'_>],
) -> Result<Option<Response<Bytes>>, Error> {
    let request = store
        .target
        .delete(deletions, Some(Packaging::Transaction))
        .ok_or_else(|| Error::Internal("a store takes no transaction that deletes".to_owned()))?;
    Ok(store.ask(request, deletions.len()).await?)
}

/// Deletes records that need not go together.
pub(super) async fn each(
    store: &OpenStore,
    items: &[Item],
    is_circle: bool,
    ended: &mut Vec<Ended>,
) -> Result<(), Error> {
    let names: Vec<Named<'_>> = items.iter().map(Item::name).collect();
    let deletions = deletions(store, items);
    let mut answers: Vec<Option<Response<Bytes>>> = vec![None; items.len()];
    if !is_circle
        && store.batch > 1
        && items.len() > 1
        && let Some(request) = store.target.delete(&deletions, Some(Packaging::Batch))
    {
        answers = store.in_one(&names, request).await?;
    }
    let mut told = Vec::with_capacity(items.len());
    for ((item, deletion), mut answer) in items.iter().zip(deletions).zip(answers) {
        if answer.is_none() {
            let Some(request) = store.target.delete(&[deletion], None) else {
                ended.push(item.stays(Removal::Refused, "nothing can be deleted there"));
                continue;
            };
            answer = store.ask_to_delete(request).await?;
        }
        told.push(Told {
            item,
            is_conditional: deletion.version.is_some(),
            answer,
        });
    }
    settle(store, told, ended).await
}

/// Judges the answers to deletions; where they do not tell, the store is asked for the records.
async fn settle(
    store: &OpenStore,
    told: Vec<Told<'_>>,
    ended: &mut Vec<Ended>,
) -> Result<(), Error> {
    let mut open = Vec::new();
    for Told {
        item,
        is_conditional,
        answer,
    } in told
    {
        match judge(store, item, answer.as_ref(), is_conditional) {
            Ok(one) => ended.push(one),
            Err(doubt) => open.push((item, doubt)),
        }
    }
    let mut pauses = REMOVING.into_iter();
    while !open.is_empty() {
        let names: Vec<Named<'_>> = open.iter().map(|(item, _)| item.name()).collect();
        let single = |at: usize| {
            let name = names.get(at).copied().unwrap_or(Named { kind: "", id: "" });
            store.target.read(name.kind, name.id)
        };
        let answers = store.read(&names, &single).await?;
        let mut promised = Vec::new();
        for ((item, doubt), answer) in open.into_iter().zip(answers) {
            // Nobody knows; a later unloading finds out.
            let Some(answer) = answer else { continue };
            match conclude(store, item, doubt, &answer).await? {
                Some(Ok(one)) => ended.push(one),
                Some(Err(doubt)) => promised.push((item, doubt)),
                None => {}
            }
        }
        open = promised;
        if open.is_empty() {
            break;
        }
        let Some(pause) = pauses.next() else {
            let stay = open.iter();
            ended.extend(stay.map(|(item, _)| item.stays(Removal::Refused, PROMISED)));
            break;
        };
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// Judges the answer to a deletion.
fn judge(
    store: &OpenStore,
    item: &Item,
    answer: Option<&Response<Bytes>>,
    is_conditional: bool,
) -> Result<Ended, Doubt> {
    let answer = answer.ok_or(Doubt::Unanswered)?;
    match answer.status().as_u16() {
        status @ (404 | 410) => Err(Doubt::Missing(status)),
        status @ 200..=299 => match store.target.deleted(item.name(), answer) {
            Said::Taken(_) => {
                store.ways.note_kind(item.name().kind);
                Ok(item.ended(Removal::Deleted, Some(status)))
            }
            Said::Refused => Ok(item.refused(store, answer)),
            Said::Little(Little::Later) => Err(Doubt::Promised),
            Said::Little(_) => Err(Doubt::Untold),
        },
        status if is_conditional && may_be_for_the_version(status) => Err(Doubt::Version),
        _ => Ok(item.refused(store, answer)),
    }
}

/// Judges a record by what the store has of it after its deletion; none where no answer came that tells. A doubt is returned where
/// the store is to be asked once more.
async fn conclude(
    store: &OpenStore,
    item: &Item,
    doubt: Doubt,
    read: &Response<Bytes>,
) -> Result<Option<Result<Ended, Doubt>>, Error> {
    let status = read.status().as_u16();
    if matches!(status, 404 | 410) {
        if !is_proven(store, item, read).await? {
            return Ok(Some(Ok(item.stays(Removal::Refused, UNPROVEN))));
        }
        return Ok(Some(Ok(match doubt {
            Doubt::Missing(status) => item.ended(Removal::Gone, Some(status)),
            _ => item.ended(Removal::Deleted, Some(status)),
        })));
    }
    let stays = |note| Ok(Some(Ok(item.stays(Removal::Refused, note))));
    match doubt {
        Doubt::Promised if status == 200 => Ok(Some(Err(Doubt::Promised))),
        Doubt::Unanswered if status == 200 => stays(UNANSWERED),
        Doubt::Missing(_) if status == 200 => stays(THERE_STILL),
        Doubt::Version if status == 200 => {
            let (kind, headers) = (item.name().kind, read.headers());
            let held = store.target.held(kind, headers, read.body());
            if held.version.as_deref() != item.deletion().version {
                return Ok(Some(Ok(item.stays(Removal::Changed, OTHER_VERSION))));
            }
            // It is as it was looked at: the store takes no condition on a deletion, or has another reason.
            let Some(request) = store.target.delete(&[item.in_any_version()], None) else {
                return stays(UNTOLD);
            };
            let Some(answer) = store.ask_to_delete(request).await? else {
                return Ok(None);
            };
            let judged = judge(store, item, Some(&answer), false);
            if matches!(&judged, Ok(ended) if ended.line.outcome == Removal::Deleted) {
                store.ways.note_refuses_versions();
            }
            Ok(Some(judged))
        }
        _ => stays(UNTOLD),
    }
}

/// Tells whether the answer to a read, that nothing is there, comes from the store, and from where it has such records: a
/// gateway, or a server at another address, misses everything.
pub(super) async fn is_proven(
    store: &OpenStore,
    item: &Item,
    miss: &Response<Bytes>,
) -> Result<bool, Error> {
    let is_own = store.target.is_own_miss(miss);
    let Named { kind, id } = item.name();
    let Some(query) = store.target.by_id(id) else {
        return Ok(is_own);
    };
    if is_own && store.ways.knows(kind) {
        return Ok(true);
    }
    let (is_known, is_missing) = match lookup::one(&store.gate, &*store.target, kind, &query).await
    {
        Ok(Matches::None) => (true, true),
        // An index may lag behind what the store says of the record itself.
        Ok(Matches::One(_) | Matches::Several) => (true, is_own),
        Ok(Matches::Refused(200 | 404 | 410)) => (false, false),
        // A kind that cannot be searched is known all the same to who says so.
        Ok(Matches::Refused(_)) => (is_own, is_own),
        Err(failure) if failure.is_final => {
            return Err(Error::Target(Silent {
                target: store.gate.name().to_owned(),
                hint: failure.hint().map(str::to_owned),
                what: failure.to_string(),
            }));
        }
        Err(_) => (false, false),
    };
    if is_known {
        store.ways.note_kind(kind);
    }
    Ok(is_missing)
}
