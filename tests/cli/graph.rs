//! What the plan says and does about identities and references, through the binary.

use serde_json::Value;
use stoker::record::StepId;

use super::bed::Bed;

const HEAD: &str = "version: 1\nname: t\ntargets: { t: { local: store } }\nloads:\n";

fn plan(bed: &Bed) -> Value {
    let ran = bed.run(&["plan", "--json", "m.yaml"]).exits(0);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn a_reference_against_a_barrier_is_an_error() {
    let bed = Bed::new();
    bed.write(
        "o.ndjson",
        r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"}}"#,
    );
    bed.write("p.ndjson", r#"{"resourceType":"Patient","id":"p"}"#);
    let loads = |after: &str| {
        format!(
            "{HEAD}  - {{ name: first, files: [o.ndjson] }}\n  - {{ name: second, files: [p.ndjson]{after} }}\n"
        )
    };
    bed.write("m.yaml", &loads(", after: [first]"));
    let ran = bed.run(&["load", "m.yaml"]).exits(2);
    assert!(
        ran.err.contains("o.ndjson:1 (load `first`) refers to")
            && ran
                .err
                .contains("p.ndjson:1 (load `second`), which is loaded after it"),
        "{}",
        ran.err
    );
    // Without the barrier the order of the loads does not matter.
    bed.write("m.yaml", &loads(""));
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 2);
}

#[test]
fn the_manifest_decides_about_differing_copies() {
    let bed = Bed::new();
    let lines = [
        r#"{"resourceType":"Patient","id":"p","active":true}"#,
        r#"{"resourceType":"Patient","id":"p","active":false}"#,
        r#"{"resourceType":"Patient","id":"p","active":true}"#,
        r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"}}"#,
    ];
    bed.write("p.ndjson", &lines.join("\n"));
    for (rule, created, duplicate) in [("first", 2, 2), ("last", 2, 2), ("ignore", 4, 0)] {
        bed.write(
            "m.yaml",
            &format!("{HEAD}  - {{ name: l, files: [p.ndjson], interaction: create, duplicates: {rule} }}\n"),
        );
        let planned = plan(&bed);
        assert_eq!(planned["loads"][0]["duplicates"], duplicate, "{rule}");
        bed.run(&["load", "--fresh", "m.yaml"]).exits(0);
        assert_eq!(
            (bed.count("created"), bed.count("duplicate")),
            (created, duplicate),
            "{rule}"
        );
    }
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: [p.ndjson], duplicates: error }}\n"),
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(2);
    assert!(
        ran.err.contains("p.ndjson:1 and")
            && ran
                .err
                .contains("p.ndjson:2 have the same identity, and differ"),
        "{}",
        ran.err
    );
}

#[test]
fn what_needs_the_unloadable_is_blocked_by_the_plan() {
    let bed = Bed::new();
    let lines = [
        r#"{"resourceType":"Observation","id":"o","hasMember":[{"reference":"Observation/n"}]}"#,
        r#"{"resourceType":"Observation","id":"n","subject":{"reference":"Patient/p"}}"#,
        r#"{"resourceType":"Observation","id":"free"}"#,
    ];
    bed.write("o.ndjson", &lines.join("\n"));
    bed.write("p.ndjson", r#"{"resourceType":"Patient","id":"p"}"#);
    // It has no identifier of the system that identifies.
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: o, files: [o.ndjson], interaction: create }}\n  - {{ name: p, files: [p.ndjson], interaction: conditional-create, identity: {{ Patient: [\"urn:mrn\"] }} }}\n"),
    );
    let planned = plan(&bed);
    assert_eq!(
        (&planned["unsupported"], &planned["sent"]),
        (&1.into(), &1.into())
    );
    assert_eq!(planned["loads"][0]["blocked"], 2);
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(
        (
            bed.count("created"),
            bed.count("blocked"),
            bed.count("unsupported")
        ),
        (1, 2, 1)
    );
    assert!(
        ran.out
            .contains("1 unsupported, and 2 blocked by them: it has no identifier"),
        "{}",
        ran.out
    );
}

#[test]
fn a_transaction_that_is_too_large_is_what_the_manifest_says() {
    let bed = Bed::new();
    let entries: Vec<String> = (0..4600)
        .map(|n| {
            let to = i32::from(n == 0);
            format!(
                r#"{{"fullUrl":"urn:uuid:{n}","resource":{{"resourceType":"Patient","link":[{{"other":{{"reference":"urn:uuid:{to}"}},"type":"seealso"}}]}},"request":{{"method":"POST","url":"Patient"}}}}"#
            )
        })
        .collect();
    bed.write(
        "b.json",
        &format!(
            r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#,
            entries.join(",")
        ),
    );
    let manifest =
        |rule: &str| format!("{HEAD}  - {{ name: l, files: [b.json], transactions: {rule} }}\n");
    bed.write("m.yaml", &manifest("refuse"));
    assert_eq!(
        plan(&bed)["loads"][0]["unsupported"]["transaction-too-large"],
        4600
    );
    bed.write("m.yaml", &manifest("keep"));
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(bed.count("rejected"), 4600, "the store takes 4,500");
    bed.write("m.yaml", &manifest("split"));
    let planned = plan(&bed);
    assert!(
        planned["warnings"][0]
            .as_str()
            .unwrap()
            .contains("no longer all or nothing")
    );
    // The two that refer to each other go together, the rest in parts.
    assert_eq!(planned["loads"][0]["cycles"], 1);
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 4600);
}

#[test]
fn a_saved_plan_holds_its_order_and_its_links() {
    let bed = Bed::new();
    let lines = [
        r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"}}"#,
        r#"{"resourceType":"Patient","id":"p"}"#,
    ];
    bed.write("p.ndjson", &lines.join("\n"));
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: [p.ndjson], interaction: create }}\n"),
    );
    bed.run(&["plan", "m.yaml", "--out", "saved.plan"]).exits(0);
    bed.run(&["load", "saved.plan"]).exits(0);
    assert_eq!(bed.count("created"), 2);
    bed.write("p.ndjson", &lines.join("\n").replace("\"o\"", "\"x\""));
    let ran = bed.run(&["load", "saved.plan"]).exits(2);
    assert!(
        ran.err
            .contains("p.ndjson has changed since the plan was made"),
        "{}",
        ran.err
    );
}

#[test]
fn versions_are_stripped_or_kept() {
    let bed = Bed::new();
    let lines = [
        r#"{"resourceType":"Patient","id":"p"}"#,
        r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p/_history/3"}}"#,
    ];
    bed.write("p.ndjson", &lines.join("\n"));
    let manifest = |rule: &str| {
        format!(
            "{HEAD}  - {{ name: l, files: [p.ndjson], interaction: create, versioned: {rule} }}\n"
        )
    };
    bed.write("m.yaml", &manifest("keep"));
    // The store has given it another version, so one that is kept leads nowhere.
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("created"), bed.count("rejected")), (1, 1));
    bed.write("m.yaml", &manifest("strip"));
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    assert!(
        ran.out
            .contains("1  name a version, which the store assigns anew"),
        "{}",
        ran.out
    );
    bed.run(&["load", "--fresh", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 2);
}

/// Who is identified by it is one resource (`conditions` tests that); a value in another system says nothing.
#[test]
fn an_identifier_that_identifies_nothing_merges_nothing() {
    let bed = Bed::new();
    let lines = [
        r#"{"resourceType":"Patient","id":"c","identifier":[{"system":"urn:other","value":"1"}]}"#,
        r#"{"resourceType":"Patient","id":"d","identifier":[{"system":"urn:other","value":"1"}]}"#,
    ];
    bed.write("p.ndjson", &lines.join("\n"));
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: [p.ndjson], interaction: conditional-create, identity: {{ Patient: [\"urn:mrn\"], missing: create }} }}\n"),
    );
    let planned = plan(&bed);
    assert_eq!(planned["warnings"], serde_json::json!([]));
    assert_eq!(planned["sent"], 2);
    // Nor does one that identifies, where the records are created or updated by other means.
    let lines = [
        r#"{"resourceType":"Patient","id":"a","identifier":[{"system":"urn:mrn","value":"1"}]}"#,
        r#"{"resourceType":"Patient","id":"b","active":true,"identifier":[{"system":"urn:mrn","value":"1"}]}"#,
    ];
    bed.write("p.ndjson", &lines.join("\n"));
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: [p.ndjson], interaction: update, identity: {{ Patient: [\"urn:mrn\"] }} }}\n"),
    );
    let planned = plan(&bed);
    let warning = planned["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("1 records differ from another one with the same identifier")
            && warning.contains("p.ndjson:1 and")
            && warning.contains("p.ndjson:2"),
        "{warning}"
    );
    assert_eq!(planned["sent"], 2);
}

/// Loads that need no graph stand beside one that does: every step has its number, every link leads to what it means.
#[test]
fn loads_without_a_graph_keep_their_order_and_the_others_their_links() {
    use stoker::{event::LoadId, plan::To, plan::file};

    let bed = Bed::new();
    let line = |kind: &str, id: &str, more: &str| {
        format!(r#"{{"resourceType":"{kind}","id":"{id}"{more}}}"#)
    };
    let first: Vec<String> = (0..5)
        .map(|n| line("Patient", &format!("p{n}"), ""))
        .collect();
    bed.write("first.ndjson", &first.join("\n"));
    let entries: Vec<String> = (0..3)
        .map(|n| {
            format!(
                r#"{{"resource":{},"request":{{"method":"PUT","url":"Basic/b{n}"}}}}"#,
                line("Basic", &format!("b{n}"), "")
            )
        })
        .collect();
    let bundle = |kind: &str| {
        let entries = entries.join(",");
        format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entries}]}}"#)
    };
    bed.write("bundles/1.json", &bundle("transaction"));
    bed.write("bundles/2.json", &bundle("batch"));
    bed.write("bundles/3.json", r#"{"resourceType":"Nothing","id":"x"}"#);
    bed.write(
        "linked.ndjson",
        &[
            line(
                "Observation",
                "o",
                r#","subject":{"reference":"Patient/p"}"#,
            ),
            line("Patient", "p", ""),
        ]
        .join("\n"),
    );
    bed.write(
        "m.yaml",
        "version: 1
name: mixed
targets:
  plain: { google: { project: p, location: l, dataset: d, fhir_store: s }, ensure: { version: R4, enableUpdateCreate: true, disableReferentialIntegrity: true } }
  linked: { google: { project: p, location: l, dataset: d, fhir_store: t }, ensure: { version: R4 } }
loads:
  - { name: first, target: plain, files: [first.ndjson], interaction: update, duplicates: ignore }
  - { name: linked, target: linked, files: [linked.ndjson], interaction: create }
  - { name: bundles, target: plain, files: ['bundles/*'], interaction: update, duplicates: ignore }
",
    );
    let planned = bed.run(&["plan", "--offline", "m.yaml", "--out", "plan", "--json"]);
    let planned: Value = serde_json::from_str(&planned.exits(0).out).unwrap();
    assert_eq!(planned["records"], 14);
    assert_eq!(planned["loads"][2]["bundles"], 2);
    assert_eq!(planned["loads"][2]["largest_bundle"], 3);
    let saved = file::Saved::open(&bed.path("plan")).unwrap();
    let (mut ids, mut groups) = (Vec::new(), Vec::new());
    for load in 0..3 {
        for entry in saved.steps(LoadId(load)).unwrap() {
            match entry.unwrap() {
                file::PlanEntry::Group(group) => {
                    groups.push((group.id.0, group.records, ids.len()));
                }
                file::PlanEntry::Step(step) => {
                    assert_eq!(step.number, StepId(ids.len() as u64));
                    assert_eq!(step.load, LoadId(load));
                    let to: Vec<To> = step.links.iter().map(|link| link.to.clone()).collect();
                    if step.id.as_deref() == Some("o") {
                        assert_eq!(
                            to,
                            [To::Step(StepId(
                                ids.iter().position(|id| id == "p").unwrap() as u64
                            ))]
                        );
                    } else {
                        assert_eq!(to, []);
                    }
                    ids.push(step.id.unwrap());
                }
            }
        }
    }
    assert_eq!(
        ids,
        [
            "p0", "p1", "p2", "p3", "p4", "p", "o", "b0", "b1", "b2", "b0", "b1", "b2", "x"
        ]
    );
    assert_eq!(groups, [(0, 3, 7), (1, 3, 10)]);
}
