//! The answers of faults in place of the store's.

use http::StatusCode;

use crate::emulator::reply::Refusal;

/// The text by which an answer says that it is a fault's.
pub(super) const WORDS: &str = "the fault scenario of the local store has it so";

/// An OperationOutcome of that status.
pub(super) fn refusal(status: StatusCode, echo: &str) -> Refusal {
    let (code, text) = match status.as_u16() {
        401 | 403 => ("security", "permission_denied"),
        404 | 410 => ("no-store", "storage_error"),
        409 | 412 => ("conflict", "precondition_failed"),
        400..=499 if status != StatusCode::TOO_MANY_REQUESTS => ("value", "invalid_request"),
        429 => ("too-costly", "operation_too_costly"),
        503 => ("transient", "unavailable"),
        504 => ("timeout", "deadline_exceeded"),
        _ => ("exception", "internal_error"),
    };
    Refusal::fhir(status, code, text, words(echo))
}

pub(super) fn words(echo: &str) -> String {
    if echo.is_empty() {
        return WORDS.to_owned();
    }
    format!("{WORDS}: {echo}")
}
