//! How the local store treats those who ask: browsers, clients that keep connections, Google's own, slow ones.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use stoker::emulator::{Options, Provided};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::bed::{Answer, Bed, DATASETS, STORE, options, started};

const PATIENT: &str = r#"{"resourceType":"Patient","id":"a"}"#;

async fn send(bed: &Bed, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let url = format!("{}{path}", bed.server.url());
    let mut request = bed
        .client
        .request(method.parse().unwrap(), url)
        .body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn no_page_of_another_origin_can_write_or_read() {
    let bed = Bed::new().await;
    let json = ("content-type", "application/fhir+json");
    for foreign in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for (method, path, body) in [
            ("POST", format!("{STORE}/fhir/Patient"), PATIENT),
            ("PUT", format!("{STORE}/fhir/Patient/a"), PATIENT),
            ("GET", format!("{STORE}/fhir/Patient"), ""),
            ("POST", format!("{DATASETS}?datasetId=x"), "{}"),
            ("DELETE", STORE.to_owned(), ""),
            ("GET", String::new(), ""),
        ] {
            send(&bed, method, &path, &[json, foreign], body)
                .await
                .google(403, "PERMISSION_DENIED");
        }
    }
    let own = bed.server.url().origin().ascii_serialization();
    let own = ("origin", own.as_str());
    let path = format!("{STORE}/fhir/Patient/a");
    send(&bed, "PUT", &path, &[json, own], PATIENT)
        .await
        .is(201);
}

#[tokio::test]
async fn a_body_says_what_it_is() {
    let bed = Bed::new().await;
    let bundle = r#"{"resourceType":"Bundle","type":"batch"}"#;
    for (method, path, body) in [
        ("POST", format!("{STORE}/fhir/Patient"), PATIENT),
        ("PUT", format!("{STORE}/fhir/Patient/a"), PATIENT),
        ("PUT", format!("{STORE}/fhir/Patient?identifier=x"), PATIENT),
        ("PATCH", format!("{STORE}/fhir/Patient/a"), "[]"),
        ("POST", format!("{STORE}/fhir"), bundle),
        ("POST", format!("{STORE}/fhir/Patient/_search"), "_id=a"),
        ("POST", format!("{DATASETS}?datasetId=x"), "{}"),
        ("PATCH", format!("{STORE}?updateMask=labels"), "{}"),
        ("POST", format!("{STORE}:setIamPolicy"), "{}"),
    ] {
        for simple in [
            &[][..],
            &[("content-type", "text/plain")],
            &[("content-type", "text/plain;application/json")],
            &[("content-type", "multipart/form-data; boundary=x")],
        ] {
            let answer = send(&bed, method, &path, simple, body).await;
            assert_eq!(answer.status, 415, "{method} {path} {simple:?}: {answer:?}");
        }
        if !path.ends_with("_search") {
            let form = [("content-type", "application/x-www-form-urlencoded")];
            let answer = send(&bed, method, &path, &form, body).await;
            assert_eq!(answer.status, 415, "{method} {path}: {answer:?}");
        }
    }
    let found = bed.fhir("GET", "Patient", "").await.is(200).json();
    assert_eq!(found["total"], 0, "{found}");
}

#[tokio::test]
async fn an_origin_that_is_named_may_ask_from_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let origin = "http://localhost:3000";
    let server = started(Options {
        origins: vec![origin.to_owned()],
        ..options(dir.path())
    })
    .await;
    let client = reqwest::Client::new();
    let asked = client
        .request(reqwest::Method::OPTIONS, server.url().clone())
        .header("origin", origin)
        .header("access-control-request-method", "PUT")
        .send()
        .await
        .unwrap();
    assert_eq!(asked.status(), StatusCode::NO_CONTENT);
    for name in [
        "access-control-allow-origin",
        "access-control-allow-methods",
    ] {
        assert!(asked.headers().contains_key(name), "{asked:?}");
    }
    let read = client.get(server.url().clone()).header("origin", origin);
    let read = read.send().await.unwrap();
    assert_eq!(read.headers()["access-control-allow-origin"], origin);
    let other = client
        .request(reqwest::Method::OPTIONS, server.url().clone())
        .header("origin", "http://localhost:3001")
        .header("access-control-request-method", "PUT")
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), StatusCode::FORBIDDEN);
    assert!(!other.headers().contains_key("access-control-allow-origin"));
}

/// Sends requests one after the other on one connection, and returns the head of each answer.
async fn on_one_connection(bed: &Bed, requests: &[String]) -> Vec<String> {
    let port = bed.server.url().port().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut heads = Vec::new();
    for request in requests {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let head = loop {
            let mut piece = [0; 4096];
            let size = stream.read(&mut piece).await.unwrap();
            assert!(size > 0, "closed after {heads:?}");
            answer.extend_from_slice(&piece[..size]);
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let head = head.to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1);
                let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
                if body.len() >= length {
                    break head;
                }
            }
        };
        heads.push(head);
    }
    heads
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_usable() {
    let bed = Bed::new().await;
    let large = "x".repeat(300_000);
    let request = |path: &str, header: &str| {
        format!(
            "POST /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{header}\r\n\r\n{large}",
            large.len()
        )
    };
    let next = format!("GET /{STORE} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (path, header, status) in [
        ("v1/nowhere", "X-A: b", "404"),
        (
            "v1/projects/p/locations/l/datasets/d/fhirStores/none/fhir/Patient",
            "X-A: b",
            "404",
        ),
        (STORE, "Origin: https://evil.example", "403"),
        (
            &format!("{STORE}/fhir/Patient"),
            "Content-Type: text/plain",
            "415",
        ),
    ] {
        let requests = [request(path, header), next.clone(), next.clone()];
        let heads = on_one_connection(&bed, &requests).await;
        assert!(
            heads[0].starts_with(&format!("http/1.1 {status}")),
            "{heads:?}"
        );
        assert!(!heads[0].contains("connection: close"), "{heads:?}");
        assert!(heads[2].starts_with("http/1.1 200"), "{heads:?}");
    }
}

#[tokio::test]
async fn who_waits_for_leave_to_send_is_told_that_the_connection_ends() {
    let bed = Bed::new().await;
    let request = "POST /v1/nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\
        Expect: 100-continue\r\n\r\n";
    let heads = on_one_connection(&bed, &[request.to_owned()]).await;
    assert!(heads[0].starts_with("http/1.1 404"), "{heads:?}");
    assert!(heads[0].contains("connection: close"), "{heads:?}");
}

#[tokio::test]
async fn what_is_not_offered_is_answered_with_what_clients_do_not_repeat() {
    let bed = Bed::new().await;
    for path in ["Patient/a/$everything", "Patient/_history", "$x", "_search"] {
        let answer = bed.fhir("GET", path, "").await;
        let (text, _) = answer.outcome(404);
        assert_eq!(text, "unsupported_operation", "{path}");
    }
    for (method, path) in [
        ("POST", format!("{STORE}:import")),
        ("POST", format!("{STORE}:deidentify")),
        ("POST", format!("{DATASETS}/d:deidentify")),
        ("GET", format!("{STORE}:setIamPolicy")),
    ] {
        send(&bed, method, &path, &[], "")
            .await
            .google(404, "UNIMPLEMENTED");
    }
}

#[tokio::test]
async fn access_policies_are_taken_and_every_permission_is_there() {
    let bed = Bed::new().await;
    let json = [("content-type", "application/json")];
    for name in [STORE.to_owned(), format!("{DATASETS}/d")] {
        let empty = send(&bed, "GET", &format!("{name}:getIamPolicy"), &[], "").await;
        assert!(empty.is(200).json()["etag"].is_string());
        let bindings = json!([{"role": "roles/viewer", "members": ["user:a@b"]}]);
        let body = json!({"policy": {"bindings": bindings}}).to_string();
        let set = send(&bed, "POST", &format!("{name}:setIamPolicy"), &json, &body).await;
        assert_eq!(set.is(200).json()["bindings"], bindings);
        let read = send(&bed, "GET", &format!("{name}:getIamPolicy"), &[], "").await;
        assert_eq!(read.is(200).json()["bindings"], bindings);
        let body = json!({"permissions": ["a.b.c", "d.e.f"]}).to_string();
        let tested = send(
            &bed,
            "POST",
            &format!("{name}:testIamPermissions"),
            &json,
            &body,
        )
        .await;
        assert_eq!(
            tested.is(200).json()["permissions"],
            json!(["a.b.c", "d.e.f"])
        );
    }
    let missing = format!("{DATASETS}/none:getIamPolicy");
    send(&bed, "GET", &missing, &[], "")
        .await
        .google(404, "NOT_FOUND");
}

#[tokio::test]
async fn labels_tokens_and_versions_of_the_api() {
    let bed = Bed::new().await;
    let json = [("content-type", "application/json")];
    let path = format!("{DATASETS}/d/fhirStores?fhirStoreId=labelled");
    let body = r#"{"version":"R4","labels":{"Team":"x"}}"#;
    send(&bed, "POST", &path, &json, body)
        .await
        .google(400, "INVALID_ARGUMENT");
    for token in ["bad", "%00", "cHJvamVjdHMveA"] {
        let path = format!("{DATASETS}/d/fhirStores?pageToken={token}");
        send(&bed, "GET", &path, &[], "")
            .await
            .google(400, "INVALID_ARGUMENT");
        let path = format!("{STORE}/fhir/Patient?_page_token={token}!");
        send(&bed, "GET", &path, &[], "").await.outcome(400);
    }
    let path = format!("{DATASETS}?datasetId=two").replacen("v1", "v1beta1", 1);
    let made = send(&bed, "POST", &path, &json, "{}").await.is(200).json();
    let kind = made["metadata"]["@type"].as_str().unwrap();
    assert!(kind.contains(".v1beta1."), "{made}");
    let name = made["name"].as_str().unwrap();
    for (version, word) in [("v1", ".v1."), ("v1beta1", ".v1beta1.")] {
        let read = send(&bed, "GET", &format!("{version}/{name}"), &[], "").await;
        let read = read.is(200).json();
        for kind in [&read["metadata"]["@type"], &read["response"]["@type"]] {
            assert!(kind.as_str().unwrap().contains(word), "{read}");
        }
    }
}

async fn found(bed: &Bed, query: &str) -> Vec<String> {
    let page = bed.fhir("GET", query, "").await.is(200).json();
    let entries = page["entry"].as_array().into_iter().flatten();
    let matches = entries.filter(|entry| entry["search"]["mode"] == "match");
    let ids = matches.map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned());
    let ids: Vec<String> = ids.collect();
    assert_eq!(page["total"], ids.len(), "{page}");
    ids
}

#[tokio::test]
async fn a_search_gives_what_matches_and_names_what_it_left_out() {
    let bed = Bed::new().await;
    for (id, family) in [("a", "Smith"), ("b", "Smithers"), ("c", "Jones")] {
        let patient = json!({"resourceType": "Patient", "id": id, "name": [{"family": family}]});
        let path = format!("Patient/{id}");
        bed.fhir("PUT", &path, &patient.to_string()).await.is(201);
    }
    assert_eq!(found(&bed, "Patient?family=Smith").await, ["a", "b"]);
    assert_eq!(found(&bed, "Patient?family:exact=Smith").await, ["a"]);
    assert_eq!(found(&bed, "Patient?family:contains=one").await, ["c"]);
    assert_eq!(found(&bed, "Patient?family=Smith&_id=b").await, ["b"]);
    assert_eq!(found(&bed, "Patient?name=nobody").await.len(), 0);
    assert_eq!(found(&bed, "Patient?_lastUpdated=lt2000").await.len(), 0);
    // What is known is no less known when everything has to be.
    let strict = ("prefer", "handling=strict");
    let query = "Patient?family=Smith&_sort=_id&_total=accurate&_format=json";
    bed.fhir_with("GET", query, strict, "").await.is(200);
    bed.fhir_with("GET", "Patient?favourite=x", strict, "")
        .await
        .outcome(400);
    // A modifier that is not known changes the meaning, so it is never left out.
    bed.fhir("GET", "Patient?family:text=x", "")
        .await
        .outcome(400);

    let page = bed
        .fhir("GET", "Patient?favourite=x&_id=a", "")
        .await
        .is(200)
        .json();
    let link = |relation: &str| {
        let links = page["link"].as_array().unwrap().iter();
        let mut links = links.filter(|link| link["relation"] == relation);
        links.next().unwrap()["url"].as_str().unwrap().to_owned()
    };
    assert!(link("self").ends_with("Patient/?_id=a"), "{page}");
    let entries = page["entry"].as_array().unwrap();
    assert_eq!((entries.len(), &page["total"]), (2, &json!(1)));
    let said = &entries[1];
    assert_eq!(said["search"]["mode"], "outcome");
    let issue = &said["resource"]["issue"][0];
    assert_eq!(
        (&issue["severity"], &issue["code"]),
        (&json!("warning"), &json!("not-supported"))
    );
    assert!(issue["diagnostics"].as_str().unwrap().contains("favourite"));

    let pages = bed
        .fhir("GET", "Patient?family=Smith&_count=1", "")
        .await
        .is(200)
        .json();
    let next = pages["link"].as_array().unwrap().iter();
    let mut next = next.filter(|link| link["relation"] == "next");
    let next = next.next().unwrap()["url"].as_str().unwrap();
    let second = Answer::of(bed.client.get(next).send().await.unwrap()).await;
    assert_eq!(second.is(200).json()["entry"][0]["resource"]["id"], "b");
    let counted = bed
        .fhir("GET", "Patient?family=Smith&_summary=count", "")
        .await;
    assert_eq!(counted.is(200).json()["total"], 2);
}

#[tokio::test]
async fn a_search_may_be_posted_as_a_form() {
    let bed = Bed::new().await;
    for id in ["a", "b"] {
        let body = json!({"resourceType": "Patient", "id": id}).to_string();
        bed.fhir("PUT", &format!("Patient/{id}"), &body)
            .await
            .is(201);
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let path = format!("{STORE}/fhir/Patient/_search");
    let page = send(&bed, "POST", &path, &form, "_id=b")
        .await
        .is(200)
        .json();
    assert_eq!(
        (&page["total"], &page["entry"][0]["resource"]["id"]),
        (&json!(1), &json!("b"))
    );
}

#[tokio::test]
async fn a_history_has_what_was_current_at_a_time() {
    let bed = Bed::new().await;
    let mut times = Vec::new();
    for active in [true, false] {
        let body = json!({"resourceType": "Patient", "id": "a", "active": active}).to_string();
        let answer = bed.fhir("PUT", "Patient/a", &body).await.json();
        times.push(answer["meta"]["lastUpdated"].as_str().unwrap().to_owned());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let at = async |time: &str| -> Vec<Value> {
        let time = time.replace('+', "%2B");
        let path = format!("Patient/a/_history?_at={time}");
        let page = bed.fhir("GET", &path, "").await.is(200).json();
        let entries = page["entry"].as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["resource"]["active"].clone())
            .collect()
    };
    assert_eq!(at(&times[0]).await, [json!(true)]);
    assert_eq!(at(&times[1]).await, [json!(false)]);
    assert_eq!(at("2000").await, Vec::<Value>::new());
    let year = jiff::Timestamp::now().strftime("%Y").to_string();
    assert_eq!(at(&year).await, [json!(false), json!(true)]);
    bed.fhir("GET", "Patient/a/_history?_at=yesterday", "")
        .await
        .outcome(400);
    let strict = ("prefer", "handling=strict");
    bed.fhir_with("GET", "Patient/a/_history?_list=x", strict, "")
        .await
        .outcome(400);
}

#[tokio::test]
async fn a_store_can_be_there_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let provide = Provided {
        dataset: "projects/p/locations/l/datasets/d".to_owned(),
        store: "f".to_owned(),
        fields: [
            ("version".to_owned(), json!("R4")),
            ("enableUpdateCreate".to_owned(), json!(true)),
        ]
        .into(),
        hl7v2: None,
        dicom: None,
    };
    for status in [201, 200] {
        let server = started(Options {
            provide: Some(provide.clone()),
            ..options(dir.path())
        })
        .await;
        let url = format!("{}{STORE}/fhir/Patient/a", server.url());
        let request = reqwest::Client::new()
            .put(url)
            .header("content-type", "application/fhir+json")
            .body(PATIENT);
        Answer::of(request.send().await.unwrap()).await.is(status);
        server.stop().await;
    }
}

/// A server that ends tells who still comes that nothing was done; to a client of its own process it does so at once.
#[tokio::test]
async fn a_server_that_ends_says_so_to_who_still_comes() {
    let bed = Bed::new().await;
    let url = bed.server.url().clone();
    let client = bed.client.clone();
    // Another process has asked: this one says no number.
    client.get(url.clone()).send().await.unwrap();
    let ends = tokio::spawn(bed.server.stop());
    let mut told = false;
    while let Ok(answer) = client.get(url.clone()).send().await {
        if answer.headers().contains_key(stoker::emulator::LEAVING) {
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            told = true;
            break;
        }
    }
    assert!(told);
    ends.await.unwrap();
}

/// Who has got the address of another server does not take what is meant for that one.
#[tokio::test]
async fn what_is_meant_for_another_server_is_not_looked_at() {
    let bed = Bed::new().await;
    let json = ("content-type", "application/fhir+json");
    let path = format!("{STORE}/fhir/Patient/a");
    let other = ("stoker-expected", "another");
    let refused = send(&bed, "PUT", &path, &[json, other], PATIENT).await;
    refused.google(421, "FAILED_PRECONDITION");
    bed.fhir("GET", "Patient/a", "").await.outcome(404);
    let own = (stoker::emulator::EXPECTED, bed.server.instance());
    send(&bed, "PUT", &path, &[json, own], PATIENT)
        .await
        .is(201);
}
