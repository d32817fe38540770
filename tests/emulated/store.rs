//! The embedded local store, driven over real sockets.

use super::bed::{Answer, Bed, DATASETS, STORE, bundle, entry, options, started};
use std::time::Duration;

use fs_err as fs;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use stoker::emulator::{Error, Opened, Options, open};

use crate::support::data;

#[tokio::test]
async fn a_create_is_answered_as_google_does() {
    let bed = Bed::new().await;
    let body = r#"{"resourceType":"Observation","status":"final","id":"mine","meta":{"versionId":"7","lastUpdated":"2000-01-01T00:00:00Z","tag":[{"system":"s","code":"c"}]},"valueQuantity":{"value":20.00,"unit":"é"},"z":[1E5,-0,1.0e+5,1e400]}"#;
    let created = bed.fhir("POST", "Observation", body).await.is(201);
    let json = created.json();
    let id = json["id"].as_str().unwrap();
    let version = json["meta"]["versionId"].as_str().unwrap();
    assert_ne!(id, "mine");
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().to_string(), id);
    assert_eq!(created.header("etag"), format!("W/\"{version}\""));
    assert_eq!(
        created.header("location"),
        format!(
            "{}{STORE}/fhir/Observation/{id}/_history/{version}",
            bed.server.url()
        )
    );
    assert_eq!(
        created.header("content-type"),
        "application/fhir+json;charset=utf-8"
    );
    httpdate::parse_http_date(created.header("last-modified")).unwrap();
    let updated = json["meta"]["lastUpdated"].as_str().unwrap();
    assert!(
        updated.ends_with("+00:00") && updated.len() == 32,
        "{updated}"
    );
    assert_eq!(json["meta"]["tag"][0]["code"], "c");
    let expected = format!(
        r#"{{"id":"{id}","meta":{{"lastUpdated":"{updated}","tag":[{{"code":"c","system":"s"}}],"versionId":"{version}"}},"resourceType":"Observation","status":"final","valueQuantity":{{"unit":"é","value":20.00}},"z":[1E5,-0,1.0e+5,1e400]}}"#
    );
    assert_eq!(created.text, expected);
    let read = bed
        .fhir("GET", &format!("Observation/{id}"), "")
        .await
        .is(200);
    assert_eq!(read.text, expected);
    assert_eq!(read.header("etag"), created.header("etag"));
    bed.fhir_with(
        "GET",
        &format!("Observation/{id}"),
        ("if-none-match", read.header("etag")),
        "",
    )
    .await
    .is(304);
    bed.fhir_with(
        "GET",
        &format!("Observation/{id}"),
        ("if-none-match", "W/\"x\""),
        "",
    )
    .await
    .is(200);
}

#[tokio::test]
async fn reads_of_what_is_not_there() {
    let bed = Bed::new().await;
    let (text, diagnostics) = bed.fhir("GET", "Patient/none", "").await.outcome(404);
    assert_eq!(
        (text.as_str(), diagnostics.as_str()),
        ("storage_error", "resource not found: Patient/none")
    );
    bed.fhir("PUT", "Patient/a", r#"{"resourceType":"Patient","id":"a"}"#)
        .await
        .is(201);
    assert_eq!(bed.fhir("DELETE", "Patient/a", "").await.is(200).text, "{}");
    bed.fhir("GET", "Patient/a", "").await.outcome(410);
    assert_eq!(bed.fhir("DELETE", "Patient/a", "").await.is(200).text, "{}");
    bed.fhir("PUT", "Patient/a", r#"{"resourceType":"Patient","id":"a"}"#)
        .await
        .is(201);
    let history = bed
        .fhir("GET", "Patient/a/_history", "")
        .await
        .is(200)
        .json();
    let methods: Vec<_> = history["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["request"]["method"])
        .collect();
    assert_eq!(methods, ["PUT", "DELETE", "PUT"]);
}

#[tokio::test]
async fn updates_make_versions() {
    let bed = Bed::new().await;
    let first = bed
        .fhir(
            "PUT",
            "Patient/a",
            r#"{"resourceType":"Patient","id":"a","active":true}"#,
        )
        .await
        .is(201);
    let second = bed
        .fhir(
            "PUT",
            "Patient/a",
            r#"{"resourceType":"Patient","id":"a","active":false}"#,
        )
        .await
        .is(200);
    let version = |answer: &Answer| {
        answer.json()["meta"]["versionId"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        bed.fhir(
            "GET",
            &format!("Patient/a/_history/{}", version(&first)),
            ""
        )
        .await
        .is(200)
        .text,
        first.text
    );
    assert_eq!(
        bed.fhir(
            "GET",
            &format!("Patient/a/_history/{}", version(&second)),
            ""
        )
        .await
        .is(200)
        .text,
        second.text
    );
    bed.fhir("GET", "Patient/a/_history/nonsense", "")
        .await
        .outcome(404);
    let stale = ("if-match", first.header("etag"));
    bed.fhir_with(
        "PUT",
        "Patient/a",
        stale,
        r#"{"resourceType":"Patient","id":"a"}"#,
    )
    .await
    .outcome(412);
    let current = ("if-match", second.header("etag"));
    bed.fhir_with(
        "PUT",
        "Patient/a",
        current,
        r#"{"resourceType":"Patient","id":"a"}"#,
    )
    .await
    .is(200);
    bed.fhir_with(
        "PUT",
        "Patient/a",
        ("if-none-match", "*"),
        r#"{"resourceType":"Patient","id":"a"}"#,
    )
    .await
    .outcome(412);
    bed.fhir_with(
        "PUT",
        "Patient/b",
        ("if-none-match", "*"),
        r#"{"resourceType":"Patient","id":"b"}"#,
    )
    .await
    .is(201);
    let (text, diagnostics) = bed
        .fhir("PUT", "Patient/a", r#"{"resourceType":"Patient","id":"x"}"#)
        .await
        .outcome(400);
    assert_eq!(text, "resource_mismatch");
    assert_eq!(
        diagnostics,
        "resource id mismatch, id of specified resource: a, id from payload: x"
    );
    let page = bed
        .fhir("GET", "Patient/a/_history?_count=2", "")
        .await
        .is(200)
        .json();
    assert_eq!(
        (
            page["type"].as_str(),
            page["entry"].as_array().unwrap().len()
        ),
        (Some("history"), 2)
    );
    let next = page["link"]
        .as_array()
        .unwrap()
        .iter()
        .find(|link| link["relation"] == "next")
        .unwrap();
    let rest = Answer::of(
        bed.client
            .get(next["url"].as_str().unwrap())
            .send()
            .await
            .unwrap(),
    )
    .await
    .is(200)
    .json();
    assert_eq!(
        rest["entry"][0]["resource"]["meta"]["versionId"],
        version(&first)
    );
}

#[tokio::test]
async fn without_update_create_a_missing_id_is_refused() {
    let bed = Bed::with(json!({"disableResourceVersioning": true})).await;
    bed.fhir("PUT", "Patient/a", r#"{"resourceType":"Patient","id":"a"}"#)
        .await
        .outcome(405);
    let created = bed
        .fhir("POST", "Patient", r#"{"resourceType":"Patient"}"#)
        .await
        .is(201)
        .json();
    let id = created["id"].as_str().unwrap();
    bed.fhir("GET", &format!("Patient/{id}/_history"), "")
        .await
        .outcome(400);
    bed.fhir("DELETE", &format!("Patient/{id}"), "")
        .await
        .is(200);
    bed.fhir("GET", &format!("Patient/{id}"), "")
        .await
        .outcome(404);
}

#[tokio::test]
async fn conditions() {
    let bed = Bed::new().await;
    let patient = |value: &str| {
        format!(r#"{{"resourceType":"Patient","identifier":[{{"system":"s","value":"{value}"}}]}}"#)
    };
    let condition = ("if-none-exist", "identifier=s|1");
    let first = bed
        .fhir_with("POST", "Patient", condition, &patient("1"))
        .await
        .is(201);
    let again = bed
        .fhir_with("POST", "Patient", condition, &patient("1"))
        .await
        .is(200);
    assert_eq!(first.text, again.text);
    bed.fhir("POST", "Patient", &patient("1")).await.is(201);
    let (text, diagnostics) = bed
        .fhir_with("POST", "Patient", condition, &patient("1"))
        .await
        .outcome(412);
    assert_eq!(
        (text.as_str(), diagnostics.as_str()),
        (
            "ambiguous_query",
            "search criteria are not selective enough"
        )
    );
    assert_eq!(
        bed.fhir_with(
            "POST",
            "Patient",
            ("if-none-exist", "name=x"),
            &patient("1")
        )
        .await
        .outcome(400)
        .0,
        "invalid_query"
    );

    // Conditional update: none and no id, one, none with id, one with another id, many.
    let made = bed
        .fhir("PUT", "Patient?identifier=s|2", &patient("2"))
        .await
        .is(201)
        .json();
    let same = bed
        .fhir("PUT", "Patient?identifier=s|2", &patient("2"))
        .await
        .is(200)
        .json();
    assert_eq!(made["id"], same["id"]);
    let with_id =
        r#"{"resourceType":"Patient","id":"mine","identifier":{"system":"s","value":"3"}}"#;
    assert_eq!(
        bed.fhir("PUT", "Patient?identifier=s|3", with_id)
            .await
            .is(201)
            .json()["id"],
        "mine"
    );
    bed.fhir("PUT", "Patient?identifier=s|3", with_id)
        .await
        .is(200);
    assert_eq!(
        bed.fhir("PUT", "Patient?identifier=s|2", with_id)
            .await
            .outcome(400)
            .0,
        "resource_mismatch"
    );
    bed.fhir("PUT", "Patient?identifier=s|1", &patient("1"))
        .await
        .outcome(412);
    bed.fhir("PUT", "Patient?identifier=s|none", with_id)
        .await
        .outcome(409);
    bed.fhir("PUT", "Patient", &patient("1")).await.outcome(400);

    assert_eq!(
        bed.fhir("DELETE", "Patient?identifier=s|1", "")
            .await
            .outcome(412)
            .1,
        "Condition not selective enough"
    );
    bed.fhir("DELETE", "Patient?identifier=s|2", "")
        .await
        .is(200);
    bed.fhir("DELETE", "Patient?identifier=s|2", "")
        .await
        .is(200);
    assert_eq!(bed.total("Patient?identifier=s|2").await, 0);
}

#[tokio::test]
async fn concurrent_conditional_creates_make_one() {
    let bed = Bed::new().await;
    let body = r#"{"resourceType":"Patient","identifier":[{"system":"s","value":"v"}]}"#;
    let calls = (0..40)
        .map(|_| bed.fhir_with("POST", "Patient", ("if-none-exist", "identifier=s|v"), body));
    let answers = futures::future::join_all(calls).await;
    let created = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED)
        .count();
    let matched = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .count();
    assert_eq!((created, matched), (1, 39));
    assert_eq!(bed.total("Patient").await, 1);
}

#[tokio::test]
async fn patches() {
    let bed = Bed::new().await;
    bed.fhir(
        "PUT",
        "Patient/a",
        r#"{"resourceType":"Patient","id":"a","active":true,"identifier":[{"value":"1"}]}"#,
    )
    .await
    .is(201);
    let media = ("content-type", "application/json-patch+json");
    let patch = r#"[{"op":"replace","path":"/identifier/0/value","value":"2"},{"op":"add","path":"/gender","value":"other"}]"#;
    assert_eq!(
        bed.fhir_with("PATCH", "Patient/a", media, patch)
            .await
            .is(200)
            .json()["gender"],
        "other"
    );
    assert_eq!(
        (
            bed.total("Patient?identifier=1").await,
            bed.total("Patient?identifier=2").await
        ),
        (0, 1)
    );
    bed.fhir_with("PATCH", "Patient?identifier=2", media, patch)
        .await
        .is(200);
    bed.fhir_with("PATCH", "Patient?identifier=9", media, patch)
        .await
        .outcome(404);
    bed.fhir("PATCH", "Patient/a", patch).await.outcome(415);
    bed.fhir_with(
        "PATCH",
        "Patient/a",
        media,
        r#"[{"op":"replace","path":"/id","value":"b"}]"#,
    )
    .await
    .outcome(400);
    bed.fhir_with("PATCH", "Patient/b", media, patch)
        .await
        .outcome(404);
}

#[tokio::test]
async fn searches_page_and_filter() {
    let bed = Bed::new().await;
    for index in 0..5 {
        let tag = if index % 2 == 0 { "even" } else { "odd" };
        let body = json!({"resourceType": "Patient", "id": format!("p{index}"),
            "meta": {"tag": [{"system": "t", "code": tag}]},
            "identifier": [{"system": "s", "value": format!("v{index}")}, {"value": "bare"}, {"system": "only"}]});
        bed.fhir("PUT", &format!("Patient/p{index}"), &body.to_string())
            .await
            .is(201);
    }
    for (query, total) in [
        ("Patient", 5),
        ("Patient?_id=p1", 1),
        ("Patient?_id=p1,p2,none", 2),
        ("Patient?_tag=t|even", 3),
        ("Patient?_tag=odd", 2),
        ("Patient?_tag=t|", 5),
        ("Patient?identifier=s|v1", 1),
        ("Patient?identifier=v1", 1),
        ("Patient?identifier=|v1", 0),
        ("Patient?identifier=|bare", 5),
        ("Patient?identifier=s|v1,s|v2", 2),
        ("Patient?identifier=s|&_tag=t|odd", 2),
        ("Patient?identifier=only|", 5),
        ("Patient?favourite=ignored", 5),
        ("Observation", 0),
    ] {
        assert_eq!(bed.total(query).await, total, "{query}");
        if let Some((kind, parameters)) = query.split_once('?') {
            let posted = bed
                .fhir("POST", &format!("{kind}/_search?{parameters}"), "")
                .await
                .is(200);
            assert_eq!(posted.json()["total"], total, "{query}");
        }
    }
    bed.fhir_with(
        "GET",
        "Patient?favourite=x",
        ("prefer", "handling=strict"),
        "",
    )
    .await
    .outcome(400);
    let too_many = format!("Patient?_id={}", "a,".repeat(2000));
    for bad in [
        "Patient?_count=x",
        "Patient?_page_token=%21",
        "Patient?identifier=a|b|c",
        &too_many,
        "Patient?identifier=",
    ] {
        assert_eq!(
            bed.fhir("GET", bad, "").await.outcome(400).0,
            "invalid_query",
            "{bad}"
        );
    }
    let mut url = format!("{}{STORE}/fhir/Patient?_count=2", bed.server.url());
    let mut ids = Vec::new();
    loop {
        let page = Answer::of(bed.client.get(&url).send().await.unwrap())
            .await
            .is(200)
            .json();
        assert_eq!(
            (&page["type"], &page["total"]),
            (&json!("searchset"), &json!(5))
        );
        for entry in page["entry"].as_array().unwrap() {
            let id = entry["resource"]["id"].as_str().unwrap();
            assert_eq!(
                entry["fullUrl"],
                format!("{}{STORE}/fhir/Patient/{id}", bed.server.url())
            );
            assert_eq!(entry["search"]["mode"], "match");
            ids.push(id.to_owned());
        }
        let links = page["link"].as_array().unwrap();
        match links.iter().find(|link| link["relation"] == "next") {
            Some(next) => next["url"].as_str().unwrap().clone_into(&mut url),
            None => break,
        }
    }
    assert_eq!(ids, ["p0", "p1", "p2", "p3", "p4"]);
}

#[tokio::test]
async fn what_is_no_resource_is_refused() {
    let bed = Bed::new().await;
    let deep = format!(
        r#"{{"resourceType":"Patient","x":{}{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    for (body, diagnostics) in [
        ("", "unexpected end"),
        ("{", "expected a key"),
        (r#"{"resourceType":"Patient"} x"#, "after top-level value"),
        ("[]", "expected a resource object"),
        ("{}", "missing required field \"resourceType\""),
        (r#"{"resourceType":7}"#, "invalid resource type"),
        (
            r#"{"resourceType":"Foo"}"#,
            "unknown resource type: \"Foo\"",
        ),
        (
            r#"{"resourceType":"Patient","id":"a_b"}"#,
            "invalid Id format",
        ),
        (r#"{"resourceType":"Patient","id":7}"#, "expected ID"),
        (r#"{"resourceType":"Patient","meta":[]}"#, "Meta"),
        (deep.as_str(), "nested too deeply"),
    ] {
        let (text, found) = bed.fhir("POST", "Patient", body).await.outcome(400);
        assert_eq!(text, "unparseable_resource");
        assert!(found.contains(diagnostics), "{found}");
    }
    assert_eq!(
        bed.fhir("POST", "Group", r#"{"resourceType":"Patient"}"#)
            .await
            .outcome(400)
            .0,
        "resource_mismatch"
    );
    assert_eq!(
        bed.fhir("POST", "fhir/", "{}").await.outcome(400).1,
        "unsupported resource type: fhir"
    );
    bed.fhir("GET", "Patient/a_b", "").await.outcome(400);
    bed.fhir_with(
        "POST",
        "Patient",
        ("content-type", "application/fhir+xml"),
        "<a/>",
    )
    .await
    .outcome(415);
    bed.fhir("GET", "Patient/a/$everything", "")
        .await
        .outcome(404);
    bed.fhir("GET", "Patient/a/b", "")
        .await
        .google(404, "NOT_FOUND");
    let large = format!(
        r#"{{"resourceType":"Patient","x":"{}"}}"#,
        "x".repeat(10 << 20)
    );
    bed.fhir("POST", "Patient", &large)
        .await
        .google(413, "OUT_OF_RANGE");
    bed.fhir("POST", "", &"x".repeat((50 << 20) + 1))
        .await
        .google(413, "OUT_OF_RANGE");
}

#[tokio::test]
async fn a_batch_answers_each_entry() {
    let bed = Bed::new().await;
    bed.fhir(
        "PUT",
        "Patient/old",
        r#"{"resourceType":"Patient","id":"old"}"#,
    )
    .await
    .is(201);
    let mut conditional = entry(
        "urn:uuid:1",
        "POST",
        "Patient",
        json!({"resourceType": "Patient", "identifier": [{"value": "x"}]}),
    );
    conditional["request"]["ifNoneExist"] = json!("identifier=x");
    let answer = bed
        .bundle(&bundle(
            "batch",
            &[
                conditional.clone(),
                entry(
                    "urn:uuid:2",
                    "POST",
                    "Patient",
                    json!({"resourceType": "Foo"}),
                ),
                conditional,
                entry(
                    "",
                    "PUT",
                    "Patient/new",
                    json!({"resourceType": "Patient", "id": "new"}),
                ),
                entry("", "GET", "Patient/new", Value::Null),
                entry("", "DELETE", "Patient/old", Value::Null),
                entry("", "GET", "Patient?identifier=x", Value::Null),
                json!({}),
            ],
        ))
        .await
        .is(200)
        .json();
    assert_eq!(answer["type"], "batch-response");
    let responses: Vec<&Value> = answer["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["response"])
        .collect();
    let statuses: Vec<&str> = responses
        .iter()
        .map(|response| response["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        statuses,
        [
            "201 Created",
            "400 Bad Request",
            "200 OK",
            "201 Created",
            "200 OK",
            "200 OK",
            "400 Bad Request",
            "400 Bad Request"
        ]
    );
    assert_eq!(responses[0]["location"], responses[2]["location"]);
    assert_eq!(
        responses[1]["outcome"]["issue"][0]["details"]["text"],
        "unparseable_resource"
    );
    assert!(answer["entry"][0].get("resource").is_none());
    assert_eq!(answer["entry"][4]["resource"]["id"], "new");
    assert_eq!(
        responses[3]["location"]
            .as_str()
            .unwrap()
            .split("/_history/")
            .next()
            .unwrap(),
        format!("{}{STORE}/fhir/Patient/new", bed.server.url())
    );
    assert!(
        responses[3]["etag"].as_str().unwrap().starts_with("W/\"")
            && responses[3]["lastModified"].is_string()
    );
}

#[tokio::test]
async fn a_transaction_rewrites_references_whatever_their_order() {
    let bed = Bed::new().await;
    bed.fhir(
        "PUT",
        "Practitioner/doc",
        r#"{"resourceType":"Practitioner","id":"doc","identifier":[{"system":"npi","value":"9"}]}"#,
    )
    .await
    .is(201);
    let observation = json!({"resourceType": "Observation", "status": "final",
        "subject": {"reference": "urn:uuid:aaaa"},
        "performer": [{"reference": "Practitioner?identifier=npi|9"}, {"reference": "Organization?identifier=org|1"}],
        "focus": [{"reference": "http://h/b/Group/7"}],
        "text": {"status": "generated", "div": "<div><a href=\"urn:uuid:aaaa\">x</a></div>"}});
    let group = json!({"resourceType": "Group", "type": "person", "actual": true, "member": [{"entity": {"reference": "Organization/1"}}]});
    let bundled = bundle(
        "transaction",
        &[
            entry("urn:uuid:bbbb", "POST", "Observation", observation),
            entry(
                "urn:uuid:aaaa",
                "POST",
                "Patient",
                json!({"resourceType": "Patient"}),
            ),
            entry("http://h/b/Group/7", "POST", "Group", group),
            entry(
                "http://h/b/Organization/1",
                "POST",
                "Organization",
                json!({"resourceType": "Organization", "identifier": [{"system": "org", "value": "1"}]}),
            ),
        ],
    );
    let answer = bed.bundle(&bundled).await.is(200).json();
    assert_eq!(answer["type"], "transaction-response");
    let names: Vec<String> = answer["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let location = entry["response"]["location"].as_str().unwrap();
            location
                .split("/fhir/")
                .nth(1)
                .unwrap()
                .split("/_history")
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    let stored = bed.fhir("GET", &names[0], "").await.is(200).json();
    assert_eq!(stored["subject"]["reference"], names[1]);
    assert_eq!(stored["performer"][0]["reference"], "Practitioner/doc");
    assert_eq!(stored["performer"][1]["reference"], names[3]);
    assert_eq!(stored["focus"][0]["reference"], names[2]);
    assert_eq!(
        stored["text"]["div"],
        format!("<div><a href=\"{}\">x</a></div>", names[1])
    );
    let etag = format!("W/\"{}\"", stored["meta"]["versionId"].as_str().unwrap());
    assert_eq!(answer["entry"][0]["response"]["etag"], etag);
    let group = bed.fhir("GET", &names[2], "").await.is(200).json();
    assert_eq!(group["member"][0]["entity"]["reference"], names[3]);
}

#[tokio::test]
async fn a_transaction_happens_whole_or_not_at_all() {
    let bed = Bed::new().await;
    let good = entry(
        "urn:uuid:1",
        "POST",
        "Patient",
        json!({"resourceType": "Patient"}),
    );
    let cases = [
        (
            entry(
                "urn:uuid:2",
                "POST",
                "Patient",
                json!({"resourceType": "Foo"}),
            ),
            400,
            "unknown resource type",
        ),
        (
            entry(
                "urn:uuid:2",
                "POST",
                "Observation",
                json!({"resourceType": "Observation", "subject": {"reference": "Patient?identifier=none"}}),
            ),
            400,
            "resolving references: conditional reference has no matching resource",
        ),
        (
            entry(
                "urn:uuid:1",
                "POST",
                "Patient",
                json!({"resourceType": "Patient"}),
            ),
            400,
            "same fullUrl",
        ),
        (
            entry("", "GET", "Patient/none", Value::Null),
            404,
            "resource not found",
        ),
        (entry("", "HEAD", "Patient/none", Value::Null), 400, "HEAD"),
    ];
    for (bad, status, words) in cases {
        let (_, diagnostics) = bed
            .bundle(&bundle("transaction", &[good.clone(), bad]))
            .await
            .outcome(status);
        assert!(diagnostics.contains(words), "{diagnostics}");
    }
    let put = entry(
        "",
        "PUT",
        "Patient/a",
        json!({"resourceType": "Patient", "id": "a"}),
    );
    let twice = bed
        .bundle(&bundle(
            "transaction",
            &[put.clone(), good.clone(), put.clone()],
        ))
        .await
        .outcome(400);
    assert!(twice.1.contains("more than once"), "{}", twice.1);
    let delete = entry("", "DELETE", "Patient/a", Value::Null);
    bed.bundle(&bundle("transaction", &[put, delete]))
        .await
        .outcome(400);
    let many = vec![good.clone(); 4501];
    assert_eq!(
        bed.bundle(&bundle("transaction", &many))
            .await
            .outcome(400)
            .0,
        "bundle_too_large"
    );
    bed.bundle(&bundle("collection", &[good]))
        .await
        .outcome(400);
    assert_eq!(bed.total("Patient").await, 0);
    assert_eq!(
        bed.fhir("GET", "Patient/a", "").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn references_go_to_what_a_conditional_create_matched() {
    let bed = Bed::new().await;
    bed.fhir(
        "PUT",
        "Organization/there",
        r#"{"resourceType":"Organization","id":"there","identifier":[{"value":"o"}]}"#,
    )
    .await
    .is(201);
    let mut organization = entry(
        "urn:uuid:o",
        "POST",
        "Organization",
        json!({"resourceType": "Organization", "identifier": [{"value": "o"}]}),
    );
    organization["request"]["ifNoneExist"] = json!("identifier=o");
    let mut fresh = entry(
        "urn:uuid:f",
        "POST",
        "Organization",
        json!({"resourceType": "Organization", "identifier": [{"value": "f"}]}),
    );
    fresh["request"]["ifNoneExist"] = json!("identifier=f");
    let mut again = fresh.clone();
    again["fullUrl"] = json!("urn:uuid:g");
    let patient = |id: &str, reference: &str| {
        entry(
            "",
            "PUT",
            &format!("Patient/{id}"),
            json!({"resourceType": "Patient", "id": id, "managingOrganization": {"reference": reference}}),
        )
    };
    let entries = [
        patient("a", "urn:uuid:o"),
        patient("b", "urn:uuid:g"),
        organization,
        fresh,
        again,
    ];
    let answer = bed
        .bundle(&bundle("transaction", &entries))
        .await
        .is(200)
        .json();
    let statuses: Vec<&str> = answer["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["response"]["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        statuses,
        [
            "201 Created",
            "201 Created",
            "200 OK",
            "201 Created",
            "200 OK"
        ]
    );
    let reference = async |id: &str| {
        bed.fhir("GET", &format!("Patient/{id}"), "").await.json()["managingOrganization"]["reference"].clone()
    };
    assert_eq!(reference("a").await, "Organization/there");
    let location = answer["entry"][3]["response"]["location"].as_str().unwrap();
    assert!(location.contains(&format!(
        "/{}/_history/",
        reference("b").await.as_str().unwrap()
    )));
    assert_eq!(bed.total("Organization").await, 2);
}

#[tokio::test]
async fn datasets_and_stores() {
    let bed = Bed::with(json!({"enableUpdateCreate": false, "labels": {"a": "b"}})).await;
    let operation = bed
        .call(
            "POST",
            &format!("{DATASETS}?datasetId=e"),
            r#"{"timeZone":"UTC"}"#,
        )
        .await
        .is(200)
        .json();
    assert!(operation.get("done").is_none());
    let path = format!("v1/{}", operation["name"].as_str().unwrap());
    let done = bed.call("GET", &path, "").await.is(200).json();
    assert_eq!(
        (&done["done"], &done["response"]["timeZone"]),
        (&json!(true), &json!("UTC"))
    );
    assert_eq!(
        done["metadata"]["apiMethodName"],
        "google.cloud.healthcare.v1.dataset.DatasetService.CreateDataset"
    );
    let operations = bed
        .call("GET", &format!("{DATASETS}/e/operations"), "")
        .await
        .is(200)
        .json();
    assert_eq!(operations["operations"].as_array().unwrap().len(), 1);
    bed.call("POST", &format!("{DATASETS}?datasetId=e"), "")
        .await
        .google(409, "ALREADY_EXISTS");
    bed.call("POST", &format!("{DATASETS}?datasetId=a/b"), "")
        .await
        .google(400, "INVALID_ARGUMENT");
    let list = bed
        .call("GET", &format!("{DATASETS}?pageSize=1"), "")
        .await
        .is(200)
        .json();
    assert_eq!(list["datasets"].as_array().unwrap().len(), 1);
    let token = list["nextPageToken"].as_str().unwrap();
    let rest = bed
        .call("GET", &format!("{DATASETS}?pageToken={token}"), "")
        .await
        .is(200)
        .json();
    assert_eq!(
        rest["datasets"][0]["name"],
        "projects/p/locations/l/datasets/e"
    );
    let patched = bed
        .call(
            "PATCH",
            &format!("{DATASETS}/e?updateMask=timeZone"),
            r#"{"timeZone":"CET"}"#,
        )
        .await
        .is(200);
    assert_eq!(patched.json()["timeZone"], "CET");

    let store = bed.call("GET", STORE, "").await.is(200);
    assert_eq!(
        store.text,
        r#"{"labels":{"a":"b"},"name":"projects/p/locations/l/datasets/d/fhirStores/f","version":"R4"}"#
    );
    let stores = format!("{DATASETS}/d/fhirStores");
    bed.call(
        "POST",
        &format!("{stores}?fhirStoreId=f"),
        r#"{"version":"R4"}"#,
    )
    .await
    .google(409, "ALREADY_EXISTS");
    bed.call("POST", &format!("{stores}?fhirStoreId=g"), "{}")
        .await
        .google(400, "INVALID_ARGUMENT");
    bed.call(
        "POST",
        &format!("{stores}?fhirStoreId=g"),
        r#"{"version":"R5"}"#,
    )
    .await
    .google(400, "INVALID_ARGUMENT");
    let unknown = bed
        .call(
            "POST",
            &format!("{stores}?fhirStoreId=g"),
            r#"{"version":"R4","foo":1}"#,
        )
        .await;
    assert!(
        unknown
            .google(400, "INVALID_ARGUMENT")
            .contains("Unknown name \"foo\": Cannot find field.")
    );
    let wrong = bed
        .call(
            "POST",
            &format!("{stores}?fhirStoreId=g"),
            r#"{"version":"R4","enableUpdateCreate":"yes"}"#,
        )
        .await;
    wrong.google(400, "INVALID_ARGUMENT");
    bed.call(
        "POST",
        &format!("{DATASETS}/none/fhirStores?fhirStoreId=g"),
        r#"{"version":"R4"}"#,
    )
    .await
    .google(403, "PERMISSION_DENIED");
    bed.call("GET", &format!("{stores}/none"), "")
        .await
        .google(404, "NOT_FOUND");
    bed.call("GET", &format!("{stores}/none/fhir/Patient/a"), "")
        .await
        .google(404, "NOT_FOUND");
    for (filter, count) in [("labels.a=b", 1), ("labels.a=c", 0)] {
        let found = bed
            .call("GET", &format!("{stores}?filter={filter}"), "")
            .await
            .is(200)
            .json();
        assert_eq!(found["fhirStores"].as_array().map_or(0, Vec::len), count);
    }

    bed.call("PATCH", STORE, r#"{"enableUpdateCreate":true}"#)
        .await
        .google(400, "INVALID_ARGUMENT");
    bed.call(
        "PATCH",
        &format!("{STORE}?updateMask=version"),
        r#"{"version":"R5"}"#,
    )
    .await
    .google(400, "INVALID_ARGUMENT");
    bed.fhir("PUT", "Patient/a", r#"{"resourceType":"Patient","id":"a"}"#)
        .await
        .outcome(405);
    let mask = "updateMask=enable_update_create,validationConfig.disableProfileValidation,labels";
    let body =
        r#"{"enableUpdateCreate":true,"validationConfig":{"disableProfileValidation":true}}"#;
    let patched = bed
        .call("PATCH", &format!("{STORE}?{mask}"), body)
        .await
        .is(200)
        .json();
    assert_eq!(
        patched["validationConfig"]["disableProfileValidation"],
        true
    );
    assert!(patched.get("labels").is_none());
    bed.fhir("PUT", "Patient/a", r#"{"resourceType":"Patient","id":"a"}"#)
        .await
        .is(201);

    let metadata = bed.fhir("GET", "metadata", "").await.is(200).json();
    assert_eq!(
        (&metadata["resourceType"], &metadata["fhirVersion"]),
        (&json!("CapabilityStatement"), &json!("4.0.1"))
    );
    let resources = metadata["rest"][0]["resource"].as_array().unwrap();
    assert_eq!(
        (resources.len(), &resources[0]["updateCreate"]),
        (146, &json!(true))
    );

    let metrics = bed
        .call("GET", &format!("{STORE}:getFHIRStoreMetrics"), "")
        .await
        .is(200)
        .json();
    assert_eq!(
        (
            &metrics["metrics"][0]["resourceType"],
            &metrics["metrics"][0]["count"]
        ),
        (&json!("Patient"), &json!("1"))
    );
    assert_eq!(bed.call("DELETE", STORE, "").await.is(200).text, "{}");
    bed.fhir("GET", "Patient/a", "")
        .await
        .google(404, "NOT_FOUND");
    bed.call("DELETE", &format!("{DATASETS}/d"), "")
        .await
        .is(200);
    bed.call("GET", &format!("{DATASETS}/d"), "")
        .await
        .google(404, "NOT_FOUND");
    bed.call("GET", &format!("{DATASETS}/e"), "").await.is(200);
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let bed = Bed::new().await;
    let text = bed
        .fhir(
            "PUT",
            "Patient/a",
            r#"{"resourceType":"Patient","id":"a","x":1.10}"#,
        )
        .await
        .is(201)
        .text;
    let bed = bed.restarted().await;
    assert_eq!(bed.fhir("GET", "Patient/a", "").await.is(200).text, text);
    assert_eq!(
        bed.call("GET", STORE, "").await.is(200).json()["enableUpdateCreate"],
        true
    );
    bed.fhir("PUT", "Patient/a", r#"{"resourceType":"Patient","id":"a"}"#)
        .await
        .is(200);
    let history = bed
        .fhir("GET", "Patient/a/_history", "")
        .await
        .is(200)
        .json();
    assert_eq!(
        history["entry"][1]["resource"],
        serde_json::from_str::<Value>(&text).unwrap()
    );
}

#[tokio::test]
async fn one_server_has_the_directory() {
    let bed = tempfile::tempdir().unwrap();
    let dir = bed.path().join("made");
    started(options(&dir)).await.stop().await;
    fs::write(dir.join("server.json"), "{\"stale\": true").unwrap();
    let mut secret = options(&dir);
    secret.token = Some("s3cret".to_owned());
    let server = started(secret).await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(""), 0o700);
        for file in ["store.sqlite", "lock", "server.json", "store.sqlite-wal"] {
            assert_eq!(mode(file), 0o600, "{file}");
        }
    }
    let Opened::Running {
        url, token, pid, ..
    } = open(options(&dir)).await.unwrap()
    else {
        panic!("two servers")
    };
    assert_eq!((&url, pid), (server.url(), std::process::id()));
    assert_eq!(
        token.as_ref().map(stoker::emulator::Token::expose),
        server.token()
    );
    assert!(!format!("{server:?} {token:?}").contains("s3cret"));

    let client = Client::new();
    let get = async |value: &str| {
        client
            .get(url.clone())
            .header("authorization", value)
            .send()
            .await
            .unwrap()
    };
    assert_eq!(get("Bearer s3cret").await.status(), 200);
    Answer::of(get("Bearer other!").await)
        .await
        .google(401, "UNAUTHENTICATED");
    Answer::of(client.get(url.clone()).send().await.unwrap())
        .await
        .google(401, "UNAUTHENTICATED");
    let rebound = client
        .get(url.clone())
        .header("host", "evil.example")
        .send()
        .await
        .unwrap();
    Answer::of(rebound).await.google(403, "PERMISSION_DENIED");

    server.stop().await;
    assert!(!dir.join("server.json").exists());
    started(options(&dir)).await.stop().await;
}

#[tokio::test]
async fn a_lock_whose_holder_is_silent_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let lock = fs::File::create(dir.path().join("lock")).unwrap();
    lock.try_lock().unwrap();
    fs::write(
        dir.path().join("server.json"),
        r#"{"pid":4242,"url":"http://127.0.0.1:1/","token":null,"started":"","instance":"x"}"#,
    )
    .unwrap();
    let error = open(options(dir.path())).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Held {
                pid: Some(4242),
                ..
            }
        ),
        "{error}"
    );
    let far = Options {
        bind: ([0, 0, 0, 0], 0).into(),
        ..options(dir.path())
    };
    assert!(matches!(
        open(far).await.unwrap_err(),
        Error::NotLoopback(_)
    ));
}

#[tokio::test]
async fn http2_without_tls_works() {
    let bed = Bed::new().await;
    let client = Client::builder()
        .http2_prior_knowledge()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let response = client
        .get(format!("{}{STORE}", bed.server.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (response.status(), response.version()),
        (StatusCode::OK, reqwest::Version::HTTP_2)
    );
}

#[tokio::test]
async fn no_request_makes_it_fail() {
    let bed = Bed::new().await;
    let seeds = [
        "",
        "null",
        "{}",
        "[1]",
        "{\"resourceType\":\"Bundle\"}",
        r#"{"resourceType":"Bundle","type":"transaction","entry":[{}]}"#,
        r#"{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"PATCH","url":"Patient?identifier=é"},"resource":{"resourceType":"Binary","data":"="}}]}"#,
        r#"{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":"http://","request":{"method":"POST","url":"?"},"resource":{"resourceType":"Patient","text":{"div":"<a href='"}}}]}"#,
        r#"{"resourceType":"Patient","identifier":[7,null,{"value":"\u0000"}],"meta":{"tag":"x"}}"#,
    ];
    let paths = [
        "",
        "/",
        "Patient",
        "Patient/",
        "Patient/%00",
        "Patient/..%2f",
        "Patient/a/_history/%ff",
        "metadata",
        "_search",
        "$x",
        "Patient?identifier=%5C",
        "Patient?_id=%00&_tag=|",
        "Patient/a/_history?_since=x",
        "Patient?_count=99999999999999999999",
    ];
    for method in [
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE",
    ] {
        for path in paths {
            for body in seeds {
                let answer = bed.fhir(method, path, body).await;
                assert!(
                    answer.status.as_u16() < 500 || answer.status == StatusCode::NOT_IMPLEMENTED,
                    "{method} {path} {body}: {answer:?}"
                );
            }
        }
    }
    bed.fhir("GET", "Patient", "").await.is(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bundles_work() {
    let bed = Bed::new().await;
    let filler = "x".repeat(1000);
    let observation = |index: usize| {
        entry(
            &format!("urn:uuid:{index}"),
            "POST",
            "Observation",
            json!({"resourceType": "Observation", "subject": {"reference": "urn:uuid:0"}, "note": filler}),
        )
    };
    let entries: Vec<Value> = (0..25_000).map(observation).collect();
    let answer = bed.bundle(&bundle("batch", &entries)).await.is(200).json();
    assert_eq!(answer["entry"].as_array().unwrap().len(), 25_000);
    let answer = bed
        .bundle(&bundle("transaction", &entries[..4500]))
        .await
        .is(200)
        .json();
    assert!(
        answer["entry"]
            .as_array()
            .unwrap()
            .iter()
            .all(|entry| entry["response"]["status"] == "201 Created")
    );
    assert_eq!(bed.total("Observation").await, 29_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_bundles_load_whole() {
    let Some(set) = data::set("synthea-r4-2021-smoke") else {
        return;
    };
    let bed = Bed::new().await;
    let mut files: Vec<_> = fs::read_dir(set.join("bundles"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 16);
    let (mut entries, mut matches) = (0, 0);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let source: Value = serde_json::from_str(&text).unwrap();
        let answer = bed.fhir("POST", "", &text).await.is(200).json();
        let (source, answer) = (
            source["entry"].as_array().unwrap(),
            answer["entry"].as_array().unwrap(),
        );
        assert_eq!(source.len(), answer.len());
        for (source, answer) in source.iter().zip(answer) {
            let status = answer["response"]["status"].as_str().unwrap();
            assert!(
                matches!(status, "201 Created" | "200 OK"),
                "{}: {answer}",
                file.display()
            );
            entries += 1;
            if status == "200 OK" {
                matches += 1;
                continue;
            }
            // What is stored is what was sent, apart from id, meta and references.
            let url = answer["response"]["location"].as_str().unwrap();
            let read = Answer::of(bed.client.get(url).send().await.unwrap())
                .await
                .is(200);
            for kept in ["\"reference\":\"urn:", "?identifier="] {
                assert!(!read.text.contains(kept), "{}: {url}", file.display());
            }
            let mut stored = read.json();
            let mut wanted = source["resource"].clone();
            for value in [&mut stored, &mut wanted] {
                let fields = value.as_object_mut().unwrap();
                fields.remove("id");
                fields.remove("meta");
                blank_references(value);
            }
            assert_eq!(stored, wanted);
        }
    }
    let metrics = bed
        .call("GET", &format!("{STORE}:getFHIRStoreMetrics"), "")
        .await
        .is(200)
        .json();
    let counts = metrics["metrics"].as_array().unwrap().iter();
    let stored: usize = counts
        .map(|metric| metric["count"].as_str().unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(stored, entries - matches);
    // The entries of the 16 files, counted apart.
    assert_eq!(entries, 3209);
}

/// Makes references alike that the store may rewrite.
fn blank_references(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "reference" => "…".clone_into(text),
                    other => blank_references(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blank_references),
        _ => {}
    }
}
