//! Telemetry by the variables of OpenTelemetry: what arrives is what the report says, and what does not arrive is no harm.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
};

use opentelemetry_proto::tonic::{metrics::v1::Metric, trace::v1::Span};

use super::{
    bed::{Bed, Emulating},
    collector::{Collector, Labels, labels, values},
};

/// One answer in five asks to come again, and a patient in sixteen is refused.
const FAULTS: &str = "seed: 3\nrules:\n  \
    - { when: { path: '**/Patient/*7' }, fault: { answer: { status: 422 } } }\n  \
    - { when: { request: update, probability: 0.2 }, fault: { answer: { status: 503 } } }\n";

const RETRY: &str = "retry: { attempts: 20, base: 1ms, max: 2ms }";

/// A bed with a store that has its faults, and two loads.
fn troubled(records: u32) -> (Bed, Emulating) {
    let bed = Bed::new();
    let store = bed.emulate(FAULTS);
    let lines = |kind: &'static str| {
        (0..records).map(move |n| {
            format!("{{\"resourceType\":\"{kind}\",\"id\":\"{n:x}\",\"text\":{{\"status\":\"generated\",\"div\":\"<div xmlns=\\\"http://www.w3.org/1999/xhtml\\\">Plantedname</div>\"}}}}\n")
        })
    };
    bed.write("people.ndjson", &lines("Patient").collect::<String>());
    bed.write("others.ndjson", &lines("Practitioner").collect::<String>());
    let fhir = format!("fhir: {{ url: \"{}\" }}", store.fhir);
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: told\ntargets: {{ t: {{ {fhir}, {RETRY} }} }}\nloads:\n  \
             - {{ name: people, target: t, files: people.ndjson, interaction: update, bundle: {{ type: none }} }}\n  \
             - {{ name: others, target: t, files: others.ndjson, interaction: update, bundle: {{ type: none }} }}\n"
        ),
    );
    (bed, store)
}

const LOAD: [&str; 4] = ["load", "m.yaml", "--progress", "none"];

/// The sum of the values that have these labels.
fn sum(figures: &BTreeMap<String, Metric>, name: &str, wanted: &[(&str, &str)]) -> u64 {
    let found = values(&figures[name]).into_iter();
    let found =
        found.filter(|(labels, _)| wanted.iter().all(|(name, value)| labels[*name] == *value));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts"
    )]
    let sum = found.map(|(_, value)| value).sum::<f64>() as u64;
    sum
}

fn by_name<'s>(spans: &'s [(Span, Labels)], name: &str) -> &'s Span {
    let mut found = spans.iter().filter(|(span, _)| span.name == name);
    let (span, _) = found.next().unwrap_or_else(|| panic!("no span {name}"));
    assert!(found.next().is_none(), "{name} is there twice");
    span
}

#[test]
fn what_arrives_is_what_the_report_says() {
    let (bed, _store) = troubled(60);
    let collector = Collector::start(|_| (200, Vec::new()));
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=sesame%2Copen"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=bed"),
        ("OTEL_SERVICE_NAME", "seeder"),
    ];
    let ran = bed.run_with(&variables, &LOAD).exits(1);
    assert!(!ran.err.contains("telemetry"), "{}", ran.err);
    let report = bed.report();
    for came in collector.came() {
        assert!(came.head.starts_with("post /v1/"), "{}", came.head);
        assert!(came.head.contains("x-key: sesame,open"), "{}", came.head);
        assert!(
            came.head.contains("content-encoding: gzip"),
            "{}",
            came.head
        );
        let text = String::from_utf8_lossy(&came.body).into_owned();
        assert!(!text.contains("Plantedname") && !text.contains("Patient/"));
    }

    // The figures.
    let all = collector.figures();
    let last = all.last().unwrap();
    let outcomes = report["outcomes"].as_object().unwrap();
    for (outcome, count) in outcomes.iter().filter(|(name, _)| *name != "pending") {
        let told = sum(last, "stoker_records_total", &[("outcome", outcome)]);
        assert_eq!(Some(told), count.as_u64(), "{outcome}");
    }
    assert!(outcomes["created"].as_u64() > Some(90) && outcomes["rejected"].as_u64() > Some(0));
    for load in report["loads"].as_array().unwrap() {
        let of = [("load", load["name"].as_str().unwrap())];
        assert_eq!(sum(last, "stoker_planned_records", &of), 60);
    }
    let requests = &report["requests"];
    let number = |name: &str| {
        requests[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{requests}"))
    };
    assert_eq!(sum(last, "stoker_requests_total", &[]), number("sent"));
    assert_eq!(sum(last, "stoker_answers_total", &[]), number("sent"));
    assert_eq!(
        sum(last, "stoker_request_duration_seconds", &[]),
        number("sent")
    );
    assert_eq!(sum(last, "stoker_retries_total", &[]), number("retries"));
    assert_eq!(
        sum(last, "stoker_sent_bytes_total", &[]),
        number("bytes_sent")
    );
    // They are those of the page.
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = fs_err::read_to_string(page).unwrap();
    for metric in last.values() {
        assert!(
            page.contains(&format!("| `{}`", metric.name)),
            "{}",
            metric.name
        );
        assert!(!metric.description.is_empty());
    }

    // The trace.
    let spans = collector.spans();
    let session = by_name(&spans, "stoker load");
    assert!(session.parent_span_id.is_empty());
    assert_eq!(
        session.status.as_ref().unwrap().message,
        "some records were not loaded"
    );
    let told = labels(&session.attributes);
    assert_eq!(told["stoker.exit_code"], "1");
    assert_eq!(told["stoker.run"], report["run"].as_str().unwrap());
    for (span, who) in &spans {
        assert_eq!(who["service.name"], "seeder");
        assert_eq!(who["deployment.environment"], "bed");
        assert_eq!(span.trace_id, session.trace_id);
        assert!(
            span.start_time_unix_nano <= span.end_time_unix_nano,
            "{}",
            span.name
        );
        assert!(session.start_time_unix_nano <= span.start_time_unix_nano);
    }
    for name in ["plan", "load people", "load others", "report"] {
        let span = by_name(&spans, name);
        assert_eq!(span.parent_span_id, session.span_id, "{name}");
        assert!(span.end_time_unix_nano <= session.end_time_unix_nano);
    }
    let mut retries = 0;
    for load in ["people", "others"] {
        let span = by_name(&spans, &format!("load {load}"));
        let told = labels(&span.attributes);
        let waits = spans
            .iter()
            .filter(|(s, _)| s.parent_span_id == span.span_id);
        let waits = waits.filter(|(span, _)| span.name == "retry").count();
        assert_eq!(told["stoker.retries"], waits.to_string());
        assert_eq!(told["stoker.retries.left_out"], "0");
        assert_eq!(told["stoker.planned_records"], "60");
        retries += waits;
    }
    assert_eq!(retries as u64, number("retries"));
    let people = labels(&by_name(&spans, "load people").attributes);
    let rejected = outcomes["rejected"].to_string();
    assert_eq!(people["stoker.records.rejected"], rejected);
    assert_eq!(spans.len(), 5 + retries);
}

#[test]
fn verifications_and_unloadings_are_told_as_well() {
    let (bed, _store) = troubled(60);
    let _ = bed.run(&LOAD).exits(1);
    let created = bed.report()["outcomes"]["created"].as_u64().unwrap();
    let run = bed.newest_run();
    let run = run.to_str().unwrap();
    for (verb, more, outcome) in [
        ("verify", &["--all", "--metrics", "127.0.0.1:0"][..], "same"),
        ("unload", &["--yes", "--metrics", "127.0.0.1:0"], "deleted"),
    ] {
        let collector = Collector::start(|_| (200, Vec::new()));
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
        ];
        let ran = bed.run_with(&variables, &[&[verb, run], more].concat());
        let ran = ran.exits(0);
        assert!(
            ran.err.contains("metrics at http://127.0.0.1:"),
            "{}",
            ran.err
        );
        for came in collector.came() {
            let text = String::from_utf8_lossy(&came.body).into_owned();
            assert!(!text.contains("Plantedname") && !text.contains("Patient/"));
        }
        let all = collector.figures();
        let last = all.last().unwrap();
        let of = [("target", "t"), ("outcome", outcome)];
        let told = sum(last, "stoker_looked_after_records_total", &of);
        assert_eq!(told, created, "{verb}");
        assert!(sum(last, "stoker_requests_total", &[("target", "t")]) > 0);
        assert!(sum(last, "stoker_answers_total", &[("target", "t")]) > 0);
        assert!(
            last.contains_key("stoker_target_slots"),
            "{:?}",
            last.keys()
        );
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let page = fs_err::read_to_string(page).unwrap();
        for name in last.keys() {
            assert!(page.contains(&format!("| `{name}`")), "{name}");
        }
        let spans = collector.spans();
        let root = by_name(&spans, &format!("stoker {verb}"));
        let target = by_name(&spans, "target t");
        assert_eq!(target.parent_span_id, root.span_id);
        let told = labels(&target.attributes);
        assert_eq!(
            told[&*format!("stoker.records.{outcome}")],
            created.to_string()
        );
        assert_eq!(labels(&root.attributes)["stoker.exit_code"], "0");
    }
}

#[test]
fn sessions_of_a_run_are_one_trace() {
    let bed = Bed::new();
    // The credentials are refused now and then; each time the run stops.
    let store = bed.emulate(
        "rules: [{ when: { request: update, after: 5, until: 9 }, fault: { answer: { status: 401 } } }]",
    );
    let lines = (0..20).map(|n| format!("{{\"resourceType\":\"Patient\",\"id\":\"{n}\"}}\n"));
    bed.write("p.ndjson", &lines.collect::<String>());
    let fhir = format!("fhir: {{ url: \"{}\" }}, concurrency: 1", store.fhir);
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: told\ntargets: {{ t: {{ {fhir} }} }}\n\
             loads: [{{ name: people, target: t, files: p.ndjson, interaction: update, bundle: {{ type: none }} }}]\n"
        ),
    );
    let collector = Collector::start(|_| (200, Vec::new()));
    let traces = format!("{}/to/traces", collector.url);
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &*traces),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
    ];
    let mut code = bed.run_with(&variables, &LOAD).exits(4).code;
    let mut sessions = 1;
    while code != 0 && sessions < 20 {
        code = bed
            .run_with(&variables, &["resume", "--progress", "none"])
            .code;
        sessions += 1;
    }
    assert_eq!((code, bed.count("created")), (0, 20));
    // The URL of one kind is taken as it is, and nothing else was asked for.
    assert!(
        collector
            .came()
            .iter()
            .all(|came| came.path == "/to/traces")
    );
    let spans = collector.spans();
    let ids: BTreeSet<_> = spans.iter().map(|(span, _)| &span.trace_id).collect();
    assert_eq!(ids.len(), 1);
    let roots = spans
        .iter()
        .filter(|(span, _)| span.parent_span_id.is_empty());
    let numbers = roots.map(|(span, _)| labels(&span.attributes)["stoker.session"].clone());
    let wanted = (1..=sessions).map(|number| number.to_string());
    assert_eq!(numbers.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
}

/// A bed with a small load that goes well.
fn well(rate: &str) -> Bed {
    let bed = Bed::new();
    let lines = (0..20).map(|n| format!("{{\"resourceType\":\"Patient\",\"id\":\"{n}\"}}\n"));
    bed.write("p.ndjson", &lines.collect::<String>());
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: told\ntargets: {{ t: {{ local: store{rate} }} }}\n\
             loads: [{{ name: people, target: t, files: p.ndjson, interaction: update }}]\n"
        ),
    );
    bed
}

#[test]
fn figures_leave_while_a_run_goes_on() {
    let bed = well(", rate: 20/s");
    let collector = Collector::start(|_| (200, Vec::new()));
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "25"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
    ];
    let ran = bed.run_with(&variables, &LOAD).exits(0);
    assert!(!ran.err.contains("telemetry"), "{}", ran.err);
    assert!(collector.spans().is_empty());
    let all = collector.figures();
    let told = all
        .iter()
        .filter(|figures| figures.contains_key("stoker_records_total"));
    let created =
        told.map(|figures| sum(figures, "stoker_records_total", &[("outcome", "created")]));
    let created: Vec<_> = created.collect();
    assert!(created.is_sorted() && created.len() > 2, "{created:?}");
    assert!(created.first() < Some(&20), "{created:?}");
    assert_eq!(created.last(), Some(&20));
}

#[test]
fn a_collector_that_is_not_well_harms_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let refuses = Collector::start(|_| (401, b"sesame".to_vec()));
    // One of two spans or figures was not to its liking, for reasons that it quotes.
    let picky = Collector::start(|_| (200, [&[10, 10, 8, 2, 18, 6][..], b"sesame"].concat()));
    let ends_well = Collector::start(|number| (if number < 2 { 503 } else { 200 }, Vec::new()));
    for (url, words) in [
        (
            format!("http://{}", silent.local_addr().unwrap()),
            "telemetry has arrived",
        ),
        (format!("http://{gone}"), "connection refused"),
        (refuses.url.clone(), "the collector answered 401"),
        (picky.url.clone(), "the collector rejected 2 items"),
        (ends_well.url.clone(), ""),
    ] {
        let bed = well("");
        // Long enough for who answers, if only in the end.
        let timeout = if words.starts_with("telemetry") {
            "200"
        } else {
            "60000"
        };
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", timeout),
        ];
        let ran = bed.run_with(&variables, &LOAD).exits(0);
        assert_eq!(bed.count("created"), 20);
        let said: Vec<_> = ran
            .err
            .lines()
            .filter(|l| l.contains("telemetry"))
            .collect();
        assert_eq!(
            said.len(),
            usize::from(!words.is_empty()),
            "{words}: {}",
            ran.err
        );
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
        assert!(!ran.err.contains("sesame"), "{}", ran.err);
    }
}

#[test]
fn what_cannot_be_told_is_said_before_the_load() {
    let collector = Collector::start(|_| (200, Vec::new()));
    for (name, value, words) in [
        ("OTEL_SDK_DISABLED", "true", ""),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "it speaks `http/protobuf`",
        ),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "nowhere.pem",
            "no telemetry is sent",
        ),
    ] {
        let bed = well("");
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
            (name, value),
        ];
        let ran = bed.run_with(&variables, &LOAD).exits(0);
        assert!(ran.err.contains(words), "{}", ran.err);
        assert_eq!(words.is_empty(), !ran.err.contains("OTEL"), "{}", ran.err);
        assert!(collector.came().is_empty(), "{name}");
    }
    // A dry run leaves no trace.
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url)];
    let _ = well("")
        .run_with(&variables, &["load", "m.yaml", "--dry-run"])
        .exits(0);
    assert!(collector.came().is_empty());
}
