//! What is said when a server takes nothing, or stops taking: after the probe, and to `create` and `get`.

use super::{
    bed::{Bed, Ran},
    responder,
};

const CAPABILITIES: &str = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}"#;
const FORBIDDEN: &str = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"forbidden","diagnostics":"Plantedname"}]}"#;

fn bed(target: &str) -> Bed {
    let bed = Bed::new();
    bed.write("p.json", r#"{"resourceType":"Patient","id":"a"}"#);
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: t\ntargets:\n  t: {target}\nloads: [ {{ name: l, files: [p.json], interaction: update }} ]\n"
        ),
    );
    bed
}

/// Expects these words on the terminal, and neither what the server said nor a token.
fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.err.contains(word), "{word:?} is missing:\n{}", ran.err);
    }
    for secret in ["Plantedname", "planted-token"] {
        assert!(!ran.err.contains(secret), "{secret}:\n{}", ran.err);
        assert!(!ran.out.contains(secret), "{secret}:\n{}", ran.out);
    }
}

/// `create` and `get` ask for no facts first.
fn one_resource(status: u16, head: &'static str, body: &'static str, exit: i32, words: &[&str]) {
    let (url, _) = responder::start(move |_| (status, head, body));
    let bed = bed("{ local: store }");
    for arguments in [
        ["create", "p.json", "--url", &url],
        ["get", "Patient/a", "--url", &url],
    ] {
        says(&bed.run(&arguments).exits(exit), words);
    }
}

#[test]
fn create_and_get_tell_a_refused_user_from_a_missing_store() {
    one_resource(403, "", FORBIDDEN, 4, &["403 Forbidden", "may not do that"]);
    let words = &["401", "does not accept the credentials"];
    one_resource(401, "", "Plantedname", 4, words);
    let words = &["404 Not Found", "a store that is missing answers so"];
    one_resource(404, "", "Plantedname", 1, words);
}

#[test]
fn create_and_get_take_an_ailing_or_moved_server_for_no_refusal_of_the_record() {
    let head = "Location: https://login.example/?name=Plantedname\r\n";
    one_resource(302, head, "", 4, &["302", "redirects are not followed"]);
    one_resource(503, "", "Plantedname", 4, &["503", "trouble of its own"]);
}

#[test]
fn a_token_that_expires_during_the_run_stops_it_with_the_way_on() {
    let (url, asked) = responder::start(|line| {
        if line.contains("/metadata") {
            (200, "", CAPABILITIES)
        } else {
            (401, "", "Plantedname")
        }
    });
    let bed = bed(&format!(
        "{{ fhir: {{ url: \"{url}\" }}, auth: {{ bearer: {{ file: token }} }} }}"
    ));
    bed.write("token", "planted-token");
    let ran = bed.run(&["load", "m.yaml"]).exits(4);
    says(&ran, &["(401)", "check `auth`"]);
    assert!(ran.out.contains("stoker resume"), "{}", ran.out);
    // With the token, and once more with the one that the file holds by then; not for ever.
    let sent = asked();
    let puts = sent.iter().filter(|line| line.starts_with("PUT ")).count();
    assert!((1..=2).contains(&puts), "{sent:?}");
    assert_eq!((bed.count("pending"), bed.count("rejected")), (1, 0));
}

#[test]
fn records_that_may_not_be_written_are_rejected_with_their_code() {
    let (url, _) = responder::start(|line| {
        if line.contains("/metadata") {
            (200, "", CAPABILITIES)
        } else {
            (403, "", FORBIDDEN)
        }
    });
    let bed = bed(&format!("{{ fhir: {{ url: \"{url}\" }} }}"));
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    says(&ran, &[]);
    assert!(ran.out.contains("403 forbidden"), "{}", ran.out);
    assert_eq!(bed.count("rejected"), 1);
}

#[test]
fn plain_http_where_tls_was_asked_for_is_said() {
    let (url, _) = responder::start(|_| (200, "", CAPABILITIES));
    let url = url.replace("http:", "https:");
    let bed = bed(&format!("{{ fhir: {{ url: \"{url}\" }} }}"));
    let words = &["TLS with", "does not speak TLS", "`http://`"];
    says(&bed.run(&["load", "m.yaml"]).exits(4), words);
}

#[test]
fn a_certificate_that_is_not_trusted_names_the_setting() {
    let (url, authority) = responder::start_tls(CAPABILITIES);
    let plan = |tls: &str| {
        let bed = bed(&format!("{{ fhir: {{ url: \"{url}\" }}{tls} }}"));
        bed.write("ca.pem", &authority);
        bed.run(&["plan", "m.yaml"])
    };
    let words = &[
        "TLS with localhost",
        "not trusted here",
        "`tls: {ca: FILE}`",
    ];
    says(&plan("").exits(4), words);
    plan(", tls: { ca: ca.pem }").exits(0);
}

/// A proxy or a login page that says 200 to everything has taken nothing.
#[test]
fn a_page_in_between_is_no_success() {
    let (url, _) = responder::start(|line| {
        if line.contains("/metadata") {
            (200, "", CAPABILITIES)
        } else {
            (200, "", "<html>Plantedname</html>")
        }
    });
    let bed = bed(&format!(
        "{{ fhir: {{ url: \"{url}\" }}, retry: {{ attempts: 2, base: 10ms }} }}"
    ));
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(bed.count("unknown"), 1, "{}", ran.out);
    assert!(
        ran.out
            .contains("the answer is a page: a proxy or a login page may have come between (200)")
            && !ran.out.contains("Plantedname"),
        "{}",
        ran.out
    );
    says(
        &bed.run(&["get", "Patient/a", "--url", &url]).exits(4),
        &["is no FHIR resource", "login page"],
    );
}

/// What may have arrived is not called refused, however often it was tried.
#[test]
fn what_is_given_up_in_doubt_is_unknown() {
    let (url, seen) = responder::start(|line| {
        if line.contains("/metadata") {
            (200, "", CAPABILITIES)
        } else {
            (502, "", "Plantedname")
        }
    });
    let bed = bed(&format!(
        "{{ fhir: {{ url: \"{url}\" }}, retry: {{ attempts: 3, base: 1ms, max: 2ms }} }}"
    ));
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(
        (bed.count("unknown"), bed.count("rejected")),
        (1, 0),
        "{}",
        ran.out
    );
    let writes = seen().iter().filter(|line| line.starts_with("PUT")).count();
    assert_eq!(writes, 3);
    assert!(
        ran.out.contains("which leaves open whether it took them"),
        "{}",
        ran.out
    );
}

/// What may not be read is not taken for gone: by create, all of it would be there twice.
#[test]
fn what_may_not_be_read_is_not_loaded_twice() {
    for (status, body) in [
        (403, FORBIDDEN),
        (400, "{}"),
        (200, "<html>Plantedname</html>"),
    ] {
        let (url, seen) = responder::start(move |line| {
            if line.contains("/metadata") {
                (200, "", CAPABILITIES)
            } else if line.starts_with("GET ") {
                (status, "", body)
            } else {
                (201, "Location: /fhir/Patient/7/_history/1\r\n", "")
            }
        });
        let bed = bed(&format!("{{ fhir: {{ url: \"{url}\" }} }}"));
        let manifest = fs_err::read_to_string(bed.path("m.yaml")).unwrap();
        let manifest = manifest.replace("interaction: update", "interaction: create");
        bed.write("m.yaml", &manifest);
        bed.run(&["load", "m.yaml"]).exits(0);
        let again = bed.run(&["load", "m.yaml"]).exits(4);
        says(
            &again,
            &["whether it still holds", "--fresh", &status.to_string()],
        );
        let seen = seen();
        let writes = seen.iter().filter(|line| !line.starts_with("GET ")).count();
        assert_eq!(writes, 1, "{seen:?}");
    }
}
