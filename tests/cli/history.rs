//! Loading again: what earlier runs have loaded is left alone, as long as the store still holds it.

use serde_json::Value;

use super::{bed::Bed, references::Server};
use crate::support::journal::rewrite;

const BASE: &str = "version: 1\nname: again\ntargets: { t: { local: store } }\nloads:\n";

/// Patients p0, p1, … with an observation each.
fn write(bed: &Bed, name: &str, numbers: std::ops::Range<u32>) {
    let lines: Vec<String> = numbers
        .flat_map(|n| {
            [
                format!(r#"{{"resourceType":"Patient","id":"p{n}","active":true}}"#),
                format!(
                    r#"{{"resourceType":"Observation","id":"o{n}","status":"final","code":{{}},"subject":{{"reference":"Patient/p{n}"}}}}"#
                ),
            ]
        })
        .collect();
    bed.write(name, &lines.join("\n"));
}

fn bed(load: &str) -> Bed {
    let bed = Bed::new();
    write(&bed, "a.ndjson", 0..100);
    bed.write(
        "m.yaml",
        &format!("{BASE}  - {{ name: all, files: [\"*.ndjson\"], {load} }}\n"),
    );
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 200);
    bed
}

/// How many requests the newest run made that write.
fn requests(bed: &Bed) -> u64 {
    bed.report()["requests"]["sent"].as_u64().unwrap()
}

fn resources(bed: &Bed, kind: &str) -> Vec<String> {
    let mut server = Server::start(bed);
    let page: Value = server.get(&format!("{}/{kind}?_count=1000", server.base()));
    server.stop();
    let entries = page["entry"].as_array().into_iter().flatten();
    entries
        .map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_second_load_sends_only_what_is_new() {
    for load in ["interaction: create", "interaction: update"] {
        let bed = bed(load);
        let ran = bed.run(&["load", "m.yaml"]).exits(0);
        assert!(
            ran.err
                .contains("earlier runs have loaded 200 of the records"),
            "{}",
            ran.err
        );
        assert_eq!((bed.count("unchanged"), requests(&bed)), (200, 0), "{load}");
        write(&bed, "b.ndjson", 100..101);
        bed.run(&["load", "m.yaml"]).exits(0);
        assert_eq!((bed.count("unchanged"), bed.count("created")), (200, 2));
        assert_eq!(resources(&bed, "Patient").len(), 101, "{load}");
        // A dry run is no history, and `--fresh` asks for none.
        bed.run(&["load", "--dry-run", "m.yaml"]).exits(0);
        bed.run(&["load", "--fresh", "m.yaml"]).exits(0);
        assert_eq!(bed.count("unchanged"), 0);
    }
}

#[test]
fn a_record_that_refers_to_what_was_loaded_before_finds_it() {
    let bed = bed("interaction: create");
    bed.write(
        "b.ndjson",
        r#"{"resourceType":"Observation","id":"new","status":"final","code":{},"subject":{"reference":"Patient/p7"}}"#,
    );
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("created"), bed.count("rejected")), (1, 0));
}

#[test]
fn another_store_is_loaded_whole() {
    let bed = bed("interaction: create");
    fs_err::remove_dir_all(bed.path("store")).unwrap();
    let ran = bed.run(&["load", "m.yaml"]).exits(0);
    assert!(
        ran.err.contains(
            "holds none of the 30 records that were sampled of what earlier runs have loaded"
        ),
        "{}",
        ran.err
    );
    assert_eq!(bed.count("created"), 200);
}

#[test]
fn what_was_deleted_is_noticed_and_loaded_again() {
    for load in ["interaction: create", "interaction: update"] {
        let bed = bed(load);
        let mut server = Server::start(&bed);
        let observations: Value = server.get(&format!("{}/Observation?_count=1000", server.base()));
        for entry in observations["entry"].as_array().unwrap() {
            let id = entry["resource"]["id"].as_str().unwrap();
            server.delete(&format!("{}/Observation/{id}", server.base()));
        }
        server.stop();
        let ran = bed.run(&["load", "m.yaml"]).exits(0);
        assert!(
            ran.err.contains("of 30 sampled records as earlier runs have loaded them; of 200 records 100 are still there"),
            "{}",
            ran.err
        );
        assert_eq!(bed.count("unchanged"), 100, "{load}");
        assert_eq!(resources(&bed, "Observation").len(), 100, "{load}");
        assert_eq!(resources(&bed, "Patient").len(), 100, "{load}");
    }
}

#[test]
fn equal_records_are_counted() {
    let bed = Bed::new();
    let line = r#"{"resourceType":"Basic","code":{"text":"the same"}}"#;
    bed.write("a.ndjson", &format!("{line}\n{line}"));
    bed.write(
        "m.yaml",
        &format!("{BASE}  - {{ name: all, files: [a.ndjson], interaction: create }}\n"),
    );
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 2);
    bed.write("a.ndjson", &format!("{line}\n{line}\n{line}"));
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("unchanged"), bed.count("created")), (2, 1));
}

/// A patient that is created, and an observation that refers to it.
fn referring(observation: &str) -> Bed {
    let bed = Bed::new();
    patient(&bed, true);
    bed.write(
        "o.ndjson",
        r#"{"resourceType":"Observation","id":"o","status":"final","code":{},"subject":{"reference":"Patient/p"}}"#,
    );
    bed.write(
        "m.yaml",
        &format!(
            "{BASE}  - {{ name: people, files: [p.ndjson], interaction: create }}\n  - {{ name: results, files: [o.ndjson], interaction: {observation} }}\n"
        ),
    );
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 2);
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("unchanged"), requests(&bed)), (2, 0));
    bed
}

fn patient(bed: &Bed, active: bool) {
    let text = format!(r#"{{"resourceType":"Patient","id":"p","active":{active}}}"#);
    bed.write("p.ndjson", &text);
}

/// To whom the observations refer, and which patients there are.
fn referred(bed: &Bed) -> (Vec<String>, Vec<String>) {
    let mut server = Server::start(bed);
    let mut all = |kind: &str, pointer: &str| {
        let page = server.get(&format!("{}/{kind}", server.base()));
        let entries = page["entry"].as_array().unwrap().iter();
        let text = |entry: &Value| entry["resource"].pointer(pointer).cloned();
        let texts = entries.map(|entry| text(entry).unwrap().as_str().unwrap().to_owned());
        texts.collect::<Vec<String>>()
    };
    let found = (
        all("Observation", "/subject/reference"),
        all("Patient", "/id"),
    );
    server.stop();
    found
}

/// The bytes of the observation are the same, and it is another one: what it refers to got another id.
#[test]
fn an_update_is_sent_again_when_what_it_refers_to_has_another_id() {
    let bed = referring("update");
    let (before, _) = referred(&bed);
    patient(&bed, false);
    let planned = bed.run(&["plan", "m.yaml"]).exits(0);
    let ran = bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("created"), bed.count("updated")), (1, 1));
    for said in [&planned.err, &ran.err] {
        assert!(
            said.contains("1 updates are sent again although their files are the same"),
            "{said}"
        );
    }
    let (after, patients) = referred(&bed);
    assert_ne!(before, after);
    assert_eq!(patients.len(), 2);
    assert!(patients.iter().any(|id| after == [format!("Patient/{id}")]));
    // And that is known from then on, also from the runs themselves.
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("unchanged"), requests(&bed)), (2, 0));
    fs_err::remove_dir_all(bed.path(".stoker/history")).unwrap();
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("unchanged"), requests(&bed)), (2, 0));
}

/// A create that is sent again is another resource: then it is said.
#[test]
fn a_create_that_refers_to_what_was_loaded_anew_is_said_and_not_doubled() {
    let bed = referring("create");
    patient(&bed, false);
    let ran = bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("created"), bed.count("unchanged")), (1, 1));
    let said = "1 records that earlier runs created refer to others that are loaded anew";
    assert!(ran.err.contains(said), "{}", ran.err);
    let (observations, _) = referred(&bed);
    assert_eq!(observations.len(), 1);
}

/// A run that was cut off is taken over by the next load: what it loaded is known, and it cannot be resumed any more.
#[test]
fn a_run_that_was_cut_off_is_taken_over() {
    let bed = bed("interaction: create, settle: tag");
    let run = bed.newest_run();
    let journal = fs_err::read_to_string(run.join("journal.ndjson")).unwrap();
    let mut kept: Vec<&str> = Vec::new();
    let mut settled = 0;
    for line in journal.lines() {
        settled += u32::from(line.starts_with("{\"settle\""));
        if settled > 150 || line.starts_with("{\"end\"") {
            break;
        }
        kept.push(line);
    }
    rewrite(&run, kept);
    fs_err::remove_dir_all(bed.path(".stoker/history")).unwrap();
    let ran = bed.run(&["load", "m.yaml"]).exits(0);
    assert!(
        ran.err.contains("was cut off; this run takes over"),
        "{}",
        ran.err
    );
    // Fifty were in the store, and only their tags told.
    assert_eq!(bed.count("unknown"), 0);
    assert_eq!(resources(&bed, "Patient").len(), 100);
    assert_eq!(resources(&bed, "Observation").len(), 100);
    let ran = bed.run(&["resume", run.to_str().unwrap()]).exits(2);
    assert!(ran.err.contains("was taken over by"), "{}", ran.err);
}

#[test]
fn load_resume_goes_on_with_the_latest_run() {
    let bed = bed("interaction: create, settle: tag");
    let run = bed.newest_run();
    let text = fs_err::read_to_string(run.join("journal.ndjson")).unwrap();
    let kept: Vec<&str> = text.lines().take(3).collect();
    rewrite(&run, kept);
    // Nothing of the run's own is left but the store's tags.
    let ran = bed.run(&["load", "--resume", "m.yaml"]).exits(0);
    assert!(ran.err.contains("going on with"), "{}", ran.err);
    assert_eq!(bed.newest_run(), run);
    // It is over: the next one is a new run.
    bed.run(&["load", "--resume", "m.yaml"]).exits(0);
    assert_ne!(bed.newest_run(), run);
    // Another manifest by then cannot go on with it.
    let text = fs_err::read_to_string(bed.newest_run().join("journal.ndjson")).unwrap();
    let without_end: Vec<&str> = text
        .lines()
        .filter(|l| !l.starts_with("{\"end\""))
        .collect();
    rewrite(&bed.newest_run(), without_end);
    bed.write(
        "m.yaml",
        &format!("{BASE}  - {{ name: all, files: [\"*.ndjson\"], interaction: update }}\n"),
    );
    let ran = bed.run(&["load", "--resume", "m.yaml"]).exits(2);
    assert!(
        ran.err
            .contains("has changed since the run that was cut off was planned"),
        "{}",
        ran.err
    );
}

/// What was refused is tried once more on demand; what nobody knows of is too, and nothing else is touched.
#[test]
fn what_to_replay_is_a_choice() {
    let bed = Bed::new();
    let lines = [
        r#"{"resourceType":"Patient","id":"p","active":true}"#,
        r#"{"resourceType":"Observation","id":"o","status":"final","code":{},"subject":{"reference":"Patient/gone"}}"#,
    ];
    bed.write("a.ndjson", &lines.join("\n"));
    let load = "  - { name: all, files: [a.ndjson], interaction: create }\n";
    bed.write("m.yaml", &format!("{BASE}{load}"));
    let _ = bed.run(&["load", "m.yaml"]).exits(1);
    let run = bed.newest_run();
    let journal = run.join("journal.ndjson");
    let resume = |which: &str| {
        let _ = bed
            .run(&["resume", run.to_str().unwrap(), "--replay", which])
            .exits(1);
        let text = fs_err::read_to_string(&journal).unwrap();
        text.matches("{\"settle\"").count()
    };
    let settled: Vec<usize> = ["interrupted", "unknown", "rejected", "all"]
        .map(resume)
        .into();
    assert_eq!(settled, [2, 2, 3, 4]);
    // The answer to the first is lost with its line: it is unknown, and sent only when that is asked for.
    let text = fs_err::read_to_string(&journal).unwrap();
    let kept = text
        .lines()
        .filter(|line| !line.starts_with("{\"settle\":{\"record\":0,"));
    rewrite(&run, kept);
    resume("interrupted");
    assert_eq!((bed.count("unknown"), bed.count("created")), (1, 0));
    resume("unknown");
    assert_eq!((bed.count("unknown"), bed.count("created")), (0, 1));
    assert_eq!(resources(&bed, "Patient").len(), 2);
}

/// An `OperationOutcome` that is loaded is a record like others, and is read back as one.
#[test]
fn outcomes_that_are_records_are_known_again() {
    for interaction in ["create", "update"] {
        let bed = Bed::new();
        let load =
            format!("{BASE}  - {{ name: all, files: all.ndjson, interaction: {interaction} }}\n");
        bed.write("m.yaml", &load);
        let outcomes: Vec<String> = (0..3)
            .map(|number| format!("{{\"resourceType\":\"OperationOutcome\",\"id\":\"o{number}\",\"issue\":[{{\"severity\":\"error\",\"code\":\"value\"}}]}}\n"))
            .collect();
        bed.write("all.ndjson", &outcomes.concat());
        let _ = bed.run(&["load", "m.yaml"]).exits(0);
        assert_eq!(bed.count("created"), 3, "{interaction}");
        let _ = bed.run(&["load", "m.yaml"]).exits(0);
        assert_eq!(bed.count("unchanged"), 3, "{interaction}");
        let ran = bed.run(&["verify", "m.yaml", "--all"]).exits(0);
        assert!(ran.out.contains("3 same"), "{}", ran.out);
    }
}
