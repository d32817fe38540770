//! `samples.ndjson`: what a run that is killed and resumed leaves for the pictures of its report.

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use fs_err as fs;
use serde_json::Value;

use super::bed::Bed;

/// So many records, at 20 a second: a load of some four seconds.
const RECORDS: u64 = 80;

fn lines(bed: &Bed) -> Vec<Value> {
    let runs = bed.path(".stoker/runs");
    let run = fs::read_dir(runs).ok().and_then(|mut runs| runs.next());
    let file = run.map(|run| run.unwrap().path().join("samples.ndjson"));
    let text = file.and_then(|file| fs::read_to_string(file).ok());
    let text = text.unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn a_run_that_is_killed_keeps_its_seconds_and_a_resumed_one_goes_on() {
    let bed = Bed::new();
    let patients =
        (0..RECORDS).map(|n| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{n}\"}}\n"));
    bed.write("people.ndjson", &patients.collect::<String>());
    bed.write(
        "m.yaml",
        "version: 1\nname: slow\ntargets: { here: { local: store, rate: 20/s } }\nloads:\n  \
         - { name: people, target: here, files: [people.ndjson], interaction: update }\n",
    );
    let mut load = bed
        .command(&["load", "m.yaml", "--progress", "none"])
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    while lines(&bed).is_empty() {
        assert!(Instant::now() < until, "no second is written down");
        std::thread::sleep(Duration::from_millis(20));
    }
    load.kill().unwrap();
    load.wait().unwrap();
    let before = lines(&bed);
    let run = bed.newest_run();
    let of_killed = bed.run(&["report", run.to_str().unwrap(), "--format", "html"]);
    assert!(of_killed.out.contains("killed, or still going on"));
    assert!(
        of_killed
            .out
            .contains("<figcaption id=\"picture-1\">Records per second")
    );

    let resume = ["resume", run.to_str().unwrap(), "--progress", "none"];
    let _ = bed.run(&resume).exits(0);
    let after = lines(&bed);
    assert!(after.starts_with(&before), "what was written stays");
    let sessions: Vec<_> = after
        .iter()
        .map(|line| line["session"].as_u64().unwrap())
        .collect();
    assert!(
        sessions.is_sorted() && sessions.last() == Some(&2),
        "{sessions:?}"
    );
    let ends = |line: &Value| line["at_ms"].as_u64().unwrap() + line["for_ms"].as_u64().unwrap();
    assert!(
        after
            .windows(2)
            .all(|two| ends(&two[0]) <= two[1]["at_ms"].as_u64().unwrap()),
        "{after:?}"
    );
    // What the second in which it was killed has settled may be missing, and nothing is there twice.
    let settled: u64 = after
        .iter()
        .filter_map(|line| line["outcomes"].as_object())
        .flat_map(|outcomes| outcomes.values())
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert!((RECORDS / 2..=RECORDS).contains(&settled), "{settled}");
    let file = run.join("samples.ndjson");
    assert_eq!(
        fs::metadata(file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    for word in ["session 2", "killed: a later session went on"] {
        assert!(page.contains(word), "{word}");
    }
    let again = bed
        .run(&["report", run.to_str().unwrap(), "--format", "html"])
        .exits(0);
    assert_eq!(
        again.out.trim_end(),
        page.trim_end(),
        "it is redrawn from the directory"
    );
}

#[test]
fn a_page_has_every_target() {
    let bed = Bed::new();
    bed.write("p.json", "{\"resourceType\":\"Patient\",\"id\":\"p\"}");
    let targets = (0..8).map(|n| format!("  t{n}: {{ local: store-{n} }}\n"));
    let loads = (0..8).map(|n| {
        format!("  - {{ name: l{n}, target: t{n}, files: p.json, interaction: update }}\n")
    });
    let (targets, loads) = (targets.collect::<String>(), loads.collect::<String>());
    bed.write(
        "m.yaml",
        &format!("version: 1\ntargets:\n{targets}loads:\n{loads}"),
    );
    let _ = bed.run(&["load", "m.yaml", "--progress", "none"]).exits(0);
    let page = fs::read_to_string(bed.newest_run().join("report.html")).unwrap();
    for n in 0..6 {
        assert!(page.contains(&format!("<h3>Target t{n}</h3>")), "{n}");
    }
    for n in 6..8 {
        let row = format!(
            "<tr><td>t{n}</td><td class=\"n\">1</td><td class=\"n\">1</td><td class=\"n\">0</td>"
        );
        assert!(page.contains(&row), "{page}");
    }
}
