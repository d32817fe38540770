//! What became of a record, in the journal's words.
//!
//! Pure: from an interaction and what the server said to a settlement. Only codes and paths go into the line; the
//! server's words stay apart, for `rejected/` (design §10).

use std::time::Duration;

use super::earlier::Doubt;
use crate::{
    fhir::outcome,
    journal::{SettleLine, Settlement},
    record::{Interaction, Outcome},
    target::fhir::Accepted,
};

/// The facts of the last attempt that a settlement states.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attempted {
    /// Attempts made.
    pub(super) attempts: u32,
    /// How long the last one took.
    pub(super) latency: Option<Duration>,
}

/// Returns the outcome of a request that the store accepted.
///
/// The status tells creation from update, and a condition that hit from one that did not
/// (<https://hl7.org/fhir/R4/http.html#ccreate>).
pub(super) fn accepted_outcome(interaction: Interaction, status: u16) -> Outcome {
    match (interaction, status) {
        (Interaction::Create, _)
        | (
            Interaction::ConditionalCreate | Interaction::Update | Interaction::ConditionalUpdate,
            201,
        ) => Outcome::Created,
        (Interaction::ConditionalCreate, _) => Outcome::Matched,
        _ => Outcome::Updated,
    }
}

/// Settles a record that the store took.
pub(super) fn accepted(
    record: u64,
    interaction: Interaction,
    status: u16,
    accepted: Accepted,
    attempted: Attempted,
) -> Settlement {
    let mut line = blank(record, accepted_outcome(interaction, status), attempted);
    line.status = Some(status);
    line.id = accepted.id;
    line.version = accepted.version;
    Settlement { line, said: None }
}

/// Settles a record that the store refused, with what it said.
pub(super) fn rejected(
    record: u64,
    status: u16,
    answer: &[u8],
    attempted: Attempted,
    note: Option<String>,
) -> Settlement {
    let mut line = blank(record, Outcome::Rejected, attempted);
    line.status = Some(status);
    line.note = note;
    let problem = outcome::read(answer);
    line.code = problem.code;
    line.expression = problem.expression;
    let said = String::from_utf8_lossy(answer).into_owned();
    Settlement {
        line,
        said: Some(said),
    }
}

/// Settles a record in Stoker's own words.
pub(super) fn told(
    record: u64,
    outcome: Outcome,
    status: Option<u16>,
    attempted: Attempted,
    note: impl Into<String>,
) -> Settlement {
    let mut line = blank(record, outcome, attempted);
    line.status = status;
    line.note = Some(note.into());
    Settlement { line, said: None }
}

/// Settles a record of which nobody can tell whether it arrived.
pub(super) fn unknown(
    record: u64,
    status: Option<u16>,
    attempted: Attempted,
    note: impl Into<String>,
    doubt: &Doubt,
) -> Settlement {
    let mut settled = told(record, Outcome::Unknown, status, attempted, note);
    settled.line.since = doubt.since;
    settled.line.tag.clone_from(&doubt.tag);
    settled
}

fn blank(record: u64, outcome: Outcome, attempted: Attempted) -> SettleLine {
    SettleLine {
        record,
        outcome,
        attempts: attempted.attempts,
        status: None,
        id: None,
        version: None,
        latency_us: attempted
            .latency
            .map(|latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
        code: None,
        expression: Vec::new(),
        note: None,
        since: None,
        tag: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_what_happened() {
        use Interaction::{ConditionalCreate, ConditionalUpdate, Create, Delete, Update};
        let cases = [
            (Create, 201, Outcome::Created),
            (Create, 200, Outcome::Created),
            (ConditionalCreate, 201, Outcome::Created),
            (ConditionalCreate, 200, Outcome::Matched),
            (ConditionalCreate, 304, Outcome::Matched),
            (Update, 200, Outcome::Updated),
            (Update, 201, Outcome::Created),
            (ConditionalUpdate, 201, Outcome::Created),
            (Delete, 204, Outcome::Updated),
        ];
        for (interaction, status, outcome) in cases {
            assert_eq!(
                accepted_outcome(interaction, status),
                outcome,
                "{interaction} {status}"
            );
        }
    }

    #[test]
    fn the_servers_words_stay_out_of_the_line() {
        let answer =
            br#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"value",
            "diagnostics":"Anna Lindqvist is no date","expression":["Patient.birthDate"]}]}"#;
        let settled = rejected(7, 400, answer, Attempted::default(), None);
        let line = serde_json::to_string(&settled.line).unwrap();
        assert!(!line.contains("Anna"), "{line}");
        assert_eq!(settled.line.code.as_deref(), Some("value"));
        assert_eq!(settled.line.expression, ["Patient.birthDate"]);
        assert!(settled.said.unwrap().contains("Anna"));
    }
}
