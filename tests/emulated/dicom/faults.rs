//! Injected faults of a DICOM store: whole requests, answers that get lost, and instances that fail among others.

use std::path::Path;

use stoker::{dicom::multipart::Boundary, emulator::Scenario};

use super::{AS_STORED, Bed, ONE, instance, instances};

async fn troubled(rules: &str) -> Bed {
    let scenario = Scenario::parse(rules, Path::new("faults.yaml")).unwrap();
    Bed::with(Some(scenario)).await
}

const STUDIES: &str = "/dicomWeb/studies";

#[tokio::test]
async fn some_instances_of_a_request_fail() {
    let bed = troubled(
        "seed: 3\nrules:
        - { when: { request: create, until: 1 }, fault: { entries: { status: 503, share: 0.5 } } }
        - { when: { request: create, after: 1, until: 2 }, fault: { entries: { status: 400, share: 1 } } }",
    )
    .await;
    let bytes: Vec<Vec<u8>> = (1..=8).map(|number| instance(1, number, 1)).collect();
    let all: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let (status, set) = bed.store(STUDIES, &all).await;
    assert_eq!(status, 409);
    let (stored, failed) = (instances(&set, "00081199"), instances(&set, "00081198"));
    assert_eq!(stored.len() + failed.len(), 8);
    assert!(!stored.is_empty() && !failed.is_empty(), "{set}");
    assert_eq!(set["00081198"]["Value"][0]["00081197"]["Value"][0], 0xA700);
    // What is told is what is so.
    let (_, there) = bed.json("/dicomWeb/instances").await;
    assert_eq!(there.as_array().unwrap().len(), stored.len());
    let other = instance(2, 1, 1);
    let (status, set) = bed.store(STUDIES, &[&other]).await;
    assert_eq!(
        (status, &set["00081198"]["Value"][0]["00081197"]["Value"][0]),
        (409, &272.into())
    );
    // And then all goes well.
    assert_eq!(bed.store(STUDIES, &[&other]).await.0, 200);
    bed.server.stop().await;
}

#[tokio::test]
async fn whole_requests_fail_and_answers_get_lost() {
    let bed = troubled(
        "rules:
        - { when: { request: create, until: 1 }, fault: { answer: { status: 429, retry_after: 1s } } }
        - { when: { request: create, until: 1 }, fault: { answer: { status: 503 } } }
        - { when: { request: create, until: 1 }, fault: { reset: before_body } }
        - { when: { request: create, until: 1 }, fault: { reset: during_body } }
        - { when: { request: create, until: 1 }, fault: { reset: after_body } }
        - { when: { request: create, until: 1 }, fault: { reset: after_write } }",
    )
    .await;
    let one = instance(1, 1, 1);
    assert_eq!(bed.store(STUDIES, &[&one]).await.0, 429);
    assert_eq!(bed.store(STUDIES, &[&one]).await.0, 503);
    let boundary = Boundary::of(1);
    let body = [boundary.head().as_bytes(), &one, boundary.tail().as_bytes()].concat();
    for is_there in [false, false, false, true] {
        let request = bed.client.post(bed.url(STUDIES)).body(body.clone());
        let request = request.header("content-type", boundary.content_type());
        assert!(request.send().await.is_err(), "the connection is cut");
        let status = if is_there { 200 } else { 204 };
        assert_eq!(bed.json("/dicomWeb/instances").await.0, status);
    }
    // Whoever sends again learns that it is there.
    let (status, set) = bed.store(STUDIES, &[&one]).await;
    assert_eq!(status, 409);
    assert_eq!(
        set["00081198"]["Value"][0]["00091097"]["Value"][0],
        "already exists"
    );
    bed.server.stop().await;
}

#[tokio::test]
async fn answers_are_cut_as_they_stream() {
    let bed = troubled(
        "rules:
        - { when: { request: read, until: 1 }, fault: { truncate: 0.5 } }
        - { when: { request: read, until: 1 }, fault: { reset: during_answer } }
        - { when: { request: read, until: 1 }, fault: { slow: 1 MB/s } }",
    )
    .await;
    let one = instance(1, 1, 2_000);
    assert_eq!(bed.store(STUDIES, &[&one]).await.0, 200);
    let file = "application/dicom; transfer-syntax=*";
    let half = bed.get(ONE, file).await.bytes().await.unwrap();
    assert_eq!(half, one[..one.len() / 2]);
    assert!(bed.get(ONE, file).await.bytes().await.is_err());
    assert_eq!(bed.get(ONE, file).await.bytes().await.unwrap(), one);
    assert_eq!(bed.get(ONE, AS_STORED).await.status(), 200);
    bed.server.stop().await;
}
