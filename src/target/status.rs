//! The meaning of the bare status of a refusal, for stores of instances and messages: of their records nothing else is known.
//!
//! The words name what such a store is asked for, so that nobody who loads images reads of Bundles.

use crate::target::{Explained, Refused, google};

/// The words in which a format speaks of its records and its stores.
pub(in crate::target) struct Terms {
    /// Several of its records.
    pub(in crate::target) records: &'static str,
    /// One of them.
    pub(in crate::target) record: &'static str,
    /// The address of a target.
    pub(in crate::target) address: &'static str,
    /// Advice on what is too large.
    pub(in crate::target) smaller: &'static str,
}

/// Says what a status means.
pub(in crate::target) fn explain(refused: &Refused<'_>, status: u16, terms: &Terms) -> Explained {
    let Terms {
        records,
        record,
        address,
        smaller,
    } = terms;
    let at = format!("check that the target's address is {address}");
    let (what, next) = match status {
        200..=299 => (
            "the server answered with success, and has not taken it".to_owned(),
            Some(format!(
                "{at}, and that no proxy or login page answers in its place; what it answered stands in rejected/answers.ndjson"
            )),
        ),
        300..=399 => (
            "the server sends elsewhere, and redirects are not followed".to_owned(),
            Some("write the address that it leads to as the target's address".to_owned()),
        ),
        401 => (
            "the server does not accept the credentials".to_owned(),
            Some("check `auth`: a token may have expired".to_owned()),
        ),
        403 => (
            "the credentials do not allow it".to_owned(),
            Some(right(refused, records)),
        ),
        404 | 410 => (
            "the server knows nothing at this address".to_owned(),
            Some(at),
        ),
        405 | 501 => (
            format!("the server does not take {records} at this address"),
            Some(at),
        ),
        406 | 415 => (
            "the server does not take the media type".to_owned(),
            Some(at),
        ),
        413 => (
            "larger than the server takes".to_owned(),
            Some(format!(
                "{smaller}{record} that is too large by itself needs a server that takes it; a proxy before it may have a limit \
                 of its own"
            )),
        ),
        429 => (
            "the server was asked for too much, however often it was tried".to_owned(),
            Some("try them again later; a `rate` keeps below what the server allows".to_owned()),
        ),
        500.. => (
            "the server failed at it".to_owned(),
            Some("look into the server's log; then try them again".to_owned()),
        ),
        409 => (
            "the store refuses it, and does not say why in a code that is known".to_owned(),
            None,
        ),
        _ => (
            "the server does not say why in a code that is known".to_owned(),
            None,
        ),
    };
    Explained {
        meaning: None,
        about: String::new(),
        what,
        next: next.or_else(|| Some(READ.to_owned())),
        is_unsaid: !matches!(status, 200..=399 | 401 | 403..=406 | 410 | 413 | 415 | 429 | 500..),
    }
}

/// Advice where no code tells.
pub(in crate::target) const READ: &str = "the server may have said it in words: they stand in rejected/answers.ndjson, and `--show-content` shows them";

/// Says which right is missing.
pub(in crate::target) fn right(refused: &Refused<'_>, records: &str) -> String {
    if refused.is_googles {
        let role = google::editor(refused.format);
        format!("the credentials lack the right to store {records}: {role} holds it")
    } else {
        format!(
            "the credentials lack the right to store {records}: check `auth`, and what this user may do there"
        )
    }
}
