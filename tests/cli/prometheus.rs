//! The figures of a run, as Prometheus itself takes them: `promtool` finds nothing to say of them, a server scrapes them, and what the
//! dashboard asks for has an answer. Where they are not installed, the test says so by name and is skipped.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fs_err as fs;
use serde_json::Value;

use super::bed::Bed;

/// A process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Gets the body of a page of this machine; none where nobody listens yet.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let patience = Some(Duration::from_mins(1));
    stream.set_read_timeout(patience).unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// What a server of Prometheus answers to a query.
fn ask(server: &str, query: &str) -> Vec<Value> {
    let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let Some(answer) = get(server, &format!("/api/v1/query?query={query}")) else {
        return Vec::new();
    };
    let Ok(answer) = serde_json::from_str::<Value>(&answer) else {
        // It has not begun to serve.
        return Vec::new();
    };
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    answer["data"]["result"].as_array().unwrap().clone()
}

/// Asks until there is an answer that will do.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("no answer: {what}");
}

#[test]
fn prometheus_takes_every_figure() {
    let has = |name: &str| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|version| version.status.success())
    };
    if !has("promtool") || !has("prometheus") {
        eprintln!("skipped: there is no prometheus with its promtool");
        return;
    }
    let bed = Bed::new();
    let faults = "rules: [{ when: { request: update, probability: 0.3 }, fault: { answer: { status: 503 } } }]";
    let store = bed.emulate(faults);
    let lines = (0..200).map(|n| format!("{{\"resourceType\":\"Patient\",\"id\":\"{n}\"}}\n"));
    bed.write("p.ndjson", &lines.collect::<String>());
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\ntargets: {{ t: {{ fhir: {{ url: \"{}\" }}, retry: {{ attempts: 30, base: 1ms, max: 2ms }} }} }}\n\
             loads: [{{ name: people, target: t, files: p.ndjson, interaction: update, bundle: {{ type: none }} }}]\n",
            store.fhir
        ),
    );
    // What keeps the page of the run keeps its figures, too.
    let load = "load m.yaml --progress none --metrics 127.0.0.1:0 --live --live-keep";
    let mut load = bed.command(&load.split(' ').collect::<Vec<_>>());
    let load = load.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut load = Ends(load.unwrap());
    let said = BufReader::new(load.0.stderr.take().unwrap());
    let mut metrics = None;
    for line in said.lines().map(Result::unwrap) {
        if let Some(url) = line.strip_prefix("metrics at http://") {
            metrics = url.strip_suffix("/metrics").map(str::to_owned);
        }
        if line.starts_with("the page stays at") {
            break;
        }
    }
    let metrics = metrics.unwrap();

    let figures = get(&metrics, "/metrics").unwrap();
    for name in [
        "stoker_retries_total",
        "stoker_answers_total",
        "stoker_target_state",
    ] {
        assert!(figures.contains(name), "{figures}");
    }
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = check.stdin.take().unwrap();
    input.write_all(figures.as_bytes()).unwrap();
    drop(input);
    let checked = check.wait_with_output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert!(
        checked.stdout.is_empty() && checked.stderr.is_empty(),
        "{checked:?}"
    );

    let observability = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/observability");
    let config = fs::read_to_string(observability.join("prometheus.yaml")).unwrap();
    assert!(config.contains("127.0.0.1:9464"), "{config}");
    bed.write(
        "prometheus.yaml",
        &config.replace("127.0.0.1:9464", &metrics),
    );
    // The port is free again at the end of this line.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let server = free.unwrap().to_string();
    let prometheus = Command::new("prometheus")
        .arg("--config.file=prometheus.yaml")
        .arg("--storage.tsdb.path=figures")
        .arg(format!("--web.listen-address={server}"))
        .current_dir(bed.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _prometheus = Ends(prometheus.unwrap());
    let records = until("records", || {
        let found = ask(&server, "sum by (outcome) (stoker_records_total)");
        (!found.is_empty()).then_some(found)
    });
    let outcomes = &bed.report()["outcomes"];
    for found in records {
        let outcome = found["metric"]["outcome"].as_str().unwrap();
        assert_eq!(
            found["value"][1],
            outcomes[outcome].to_string(),
            "{outcome}"
        );
    }
    assert_eq!(outcomes["created"], 200);

    let dashboard = fs::read_to_string(observability.join("grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut answered = 0;
    for target in targets {
        let query = target["expr"].as_str().unwrap();
        // Only a target that refuses for a rate has one, and such a query needs no wait.
        if query == "stoker_target_ceiling" {
            let _ = ask(&server, query);
            continue;
        }
        until(query, || (!ask(&server, query).is_empty()).then_some(()));
        answered += 1;
    }
    assert!(answered >= 10, "{answered}");
}
