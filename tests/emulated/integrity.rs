//! Referential integrity of the local store, rule by rule (Healthcare API, referential-integrity page).

use serde_json::{Value, json};

use super::bed::{Bed, STORE, bundle, entry, options, started};

fn observation(subject: &str) -> String {
    json!({"resourceType": "Observation", "subject": {"reference": subject}}).to_string()
}

/// Creates a resource and returns its id.
async fn created(bed: &Bed, kind: &str, body: &str) -> String {
    let answer = bed.fhir("POST", kind, body).await.is(201);
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_referred_to_must_be_there() {
    let bed = Bed::new().await;
    let refused = bed
        .fhir("POST", "Observation", &observation("Patient/gone"))
        .await;
    let (text, diagnostics) = refused.outcome(400);
    assert_eq!(text, "invalid_references");
    assert!(diagnostics.contains("Patient/gone"), "{diagnostics}");
    let id = created(&bed, "Patient", r#"{"resourceType":"Patient"}"#).await;
    let own = format!("{}{STORE}/fhir/Patient/{id}", bed.server.url());
    for good in [&format!("Patient/{id}"), &own] {
        bed.fhir("POST", "Observation", &observation(good))
            .await
            .is(201);
    }
    let other = own.replace(&id, "gone");
    bed.fhir("POST", "Observation", &observation(&other))
        .await
        .is(400);
    // An update and a patch are held to it as well.
    let id = created(&bed, "Observation", r#"{"resourceType":"Observation"}"#).await;
    let changed =
        json!({"resourceType": "Observation", "id": id, "subject": {"reference": "Patient/gone"}});
    let path = format!("Observation/{id}");
    bed.fhir("PUT", &path, &changed.to_string()).await.is(400);
    let change = r#"[{"op":"add","path":"/subject","value":{"reference":"Patient/gone"}}]"#;
    let header = ("content-type", "application/json-patch+json");
    bed.fhir_with("PATCH", &path, header, change).await.is(400);
    assert_eq!(bed.total("Observation").await, 3);
}

#[tokio::test]
async fn what_the_store_cannot_know_is_not_checked() {
    let bed = Bed::new().await;
    for free in [
        json!({"reference": "https://elsewhere.example/fhir/Patient/1"}),
        json!({"identifier": {"system": "urn:s", "value": "1"}}),
        json!({"display": "Anna"}),
        json!({"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}),
    ] {
        let body = json!({"resourceType": "Observation", "subject": free});
        bed.fhir("POST", "Observation", &body.to_string())
            .await
            .is(201);
    }
    let inside = json!({"resourceType": "Patient", "extension": [{"url": "urn:x", "valueReference": {"reference": "Patient/gone"}}]});
    bed.fhir("POST", "Patient", &inside.to_string())
        .await
        .is(201);
    let strict = Bed::with(json!({"complexDataTypeReferenceParsing": "ENABLED"})).await;
    strict
        .fhir("POST", "Patient", &inside.to_string())
        .await
        .is(400);
    let off = Bed::with(json!({"disableReferentialIntegrity": true})).await;
    off.fhir("POST", "Observation", &observation("Patient/gone"))
        .await
        .is(201);
}

#[tokio::test]
async fn a_version_must_be_there_too() {
    let bed = Bed::new().await;
    let body = r#"{"resourceType":"Patient","id":"p"}"#;
    let first = bed.fhir("PUT", "Patient/p", body).await.is(201);
    let version = first.json()["meta"]["versionId"]
        .as_str()
        .unwrap()
        .to_owned();
    bed.fhir(
        "PUT",
        "Patient/p",
        r#"{"resourceType":"Patient","id":"p","active":true}"#,
    )
    .await
    .is(200);
    let to = |version: &str| observation(&format!("Patient/p/_history/{version}"));
    bed.fhir("POST", "Observation", &to(&version)).await.is(201);
    bed.fhir("POST", "Observation", &to("1")).await.is(400);
}

#[tokio::test]
async fn what_is_referred_to_cannot_be_deleted() {
    let bed = Bed::new().await;
    let patient = created(&bed, "Patient", r#"{"resourceType":"Patient"}"#).await;
    let path = format!("Patient/{patient}");
    let id = created(&bed, "Observation", &observation(&path)).await;
    let (text, _) = bed.fhir("DELETE", &path, "").await.outcome(409);
    assert_eq!(text, "invalid_references");
    // In one transaction both may go, in any order of the entries; or the reference moves away.
    let delete = |url: &str| json!({"request": {"method": "DELETE", "url": url}});
    let observation_path = format!("Observation/{id}");
    bed.bundle(&bundle("transaction", &[delete(&path)]))
        .await
        .is(409);
    bed.bundle(&bundle(
        "transaction",
        &[delete(&path), delete(&observation_path)],
    ))
    .await
    .is(200);
    assert_eq!(bed.total("Patient").await, 0);
    let patient = created(&bed, "Patient", r#"{"resourceType":"Patient"}"#).await;
    let path = format!("Patient/{patient}");
    let id = created(&bed, "Observation", &observation(&path)).await;
    let moved = json!({"resourceType": "Observation", "id": id});
    bed.fhir("PUT", &format!("Observation/{id}"), &moved.to_string())
        .await
        .is(200);
    bed.fhir("DELETE", &path, "").await.is(200);
}

#[tokio::test]
async fn a_cycle_needs_a_transaction() {
    let bed = Bed::new().await;
    let patient = |id: &str, other: &str| json!({"resourceType": "Patient", "id": id, "link": [{"other": {"reference": other}, "type": "seealso"}]});
    bed.fhir("PUT", "Patient/a", &patient("a", "Patient/b").to_string())
        .await
        .is(400);
    let put = |id: &str, other: &str| {
        entry(
            "urn:uuid:x",
            "PUT",
            &format!("Patient/{id}"),
            patient(id, other),
        )
    };
    let (mut a, mut b) = (put("a", "Patient/b"), put("b", "Patient/a"));
    a["fullUrl"] = Value::Null;
    b["fullUrl"] = Value::Null;
    // In a batch each stands alone.
    let batch = bed
        .bundle(&bundle("batch", &[a.clone(), b.clone()]))
        .await
        .is(200)
        .json();
    for at in 0..2 {
        assert_eq!(
            batch["entry"][at]["response"]["status"], "400 Bad Request",
            "{batch}"
        );
    }
    bed.bundle(&bundle("transaction", &[a, b])).await.is(200);
    let urns = [
        entry("urn:uuid:1", "POST", "Patient", patient("x", "urn:uuid:2")),
        entry("urn:uuid:2", "POST", "Patient", patient("y", "urn:uuid:1")),
    ];
    bed.bundle(&bundle("transaction", &urns)).await.is(200);
    assert_eq!(bed.total("Patient").await, 4);
    // A record may refer to itself.
    bed.fhir("PUT", "Patient/c", &patient("c", "Patient/c").to_string())
        .await
        .is(201);
    // A transaction that leaves a reference open happens not at all, and names the entry.
    let open = [
        entry(
            "urn:uuid:1",
            "POST",
            "Patient",
            json!({"resourceType": "Patient"}),
        ),
        entry(
            "urn:uuid:2",
            "POST",
            "Patient",
            patient("y", "Patient/gone"),
        ),
    ];
    let refused = bed
        .bundle(&bundle("transaction", &open))
        .await
        .is(400)
        .json();
    assert_eq!(
        refused["issue"][0]["expression"][0],
        "Bundle.entry[1].resource.link[0].other"
    );
    assert_eq!(bed.total("Patient").await, 5);
}

#[tokio::test]
async fn contained_resources_are_used_and_there_always() {
    let bed = Bed::with(json!({"disableReferentialIntegrity": true})).await;
    let with = |contained: Value, subject: &str| {
        json!({"resourceType": "Observation", "contained": contained, "subject": {"reference": subject}}).to_string()
    };
    let patient = || json!([{"resourceType": "Patient", "id": "p"}]);
    bed.fhir("POST", "Observation", &with(patient(), "#p"))
        .await
        .is(201);
    bed.fhir("POST", "Observation", &with(patient(), "#q"))
        .await
        .is(400);
    bed.fhir("POST", "Observation", &with(patient(), "Patient/x"))
        .await
        .is(400);
    let upward = json!([{"resourceType": "Provenance", "id": "v", "target": [{"reference": "#"}]}]);
    bed.fhir("POST", "Observation", &with(upward, "Patient/x"))
        .await
        .is(201);
}

/// A store from before references were kept is taken over with them.
#[tokio::test]
async fn an_older_store_learns_its_references() {
    let bed = Bed::new().await;
    let patient = created(&bed, "Patient", r#"{"resourceType":"Patient"}"#).await;
    let path = format!("Patient/{patient}");
    created(&bed, "Observation", &observation(&path)).await;
    let file = bed.dir.path().join("store.sqlite");
    let (client, dir) = (bed.client, bed.dir);
    bed.server.stop().await;
    {
        let database = rusqlite::Connection::open(&file).unwrap();
        database
            .execute_batch("DROP TABLE link; PRAGMA user_version = 1;")
            .unwrap();
    }
    let server = started(options(dir.path())).await;
    let bed = Bed {
        server,
        client,
        dir,
    };
    bed.fhir("DELETE", &path, "").await.is(409);
}
