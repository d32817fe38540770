//! Situations that people who load FHIR data reported in public, kept as folders beside the repository: each is run with the
//! binary, and ends as its user needs. Where a case is not at hand its test says that it was skipped.

use std::process::Stdio;

use fs_err as fs;
use serde_json::Value;

use bed::{Bed, python};

mod answers;
mod bed;
mod files;

/// All texts under a name, anywhere in a value.
fn texts<'a>(value: &'a Value, name: &str, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(text) if key == name => into.push(text),
                    other => texts(other, name, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, name, into)),
        _ => {}
    }
}

/// Starts `stoker emulate` on a folder of a case, with faults; waits until it answers.
fn emulate(bed: &mut Bed, dir: &str, faults: &str) {
    let mut command = bed.command(&["emulate", "--dir", dir, "--faults", faults]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    bed.start(child.unwrap());
    let note = bed.path(dir).join("server.json");
    bed.wait_for(|_| fs::metadata(&note).ok());
}

/// All resources of a type in a local store that somebody serves.
fn held(bed: &Bed, dir: &str, kind: &str) -> Vec<Value> {
    let note: Value =
        serde_json::from_slice(&fs::read(bed.path(dir).join("server.json")).unwrap()).unwrap();
    let base = note["url"].as_str().unwrap().trim_end_matches('/');
    let path = "v1/projects/local/locations/local/datasets/stoker/fhirStores/fhir/fhir";
    let found = Bed::ask(&format!("{base}/{path}/{kind}?_count=100"));
    let entries = found["entry"].as_array().cloned().unwrap_or_default();
    let is_match = |entry: &Value| entry["resource"]["resourceType"] == kind;
    entries
        .into_iter()
        .filter(is_match)
        .map(|entry| entry["resource"].clone())
        .collect()
}

#[test]
fn a_tag_stands_in_the_resource_itself() {
    let Some(mut bed) = Bed::of("30-tag-in-bundle") else {
        return;
    };
    bed.run(&["load", "m1.yaml", "--progress", "none"]).exits(0);
    let name = bed.assigned_only("Patient");
    let patient = bed.get("st1", &name).unwrap();
    assert_eq!(
        patient["meta"]["tag"].as_array().unwrap().len(),
        1,
        "{patient}"
    );
    assert_eq!(patient["contact"], serde_json::json!([{"gender": "male"}]));
    // As an ordinary entry, and with its own request.
    let text = fs::read_to_string(bed.path("m1.yaml")).unwrap();
    for (number, text) in [
        text.replace("one/*.json", "b.json"),
        text.replace(", interaction: create", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let text = text.replace("local: st1", &format!("local: other{number}"));
        fs::write(bed.path("m.yaml"), text).unwrap();
        bed.load("m.yaml").exits(0);
    }
    // An answer that is lost is settled by it.
    fs::write(
        bed.path("m3.yaml"),
        fs::read_to_string(bed.path("m1.yaml"))
            .unwrap()
            .replace("local: st1", "local: st3"),
    )
    .unwrap();
    bed.run(&["load", "m3.yaml", "--dry-run", "--progress", "none"]);
    emulate(&mut bed, "st3", "f.yaml");
    bed.load("m3.yaml").exits(0);
    assert_eq!(held(&bed, "st3", "Patient").len(), 1);
}

#[test]
fn a_transaction_is_settled_by_its_identifiers() {
    let Some(mut bed) = Bed::of("31-transaction-by-identifier") else {
        return;
    };
    fs::create_dir_all(bed.path("one")).unwrap();
    fs::copy(bed.path("b.json"), bed.path("one/b.json")).unwrap();
    emulate(&mut bed, "st2", "f.yaml");
    bed.load("m2.yaml").exits(0);
    assert_eq!(bed.count("created"), 2);
    assert_eq!(held(&bed, "st2", "Patient").len(), 1);
    let conditions = held(&bed, "st2", "Condition");
    assert_eq!(conditions.len(), 1);
    let patient = bed.assigned("urn:uuid:00000000-0000-4000-8000-000000000001");
    assert_eq!(conditions[0]["subject"]["reference"], patient);
}

/// One outcome for each record, none of them loaded under a foreign id, whatever a hostile server says. The modes that send
/// gigabytes, and what they cost, are for `tests/servers/hostile.sh`.
#[test]
fn a_hostile_server_costs_no_truth() {
    let Some(bed) = Bed::of("32-hostile-server") else {
        return;
    };
    let manifest = |port: u16| {
        format!(
            "version: 1\nname: h\ntargets:\n  s: {{ fhir: {{ url: \"http://127.0.0.1:{port}/fhir\" }}, timeout: 2s, give_up_after: 3s, \
             retry: {{ attempts: 2, base: 20ms, max: 100ms }} }}\nloads:\n  - {{ name: a, target: s, files: [\"p.ndjson\"], \
             interaction: create, bundle: {{ type: batch, max_entries: 4 }} }}\n"
        )
    };
    let lines = [0, 1, 2, 3]
        .map(|n| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{n}\",\"active\":true}}\n"))
        .concat();
    fs::write(bed.path("p.ndjson"), lines).unwrap();
    let script = bed.path("hostile.py");
    for mode in [
        "fewer",
        "more",
        "none",
        "noentry",
        "shuffled",
        "missingresp",
        "nullresp",
        "statusint",
        "statustext",
        "status0",
        "status99999",
        "status202",
        "status304",
        "status302",
        "noloc",
        "othertype",
        "traversal",
        "badid",
        "sameid",
        "wrongtype",
        "searchset",
        "html",
        "empty",
    ] {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let Some(mut server) = python(
            &script,
            &[port.to_string().into(), mode.into()],
            &bed.path(""),
        ) else {
            eprintln!("skipped: case 32 needs python3");
            return;
        };
        bed.wait_for(|_| std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        fs::write(bed.path("m.yaml"), manifest(port)).unwrap();
        let ran = bed.load("m.yaml");
        server.kill().unwrap();
        server.wait().unwrap();
        let ends = ["created", "rejected", "unknown", "blocked", "pending"];
        let sum: u64 = ends.iter().map(|outcome| bed.count(outcome)).sum();
        assert_eq!(sum, 4, "{mode}: {}", ran.said);
        assert_ne!(ran.code, Some(101), "{mode}: {}", ran.said);
        for line in bed.lines("ids.ndjson") {
            let assigned = line["assigned"].as_str().unwrap();
            let id = assigned.strip_prefix("Patient/");
            let is_id = id.is_some_and(|id| {
                (1..=64).contains(&id.len())
                    && id
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
            });
            assert!(is_id, "{mode}: {assigned}");
        }
    }
}
