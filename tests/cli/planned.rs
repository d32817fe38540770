//! The plan is what the load does: what is left of it after earlier runs, its requests and reads, saved plans, dry runs,
//! stores that are not what is wanted.

use fs_err as fs;
use serde_json::Value;

use super::bed::Bed;

fn manifest(target: &str, load: &str) -> String {
    format!(
        "version: 1\nname: p\ntargets: {{ t: {{ {target} }} }}\nloads: [ {{ name: all, target: t, {load} }} ]\n"
    )
}

/// Patients with an observation each: two that go after each other.
fn write(bed: &Bed, name: &str, count: u32) {
    let lines: Vec<String> = (0..count)
        .flat_map(|n| {
            [
                format!(r#"{{"resourceType":"Patient","id":"p{n}","active":true}}"#),
                format!(
                    r#"{{"resourceType":"Observation","id":"o{n}","status":"final","code":{{}},"subject":{{"reference":"Patient/p{n}"}}}}"#
                ),
            ]
        })
        .collect();
    bed.write(name, &lines.join("\n"));
}

fn plan(bed: &Bed, arguments: &[&str], code: i32) -> Value {
    let mut all = vec!["plan", "--json", "--detailed-exitcode"];
    all.extend(arguments);
    serde_json::from_str(&bed.run(&all).exits(code).out).unwrap()
}

#[test]
fn what_earlier_runs_have_loaded_is_not_planned_to_be_sent() {
    for load in [
        "interaction: create, bundle: none",
        "interaction: update, bundle: none",
        "interaction: update, compare: true",
    ] {
        let bed = Bed::new();
        write(&bed, "a.ndjson", 40);
        let load = format!("files: [\"*.ndjson\"], {load}");
        bed.write("m.yaml", &manifest("local: store", &load));
        let before = plan(&bed, &["m.yaml"], 10);
        assert_eq!(before["sent"], 80, "{load}");
        assert!(
            !bed.path(".stoker/history.sqlite").exists(),
            "a plan begins no history"
        );
        bed.run(&["load", "m.yaml"]).exits(0);
        let sent = bed.report()["requests"]["sent"].clone();
        assert_eq!(before["loads"][0]["requests"], sent, "{load}");
        let after = plan(&bed, &["m.yaml"], 0);
        assert_eq!(
            (&after["sent"], &after["unchanged"]),
            (&0.into(), &80.into())
        );
        assert_eq!(after["loads"][0]["requests"], 0);
        assert_eq!(after["samples"], 30);
        let reads = u64::from(load.contains("compare")) * 80;
        assert_eq!(after["loads"][0]["reads"], reads);
        // Nobody is asked, and that is said.
        let offline = plan(&bed, &["--offline", "m.yaml"], 0);
        assert_eq!(offline["unchanged_assumed"], true);
        assert_eq!(plan(&bed, &["--fresh", "m.yaml"], 10)["sent"], 80);
        write(&bed, "a.ndjson", 41);
        assert_eq!(plan(&bed, &["m.yaml"], 10)["sent"], 2, "{load}");
        // What is gone is sent again.
        fs::remove_dir_all(bed.path("store")).unwrap();
        assert_eq!(plan(&bed, &["m.yaml"], 10)["sent"], 82, "{load}");
    }
}

#[test]
fn plan_dry_run_and_report_count_the_same() {
    let bed = Bed::new();
    write(&bed, "a.ndjson", 60);
    let load = |bundle: &str| {
        let load = format!("files: [a.ndjson], interaction: create, bundle: {bundle}");
        manifest("local: store", &load)
    };
    bed.write("m.yaml", &load("{ type: batch, max_entries: 20 }"));
    let planned = plan(&bed, &["m.yaml"], 10)["loads"][0].clone();
    // Three times twenty Patients, then as many Observations; more if some of these are ready before the others.
    assert_eq!(planned["requests"], 6);
    assert_eq!(planned["requests_estimated"], true);
    let dry = bed.run(&["load", "--dry-run", "m.yaml"]).exits(0);
    assert!(dry.out.contains("requests      about 6\n"), "{}", dry.out);
    let built = dry.out.split_once("dry run: ").unwrap().1;
    let built: u64 = built.split(' ').next().unwrap().parse().unwrap();
    assert!((6..60).contains(&built), "{}", dry.out);
    bed.write("m.yaml", &load("none"));
    let planned = plan(&bed, &["m.yaml"], 10)["loads"][0].clone();
    assert_eq!(planned["requests"], 120);
    assert_eq!(planned["requests_estimated"], false);
    let dry = bed.run(&["load", "--dry-run", "m.yaml"]).exits(0);
    assert!(
        dry.out.contains("dry run: 120 requests with "),
        "{}",
        dry.out
    );
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.report()["requests"]["sent"], 120);
    let again = bed.run(&["load", "--dry-run", "m.yaml"]).exits(0);
    assert!(
        again
            .out
            .contains("dry run: 0 requests with 0 B built, none sent; 30 reads made"),
        "{}",
        again.out
    );
}

#[test]
fn reads_stand_beside_writes() {
    let bed = Bed::new();
    write(&bed, "a.ndjson", 10);
    let load = "files: [a.ndjson], interaction: update, compare: true";
    bed.write("m.yaml", &manifest("local: store", load));
    bed.run(&["load", "m.yaml"]).exits(0);
    let ran = bed.run(&["load", "m.yaml"]).exits(0);
    let requests = &bed.report()["requests"];
    assert_eq!(
        (&requests["sent"], &requests["reads"]),
        (&0.into(), &20.into())
    );
    assert!(ran.out.contains("Reads         [total]"), "{}", ran.out);
    let run = bed.newest_run();
    for document in ["report.md", "report.html"] {
        let text = fs::read_to_string(run.join(document)).unwrap();
        assert!(text.contains("Reads"), "{document}");
    }
}

#[test]
fn a_dry_run_rewrites_references_and_writes_nothing() {
    let bed = Bed::new();
    write(&bed, "a.ndjson", 3);
    bed.write(
        "b.json",
        r#"{"resourceType":"Bundle","type":"transaction","entry":[
            {"fullUrl":"urn:uuid:6f2a3c1e-0000-4000-8000-000000000001","resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}},
            {"resource":{"resourceType":"Observation","status":"final","code":{},"subject":{"reference":"urn:uuid:6f2a3c1e-0000-4000-8000-000000000001"}},"request":{"method":"POST","url":"Observation"}}]}"#,
    );
    let load = "files: [a.ndjson, b.json], bundle: none";
    bed.write("m.yaml", &manifest("local: store", load));
    let ran = bed.run(&["load", "--dry-run", "m.yaml"]).exits(0);
    assert!(ran.out.contains("dry run: 7 requests with "), "{}", ran.out);
    assert!(!bed.path(".stoker").exists(), "no run, no history");
    // A condition that nothing meets is refused before it is sent: so says the dry run, with the place.
    bed.write(
        "a.ndjson",
        r#"{"resourceType":"Observation","status":"final","code":{},"subject":{"reference":"Patient?identifier=urn:x|1"}}"#,
    );
    let ran = bed.run(&["load", "--dry-run", "m.yaml"]).exits(1);
    assert!(ran.err.contains("would be rejected"), "{}", ran.err);
    assert!(ran.err.contains("a.ndjson:1"), "{}", ran.err);
}

#[test]
fn a_saved_plan_is_shown_and_loads_from_anywhere() {
    let bed = Bed::with_samples();
    bed.run(&["plan", "--out", "p.plan", "manifests/quickstart.yaml"])
        .exits(0);
    let shown = bed.run(&["plan", "p.plan"]).exits(0);
    assert!(
        shown.out.contains("plan: 69 records to send"),
        "{}",
        shown.out
    );
    for wrong in [
        &["plan", "p.plan", "--out", "q.plan"][..],
        &["plan", "p.plan", "--load", "clinic"],
        &["load", "p.plan", "--load", "clinic"],
        &["check", "p.plan"],
    ] {
        let ran = bed.run(wrong).exits(2);
        assert!(ran.err.contains("saved plan"), "{wrong:?}: {}", ran.err);
    }
    fs::create_dir(bed.path("elsewhere")).unwrap();
    let elsewhere = |arguments: &[&str]| {
        let mut command = bed.command(arguments);
        command.current_dir(bed.path("elsewhere"));
        super::bed::Ran::of(command.output().unwrap())
    };
    elsewhere(&["load", "../p.plan"]).exits(0);
    assert!(
        bed.path(".stoker/store").is_dir(),
        "the store of the manifest"
    );
    assert!(!bed.path("elsewhere/.stoker/store").exists());
    fs::rename(bed.path("resources"), bed.path("gone")).unwrap();
    let ran = elsewhere(&["load", "../p.plan"]).exits(2);
    assert_eq!(ran.err.matches("error:").count(), 1, "{}", ran.err);
    assert!(ran.err.contains("65 of the plan's 65 files"), "{}", ran.err);
}

#[test]
fn a_store_that_is_not_what_is_wanted_is_an_error() {
    let bed = Bed::new();
    write(&bed, "a.ndjson", 1);
    let of = |store: &str| {
        let target = format!("local: {{ dir: store, store: {store} }}");
        manifest(&target, "files: [a.ndjson], interaction: update")
    };
    bed.write("m.yaml", &of("{ enableUpdateCreate: true }"));
    bed.run(&["load", "m.yaml"]).exits(0);
    for (store, said) in [
        (
            "{ enableUpdateCreate: false }",
            "`store` wants enableUpdateCreate to be false, and the store has true",
        ),
        (
            "{ disableReferentialIntegrity: true }",
            "wants disableReferentialIntegrity to be true, and the store has false",
        ),
        (
            "{ version: R5 }",
            "wants version to be \"R5\", and the store has \"R4\"",
        ),
    ] {
        bed.write("m.yaml", &of(store));
        for verb in [&["plan"][..], &["load"], &["load", "--dry-run"]] {
            let ran = bed.run(&[verb, &["m.yaml"]].concat()).exits(2);
            assert!(ran.err.contains(said), "{verb:?}: {}", ran.err);
        }
    }
    bed.write("m.yaml", &of("{ disableReferentialIntegrity: false }"));
    bed.run(&["load", "m.yaml"]).exits(0);
}

#[test]
fn a_load_warns_of_references_that_will_be_refused() {
    let bed = Bed::new();
    bed.write(
        "a.json",
        r#"{"resourceType":"Observation","id":"o","status":"final","code":{},"subject":{"reference":"Patient/nobody"}}"#,
    );
    bed.write(
        "m.yaml",
        &manifest("local: store", "files: [a.json], interaction: update"),
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert!(
        ran.err.contains(
            "target `t` refuses 1 reference to what is neither in the files nor there already"
        ),
        "{}",
        ran.err
    );
}

#[test]
fn paths_are_shown_without_detours() {
    let bed = Bed::with_samples();
    let ran = bed.run(&["plan", "manifests/quickstart.yaml"]).exits(0);
    assert!(
        ran.out.contains("(local store .stoker/store)"),
        "{}",
        ran.out
    );
    bed.run(&["load", "manifests/quickstart.yaml"]).exits(0);
    let records = fs::read_to_string(bed.newest_run().join("records.ndjson")).unwrap();
    assert!(records.contains("\"resources/clinic/"));
    assert!(!records.contains("/../"));
}
