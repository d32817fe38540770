//! Patients' data and secrets: planted everywhere that they can come from, looked for everywhere that a run writes.
//!
//! The store echoes what it is sent, credentials included, in every place of an answer that has room for words.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
};

use fs_err as fs;
use serde_json::{Value, json};

use super::{
    bed::{Bed, Ran},
    collector::Collector,
    responder::{response, start_raw},
};

/// Names and identifiers of patients. Nowhere but in `rejected/`.
pub(super) const NAMES: [&str; 3] = ["lindqvist", "19440113", "zebedee"];

/// Nowhere at all: bearer tokens, passwords, API keys, and the password of the basic pair as it goes to the wire.
pub(super) const TOKENS: [&str; 8] = [
    "sesame-bearer",
    "sesame-filed",
    "sesame-password",
    "sesame-key",
    "sesame-trace",
    "sesame-proxy",
    "sesame-url",
    "bG9hZGVyOnNlc2FtZS1wYXNzd29yZA",
];

pub(super) const SECRETS: [(&str, &str); 4] = [
    ("TOKEN", "sesame-bearer"),
    ("KEY", "sesame-key"),
    ("TRACE", "sesame-trace"),
    ("RUST_LOG", "trace"),
];

pub(super) const CAPABILITIES: &str =
    r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}"#;

pub(super) fn holds(text: &str, words: &[&str]) -> Option<String> {
    let text = text.to_lowercase();
    words
        .iter()
        .map(|word| word.to_lowercase())
        .find(|word| text.contains(word))
}

/// Expects nothing planted in what was printed.
fn printed(what: &str, ran: &Ran) {
    for text in [&ran.out, &ran.err] {
        for words in [&NAMES[..], &TOKENS[..]] {
            if let Some(word) = holds(text, words) {
                let lines: Vec<_> = text
                    .lines()
                    .filter(|line| holds(line, &[&word]).is_some())
                    .collect();
                panic!("{what} prints {word}:\n{}", lines.join("\n"));
            }
        }
    }
}

/// Expects what a run wrote to be its owner's alone, free of tokens, and of names outside of `rejected/`. Returns how
/// many files hold names.
pub(super) fn written(path: &Path, in_rejected: bool) -> usize {
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    if path.is_dir() {
        assert_eq!(mode, 0o700, "{}", path.display());
        let below = in_rejected || path.ends_with("rejected");
        return fs::read_dir(path)
            .unwrap()
            .map(|entry| written(&entry.unwrap().path(), below))
            .sum();
    }
    assert_eq!(mode, 0o600, "{}", path.display());
    let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    if let Some(word) = holds(&text, &TOKENS) {
        panic!("{} holds {word}", path.display());
    }
    let found = holds(&text, &NAMES);
    if let (Some(word), false) = (&found, in_rejected) {
        let line = text.lines().find(|line| holds(line, &[word]).is_some());
        panic!("{} holds {word}: {}", path.display(), line.unwrap());
    }
    usize::from(found.is_some())
}

/// Says all that it was sent, in words.
pub(super) fn outcome(echo: &str) -> Value {
    let codings = json!([{"display": "Zebedee"}, {"system": "urn:Lindqvist", "code": "Lindqvist"}, {"code": "19440113"},
        {"system": "http://hl7.org/fhir/dotnet-api-operation-outcome", "code": "19440113"}]);
    // Its head is a code; what follows is not.
    let head = ["HAPI-1094: ", "HAPI-Lindqvist: ", "HAPI-19440113: ", ""][echo.len() % 4];
    json!({"resourceType": "OperationOutcome", "id": "Lindqvist", "issue": [{
        "severity": "error", "code": "value",
        "details": {"text": format!("Lindqvist in {echo}"), "coding": codings},
        "diagnostics": format!("{head}19440113 in {echo}"),
        "expression": ["Lindqvist", "Patient.Lindqvist", "Patient.name.where(family='Lindqvist')", "Patient.name[0]"],
        "location": ["/f:Patient/f:Lindqvist"],
    }, {"severity": "error", "code": "Lindqvist", "diagnostics": "Zebedee"}]})
}

/// Answers to a record that travels alone, in turn.
fn single(turn: usize, echo: &str) -> String {
    let said = outcome(echo).to_string();
    let page = format!("<html><title>Lindqvist</title>{echo}</html>");
    let odd = "Location: http://a.example/Patient/Anna%20Lindqvist?name=Lindqvist\r\nETag: W/\"Anna Lindqvist\"\r\n";
    match turn % 14 {
        0 => response("201 Lindqvist", odd, ""),
        1 => response("422 Lindqvist", "", &said),
        2 => response("400 Bad", "", &said.replace("\"value\"", "\"Lindqvist\"")),
        3 => response("400 Bad", "Content-Type: text/html\r\n", &page),
        4 => response("412 Lindqvist", odd, &said),
        5 => response(
            "400 Bad",
            "",
            &json!({"error": {"code": 400, "status": "LINDQVIST", "message": echo, "details": [
                {"fieldViolations": [{"field": "Lindqvist", "description": "Zebedee"}]}]}})
            .to_string(),
        ),
        6 => response("500 Lindqvist", "", &page),
        7 => response("200 Lindqvist", "", &page),
        8 => response("409 Lindqvist", odd, &said[..said.len() / 2]),
        9 => response("400 Bad", "", &said).replace("Content-Length: ", "Content-Length: 9"),
        10 => format!("Lindqvist {echo}\r\n\r\n"),
        11 => format!(
            "HTTP/1.1 201 Created\r\nLindqvist {}\r\n\r\n",
            echo.lines().next().unwrap()
        ),
        12 => response(
            "201 Created",
            "",
            r#"{"resourceType":"Patient","id":"Anna Lindqvist","meta":{"versionId":"Lindqvist 1"}}"#,
        ),
        _ => response("429 Lindqvist", "Retry-After: Lindqvist\r\n", &page),
    }
}

/// Answers to the entries of a Bundle.
pub(super) fn bundle(sent: &Value, echo: &str) -> String {
    let entries = sent["entry"].as_array().unwrap();
    let entries = entries.iter().enumerate().map(|(number, _)| {
        let location = "http://a.example/Patient/Anna Lindqvist/_history/Lindqvist 1";
        let status = ["400 Lindqvist", "201 Lindqvist", "Lindqvist", "412", "404 Zebedee"][number % 5];
        json!({"response": {"status": status, "location": location, "etag": "W/\"Anna Lindqvist\"", "outcome": outcome(echo)}})
    });
    let entries: Vec<_> = entries.collect();
    let kind = format!("{}-response", sent["type"].as_str().unwrap());
    let body = json!({"resourceType": "Bundle", "type": kind, "entry": entries}).to_string();
    response("200 Lindqvist", "", &body)
}

fn echoing() -> String {
    let turn = AtomicUsize::new(0);
    start_raw(move |head, body| {
        if head.contains("/metadata") {
            return response("200 OK", "", CAPABILITIES);
        }
        let echo = format!("{head}\n{body}");
        match serde_json::from_str::<Value>(body) {
            Ok(sent) if sent["resourceType"] == "Bundle" => bundle(&sent, &echo),
            _ => single(turn.fetch_add(1, Ordering::Relaxed), &echo),
        }
    })
}

pub(super) fn patient(id: &str) -> String {
    format!(
        r#"{{"resourceType":"Patient","id":"{id}","identifier":[{{"system":"urn:mrn","value":"19440113-{id}"}}],"name":[{{"family":"Lindqvist","given":["Zebedee"]}}]}}"#
    )
}

/// A folder with everything that can be wrong in a source, each with a name in the middle of it.
fn bed(target: &str) -> Bed {
    let bed = Bed::new();
    let mut lines: Vec<String> = (0..28).map(|n| patient(&format!("p{n}"))).collect();
    lines.extend(
        [
            r#"{"resourceType":"Patient","id":"cut","name":[{"family":"Lindqvist"#,
            r#"{"resourceType":"Patient","id":"Anna Lindqvist"}"#,
            r#"{"resourceType":"Anna Lindqvist","id":"kind"}"#,
            r#"{"resourceType":"Lindqvist","id":"kind"}"#,
            r#"{"resourceType":"Patient","id":"two","id":"Lindqvist 2"}"#,
            r#"{"resourceType":"Patient","id":["Lindqvist"]}"#,
            r#"{"resourceType":"Patient","id":"esc","name":"\qLindqvist"}"#,
            r#"{"resourceType":"Patient","id":"key","Lindqvist" 19440113}"#,
            r#"{"Lindqvist":"19440113"}"#,
            r#""Lindqvist""#,
            r"Lindqvist;Zebedee;19440113",
            r#"{"resourceType":"Patient","id":"p0","name":[{"family":"Another Lindqvist"}]}"#,
            r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient?family=Lindqvist"}}"#,
            r#"{"resourceType":"Observation","id":"o2","subject":{"reference":"Anna Lindqvist"}}"#,
            r#"{"resourceType":"Observation","id":"o3","subject":{"reference":"Patient/Anna Lindqvist"}}"#,
            r#"{"resourceType":"Observation","id":"o4","subject":{"reference":"urn:oid:Lindqvist"}}"#,
            r#"{"resourceType":"Observation","id":"o5","subject":{"reference":"https://a.example/Patient/1?name=Lindqvist"}}"#,
            r##"{"resourceType":"Observation","id":"o6","subject":{"reference":"#Lindqvist"}}"##,
        ]
        .map(str::to_owned),
    );
    bed.write("p.ndjson", &lines.join("\n"));
    bed.write(
        "cut.json",
        "{\"resourceType\":\"Patient\",\n\"name\":[{\"family\":\"Lindqvist\"",
    );
    bed.write("trailing.json", &format!("{}\nLindqvist", patient("t")));
    bed.write("not.json", "Lindqvist,Zebedee\n19440113");
    let entries = json!([
        {"fullUrl": "https://a.example/Lindqvist 1", "resource": {"resourceType": "Patient", "name": [{"family": "Lindqvist"}]},
         "request": {"method": "POST", "url": "Patient", "ifNoneExist": "family=Lindqvist"}},
        {"fullUrl": "Anna Lindqvist", "resource": {"resourceType": "Patient", "id": "b1", "name": [{"family": "Lindqvist"}]},
         "request": {"method": "PUT", "url": "Patient/b1"}},
        {"resource": {"resourceType": "Patient", "id": "b2"}, "request": {"method": "PUT", "url": "Patient/Anna Lindqvist"}},
        {"resource": {"resourceType": "Patient"}, "request": {"method": "PUT", "url": "Patient?family=Lindqvist"}},
        {"resource": {"resourceType": "Patient"}, "request": {"method": "Lindqvist", "url": "Patient"}},
        {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Lindqvist"}},
        {"resource": "Lindqvist", "request": {"method": "POST", "url": "Patient"}},
        {"resource": {"resourceType": "Observation", "subject": {"reference": "Patient?family=Lindqvist"}},
         "request": {"method": "POST", "url": "Observation"}},
        {"request": {"method": "DELETE", "url": "Patient?family=Lindqvist"}},
        {"request": {"method": "GET", "url": "Patient?family=Lindqvist"}},
        {"resource": {"resourceType": "Patient", "id": "b3"}, "request": {"method": "PUT", "url": "Patient/b3", "ifMatch": "Lindqvist"}},
        {"resource": {"resourceType": "Patient", "id": "b4", "name": [{"text": "Zebedee"}]},
         "request": {"method": "PUT", "url": "Patient/b4"}},
        {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient", "ifNoneExist": "Lindqvist & \u{1}"}},
    ]);
    for kind in ["batch", "transaction", "Lindqvist"] {
        let text = json!({"resourceType": "Bundle", "type": kind, "entry": entries}).to_string();
        bed.write(
            &format!("bundle-{kind}.json")
                .to_lowercase()
                .replace("lindqvist", "odd"),
            &text,
        );
    }
    bed.write("token", "sesame-filed\n");
    bed.write("m.yaml", &format!(r#"version: 1
name: t
targets:
  t: {{ {target}, retry: {{ attempts: 2, base: 1ms, max: 2ms }}, concurrency: 1 }}
loads:
  - {{ name: people, target: t, files: [p.ndjson, cut.json, not.json, trailing.json], interaction: update, bundle: {{ type: none }} }}
  - {{ name: bundles, target: t, files: ["bundle-*.json"] }}
  - {{ name: identified, target: t, files: [p.ndjson], interaction: conditional-create, identity: {{ Patient: ["urn:mrn"] }}, duplicates: ignore, bundle: {{ type: none }} }}
"#));
    bed
}

/// Runs a verb with the secrets at hand.
pub(super) fn run(bed: &Bed, arguments: &[&str]) -> Ran {
    let ran = bed.run_with(&SECRETS, arguments);
    printed(&format!("stoker {}", arguments.join(" ")), &ran);
    ran
}

#[test]
fn names_stand_in_rejected_alone_and_tokens_nowhere() {
    let targets = [
        r#"auth: { bearer: { env: TOKEN } }, headers: { X-Api-Key: "${KEY}", X-Trace: "a ${TRACE}", X-Plain: "$${KEY}" }"#,
        "auth: { bearer: { file: token } }",
        "auth: { basic: { user: loader, password: { file: password } } }",
    ];
    for (number, target) in targets.iter().enumerate() {
        let bed = bed(&format!("fhir: {{ url: \"{}\" }}, {target}", echoing()));
        bed.write("password", "sesame-password");
        run(&bed, &["-vvv", "check", "m.yaml"]).exits(1);
        run(&bed, &["-vvv", "plan", "m.yaml", "--json"]);
        run(&bed, &["-vvv", "plan", "m.yaml", "--out", "saved"]);
        let saved = fs::read_to_string(bed.path("saved")).unwrap();
        assert_eq!(holds(&saved, &TOKENS), None);
        let (progress, level) = [("bars", "-vv"), ("lines", "-v"), ("json", "-vvv")][number];
        let ran = run(&bed, &[level, "load", "m.yaml", "--progress", progress]).exits(1);
        assert!(ran.out.contains("rejected"), "{}", ran.out);
        let directory = bed.newest_run();
        let name = directory.to_str().unwrap();
        for format in ["text", "json", "markdown", "html", "junit"] {
            run(&bed, &["-vvv", "report", name, "--format", format]);
        }
        run(&bed, &["-q", "report", name]);
        run(&bed, &["-vvv", "resume", name, "--progress", progress]);
        run(&bed, &["-vvv", "load", "saved", "--progress", progress]);
        let found = written(&bed.path(".stoker"), false);
        assert!(found >= 3, "the names were not planted well: {found}");
        // The manifest of what was rejected loads with the same secrets.
        let again = directory.join("rejected/manifest.yaml");
        run(&bed, &["-vvv", "check", again.to_str().unwrap()]);
        run(&bed, &["-vvv", "load", again.to_str().unwrap()]);
    }
}

#[test]
fn logs_hold_neither_names_nor_tokens_at_any_level_in_any_format() {
    let bed = bed(&format!(
        r#"fhir: {{ url: "{}" }}, auth: {{ bearer: {{ env: TOKEN }} }}, headers: {{ X-Api-Key: "${{KEY}}" }}"#,
        echoing()
    ));
    for (number, level) in ["-v", "-vv", "-vvv"].into_iter().enumerate() {
        for format in ["text", "json"] {
            let shown = [level, "--log-format", format, "load", "m.yaml", "--fresh"];
            let ran = run(&bed, &shown).exits(1);
            assert!(ran.err.contains("a load is over"), "{}", ran.err);
            let file = format!("{number}.{format}.log");
            let kept = [&shown[..], &["--log-file", &file]].concat();
            run(&bed, &kept).exits(1);
            assert_eq!(written(&bed.path(&file), false), 0);
            let log = fs::read_to_string(bed.path(&file)).unwrap();
            assert!(log.contains("a load is over"), "{log}");
            assert_eq!(log.contains("POST /fhir"), number > 0, "{log}");
        }
    }
}

#[test]
fn the_words_of_a_server_are_shown_on_demand_and_its_secrets_never() {
    let url = echoing();
    let bed = bed(&format!(
        r#"fhir: {{ url: "{url}" }}, auth: {{ bearer: {{ env: TOKEN }} }}, headers: {{ X-Api-Key: "${{KEY}}" }}"#
    ));
    bed.write("one.json", &patient("p1"));
    for _ in 0..14 {
        for arguments in [
            &["-vvv", "create", "one.json", "--manifest", "m.yaml"][..],
            &["-vvv", "get", "Patient/p1", "--manifest", "m.yaml"],
        ] {
            let ran = bed.run_with(&SECRETS, arguments);
            // What a server says of success is the result that was asked for.
            if ran.code != 0 {
                printed(&arguments.join(" "), &ran);
            }
        }
        let ran = bed.run_with(
            &SECRETS,
            &[
                "--show-content",
                "create",
                "one.json",
                "--manifest",
                "m.yaml",
            ],
        );
        assert_eq!(holds(&(ran.out + &ran.err), &TOKENS), None);
    }
    let load = ["load", "m.yaml", "--show-content", "--progress", "none"];
    let ran = bed.run_with(&SECRETS, &load).exits(1);
    assert!(
        ran.out.contains("the server said: ") && ran.out.contains("Lindqvist"),
        "{}",
        ran.out
    );
    assert_eq!(holds(&(ran.out + &ran.err), &TOKENS), None);
}

#[test]
fn secrets_in_the_wrong_place_are_not_repeated() {
    let proxy = start_raw(|head, _| {
        let page = format!("<html>Lindqvist {head}</html>");
        response(
            "407 Lindqvist",
            "Proxy-Authenticate: Basic realm=\"Lindqvist\"\r\n",
            &page,
        )
    });
    let with_password = proxy.replace("http://", "http://loader:sesame-proxy@");
    let bed = Bed::new();
    bed.write("one.json", &patient("p1"));
    bed.write("key.json", r#"{"type":"service_account","client_email":"a@b.example","private_key":"sesame-key","token_uri":"https://a.example/sesame-url"}"#);
    bed.write(
        "cut.json.key",
        r#"{"type":"service_account","private_key":"sesame-key"#,
    );
    bed.write("spaced", "sesame-filed and more\n");
    let google = "google: { project: p, location: l, dataset: d, fhir_store: f }";
    for (target, exit) in [
        (r#"fhir: { url: "http://fhir.example/r4" }"#.to_owned(), 4),
        (format!("fhir: {{ url: \"https://fhir.example/r4\" }}, proxy: \"{with_password}\""), 2),
        (r#"fhir: { url: "https://a:sesame-url@fhir.example/r4" }"#.to_owned(), 2),
        (r#"fhir: { url: "https://fhir.example/r4?key=sesame-url" }"#.to_owned(), 2),
        (r#"fhir: { url: "ftp://a:sesame-url@fhir.example" }"#.to_owned(), 2),
        (r#"fhir: { url: "${URL}" }"#.to_owned(), 2),
        (r#"fhir: { url: "https://fhir.example/r4" }, auth: { bearer: sesame-bearer }"#.to_owned(), 2),
        (r#"fhir: { url: "https://fhir.example/r4" }, auth: { bearer: { env: "sesame-bearer" } }"#.to_owned(), 2),
        (r#"fhir: { url: "https://fhir.example/r4" }, auth: { basic: { user: a, password: sesame-password } }"#.to_owned(), 2),
        (r#"fhir: { url: "https://fhir.example/r4" }, headers: { Authorization: "Bearer sesame-bearer" }"#.to_owned(), 2),
        (r#"fhir: { url: "https://fhir.example/r4" }, headers: { X-Key: "${BROKEN}" }"#.to_owned(), 2),
        (r#"fhir: { url: "https://fhir.example/r4" }, auth: { bearer: { file: spaced } }"#.to_owned(), 4),
        (format!("{google}, auth: {{ google: {{ credentials: key.json }} }}"), 4),
        (format!("{google}, auth: {{ google: {{ credentials: cut.json.key }} }}"), 4),
    ] {
        bed.write("m.yaml", &format!(
            "version: 1\ntargets:\n  t: {{ {target}, retry: {{ attempts: 1 }} }}\nloads: [{{ name: l, target: t, files: one.json }}]\n"
        ));
        for verb in ["check", "plan", "load"] {
            let ran = bed.run_with(
                &[
                    ("HTTP_PROXY", &with_password),
                    ("HTTPS_PROXY", &with_password),
                    ("URL", "https://a:sesame-url@fhir.example/r4"),
                    ("BROKEN", "sesame-key\n"),
                    ("RUST_LOG", "trace"),
                ],
                &["-vvv", verb, "m.yaml"],
            );
            printed(&target, &ran);
            if verb == "load" {
                ran.exits(exit);
            }
        }
    }
    let ran = bed.run(&[
        "create",
        "one.json",
        "--url",
        "http://a:sesame-url@127.0.0.1:1/?key=sesame-key",
    ]);
    printed("--url", &ran);
}

/// Asks a page of this machine; returns all that came.
pub(super) fn got(address: &str, path: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut came = Vec::new();
    stream.read_to_end(&mut came).unwrap();
    String::from_utf8_lossy(&came).into_owned()
}

#[test]
fn pages_figures_and_telemetry_hold_nothing_of_it() {
    let collector = Collector::start(|_| (200, b"Lindqvist".to_vec()));
    let bed = bed(&format!(
        r#"fhir: {{ url: "{}" }}, auth: {{ bearer: {{ env: TOKEN }} }}, headers: {{ X-Api-Key: "${{KEY}}" }}"#,
        echoing()
    ));
    let mut load = bed.command(&[
        "load",
        "m.yaml",
        "--progress",
        "none",
        "--live",
        "--live-keep",
        "--metrics",
        "127.0.0.1:0",
    ]);
    load.envs(SECRETS)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20sesame-filed",
        )
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "20");
    let load = load.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut load = load.spawn().unwrap();
    let said = BufReader::new(load.stderr.take().unwrap());
    let (mut metrics, mut live, mut token) = (None, None, String::new());
    let mut shown = String::new();
    for line in said.lines().map(Result::unwrap) {
        shown.push_str(&line);
        shown.push('\n');
        if let Some(rest) = line.strip_prefix("metrics at http://") {
            metrics = rest.strip_suffix("/metrics").map(str::to_owned);
        }
        if let Some(rest) = line.strip_prefix("the page of this run: http://") {
            let (address, secret) = rest.split_once("/#").unwrap();
            (live, token) = (Some(address.to_owned()), secret.to_owned());
            // What it shows while the run goes on, if it still does.
            shown.push_str(&got(address, "/page", &token));
        }
        if line.starts_with("the page stays at") {
            break;
        }
    }
    let (metrics, live) = (metrics.unwrap(), live.unwrap());
    let figures = got(&metrics, "/metrics", "");
    assert!(figures.contains("stoker_records_total{"), "{figures}");
    assert!(figures.contains("outcome=\"rejected\""), "{figures}");
    shown.push_str(&figures);
    let events = got(&live, "/events", &token);
    assert!(events.contains("event: over"), "{events}");
    shown.push_str(&events);
    let page = got(&live, "/page", &token);
    assert!(
        page.contains("not loaded") && page.contains("<svg"),
        "{page}"
    );
    shown.push_str(&page);
    for path in ["/", "/live.js", "/else", "/metrics"] {
        shown.push_str(&got(&live, path, &token));
        shown.push_str(&got(&metrics, path, &token));
    }
    let pid = rustix::process::Pid::from_child(&load);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = load.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    shown.push_str(&String::from_utf8_lossy(&ended.stdout));

    let came = collector.came();
    for path in ["/v1/traces", "/v1/metrics"] {
        assert!(came.iter().any(|came| came.path == path), "{path}");
    }
    // Texts stand in protobuf as they are.
    for came in &came {
        assert!(came.head.contains("authorization: bearer sesame-filed"));
        shown.push_str(&String::from_utf8_lossy(&came.body));
    }
    assert!(shown.contains("load identified"), "the spans can be read");
    for words in [&NAMES[..], &TOKENS[..]] {
        if let Some(word) = holds(&shown, words) {
            let lines = shown.lines().filter(|line| holds(line, &[&word]).is_some());
            panic!("{word}: {}", lines.collect::<Vec<_>>().join("\n"));
        }
    }
    let page = fs::read_to_string(bed.newest_run().join("report.html")).unwrap();
    assert!(holds(&page, &NAMES).is_none() && page.contains("<svg"));
    assert!(written(&bed.path(".stoker"), false) >= 1);
}
