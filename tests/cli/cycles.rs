//! Records that refer to each other, into a store that enforces references and executes no transactions.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use fs_err as fs;
use serde_json::Value;

use super::{bed::Bed, references::Server};

/// What stands before `stoker emulate`: it takes `transaction` out of what the store says of itself, and looks on.
#[derive(Default)]
struct Door {
    /// The request lines that came.
    seen: Mutex<Vec<String>>,
    /// Updates are not let through, and not answered.
    holds_updates: AtomicBool,
    /// Updates are refused.
    refuses_updates: AtomicBool,
}

impl Door {
    /// Opens the door to a store; returns its URL.
    fn open(self: &Arc<Self>, store: &Server) -> String {
        let (address, path) = store.base["http://".len()..].split_once('/').unwrap();
        let address = address.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/{path}", listener.local_addr().unwrap());
        let door = Arc::clone(self);
        // Ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (door, address) = (Arc::clone(&door), address.clone());
                thread::spawn(move || door.pass(stream.unwrap(), &address));
            }
        });
        url
    }

    /// Passes one request on, and its answer back.
    fn pass(&self, stream: TcpStream, address: &str) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let (request, head, body) = message(&mut stream)?;
        assert!(!String::from_utf8_lossy(&body).contains(r#""type":"transaction""#));
        self.seen.lock().unwrap().push(request.clone());
        if request.starts_with("PUT") && self.holds_updates.load(Ordering::Acquire) {
            thread::sleep(Duration::from_mins(1));
            return None;
        }
        if request.starts_with("PUT") && self.refuses_updates.load(Ordering::Acquire) {
            let body = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"business-rule"}]}"#;
            let answer = format!(
                "HTTP/1.1 422 No\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            return stream.get_mut().write_all(answer.as_bytes()).ok();
        }
        let mut store = TcpStream::connect(address).ok()?;
        let head = format!("{request}\r\n{head}Connection: close\r\n\r\n");
        store.write_all(head.as_bytes()).ok()?;
        store.write_all(&body).ok()?;
        let (status, head, body) = message(&mut BufReader::new(store))?;
        let body = String::from_utf8(body).ok()?;
        let body = body.replace(r#"{"code":"transaction"},"#, "");
        let answer = format!(
            "{status}\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(answer.as_bytes()).ok()
    }

    fn count(&self, method: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|line| line.starts_with(method)).count()
    }
}

/// Reads a message: its first line, its head without what concerns the connection, its body.
fn message(stream: &mut BufReader<TcpStream>) -> Option<(String, String, Vec<u8>)> {
    let (mut first, mut head, mut line, mut length) =
        (String::new(), String::new(), String::new(), 0);
    stream.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        line.clear();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "connection" => {}
            _ => head.push_str(&line),
        }
    }
    if first.starts_with("HTTP") {
        head = head.replace("content-length", "x-length");
    } else if length > 0 {
        let line = format!("Content-Length: {length}\r\n");
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first.trim_end().to_owned(), head, body))
}

struct Scene {
    bed: Bed,
    store: Server,
    door: Arc<Door>,
}

impl Scene {
    /// A store behind a door, and a manifest that loads lines into it.
    fn with(lines: &[&str], load: &str) -> Self {
        let bed = Bed::new();
        // The store is made by the first load into it.
        bed.write("none.ndjson", "\n");
        bed.write(
            "made.yaml",
            "version: 1\nname: made\ntargets: { t: { local: { dir: store, store: { enableUpdateCreate: true } } } }\n\
             loads: [ { name: none, files: [none.ndjson] } ]\n",
        );
        let _ = bed.run(&["load", "made.yaml"]).exits(0);
        let store = Server::start(&bed);
        let door = Arc::new(Door::default());
        let url = door.open(&store);
        bed.write("all.ndjson", &lines.join("\n"));
        bed.write(
            "m.yaml",
            &format!(
                "version: 1\nname: cycles\ntargets: {{ t: {{ fhir: {{ url: \"{url}\" }} }} }}\n\
                 loads: [ {{ name: all, target: t, files: [all.ndjson], {load} }} ]\n"
            ),
        );
        Self { bed, store, door }
    }

    /// All resources of a type in the store.
    fn all(&mut self, kind: &str) -> Vec<Value> {
        let found = self
            .store
            .get(&format!("{}/{kind}?_count=100", self.store.base));
        let entries = found["entry"].as_array().into_iter().flatten();
        entries.map(|entry| entry["resource"].clone()).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.store.stop();
    }
}

const BOTH: [&str; 3] = [
    r#"{"resourceType":"Patient","id":"a","link":[{"other":{"reference":"Patient/b"},"type":"seealso"}],"multipleBirthInteger":1}"#,
    r#"{"resourceType":"Patient","id":"b","link":[{"other":{"reference":"Patient/a"},"type":"seealso"}],"multipleBirthInteger":2}"#,
    r#"{"resourceType":"Organization","id":"o","name":"Own","partOf":{"reference":"Organization/o"}}"#,
];

/// Expects the two patients to refer to each other, and the organization to itself.
fn expect_closed(scene: &mut Scene) {
    let patients = scene.all("Patient");
    assert_eq!(patients.len(), 2);
    for (one, other) in [(0, 1), (1, 0)] {
        let id = patients[other]["id"].as_str().unwrap();
        let link = &patients[one]["link"][0];
        assert_eq!(link["other"]["reference"], format!("Patient/{id}"));
        assert_eq!(link["type"], "seealso");
    }
    let organizations = scene.all("Organization");
    let id = organizations[0]["id"].as_str().unwrap();
    assert_eq!(organizations.len(), 1);
    assert_eq!(
        organizations[0]["partOf"]["reference"],
        format!("Organization/{id}")
    );
    assert_eq!(organizations[0]["name"], "Own");
}

#[test]
fn a_cycle_is_created_open_and_then_closed() {
    let mut scene = Scene::with(&BOTH, "interaction: create");
    let planned = scene.bed.run(&["plan", "m.yaml"]).exits(0).out;
    assert!(
        planned.contains("in two steps  2: created without"),
        "{planned}"
    );
    let planned = scene.bed.run(&["plan", "m.yaml", "--json"]).exits(0).out;
    let planned: Value = serde_json::from_str(&planned).unwrap();
    assert_eq!(planned["loads"][0]["two_steps"], 2);
    assert_eq!(planned["references"]["t"]["cycles"], 2);
    let _ = scene.bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(scene.bed.count("created"), 3);
    assert_eq!(scene.bed.count("updated") + scene.bed.count("pending"), 0);
    assert_eq!(scene.door.count("PUT"), 2);
    expect_closed(&mut scene);
}

#[test]
fn with_ids_of_the_file_both_steps_are_updates() {
    let mut scene = Scene::with(&BOTH, "interaction: update");
    let _ = scene.bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(scene.bed.count("created"), 3);
    assert_eq!(scene.door.count("POST"), 0);
    expect_closed(&mut scene);
    let _ = scene.bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(scene.bed.count("created") + scene.bed.count("pending"), 0);
    expect_closed(&mut scene);
}

#[test]
fn a_cycle_of_required_references_cannot_be_loaded() {
    let lines = [
        r#"{"resourceType":"DocumentManifest","id":"a","status":"current","content":[{"reference":"DocumentManifest/b"}]}"#,
        r#"{"resourceType":"DocumentManifest","id":"b","status":"current","content":[{"reference":"DocumentManifest/a"}]}"#,
    ];
    let scene = Scene::with(&lines, "interaction: create");
    let _ = scene.bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(scene.bed.count("unsupported"), 2);
    assert_eq!(scene.door.count("POST"), 0);
    let records = fs::read_to_string(scene.bed.newest_run().join("records.ndjson")).unwrap();
    assert!(
        records.contains("DocumentManifest.content[0].reference"),
        "{records}"
    );
    assert!(records.contains("executes no transactions"), "{records}");
}

/// Killed between the creation and the update, it is not created again.
#[test]
fn a_run_that_is_killed_between_the_steps_goes_on_with_the_second() {
    let mut scene = Scene::with(&BOTH, "interaction: create");
    scene.door.holds_updates.store(true, Ordering::Release);
    let mut child = scene
        .bed
        .command(&["load", "m.yaml", "--progress", "none"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while scene.door.count("PUT") < 2 {
        assert!(child.try_wait().unwrap().is_none());
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(scene.all("Patient").len(), 2);
    let run = scene.bed.newest_run();
    let _ = scene.bed.run(&["report", run.to_str().unwrap()]).exits(1);
    let journal = fs::read_to_string(run.join("journal.ndjson")).unwrap();
    assert!(journal.contains(r#""outcome":"pending""#), "{journal}");
    scene.door.holds_updates.store(false, Ordering::Release);
    let posts = scene.door.count("POST");
    let _ = scene.bed.run(&["resume", run.to_str().unwrap()]).exits(0);
    assert_eq!(scene.door.count("POST"), posts);
    assert_eq!(scene.bed.count("created"), 3);
    expect_closed(&mut scene);
}

/// What the second request comes to is the record's outcome.
#[test]
fn a_record_whose_second_step_is_refused_stands_without_its_reference() {
    let mut scene = Scene::with(&BOTH, "interaction: create");
    scene.door.refuses_updates.store(true, Ordering::Release);
    let _ = scene.bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(
        (scene.bed.count("created"), scene.bed.count("rejected")),
        (1, 2)
    );
    let records = fs::read_to_string(scene.bed.newest_run().join("records.ndjson")).unwrap();
    let stands = "it stands in the store without the references that close its cycle";
    assert_eq!(records.matches(stands).count(), 2, "{records}");
    let organizations = scene.all("Organization");
    assert_eq!(organizations[0]["partOf"], Value::Null);
    let id = organizations[0]["id"].as_str().unwrap();
    assert!(records.contains(id), "{records}");
    // One of the two is whole.
    let patients = scene.all("Patient");
    let whole = patients.iter().filter(|patient| patient["link"].is_array());
    assert_eq!((patients.len(), whole.count()), (2, 1));
    // Nothing is wrong with them: loaded again, they become whole, and nothing comes twice.
    scene.door.refuses_updates.store(false, Ordering::Release);
    let manifest = scene.bed.newest_run().join("rejected/manifest.yaml");
    let _ = scene
        .bed
        .run(&["load", manifest.to_str().unwrap()])
        .exits(0);
    expect_closed(&mut scene);
}
