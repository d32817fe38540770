//! Carries an exchange through its attempts: the loop that joins the layers.
//!
//! Here stands whether there is another attempt, and after which wait. `sending` makes an attempt, `signal` finds out what an
//! answer says of the target.

use std::time::Duration;

use super::{
    Conclusion, Exchange, FaultKind, Gate, Moment, Verdict, renewal::Renewals, story::millis,
};

mod sending;
mod signal;

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
                Verdict::Renew if self.may_renew(&mut renewals).await => {
                    if renewals.count == 1 {
                        Duration::ZERO
                    } else {
                        backoff.wait()
                    }
                }
                Verdict::Renew => {
                    return conclude(Verdict::Stop(self.unauthorized().await));
                }
                Verdict::Again { brake, .. } | Verdict::Partial { brake, .. }
                    if !attempt.is_outage
                        && attempts - forgiven >= self.most_attempts(exchange, *brake) =>
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
                        // The circuit decides if it goes on at all.
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
            let after = self.circuit.cut(after);
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

    fn most_attempts<E: Exchange>(&self, exchange: &E, is_put_off: bool) -> u32 {
        let own = exchange.attempts().filter(|_| !is_put_off);
        own.map_or(self.retry.attempts, |own| {
            std::cmp::min(own, self.retry.attempts)
        })
    }
}
