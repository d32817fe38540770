//! DICOMweb servers that store, and answer neither searches nor reads.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use fs_err as fs;
use serde_json::json;

use super::{bed::Bed, responder::start_raw};
use crate::support::instances::{uids, written};

fn response(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Any\r\nContent-Type: application/dicom+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Stores what is new to it, and says of the rest that it has it.
fn store(held: &Mutex<HashSet<String>>, body: &str) -> String {
    let mut held = held.lock().unwrap();
    let (mut stored, mut failed) = (Vec::new(), Vec::new());
    for number in 1..=2 {
        let uid = uids(1, number).instance;
        if !body.contains(&uid) {
            continue;
        }
        let item = json!({ "00081155": { "vr": "UI", "Value": [uid] } });
        if held.insert(uid) {
            stored.push(item);
        } else {
            let mut item = item;
            item["00081197"] = json!({ "vr": "US", "Value": [0x0111] });
            failed.push(item);
        }
    }
    let status = match (stored.is_empty(), failed.is_empty()) {
        (true, true) => return response(400, ""),
        (false, true) => 200,
        (false, false) => 202,
        (true, false) => 409,
    };
    let answer = json!({ "00081199": { "Value": stored }, "00081198": { "Value": failed } });
    response(status, &answer.to_string())
}

#[test]
fn a_server_that_only_stores_is_loaded_also_a_second_time() {
    for (search, read, body) in [
        (400, 501, ""),
        (404, 404, ""),
        (404, 406, ""),
        (405, 200, "[]"),
        (406, 400, ""),
        (501, 501, ""),
    ] {
        let held = Arc::new(Mutex::new(HashSet::new()));
        let own = Arc::clone(&held);
        let url = start_raw(move |head, sent| {
            let line = head.lines().next().unwrap_or_default();
            if line.starts_with("POST") {
                return store(&own, sent);
            }
            let (status, body) = if line.contains("/metadata") {
                (read, body)
            } else {
                (search, "")
            };
            response(status, body)
        });
        let bed = Bed::new();
        bed.write(
            "m.yaml",
            &format!(
                "version: 1\nname: scans\ntargets: {{ t: {{ dicomweb: {{ url: \"{url}\" }}, retry: {{ attempts: 2, base: 1ms, max: 2ms }} }} }}\nloads: [ {{ name: scans, files: [\"in/*\"] }} ]\n"
            ),
        );
        fs::create_dir(bed.path("in")).unwrap();
        let put = |number: u32| {
            let bytes = written(&uids(1, number).tiny());
            fs::write(bed.path(&format!("in/{number}")), bytes).unwrap();
        };
        put(1);
        let ran = bed.run(&["load", "m.yaml"]).exits(0);
        assert_eq!(bed.count("created"), 1, "{search} {read}: {}", ran.out);
        put(2);
        let ran = bed.run(&["load", "m.yaml"]).exits(0);
        let counts = (bed.count("created"), bed.count("matched"));
        assert_eq!(counts, (1, 1), "{search} {read}: {}{}", ran.out, ran.err);
        assert_eq!(held.lock().unwrap().len(), 2);
    }
}

/// Something else that knows nothing of studies is still named.
#[test]
fn a_server_of_another_kind_is_no_store_of_instances() {
    let outcome =
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}"#;
    for (search, write, body) in [
        (404, 404, ""),
        (404, 400, outcome),
        (400, 200, "<html>"),
        (404, 405, ""),
    ] {
        let url = start_raw(move |head, _| {
            if head.starts_with("POST") {
                return response(write, body);
            }
            response(search, "")
        });
        let bed = Bed::new();
        bed.write(
            "m.yaml",
            &format!(
                "version: 1\nname: scans\ntargets: {{ t: {{ dicomweb: {{ url: \"{url}\" }} }} }}\nloads: [ {{ name: scans, files: [\"in/*\"] }} ]\n"
            ),
        );
        fs::create_dir(bed.path("in")).unwrap();
        fs::write(bed.path("in/1"), written(&uids(1, 1).tiny())).unwrap();
        let ran = bed.run(&["load", "m.yaml"]).exits(4);
        assert!(
            ran.err.contains("when asked for its studies"),
            "{}",
            ran.err
        );
    }
}
