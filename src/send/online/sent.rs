//! The records of a plan that a load would send, and the names that a file gives them.
//!
//! Nothing is asked here: what is said of a record comes from the plan alone.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    event::LoadId,
    plan::{
        Packaging, Step,
        file::{self, PlanEntry, Saved},
    },
    record::Operation,
    send::{Error, dependencies::DependencyTracker},
};

/// A record that would be sent, with what the others of its transaction are called, and became.
pub(super) struct Sent {
    pub(super) step: Step,
    pub(super) beside: Arc<HashMap<String, String>>,
}

/// Returns the records of a load that would be sent.
///
/// A transaction is read whole: what its records call each other by, the store rewrites itself, and no link of the plan
/// tells.
pub(super) fn sent(
    plan: &Saved,
    load: LoadId,
) -> Result<impl Iterator<Item = Result<Sent, Error>>, Error> {
    let failed = |error: file::Error| Error::Plan(error.to_string());
    let mut entries = plan.steps(load).map_err(failed)?;
    let mut read = VecDeque::new();
    let mut beside = Arc::default();
    Ok(std::iter::from_fn(move || {
        loop {
            let step = match read.pop_front() {
                Some(step) => step,
                None => match entries.next()?.map_err(failed) {
                    Ok(PlanEntry::Step(step)) => {
                        beside = Arc::default();
                        step
                    }
                    Ok(PlanEntry::Group(group)) if group.packaging == Packaging::Transaction => {
                        for entry in entries.by_ref().take(group.records as usize) {
                            match entry.map_err(failed) {
                                Ok(PlanEntry::Step(step)) => read.push_back(step),
                                Ok(PlanEntry::Group(_)) => {}
                                Err(error) => return Some(Err(error)),
                            }
                        }
                        beside = Arc::new(names(read.iter()));
                        continue;
                    }
                    Ok(PlanEntry::Group(_)) => continue,
                    Err(error) => return Some(Err(error)),
                },
            };
            if step.action.operation().is_some() {
                let beside = Arc::clone(&beside);
                return Some(Ok(Sent { step, beside }));
            }
        }
    }))
}

/// Returns what those records of a transaction are called whose id the file decides.
fn names<'a>(steps: impl Iterator<Item = &'a Step>) -> HashMap<String, String> {
    steps
        .filter(|step| step.action.operation() == Some(Operation::Update))
        .filter_map(|step| {
            let (url, id) = (step.full_url.as_ref()?, step.id.as_ref()?);
            Some((url.clone(), format!("{}/{id}", step.kind)))
        })
        .collect()
}

/// Returns what the records are called whose id the file decides, for the references to them; none where no record
/// refers to another.
pub(super) fn updated(plan: &Saved) -> Result<Option<DependencyTracker>, Error> {
    let mut found = plan.summary.references.values();
    if found.all(|found| found.links == 0) {
        return Ok(None);
    }
    let names = DependencyTracker::of(plan)?;
    for (index, _) in (0_u32..).zip(&plan.header.loads) {
        for step in sent(plan, LoadId(index))? {
            let Sent { step, .. } = step?;
            if let (Some(Operation::Update), Some(id)) = (step.action.operation(), &step.id) {
                names.mark_stored(step.number, &step.kind, id);
            }
        }
    }
    Ok(Some(names))
}
