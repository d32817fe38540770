//! `stoker plan --online`: what a load would change, before it changes anything.

use serde_json::Value;

use super::bed::Bed;

const PATIENTS: &str = r#"{"resourceType":"Patient","id":"a","identifier":[{"system":"urn:mrn","value":"1"}]}
{"resourceType":"Patient","id":"b","identifier":[{"system":"urn:mrn","value":"2"}],"active":true}"#;

fn manifest(load: &str) -> String {
    format!(
        "version: 1\nname: t\ntargets: {{ t: {{ local: store }} }}\nloads: [ {{ name: all, {load} }} ]\n"
    )
}

fn online(bed: &Bed, code: i32) -> Value {
    let ran = bed
        .run(&[
            "plan",
            "--online",
            "--json",
            "--detailed-exitcode",
            "m.yaml",
        ])
        .exits(code);
    let plan: Value = serde_json::from_str(&ran.out).unwrap();
    plan["loads"][0]["online"].clone()
}

#[test]
fn updates_are_compared_with_what_is_there() {
    let bed = Bed::new();
    bed.write("p.ndjson", PATIENTS);
    bed.write(
        "m.yaml",
        &manifest("files: [p.ndjson], interaction: update"),
    );
    let counts =
        |found: &Value| ["create", "update", "leave"].map(|word| found[word].as_u64().unwrap());
    assert_eq!(counts(&online(&bed, 10)), [2, 0, 0], "no store yet");
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(counts(&online(&bed, 0)), [0, 0, 2]);
    let changed =
        PATIENTS.replace("true", "false") + "\n" + r#"{"resourceType":"Patient","id":"c"}"#;
    bed.write("p.ndjson", &changed);
    assert_eq!(counts(&online(&bed, 10)), [1, 1, 1]);
    let ran = bed.run(&["plan", "--online", "m.yaml"]).exits(0);
    assert!(
        ran.out
            .contains("online: load all: 1 to create, 1 to update, 1 to leave as they are"),
        "{}",
        ran.out
    );
    // It only reads.
    assert_eq!(counts(&online(&bed, 10)), [1, 1, 1]);
    bed.run(&["plan", "--online", "--offline", "m.yaml"])
        .exits(2);
}

#[test]
fn conditions_are_searched_for() {
    let bed = Bed::new();
    bed.write("p.ndjson", PATIENTS);
    let identity = "identity: { Patient: [\"urn:mrn\"] }";
    bed.write(
        "m.yaml",
        &manifest(&format!(
            "files: [p.ndjson], interaction: conditional-create, {identity}"
        )),
    );
    bed.run(&["load", "m.yaml"]).exits(0);
    let third = PATIENTS.to_owned()
        + "\n"
        + r#"{"resourceType":"Patient","identifier":[{"system":"urn:mrn","value":"3"}]}"#;
    bed.write("p.ndjson", &third);
    let found = online(&bed, 10);
    assert_eq!(
        (found["create"].as_u64(), found["leave"].as_u64()),
        (Some(1), Some(2))
    );
}
