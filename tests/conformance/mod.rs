//! What every target promises the core, held against stores that answer for real.
//!
//! The suite is written against the documentation of [`Target`], not against one of its kinds: records are planned from files,
//! and everything after that is done through the trait. It runs against the embedded store in all its formats, against every
//! server of the table of habits, and, given its address, against any FHIR server:
//!
//! ```text
//! STOKER_CONFORMANCE_URL=http://127.0.0.1:8080/fhir cargo test --test tests conformance
//! ```

mod bound;
mod fhir;

use std::collections::HashMap;

use stoker::target::{HeldVersions, Matches, Said};

use bound::{Bound, Local};

/// Loads of small files of every format, into the embedded store.
const FORMATS: [(&str, &str); 3] = [
    (
        "fhir_store",
        "{ files: [../resources/clinic/Organization/*], interaction: create }",
    ),
    (
        "hl7v2_store",
        "{ files: [../resources/hl7v2/01-*], interaction: ingest }",
    ),
    ("dicom_store", "{ files: [../resources/imaging/**] }"),
];

/// Runs a part of the suite against the embedded store, format by format.
async fn in_every_format(check: impl AsyncFn(&Bound)) {
    for (kind, load) in FORMATS {
        let local = Local::start().await;
        let bound = local.bound(kind, load);
        check(&bound).await;
    }
}

#[tokio::test]
async fn a_store_that_is_there_says_so_and_one_that_is_not_does_not() {
    in_every_format(async |bound| {
        let answer = bound.call(bound.target.alive().unwrap()).await;
        assert_eq!(answer.status(), 200, "{bound:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_written_is_taken_found_the_same_and_deleted() {
    in_every_format(async |bound| written_and_read(bound).await).await;
}

/// Writes a record, reads it, compares it with its source, and deletes it.
async fn written_and_read(bound: &Bound) {
    let (step, body) = bound.record(0);
    let id = bound.write(&step, body.clone()).await;
    let read = bound.call(bound.target.retrieve(&step.kind, &id)).await;
    assert_eq!(read.status(), 200, "{step:?}");
    let held = bound.target.held(&step.kind, read.headers(), read.body());
    assert!(held.id.is_none_or(|held| held == id), "{step:?}");
    let differences = bound
        .target
        .differences(&step, &bound.settings, &body, &read)
        .unwrap();
    assert_eq!(differences, [], "{step:?}");
    let read = bound.call(bound.target.read(&step.kind, &id)).await;
    let ours = bound.target.is_ours(&step, &body, &read);
    let alike = bound.target.is_alike(
        stoker::target::Likeness::MadeOf,
        bound.target.kept(&step, &body),
        read.body(),
    );
    assert!(ours.unwrap_or(alike), "{step:?}");
    let name = stoker::target::Named {
        kind: &step.kind,
        id: &id,
    };
    let deletion = stoker::target::Deletion {
        record: name,
        version: None,
    };
    let delete = bound.target.delete(&[deletion], None).unwrap();
    let deleted = bound.call(delete).await;
    assert!(deleted.status().is_success(), "{deleted:?}");
    assert!(
        matches!(bound.target.deleted(name, &deleted), Said::Taken(_)),
        "{deleted:?}"
    );
    let gone = bound.call(bound.target.read(&step.kind, &id)).await;
    assert!(matches!(gone.status().as_u16(), 404 | 410), "{gone:?}");
}

#[tokio::test]
async fn another_record_is_not_taken_for_ours() {
    in_every_format(async |bound| {
        let (one, body) = bound.record(0);
        let (other, others) = bound.record(1);
        let id = bound.write(&one, body).await;
        let read = bound.call(bound.target.retrieve(&one.kind, &id)).await;
        let told = bound
            .target
            .differences(&other, &bound.settings, &others, &read);
        assert!(!told.is_ok_and(|told| told.is_empty()), "{bound:?}");
        let read = bound.call(bound.target.read(&one.kind, &id)).await;
        assert_ne!(bound.target.is_ours(&other, &others, &read), Some(true));
        assert!(!bound.target.is_alike(
            stoker::target::Likeness::MadeOf,
            bound.target.kept(&other, &others),
            read.body()
        ));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_record_is_refused_and_said_why() {
    in_every_format(async |bound| {
        let (step, _) = bound.record(0);
        let nothing = bytes::Bytes::from_static(b"this is no record of any format");
        let request = bound.request(std::slice::from_ref(&step), vec![nothing], None);
        let answer = bound.call(request).await;
        let parcel = bound.parcel(std::slice::from_ref(&step), None);
        let said = bound.target.answers(&parcel.of(), &answer);
        let taken = answer.status().is_success()
            && said.is_ok_and(|said| {
                said.iter()
                    .flatten()
                    .any(|answer| matches!(answer.said, Said::Taken(_)))
            });
        assert!(!taken, "{answer:?}");
        let refusal = bound.target.refusal(None, answer.body());
        let words = bound.target.words(answer.status().as_u16(), answer.body());
        assert!(!refusal.text.is_empty() || !words.is_empty(), "{answer:?}");
        // What the words hold is shown to everybody.
        assert!(
            !words.contains(&step.kind) || step.kind.is_empty(),
            "{words}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_is_read_as_an_answer_and_finds_nothing() {
    in_every_format(async |bound| {
        let (step, body) = bound.record(0);
        let steps = std::slice::from_ref(&step);
        let request = bound.request(steps, vec![body], None);
        let answer = bound.target.dry_run(&request);
        let parcel = bound.parcel(steps, None);
        let said = bound.target.answers(&parcel.of(), &answer).unwrap();
        assert!(
            said.iter()
                .flatten()
                .all(|answer| matches!(answer.said, Said::Taken(_))),
            "{said:?}"
        );
        let read = bound.target.read(&step.kind, "nothing-has-this-name");
        let empty = bound.target.empty(&read);
        assert!(matches!(empty.status().as_u16(), 404 | 410), "{empty:?}");
        // Nothing of it was sent.
        let id = step.id.as_deref().unwrap_or("nothing-has-this-name");
        let read = bound.call(bound.target.read(&step.kind, id)).await;
        assert_ne!(read.status(), 200);
    })
    .await;
}

#[tokio::test]
async fn what_a_store_lists_is_what_was_written() {
    in_every_format(async |bound| {
        let (one, body) = bound.record(0);
        let (other, others) = bound.record(1);
        let mut ids = vec![
            bound.write(&one, body).await,
            bound.write(&other, others).await,
        ];
        ids.sort();
        let kind = one.kind.as_str();
        let mut next = bound.target.list(kind);
        let mut listed = Vec::new();
        while let Some(request) = next {
            let page = bound.call(request).await;
            let before = listed.len() as u64;
            let page = bound.target.listed(kind, before, &page).unwrap();
            listed.extend(page.ids);
            next = page.next;
        }
        listed.sort();
        assert_eq!(listed, ids, "{bound:?}");
        if let Some(count) = bound.target.count(kind) {
            let count = bound.call(count).await;
            assert_eq!(bound.target.counted(&count), Some(2), "{count:?}");
        }
    })
    .await;
}

#[test]
fn an_answer_of_something_else_says_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(in_every_format(async |bound| {
        let (step, _) = bound.record(0);
        for text in [
            "<html><body>Log in</body></html>",
            "{}",
            "[]",
            "null",
            "OK",
            "",
        ] {
            let answer = http::Response::builder()
                .status(200)
                .header("content-type", "text/html")
                .body(bytes::Bytes::from_static(text.as_bytes()))
                .unwrap();
            let parcel = bound.parcel(std::slice::from_ref(&step), None);
            let said = bound.target.answers(&parcel.of(), &answer);
            let taken = said.is_ok_and(|said| {
                said.iter()
                    .flatten()
                    .any(|answer| matches!(&answer.said, Said::Taken(taken) if taken.id.is_some()))
            });
            assert!(!taken, "{text:?} names a record: {bound:?}");
            assert!(!matches!(
                bound.target.matches(&step.kind, text.as_bytes()),
                Matches::One(_) | Matches::None
            ));
        }
    }));
}

/// No versions are known.
fn no_versions() -> HeldVersions {
    HashMap::new()
}
