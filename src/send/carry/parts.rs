//! Sorts the entries of a transaction that goes in parts: those that can go now, and those that cannot go at all.
//!
//! In which order the parts go, `too_large` says; they are sent elsewhere.

use std::collections::HashMap;

use crate::{
    journal::Settlement,
    plan::{Step, To},
    record::{Outcome, StepId},
    send::{
        results::ResultSender,
        settlement::{self, Attempted},
    },
};

/// The entries that do not go, each with the place of the one that it needs.
pub(super) type Blocked = HashMap<StepId, String>;

/// Puts in what became of those that went before, and sorts out what needs one that did not arrive. Entries that go
/// `together` may need each other.
pub(super) fn sort(
    part: Vec<Step>,
    sender: &ResultSender<'_>,
    together: bool,
) -> (Vec<Step>, Blocked) {
    let (mut ready, mut blocked) = (Vec::new(), Blocked::new());
    for mut step in part {
        match resolve_natives(&mut step, sender, together) {
            None => ready.push(step),
            Some(by) => {
                blocked.insert(step.number, by);
            }
        }
    }
    // A record that needs one of a circle that does not go cannot go either.
    let lacking = |ready: &[Step], blocked: &Blocked| {
        let mut ready = ready.iter().enumerate();
        ready.find_map(|(at, step)| Some((at, needed_of(step, blocked)?)))
    };
    while let Some((at, need)) = lacking(&ready, &blocked) {
        let step = ready.remove(at);
        blocked.insert(step.number, sender.place_of(need));
    }
    (ready, blocked)
}

/// Settles an entry that does not go because of another one, or because the run is stopping.
pub(super) fn left(number: StepId, by: &str, is_stopping: bool) -> Settlement {
    let attempted = Attempted::default();
    if is_stopping {
        let note = "interrupted before it was sent";
        return settlement::told(number, Outcome::Pending, None, attempted, note);
    }
    let note = format!("it needs {by}, which did not arrive");
    settlement::told(number, Outcome::Blocked, None, attempted, note)
}

/// Settles an entry of a transaction that was refused for its size, and cannot be taken apart.
pub(super) fn too_large(step: &Step) -> Settlement {
    let note = "its transaction is larger than the target takes, and its entries refer to each other in a circle";
    let attempted = Attempted::default();
    settlement::told(step.number, Outcome::Rejected, Some(413), attempted, note)
}

/// Returns which of those that do not go an entry refers to.
fn needed_of(step: &Step, blocked: &Blocked) -> Option<StepId> {
    step.links.iter().find_map(|link| match link.to {
        To::Step(to) if !link.late && blocked.contains_key(&to) => Some(to),
        _ => None,
    })
}

/// Puts in what became of the entries that an entry refers to. Returns which of them did not arrive.
fn resolve_natives(step: &mut Step, sender: &ResultSender<'_>, together: bool) -> Option<String> {
    for link in step.links.iter_mut().filter(|link| !link.late) {
        let To::Step(to) = link.to else { continue };
        if !link.native && !sender.watches(to) {
            continue;
        }
        match sender.arrived.get(&to) {
            Some(Some(resource)) => {
                link.to = To::Resource(resource.clone());
                link.native = false;
            }
            // It travels with it.
            None if together || to == step.number => {}
            Some(None) | None => return Some(sender.place_of(to)),
        }
    }
    None
}
