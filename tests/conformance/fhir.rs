//! What a FHIR target promises beyond that: ids, conditions, versions, tags, parcels.

use serde_json::json;
use stoker::{
    record::{Operation, Packaging},
    target::{HeldVersion, Matches, Said},
};

use super::bound::Bound;
use crate::habits::{
    rows::{ROWS, STANDARD},
    server::Server,
};

/// Patients with identifiers, an id each, and one that is no resource of the standard's.
fn lines() -> String {
    let patient = |n: usize| {
        json!({"resourceType": "Patient", "id": format!("conformance-{n}"),
            "identifier": [{"system": "urn:conformance", "value": format!("v{n}")}],
            "name": [{"family": format!("Family {n}")}], "gender": "other"})
    };
    (0..4).map(|n| patient(n).to_string() + "\n").collect()
}

/// Plans the patients for a server.
fn bound(url: &str, load: &str) -> Bound {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("all.ndjson"), lines()).unwrap();
    let yaml = format!(
        "version: 1\nname: conformance\ntargets: {{ t: {{ fhir: {{ url: \"{url}\" }} }} }}\nloads: [{{ name: l, target: t, files: [all.ndjson], {load} }}]\n"
    );
    let bound = Bound::planned(&yaml, folder.path());
    // The bytes are read when they are asked for.
    std::mem::forget(folder);
    bound
}

/// The servers that the suite runs against: those of the table, and the one that the environment names.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no `cli` that reads the environment for them"
)]
fn everywhere() -> Vec<(String, String)> {
    let rows = ROWS.iter().filter(|row| row.upsert && !row.forgets);
    let mut all: Vec<(String, String)> = rows
        .map(|row| (row.name.to_owned(), Server::start(row).url))
        .collect();
    if let Ok(url) = std::env::var("STOKER_CONFORMANCE_URL") {
        all.push((url.clone(), url));
    }
    all
}

#[tokio::test]
async fn an_update_is_found_under_the_id_of_the_file() {
    for (name, url) in everywhere() {
        let bound = bound(&url, "interaction: update");
        let (step, body) = bound.record(0);
        let steps = std::slice::from_ref(&step);
        for _ in 0..2 {
            let answer = bound
                .call(bound.request(steps, vec![body.clone()], None))
                .await;
            assert!(answer.status().is_success(), "{name}: {answer:?}");
            let parcel = bound.parcel(steps, None);
            let said = bound.target.answers(&parcel.of(), &answer).unwrap();
            let said = said.into_iter().next().flatten().map(|answer| answer.said);
            // A server may say too little; it may not name another record.
            match said {
                Some(Said::Taken(taken)) => {
                    assert!(taken.id.is_none_or(|id| id == "conformance-0"), "{name}");
                }
                Some(Said::Little(_)) | None => {}
                Some(Said::Refused) => panic!("{name}: {answer:?}"),
            }
        }
        let read = bound
            .call(bound.target.read("Patient", "conformance-0"))
            .await;
        assert_eq!(read.status(), 200, "{name}");
        let ours = bound.target.kept(&step, &body);
        let same = bound
            .target
            .is_alike(stoker::target::Likeness::Same, ours, read.body());
        assert!(same, "{name}: {read:?}");
    }
}

#[tokio::test]
async fn a_search_finds_by_identifier_one_or_none() {
    for (name, url) in everywhere() {
        let load = "interaction: update, identity: { Patient: [\"urn:conformance\"] }";
        let bound = bound(&url, load);
        let (step, body) = bound.record(1);
        let answer = bound
            .call(bound.request(std::slice::from_ref(&step), vec![body.clone()], None))
            .await;
        assert!(answer.status().is_success(), "{name}");
        let kept = bound.target.kept(&step, &body);
        let query = bound
            .target
            .identifying(&bound.settings, &step, kept)
            .unwrap();
        let found = bound.call(bound.target.search("Patient", &query)).await;
        assert_eq!(
            bound.target.matches("Patient", found.body()),
            Matches::One("conformance-1".to_owned()),
            "{name}"
        );
        let none = query.replace("v1", "nobody-has-this");
        let found = bound.call(bound.target.search("Patient", &none)).await;
        let found = bound.target.matches("Patient", found.body());
        assert_eq!(found, Matches::None, "{name}");
    }
}

#[tokio::test]
async fn a_condition_is_sent_as_it_is_told() {
    for (name, url) in everywhere() {
        let load = "interaction: conditional-create, identity: { Patient: [\"urn:conformance\"] }";
        let bound = bound(&url, load);
        let (step, body) = bound.record(2);
        assert_eq!(step.action.operation(), Some(Operation::ConditionalCreate));
        let condition = bound
            .target
            .condition(&bound.settings, &step, &body)
            .unwrap();
        assert_eq!(condition, "identifier=urn:conformance|v2", "{name}");
        let request = bound.request(std::slice::from_ref(&step), vec![body], None);
        let header = request.headers().get("if-none-exist").unwrap();
        assert_eq!(header.to_str().unwrap(), condition, "{name}");
    }
}

#[tokio::test]
async fn a_tag_is_on_what_was_sent_with_it() {
    let bound = bound(
        &Server::start(&STANDARD).url,
        "interaction: create, settle: tag",
    );
    let (_, body) = bound.record(0);
    assert!(!bound.target.has_tag(&body, "t-1"));
    let mut tagged: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let query = bound.target.tagged("t-1").unwrap();
    let system = query.trim_start_matches("_tag=").split('|').next().unwrap();
    tagged["meta"] = json!({"tag": [{"system": system, "code": "t-1"}]});
    assert!(bound.target.has_tag(tagged.to_string().as_bytes(), "t-1"));
    assert!(!bound.target.has_tag(tagged.to_string().as_bytes(), "t-2"));
}

#[tokio::test]
async fn each_record_of_a_parcel_gets_its_own_answer() {
    for (name, url) in everywhere() {
        let bound = bound(&url, "interaction: update");
        let capable = ROWS.iter().find(|row| row.name == name);
        for packaging in [Packaging::Batch, Packaging::Transaction] {
            if capable.is_some_and(|row| !row.takes.contains(&packaging.as_str())) {
                continue;
            }
            let (steps, bodies): (Vec<_>, Vec<_>) = (0..3).map(|at| bound.record(at)).unzip();
            let answer = bound
                .call(bound.request(&steps, bodies, Some(packaging)))
                .await;
            let parcel = bound.parcel(&steps, Some(packaging));
            if !answer.status().is_success() {
                // Refused for now, or for its size: nothing of it may be said to be taken.
                continue;
            }
            let Ok(said) = bound.target.answers(&parcel.of(), &answer) else {
                continue;
            };
            assert_eq!(said.len(), steps.len(), "{name}");
            for (step, said) in steps.iter().zip(said) {
                if let Some(Said::Taken(taken)) = said.map(|said| said.said) {
                    assert!(
                        taken.id.is_none_or(|id| Some(&id) == step.id.as_ref()),
                        "{name}: an answer was given to another record"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn an_update_that_names_another_version_changes_nothing() {
    let bound = bound(&Server::start(&STANDARD).url, "interaction: update");
    let (step, body) = bound.record(3);
    let steps = std::slice::from_ref(&step);
    bound.write(&step, body.clone()).await;
    bound.write(&step, body.clone()).await;
    let mut parcel = bound.parcel(steps, None);
    let stale = HeldVersion::Of("W/\"1\"".to_owned());
    parcel.replaces.insert(step.number, stale);
    let request = bound
        .target
        .write(&parcel.of(), &mut vec![body].into_iter())
        .unwrap();
    assert_eq!(request.headers().get("if-match").unwrap(), "W/\"1\"");
    assert_eq!(bound.call(request).await.status(), 412);
}
