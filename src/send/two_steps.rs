//! Records that travel in two steps: created without the references that close a cycle, then updated with them.
//!
//! Each has one outcome in the end. In between the journal says that it is pending, and under which id the store holds
//! it, so that a later session goes on with the second request and never repeats the first.

use bytes::Bytes;

use super::{
    rewrite::BodyRewriter,
    work::{Stands, Work},
};
use crate::{
    journal::SettleLine,
    plan::{Action, Packaging, Step},
    record::{Operation, Outcome},
};

/// Tells whether a record travels by itself: what comes in two steps does.
pub(super) fn goes_alone(work: &mut Work) -> bool {
    let goes_alone = work.steps.iter().any(Step::is_in_two_steps);
    if goes_alone {
        let is_entry = work.steps.iter().any(Step::is_entry);
        // A record that came as an entry keeps its request, and that only a Bundle can carry.
        work.packaging = is_entry.then_some(Packaging::Batch);
    }
    goes_alone
}

/// Returns the second step of a record that stands in the store under an id: an update with all that it has.
pub(super) fn second(mut step: Step, id: String) -> Step {
    for link in &mut step.links {
        link.late = false;
    }
    let first = std::mem::replace(&mut step.action, Action::Send(Operation::Update));
    step.first = Some(first);
    step.id = Some(id);
    step
}

/// Tells whether a step is the second one of its record.
pub(super) fn is_second(step: &Step) -> bool {
    step.first.is_some()
}

/// The part of a request in sending such a record.
pub(super) enum TwoSteps {
    /// Nothing: it travels in one.
    No,
    /// The first. An update keeps the id of the file.
    First { own_id: Option<String> },
    /// The second, of a record that stands under an id.
    Second { stands: Stands, id: Option<String> },
}

impl TwoSteps {
    /// `stands` is given with the second request.
    pub(super) fn of(steps: &[Step], stands: Option<Stands>) -> Self {
        let [step] = steps else {
            return Self::No;
        };
        match stands {
            Some(stands) => Self::Second {
                stands,
                id: step.id.clone(),
            },
            None if step.is_in_two_steps() => {
                let keeps_id = step.action.operation().is_some_and(Operation::keeps_id);
                Self::First {
                    own_id: step.id.clone().filter(|_| keeps_id),
                }
            }
            None => Self::No,
        }
    }

    /// Makes of what became of a request what became of the record.
    pub(super) fn adjust(&self, line: &mut SettleLine) {
        let is_taken = matches!(line.outcome, Outcome::Created | Outcome::Updated);
        match self {
            Self::No => {}
            // A condition that hit, or a refusal, is the end of it.
            Self::First { .. } if !is_taken => {}
            Self::First { own_id } => {
                line.id = line.id.take().or_else(|| own_id.clone());
                if line.id.is_some() {
                    line.outcome = Outcome::Pending;
                    line.note = Some(format!("{WITHOUT}; they come with a second request"));
                } else {
                    line.outcome = Outcome::Unknown;
                    line.note = Some(format!(
                        "{WITHOUT}, and the store did not say under which id"
                    ));
                }
            }
            Self::Second { stands, id } => {
                line.attempts += stands.attempts;
                if is_taken {
                    line.outcome = stands.outcome;
                    line.id = line.id.take().or_else(|| id.clone());
                } else if line.outcome != Outcome::Pending {
                    line.id.clone_from(id);
                    let note = line
                        .note
                        .take()
                        .map(|note| format!("{note}; "))
                        .unwrap_or_default();
                    line.note = Some(format!("{note}{WITHOUT}"));
                }
            }
        }
    }
}

const WITHOUT: &str = "it stands in the store without the references that close its cycle";

/// Returns the whole of a record whose first request leaves something out: what the store may hold already.
pub(super) fn whole(rewriter: &BodyRewriter, work: &Work) -> Option<Bytes> {
    let step = work.steps.first().filter(|step| step.is_in_two_steps())?;
    let mut step: Step = step.clone();
    for link in &mut step.links {
        link.late = false;
    }
    // A body that cannot be read fails where the request is made.
    rewriter.read_to_look(&[step]).ok()?.pop()
}
