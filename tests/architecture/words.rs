//! The core knows no protocol: no word of a format stands in its code.

use super::{code, root, sources};

/// The modules that know no protocol.
const CORE: [&str; 7] = [
    "plan", "send", "gate", "journal", "report", "history", "progress",
];

/// What they do not know, in small letters.
const WORDS: [&str; 9] = [
    "fhir",
    "bundle",
    "resourcetype",
    "operationoutcome",
    "dicom",
    "hl7",
    "mllp",
    "stow",
    "msh-",
];

/// Lines that hold such a word all the same, and why: a file, a part of the line.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The key of a manifest, and the names in machine-readable plans: neither changes with the code's words.
    ("plan/batch.rs", "write `bundle: none`"),
    ("plan/json.rs", "\"bundles\": "),
    ("plan/json.rs", "\"largest_bundle\": "),
    // What carries the requests of a protocol that is not HTTP is a transport of its own, and this is its name.
    ("gate/mod.rs", "pub mod mllp;"),
    ("plan/planner/facets.rs", "frames messages in MLLP"),
    // A function of another crate.
    ("gate/http/options.rs", "from_pem_bundle"),
    // What a receiver knows a message by has no other name: `settle: resend` is of no use to whoever does not know it.
    ("plan/text/load.rs", "MSH-10"),
    ("report/figures.rs", "MSH-10"),
    ("report/text.rs", "MSH-10"),
    ("report/why.rs", "MSH-10"),
    ("send/in_doubt/proof.rs", "MSH-10"),
    ("send/exchange/answer.rs", "MSH-10"),
    // The name of a file that people open with the tools of the format.
    ("report/rejected/mod.rs", ".hl7\""),
];

/// Where a protocol that is not HTTP is carried: all of it is about that protocol.
const TRANSPORTS: [&str; 1] = ["gate/mllp"];

#[test]
fn the_core_knows_no_protocol() {
    let root = root();
    let (mut found, mut used) = (Vec::new(), Vec::new());
    for module in CORE {
        let mut files = Vec::new();
        sources(&root.join(module), &mut files);
        for file in files {
            let inside = file.strip_prefix(&root).unwrap().display().to_string();
            if TRANSPORTS.iter().any(|place| inside.starts_with(place)) {
                continue;
            }
            for line in code(&file).lines() {
                let small = line.to_lowercase();
                if !WORDS.iter().any(|word| small.contains(word)) {
                    continue;
                }
                let excepted = EXCEPTIONS
                    .iter()
                    .find(|(place, part)| *place == inside && line.contains(part));
                match excepted {
                    Some(exception) => used.push(exception),
                    None => found.push(format!("{inside}: {}", line.trim())),
                }
            }
        }
    }
    assert!(
        found.is_empty(),
        "words of formats in the core:\n{}",
        found.join("\n")
    );
    let idle = EXCEPTIONS
        .iter()
        .filter(|exception| !used.contains(exception));
    let idle: Vec<_> = idle.collect();
    assert!(idle.is_empty(), "exceptions for nothing: {idle:?}");
}
