//! Reads an answer: what was taken is settled and never sent again, what may be tried again stays, the rest is rejected.

use bytes::Bytes;
use http::Response;

use super::{
    super::settle::{self, Attempted},
    Batch, Last,
};
use crate::{
    gate::{Exchange, Fault, Safety, Verdict, verdict},
    plan::BundleType,
    record::Interaction,
    target::fhir::{accepted, entries, is_fhirs},
};

impl Batch<'_> {
    /// Settles what an answer settles.
    pub(super) fn read_answer(&mut self, answer: Result<Response<Bytes>, Fault>) -> Verdict {
        let verdict = verdict::classify(self.safety(), answer.as_ref(), jiff::Timestamp::now());
        match answer {
            Err(fault) => {
                self.doubt |= fault.kind.may_have_been_sent();
                self.setup.counts.answered(None, 0);
                self.last = Last {
                    status: None,
                    body: Bytes::new(),
                    fault: Some(fault.what),
                };
                verdict
            }
            Ok(response) => {
                let status = response.status().as_u16();
                // These say nothing about what had been done before them.
                self.doubt |= matches!(status, 500 | 502 | 504);
                self.setup
                    .counts
                    .answered(Some(status), response.body().len() as u64);
                self.last = Last {
                    status: Some(status),
                    // A copy: the answer itself holds on to a whole read buffer of its connection, and who waits for
                    // the next attempt must not.
                    body: Bytes::copy_from_slice(response.body()),
                    fault: None,
                };
                match (&verdict, self.bundle) {
                    (Verdict::Done, Some(_)) => return self.read_bundle(&response),
                    (Verdict::Done, None) if !is_fhirs(&response) => {
                        self.last.fault = Some(format!(
                            "the answer ({status}) is none of FHIR's: a proxy or a login page may have come between"
                        ));
                        return self.not_understood();
                    }
                    (Verdict::Done, None) => {
                        let attempted = Attempted {
                            attempts: self.attempts,
                            latency: None,
                        };
                        let place = accepted(response.headers(), response.body());
                        for step in self.steps.drain(..) {
                            let interaction =
                                step.action.interaction().unwrap_or(Interaction::Create);
                            self.settled.push(settle::accepted(
                                step.number,
                                interaction,
                                status,
                                place.clone(),
                                attempted,
                            ));
                        }
                    }
                    _ => {}
                }
                verdict
            }
        }
    }

    /// What was sent may have been taken, and nobody can tell.
    fn not_understood(&mut self) -> Verdict {
        self.doubt = true;
        if self.safety() == Safety::Once {
            Verdict::Unknown
        } else {
            Verdict::Again {
                after: None,
                brake: false,
            }
        }
    }

    /// Reads the answer to a Bundle that was taken as a whole.
    fn read_bundle(&mut self, response: &Response<Bytes>) -> Verdict {
        let answers = match entries(response.body(), self.steps.len()) {
            Ok(answers) => answers,
            Err(why) => {
                self.last.fault = Some(why);
                return self.not_understood();
            }
        };
        let attempted = Attempted {
            attempts: self.attempts,
            latency: None,
        };
        let (steps, bodies) = (
            std::mem::take(&mut self.steps),
            std::mem::take(&mut self.bodies),
        );
        let (mut brake, mut is_again) = (false, false);
        let mut done = Vec::new();
        let mut bodies = bodies.into_iter();
        for (step, answer) in steps.into_iter().zip(answers) {
            let body = bodies.next();
            let interaction = step.action.interaction().unwrap_or(Interaction::Create);
            let outcome = Bytes::from(answer.outcome.unwrap_or_default());
            match verdict::of_status(safety_of(interaction), answer.status) {
                Verdict::Done => {
                    let (status, accepted) = (answer.status, answer.accepted);
                    let settled =
                        settle::accepted(step.number, interaction, status, accepted, attempted);
                    done.push((settled, step));
                }
                Verdict::Again { brake: asked, .. } | Verdict::Partial { brake: asked, .. }
                    if self.bundle == Some(BundleType::Batch) =>
                {
                    brake |= asked;
                    is_again = true;
                    self.last = Last {
                        status: Some(answer.status),
                        body: outcome,
                        fault: None,
                    };
                    self.steps.push(step);
                    self.bodies.extend(body);
                }
                Verdict::Unknown => {
                    self.last.status = Some(answer.status);
                    self.doubtful.push(step);
                }
                _ => {
                    let status = answer.status;
                    let settled = settle::rejected(step.number, status, &outcome, attempted, None);
                    done.push((settled, step));
                }
            }
        }
        if is_again {
            done = self.origin.hand_over(done);
        }
        self.settled
            .extend(done.into_iter().map(|(settled, _)| settled));
        if is_again {
            Verdict::Partial { after: None, brake }
        } else {
            Verdict::Done
        }
    }
}

fn safety_of(interaction: Interaction) -> Safety {
    if interaction.is_idempotent() {
        Safety::Idempotent
    } else {
        Safety::Once
    }
}
