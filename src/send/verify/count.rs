//! Counts what the stores hold, and finds what no source says.
//!
//! A listing that does not come to its end is told as such ([`Unlisted`]): of what it does not name, nobody knows.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher as _,
};

use bytes::Bytes;
use http::{Request, Response};
use serde::{Deserialize, Serialize};

use super::{
    Differing, Error, KindComparison, Verification, Verified, Verify, expect::Expected,
    types::Listed,
};
use crate::{lookup::OpenStore, target::StoreListing, unit::grouped};

/// Records that were not listed to the end, so that nobody knows what the store holds besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlisted {
    /// The target.
    pub target: String,
    /// Their kind; "" for all that a store holds.
    #[serde(rename = "type")]
    pub kind: String,
    /// The reason, in Stoker's own words.
    pub why: String,
}

impl Verify<'_> {
    fn store(&self, target: &str) -> Option<&OpenStore> {
        self.stores.get(target).and_then(Option::as_ref)
    }

    /// Counts what the stores hold, by kind where they can be asked for one.
    pub(super) async fn count(
        &self,
        expected: &Expected,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        for (target, by_kind) in expected.targets() {
            let Some(store) = self.store(target) else {
                continue;
            };
            if !by_kind {
                let listed = self.list(store, target, "", expected, verified, true);
                if let Some(listed) = listed.await? {
                    self.count_types(store, target, listed, verified).await?;
                }
                continue;
            }
            let kinds: Vec<String> = (expected.kinds.keys())
                .filter(|(of, _)| of == target)
                .map(|(_, kind)| kind.clone())
                .collect();
            let all = match store.target.count_all() {
                Some(request) => count_all(store, request).await?,
                None => None,
            };
            for kind in kinds {
                if let Some(all) = &all {
                    let held = all.get(&kind).copied().unwrap_or(0);
                    verified.kind(target, &kind).held = Some(held);
                    continue;
                }
                let Some(request) = store.target.count(&kind) else {
                    continue;
                };
                let answer = successful(store, request).await?;
                let held = answer.and_then(|answer| store.target.counted(&answer));
                verified.kind(target, &kind).held = held;
            }
        }
        Ok(())
    }

    /// Counts by type what a store has listed.
    async fn count_types(
        &self,
        store: &OpenStore,
        target: &str,
        listed: Listed,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        let types = verified.types.entry(target.to_owned()).or_default();
        let records = listed.records;
        let counted = match store.target.count_all() {
            Some(request) => {
                let counted = count_all(store, request).await?;
                counted.ok_or_else(|| "the store does not count by type".to_owned())
            }
            None => listed.by_type(types.types.get("").map_or(0, |count| count.expected)),
        };
        types.take(counted, records);
        Ok(())
    }

    /// Finds what stores hold and no source says, where they hold more than was found.
    pub(super) async fn find_extra(
        &self,
        expected: &Expected,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        // A count below what was found is wrong, and says nothing.
        let more = |kind: &KindComparison| kind.held != Some(kind.same + kind.changed);
        for (target, _) in expected.targets().filter(|(_, by_kind)| *by_kind) {
            let Some(store) = self.store(target) else {
                continue;
            };
            let kinds: Vec<String> = (verified.kinds.iter())
                .filter(|((of, _), kind)| of == target && more(kind))
                .map(|((_, kind), _)| kind.clone())
                .collect();
            for kind in kinds {
                self.list(store, target, &kind, expected, verified, false)
                    .await?;
            }
        }
        Ok(())
    }

    /// Goes through the names of what a store holds, and returns them; counts them, where that was not done before. The reason
    /// why they do not come to an end is noted.
    async fn list(
        &self,
        store: &OpenStore,
        target: &str,
        kind: &str,
        expected: &Expected,
        verified: &mut Verified,
        counts: bool,
    ) -> Result<Option<Listed>, Error> {
        let listed = self.pages(store, target, kind, expected, verified).await?;
        let why = match &listed {
            Ok(listed) if counts => {
                verified.kind(target, kind).held = Some(listed.records);
                None
            }
            Ok(listed) => {
                let held = listed.records;
                let counted = verified.kind(target, kind);
                // Google's metrics lag behind what a store holds.
                let count = counted.held.filter(|_| store.target.count_all().is_none());
                let least = std::cmp::max(count.unwrap_or(0), counted.same + counted.changed);
                (held < least).then(|| {
                    format!(
                        "the store's listing names {}, and it holds {}",
                        grouped(held),
                        grouped(least)
                    )
                })
            }
            Err(why) => Some(why.clone()),
        };
        verified.unlisted.extend(why.map(|why| Unlisted {
            target: target.to_owned(),
            kind: kind.to_owned(),
            why,
        }));
        Ok(listed.ok())
    }

    /// Goes through the pages of what a store holds, and returns the records that they name; or why they do not come to an
    /// end.
    async fn pages(
        &self,
        store: &OpenStore,
        target: &str,
        kind: &str,
        expected: &Expected,
        verified: &mut Verified,
    ) -> Result<Result<Listed, String>, Error> {
        let Some(first) = store.target.list(kind) else {
            return Ok(Err("such a store does not list what it holds".to_owned()));
        };
        let mut next = Some(first);
        let mut listed = Listed::default();
        // A server that does not know where a page begins gives the same one for ever.
        let mut pages = HashSet::new();
        let state = foldhash::quality::RandomState::default();
        while let Some(request) = next {
            let Some(answer) = store.ask(request, 1).await? else {
                return Ok(Err(
                    "no answer came to a page of the store's listing".to_owned()
                ));
            };
            if !answer.status().is_success() {
                let status = answer.status().as_u16();
                let why = format!("the store answered {status} to a page of its listing");
                return Ok(Err(why));
            }
            let page = store.target.listed(kind, listed.records, &answer);
            let Some(StoreListing {
                ids,
                kinds,
                next: more,
                is_elsewhere,
            }) = page
            else {
                return Ok(Err(
                    "a page of the store's listing cannot be read".to_owned()
                ));
            };
            if !ids.is_empty() && !pages.insert(state.hash_one(&ids)) {
                return Ok(Err(
                    "the store's listing gives the same page again".to_owned()
                ));
            }
            listed.add(ids.len(), kinds);
            for id in ids {
                if expected.says(target, kind, &id) {
                    continue;
                }
                verified.kind(target, kind).extra += 1;
                self.audience.found(target, Verification::Extra, 1);
                verified.name(Differing {
                    target: target.to_owned(),
                    kind: kind.to_owned(),
                    id: Some(id),
                    place: None,
                    outcome: Verification::Extra,
                    status: None,
                    note: None,
                    differences: Vec::new(),
                });
            }
            if is_elsewhere {
                let why =
                    "the next page of the store's listing is at another host, which is not asked";
                return Ok(Err(why.to_owned()));
            }
            next = more;
        }
        Ok(Ok(listed))
    }
}

/// Asks, and returns an answer of success.
async fn successful(
    store: &OpenStore,
    request: Request<Bytes>,
) -> Result<Option<Response<Bytes>>, Error> {
    let answer = store.ask(request, 1).await?;
    Ok(answer.filter(|answer| answer.status().is_success()))
}

/// Asks for the counts of all kinds at once.
async fn count_all(
    store: &OpenStore,
    request: Request<Bytes>,
) -> Result<Option<HashMap<String, u64>>, Error> {
    let answer = successful(store, request).await?;
    Ok(answer.and_then(|answer| store.target.counted_all(&answer)))
}
