//! What is told on the way: logs at their levels, in their formats and places, and standard error for programs.

use std::{
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicUsize, Ordering},
};

use fs_err as fs;
use serde_json::Value;

use super::{
    bed::Bed,
    responder::{response, start_raw, start_tls},
};

const CAPABILITIES: &str = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}"#;

/// A store that refuses the first request for now, and takes the others.
fn hesitating() -> String {
    let turn = AtomicUsize::new(0);
    start_raw(move |head, body| {
        if head.contains("/metadata") {
            return response("200 OK", "", CAPABILITIES);
        }
        match turn.fetch_add(1, Ordering::Relaxed) {
            0 => response("503 Busy", "Retry-After: 0\r\n", ""),
            _ => response("200 OK", "", body),
        }
    })
}

fn bed(url: &str, more: &str) -> Bed {
    let bed = Bed::new();
    let patients: Vec<String> = (0..3)
        .map(|n| format!(r#"{{"resourceType":"Patient","id":"p{n}"}}"#))
        .collect();
    bed.write("p.ndjson", &patients.join("\n"));
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: t\ntargets:\n  clinic: {{ fhir: {{ url: \"{url}\" }}, concurrency: 1, retry: {{ base: 1ms, max: 2ms }}{more} }}\n\
             loads:\n  - {{ name: people, target: clinic, files: p.ndjson, interaction: update, bundle: none }}\n"
        ),
    );
    bed
}

#[test]
fn verbose_tells_the_story_and_twice_every_request() {
    let bed = bed(&hesitating(), "");
    let ran = bed.run(&["-v", "load", "m.yaml"]).exits(0);
    for told in [
        "a connection is set up  target=clinic url=http://127.0.0.1:",
        "the target was asked what it is  target=clinic ms=",
        "fhir=4.0.1",
        "a load begins  target=clinic load=people",
        "a request is tried again  target=clinic attempts=1",
        r#"because="the server answered 503""#,
        "a load is over",
    ] {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    assert!(!ran.err.contains("PUT /fhir"), "{}", ran.err);
    let ran = bed.run(&["-vv", "load", "m.yaml", "--fresh"]).exits(0);
    let asked = ran
        .err
        .lines()
        .find(|line| line.contains(" debug PUT /fhir/Patient/p1  "));
    let asked = asked.unwrap_or_else(|| panic!("{}", ran.err));
    for told in ["target=clinic", "status=200", "ms=", "attempt=1"] {
        assert!(asked.contains(told), "{asked}");
    }
}

#[test]
fn a_log_file_is_its_owners_alone_and_goes_on() {
    let bed = bed(&hesitating(), "");
    let log = |arguments: &[&str]| {
        let ran = bed.run(&[arguments, &["--log-file", "s.log", "--log-format", "json"]].concat());
        let ran = ran.exits(0);
        let log = fs::read_to_string(bed.path("s.log")).unwrap();
        let objects = log.lines().map(|line| serde_json::from_str(line).unwrap());
        (ran, objects.collect::<Vec<Value>>())
    };
    // Without -v what -v shows.
    let (ran, first) = log(&["load", "m.yaml"]);
    assert!(!ran.err.contains("a load begins"), "{}", ran.err);
    assert!(first.iter().all(|line| line["log"] == "info"));
    let again = first
        .iter()
        .find(|line| line["text"] == "a request is tried again");
    assert_eq!(again.unwrap()["attempts"], 1);
    let mode = fs::metadata(bed.path("s.log"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let (ran, all) = log(&["-q", "-vv", "load", "m.yaml", "--fresh"]);
    assert_eq!(ran.err, "");
    assert_eq!(all.get(..first.len()), Some(&first[..]));
    assert!(
        all.iter()
            .any(|line| line["log"] == "debug" && line["status"] == 200)
    );

    let ran = bed
        .run(&["load", "m.yaml", "--log-file", "nowhere/s.log"])
        .exits(5);
    assert!(
        ran.err.contains("cannot open the log file nowhere/s.log"),
        "{}",
        ran.err
    );
    // Quiet is quiet, logs included.
    let ran = bed
        .run(&["-q", "-vv", "load", "m.yaml", "--fresh"])
        .exits(0);
    assert_eq!(ran.err, "");
}

#[test]
fn a_log_file_that_cannot_be_written_is_said_once() {
    let bed = bed(&hesitating(), "");
    let ran = bed
        .run(&["-vv", "load", "m.yaml", "--log-file", "/dev/full"])
        .exits(0);
    let said = ran
        .err
        .matches("cannot write the log file /dev/full")
        .count();
    assert_eq!(said, 1, "{}", ran.err);
}

#[test]
fn all_of_standard_error_is_json_where_progress_is() {
    let bed = bed(&hesitating(), "");
    let what = |text: &str| -> Vec<&'static str> {
        let kinds = ["progress", "message", "log"];
        text.lines()
            .map(|line| {
                let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
                *kinds
                    .iter()
                    .find(|kind| object.get(**kind).is_some())
                    .unwrap()
            })
            .collect()
    };
    // What an earlier run has loaded is spoken of.
    bed.run(&["load", "m.yaml"]).exits(0);
    let ran = bed.run(&["-vv", "load", "m.yaml", "--progress", "json"]);
    let kinds = what(&ran.err);
    for kind in ["progress", "message", "log"] {
        assert!(kinds.contains(&kind), "{kind}: {}", ran.err);
    }
    bed.write("m.yaml", "version: 1\ntargets: 7\n");
    let ran = bed.run(&["load", "m.yaml", "--progress", "json"]).exits(2);
    let mut objects = ran
        .err
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let error = objects.find(|object| object["message"] == "error");
    let error = error.unwrap_or_else(|| panic!("{}", ran.err));
    assert!(
        error["file"].as_str().unwrap().ends_with("m.yaml"),
        "{error}"
    );
    what(&ran.err);
}

#[test]
fn plain_and_encrypted_ports_are_told_apart() {
    let plain = hesitating();
    let bed = self::bed(&plain.replace("http://", "https://"), "");
    let ran = bed.run(&["load", "m.yaml"]).exits(4);
    assert!(
        ran.err.contains("is the URL to be `http://`?"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("check scheme and port"), "{}", ran.err);

    let (tls, _) = start_tls(CAPABILITIES);
    let bed = self::bed(&tls.replace("https://", "http://"), "");
    let ran = bed.run(&["load", "m.yaml"]).exits(4);
    assert!(
        ran.err.contains("is the URL to be `https://`?"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("try again"), "{}", ran.err);
}
