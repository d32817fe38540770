//! Instances whose UIDs a store has already: left, compared, or replaced, as `duplicates` says.

use fs_err as fs;
use stoker::dicom::sample::SampleInstance;

use super::{bed::Bed, responder::start_raw};
use crate::support::instances::{uids, written};

/// The manifest of a load into a target, with further keys.
fn manifest(target: &str, keys: &str) -> String {
    format!(
        "version: 1\nname: scans\ntargets: {{ t: {target} }}\nloads: [ {{ name: scans, files: [\"in/*\"]{keys} }} ]\n"
    )
}

const LOCAL: &str = "{ local: { dir: store, dicom_store: dicom } }";

/// What is changed of an instance, its UIDs never.
#[derive(Debug, Clone, Copy)]
enum Change {
    Nothing,
    /// Another patient: the pixels are the same.
    Attribute,
    /// Another pixel: the attributes are the same.
    Pixel,
}

fn instance(number: u32, rows: u16, change: Change) -> Vec<u8> {
    let uids = uids(1, number);
    let mut sample = SampleInstance {
        rows,
        columns: 4_000,
        ..uids.tiny()
    };
    if matches!(change, Change::Attribute) {
        sample.patient = "p-2";
    }
    let mut bytes = written(&sample);
    if matches!(change, Change::Pixel) {
        *bytes.last_mut().unwrap() ^= 1;
    }
    bytes
}

/// Three small instances and one that is sent from its file: the first of each stays as it is, and one differs in an attribute,
/// one in a pixel.
fn before_and_after() -> [(&'static str, u32, u16, Change); 4] {
    [
        ("in/same", 1, 2, Change::Nothing),
        ("in/attribute", 2, 2, Change::Attribute),
        ("in/pixel", 3, 2, Change::Pixel),
        ("in/large", 4, 3_000, Change::Pixel),
    ]
}

/// A store that holds the instances as they were, and files as they are now.
fn bed() -> Bed {
    let bed = Bed::new();
    fs::create_dir(bed.path("in")).unwrap();
    for (name, number, rows, _) in before_and_after() {
        fs::write(bed.path(name), instance(number, rows, Change::Nothing)).unwrap();
    }
    bed.write("first.yaml", &manifest(LOCAL, ""));
    bed.run(&["load", "first.yaml"]).exits(0);
    for (name, number, rows, change) in before_and_after() {
        fs::write(bed.path(name), instance(number, rows, change)).unwrap();
    }
    bed
}

/// Returns the instances that the store has now as the files are.
fn there(bed: &Bed) -> Vec<&'static str> {
    let changed = before_and_after().into_iter().filter(|(name, number, ..)| {
        let name = name.replace('/', "-");
        let out = format!("{name}-{}", bed.newest_run().display()).replace('/', "-");
        let id = format!("studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.{number}");
        bed.run(&["get", &id, "--local", "store", "--out", &out])
            .exits(0);
        let file = fs::read(bed.path(before_and_after()[*number as usize - 1].0)).unwrap();
        fs::read(bed.path(&out)).unwrap() == file
    });
    changed.map(|(name, ..)| name).collect()
}

#[test]
fn what_the_store_has_ends_as_duplicates_say() {
    // Created, updated, unchanged, matched, rejected; what is there afterwards.
    type Counts = [u64; 5];
    let rows: [(&str, Counts, &[&str]); 5] = [
        ("", [0, 0, 0, 4, 0], &["in/same"]),
        (", duplicates: verify", [0, 0, 3, 0, 1], &["in/same"]),
        (
            ", duplicates: verify, compare: bytes",
            [0, 0, 1, 0, 3],
            &["in/same"],
        ),
        (
            ", duplicates: replace",
            [0, 4, 0, 0, 0],
            &["in/same", "in/attribute", "in/pixel", "in/large"],
        ),
        (
            ", duplicates: replace, compare: bytes",
            [0, 3, 1, 0, 0],
            &["in/same", "in/attribute", "in/pixel", "in/large"],
        ),
    ];
    for (keys, expected, there) in rows {
        let bed = bed();
        bed.write("m.yaml", &manifest(LOCAL, keys));
        let ran = bed.run(&["load", "m.yaml", "--fresh"]);
        let counts = ["created", "updated", "unchanged", "matched", "rejected"];
        let counts = counts.map(|outcome| bed.count(outcome));
        assert_eq!(counts, expected, "{keys}: {}{}", ran.out, ran.err);
        assert_eq!(self::there(&bed), there, "{keys}");
        // What is removed is removed by a request that counts, and so is its being sent again.
        let sent = bed.report()["requests"]["sent"].as_u64().unwrap();
        let removed = expected[1];
        let again = u64::from(removed > 0);
        assert!(sent > removed + again, "{keys}: {sent}");
        let ran = ran.exits(i32::from(expected[4] > 0));
        for content in ["p-1", "p-2", "Rivera"] {
            assert!(!ran.out.contains(content) && !ran.err.contains(content));
        }
        if expected[4] > 0 {
            // Which element differs is no content.
            assert!(ran.out.contains("duplicates: replace"), "{}", ran.out);
            let records = fs::read_to_string(bed.newest_run().join("report.json")).unwrap();
            assert!(records.contains("(0010,0020)"), "{records}");
            // What was rejected keeps its settings.
            let again = bed.newest_run().join("rejected/manifest.yaml");
            let text = fs::read_to_string(&again).unwrap();
            assert!(text.contains("duplicates: verify"), "{text}");
        }
    }
}

/// Answers a request as a store that says of each instance that it has it.
fn exists(body: &str) -> (u16, String) {
    let failed = |uid: &str| {
        format!(
            r#"{{"00081155":{{"vr":"UI","Value":["{uid}"]}},"00081197":{{"vr":"US","Value":[273]}}}}"#
        )
    };
    let uids = ["1.2.1.1.1", "1.2.1.1.2"]
        .into_iter()
        .filter(|uid| body.contains(*uid));
    let items: Vec<String> = uids.map(failed).collect();
    let body = format!(
        r#"{{"00081198":{{"vr":"SQ","Value":[{}]}}}}"#,
        items.join(",")
    );
    (409, body)
}

#[test]
fn what_a_server_does_not_let_be_compared_or_removed_is_said() {
    // The status of a read and of a removal; the keys; created, updated, matched, rejected; words.
    type Row = (u16, u16, &'static str, [u64; 4], &'static str);
    let rows: [Row; 5] = [
        (
            404,
            200,
            "verify",
            [0, 0, 0, 2],
            "could not be compared: the store answered 404",
        ),
        (
            200,
            200,
            "verify",
            [0, 0, 0, 2],
            "the answer holds no metadata",
        ),
        (
            200,
            405,
            "replace",
            [0, 0, 0, 2],
            "could not be removed: it answered 405",
        ),
        (
            200,
            200,
            "replace",
            [0, 0, 0, 2],
            "after it was asked to remove it",
        ),
        (
            200,
            404,
            "replace",
            [0, 0, 0, 2],
            "after it was asked to remove it",
        ),
    ];
    for (read, remove, word, expected, words) in rows {
        let url = start_raw(move |head, body| {
            let line = head.lines().next().unwrap_or_default();
            let (status, body) = match line.split(' ').next() {
                Some("POST") => exists(body),
                Some("DELETE") => (remove, String::new()),
                _ if line.contains("/metadata") => (read, "<html>".to_owned()),
                _ => (200, "[]".to_owned()),
            };
            format!(
                "HTTP/1.1 {status} Any\r\nContent-Type: application/dicom+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        });
        let bed = Bed::new();
        let target = format!(
            "{{ dicomweb: {{ url: \"{url}\" }}, retry: {{ attempts: 2, base: 1ms, max: 2ms }} }}"
        );
        bed.write(
            "m.yaml",
            &manifest(&target, &format!(", duplicates: {word}")),
        );
        fs::create_dir(bed.path("in")).unwrap();
        for number in 1..=2 {
            let bytes = instance(number, 2, Change::Nothing);
            fs::write(bed.path(&format!("in/{number}")), bytes).unwrap();
        }
        let ran = bed.run(&["load", "m.yaml"]);
        let counts =
            ["created", "updated", "matched", "rejected"].map(|outcome| bed.count(outcome));
        assert_eq!(
            counts, expected,
            "{read} {remove} {word}: {}{}",
            ran.out, ran.err
        );
        let journal = fs::read_to_string(bed.newest_run().join("journal.ndjson")).unwrap();
        assert!(journal.contains(words), "{words}: {journal}");
    }
}

#[test]
fn keys_that_mean_something_else_there_are_named() {
    let bed = Bed::new();
    let of = |target: &str, keys: &str| {
        bed.write("m.yaml", &manifest(target, keys));
        fs::create_dir_all(bed.path("in")).unwrap();
        fs::write(bed.path("in/1"), instance(1, 2, Change::Nothing)).unwrap();
        let ran = bed.run(&["check", "m.yaml"]);
        (ran.code, ran.err + &ran.out)
    };
    let fhir = "{ local: { dir: store } }";
    let rows = [
        (
            fhir,
            ", duplicates: verify",
            2,
            "only where instances are stored",
        ),
        (LOCAL, ", duplicates: last", 2, "the first is sent"),
        (LOCAL, ", compare: true", 0, "`compare: true` has no effect"),
        (LOCAL, ", compare: bytes", 0, "is not looked at"),
        (LOCAL, ", duplicates: verify, compare: bytes", 0, ""),
        (LOCAL, ", duplicates: replase", 2, "did you mean `replace`?"),
        (LOCAL, ", compare: 7", 2, "`true`, `false` or `bytes`"),
    ];
    for (target, keys, code, words) in rows {
        let (exit, said) = of(target, keys);
        let is_warned = said.contains("warning");
        assert!(said.contains(words), "{keys}: {said}");
        assert_eq!(exit, code, "{keys}: {said}");
        assert_eq!(is_warned, code == 0 && !words.is_empty(), "{keys}: {said}");
    }
}

/// Instances are compared when a store is verified, too: those that are too large to be held by what is said of them.
#[test]
fn instances_that_were_replaced_since_are_found() {
    let bed = Bed::new();
    for folder in ["in", "other"] {
        fs::create_dir(bed.path(folder)).unwrap();
    }
    for (name, number, rows) in [("small", 1, 2), ("large", 2, 3_000), ("same", 3, 3_000)] {
        let before = instance(number, rows, Change::Nothing);
        fs::write(bed.path(&format!("in/{name}")), before).unwrap();
    }
    bed.write("first.yaml", &manifest(LOCAL, ""));
    bed.run(&["load", "first.yaml"]).exits(0);
    let ran = bed.run(&["verify", "first.yaml", "--all"]).exits(0);
    assert!(ran.out.contains("3 same"), "{}", ran.out);
    for (name, number, rows) in [("small", 1, 2), ("large", 2, 3_000)] {
        let other = instance(number, rows, Change::Attribute);
        fs::write(bed.path(&format!("other/{name}")), other).unwrap();
    }
    let other = manifest(LOCAL, ", duplicates: replace").replace("in/*", "other/*");
    bed.write("other.yaml", &other);
    bed.run(&["load", "other.yaml"]).exits(0);
    assert_eq!(bed.count("updated"), 2);
    let ran = bed.run(&["verify", "first.yaml", "--all"]).exits(1);
    assert!(ran.out.contains("1 same, 2 changed"), "{}", ran.out);
    assert_eq!(ran.out.matches("(0010,0020)").count(), 2, "{}", ran.out);
    assert!(!ran.out.contains("p-2") && !ran.out.contains("p-1"));
}
