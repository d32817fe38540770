//! What a tired person reads when something is wrong, and the exit code that a pipeline sees.

use super::{bed::Bed, responder};

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
fn what_lies_in_no_folder_of_this_machine_is_said_to_be_out_of_reach() {
    let hints = [
        ("gs://bucket/p.json", "copy the objects into a folder"),
        ("all.zip!/**", "unpack it first"),
        ("/none/such/p.json", "no file of that name can be seen"),
        ("none/p.json", "the pattern is relative to `.`"),
    ];
    for (pattern, hint) in hints {
        let bed = bed("{ local: store }");
        let text = manifest("{ local: store }").replace("p.json", &format!("\"{pattern}\""));
        bed.write("m.yaml", &text);
        let ran = bed.run(&["load", "m.yaml"]).exits(2);
        assert!(ran.err.contains(hint), "{pattern}: {}", ran.err);
    }
}

#[test]
fn a_place_that_cannot_be_written_says_why_and_how_another_is_named() {
    let bed = bed("{ local: store }");
    let elsewhere =
        manifest("{ local: store }").replace("name: t\n", "name: t\nstate: p.json/state\n");
    bed.write("elsewhere.yaml", &elsewhere);
    let file = "a part of that path is a file, and no folder";
    let state = "`state: FOLDER` in the manifest names another folder for what runs keep";
    let out = "`--out FILE` names another place";
    let asked: [(&[&str], &str, &str); 6] = [
        (&["load", "elsewhere.yaml"], file, state),
        (&["plan", "m.yaml", "--out", "p.json/x"], file, out),
        (
            &["plan", "m.yaml", "--out", "none/x"],
            "the folder has to exist",
            out,
        ),
        (&["init", ".", "--out", "p.json/x"], file, out),
        (
            &["load", "m.yaml", "--log-file", "none/x"],
            "the folder has to exist",
            "`--log-file` takes another file",
        ),
        (
            &["generate", "man", "p.json"],
            file,
            "name another folder for them",
        ),
    ];
    for (arguments, why, way_on) in asked {
        let ran = bed.run(arguments).exits(5);
        let hint = format!("hint: {why}");
        assert!(
            ran.err.contains(&hint) && ran.err.contains(way_on),
            "{arguments:?}: {}",
            ran.err
        );
    }
}

#[test]
fn what_is_taken_for_a_manifest_or_a_run_is_told_what_it_is() {
    let bed = bed("{ local: store }");
    bed.write("m.hl7", "MSH|^~\\&|A\r");
    bed.write("binary", "\u{7f}ELF\u{0}\u{0}");
    let _ = bed.run(&["load", "m.yaml", "-q"]).exits(0);
    let run = bed.newest_run();
    let run = run.to_str().unwrap();
    for (arguments, what, hint) in [
        (
            ["load", "p.json"],
            "p.json holds FHIR resources, and is no manifest",
            "stoker init DIR",
        ),
        (
            ["check", "m.hl7"],
            "m.hl7 holds HL7v2 messages, and is no manifest",
            "stoker create FILE",
        ),
        (
            ["plan", "binary"],
            "`binary` is no text, and no manifest",
            "stoker init DIR",
        ),
        (["load", run], "is a run, and no manifest", "stoker resume"),
        (
            ["resume", "m.yaml"],
            "m.yaml is a manifest, and no run",
            "stoker load m.yaml --resume",
        ),
        (
            ["init", "none"],
            "there is no directory `none`",
            "check the path",
        ),
        (
            ["init", "p.json"],
            "`p.json` is not a directory",
            "name the folder",
        ),
    ] {
        let ran = bed.run(&arguments).exits(2);
        assert!(
            ran.err.contains(what) && ran.err.contains(hint),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_run_that_cannot_be_read_is_named_before_a_reset() {
    let bed = bed("{ local: store }");
    let _ = bed.run(&["load", "m.yaml", "-q"]).exits(0);
    fs_err::remove_file(bed.newest_run().join("plan.ndjson")).unwrap();
    let ran = bed.run(&["reset", "m.yaml", "--dry-run"]).exits(0);
    assert!(
        ran.err.contains("is left out, whatever it created"),
        "{}",
        ran.err
    );
}

#[test]
fn files_of_no_kind_are_named_by_init() {
    let bed = bed("{ local: store }");
    for name in ["d/a.json", "d/a.txt", "d/b.csv", "d/c.tar.xz"] {
        bed.write(name, r#"{"resourceType":"Patient","id":"a"}"#);
    }
    let ran = bed.run(&["init", "d"]).exits(0);
    let said = "passed by 3 files that hold no records: d/a.txt, d/b.csv, d/c.tar.xz (archives are not read: unpack them first)";
    assert!(ran.err.contains(said), "{}", ran.err);
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

/// A server that answers every request with the same.
struct Always {
    url: String,
}

impl Always {
    fn says(status: u16, headers: &'static str, body: &'static str) -> Self {
        let (url, _) = responder::start(move |_| (status, headers, body));
        Self { url }
    }

    /// Text with the port left out.
    fn without_port(&self, text: &str) -> String {
        let port = url::Url::parse(&self.url).unwrap().port().unwrap();
        text.replace(&port.to_string(), "PORT")
    }

    fn fhir(&self) -> String {
        format!("{{ fhir: {{ url: \"{}\" }} }}", self.url)
    }

    fn google(&self) -> String {
        format!(
            "{{ google: {{ endpoint: \"{}\", project: p, location: l, dataset: d, fhir_store: s }}, auth: none }}",
            self.url.trim_end_matches("/fhir")
        )
    }
}

/// What a load at a target says, with the port left out.
fn said(server: &Always, target: &str) -> String {
    let ran = bed(target).run(&["load", "m.yaml"]).exits(4);
    assert!(ran.out.is_empty(), "{}", ran.out);
    server.without_port(&ran.err)
}

#[test]
fn a_forbidden_store_names_the_role_that_is_missing() {
    let server = Always::says(
        403,
        "",
        r#"{"error":{"code":403,"message":"Anna Lindqvist","status":"PERMISSION_DENIED"}}"#,
    );
    insta::assert_snapshot!(said(&server, &server.google()), @"
    error: target `t`: no access to the FHIR store projects/p/locations/l/datasets/d/fhirStores/s, or it does not exist
    hint: the credentials need roles/healthcare.fhirResourceEditor on the dataset; check also that the names are right
    ");
    let server = Always::says(403, "", "<html>Anna Lindqvist</html>");
    insta::assert_snapshot!(said(&server, &server.fhir()), @"
    error: target `t`: the server does not let these credentials in (403)
    hint: check `auth`, and what the user may do there
    ");
}

#[test]
fn who_may_not_create_a_store_is_told_what_it_takes() {
    let denied =
        r#"{"error":{"code":403,"message":"Anna Lindqvist","status":"PERMISSION_DENIED"}}"#;
    let server = Always::says(403, "", denied);
    let target = server.google();
    let target = target.replace(
        "auth: none }",
        "auth: none, ensure: { enableUpdateCreate: true } }",
    );
    insta::assert_snapshot!(said(&server, &target), @"
    error: target `t`: cannot create dataset d: the server answered 403 (PERMISSION_DENIED)
    hint: creating takes more rights than loading: roles/healthcare.fhirStoreAdmin (of DICOM stores dicomStoreAdmin, of HL7v2 stores hl7V2StoreAdmin) for a store and roles/healthcare.datasetAdmin for a dataset, on the project. Or let somebody who has them create both, and leave `ensure` out. Check also that the project is right and its Cloud Healthcare API is enabled
    ");
}

#[test]
fn a_store_that_is_not_there_says_how_it_comes_to_be() {
    let server = Always::says(
        404,
        "",
        r#"{"error":{"code":404,"message":"x","status":"NOT_FOUND"}}"#,
    );
    insta::assert_snapshot!(said(&server, &server.google()), @"
    error: target `t`: there is no FHIR store projects/p/locations/l/datasets/d/fhirStores/s
    hint: check project, location, dataset and store, or let `ensure: true` create it
    ");
    let server = Always::says(404, "", "no such page");
    insta::assert_snapshot!(said(&server, &server.fhir()), @"
    error: target `t`: the server answered 404 when asked for its metadata
    hint: check the URL: it is the service base, the one under which `metadata` is found
    ");
}

#[test]
fn an_expired_token_is_told_from_a_missing_one() {
    let server = Always::says(401, "www-authenticate: Bearer\r\n", "");
    let target = format!(
        "{{ fhir: {{ url: \"{}\" }}, auth: {{ bearer: {{ env: TOKEN }} }} }}",
        server.url
    );
    let bed = bed(&target);
    let ran = bed
        .run_with(&[("TOKEN", "planted-token")], &["load", "m.yaml"])
        .exits(4);
    assert!(!ran.err.contains("planted-token"));
    insta::assert_snapshot!(server.without_port(&ran.err), @"
    error: target `t`: the server does not accept the credentials (401)
    hint: check `auth`; a token may have expired
    ");
    insta::assert_snapshot!(said(&server, &server.fhir()), @"
    error: target `t`: the server asks for credentials (401)
    hint: the target names no credentials; give it some, as with `auth: { bearer: { env: TOKEN } }`
    ");
}

#[test]
fn a_server_that_has_no_time_is_not_taken_for_another() {
    let server = Always::says(429, "", "");
    let dicomweb = bed(&server.fhir().replace("fhir: {", "dicomweb: {"));
    let manifest = fs_err::read_to_string(dicomweb.path("m.yaml")).unwrap();
    dicomweb.write(
        "m.yaml",
        &manifest.replace("interaction: update", "interaction: store"),
    );
    let of_dicomweb = dicomweb.run(&["load", "m.yaml"]).exits(4).err;
    for said in [
        said(&server, &server.fhir()),
        said(&server, &server.google()),
        of_dicomweb,
    ] {
        assert!(said.contains("asked for patience (429)"), "{said}");
        assert!(said.contains("try again in a while"), "{said}");
    }
}

#[test]
fn what_is_no_fhir_server_is_said() {
    let server = Always::says(200, "content-type: text/html\r\n", "<html>Welcome</html>");
    insta::assert_snapshot!(said(&server, &server.fhir()), @"
    error: target `t`: what the server calls metadata is no CapabilityStatement
    hint: check the URL: it is the service base, the one under which `metadata` is found
    ");
    let server = Always::says(302, "location: http://elsewhere.example/login\r\n", "");
    insta::assert_snapshot!(said(&server, &server.fhir()), @"
    error: target `t`: the server sends elsewhere (302) when asked for its metadata
    hint: redirects are not followed; write the address that it leads to as `url`
    ");
    let server = Always::says(500, "retry-after: 0\r\n", "<html>Anna Lindqvist</html>");
    insta::assert_snapshot!(said(&server, &server.fhir()), @"
    error: target `t`: the server answered 500 when asked for its metadata
    hint: the server has trouble of its own; try again when it is well, or ask who runs it
    ");
}

#[test]
fn a_host_that_is_none_is_said() {
    let ran = bed("{ fhir: { url: \"http://no-such-host.invalid/r4\" } }")
        .run(&["load", "m.yaml"])
        .exits(4);
    insta::assert_snapshot!(ran.err, @"
    error: target `t`: the name of no-such-host.invalid:80 cannot be resolved
    hint: check the address, and that the server is running and can be reached from here
    ");
}

/// A server that would ignore a condition doubles records; the plan refuses to find out.
#[test]
fn what_the_facts_rule_out_is_said_before_anything_is_sent() {
    let statement = r#"{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0","rest":[{"mode":"server","resource":[
        {"type":"Patient","conditionalCreate":false,"updateCreate":false,"interaction":[{"code":"create"},{"code":"update"}]}]}]}"#;
    let server = Always::says(200, "content-type: application/fhir+json\r\n", statement);
    let bed = bed(&server.fhir());
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    assert!(
        ran.out
            .contains("creates nothing by PUT (updateCreate is off)"),
        "{}",
        ran.out
    );
    assert!(
        ran.out
            .contains("speaks FHIR 5.0.0, and records are read as R4"),
        "{}",
        ran.out
    );
    let patient = r#"{"resourceType":"Patient","identifier":[{"system":"urn:mrn","value":"1"}]}"#;
    bed.write("p.json", patient);
    bed.write(
        "m.yaml",
        &manifest(&server.fhir()).replace(
            "interaction: update",
            "interaction: conditional-create, identity: { Patient: [\"urn:mrn\"] }",
        ),
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(2);
    assert!(
        ran.err.contains("1 records to be sent by conditional-create, and target `t` says that it does not know it"),
        "{}",
        ran.err
    );
}

#[test]
fn a_plan_that_cannot_be_saved_names_the_file_that_was_meant() {
    let bed = bed("{ local: store }");
    bed.write("f", "");
    for (out, why, next) in [
        ("no/x.plan", "No such file", "mkdir -p"),
        ("f/x.plan", "Not a directory", "is a file, and no folder"),
        (".", "it is no file", "`--out FILE`"),
        ("/dev/null", "it is no file", "`--out FILE`"),
    ] {
        let ran = bed.run(&["plan", "m.yaml", "--out", out]).exits(5);
        let named =
            ran.err.contains("cannot write the plan") && ran.err.contains(&format!("`{out}`"));
        assert!(named, "{}", ran.err);
        assert!(
            ran.err.contains(why) && ran.err.contains(next),
            "{}",
            ran.err
        );
        assert!(!ran.err.contains(".new"), "{}", ran.err);
    }
}
