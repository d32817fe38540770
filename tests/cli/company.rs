//! Instances that travel together in one request, and what its answer tells of each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use fs_err as fs;
use serde_json::json;
use stoker::dicom::sample::SampleInstance;

use super::{bed::Bed, responder::start_raw};
use crate::support::instances::{uids, written};

/// A store: what it holds, by name, and the names of each write that came.
#[derive(Debug, Clone, Default)]
struct Store {
    held: Arc<Mutex<HashMap<String, String>>>,
    writes: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Store {
    fn held(&self) -> Vec<String> {
        let mut held: Vec<String> = self.held.lock().unwrap().keys().cloned().collect();
        held.sort();
        held
    }

    fn writes(&self) -> Vec<Vec<String>> {
        self.writes.lock().unwrap().clone()
    }
}

fn response(status: u16, further: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Any\r\nContent-Type: application/dicom+json\r\nContent-Length: {}\r\nConnection: close\r\n{further}\r\n{body}",
        body.len()
    )
}

/// The names of the instances in a body: the UIDs of study, series and instance, as they stand one behind the other.
fn instances(body: &str) -> Vec<String> {
    let parts = body.split("Content-Type: application/dicom").skip(1);
    let names = parts.map(|part| {
        let uid = |tag: &str| {
            let (_, rest) = part.split_once(tag).unwrap();
            let value: String = rest
                .chars()
                .skip(2)
                .take_while(|sign| sign.is_ascii_digit() || *sign == '.')
                .collect();
            value
        };
        format!(
            "studies/{}/series/{}/instances/{}",
            uid(" \0\r\0UI"),
            uid(" \0\u{e}\0UI"),
            uid("\u{8}\0\u{18}\0UI")
        )
    });
    names.collect()
}

fn uid(name: &str) -> &str {
    name.rsplit('/').next().unwrap()
}

/// Writes the answer of a store: UIDs of what is stored, and of what failed with the reason.
fn told(stored: &[&str], failed: &[(&str, u16)]) -> String {
    let item = |uid: &str| json!({ "00081155": { "vr": "UI", "Value": [uid] } });
    let stored: Vec<_> = stored.iter().map(|uid| item(uid)).collect();
    let failed: Vec<_> = failed
        .iter()
        .map(|(uid, reason)| {
            let mut item = item(uid);
            item["00081197"] = json!({ "vr": "US", "Value": [reason] });
            item
        })
        .collect();
    json!({ "00081199": { "Value": stored }, "00081198": { "Value": failed } }).to_string()
}

/// Starts a DICOMweb server; `write` answers what is stored, and may drop the connection by an empty answer.
fn dicomweb(
    write: impl Fn(&Store, &[String]) -> String + Send + 'static,
    remove: impl Fn(&Store, &str) -> String + Send + 'static,
) -> (Store, String) {
    let store = Store::default();
    let own = store.clone();
    let url = start_raw(move |head, body| {
        let line = head.lines().next().unwrap_or_default();
        let path = line.split(' ').nth(1).unwrap_or_default();
        let name = path
            .trim_start_matches("/fhir/")
            .trim_end_matches("/metadata");
        if line.starts_with("POST") {
            let names = instances(body);
            own.writes.lock().unwrap().push(names.clone());
            return write(&own, &names);
        }
        if line.starts_with("DELETE") {
            return remove(&own, name);
        }
        if !path.ends_with("/metadata") {
            return response(200, "", "[]");
        }
        if !own.held.lock().unwrap().contains_key(name) {
            return response(404, "", "");
        }
        let parts: Vec<&str> = name.split('/').collect();
        let value = |uid: &str| json!({ "vr": "UI", "Value": [uid] });
        let set = json!([{
            "0020000D": value(parts[1]), "0020000E": value(parts[3]), "00080018": value(parts[5]),
        }]);
        response(200, "", &set.to_string())
    });
    (store, url)
}

fn no_removal(_: &Store, _: &str) -> String {
    response(405, "", "")
}

/// Takes all of a request.
fn take(store: &Store, names: &[String]) -> String {
    let mut held = store.held.lock().unwrap();
    held.extend(names.iter().map(|name| (name.clone(), String::new())));
    let uids: Vec<&str> = names.iter().map(|name| uid(name)).collect();
    response(200, "", &told(&uids, &[]))
}

fn bed(url: &str, target: &str, load: &str) -> Bed {
    let bed = Bed::new();
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: scans\ntargets: {{ t: {{ dicomweb: {{ url: \"{url}\" }}{target} }} }}\nloads: [ {{ name: scans, files: [\"in/*\"]{load} }} ]\n"
        ),
    );
    fs::create_dir(bed.path("in")).unwrap();
    bed
}

fn put(bed: &Bed, number: u32) {
    let bytes = written(&uids(1, number).tiny());
    fs::write(bed.path(&format!("in/{number:02}")), bytes).unwrap();
}

const FEW: &str = ", retry: { attempts: 2, base: 1ms, max: 2ms }";

const OUTCOMES: [&str; 5] = ["created", "updated", "matched", "rejected", "unknown"];

/// A text without its line breaks.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn counts(bed: &Bed) -> [u64; 5] {
    OUTCOMES.map(|outcome| bed.count(outcome))
}

/// A server that takes the first of a SOP Instance UID, says so, and refuses the second in the same answer.
#[test]
fn instances_of_one_uid_never_travel_together_and_none_is_lost_in_silence() {
    let (store, url) = dicomweb(
        |store, names| {
            let mut held = store.held.lock().unwrap();
            let (mut stored, mut failed) = (Vec::new(), Vec::new());
            for name in names {
                if held.keys().any(|other| uid(other) == uid(name)) {
                    failed.push((uid(name), 0x0111));
                } else {
                    held.insert(name.clone(), String::new());
                    stored.push(uid(name));
                }
            }
            let status = if stored.is_empty() { 409 } else { 202 };
            response(status, "", &told(&stored, &failed))
        },
        no_removal,
    );
    let bed = bed(&url, FEW, "");
    for number in 1..=3 {
        put(&bed, number);
    }
    let uids = uids(1, 2);
    let twin = SampleInstance {
        series: "1.2.1.2",
        columns: 4,
        ..uids.tiny()
    };
    fs::write(bed.path("in/04"), written(&twin)).unwrap();
    for verb in ["check", "plan"] {
        let ran = bed.run(&[verb, "m.yaml"]);
        let words = "its SOP Instance UID is also that of another instance";
        assert!(
            ran.out.contains(words) || ran.err.contains(words),
            "{verb}: {}{}",
            ran.out,
            ran.err
        );
    }
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(counts(&bed), [3, 0, 0, 1, 0], "{}", ran.out);
    for write in store.writes() {
        let mut uids: Vec<&str> = write.iter().map(|name| uid(name)).collect();
        uids.sort_unstable();
        uids.dedup();
        assert_eq!(uids.len(), write.len(), "{write:?}");
    }
    assert!(
        flat(&ran.out).contains("in the study and series of this one"),
        "{}",
        ran.out
    );
}

/// A server whose answer contradicts itself is asked before it is believed.
#[test]
fn an_instance_in_both_lists_is_asked_about() {
    let (_, url) = dicomweb(
        |store, names| {
            let uids: Vec<&str> = names.iter().map(|name| uid(name)).collect();
            // The second is there, and the first is not.
            store
                .held
                .lock()
                .unwrap()
                .insert(names[1].clone(), String::new());
            response(
                202,
                "",
                &told(&uids, &[(uids[0], 0xC000), (uids[1], 0xC000)]),
            )
        },
        no_removal,
    );
    let bed = bed(&url, FEW, "");
    put(&bed, 1);
    put(&bed, 2);
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(counts(&bed), [1, 0, 0, 1, 0], "{}", ran.out);
    assert!(flat(&ran.out).contains("cannot understand"), "{}", ran.out);
}

#[test]
fn what_is_stored_under_other_uids_is_not_sent_again() {
    let (store, url) = dicomweb(
        |_, names| {
            let others: Vec<String> = names
                .iter()
                .map(|name| format!("{}.9", uid(name)))
                .collect();
            let others: Vec<&str> = others.iter().map(String::as_str).collect();
            response(200, "", &told(&others, &[]))
        },
        no_removal,
    );
    let bed = bed(&url, FEW, "");
    put(&bed, 1);
    put(&bed, 2);
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(counts(&bed), [0, 0, 0, 0, 2], "{}", ran.out);
    assert_eq!(store.writes().len(), 1);
    assert!(flat(&ran.out).contains("under other names"), "{}", ran.out);
    assert!(!flat(&ran.out).contains("does no harm"), "{}", ran.out);
    // Nor by what comes later, unless somebody says so.
    for verb in ["verify", "resume"] {
        let _ = bed.run(&[verb, bed.newest_run().to_str().unwrap()]);
    }
    assert_eq!(store.writes().len(), 1);
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    let words = "plan: 0 records to send, 0 records that cannot be loaded, 2 under other names";
    assert!(ran.out.contains(words), "{}", ran.out);
    for _ in 0..2 {
        let ran = bed.run(&["load", "m.yaml"]).exits(1);
        assert_eq!(counts(&bed), [0, 0, 0, 0, 2], "{}", ran.out);
        assert_eq!(store.writes().len(), 1);
        let said = flat(&format!("{}{}", ran.out, ran.err));
        let words = "stored 2 under other names than were sent, and they are not sent again";
        assert!(said.contains(words), "{said}");
    }
    bed.run(&["load", "m.yaml", "--fresh"]).exits(1);
    assert_eq!(store.writes().len(), 2);
}

#[test]
fn what_the_head_of_an_answer_says_is_kept_with_its_words() {
    let (_, url) = dicomweb(
        |_, names| {
            let failed: Vec<(&str, u16)> = names.iter().map(|name| (uid(name), 0xA900)).collect();
            let mut body: serde_json::Value = serde_json::from_str(&told(&[], &failed)).unwrap();
            body["0008119A"] =
                json!({ "Value": [ { "00081197": { "vr": "US", "Value": [0xA701] } } ] });
            response(
                409,
                "Warning: 299 pacs: \"Planted rule\"\r\n",
                &body.to_string(),
            )
        },
        no_removal,
    );
    let bed = bed(&url, FEW, "");
    put(&bed, 1);
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert!(!ran.out.contains("Planted") && !ran.err.contains("Planted"));
    assert!(
        flat(&ran.out).contains("does not match its SOP class"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("duplicates"), "{}", ran.out);
    let answers = bed.newest_run().join("rejected/answers.ndjson");
    let answers = fs::read_to_string(answers).unwrap();
    assert!(
        answers.contains("Planted rule") && answers.contains("0008119A"),
        "{answers}"
    );
    let run = bed.newest_run();
    let ran = bed.run(&["report", run.to_str().unwrap(), "--show-content"]);
    assert!(flat(&ran.out).contains("Planted rule"), "{}", ran.out);
}

/// A server that removes only after it has said that it will.
#[test]
fn what_is_removed_later_is_waited_for() {
    let (store, url) = dicomweb(
        |store, names| {
            let held = store.held.lock().unwrap();
            let is_there = |name: &&String| held.contains_key(*name);
            let failed: Vec<(&str, u16)> = names
                .iter()
                .filter(is_there)
                .map(|name| (uid(name), 0x0111))
                .collect();
            drop(held);
            if failed.is_empty() {
                return take(store, names);
            }
            response(409, "", &told(&[], &failed))
        },
        |store, name| {
            let (held, name) = (Arc::clone(&store.held), name.to_owned());
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(700));
                held.lock().unwrap().remove(&name);
            });
            response(202, "", "")
        },
    );
    let bed = bed(&url, FEW, ", duplicates: replace");
    put(&bed, 1);
    let name = "studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1";
    store
        .held
        .lock()
        .unwrap()
        .insert(name.to_owned(), "old".to_owned());
    let ran = bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(counts(&bed), [0, 1, 0, 0, 0], "{}", ran.out);
    assert_eq!(store.held(), [name]);
}
