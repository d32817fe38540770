//! Entries of Bundles: what is no record to load, and what no server could take.

use super::bed::Bed;

const HEAD: &str = "version: 1\nname: t\ntargets: { t: { local: store } }\nloads:\n";

fn bundle(kind: &str, entries: &[&str]) -> String {
    let entries = entries.join(",\n");
    format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entries}]}}"#)
}

#[test]
fn what_is_left_out_on_purpose_is_named_and_no_failure() {
    let bed = Bed::new();
    let patient = |id: &str, family: &str, request: &str| {
        format!(
            r#"{{"fullUrl":"https://ehr.example/r4/Patient/{id}","resource":{{"resourceType":"Patient","id":"{id}","name":[{{"family":"{family}"}}]}},"request":{request}}}"#
        )
    };
    let put = |id: &str| format!(r#"{{"method":"PUT","url":"Patient/{id}"}}"#);
    bed.write(
        "history.json",
        &bundle(
            "history",
            &[
                &patient("p1", "Newest", &put("p1")),
                // Some servers name what was deleted by its whole URL, and some by `fullUrl` only.
                r#"{"request":{"method":"DELETE","url":"https://ehr.example/r4/Patient/p2"}}"#,
                r#"{"fullUrl":"https://ehr.example/r4/Patient/p3","request":{"method":"DELETE","url":"?"}}"#,
                &patient("p1", "Older", &put("p1")),
                &patient("p2", "Gone", &put("p2")),
                &patient("p3", "Gone", &put("p3")),
            ],
        ),
    );
    bed.write(
        "page.json",
        &bundle(
            "searchset",
            &[
                r#"{"resource":{"resourceType":"Patient","id":"found"},"search":{"mode":"match"}}"#,
                r#"{"resource":{"resourceType":"OperationOutcome","issue":[]},"search":{"mode":"outcome"}}"#,
                r#"{"resource":{"resourceType":"OperationOutcome","issue":[]}}"#,
            ],
        ),
    );
    bed.write(
        "empty.json",
        r#"{"resourceType":"Bundle","type":"searchset","total":0}"#,
    );
    bed.write(
        "batch.json",
        &bundle(
            "batch",
            &[
                r#"{"request":{"method":"GET","url":"Patient/p1"}}"#,
                r#"{"resource":{"resourceType":"Basic","id":"b","code":{"text":"x"}},"request":{"method":"PUT","url":"Basic/b"}}"#,
            ],
        ),
    );
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: ['*.json'], interaction: update }}\n"),
    );
    let checked = bed.run(&["check", "m.yaml"]).exits(0);
    assert!(
        checked
            .out
            .contains("checked 3 records in 4 files: all can be loaded"),
        "{}",
        checked.out
    );
    for said in [
        "left out of the history at history.json:1: 3 older versions (entries 3, 4, 5), 2 deletions (entries 1, 2)",
        "left out of the searchset at page.json:1: 2 remarks on the search (entries 1, 2)",
        "left out of the batch at batch.json:1: 1 GET or HEAD entry (entry 0)",
        "the Bundle at empty.json:1 is empty",
    ] {
        assert_eq!(
            checked.err.matches(said).count(),
            1,
            "{said}\n{}",
            checked.err
        );
    }
    assert!(!checked.err.contains("holds no records"), "{}", checked.err);
    let planned = bed.run(&["plan", "m.yaml"]).exits(0);
    assert!(
        planned.out.contains("left out      3 (older-version)"),
        "{}",
        planned.out
    );
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 3);
    for gone in ["Patient/p2", "Patient/p3"] {
        bed.run(&["get", gone, "--local", "store"]).exits(1);
    }
    let newest = bed.run(&["get", "Patient/p1", "--local", "store"]).exits(0);
    assert!(newest.out.contains("Newest"), "{}", newest.out);
}

#[test]
fn requests_that_no_server_could_take_are_each_named_with_their_place() {
    let bed = Bed::new();
    let entry = |request: &str, id: &str| {
        format!(r#"{{"resource":{{"resourceType":"Patient"{id}}},"request":{request}}}"#)
    };
    bed.write(
        "t.json",
        &bundle(
            "transaction",
            &[
                &entry(
                    r#"{"method":"PUT","url":"https://ehr.example/r4/Patient/a"}"#,
                    r#","id":"a""#,
                ),
                &entry(r#"{"method":"PUT","url":"Patient/b"}"#, r#","id":"c""#),
                &entry(r#"{"method":"PUT","url":"Patient/d"}"#, ""),
                &entry(r#"{"method":"PUT","url":"Practitioner/e"}"#, r#","id":"e""#),
                &entry(r#"{"method":"POST","url":"Practitioner"}"#, ""),
                &entry(
                    r#"{"method":"POST","url":"Patient","ifNoneExist":"Group?identifier=a|b"}"#,
                    "",
                ),
                r#"{"resource":{"resourceType":"Patient"}}"#,
                &entry(r#"{"method":"POST","url":"Patient"}"#, ""),
            ],
        ),
    );
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: [t.json] }}\n"),
    );
    let checked = bed.run(&["check", "m.yaml"]).exits(1);
    for (entry, said) in [
        (0, "at request.url: the entry's request.url is absolute"),
        (
            1,
            "at resource.id: the entry's request.url names another id than its resource has",
        ),
        (
            2,
            "at resource.id: the entry's request.url names an id, and its resource has none",
        ),
        (
            3,
            "at request.url: the entry's request.url names another type than its resource has",
        ),
        (
            4,
            "at request.url: the entry's request.url names another type than its resource has",
        ),
        (
            5,
            "at request.ifNoneExist: its ifNoneExist searches another type",
        ),
        (6, "at request: the entry has no request"),
        (7, "entry 0 of its transaction cannot be loaded"),
    ] {
        let line = checked
            .err
            .lines()
            .find(|line| line.contains(&format!("entry {entry} (Patient)")));
        assert!(
            line.is_some_and(|line| line.contains(said)),
            "{entry}: {}",
            checked.err
        );
        assert!(
            checked.err.contains(&format!("t.json:{}:1", entry + 1)),
            "{}",
            checked.err
        );
    }
    // A request that the load makes takes their place.
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: [t.json], interaction: create }}\n"),
    );
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 8);
}

/// Its id is none, so what refers to it by that is not to be sent without it.
#[test]
fn who_needs_a_record_whose_id_is_none_is_blocked() {
    let bed = Bed::new();
    let ids = ["a_b", "CV:1:S:2", "abs/olute", " sp ace", "ü1"];
    let long = "a".repeat(70);
    let ids: Vec<&str> = ids.into_iter().chain([long.as_str()]).collect();
    let lines = ids.iter().enumerate().flat_map(|(number, id)| {
        [
            format!(r#"{{"resourceType":"Observation","id":"o{number}","status":"final","code":{{"text":"x"}},"subject":{{"reference":"Patient/{id}"}}}}"#
            ),
            format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#),
        ]
    });
    bed.write("l.ndjson", &lines.collect::<Vec<_>>().join("\n"));
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: [l.ndjson], interaction: update }}\n"),
    );
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("unsupported"), bed.count("blocked")), (6, 6));
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    assert!(!ran.out.contains("dangling"), "{}", ran.out);
    // Created, they have ids of the store, and what refers to them refers to those.
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: [l.ndjson], interaction: create }}\n")
            .replace("local: store", "local: other"),
    );
    bed.run(&["load", "--fresh", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 12);
}
