//! The end of a request: the fate of each of its records when the gate is done with it.

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    super::{
        Error,
        answer_order::Ordered,
        earlier::Doubt,
        in_doubt::{Doubtful, InDoubt, RefusedInDoubt, RequestInDoubt},
        settlement::{self, Attempted},
        too_large::{self, Size},
        versions::{CHANGED, Held, Tag, UNASKED, UNSAID, is_changed, wants_version},
        work::Work,
    },
    Batch, Last,
    attempts::Uncertainty,
};
use crate::{
    gate::{Conclusion, Exchange, Safety, Verdict},
    journal::Settlement,
    plan::Step,
    record::{Outcome, StepId},
    target::Accepted,
};

/// Said of a record that the store refused by its words.
pub(super) const FAILED_UNDER_SUCCESS: &str =
    "the store answered with success, and with words that say that it failed";

/// The end of a request, record by record.
#[derive(Debug)]
pub(in crate::send) struct Concluded {
    /// The records that have an outcome.
    pub(in crate::send) settled: Vec<Settlement>,
    /// Records that were taken, and have to be asked about for their ids.
    pub(in crate::send) nameless: Vec<(Settlement, Step)>,
    /// Records that were created, under ids that depend on the order of the answer.
    pub(in crate::send) ordered: Ordered,
    /// Records that were not taken because the store has something of that name, which has to be looked at.
    pub(in crate::send) occupied: Vec<(Settlement, Step)>,
    /// An attempt whose answer was lost may have been taken.
    pub(in crate::send) in_doubt: bool,
    /// Those of which nobody can tell without asking.
    pub(in crate::send) doubtful: Option<InDoubt>,
    /// The intent of the request, let go when what became of it is written down.
    pub(in crate::send) intent: Option<OwnedSemaphorePermit>,
}

/// A Bundle that was refused as a whole.
#[derive(Debug)]
pub(in crate::send) struct Refused {
    /// Its records.
    pub(in crate::send) steps: Vec<Step>,
    /// The bytes of each record as they went to the wire; empty where they have been let go.
    pub(in crate::send) bodies: Vec<Bytes>,
    /// The status.
    pub(in crate::send) status: u16,
    /// The body of the store's answer.
    pub(in crate::send) answer: Bytes,
    /// Attempts made.
    pub(in crate::send) attempts: u32,
}

/// The records that are left of a request when the gate is done with it, and what its last attempt came to.
struct GivenUp<'c> {
    conclusion: &'c Conclusion,
    attempted: Attempted,
    tries: u32,
    status: Option<u16>,
    /// The body of the last answer: content.
    body: Bytes,
    /// The failure, in words without content.
    what: String,
    /// They go together or not at all.
    is_together: bool,
    culprit: Option<Culprit>,
}

impl GivenUp<'_> {
    /// Returns the failure in words, with the number of attempts after which it was given up.
    fn words(&self) -> String {
        match self.tries {
            0 | 1 => self.what.clone(),
            attempts => format!("{}; given up after {attempts} attempts", self.what),
        }
    }
}

/// A record because of which the whole of its transaction was refused.
struct Culprit {
    /// Its place among the records of the request.
    at: usize,
    record: StepId,
    /// Its position, in words.
    place: String,
}

impl Batch<'_> {
    /// When a parcel that need not stay together was refused as a whole: what is left of it, and what the store said.
    pub(in crate::send) fn refused_whole(&mut self, conclusion: &Conclusion) -> Option<Refused> {
        let is_parcel = self.packaging.is_some() && !self.atomic && self.unsent.steps.len() > 1;
        let status = self.attempts.last.status?;
        if !is_parcel || !self.is_refused(conclusion) {
            return None;
        }
        self.withdraw();
        Some(Refused {
            steps: std::mem::take(&mut self.unsent.steps),
            bodies: std::mem::take(&mut self.unsent.bodies),
            status,
            answer: std::mem::take(&mut self.attempts.last.body),
            attempts: self.attempts.sent,
        })
    }

    /// Tells whether the target has refused what is left.
    fn is_refused(&self, conclusion: &Conclusion) -> bool {
        conclusion.verdict == Verdict::Rejected && self.failure.is_none()
    }

    /// Takes note of a parcel that was refused for its size; returns a transaction that is to go in parts.
    pub(in crate::send) fn too_large(&mut self, conclusion: &Conclusion) -> Option<Work> {
        let last = &self.attempts.last;
        let why = self.target().too_large(last.status?, &last.body)?;
        let steps = &self.unsent.steps;
        let is_parcel = self.packaging.is_some() && steps.len() > 1;
        if !self.is_refused(conclusion) || !is_parcel {
            return None;
        }
        self.load.sizes.refused(Size::of(steps), why);
        if !self.load.may_split(self.atomic, steps.len()) {
            return None;
        }
        self.withdraw();
        let steps = std::mem::take(&mut self.unsent.steps);
        Some(Work {
            atomic: true,
            ..Work::unread(steps, self.packaging)
        })
    }

    /// Returns what was refused because it names no version: it is to be sent once more, with what the store has.
    pub(in crate::send) fn unversioned(&mut self) -> Option<Work> {
        if self.answered.unversioned.is_empty() || self.failure.is_some() {
            return None;
        }
        let unversioned = self.answered.unversioned.drain(..);
        let (steps, bodies): (Vec<Step>, Vec<Option<Bytes>>) = unversioned.unzip();
        // If some are not at hand, all are read when they are sent.
        let bodies = bodies.into_iter().collect::<Option<Vec<Bytes>>>();
        if self.atomic {
            let records: Vec<StepId> = steps.iter().map(|step| step.number).collect();
            self.withdraw_intent(&records);
        }
        Some(Work {
            atomic: self.atomic,
            bodies: bodies.unwrap_or_default(),
            ..Work::unread(steps, self.packaging)
        })
    }

    /// Returns the versions that were read for it: they stay what they are where nothing of it was written.
    pub(in crate::send) fn versions(&self) -> Held {
        let read = self.held.iter().filter(|(_, tag)| **tag != Tag::Unasked);
        read.map(|(record, tag)| (*record, tag.clone())).collect()
    }

    /// Returns the note for a refusal that is about a version; none where it is about something else.
    pub(super) fn about_version(
        &self,
        step: &Step,
        status: u16,
        answer: &[u8],
    ) -> Option<&'static str> {
        match self.held.get(&step.number)? {
            Tag::Of(_) if is_changed(status) => Some(CHANGED),
            Tag::Absent if wants_version(status, answer) => Some(CHANGED),
            Tag::Unsaid if wants_version(status, answer) => Some(UNSAID),
            Tag::Unasked if wants_version(status, answer) => Some(UNASKED),
            _ => None,
        }
    }

    /// Settles what is left when the gate is done with it, but for what may have arrived without anybody's knowing.
    pub(in crate::send) fn conclude(mut self, conclusion: &Conclusion) -> Result<Concluded, Error> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.answered.time(micros(conclusion.latency));
        let steps = std::mem::take(&mut self.unsent.steps);
        let given_up_after = self.attempts.given_up_after();
        let Last {
            status,
            body,
            fault,
            warnings,
            heard,
            ..
        } = std::mem::take(&mut self.attempts.last);
        self.attempts.last.warnings = warnings;
        let what = match (fault, status) {
            (Some(fault), _) => fault,
            (None, Some(status)) => self.target().words(status, &body),
            (None, None) => "no answer came".to_owned(),
        };
        let left = GivenUp {
            conclusion,
            attempted: Attempted {
                latency: Some(conclusion.latency),
                ..self.attempts.attempted()
            },
            tries: given_up_after,
            status,
            what,
            is_together: self.atomic && steps.len() > 1,
            culprit: self.culprit(&steps, &body),
            body,
        };
        let refusal = self.refusal_in_doubt();
        for (index, step) in steps.into_iter().enumerate() {
            if self.is_doubtful(&conclusion.verdict) {
                let refusal = refusal.clone();
                self.answered.doubtful.push(Doubtful { step, refusal });
            } else {
                let settled = self.settle(&step, index, &left);
                self.answered.settled.push(settled);
            }
        }
        let in_doubt = self.attempts.is_in_doubt();
        let answered = self.answered;
        let mumbled = match self.attempts.uncertainty {
            Uncertainty::Unclear(answer) => Some(answer),
            Uncertainty::None | Uncertainty::Before | Uncertainty::Lost => None,
        };
        let doubtful = (!answered.doubtful.is_empty()).then(|| InDoubt {
            records: answered.doubtful,
            request: RequestInDoubt {
                packaging: self.packaging,
                atomic: self.atomic,
                since: self.attempts.since,
                status,
                attempted: left.attempted,
                what: left.words(),
                mumbled,
                heard: if heard.is_empty() { left.body } else { heard },
            },
        });
        Ok(Concluded {
            settled: answered.settled,
            nameless: answered.nameless,
            ordered: answered.ordered,
            occupied: answered.occupied,
            in_doubt,
            doubtful,
            intent: self.intent.into_permit(),
        })
    }

    /// Returns the words of failure under a status of success, where the answer to a single record has them.
    fn refusal_in_doubt(&self) -> Option<RefusedInDoubt> {
        match &self.attempts.uncertainty {
            Uncertainty::Unclear(answer) if answer.little.is_none() => Some(RefusedInDoubt {
                status: answer.status,
                answer: answer.body.clone(),
            }),
            _ => None,
        }
    }

    /// Finds the record of a transaction because of which the store refused the whole of it.
    fn culprit(&self, steps: &[Step], answer: &[u8]) -> Option<Culprit> {
        if !self.atomic || steps.len() < 2 {
            return None;
        }
        let at = self.target().refusal(None, answer).culprit?;
        let step = steps.get(at)?;
        Some(Culprit {
            at,
            record: step.number,
            place: self.load.place(step.position),
        })
    }

    /// Tells whether a record that is given up may have been taken: if it is not known to be refused, it is not known at all.
    fn is_doubtful(&self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Again { .. } | Verdict::Partial { .. } => self.attempts.is_in_doubt(),
            verdict => *verdict == Verdict::Unknown,
        }
    }

    /// Settles a record by what its last attempt came to.
    fn settle(&self, step: &Step, index: usize, left: &GivenUp<'_>) -> Settlement {
        let (record, attempted) = (step.number, left.attempted);
        match (&left.conclusion.verdict, left.status) {
            (Verdict::Done, Some(status)) => {
                settlement::accepted(step, status, Accepted::default(), attempted)
            }
            (Verdict::Stop(reason), status) if self.may_have_been_sent(left.conclusion) => {
                let doubt = Doubt {
                    since: self.attempts.since,
                    tag: self.load.rewriter.tag(step),
                    is_replayed: false,
                    is_elsewhere: false,
                };
                let reason = reason.to_string();
                let mut unknown = settlement::unknown(record, status, attempted, reason, &doubt);
                unknown.said = settlement::words_of(&left.body, settlement::LONGEST_SAID);
                unknown
            }
            (Verdict::Stop(reason), status) => {
                let reason = reason.to_string();
                settlement::told(record, Outcome::Pending, status, attempted, reason)
            }
            (_, Some(status)) => self.refuse(step, index, status, left),
            (_, None) => {
                let what = left.words();
                settlement::told(record, Outcome::Rejected, None, attempted, what)
            }
        }
    }

    /// Settles a record that was refused, by itself or with its transaction.
    fn refuse(&self, step: &Step, index: usize, status: u16, left: &GivenUp<'_>) -> Settlement {
        let other = left.culprit.as_ref().filter(|culprit| culprit.at != index);
        let note = match (&left.culprit, other) {
            (_, Some(other)) => Some(format!(
                "its transaction was refused because of {}",
                other.place
            )),
            (Some(_), None) => Some("its transaction was refused because of it".to_owned()),
            (None, None) => self.why_refused(step, status, left),
        };
        let is_among_others = self.packaging.is_some();
        let mut settled = self.rejected(step, is_among_others, status, &left.body, note);
        settled.line.latency_us = Some(micros(left.conclusion.latency));
        if let Some(other) = other {
            // The element is one of the other's.
            settled.line.expression.clear();
            settled.line.by = Some(other.record);
        }
        settled
    }

    /// Returns the note for a refusal that names no culprit, where there is anything to say.
    fn why_refused(&self, step: &Step, status: u16, left: &GivenUp<'_>) -> Option<String> {
        if left.is_together {
            let is_too_large = self.target().too_large(status, &left.body).is_some();
            let note = if is_too_large {
                too_large::HINT
            } else {
                "its transaction was refused as a whole"
            };
            return Some(note.to_owned());
        }
        if (200..300).contains(&status) {
            return Some(FAILED_UNDER_SUCCESS.to_owned());
        }
        match self.about_version(step, status, &left.body) {
            Some(note) => Some(note.to_owned()),
            None => (left.attempted.attempts > 1).then(|| left.words()),
        }
    }

    fn may_have_been_sent(&self, conclusion: &Conclusion) -> bool {
        conclusion.may_have_been_sent && self.safety() == Safety::Once
    }
}

fn micros(latency: std::time::Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)
}
