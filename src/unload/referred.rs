//! Records of others that refer to what is about to be deleted: a store is asked for them before anybody decides.
//!
//! The number of requests is bounded. Of more records than these tell of, evenly spread ones are asked about, and that is said.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::{StreamExt as _, stream};

use super::{Error, Unload, item::Item};
use crate::{
    lookup::{OpenStore, Silent},
    target::{Named, Referrers},
};

/// The most requests.
const REQUESTS: usize = 100;

/// The records that are asked about in one request.
const TOGETHER: usize = 50;

/// The number of requests under way at a time.
const AT_ONCE: usize = 4;

/// The number of records that are named.
const NAMED: usize = 20;

const UNTOLD: &str = "the store does not tell what refers to a record";

/// The records to delete that others refer to, as far as stores tell.
#[derive(Debug, Default)]
pub struct Referred {
    /// The number of records that stores have told of.
    pub asked: u64,
    /// The number of records to delete that others can refer to.
    pub of: u64,
    /// The number of records that refer to any of them and are not deleted themselves, by target and kind.
    pub others: BTreeMap<(String, String), u64>,
    /// The number of records that they refer to.
    pub count: u64,
    /// The first of these.
    pub named: Vec<ReferredTo>,
    /// The targets of which nobody knows, and why.
    pub untold: BTreeMap<String, String>,
    /// A store has named some of what refers to a record, and not all.
    pub is_cut: bool,
    /// The targets among those with others whose stores delete what is referred to all the same.
    pub unchecked: Vec<String>,
}

/// A record that others refer to.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReferredTo {
    /// The target.
    pub target: String,
    /// The position of the record in its source, in words.
    pub place: String,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The number of others that refer to it, by kind.
    pub by: BTreeMap<String, u64>,
}

/// Records of one kind that are asked about together.
struct Question<'a> {
    store: &'a OpenStore,
    items: Vec<Item>,
}

impl Unload<'_> {
    /// Asks the stores what refers to the records to delete. `goes` tells of a record of a store, by its kind and id, whether it
    /// is deleted as well.
    ///
    /// # Errors
    ///
    /// When plan or journal cannot be read.
    pub async fn referred(
        &self,
        goes: &(dyn Fn(&str, &str, &str) -> bool + Sync),
    ) -> Result<Referred, Error> {
        let mut referred = Referred::default();
        let mut wave = self.questions(&mut referred)?;
        let mut left = REQUESTS;
        let mut counted = HashSet::new();
        while !wave.is_empty() {
            wave.retain(|question| !referred.untold.contains_key(question.store.gate.name()));
            wave.truncate(left);
            left -= wave.len();
            let mut answers = stream::iter(std::mem::take(&mut wave).into_iter().map(
                |question| async move {
                    let told = question.ask().await;
                    (question, told)
                },
            ))
            .buffered(AT_ONCE);
            while let Some((question, told)) = answers.next().await {
                let target = question.store.gate.name();
                let told = match told {
                    Ok(Some(told)) => told,
                    Ok(None) => {
                        referred.untold.insert(target.to_owned(), UNTOLD.to_owned());
                        continue;
                    }
                    Err(silent) => {
                        referred.untold.insert(target.to_owned(), silent.what);
                        continue;
                    }
                };
                if !told.is_whole && question.items.len() > 1 && wave.len() + 2 <= left {
                    wave.extend(question.halves());
                    continue;
                }
                referred.is_cut |= !told.is_whole;
                self.take(question, told, goes, &mut counted, &mut referred);
            }
        }
        for target in self.draft.targets(false) {
            let store = self.stores.get(target).and_then(Option::as_ref);
            let has_others = referred.others.keys().any(|(of, _)| of == target);
            if has_others && store.is_some_and(|store| store.checks_references == Some(false)) {
                referred.unchecked.push(target.to_owned());
            }
        }
        Ok(referred)
    }

    /// Puts together what is asked.
    fn questions(&self, referred: &mut Referred) -> Result<Vec<Question<'_>>, Error> {
        let nodes = u32::try_from(self.draft.records()).unwrap_or(u32::MAX);
        let mut able: HashMap<&str, Option<&OpenStore>> = HashMap::new();
        for target in self.draft.targets(false) {
            let store = self.stores.get(target).and_then(Option::as_ref);
            let probe = Named { kind: "", id: "" };
            able.insert(
                target,
                store.filter(|s| s.target.referrers(&[probe]).is_some()),
            );
        }
        for ((target, _), count) in &self.draft.kinds {
            let is_able = able.get(target.as_str()).is_some_and(Option::is_some);
            referred.of += if is_able { *count } else { 0 };
        }
        let most = (REQUESTS * TOGETHER) as u64;
        let every = referred.of.div_ceil(most).max(1);
        let mut open: HashMap<(String, String), Vec<Item>> = HashMap::new();
        let (mut questions, mut passed) = (Vec::new(), 0_u64);
        for node in 0..nodes {
            let Some(Some(store)) = able.get(self.target_of(node)?) else {
                continue;
            };
            passed += 1;
            if passed % every != 0 {
                continue;
            }
            let item = self.item(node)?;
            let key = (item.target.clone(), item.kind.clone());
            let items = open.entry(key).or_default();
            items.push(item);
            if items.len() >= TOGETHER {
                let items = std::mem::take(items);
                questions.push(Question { store, items });
            }
        }
        let mut rest: Vec<_> = open.into_iter().collect();
        rest.sort_by(|one, other| one.0.cmp(&other.0));
        for ((target, _), items) in rest {
            if let Some(Some(store)) = able.get(target.as_str())
                && !items.is_empty()
            {
                questions.push(Question { store, items });
            }
        }
        Ok(questions)
    }

    fn take(
        &self,
        question: Question<'_>,
        told: Referrers,
        goes: &(dyn Fn(&str, &str, &str) -> bool + Sync),
        counted: &mut HashSet<(String, String, String)>,
        referred: &mut Referred,
    ) {
        let target = question.store.gate.name();
        let mut targets = self.plan.header.targets.iter();
        let settings = targets.find(|of| of.settings.name == target);
        let place = settings.map_or_else(String::new, |of| of.settings.store.place());
        referred.asked += question.items.len() as u64;
        let mut by: Vec<BTreeMap<String, u64>> = vec![BTreeMap::new(); question.items.len()];
        for (kind, id, to) in told.found {
            if goes(&place, &kind, &id) {
                continue;
            }
            for at in to {
                if let Some(by) = by.get_mut(at) {
                    *by.entry(kind.clone()).or_default() += 1;
                }
            }
            if counted.insert((place.clone(), kind.clone(), id)) {
                let key = (target.to_owned(), kind);
                *referred.others.entry(key).or_default() += 1;
            }
        }
        for (item, by) in question.items.into_iter().zip(by) {
            if by.is_empty() {
                continue;
            }
            referred.count += 1;
            if referred.named.len() < NAMED {
                referred.named.push(ReferredTo {
                    target: item.target,
                    place: item.place,
                    kind: item.kind,
                    by,
                });
            }
        }
    }
}

impl Question<'_> {
    async fn ask(&self) -> Result<Option<Referrers>, Silent> {
        let names: Vec<Named<'_>> = self.items.iter().map(Item::name).collect();
        let Some(request) = self.store.target.referrers(&names) else {
            return Ok(None);
        };
        let answer = self.store.ask(request, 1).await?;
        let answer = answer.filter(|answer| answer.status().is_success());
        Ok(answer.and_then(|answer| self.store.target.referring(&names, &answer)))
    }

    /// Asks again with less at a time.
    fn halves(mut self) -> [Self; 2] {
        let rest = self.items.split_off(self.items.len() / 2);
        let store = self.store;
        [self, Self { store, items: rest }]
    }
}
