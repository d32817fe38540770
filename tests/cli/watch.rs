//! A run that goes on in another process is watched to its end.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use super::bed::Bed;

/// A load of 60 records that takes three seconds.
fn started() -> (Bed, Child) {
    let bed = Bed::new();
    let records =
        (0..60).map(|number| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{number}\"}}\n"));
    bed.write("all.ndjson", &records.collect::<Vec<_>>().concat());
    bed.write(
        "m.yaml",
        "version: 1\nname: slow\ntargets: { t: { local: store, rate: 20/s } }\nloads: [ { name: all, files: all.ndjson, interaction: update } ]\n",
    );
    let mut command = bed.command(&["load", "m.yaml", "--progress", "none"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    // Its run is there once the first records are sent.
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(20));
        let runs = bed.run(&["runs", "--json"]);
        if runs.out.contains("going on") {
            return (bed, child);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the load did not begin");
}

#[test]
fn a_run_is_watched_to_its_end() {
    let (bed, mut child) = started();
    let ran = bed.run(&["watch", "--progress", "json"]).exits(0);
    assert!(child.wait().unwrap().success());
    let last = ran.err.lines().last().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["done"], 60, "{}", ran.err);
    // It was seen while it went on.
    let first = ran.err.lines().next().unwrap();
    assert!(!first.contains("\"done\":60"), "{first}");
    assert!(ran.out.contains("all 60 records loaded"), "{}", ran.out);
    // What is over is shown as it ended.
    let ran = bed.run(&["watch"]).exits(0);
    assert!(ran.err.contains("nobody is at work on"), "{}", ran.err);
    assert!(ran.out.contains("all 60 records loaded"), "{}", ran.out);
}

#[test]
fn who_watches_is_told_that_a_run_was_killed() {
    let (bed, mut child) = started();
    let watching = bed
        .command(&["watch", "--progress", "lines"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    child.kill().unwrap();
    child.wait().unwrap();
    let output = watching.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("was killed"), "{said}");
    assert!(said.contains("stoker resume"), "{said}");
    let ran = bed.run(&["resume"]);
    assert!(ran.out.contains("all 60 records loaded"), "{}", ran.out);
    // Nothing is there to be watched.
    let ran = Bed::new().run(&["watch"]).exits(2);
    assert!(ran.err.contains("there is no run"), "{}", ran.err);
}
