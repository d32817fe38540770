//! `--load`, `--target`, and manifests from standard input.

use std::{io::Write as _, process::Stdio};

use super::bed::{Bed, Ran};

const MANIFEST: &str = "version: 1
name: s
targets: { one: { local: one }, two: { local: two } }
loads:
  - { name: people, target: one, files: [people.ndjson], interaction: update }
  - { name: visits, target: one, after: [people], files: [visits.ndjson], interaction: update }
  - { name: results, target: one, after: [visits], files: [results.ndjson], interaction: update }
  - { name: copies, target: two, files: [people.ndjson], interaction: update }
";

fn bed() -> Bed {
    let bed = Bed::new();
    for (name, kind) in [
        ("people", "Patient"),
        ("visits", "Basic"),
        ("results", "Basic"),
    ] {
        let line = format!(r#"{{"resourceType":"{kind}","id":"{name}"}}"#);
        bed.write(&format!("{name}.ndjson"), &line);
    }
    bed.write("m.yaml", MANIFEST);
    bed
}

fn loads(bed: &Bed) -> Vec<String> {
    let report = bed.report();
    let loads = report["loads"].as_array().unwrap().iter();
    loads
        .map(|load| load["name"].as_str().unwrap().to_owned())
        .collect()
}

fn piped(bed: &Bed, arguments: &[&str], text: &str) -> Ran {
    let mut child = bed
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn loads_are_chosen_by_name_and_by_target() {
    let bed = bed();
    bed.run(&["load", "m.yaml", "--target", "two"]).exits(0);
    assert_eq!(loads(&bed), ["copies"]);
    assert!(!bed.path("one").exists(), "nobody connects to the other");
    let ran = bed
        .run(&["load", "m.yaml", "--load", "people", "--load", "results"])
        .exits(0);
    assert_eq!(loads(&bed), ["people", "results"]);
    assert!(
        ran.err
            .contains("load `results` does not wait for `visits`, which is left out"),
        "{}",
        ran.err
    );
    let ran = bed
        .run(&["plan", "--json", "m.yaml", "--load", "results"])
        .exits(0);
    let plan: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        plan["unchanged"], 1,
        "what a chosen load has loaded is known"
    );
    let ran = bed
        .run(&[
            "plan",
            "--json",
            "m.yaml",
            "--load",
            "people",
            "--load",
            "results",
            "--offline",
        ])
        .exits(0);
    let plan: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        plan["loads"][1]["after"],
        serde_json::json!(["people"]),
        "it waits for what the one that is left out waits for"
    );
    bed.run(&["check", "m.yaml", "--load", "visits"]).exits(0);
    // The whole is loaded but for what has been.
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("unchanged"), bed.count("created")), (3, 1));
}

#[test]
fn a_name_that_is_not_there_is_refused() {
    let bed = bed();
    for verb in ["plan", "load", "check"] {
        let ran = bed
            .run(&[verb, "m.yaml", "--load", "peple", "--target", "thre"])
            .exits(2);
        assert!(ran.err.contains("no load `peple`"), "{}", ran.err);
        assert!(ran.err.contains("did you mean `people`?"), "{}", ran.err);
        assert!(ran.err.contains("no target `thre`"), "{}", ran.err);
        let ran = bed
            .run(&[verb, "m.yaml", "--load", "people", "--target", "two"])
            .exits(2);
        assert!(ran.err.contains("`people` goes to `one`"), "{}", ran.err);
    }
}

#[test]
fn a_manifest_comes_by_standard_input() {
    let bed = bed();
    piped(&bed, &["check", "-"], MANIFEST).exits(0);
    piped(&bed, &["load", "-", "--load", "people"], MANIFEST).exits(0);
    assert_eq!(bed.count("created"), 1);
    let ran = piped(
        &bed,
        &["plan", "-"],
        &MANIFEST.replace("[visits.ndjson]", "[\"-\"]"),
    )
    .exits(2);
    assert!(
        ran.err.contains("standard input is the manifest itself"),
        "{}",
        ran.err
    );
    let ran = piped(&bed, &["check", "-"], "version: 2\n").exits(2);
    assert!(
        ran.err.contains("version 2 of the manifest is not known"),
        "{}",
        ran.err
    );
}

#[test]
fn a_chosen_load_goes_on_by_itself_and_takes_over_nothing_else() {
    let bed = bed();
    // A record that the store refuses ends the run before it is over.
    bed.write(
        "people.ndjson",
        r#"{"resourceType":"Basic","id":"p","code":{},"subject":{"reference":"Patient/nobody"}}"#,
    );
    let strict = MANIFEST.replace("name: s\n", "name: s\nmax_errors: 0\n");
    bed.write("m.yaml", &strict);
    bed.run(&["load", "m.yaml", "--load", "people"]).exits(3);
    let ran = bed.run(&["load", "m.yaml", "--load", "visits"]).exits(0);
    assert!(!ran.err.contains("takes over"), "{}", ran.err);
    // The newest run is that of another load, and it is over.
    let ran = bed
        .run(&["load", "--resume", "m.yaml", "--load", "people"])
        .exits(1);
    assert!(ran.err.contains("going on with"), "{}", ran.err);
    assert_eq!(loads(&bed), ["people"]);
}
