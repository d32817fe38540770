//! Servers that answer writes in ways of their own.

use super::bed::Bed;

/// Whether a reference of the observation that was sent last is to the patient that the server made last.
fn refers_to_the_patient(bed: &Bed) -> bool {
    let seen = bed.seen(0);
    let created = seen
        .iter()
        .filter(|seen| seen.method == "POST" && seen.status == 201);
    let numbered: Vec<_> = (1..).zip(created).collect();
    let patient = numbered
        .iter()
        .rev()
        .find(|(_, seen)| seen.is_write_of("Patient"));
    let (number, _) = patient.expect("a patient was made");
    let observation = seen
        .iter()
        .rev()
        .find(|seen| seen.is_write_of("Observation"));
    let body: serde_json::Value = serde_json::from_str(&observation.unwrap().body).unwrap();
    body["subject"]["reference"] == format!("Patient/Patient{number}")
}

#[test]
fn an_id_is_found_in_every_form_of_location() {
    let Some(bed) = Bed::of("01-location-shapes") else {
        return;
    };
    for shape in [
        "relative",
        "content-location",
        "body-only",
        "begins-with-type",
        "proxy",
        "double-slash",
    ] {
        bed.shape(shape);
        let ran = bed.load("manifest.yaml").exits(0);
        assert!(refers_to_the_patient(&bed), "{shape}: {}", ran.said);
    }
    bed.shape("none");
    let ran = bed.load("manifest.yaml").exits(1);
    assert_eq!(
        (bed.count("created"), bed.count("blocked")),
        (1, 1),
        "{}",
        ran.said
    );
    assert!(
        ran.said.contains("p.json") && !ran.said.contains("needs ?"),
        "{}",
        ran.said
    );
}

#[test]
fn a_success_that_says_error_is_none() {
    let Some(bed) = Bed::of("03-success-status-error-outcome") else {
        return;
    };
    for how in ["create", "update"] {
        bed.manifest(
            "m.yaml",
            &[("interaction: create", &format!("interaction: {how}"))],
        );
        for shape in ["200-error", "201-fatal", "202-queued", "200-multistatus"] {
            bed.shape(shape);
            let ran = bed.load("m.yaml");
            assert_ne!(ran.code, Some(0), "{how} {shape}: {}", ran.said);
            let not_loaded = bed.count("rejected") + bed.count("unknown");
            assert!(not_loaded >= 1, "{how} {shape}: {}", ran.said);
        }
        bed.shape("200-warning");
        let ran = bed.load("m.yaml");
        assert_eq!(
            bed.count("rejected") + bed.count("unknown"),
            0,
            "{how}: {}",
            ran.said
        );
    }
}

#[test]
fn entries_are_read_whatever_their_status_looks_like() {
    let Some(bed) = Bed::of("04-entry-status-text") else {
        return;
    };
    let shapes = [
        "word-only",
        "number",
        "lower",
        "empty-location",
        "extra-entry",
        "no-response",
        "html",
        "outcome-resource",
        "outcome-with-id",
        "http-prefix",
        "error-in-200",
    ];
    for shape in shapes {
        let before = bed.shape(shape);
        let ran = bed.load("manifest.yaml");
        let seen = bed.seen(before);
        let bundles = seen.iter().filter(|seen| seen.method == "POST").count();
        let reads = seen
            .iter()
            .filter(|seen| seen.path.starts_with("/fhir/Patient"))
            .count();
        if shape == "error-in-200" {
            assert!(ran.code != Some(0) || reads >= 4, "{}", ran.said);
            continue;
        }
        assert_eq!(ran.code, Some(0), "{shape}: {}", ran.said);
        assert!(bundles <= 2, "{shape}: {bundles} Bundles, {}", ran.said);
    }
    bed.manifest("m.yaml", &[("interaction: update", "interaction: create")]);
    for shape in shapes {
        bed.shape(shape);
        let ran = bed.load("m.yaml");
        let found = Bed::ask(&format!("{}/Patient?_x=1", bed.url));
        assert_eq!(found["total"], 4, "{shape}: {}", ran.said);
        let ids = bed.lines("ids.ndjson");
        assert!(
            ids.iter().all(|line| line["assigned"] != "Patient/trace-1"),
            "{shape}"
        );
        let ends: u64 = ["created", "unknown", "rejected"]
            .iter()
            .map(|o| bed.count(o))
            .sum();
        assert_eq!(ends, 4, "{shape}: {}", ran.said);
        if ["word-only", "number", "lower", "http-prefix"].contains(&shape) {
            assert_eq!(bed.count("created"), 4, "{shape}: {}", ran.said);
        }
    }
}

#[test]
fn a_server_that_wants_versions_gets_them() {
    let Some(bed) = Bed::of("14-server-demands-if-match") else {
        return;
    };
    bed.load("manifest.yaml").exits(0);
    let changed = |from: &str, to: &str| {
        let file = bed.path("data/p.ndjson");
        let text = fs_err::read_to_string(&file).unwrap();
        fs_err::write(&file, text.replace(from, to)).unwrap();
    };
    changed("true", "false");
    bed.load("manifest.yaml").exits(0);
    changed("false", "true");
    bed.manifest(
        "m.yaml",
        &[(
            "interaction: update",
            "interaction: update\n    compare: true",
        )],
    );
    let before = bed.seen(0).len();
    bed.load("m.yaml").exits(0);
    let seen = bed.seen(before);
    let puts: Vec<_> = seen.iter().filter(|seen| seen.method == "PUT").collect();
    assert_eq!(puts.len(), 1, "{puts:?}");
    assert!(puts[0].headers["If-Match"].is_string(), "{puts:?}");
    assert_eq!(Bed::ask(&format!("{}/Patient/p1", bed.url))["active"], true);
}

#[test]
fn what_a_condition_matched_is_asked_for() {
    let Some(bed) = Bed::of("23-batch-match-without-location") else {
        return;
    };
    bed.load("manifest.yaml").exits(0);
    assert_eq!((bed.count("matched"), bed.count("created")), (2, 2));
    for id in ["o1", "o2"] {
        let found = bed
            .seen(0)
            .into_iter()
            .rev()
            .find(|seen| seen.body.contains(&format!("\"{id}\"")));
        assert!(found.unwrap().body.contains("Patient/there"), "{id}");
    }
    let text = fs_err::read_to_string(bed.path("manifest.yaml")).unwrap();
    let kept = text.replace("data/", "tx/");
    let kept = kept
        .lines()
        .filter(|line| !line.contains("interaction") && !line.contains("identity"));
    fs_err::write(bed.path("m.yaml"), kept.collect::<Vec<_>>().join("\n")).unwrap();
    bed.load("m.yaml").exits(0);
    let last = bed
        .seen(0)
        .into_iter()
        .rev()
        .find(|seen| seen.method == "POST" && seen.body.contains("Observation"));
    assert!(last.unwrap().body.contains("\"Practitioner/there\""));
}

#[test]
fn what_is_too_large_for_a_proxy_is_sent_in_parts() {
    let Some(bed) = Bed::of("24-body-limit-of-a-proxy") else {
        return;
    };
    let ran = bed.load("manifest.yaml").exits(1);
    // The one Binary that is too large by itself, and the record that needs it.
    assert_eq!(
        (bed.count("rejected"), bed.count("blocked")),
        (1, 1),
        "{}",
        ran.said
    );
    assert_eq!(bed.count("created"), 101, "{}", ran.said);
    assert_eq!(
        Bed::ask(&format!("{}/Observation?_x=1", bed.url))["total"],
        40
    );
    bed.manifest(
        "m.yaml",
        &[(
            "files: [\"data/*.json\"]",
            "files: [\"data/*.json\"], transactions: keep",
        )],
    );
    let ran = bed.load("m.yaml").exits(1);
    assert!(ran.said.contains("transactions"), "{}", ran.said);
}

#[test]
fn a_success_with_nothing_said_is_looked_at_once() {
    let Some(bed) = Bed::of("29-success-with-nothing-said") else {
        return;
    };
    let shapes = [
        "200-empty",
        "201-empty",
        "200-json-object",
        "200-text",
        "200-content-location",
        "200-null",
    ];
    for shape in shapes {
        let before = bed.shape(shape);
        let ran = bed.load("manifest.yaml").exits(0);
        let puts = bed
            .seen(before)
            .iter()
            .filter(|seen| seen.method == "PUT")
            .count();
        assert!(
            puts <= 4,
            "{shape}: {puts} PUTs for 3 records, {}",
            ran.said
        );
    }
    bed.manifest("m.yaml", &[("interaction: update", "interaction: create")]);
    for shape in shapes {
        bed.shape(shape);
        let ran = bed.load("m.yaml");
        let found = Bed::ask(&format!("{}/Patient?_x=1", bed.url));
        assert_eq!(found["total"], 2, "{shape}: {}", ran.said);
        if shape == "200-content-location" {
            assert_eq!(ran.code, Some(0), "{shape}: {}", ran.said);
        }
    }
}
