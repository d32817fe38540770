//! Every fault of a scenario, seen over real sockets.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::bed::{Answer, Bed, STORE, bundle, entry};

fn patient(id: &str) -> String {
    json!({"resourceType": "Patient", "id": id, "name": [{"family": "Planted"}]}).to_string()
}

async fn put(bed: &Bed, id: &str) -> Answer {
    bed.fhir("PUT", &format!("Patient/{id}"), &patient(id))
        .await
}

async fn is_there(bed: &Bed, id: &str) -> bool {
    let read = bed.fhir("GET", &format!("Patient/{id}"), "").await;
    read.status.as_u16() == 200
}

/// Tells whether an error of the client goes back to one of the socket.
fn is_io(error: &reqwest::Error, kind: ErrorKind) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == kind
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn address(bed: &Bed) -> SocketAddr {
    let url = bed.server.url();
    format!("127.0.0.1:{}", url.port().unwrap())
        .parse()
        .unwrap()
}

/// Writes the head of a PUT and so many bytes of its body; returns what reading then ends in.
async fn raw_put(bed: &Bed, id: &str, sent: usize) -> Result<Vec<u8>, std::io::Error> {
    let body = patient(id);
    let head = format!(
        "PUT /{STORE}/fhir/Patient/{id} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address(bed)).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body.as_bytes()[..sent]).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn above_the_capacity_requests_are_refused() {
    let bed = Bed::troubled(
        "rules:
        - { when: { request: update }, fault: { capacity: { limit: 2, answer: { status: 429, retry_after: 1s } } } }
        - { when: { request: update }, fault: { latency: { fixed: 2s } } }",
    )
    .await;
    let answers = futures::future::join_all(["a", "b", "c", "d", "e"].map(|id| put(&bed, id)));
    let mut statuses: Vec<u16> = answers
        .await
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 429, 429, 429]);
    // The places were given back.
    put(&bed, "f").await.is(201);
}

#[tokio::test]
async fn a_quota_counts_the_entries_of_bundles() {
    let bed = Bed::troubled(
        "rules: [{ when: { method: [POST, PUT], path: '**/fhir/**' }, fault: { quota: { rate: 5/min } } }]",
    )
    .await;
    let entries = ["a", "b", "c"].map(|id| {
        let resource = serde_json::from_str(&patient(id)).unwrap();
        entry("", "PUT", &format!("Patient/{id}"), resource)
    });
    bed.bundle(&bundle("batch", &entries)).await.is(200);
    let refused = bed.bundle(&bundle("batch", &entries)).await;
    assert_eq!(refused.header("retry-after"), "");
    refused.outcome(429);
    put(&bed, "d").await.is(201);
    put(&bed, "e").await.is(201);
    put(&bed, "f").await.outcome(429);
    assert!(!is_there(&bed, "f").await);
}

#[tokio::test]
async fn answers_take_every_form() {
    let bed = Bed::troubled(
        "rules:
        - { when: { path: '**/Patient/seconds' }, fault: { answer: { status: 429, retry_after: 1.5s } } }
        - { when: { path: '**/Patient/date' }, fault: { answer: { status: 503, retry_after: 90s, retry_after_form: date } } }
        - { when: { path: '**/Patient/none' }, fault: { answer: { status: 429, body: google } } }
        - { when: { path: '**/Patient/html' }, fault: { answer: { status: 502, body: html, echo: true } } }
        - { when: { path: '**/Patient/echo' }, fault: { answer: { status: 412, echo: true } } }
        - { when: { path: '**/Patient/empty' }, fault: { answer: { status: 500, body: empty } } }
        - { when: { path: '**/Patient/late', method: PUT }, fault: { answer: { status: 504, after_write: true } } }",
    )
    .await;
    let seconds = put(&bed, "seconds").await;
    assert_eq!(seconds.header("retry-after"), "2");
    seconds.outcome(429);

    let before = SystemTime::now();
    let date = put(&bed, "date").await;
    let after = SystemTime::now() + Duration::from_secs(1);
    let at = httpdate::parse_http_date(date.header("retry-after")).unwrap();
    let wait = Duration::from_secs(90);
    assert!(before + wait <= at && at <= after + wait, "{at:?}");
    date.outcome(503);

    let none = put(&bed, "none").await;
    assert_eq!(none.header("retry-after"), "");
    none.google(429, "RESOURCE_EXHAUSTED");

    let html = put(&bed, "html").await.is(502);
    assert_eq!(html.header("content-type"), "text/html; charset=utf-8");
    assert!(html.text.starts_with("<!DOCTYPE html>") && html.text.contains("Planted"));

    let (_, diagnostics) = bed
        .fhir("PUT", "Patient/echo?identifier=mrn|7", &patient("echo"))
        .await
        .outcome(412);
    assert!(diagnostics.contains("Planted") && diagnostics.contains("identifier=mrn|7"));

    assert_eq!(put(&bed, "empty").await.is(500).text, "");
    put(&bed, "late").await.outcome(504);
    assert!(is_there(&bed, "late").await, "the write took place");
    assert_eq!(bed.total("Patient").await, 1, "no other write took place");
}

#[tokio::test]
async fn a_rule_counts_the_requests_that_meet_it() {
    let bed = Bed::troubled(
        "rules: [{ when: { request: [update, create], after: 1, until: 3 }, fault: { answer: { status: 500 } } }]",
    )
    .await;
    let mut statuses = Vec::new();
    for id in ["a", "b", "c", "d"] {
        statuses.push(put(&bed, id).await.status.as_u16());
        bed.fhir("GET", "Patient/a", "").await.is(200);
    }
    assert_eq!(statuses, [201, 500, 500, 201]);
}

#[tokio::test]
async fn luck_depends_on_the_seed_only() {
    let mut patterns = BTreeSet::new();
    for seed in [1, 1, 2] {
        let bed = Bed::troubled(&format!(
            "{{ seed: {seed}, rules: [{{ when: {{ request: read, probability: 0.5 }}, fault: {{ answer: {{ status: 500 }} }} }}] }}"
        ))
        .await;
        let mut pattern = Vec::new();
        for _ in 0..40 {
            pattern.push(bed.fhir("GET", "Patient/a", "").await.status.as_u16());
        }
        assert!(pattern.contains(&404) && pattern.contains(&500));
        patterns.insert(pattern);
    }
    assert_eq!(patterns.len(), 2);
}

#[tokio::test]
async fn connections_are_reset_at_every_moment() {
    let bed = Bed::troubled(
        "rules:
        - { when: { path: '**/Patient/before' , method: PUT }, fault: { reset: before_body } }
        - { when: { path: '**/Patient/during' , method: PUT }, fault: { reset: during_body } }
        - { when: { path: '**/Patient/after' , method: PUT }, fault: { reset: after_body } }
        - { when: { path: '**/Patient/lost' , method: PUT }, fault: { reset: after_write } }
        - { when: { path: '**/Patient/half' , method: PUT }, fault: { reset: during_answer } }",
    )
    .await;
    // The first two cut although the body is not there yet; nobody could answer such a request.
    for (id, sent) in [("before", 0), ("during", 20)] {
        let error = raw_put(&bed, id, sent).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{id}");
        assert!(!is_there(&bed, id).await);
    }
    for (id, took_place) in [("after", false), ("lost", true)] {
        let whole = patient(id).len();
        let error = raw_put(&bed, id, whole).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{id}");
        assert_eq!(is_there(&bed, id).await, took_place, "{id}");
        let path = format!("{STORE}/fhir/Patient/{id}");
        let error = bed.send("PUT", &path, &[], &patient(id)).await.unwrap_err();
        assert!(is_io(&error, ErrorKind::ConnectionReset), "{error:?}");
    }
    let half = bed
        .send(
            "PUT",
            &format!("{STORE}/fhir/Patient/half"),
            &[],
            &patient("half"),
        )
        .await;
    // What was sent of the answer may be lost with the connection.
    if let Ok(answer) = half {
        answer.bytes().await.unwrap_err();
    }
    assert!(is_there(&bed, "half").await);
}

#[tokio::test]
async fn over_http2_a_reset_ends_the_connection() {
    let bed = Bed::troubled(
        "rules: [{ when: { path: '**/Patient/lost' , method: PUT, until: 1 }, fault: { reset: after_write } }]",
    )
    .await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let put = || {
        let url = format!("{}{STORE}/fhir/Patient/lost", bed.server.url());
        client
            .put(url)
            .header("content-type", "application/fhir+json")
            .body(patient("lost"))
            .send()
    };
    put().await.unwrap_err();
    assert!(is_there(&bed, "lost").await);
    let again = put().await.unwrap();
    assert_eq!(again.version(), reqwest::Version::HTTP_2);
    assert_eq!(again.status().as_u16(), 200);
}

#[tokio::test]
async fn entries_fail_inside_a_batch_that_succeeds() {
    let bed = Bed::troubled(
        "rules: [{ when: { request: bundle }, fault: { entries: { status: 429, share: 0.5, echo: true } } }]",
    )
    .await;
    let entries = |prefix: &str| -> Vec<Value> {
        (0..40)
            .map(|number| {
                let id = format!("{prefix}{number}");
                let resource = serde_json::from_str(&patient(&id)).unwrap();
                entry("", "PUT", &format!("Patient/{id}"), resource)
            })
            .collect()
    };
    let answer = bed
        .bundle(&bundle("batch", &entries("b")))
        .await
        .is(200)
        .json();
    let mut failed = 0;
    for (number, entry) in answer["entry"].as_array().unwrap().iter().enumerate() {
        let status = entry["response"]["status"].as_str().unwrap();
        let took_place = is_there(&bed, &format!("b{number}")).await;
        if status == "429 Too Many Requests" {
            failed += 1;
            let issue = &entry["response"]["outcome"]["issue"][0];
            assert_eq!(issue["code"], "too-costly");
            assert!(issue["diagnostics"].as_str().unwrap().contains("Planted"));
            assert!(!took_place);
        } else {
            assert_eq!(status, "201 Created");
            assert!(took_place);
        }
    }
    assert!((5..=35).contains(&failed), "{failed}");
    // A transaction happens whole or not at all.
    bed.bundle(&bundle("transaction", &entries("t")))
        .await
        .is(200);
    assert_eq!(bed.total("Patient").await, 40 - failed + 40);
}

#[tokio::test]
async fn answers_trickle_and_break_off() {
    let bed = Bed::troubled(
        "rules:
        - { when: { path: '**/Patient/slow', method: PUT }, fault: { slow: 1 kB/s } }
        - { when: { path: '**/Patient/cut', method: PUT }, fault: { truncate: 0.5 } }",
    )
    .await;
    let path = format!("{STORE}/fhir/Patient/slow");
    let mut slow = bed.send("PUT", &path, &[], &patient("slow")).await.unwrap();
    assert_eq!(slow.status().as_u16(), 201);
    let mut chunks = Vec::new();
    while let Some(chunk) = slow.chunk().await.unwrap() {
        chunks.push(chunk);
    }
    assert!(chunks.len() > 1);
    let whole: Value = serde_json::from_slice(&chunks.concat()).unwrap();
    assert_eq!(whole["id"], "slow");

    let cut = put(&bed, "cut").await.is(201);
    assert!(cut.text.starts_with('{'));
    let error = serde_json::from_str::<Value>(&cut.text).unwrap_err();
    assert!(error.is_eof(), "{}", cut.text);
    assert!(is_there(&bed, "cut").await);
}

#[tokio::test]
async fn an_expired_token_is_refused_until_there_is_another() {
    let bed = Bed::troubled(
        "rules: [{ when: { request: read, after: 1, until: 2 }, fault: { token: expired } }]",
    )
    .await;
    put(&bed, "a").await.is(201);
    let read = async |token: &str| {
        let header = ("authorization", format!("Bearer {token}"));
        bed.fhir_with("GET", "Patient/a", (header.0, &header.1), "")
            .await
    };
    read("one").await.is(200);
    for _ in 0..3 {
        let refused = read("one").await;
        assert!(refused.header("www-authenticate").contains("invalid_token"));
        refused.google(401, "UNAUTHENTICATED");
    }
    read("two").await.is(200);
    read("one").await.is(401);
}

#[tokio::test]
async fn a_store_vanishes_and_comes_back() {
    let bed = Bed::troubled(
        "rules: [{ when: { request: read, until: 1 }, fault: { vanish: { for: 500ms, as: not_found } } }]",
    )
    .await;
    put(&bed, "a").await.is(201);
    bed.fhir("GET", "Patient/a", "")
        .await
        .google(404, "NOT_FOUND");
    // The lock's holder still answers.
    bed.call("GET", "", "").await.is(200);
    while !is_there(&bed, "a").await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_vanishes_and_comes_back() {
    let bed = Bed::troubled(
        "rules: [{ when: { request: read, until: 1 }, fault: { vanish: { for: 1s, as: refused } } }]",
    )
    .await;
    put(&bed, "a").await.is(201);
    let mut idle = TcpStream::connect(address(&bed)).await.unwrap();
    // A request on it makes sure that the connection was accepted.
    idle.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(idle.read(&mut [0; 4096]).await.unwrap() > 0);
    let path = format!("{STORE}/fhir/Patient/a");
    let error = bed.send("GET", &path, &[], "").await.unwrap_err();
    assert!(is_io(&error, ErrorKind::ConnectionReset), "{error:?}");
    let error = idle.read(&mut [0; 4096]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // The listener goes a moment after the connections.
    let mut refused = false;
    loop {
        match TcpStream::connect(address(&bed)).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => refused = true,
            Ok(_) if refused => break,
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_there(&bed, "a").await);
    bed.server.stop().await;
}

/// Asks until the answer is good, whatever becomes of the attempts; returns it, and counts them.
async fn insist(bed: &Bed, method: &str, path: &str, body: &str, troubled: &mut u32) -> Value {
    let path = format!("{STORE}/fhir/{path}");
    loop {
        // Each attempt has a token of its own, for one of them may have expired.
        let token = format!("Bearer {troubled}");
        let headers = [("authorization", token.as_str())];
        if let Ok(answer) = bed.send(method, &path, &headers, body).await
            && answer.status().is_success()
            && let Ok(body) = answer.bytes().await
            && let Ok(json) = serde_json::from_slice(&body)
        {
            return json;
        }
        *troubled += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn all_faults_together_leave_a_store_that_answers() {
    let bed = Bed::troubled(include_str!("mixed.yaml")).await;
    let mut troubled = 0;
    for number in 0..400 {
        let id = format!("p{number}");
        // A put can be repeated, whatever became of it before.
        let path = format!("Patient/{id}");
        let stored = insist(&bed, "PUT", &path, &patient(&id), &mut troubled).await;
        assert_eq!(stored["id"], id.as_str());
    }
    assert!(troubled >= 10, "{troubled}");
    let found = insist(&bed, "GET", "Patient", "", &mut troubled).await;
    assert_eq!(found["total"], 400);
}

#[test]
fn the_binary_names_the_place_of_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(
        dir.path().join("faults.yaml"),
        "rules:\n  - fault: { anwser: { status: 500 } }\n",
    )
    .unwrap();
    let output = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("stoker"))
        .args([
            "emulate",
            "--listen",
            "127.0.0.1:0",
            "--faults",
            "faults.yaml",
        ])
        .current_dir(dir.path())
        .assert()
        .code(2);
    let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(
        stderr.contains("faults.yaml:2:14: rules[0].fault: unknown field `anwser`"),
        "{stderr}"
    );
    assert!(!dir.path().join(".stoker").exists(), "nothing was begun");
}
