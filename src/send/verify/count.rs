//! Counts what the stores hold, and finds what no source says.

use std::{collections::HashSet, hash::BuildHasher as _};

use super::{Differing, Error, KindComparison, Verification, Verified, Verify, expect::Expected};
use crate::{lookup::OpenStore, target::StoreListing};

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
                self.list(store, target, "", expected, verified, true)
                    .await?;
                continue;
            }
            let kinds: Vec<String> = (expected.kinds.keys())
                .filter(|(of, _)| of == target)
                .map(|(_, kind)| kind.clone())
                .collect();
            let mut all = None;
            if let Some(request) = store.target.count_all() {
                let answer = store.ask(request, 1).await?;
                let answer = answer.filter(|answer| answer.status().is_success());
                all = answer.and_then(|answer| store.target.counted_all(&answer));
            }
            for kind in kinds {
                if let Some(all) = &all {
                    let held = all.get(&kind).copied().unwrap_or(0);
                    verified.kind(target, &kind).held = Some(held);
                    continue;
                }
                let Some(request) = store.target.count(&kind) else {
                    continue;
                };
                let answer = store.ask(request, 1).await?;
                let answer = answer.filter(|answer| answer.status().is_success());
                let held = answer.and_then(|answer| store.target.counted(&answer));
                verified.kind(target, &kind).held = held;
            }
        }
        Ok(())
    }

    /// Finds what stores hold and no source says, where they hold more than was found.
    pub(super) async fn find_extra(
        &self,
        expected: &Expected,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        let more = |kind: &KindComparison| {
            let found = kind.same + kind.changed + kind.unknown;
            kind.held.is_none_or(|held| held > found)
        };
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

    /// Goes through the names of what a store holds; counts them, where that was not done before.
    async fn list(
        &self,
        store: &OpenStore,
        target: &str,
        kind: &str,
        expected: &Expected,
        verified: &mut Verified,
        counts: bool,
    ) -> Result<(), Error> {
        let mut next = store.target.list(kind);
        let mut held = 0_u64;
        // A server that does not know where a page begins gives the same one for ever.
        let mut pages = HashSet::new();
        let state = foldhash::quality::RandomState::default();
        while let Some(request) = next {
            let answer = store.ask(request, 1).await?;
            let answer = answer.filter(|answer| answer.status().is_success());
            let page = answer.and_then(|answer| store.target.listed(kind, held, &answer));
            // A page that cannot be had leaves the number unknown.
            let Some(StoreListing { ids, next: more }) = page else {
                return Ok(());
            };
            if !ids.is_empty() && !pages.insert(state.hash_one(&ids)) {
                return Ok(());
            }
            held += ids.len() as u64;
            for id in ids {
                if expected.says(target, kind, &id) {
                    continue;
                }
                verified.kind(target, kind).extra += 1;
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
            next = more;
        }
        if counts {
            verified.kind(target, kind).held = Some(held);
        }
        Ok(())
    }
}

impl Verified {
    /// Adds what counts say where only some records were read.
    pub(super) fn by_counts_as_well(&mut self) {
        for kind in self.kinds.values_mut() {
            if let Some(held) = kind.held {
                kind.missing = kind.missing.max(kind.expected.saturating_sub(held));
                kind.extra = kind.extra.max(held.saturating_sub(kind.expected));
            }
        }
    }

    /// Says by counts alone what is missing and what is there besides.
    pub(super) fn by_counts(&mut self) {
        for kind in self.kinds.values_mut() {
            match kind.held {
                Some(held) => {
                    kind.missing = kind.expected.saturating_sub(held);
                    kind.extra = held.saturating_sub(kind.expected);
                }
                None => kind.unknown = kind.expected,
            }
        }
        self.differing.clear();
    }
}
