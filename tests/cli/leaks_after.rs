//! Patients' data and secrets in what is done after a load: `verify`, `unload` and `reset` of a store that says all it was told,
//! in every place of an answer that has room for words.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
};

use fs_err as fs;
use serde_json::{Value, json};

use super::{
    bed::Bed,
    collector::Collector,
    leaks::{
        CAPABILITIES, NAMES, SECRETS, TOKENS, bundle, got, holds, outcome, patient, run, written,
    },
    responder::{response, start_raw},
};

const PEOPLE: usize = 40;

/// A resource of this name, as somebody else left it.
fn other(id: &str) -> Value {
    json!({"resourceType": "Patient", "id": id, "meta": {"versionId": "1"}, "birthDate": "19440113",
        "name": [{"family": "Another Lindqvist", "_family": {"Zebedee": "Lindqvist"}}],
        "Lindqvist": {"Anna Lindqvist": "19440113"}})
}

/// Answers to an entry of a batch of reads.
fn entry(number: usize, url: &str, echo: &str) -> Value {
    let id = url.rsplit('/').next().unwrap();
    let etag = "W/\"1\"";
    match number % 8 {
        0..=2 => json!({"resource": serde_json::from_str::<Value>(&patient(id)).unwrap(),
            "response": {"status": "200 Lindqvist", "etag": etag}}),
        3 => json!({"resource": other(id), "response": {"status": "200", "etag": etag}}),
        4 => {
            json!({"resource": outcome(echo), "response": {"status": "404 Zebedee", "outcome": outcome(echo)}})
        }
        5 => {
            json!({"resource": other("Anna Lindqvist"), "response": {"status": "200 OK", "etag": "W/\"Anna Lindqvist\""}})
        }
        6 => json!({"response": {"status": "Lindqvist", "outcome": outcome(echo)}}),
        _ => {
            json!({"resource": "Lindqvist", "response": {"status": "500 Lindqvist", "location": "http://a.example/Lindqvist"}})
        }
    }
}

/// A page of a search, with a next one at another host.
fn page(turn: usize, echo: &str) -> String {
    let names = ["Anna Lindqvist", "19440113 Zebedee", "p1"];
    let entries = names.map(|id| json!({"fullUrl": format!("http://a.example/{id}?name=Lindqvist"), "resource": other(id), "search": {"mode": "Lindqvist"}}));
    let next = if turn.is_multiple_of(2) {
        "http://other.example/Lindqvist?name=Lindqvist"
    } else {
        "Patient?name=Anna Lindqvist"
    };
    let body = json!({"resourceType": "Bundle", "type": "searchset", "total": 3, "entry": entries,
        "link": [{"relation": "next", "url": next}, {"relation": "Lindqvist", "url": echo}]});
    response("200 Lindqvist", "", &body.to_string())
}

fn refused(turn: usize, echo: &str) -> String {
    let said = outcome(echo).to_string();
    match turn % 5 {
        0 => response("204 Lindqvist", "ETag: W/\"Anna Lindqvist\"\r\n", ""),
        1 => response(
            "409 Lindqvist",
            "Location: http://a.example/Lindqvist\r\n",
            &said,
        ),
        2 => response("412 Zebedee", "", &said),
        3 => response(
            "403 Lindqvist",
            "Content-Type: text/html\r\n",
            &format!("<p>Lindqvist {echo}</p>"),
        ),
        _ => response("200 Lindqvist", "", &said[..said.len() / 2]),
    }
}

/// Takes all, and says what it was told to whoever looks for it.
fn telling() -> String {
    let turn = AtomicUsize::new(0);
    start_raw(move |head, body| {
        let echo = format!("{head}\n{body}");
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let line = head.lines().next().unwrap();
        let url = line.split(' ').nth(1).unwrap();
        if url.ends_with("/metadata") {
            return response("200 OK", "", CAPABILITIES);
        }
        if line.starts_with("DELETE") {
            return refused(turn, &echo);
        }
        if line.starts_with("GET") {
            return if url.contains('?') {
                page(turn, &echo)
            } else {
                let of = turn % 8;
                let told = entry(of, url, &echo);
                match of {
                    0..=5 => response(
                        "200 Lindqvist",
                        "ETag: W/\"1\"\r\n",
                        &told["resource"].to_string(),
                    ),
                    _ => response("404 Lindqvist", "", &outcome(&echo).to_string()),
                }
            };
        }
        match serde_json::from_str::<Value>(body) {
            Ok(sent) if sent["resourceType"] == "Bundle" => {
                let asked = sent["entry"].as_array().unwrap();
                if asked
                    .iter()
                    .any(|entry| entry["request"]["method"] != "GET")
                {
                    return bundle(&sent, &echo);
                }
                let entries: Vec<Value> = (asked.iter().enumerate())
                    .map(|(number, asked)| {
                        let url = asked["request"]["url"].as_str().unwrap();
                        if url.contains('?') {
                            json!({"resource": outcome(&echo), "response": {"status": "200"}})
                        } else {
                            entry(number, url, &echo)
                        }
                    })
                    .collect();
                let body =
                    json!({"resourceType": "Bundle", "type": "batch-response", "entry": entries});
                response("200 Lindqvist", "", &body.to_string())
            }
            _ => {
                let id = url.rsplit('/').next().unwrap();
                let told = format!(
                    "{{\"resourceType\":\"Patient\",\"id\":\"{id}\",\"meta\":{{\"versionId\":\"1\"}}}}"
                );
                let head = format!(
                    "Location: http://a.example/fhir/Patient/{id}/_history/1\r\nETag: W/\"1\"\r\n"
                );
                response("201 Lindqvist", &head, &told)
            }
        }
    })
}

fn bed() -> Bed {
    let bed = Bed::new();
    let lines: Vec<String> = (0..PEOPLE).map(|n| patient(&format!("p{n}"))).collect();
    bed.write("p.ndjson", &lines.join("\n"));
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: t\ntargets:\n  t: {{ fhir: {{ url: \"{}\" }}, auth: {{ bearer: {{ env: TOKEN }} }}, headers: {{ X-Api-Key: \"${{KEY}}\" }}, \
             retry: {{ attempts: 2, base: 1ms, max: 2ms }}, concurrency: 1 }}\n\
             loads: [ {{ name: people, target: t, files: [p.ndjson], interaction: update, bundle: {{ type: none }} }} ]\n",
            telling()
        ),
    );
    let _ = run(&bed, &["load", "m.yaml"]).exits(0);
    bed
}

#[test]
fn what_verify_and_unload_write_holds_neither_names_nor_tokens() {
    let bed = bed();
    let directory = bed.newest_run();
    let name = directory.to_str().unwrap();
    let mut told = String::new();
    for what in [name, "m.yaml"] {
        for more in [
            &["--all"][..],
            &["--all", "--json"],
            &["--counts"],
            &["--sample", "9"],
        ] {
            let ran = run(&bed, &[&["-vvv", "verify", what], more].concat());
            told.push_str(&ran.out);
        }
    }
    for word in ["changed", "missing", "unknown", "Patient.name"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(directory.join("verify.html").exists());
    for arguments in [
        &["-vvv", "unload", name, "--dry-run"][..],
        &["-vvv", "unload", name, "--dry-run", "--json"],
        &["-vvv", "unload", name, "--yes"],
        &["-vvv", "unload", name, "--yes", "--changed", "--json"],
        &[
            "-vvv",
            "--log-format",
            "json",
            "reset",
            "m.yaml",
            "--yes",
            "--changed",
        ],
    ] {
        let ran = run(&bed, arguments);
        told.push_str(&(ran.out + &ran.err));
    }
    for word in ["deleted", "409", "DELETE /fhir"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    for verb in ["report", "runs"] {
        let _ = run(&bed, &["-vvv", verb]);
    }
    let _ = written(&bed.path(".stoker"), false);
    // What was asked for is shown; the secrets are not even then.
    let ran = bed.run_with(&SECRETS, &["verify", name, "--all", "--show-content"]);
    assert!(holds(&ran.out, &NAMES).is_some(), "{}", ran.out);
    assert_eq!(holds(&(ran.out + &ran.err), &TOKENS), None);
    let _ = written(&bed.path(".stoker"), false);
}

#[test]
fn figures_and_traces_of_verify_and_unload_hold_nothing_of_it() {
    let bed = bed();
    let directory = bed.newest_run();
    let name = directory.to_str().unwrap();
    for (verb, more) in [("verify", "--all"), ("unload", "--yes")] {
        let collector = Collector::start(|_| (200, b"Lindqvist".to_vec()));
        let mut command = bed.command(&["-vv", verb, name, more, "--metrics", "127.0.0.1:0"]);
        command
            .envs(SECRETS)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20sesame-filed",
            )
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "20");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut shown = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            let rest = line.strip_prefix("metrics at http://");
            if let Some(address) = rest.and_then(|rest| rest.strip_suffix("/metrics")) {
                // The figures while it goes on.
                let page = std::panic::catch_unwind(|| got(address, "/metrics", ""));
                shown.push_str(&page.unwrap_or_default());
            }
            shown.push_str(&line);
            shown.push('\n');
        }
        let ended = child.wait_with_output().unwrap();
        // The store changes its mind until all is gone.
        assert!(matches!(ended.status.code(), Some(0 | 1)), "{shown}");
        shown.push_str(&String::from_utf8_lossy(&ended.stdout));
        let came = collector.came();
        for path in ["/v1/traces", "/v1/metrics"] {
            assert!(came.iter().any(|came| came.path == path), "{verb} {path}");
        }
        // Texts stand in protobuf as they are.
        for came in &came {
            shown.push_str(&String::from_utf8_lossy(&came.body));
        }
        assert!(
            shown.contains(&format!("stoker {verb}")),
            "the spans can be read"
        );
        for words in [&NAMES[..], &TOKENS[..]] {
            if let Some(word) = holds(&shown, words) {
                let lines = shown.lines().filter(|line| holds(line, &[&word]).is_some());
                panic!("{verb}: {word}: {}", lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    let page = fs::read_to_string(directory.join("verify.html")).unwrap();
    assert_eq!(holds(&page, &NAMES), None);
    let _ = written(&bed.path(".stoker"), false);
}
