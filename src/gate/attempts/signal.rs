//! Signals of a target: the meaning of an answer for the target, whatever it means for the record, and what the gate learns
//! by it.
//!
//! Four things learn: the slots, the ceiling on the rate, the circuit, and the budget of retries. Each has its rules in a file
//! of its own; here stands which of them is told.

use std::time::Duration;

use ::http::Response;
use bytes::Bytes;
use tokio::time::Instant;

use crate::gate::{
    Exchange, Fault, FaultKind, Gate, Safety, Verdict,
    circuit::{Failed, Unavailable},
    concurrency::Signal,
    health::{self, StoreHealth},
    verdict::{self, Throttle},
};

/// The meaning of an answer for the target, whatever it means for the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetSignal {
    /// It does its work.
    Well,
    /// It refuses for now.
    Refusing(Throttle),
    /// It does not get to its work: it cannot be reached, or a proxy in front of it answers for it.
    Away,
    /// It failed at this one.
    Failing,
}

impl TargetSignal {
    pub(super) fn of(answer: Result<&Response<Bytes>, &Fault>) -> Self {
        match answer {
            Ok(response) => match (verdict::refusal(response), response.status().as_u16()) {
                (Some(refusal), _) => Self::Refusing(refusal),
                (None, status) if verdict::is_of_a_proxy(status) || status == verdict::NO_ROOM => {
                    Self::Away
                }
                (None, 408 | 425) => Self::Failing,
                (None, status) if verdict::is_ambiguous(status) => Self::Failing,
                _ => Self::Well,
            },
            Err(fault) => match fault.kind {
                FaultKind::Tls | FaultKind::Request | FaultKind::NoRoom | FaultKind::TurnedAway => {
                    Self::Failing
                }
                _ => Self::Away,
            },
        }
    }
}

/// The meaning of an answer for the record and for the target.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) signal: TargetSignal,
    /// The part that is not there.
    away: Option<Unavailable>,
    /// The fault or the status, in words without content.
    pub(super) what: String,
}

impl Judgement {
    /// Lets an exchange judge an answer.
    pub(super) fn of<E: Exchange>(
        exchange: &mut E,
        answer: Result<Response<Bytes>, Fault>,
        signal: TargetSignal,
    ) -> Self {
        let (away, what) = match &answer {
            Ok(response) => {
                let status = response.status().as_u16();
                if status == verdict::NO_ROOM {
                    let what = format!("the server answered {status}: {}", verdict::HAS_NO_ROOM);
                    (Some(Unavailable::Room), what)
                } else {
                    (None, format!("the server answered {status}"))
                }
            }
            Err(fault) => {
                let is_away = fault.kind == FaultKind::Connect;
                (is_away.then_some(Unavailable::Target), fault.what.clone())
            }
        };
        Self {
            verdict: exchange.read(answer),
            signal,
            away,
            what,
        }
    }

    /// Looks at the entries of a Bundle that was taken: where some were refused for now, the target refuses.
    pub(super) fn look_inside(&mut self) {
        let is_braked = matches!(self.verdict, Verdict::Partial { brake: true, .. });
        if self.signal == TargetSignal::Well && is_braked {
            self.signal = TargetSignal::Refusing(Throttle::Unsaid);
        }
    }

    /// Returns the wait that the target asks for.
    fn after(&self) -> Option<Duration> {
        match (&self.verdict, self.signal) {
            (
                Verdict::Again { after, .. } | Verdict::Partial { after, .. },
                TargetSignal::Refusing(_),
            ) => *after,
            _ => None,
        }
    }
}

/// The facts of a request that was on the wire.
#[derive(Debug)]
pub(super) struct OnWire {
    pub(super) operations: u32,
    /// Requests that were under way beside it.
    pub(super) level: u32,
    pub(super) sent: Instant,
    /// It was the first attempt of its record.
    pub(super) is_first: bool,
    pub(super) status: Option<u16>,
}

impl Gate {
    /// Asks whether the store is there, where a refusal may be about the target and not about the record.
    pub(super) async fn hear_the_store(&self, judged: &mut Judgement, status: u16, safety: Safety) {
        if !health::may_be_about_the_target(&judged.verdict, status) {
            return;
        }
        let again = Verdict::Again {
            after: None,
            brake: false,
        };
        match self.testimony(Instant::now()).await {
            StoreHealth::Silent if judged.verdict == Verdict::Rejected => {
                judged.verdict = again;
                judged.signal = TargetSignal::Failing;
            }
            StoreHealth::There | StoreHealth::Silent => {}
            StoreHealth::Gone(words) => {
                judged.what = words;
                judged.signal = TargetSignal::Away;
                judged.away = Some(Unavailable::Store);
                // A store that is gone need not be asked about the record: it is waited for.
                let may_repeat = judged.verdict == Verdict::Unknown && safety == Safety::Idempotent;
                if judged.verdict == Verdict::Rejected || may_repeat {
                    judged.verdict = again;
                }
            }
        }
    }

    /// Takes note of what an answer says of the target, and ends the run where it says that there is no point in going on.
    /// Tells whether it says nothing about the record, because the target is down.
    pub(super) fn take_note(&self, judged: &mut Judgement, wire: &OnWire, was_taken: bool) -> bool {
        if was_taken {
            self.took(wire.operations, wire.sent);
            let told = wire
                .status
                .map(|status| self.circuit.judged(status, wire.sent));
            if let Some(Err(reason)) = told {
                judged.verdict = Verdict::Stop(reason);
            }
            return false;
        }
        match judged.signal {
            TargetSignal::Refusing(refusal) => {
                self.pace.answered(wire.operations, true, wire.sent);
                if refusal == Throttle::Quota && self.pace.ceiling().is_none() {
                    self.learn(Duration::ZERO);
                }
            }
            TargetSignal::Away => {}
            TargetSignal::Well | TargetSignal::Failing => return false,
        }
        let failed = Failed {
            level: wire.level,
            sent: wire.sent,
            after: judged.after(),
            is_first: wire.is_first,
            away: judged.away,
            may_be_quota: matches!(
                judged.signal,
                TargetSignal::Refusing(Throttle::Quota | Throttle::Unsaid)
            ),
            what: std::mem::take(&mut judged.what),
        };
        match self.circuit.failed(failed) {
            Ok(is_down) => is_down,
            Err(reason) => {
                // A record with an outcome keeps it; the next request that asks is told.
                if matches!(judged.verdict, Verdict::Again { .. }) {
                    judged.verdict = Verdict::Stop(reason);
                }
                false
            }
        }
    }

    /// A server that turns away what was sent after it had turned others away, with no answer in between, is not merely
    /// letting go of a connection: it cannot be reached.
    pub(super) fn turned_away_again(&self, fault: Fault, sent: Instant) -> Fault {
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

    /// Takes note that an answer came.
    pub(super) fn turns_nobody_away(&self) {
        *locked(&self.turned_away) = None;
    }

    /// Returns the meaning of an answer for the number of slots: a quota's refusal has none, nor has one for an untold
    /// reason while a ceiling holds requests back.
    pub(super) fn weigh(&self, sign: TargetSignal) -> Signal {
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
}

fn locked<T>(value: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
