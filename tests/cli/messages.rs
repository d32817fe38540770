//! What a tired person reads when something is wrong, and the exit code that a pipeline sees.

use super::bed::Bed;

fn manifest(target: &str) -> String {
    format!(
        "version: 1\nname: t\ntargets:\n  t: {target}\nloads:\n  - {{ name: l, files: [p.json], interaction: update }}\n"
    )
}

fn bed(target: &str) -> Bed {
    let bed = Bed::new();
    bed.write("p.json", r#"{"resourceType":"Patient","id":"a"}"#);
    bed.write("m.yaml", &manifest(target));
    bed
}

#[test]
fn a_wrong_manifest_is_shown_at_its_line() {
    let bed = bed("{ local: store }");
    bed.write(
        "m.yaml",
        &manifest("{ local: store }").replace("interaction", "interacton"),
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(2);
    insta::assert_snapshot!(ran.err, @r#"
    error: unknown key "interacton", did you mean "interaction"?
     --> m.yaml:6:33
      |
    6 |   - { name: l, files: [p.json], interacton: update }
      |                                 ^^^^^^^^^^
    "#);
}

#[test]
fn a_glob_that_matches_nothing_is_shown_at_its_line() {
    let bed = bed("{ local: store }");
    bed.write(
        "m.yaml",
        &manifest("{ local: store }").replace("p.json", "q.json"),
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(2);
    assert!(ran.err.contains("no file matches `q.json`"), "{}", ran.err);
    assert!(ran.err.contains("m.yaml:6:"), "{}", ran.err);
}

#[test]
fn a_missing_manifest_says_what_to_do() {
    let ran = Bed::new().run(&["load", "none.yaml"]).exits(2);
    assert!(
        ran.err.contains("none.yaml") && ran.err.contains("stoker init"),
        "{}",
        ran.err
    );
}

#[test]
fn a_refused_connection_names_the_target() {
    // Port 9 (discard) is not served; a refused connection is tried a few times.
    let bed = bed(
        "{ fhir: { url: \"http://127.0.0.1:9/fhir\" }, retry: { attempts: 2, base: 1ms, max: 2ms } }",
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(4);
    assert!(
        ran.err.contains("target `t`") && ran.err.contains("127.0.0.1:9"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("check the address"), "{}", ran.err);
}

#[test]
fn an_unset_token_names_its_variable() {
    let bed = bed(
        "{ fhir: { url: \"http://127.0.0.1:9/fhir\" }, auth: { bearer: { env: TOKEN_OF_MINE } } }",
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(4);
    assert!(ran.err.contains("TOKEN_OF_MINE"), "{}", ran.err);
}

#[test]
fn usage_is_clap_s() {
    let bed = Bed::new();
    assert!(bed.run(&["laod"]).exits(2).err.contains("load"));
    let ran = bed.run(&["get", "Patient/a"]).exits(2);
    assert!(ran.err.contains("--local DIR"), "{}", ran.err);
    bed.run(&["generate", "schema"]).exits(0);
    bed.run(&["generate", "completions", "bash"]).exits(0);
}
