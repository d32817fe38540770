//! The directory of a local store, and the state beside the manifest, from whichever directory they are named.

use std::os::unix::fs::PermissionsExt as _;

use fs_err as fs;

use super::bed::{Bed, Ran};

const MANIFEST: &str = "version: 1\nname: m\ntargets: { t: { local: store } }\n\
    loads: [{ name: a, target: t, files: [a.json], interaction: update }]\n";
const PATIENT: &str = r#"{"resourceType":"Patient","id":"a"}"#;

fn mode(bed: &Bed, path: &str) -> u32 {
    fs::metadata(bed.path(path)).unwrap().permissions().mode() & 0o777
}

/// Runs the binary in a folder of the bed.
fn run_in(bed: &Bed, folder: &str, arguments: &[&str]) -> Ran {
    fs::create_dir_all(bed.path(folder)).unwrap();
    let mut command = bed.command(arguments);
    command.current_dir(bed.path(folder));
    Ran::of(command.output().unwrap())
}

#[test]
fn a_read_makes_no_store() {
    let bed = Bed::new();
    let ran = bed.run(&["get", "Patient/a", "--local", "nosuch"]).exits(4);
    assert!(
        ran.err.contains("there is no local store in `nosuch`"),
        "{}",
        ran.err
    );
    assert!(!bed.path("nosuch").exists());
}

/// Neither a plan nor a load that cannot begin makes anything: what is there was made to be sent to.
#[test]
fn nothing_is_made_before_something_is_sent() {
    for (files, verb, code) in [
        ("a.json", &["plan"][..], 0),
        ("a.json", &["plan", "--online"], 0),
        ("a.json", &["load", "--dry-run"], 0),
        ("nosuch.json", &["plan"], 2),
        ("nosuch.json", &["load"], 2),
        ("wrong.json", &["load", "--dry-run"], 1),
    ] {
        let bed = Bed::new();
        bed.write("m.yaml", &MANIFEST.replace("a.json", files));
        bed.write("a.json", PATIENT);
        bed.write("wrong.json", "{");
        let ran = bed.run(&[verb, &["m.yaml"]].concat()).exits(code);
        let case = format!("{files} {verb:?}: {}{}", ran.out, ran.err);
        if code == 0 {
            assert!(ran.out.contains("1 record"), "{case}");
        }
        let mut left: Vec<_> = (fs::read_dir(bed.path(".")).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !["m.yaml", "a.json", "wrong.json"].contains(&name.as_str()))
            .collect();
        left.sort();
        assert!(left.is_empty(), "{case}: {left:?}");
    }
}

#[test]
fn a_resource_that_is_missing_is_said_to_be_missing() {
    let bed = Bed::new();
    bed.write("a.json", PATIENT);
    bed.run(&["create", "a.json", "--local", "store"]).exits(0);
    let ran = bed
        .run(&["get", "Patient/none", "--local", "store"])
        .exits(1);
    assert_eq!(ran.err.trim(), "error: Patient/none is not in the store");
}

#[test]
fn why_a_store_cannot_be_opened_is_said() {
    let bed = Bed::new();
    bed.write("a.json", PATIENT);
    bed.write("file", "no directory");
    bed.write("full/notes.txt", "of somebody else");
    bed.write("damaged/store.sqlite", &"no database ".repeat(400));
    fs::create_dir(bed.path("real")).unwrap();
    fs::create_dir(bed.path("open")).unwrap();
    fs::set_permissions(bed.path("open"), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::symlink("real", bed.path("link")).unwrap();
    for (dir, why, hint) in [
        ("file", "it is no directory", ""),
        ("full", "it holds files of somebody else", ""),
        ("link", "it is a symbolic link", ""),
        ("link/", "it is a symbolic link", ""),
        ("open", "anyone may write in it", ""),
        (
            "damaged",
            "file is not a database",
            "remove the directory and load again",
        ),
        (
            "file/below",
            "Not a directory",
            "a file stands where the directory is to be",
        ),
    ] {
        let ran = bed.run(&["create", "a.json", "--local", dir]).exits(4);
        assert!(ran.err.contains(why), "{dir}: {}", ran.err);
        assert!(ran.err.contains(hint), "{dir}: {}", ran.err);
    }
    assert!(fs::read_dir(bed.path("real")).unwrap().next().is_none());
    assert_eq!(fs::read_dir(bed.path("full")).unwrap().count(), 1);
}

#[test]
fn the_mode_of_a_directory_that_was_there_is_left_alone() {
    let bed = Bed::new();
    bed.write("a.json", PATIENT);
    fs::create_dir(bed.path("there")).unwrap();
    fs::set_permissions(bed.path("there"), std::fs::Permissions::from_mode(0o755)).unwrap();
    for dir in ["there", "made"] {
        bed.run(&["create", "a.json", "--local", dir]).exits(0);
        assert_eq!(mode(&bed, &format!("{dir}/store.sqlite")), 0o600);
    }
    assert_eq!((mode(&bed, "there"), mode(&bed, "made")), (0o755, 0o700));
}

#[test]
fn state_and_store_stand_beside_the_manifest_wherever_stoker_is_run() {
    let bed = Bed::new();
    bed.write("project/m.yaml", MANIFEST);
    bed.write("project/a.json", PATIENT);
    run_in(&bed, "project", &["load", "m.yaml"]).exits(0);
    let ran = run_in(&bed, "elsewhere", &["load", "../project/m.yaml"]).exits(0);
    assert!(
        ran.err
            .contains("earlier runs have loaded 1 of the records"),
        "{}",
        ran.err
    );
    assert!(!bed.path("elsewhere/.stoker").exists());
    assert!(!bed.path("elsewhere/store").exists());
    let runs = fs::read_dir(bed.path("project/.stoker/runs")).unwrap();
    let runs: Vec<_> = runs.map(|run| run.unwrap().file_name()).collect();
    assert_eq!(runs.len(), 2);
    // A run is found by its name from the manifest's folder, and from one below.
    let name = runs[0].to_str().unwrap();
    for folder in ["project", "project/below"] {
        run_in(&bed, folder, &["report", name]).exits(0);
    }
    let ran = run_in(&bed, "elsewhere", &["report", name]).exits(2);
    assert!(ran.err.contains("there is no run"), "{}", ran.err);
}

#[test]
fn runs_that_an_older_stoker_left_in_the_working_directory_are_named() {
    let bed = Bed::new();
    bed.write("project/m.yaml", MANIFEST);
    bed.write("project/a.json", PATIENT);
    bed.run(&["load", "project/m.yaml"]).exits(0);
    fs::rename(bed.path("project/.stoker"), bed.path(".stoker")).unwrap();
    let said = ".stoker of this directory holds runs of project/m.yaml";
    let ran = bed.run(&["load", "project/m.yaml"]).exits(0);
    assert!(ran.err.contains(said), "{}", ran.err);
    // Those of another manifest are nobody's business.
    let other = MANIFEST.replace("name: m", "name: n");
    bed.write("project/m.yaml", &other);
    let ran = bed.run(&["load", "project/m.yaml"]).exits(0);
    assert!(!ran.err.contains(said), "{}", ran.err);
}
