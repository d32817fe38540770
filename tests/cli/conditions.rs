//! Conditions: records that are sought by the same one are one resource, and what repeats it means that one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{bed::Bed, references::store};

const HEAD: &str = "version: 1\nname: t\ntargets: { t: { local: store } }\nloads:\n";

/// As a modern Synthea export has it: every file brings its own copy of the same hospital, under another id and `fullUrl`.
fn export(file: usize, request: &str, condition_of_reference: &str) -> String {
    let hospital = format!("urn:uuid:00000000-0000-4000-8000-00000000000{file}");
    let encounter = |name: &str, reference: &str| {
        format!(
            r#"{{"fullUrl":"urn:uuid:{name}-{file}","resource":{{"resourceType":"Encounter","status":"finished","class":{{"code":"AMB"}},"serviceProvider":{{"reference":"{reference}"}}}},"request":{{"method":"POST","url":"Encounter"}}}}"#
        )
    };
    let entries = [
        encounter("before", &hospital),
        format!(
            r#"{{"fullUrl":"{hospital}","resource":{{"resourceType":"Organization","id":"h{file}","name":"H","identifier":[{{"system":"https://ids.example/org","value":"a 1"}}]}},"request":{request}}}"#
        ),
        encounter("by-url", &hospital),
        encounter("by-id", &format!("Organization/h{file}")),
        encounter("by-condition", condition_of_reference),
    ];
    format!(
        r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#,
        entries.join(",\n")
    )
}

const CONDITION: &str = "Organization?identifier=https://ids.example/org|a%201";

/// Loads three such files; returns the Organizations, and what the Encounters refer to.
fn loaded(request: &str, more: &str) -> (Bed, BTreeMap<String, Value>, Vec<String>) {
    let bed = Bed::new();
    for file in 0..3 {
        // Each writes the condition in its own way.
        let reference = [
            CONDITION,
            "Organization?identifier=https%3A%2F%2Fids.example%2Forg%7Ca 1",
            "Organization?identifier=https://ids.example/org|a 1",
        ][file];
        bed.write(&format!("b{file}.json"), &export(file, request, reference));
    }
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: ['b*.json']{more} }}\n"),
    );
    bed.run(&["load", "m.yaml"]).exits(0);
    let (organizations, encounters): (BTreeMap<_, _>, BTreeMap<_, _>) =
        store(&bed, &["Organization".to_owned(), "Encounter".to_owned()])
            .into_iter()
            .partition(|(name, _)| name.starts_with("Organization/"));
    let to = encounters.values().map(|encounter| {
        let reference = &encounter["serviceProvider"]["reference"];
        reference.as_str().unwrap().to_owned()
    });
    let to = to.collect();
    (bed, organizations, to)
}

#[test]
fn one_organization_in_every_file_is_loaded_once() {
    let post = r#"{"method":"POST","url":"Organization","ifNoneExist":"identifier=https://ids.example/org|a%201"}"#;
    let front = r#"{"method":"POST","url":"Organization","ifNoneExist":"Organization?identifier=https://ids.example/org|a 1"}"#;
    let put = r#"{"method":"PUT","url":"Organization?identifier=https://ids.example/org|a%201"}"#;
    let identity = ", interaction: conditional-create, identity: { Organization: ['https://ids.example/org'], missing: create }";
    for (request, more) in [(post, ""), (front, ""), (put, ""), (post, identity)] {
        let (bed, organizations, to) = loaded(request, more);
        assert_eq!(bed.count("duplicate"), 2, "{request}{more}");
        assert_eq!(bed.count("created"), 13, "{request}{more}");
        let names: Vec<&String> = organizations.keys().collect();
        let [name] = names.as_slice() else {
            panic!("{names:?} for {request}{more}")
        };
        assert_eq!(to.len(), 12);
        assert!(to.iter().all(|to| to == *name), "{to:?} for {name}");
        // On the next day nothing comes twice, and nothing else is meant.
        let _ = bed.run(&["load", "--fresh", "m.yaml"]).exits(0);
        let kinds = ["Organization".to_owned()];
        assert_eq!(store(&bed, &kinds).len(), 1, "{request}{more}");
    }
}

#[test]
fn what_differs_under_one_condition_is_what_the_manifest_says() {
    let bed = Bed::new();
    let line = |id: &str, name: &str| {
        format!(
            r#"{{"resourceType":"Patient","id":"{id}","identifier":[{{"system":"urn:mrn","value":"1"}}],"active":{name}}}"#
        )
    };
    // But for their ids the first and the third are the same.
    let lines = [line("a", "true"), line("b", "false"), line("c", "true")];
    bed.write("p.ndjson", &lines.join("\n"));
    let manifest = |rule: &str| {
        format!(
            "{HEAD}  - {{ name: l, files: [p.ndjson], interaction: conditional-create, identity: {{ Patient: ['urn:mrn'] }}{rule} }}\n"
        )
    };
    let plan = |rule: &str| {
        bed.write("m.yaml", &manifest(rule));
        let ran = bed.run(&["plan", "--json", "m.yaml"]).exits(0);
        serde_json::from_str::<Value>(&ran.out).unwrap()
    };
    let planned = plan("");
    assert_eq!(
        (&planned["sent"], &planned["loads"][0]["duplicates"]),
        (&1.into(), &2.into())
    );
    let found = &planned["references"]["t"];
    assert_eq!(
        (&found["identical"], &found["differing"]),
        (&1.into(), &1.into())
    );
    let warning = planned["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("p.ndjson:2: ") && warning.contains("p.ndjson:1 is sent"),
        "{warning}"
    );
    assert_eq!(plan(", duplicates: ignore")["sent"], 3);
    bed.write("m.yaml", &manifest(", duplicates: error"));
    let ran = bed.run(&["plan", "m.yaml"]).exits(2);
    assert!(
        ran.err.contains("have the same identity, and differ"),
        "{}",
        ran.err
    );
}

/// The store would search for it, and does not know how; the plan does.
#[test]
fn a_reference_that_repeats_any_condition_is_not_looked_up() {
    let bed = Bed::new();
    let entries = [
        r#"{"resource":{"resourceType":"Encounter","status":"finished","class":{"code":"AMB"},"serviceProvider":{"reference":"Organization?active=true&name:exact=Acme"}},"request":{"method":"POST","url":"Encounter"}}"#,
        r#"{"resource":{"resourceType":"Organization","name":"Acme"},"request":{"method":"PUT","url":"Organization?name%3Aexact=Acme&active=true"}}"#,
    ];
    bed.write(
        "b.json",
        &format!(
            r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#,
            entries.join(",")
        ),
    );
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: [b.json] }}\n"),
    );
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    assert!(
        ran.out
            .contains("references at t: 1\n          1  to records of this plan"),
        "{}",
        ran.out
    );
    // The local store conditions by identifier only, and says so of the entry that asks for more.
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert!(
        ran.out.contains("400 value invalid_query · Organization 1")
            && !ran.out.contains("looked up"),
        "{}",
        ran.out
    );
}

/// An entry without a `fullUrl`, or with one that is no address, gets one where others of its transaction need it.
#[test]
fn entries_of_one_transaction_find_each_other_whatever_they_are_called() {
    let bed = Bed::new();
    let urls = [
        "",
        r#""fullUrl":"resource:0","#,
        r#""fullUrl":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","#,
        r#""fullUrl":"http://x/100","#,
        r#""fullUrl":"https://ehr.example/r4/Organization/1?x=y","#,
        r#""fullUrl":"urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8","#,
    ];
    for (number, url) in urls.iter().enumerate() {
        let reference = match url.split('"').nth(3) {
            Some(url) => url.to_owned(),
            None => format!("Organization?identifier=urn:o|{number}"),
        };
        let entries = [
            format!(
                r#"{{"fullUrl":"urn:uuid:e{number}","resource":{{"resourceType":"Encounter","status":"finished","class":{{"code":"AMB"}},"serviceProvider":{{"reference":"{reference}"}}}},"request":{{"method":"POST","url":"Encounter"}}}}"#
            ),
            format!(
                r#"{{ {url}"resource":{{"resourceType":"Organization","name":"{number}","identifier":[{{"system":"urn:o","value":"{number}"}}]}},"request":{{"method":"POST","url":"Organization"}}}}"#
            ),
        ];
        bed.write(
            &format!("b{number}.json"),
            &format!(
                r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#,
                entries.join(",")
            ),
        );
    }
    bed.write(
        "m.yaml",
        &format!("{HEAD}  - {{ name: l, files: ['b*.json'] }}\n"),
    );
    for interaction in ["", ", interaction: create"] {
        bed.write(
            "m.yaml",
            &format!("{HEAD}  - {{ name: l, files: ['b*.json']{interaction} }}\n").replace(
                "local: store",
                &format!("local: store{}", interaction.len()),
            ),
        );
        bed.run(&["load", "--fresh", "m.yaml"]).exits(0);
        assert_eq!(bed.count("created"), 2 * urls.len() as u64);
        if interaction.is_empty() {
            fs_err::rename(bed.path("store0"), bed.path("store")).unwrap();
            let held = store(&bed, &["Organization".to_owned(), "Encounter".to_owned()]);
            let to: Vec<&str> = held
                .iter()
                .filter(|(name, _)| name.starts_with("Encounter/"))
                .map(|(_, e)| e["serviceProvider"]["reference"].as_str().unwrap())
                .collect();
            assert_eq!(to.len(), urls.len());
            assert!(to.iter().all(|to| held.contains_key(*to)), "{to:?}");
        }
    }
}
