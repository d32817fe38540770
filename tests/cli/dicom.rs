//! Instances into a DICOM store of the local dataset, and to servers that answer in their own ways.

use std::io::Write as _;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use fs_err as fs;
use stoker::dicom::sample::SampleInstance;

use super::{bed::Bed, responder::start_raw};
use crate::support::{
    data,
    instances::{uids, written},
};

const MANIFEST: &str = "version: 1\nname: scans\ntargets: { t: { local: { dir: store, dicom_store: dicom } } }\nloads: [ { name: scans, files: [\"in/**/*\"] } ]\n";

/// An answer byte by byte.
fn response(status: u16, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Any\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// An instance of a study, with a patient whose name must not be seen.
fn instance(study: u32, number: u32, columns: u16) -> Vec<u8> {
    written(&SampleInstance {
        columns,
        ..uids(study, number).tiny()
    })
}

fn name(study: u32, number: u32) -> String {
    format!("studies/1.2.{study}/series/1.2.{study}.1/instances/1.2.{study}.1.{number}")
}

fn put(bed: &Bed, name: &str, bytes: &[u8]) {
    let path = bed.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Two studies, a copy, an instance of the same UIDs with other pixels, and what is none.
fn bed() -> Bed {
    let bed = Bed::new();
    bed.write("m.yaml", MANIFEST);
    for number in 1..=3 {
        put(&bed, &format!("in/a/IM{number}"), &instance(1, number, 8));
    }
    put(&bed, "in/b.dcm", &instance(2, 1, 8));
    put(&bed, "in/copy.dcm", &instance(1, 2, 8));
    put(&bed, "in/other.dcm", &instance(1, 3, 16));
    bed.write("in/notes.txt", "no instance\n");
    bed
}

#[test]
fn instances_are_loaded_once_and_given_back_byte_by_byte() {
    let bed = bed();
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    for words in [
        "4 records to send",
        "2 studies, 2 series",
        "transfer syntax  Explicit VR Little Endian 4",
        "1 duplicate",
        "no-dicom",
        "same-name-other-bytes",
    ] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    bed.run(&["load", "m.yaml", "--dry-run"]).exits(1);
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(
        (
            bed.count("created"),
            bed.count("duplicate"),
            bed.count("unsupported")
        ),
        (4, 1, 2)
    );
    assert!(bed.report()["types"]["DX"].is_object());
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("unchanged"), bed.count("created")), (4, 0));
    // The store has them, and says so.
    bed.run(&["load", "m.yaml", "--fresh"]).exits(1);
    assert_eq!((bed.count("matched"), bed.count("created")), (4, 0));
    let store = ["--local", "store"];
    for (study, number) in [(1, 1), (1, 2), (1, 3), (2, 1)] {
        let name = name(study, number);
        let out = format!("{study}-{number}.dcm");
        bed.run(&[&["get", &name, "--out", &out], &store[..]].concat())
            .exits(0);
        assert_eq!(
            fs::read(bed.path(&out)).unwrap(),
            instance(study, number, 8)
        );
    }
    bed.run(&[&["get", "studies/1/series/2/instances/3"], &store[..]].concat())
        .exits(1);
}

#[test]
fn an_odd_file_of_an_instance_is_called_what_it_is() {
    let bed = Bed::new();
    bed.write("m.yaml", MANIFEST);
    // A preamble may hold anything, also the beginnings of other formats.
    for (number, magic) in (1..).zip([
        &b"\x1f\x8b\x08\0"[..],
        b"PK\x03\x04",
        b"\x28\xb5\x2f\xfd",
        b"II*\0",
    ]) {
        let mut bytes = instance(1, number, 8);
        bytes[..magic.len()].copy_from_slice(magic);
        put(&bed, &format!("in/{number}.dcm"), &bytes);
    }
    let bytes = instance(1, 7, 8);
    put(&bed, "in/cut.dcm", &bytes[..bytes.len() - 2]);
    let odd = written(&SampleInstance {
        study: "1.2/3",
        ..uids(1, 8).tiny()
    });
    put(&bed, "in/odd.dcm", &odd);
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    for words in [
        "5 records to send",
        "1 (unusable-uid)",
        "cut.dcm",
        "the file ends before its data set does",
    ] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("created"), bed.count("unsupported")), (5, 1));
}

/// A copy that broke off may stand before the whole one, in its folder or in another.
#[test]
fn of_two_files_of_an_instance_the_whole_one_is_sent() {
    let bed = Bed::new();
    bed.write("m.yaml", MANIFEST);
    let whole = instance(1, 1, 8);
    put(&bed, "in/a.dcm", &whole[..whole.len() - 2]);
    put(&bed, "in/b.dcm", &whole[..whole.len() - 4]);
    put(&bed, "in/c.dcm", &whole);
    put(&bed, "in/d.dcm", &whole[..whole.len() - 2]);
    // Where none is whole, the first is sent.
    let other = instance(1, 2, 8);
    put(&bed, "in/e.dcm", &other[..other.len() - 2]);
    put(&bed, "in/f.dcm", &other[..other.len() - 4]);
    let plan = bed.run(&["plan", "m.yaml"]).exits(0).out;
    for words in [
        "plan: 2 records to send",
        "4 (same-name-other-bytes)",
        "in/a.dcm:1: the file ends before its data set does; in/c.dcm:1 holds the same record whole, and that one is sent",
        "the file ends before its data set does: 2 more",
    ] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    assert_eq!(bed.run(&["plan", "m.yaml"]).exits(0).out, plan);
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("created"), bed.count("unsupported")), (2, 4));
    let name = name(1, 1);
    bed.run(&["get", &name, "--out", "got", "--local", "store"])
        .exits(0);
    assert_eq!(fs::read(bed.path("got")).unwrap(), whole);
    // Once it is loaded, nothing is sent again.
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("created"), bed.count("unchanged")), (0, 2));
}

/// A private value or a document may be larger than any header.
#[test]
fn the_plan_names_the_size_of_the_largest_instance() {
    let bed = bed();
    let largest = fs::metadata(bed.path("in/b.dcm")).unwrap().len();
    put(&bed, "in/large", &instance(3, 1, 200));
    let size = fs::metadata(bed.path("in/large")).unwrap().len();
    assert!(size > largest);
    let planned = bed.run(&["plan", "m.yaml"]).exits(0);
    let words = format!(", largest record {}", stoker::unit::ByteSize(size));
    assert!(planned.out.contains(&words), "{words}: {}", planned.out);
    let planned = bed.run(&["plan", "m.yaml", "--json"]).exits(0).out;
    let planned: serde_json::Value = serde_json::from_str(&planned).unwrap();
    assert_eq!(planned["loads"][0]["largest_record"], size);
}

#[test]
fn a_file_that_ends_within_a_large_value_is_called_cut() {
    const LARGE: u64 = 80 << 20;
    let bed = Bed::new();
    bed.write("m.yaml", MANIFEST);
    let places: [(&str, &[u8], &[u8]); 2] = [
        // The document stands behind the identity, the private value before it.
        ("document", b"\xe0\x7f\x10\0OB", b"\x42\0\x11\0OB\0\0"),
        ("private", b"\x10\0\x10\0PN", b"\x09\0\x01\x10OB\0\0"),
    ];
    for (number, (name, behind, head)) in (1..).step_by(2).zip(places) {
        for (number, name, missing) in [(number, "whole", 0), (number + 1, "cut", LARGE / 8)]
            .map(|(number, how, missing)| (number, format!("in/{name}.{how}"), missing))
        {
            let bytes = instance(9, number, 8);
            let at = bytes.windows(behind.len()).position(|six| six == behind);
            let (before, rest) = bytes.split_at(at.unwrap());
            let length = u32::try_from(LARGE).unwrap().to_le_bytes();
            put(&bed, &name, &[before, head, &length].concat());
            let path = bed.path(&name);
            let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
            let begins = file.metadata().unwrap().len();
            // A hole costs no place on the disk.
            file.set_len(begins + LARGE - missing).unwrap();
            if missing == 0 {
                file.write_all(rest).unwrap();
            }
        }
    }
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    for words in [
        "3 records to send",
        "1 (cut)",
        "the file ends before its data set does",
    ] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    let plan = bed.run(&["plan", "m.yaml", "--json"]).exits(0);
    assert!(plan.out.contains("document.cut"), "{}", plan.out);
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("created"), bed.count("unsupported")), (3, 1));
}

/// From 8 MiB on an instance is sent from its file, and never held.
#[test]
fn a_large_instance_is_sent_from_its_file_byte_by_byte() {
    let bed = Bed::new();
    bed.write("m.yaml", MANIFEST);
    let mut large = written(&SampleInstance {
        rows: 3000,
        columns: 3001,
        ..uids(1, 9).tiny()
    });
    put(&bed, "in/large", &large);
    put(&bed, "in/small", &instance(1, 1, 8));
    bed.run(&["load", "m.yaml", "--dry-run"]).exits(0);
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 2);
    let sent = &bed.report()["requests"]["sent_bytes"];
    assert!(sent.as_u64().is_none_or(|sent| sent > 9_000_000), "{sent}");
    let (name, store) = (name(1, 9), ["--local", "store"]);
    bed.run(&[&["get", &name, "--out", "back"], &store[..]].concat())
        .exits(0);
    assert!(fs::read(bed.path("back")).unwrap() == large);
    // What has changed since it was planned is not sent.
    bed.run(&["plan", "m.yaml", "--fresh", "--out", "p.plan"])
        .exits(0);
    large[5_000_000] ^= 1;
    put(&bed, "in/large", &large);
    let ran = bed.run(&["load", "p.plan"]);
    assert_ne!(ran.code, 0, "{}", ran.out);
}

#[test]
fn what_a_patient_is_called_is_nowhere() {
    let bed = bed();
    let runs = [
        vec!["plan", "m.yaml"],
        vec!["check", "m.yaml"],
        vec!["load", "m.yaml", "-vv"],
        vec!["load", "m.yaml", "--fresh", "-vv"],
        vec!["report"],
    ];
    for arguments in runs {
        let ran = Bed::run(&bed, &arguments);
        assert!(!ran.out.contains("lanted") && !ran.err.contains("lanted"));
    }
    for file in fs::read_dir(bed.newest_run()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let text = fs::read(&path).unwrap();
            let found = memchr::memmem::find(&text, b"lanted");
            assert_eq!(found, None, "{}", path.display());
        }
    }
}

#[test]
fn one_instance_is_created_from_its_file() {
    let bed = Bed::new();
    put(&bed, "one", &instance(1, 1, 8));
    let ran = bed.run(&["create", "one", "--local", "store"]).exits(0);
    assert_eq!(ran.out.trim(), name(1, 1));
    // It is there: nothing changes.
    let ran = bed.run(&["create", "one", "--local", "store"]).exits(0);
    assert_eq!(ran.out.trim(), name(1, 1));
    assert!(ran.err.contains("already holds"), "{}", ran.err);
    bed.write("text", "no instance");
    bed.run(&["create", "text", "--local", "store"]).exits(2);
    let rows: [(&[u8], &str); 4] = [
        (b"Plantedname", "the file that you mean"),
        (b"<Patient xmlns=\"http://hl7.org/fhir\"/>", "in JSON only"),
        (b"\x1f\x8b\x08\0", "it is compressed"),
        (
            b"ZXX|1\rMSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\r",
            "before its first message",
        ),
    ];
    for (bytes, words) in rows {
        fs::write(bed.path("odd"), bytes).unwrap();
        let ran = bed.run(&["create", "odd", "--local", "store"]).exits(2);
        let said =
            "odd holds none of a FHIR resource in JSON, a message of HL7v2 and a DICOM instance";
        assert!(
            ran.err.contains(said) && ran.err.contains(words),
            "{}",
            ran.err
        );
        assert!(!ran.err.contains("Plantedname"), "{}", ran.err);
    }
}

/// What it is, status, type and body of the answer, whether the server has them, and the outcomes.
type Row = (
    &'static str,
    u16,
    &'static str,
    &'static str,
    bool,
    [u64; 4],
);

/// Answers of servers to the storing of the instances 1 and 2 of study 1, and what becomes of them: created, matched, rejected,
/// unknown. `there` is whether the server says afterwards that it has them.
const ANSWERS: &[Row] = &[
    (
        "all stored, in JSON",
        200,
        "application/dicom+json",
        STORED,
        true,
        [2, 0, 0, 0],
    ),
    (
        "with a character set",
        200,
        "application/dicom+json; charset=utf-8",
        STORED,
        true,
        [2, 0, 0, 0],
    ),
    (
        "with warnings",
        202,
        "application/dicom+json",
        WARNED,
        true,
        [2, 0, 0, 0],
    ),
    (
        "in XML, as Google",
        200,
        "application/dicom+xml",
        XML,
        true,
        [2, 0, 0, 0],
    ),
    (
        "one of them is there",
        409,
        "application/dicom+json",
        EXISTS,
        true,
        [1, 1, 0, 0],
    ),
    (
        "one is refused",
        202,
        "application/dicom+json",
        REFUSED,
        true,
        [1, 0, 1, 0],
    ),
    (
        "one is in neither list, and there",
        200,
        "application/dicom+json",
        NEITHER,
        true,
        [2, 0, 0, 0],
    ),
    (
        "a page, and they are there",
        200,
        "text/html",
        "<html>welcome</html>",
        true,
        [2, 0, 0, 0],
    ),
    (
        "nothing, and they are there",
        200,
        "text/plain",
        "",
        true,
        [2, 0, 0, 0],
    ),
    (
        "nothing, and they are not there",
        200,
        "text/plain",
        "",
        false,
        [0, 0, 2, 0],
    ),
    (
        "all refused",
        400,
        "application/dicom+json",
        "{}",
        false,
        [0, 0, 2, 0],
    ),
    (
        "a conflict without a reason, and they are there",
        409,
        "text/html",
        "<html>Plantedname</html>",
        true,
        [0, 2, 0, 0],
    ),
    (
        "a conflict without a reason, and they are not there",
        409,
        "text/html",
        "<html>Plantedname</html>",
        false,
        [0, 0, 2, 0],
    ),
    (
        "a permission that lacks",
        404,
        "application/json",
        "{\"error\":{\"code\":404,\"status\":\"NOT_FOUND\",\"message\":\"Plantedname\"}}",
        false,
        [0, 0, 2, 0],
    ),
];
const STORED: &str = r#"{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.1.1.1"]}},{"00081155":{"vr":"UI","Value":["1.2.1.1.2"]}}]}}"#;
const WARNED: &str = r#"{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.1.1.1"]},"00081196":{"vr":"US","Value":[45056]}},{"00081155":{"vr":"UI","Value":["1.2.1.1.2"]}}]}}"#;
const XML: &str = r#"<NativeDicomModel><DicomAttribute tag="00081199" vr="SQ"><Item number="1"><DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.1.1.1</Value></DicomAttribute></Item><Item number="2"><DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.1.1.2</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>"#;
const EXISTS: &str = r#"{"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.1.1.1"]},"00081197":{"vr":"US","Value":[272]},"00091097":{"vr":"LO","Value":["already exists"]}}]},"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.1.1.2"]}}]}}"#;
const REFUSED: &str = r#"{"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.1.1.1"]},"00081197":{"vr":"US","Value":["49152"]},"00741048":{"vr":"LO","Value":["Plantedname"]}}]},"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.1.1.2"]}}]}}"#;
const NEITHER: &str = r#"{"00081198":{"vr":"SQ"},"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.1.1.2"]}}]}}"#;

#[test]
fn every_answer_ends_as_it_says() {
    for (what, status, kind, body, is_there, expected) in ANSWERS {
        let url = start_raw(move |head, _| {
            let line = head.lines().next().unwrap_or_default();
            if line.starts_with("POST") {
                return response(*status, kind, body);
            }
            let Some((path, _)) = line.split_once("/metadata") else {
                return response(200, "application/dicom+json", "[]");
            };
            let uid = path.rsplit('/').next().unwrap_or_default();
            if !is_there {
                return response(404, "text/plain", "");
            }
            let set = format!(
                r#"[{{"00080018":{{"vr":"UI","Value":["{uid}"]}},"0020000D":{{"vr":"UI","Value":["1.2.1"]}},"0020000E":{{"vr":"UI","Value":["1.2.1.1"]}}}}]"#
            );
            response(200, "application/dicom+json", &set)
        });
        let bed = Bed::new();
        let target = format!(
            "{{ dicomweb: {{ url: \"{url}\" }}, retry: {{ attempts: 2, base: 1ms, max: 2ms }} }}"
        );
        let manifest = MANIFEST.replace("{ local: { dir: store, dicom_store: dicom } }", &target);
        bed.write("m.yaml", &manifest);
        for number in 1..=2 {
            put(&bed, &format!("in/{number}"), &instance(1, number, 8));
        }
        let ran = bed.run(&["load", "m.yaml"]);
        let counts =
            ["created", "matched", "rejected", "unknown"].map(|outcome| bed.count(outcome));
        assert_eq!(counts, *expected, "{what}: {}{}", ran.out, ran.err);
        assert!(!ran.out.contains("Plantedname") && !ran.err.contains("Plantedname"));
        if expected[2] > 0 {
            // What was refused stands by itself, as it was.
            let kept = bed.newest_run().join("rejected/scans.instances/000001.dcm");
            assert_eq!(fs::read(kept).unwrap(), instance(1, 1, 8), "{what}");
            let again = bed.newest_run().join("rejected/manifest.yaml");
            let ran = bed.run(&["plan", again.to_str().unwrap()]).exits(0);
            assert!(ran.out.contains("to send"), "{}", ran.out);
        }
    }
}

#[test]
fn a_page_in_place_of_an_answer_is_said_to_have_taken_nothing() {
    let url = start_raw(move |head, _| match head.split(' ').next() {
        Some("POST") => response(200, "text/html", "<html>Plantedname, log in</html>"),
        _ if head.contains("/metadata") => response(404, "text/plain", ""),
        _ => response(200, "application/dicom+json", "[]"),
    });
    let bed = Bed::new();
    let target = format!("{{ dicomweb: {{ url: \"{url}\" }}, retry: {{ attempts: 1 }} }}");
    let manifest = MANIFEST.replace("{ local: { dir: store, dicom_store: dicom } }", &target);
    bed.write("m.yaml", &manifest);
    put(&bed, "in/1", &instance(1, 1, 8));
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    let said = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "1 rejected: the server answered with success, and has not taken it",
        "no proxy or login page answers in its place",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("Plantedname"));
}

/// An archive that holds nothing answers a search with 204: it is there all the same.
#[test]
fn an_empty_archive_that_says_nothing_is_there() {
    for metadata in [403, 404, 405] {
        let url = start_raw(move |head, _| match head.split(' ').next() {
            Some("POST") => response(200, "text/plain", "ok"),
            _ if head.contains("/metadata") => response(metadata, "text/plain", ""),
            _ => "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned(),
        });
        let bed = Bed::new();
        let target = format!(
            "{{ dicomweb: {{ url: \"{url}\" }}, retry: {{ attempts: 1 }}, give_up_after: 2s }}"
        );
        let manifest = MANIFEST.replace("{ local: { dir: store, dicom_store: dicom } }", &target);
        bed.write("m.yaml", &manifest);
        put(&bed, "in/1", &instance(1, 1, 8));
        let ran = bed.run(&["load", "m.yaml"]).exits(1);
        let counts = ["rejected", "unknown", "pending"].map(|outcome| bed.count(outcome));
        let expected = if metadata == 404 {
            [1, 0, 0]
        } else {
            [0, 1, 0]
        };
        assert_eq!(counts, expected, "{metadata}: {}{}", ran.out, ran.err);
    }
}

/// The store says that it has an instance already, and is gone when it is to be compared.
#[test]
fn what_cannot_be_compared_any_more_waits_for_the_next_session() {
    for duplicates in ["verify", "replace"] {
        let (is_gone, is_back) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
        let back = Arc::clone(&is_back);
        let url = start_raw(move |head, _| {
            let json = "application/dicom+json";
            if back.load(Ordering::SeqCst) {
                let body = if head.starts_with("POST") {
                    STORED
                } else {
                    "[]"
                };
                return response(200, json, body);
            }
            if head.starts_with("POST") {
                is_gone.store(true, Ordering::SeqCst);
                return response(409, json, EXISTS);
            }
            if is_gone.load(Ordering::SeqCst) {
                response(404, "text/plain", "gone")
            } else {
                response(200, json, "[]")
            }
        });
        let bed = Bed::new();
        let target = format!("{{ dicomweb: {{ url: \"{url}\" }}, give_up_after: 2s }}");
        let files = format!(
            "files: [\"in/**/*\"], duplicates: {duplicates}{}",
            if duplicates == "verify" {
                ""
            } else {
                ", compare: bytes"
            }
        );
        let manifest = MANIFEST
            .replace("{ local: { dir: store, dicom_store: dicom } }", &target)
            .replace("files: [\"in/**/*\"]", &files);
        bed.write("m.yaml", &manifest);
        for number in 1..=2 {
            put(&bed, &format!("in/{number}"), &instance(1, number, 8));
        }
        let ran = bed.run(&["load", "m.yaml", "--progress", "none"]).exits(4);
        let counts = ["created", "pending", "rejected"].map(|outcome| bed.count(outcome));
        assert_eq!(counts, [1, 1, 0], "{duplicates}: {}{}", ran.out, ran.err);
        is_back.store(true, Ordering::SeqCst);
        let run = bed.newest_run();
        bed.run(&["resume", run.to_str().unwrap()]).exits(0);
        assert_eq!(bed.count("created"), 2, "{duplicates}");
    }
}

#[test]
fn a_server_that_speaks_no_dicomweb_is_named() {
    for (status, body, words) in [
        (200, "<html>", "no DICOM JSON"),
        (404, "", "404 when asked for its studies"),
        (401, "", "asks for credentials"),
        (503, "", "503"),
    ] {
        let url = start_raw(move |_, _| response(status, "text/plain", body));
        let bed = Bed::new();
        let target = format!(
            "{{ dicomweb: {{ url: \"{url}\" }}, retry: {{ attempts: 1 }}, give_up_after: 1s }}"
        );
        bed.write(
            "m.yaml",
            &MANIFEST.replace("{ local: { dir: store, dicom_store: dicom } }", &target),
        );
        put(&bed, "in/1", &instance(1, 1, 8));
        let ran = bed.run(&["load", "m.yaml"]).exits(4);
        assert!(ran.err.contains(words), "{}", ran.err);
    }
}

#[test]
fn instances_of_the_set_are_there_byte_by_byte() {
    let Some(set) = data::set("dicom") else {
        return;
    };
    let bed = Bed::new();
    let manifest = MANIFEST.replace("in/**/*", &format!("{}/**/*", set.display()));
    bed.write("m.yaml", &manifest);
    bed.run(&["load", "m.yaml"]).exits(1);
    // Of 242 that can be stored 166 have UIDs of their own; two copies apart, the others have the UIDs of one of them and other
    // bytes.
    assert_eq!((bed.count("created"), bed.count("rejected")), (166, 0));
    let records = fs::read_to_string(bed.newest_run().join("records.ndjson")).unwrap();
    let mut compared = 0;
    for line in records.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        if record["outcome"] != "created" {
            continue;
        }
        compared += 1;
        // Every tenth is fetched by a process of its own.
        if compared % 10 != 1 {
            continue;
        }
        let id = record["id"].as_str().unwrap();
        let out = format!("{compared}.dcm");
        bed.run(&["get", id, "--local", "store", "--out", &out])
            .exits(0);
        let file = bed
            .path("")
            .join(record["position"]["file"].as_str().unwrap());
        assert_eq!(
            fs::read(bed.path(&out)).unwrap(),
            fs::read(file).unwrap(),
            "{id}"
        );
    }
    assert_eq!(compared, 166);
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(bed.count("created"), 0);
}
