//! Reads, and single requests outside a load: probing, `ensure`, `compare`, `create`, `get`.
//!
//! They go the same way as everything else (credentials, transport, verdict, retries), on slots of their own.

use std::{sync::atomic::Ordering, time::Duration};

use ::http::{Method, Request, Response};
use bytes::Bytes;

use tokio::time::Instant;

use super::{
    Cost, Fault, FaultKind, Flow, Gate, Safety, StopReason, Verdict,
    circuit::{Failed, Unavailable},
    health::{self, StoreHealth},
    renewal::Renewals,
    story::{Asked, millis},
    verdict,
};
use crate::target::Arrival;

/// The reason why a single request brought no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct CallFailure {
    /// The failure in words: no content, no path or query of a URL.
    pub what: String,
    /// The request may have reached the store all the same.
    pub may_have_been_sent: bool,
    /// Nobody can be asked any more: the target is down, or takes no credentials.
    pub is_final: bool,
    hint: Option<String>,
}

impl CallFailure {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    fn of_stop(reason: &StopReason) -> Self {
        Self {
            hint: reason.hint(),
            what: reason.to_string(),
            may_have_been_sent: false,
            is_final: true,
        }
    }

    fn of_fault(fault: &Fault) -> Self {
        Self {
            what: fault.what.clone(),
            may_have_been_sent: fault.kind.may_have_been_sent(),
            is_final: false,
            hint: Some(fault.hint().to_owned()),
        }
    }
}

/// Returns the answer or the fault in words without content.
fn words(answer: &Result<Response<Bytes>, Fault>) -> String {
    match answer {
        Ok(response) => format!("the server answered {}", response.status().as_u16()),
        Err(fault) => fault.what.clone(),
    }
}

/// The weight of an answer: a person or a record depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// A person waits for it.
    Person,
    /// The outcome of a record depends on it.
    Record,
}

/// A person waits for these, so a server that cannot be reached is given up soon.
const ATTEMPTS: u32 = 4;

impl Gate {
    /// Sends a request that may be repeated, and returns the last answer, whatever it says.
    ///
    /// # Errors
    ///
    /// When no answer came, or the credentials failed.
    pub async fn call_interactive(
        &self,
        make: impl Fn() -> Request<Bytes>,
    ) -> Result<Response<Bytes>, CallFailure> {
        self.single(make, Safety::Idempotent, Patience::Person)
            .await
    }

    /// Sends a request on whose answer the outcome of a record depends: as [`Gate::call_interactive`] does, as often as a record
    /// would be tried. That something is not found, or not allowed, is believed only where the store itself is there.
    ///
    /// # Errors
    ///
    /// When no answer came, or the credentials failed.
    pub async fn call_for_record(
        &self,
        make: impl Fn() -> Request<Bytes>,
    ) -> Result<Response<Bytes>, CallFailure> {
        self.single(make, Safety::Idempotent, Patience::Record)
            .await
    }

    /// Sends a request that must not have its effect twice, and returns the last answer.
    ///
    /// # Errors
    ///
    /// When no answer came, or the credentials failed.
    pub async fn call_once(
        &self,
        make: impl Fn() -> Request<Bytes>,
    ) -> Result<Response<Bytes>, CallFailure> {
        self.single(make, Safety::Once, Patience::Person).await
    }

    async fn single(
        &self,
        make: impl Fn() -> Request<Bytes>,
        safety: Safety,
        weight: Patience,
    ) -> Result<Response<Bytes>, CallFailure> {
        let mut backoff = self.backoff();
        let mut renewals = Renewals::default();
        let mut attempts = 0;
        // The time that it waits at the most, in all, because the target asks for it.
        let mut patience = self.circuit.patience();
        let most = match weight {
            Patience::Person => ATTEMPTS,
            Patience::Record => std::cmp::max(self.retry.attempts, ATTEMPTS),
        };
        loop {
            let answer = self.single_attempt(&make, attempts + 1).await?;
            // An attempt at a target that is down is not counted, as for exchanges.
            attempts += u32::from(!matches!(self.circuit.flow(), Flow::Down { .. }));
            let verdict = verdict::classify(safety, answer.as_ref(), jiff::Timestamp::now());
            let after = match verdict {
                Verdict::Renew if self.may_renew(&mut renewals).await => {
                    if renewals.count == 1 {
                        Duration::ZERO
                    } else {
                        backoff.wait()
                    }
                }
                Verdict::Again { after, .. }
                    if attempts < most && after.unwrap_or_default() <= patience =>
                {
                    let asked = after.unwrap_or_default();
                    patience -= asked;
                    asked + backoff.wait()
                }
                Verdict::Stop(StopReason::Tls { what }) => {
                    let fault = Fault::new(FaultKind::Tls, what);
                    return Err(CallFailure::of_fault(&fault));
                }
                Verdict::Renew if weight == Patience::Record => {
                    return Err(CallFailure::of_stop(&self.unauthorized().await));
                }
                _ if weight == Patience::Record
                    && self.is_in_doubt(&answer, attempts < most).await? =>
                {
                    backoff.wait()
                }
                _ => return answer.map_err(|fault| CallFailure::of_fault(&fault)),
            };
            tracing::info!(
                target = self.name,
                attempts,
                after_ms = millis(after),
                because = %words(&answer),
                "a question is asked again"
            );
            tokio::time::sleep(after).await;
        }
    }

    /// Tells whether an answer may have come from where the store was, and is not any more: so that it is asked for again.
    async fn is_in_doubt(
        &self,
        answer: &Result<Response<Bytes>, Fault>,
        may_ask_again: bool,
    ) -> Result<bool, CallFailure> {
        let sent = Instant::now();
        match answer {
            Ok(response) if health::is_in_question(response.status().as_u16()) => {}
            _ => return Ok(false),
        }
        let what = match self.testimony(sent).await {
            StoreHealth::There => return Ok(false),
            StoreHealth::Silent => return Ok(may_ask_again),
            StoreHealth::Gone(what) => what,
        };
        let failed = Failed {
            level: 0,
            sent,
            after: None,
            is_first: true,
            away: Some(Unavailable::Store),
            may_be_quota: false,
            what,
        };
        self.circuit
            .failed(failed)
            .map_err(|reason| CallFailure::of_stop(&reason))
    }

    /// Makes one attempt. It waits for the target like everything else, but only a lost or a new connection is told to
    /// the others: reads and writes have quotas of their own.
    async fn single_attempt(
        &self,
        make: &impl Fn() -> Request<Bytes>,
        attempt: u32,
    ) -> Result<Result<Response<Bytes>, Fault>, CallFailure> {
        loop {
            let pass = self
                .circuit
                .admit()
                .await
                .map_err(|reason| CallFailure::of_stop(&reason))?;
            // The semaphore is never closed.
            let _slot = self.look_ups.acquire().await;
            let mut request = make();
            self.authorize(&mut request)
                .await
                .map_err(|error| CallFailure {
                    what: error.what,
                    may_have_been_sent: false,
                    is_final: false,
                    hint: error.hint,
                })?;
            let bytes = request.body().len() as u64;
            let cost = Cost {
                operations: 1,
                bytes,
            };
            self.look_up_rates.ready(cost).await;
            if !self.circuit.still_admits(&pass) {
                continue;
            }
            let asked = Asked::of(&request);
            let sent = Instant::now();
            if request.method() == Method::GET {
                self.reads.fetch_add(1, Ordering::Relaxed);
            }
            let mut answer = self.transport.call(request).await;
            let latency = sent.elapsed();
            if let Ok(answer) = &mut answer {
                Arrival::mark(answer, latency);
            }
            if let Some(asked) = asked {
                asked.answered(&self.name, attempt, answer.as_ref(), latency);
            }
            match &answer {
                Ok(response) => {
                    self.clock.hear(response.headers());
                    self.circuit.reached(response.status().is_success());
                }
                Err(fault) if fault.kind == FaultKind::Connect => {
                    let failed = Failed {
                        level: 0,
                        sent,
                        after: None,
                        is_first: true,
                        away: Some(Unavailable::Target),
                        may_be_quota: false,
                        what: fault.what.clone(),
                    };
                    self.circuit
                        .failed(failed)
                        .map_err(|reason| CallFailure::of_stop(&reason))?;
                }
                Err(_) => {}
            }
            return Ok(answer);
        }
    }
}
