//! DICOMweb servers that store, and answer neither searches nor reads.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use fs_err as fs;
use serde_json::json;

use super::{bed::Bed, responder::start_raw};
use crate::support::instances::{uids, written};

fn response(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Any\r\nContent-Type: application/dicom+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Stores what is new to it, and says of the rest that it has it.
fn store(held: &Mutex<HashSet<String>>, body: &str) -> String {
    let mut held = held.lock().unwrap();
    let (mut stored, mut failed) = (Vec::new(), Vec::new());
    for number in 1..=2 {
        let uid = uids(1, number).instance;
        if !body.contains(&uid) {
            continue;
        }
        let item = json!({ "00081155": { "vr": "UI", "Value": [uid] } });
        if held.insert(uid) {
            stored.push(item);
        } else {
            let mut item = item;
            item["00081197"] = json!({ "vr": "US", "Value": [0x0111] });
            failed.push(item);
        }
    }
    let status = match (stored.is_empty(), failed.is_empty()) {
        (true, true) => return response(400, ""),
        (false, true) => 200,
        (false, false) => 202,
        (true, false) => 409,
    };
    let answer = json!({ "00081199": { "Value": stored }, "00081198": { "Value": failed } });
    response(status, &answer.to_string())
}

#[test]
fn a_server_that_only_stores_is_loaded_also_a_second_time() {
    for (search, read, body) in [
        (400, 501, ""),
        (404, 404, ""),
        (404, 406, ""),
        (405, 200, "[]"),
        (406, 400, ""),
        (501, 501, ""),
    ] {
        let held = Arc::new(Mutex::new(HashSet::new()));
        let own = Arc::clone(&held);
        let url = start_raw(move |head, sent| {
            let line = head.lines().next().unwrap_or_default();
            if line.starts_with("POST") {
                return store(&own, sent);
            }
            let (status, body) = if line.contains("/metadata") {
                (read, body)
            } else {
                (search, "")
            };
            response(status, body)
        });
        let bed = Bed::new();
        bed.write(
            "m.yaml",
            &format!(
                "version: 1\nname: scans\ntargets: {{ t: {{ dicomweb: {{ url: \"{url}\" }}, retry: {{ attempts: 2, base: 1ms, max: 2ms }} }} }}\nloads: [ {{ name: scans, files: [\"in/*\"] }} ]\n"
            ),
        );
        fs::create_dir(bed.path("in")).unwrap();
        let put = |number: u32| {
            let bytes = written(&uids(1, number).tiny());
            fs::write(bed.path(&format!("in/{number}")), bytes).unwrap();
        };
        put(1);
        let ran = bed.run(&["load", "m.yaml"]).exits(0);
        assert_eq!(bed.count("created"), 1, "{search} {read}: {}", ran.out);
        put(2);
        let ran = bed.run(&["load", "m.yaml"]).exits(0);
        let counts = (bed.count("created"), bed.count("matched"));
        assert_eq!(counts, (1, 1), "{search} {read}: {}{}", ran.out, ran.err);
        assert_eq!(held.lock().unwrap().len(), 2);
    }
}

/// The head and the body of a response with a body of any bytes.
fn response_of(status: u16, head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} Any\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The forms in which servers write one answer: header lines, and bytes.
fn written_otherwise(form: &str, stored: &[String]) -> (String, Vec<u8>) {
    let items: Vec<_> = stored
        .iter()
        .map(|uid| json!({ "00081155": { "vr": "UI", "Value": [uid] } }))
        .collect();
    let json = json!({ "00081199": { "vr": "SQ", "Value": items } }).to_string();
    let item = |uid: &String| {
        format!(
            "<Item><DicomAttribute tag=\"00081155\" vr=\"UI\"><Value number=\"1\">{uid}</Value></DicomAttribute></Item>"
        )
    };
    let items: Vec<String> = stored.iter().map(item).collect();
    let items = items.concat();
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-16\"?><NativeDicomModel><DicomAttribute tag=\"00081199\" vr=\"SQ\">{items}</DicomAttribute></NativeDicomModel>"
    );
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_be_bytes).collect() };
    let parts = |kind: &str, body: &[u8]| {
        let head = format!("--b1\r\nContent-Type: {kind}\r\n\r\n");
        [head.as_bytes(), body, b"\r\n--b1--\r\n"].concat()
    };
    let several =
        "Content-Type: multipart/related; type=\"application/dicom+json\"; boundary=\"b1\"\r\n";
    match form {
        "json with a mark" => (
            "Content-Type: application/dicom+json; charset=utf-8\r\n".to_owned(),
            format!("\u{feff}{json}").into_bytes(),
        ),
        "xml in UTF-16 with a mark" => (
            "Content-Type: application/dicom+xml\r\n".to_owned(),
            wide(&format!("\u{feff}{xml}")),
        ),
        "xml in UTF-16" => (
            "Content-Type: application/dicom+xml; charset=utf-16\r\n".to_owned(),
            wide(&xml),
        ),
        "a part in json" => (
            several.to_owned(),
            parts("application/dicom+json", json.as_bytes()),
        ),
        "a part in xml" => (
            several.replace("json", "xml"),
            parts("application/dicom+xml", &wide(&xml)),
        ),
        _ => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gzip, json.as_bytes()).unwrap();
            (
                "Content-Type: application/dicom+json\r\nContent-Encoding: gzip\r\n".to_owned(),
                gzip.finish().unwrap(),
            )
        }
    }
}

#[test]
fn an_answer_is_read_in_whatever_form_it_is_written() {
    for form in [
        "json with a mark",
        "xml in UTF-16 with a mark",
        "xml in UTF-16",
        "a part in json",
        "a part in xml",
        "gzip",
    ] {
        let url = start_raw(move |head, sent| {
            if head.starts_with("POST") {
                let stored: Vec<String> = (1..=2)
                    .map(|number| uids(1, number).instance)
                    .filter(|uid| sent.contains(uid))
                    .collect();
                let (head, body) = written_otherwise(form, &stored);
                return response_of(200, &head, &body);
            }
            response_of(200, "Content-Type: application/dicom+json\r\n", b"[]")
        });
        let bed = Bed::new();
        bed.write(
            "m.yaml",
            &format!(
                "version: 1\nname: scans\ntargets: {{ t: {{ dicomweb: {{ url: \"{url}\" }} }} }}\nloads: [ {{ name: scans, files: [\"in/*\"] }} ]\n"
            ),
        );
        fs::create_dir(bed.path("in")).unwrap();
        for number in 1..=2 {
            let bytes = written(&uids(1, number).tiny());
            fs::write(bed.path(&format!("in/{number}")), bytes).unwrap();
        }
        let ran = bed.run(&["load", "m.yaml"]).exits(0);
        assert_eq!(bed.count("created"), 2, "{form}: {}{}", ran.out, ran.err);
    }
}

/// A search that finds nothing is answered by a list with nothing in it, by 204, or by 200 without a body.
#[test]
fn a_server_that_holds_nothing_says_so_in_its_own_way() {
    for (search, found) in [(200, "[]"), (204, ""), (200, ""), (200, "\r\n")] {
        let stored = Arc::new(Mutex::new(false));
        let own = Arc::clone(&stored);
        let url = start_raw(move |head, sent| {
            if head.starts_with("POST") {
                // The first answer tells nothing, so that the server is asked; an instance that is not there is sent again.
                let is_first = !std::mem::replace(&mut *own.lock().unwrap(), true);
                if is_first {
                    return response(200, "");
                }
                return store(&Mutex::default(), sent);
            }
            response(search, found)
        });
        let bed = Bed::new();
        bed.write(
            "m.yaml",
            &format!(
                "version: 1\nname: scans\ntargets: {{ t: {{ dicomweb: {{ url: \"{url}\" }}, retry: {{ attempts: 3, base: 1ms, max: 2ms }} }} }}\nloads: [ {{ name: scans, files: [\"in/*\"] }} ]\n"
            ),
        );
        fs::create_dir(bed.path("in")).unwrap();
        fs::write(bed.path("in/1"), written(&uids(1, 1).tiny())).unwrap();
        let planned = bed.run(&["plan", "m.yaml", "--online"]).exits(0);
        assert!(planned.out.contains("create"), "{}", planned.out);
        let ran = bed.run(&["load", "m.yaml"]).exits(0);
        let why = format!("{search} {found:?}: {}{}", ran.out, ran.err);
        assert_eq!(bed.count("created"), 1, "{why}");
        assert!(*stored.lock().unwrap(), "{why}");
    }
}

/// Something else that knows nothing of studies is still named.
#[test]
fn a_server_of_another_kind_is_no_store_of_instances() {
    let outcome =
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}"#;
    for (search, write, body) in [
        (404, 404, ""),
        (404, 400, outcome),
        (400, 200, "<html>"),
        (404, 405, ""),
    ] {
        let url = start_raw(move |head, _| {
            if head.starts_with("POST") {
                return response(write, body);
            }
            response(search, "")
        });
        let bed = Bed::new();
        bed.write(
            "m.yaml",
            &format!(
                "version: 1\nname: scans\ntargets: {{ t: {{ dicomweb: {{ url: \"{url}\" }} }} }}\nloads: [ {{ name: scans, files: [\"in/*\"] }} ]\n"
            ),
        );
        fs::create_dir(bed.path("in")).unwrap();
        fs::write(bed.path("in/1"), written(&uids(1, 1).tiny())).unwrap();
        let ran = bed.run(&["load", "m.yaml"]).exits(4);
        assert!(
            ran.err.contains("when asked for its studies"),
            "{}",
            ran.err
        );
    }
}
