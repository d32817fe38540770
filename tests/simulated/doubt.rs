//! Answers that are lost, and what asking the store then proves of their records.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use stoker::record::{Outcome, StepId};

use super::{
    fhir_store::Manners,
    pipeline::{self, Case},
};

const ATTEMPTS: u32 = 8;

/// Five records, of which the store refuses the third, and no answer to a write ever arrives.
fn no_answers(load: &str) -> Case {
    let records = 0..5_u64;
    let line = |number: u64| {
        json!({"resourceType": "Basic", "id": format!("r{number}"),
            "identifier": [{"system": "urn:m", "value": number.to_string()}]})
    };
    Case {
        lines: records.clone().map(line).collect(),
        graph: records.map(|number| (number, Vec::new())).collect(),
        manners: Manners {
            refuses: BTreeSet::from([2]),
            whole: false,
            names: false,
            trouble: 0,
            lost: 100,
            transactions: true,
            ahead: None,
            largest: usize::MAX,
            wants_version: None,
        },
        copies: 0,
        load: load.to_owned(),
        attempts: ATTEMPTS,
        transactions: true,
        is_bundle: false,
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_proved_not_to_have_arrived_is_not_unknown() {
    for load in [
        "interaction: create, bundle: none, settle: tag",
        "interaction: create, bundle: batch, settle: tag",
        "interaction: update, bundle: none",
        "interaction: update, bundle: batch",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ran = pipeline::run(&no_answers(load), 0, folder.path()).await;
        let settled: BTreeMap<StepId, _> =
            ran.settled.iter().map(|line| (line.record, line)).collect();
        assert_eq!(settled.len(), 5, "{load}");
        assert_eq!(ran.settled.len(), 5, "{load}");
        assert_eq!(ran.store.held().resources.len(), 4, "{load}");
        for (record, line) in settled {
            let expected = match (record, load.contains("update")) {
                (StepId(2), _) => Outcome::Rejected,
                (_, true) => Outcome::Updated,
                (_, false) => Outcome::Created,
            };
            assert_eq!(line.outcome, expected, "{load}: {line:?}");
        }
        let refused = ran
            .settled
            .iter()
            .find(|line| line.record == StepId(2))
            .unwrap();
        // What failed with others, all that it may, is tried twice by itself: one of them might be to blame.
        let attempts = if load.ends_with("update, bundle: batch") {
            ATTEMPTS + 2
        } else {
            ATTEMPTS
        };
        assert_eq!(refused.attempts, attempts, "{load}");
        let note = format!("lost; given up after {attempts} attempts; the store has not taken it");
        assert_eq!(refused.note.as_deref(), Some(note.as_str()), "{load}");
    }
}
