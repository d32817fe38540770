//! HL7's own examples of R4: every type, and shapes that no generator makes. Nothing of them is lost from sight.

use std::collections::BTreeMap;

use fs_err as fs;
use serde_json::Value;

use super::bed::Bed;
use crate::support::data;

/// What loading does to each record, by file: counted without Stoker's own reading of sources.
#[test]
fn the_official_examples_are_counted_and_never_skipped() {
    let Some(set) = data::set("fhir-r4-official-examples") else {
        return;
    };
    let package = set.join("package");
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for entry in fs::read_dir(&package).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            let value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let records = if value["resourceType"] == "Bundle" {
                let kind = value["type"].as_str().unwrap_or_default();
                let entries = value["entry"].as_array().into_iter().flatten();
                entries
                    .filter(|entry| !data::is_left_out(kind, entry))
                    .count()
            } else {
                1
            };
            expected.insert(path.display().to_string(), records);
        }
    }
    assert!(expected.len() > 5_000, "{} files", expected.len());
    let total: usize = expected.values().sum();

    let bed = Bed::new();
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: t\ntargets: {{ t: {{ local: store }} }}\nloads: [ {{ name: l, files: [\"{}/*.json\"] }} ]\n",
            package.display()
        ),
    );
    // Some cannot be loaded (package.json, entries without a resource), and are said.
    let ran = bed.run(&["check", "m.yaml"]).exits(1);
    let said = format!("checked {total} records in {} files", expected.len());
    assert!(ran.out.contains(&said) || ran.err.contains(&said), "{said}");

    bed.run(&["load", "m.yaml"]).exits(1);
    let report = bed.report();
    assert_eq!(report["records"], total);
    let outcomes = report["outcomes"].as_object().unwrap();
    let settled: u64 = outcomes.values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(settled, total as u64, "{report:#}");
    assert_eq!(bed.count("pending") + bed.count("unknown"), 0);

    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let records = fs::read_to_string(bed.newest_run().join("records.ndjson")).unwrap();
    for line in records.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let file = line["position"]["file"].as_str().unwrap().to_owned();
        *found.entry(file).or_default() += 1;
    }
    expected.retain(|_, records| *records > 0);
    for (file, records) in &expected {
        assert_eq!(found.get(file), Some(records), "{file}");
    }
    assert_eq!(found.len(), expected.len());
}
