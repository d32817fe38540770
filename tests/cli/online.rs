//! `stoker plan --online`: what a load would change, before it changes anything.

use std::{
    collections::HashMap,
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use fs_err as fs;
use serde_json::Value;

use super::{bed::Bed, responder};

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

/// What would be created, updated, left; the rest must be none.
fn counts(found: &Value) -> [u64; 3] {
    let [create, update, leave, refused, unknown] = all(found);
    assert_eq!([refused, unknown], [0, 0]);
    [create, update, leave]
}

fn all(found: &Value) -> [u64; 5] {
    ["create", "update", "leave", "refused", "unknown"].map(|word| found[word].as_u64().unwrap())
}

#[test]
fn updates_are_compared_with_what_is_there() {
    let bed = Bed::new();
    bed.write("p.ndjson", PATIENTS);
    bed.write(
        "m.yaml",
        &manifest("files: [p.ndjson], interaction: update"),
    );
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
    assert_eq!(counts(&online(&bed, 10)), [1, 0, 2]);

    let conditional = |interaction: &str| {
        let load = format!("files: [p.ndjson], interaction: {interaction}, {identity}");
        bed.write("m.yaml", &manifest(&load));
    };
    conditional("conditional-update");
    assert_eq!(counts(&online(&bed, 10)), [1, 2, 0]);

    // A second resource with the identifier of the first.
    let second = r#"{"resourceType":"Patient","identifier":[{"system":"urn:mrn","value":"1"}]}"#;
    bed.write("second.json", second);
    let _ = bed
        .run(&["create", "second.json", "--local", "store"])
        .exits(0);
    for (interaction, found) in [
        // What earlier runs have loaded is left alone, whatever meets its condition by now.
        ("conditional-create", [1, 0, 2, 0, 0]),
        ("conditional-update", [1, 1, 0, 1, 0]),
        ("create", [3, 0, 0, 0, 0]),
    ] {
        conditional(interaction);
        assert_eq!(all(&online(&bed, 10)), found, "{interaction}");
    }
    let ran = bed.run(&["plan", "--online", "m.yaml"]).exits(0);
    assert!(
        ran.out.contains("3 to create, 0 to update, 0 to leave"),
        "{}",
        ran.out
    );
}

#[test]
fn entries_are_asked_about_by_their_own_conditions() {
    let bed = Bed::new();
    let entry = |value: &str| {
        format!(
            r#"{{"resource":{{"resourceType":"Patient"}},"request":{{"method":"POST","url":"Patient","ifNoneExist":"identifier=urn:mrn|{value}"}}}}"#
        )
    };
    bed.write(
        "b.json",
        &format!(
            r#"{{"resourceType":"Bundle","type":"batch","entry":[{},{},
                {{"resource":{{"resourceType":"Patient","id":"b","active":true}},"request":{{"method":"PUT","url":"Patient/b"}}}},
                {{"resource":{{"resourceType":"Patient"}},"request":{{"method":"PUT","url":"Patient?identifier=urn:mrn%7C2"}}}}]}}"#,
            entry("1"),
            entry("9")
        ),
    );
    bed.write("p.ndjson", PATIENTS);
    bed.write(
        "m.yaml",
        &manifest("files: [p.ndjson], interaction: update"),
    );
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    bed.write("m.yaml", &manifest("files: [b.json]"));
    assert_eq!(counts(&online(&bed, 10)), [1, 2, 1]);
}

#[test]
fn references_are_compared_as_the_store_would_have_them() {
    // In a transaction the store itself rewrites what its entries call each other.
    for kind in ["collection", "transaction"] {
        let bed = Bed::new();
        let doctor = r#"{"resourceType":"Practitioner","id":"d","identifier":[{"system":"urn:npi","value":"7"}]}"#;
        bed.write("b.json", doctor);
        bed.write("m.yaml", &manifest("files: [b.json], interaction: update"));
        let _ = bed.run(&["load", "m.yaml"]).exits(0);
        let entry = |uuid: u8, url: &str, members: &str| {
            let (kind, id) = url.split_once('/').unwrap();
            format!(
                r#"{{"fullUrl":"urn:uuid:00000000-0000-4000-8000-00000000000{uuid}","request":{{"method":"PUT","url":"{url}"}},
                    "resource":{{"resourceType":"{kind}","id":"{id}",{members}}}}}"#
            )
        };
        let bundle = |patient: &str, npi: u8| {
            let doctor = format!(
                r#""generalPractitioner":[{{"reference":"Practitioner?identifier=urn:npi|{npi}"}}]"#
            );
            let subject = r#""status":"final","code":{"text":"x"},"subject":{"reference":"urn:uuid:00000000-0000-4000-8000-000000000001"}"#;
            let entries = [
                entry(1, patient, &doctor),
                entry(2, "Observation/o", subject),
            ];
            let entries = entries.join(",");
            format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entries}]}}"#)
        };
        bed.write("b.json", &bundle("Patient/a", 7));
        assert_eq!(counts(&online(&bed, 10)), [2, 0, 0], "{kind}");
        let _ = bed.run(&["load", "m.yaml"]).exits(0);
        assert_eq!(counts(&online(&bed, 0)), [0, 0, 2], "{kind}");
        // A doctor who is nobody.
        bed.write("b.json", &bundle("Patient/a", 8));
        assert_eq!(counts(&online(&bed, 10)), [0, 1, 1], "{kind}");
        // The observation is of another patient.
        bed.write("b.json", &bundle("Patient/z", 7));
        assert_eq!(counts(&online(&bed, 10)), [1, 1, 0], "{kind}");
    }
}

#[test]
fn sources_that_cannot_be_read_twice_are_kept_and_removed() {
    let bed = Bed::new();
    fs::create_dir(bed.path("scratch")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(PATIENTS.as_bytes()).unwrap();
    fs::write(bed.path("p.ndjson.gz"), packed.finish().unwrap()).unwrap();
    bed.write(
        "m.yaml",
        &manifest("files: [p.ndjson.gz], interaction: update"),
    );
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let scratch = bed.path("scratch");
    let ran = bed.run_with(
        &[("TMPDIR", scratch.to_str().unwrap())],
        &["plan", "--online", "m.yaml"],
    );
    let ran = ran.exits(0);
    assert!(ran.out.contains("2 to leave as they are"), "{}", ran.out);
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0);
}

/// A process that was killed leaves its scratch directory with what it read. The next one removes it, and nothing that somebody holds.
#[test]
fn what_a_killed_process_has_left_is_removed() {
    let bed = Bed::new();
    bed.write("p.ndjson", PATIENTS);
    bed.write(
        "m.yaml",
        &manifest("files: [p.ndjson], interaction: update"),
    );
    let scratch = bed.path("scratch");
    let make = |name: &str| {
        fs::create_dir_all(scratch.join(name)).unwrap();
        fs::write(scratch.join(name).join("plan.ndjson"), PATIENTS).unwrap();
        scratch.join(name).join("lock")
    };
    fs::File::create(make("stoker-00000000000000000000000000000001")).unwrap();
    let held = fs::File::create(make("stoker-00000000000000000000000000000002")).unwrap();
    held.lock().unwrap();
    // One that is just being made, and one of somebody else.
    make("stoker-00000000000000000000000000000003");
    fs::File::create(make("stoker-notes")).unwrap();
    let tmp = [("TMPDIR", scratch.to_str().unwrap())];
    let _ = bed.run_with(&tmp, &["plan", "m.yaml"]).exits(0);
    let left = fs::read_dir(&scratch).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    let kept = [
        "stoker-00000000000000000000000000000002",
        "stoker-00000000000000000000000000000003",
        "stoker-notes",
    ];
    assert_eq!(left, kept);
}

const CAPABILITIES: &str = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}"#;

/// A bed with a load of [`PATIENTS`] into a server elsewhere.
fn elsewhere(url: &str, load: &str) -> Bed {
    let bed = Bed::new();
    bed.write("p.ndjson", PATIENTS);
    let local = manifest(&format!("files: [p.ndjson], {load}"));
    let remote = local.replace("local: store", &format!("fhir: {{ url: \"{url}\" }}"));
    bed.write("m.yaml", &remote);
    bed
}

#[test]
fn what_a_target_does_not_say_is_unknown_and_what_was_asked_is_not_told() {
    let (url, _) = responder::start(|line| match line {
        line if line.contains("/metadata") => (200, "", CAPABILITIES),
        // Another Bundle than was asked for, and a refusal.
        line if line.contains("mrn%7C1") || line.contains("mrn|1") => (
            200,
            "",
            r#"{"resourceType":"Bundle","type":"history","total":0}"#,
        ),
        _ => (403, "", "Plantedname"),
    });
    let load = "interaction: conditional-create, identity: { Patient: [\"urn:mrn\"] }";
    let bed = elsewhere(&url, load);
    assert_eq!(all(&online(&bed, 10)), [0, 0, 0, 0, 2]);
    let ran = bed.run(&["plan", "--online", "-vvv", "m.yaml"]).exits(0);
    assert!(
        ran.out.contains("2 of which the target does not say"),
        "{}",
        ran.out
    );
    for content in ["Plantedname", "urn:mrn|", "urn:mrn%7C"] {
        assert!(!ran.err.contains(content), "{content}:\n{}", ran.err);
        assert!(!ran.out.contains(content), "{content}:\n{}", ran.out);
    }
}

#[test]
fn credentials_that_are_refused_end_the_asking() {
    let (url, asked) = responder::start(|line| match line {
        line if line.contains("/metadata") => (200, "", CAPABILITIES),
        _ => (401, "", "Plantedname"),
    });
    let bed = elsewhere(&url, "interaction: update");
    let ran = bed.run(&["plan", "--online", "m.yaml"]).exits(4);
    assert!(
        ran.err.contains("target `t`") && ran.err.contains("(401)"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("check `auth`"), "{}", ran.err);
    assert!(
        asked()
            .iter()
            .any(|line| line.starts_with("GET /fhir/Patient/"))
    );
}

#[test]
fn an_interrupt_ends_the_asking_and_leaves_nothing_behind() {
    let (url, asked) = responder::start(|line| {
        if !line.contains("/metadata") {
            // For as long as anybody waits.
            std::thread::sleep(Duration::from_mins(10));
        }
        (200, "", CAPABILITIES)
    });
    let bed = elsewhere(&url, "interaction: update");
    let scratch = bed.path("scratch");
    fs::create_dir(&scratch).unwrap();
    bed.write("x.plan", "as it was");
    let mut child = bed
        .command(&["plan", "--online", "m.yaml", "--out", "x.plan"])
        .env("TMPDIR", &scratch)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !asked().iter().any(|line| line.contains("/Patient/")) {
        assert!(child.try_wait().unwrap().is_none(), "it asked nothing");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 1);
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("interrupted while planning"), "{said}");
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(bed.path("x.plan")).unwrap(), "as it was");
    let names = fs::read_dir(bed.path(".")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name.contains("x.plan")).collect();
    assert_eq!(left, ["x.plan"]);
}

/// Nothing comes, and nothing will: one signal is enough.
#[test]
fn an_interrupt_ends_the_reading_of_what_brings_nothing() {
    let records = "version: 1\nname: t\ntargets: { t: { local: store } }\nloads: [{ name: l, files: [\"-\"], interaction: update }]\n";
    let bed = Bed::new();
    bed.write("m.yaml", records);
    for (arguments, what) in [
        (
            ["load", "m.yaml"],
            "interrupted while planning; nothing was sent",
        ),
        (
            ["load", "-"],
            "interrupted while the manifest was being read",
        ),
        (
            ["plan", "-"],
            "interrupted while the manifest was being read",
        ),
    ] {
        let child = bed
            .command(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Signals are listened to a moment after the beginning.
        std::thread::sleep(Duration::from_secs(1));
        let sent = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let mut child = child;
        let kept_open = child.stdin.take();
        let ended = child.wait_with_output().unwrap();
        drop(kept_open);
        assert_eq!(ended.status.code(), Some(130), "{arguments:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains(what), "{said}");
    }
    assert!(!bed.path(".stoker").exists());
}

/// What would change is shown by its paths; its values only where content may be shown.
#[test]
fn what_would_change_is_shown_by_its_paths() {
    let bed = Bed::new();
    let patient = |number: u32, family: &str, decimal: &str| {
        format!(
            "{{\"resourceType\":\"Patient\",\"id\":\"p{number}\",\"name\":[{{\"family\":\"{family}\"}}],\"extension\":[{{\"url\":\"x:y\",\"valueDecimal\":{decimal}}}]}}\n"
        )
    };
    let all = |family: &str, decimal: &str| {
        patient(1, "Alpha", "1.0") + &patient(2, family, "1.0") + &patient(3, "Gamma", decimal)
    };
    bed.write("all.ndjson", &all("Plantedold", "1.0"));
    bed.write(
        "m.yaml",
        "version: 1\ntargets: { t: { local: store } }\nloads: [ { name: all, files: all.ndjson, interaction: update } ]\n",
    );
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    bed.write("all.ndjson", &all("Plantednew", "1.00"));
    let ran = bed.run(&["plan", "m.yaml", "--online", "--diff"]).exits(0);
    assert!(ran.out.contains("2 to update"), "{}", ran.out);
    let (_, changes) = ran.out.split_once("would change\n").unwrap();
    let paths: Vec<&str> = changes.lines().map(str::trim).collect();
    assert_eq!(
        paths,
        [
            "Patient  p2  all.ndjson:2",
            "Patient.name[0].family",
            "Patient  p3  all.ndjson:3",
            "Patient.extension[0].valueDecimal",
        ]
    );
    let shown = ["plan", "m.yaml", "--online", "--diff", "--show-content"];
    let ran = bed.run(&shown).exits(0);
    for words in [
        "- \"Plantedold\"",
        "+ \"Plantednew\"",
        "- 1.0\n",
        "+ 1.00\n",
    ] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    let ran = bed
        .run(&["plan", "m.yaml", "--online", "--diff", "--json"])
        .exits(0);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        json["changes"][1]["differences"][0]["path"],
        "Patient.extension[0].valueDecimal"
    );
    assert!(!ran.out.contains("Planted"), "{}", ran.out);
    // Without the question there is no answer.
    let ran = bed.run(&["plan", "m.yaml", "--diff"]).exits(2);
    assert!(ran.err.contains("--online"), "{}", ran.err);
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let ran = bed.run(&["plan", "m.yaml", "--online", "--diff"]).exits(0);
    assert!(!ran.out.contains("would change"), "{}", ran.out);
}

/// A server that keeps what it is given, and no versions, so that nobody sees by a version what has changed there.
fn keeper() -> (String, Arc<Mutex<HashMap<String, String>>>) {
    let kept = Arc::new(Mutex::new(HashMap::new()));
    let held = Arc::clone(&kept);
    let url = responder::start_raw(move |head, body| {
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut kept = held.lock().unwrap();
        match (method, path.trim_start_matches("/fhir/")) {
            (_, "metadata") => responder::response("200 OK", "", CAPABILITIES),
            ("PUT", name) => {
                let before = kept.insert(name.to_owned(), body.to_owned());
                let status = before.map_or("201 Created", |_| "200 OK");
                responder::response(status, "", body)
            }
            (_, name) => match kept.get(name) {
                Some(body) => responder::response("200 OK", "", body),
                None => responder::response("404 Not Found", "", "{}"),
            },
        }
    });
    (url, kept)
}

fn patients(numbers: std::ops::Range<u32>, members: &str) -> String {
    let lines = numbers
        .map(|number| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{number}\"{members}}}\n"));
    lines.collect()
}

#[test]
fn what_a_load_leaves_alone_though_it_changed_is_said_as_such() {
    let (url, kept) = keeper();
    let bed = Bed::new();
    bed.write("p.ndjson", &patients(0..40, ""));
    let load = "files: [p.ndjson], interaction: update";
    let manifest = |load: &str| {
        let remote = format!("fhir: {{ url: \"{url}\" }}");
        manifest(load).replace("local: store", &remote)
    };
    bed.write("m.yaml", &manifest(load));
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(counts(&online(&bed, 0)), [0, 0, 40]);
    for number in 0..5 {
        let record = patients(number..number + 1, ",\"active\":true");
        let mut kept = kept.lock().unwrap();
        kept.insert(format!("Patient/p{number}"), record);
    }
    let plan = ["plan", "--online", "--diff", "m.yaml"];
    let told = bed.run(&plan).exits(0).out;
    for said in [
        "unchanged     35: earlier runs",
        "left alone    5: earlier runs",
        "plan: 0 records to send, 0 records that cannot be loaded, 35 unchanged, 5 changed or gone and left alone",
        "online: load all: 0 to create, 0 to update, 35 to leave as they are",
        "5 records that earlier runs have loaded are no longer as they were: 5 changed",
        "`stoker load --fresh` sends everything",
        "changed since an earlier run loaded them, and left alone\n  Patient  p0",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    assert!(!told.contains("would change"), "{told}");
    let found = online(&bed, 10);
    assert_eq!(found["changed"], 5, "{found}");
    assert_eq!(found["missing"], 0, "{found}");
    assert_eq!(counts(&found), [0, 0, 35]);
    let json = bed.run(&["plan", "--online", "--json", "m.yaml"]).exits(0);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    for (key, count) in [("sent", 0), ("unchanged", 35), ("left_alone", 5)] {
        assert_eq!(json[key], count, "{key}");
        assert_eq!(json["loads"][0][key], count, "{key}");
    }
    // What compares looks at each record itself, and sends what differs.
    bed.write("m.yaml", &manifest(&format!("{load}, compare: true")));
    assert_eq!(counts(&online(&bed, 10)), [0, 5, 35]);
    let told = bed.run(&plan).exits(0).out;
    assert!(told.contains("plan: 5 records to send"), "{told}");
    assert!(told.contains("0 to create, 5 to update, 35 to"), "{told}");
    assert!(told.contains("would change\n  Patient  p0"), "{told}");
    let loaded = bed.run(&["load", "m.yaml"]).exits(0).out;
    assert!(loaded.contains("[updated]              5"), "{loaded}");
}

#[test]
fn a_load_says_what_was_gone_of_what_earlier_runs_had_loaded() {
    let bed = Bed::new();
    bed.write("p.ndjson", &patients(0..40, ""));
    bed.write(
        "m.yaml",
        &manifest("files: [p.ndjson], interaction: update"),
    );
    bed.run(&["load", "m.yaml"]).exits(0);
    // Another manifest changes 15; a sample of 30 meets some of each.
    bed.write("other.ndjson", &patients(25..40, ",\"active\":true"));
    let other = manifest("files: [other.ndjson], interaction: update");
    bed.write("other.yaml", &format!("{other}state: other\n"));
    bed.run(&["load", "other.yaml"]).exits(0);
    let plan = bed.run(&["plan", "m.yaml"]).exits(0).out;
    assert!(plan.contains("plan: 15 records to send"), "{plan}");
    assert!(plan.contains("a load reads 70 records first"), "{plan}");
    let loaded = bed.run(&["load", "m.yaml"]).exits(0).out;
    for said in [
        "[from history]         25, each asked for; 15 more were gone or changed",
        "From history    40 records that earlier runs had loaded: the store no longer held 15 as loaded",
        "so 15 were sent again; the other 25 were asked for one by one",
    ] {
        assert!(loaded.contains(said), "{said}: {loaded}");
    }
    assert!(!loaded.contains("a sample only"), "{loaded}");
    let loaded = bed.run(&["load", "m.yaml"]).exits(0).out;
    assert!(
        loaded.contains("40, a sample of 30 asked for\n"),
        "{loaded}"
    );
    // Another store in its place holds none of them.
    fs::remove_dir_all(bed.path("store")).unwrap();
    let loaded = bed.run(&["load", "m.yaml"]).exits(0).out;
    let said = "40 records that earlier runs had loaded: the store no longer held them\n                so 40 were sent again";
    assert!(loaded.contains(said), "{loaded}");
}
