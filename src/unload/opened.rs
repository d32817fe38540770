//! Circles of references that no transaction holds: what their records refer to each other by is taken out, so that they can be
//! deleted one by one.
//!
//! As long as none of them is deleted, what was taken out is put back where the rest cannot go: a store keeps what an unloading
//! leaves there as it was. Only the content comes back; its version is another one.

use bytes::Bytes;
use http::Response;

use super::{Ended, Error, Unload, deletion::each, item::Item};
use crate::{
    journal::Removal,
    lookup::OpenStore,
    record::StepId,
    target::{Named, Target},
};

const CIRCLE: &str =
    "it is in a circle of references, which cannot be deleted together, and could not be opened";
const LEFT_OPEN: &str = "its circle was opened, and others of it are deleted: it stays without its references to them, because \
     the store does not let it go";
const NOT_CLOSED: &str = "its circle could not be opened as a whole, and its references to the others of it were taken out and \
     could not be put back: the store's versions of it have them";

/// The result of opening a circle.
enum Opening {
    /// All of it.
    Whole,
    /// Not: the store would not have it.
    Refused(Vec<Ended>),
    /// No answer came that tells.
    Unsure,
}

impl Unload<'_> {
    /// Returns the tag of a record whose references were taken out.
    pub(super) fn mark(&self, item: &Item) -> String {
        self.history.journal.tag(item.number())
    }

    /// Deletes the records of a circle one by one. If the first of them cannot go, none goes.
    pub(super) async fn one_by_one(
        &self,
        store: &OpenStore,
        mut items: Vec<Item>,
        ended: &mut Vec<Ended>,
    ) -> Result<(), Error> {
        let mut taken = Vec::with_capacity(items.len());
        let stays = match self.open(store, &mut items, &mut taken).await? {
            Opening::Unsure => return Ok(()),
            Opening::Refused(refused) => refused,
            Opening::Whole => {
                let (first, rest) = items.split_at(std::cmp::min(1, items.len()));
                let mut tried = Vec::new();
                each(store, first, true, &mut tried).await?;
                match tried.first() {
                    // Nobody knows whether it is deleted; a later unloading finds out.
                    None => return Ok(()),
                    Some(one) if one.line.outcome.is_away() => {
                        let begin = ended.len();
                        ended.append(&mut tried);
                        each(store, rest, true, ended).await?;
                        let told = ended.iter_mut().skip(begin);
                        let left = told.filter(|one| !one.line.outcome.is_away());
                        left.for_each(|one| one.line.note = Some(LEFT_OPEN.to_owned()));
                        return Ok(());
                    }
                    Some(_) => tried,
                }
            }
        };
        let lost = self.close(store, &items, taken).await?;
        for item in &items {
            let own = stays.iter().find(|one| one.line.record == item.number());
            let mut stays = match own {
                Some(own) => own.clone(),
                None => item.stays(Removal::Referred, CIRCLE),
            };
            if lost.contains(&item.number()) {
                stays.line.note = Some(NOT_CLOSED.to_owned());
            }
            ended.push(stays);
        }
        Ok(())
    }

    /// Takes out of the records of a circle what refers to the others. `taken` gets what each was before, where something was
    /// taken out of it.
    async fn open(
        &self,
        store: &OpenStore,
        items: &mut [Item],
        taken: &mut Vec<Option<Bytes>>,
    ) -> Result<Opening, Error> {
        let held = items.to_vec();
        let names: Vec<Named<'_>> = held.iter().map(Item::name).collect();
        let single = |at: usize| {
            let name = names.get(at).copied().unwrap_or(Named { kind: "", id: "" });
            store.target.read(name.kind, name.id)
        };
        let answers = store.read(&names, &single).await?;
        for ((item, name), answer) in items.iter_mut().zip(&names).zip(answers) {
            let Some(answer) = answer else {
                return Ok(Opening::Unsure);
            };
            let mark = self.mark(item);
            if !answer.status().is_success() {
                taken.push(None);
                continue;
            }
            if store.target.is_loosened(&answer, &mark) {
                // An unloading that was cut off has done that.
                taken.push(self.before(store, *name, &mark).await?);
                continue;
            }
            let Some(request) = store.target.loosen(*name, &names, &answer, &mark) else {
                return Ok(Opening::Refused(vec![
                    item.stays(Removal::Referred, CIRCLE),
                ]));
            };
            taken.push(Some(answer.into_body()));
            let Some(answer) = store.ask(request, 1).await? else {
                return Ok(Opening::Unsure);
            };
            // It has another version by now, and goes in that one.
            item.held = None;
            if answer.status().is_success() {
                item.held = version(&*store.target, *name, &answer);
                continue;
            }
            // The answer to a first attempt may be lost: a read tells.
            let read = store.ask(store.target.read(name.kind, name.id), 1).await?;
            let Some(read) = read.filter(|read| store.target.is_loosened(read, &mark)) else {
                let mut stays = item.refused(store, &answer);
                stays.line.note = Some(CIRCLE.to_owned());
                return Ok(Opening::Refused(vec![stays]));
            };
            item.held = version(&*store.target, *name, &read);
        }
        Ok(Opening::Whole)
    }

    /// Puts back what was taken out. Returns the records of which that failed.
    async fn close(
        &self,
        store: &OpenStore,
        items: &[Item],
        taken: Vec<Option<Bytes>>,
    ) -> Result<Vec<StepId>, Error> {
        let mut lost = Vec::new();
        for (item, before) in items.iter().zip(taken) {
            let (name, mark) = (item.name(), self.mark(item));
            let read = store.ask(store.target.read(name.kind, name.id), 1).await?;
            let Some(open) = read.filter(|read| store.target.is_loosened(read, &mark)) else {
                continue;
            };
            let version = version(&*store.target, name, &open);
            let request = before
                .zip(version)
                .and_then(|(before, version)| store.target.restore(name, &version, before));
            let answer = match request {
                Some(request) => store.ask(request, 1).await?,
                None => None,
            };
            if answer.is_some_and(|answer| answer.status().is_success()) {
                continue;
            }
            let read = store.ask(store.target.read(name.kind, name.id), 1).await?;
            if read.is_none_or(|read| store.target.is_loosened(&read, &mark)) {
                lost.push(item.number());
            }
        }
        Ok(lost)
    }

    /// Returns what a record was before something was taken out of it, where the store keeps that.
    async fn before(
        &self,
        store: &OpenStore,
        name: Named<'_>,
        mark: &str,
    ) -> Result<Option<Bytes>, Error> {
        let Some(request) = store.target.history(name) else {
            return Ok(None);
        };
        let answer = store.ask(request, 1).await?;
        let answer = answer.filter(|answer| answer.status().is_success());
        let versions = answer.and_then(|answer| store.target.versions(name, &answer));
        let is_whole = |text: &Bytes| {
            let held = Response::new(text.clone());
            !store.target.is_loosened(&held, mark)
        };
        let mut whole = versions.into_iter().flatten();
        Ok(whole.find_map(|version| version.resource.filter(is_whole)))
    }
}

fn version(target: &dyn Target, name: Named<'_>, held: &Response<Bytes>) -> Option<String> {
    target.held(name.kind, held.headers(), held.body()).version
}
