//! What a store holds is compared with what the sources say: a store that was altered by hand in thirty records.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use fs_err as fs;
use serde_json::{Value, json};

use stoker::dicom::sample::SampleInstance;

use super::{
    bed::Bed,
    responder::{response, start_raw},
    unload::Stores,
};
use crate::support::instances::{uids, written};

/// Observations with decimals that are no numbers of a computer, and two references each.
fn observations(bed: &Bed) {
    let mut lines = String::new();
    for number in 0..120 {
        write!(lines, r#"{{"resourceType":"Observation","id":"o{number}","status":"final","code":{{"text":"Plantedtext"}},"subject":{{"reference":"Patient/s{}"}},"valueQuantity":{{"value":{number}.50}}}}"#,
            number % 9).unwrap();
        lines.push('\n');
    }
    for number in 0..9 {
        writeln!(
            lines,
            "{{\"resourceType\":\"Patient\",\"id\":\"s{number}\"}}"
        )
        .unwrap();
    }
    bed.write("in/kept.ndjson", &lines);
}

fn verify(bed: &Bed, what: &str, more: &[&str], code: i32) -> Value {
    let ran = bed
        .run(&[&["verify", what, "--json"], more].concat())
        .exits(code);
    assert!(!ran.out.contains("Plantedtext"), "no content: {}", ran.out);
    serde_json::from_str(&ran.out).unwrap()
}

/// The names of what differs, by outcome, with the paths.
fn differing(report: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for differing in report["differing"].as_array().unwrap() {
        let text = |member: &str| differing[member].as_str().unwrap().to_owned();
        let paths = differing["differences"].as_array().into_iter().flatten();
        let paths: Vec<&str> = paths.map(|at| at["path"].as_str().unwrap()).collect();
        let name = format!("{}/{} {}", text("type"), text("id"), paths.join(" "));
        assert!(
            found
                .entry(text("outcome"))
                .or_default()
                .insert(name.trim().to_owned())
        );
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_records_that_were_altered_are_found_and_no_others() {
    let stores = Stores::start(&[]);
    let bed = &stores.bed;
    observations(bed);
    let _ = bed.run(&["load", "before.yaml"]).exits(0);
    let before = stores.get("hl7V2Stores/hl7v2/messages").await;
    let before = before["hl7V2Messages"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let run = bed.newest_run();
    let run = run.to_str().unwrap();
    // What was there before is not of this run: the practitioner, and the device.
    let report = verify(bed, run, &["--all"], 1);
    let found = differing(&report);
    let was_there: BTreeSet<String> = ["Practitioner/was-there", "Device/d"]
        .map(str::to_owned)
        .into();
    let extra = found.get("extra").cloned().unwrap_or_default();
    assert!(extra.is_subset(&was_there) && found.len() <= 1, "{found:?}");
    assert_eq!(
        verify(bed, run, &["--all", "--ignore-extra"], 0)["same"],
        true
    );

    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    if !extra.is_empty() {
        expected.insert("extra".to_owned(), extra);
    }
    let mut expect = |outcome: &str, name: String| {
        assert!(expected.entry(outcome.to_owned()).or_default().insert(name));
    };
    let alter = async |name: String, from: String, to: &str| {
        let path = format!("fhirStores/fhir/fhir/{name}");
        let resource = stores.get(&path).await.to_string();
        assert!(resource.contains(&from), "{resource}");
        let altered: Value = serde_json::from_str(&resource.replace(&from, to)).unwrap();
        stores
            .send(reqwest::Method::PUT, &path, Some(&altered))
            .await;
    };
    // A digit of a decimal, also where the number is the same.
    for number in 0..10 {
        let name = format!("Observation/o{number}");
        let to = if number % 2 == 0 {
            format!(":{number}.5}}")
        } else {
            format!(":{number}.51}}")
        };
        alter(name.clone(), format!(":{number}.50}}"), &to).await;
        expect("changed", format!("{name} Observation.valueQuantity.value"));
    }
    // A reference.
    for number in 10..16 {
        let name = format!("Observation/o{number}");
        let from = format!("Patient/s{}\"", number % 9);
        alter(
            name.clone(),
            from,
            &format!("Patient/s{}\"", (number + 1) % 9),
        )
        .await;
        expect("changed", format!("{name} Observation.subject.reference"));
    }
    // An element more.
    alter(
        "Observation/o16".to_owned(),
        "\"status\"".to_owned(),
        "\"issued\":\"2026-01-01T00:00:00Z\",\"status\"",
    )
    .await;
    expect("changed", "Observation/o16 Observation.issued".to_owned());
    // A text, a code, and elements that are gone or in another place.
    for (number, from, to, at) in [
        (17, "Plantedtext", "Planted text", "Observation.code.text"),
        (18, "final", "amended", "Observation.status"),
        (
            19,
            ",\"valueQuantity\":{\"value\":19.50}",
            "",
            "Observation.valueQuantity",
        ),
        (
            25,
            "\"code\":{\"text\":\"Plantedtext\"}",
            "\"code\":{\"coding\":[{\"code\":\"x\"}],\"text\":\"Plantedtext\"}",
            "Observation.code.coding",
        ),
    ] {
        let name = format!("Observation/o{number}");
        alter(name.clone(), from.to_owned(), to).await;
        expect("changed", format!("{name} {at}"));
    }
    // Deleted.
    for number in 20..25 {
        let name = format!("Observation/o{number}");
        let path = format!("fhirStores/fhir/fhir/{name}");
        stores.send(reqwest::Method::DELETE, &path, None).await;
        expect("missing", name);
    }
    // Made by hand.
    for number in 0..4 {
        let name = format!("Observation/mine-{number}");
        let path = format!("fhirStores/fhir/fhir/{name}");
        let mine = json!({"resourceType": "Observation", "id": format!("mine-{number}"), "status": "final", "code": {"text": "x"}});
        stores.send(reqwest::Method::PUT, &path, Some(&mine)).await;
        expect("extra", name);
    }
    // Instances and messages.
    for number in 0..2 {
        let name = format!("studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.{number}");
        let path = format!("dicomStores/dicom/dicomWeb/{name}");
        stores.send(reqwest::Method::DELETE, &path, None).await;
        expect("missing", format!("DX/{name}"));
    }
    // One has other contents under its UIDs, and one is new: somebody else loaded them.
    let path = "dicomStores/dicom/dicomWeb/studies/1.2.2/series/1.2.2.1/instances/1.2.2.1.0";
    stores.send(reqwest::Method::DELETE, path, None).await;
    fs::create_dir_all(bed.path("in/hand")).unwrap();
    for (name, uids) in [("a", uids(2, 0)), ("b", uids(9, 0))] {
        let sample = SampleInstance {
            description: "Plantedother",
            ..uids.tiny()
        };
        fs::write(bed.path("in/hand").join(name), written(&sample)).unwrap();
    }
    bed.write(
        "hand.yaml",
        &format!(
            "version: 1\nname: hand\nstate: .hand\ntargets: {{ images: {} }}\nloads: [ {{ name: l, target: images, files: [\"in/hand/*\"] }} ]\n",
            stores.target("dicom_store: dicom", "")
        ),
    );
    let _ = bed.run(&["load", "hand.yaml"]).exits(0);
    let id = before.rsplit('/').next().unwrap();
    let path = format!("hl7V2Stores/hl7v2/messages/{id}");
    stores.send(reqwest::Method::DELETE, &path, None).await;
    expect("missing", format!("ADT^A04/{id}"));
    let data = "TVNIfF5+XCZ8QXxCfEN8RHwyMDI2MDEwMXx8QURUXkEwNHxtM3h8UHwyLjUNUElEfDF8fHAzDQ==";
    let mine = json!({"message": {"data": data}});
    stores
        .send(
            reqwest::Method::POST,
            "hl7V2Stores/hl7v2/messages",
            Some(&mine),
        )
        .await;
    let report = verify(bed, run, &["--all"], 1);
    let mut found = differing(&report);
    // The message that was made by hand has a name that nobody foresees.
    let extra = found.get_mut("extra").unwrap();
    let message = extra
        .iter()
        .find(|name| name.starts_with('/') && !name.contains("studies"))
        .cloned()
        .unwrap();
    extra.remove(&message);
    let instance = "studies/1.2.2/series/1.2.2.1/instances/1.2.2.1.0";
    let changed = found.get_mut("changed").unwrap();
    let changed_instance = changed.iter().find(|name| name.contains(instance)).cloned();
    assert!(changed.remove(&changed_instance.unwrap()));
    let other = "studies/1.2.9/series/1.2.9.1/instances/1.2.9.1.0";
    let extra = found.get_mut("extra").unwrap();
    assert!(extra.remove(&format!("/{other}")), "{extra:?}");
    assert_eq!(found, expected);
    assert_eq!(report["outcomes"]["changed"], 22);
    assert_eq!(report["outcomes"]["missing"], 8);
    assert_eq!(report["outcomes"]["unknown"], 0);

    // The same, where the manifest is compared; counts alone say what counts can say.
    let mut manifest = differing(&verify(bed, "m.yaml", &["--all"], 1));
    manifest
        .get_mut("changed")
        .unwrap()
        .retain(|name| !name.contains(instance));
    assert_eq!(manifest.get("changed"), expected.get("changed"));
    let counts = verify(bed, run, &["--counts"], 1);
    // What is gone and what came cancel each other out, type by type.
    assert_eq!(counts["outcomes"]["missing"], 1 + 1);
    let shown = bed
        .run(&["verify", run, "--all", "--show-content"])
        .exits(1);
    assert!(
        shown.out.contains("source 0.50") && shown.out.contains("store  0.5\n"),
        "{}",
        shown.out
    );
    let plain = bed.run(&["verify", run, "--all"]).exits(1);
    assert!(!plain.out.contains("0.50") && plain.out.contains("Observation.valueQuantity.value"));
    // A sample of all is all.
    let sample = verify(bed, run, &["--sample", "100000"], 1);
    assert_eq!(sample["outcomes"]["changed"], 22);
    assert_eq!(sample["sample"], false);
}

#[test]
fn compressed_bundles_and_their_references_are_the_same() {
    let bed = Bed::with_samples();
    let entries: Vec<Value> = (0..40)
        .flat_map(|number| {
            let url = format!("urn:uuid:00000000-0000-4000-8000-{number:012}");
            let request = |kind: &str| json!({"method": "POST", "url": kind});
            [
                json!({"fullUrl": url, "request": request("Patient"), "resource": {"resourceType": "Patient", "gender": "other"}}),
                json!({"request": request("Observation"), "resource": {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": url}}}),
            ]
        })
        .collect();
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, format!("{bundle}\n").as_bytes()).unwrap();
    fs::write(bed.path("b.ndjson.gz"), packed.finish().unwrap()).unwrap();
    bed.write(
        "m.yaml",
        "version: 1\nname: b\ntargets: { t: { local: store } }\nloads: [ { name: l, target: t, files: [b.ndjson.gz], settle: tag } ]\n",
    );
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let run = bed.newest_run();
    let report = verify(&bed, run.to_str().unwrap(), &["--all"], 0);
    assert_eq!(report["outcomes"]["same"], 80);
    assert!(!run.join("spool").exists());
    // A source that is not what it was is no source of truth.
    bed.write("b.ndjson.gz", "");
    let _ = bed.run(&["verify", run.to_str().unwrap()]).exits(2);
    // What was never loaded is missing.
    bed.write("n.ndjson", "{\"resourceType\":\"Patient\"}\n");
    bed.write(
        "n.yaml",
        "version: 1\nname: n\ntargets: { t: { local: store } }\nloads: [ { name: l, target: t, files: [n.ndjson] } ]\n",
    );
    let report = verify(&bed, "n.yaml", &["--all", "--ignore-extra"], 1);
    assert_eq!(report["outcomes"]["missing"], 1, "{report}");
}

#[test]
fn what_a_run_does_not_know_is_looked_for() {
    let stores = Stores::start(&["--faults", "slow.yaml"]);
    let bed = &stores.bed;
    let mut lines = String::new();
    for number in 0..400 {
        writeln!(lines, "{{\"resourceType\":\"Patient\",\"gender\":\"other\",\"multipleBirthInteger\":{number}}}").unwrap();
    }
    bed.write("in/many.ndjson", &lines);
    bed.write(
        "doubt.yaml",
        &stores.manifest("doubt", "in/many.ndjson", "settle: tag, bundle: none"),
    );
    let mut child = bed.command(&["load", "doubt.yaml", "-q"]).spawn().unwrap();
    // Killed as soon as some have been sent: the store takes its time.
    let journal = loop {
        std::thread::sleep(std::time::Duration::from_millis(5));
        let runs = fs::read_dir(bed.path(".stoker/runs")).into_iter().flatten();
        let mut journals = runs.map(|run| run.unwrap().path().join("journal.ndjson"));
        let journal = journals.find_map(|path| fs::read_to_string(path).ok());
        let journal = journal.unwrap_or_default();
        if journal.matches("\"settle\"").count() > 20 {
            break journal;
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(journal.contains("\"intend\""));
    let run = bed.newest_run();
    let run = run.to_str().unwrap();
    let report = verify(bed, run, &["--all"], 0);
    let doubt = |report: &Value, word: &str| report["in_doubt"][word].as_u64().unwrap();
    assert!(
        doubt(&report, "there") + doubt(&report, "not_there") > 0,
        "{report}"
    );
    assert_eq!(doubt(&report, "unproven"), 0);
    let same = report["outcomes"]["same"].as_u64().unwrap();
    assert!(same > 20 && same < 400, "{report}");
    // The run says so from now on: what is there was created, the rest is still to come.
    let told = bed.run(&["report", run, "--format", "json"]);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told["outcomes"]["created"], same, "{told}");
    assert_eq!(told["outcomes"]["pending"], 400 - same);
    assert_eq!(told["outcomes"]["unknown"], 0);
    let written = fs::read_to_string(bed.path(run).join("report.json")).unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written["outcomes"], told["outcomes"]);
    let resumed = bed.run(&["resume", run]).exits(0);
    assert!(!resumed.err.contains("asked"), "{}", resumed.err);
    let report = verify(bed, run, &["--all"], 0);
    assert_eq!(report["outcomes"]["same"], 400);
    assert_eq!(doubt(&report, "there") + doubt(&report, "not_there"), 0);
}

/// The store takes what it is sent, its answers are lost, and it does not answer questions for a while.
const MUTE: &str = "rules:
- { when: { path: \"**/messages/*\", method: GET, until: 60 }, fault: { answer: { status: 503 } } }
- { when: { path: \"**/dicomWeb/**\", method: GET, until: 60 }, fault: { answer: { status: 503 } } }
- { when: { request: [read, search], until: 40 }, fault: { answer: { status: 503 } } }
- { when: { path: \"**/dicomWeb/studies\", method: POST, until: 60 }, fault: { reset: after_write } }
- { when: { path: \"**/messages*\", method: POST, until: 60 }, fault: { reset: after_write } }
- { when: { path: \"**/fhir/Device/*\", method: PUT, until: 60 }, fault: { reset: after_write } }
";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_proven_of_all_kinds_is_written_into_the_run() {
    let stores = Stores::start_as(&["--faults", "mute.yaml"], &[("mute.yaml", MUTE)]);
    let bed = &stores.bed;
    let manifest = fs::read_to_string(bed.path("m.yaml")).unwrap();
    let manifest = manifest.replace("attempts: 12", "attempts: 2");
    bed.write("once.yaml", &manifest);
    let ran = bed.run(&["load", "once.yaml"]);
    let run = bed.newest_run();
    let run = run.to_str().unwrap();
    let unknown = bed.count("unknown");
    assert!(unknown > 0, "{}", ran.out);
    // The store answers again by and by.
    let mut report = Value::Null;
    for _ in 0..40 {
        let ran = bed.run(&["verify", run, "--all", "--json", "--ignore-extra"]);
        if let Ok(told) = serde_json::from_str::<Value>(&ran.out)
            && told["in_doubt"]["unproven"] == 0
        {
            report = told;
            break;
        }
    }
    assert_eq!(report["outcomes"]["unknown"], 0, "{report}");
    assert_eq!(bed.count("unknown"), 0);
}

/// Three thousand patients in a store whose reads take their time, loaded by `many.yaml`.
fn many() -> Stores {
    let stores = Stores::start_as(
        &["--faults", "slow-reads.yaml"],
        &[(
            "slow-reads.yaml",
            "rules:\n- { when: { request: [bundle], method: POST }, fault: { latency: { fixed: 60ms } } }\n",
        )],
    );
    let bed = &stores.bed;
    let mut lines = String::new();
    for number in 0..3_000 {
        writeln!(
            lines,
            "{{\"resourceType\":\"Patient\",\"id\":\"k{number}\",\"multipleBirthInteger\":{number}}}"
        )
        .unwrap();
    }
    bed.write("in/many.ndjson", &lines);
    let manifest = stores.manifest("many", "in/many.ndjson", "");
    let manifest = manifest.replace("interaction: create", "interaction: update");
    bed.write(
        "many.yaml",
        &manifest.replace("} } }\nloads", "}, concurrency: 2 } }\nloads"),
    );
    let _ = bed.run(&["load", "before.yaml"]).exits(0);
    let _ = bed.run(&["load", "many.yaml"]).exits(0);
    stores
}

/// Begins to verify, and kills that when something is noted; returns the text of the progress.
async fn kill_verifying(bed: &Bed, what: &str, state: &std::path::Path) -> Vec<u8> {
    let mut child = bed
        .command(&["verify", what, "--all", "-q"])
        .spawn()
        .unwrap();
    while !fs::read_to_string(state).is_ok_and(|text| text.contains("\"checked\"")) {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it was over before it was killed"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    fs::read(state).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_of_a_manifest_that_is_killed_goes_on_where_it_was() {
    let stores = many();
    let bed = &stores.bed;
    let state = bed.path(".stoker/verify/many.yaml.ndjson");
    kill_verifying(bed, "many.yaml", &state).await;
    let again = || bed.run(&["verify", "many.yaml", "--all", "--json"]);
    let ran = again().exits(0);
    assert!(ran.err.contains("going on with"), "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&report["outcomes"]["same"], &report["read"]),
        (&json!(3_000), &json!(3_000)),
        "{report}"
    );
    assert!(!bed.path(".stoker/verify").exists(), "nothing is left");

    // Of sources that are not what they were, it begins anew, and says so.
    kill_verifying(bed, "many.yaml", &state).await;
    let lines = fs::read_to_string(bed.path("in/many.ndjson")).unwrap();
    bed.write(
        "in/many.ndjson",
        &lines.replace("\"multipleBirthInteger\":5}", "\"multipleBirthInteger\":6}"),
    );
    let ran = again().exits(1);
    assert!(
        !ran.err.contains("going on with") && ran.err.contains("is begun anew: the sources"),
        "{}",
        ran.err
    );
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&report["outcomes"]["same"], &report["outcomes"]["changed"]),
        (&json!(2_999), &json!(1)),
        "{report}"
    );

    // Where the progress cannot be kept, that is said, and nothing else is the matter.
    bed.write(".stoker/verify", "");
    let ran = again().exits(1);
    assert!(ran.err.contains("is not kept"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_that_is_killed_goes_on_where_it_was() {
    let stores = many();
    let bed = &stores.bed;
    let run = bed.newest_run();
    let changed = json!({"resourceType": "Patient", "id": "k3", "multipleBirthInteger": 77_077});
    let path = "fhirStores/fhir/fhir/Patient/k3";
    stores
        .send(reqwest::Method::PUT, path, Some(&changed))
        .await;
    let name = run.to_str().unwrap();
    let state = run.join("verify.ndjson");
    // A torn line is no harm.
    let mut torn = kill_verifying(bed, name, &state).await;
    assert!(torn.len() < 64 << 10, "{}", torn.len());
    torn.extend_from_slice(b"{\"checked\":{\"record\":99");
    fs::write(&state, torn).unwrap();
    let ran = bed.run(&["verify", name, "--all", "--json"]).exits(1);
    assert!(ran.err.contains("going on with"), "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let outcomes = &report["outcomes"];
    assert_eq!(
        (&outcomes["same"], &outcomes["changed"]),
        (&json!(2_999), &json!(1)),
        "{report}"
    );
    assert_eq!(report["read"], 3_000);
    assert_eq!(report["differing"][0]["id"], "k3");
    assert!(!state.exists(), "the next one begins anew");
    let kept: Value =
        serde_json::from_str(&fs::read_to_string(run.join("verify.json")).unwrap()).unwrap();
    assert_eq!(kept, report);
    let page = fs::read_to_string(run.join("verify.html")).unwrap();
    assert!(page.contains("Patient.multipleBirthInteger"), "{page}");
    assert!(!page.contains("77077"), "values are content: {page}");
    // With the values, it stands where content may stand.
    let shown = bed
        .run(&["verify", name, "--all", "--show-content"])
        .exits(1);
    assert!(!shown.err.contains("going on with"), "{}", shown.err);
    let path = run.join("rejected/verify.html");
    let page = fs::read_to_string(&path).unwrap();
    assert!(page.contains("+ 77077") && page.contains("- 3<"), "{page}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let names = |folder: &std::path::Path| -> Vec<String> {
        let entries = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        entries
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    };
    assert!(!names(&run).iter().any(|name| name.contains(".new")));
}

/// A server that holds two instances, and does not know where a page begins.
fn forgets_offsets(head: &str, _: &str) -> String {
    let uid = |text: String| json!({ "vr": "UI", "Value": [text] });
    let numbers = [1, 2];
    let body = if head.starts_with("POST") {
        let stored = numbers.map(|number| {
            json!({ "00081150": uid("1.2.840.10008.5.1.4.1.1.7".to_owned()), "00081155": uid(uids(1, number).instance) })
        });
        json!({ "00081199": { "vr": "SQ", "Value": stored } })
    } else {
        let listed = numbers.map(|number| {
            json!({ "0020000D": uid("1.2.1".to_owned()), "0020000E": uid("1.2.1.1".to_owned()), "00080018": uid(uids(1, number).instance) })
        });
        json!(listed)
    };
    response("200 OK", "", &body.to_string()).replace("fhir+json", "dicom+json")
}

#[test]
fn a_store_that_gives_the_same_page_for_ever_is_not_counted() {
    let bed = Bed::new();
    let url = start_raw(forgets_offsets);
    fs::create_dir(bed.path("in")).unwrap();
    for number in [1, 2] {
        fs::write(
            bed.path(&format!("in/{number}")),
            written(&uids(1, number).tiny()),
        )
        .unwrap();
    }
    bed.write(
        "m.yaml",
        &format!("version: 1\nname: scans\ntargets: {{ t: {{ dicomweb: {{ url: '{url}' }} }} }}\nloads: [ {{ name: scans, files: ['in/*'] }} ]\n"),
    );
    bed.run(&["load", "m.yaml", "--progress", "none"]).exits(0);
    let run = bed.newest_run();
    let ran = bed.run(&["verify", run.to_str().unwrap(), "--counts"]);
    assert!(ran.out.contains('?'), "{}\n{}", ran.out, ran.err);
}

#[test]
fn instances_that_a_server_may_have_had_before_are_told_before_they_are_deleted() {
    let bed = Bed::new();
    let url = start_raw(forgets_offsets);
    fs::create_dir(bed.path("in")).unwrap();
    fs::write(bed.path("in/1"), written(&uids(1, 1).tiny())).unwrap();
    bed.write(
        "m.yaml",
        &format!("version: 1\nname: scans\ntargets: {{ t: {{ dicomweb: {{ url: '{url}' }} }} }}\nloads: [ {{ name: scans, files: ['in/*'] }} ]\n"),
    );
    bed.run(&["load", "m.yaml", "--progress", "none"]).exits(0);
    let run = bed.newest_run();
    let shown = bed
        .run(&["unload", run.to_str().unwrap(), "--dry-run"])
        .exits(0);
    assert!(
        shown.err.contains("may have been there before the run"),
        "{}",
        shown.err
    );
}
