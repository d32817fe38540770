//! Records of which nobody knows whether they arrived: what the server said of them is all that people have to find out by.

use fs_err as fs;

use super::{bed::Bed, responder};

const METADATA: &str =
    r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{"mode":"server"}]}"#;

/// Answers that leave open what was done, and what the summary says of each.
const ANSWERS: [(u16, &str, &str); 4] = [
    (
        500,
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception","diagnostics":"the disk of Lindqvist"}]}"#,
        "the store answered 500, which leaves open whether it took them",
    ),
    (
        201,
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"fatal","code":"exception","diagnostics":"the disk of Lindqvist"}]}"#,
        "the store answered success and said in its words that it failed (201)",
    ),
    (
        201,
        "<html>the disk of Lindqvist</html>",
        "the answer is a page: a proxy or a login page may have come between (201)",
    ),
    (
        202,
        r#"{"note":"the disk of Lindqvist"}"#,
        "the store only says that it will see to it (202)",
    ),
];

#[test]
fn the_words_of_a_server_on_records_in_doubt_are_kept_and_told_apart() {
    for (status, body, what) in ANSWERS {
        let (url, _) = responder::start(move |line| match line.starts_with("GET") {
            true if line.contains("/metadata") => (200, "", METADATA),
            true => (404, "", ""),
            false => (status, "", body),
        });
        let bed = Bed::new();
        bed.write("p.json", r#"{"resourceType":"Patient"}"#);
        bed.write(
            "m.yaml",
            &format!(
                "version: 1\nname: t\ntargets:\n  t: {{ fhir: {{ url: \"{url}\" }}, retry: {{ attempts: 1 }} }}\n\
                 loads:\n  - {{ name: l, files: [p.json], interaction: create }}\n"
            ),
        );
        let ran = bed.run(&["load", "m.yaml", "--progress", "none"]).exits(1);
        let words = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words.contains("1 unknown") && words.contains(what),
            "{}",
            ran.out
        );
        assert!(!(ran.out + &ran.err).contains("Lindqvist"));
        let run = bed.newest_run();
        let kept = fs::read_to_string(run.join("rejected/answers.ndjson")).unwrap();
        assert!(kept.contains("the disk of Lindqvist"), "{status}: {kept}");
        let report = ["report", run.to_str().unwrap(), "--show-content"];
        let ran = bed.run(&report).exits(1);
        assert!(ran.out.contains("the disk of Lindqvist"), "{}", ran.out);
    }
}
