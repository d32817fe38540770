//! Reads an answer as a whole: to a single record, or a refusal of all of them. `each` reads what it says of each.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::{
    super::versions::{Tag, is_changed, is_update, names_header, wants_version},
    Batch,
};
use crate::{
    gate::{Exchange, Fault, Verdict, verdict},
    plan::Step,
    record::Operation,
    target::{Accepted, Answer, Little, Said},
};

impl Batch<'_> {
    /// Settles what an answer settles.
    pub(super) fn read_answer(&mut self, answer: Result<Response<Bytes>, Fault>) -> Verdict {
        let verdict = verdict::classify(self.safety(), answer.as_ref(), jiff::Timestamp::now());
        let counts = &self.load.setup.counts;
        let response = match answer {
            Ok(response) => response,
            Err(fault) => {
                counts.answered(None, 0);
                self.attempts.fail(fault);
                return verdict;
            }
        };
        let status = response.status().as_u16();
        counts.answered(Some(status), response.body().len() as u64);
        self.attempts.answer(&response, &verdict);
        if matches!(verdict, Verdict::Rejected | Verdict::Unknown)
            && let Some(answers) = self.target().refused_each(&self.parcel(), &response)
        {
            return self.read_each(answers);
        }
        match (&verdict, self.packaging) {
            (Verdict::Rejected, _) if self.passes(&self.unsent.steps, status, response.body()) => {
                Verdict::Again {
                    after: None,
                    brake: false,
                }
            }
            (Verdict::Rejected, _) => self.read_refusal(status, response.body()),
            (Verdict::Done, Some(_)) => self.read_parcel(&response),
            (Verdict::Done, None) => self.read_single(&response),
            _ => verdict,
        }
    }

    /// Reads the answer to a single record whose status is one of success.
    fn read_single(&mut self, response: &Response<Bytes>) -> Verdict {
        let (status, body) = (response.status().as_u16(), response.body());
        let Some(step) = self.unsent.steps.first() else {
            return Verdict::Done;
        };
        let is_update = step.action.operation() == Some(Operation::Update);
        let answers = self.target().answers(&self.parcel(), response);
        // Only of several records an answer may be one that cannot be read.
        let answer = answers.ok().and_then(|answers| answers.into_iter().next());
        let answer = answer.flatten().unwrap_or(Answer {
            status,
            said: Said::Little(Little::Unsaid),
            outcome: None,
        });
        let is_sure = is_sure(status) && is_sure(answer.status);
        let said = match answer.said {
            Said::Little(_) if is_update && self.load.habits.is_enough(status, body) => {
                Said::Taken(Accepted::default())
            }
            said => said,
        };
        match said {
            Said::Taken(accepted) => {
                let step = self.unsent.steps.remove(0);
                let mut settled = Vec::new();
                let reading = self.taken(step, status, accepted);
                self.sort(reading, &mut settled);
                self.answered.settle(settled);
                Verdict::Done
            }
            Said::Refused if is_sure => Verdict::Rejected,
            Said::Refused => {
                let what = "the store answered success and said in its words that it failed";
                self.attempts.last.fault = Some(format!("{what} ({status})"));
                self.attempts.mumble(None);
                Verdict::Unknown
            }
            Said::Little(little) => {
                let what = match little {
                    Little::Bare => "the answer says nothing",
                    Little::Text => "the answer is not one that such a store gives",
                    Little::Page => {
                        "the answer is a page: a proxy or a login page may have come between"
                    }
                    Little::Later => "the store only says that it will see to it",
                    Little::Unsaid | Little::Conflict => {
                        "the answer does not say that anything was done"
                    }
                    Little::Elsewhere(words) | Little::Other(words) | Little::Silence(words) => {
                        words
                    }
                };
                self.attempts.last.fault = Some(match little {
                    Little::Elsewhere(_) | Little::Other(_) | Little::Silence(_) => what.to_owned(),
                    _ => format!("{what} ({status})"),
                });
                self.attempts.mumble(Some(little));
                Verdict::Unknown
            }
        }
    }

    /// Looks whether a refusal is about the version of what is to be replaced.
    fn read_refusal(&mut self, status: u16, body: &[u8]) -> Verdict {
        let steps = &self.unsent.steps;
        if steps
            .iter()
            .any(|step| self.is_own_doing(step, status, body))
        {
            return Verdict::Unknown;
        }
        let is_single = self.packaging.is_none();
        let all_update = steps.iter().all(is_update);
        let is_wanted = if is_single || all_update {
            wants_version(status, body)
        } else {
            status == 428 || matches!(status, 400 | 412 | 422) && names_header(body)
        };
        if is_wanted {
            let unread: Vec<&Step> = steps.iter().filter(|s| self.is_unread(s)).collect();
            if !unread.is_empty() {
                for step in unread {
                    self.load.versions.learn(&step.kind);
                }
                self.answered.unversioned.extend(self.unsent.take());
            }
        }
        Verdict::Rejected
    }

    /// Tells whether a refusal of some records is one of the moment. An update that an earlier request may be at work on is in conflict
    /// with that one: servers have many words for it, and the next attempt is taken.
    pub(super) fn passes<'s>(
        &self,
        steps: impl IntoIterator<Item = &'s Step>,
        status: u16,
        answer: &[u8],
    ) -> bool {
        let target = self.target();
        // Of updates nothing is written down before they are sent: right after a session was cut off, each may be one that it has sent.
        let may_be_at_work = self.attempts.may_be_repeated() || self.load.setup.earlier.was_cut_off;
        let is_in_the_way = || {
            let refusal = target.refusal(None, answer);
            let (code, detail) = (refusal.code.as_deref(), refusal.detail.as_deref());
            may_be_at_work
                && !target.misses_reference(status, code, detail)
                && (steps.into_iter())
                    .all(|step| is_update(step) && !self.held.contains_key(&step.number))
        };
        target.passes(status, answer) || status == StatusCode::CONFLICT && is_in_the_way()
    }

    /// Tells whether a refusal for the version of what is there may be this record's own doing: it may have been taken before,
    /// and then it is what changed.
    pub(super) fn is_own_doing(&self, step: &Step, status: u16, body: &[u8]) -> bool {
        let was_read = self.held.contains_key(&step.number);
        self.attempts.is_in_doubt()
            && was_read
            && (is_changed(status) || wants_version(status, body))
    }

    /// Tells whether a record could name a version, and nobody has asked for it; or there was none when it was asked for.
    pub(super) fn is_unread(&self, step: &Step) -> bool {
        let may_ask = match self.held.get(&step.number) {
            None => true,
            Some(Tag::Absent) => self.attempts.made < self.load.link.gate.attempts(),
            Some(Tag::Of(_) | Tag::Unsaid | Tag::Unasked) => false,
        };
        may_ask && is_update(step)
    }
}

/// Said of a message that may have been received twice.
pub const RESENT: &str = "sent again because its acknowledgement was lost: the receiver has to know it by MSH-10, or has it twice";

/// Tells whether words of failure under a status of success are believed without a question: 201 says that something was
/// created, and speaks against them.
pub(super) fn is_sure(status: u16) -> bool {
    status != 201
}
