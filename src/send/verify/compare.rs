//! Reads records back and compares them with their sources, as the store should have them.

use bytes::Bytes;
use http::Response;

use super::{
    Differing, Error, Verification, Verified, Verify,
    expect::{Expected, How, Item, Unit},
};
use crate::{
    lookup::{Lookups, OpenStore},
    manifest::LoadSettings,
    plan::{Action, Link, Step, To},
    send::rewrite::BodyRewriter,
    target::{Difference, Matches, Named},
};

/// Reads records back.
pub(super) struct Reader<'a> {
    pub(super) verify: &'a Verify<'a>,
    pub(super) rewriter: &'a BodyRewriter,
    pub(super) lookups: &'a Lookups,
}

/// The result of reading a record back.
pub(super) struct Checked {
    place: String,
    how: How,
    differing: Differing,
}

impl Checked {
    /// Counts it, and names it where it is not the same. Returns its target and what was found, where that says anything.
    pub(super) fn count(
        self,
        expected: &Expected,
        verified: &mut Verified,
    ) -> Option<(String, Verification)> {
        let differing = self.differing;
        let outcome = differing.outcome;
        // Nobody knows if it should be there; that it is not is no difference.
        if self.how == How::Doubtful && outcome == Verification::Missing {
            return None;
        }
        let found = (differing.target.clone(), outcome);
        verified.read += u64::from(self.how != How::Unloaded);
        verified.looked_for +=
            u64::from(self.how == How::LookedFor && outcome == Verification::Same);
        let Some((target, kind)) = expected.counted(&self.place, &differing.kind) else {
            return Some(found);
        };
        let kind = verified.kind(target, kind);
        // A record that arrived without anybody's knowing was not expected.
        kind.expected += u64::from(self.how == How::Doubtful && outcome != Verification::Unknown);
        *match outcome {
            Verification::Same => &mut kind.same,
            Verification::Changed => &mut kind.changed,
            Verification::Missing => &mut kind.missing,
            Verification::Extra => &mut kind.extra,
            Verification::Unknown => &mut kind.unknown,
        } += 1;
        if outcome != Verification::Same {
            verified.name(differing);
        }
        Some(found)
    }
}

const NO_STORE: &str = "the store itself is not there";
const NOT_LOADED: &str = "no run has loaded it";
const NO_ANSWER: &str = "no answer came that tells";
const LEADS_NOWHERE: &str =
    "a conditional reference of it means nothing in the store, or several resources";
const NOT_ITS_OWN: &str =
    "what answers says that it is not there, in no words of the store's protocol";
const ANOTHER: &str = "the store answered with a record of another name, or with none";
const UNPROVEN: &str = "nobody knows whether it arrived, and what the store has does not prove it";

impl Reader<'_> {
    /// Reads the records of a unit, and compares them.
    pub(super) async fn check(&self, unit: Unit<'_>) -> Result<Vec<Checked>, Error> {
        let plan = self.verify.plan;
        // The target of a step is one of the plan's.
        let place = |item: &Item| {
            let target = plan.header.target_of(item.step.load);
            target.map(|target| target.settings.store.place())
        };
        let mut checked = Vec::with_capacity(unit.items.len());
        let Some(store) = unit.store else {
            for item in unit.items {
                let place = place(&item).unwrap_or_default();
                let found = Found::without(Verification::Missing, NO_STORE);
                checked.push(self.checked(unit.target, place, item, found));
            }
            return Ok(checked);
        };
        let (mut read, mut others) = (Vec::new(), Vec::new());
        for item in unit.items {
            match (&item.id, item.how) {
                (Some(_), how) if how != How::Unloaded => read.push(item),
                _ => others.push(item),
            }
        }
        let answers = self.read(store, &read).await?;
        for (item, answer) in read.into_iter().zip(answers) {
            let found = self.found(store, unit.settings, &item, answer).await?;
            let place = place(&item).unwrap_or_default();
            checked.push(self.checked(unit.target, place, item, found));
        }
        for item in others {
            let found = if item.how == How::Doubtful {
                Found::without(Verification::Unknown, UNPROVEN)
            } else {
                Found::without(Verification::Missing, NOT_LOADED)
            };
            let place = place(&item).unwrap_or_default();
            checked.push(self.checked(unit.target, place, item, found));
        }
        Ok(checked)
    }

    async fn read(
        &self,
        store: &OpenStore,
        items: &[Item],
    ) -> Result<Vec<Option<Response<Bytes>>>, Error> {
        let mut are_streamed = Vec::with_capacity(items.len());
        for item in items {
            are_streamed.push(self.rewriter.is_streamed(&item.step)?);
        }
        let name = |item: &'_ Item| item.id.clone().unwrap_or_default();
        let ids: Vec<String> = items.iter().map(name).collect();
        let names: Vec<Named<'_>> = items
            .iter()
            .zip(&ids)
            .map(|(item, id)| Named {
                kind: &item.step.kind,
                id,
            })
            .collect();
        let single = |at: usize| {
            let name = names.get(at).copied().unwrap_or(Named { kind: "", id: "" });
            let item = items.get(at);
            let whole = item.is_some_and(|item| item.how != How::LookedFor)
                && are_streamed.get(at) == Some(&false);
            if whole {
                store.target.retrieve(name.kind, name.id)
            } else {
                store.target.read(name.kind, name.id)
            }
        };
        Ok(store.read(&names, &single).await?)
    }

    async fn found(
        &self,
        store: &OpenStore,
        settings: &LoadSettings,
        item: &Item,
        answer: Option<Response<Bytes>>,
    ) -> Result<Found, Error> {
        let Some(answer) = answer else {
            return Ok(Found::without(Verification::Unknown, NO_ANSWER));
        };
        let status = answer.status().as_u16();
        match status {
            200 => {}
            // A proxy misses everything, and says so in a page of its own.
            404 | 410
                if !answer.body().trim_ascii().is_empty() && !store.target.is_own_miss(&answer) =>
            {
                return Ok(Found::without(Verification::Unknown, NOT_ITS_OWN));
            }
            404 | 410 => return Ok(Found::of(Verification::Missing, status)),
            _ => return Ok(Found::of(Verification::Unknown, status)),
        }
        let name = Named {
            kind: &item.step.kind,
            id: item.id.as_deref().unwrap_or_default(),
        };
        if store.target.is_named_otherwise(name, &answer) {
            return Ok(Found::without(Verification::Unknown, ANOTHER));
        }
        if item.how == How::LookedFor {
            return Ok(Found::of(Verification::Same, status));
        }
        let differences = if self.rewriter.is_streamed(&item.step)? {
            self.described(store, &item.step, &answer)?
        } else {
            let Some(ours) = self.ours(store, &item.step).await? else {
                return Ok(Found::without(Verification::Unknown, LEADS_NOWHERE));
            };
            let target = &store.target;
            target.differences(&item.step, settings, &ours, &answer)
        };
        Ok(match differences {
            Ok(differences) if differences.is_empty() => Found::of(Verification::Same, status),
            Ok(differences) => Found {
                differences,
                ..Found::of(Verification::Changed, status)
            },
            Err(why) => Found::without(Verification::Unknown, why),
        })
    }

    /// Returns in which elements a record that is too large to be held differs from what describes it in the store.
    fn described(
        &self,
        store: &OpenStore,
        step: &Step,
        answer: &Response<Bytes>,
    ) -> Result<Result<Vec<Difference>, &'static str>, Error> {
        let opened = self.rewriter.open(step)?;
        let differing = store.target.differing(&|| opened.read(), answer, false);
        let elements = differing.map(Option::unwrap_or_default);
        Ok(elements
            .map(|elements| elements.into_iter().map(Difference::of_element).collect())
            .map_err(|_| "the store's answer does not describe the record"))
    }

    /// Tells whether the store holds the bytes of a record, and whether it had them before a time.
    pub(super) async fn holds(
        &self,
        store: &OpenStore,
        settings: &LoadSettings,
        item: Item,
        since: Option<jiff::Timestamp>,
    ) -> Result<Option<bool>, Error> {
        let items = [item];
        let answer = self.read(store, &items).await?.into_iter().flatten().next();
        let [item] = items;
        let is_old = |answer: &Response<Bytes>| {
            since.is_some_and(|since| store.target.is_from_before(answer, since))
        };
        let is_old = store.target.tells_age() && answer.as_ref().is_some_and(is_old);
        let found = self.found(store, settings, &item, answer).await?;
        Ok((found.outcome == Verification::Same).then_some(is_old))
    }

    /// Returns a record as the store should have it, its references rewritten; none where one of them leads nowhere.
    async fn ours(&self, store: &OpenStore, step: &Step) -> Result<Option<Bytes>, Error> {
        let mut step = step.clone();
        for link in &mut step.links {
            link.late = false;
        }
        for search in self.rewriter.searches(&step)? {
            let (kind, query) = (&search.kind, &search.query);
            let asked = self
                .lookups
                .one(&store.gate, &*store.target, kind, query)
                .await;
            match asked.map_err(|failure| silent(store, failure))? {
                Matches::One(id) => step.links.push(Link {
                    reference: search.reference,
                    to: To::Resource(format!("{kind}/{id}")),
                    late: false,
                    native: false,
                }),
                _ => return Ok(None),
            }
        }
        step.links.retain(|link| link.to != To::Search);
        if let Action::Entry(operation) = step.action {
            // The resource is compared, not the entry around it: the hash is that of the whole entry.
            step.hash = 0;
            step.action = Action::Send(operation);
        }
        let none = std::collections::HashMap::new();
        let read =
            self.rewriter
                .read_as_stored(&[step], &std::collections::HashMap::new(), &none)?;
        Ok(read.into_iter().next())
    }

    fn checked(&self, target: &str, place: String, item: Item, found: Found) -> Checked {
        let file = self.verify.plan.source_name(item.step.position.source);
        Checked {
            place,
            how: item.how,
            differing: Differing {
                target: target.to_owned(),
                place: Some(item.step.position.display(file).to_string()),
                kind: item.step.kind,
                id: item.id,
                outcome: found.outcome,
                status: found.status,
                note: found.note.map(str::to_owned),
                differences: if self.verify.shows_values {
                    found.differences
                } else {
                    let paths = found.differences.into_iter();
                    paths.map(|at| Difference::of_element(at.path)).collect()
                },
            },
        }
    }
}

fn silent(store: &OpenStore, failure: crate::gate::CallFailure) -> Error {
    Error::Target {
        target: store.gate.name().to_owned(),
        failure,
    }
}

struct Found {
    outcome: Verification,
    status: Option<u16>,
    note: Option<&'static str>,
    differences: Vec<Difference>,
}

impl Found {
    fn of(outcome: Verification, status: u16) -> Self {
        Self {
            outcome,
            status: Some(status),
            note: None,
            differences: Vec::new(),
        }
    }

    fn without(outcome: Verification, note: &'static str) -> Self {
        Self {
            outcome,
            status: None,
            note: Some(note),
            differences: Vec::new(),
        }
    }
}
