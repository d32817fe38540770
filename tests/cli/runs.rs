//! The runs of a state directory: listed, found, removed, and what damage to what they leave means.

use std::{path::Path, process::Stdio};

use fs_err as fs;

use super::bed::{Bed, Ran};
use crate::support::journal::rewrite;

const MANIFEST: &str = "version: 1\nname: again\ntargets: { t: { local: store } }\nloads:\n  \
    - { name: all, files: [\"*.ndjson\"], interaction: create }\n";

/// Loads as many times as there are names of files, with a record more each time.
fn bed(runs: usize) -> Bed {
    let bed = Bed::new();
    bed.write("m.yaml", MANIFEST);
    for run in 0..runs {
        let line = format!(r#"{{"resourceType":"Patient","id":"p{run}"}}"#);
        bed.write(&format!("{run}.ndjson"), &line);
        bed.run(&["load", "m.yaml"]).exits(0);
    }
    bed
}

fn names(bed: &Bed) -> Vec<String> {
    let runs = fs::read_dir(bed.path(".stoker/runs")).unwrap();
    let mut names: Vec<String> = runs
        .map(|run| run.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn history(bed: &Bed) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(bed.path(".stoker/history")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|e| e == "rows"))
        .collect()
}

#[test]
fn runs_are_listed_the_latest_first() {
    let bed = bed(2);
    let listed = bed.run(&["runs"]).exits(0);
    let lines: Vec<&str> = listed.out.lines().collect();
    let [title, second, first] = lines.as_slice() else {
        panic!("{}", listed.out)
    };
    assert!(
        title.starts_with("Run ") && title.ends_with("Manifest"),
        "{title}"
    );
    assert!(
        second.contains("complete") && second.contains("1 created, 1 unchanged"),
        "{second}"
    );
    assert!(
        first.contains("1 created  ") && first.ends_with("m.yaml"),
        "{first}"
    );
    let json = bed
        .run(&["runs", "--json", "--manifest", "m.yaml"])
        .exits(0);
    let states: Vec<serde_json::Value> = json
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["state"].clone())
        .collect();
    assert_eq!(states, ["complete", "complete"]);
    let none = Bed::new().run(&["runs"]).exits(0);
    assert!(none.err.contains("no runs in .stoker"), "{}", none.err);
}

#[test]
fn a_run_is_found_by_its_name_or_as_the_latest() {
    let bed = bed(2);
    let [first, second] = names(&bed).try_into().unwrap();
    let by_name = bed.run(&["report", &first]).exits(0);
    assert!(by_name.out.contains("all 1 records loaded") || by_name.out.contains("the one record"));
    let latest = bed.run(&["report"]).exits(0);
    assert!(latest.out.contains(&second), "{}", latest.out);
    for verb in ["report", "resume"] {
        let wrong = bed.run(&[verb, "nosuch"]).exits(2);
        assert!(
            wrong.err.contains("there is no run nosuch"),
            "{}",
            wrong.err
        );
        assert!(wrong.err.contains(&second), "{}", wrong.err);
    }
    let folder = bed.run(&["report", "store"]).exits(2);
    assert!(
        folder.err.contains("store is no run: it holds no journal"),
        "{}",
        folder.err
    );
    let nowhere = Bed::new().run(&["report"]).exits(2);
    assert!(
        nowhere.err.contains("there is no run in .stoker/runs"),
        "{}",
        nowhere.err
    );
}

#[test]
fn old_runs_are_removed_and_what_they_loaded_stays_known() {
    let bed = bed(3);
    let all = names(&bed);
    bed.run(&["runs", "prune"]).exits(2);
    let dry = bed
        .run(&["runs", "prune", "--keep", "1", "--dry-run"])
        .exits(0);
    assert_eq!(dry.out.matches("would remove").count(), 2, "{}", dry.out);
    assert_eq!(names(&bed), all);
    let young = bed
        .run(&["runs", "prune", "--keep", "1", "--older-than", "1h"])
        .exits(0);
    assert_eq!((young.out.as_str(), names(&bed)), ("", all.clone()));
    fs::remove_dir_all(bed.path(".stoker/history")).unwrap();
    let pruned = bed.run(&["runs", "prune", "--keep", "1"]).exits(0);
    assert_eq!(pruned.out.matches("removed ").count(), 2, "{}", pruned.out);
    assert_eq!(names(&bed), all[2..]);
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("unchanged"), bed.count("created")), (3, 0));
}

#[test]
fn the_order_of_runs_is_that_of_their_journals() {
    let bed = bed(3);
    let all = names(&bed);
    // A copy has files of other times: the newest run is copied first.
    fs::rename(bed.path(".stoker"), bed.path("old")).unwrap();
    for name in all.iter().rev() {
        let (from, to) = (
            bed.path("old/runs").join(name),
            bed.path(".stoker/runs").join(name),
        );
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let latest = bed.run(&["report"]).exits(0);
    assert!(latest.out.contains(&all[2]), "{}", latest.out);
    bed.run(&["runs", "prune", "--keep", "1"]).exits(0);
    assert_eq!(names(&bed), all[2..]);
}

#[test]
fn what_is_not_over_or_named_by_a_manifest_is_kept() {
    let bed = bed(4);
    let all = names(&bed);
    let run = |number: usize| bed.path(".stoker/runs").join(&all[number]);
    // The first was killed, the second is known to a manifest, the third is damaged.
    let journal = fs::read_to_string(run(0).join("journal.ndjson")).unwrap();
    rewrite(
        &run(0),
        journal.lines().filter(|line| !line.starts_with("{\"end\"")),
    );
    let known = format!("known: [\".stoker/runs/{}\"]\n{MANIFEST}", all[1]);
    bed.write("more.yml", &known);
    let journal = fs::read_to_string(run(2).join("journal.ndjson")).unwrap();
    fs::write(
        run(2).join("journal.ndjson"),
        journal.replacen("created", "Created", 1),
    )
    .unwrap();
    let pruned = bed.run(&["runs", "prune", "--keep", "0"]).exits(0);
    for (number, why) in [
        (0, "it is not over; `stoker resume"),
        (1, "more.yml names it (`known`)"),
        (2, "it is damaged"),
    ] {
        let kept = pruned
            .out
            .lines()
            .find(|line| line.contains(&format!("{}: ", all[number])))
            .unwrap();
        assert!(kept.starts_with("kept ") && kept.contains(why), "{kept}");
    }
    assert_eq!(names(&bed), all[..3]);
    let listed = bed.run(&["runs"]).exits(0);
    assert!(
        listed.out.contains("killed") && listed.out.contains("damaged"),
        "{}",
        listed.out
    );
}

#[test]
fn a_damaged_journal_names_the_line_and_loses_nothing_silently() {
    let bed = bed(1);
    let run = bed.newest_run();
    let path = run.join("journal.ndjson");
    let whole = fs::read_to_string(&path).unwrap();
    let settled = whole
        .lines()
        .position(|line| line.starts_with("{\"settle\""))
        .unwrap();
    fs::write(&path, whole.replacen("\"created\"", "\"updated\"", 1)).unwrap();
    let name = run.to_str().unwrap();
    for verb in ["report", "resume"] {
        let ran = bed.run(&[verb, name]).exits(5);
        let words = format!("journal.ndjson`: line {}: it is damaged", settled + 1);
        assert!(ran.err.contains(&words), "{}", ran.err);
        assert!(ran.err.contains("from a copy"), "{}", ran.err);
    }
    let lines: Vec<&str> = whole.lines().collect();
    fs::write(&path, lines[..settled].join("\n") + "\n").unwrap();
    let ran = bed.run(&["resume", name]).exits(5);
    assert!(ran.err.contains("its end is missing"), "{}", ran.err);
}

#[test]
fn a_damaged_plan_is_refused_before_anything_is_sent() {
    let bed = bed(1);
    bed.run(&["plan", "m.yaml", "--out", "p.plan"]).exits(0);
    let text = fs::read_to_string(bed.path("p.plan")).unwrap();
    fs::write(
        bed.path("p.plan"),
        text.replacen("\"Patient\"", "\"Pbtient\"", 1),
    )
    .unwrap();
    let ran = bed.run(&["load", "p.plan", "--fresh"]).exits(2);
    assert!(
        ran.err.contains("p.plan`: line 2: it is damaged"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("plan again"), "{}", ran.err);
}

#[test]
fn a_damaged_history_is_named_and_there_is_a_way_on() {
    let bed = bed(1);
    let [file] = history(&bed).try_into().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[3] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let ran = bed.run(&["load", "m.yaml"]).exits(5);
    let name = file.file_name().unwrap().to_str().unwrap();
    for words in [name, "is damaged", "--fresh", "aside"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    fs::remove_file(&file).unwrap();
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("unchanged"), 1);
    // What an older Stoker kept is looked at as well.
    bed.write(
        ".stoker/history.sqlite",
        "not a database, and too long to be an empty one",
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(5);
    assert!(
        ran.err.contains("history.sqlite` is damaged"),
        "{}",
        ran.err
    );
    bed.run(&["load", "m.yaml", "--fresh"]).exits(0);
}

fn with_output(bed: &Bed, arguments: &[&str], output: Stdio) -> Ran {
    let child = bed
        .command(arguments)
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn();
    Ran::of(child.unwrap().wait_with_output().unwrap())
}

fn full() -> Stdio {
    fs::OpenOptions::new()
        .write(true)
        .open(Path::new("/dev/full"))
        .unwrap()
        .into_parts()
        .0
        .into()
}

fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn an_output_that_cannot_be_written_is_an_error_and_the_load_is_safe() {
    let bed = bed(1);
    for arguments in [
        ["load", "m.yaml", "--fresh"].as_slice(),
        &["report"],
        &["report", "--format", "records"],
        &["runs"],
        &["plan", "m.yaml"],
        &["generate", "schema"],
    ] {
        let ran = with_output(&bed, arguments, full());
        assert_eq!(ran.code, 5, "{arguments:?}: {}", ran.err);
        assert!(
            ran.err.contains("cannot write to standard output"),
            "{}",
            ran.err
        );
        let ran = with_output(&bed, arguments, closed());
        assert_eq!(ran.code, 5, "{arguments:?}: {}", ran.err);
        assert!(!ran.err.contains("standard output"), "{}", ran.err);
    }
    assert_eq!((bed.count("created"), names(&bed).len()), (1, 3));
}

/// Beyond some records, what can be computed is computed when it is asked for, and a run that sends nothing keeps its totals.
#[test]
fn a_large_run_is_kept_without_saying_anything_twice() {
    let bed = Bed::new();
    bed.write(
        "m.yaml",
        &MANIFEST.replace("create }", "create, settle: none }"),
    );
    let lines: Vec<String> = (0..10_001)
        .map(|n| format!(r#"{{"resourceType":"Basic","id":"b{n}"}}"#))
        .collect();
    bed.write("all.ndjson", &lines.join("\n"));
    bed.run(&["load", "m.yaml"]).exits(0);
    let first = bed.newest_run();
    assert!(!first.join("records.ndjson").exists() && !first.join("ids.ndjson").exists());
    let records = bed.run(&["report", "--format", "records"]).exits(0);
    assert_eq!(records.out.lines().count(), 10_001);
    let ids = bed.run(&["report", "--format", "ids"]).exits(0);
    assert!(
        ids.out
            .lines()
            .all(|line| line.contains("\"assigned\":\"Basic/")),
        "{}",
        ids.out
    );
    // A load that refers to it reads its ids all the same.
    bed.write(
        "more/o.ndjson",
        r#"{"resourceType":"Basic","id":"o","subject":{"reference":"Basic/b7"}}"#,
    );
    let manifest = MANIFEST.replace("*.ndjson", "more/o.ndjson");
    bed.write(
        "more.yaml",
        &format!("known: [\"{}\"]\n{manifest}", first.display()),
    );
    let plan = bed.run(&["plan", "more.yaml", "--json"]).exits(0);
    assert!(!plan.out.contains("dangling\": 1"), "{}", plan.out);
    assert_eq!(
        fs::read_to_string(first.join("ids.ndjson")).unwrap(),
        ids.out
    );

    let known = history(&bed);
    bed.run(&["load", "m.yaml"]).exits(0);
    let second = bed.newest_run();
    assert_ne!(first, second);
    assert_eq!(bed.count("unchanged"), 10_001);
    let size: u64 = walkdir::WalkDir::new(&second)
        .into_iter()
        .map(|file| file.unwrap().metadata().unwrap())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum();
    assert!(size < 50_000, "{size}");
    assert_eq!(history(&bed), known, "nothing new is known");
    for format in ["text", "json", "markdown", "html", "junit"] {
        let again = bed.run(&["report", "--format", format]).exits(0);
        assert!(
            again.out.contains("10001") || again.out.contains("10,001"),
            "{}",
            again.out
        );
    }
    let records = bed.run(&["report", "--format", "records"]).exits(5);
    assert!(
        records.err.contains("`stoker runs` lists them"),
        "{}",
        records.err
    );
    let resumed = bed.run(&["resume"]).exits(2);
    assert!(
        resumed.err.contains("nothing was left to send"),
        "{}",
        resumed.err
    );
    // It is a run like any other to those that come after it.
    bed.run(&["load", "m.yaml", "--resume"]).exits(0);
    assert_eq!(bed.count("unchanged"), 10_001);
    let listed = bed.run(&["runs"]).exits(0);
    assert_eq!(listed.out.matches("complete").count(), 3, "{}", listed.out);
}

#[test]
fn a_verification_means_the_latest_run_and_an_unloading_none() {
    let bed = Bed::new();
    for (verb, word) in [("verify", "no run"), ("unload", "no run")] {
        let ran = bed.run(&[verb]).exits(2);
        assert!(ran.err.contains(word), "{}", ran.err);
    }
    bed.write("p.ndjson", "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n");
    bed.write(
        "m.yaml",
        "version: 1\nname: m\ntargets: { t: { local: store } }\nloads: [ { name: l, target: t, files: [p.ndjson] } ]\n",
    );
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let run = bed.newest_run();
    let name = run.file_name().unwrap().to_str().unwrap();
    let ran = bed.run(&["verify"]).exits(0);
    assert!(
        ran.err.contains("verifying the latest run") && ran.err.contains(name),
        "{}",
        ran.err
    );
    assert!(ran.out.contains("1 same"), "{}", ran.out);
    let ran = bed.run(&["unload"]).exits(2);
    assert!(
        ran.err.contains("has to be told which run")
            && ran
                .err
                .contains(&format!("stoker unload .stoker/runs/{name}")),
        "{}",
        ran.err
    );
    let ran = bed.run(&["verify", "--ignore-extra"]).exits(0);
    assert!(
        ran.out.contains("1 same"),
        "nothing was deleted: {}",
        ran.out
    );
}

#[test]
fn wrong_input_is_told_what_to_do() {
    let bed = Bed::new();
    bed.write("p.ndjson", "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n");
    bed.write(
        "m.yaml",
        "version: 1\nname: m\ntargets: { t: { local: store } }\nloads: [ { name: l, target: t, files: [p.ndjson] } ]\n",
    );
    let ran = bed.run(&["reset", "m.yaml", "--dry-run"]).exits(0);
    assert!(ran.out.contains("m.yaml has no runs"), "{}", ran.out);
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let ran = bed.run(&["unload", "m.yaml"]).exits(2);
    assert!(ran.err.contains("stoker reset m.yaml"), "{}", ran.err);
    let ran = bed.run(&["verify", "nope"]).exits(2);
    assert!(ran.err.contains("the only run is"), "{}", ran.err);
    // A sample of nothing finds nothing out.
    let _ = bed.run(&["verify", "--sample", "0"]).exits(2);
    // The reason why a run cannot be read stands below the table, and stretches none of its columns.
    let journal = bed.newest_run().join("journal.ndjson");
    let text = fs_err::read_to_string(&journal).unwrap();
    fs_err::write(&journal, text.replacen("\"version\"", "\"versiom\"", 1)).unwrap();
    let ran = bed.run(&["runs"]).exits(0);
    let mut lines = ran.out.lines();
    assert!(
        lines.clone().take(2).all(|line| line.len() < 120),
        "{}",
        ran.out
    );
    assert!(lines.any(|line| line.contains(": cannot read the journal")));
}
