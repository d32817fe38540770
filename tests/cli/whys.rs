//! Why records did not arrive, as the binary says it: the codes of known servers, what the plan shows, what to do next.

use serde_json::{Value, json};

use super::{
    bed::{Bed, Ran},
    responder::{response, start_raw},
};

const CAPABILITIES: &str = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}"#;

fn refusal(status: &str, code: &str, diagnostics: &str) -> String {
    let issue = json!({"severity": "error", "code": code, "diagnostics": diagnostics});
    let body = json!({"resourceType": "OperationOutcome", "issue": [issue]}).to_string();
    response(status, "", &body)
}

fn load(bed: &Bed, url: &str, interaction: &str, more: &[&str]) -> Ran {
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\ntargets:\n  t: {{ fhir: {{ url: \"{url}\" }}, retry: {{ attempts: 1 }} }}\nloads:\n  - {{ name: all, target: t, files: [\"*.ndjson\"], interaction: {interaction}, bundle: {{ type: none }} }}\n"
        ),
    );
    let mut arguments = vec!["load", "m.yaml", "--fresh", "--progress", "none"];
    arguments.extend(more);
    bed.run(&arguments)
}

/// The causes of the newest run.
fn causes(bed: &Bed) -> Vec<Value> {
    let text = fs_err::read_to_string(bed.newest_run().join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    report["causes"].as_array().unwrap().clone()
}

/// Each answer of a known kind of server is said in words, with what to do.
#[test]
fn what_servers_say_in_codes_is_said_in_words() {
    for (interaction, status, code, diagnostics, what) in [
        (
            "update",
            "400 Bad",
            "processing",
            "HAPI-0960: ",
            "the id is digits only, which this server refuses",
        ),
        (
            "update",
            "400 Bad",
            "processing",
            "HAPI-1094: ",
            "reference to a Practitioner that the store does not hold",
        ),
        (
            "update",
            "400 Bad",
            "processing",
            "HAPI-0507: ",
            "reference to another server, which this server does not take",
        ),
        (
            "update",
            "405 No",
            "not-supported",
            "",
            "the store creates nothing under an id of the file's",
        ),
        (
            "update",
            "409 Conflict",
            "conflict",
            "",
            "in conflict with what the store holds, or reference to a Practitioner that it does not hold",
        ),
        (
            "update",
            "412 No",
            "conflict",
            "",
            "the resource in the store was changed meanwhile",
        ),
        (
            "update",
            "428 No",
            "processing",
            "",
            "the store wants a version with each update (If-Match)",
        ),
        (
            "create",
            "413 Large",
            "too-long",
            "",
            "larger than the server takes",
        ),
        (
            "create",
            "422 No",
            "business-rule",
            "",
            "breaks a rule of the server's own",
        ),
        (
            "create",
            "422 No",
            "structure",
            "",
            "Encounter.status is missing, and it has to be there",
        ),
    ] {
        let said = format!("{diagnostics}Zebedee was here");
        let answer = refusal(status, code, &said);
        let url = start_raw(move |head, _| {
            if head.contains("/metadata") {
                return response("200 OK", "", CAPABILITIES);
            }
            answer.clone()
        });
        let bed = Bed::new();
        let encounter = if code == "structure" {
            json!({"resourceType": "Encounter", "id": "1", "class": {}})
        } else {
            json!({"resourceType": "Encounter", "id": "1", "status": "finished", "class": {},
                "participant": [{"individual": {"reference": "Practitioner/x"}}]})
        };
        bed.write("e.ndjson", &encounter.to_string());
        let ran = load(&bed, &url, interaction, &[]).exits(1);
        assert!(ran.out.contains("1 rejected: "), "{what}: {}", ran.out);
        let causes = causes(&bed);
        assert_eq!(
            (causes.len(), causes[0]["what"].as_str()),
            (1, Some(what)),
            "{diagnostics}"
        );
        assert!(!ran.out.contains("Zebedee"), "{}", ran.out);
        // The command that shows the server's words is named, and shows them.
        let run = bed.newest_run();
        let command = format!(
            "stoker report {} --show-content",
            run.strip_prefix(bed.path("")).unwrap().display()
        );
        assert!(ran.out.contains(&command), "{command}: {}", ran.out);
        let shown = bed.run(&["report", run.to_str().unwrap(), "--show-content"]);
        assert!(
            shown.out.contains(&format!("the server said: {said}")),
            "{}",
            shown.out
        );
        let shown = load(&bed, &url, interaction, &["--show-content"]);
        assert!(shown.out.contains("the server said: "), "{}", shown.out);
    }
}

/// Many rejected for one cause, and many more blocked by them, are one problem.
#[test]
fn what_was_blocked_is_counted_with_its_cause() {
    let url = start_raw(|head, body| {
        if head.contains("/metadata") {
            return response("200 OK", "", CAPABILITIES);
        }
        if body.contains("Practitioner\"") {
            return refusal(
                "400 Bad",
                "processing",
                "HAPI-0524: Unknown search parameter",
            );
        }
        response(
            "201 Created",
            "Location: http://a.example/Patient/1/_history/1\r\n",
            "",
        )
    });
    let bed = Bed::new();
    let practitioners = (0..5).map(|n| format!(r#"{{"resourceType":"Practitioner","id":"p{n}"}}"#));
    let encounters = (0..20).map(|n| {
        format!(r#"{{"resourceType":"Encounter","status":"finished","class":{{}},"id":"e{n}","participant":[{{"individual":{{"reference":"Practitioner/p{}"}}}}]}}"#, n % 5)
    });
    let conditions = (0..20).map(|n| {
        format!(r#"{{"resourceType":"Condition","id":"c{n}","subject":{{"reference":"Patient/q"}},"encounter":{{"reference":"Encounter/e{n}"}}}}"#)
    });
    let patient = r#"{"resourceType":"Patient","id":"q"}"#.to_owned();
    let lines: Vec<_> = practitioners
        .chain(encounters)
        .chain(conditions)
        .chain([patient])
        .collect();
    bed.write("all.ndjson", &lines.join("\n"));
    let ran = load(&bed, &url, "create", &[]).exits(1);
    let line =
        "  5 rejected, and 40 blocked by them: a condition that the server cannot search by\n";
    assert!(ran.out.contains(line), "{}", ran.out);
    assert_eq!(causes(&bed).len(), 1);
    for format in ["markdown", "html", "junit"] {
        let run = bed.newest_run();
        let shown = bed.run(&["report", run.to_str().unwrap(), "--format", format]);
        assert!(
            shown
                .out
                .contains("a condition that the server cannot search by"),
            "{format}"
        );
    }
    // Those that were blocked say why, too.
    let junit = fs_err::read_to_string(bed.newest_run().join("junit.xml")).unwrap();
    let words = "which did not arrive: a condition that the server cannot search by";
    assert_eq!(junit.matches(words).count(), 40, "{junit}");
}

/// The local store refuses what dangles; the summary names the type, from the plan and not from the store's text.
#[test]
fn a_dangling_reference_is_named_by_its_type() {
    let bed = Bed::new();
    bed.write("o.ndjson", "{\"resourceType\":\"Observation\",\"id\":\"o1\",\"status\":\"final\",\"code\":{},\"subject\":{\"reference\":\"Patient/nobody\"}}\n");
    bed.write("m.yaml", "version: 1\ntargets:\n  t: { local: st }\nloads:\n  - { name: all, target: t, files: [o.ndjson], interaction: update }\n");
    let ran = bed.run(&["load", "m.yaml", "--progress", "none"]).exits(1);
    for part in [
        "1 rejected: reference to a Patient that the store does not hold",
        "400 value invalid_references · Observation 1 (load all)",
        "disableReferentialIntegrity: true",
        "--show-content",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert!(!ran.out.contains("nobody"), "{}", ran.out);
    // One file holds what the server said, once.
    let rejected = bed.newest_run().join("rejected");
    let mut holding = 0;
    for entry in fs_err::read_dir(&rejected).unwrap() {
        let text = fs_err::read_to_string(entry.unwrap().path()).unwrap();
        holding += text.matches("resolving references").count();
    }
    assert_eq!(holding, 1);
}

/// A create whose answer was lost: what can be done about it depends on what the manifest says.
#[test]
fn what_is_unknown_says_what_can_be_done() {
    let url = start_raw(|head, _| {
        if head.contains("/metadata") {
            return response("200 OK", "", CAPABILITIES);
        }
        response("500 Broken", "", "")
    });
    let bed = Bed::new();
    bed.write("p.ndjson", "{\"resourceType\":\"Patient\",\"id\":\"p1\"}\n{\"resourceType\":\"Patient\",\"id\":\"p2\"}\n");
    let ran = load(&bed, &url, "create", &[]).exits(1);
    for part in [
        "2 unknown: the store answered 500, which leaves open whether it took them",
        "`settle: identifier`",
        "--replay unknown",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    // Once for both, and not for each.
    assert_eq!(ran.out.matches("`settle: tag`").count(), 1, "{}", ran.out);
}

#[test]
fn quiet_means_only_what_is_wrong() {
    let bed = Bed::new();
    bed.write("p.ndjson", "{\"resourceType\":\"Patient\",\"id\":\"p1\"}\n");
    bed.write("m.yaml", "version: 1\ntargets:\n  t: { local: st }\nloads:\n  - { name: all, target: t, files: [p.ndjson], interaction: update }\n");
    let ran = bed.run(&["-q", "load", "m.yaml"]).exits(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    // A rerun sends nothing: no speed, and what it goes by.
    let ran = bed.run(&["load", "m.yaml", "--progress", "none"]).exits(0);
    assert!(!ran.out.contains("[records/s]"), "{}", ran.out);
    assert!(
        ran.out
            .contains("[from history]         1, a sample of 1 asked for"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("`--fresh` sends all again"), "{}", ran.out);
    bed.write(
        "p.ndjson",
        "{\"resourceType\":\"Patient\",\"id\":\"p1\",\"managingOrganization\":{\"reference\":\"Organization/none\"}}\n",
    );
    let ran = bed.run(&["-q", "load", "m.yaml"]).exits(1);
    assert!(
        ran.out
            .starts_with("m: 0 of 1 record loaded\n\nProblems\n  1 rejected: "),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("[total]"), "{}", ran.out);
}
