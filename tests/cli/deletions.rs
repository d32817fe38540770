//! Servers that answer deletions oddly: what is not proven to be gone is not said to be.

use std::{
    collections::BTreeMap,
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    bed::{Bed, Ran},
    responder::{response, start_raw},
    unload::unload,
};

const METADATA: &str = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{"mode":"server","interaction":[{"code":"batch"}]}]}"#;
pub(super) const MISSING: &str =
    r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found"}]}"#;
const PAGE: &str = "<html>nothing here</html>";

/// A request of the server under test: its line's words, its `If-Match`, its body.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) if_match: Option<&'a str>,
}

/// The resources of a server, each with its version.
#[derive(Default)]
pub(super) struct Held(pub(super) BTreeMap<String, u32>);

impl Held {
    fn read(&self, path: &str) -> String {
        match (self.0.get(path), path.split_once('/')) {
            (Some(version), Some((kind, id))) => response(
                "200 OK",
                &format!("ETag: W/\"{version}\"\r\n"),
                &format!(
                    r#"{{"resourceType":"{kind}","id":"{id}","meta":{{"versionId":"{version}"}}}}"#
                ),
            ),
            _ => response("404 Not Found", "", MISSING),
        }
    }

    /// Deletes as the standard has it.
    pub(super) fn delete(&mut self, asked: &Asked<'_>) -> String {
        let held = self.0.get(asked.path);
        if let (Some(wanted), Some(version)) = (asked.if_match, held)
            && wanted != format!("W/\"{version}\"")
        {
            return response("412 Precondition Failed", "", MISSING);
        }
        self.0.remove(asked.path);
        response("204 No Content", "", "")
    }
}

/// Starts a server that takes everything, and answers as a test says where it says something. Returns a folder in which three
/// patients were loaded into it, and the requests that came.
pub(super) fn loaded(
    answer: impl Fn(&mut Held, &Asked<'_>) -> Option<String> + Send + 'static,
) -> (Bed, Arc<Mutex<Held>>) {
    let held = Arc::new(Mutex::new(Held::default()));
    let kept = Arc::clone(&held);
    let url = start_raw(move |head, _| {
        let mut words = head.split([' ', '\n']);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let if_match = head
            .lines()
            .find_map(|line| line.strip_prefix("if-match: "));
        let path = path.trim_start_matches("/fhir").trim_matches('/');
        let asked = Asked {
            method,
            path,
            if_match,
        };
        let mut held = kept.lock().unwrap();
        if let Some(answer) = answer(&mut held, &asked) {
            return answer;
        }
        match method {
            "GET" if path == "metadata" => response("200 OK", "", METADATA),
            "GET" => held.read(path),
            "PUT" => {
                *held.0.entry(path.to_owned()).or_default() += 1;
                let told = held.read(path);
                match held.0.get(path) {
                    Some(1) => told.replace("200 OK", "201 Created"),
                    _ => told,
                }
            }
            _ => held.delete(&asked),
        }
    });
    let bed = Bed::new();
    let lines = (0..3).map(|n| format!(r#"{{"resourceType":"Patient","id":"p{n}"}}"#));
    bed.write("p.ndjson", &lines.collect::<Vec<_>>().join("\n"));
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: t\ntargets:\n  t: {{ fhir: {{ url: \"{url}\" }}, retry: {{ attempts: 3, base: 1ms, max: 5ms }}, give_up_after: 2s }}\n\
             loads:\n  - {{ name: l, files: [p.ndjson], interaction: update, bundle: none }}\n"
        ),
    );
    let _ = bed.run(&["load", "m.yaml", "--progress", "none"]).exits(0);
    assert_eq!(held.lock().unwrap().0.len(), 3);
    (bed, held)
}

pub(super) fn outcomes(ran: &Ran) -> Vec<(String, u64)> {
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let outcomes = report["outcomes"].as_object().unwrap();
    let counts = outcomes
        .iter()
        .map(|(word, count)| (word.clone(), count.as_u64().unwrap()));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn ended(bed: &Bed, more: &[&str], code: i32) -> (Vec<(String, u64)>, Ran) {
    let ran = unload(
        bed,
        &bed.newest_run(),
        &[&["--yes", "--json"], more].concat(),
    )
    .exits(code);
    (outcomes(&ran), ran)
}

fn is(word: &str, count: u64) -> (String, u64) {
    (word.to_owned(), count)
}

#[test]
fn what_a_server_promises_to_delete_is_looked_for() {
    // It does so while it is asked for the second time.
    let reads = Mutex::new(0);
    let (bed, held) = loaded(move |held, asked| match asked.method {
        "DELETE" => {
            *reads.lock().unwrap() = 0;
            Some(response("202 Accepted", "", ""))
        }
        "GET" if asked.path.starts_with("Patient/p0") => {
            let mut reads = reads.lock().unwrap();
            *reads += 1;
            if *reads > 2 {
                held.0.remove(asked.path);
            }
            None
        }
        "GET" if asked.path.starts_with("Patient/") => None,
        _ => None,
    });
    // Those that it does not delete have to be gone for the end of the test: by hand, while it waits.
    let others = Arc::clone(&held);
    let waiting = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(2));
        others
            .lock()
            .unwrap()
            .0
            .retain(|path, _| path == "Patient/p0");
    });
    let (counts, ran) = ended(&bed, &[], 0);
    waiting.join().unwrap();
    assert_eq!(counts, [is("deleted", 3)], "{}", ran.out);
    assert!(held.lock().unwrap().0.is_empty());
}

#[test]
fn what_is_said_to_be_gone_and_is_there_stays() {
    for more in [&[][..], &["--changed"]] {
        let (bed, held) = loaded(|_, asked| {
            (asked.method == "DELETE").then(|| response("404 Not Found", "", MISSING))
        });
        let (counts, ran) = ended(&bed, more, 1);
        assert_eq!(counts, [is("refused", 3)], "{}", ran.out);
        assert!(ran.out.contains("has it still"), "{}", ran.out);
        assert_eq!(held.lock().unwrap().0.len(), 3);
    }
}

#[test]
fn who_misses_everything_proves_nothing() {
    let is_over = Arc::new(Mutex::new(None));
    let over = Arc::clone(&is_over);
    let (bed, _) = loaded(move |_, asked| {
        let page = over.lock().unwrap().filter(|_| asked.path != "metadata");
        page.map(|page| response("404 Not Found", "", page))
    });
    // A gateway's words are no page, and a server at another address speaks the protocol.
    let pages = [PAGE, r#"{"message":"no Route matched"}"#, MISSING];
    for (page, more) in pages
        .into_iter()
        .flat_map(|page| [(page, &[][..]), (page, &["--changed"])])
    {
        *is_over.lock().unwrap() = Some(page);
        let (counts, ran) = ended(&bed, more, 1);
        assert_eq!(counts, [is("refused", 3)], "{}", ran.out);
        assert!(ran.out.contains("a proxy may have answered"), "{}", ran.out);
    }
    *is_over.lock().unwrap() = None;
    let (counts, _) = ended(&bed, &[], 0);
    assert_eq!(counts, [is("deleted", 3)]);
}

#[test]
fn a_bare_miss_is_believed_where_a_search_finds_nothing_either() {
    let (bed, _) = loaded(|held, asked| {
        let is_hidden = asked.method == "GET" && asked.path.starts_with("Patient/");
        if asked.path.contains('?') {
            let empty = r#"{"resourceType":"Bundle","type":"searchset","total":0}"#;
            return Some(response("200 OK", "", empty));
        }
        (is_hidden && !held.0.contains_key(asked.path)).then(|| response("404 Not Found", "", ""))
    });
    let run = bed.newest_run();
    let (counts, ran) = ended(&bed, &["--changed"], 0);
    assert_eq!(counts, [is("deleted", 3)], "{}", ran.out);
    // Its journal lost, they are found to be gone.
    fs_err::remove_file(run.join("unload.ndjson")).unwrap();
    let (counts, ran) = ended(&bed, &[], 0);
    assert_eq!(counts, [is("gone", 3)], "{}", ran.out);
}

#[test]
fn a_change_between_the_look_and_the_deletion_is_not_lost() {
    let (bed, held) = loaded(|held, asked| {
        if asked.method == "DELETE" && asked.path == "Patient/p1" {
            *held.0.get_mut(asked.path).unwrap() += 1;
        }
        assert!(asked.method != "DELETE" || asked.if_match.is_some());
        None
    });
    let (counts, ran) = ended(&bed, &[], 1);
    assert_eq!(counts, [is("changed", 1), is("deleted", 2)], "{}", ran.out);
    assert_eq!(held.lock().unwrap().0.len(), 1);
}

#[test]
fn a_server_that_takes_no_condition_on_a_deletion_deletes_without() {
    let (bed, held) = loaded(|_, asked| {
        let is_conditional = asked.method == "DELETE" && asked.if_match.is_some();
        is_conditional.then(|| response("412 Precondition Failed", "", MISSING))
    });
    let (counts, ran) = ended(&bed, &[], 0);
    assert_eq!(counts, [is("deleted", 3)], "{}", ran.out);
    assert!(held.lock().unwrap().0.is_empty());
}

#[test]
fn a_batch_that_fails_as_a_whole_goes_one_by_one() {
    let batches = Arc::new(AtomicU32::new(0));
    for status in ["500 Broken", "400 Bad Request", "404 Not Found"] {
        let seen = Arc::clone(&batches);
        let (bed, held) = loaded(move |_, asked| {
            (asked.method == "POST").then(|| {
                seen.fetch_add(1, Ordering::SeqCst);
                response(status, "", MISSING)
            })
        });
        let (counts, ran) = ended(&bed, &[], 0);
        assert_eq!(counts, [is("deleted", 3)], "{}", ran.out);
        assert!(held.lock().unwrap().0.is_empty());
        assert!(batches.swap(0, Ordering::SeqCst) > 1, "{status}");
    }
}

#[test]
fn a_deletion_that_always_fails_comes_to_an_end() {
    let (bed, held) = loaded(|_, asked| match asked.method {
        "DELETE" | "POST" => Some(response("500 Broken", "", MISSING)),
        _ => None,
    });
    let (counts, ran) = ended(&bed, &[], 1);
    assert_eq!(counts, [is("refused", 3)], "{}", ran.out);
    assert!(
        ran.out.contains("however often it was tried"),
        "{}",
        ran.out
    );
    assert_eq!(held.lock().unwrap().0.len(), 3);
}

/// Starts the binary in a folder, with nothing on its terminal.
fn started(bed: &Bed, arguments: &[&str]) -> Child {
    let mut command = bed.command(arguments);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends a process what Ctrl-C sends, and expects that it ends soon.
fn interrupted(mut child: Child) -> Ran {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(10), "it goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ran::of(child.wait_with_output().unwrap())
}

fn wait_for(what: &AtomicBool) {
    let began = Instant::now();
    while !what.load(Ordering::SeqCst) {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody asked");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_interruption_while_a_server_does_not_say_what_it_is_ends_at_once() {
    let (is_slow, is_asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (slow, asked) = (Arc::clone(&is_slow), Arc::clone(&is_asked));
    let (bed, held) = loaded(move |_, request| {
        if slow.load(Ordering::SeqCst) && request.path == "metadata" {
            asked.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_secs(15));
        }
        None
    });
    is_slow.store(true, Ordering::SeqCst);
    let run = bed.newest_run();
    let child = started(&bed, &["unload", run.to_str().unwrap(), "--yes"]);
    wait_for(&is_asked);
    let ran = interrupted(child).exits(130);
    assert!(ran.err.contains("interrupted"), "{}", ran.err);
    assert!(!run.join("unload.ndjson").exists());
    // The server is still asleep over the question.
    drop(held);
}

#[test]
fn an_interruption_of_a_question_ends_at_once() {
    let bed = Bed::new();
    bed.write("p.ndjson", r#"{"resourceType":"Patient","id":"p"}"#);
    bed.write(
        "m.yaml",
        "version: 1\nname: own\ntargets: { t: { local: mine } }\nloads: [ { name: l, target: t, files: [p.ndjson], interaction: update } ]\n",
    );
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let mut child = started(&bed, &["reset", "m.yaml", "--yes", "--stores"]);
    let mut said = String::new();
    let err = child.stderr.as_mut().unwrap();
    while !said.contains("to go on: ") {
        let mut byte = [0];
        assert_eq!(std::io::Read::read(err, &mut byte).unwrap(), 1, "{said}");
        said.push(char::from(byte[0]));
    }
    let ran = interrupted(child).exits(130);
    assert!(ran.err.contains("the store was not deleted"), "{}", ran.err);
    assert!(bed.path("mine").exists());
}

#[test]
fn what_is_to_be_deleted_is_told_to_programs() {
    let (bed, held) = loaded(|_, _| None);
    let run = bed.newest_run();
    let ran = unload(&bed, &run, &["--dry-run", "--json"]).exits(0);
    let plan: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(plan["records"], 3, "{plan}");
    assert_eq!(plan["targets"]["t"]["Patient"], 3, "{plan}");
    assert_eq!(held.lock().unwrap().0.len(), 3);
}

#[test]
fn what_one_run_created_and_the_next_one_changed_is_reset() {
    let (bed, held) = loaded(|_, _| None);
    let edited = |number: u32| {
        let lines = (0..3).map(|n| match n {
            1 => {
                format!(r#"{{"resourceType":"Patient","id":"p1","multipleBirthInteger":{number}}}"#)
            }
            n => format!(r#"{{"resourceType":"Patient","id":"p{n}"}}"#),
        });
        bed.write("p.ndjson", &lines.collect::<Vec<_>>().join("\n"));
        let _ = bed.run(&["load", "m.yaml", "--progress", "none"]).exits(0);
        assert_eq!(bed.count("updated"), 1);
    };
    edited(1);
    edited(2);
    // Somebody else's.
    held.lock().unwrap().0.insert("Patient/mine".to_owned(), 1);
    *held.lock().unwrap().0.get_mut("Patient/p2").unwrap() += 1;
    let shown = bed.run(&["reset", "m.yaml", "--dry-run"]).exits(0);
    assert!(!shown.out.contains("updated"), "{}", shown.out);
    let ran = bed.run(&["reset", "m.yaml", "--yes"]).exits(1);
    let left: Vec<String> = held.lock().unwrap().0.keys().cloned().collect();
    assert_eq!(left, ["Patient/mine", "Patient/p2"], "{}", ran.out);
    let _ = bed.run(&["reset", "m.yaml", "--yes", "--changed"]).exits(0);
    assert_eq!(held.lock().unwrap().0.len(), 1);
    // A load after that knows that they are gone.
    let _ = bed.run(&["load", "m.yaml", "--progress", "none"]).exits(0);
    assert_eq!((bed.count("created"), held.lock().unwrap().0.len()), (3, 4));
}

#[test]
fn a_run_that_is_read_stays_and_who_watches_is_told() {
    let (is_slow, is_asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (slow, asked) = (Arc::clone(&is_slow), Arc::clone(&is_asked));
    let (bed, _) = loaded(move |_, request| {
        if slow.load(Ordering::SeqCst) && request.path.starts_with("Patient/") {
            asked.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_secs(1));
        }
        None
    });
    is_slow.store(true, Ordering::SeqCst);
    let run = bed.newest_run();
    let name = run.to_str().unwrap();
    for (verb, said) in [
        (&["verify", name][..], "is being verified"),
        (&["unload", name, "--yes"], "is being unloaded"),
    ] {
        is_asked.store(false, Ordering::SeqCst);
        let child = started(&bed, verb);
        wait_for(&is_asked);
        let watched = bed.run(&["watch", name]).exits(0);
        assert!(watched.err.contains(said), "{}", watched.err);
        let pruned = bed.run(&["runs", "prune", "--keep", "0"]).exits(0);
        assert!(pruned.out.contains("kept "), "{}", pruned.out);
        let _ = Ran::of(child.wait_with_output().unwrap()).exits(0);
    }
    let pruned = bed.run(&["runs", "prune", "--keep", "0"]).exits(0);
    assert!(pruned.out.contains("removed "), "{}", pruned.out);
}
