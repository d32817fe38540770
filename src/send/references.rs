//! Conditional references that only the store can resolve: looked up before their records are sent.

use super::{
    Error,
    context::LoadContext,
    earlier::Doubt,
    settlement::{self, Attempted},
    work::Work,
};
use crate::{
    gate::CallFailure,
    journal::Settlement,
    lookup::Matches,
    plan::{self, Step},
    record::Outcome,
    target::Search,
};

/// Finds out what the conditional references of records mean that only the store can tell, before they are sent. A record
/// that refers to nothing, or to several, is rejected; of records that go together, all are.
pub(super) async fn look_up(
    load: &LoadContext,
    mut work: Work,
) -> Result<(Work, Vec<Settlement>), Error> {
    let mut settled = Vec::new();
    let mut found_any = false;
    let mut at = 0;
    while let Some(step) = work.steps.get(at) {
        if step.links.iter().all(|link| link.to != plan::To::Search) {
            at += 1;
            continue;
        }
        let (search, what) = match ask(load, step).await? {
            Asked::Found(mut links) => {
                if let Some(step) = work.steps.get_mut(at) {
                    step.links.retain(|link| link.to != plan::To::Search);
                    step.links.append(&mut links);
                }
                found_any = true;
                at += 1;
                continue;
            }
            Asked::Wrong(search, what) => (search, what),
            Asked::Silent(failure) => {
                // Nobody refused the records: whoever goes on with the run asks again.
                load.end_by(&failure);
                let left = work.steps.drain(..);
                settled.extend(left.map(|step| untried(load, &step, &failure)));
                return Ok((work, settled));
            }
        };
        let note = format!(
            "its conditional reference to a {} {what}; it was not sent",
            search.kind
        );
        let attempted = Attempted::default();
        let reject = |step: &Step, note: String| {
            if load.setup.earlier.is_in_doubt(step.number) {
                // It may have arrived before.
                let doubt = known_doubt(load, step);
                return settlement::unknown(step.number, None, attempted, note, &doubt);
            }
            let mut settled =
                settlement::told(step.number, Outcome::Rejected, None, attempted, note);
            settled.line.code = Some("unresolved-reference".to_owned());
            settled
        };
        let culprit = work.steps.remove(at);
        if at < work.bodies.len() {
            work.bodies.remove(at);
        }
        if work.atomic {
            let place = load.place(culprit.position);
            let others = work.steps.drain(..);
            settled.extend(others.map(|step| {
                let note = format!("its transaction was not sent because of {place}");
                let mut rejected = reject(&step, note);
                rejected.line.by = Some(culprit.number);
                rejected
            }));
        }
        let mut rejected = reject(&culprit, note);
        rejected.line.expression = vec![search.path];
        settled.push(rejected);
    }
    if found_any && !work.bodies.is_empty() {
        // With what was found they are made ready once more.
        work.bodies = load.rewriter.read(&work.steps, work.is_together())?;
    }
    Ok((work, settled))
}

/// The meaning of the conditional references of a record.
enum Asked {
    /// The links to what they mean.
    Found(Vec<plan::Link>),
    /// The first that means nothing, or several, and the reason in words.
    Wrong(Search, String),
    /// The target answers no question any more.
    Silent(CallFailure),
}

/// Asks the store for the meaning of all conditional references of a record.
async fn ask(load: &LoadContext, step: &Step) -> Result<Asked, Error> {
    let searches = load.rewriter.searches(step)?;
    let (mut wrong, mut links) = (None, Vec::with_capacity(searches.len()));
    for search in searches {
        let (gate, target) = (&load.link.gate, &*load.link.target);
        let (kind, query) = (&search.kind, &search.query);
        let what = match load.setup.lookups.one(gate, target, kind, query).await {
            Ok(Matches::One(id)) => {
                links.push(plan::Link {
                    reference: search.reference,
                    to: plan::To::Resource(format!("{kind}/{id}")),
                    late: false,
                    native: false,
                });
                continue;
            }
            Ok(Matches::None) => "matches nothing in the store".to_owned(),
            Ok(Matches::Several) => "matches several resources in the store".to_owned(),
            Ok(Matches::Refused(status)) => {
                format!("cannot be looked up: the store answered {status}")
            }
            Err(failure) => return Ok(Asked::Silent(failure)),
        };
        wrong.get_or_insert((search, what));
    }
    Ok(match wrong {
        Some((search, what)) => Asked::Wrong(search, what),
        None => Asked::Found(links),
    })
}

/// A record that was not sent because the target could not be asked.
fn untried(load: &LoadContext, step: &Step, failure: &CallFailure) -> Settlement {
    let attempted = Attempted::default();
    let record = step.number;
    let note = format!("its conditional reference could not be looked up: {failure}");
    if load.setup.earlier.is_in_doubt(record) {
        settlement::unknown(record, None, attempted, note, &known_doubt(load, step))
    } else {
        settlement::told(record, Outcome::Pending, None, attempted, note)
    }
}

/// Returns the doubt about a record that may have arrived before: it is kept, so that a later session can ask.
fn known_doubt(load: &LoadContext, step: &Step) -> Doubt {
    let earlier = &load.setup.earlier;
    let known = earlier.doubt(step.number, load.rewriter.tag(step));
    // A journal that cannot be read any more ends the run where it is written.
    known.ok().flatten().unwrap_or_else(Doubt::none)
}
