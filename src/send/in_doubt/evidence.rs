//! The proofs that asking a store gives of a record.

use crate::{gate::CallFailure, journal::Settlement};

/// The result of asking the store about a record.
pub(in crate::send) enum Evidence {
    /// It is there.
    There(Box<Settlement>),
    /// It is not there.
    Absent,
    /// Something else is there in its place; sending it does no harm.
    Other,
    /// Nothing, and asking again would prove nothing either.
    Nothing(String),
    /// Nobody could be asked.
    Unasked(String),
    /// Nobody can be asked any more, which ends the run: the next session asks.
    Silent(CallFailure),
    /// Nothing; and the load says that it may be sent again all the same.
    Resend,
}
