//! Messages to a receiver: a load that is killed at random moments ends with every message acknowledged or said to be in doubt, none
//! sent twice that must not be, and those of a patient in their order.

use std::{
    collections::BTreeMap, fmt::Write as _, path::Path, process::Stdio, thread, time::Duration,
};

use fs_err as fs;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::Value;

use super::{bench::stoker, kills, receiver::Receiver};

const MESSAGES: usize = 120;
const PATIENTS: usize = 12;

/// How many loads are killed in short, each some times.
const SHORT: u32 = 3;

fn prepare(folder: &Path, address: &str, settle: &str) {
    fs::create_dir_all(folder.join("in")).unwrap();
    let mut all = String::new();
    for number in 0..MESSAGES {
        let patient = number % PATIENTS;
        write!(
            all,
            "MSH|^~\\&|A|B|C|D|20260101||ADT^A04|m{number}|P|2.5\rPID|1||p{patient}^^^X\r"
        )
        .unwrap();
    }
    fs::write(folder.join("in/feed.hl7"), all).unwrap();
    let manifest = format!(
        "version: 1\nname: feed\ntargets: {{ r: {{ mllp: {{ address: \"{address}\" }}, timeout: 3s, retry: {{ attempts: 12, base: 1ms, max: 20ms }} }} }}\n\
         loads: [ {{ name: feed, files: [\"in/*\"], settle: {settle} }} ]\n"
    );
    fs::write(folder.join("m.yaml"), manifest).unwrap();
}

/// How each message ended, as the last report has it.
fn outcomes(folder: &Path) -> BTreeMap<usize, String> {
    let runs = fs::read_dir(folder.join(".stoker/runs")).unwrap();
    let run = runs.map(|run| run.unwrap().path()).max().unwrap();
    let records = fs::read_to_string(run.join("records.ndjson")).unwrap();
    let records = records
        .lines()
        .map(|line| -> Value { serde_json::from_str(line).unwrap() });
    records
        .enumerate()
        .map(|(number, record)| (number, record["outcome"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn messages_are_acknowledged_or_in_doubt_whatever_is_killed_when() {
    for seed in 0..u64::from(kills().unwrap_or(SHORT)) {
        for settle in ["none", "resend"] {
            killed(seed, settle);
        }
    }
}

fn killed(seed: u64, settle: &str) {
    let case = format!("seed {seed}, settle: {settle}");
    let mut random = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let receiver = Receiver::unsteady(seed * 1000);
    prepare(folder, &receiver.address, settle);
    let mut is_begun = false;
    for _ in 0..3 {
        let arguments: &[&str] = if is_begun {
            &["load", "m.yaml", "--resume"]
        } else {
            &["load", "m.yaml"]
        };
        let mut command = stoker(folder, arguments);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Three times less than ten messages of one patient take.
        thread::sleep(Duration::from_millis(random.random_range(20..90)));
        child.kill().unwrap();
        child.wait().unwrap();
        is_begun = folder.join(".stoker/runs").is_dir();
        // What was on its way arrives.
        thread::sleep(Duration::from_millis(50));
    }
    let last = stoker(folder, &["load", "m.yaml", "--resume"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&last.stdout).into_owned();
    let outcomes = outcomes(folder);
    assert_eq!(outcomes.len(), MESSAGES, "{case}: {said}");
    let log = receiver.log();
    let taken = |number: usize| log.iter().filter(|one| **one == (number, true)).count();
    for (&number, outcome) in &outcomes {
        match (settle, outcome.as_str()) {
            // Once, if at all: what may have been taken is not sent again.
            ("none", "created") => assert_eq!(taken(number), 1, "{case}: m{number}"),
            ("none", "unknown") => assert!(taken(number) <= 1, "{case}: m{number}"),
            ("resend", "created") => assert!(taken(number) >= 1, "{case}: m{number}"),
            _ => panic!("{case}: m{number} ended {outcome}: {said}"),
        }
    }
    // Of each patient none came before one that goes before it.
    for patient in 0..PATIENTS {
        let of = log
            .iter()
            .filter(|(number, _)| number % PATIENTS == patient);
        let of: Vec<usize> = of.map(|(number, _)| *number).collect();
        assert!(of.is_sorted(), "{case}: {of:?}");
    }
    // Again: nothing is sent that was acknowledged.
    if settle == "resend" {
        let again = stoker(folder, &["load", "m.yaml"]).output().unwrap();
        let said = String::from_utf8_lossy(&again.stdout).into_owned();
        assert!(
            said.contains("[unchanged]            120"),
            "{case}: {said}"
        );
    }
}
