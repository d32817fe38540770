//! Carries an exchange through its attempts: the loop that joins the layers.

use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    BuildError, Conclusion, Cost, Exchange, Fault, FaultKind, Gate, Moment, Safety, StopReason,
    Verdict,
    circuit::{Failed, Permit, Unavailable},
    concurrency::Signal,
    health::{self, StoreHealth},
    slots::Slot,
    story::{Asked, millis},
    verdict::{self, Throttle},
};
use crate::auth;

/// The result of one attempt.
#[derive(Debug)]
struct AttemptResult {
    verdict: Verdict,
    was_sent: bool,
    status: Option<u16>,
    latency: Duration,
    /// It says nothing about the record, because the target is down.
    is_outage: bool,
    /// Why no answer came.
    fault: Option<FaultKind>,
    /// The fault or the status, in words without content.
    what: String,
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

/// The meaning of an answer for the target, whatever it means for the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetSignal {
    /// It does its work.
    Well,
    /// It refuses for now.
    Refusing(Throttle),
    /// It does not get to its work: it cannot be reached, or what stands before it answers for it.
    Away,
    /// It failed at this one.
    Failing,
}

impl TargetSignal {
    fn of(answer: Result<&Response<Bytes>, &Fault>) -> Self {
        match answer {
            Ok(response) => match (verdict::refusal(response), response.status().as_u16()) {
                (Some(refusal), _) => Self::Refusing(refusal),
                (None, 502 | 504) => Self::Away,
                (None, 408 | 425 | 500) => Self::Failing,
                _ => Self::Well,
            },
            Err(fault) => match fault.kind {
                FaultKind::Tls | FaultKind::Request | FaultKind::TurnedAway => Self::Failing,
                _ => Self::Away,
            },
        }
    }
}

/// Tokens in a row that are refused before anybody was let in with one of them, at the most: a server may need a moment
/// before it knows a new one.
const RENEWALS: u32 = 3;

/// The tokens that an exchange has had renewed.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    pub(super) count: u32,
    last: Option<Instant>,
}

impl Gate {
    /// Carries an exchange to its end.
    pub async fn execute<E: Exchange>(&self, exchange: &mut E) -> Conclusion {
        let mut backoff = self.backoff();
        let mut attempts = 0;
        // Those that a target which is down has cost.
        let mut forgiven = 0;
        let mut renewals = Renewals::default();
        // The time that it waits at the most, in all, because the target asks for it.
        let mut patience = self.circuit.patience();
        loop {
            let attempt = self.attempt(exchange, attempts).await;
            attempts += u32::from(attempt.was_sent);
            forgiven += u32::from(attempt.was_sent && attempt.is_outage);
            let conclude = |verdict| Conclusion {
                verdict,
                attempts,
                status: attempt.status,
                latency: attempt.latency,
                may_have_been_sent: attempt.fault.is_some_and(FaultKind::may_have_been_sent),
            };
            let after = match &attempt.verdict {
                Verdict::Renew if self.may_renew(&mut renewals) => {
                    if renewals.count == 1 {
                        Duration::ZERO
                    } else {
                        backoff.wait()
                    }
                }
                Verdict::Renew => {
                    return conclude(Verdict::Stop(self.unauthorized().await));
                }
                Verdict::Again { .. } | Verdict::Partial { .. }
                    if !attempt.is_outage && attempts - forgiven >= self.retry.attempts =>
                {
                    return conclude(attempt.verdict);
                }
                // Another connection takes it.
                Verdict::Again { .. } if attempt.fault == Some(FaultKind::TurnedAway) => {
                    Duration::ZERO
                }
                Verdict::Again { after, .. } | Verdict::Partial { after, .. } => {
                    let jitter = backoff.wait();
                    match after {
                        // Whether it goes on at all is the circuit's business.
                        Some(asked) if attempt.is_outage => {
                            std::cmp::min(*asked, self.circuit.patience())
                        }
                        Some(asked) if *asked > patience => return conclude(attempt.verdict),
                        // The time that the server asks for is the least; the jitter on top keeps the waiting apart.
                        Some(asked) => {
                            patience -= *asked;
                            *asked + std::cmp::min(jitter, *asked / 4)
                        }
                        None => jitter,
                    }
                }
                Verdict::Done | Verdict::Rejected | Verdict::Unknown | Verdict::Stop(_) => {
                    return conclude(attempt.verdict);
                }
            };
            exchange.observe(Moment::Retrying { after });
            tracing::info!(
                target = self.name,
                attempts,
                after_ms = millis(after),
                because = attempt.what,
                "a request is tried again"
            );
            if !after.is_zero() {
                exchange.park();
                tokio::time::sleep(after).await;
                self.retries.spend().await;
            }
        }
    }

    /// Makes one attempt: memory, permission, slot, request, credentials, rate, wire, verdict. The slot is back when it
    /// returns, or after the rest that a refusal gives it.
    async fn attempt<E: Exchange>(&self, exchange: &mut E, before: u32) -> AttemptResult {
        let is_first = before == 0;
        // A request that waits for memory holds neither a slot nor others back.
        if let Err(error) = exchange.unpark().await {
            return AttemptResult::unsent(Verdict::Stop(error.into()));
        }
        let (pass, mut slot, request) = match self.prepare(exchange).await {
            Ok(prepared) => prepared,
            Err(attempt) => return attempt,
        };
        let bytes = crate::record::body_length(&request);
        let operations = exchange.cost().operations;
        exchange.observe(Moment::Sent { bytes });
        let level = slot.sent();
        let asked = Asked::of(&request);
        let began = Instant::now();
        let answer = self.transport.call(request).await;
        let latency = began.elapsed();
        if let Some(asked) = asked {
            asked.answered(&self.name, before + 1, answer.as_ref(), latency);
        }
        let answer = answer.map_err(|fault| self.turned_away_again(fault, began));
        if let Ok(response) = &answer {
            self.clock.hear(response.headers());
            *locked(&self.turned_away) = None;
        }
        let mut sign = TargetSignal::of(answer.as_ref());
        let status = answer
            .as_ref()
            .ok()
            .map(|response| response.status().as_u16());
        let received = answer.as_ref().map_or(0, |response| response.body().len());
        exchange.observe(Moment::Answered {
            status,
            is_refused: matches!(sign, TargetSignal::Refusing(_)),
            latency,
            bytes: received as u64,
        });
        let fault = answer.as_ref().err();
        let fault_kind = fault.map(|fault| fault.kind);
        let mut away = (fault_kind == Some(FaultKind::Connect)).then_some(Unavailable::Target);
        let mut what = match (fault, status) {
            (Some(fault), _) => fault.what.clone(),
            (None, status) => format!("the server answered {}", status.unwrap_or_default()),
        };
        let mut verdict = exchange.read(answer);
        let told = match verdict {
            Verdict::Done => String::new(),
            _ => what.clone(),
        };
        if let Some(status) = status
            && health::may_be_about_the_target(&verdict, status)
        {
            let again = Verdict::Again {
                after: None,
                brake: false,
            };
            match self.testimony(Instant::now()).await {
                StoreHealth::Silent if verdict == Verdict::Rejected => {
                    (verdict, sign) = (again, TargetSignal::Failing);
                }
                StoreHealth::There | StoreHealth::Silent => {}
                StoreHealth::Gone(words) => {
                    (what, sign, away) = (words, TargetSignal::Away, Some(Unavailable::Store));
                    // A store that is gone need not be asked about the record: it is waited for.
                    let may_repeat =
                        verdict == Verdict::Unknown && exchange.safety() == Safety::Idempotent;
                    if verdict == Verdict::Rejected || may_repeat {
                        verdict = again;
                    }
                }
            }
        }
        let after = match &verdict {
            Verdict::Again { after, .. } | Verdict::Partial { after, .. } => *after,
            _ => None,
        };
        if sign == TargetSignal::Well && matches!(verdict, Verdict::Partial { brake: true, .. }) {
            // Of a Bundle that was taken, entries were refused.
            sign = TargetSignal::Refusing(Throttle::Unsaid);
        }
        let was_taken = sign == TargetSignal::Well || exchange.cost().operations < operations;
        let rest = slot.answered(self.weigh(sign));
        let mut is_outage = false;
        if was_taken {
            self.took(operations, began);
            let judged = status.map(|status| self.circuit.judged(status, began));
            if let Some(Err(reason)) = judged {
                verdict = Verdict::Stop(reason);
            }
        } else if matches!(sign, TargetSignal::Refusing(_) | TargetSignal::Away) {
            if let TargetSignal::Refusing(refusal) = sign {
                self.pace.answered(operations, true, began);
                if refusal == Throttle::Quota && self.pace.ceiling().is_none() {
                    self.learn(Duration::ZERO);
                }
            }
            let failed = Failed {
                level,
                sent: began,
                after: after.filter(|_| matches!(sign, TargetSignal::Refusing(_))),
                is_first,
                away,
                may_be_quota: matches!(
                    sign,
                    TargetSignal::Refusing(Throttle::Quota | Throttle::Unsaid)
                ),
                what,
            };
            match self.circuit.failed(failed) {
                Ok(is_down) => is_outage = is_down,
                Err(reason) if matches!(verdict, Verdict::Again { .. }) => {
                    verdict = Verdict::Stop(reason);
                }
                // A record with an outcome keeps it; the next request that asks is told.
                Err(_) => {}
            }
        }
        drop(pass);
        if let Some(until) = rest {
            slot.rest_until(until);
        }
        AttemptResult {
            verdict,
            was_sent: true,
            status,
            latency,
            is_outage,
            fault: fault_kind,
            what: told,
        }
    }

    /// A server that turns away what was sent after it had turned others away, with no answer in between, is not merely
    /// letting go of a connection: it cannot be reached.
    fn turned_away_again(&self, fault: Fault, sent: Instant) -> Fault {
        if fault.kind != FaultKind::TurnedAway {
            return fault;
        }
        let first = *locked(&self.turned_away).get_or_insert_with(Instant::now);
        let kind = if first <= sent {
            FaultKind::Connect
        } else {
            fault.kind
        };
        Fault { kind, ..fault }
    }

    /// Returns the meaning of an answer for the number of slots: a quota's refusal has none, nor has one for an untold
    /// reason while a ceiling holds requests back.
    fn weigh(&self, sign: TargetSignal) -> Signal {
        match sign {
            TargetSignal::Well => Signal::Taken,
            TargetSignal::Refusing(Throttle::Load) => Signal::Refused,
            TargetSignal::Refusing(Throttle::Unsaid) if !self.pace.is_holding() => Signal::Refused,
            TargetSignal::Refusing(_) | TargetSignal::Away | TargetSignal::Failing => {
                Signal::Failed
            }
        }
    }

    /// Takes note that a request was taken.
    fn took(&self, operations: u32, sent: Instant) {
        self.retries.earn();
        self.pace.answered(operations, false, sent);
        if self.slots.take_quota() {
            self.learn(Duration::ZERO);
            self.slots.restore();
        }
        if let Some(back) = self.circuit.taken(sent)
            && back.may_be_quota
        {
            // All or nothing is how a quota answers; a store that is overloaded goes on taking some.
            self.learn(back.after);
            self.slots.restore();
        }
    }

    /// Learns a ceiling on the rate from what was taken before the target took nothing for a time.
    fn learn(&self, blocked: Duration) {
        self.pace.learn(blocked);
        if let Some(ceiling) = self.pace.ceiling() {
            let (target, ceiling) = (&*self.name, format!("{ceiling:.1}/s"));
            tracing::info!(
                target,
                ceiling,
                "it refuses by a quota: a ceiling on the rate is kept"
            );
        }
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
                bytes: crate::record::body_length(&request),
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

    /// Renews a token that was refused, if there is any point in it. New ones that are refused as well speak against the
    /// credentials, unless one of them was good for somebody: then it has expired, too.
    pub(super) fn may_renew(&self, renewals: &mut Renewals) -> bool {
        let was_good = renewals
            .last
            .is_some_and(|last| self.circuit.let_in_since(last));
        if was_good {
            renewals.count = 0;
        }
        renewals.count += 1;
        if renewals.count > RENEWALS || !self.credentials.refused() {
            return false;
        }
        renewals.last = Some(Instant::now());
        tracing::info!(
            target = self.name,
            "the token was refused (401): a new one is got"
        );
        true
    }

    /// Why the run ends when the server goes on answering 401.
    pub(super) async fn unauthorized(&self) -> StopReason {
        let (what, hint) = match self.credentials.header().await {
            Ok(None) => ("the server asks for credentials (401)", Some(auth::MISSING)),
            _ => ("the server does not accept the credentials (401)", None),
        };
        StopReason::Credentials {
            what: what.to_owned(),
            hint: hint.map(str::to_owned),
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

fn locked<T>(value: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
