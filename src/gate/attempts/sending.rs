//! Makes one attempt: memory, permission, slot, request, credentials, rate, wire, verdict.
//!
//! Each is a layer of the gate (design §4). The meaning of an answer for the target is `signal`'s to find out; whether there
//! is another attempt is decided in the module above.

use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use tokio::time::Instant;

use super::signal::{Judgement, OnWire, TargetSignal};
use crate::{
    auth,
    gate::{
        BuildError, Cost, Exchange, Fault, FaultKind, Gate, Moment, StopReason, Verdict,
        circuit::{Failed, Permit, Unavailable},
        slots::Slot,
        story::Asked,
    },
    record::body_length,
    target::Arrival,
};

/// The result of one attempt.
#[derive(Debug)]
pub(super) struct AttemptResult {
    pub(super) verdict: Verdict,
    pub(super) was_sent: bool,
    pub(super) status: Option<u16>,
    pub(super) latency: Duration,
    /// It says nothing about the record, because the target is down.
    pub(super) is_outage: bool,
    /// The reason why no answer came.
    pub(super) fault: Option<FaultKind>,
    /// The fault or the status, in words without content.
    pub(super) what: String,
}

impl AttemptResult {
    fn unsent(verdict: Verdict) -> Self {
        Self {
            verdict,
            was_sent: false,
            status: None,
            latency: Duration::ZERO,
            is_outage: false,
            fault: None,
            what: "it could not be sent".to_owned(),
        }
    }
}

impl Gate {
    /// Makes one attempt: memory, permission, slot, request, credentials, rate, wire, verdict. The slot is back when it
    /// returns, or after the rest that a refusal gives it.
    pub(super) async fn attempt<E: Exchange>(
        &self,
        exchange: &mut E,
        before: u32,
    ) -> AttemptResult {
        // A request that waits for memory holds neither a slot nor others back.
        if let Err(error) = exchange.unpark().await {
            return AttemptResult::unsent(Verdict::Stop(error.into()));
        }
        let (pass, mut slot, request) = match self.prepare(exchange).await {
            Ok(prepared) => prepared,
            Err(attempt) => return attempt,
        };
        let operations = exchange.cost().operations;
        exchange.observe(Moment::Sent {
            bytes: body_length(&request),
        });
        let level = slot.sent();
        let began = Instant::now();
        let (answer, latency) = self.on_wire(request, before + 1, began).await;
        let signal = TargetSignal::of(answer.as_ref());
        let response = answer.as_ref().ok();
        let status = response.map(|response| response.status().as_u16());
        exchange.observe(Moment::Answered {
            status,
            is_refused: matches!(signal, TargetSignal::Refusing(_)),
            latency,
            bytes: response.map_or(0, |response| response.body().len() as u64),
        });
        let fault = answer.as_ref().err().map(|fault| fault.kind);
        let mut judged = Judgement::of(exchange, answer, signal);
        let what = match judged.verdict {
            Verdict::Done => String::new(),
            _ => judged.what.clone(),
        };
        if let Some(status) = status {
            self.hear_the_store(&mut judged, status, exchange.safety())
                .await;
        }
        judged.look_inside();
        // Of a Bundle some entries may have been taken.
        let was_taken =
            judged.signal == TargetSignal::Well || exchange.cost().operations < operations;
        let rest = slot.answered(self.weigh(judged.signal));
        let wire = OnWire {
            operations,
            level,
            sent: began,
            is_first: before == 0,
            status,
        };
        let is_outage = self.take_note(&mut judged, &wire, was_taken);
        drop(pass);
        if let Some(until) = rest {
            slot.rest_until(until);
        }
        AttemptResult {
            verdict: judged.verdict,
            was_sent: true,
            status,
            latency,
            is_outage,
            fault,
            what,
        }
    }

    /// Sends a request, and returns what came back, and the time that it was on the wire.
    async fn on_wire(
        &self,
        request: Request<Bytes>,
        attempt: u32,
        began: Instant,
    ) -> (Result<Response<Bytes>, Fault>, Duration) {
        let asked = Asked::of(&request);
        let mut answer = self.transport.call(request).await;
        let latency = began.elapsed();
        if let Ok(answer) = &mut answer {
            Arrival::mark(answer, latency);
        }
        if let Some(asked) = asked {
            asked.answered(&self.name, attempt, answer.as_ref(), latency);
        }
        let answer = answer.map_err(|fault| self.turned_away_again(fault, began));
        if let Ok(response) = &answer {
            self.clock.hear(response.headers());
            self.turns_nobody_away();
        }
        (answer, latency)
    }

    /// Gets a request ready to leave at once: everything but the wire.
    async fn prepare<E: Exchange>(
        &self,
        exchange: &mut E,
    ) -> Result<(Permit, Slot, Request<Bytes>), AttemptResult> {
        let stop = |reason| AttemptResult::unsent(Verdict::Stop(reason));
        loop {
            let pass = self.circuit.admit().await.map_err(stop)?;
            let slot = self.slots.acquire().await;
            // A change of the circuit since then holds for this request too.
            if !self.circuit.still_admits(&pass) {
                continue;
            }
            let mut request = exchange.build().await.map_err(|error| stop(error.into()))?;
            if let Err(error) = self.authorize(&mut request).await {
                return Err(self.without_credentials(error));
            }
            let cost = Cost {
                bytes: body_length(&request),
                ..exchange.cost()
            };
            self.pace.ready(cost.operations).await;
            self.rates.ready(cost).await;
            // A rate may have taken its time.
            if self.circuit.still_admits(&pass) && slot.is_kept() {
                let intended = exchange.intend().await;
                intended.map_err(|error| stop(error.into()))?;
                return Ok((pass, slot, request));
            }
        }
    }

    /// A token server that cannot be reached is waited for like the target.
    fn without_credentials(&self, error: auth::Error) -> AttemptResult {
        let reason = StopReason::Credentials {
            what: error.what,
            hint: error.hint,
        };
        if error.transient {
            let failed = Failed {
                level: 0,
                sent: Instant::now(),
                after: None,
                is_first: true,
                away: Some(Unavailable::Target),
                may_be_quota: false,
                what: reason.to_string(),
            };
            if self.circuit.failed(failed).is_ok() {
                return AttemptResult {
                    is_outage: true,
                    ..AttemptResult::unsent(Verdict::Again {
                        after: None,
                        brake: false,
                    })
                };
            }
        }
        AttemptResult::unsent(Verdict::Stop(reason))
    }
}

impl From<BuildError> for StopReason {
    fn from(error: BuildError) -> Self {
        Self::Request {
            what: error.to_string(),
        }
    }
}
