//! Loads with everything that can be wrong in a source, and what a run leaves behind.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

use fs_err as fs;

use super::bed::Bed;
use crate::support::data;

const TARGET: &str = "version: 1\nname: t\ntargets: { t: { local: store } }\n";

fn manifest(loads: &str) -> String {
    format!("{TARGET}loads:\n{loads}")
}

#[test]
fn every_record_has_an_outcome_and_content_stays_in_rejected() {
    let bed = Bed::new();
    let lines = [
        r#"{"resourceType":"Patient","id":"good","name":[{"family":"Plantedname"}]}"#,
        r#"{"resourceType":"Patient","id":"cut","name":[{"family":"Plantedname"#,
        r#"{"resourceType":"Patint","id":"typo"}"#,
        r#"{"resourceType":"Patient","name":[{"family":"Plantedname"}]}"#,
        r#"["no object"]"#,
    ];
    bed.write("p.ndjson", &lines.join("\n"));
    let bundle = r#"{"resourceType":"Bundle","type":"batch","entry":[
        {"resource":{"resourceType":"Patient","id":"a"},"request":{"method":"PUT","url":"Patient/a"}},
        {"resource":{"resourceType":"Patient","id":"b","meta":7,"name":[{"family":"Plantedname"}]},"request":{"method":"PUT","url":"Patient/b"}},
        {"request":{"method":"GET","url":"Patient/a"}}]}"#;
    bed.write("b.json", bundle);
    bed.write(
        "m.yaml",
        &manifest("  - { name: l, target: t, files: [p.ndjson], interaction: update }\n  - { name: b, target: t, files: [b.json] }\n"),
    );
    let ran = bed.run(&["-vv", "load", "m.yaml"]).exits(1);
    let report = bed.report();
    // The entry that reads is no record.
    assert_eq!(report["records"], 7);
    assert_eq!(
        (
            bed.count("created"),
            bed.count("unsupported"),
            bed.count("rejected")
        ),
        (2, 4, 1),
        "{report:#}"
    );
    assert_eq!(bed.count("pending") + bed.count("unknown"), 0);
    assert!(!ran.out.contains("Plantedname") && !ran.err.contains("Plantedname"));
    let run = bed.newest_run();
    for entry in fs::read_dir(&run).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = fs::read_to_string(&path).unwrap();
            assert!(
                !text.contains("Plantedname"),
                "{} holds content",
                path.display()
            );
        }
    }
    let rejected = run.join("rejected");
    assert_eq!(
        fs::metadata(&rejected).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let mut texts = String::new();
    for entry in fs::read_dir(&rejected).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        texts += &fs::read_to_string(&path).unwrap();
    }
    assert!(texts.contains("Plantedname"), "the rejected record is kept");

    let again = rejected.join("manifest.yaml");
    bed.run(&["load", again.to_str().unwrap()]).exits(1);
    assert_eq!(bed.report()["records"], 1);
}

#[test]
fn a_saved_plan_loads_exactly_or_is_refused() {
    let bed = Bed::new();
    bed.write("p.ndjson", "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n");
    bed.write(
        "m.yaml",
        &manifest("  - { name: l, target: t, files: [\"*.ndjson\"], interaction: update }\n"),
    );
    bed.run(&["plan", "m.yaml", "--out", "saved.plan"]).exits(0);
    bed.run(&["plan", "m.yaml", "--detailed-exitcode"])
        .exits(10);
    bed.run(&["load", "saved.plan"]).exits(0);
    assert_eq!(bed.count("created"), 1);
    bed.write("p.ndjson", "{\"resourceType\":\"Patient\",\"id\":\"b\"}\n");
    let ran = bed.run(&["load", "saved.plan"]).exits(2);
    assert!(
        ran.err
            .contains("p.ndjson has changed since the plan was made"),
        "{}",
        ran.err
    );
}

#[test]
fn an_interrupted_run_is_resumed_to_its_end() {
    let bed = Bed::new();
    let lines: Vec<String> = (0..60)
        .map(|n| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{n}\"}}"))
        .collect();
    bed.write("p.ndjson", &lines.join("\n"));
    let slow = TARGET.replace("local: store", "local: store, rate: 20/s");
    bed.write(
        "m.yaml",
        &format!("{slow}loads: [ {{ name: l, files: [p.ndjson] }} ]\n"),
    );
    let mut child = bed.command(&["load", "m.yaml"]).spawn().unwrap();
    // Until something is settled; then it is killed without a chance to say so.
    let settled = || {
        let run = fs::read_dir(bed.path(".stoker/runs"))
            .ok()?
            .next()?
            .ok()?
            .path();
        let journal = fs::read_to_string(run.join("journal.ndjson")).ok()?;
        journal.contains("\"settle\"").then_some(run)
    };
    let run = loop {
        if let Some(run) = settled() {
            break run;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = bed.run(&["resume", run.to_str().unwrap()]);
    assert!([0, 1].contains(&ran.code), "{}", ran.err);
    // Each record has one outcome; none was created twice, and doubt is said.
    let (created, unknown) = (bed.count("created"), bed.count("unknown"));
    assert_eq!(created + unknown, 60);
    assert!(
        created > 0 && unknown < 60,
        "{created} created, {unknown} unknown"
    );
    assert_eq!(bed.report()["sessions"], 2);
}

#[test]
fn a_dry_run_leaves_nothing() {
    let bed = Bed::with_samples();
    let ran = bed
        .run(&["load", "manifests/quickstart.yaml", "--dry-run"])
        .exits(0);
    assert!(ran.out.contains("dry run: 69 requests"), "{}", ran.out);
    assert!(!bed.path(".stoker").exists());
}

#[test]
fn standard_input_and_compressed_files_are_loaded() {
    use std::io::Write;
    let bed = Bed::new();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(b"\xEF\xBB\xBF{\"resourceType\":\"Patient\",\"id\":\"gz\"}\r\n\r\n")
        .unwrap();
    fs::write(bed.path("a.ndjson.gz"), gz.finish().unwrap()).unwrap();
    let zst = zstd::encode_all(&b"{\"resourceType\":\"Patient\",\"id\":\"zst\"}"[..], 1).unwrap();
    fs::write(bed.path("b.json.zst"), zst).unwrap();
    bed.write(
        "m.yaml",
        &manifest(
            "  - { name: l, target: t, files: [\"*.{gz,zst}\", \"-\"], interaction: update }\n",
        ),
    );
    let mut child = bed
        .command(&["load", "m.yaml"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"resourceType\":\"Patient\",\"id\":\"in\"}\n{\"resourceType\":\"Patient\",\"id\":\"in2\"}\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(bed.count("created"), 4);
    for id in ["gz", "zst", "in", "in2"] {
        bed.run(&["get", "Patient", id, "--local", "store"])
            .exits(0);
    }
}

/// Every record is read back, of the run and of what the files say now, and is the same; the store holds nothing besides.
fn is_all_there(bed: &Bed, manifest: &str) {
    let run = bed.newest_run();
    for what in [run.to_str().unwrap(), manifest] {
        let verified = bed.run(&["verify", what, "--all", "--json"]).exits(0);
        let found: serde_json::Value = serde_json::from_str(&verified.out).unwrap();
        assert_eq!(found["same"], true, "{found}");
        assert_eq!(found["differing"], serde_json::json!([]), "{found}");
    }
}

#[test]
fn the_smoke_set_loads_as_bundles_and_reads_back_as_ndjson() {
    let Some(set) = data::set("synthea-r4-2021-smoke") else {
        return;
    };
    let bed = Bed::new();
    let (bundles, ndjson) = (set.join("bundles"), set.join("ndjson"));
    bed.write(
        "bundles.yaml",
        &format!(
            "{TARGET}loads:\n  - {{ name: h, files: [\"{0}/0-hosp*\"] }}\n  - {{ name: p, after: [h], files: [\"{0}/0-prac*\"] }}\n  - {{ name: rest, after: [p], files: [\"{0}/*.json\", \"!{0}/0-*\"] }}\n",
            bundles.display()
        ),
    );
    bed.run(&["load", "bundles.yaml"]).exits(0);
    let report = bed.report();
    assert_eq!(report["records"], 3209);
    assert_eq!(bed.count("created") + bed.count("matched"), 3209);
    is_all_there(&bed, "bundles.yaml");

    let bed = Bed::new();
    bed.write(
        "ndjson.yaml",
        &format!(
            "{TARGET}loads:\n  - {{ name: n, files: [\"{}/*.ndjson\"], interaction: update }}\n",
            ndjson.display()
        ),
    );
    bed.run(&["load", "ndjson.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 3209);
    is_all_there(&bed, "ndjson.yaml");
    // A second load by comparison proves that what is stored equals its source, decimals by their text.
    bed.write(
        "again.yaml",
        &format!("{TARGET}loads:\n  - {{ name: n, files: [\"{}/*.ndjson\"], interaction: update, compare: true }}\n", ndjson.display()),
    );
    bed.run(&["load", "again.yaml"]).exits(0);
    assert_eq!(bed.count("unchanged"), 3209);
}

/// Every file of the edge cases is read: its lines, entries or its single value are records, loaded or said.
#[test]
fn edge_cases_are_counted_and_never_skipped() {
    let Some(set) = data::set("fhir-edge-cases") else {
        return;
    };
    let bed = Bed::new();
    bed.write(
        "m.yaml",
        &format!(
            "{TARGET}loads:\n  - {{ name: e, files: [\"{}/**/*.{{json,ndjson,jsonl}}\"] }}\n",
            set.display()
        ),
    );
    let ran = bed.run(&["load", "m.yaml"]);
    assert!([0, 1].contains(&ran.code), "{}", ran.err);
    let records = fs::read_to_string(bed.newest_run().join("records.ndjson")).unwrap();
    let mut by_file: BTreeMap<String, u64> = BTreeMap::new();
    for line in records.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        *by_file
            .entry(line["position"]["file"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    let mut checked = 0;
    for file in files(&set) {
        let bytes = fs::read(&file).unwrap();
        let name = file.display().to_string();
        if let Some(expected) = naive_count(&name, &bytes) {
            assert_eq!(by_file.get(&name).copied().unwrap_or(0), expected, "{name}");
            checked += 1;
        }
    }
    assert!(checked > 1400, "{checked}");
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path
            .extension()
            .is_some_and(|e| e == "json" || e == "ndjson" || e == "jsonl")
        {
            found.push(path);
        }
    }
    found
}

/// Counts records without Stoker's own reading: lines that are not blank, entries of a Bundle, or one.
fn naive_count(name: &str, bytes: &[u8]) -> Option<u64> {
    let one = |json: &[u8]| match serde_json::from_slice::<serde_json::Value>(json) {
        Ok(value) if value["resourceType"] == "Bundle" => match value.get("entry") {
            Some(serde_json::Value::Array(entries)) => {
                let kind = value["type"].as_str().unwrap_or_default();
                // A history names a resource more than once, and of which one is newest it is not naive to tell.
                (kind != "history").then(|| {
                    let is_record = |entry: &&serde_json::Value| !data::is_left_out(kind, entry);
                    entries.iter().filter(is_record).count() as u64
                })
            }
            None => Some(0),
            // How an `entry` that is no array counts is a matter of taste.
            Some(_) => None,
        },
        _ => Some(1),
    };
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if std::path::Path::new(name)
        .extension()
        .is_some_and(|e| e == "json")
    {
        return one(bytes);
    }
    bytes
        .split(|b| *b == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(one)
        .sum::<Option<u64>>()
}
