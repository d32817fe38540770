//! The proofs that the records of a transaction give of each other.

use super::{
    super::settlement::{self, Attempted},
    evidence::Evidence,
};
use crate::{
    plan::Step,
    record::{Operation, Outcome},
};

/// Of a transaction, what is there proves the rest.
pub(super) fn together(steps: &[Step], proofs: &mut [Option<Evidence>]) {
    let is_create = |step: &Step| step.action.operation() == Some(Operation::Create);
    if !steps.iter().any(is_create) {
        return;
    }
    // The resource of an update may have been there before; only a create tells.
    let any = |is: fn(&Evidence) -> bool| {
        let creates = steps
            .iter()
            .zip(&*proofs)
            .filter(|(step, _)| is_create(step));
        creates.filter_map(|(_, proof)| proof.as_ref()).any(is)
    };
    let is_there = any(|proof| matches!(proof, Evidence::There(_)));
    let is_absent = any(|proof| matches!(proof, Evidence::Absent));
    for (step, proof) in steps.iter().zip(proofs) {
        let is_create = is_create(step);
        match proof {
            Some(Evidence::There(_)) if is_create || is_there => {}
            // Its transaction took place, so this is what was sent; which id a create got is not known.
            _ if is_there && !is_create => {
                let note = "the answer to its transaction was lost; the store has it";
                let mut settled = settlement::told(
                    step.number,
                    Outcome::Updated,
                    None,
                    Attempted::default(),
                    note,
                );
                settled.line.id.clone_from(&step.id);
                *proof = Some(Evidence::There(Box::new(settled)));
            }
            Some(Evidence::Absent) if is_there => {
                *proof = Some(Evidence::Nothing(
                    "others of its transaction are there".to_owned(),
                ));
            }
            // A record may lack a proof of its own: its transaction did not take place.
            Some(Evidence::Nothing(_) | Evidence::There(_) | Evidence::Other) if is_absent => {
                *proof = Some(Evidence::Absent);
            }
            Some(Evidence::There(_) | Evidence::Absent | Evidence::Other) if !is_create => {
                let why = "whether its transaction took place is not known";
                *proof = Some(Evidence::Nothing(why.to_owned()));
            }
            _ => {}
        }
    }
}
