//! The end of a request: the fate of each of its records when the gate is done with it.

use bytes::Bytes;

use super::{
    super::{
        Error,
        earlier::Doubt,
        in_doubt::InDoubt,
        settlement::{self, Attempted},
        too_large::{self, Size},
        versions::{CHANGED, Held, Tag, UNASKED, UNSAID, is_changed, wants_version},
        work::Work,
    },
    Batch, Last,
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
    /// Records that were not taken because the store has something of that name, which has to be looked at.
    pub(in crate::send) occupied: Vec<(Settlement, Step)>,
    /// An attempt whose answer was lost may have been taken.
    pub(in crate::send) in_doubt: bool,
    /// Those of which nobody can tell without asking.
    pub(in crate::send) doubtful: Option<InDoubt>,
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

impl Batch<'_> {
    /// When a parcel that need not stay together was refused as a whole: what is left of it, and what the store said.
    pub(in crate::send) fn refused_whole(&mut self, conclusion: &Conclusion) -> Option<Refused> {
        let is_parcel = self.packaging.is_some() && !self.atomic && self.steps.len() > 1;
        let status = self.last.status?;
        let is_refused = conclusion.verdict == Verdict::Rejected;
        if !is_parcel || !is_refused || self.failure.is_some() {
            return None;
        }
        self.withdraw();
        Some(Refused {
            steps: std::mem::take(&mut self.steps),
            bodies: std::mem::take(&mut self.bodies),
            status,
            answer: std::mem::take(&mut self.last.body),
            attempts: self.attempts,
        })
    }

    /// Takes note of a parcel that was refused for its size; returns a transaction that is to go in parts.
    pub(in crate::send) fn too_large(&mut self, conclusion: &Conclusion) -> Option<Work> {
        let is_refused = conclusion.verdict == Verdict::Rejected && self.failure.is_none();
        let is_parcel = self.packaging.is_some() && self.steps.len() > 1;
        let why = self.target.too_large(self.last.status?, &self.last.body)?;
        if !is_refused || !is_parcel {
            return None;
        }
        self.origin.sizes.refused(Size::of(&self.steps), why);
        if !self.origin.may_split(self.atomic, self.steps.len()) {
            return None;
        }
        self.withdraw();
        Some(Work {
            steps: std::mem::take(&mut self.steps),
            packaging: self.packaging,
            atomic: true,
            bodies: Vec::new(),
            permits: Vec::new(),
            blocked: None,
            stands: None,
        })
    }

    /// Returns what was refused because it names no version: it is to be sent once more, with what the store has.
    pub(in crate::send) fn unversioned(&mut self) -> Option<Work> {
        if self.unversioned.is_empty() || self.failure.is_some() {
            return None;
        }
        let (steps, bodies): (Vec<Step>, Vec<Bytes>) = self.unversioned.drain(..).unzip();
        // Those that were not at hand are read when they are sent.
        let bodies = if bodies.iter().any(Bytes::is_empty) {
            Vec::new()
        } else {
            bodies
        };
        if self.atomic && std::mem::take(&mut self.is_intended) {
            let records: Vec<StepId> = steps.iter().map(|step| step.number).collect();
            self.setup.ledger.withdraw(&records);
        }
        Some(Work {
            steps,
            packaging: self.packaging,
            atomic: self.atomic,
            bodies,
            permits: Vec::new(),
            blocked: None,
            stands: None,
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
        let attempted = Attempted {
            attempts: self.attempts,
            latency: Some(conclusion.latency),
        };
        let held = self.nameless.iter_mut().chain(&mut self.occupied);
        let held = held.map(|(settled, _)| settled);
        for settled in self.settled.iter_mut().chain(held) {
            settled.line.latency_us = settled.line.latency_us.or(Some(micros(conclusion.latency)));
        }
        let left = std::mem::take(&mut self.steps);
        let Last {
            status,
            body,
            fault,
            warnings,
            heard,
        } = std::mem::take(&mut self.last);
        self.last.warnings = warnings;
        let what = match (&fault, status) {
            (Some(fault), _) => fault.clone(),
            (None, Some(status)) => self.target.words(status, &body),
            (None, None) => "no answer came".to_owned(),
        };
        let gave_up = |what: &str| match attempted.attempts {
            0 | 1 => what.to_owned(),
            attempts => format!("{what}; given up after {attempts} attempts"),
        };
        let culprit = self
            .atomic
            .then(|| self.target.refusal(None, &body).culprit)
            .flatten()
            .filter(|&at| at < left.len() && left.len() > 1);
        let to_blame = culprit.and_then(|at| left.get(at)).map(|step| step.number);
        let culprit = culprit.and_then(|at| Some((at, left.get(at)?.position)));
        let culprit = culprit.map(|(at, position)| {
            let file = self.setup.plan.source_name(position.source);
            (at, position.display(file).to_string())
        });
        let is_together = self.atomic && left.len() > 1;
        for (index, step) in left.into_iter().enumerate() {
            let record = step.number;
            // Given up: if it is not known to be refused, it is not known at all.
            let is_doubtful = match &conclusion.verdict {
                Verdict::Again { .. } | Verdict::Partial { .. } => self.doubt,
                verdict => *verdict == Verdict::Unknown,
            };
            if is_doubtful {
                self.doubtful.push(step);
                continue;
            }
            self.settled.push(match (&conclusion.verdict, status) {
                (Verdict::Done, Some(status)) => {
                    settlement::accepted(&step, status, Accepted::default(), attempted)
                }
                (Verdict::Stop(reason), _) if self.may_have_been_sent(conclusion) => {
                    let doubt = Doubt {
                        since: self.since,
                        tag: self.rewriter.tag(&step),
                        is_replayed: false,
                    };
                    settlement::unknown(record, status, attempted, reason.to_string(), &doubt)
                }
                (Verdict::Stop(reason), _) => {
                    let reason = reason.to_string();
                    settlement::told(record, Outcome::Pending, status, attempted, reason)
                }
                (_, Some(status)) => {
                    let note = match &culprit {
                        Some((at, _)) if *at == index => {
                            Some("its transaction was refused because of it".to_owned())
                        }
                        Some((_, place)) => {
                            Some(format!("its transaction was refused because of {place}"))
                        }
                        None if is_together && self.target.too_large(status, &body).is_some() => {
                            Some(too_large::HINT.to_owned())
                        }
                        None if is_together => {
                            Some("its transaction was refused as a whole".to_owned())
                        }
                        None if (200..300).contains(&status) => {
                            Some(FAILED_UNDER_SUCCESS.to_owned())
                        }
                        None => self
                            .about_version(&step, status, &body)
                            .map(str::to_owned)
                            .or_else(|| (attempted.attempts > 1).then(|| gave_up(&what))),
                    };
                    let is_among_others = self.packaging.is_some();
                    let mut settled = self.rejected(&step, is_among_others, status, &body, note);
                    settled.line.latency_us = Some(micros(conclusion.latency));
                    if culprit.as_ref().is_some_and(|(at, _)| *at != index) {
                        // The element is one of the other's.
                        settled.line.expression.clear();
                        settled.line.by = to_blame;
                    }
                    settled
                }
                (_, None) => {
                    settlement::told(record, Outcome::Rejected, None, attempted, gave_up(&what))
                }
            });
        }
        let doubtful = (!self.doubtful.is_empty()).then(|| InDoubt {
            steps: self.doubtful,
            packaging: self.packaging,
            atomic: self.atomic,
            since: self.since,
            status,
            attempted,
            what: gave_up(&what),
            mumbled: self.mumbled,
            heard,
            refusals: self.refusals,
        });
        Ok(Concluded {
            settled: self.settled,
            nameless: self.nameless,
            occupied: self.occupied,
            in_doubt: self.doubt,
            doubtful,
        })
    }

    fn may_have_been_sent(&self, conclusion: &Conclusion) -> bool {
        conclusion.may_have_been_sent && self.safety() == Safety::Once
    }
}

fn micros(latency: std::time::Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)
}
