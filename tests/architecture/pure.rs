//! What is pure touches no file, no socket, no clock and no environment.

use super::{code, root, sources};

/// Modules and files that are pure.
const PURE: [&str; 11] = [
    "fhir",
    "hl7v2",
    "record",
    "checksum.rs",
    "unit.rs",
    "plan/schedule",
    "plan/graph",
    "plan/planner",
    "plan/batch.rs",
    "plan/order.rs",
    "plan/summary.rs",
];

/// What they do not touch.
const IMPURE: [&str; 12] = [
    "std::fs",
    "fs_err",
    "std::net",
    "std::env",
    "std::process",
    "tokio",
    "reqwest",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "rand::",
    "std::os::",
];

/// Lines that touch something all the same, and why: a file, a part of the line.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The time that stands in an acknowledgement which Stoker itself gives; whoever tests it gives its own.
];

#[test]
fn what_is_pure_touches_nothing() {
    let root = root();
    let mut found = Vec::new();
    for place in PURE {
        let place = root.join(place);
        let mut files = Vec::new();
        if place.is_dir() {
            sources(&place, &mut files);
        } else {
            files.push(place);
        }
        for file in files {
            let inside = file.strip_prefix(&root).unwrap().display().to_string();
            for line in code(&file).lines() {
                let excepted = EXCEPTIONS
                    .iter()
                    .any(|(place, part)| *place == inside && line.contains(part));
                if !excepted && IMPURE.iter().any(|word| line.contains(word)) {
                    found.push(format!("{inside}: {}", line.trim()));
                }
            }
        }
    }
    assert!(found.is_empty(), "not pure:\n{}", found.join("\n"));
}
