//! Several loads on one local store, none of them its owner: whichever serves it is killed, and the others go on.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use fs_err as fs;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::Value;

use super::{bench::stoker, clinic, differences, kills, store::Store};

/// How the holder of the store ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// `kill -9`.
    Killed,
    /// By a signal that lets it close the store.
    Ended,
}

/// What loads left in a store that they shared.
struct Left {
    contents: BTreeMap<u128, u32>,
    outcomes: Vec<Value>,
    /// How many times the one that served the store was ended.
    ended: usize,
}

fn folder_of(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("load-{number}"))
}

/// Prepares one load of its own records, with a state of its own, on the store `store`.
fn prepare(folder: &Path, number: usize, interaction: &str) -> Vec<String> {
    let own = folder_of(folder, number);
    fs::create_dir_all(&own).unwrap();
    let records = clinic(&own, 2);
    // Each load has records of its own: its number stands in every id.
    for file in &records.files {
        let text = fs::read_to_string(file).unwrap();
        let lines = text.lines().map(|line| {
            let mut resource: Value = serde_json::from_str(line).unwrap();
            super::rename(&mut resource, &format!("-load{number}"));
            format!("{resource}\n")
        });
        fs::write(file, lines.collect::<String>()).unwrap();
    }
    let manifest = format!(
        "version: 1\nname: shared\ntargets: {{ t: {{ local: ../store, concurrency: 4, rate: 150/s }} }}\n\
         loads:\n  - {{ name: all, files: [clinic.ndjson], bundle: none, {interaction} }}\n"
    );
    fs::write(own.join("m.yaml"), manifest).unwrap();
    records.kinds
}

fn start(folder: &Path, arguments: &[&str]) -> Child {
    stoker(folder, arguments)
        .stdout(Stdio::null())
        .stderr(
            fs::File::options()
                .create(true)
                .append(true)
                .open(folder.join("stderr"))
                .unwrap()
                .into_file(),
        )
        .spawn()
        .unwrap()
}

fn load(folder: &Path, number: usize) -> Child {
    let own = folder_of(folder, number);
    start(&own, &["load", "m.yaml", "--resume", "--progress", "none"])
}

/// The process that serves the store, as its note says.
fn holder(folder: &Path) -> Option<u32> {
    let note = fs::read_to_string(folder.join("store/server.json")).ok()?;
    let note: Value = serde_json::from_str(&note).ok()?;
    u32::try_from(note["pid"].as_u64()?).ok()
}

fn end(child: &mut Child, how: End) {
    match how {
        End::Killed => child.kill().unwrap(),
        End::Ended => {
            let sent = std::process::Command::new("/bin/sh")
                .args(["-c", &format!("kill -INT {}", child.id())])
                .status();
            assert!(sent.unwrap().success());
        }
    }
}

/// Waits until a load that goes on has begun to send; `false` when none goes on any more.
fn wait_for_sending(folder: &Path, children: &mut [Child]) -> bool {
    loop {
        let mut goes_on = false;
        for (number, child) in children.iter_mut().enumerate() {
            if child.try_wait().unwrap().is_some() {
                continue;
            }
            goes_on = true;
            let runs = fs::read_dir(folder_of(folder, number).join(".stoker/runs"));
            let mut runs = runs.into_iter().flatten().map(|run| run.unwrap().path());
            let is_sending = |run: PathBuf| {
                fs::metadata(run.join("journal.ndjson")).is_ok_and(|journal| journal.len() > 2000)
            };
            if runs.any(is_sending) {
                return true;
            }
        }
        if !goes_on {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Goes on with a load until it is over, and returns its outcomes.
fn over(folder: &Path, number: usize) -> Value {
    let own = folder_of(folder, number);
    for _ in 0..10 {
        let runs = fs::read_dir(own.join(".stoker/runs"));
        let runs = runs.into_iter().flatten().map(|run| run.unwrap().path());
        // One that was killed while it planned left a folder, and no run.
        let mut runs = runs.filter(|run| run.join("journal.ndjson").exists());
        let report = runs.next().map(|run| run.join("report.json"));
        assert_eq!(runs.next(), None, "a run was begun anew");
        if let Some(report) = report.filter(|report| report.exists()) {
            let report = fs::read_to_string(report).unwrap();
            let report: Value = serde_json::from_str(&report).unwrap();
            if report["outcomes"]["pending"] == 0 {
                return report["outcomes"].clone();
            }
        }
        let ran = load(folder, number).wait().unwrap();
        let said = fs::read_to_string(own.join("stderr")).unwrap();
        assert!(matches!(ran.code(), Some(0 | 1)), "{ran}: {said}");
    }
    panic!("load {number} does not come to an end");
}

/// Loads from so many processes at once; `ends` says after how long, and how, whoever serves the store then is ended.
fn share(loads: usize, interaction: &str, server: bool, ends: &[(Duration, End)]) -> Left {
    let bed = tempfile::tempdir().unwrap();
    let folder = bed.path();
    let mut kinds = Vec::new();
    for number in 0..loads {
        kinds = prepare(folder, number, interaction);
    }
    let emulate = ["emulate", "--dir", "store", "--listen", "127.0.0.1:0"];
    let mut emulator = server.then(|| {
        let emulator = start(folder, &emulate);
        while holder(folder) != Some(emulator.id()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        emulator
    });
    let mut children: Vec<Child> = (0..loads).map(|number| load(folder, number)).collect();
    let mut ended = 0;
    for (after, how) in ends {
        if !wait_for_sending(folder, &mut children) {
            break;
        }
        std::thread::sleep(*after);
        let Some(pid) = holder(folder) else { continue };
        let mut all = children.iter_mut().chain(&mut emulator);
        if let Some(child) = all.find(|child| child.id() == pid) {
            end(child, *how);
            ended += 1;
        }
    }
    // Whoever was not ended comes to its end by itself, and soon.
    let patience = Instant::now() + Duration::from_mins(2);
    for (number, child) in children.iter_mut().enumerate() {
        loop {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            let said = fs::read_to_string(folder_of(folder, number).join("stderr"));
            assert!(Instant::now() < patience, "load {number} hangs: {said:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    // Those that were ended go on.
    let outcomes = (0..loads).map(|number| over(folder, number)).collect();
    if let Some(emulator) = &mut emulator {
        emulator.kill().unwrap();
        emulator.wait().unwrap();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let contents = runtime.block_on(Store::start(folder).contents(&kinds));
    Left {
        contents,
        outcomes,
        ended,
    }
}

/// Ends whoever serves the store at random moments; it has to hold what it holds when nobody is ended.
fn survives(loads: usize, interaction: &str, server: bool, how: &[End]) {
    let undisturbed = share(loads, interaction, server, &[]);
    let seeds = kills().map_or(1, |kills| u64::from(kills.div_ceil(20)));
    let mut ended = 0;
    for seed in 0..seeds {
        let mut random = SmallRng::seed_from_u64(seed);
        let ends: Vec<_> = (0..loads.min(3))
            .map(|_| {
                let after = Duration::from_millis(random.random_range(0..500));
                (after, how[random.random_range(0..how.len())])
            })
            .collect();
        let left = share(loads, interaction, server, &ends);
        ended += left.ended;
        for outcomes in &left.outcomes {
            assert_eq!(outcomes["unknown"], 0, "{ends:?}: {outcomes}");
            assert_eq!(outcomes["pending"], 0, "{ends:?}: {outcomes}");
        }
        let (missing, extra) = differences(&undisturbed.contents, &left.contents);
        assert_eq!(
            (missing, extra),
            (0, 0),
            "{loads} loads, {ends:?}: missing, extra; {:?}",
            left.outcomes
        );
    }
    assert!(ended > 0, "nobody was ended");
}

#[test]
fn two_loads_survive_the_one_that_serves() {
    survives(2, "interaction: create, settle: tag", false, &[End::Killed]);
}

#[test]
fn three_loads_survive_those_that_serve_and_end_or_die() {
    let how = [End::Killed, End::Ended];
    survives(3, "interaction: create, settle: tag", false, &how);
}

#[test]
fn ten_loads_survive_those_that_serve() {
    survives(10, "interaction: update", false, &[End::Killed, End::Ended]);
}

#[test]
fn loads_survive_the_emulator_that_they_found() {
    survives(2, "interaction: create, settle: tag", true, &[End::Killed]);
}
