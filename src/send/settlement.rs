//! The settlement of a record, in the journal's words.
//!
//! Pure: from an interaction and the server's answer to a settlement. Only codes and paths go into the line; the
//! server's words stay apart, for `rejected/` (design §10).

use std::time::Duration;

use super::earlier::Doubt;
use crate::{
    journal::{SettleLine, Settlement},
    plan::Step,
    record::{Operation, Outcome, StepId},
    target::{Accepted, Target},
};

/// The facts of the last attempt that a settlement states.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attempted {
    /// Attempts in which something may have left this machine.
    pub(super) attempts: u32,
    /// The latency of the last attempt.
    pub(super) latency: Option<Duration>,
}

/// Returns the outcome of a request that the store accepted.
///
/// The status tells creation from update, and a condition that hit from one that did not
/// (<https://hl7.org/fhir/R4/http.html#ccreate>).
pub(super) fn accepted_outcome(interaction: Operation, status: u16) -> Outcome {
    match (interaction, status) {
        (Operation::Create, _)
        | (Operation::ConditionalCreate | Operation::Update | Operation::ConditionalUpdate, 201) => {
            Outcome::Created
        }
        (Operation::ConditionalCreate, _) => Outcome::Matched,
        _ => Outcome::Updated,
    }
}

/// Settles a record that the store took. A record that was written under an id of its own has that id, whatever the store
/// said.
pub(super) fn accepted(
    step: &Step,
    status: u16,
    accepted: Accepted,
    attempted: Attempted,
) -> Settlement {
    // A step without an operation is never sent.
    let interaction = step.action.operation().unwrap_or(Operation::Create);
    let outcome = accepted
        .outcome
        .unwrap_or_else(|| accepted_outcome(interaction, status));
    let mut line = blank(step.number, outcome, attempted);
    line.status = Some(status);
    line.note = accepted.note.map(str::to_owned);
    line.id = match &step.id {
        Some(id) if interaction.keeps_id() => Some(id.clone()),
        _ => accepted.id,
    };
    line.version = accepted.version;
    Settlement { line, said: None }
}

/// The most that is kept of what a store says of one record. Many wait to be written down at a time.
pub(super) const LONGEST_SAID: usize = 32 << 10;

/// Settles a record that the store refused, with what it said.
///
/// The store's words on the place of the record among others that travelled with it are left out: in its file it stands
/// elsewhere.
pub(super) fn rejected(
    target: &dyn Target,
    step: &Step,
    is_among_others: bool,
    status: u16,
    answer: &[u8],
    attempted: Attempted,
    note: Option<String>,
) -> Settlement {
    let mut line = blank(step.number, Outcome::Rejected, attempted);
    line.status = Some(status);
    line.note = note;
    let kind = is_among_others.then_some(step.kind.as_str());
    let refusal = target.refusal(kind, answer);
    line.code = refusal.code;
    line.detail = refusal.detail;
    line.expression = refusal.expression;
    let said = String::from_utf8_lossy(answer.get(..LONGEST_SAID).unwrap_or(answer)).into_owned();
    Settlement {
        line,
        said: Some(said),
    }
}

/// Returns what a store said, as far as it is kept: `most` bytes of it; none where it said nothing.
pub(super) fn words_of(answer: &[u8], most: usize) -> Option<String> {
    let said = String::from_utf8_lossy(answer.get(..most).unwrap_or(answer));
    (!said.trim().is_empty()).then(|| said.into_owned())
}

/// Settles a record in Stoker's own words.
pub(super) fn told(
    record: StepId,
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
    record: StepId,
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

fn blank(record: StepId, outcome: Outcome, attempted: Attempted) -> SettleLine {
    let latency = attempted.latency;
    SettleLine {
        attempts: attempted.attempts,
        latency_us: latency.map(|latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
        ..SettleLine::new(record, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::LoadId,
        plan::Action,
        record::{Position, SourceId, Span},
        target::fhir::Fhir,
    };

    #[test]
    fn the_status_tells_what_happened() {
        use Operation::{ConditionalCreate, ConditionalUpdate, Create, Delete, Update};
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

    fn store() -> Fhir {
        Fhir::new(&"https://fhir.example/r4/".parse().unwrap(), None)
    }

    fn step() -> Step {
        let span = Span {
            start: 0,
            length: 0,
        };
        Step {
            number: StepId(7),
            load: LoadId(0),
            position: Position {
                source: SourceId(0),
                index: 0,
                line: 1,
                entry: None,
                span,
            },
            body: span,
            kind: "Patient".to_owned(),
            id: Some("a".to_owned()),
            full_url: None,
            first: None,
            action: Action::Send(Operation::Update),
            links: Vec::new(),
            hash: 0,
        }
    }

    #[test]
    fn an_update_keeps_its_id_whatever_is_said() {
        let said = Accepted {
            id: Some("another".to_owned()),
            version: Some("2".to_owned()),
            ..Accepted::default()
        };
        let settled = accepted(&step(), 200, said, Attempted::default());
        assert_eq!(settled.line.id.as_deref(), Some("a"));
    }

    #[test]
    fn a_place_in_a_bundle_is_no_place_in_a_record() {
        let answer =
            br#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"value",
            "expression":["Bundle.entry[43].resource.birthDate"]}]}"#;
        let settled = rejected(
            &store(),
            &step(),
            true,
            400,
            answer,
            Attempted::default(),
            None,
        );
        assert_eq!(settled.line.expression, ["Patient.birthDate"]);
    }

    #[test]
    fn the_servers_words_stay_out_of_the_line() {
        let answer =
            br#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"value",
            "diagnostics":"Anna Lindqvist is no date","expression":["Patient.birthDate"]}]}"#;
        let settled = rejected(
            &store(),
            &step(),
            false,
            400,
            answer,
            Attempted::default(),
            None,
        );
        let line = serde_json::to_string(&settled.line).unwrap();
        assert!(!line.contains("Anna"), "{line}");
        assert_eq!(settled.line.code.as_deref(), Some("value"));
        assert_eq!(settled.line.expression, ["Patient.birthDate"]);
        assert!(settled.said.unwrap().contains("Anna"));
    }
}
