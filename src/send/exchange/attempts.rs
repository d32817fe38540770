//! The attempts of a request: their number, and what they may have done to the store.

use bytes::Bytes;
use http::Response;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    super::{in_doubt::UnclearAnswer, settlement::Attempted},
    warnings,
};
use crate::{
    gate::{Fault, Verdict, verdict},
    target::Little,
};

/// The attempts of a request so far, those of before its answer was lost among them.
#[derive(Debug)]
pub(super) struct AttemptLog {
    /// Attempts made, those among them in which there was no connection to send anything on.
    pub(super) made: u32,
    /// Those of them in which something may have left this machine: what is stated of a record.
    pub(super) sent: u32,
    /// The most attempts that the gate makes of it, where they are fewer than the target's.
    pub(super) most: Option<u32>,
    /// When its records were first about to be sent, by the target's clock. A record that is read back later may tell by its
    /// time whether one of these attempts has written it.
    pub(super) since: Option<Timestamp>,
    /// The effect that they may have had without an answer that says so.
    pub(super) uncertainty: Uncertainty,
    /// When the last attempt ended on which the server may still be at work: no answer of its own came.
    pub(super) lost_at: Option<Instant>,
    /// The result of the last one, for records that are given up.
    pub(super) last: Last,
}

/// The effect that the attempts of a request may have had on the store without an answer that says so.
#[derive(Debug)]
pub(super) enum Uncertainty {
    /// Nothing: there were none, or their answers told.
    None,
    /// A request of before this one, or of an earlier session, may have been taken.
    Before,
    /// An attempt of this one may have been taken: its answer was lost, or leaves that open.
    Lost,
    /// The last attempt may have been taken: its answer came, and told too little.
    Unclear(UnclearAnswer),
}

/// The result of the last attempt.
#[derive(Debug, Default)]
pub(super) struct Last {
    pub(super) status: Option<u16>,
    /// The body of the answer, or of its entry: content.
    pub(super) body: Bytes,
    /// The failure, in words without content.
    pub(super) fault: Option<String>,
    /// It failed when something may have left this machine.
    pub(super) is_sent: bool,
    /// The warnings in the head of the answer: content.
    pub(super) warnings: String,
    /// The bytes that came instead of an answer: content.
    pub(super) heard: Bytes,
}

impl AttemptLog {
    /// Returns the facts that a settlement states; the latency is known only when the gate is done.
    pub(super) fn attempted(&self) -> Attempted {
        Attempted {
            attempts: self.sent,
            latency: None,
        }
    }

    /// Returns after how many attempts it is given up: where the last one was sent, those in which nothing was, for want of a
    /// connection, are no attempts at the record.
    pub(super) fn given_up_after(&self) -> u32 {
        if self.last.is_sent || self.last.status.is_some() {
            self.sent
        } else {
            self.made
        }
    }

    /// Tells whether an attempt of this request may have been taken without an answer that says so.
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(
            self.uncertainty,
            Uncertainty::Lost | Uncertainty::Unclear(_)
        )
    }

    /// Tells whether any attempt may have been taken without an answer that says so, those of earlier sessions among them.
    pub(super) fn may_be_repeated(&self) -> bool {
        !matches!(self.uncertainty, Uncertainty::None)
    }

    /// Takes note that no answer came to the last attempt.
    pub(super) fn fail(&mut self, fault: Fault) {
        let may_have_been_sent = fault.kind.may_have_been_sent();
        self.sent += u32::from(may_have_been_sent);
        self.end_attempt(may_have_been_sent, may_have_been_sent);
        self.last = Last {
            fault: Some(fault.what),
            is_sent: may_have_been_sent,
            heard: fault.heard.0,
            ..Last::default()
        };
    }

    /// Takes note of the answer to the last attempt.
    pub(super) fn answer(&mut self, response: &Response<Bytes>, verdict: &Verdict) {
        let status = response.status().as_u16();
        self.sent += 1;
        // These say nothing about what had been done before them.
        self.end_attempt(
            verdict::is_ambiguous(status),
            verdict::is_of_a_proxy(status),
        );
        self.last = Last {
            status: Some(status),
            // A copy: the answer itself holds on to a whole read buffer of its connection, and a request that waits for its
            // next attempt must not.
            body: kept(response.body(), verdict),
            warnings: warnings::of(response.headers()),
            ..Last::default()
        };
    }

    /// Takes note that the answer to the last attempt told too little; `little` is none where its words are of failure.
    pub(super) fn mumble(&mut self, little: Option<Little>) {
        self.uncertainty = Uncertainty::Unclear(UnclearAnswer {
            little,
            // Only what was answered is read.
            status: self.last.status.unwrap_or_default(),
            body: self.last.body.clone(),
        });
    }

    /// The answer to the attempt before told too little, and this one may tell; what was uncertain stays so. A server that answered by
    /// itself is no longer at work on it.
    fn end_attempt(&mut self, may_have_been_taken: bool, may_be_at_work: bool) {
        if may_be_at_work {
            self.lost_at = Some(Instant::now());
        }
        if may_have_been_taken || self.is_in_doubt() {
            self.uncertainty = Uncertainty::Lost;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::FaultKind;

    #[test]
    fn an_attempt_without_a_connection_is_none_at_a_record() {
        let mut log = AttemptLog {
            made: 0,
            sent: 0,
            most: None,
            since: None,
            uncertainty: Uncertainty::None,
            lost_at: None,
            last: Last::default(),
        };
        for (kind, sent) in [
            (FaultKind::Connect, 0),
            (FaultKind::TurnedAway, 0),
            (FaultKind::Timeout, 1),
            (FaultKind::Connect, 1),
            (FaultKind::Interrupted, 2),
        ] {
            log.made += 1;
            log.fail(Fault::new(kind, "no".to_owned()));
            assert_eq!(log.attempted().attempts, sent, "{kind:?}");
        }
        log.made += 1;
        log.answer(&Response::new(Bytes::new()), &Verdict::Done);
        assert_eq!((log.attempted().attempts, log.given_up_after()), (3, 3));
    }
}
