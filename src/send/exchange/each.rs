//! Reads what an answer says of each record: which were taken, which are refused, and of which it does not tell enough.

use bytes::Bytes;
use http::Response;

use super::{
    super::{
        answer_order::{kinds_created, may_be_created, take_dependent},
        in_doubt::{Doubtful, RefusedInDoubt},
        results, settlement,
        versions::wants_version,
    },
    Batch, HandsOver, Last,
    answer::{RESENT, is_sure},
    conclude::FAILED_UNDER_SUCCESS,
    records::Reading,
};
use crate::{
    gate::{Safety, Verdict, verdict},
    journal::Settlement,
    manifest::Existing,
    plan::{Packaging, Step},
    record::{Operation, Outcome},
    target::{Accepted, Answer, Little, Said},
};

impl Batch<'_> {
    /// Reads the answer to a parcel that was taken as a whole.
    pub(super) fn read_parcel(&mut self, response: &Response<Bytes>) -> Verdict {
        let answers = match self.target().answers(&self.parcel(), response) {
            Ok(answers) => answers,
            Err(why) => {
                self.attempts.last.fault = Some(why);
                self.learn_mumbling();
                self.attempts.mumble(Some(Little::Text));
                return Verdict::Unknown;
            }
        };
        if answers.iter().all(Option::is_none) {
            self.learn_mumbling();
        }
        self.read_each(answers)
    }

    fn learn_mumbling(&self) {
        self.load.habits.learn_mumbling(&self.load.setup.counts);
    }

    /// Settles what an answer says of each record.
    pub(super) fn read_each(&mut self, answers: Vec<Option<Answer>>) -> Verdict {
        let (mut brake, mut is_again) = (false, false);
        let mut settled = Vec::new();
        let mut answers = answers.into_iter();
        for (step, body) in self.unsent.take() {
            let reading = match answers.next().flatten() {
                Some(answer) => self.read_one(step, body, answer),
                None => self.untold(step),
            };
            if let Reading::Again { brake: asked, .. } = reading {
                is_again = true;
                brake |= asked;
            }
            self.sort(reading, &mut settled);
        }
        if self.packaging.is_some() && !self.target().answers_in_order() {
            let is_atomic = self.packaging == Some(Packaging::Transaction);
            self.hold_put_off(&settled);
            is_again &= !self.unsent.steps.is_empty();
            take_dependent(&mut settled, &mut self.answered.ordered, is_atomic);
        }
        if is_again && self.hands_over == HandsOver::AtOnce {
            settled = results::hand_over(self.load, settled);
        }
        self.answered.settle(settled);
        if is_again {
            Verdict::Partial { after: None, brake }
        } else {
            Verdict::Done
        }
    }

    /// Keeps back what is to be sent again, where it may be what the answer says was created: sent at once, it would be there twice.
    fn hold_put_off(&mut self, settled: &[(Settlement, Step)]) {
        let created = kinds_created(settled);
        let is_believed = self.load.habits.is_order_kept() && !self.answered.ordered.is_shuffled;
        if created.is_empty() || is_believed {
            return;
        }
        let status = self.attempts.last.status;
        let attempted = self.attempts.attempted();
        for (step, body) in self.unsent.take() {
            if may_be_created(&step, &created) {
                let note = "the target asked to send it again".to_owned();
                let outcome = Outcome::Pending;
                let pending = settlement::told(step.number, outcome, status, attempted, note);
                self.answered.ordered.put_off.push((pending, step));
            } else {
                self.unsent.put_back(step, body);
            }
        }
    }

    /// Puts a record where it belongs; what is settled goes to `settled`, for its id may depend on what else is.
    pub(super) fn sort(&mut self, reading: Reading, settled: &mut Vec<(Settlement, Step)>) {
        let answered = &mut self.answered;
        match reading {
            Reading::Settled(settlement, step) => settled.push((settlement, step)),
            Reading::Nameless(settlement, step) => answered.nameless.push((settlement, step)),
            Reading::Occupied(settlement, step) => answered.occupied.push((settlement, step)),
            Reading::Unversioned(step, body) => answered.unversioned.push((step, body)),
            Reading::Doubtful(doubtful) => answered.doubtful.push(doubtful),
            Reading::Again { step, body, .. } => self.unsent.put_back(step, body),
        }
    }

    /// Reads the answer to one record of a parcel.
    fn read_one(&mut self, step: Step, body: Option<Bytes>, answer: Answer) -> Reading {
        // A step without an operation is never sent.
        let interaction = step.action.operation().unwrap_or(Operation::Create);
        let status = answer.status;
        let outcome = Bytes::from(answer.outcome.unwrap_or_default());
        let verdict = match verdict::of_status(safety_of(interaction), status) {
            Verdict::Rejected if self.passes([&step], status, &outcome) => Verdict::Again {
                after: None,
                brake: false,
            },
            verdict => verdict,
        };
        match (verdict, answer.said) {
            (Verdict::Done, Said::Taken(accepted)) => {
                self.answered.ordered.is_shuffled |= accepted.by_kind;
                self.taken(step, status, accepted)
            }
            (Verdict::Done, Said::Refused) if is_sure(status) => {
                let note = Some(FAILED_UNDER_SUCCESS.to_owned());
                let settled = self.rejected(&step, true, status, &outcome, note);
                Reading::Settled(settled, step)
            }
            (Verdict::Done, said) => self.unclear(step, status, &said, outcome),
            (Verdict::Again { brake, .. } | Verdict::Partial { brake, .. }, _)
                if self.packaging != Some(Packaging::Transaction) =>
            {
                let last = &mut self.attempts.last;
                *last = Last {
                    status: Some(status),
                    body: outcome,
                    warnings: std::mem::take(&mut last.warnings),
                    ..Last::default()
                };
                Reading::Again { step, body, brake }
            }
            (Verdict::Unknown, _) => self.lost(step, status),
            (Verdict::Rejected, said @ Said::Little(Little::Conflict)) => {
                self.unclear(step, status, &said, outcome)
            }
            _ if self.is_own_doing(&step, status, &outcome) => self.lost(step, status),
            _ if wants_version(status, &outcome)
                && self.is_unread(&step)
                && body
                    .as_ref()
                    .is_none_or(|body| !self.target().names_its_version(&step, body)) =>
            {
                self.load.versions.learn(&step.kind);
                Reading::Unversioned(step, body)
            }
            _ => {
                let note = self.about_version(&step, status, &outcome);
                let note = note.map(str::to_owned);
                let settled = self.rejected(&step, true, status, &outcome, note);
                Reading::Settled(settled, step)
            }
        }
    }

    /// Settles what was taken, unless something is to be asked about it first: under which id the store has it, where others
    /// may need it by that; or what the store has in its place.
    pub(super) fn taken(&self, step: Step, status: u16, mut accepted: Accepted) -> Reading {
        // A record that is there already may stem from an earlier attempt whose answer was lost. If contents were not
        // compared, nobody can tell.
        match accepted.outcome {
            Some(Outcome::Unchanged) if self.attempts.is_in_doubt() => {
                accepted.outcome = Some(Outcome::Created);
                accepted.note = Some("an attempt whose answer was lost has stored it");
            }
            Some(Outcome::Matched) if self.attempts.is_in_doubt() => {
                accepted.note = Some(
                    "the store has it; an attempt whose answer was lost may have stored it, and contents were not compared",
                );
            }
            _ => {}
        }
        let operation = step.action.operation();
        if self.attempts.may_be_repeated() && operation == Some(Operation::Transmit) {
            accepted.note = Some(RESENT);
        }
        let settled = settlement::accepted(&step, status, accepted, self.attempts.attempted());
        if is_nameless(&settled, &step) {
            Reading::Nameless(settled, step)
        } else if self.is_occupied(&settled, &step) {
            Reading::Occupied(settled, step)
        } else {
            Reading::Settled(settled, step)
        }
    }

    /// Tells whether the store has something under a record's own name, and the load wants to know what. If another record
    /// of the plan has its identifier, the store may mean that one.
    fn is_occupied(&self, settled: &Settlement, step: &Step) -> bool {
        let existing = self.load.settings.existing.what;
        settled.line.outcome == Outcome::Matched
            && step.action.operation() == Some(Operation::Store)
            && (existing != Existing::Skip || step.follows().next().is_some())
    }

    /// An entry was answered with a status under which it may have been taken.
    fn lost(&mut self, step: Step, status: u16) -> Reading {
        self.attempts.last.status = Some(status);
        Reading::Doubtful(Doubtful {
            step,
            refusal: None,
        })
    }

    /// The answer to the parcel does not tell of a record.
    fn untold(&mut self, step: Step) -> Reading {
        let what = "the answer to the request that it travelled in does not tell of it";
        self.attempts.last.fault = Some(what.to_owned());
        self.attempts.mumble(Some(Little::Unsaid));
        Reading::Doubtful(Doubtful {
            step,
            refusal: None,
        })
    }

    /// An entry was answered with success, and not in a way from which it is known that it was taken.
    fn unclear(&mut self, step: Step, status: u16, said: &Said, answer: Bytes) -> Reading {
        let unsaid = "the answer to its entry does not say that it was taken";
        let (little, what) = match said {
            Said::Refused => {
                let what =
                    "its entry was answered with success, and with words that say that it failed";
                (Little::Unsaid, what)
            }
            Said::Little(Little::Elsewhere(words)) => (Little::Elsewhere(words), *words),
            Said::Little(Little::Conflict) => {
                (Little::Conflict, "it was refused without a word on why")
            }
            Said::Little(little) => (*little, unsaid),
            Said::Taken(_) => (Little::Unsaid, unsaid),
        };
        self.attempts.last.fault = Some(format!("{what} ({status})"));
        self.attempts.mumble(Some(little));
        let is_refused = matches!(said, Said::Refused | Said::Little(Little::Conflict));
        let refusal = is_refused.then_some(RefusedInDoubt { status, answer });
        Reading::Doubtful(Doubtful { step, refusal })
    }
}

/// Tells whether a record arrived under an id that nobody knows.
fn is_nameless(settled: &Settlement, step: &Step) -> bool {
    let operation = step.action.operation();
    operation.is_some_and(Operation::names_something) && settled.line.id.is_none()
}

fn safety_of(interaction: Operation) -> Safety {
    if interaction.is_idempotent() {
        Safety::Idempotent
    } else {
        Safety::Once
    }
}
