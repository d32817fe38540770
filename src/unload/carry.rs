//! Decides about each record by the state of the store, and deletes it.
//!
//! A store that keeps versions is asked for each record first: a record that is not in the version in which the run left it
//! was changed since, and stays. If a store tells since when it has something, a resource older than the run stays, too.
//! Records without references to each other are read and deleted in batches, those of a circle all or none. The deletions are
//! `deletion`'s.

use super::{
    Ended, Error, REFERRED, Unit, Unload,
    deletion::{UNPROVEN, each, is_proven},
    item::{Item, OTHER_VERSION},
};
use crate::{
    journal::{RecordState, Removal},
    lookup::OpenStore,
    record::StepId,
    target::Named,
};

const UNVERSIONED: &str =
    "the store gave it no version when it was loaded, so nobody knows whether it was changed since";
const WAS_THERE: &str = "the store had it before the run began";

impl Unload<'_> {
    pub(super) fn item(&self, node: u32) -> Result<Item, Error> {
        let step = self.draft.step(self.plan, node)?;
        let of = |number: StepId| match self.history.fate(number)? {
            RecordState::Settled(line) | RecordState::Standing(line) => Ok((line.id, line.version)),
            RecordState::Untouched | RecordState::Intended(_) => Ok::<_, Error>((None, None)),
        };
        let (id, mut version) = of(step.number)?;
        if let Some(later) = self.draft.later(node) {
            version = of(later)?.1;
        }
        if let Some(since) = self.draft.since(node) {
            version.clone_from(since);
        }
        let lost = || Error::Internal("a record that was created has no id".to_owned());
        let file = self.plan.source_name(step.position.source);
        Ok(Item {
            number: step.number,
            target: self.target_of(node)?.to_owned(),
            id: id.or(step.id).ok_or_else(lost)?,
            version,
            held: None,
            place: step.position.display(file).to_string(),
            kind: step.kind,
        })
    }

    /// Returns what became of the records of a unit; of whom no answer came, nothing.
    pub(super) async fn carry(&self, unit: &Unit<'_>) -> Result<Vec<Ended>, Error> {
        let nodes = unit.circles.iter().flat_map(|circle| &circle.nodes);
        let items: Result<Vec<Item>, Error> = nodes.map(|node| self.item(*node)).collect();
        let mut items = items?;
        let is_circle = unit.circles.iter().any(|circle| circle.nodes.len() > 1);
        let store = unit.store;
        let mut ended = Vec::with_capacity(items.len());
        let is_versioned = !self.changed && store.target.keeps_versions();
        if is_versioned || store.target.tells_age() {
            let all = items.len();
            items = self.check(store, items, &mut ended).await?;
            let is_unsure = items.len() + ended.len() < all;
            let stays = ended.iter().any(|ended| !ended.line.outcome.is_away());
            if is_circle && (stays || is_unsure) {
                // All of a circle or none: one that stays refers to the others.
                let others = items
                    .iter()
                    .map(|item| item.stays(Removal::Referred, REFERRED));
                ended.extend(others);
                return Ok(ended);
            }
        }
        if is_circle && items.len() > 1 && items.len() <= store.transaction {
            ended.extend(self.together(store, items).await?);
        } else if is_circle && items.len() > 1 {
            self.one_by_one(store, items, &mut ended).await?;
        } else {
            each(store, &items, is_circle, &mut ended).await?;
        }
        Ok(ended)
    }
}

impl Unload<'_> {
    /// Returns the records that are as the run left them, each with the version in which it was seen.
    pub(super) async fn check(
        &self,
        store: &OpenStore,
        items: Vec<Item>,
        ended: &mut Vec<Ended>,
    ) -> Result<Vec<Item>, Error> {
        let mut same = Vec::with_capacity(items.len());
        let names: Vec<Named<'_>> = items.iter().map(Item::name).collect();
        let single = |at: usize| {
            let name = names.get(at).copied().unwrap_or(Named { kind: "", id: "" });
            store.target.read(name.kind, name.id)
        };
        let answers = store.read(&names, &single).await?;
        let began = self.history.sessions.first().map(|session| session.started);
        for (mut item, answer) in items.into_iter().zip(answers) {
            let Some(answer) = answer else { continue };
            match answer.status().as_u16() {
                200 => {
                    let (kind, headers) = (&item.kind, answer.headers());
                    let held = store.target.held(kind, headers, answer.body());
                    let is_another = held.id.as_ref().is_some_and(|id| *id != item.id);
                    // An answer that names nothing is believed for its version: an `OperationOutcome` that is stored has no other
                    // name.
                    if is_another || held.id.is_none() && held.version.is_none() {
                        ended.push(item.refused(store, &answer));
                        continue;
                    }
                    store.ways.note_kind(kind);
                    if !store.target.keeps_versions() {
                        let is_old = |began| store.target.is_from_before(&answer, began);
                        if began.is_some_and(is_old) {
                            ended.push(item.stays(Removal::Changed, WAS_THERE));
                        } else {
                            same.push(item);
                        }
                    } else if item.version.is_none() {
                        ended.push(item.stays(Removal::Changed, UNVERSIONED));
                    } else if held.version == item.version
                        // An unloading that was cut off has done that.
                        || store.target.is_loosened(&answer, &self.mark(&item))
                    {
                        item.held = held.version;
                        same.push(item);
                    } else {
                        ended.push(item.stays(Removal::Changed, OTHER_VERSION));
                    }
                }
                status @ (404 | 410) if is_proven(store, &item, &answer).await? => {
                    ended.push(item.ended(Removal::Gone, Some(status)));
                }
                404 | 410 => ended.push(item.stays(Removal::Refused, UNPROVEN)),
                _ => ended.push(item.refused(store, &answer)),
            }
        }
        Ok(same)
    }
}
