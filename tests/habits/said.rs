//! What Stoker does where a server says little, or says something else than its status.

use serde_json::{Value, json};

use super::{
    Bed,
    habit::{Answer, Body, EntryStatus, Habits, Matched, Place, Tag},
    rows::STANDARD,
    server::Server,
};

const ALONE: Habits = Habits {
    name: "no Bundles",
    lists: &["search-system"],
    takes: &[],
    ..STANDARD
};

fn patients(count: usize) -> String {
    let line = |n| json!({"resourceType": "Patient", "id": format!("p{n}"), "active": true});
    (0..count).map(|n| line(n).to_string() + "\n").collect()
}

/// A patient that a condition finds, and what refers to it.
const PAIR: [(&str, &str); 2] = [
    (
        "data/p.ndjson",
        r#"{"resourceType":"Patient","id":"a","identifier":[{"system":"urn:ids","value":"1"}]}"#,
    ),
    (
        "data/o.ndjson",
        r#"{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/a"}}"#,
    ),
];

fn pair() -> Bed {
    let bed = Bed::new();
    for (name, text) in PAIR {
        bed.write(name, text);
    }
    bed
}

fn load(interaction: &str, more: &str) -> String {
    format!("  - {{ name: l, target: s, files: [data/*], interaction: {interaction}{more} }}\n")
}

fn puts(server: &Server) -> usize {
    server.look(|inside| {
        let puts = inside.seen.iter().filter(|seen| seen.starts_with("PUT"));
        puts.count()
    })
}

#[test]
fn updates_that_say_nothing_are_read_back_once_and_sent_once() {
    for (update, all_are_read) in [
        (Body::Empty, false),
        (Body::Text("OK", "text/plain"), false),
        (Body::Text("{\"success\":true}", "application/json"), false),
        (Body::Text("null", "application/json"), false),
        (Body::Text("<html></html>", "text/html"), true),
    ] {
        let server = Server::start(&Habits {
            update,
            always_200: true,
            location: Place::None,
            tag: Tag::None,
            ..ALONE
        });
        let bed = Bed::new();
        bed.write("data/p.ndjson", &patients(100));
        let loaded = bed.load(&server.url, &load("update", ""));
        assert_eq!(loaded.code, 0, "{update:?}: {}", loaded.text);
        assert_eq!(server.contents().len(), 100);
        assert!(puts(&server) <= 101, "{update:?}: {}", puts(&server));
        let versions = server.look(|inside| {
            let all = inside.store.resources.values();
            all.filter(|(version, _)| version == "1").count()
        });
        assert_eq!(versions, 100, "{update:?}");
        let remark = &loaded.report["requests"]["remarks"][0];
        let remark = remark.as_str().unwrap();
        assert!(remark.contains("answers updates with 200"), "{remark}");
        assert_eq!(
            remark.contains("each was read back"),
            all_are_read,
            "{remark}"
        );
        assert!(loaded.text.contains(remark), "{}", loaded.text);
    }
}

#[test]
fn bundles_that_cannot_be_read_are_looked_up_and_sent_one_by_one() {
    for answer in [Answer::Html, Answer::NoResponse] {
        let server = Server::start(&Habits { answer, ..STANDARD });
        let bed = Bed::new();
        bed.write("data/p.ndjson", &patients(100));
        let bundle = ", bundle: { type: batch, max_entries: 5 }";
        let loaded = bed.load(&server.url, &load("update", bundle));
        assert_eq!(loaded.code, 0, "{answer:?}: {}", loaded.text);
        let versions: Vec<String> = server.look(|inside| {
            let all = inside.store.resources.values();
            all.map(|(version, _)| version.clone()).collect()
        });
        assert_eq!(versions, vec!["1"; 100], "{answer:?}");
        let remark = loaded.report["requests"]["remarks"][0].to_string();
        assert!(remark.contains("one by one"), "{remark}");
    }
}

#[test]
fn a_condition_that_hit_without_a_word_is_searched_for() {
    let there = json!({"resourceType": "Patient", "id": "there", "identifier": [{"system": "urn:ids", "value": "1"}]});
    for takes in [&[][..], &["batch", "transaction"]] {
        let server = Server::start(&Habits {
            lists: if takes.is_empty() {
                &["search-system"]
            } else {
                &["batch"]
            },
            takes,
            matched: Matched::Bare,
            tag: Tag::None,
            entry_status: EntryStatus::Code,
            ..STANDARD
        });
        server.put(&there);
        let identity = ", identity: { Patient: [\"urn:ids\"], missing: create }";
        let loaded = pair().load(&server.url, &load("conditional-create", identity));
        assert_eq!(loaded.code, 0, "{takes:?}: {}", loaded.text);
        assert_eq!(loaded.count(&["matched"]), 1);
        let contents = server.contents();
        let observations = contents
            .values()
            .filter(|r| r["resourceType"] == "Observation");
        let subjects: Vec<&Value> = observations.map(|r| &r["subject"]["reference"]).collect();
        assert_eq!(subjects, [&json!("Patient/there")], "{takes:?}");
        assert_eq!(loaded.report["requests"]["retries"], 0);
    }
}

#[test]
fn a_transaction_whose_condition_hit_without_a_word_is_searched_for() {
    let there = json!({"resourceType": "Patient", "id": "there", "identifier": [{"system": "urn:ids", "value": "1"}]});
    let server = Server::start(&Habits {
        matched: Matched::Bare,
        entry_tag: Tag::None,
        ..STANDARD
    });
    server.put(&there);
    let bed = Bed::new();
    let entry = |url: &str, resource: Value, condition: Option<&str>| {
        let mut request = json!({"method": "POST", "url": resource["resourceType"]});
        if let Some(condition) = condition {
            request["ifNoneExist"] = condition.into();
        }
        json!({"resourceType": "Bundle", "type": "transaction",
            "entry": [{"fullUrl": url, "resource": resource, "request": request}]})
        .to_string()
    };
    let patient =
        json!({"resourceType": "Patient", "identifier": [{"system": "urn:ids", "value": "1"}]});
    let observation = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"},
        "subject": {"reference": "urn:uuid:aaaaaaaa-0000-4000-8000-000000000001"}});
    let first = "urn:uuid:aaaaaaaa-0000-4000-8000-000000000001";
    let second = "urn:uuid:aaaaaaaa-0000-4000-8000-000000000002";
    bed.write(
        "data/a.json",
        &entry(first, patient, Some("identifier=urn:ids|1")),
    );
    bed.write("data/b.json", &entry(second, observation, None));
    let loaded = bed.load(&server.url, "  - { name: l, target: s, files: [data/*] }\n");
    assert_eq!(loaded.code, 0, "{}", loaded.text);
    let record = &loaded.records[0];
    assert_eq!(
        (&record["outcome"], &record["id"]),
        (&json!("matched"), &json!("there"))
    );
    assert_eq!(server.contents().len(), 2);
}

#[test]
fn who_needs_a_record_of_unknown_id_is_told_which() {
    let server = Server::start(&Habits {
        create: Body::Empty,
        location: Place::None,
        tag: Tag::None,
        ..ALONE
    });
    let loaded = pair().load(&server.url, &load("create", ""));
    assert_eq!((loaded.code, loaded.count(&["created", "blocked"])), (1, 2));
    let blocked = loaded
        .records
        .iter()
        .find(|line| line["outcome"] == "blocked");
    let note = blocked.unwrap()["note"].as_str().unwrap();
    let why = "data/p.ndjson:1, which arrived, but the store did not say under which id";
    assert!(
        note.starts_with("it needs ") && note.ends_with(why),
        "{note}"
    );
    assert!(!loaded.text.contains('?'), "{}", loaded.text);
}

#[test]
fn failure_under_success_is_no_success() {
    let outcome =
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"required"}]}"#;
    for interaction in ["create", "update"] {
        let server = Server::start(&Habits {
            create: Body::Text(outcome, "application/fhir+json"),
            update: Body::Text(outcome, "application/fhir+json"),
            always_200: true,
            location: Place::None,
            tag: Tag::None,
            forgets: true,
            ..ALONE
        });
        let loaded = pair().load(&server.url, &load(interaction, ""));
        assert_eq!(loaded.code, 1, "{interaction}: {}", loaded.text);
        let well = loaded.count(&["created", "updated", "unchanged"]);
        assert_eq!(well, 0, "{interaction}: {}", loaded.text);
        if interaction == "update" {
            let patient = loaded.records.iter().find(|line| line["type"] == "Patient");
            let patient = patient.unwrap();
            assert_eq!(
                (&patient["outcome"], &patient["code"]),
                (&json!("rejected"), &json!("required"))
            );
            assert_eq!(puts(&server), 1);
        }
    }
}
