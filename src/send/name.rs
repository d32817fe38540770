//! Finds out under which id the store holds what it took without saying so: by the record's own condition, or its tag.
//!
//! A condition that hit may be answered by a bare 200 (the standard asks for no more, and Azure does so). Others may refer to
//! the record, so it is searched for, once; what is not found by that stays without an id.

use bytes::Bytes;

use super::{
    Error,
    context::LoadContext,
    settlement::{self, Attempted},
};
use crate::{
    journal::Settlement,
    lookup::{self, Matches},
    plan::Step,
    record::{Operation, Outcome},
};

/// Gives a settled record the id that the store did not say, where the store finds one by what the record goes by. Nothing is
/// settled where the target answers no question any more, which ends the run: the next session asks.
pub(super) async fn name(
    load: &LoadContext,
    mut settled: Settlement,
    step: &Step,
) -> Result<Option<Settlement>, Error> {
    let query = match load.rewriter.tag(step) {
        Some(tag) => load.link.target.tagged(&tag),
        None => condition_of(load, step).await?,
    };
    let unsaid = "the store did not say under which id it has it";
    let Some(query) = query else {
        settled.line.note.get_or_insert_with(|| unsaid.to_owned());
        return Ok(Some(settled));
    };
    let (gate, target) = (&load.link.gate, &*load.link.target);
    let found = lookup::one(gate, target, &step.kind, &query).await;
    let why = match found {
        Ok(Matches::One(id)) => {
            settled.line.id = Some(id);
            settled.line.note = Some("the store did not say its id; it was looked up".to_owned());
            return Ok(Some(settled));
        }
        Ok(Matches::None) => {
            if settled.line.outcome == Outcome::Matched {
                // A record that matched must be there to be found.
                settled.line.outcome = Outcome::Unknown;
            }
            "finds nothing when it is asked".to_owned()
        }
        Ok(Matches::Several) => "finds several when it is asked".to_owned(),
        Ok(Matches::Refused(status)) => format!("answered {status} when it was asked"),
        Err(failure) if failure.is_final => {
            load.end_by(&failure);
            return Ok(None);
        }
        Err(failure) => {
            // Sent once more, it harms nobody.
            let is_repeatable = (step.action.operation()).is_some_and(Operation::is_idempotent);
            if is_repeatable {
                let attempted = Attempted {
                    attempts: settled.line.attempts,
                    latency: None,
                };
                let note = format!("{unsaid}, and could not be asked: {failure}");
                return Ok(Some(settlement::told(
                    step.number,
                    Outcome::Pending,
                    settled.line.status,
                    attempted,
                    note,
                )));
            }
            format!("could not be asked: {failure}")
        }
    };
    settled.line.note = Some(format!("{unsaid}, and {why}"));
    Ok(Some(settled))
}

/// Returns the condition under which a record is written.
pub(super) async fn condition_of(load: &LoadContext, step: &Step) -> Result<Option<String>, Error> {
    let is_conditional = matches!(
        step.action.operation(),
        Some(Operation::ConditionalCreate | Operation::ConditionalUpdate)
    );
    if !is_conditional {
        return Ok(None);
    }
    let (rewriter, steps) = (load.rewriter.clone(), vec![step.clone()]);
    let read = tokio::task::spawn_blocking(move || rewriter.read_to_look(&steps));
    let bodies: Vec<Bytes> = read.await.map_err(|error| Error::of_task(&error))??;
    let body = bodies.first();
    let target = &load.link.target;
    Ok(body.and_then(|body| target.condition(&load.settings, step, body)))
}
