//! Decides about a record in doubt, by what the store was found to have of it.

use std::collections::HashMap;

use super::{
    super::{context::LoadContext, earlier::Doubt, settlement},
    RefusedInDoubt, RequestInDoubt, UnclearAnswer,
    evidence::Evidence,
};
use crate::{
    journal::Settlement,
    plan::Step,
    record::{Operation, Outcome, StepId},
    target::{ELSEWHERE, Little},
};

/// Said of a record that the store took under another name.
pub(super) const ELSEWHERE_STILL: &str =
    "it is not there under its own name, and to send it again would make another copy";

/// Said of a record that a store refused without a word, and has.
const REFUSED_AND_THERE: &str =
    "the store refused it without a word, and holds a record of its name, which was not compared";

/// The most that is kept of an answer to several records, in bytes: it is kept for each of them.
const SHARED: usize = 2 << 10;

/// The decision about a record in doubt.
pub(super) enum Decision {
    /// Its outcome is known, or never will be.
    Settled(Box<Settlement>),
    /// It is sent anew, as it was.
    Again,
    /// It is sent by itself, and shows so if it can be taken.
    Apart,
}

/// The circumstances in which the records of a request are decided about.
pub(super) struct Recovery<'a> {
    load: &'a LoadContext,
    request: &'a RequestInDoubt,
    doubts: &'a HashMap<StepId, Doubt>,
    /// Records may be sent anew: the request has not lost its answers too often.
    may_send: bool,
    /// Records may be sent by themselves: one of their company may be to blame.
    may_part: bool,
    /// The run is stopping: nobody is there to be asked any more.
    is_stopping: bool,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(
        load: &'a LoadContext,
        request: &'a RequestInDoubt,
        records: usize,
        doubts: &'a HashMap<StepId, Doubt>,
        may_send: bool,
    ) -> Self {
        let is_stopping = load.setup.stop.is_stopping();
        Self {
            load,
            request,
            doubts,
            may_send,
            // An answer that tells too little is no failure of anyone's, and has its own way of going one by one.
            may_part: request.packaging.is_some()
                && !request.atomic
                && records > 1
                && request.mumbled.is_none()
                && !is_stopping,
            is_stopping,
        }
    }

    /// Decides by the proof of a record, if any was found; `refusal` is the answer to it that has words of failure.
    pub(super) fn decide(
        &self,
        step: &Step,
        refusal: Option<&RefusedInDoubt>,
        proof: Option<Evidence>,
    ) -> Decision {
        match proof {
            Some(Evidence::There(mut settlement)) => {
                settlement.line.attempts = self.request.attempted.attempts;
                if refusal.is_some_and(RefusedInDoubt::is_by_status) {
                    settlement.line.outcome = Outcome::Matched;
                    settlement.line.note = Some(REFUSED_AND_THERE.to_owned());
                }
                self.learn(step);
                Decision::Settled(settlement)
            }
            // The store's own words, and it has nothing that speaks against them.
            Some(Evidence::Absent | Evidence::Other) | None if let Some(refusal) = refusal => {
                self.refused(step, refusal)
            }
            Some(Evidence::Absent) => self.absent(step),
            Some(Evidence::Other) => self.other(step, true),
            None => self.other(step, false),
            Some(Evidence::Resend) => self.resend(step),
            Some(Evidence::Unasked(why)) => self.unasked(step, &why),
            Some(Evidence::Nothing(why)) => self.unknown(step, &why),
            // It has ended the run before anything was settled.
            Some(Evidence::Silent(failure)) => self.unknown(step, &failure.what),
        }
    }

    /// The store does not have it.
    fn absent(&self, step: &Step) -> Decision {
        if let Some(decision) = self.not_taken(step, true) {
            return decision;
        }
        if self.may_part {
            return Decision::Apart;
        }
        let note = format!("{}; the store has not taken it", self.request.what);
        let mut rejected = self.told(step, Outcome::Rejected, note);
        if let Some(mumbled) = self.mumbled() {
            rejected.line.code = self.load.link.target.refusal(None, &mumbled.body).code;
            rejected.said = settlement::words_of(&mumbled.body, settlement::LONGEST_SAID);
        }
        Decision::Settled(Box::new(rejected))
    }

    /// The store has something else in its place; or, where `is_found` says that nothing was found out, may have.
    fn other(&self, step: &Step, is_found: bool) -> Decision {
        if let Some(decision) = self.not_taken(step, is_found) {
            return decision;
        }
        if is_found && self.may_part && is_repeatable(step) {
            return Decision::Apart;
        }
        self.unknown(step, "what the store has differs from what was sent")
    }

    /// Decides about a record that the store was not found to have, as far as that does not depend on what it has instead.
    fn not_taken(&self, step: &Step, is_found: bool) -> Option<Decision> {
        let mumbled = self.mumbled();
        let is_later = mumbled.is_some_and(|mumbled| mumbled.little == Some(Little::Later));
        if is_found && is_later {
            return Some(self.unknown(step, "the store does not have it yet"));
        }
        if self.is_elsewhere() {
            return Some(self.unknown(step, ELSEWHERE_STILL));
        }
        // A record that may be repeated has had all its attempts, unless the store was asked at once.
        let has_attempts = mumbled.is_some() || !is_repeatable(step);
        (self.may_send && has_attempts).then_some(Decision::Again)
    }

    /// Nothing proves anything, and the load says that it may be sent again all the same.
    fn resend(&self, step: &Step) -> Decision {
        let is_silence = self
            .mumbled()
            .is_some_and(|mumbled| matches!(mumbled.little, Some(Little::Silence(_))));
        if is_silence {
            self.unknown(step, "to send it again would bring no other answer")
        } else if self.may_send && !self.is_stopping {
            Decision::Again
        } else {
            self.unknown(step, "it was sent as often as it may be")
        }
    }

    /// The store could not be asked.
    fn unasked(&self, step: &Step, why: &str) -> Decision {
        let is_harmless = is_repeatable(step);
        if is_harmless && self.mumbled().is_some() && !self.is_elsewhere() {
            if self.is_stopping {
                // It may be sent again, and the next session does.
                let note = format!("{}, and {why}", self.request.what);
                return Decision::Settled(Box::new(self.told(step, Outcome::Pending, note)));
            }
            // Neither answer can be read: what is between may go away.
            if self.may_send {
                return Decision::Again;
            }
        }
        if is_harmless && self.may_part {
            return Decision::Apart;
        }
        self.unknown(step, why)
    }

    /// Settles a record that the store refused under a status of success, and does not have.
    fn refused(&self, step: &Step, refusal: &RefusedInDoubt) -> Decision {
        let note = (!refusal.is_by_status()).then(|| {
            "the store said so under a status of success, and has not taken it".to_owned()
        });
        Decision::Settled(Box::new(settlement::rejected(
            &*self.load.link.target,
            step,
            self.request.packaging.is_some(),
            refusal.status,
            &refusal.answer,
            self.request.attempted,
            note,
        )))
    }

    /// Settles a record of which nobody knows if the store took it.
    fn unknown(&self, step: &Step, why: &str) -> Decision {
        let (request, is_elsewhere) = (self.request, self.is_elsewhere());
        let note = format!(
            "{}; whether it took the record is not known: {why}",
            request.what
        );
        let nothing = Doubt::none();
        let mut unknown = settlement::unknown(
            step.number,
            request.status,
            request.attempted,
            note,
            self.doubts.get(&step.number).unwrap_or(&nothing),
        );
        // The text of the answer is all that people have to find out by.
        let mumbled = self.mumbled().map(|mumbled| &mumbled.body);
        let most = match request.packaging {
            None => settlement::LONGEST_SAID,
            Some(_) => SHARED,
        };
        unknown.said = settlement::words_of(mumbled.unwrap_or(&request.heard), most);
        if is_elsewhere {
            unknown.line.code = Some(ELSEWHERE.to_owned());
        }
        Decision::Settled(Box::new(unknown))
    }

    fn told(&self, step: &Step, outcome: Outcome, note: String) -> Settlement {
        let request = self.request;
        settlement::told(
            step.number,
            outcome,
            request.status,
            request.attempted,
            note,
        )
    }

    /// Tells whether the answer named another place than the record's own.
    fn is_elsewhere(&self) -> bool {
        let little = self.mumbled().and_then(|mumbled| mumbled.little);
        matches!(little, Some(Little::Elsewhere(_)))
    }

    fn mumbled(&self) -> Option<&'a UnclearAnswer> {
        self.request.mumbled.as_ref()
    }

    /// Takes note of how an answer looks that was to an update, and meant that all is well.
    fn learn(&self, step: &Step) {
        let is_update = step.action.operation() == Some(Operation::Update);
        if let (true, None, Some(mumbled)) = (is_update, self.request.packaging, self.mumbled())
            && let Some(little) = mumbled.little
        {
            let counts = &self.load.setup.counts;
            let habits = &self.load.habits;
            habits.learn(little, mumbled.status, &mumbled.body, counts);
        }
    }
}

fn is_repeatable(step: &Step) -> bool {
    let interaction = step.action.operation();
    interaction.is_some_and(Operation::is_idempotent)
}
