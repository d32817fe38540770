//! Reports: what stands in the directory of a run after it, and what must not.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Value;
use stoker::{
    journal::RunDirectory,
    manifest,
    record::Outcome,
    report::{self, Report, Words, WrittenFiles, text::View},
};

mod browser;
mod page;
mod reasons;
mod run;

use crate::support::journal::rewrite;
use run::{Made, PATIENT, bodies, loads, make, targets};

async fn written() -> (Made, Report, WrittenFiles) {
    let made = make().await;
    let report = report::of(&made.run).unwrap();
    let written = report::write(&made.run, &bodies).unwrap();
    (made, report, written)
}

fn read(run: &RunDirectory, name: &str) -> String {
    fs_err::read_to_string(run.path().join(name)).unwrap()
}

/// Every file of a directory, by its path in it.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(directory).unwrap();
            let bytes = fs_err::read(entry.path()).unwrap();
            files.insert(name.display().to_string(), bytes);
        }
    }
    files
}

/// A page without its one script.
fn unscripted(page: &str) -> String {
    let script = format!("<script>{}</script>\n", report::SCRIPT);
    assert_eq!(page.matches(&script).count(), 1);
    page.replace(&script, "")
}

/// Replaces the temporary folder of a run.
fn shown(run: &RunDirectory, text: &str) -> String {
    text.replace(&run.path().display().to_string(), "RUN")
}

#[tokio::test]
async fn every_record_has_one_outcome_and_the_sums_agree() {
    let made = make().await;
    let report = report::of(&made.run).unwrap();
    assert_eq!((report.records, report.outcomes.sum()), (9, 9));
    let expected = [
        (Outcome::Created, 1),
        (Outcome::Updated, 1),
        (Outcome::Unsupported, 1),
        (Outcome::Rejected, 4),
        (Outcome::Unknown, 1),
        (Outcome::Pending, 1),
    ];
    for (outcome, count) in expected {
        assert_eq!(report.outcomes.of(outcome), count, "{outcome}");
    }
    let of_types: u64 = report.types.values().map(report::Totals::sum).sum();
    let of_loads: u64 = report.loads.iter().map(|load| load.outcomes.sum()).sum();
    assert_eq!((of_types, of_loads), (9, 9));
    let lines = {
        let _ = report::write(&made.run, &bodies).unwrap();
        read(&made.run, "records.ndjson")
    };
    for (outcome, count) in expected {
        let word = format!("\"outcome\":\"{outcome}\"");
        assert_eq!(
            lines.lines().filter(|l| l.contains(&word)).count() as u64,
            count
        );
    }
}

#[tokio::test]
async fn a_summary_fits_the_screen() {
    let (made, report, _) = written().await;
    let text = report::text::render(&report, &made.run, View::default());
    let text = shown(&made.run, &text);
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    insta::assert_snapshot!("small_run_text", text);
    let coloured = View {
        colour: true,
        ..View::default()
    };
    let painted = report::text::render(&report, &made.run, coloured);
    assert!(painted.contains("\x1b[31mrejected\x1b[0m"), "{painted}");
    let mut plain = painted;
    for code in ["\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[0m"] {
        plain = plain.replace(code, "");
    }
    assert_eq!(shown(&made.run, &plain), text);
}

#[tokio::test]
async fn a_report_can_be_pasted_into_a_pull_request() {
    let (made, ..) = written().await;
    insta::assert_snapshot!("small_run_markdown", read(&made.run, "report.md"));
}

#[tokio::test]
async fn a_browser_can_show_it_without_asking_anyone_else() {
    let (made, mut report, _) = written().await;
    let page = read(&made.run, "report.html");
    assert_eq!(page, report::page(&made.run, &report).unwrap());
    for part in [
        "<title>clinic: 2 of 9 records loaded, interrupted</title>",
        "name=\"viewport\"",
        "prefers-color-scheme:dark",
        "<tr><td>visits → try-out</td><td class=\"n\">4</td><td class=\"n\">0</td><td class=\"n\">1</td><td class=\"n\">0</td><td class=\"n bad\">3</td>",
        "<li><code>people.ndjson:2  at Patient.birthDate</code></li>",
        "the run was cut off while they were being sent",
    ] {
        assert!(page.contains(part), "{part} is missing in\n{page}");
    }
    assert!(!page.contains(run::PATIENT) && !page.contains('\u{1b}'));
    // Nothing is fetched, and nothing runs but Stoker's own script, which its policy knows by the digest.
    let page = unscripted(&page);
    for alien in [
        "<script", "<img", "<link", "src=", "http://", "https://", "@import", "url(",
    ] {
        assert!(!page.contains(alien), "{alien}");
    }
    // Every open element is closed.
    for element in [
        "div", "table", "tbody", "tr", "td", "th", "ul", "li", "code", "body", "html",
    ] {
        let open = page.matches(&format!("<{element}>")).count()
            + page.matches(&format!("<{element} ")).count();
        assert_eq!(
            open,
            page.matches(&format!("</{element}>")).count(),
            "{element}"
        );
    }
    let evil = "<script>alert('x')</script>&\"";
    evil.clone_into(&mut report.name);
    evil.clone_into(&mut report.run);
    report.reason = Some(evil.to_owned());
    evil.clone_into(&mut report.loads[0].name);
    evil.clone_into(&mut report.loads[0].target);
    let cause = &mut report.causes[0];
    evil.clone_into(&mut cause.loads[0]);
    cause.types = BTreeMap::from([(evil.to_owned(), 1)]);
    evil.clone_into(&mut cause.what);
    cause.next = Some(evil.to_owned());
    cause.code = Some(evil.to_owned());
    let example = &mut cause.examples[0];
    evil.clone_into(&mut example.file);
    example.expression = vec![evil.to_owned()];
    example.note = Some(evil.to_owned());
    let page = unscripted(&report::page(&made.run, &report).unwrap());
    assert!(!page.contains("<script") && !page.contains("'x'") && !page.contains("&\""));
    assert!(page.matches("&lt;script&gt;").count() >= 10, "{page}");
}

#[tokio::test]
async fn a_build_server_can_show_it() {
    let (made, report, _) = written().await;
    let junit = read(&made.run, "junit.xml");
    assert_eq!(report::junit(&made.run, &report).unwrap(), junit);
    insta::assert_snapshot!("small_run_junit", junit);
}

#[tokio::test]
async fn the_json_is_what_its_schema_says() {
    let (made, ..) = written().await;
    let text = read(&made.run, "report.json");
    let schema: Value = serde_json::from_str(&report::json::schema()).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let problems: Vec<_> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&value)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(value["report"], 1);
    insta::assert_snapshot!("small_run_json", text);
}

#[test]
fn the_schema_in_resources_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("resources/report.schema.json");
    let schema = report::json::schema();
    #[expect(
        clippy::disallowed_methods,
        reason = "how a developer asks for new files"
    )]
    let update = std::env::var_os("STOKER_UPDATE").is_some();
    if update {
        fs_err::write(&path, &schema).unwrap();
    }
    let kept = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == schema,
        "resources/report.schema.json is old; run the tests with STOKER_UPDATE=1"
    );
}

#[tokio::test]
async fn every_record_has_a_line_and_every_id_too() {
    let (made, ..) = written().await;
    insta::assert_snapshot!(read(&made.run, "records.ndjson"), @r##"
    {"record":0,"load":"people all","target":"clinic","position":{"file":"people.ndjson","index":0,"line":1,"start":0,"length":118},"type":"Patient","interaction":"conditional-update","outcome":"created","attempts":1,"status":201,"id":"assigned-0","version":"MTY","latency_us":1000}
    {"record":1,"load":"people all","target":"clinic","position":{"file":"people.ndjson","index":1,"line":2,"start":0,"length":118},"type":"Patient","interaction":"conditional-update","outcome":"rejected","attempts":1,"status":422,"latency_us":2000,"code":"structure","expression":["Patient.birthDate"]}
    {"record":2,"load":"people all","target":"clinic","position":{"file":"people.ndjson","index":2,"line":3,"start":0,"length":118},"type":"","outcome":"unsupported","attempts":0,"code":"malformed","expression":["$.name"],"note":"the record ends in the middle of a string"}
    {"record":3,"load":"people all","target":"clinic","position":{"file":"people.ndjson","index":3,"line":4,"start":0,"length":118},"type":"Patient","interaction":"conditional-update","outcome":"unknown","attempts":null,"note":"the run was cut off while it was being sent"}
    {"record":4,"load":"people all","target":"clinic","position":{"file":"people.ndjson","index":4,"line":5,"start":0,"length":118},"type":"Patient","interaction":"conditional-update","outcome":"pending","attempts":0}
    {"record":5,"load":"visits","target":"try-out","position":{"file":"visit|1.json","index":0,"line":1,"entry":0,"start":55,"length":110},"type":"Encounter","interaction":"create","outcome":"rejected","attempts":1,"status":422,"latency_us":6000,"code":"invalid","expression":["Patient.birthDate"]}
    {"record":6,"load":"visits","target":"try-out","position":{"file":"visit|1.json","index":1,"line":1,"entry":1,"start":166,"length":91},"type":"Observation","interaction":"create","outcome":"rejected","attempts":1,"status":422,"latency_us":7000,"code":"invalid","expression":["Patient.birthDate"]}
    {"record":7,"load":"visits","target":"try-out","position":{"file":"batch\u001b[2J.json","index":0,"line":1,"entry":0,"start":49,"length":49},"type":"Patient","interaction":"delete","outcome":"updated","attempts":1,"status":200,"latency_us":8000}
    {"record":8,"load":"visits","target":"try-out","position":{"file":"batch\u001b[2J.json","index":1,"line":1,"entry":1,"start":99,"length":49},"type":"Patient","interaction":"delete","outcome":"rejected","attempts":1,"status":422,"latency_us":9000,"code":"conflict","expression":["Patient.birthDate"]}
    "##);
    // A deleted record has no id any more, whatever the server answered.
    assert_eq!(
        read(&made.run, "ids.ndjson"),
        "{\"target\":\"clinic\",\"source\":\"Patient/p0\",\"assigned\":\"Patient/assigned-0\",\"record\":0}\n"
    );
}

#[tokio::test]
async fn rejected_records_are_kept_as_they_were() {
    let (made, _, written) = written().await;
    assert_eq!(written.unreadable, 0);
    let rejected = files(&made.run.rejected());
    let names: Vec<_> = rejected.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "answers.ndjson",
            "manifest.yaml",
            "people-all.ndjson",
            "visits.entries.json",
            "visits.transaction-0.json",
        ]
    );
    let text = |name: &str| String::from_utf8(rejected[name].clone()).unwrap();
    // One line, and every byte but the line breaks as it was, `20.00` too.
    let record = text("people-all.ndjson");
    assert_eq!(
        record,
        run::SOURCES[0].trim_end().replace(['\r', '\n'], " ") + "\n"
    );
    let transaction: Value = serde_json::from_str(&text("visits.transaction-0.json")).unwrap();
    let source: Value = serde_json::from_str(run::SOURCES[1]).unwrap();
    assert_eq!(transaction, source);
    insta::assert_snapshot!(text("visits.entries.json"), @r##"
    {"resourceType":"Bundle","type":"batch","entry":[
    {"request":{"method":"DELETE","url":"Patient/b"}}
    ]}
    "##);
    insta::assert_snapshot!(text("answers.ndjson"), @r##"
    {"record":1,"load":"people all","position":{"file":"people.ndjson","index":1,"line":2,"start":0,"length":118},"type":"Patient","outcome":"rejected","status":422,"rejected":"people-all.ndjson:1","answer":{   "resourceType": "OperationOutcome",   "issue": [{"diagnostics": "Zebedee Quill has no birth date"}] }}
    {"record":5,"load":"visits","position":{"file":"visit|1.json","index":0,"line":1,"entry":0,"start":55,"length":110},"type":"Encounter","outcome":"rejected","status":422,"rejected":"visits.transaction-0.json (entry 0)","answer":"<h1>no</h1>"}
    {"record":6,"load":"visits","position":{"file":"visit|1.json","index":1,"line":1,"entry":1,"start":166,"length":91},"type":"Observation","outcome":"rejected","status":422,"rejected":"visits.transaction-0.json (entry 1)","answer":"<h1>no</h1>"}
    {"record":8,"load":"visits","position":{"file":"batch\u001b[2J.json","index":1,"line":1,"entry":1,"start":99,"length":49},"type":"Patient","outcome":"rejected","status":422,"rejected":"visits.entries.json (entry 0)","answer":""}
    "##);
}

#[tokio::test]
async fn the_manifest_of_rejected_records_reads_back_to_the_same_settings() {
    let (made, _, written) = written().await;
    let path = written.rejected_manifest.unwrap();
    insta::assert_snapshot!(shown(&made.run, &read(&made.run, "rejected/manifest.yaml")), @r##"
    # Loads the records that were rejected: mend the files beside this one, then
    #   stoker load RUN/rejected/manifest.yaml
    # What the server said of each stands in `answers.ndjson`.
    version: 1
    name: clinic-rejected
    targets:
      clinic:
        google:
          project: demo
          location: us-central1
          dataset: clinic
          fhir_store: r4
          endpoint: https://healthcare.googleapis.com/
        ensure:
          enableUpdateCreate: true
          version: R4
        auth:
          basic:
            user: loader
            password:
              env: CLINIC_PASSWORD
        tls:
          ca: /etc/clinic/ca.pem
        proxy: http://proxy.example:3128/
        headers:
          x-purpose: costs $${nothing}
        quota_project: billing
        rate: 500/s
        bytes_rate: 1500 kB/s
        concurrency:
          min: 1
          max: 256
        timeout: 1500ms
        retry:
          attempts: 8
          base: 500ms
          max: 32s
        give_up_after: 600s
      try-out:
        local:
          dir: /var/lib/stoker/store
        concurrency:
          min: 1
          max: 256
        timeout: 60s
        retry:
          attempts: 8
          base: 500ms
          max: 32s
        give_up_after: 600s
    loads:
    - name: people all
      target: clinic
      files:
      - people-all.ndjson
      interaction: conditional-update
      identity:
        Patient:
        - https://clinic.example/mrn
      compare: true
      known:
      - ..
    - name: visits
      target: try-out
      after:
      - people all
      files:
      - visits.entries*.json
      - visits.transaction-*.json
      known:
      - ..
    "##);
    let env = |name: &str| (name == "CLINIC_PASSWORD").then(|| "secret".to_owned());
    let (manifest, warnings) = manifest::read(&path, &env).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(manifest.name, "clinic-rejected");
    assert_eq!(manifest.targets, targets());
    for (mut again, before) in manifest.loads.into_iter().zip(loads()) {
        for pattern in std::mem::take(&mut again.files) {
            assert_eq!(pattern.folder, made.run.rejected());
            let glob = globset::Glob::new(&pattern.pattern)
                .unwrap()
                .compile_matcher();
            let found = files(&made.run.rejected());
            let found = found.keys().filter(|name| glob.is_match(name)).count();
            assert_eq!(found, 1, "{}", pattern.pattern);
        }
        // What this run loaded is known to those who repeat its rest.
        assert_eq!(again.known, [made.run.path()]);
        again.known.clear();
        assert_eq!(again, before);
    }
}

#[tokio::test]
async fn content_stands_in_rejected_only_and_nobody_else_may_read() {
    let (made, report, _) = written().await;
    let mut seen = 0;
    for (name, bytes) in files(made.run.path()) {
        let holds = String::from_utf8_lossy(&bytes).contains(PATIENT);
        assert!(!holds || name.starts_with("rejected/"), "{name}");
        seen += usize::from(holds);
    }
    assert_eq!(seen, 2, "the record, and what the server said of it");
    let text = report::text::render(&report, &made.run, View::default());
    assert!(!text.contains(PATIENT));
    for entry in walkdir::WalkDir::new(made.run.path()) {
        let entry = entry.unwrap();
        let permissions = entry.metadata().unwrap().permissions();
        let expected = if entry.file_type().is_dir() {
            0o700
        } else {
            0o600
        };
        assert_eq!(
            permissions.mode() & 0o777,
            expected,
            "{}",
            entry.path().display()
        );
    }
}

#[tokio::test]
async fn written_twice_it_is_the_same() {
    let (made, ..) = written().await;
    let before = files(made.run.path());
    let _ = report::write(&made.run, &bodies).unwrap();
    assert_eq!(files(made.run.path()), before);
}

#[tokio::test]
async fn sources_that_are_gone_take_nothing_away() {
    let (made, ..) = written().await;
    let before = files(&made.run.rejected());
    let gone = |_, _| Err("the file is gone".to_owned());
    let again = report::write(&made.run, &gone).unwrap();
    assert_eq!(again.unreadable, 4);
    assert_eq!(
        again.unreadable_because.as_deref(),
        Some("the file is gone")
    );
    let after = files(&made.run.rejected());
    for name in [
        "people-all.ndjson",
        "visits.entries.json",
        "visits.transaction-0.json",
        "manifest.yaml",
    ] {
        assert_eq!(
            after.get(name).map(|b| String::from_utf8_lossy(b)),
            before.get(name).map(|b| String::from_utf8_lossy(b)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_plan_that_counts_otherwise_is_an_error() {
    let made = make().await;
    run::plan(&made.run, 1);
    let error = report::of(&made.run).unwrap_err().to_string();
    assert!(
        error.ends_with("do not agree: the plan counts 10 records and holds 9"),
        "{error}"
    );
}

#[tokio::test]
async fn a_journal_of_another_plan_is_an_error() {
    let made = make().await;
    let journal = read(&made.run, "journal.ndjson");
    let other = r#"{"intend":{"at":"2026-11-23T07:00:00Z","records":[9007199254740991]}}"#;
    rewrite(made.run.path(), journal.lines().chain([other]));
    let error = report::of(&made.run).unwrap_err().to_string();
    assert!(
        error.contains("the journal speaks of record 9007199254740991"),
        "{error}"
    );
}

#[tokio::test]
async fn a_run_that_was_killed_is_not_finished() {
    let made = make().await;
    let journal = read(&made.run, "journal.ndjson");
    let lines = journal.lines().filter(|line| !line.starts_with("{\"end\""));
    rewrite(made.run.path(), lines);
    let report = report::of(&made.run).unwrap();
    assert_eq!(
        (report.ended, report.finished),
        (report::SessionEnd::Unfinished, None)
    );
    assert_eq!((report.duration_ms, report.sending_ms), (2_600, 2_000));
    assert!(report::text::render(&report, &made.run, View::default()).contains(", not finished"));
}

#[tokio::test]
async fn a_large_run_keeps_its_documents_small() {
    const RECORDS: u64 = 10_010;
    let made = run::make_large(RECORDS, 7).await;
    let report = report::of(&made.run).unwrap();
    assert_eq!((report.records, report.outcomes.rejected), (RECORDS, 7));
    let problem = &report.problems[0];
    assert_eq!((problem.records, problem.examples.len()), (7, 3));
    let _ = report::write(&made.run, &bodies).unwrap();
    let junit = read(&made.run, "junit.xml");
    assert_eq!(
        junit.matches("<testcase ").count(),
        8,
        "seven that failed and one for the rest"
    );
    assert!(
        junit.contains("name=\"Patient: 10,003 records created\""),
        "{junit}"
    );
    let (mut records, mut ids) = (Vec::new(), Vec::new());
    report::write_records(&made.run, &mut records).unwrap();
    report::write_ids(&made.run, &mut ids).unwrap();
    let lines = |text: &[u8]| memchr::memchr_iter(b'\n', text).count() as u64;
    assert_eq!(lines(&records), RECORDS);
    assert!(!made.run.path().join("records.ndjson").exists());
    report::keep_ids(&made.run).unwrap();
    assert_eq!(read(&made.run, "ids.ndjson").as_bytes(), ids);
    assert_eq!(
        read(&made.run, "rejected/people-all.ndjson")
            .lines()
            .count(),
        7
    );
    let text = report::text::render(&report, &made.run, View::default());
    assert!(
        text.contains("  7 rejected: not built as FHIR demands\n      400 invalid · Patient 7 (load people all)\n"),
        "{text}"
    );
    assert!(text.contains("      … and 4 more\n"), "{text}");
    assert!(text.contains("10,003 of 10,010 records loaded"), "{text}");
}

#[tokio::test]
async fn nothing_rejected_leaves_no_directory_of_rejected_records() {
    let made = run::make_large(1, 0).await;
    let report = report::of(&made.run).unwrap();
    let written = report::write(&made.run, &bodies).unwrap();
    assert_eq!(written, WrittenFiles::default());
    assert!(!made.run.rejected().exists());
    let text = report::text::render(&report, &made.run, View::default());
    assert!(
        text.starts_with("clinic: the one record is loaded\n"),
        "{text}"
    );
    assert!(
        !text.contains("Rejected") && !text.contains("Go on"),
        "{text}"
    );
    let quiet = View {
        quiet: true,
        ..View::default()
    };
    assert_eq!(report::text::render(&report, &made.run, quiet), "");
}

/// A run with every outcome and with the usual causes, as people see it in all forms.
#[tokio::test]
async fn every_outcome_says_why_and_what_to_do() {
    let made = run::make_every().await;
    let report = report::of(&made.run).unwrap();
    for outcome in Outcome::ALL {
        assert!(report.outcomes.of(outcome) > 0, "{outcome}");
    }
    let of_causes: u64 = (report.causes.iter())
        .map(|cause| cause.records + cause.together + cause.blocked)
        .sum();
    let totals = &report.outcomes;
    let ill = totals.rejected + totals.unknown + totals.blocked + totals.unsupported;
    assert_eq!(of_causes, ill);
    let _ = report::write(&made.run, &bodies).unwrap();
    let text = report::text::render(&report, &made.run, View::default());
    let text = shown(&made.run, &text);
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    insta::assert_snapshot!("every_outcome_text", text);
    insta::assert_snapshot!("every_outcome_markdown", read(&made.run, "report.md"));
    insta::assert_snapshot!("every_outcome_junit", read(&made.run, "junit.xml"));
    let page = read(&made.run, "report.html");
    for cause in &report.causes {
        let plain = |text: &str| {
            let text = text.replace('&', "&amp;").replace('\'', "&#39;");
            text.replace('"', "&quot;")
        };
        assert!(page.contains(&plain(&cause.what)), "{}", cause.what);
        if let Some(next) = &cause.next {
            assert!(page.contains(&plain(next)), "{next}");
        }
    }
    let quiet = View {
        quiet: true,
        words: Some(Words::open(&made.run).unwrap()),
        ..View::default()
    };
    let quiet = report::text::render(&report, &made.run, quiet);
    let quiet = shown(&made.run, &quiet);
    insta::assert_snapshot!("every_outcome_quiet_with_words", quiet);
    assert!(quiet.contains(PATIENT) && !text.contains(PATIENT));
}
