//! Files that hold what the standard did not think of.

use serde_json::Value;

use super::{bed::Bed, texts};

#[test]
fn attachments_follow_their_binaries() {
    let Some(bed) = Bed::of("05-attachment-points-to-binary") else {
        return;
    };
    bed.load("manifest.yaml").exits(0);
    let binaries = bed.all_assigned("Binary");
    let document = |source: &str| {
        let name = bed.assigned(source);
        bed.get("store", &name).unwrap()
    };
    let urls = |resource: &Value| {
        let mut found = Vec::new();
        texts(resource, "url", &mut found);
        found.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let in_transaction = document("urn:uuid:11111111-1111-4111-8111-111111111111");
    let binary = bed.assigned("urn:uuid:22222222-2222-4222-8222-222222222222");
    assert_eq!(urls(&in_transaction), std::slice::from_ref(&binary));
    let link = in_transaction["text"]["div"].as_str().unwrap();
    assert!(link.contains(&format!("href=\"{binary}\"")), "{link}");
    let other = bed.assigned("Binary/bin-7");
    assert_eq!(
        urls(&document("DocumentReference/d-rel")),
        [other.clone(), "https://files.example/keep.txt".to_owned()]
    );
    assert_eq!(urls(&document("DiagnosticReport/r-1")), [other]);
    assert_eq!(
        urls(&document("DocumentReference/d-abs")),
        ["https://other.example/fhir/Binary/bin-7"]
    );
    let third = bed.assigned("Binary/bb");
    for name in ["DocumentReference/dd", "DocumentReference/de"] {
        assert_eq!(
            urls(&document(name)),
            std::slice::from_ref(&third),
            "{name}"
        );
    }
    assert_eq!(binaries.len(), 3);
}

#[test]
fn a_full_url_of_any_scheme_names_its_entry() {
    let Some(bed) = Bed::of("06-resource-scheme-fullurls") else {
        return;
    };
    bed.load("manifest.yaml").exits(0);
    let mut patients: Vec<String> = bed
        .all_assigned("Immunization")
        .iter()
        .map(|name| {
            bed.get("store", name).unwrap()["patient"]["reference"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let mut expected = bed.all_assigned("Patient");
    patients.sort();
    expected.sort();
    assert_eq!(patients, expected);
}

#[test]
fn pages_of_a_search_are_loaded_without_what_is_no_record() {
    let Some(bed) = Bed::of("09-searchset-pages") else {
        return;
    };
    bed.run(&["check", "manifest.yaml"]).exits(0);
    bed.load("manifest.yaml").exits(0);
    for name in ["Observation/o1", "Observation/o2", "Patient/p1"] {
        assert!(bed.get("store", name).is_some(), "{name}");
    }
    assert_eq!(bed.count("rejected") + bed.count("blocked"), 0);
}

#[test]
fn wrong_requests_of_entries_are_named_before_anything_is_sent() {
    let Some(bed) = Bed::of("10-transaction-request-dialects") else {
        return;
    };
    let checked = bed.run(&["check", "manifest.yaml"]);
    assert_ne!(checked.code, Some(0));
    for file in [
        "b-absolute-url.json",
        "d-no-request.json",
        "e-id-differs.json",
    ] {
        assert!(checked.said.contains(file), "{file}: {}", checked.said);
    }
    // A second pass doubles nothing: what the first has loaded has conditions or ids.
    for _ in 0..2 {
        let ran = bed.load("manifest.yaml");
        assert!(matches!(ran.code, Some(0 | 1)), "{}", ran.said);
    }
    bed.manifest(
        "m.yaml",
        &[
            ("local: store", "local: other"),
            ("files:", "interaction: create\n    files:"),
        ],
    );
    let ran = bed.load("m.yaml").exits(0);
    let loaded: u64 = ["created", "duplicate"]
        .iter()
        .map(|outcome| bed.count(outcome))
        .sum();
    assert_eq!(loaded, 12, "{}", ran.said);
}

#[test]
fn a_condition_may_begin_with_its_type() {
    let Some(bed) = Bed::of("11-condition-with-type-in-front") else {
        return;
    };
    bed.load("manifest.yaml").exits(0);
    assert_eq!(bed.count("created"), 4);
}

#[test]
fn dirty_lines_are_named_and_the_good_ones_load() {
    let Some(bed) = Bed::of("18-dirty-ndjson") else {
        return;
    };
    let mut files: Vec<String> = fs_err::read_dir(bed.path("data"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    for file in files {
        let store = format!("st-{file}");
        bed.manifest(
            "m.yaml",
            &[("FILE", &format!("data/{file}")), ("STORE", &store)],
        );
        let ran = bed.load("m.yaml");
        let holds = |id: &str| bed.get(&store, &format!("Patient/{id}")).is_some();
        let is_whole = ["a-", "b-", "c-", "h-", "i-", "m-", "s-"];
        if is_whole.iter().any(|start| file.starts_with(start)) {
            assert_eq!(ran.code, Some(0), "{file}: {}", ran.said);
            assert!(holds("p1"), "{file}");
            assert_eq!(holds("p2"), !file.starts_with("i-"), "{file}");
            continue;
        }
        if file.starts_with("w-") {
            continue;
        }
        let good: &[&str] = match &file[..2] {
            "g-" => &["p1", "p3"],
            "n-" | "p-" => &["p2"],
            "q-" => &["p1"],
            "u-" => &["p3"],
            _ => &[],
        };
        for id in good {
            assert!(holds(id), "{file} {id}: {}", ran.said);
        }
        // One reason for a file that is no NDJSON at all.
        if file.starts_with("j-") && ran.code != Some(0) {
            assert!(ran.said.matches(&file).count() <= 3, "{file}: {}", ran.said);
        }
        let names_it = ran.said.contains(&file);
        assert!(ran.code == Some(0) || names_it, "{file}: {}", ran.said);
    }
}

#[test]
fn a_history_is_loaded_as_it_ended() {
    let Some(bed) = Bed::of("19-history-bundle") else {
        return;
    };
    bed.run(&["check", "manifest.yaml"]).exits(0);
    let ran = bed.load("manifest.yaml").exits(0);
    let newest = bed.get("store", "Patient/p1").unwrap();
    assert_eq!(newest["name"][0]["family"], "Newest");
    assert!(bed.get("store", "Patient/p2").is_none(), "{}", ran.said);
    assert!(bed.get("store", "Patient/p3").is_some());
    assert!(bed.get("store", "Observation/o1").is_some());
}

#[test]
fn what_refers_to_ids_that_are_none_is_not_loaded_without_them() {
    let Some(bed) = Bed::of("20-ids-that-are-no-ids") else {
        return;
    };
    let ran = bed.load("manifest.yaml").exits(1);
    for number in 0..6 {
        let name = format!("Observation/o{number}");
        assert!(bed.get("store", &name).is_none(), "{name}: {}", ran.said);
    }
    assert!(bed.get("store", "Observation/o6").is_some(), "{}", ran.said);
    bed.manifest(
        "m.yaml",
        &[
            ("interaction: update", "interaction: create"),
            ("local: store", "local: other"),
        ],
    );
    bed.load("m.yaml");
    let patients = bed.all_assigned("Patient");
    for number in 0..6 {
        let name = bed.assigned(&format!("Observation/o{number}"));
        let observation = bed.get("other", &name).unwrap();
        let subject = observation["subject"]["reference"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(patients.contains(&subject), "{name}: {subject}");
    }
}

#[test]
fn a_conditional_reference_may_repeat_the_condition_of_a_record() {
    let Some(bed) = Bed::of("27-conditional-reference-to-conditional-update") else {
        return;
    };
    for file in [
        "a-by-name",
        "b-by-identifier-put",
        "c-by-identifier-post",
        "d-encoded-differently",
        "e-by-name-post",
    ] {
        bed.manifest(
            "m.yaml",
            &[("FILE", &format!("data/{file}.json")), ("STORE", file)],
        );
        let ran = bed.load("m.yaml");
        let is_by_name = file.contains("by-name");
        if is_by_name && ran.code != Some(0) {
            // The store's own refusal, not a look-up that failed.
            assert!(
                !ran.said.contains("conditional reference to"),
                "{file}: {}",
                ran.said
            );
            continue;
        }
        assert_eq!(ran.code, Some(0), "{file}: {}", ran.said);
        let encounter = bed.get(file, &bed.assigned_only("Encounter")).unwrap();
        assert_eq!(
            encounter["serviceProvider"]["reference"],
            bed.assigned_only("Organization"),
            "{file}"
        );
    }
}
