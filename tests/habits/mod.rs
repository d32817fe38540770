//! Loads real data into servers that differ by table, and compares what they hold with what was meant.
//!
//! `habit` says in which ways a server can be its own, `rows` lists servers; `server`, `store`, `bundle` and `answer` are
//! the server, in this process, over HTTP. Each row is loaded by update, by create and by the Bundles of the set. In the end
//! the store holds just what was meant, read without any of Stoker's code, or the outcomes say what it does not hold.
//!
//! A part of the set is loaded, or with `STOKER_SMOKE=all` all of it:
//!
//! ```text
//! STOKER_SMOKE=all cargo test --release --test tests habits
//! ```

mod answer;
mod bundle;
pub(crate) mod habit;
pub(crate) mod rows;
mod said;
pub(crate) mod server;
mod set;
mod store;

use fs_err as fs;
use serde_json::Value;

use self::{
    habit::{Answer, Habits},
    rows::{ROWS, STANDARD},
    server::Server,
    set::Set,
};
use crate::killed::store::colours;

/// How the set is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Update,
    Create,
    Bundles,
}

/// A folder with what a run left.
struct Bed {
    folder: tempfile::TempDir,
}

/// What a load came to.
struct Loaded {
    code: i32,
    /// The lines of `records.ndjson`.
    records: Vec<Value>,
    report: Value,
    text: String,
}

impl Bed {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn load(&self, url: &str, loads: &str) -> Loaded {
        let manifest = format!(
            "version: 1\nname: habits\ntargets:\n  s:\n    fhir: {{ url: \"{url}\" }}\n    \
             retry: {{ attempts: 20, base: 20ms, max: 200ms }}\n    give_up_after: 20s\nloads:\n{loads}"
        );
        self.write("m.yaml", &manifest);
        let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("stoker"))
            .env_clear()
            .current_dir(self.folder.path())
            .args(["load", "m.yaml", "--progress", "none"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let runs = fs::read_dir(self.folder.path().join(".stoker/runs"));
        let run = runs.unwrap_or_else(|e| panic!("{e}\n{text}")).last();
        let run = run.unwrap().unwrap().path();
        let records = fs::read_to_string(run.join("records.ndjson")).unwrap();
        let report = fs::read_to_string(run.join("report.json")).unwrap();
        Loaded {
            code: output.status.code().unwrap(),
            records: records
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            report: serde_json::from_str(&report).unwrap(),
            text,
        }
    }
}

impl Loaded {
    fn count(&self, outcomes: &[&str]) -> u64 {
        let of = |outcome: &&str| self.report["outcomes"][*outcome].as_u64().unwrap();
        outcomes.iter().map(of).sum()
    }
}

/// Loads the set into a server in one way.
fn load(set: &Set, habits: &Habits, way: Way) -> (Server, Loaded) {
    let server = Server::start(habits);
    let bed = Bed::new();
    let loads = match way {
        Way::Bundles => {
            for (name, text) in &set.bundles {
                bed.write(&format!("data/{name}"), text);
            }
            "  - { name: hospitals, target: s, files: [data/0-hosp*] }\n  \
             - { name: practitioners, target: s, after: [hospitals], files: [data/0-prac*] }\n  \
             - { name: patients, target: s, after: [practitioners], files: [data/*.json, '!data/0-*'] }\n"
                .to_owned()
        }
        Way::Update | Way::Create => {
            for (kind, text) in &set.ndjson {
                bed.write(&format!("data/{kind}.ndjson"), text);
            }
            let interaction = if way == Way::Update {
                "update"
            } else {
                "create"
            };
            format!(
                "  - {{ name: all, target: s, files: [data/*.ndjson], interaction: {interaction}, bundle: {{ max_entries: 40 }} }}\n"
            )
        }
    };
    let loaded = bed.load(&server.url, &loads);
    (server, loaded)
}

/// Compares what a server holds with what the outcomes say.
fn holds(set: &Set, way: Way, server: &Server, loaded: &Loaded) -> Result<(), String> {
    let contents = server.contents();
    let well = loaded.count(&["created", "updated", "unchanged", "matched", "duplicate"]);
    let unknown = loaded.count(&["unknown"]);
    let total = loaded.report["records"].as_u64().unwrap();
    if total != set.meant.len() as u64 {
        return Err(format!("{total} records of {}", set.meant.len()));
    }
    if (loaded.code == 0) != (well == total) {
        return Err(format!("exit {} with {well} of {total}", loaded.code));
    }
    if well == total {
        // Where the store gives the ids, everything is known by its content and by what it refers to.
        let is_same = match way {
            Way::Update => contents == set.meant,
            Way::Create | Way::Bundles => colours(contents) == colours(set.meant.clone()),
        };
        return is_same
            .then_some(())
            .ok_or_else(|| "the contents differ".to_owned());
    }
    // What is not loaded is said record by record; what is said to be loaded is there.
    // What a condition finds may have been created just before, by a request whose answer told too little.
    let held = contents.len() as u64;
    let matched = loaded.count(&["matched"]);
    let created = well - matched;
    if !(created..=created + matched + unknown).contains(&held) {
        return Err(format!(
            "{held} are there, {created} loaded, {matched} matched, {unknown} unknown"
        ));
    }
    for record in &loaded.records {
        let outcome = record["outcome"].as_str().unwrap();
        let is_well = matches!(outcome, "created" | "updated" | "unchanged" | "matched");
        if !is_well && record["note"].is_null() && record["code"].is_null() {
            return Err(format!("nothing says why: {record}"));
        }
        if let Some(id) = record["id"].as_str() {
            let name = format!("{}/{id}", record["type"].as_str().unwrap());
            if is_well && !contents.contains_key(&name) {
                return Err(format!("{name} is not there: {record}"));
            }
        }
    }
    Ok(())
}

/// Which ways of loading leave something out at which server, because of what that server cannot do. What is left out
/// stands in the outcomes; anything else has to arrive.
fn is_partial(habits: &Habits, way: Way) -> bool {
    // Which create an answer is about is not told.
    let mumbles = matches!(
        habits.answer,
        Answer::ExtraLast | Answer::NoResponse | Answer::Html
    );
    let mumbles = mumbles || habits.order == habit::Order::Reversed;
    // A create whose answer is lost may not be sent again.
    let loses = matches!(habits.throttle, habit::Throttle::Lost(..));
    match way {
        // An id that is not there is not put.
        Way::Update => !habits.upsert,
        Way::Create => mumbles || loses,
        // Transactions are not taken, or are too large.
        Way::Bundles => {
            let is_too_large = habits.entries.is_some_and(|(most, _)| most < 200);
            mumbles || loses || is_too_large || !habits.takes.contains(&"transaction")
        }
    }
}

/// Loads the set into every server in one way.
fn every_row(way: Way) {
    let Some(set) = Set::read() else {
        return;
    };
    let wanted = only();
    let mut wrong = Vec::new();
    for habits in ROWS {
        if wanted.as_ref().is_some_and(|wanted| wanted != habits.name) {
            continue;
        }
        let (server, loaded) = load(&set, habits, way);
        let verdict = holds(&set, way, &server, &loaded);
        let verdict = verdict.and_then(|()| {
            if loaded.code == 0 || is_partial(habits, way) {
                Ok(())
            } else {
                Err("not all is loaded".to_owned())
            }
        });
        if let Err(why) = verdict {
            wrong.push(format!(
                "{}, by {way:?}: {why}\n{}",
                habits.name, loaded.text
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Which row alone is loaded: `STOKER_HABITS` names it.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no `cli` that reads the environment for them"
)]
fn only() -> Option<String> {
    std::env::var("STOKER_HABITS").ok()
}

#[test]
fn every_server_takes_the_set_by_update() {
    every_row(Way::Update);
}

#[test]
fn every_server_takes_the_set_by_create() {
    every_row(Way::Create);
}

#[test]
fn every_server_takes_the_bundles_of_the_set() {
    every_row(Way::Bundles);
}

#[test]
fn rows_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), ROWS.len());
    assert!(names.contains(STANDARD.name));
}

/// Where each update names the version that it replaces, each is read once: also where Bundles are refused as a whole, and
/// their parts go again.
#[test]
fn a_version_is_read_once_however_often_its_bundle_is_taken_apart() {
    let habits = Habits {
        if_match: habit::IfMatch {
            stale: 412,
            missing: Some(412),
        },
        entries: Some((7, 400)),
        ..STANDARD
    };
    let server = Server::start(&habits);
    let bed = Bed::new();
    let lines: Vec<String> = (0..200)
        .map(|n| format!(r#"{{"resourceType":"Patient","id":"p{n}","active":true}}"#))
        .collect();
    bed.write("data/p.ndjson", &lines.join("\n"));
    for n in (0..200).step_by(2) {
        server.put(&serde_json::json!({ "resourceType": "Patient", "id": format!("p{n}") }));
    }
    let loads = "  - { name: all, target: s, files: [data/*.ndjson], interaction: update, bundle: { type: batch, max_entries: 40 } }\n  \
                 - { name: one, target: s, files: [data/*.json], interaction: update }\n";
    bed.write("data/q.json", r#"{"resourceType":"Patient","id":"q"}"#);
    let loaded = bed.load(&server.url, loads);
    assert_eq!(loaded.code, 0, "{}", loaded.text);
    let reads = loaded.report["requests"]["reads"].as_u64().unwrap();
    assert_eq!(reads, 201, "{reads} reads\n{}", loaded.text);
    let said = loaded.text.matches("only with the version").count();
    assert_eq!(said, 1, "{}", loaded.text);
}

/// Where a batch has the status of an entry that failed, its other entries are there all the same, and are not sent again.
#[test]
fn a_batch_with_the_status_of_a_failed_entry_is_read_entry_by_entry() {
    for batch_status in [400, 409, 422, 500] {
        let habits = Habits {
            batch_status,
            integrity: Some(422),
            ..STANDARD
        };
        let server = Server::start(&habits);
        let bed = Bed::new();
        let patient = |n| format!(r#"{{"resourceType":"Patient","id":"p{n}","active":true}}"#);
        let mut lines: Vec<String> = (0..20).map(patient).collect();
        lines.insert(
            7,
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/elsewhere"}}"#
                .to_owned(),
        );
        bed.write("data/p.ndjson", &lines.join("\n"));
        let loads = "  - { name: all, target: s, files: [data/*.ndjson], interaction: create, bundle: { type: batch, max_entries: 40 } }\n";
        let loaded = bed.load(&server.url, loads);
        let counts = (loaded.count(&["created"]), loaded.count(&["rejected"]));
        assert_eq!(counts, (20, 1), "{batch_status}: {}", loaded.text);
        assert_eq!(server.contents().len(), 20, "{batch_status}");
    }
}

/// Where a server answers what it created in another order than it was sent in, references lead to what was meant all the same.
#[test]
fn references_hold_where_creates_are_answered_in_another_order() {
    for order in [
        habit::Order::Request,
        habit::Order::Reversed,
        habit::Order::Rotated,
    ] {
        let habits = Habits { order, ..STANDARD };
        let server = Server::start(&habits);
        let bed = Bed::new();
        let patients: Vec<String> = (0..30)
            .map(|n| format!(r#"{{"resourceType":"Patient","id":"p{n}","language":"x-{n}"}}"#))
            .collect();
        let observations: Vec<String> = (0..30)
            .map(|n| {
                format!(
                    r#"{{"resourceType":"Observation","id":"o{n}","language":"x-{n}","subject":{{"reference":"Patient/p{n}"}}}}"#
                )
            })
            .collect();
        bed.write("data/p.ndjson", &patients.join("\n"));
        bed.write("data/o.ndjson", &observations.join("\n"));
        let loads = "  - { name: p, target: s, files: [data/p.ndjson], interaction: create, bundle: { type: batch, max_entries: 10 } }\n  \
                     - { name: o, target: s, after: [p], files: [data/o.ndjson], interaction: create, bundle: { type: batch, max_entries: 10 } }\n";
        let loaded = bed.load(&server.url, loads);
        assert_eq!(loaded.count(&["created"]), 60, "{order:?}: {}", loaded.text);
        let contents = server.contents();
        let mut seen = 0;
        for (name, resource) in &contents {
            if let Some(subject) = resource["subject"]["reference"].as_str() {
                assert_eq!(
                    contents[subject]["language"], resource["language"],
                    "{order:?}: {name} is of another patient"
                );
                seen += 1;
            }
        }
        assert_eq!(seen, 30);
        for record in &loaded.records {
            let name = format!(
                "{}/{}",
                record["type"].as_str().unwrap(),
                record["id"].as_str().unwrap()
            );
            let line = record["position"]["line"].as_u64().unwrap() - 1;
            assert_eq!(
                contents[&name]["language"],
                format!("x-{line}"),
                "{order:?}: {record}"
            );
        }
        let is_said = loaded
            .text
            .contains("in another order than they were sent in");
        assert_eq!(is_said, order != habit::Order::Request, "{}", loaded.text);
    }
}

/// Where a server answers in another order than it was asked in, and refuses some records, those are said to be refused which were.
#[test]
fn outcomes_are_right_where_some_of_what_is_answered_in_another_order_is_refused() {
    for order in [
        habit::Order::Request,
        habit::Order::Reversed,
        habit::Order::Rotated,
    ] {
        let habits = Habits {
            order,
            integrity: Some(422),
            ..STANDARD
        };
        let server = Server::start(&habits);
        let bed = Bed::new();
        let record = |n: u64| {
            let kind = ["Observation", "Condition"][usize::from(n.is_multiple_of(3))];
            let subject = if is_refused(n) {
                r#","subject":{"reference":"Patient/elsewhere"}"#
            } else {
                ""
            };
            format!(r#"{{"resourceType":"{kind}","language":"x-{n}"{subject}}}"#)
        };
        let lines: Vec<String> = (0..60).map(record).collect();
        bed.write("data/o.ndjson", &lines.join("\n"));
        let loads = "  - { name: o, target: s, files: [data/*.ndjson], interaction: create, bundle: { type: batch, max_entries: 10 } }\n";
        let loaded = bed.load(&server.url, loads);
        let counts = (loaded.count(&["created"]), loaded.count(&["rejected"]));
        assert_eq!(counts, (48, 12), "{order:?}: {}", loaded.text);
        let contents = server.contents();
        assert_eq!(contents.len(), 48, "{order:?}");
        for record in &loaded.records {
            let line = record["position"]["line"].as_u64().unwrap() - 1;
            let outcome = record["outcome"].as_str().unwrap();
            if is_refused(line) {
                assert_eq!(outcome, "rejected", "{order:?}: {record}");
                assert_eq!(record["status"], 422, "{order:?}: {record}");
            } else {
                let kind = record["type"].as_str().unwrap();
                let name = format!("{kind}/{}", record["id"].as_str().unwrap());
                let held = contents[&name]["language"].as_str().unwrap();
                assert_eq!(
                    (outcome, held),
                    ("created", &*format!("x-{line}")),
                    "{order:?}"
                );
            }
        }
    }
}

/// Where a server answers in another order than it was asked in, and wants some records again, those are sent again which it did not
/// take: none is there twice, none is missing.
#[test]
fn nothing_is_doubled_where_some_of_what_is_answered_in_another_order_is_put_off() {
    for order in [
        habit::Order::Request,
        habit::Order::Reversed,
        habit::Order::Rotated,
    ] {
        for kinds in [["Observation", "Observation"], ["Observation", "Condition"]] {
            let habits = Habits {
                order,
                throttle: habit::Throttle::FillsBundle(1),
                ..STANDARD
            };
            let server = Server::start(&habits);
            let bed = Bed::new();
            let record = |n: usize| {
                let kind = kinds[n % 2];
                format!(r#"{{"resourceType":"{kind}","language":"x-{n}"}}"#)
            };
            let lines: Vec<String> = (0..60).map(record).collect();
            bed.write("data/o.ndjson", &lines.join("\n"));
            let loads = "  - { name: o, target: s, files: [data/*.ndjson], interaction: create, bundle: { type: batch, max_entries: 10 } }\n";
            let loaded = bed.load(&server.url, loads);
            assert_eq!(loaded.count(&["created"]), 60, "{order:?}: {}", loaded.text);
            let contents = server.contents();
            assert_eq!(contents.len(), 60, "{order:?}");
            for record in &loaded.records {
                let line = record["position"]["line"].as_u64().unwrap() - 1;
                let kind = record["type"].as_str().unwrap();
                let name = format!("{kind}/{}", record["id"].as_str().unwrap());
                assert_eq!(
                    contents[&name]["language"],
                    format!("x-{line}"),
                    "{order:?}"
                );
            }
        }
    }
}

fn is_refused(line: u64) -> bool {
    line % 5 == 2
}

/// More records of one answer than are told by their content get no id, and say why: none is guessed.
#[test]
fn the_ids_of_a_large_answer_in_another_order_are_not_guessed() {
    let habits = Habits {
        order: habit::Order::Reversed,
        ..STANDARD
    };
    let server = Server::start(&habits);
    let bed = Bed::new();
    let lines: Vec<String> = (0..600)
        .map(|n| format!(r#"{{"resourceType":"Patient","language":"x-{n}"}}"#))
        .collect();
    bed.write("data/p.ndjson", &lines.join("\n"));
    let loads = "  - { name: p, target: s, files: [data/p.ndjson], interaction: create, bundle: { type: batch, max_entries: 600 } }\n";
    let loaded = bed.load(&server.url, loads);
    assert_eq!(loaded.count(&["created"]), 600, "{}", loaded.text);
    let contents = server.contents();
    assert_eq!(contents.len(), 600);
    for record in &loaded.records {
        let line = record["position"]["line"].as_u64().unwrap() - 1;
        match record["id"].as_str() {
            Some(id) => {
                let held = &contents[&format!("Patient/{id}")];
                assert_eq!(held["language"], format!("x-{line}"), "{record}");
            }
            None => assert!(record["note"].is_string(), "{record}"),
        }
    }
    let untold = loaded
        .records
        .iter()
        .filter(|record| record["id"].is_null());
    assert!(untold.count() > 0, "{}", loaded.text);
}
