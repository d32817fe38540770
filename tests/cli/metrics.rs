//! The figures of a run are there for Prometheus while it goes on.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
    time::Duration,
};

use super::bed::Bed;

fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Returns the value of a figure.
fn value(answer: &str, figure: &str) -> Option<u64> {
    let line = answer.lines().find(|line| line.starts_with(figure))?;
    line.rsplit(' ').next().unwrap().parse().ok()
}

#[test]
fn figures_grow_while_a_run_goes_on_and_hold_no_content() {
    let bed = Bed::new();
    let records: Vec<String> = (0..60)
        .map(|number| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{number}\",\"name\":[{{\"family\":\"Plantedname\"}}]}}\n"))
        .collect();
    bed.write("all.ndjson", &records.concat());
    bed.write(
        "m.yaml",
        "version: 1\ntargets: { t: { local: store, rate: 20/s } }\nloads: [ { name: all, files: all.ndjson, interaction: update } ]\n",
    );
    let mut command = bed.command(&[
        "load",
        "m.yaml",
        "--progress",
        "none",
        "--metrics",
        "127.0.0.1:0",
    ]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("metrics at http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap().to_owned();
    let created = "stoker_records_total{load=\"all\",outcome=\"created\",target=\"t\"}";
    let (mut seen, mut last) = (Vec::new(), String::new());
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(20));
        let answer = get(&address);
        if let Some(count) = value(&answer, created) {
            seen.push(count);
            last = answer;
            if count > 20 {
                break;
            }
        }
    }
    assert!(seen.is_sorted() && seen.last() > seen.first(), "{seen:?}");
    assert!(
        last.contains("Content-Type: text/plain") || last.contains("content-type: text/plain"),
        "{last}"
    );
    assert_eq!(value(&last, "stoker_planned_records{"), Some(60), "{last}");
    let requests = value(&last, "stoker_requests_total{").unwrap();
    let answered = value(&last, "stoker_request_duration_seconds_count{").unwrap();
    assert!(
        requests >= answered && answered >= seen.last().unwrap() / 2,
        "{last}"
    );
    assert!(
        last.contains("stoker_target_state{state=\"open\",target=\"t\"} 1"),
        "{last}"
    );
    assert!(!last.contains("Plantedname"), "{last}");
    // Every figure stands on its page, and the page has no other.
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = fs_err::read_to_string(page).unwrap();
    let named = |text: &str| -> std::collections::BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words
            .filter(|word| word.starts_with("stoker_"))
            .map(str::to_owned)
            .collect()
    };
    let types = last.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let served = types.collect::<Vec<_>>().join(" ");
    let documented: std::collections::BTreeSet<String> = page
        .lines()
        .filter(|line| line.starts_with("| `stoker_"))
        .flat_map(|line| named(line.split(" | ").next().unwrap()))
        .collect();
    for name in named(&served) {
        assert!(documented.contains(&name), "{name} is not documented");
    }
    assert!(child.wait().unwrap().success());
    // An address that somebody has already is named.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = bed.run(&["load", "m.yaml", "--metrics", &address]).exits(2);
    assert!(ran.err.contains("cannot serve metrics"), "{}", ran.err);
}

#[test]
fn the_dashboard_asks_for_figures_that_are_there() {
    let root = env!("CARGO_MANIFEST_DIR");
    let page = fs_err::read_to_string(format!("{root}/docs/metrics.md")).unwrap();
    let dashboard = format!("{root}/manifests/observability/grafana.json");
    let dashboard: serde_json::Value =
        serde_json::from_str(&fs_err::read_to_string(dashboard).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut asked = 0;
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words.filter(|word| word.starts_with("stoker_")) {
                asked += 1;
                let name = word.strip_suffix("_bucket").unwrap_or(word);
                assert!(page.contains(&format!("| `{name}`")), "{query}: {name}");
            }
        }
    }
    assert!(asked >= 10, "{asked}");
}
