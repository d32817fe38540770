//! Targets that refuse everything after they had been found to be well: no record is burnt, and the run can go on.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::{
    bed::{Bed, Ran},
    responder,
};

const METADATA: &str =
    r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{"mode":"server"}]}"#;
const TAKEN: &str = r#"{"resourceType":"Patient"}"#;
const LOGIN: &str = "<html>Please log in</html>";

type Answer = (u16, &'static str, &'static str);

/// Loads 200 records into a server that takes 20 of them and then answers as told, reads and writes.
fn load(interaction: &str, read: Answer, write: Answer) -> (Bed, Ran) {
    let writes = AtomicU32::new(0);
    let (url, _) = responder::start(move |line| {
        let is_read = line.starts_with("GET");
        let before = if is_read {
            writes.load(Ordering::SeqCst)
        } else {
            writes.fetch_add(1, Ordering::SeqCst)
        };
        match (before < 20, is_read) {
            (true, true) => (200, "", METADATA),
            (true, false) => (201, "", TAKEN),
            (false, true) => read,
            (false, false) => write,
        }
    });
    let bed = Bed::new();
    let records = (0..200).map(|n| format!(r#"{{"resourceType":"Patient","id":"p{n}"}}"#));
    bed.write("p.ndjson", &records.collect::<Vec<_>>().join("\n"));
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: t\ntargets:\n  t: {{ fhir: {{ url: \"{url}\" }}, give_up_after: 2s }}\n\
             loads:\n  - {{ name: l, files: [p.ndjson], interaction: {interaction} }}\n"
        ),
    );
    let ran = bed.run(&["load", "m.yaml", "--progress", "none"]);
    assert!(
        ran.out.contains("Go on           stoker resume"),
        "{}",
        ran.out
    );
    (bed, ran.exits(4))
}

/// A server that keeps the last record that was posted, answers writes as told, and after the first is gone until it is back.
fn forgetful(status: &'static str, is_back: &Arc<AtomicBool>) -> String {
    let (kept, is_back) = (Mutex::new(String::new()), Arc::clone(is_back));
    responder::start_raw(move |head, body| {
        let mut kept = kept.lock().unwrap();
        if head.starts_with("POST") {
            // As the store keeps it: under an id of its own.
            let resource = body.strip_prefix('{').unwrap();
            *kept = format!("{{\"id\":\"s1\",{resource}");
            return responder::response(status, "", "");
        }
        if !kept.is_empty() && !is_back.load(Ordering::SeqCst) {
            return responder::response("404 Gone", "", "gone");
        }
        let line = head.lines().next().unwrap_or_default();
        let found = format!(
            r#"{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{kept},"search":{{"mode":"match"}}}}]}}"#
        );
        let body = match (line.contains("metadata"), line.contains('?')) {
            (true, _) => METADATA,
            (false, true) => &found,
            (false, false) => &kept,
        };
        responder::response("200 OK", "", body)
    })
}

#[test]
fn who_cannot_be_asked_any_more_is_asked_by_the_next_session() {
    // Whether it arrived is not known; and it arrived, but its id is not known.
    for status in ["500 Lost", "201 Created"] {
        let is_back = Arc::default();
        let url = forgetful(status, &is_back);
        let bed = Bed::new();
        bed.write("p.json", r#"{"resourceType":"Patient","active":true}"#);
        bed.write(
            "m.yaml",
            &format!(
                "version: 1\nname: t\ntargets:\n  t: {{ fhir: {{ url: \"{url}\" }}, give_up_after: 2s }}\n\
                 loads:\n  - {{ name: l, files: [p.json], bundle: none, interaction: create, settle: tag }}\n"
            ),
        );
        // Nobody knows of the record, nothing is said of it, and the run is not over.
        let ran = bed.run(&["load", "m.yaml", "--progress", "none"]).exits(4);
        assert_eq!(bed.count("unknown"), 1, "{status}: {}", ran.out);
        assert!(
            ran.out.contains("Go on           stoker resume") && !ran.out.contains("--replay"),
            "{status}: {}",
            ran.out
        );
        is_back.store(true, Ordering::SeqCst);
        let run = bed.newest_run();
        let ran = bed.run(&["resume", run.to_str().unwrap()]).exits(0);
        assert_eq!(bed.count("created"), 1, "{status}: {}", ran.out);
        let ids = fs_err::read_to_string(run.join("ids.ndjson")).unwrap();
        assert!(ids.contains("s1"), "{status}: {ids}");
    }
}

fn without_times(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    if let Some(at) = words.iter().position(|word| *word == "for") {
        words[at + 1] = "…";
    }
    words.join(" ")
}

#[test]
fn a_store_that_is_deleted_costs_no_record() {
    let gone = (404, "", r#"{"error":{"code":404,"status":"NOT_FOUND"}}"#);
    let (bed, ran) = load("create", gone, gone);
    assert_eq!((bed.count("created"), bed.count("pending")), (20, 180));
    insta::assert_snapshot!(without_times(&ran.err), @r##"
    error: target `t`: down for … s: the store is not there (404)
    hint: check the address, that the server runs and the store or receiver is there, and that its credentials, if it asks for any, still hold; then `stoker resume` goes on. `give_up_after` waits longer
    "##);
}

#[test]
fn a_login_page_that_comes_between_costs_no_record() {
    let login = (200, "", LOGIN);
    let (bed, ran) = load("update", login, login);
    assert_eq!((bed.count("created"), bed.count("pending")), (20, 180));
    insta::assert_snapshot!(without_times(&ran.err), @r##"
    error: target `t`: down for … s: what answers does not speak the store's protocol
    hint: check the address, that the server runs and the store or receiver is there, and that its credentials, if it asks for any, still hold; then `stoker resume` goes on. `give_up_after` waits longer
    "##);
    // What must not be sent twice may have been taken, for all anybody knows; but that is little.
    let (bed, _) = load("create", login, login);
    let unknown = bed.count("unknown");
    assert!((1..40).contains(&unknown), "{unknown}");
    assert_eq!(bed.count("pending"), 180 - unknown);
}

#[test]
fn rights_that_are_taken_away_end_the_run() {
    let forbidden = (
        403,
        "",
        r#"{"error":{"code":403,"status":"PERMISSION_DENIED"}}"#,
    );
    let (bed, ran) = load("create", (200, "", METADATA), forbidden);
    let rejected = bed.count("rejected");
    assert!((49..60).contains(&rejected), "{rejected}");
    assert_eq!(bed.count("pending"), 180 - rejected);
    insta::assert_snapshot!(ran.err, @r##"
    error: target `t`: the server refused 50 requests in a row with 403, and let none through between them
    hint: the credentials may lack the right to write, or have lost it; on Google Cloud the editor's role for the store's kind holds it (IAM, Healthcare). Then `stoker resume` goes on; the records that were refused are in rejected/
    "##);
}

#[test]
fn a_server_that_asks_who_one_is_ends_the_run() {
    let unauthorized = (401, "", "");
    let (bed, ran) = load("create", (200, "", METADATA), unauthorized);
    assert_eq!((bed.count("created"), bed.count("pending")), (20, 180));
    insta::assert_snapshot!(ran.err, @r##"
    error: target `t`: the server asks for credentials (401)
    hint: the target names no credentials; give it some, as with `auth: { bearer: { env: TOKEN } }`
    "##);
}
