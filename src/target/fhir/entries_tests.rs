//! Answers to Bundles, and single ones, as servers are known to give them: whose each answer is, and what it says.

use http::HeaderMap;
use serde_json::{Value, json};

use super::{Asked, Verb, answers_tests::id_of, entries};
use crate::target::{Answer, Said};

fn read(asked: &[Asked<'_>], answers: &Value) -> Result<Vec<Option<Answer>>, String> {
    let body = json!({"resourceType": "Bundle", "type": "batch-response", "entry": answers});
    entries(body.to_string().as_bytes(), asked)
}

fn created(kind: &str) -> Asked<'_> {
    Asked {
        verb: Verb::Create,
        kind,
        own: None,
        sent: None,
    }
}

fn updated<'a>(kind: &'a str, id: &'a str) -> Asked<'a> {
    Asked {
        verb: Verb::Update,
        kind,
        own: Some(id),
        sent: None,
    }
}

fn ids(read: &[Option<Answer>]) -> Vec<Option<&str>> {
    read.iter()
        .map(|answer| answer.as_ref().and_then(id_of))
        .collect()
}

#[test]
fn every_entry_of_an_answer_is_read() {
    let asked = [created("Patient"), created("Patient")];
    let read = read(
        &asked,
        &json!([
            {"response": {"status": "201 Created", "location": "https://a.example/fhir/Patient/7/_history/2"}},
            {"response": {"status": "400 Bad Request", "outcome": {"issue": [1]}}}]),
    )
    .unwrap();
    let (first, second) = (read[0].as_ref().unwrap(), read[1].as_ref().unwrap());
    let Said::Taken(accepted) = &first.said else {
        panic!("{first:?}");
    };
    assert_eq!(
        (
            first.status,
            accepted.id.as_deref(),
            accepted.version.as_deref()
        ),
        (201, Some("7"), Some("2"))
    );
    assert_eq!(
        (second.status, second.outcome.as_deref()),
        (400, Some("{\"issue\":[1]}"))
    );
}

#[test]
fn statuses_are_read_however_they_are_written() {
    for (status, code) in [
        (json!("201 Created"), Some(201)),
        (json!("201"), Some(201)),
        (json!("201 created"), Some(201)),
        (json!("HTTP/1.1 201"), Some(201)),
        (json!(201), Some(201)),
        (json!("Created"), Some(201)),
        (json!("OK"), Some(200)),
        (json!("NoContent"), Some(204)),
        (json!("PreconditionFailed"), Some(412)),
        (json!("2010 x"), None),
        (json!("fine"), None),
        (json!(null), None),
    ] {
        let answers = json!([{"response": {"status": status, "etag": "W/\"1\""}}]);
        let read = read(&[updated("Patient", "a")], &answers);
        let found = read
            .ok()
            .and_then(|read| read[0].as_ref().map(|answer| answer.status));
        assert_eq!(found, code, "{status}");
    }
    // A create is believed by its name, and by a word without a name it is not.
    let named = json!([{"response": {"status": "fine", "location": "Patient/7"}}]);
    assert_eq!(
        ids(&read(&[created("Patient")], &named).unwrap()),
        [Some("7")]
    );
    let word = json!([{"response": {"status": "Created"}}]);
    let read = read(&[created("Patient")], &word).unwrap();
    assert!(matches!(read[0].as_ref().unwrap().said, Said::Little(_)));
}

#[test]
fn what_was_not_modified_was_not_created() {
    let answers = json!([{"response": {"status": "304 Not Modified"}}]);
    let of = |asked| read(&[asked], &answers).unwrap()[0].clone().unwrap().said;
    assert!(matches!(of(created("Patient")), Said::Little(_)));
    let conditional = Asked {
        verb: Verb::ConditionalCreate,
        ..created("Patient")
    };
    assert!(matches!(of(conditional), Said::Taken(_)));
}

#[test]
fn words_of_failure_count_wherever_they_stand() {
    let outcome = json!({"resourceType": "OperationOutcome", "id": "x", "issue": [{"severity": "fatal", "code": "required"}]});
    for answer in [
        json!({"response": {"status": "200 OK", "outcome": outcome}}),
        json!({"response": {"status": "201"}, "resource": outcome}),
    ] {
        let read = read(&[created("Patient")], &json!([answer])).unwrap();
        let answer = read[0].as_ref().unwrap();
        assert_eq!(answer.said, Said::Refused);
        assert!(answer.outcome.as_ref().unwrap().contains("required"));
    }
    let refused = json!([{"response": {"status": "400"}, "resource": outcome}]);
    let read = read(&[created("Patient")], &refused).unwrap();
    assert!(
        read[0]
            .as_ref()
            .unwrap()
            .outcome
            .as_ref()
            .unwrap()
            .contains("required")
    );
}

#[test]
fn the_order_of_execution_is_known_by_what_is_named() {
    let asked = [
        updated("Patient", "a"),
        created("Observation"),
        created("Observation"),
    ];
    let answers = json!([
        {"response": {"status": "201", "location": "Observation/1"}},
        {"response": {"status": "201", "location": "Observation/2"}},
        {"response": {"status": "200", "location": "Patient/a"}}]);
    assert_eq!(
        ids(&read(&asked, &answers).unwrap()),
        [Some("a"), Some("1"), Some("2")]
    );
    // In an order that nobody explains, what was created is told by its type alone.
    let answers = json!([
        {"response": {"status": "201", "location": "Observation/1"}},
        {"response": {"status": "200", "location": "Patient/a"}},
        {"response": {"status": "201", "location": "Observation/2"}}]);
    let found = read(&asked, &answers).unwrap();
    assert_eq!(ids(&found), [Some("a"), Some("1"), Some("2")]);
    assert_eq!(by_kind(&found), [false, true, true]);
}

fn by_kind(read: &[Option<Answer>]) -> Vec<bool> {
    let by_kind = |answer: &Option<Answer>| match &answer.as_ref()?.said {
        Said::Taken(accepted) => Some(accepted.by_kind),
        Said::Refused | Said::Little(_) => None,
    };
    read.iter().filter_map(by_kind).collect()
}

#[test]
fn answers_too_many_or_too_few_are_told_by_name() {
    let asked = [updated("Patient", "a"), updated("Patient", "b")];
    let a = json!({"response": {"status": "201", "location": "Patient/a"}});
    let b = json!({"response": {"status": "201", "location": "Patient/b"}});
    let extra = json!({"response": {"status": "405"}});
    let remark = json!({"resource": {"resourceType": "OperationOutcome", "issue": []}});
    for (answers, found) in [
        (json!([a, b, extra]), [Some("a"), Some("b")]),
        (json!([remark, a, b]), [Some("a"), Some("b")]),
        (json!([b]), [None, Some("b")]),
        (json!([a, a]), [None, None]),
    ] {
        assert_eq!(ids(&read(&asked, &answers).unwrap()), found, "{answers}");
    }
    assert_eq!(
        read(&asked, &json!([extra])).unwrap_err(),
        "the answer has 1 entries, and 2 were sent"
    );
}

#[test]
fn two_that_were_created_are_not_one() {
    let same = json!({"response": {"status": "201 Created", "location": "Patient/same"}});
    let read = read(
        &[created("Patient"), created("Patient")],
        &json!([same, same]),
    )
    .unwrap();
    assert_eq!(ids(&read), [None, None]);
}

#[test]
fn what_is_no_answer_to_a_bundle_is_an_error() {
    for body in [
        "",
        "<html>",
        "null",
        "{}",
        r#"{"resourceType":"OperationOutcome","issue":[]}"#,
        r#"{"resourceType":"Bundle","type":"searchset","entry":[]}"#,
        r#"{"resourceType":"Bundle","type":"batch-response","entry":[{"resp"#,
    ] {
        assert!(
            entries(body.as_bytes(), &[created("Patient")]).is_err(),
            "{body}"
        );
    }
}

/// Words of failure beside a name or a version contradict themselves, and words that neither praise nor blame say nothing: the store
/// is asked then.
#[test]
fn words_that_contradict_or_say_nothing_are_no_success() {
    let outcome = |issue: Value| json!({"resourceType": "OperationOutcome", "issue": issue});
    let error = outcome(json!([{"severity": "error", "code": "processing"}]));
    let odd = outcome(json!([{"code": "processing"}]));
    let one = outcome(json!({"severity": "Error"}));
    let fine = outcome(json!([{"severity": "information"}]));
    let named = "Patient/a/_history/2";
    for (asked, response, outcome, said) in [
        (
            updated("Patient", "a"),
            json!({"status": "200", "etag": "W/\"2\""}),
            &error,
            "little",
        ),
        (
            updated("Patient", "a"),
            json!({"status": "200", "location": named}),
            &error,
            "little",
        ),
        (
            updated("Patient", "a"),
            json!({"status": "200"}),
            &error,
            "refused",
        ),
        (
            updated("Patient", "a"),
            json!({"status": "200"}),
            &one,
            "refused",
        ),
        (
            updated("Patient", "a"),
            json!({"status": "200"}),
            &odd,
            "little",
        ),
        (
            updated("Patient", "a"),
            json!({"status": "200"}),
            &fine,
            "taken",
        ),
        (
            created("Patient"),
            json!({"status": "201", "location": named}),
            &error,
            "taken",
        ),
        (created("Patient"), json!({"status": "201"}), &odd, "little"),
        (
            created("Patient"),
            json!({"status": "201", "location": named}),
            &odd,
            "taken",
        ),
    ] {
        let mut response = response;
        response["outcome"] = outcome.clone();
        let answers = json!([{ "response": response }]);
        let read = read(&[asked], &answers).unwrap();
        let found = word(&read[0].as_ref().unwrap().said);
        assert_eq!(found, said, "{answers}");
    }
}

/// The same, of single answers.
#[test]
fn single_answers_that_contradict_or_say_nothing_are_no_success() {
    let outcome = |issue: &str| format!(r#"{{"resourceType":"OperationOutcome","issue":{issue}}}"#);
    let error = outcome(r#"[{"severity":"error"}]"#);
    let (odd, empty) = (outcome(r#"[{"code":"processing"}]"#), outcome("[]"));
    let (tag, none) = (("etag", "W/\"2\""), ("x-none", "1"));
    let located = ("location", "Patient/a/_history/2");
    let (create, update) = (created("Patient"), updated("Patient", "a"));
    for (asked, status, header, body, said) in [
        (update, 200, tag, &error, "little"),
        (update, 200, located, &error, "little"),
        (update, 200, none, &error, "refused"),
        (update, 200, none, &odd, "little"),
        (update, 200, none, &empty, "little"),
        (update, 200, tag, &empty, "taken"),
        (create, 201, located, &error, "taken"),
        (create, 201, none, &odd, "little"),
        (create, 201, none, &empty, "taken"),
        (create, 200, none, &empty, "little"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header.0, header.1.parse().unwrap());
        let found = super::said(&asked, status, &headers, body.as_bytes());
        assert_eq!(word(&found), said, "{status} {header:?} {body}");
    }
}

/// An answer that holds no more than what was sent may be what was sent, come back: the id of the file is not believed of it.
#[test]
fn an_echo_gives_no_id() {
    let sent = Asked {
        sent: Some("of-the-file"),
        ..created("Patient")
    };
    let resource = json!({"resourceType": "Patient", "id": "of-the-file"});
    let kept = json!({"resourceType": "Patient", "id": "of-the-file", "meta": {"versionId": "1"}});
    let given = json!({"resourceType": "Patient", "id": "given"});
    let (tag, none) = (("etag", "W/\"1\""), ("x-none", "1"));
    let located = ("location", "Patient/of-the-file");
    for (status, header, body, id) in [
        (200, none, &resource, Err("little")),
        (200, none, &kept, Err("little")),
        (200, tag, &resource, Ok(Some("of-the-file"))),
        (200, located, &resource, Ok(Some("of-the-file"))),
        (200, none, &given, Ok(Some("given"))),
        (201, none, &resource, Ok(None)),
        (201, none, &kept, Ok(Some("of-the-file"))),
        (201, none, &given, Ok(Some("given"))),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header.0, header.1.parse().unwrap());
        let found = super::said(&sent, status, &headers, body.to_string().as_bytes());
        let found = match &found {
            Said::Taken(accepted) => Ok(accepted.id.as_deref()),
            other => Err(word(other)),
        };
        assert_eq!(found, id, "{status} {header:?} {body}");
    }
    for (response, body, id) in [
        (json!({"status": "201"}), &resource, None),
        (json!({"status": "201"}), &kept, Some("of-the-file")),
        (
            json!({"status": "201", "etag": "W/\"1\""}),
            &resource,
            Some("of-the-file"),
        ),
        (
            json!({"status": "201", "location": "Patient/of-the-file"}),
            &resource,
            Some("of-the-file"),
        ),
        (json!({"status": "201"}), &given, Some("given")),
    ] {
        let answers = json!([{"response": response, "resource": body}]);
        let read = read(&[sent], &answers).unwrap();
        assert_eq!(ids(&read), [id], "{answers}");
    }
}

fn word(said: &Said) -> &'static str {
    match said {
        Said::Taken(_) => "taken",
        Said::Refused => "refused",
        Said::Little(_) => "little",
    }
}

/// A type that has as many answers as creates tells whose an answer is; among several of one type it does not.
#[test]
fn answers_in_another_order_are_told_by_their_types() {
    let asked = [
        created("Patient"),
        created("Observation"),
        created("Patient"),
        updated("Device", "d"),
    ];
    let answer = |name: &str| json!({"response": {"status": "201", "location": name}});
    let shuffled = json!([
        answer("Device/d/_history/1"),
        answer("Patient/1/_history/1"),
        answer("Patient/2/_history/1"),
        answer("Observation/3/_history/1")
    ]);
    let found = read(&asked, &shuffled).unwrap();
    assert_eq!(ids(&found), [Some("1"), Some("3"), Some("2"), Some("d")]);
    assert_eq!(by_kind(&found), [true, false, true, false]);
    // One of two failed. The core tells by its content which was created, and the other one was refused.
    let failed = |status: &str| {
        json!([
            answer("Device/d/_history/1"),
            json!({"response": {"status": status}}),
            answer("Patient/2/_history/1"),
            answer("Observation/3/_history/1")
        ])
    };
    let found = read(&asked, &failed("400")).unwrap();
    assert_eq!(ids(&found), [Some("2"), Some("3"), None, Some("d")]);
    assert_eq!(by_kind(&found), [true, false, false]);
    assert_eq!(found[2].as_ref().map(|answer| answer.status), Some(400));
    // A failure that may have had its effect tells nothing.
    let found = read(&asked, &failed("500")).unwrap();
    assert_eq!(ids(&found), [None, Some("3"), None, Some("d")]);
}
