//! What asking a store proves of a record.

use crate::{gate::CallFailure, journal::Settlement};

/// What asking the store proves of a record.
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
