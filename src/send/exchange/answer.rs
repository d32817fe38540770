//! Reads an answer: what was taken is settled and never sent again, what may be tried again stays, the rest is rejected.

use bytes::Bytes;
use http::Response;

use super::{
    super::{
        answer_order::take_dependent,
        in_doubt::{RefusedInDoubt, UnclearAnswer},
        results,
        settlement::{self, Attempted},
        versions::{Tag, is_changed, is_update, names_header, wants_version},
    },
    Batch, HandsOver, Last, Sent,
    conclude::FAILED_UNDER_SUCCESS,
    warnings,
};
use crate::{
    gate::{Exchange, Fault, Safety, Verdict, verdict},
    journal::Settlement,
    manifest::Existing,
    plan::{Packaging, Step},
    record::{Operation, Outcome},
    target::{Accepted, Answer, Little, Said},
};

impl Batch<'_> {
    /// Settles what an answer settles.
    pub(super) fn read_answer(&mut self, answer: Result<Response<Bytes>, Fault>) -> Verdict {
        self.mumbled = None;
        let verdict = verdict::classify(self.safety(), answer.as_ref(), jiff::Timestamp::now());
        match answer {
            Err(fault) => {
                self.doubt |= fault.kind.may_have_been_sent();
                self.setup.counts.answered(None, 0);
                self.last = Last {
                    status: None,
                    body: Bytes::new(),
                    fault: Some(fault.what),
                    warnings: String::new(),
                    heard: fault.heard.0,
                };
                verdict
            }
            Ok(response) => {
                let status = response.status().as_u16();
                // These say nothing about what had been done before them.
                self.doubt |= verdict::is_ambiguous(status);
                self.setup
                    .counts
                    .answered(Some(status), response.body().len() as u64);
                self.last = Last {
                    status: Some(status),
                    // A copy: the answer itself holds on to a whole read buffer of its connection, and a request that waits
                    // for its next attempt must not.
                    body: kept(response.body(), &verdict),
                    fault: None,
                    warnings: warnings::of(response.headers()),
                    heard: Bytes::new(),
                };
                if matches!(verdict, Verdict::Rejected | Verdict::Unknown)
                    && let Some(answers) = self.target.refused_each(&self.parcel(), &response)
                {
                    return self.read_each(answers);
                }
                if verdict == Verdict::Rejected && self.target.passes(status, response.body()) {
                    return Verdict::Again {
                        after: None,
                        brake: false,
                    };
                }
                if verdict == Verdict::Rejected {
                    return self.read_refusal(status, response.body());
                }
                match (&verdict, self.packaging) {
                    (Verdict::Done, Some(_)) => self.read_parcel(&response),
                    (Verdict::Done, None) => self.read_single(&response),
                    _ => verdict,
                }
            }
        }
    }

    /// Reads the answer to a single record whose status is one of success.
    fn read_single(&mut self, response: &Response<Bytes>) -> Verdict {
        let (status, body) = (response.status().as_u16(), response.body());
        let Some(step) = self.steps.first() else {
            return Verdict::Done;
        };
        let is_update = step.action.operation() == Some(Operation::Update);
        let answers = self.target.answers(&self.parcel(), response);
        let answer = answers.ok().and_then(|answers| answers.into_iter().next());
        let answer = answer.flatten().unwrap_or(Answer {
            status,
            said: Said::Little(Little::Unsaid),
            outcome: None,
        });
        let is_sure = is_sure(status) && is_sure(answer.status);
        let said = match answer.said {
            Said::Little(_) if is_update && self.origin.habits.is_enough(status, body) => {
                Said::Taken(Accepted::default())
            }
            said => said,
        };
        match said {
            Said::Taken(accepted) => {
                let step = self.steps.remove(0);
                self.take(step, status, accepted);
                Verdict::Done
            }
            Said::Refused if is_sure => Verdict::Rejected,
            Said::Refused => {
                let what = "the store answered success and said in its words that it failed";
                let refusal = RefusedInDoubt {
                    status,
                    answer: self.last.body.clone(),
                };
                self.refusals.insert(step.number, refusal);
                self.last.fault = Some(format!("{what} ({status})"));
                self.mumble(None)
            }
            Said::Little(little) => {
                let what = match little {
                    Little::Bare => "the answer says nothing",
                    Little::Text => "the answer is not one that such a store gives",
                    Little::Page => {
                        "the answer is a page: a proxy or a login page may have come between"
                    }
                    Little::Later => "the store only says that it will see to it",
                    Little::Unsaid => "the answer does not say that anything was done",
                    Little::Elsewhere(words) | Little::Other(words) | Little::Silence(words) => {
                        words
                    }
                };
                self.last.fault = Some(match little {
                    Little::Elsewhere(_) | Little::Other(_) | Little::Silence(_) => what.to_owned(),
                    _ => format!("{what} ({status})"),
                });
                self.mumble(Some(little))
            }
        }
    }

    /// Looks whether a refusal is about the version of what is to be replaced.
    fn read_refusal(&mut self, status: u16, body: &[u8]) -> Verdict {
        if self
            .steps
            .iter()
            .any(|step| self.is_own_doing(step, status, body))
        {
            return Verdict::Unknown;
        }
        let is_single = self.packaging.is_none();
        let all_update = self.steps.iter().all(is_update);
        let is_wanted = if is_single || all_update {
            wants_version(status, body)
        } else {
            status == 428 || matches!(status, 400 | 412 | 422) && names_header(body)
        };
        if is_wanted {
            let unread: Vec<&Step> = self.steps.iter().filter(|s| self.is_unread(s)).collect();
            if !unread.is_empty() {
                for step in unread {
                    self.origin.versions.learn(&step.kind);
                }
                let mut bodies = std::mem::take(&mut self.bodies).into_iter();
                let steps = std::mem::take(&mut self.steps).into_iter();
                self.unversioned
                    .extend(steps.map(|step| (step, bodies.next().unwrap_or_default())));
            }
        }
        Verdict::Rejected
    }

    /// Tells whether a refusal for the version of what is there may be this record's own doing: it may have been taken before,
    /// and then it is what changed.
    fn is_own_doing(&self, step: &Step, status: u16, body: &[u8]) -> bool {
        let was_read = self.held.contains_key(&step.number);
        self.doubt && was_read && (is_changed(status) || wants_version(status, body))
    }

    /// Tells whether a record could name a version, and nobody has asked for it; or there was none when it was asked for.
    fn is_unread(&self, step: &Step) -> bool {
        let may_ask = match self.held.get(&step.number) {
            None => true,
            Some(Tag::Absent) => self.attempts < self.origin.link.gate.attempts(),
            Some(Tag::Of(_) | Tag::Unsaid | Tag::Unasked) => false,
        };
        may_ask && is_update(step)
    }

    /// Settles what was taken. A record that others may need by its id, and that has none, is asked about first.
    fn take(&mut self, step: Step, status: u16, accepted: Accepted) {
        if let Some((settled, _)) = self.keep_taken(step, status, accepted) {
            self.settled.push(settled);
        }
    }

    /// Settles what was taken, and returns it, unless something is to be asked about it first.
    fn keep_taken(
        &mut self,
        step: Step,
        status: u16,
        accepted: Accepted,
    ) -> Option<(Settlement, Step)> {
        let settled = self.taken(&step, status, accepted);
        if is_nameless(&settled, &step) {
            self.nameless.push((settled, step));
            None
        } else if self.is_occupied(&settled, &step) {
            self.occupied.push((settled, step));
            None
        } else {
            Some((settled, step))
        }
    }

    /// Tells whether the store has something under a record's own name, and the load wants to know what. If another record
    /// of the plan has its identifier, the store may mean that one.
    fn is_occupied(&self, settled: &Settlement, step: &Step) -> bool {
        settled.line.outcome == Outcome::Matched
            && step.action.operation() == Some(Operation::Store)
            && (self.settings.existing.what != Existing::Skip || step.follows().next().is_some())
    }

    fn taken(&self, step: &Step, status: u16, mut accepted: Accepted) -> Settlement {
        // A record that is there already may stem from an earlier attempt whose answer was lost. If contents were not
        // compared, nobody can tell.
        match accepted.outcome {
            Some(Outcome::Unchanged) if self.doubt => {
                accepted.outcome = Some(Outcome::Created);
                accepted.note = Some("an attempt whose answer was lost has stored it");
            }
            Some(Outcome::Matched) if self.doubt => {
                accepted.note = Some(
                    "the store has it; an attempt whose answer was lost may have stored it, and contents were not compared",
                );
            }
            _ => {}
        }
        if self.sent == Sent::Perhaps && step.action.operation() == Some(Operation::Transmit) {
            accepted.note = Some(RESENT);
        }
        let attempted = Attempted {
            attempts: self.attempts,
            latency: None,
        };
        settlement::accepted(step, status, accepted, attempted)
    }

    /// An answer came that tells too little: what was sent may have been taken, and the store is asked rather than sent it again.
    fn mumble(&mut self, little: Option<Little>) -> Verdict {
        self.doubt = true;
        self.mumbled = Some(UnclearAnswer {
            little,
            status: self.last.status.unwrap_or_default(),
            body: self.last.body.clone(),
        });
        Verdict::Unknown
    }

    /// Reads the answer to a parcel that was taken as a whole.
    fn read_parcel(&mut self, response: &Response<Bytes>) -> Verdict {
        let answers = match self.target.answers(&self.parcel(), response) {
            Ok(answers) => answers,
            Err(why) => {
                self.last.fault = Some(why);
                self.origin.habits.learn_mumbling(&self.setup.counts);
                return self.mumble(Some(Little::Text));
            }
        };
        if answers.iter().all(Option::is_none) {
            self.origin.habits.learn_mumbling(&self.setup.counts);
        }
        self.read_each(answers)
    }

    /// Settles what an answer says of each record.
    fn read_each(&mut self, answers: Vec<Option<Answer>>) -> Verdict {
        let (steps, bodies) = (
            std::mem::take(&mut self.steps),
            std::mem::take(&mut self.bodies),
        );
        let (mut brake, mut is_again) = (false, false);
        let mut done = Vec::new();
        let mut bodies = bodies.into_iter();
        for (step, answer) in steps.into_iter().zip(answers) {
            let body = bodies.next();
            let Some(answer) = answer else {
                self.last.fault = Some(
                    "the answer to the request that it travelled in does not tell of it".to_owned(),
                );
                self.mumble(Some(Little::Unsaid));
                self.doubtful.push(step);
                continue;
            };
            let interaction = step.action.operation().unwrap_or(Operation::Create);
            let status = answer.status;
            let outcome = Bytes::from(answer.outcome.unwrap_or_default());
            let verdict = match verdict::of_status(safety_of(interaction), status) {
                Verdict::Rejected if self.target.passes(status, &outcome) => Verdict::Again {
                    after: None,
                    brake: false,
                },
                verdict => verdict,
            };
            match (verdict, answer.said) {
                (Verdict::Done, Said::Taken(accepted)) => {
                    self.ordered.is_shuffled |= accepted.by_kind;
                    done.extend(self.keep_taken(step, status, accepted));
                }
                (Verdict::Done, Said::Refused) if is_sure(status) => {
                    let note = Some(FAILED_UNDER_SUCCESS.to_owned());
                    let settled = self.rejected(&step, true, status, &outcome, note);
                    done.push((settled, step));
                }
                (Verdict::Done, said) => self.read_unclear(step, status, &said, outcome),
                (
                    Verdict::Again { brake: asked, .. } | Verdict::Partial { brake: asked, .. },
                    _,
                ) if self.packaging != Some(Packaging::Transaction) => {
                    brake |= asked;
                    is_again = true;
                    self.last = Last {
                        status: Some(status),
                        body: outcome,
                        fault: None,
                        warnings: std::mem::take(&mut self.last.warnings),
                        heard: Bytes::new(),
                    };
                    self.steps.push(step);
                    self.bodies.extend(body);
                }
                (Verdict::Unknown, _) => {
                    self.last.status = Some(status);
                    self.doubtful.push(step);
                }
                _ if self.is_own_doing(&step, status, &outcome) => {
                    self.last.status = Some(status);
                    self.doubtful.push(step);
                }
                _ if wants_version(status, &outcome)
                    && self.is_unread(&step)
                    && body
                        .as_ref()
                        .is_none_or(|body| !self.target.names_its_version(&step, body)) =>
                {
                    self.origin.versions.learn(&step.kind);
                    self.unversioned.push((step, body.unwrap_or_default()));
                }
                _ => {
                    let note = self
                        .about_version(&step, status, &outcome)
                        .map(str::to_owned);
                    let settled = self.rejected(&step, true, status, &outcome, note);
                    done.push((settled, step));
                }
            }
        }
        if self.packaging.is_some() && !self.target.answers_in_order() {
            let is_atomic = self.packaging == Some(Packaging::Transaction);
            take_dependent(&mut done, &mut self.ordered, is_atomic);
        }
        if is_again && self.hands_over == HandsOver::AtOnce {
            done = results::hand_over(self.origin, done);
        }
        self.settled
            .extend(done.into_iter().map(|(settled, _)| settled));
        if is_again {
            Verdict::Partial { after: None, brake }
        } else {
            Verdict::Done
        }
    }

    /// Takes note of an entry that was answered with success, and not in a way from which it is known that it was taken.
    fn read_unclear(&mut self, step: Step, status: u16, said: &Said, answer: Bytes) {
        let (little, what) = match said {
            Said::Refused => {
                let refusal = RefusedInDoubt { status, answer };
                self.refusals.insert(step.number, refusal);
                let what =
                    "its entry was answered with success, and with words that say that it failed";
                (Little::Unsaid, what)
            }
            Said::Little(Little::Elsewhere(words)) => (Little::Elsewhere(words), *words),
            Said::Little(little) => (
                *little,
                "the answer to its entry does not say that it was taken",
            ),
            Said::Taken(_) => (
                Little::Unsaid,
                "the answer to its entry does not say that it was taken",
            ),
        };
        self.last.fault = Some(format!("{what} ({status})"));
        self.mumble(Some(little));
        self.doubtful.push(step);
    }
}

/// Said of a message that may have been received twice.
pub const RESENT: &str = "sent again because its acknowledgement was lost: the receiver has to know it by MSH-10, or has it twice";

/// Tells whether words of failure under a status of success are believed without a question: 201 says that something was
/// created, and speaks against them.
fn is_sure(status: u16) -> bool {
    status != 201
}

/// Tells whether a record arrived under an id that nobody knows.
fn is_nameless(settled: &Settlement, step: &Step) -> bool {
    let operation = step.action.operation();
    operation.is_some_and(Operation::names_something) && settled.line.id.is_none()
}

/// Returns the part of an answer's body that is kept: 1 MiB of a refusal, which is soon read once more; 16 KiB
/// otherwise, for the record waits.
fn kept(body: &[u8], verdict: &Verdict) -> Bytes {
    const SOON: usize = 1 << 20;
    const WAITING: usize = 16 << 10;
    let most = match verdict {
        Verdict::Rejected => SOON,
        _ => WAITING,
    };
    Bytes::copy_from_slice(body.get(..most).unwrap_or(body))
}

fn safety_of(interaction: Operation) -> Safety {
    if interaction.is_idempotent() {
        Safety::Idempotent
    } else {
        Safety::Once
    }
}
