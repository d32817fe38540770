//! Renews a token that a target refused, and says why a run ends when new ones are refused as well.
//!
//! Tokens are got by `auth`. The wait before a request goes out with a new one is the caller's business.

use tokio::time::Instant;

use super::{Gate, StopReason};
use crate::auth;

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
    /// Renews a token that was refused, if there is any point in it. New ones that are refused as well speak against the
    /// credentials, unless one of them was good for somebody: then it has expired, too.
    pub(super) async fn may_renew(&self, renewals: &mut Renewals) -> bool {
        let was_good = renewals
            .last
            .is_some_and(|last| self.circuit.let_in_since(last));
        if was_good {
            renewals.count = 0;
        }
        renewals.count += 1;
        if renewals.count > RENEWALS {
            return false;
        }
        if !self.credentials.refused() && !self.credentials.renewed_elsewhere().await {
            return false;
        }
        renewals.last = Some(Instant::now());
        tracing::info!(
            target = self.name,
            "the token was refused (401): a new one is got"
        );
        true
    }

    /// Returns the reason why the run ends when the server goes on answering 401.
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
}
