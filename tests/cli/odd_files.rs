//! Patterns however a manifest is named, folders that cannot be entered, files of settings that never end, and empty files.

use std::{os::unix::fs::PermissionsExt as _, process::Command};

use super::bed::Bed;

fn manifest(files: &str) -> String {
    format!(
        "version: 1\nname: t\ntargets:\n  t: {{ local: store }}\nloads:\n  - {{ name: l, target: t, files: {files}, interaction: update }}\n"
    )
}

fn patient(id: &str) -> String {
    format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}\n")
}

fn planned(bed: &Bed, manifest: &str) -> u64 {
    let ran = bed.run(&["plan", manifest, "--offline", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    plan["records"].as_u64().unwrap()
}

#[test]
fn an_exclusion_holds_however_the_manifest_is_named() {
    for files in [
        "['*.json', '!a*']",
        "['*.json', '!a*.json']",
        "['*.json', '!./a*.json']",
        "['*.json', '!{a1,a2}.json']",
        "['*.json', '![a]*.json']",
        "['*.json', '!**/a*']",
        "['../in/*.json', '!a*.json']",
        "['ABSOLUTE/*.json', '!a*.json']",
        "['*.json', '!ABSOLUTE/a*.json']",
        "['*.json', '!../in/a*.json']",
    ] {
        let bed = Bed::new();
        for name in ["a1", "a2", "b"] {
            bed.write(&format!("in/{name}.json"), &patient(name));
        }
        let absolute = bed.path("in").display().to_string();
        let text = manifest(&files.replace("ABSOLUTE", &absolute));
        bed.write("in/m.yaml", &text);
        let whole = bed.path("in/m.yaml").display().to_string();
        for named in ["in/m.yaml", "./in/m.yaml", "in/../in/m.yaml", &whole] {
            assert_eq!(planned(&bed, named), 1, "{files} of {named}");
        }
        for named in ["m.yaml", "./m.yaml", "../in/m.yaml"] {
            let mut command = bed.command(&["plan", named, "--offline", "--json"]);
            let ran = command.current_dir(bed.path("in")).output().unwrap();
            let plan: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
            assert_eq!(plan["records"], 1, "{files} of {named} from its folder");
        }
    }
}

#[test]
fn a_pattern_that_holds_anywhere_does_not_look_above_the_manifest() {
    let bed = Bed::new();
    bed.write("draft/in/a.json", &patient("a"));
    bed.write("draft/in/draft/b.json", &patient("b"));
    bed.write(
        "draft/in/m.yaml",
        &manifest("['**/*.json', '!**/draft/**']"),
    );
    let mut command = bed.command(&["plan", "m.yaml", "--offline", "--json"]);
    let ran = command.current_dir(bed.path("draft/in")).output().unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(plan["records"], 1);
}

#[test]
fn a_folder_that_cannot_be_entered_is_named_or_taken_away() {
    let bed = Bed::new();
    bed.write("a.json", &patient("a"));
    bed.write("no/x/b.json", &patient("b"));
    let close = |mode| {
        let closed = std::fs::Permissions::from_mode(mode);
        fs_err::set_permissions(bed.path("no"), closed).unwrap();
    };
    close(0o000);
    if fs_err::read_dir(bed.path("no")).is_ok() {
        eprintln!("skipped: this user may enter every folder");
        close(0o700);
        return;
    }
    bed.write("m.yaml", &manifest("['**/*.json', '!no/**']"));
    let ran = bed.run(&["plan", "m.yaml", "--offline", "--json"]).exits(0);
    assert!(ran.out.contains("\"records\": 1"), "{}", ran.out);
    bed.write("m.yaml", &manifest("['no/x/*.json']"));
    let ran = bed.run(&["plan", "m.yaml", "--offline"]).exits(2);
    close(0o700);
    assert!(
        ran.err
            .contains("cannot look into `no/x`: permission denied"),
        "{}",
        ran.err
    );
}

#[test]
fn a_file_that_is_added_later_stands_in_one_load_of_init_s() {
    let bed = Bed::new();
    bed.write("in/p.json", &patient("p"));
    bed.write(
        "in/t.json",
        r#"{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Patient","id":"t"},"request":{"method":"PUT","url":"Patient/t"}}]}"#,
    );
    bed.run(&["init", "in"]).exits(0);
    bed.write("in/q.json", &patient("q"));
    let ran = bed
        .run(&["load", "stoker.yaml", "--progress", "none"])
        .exits(0);
    assert_eq!(bed.count("created"), 3, "{}", ran.out);
    assert_eq!(bed.count("duplicate"), 0, "{}", ran.out);
}

/// Settings that name a file, each beside a target that is not reached before it has been read.
const SETTINGS: [&str; 6] = [
    "fhir: { url: 'https://127.0.0.1:1/x' }, tls: { ca: FILE }",
    "fhir: { url: 'https://127.0.0.1:1/x' }, tls: { certificate: FILE, key: FILE }",
    "fhir: { url: 'https://127.0.0.1:1/x' }, auth: { bearer: { file: FILE } }",
    "fhir: { url: 'https://127.0.0.1:1/x' }, auth: { google: { credentials: FILE } }",
    "mllp: { address: '127.0.0.1:1', tls: { ca: FILE } }",
    "mllp: { address: '127.0.0.1:1', tls: { certificate: FILE, key: FILE } }",
];

#[test]
fn a_setting_that_names_a_device_is_refused() {
    for setting in SETTINGS {
        let bed = Bed::new();
        bed.write("a.json", &patient("a"));
        let is_mllp = setting.starts_with("mllp");
        if is_mllp {
            bed.write("a.json", "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r");
        }
        let interaction = if is_mllp { "" } else { ", interaction: update" };
        let target = setting.replace("FILE", "/dev/zero");
        bed.write(
            "m.yaml",
            &format!("version: 1\nname: t\ntargets:\n  t: {{ {target} }}\nloads:\n  - {{ name: l, target: t, files: a.json{interaction} }}\n"),
        );
        let ran = bed.run(&["load", "m.yaml", "--progress", "none"]);
        assert!(
            matches!(ran.code, 2 | 4),
            "{setting}: {} {}",
            ran.code,
            ran.err
        );
        assert!(
            ran.err.contains("/dev/zero") && ran.err.contains("it is neither a file nor a pipe"),
            "{setting}: {}",
            ran.err
        );
    }
    let bed = Bed::new();
    let ran = bed
        .run(&["create", "/dev/zero", "--local", "store"])
        .exits(2);
    assert!(ran.err.contains("neither a file nor a pipe"), "{}", ran.err);
    let ran = bed.run(&["emulate", "--dir", "store", "--faults", "/dev/zero"]);
    assert!(ran.err.contains("neither a file nor a pipe"), "{}", ran.err);
    assert_ne!(ran.code, 0);
}

#[test]
fn empty_files_are_called_empty() {
    let bed = Bed::new();
    for name in ["a.json", "a.ndjson", "a.hl7", "a.dcm"] {
        bed.write(name, "");
        let ran = bed.run(&["create", name, "--local", "store"]).exits(2);
        assert!(ran.err.contains("is empty"), "{name}: {}", ran.err);
    }
    bed.write("a.ndjson.gz", "");
    // An empty stream of gzip.
    let stream = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    fs_err::write(bed.path("b.ndjson.gz"), stream).unwrap();
    bed.write(
        "m.yaml",
        "version: 1\nname: t\ntargets: { f: { local: store }, h: { local: { dir: store, hl7v2_store: feed } }, d: { local: { dir: store, dicom_store: images } } }\nloads:\n  \
         - { name: f, target: f, files: [a.json, a.ndjson, a.ndjson.gz, b.ndjson.gz], interaction: update }\n  \
         - { name: h, target: h, files: a.hl7 }\n  - { name: d, target: d, files: a.dcm }\n",
    );
    let ran = bed.run(&["check", "m.yaml"]);
    for name in ["a.ndjson", "a.hl7", "b.ndjson.gz"] {
        assert!(
            ran.err.contains(&format!("{name} is empty")),
            "{name}: {}",
            ran.err
        );
    }
    for told in [
        "no DICOM file: it is empty",
        "the file is empty",
        "the file is empty, and is to be compressed data",
    ] {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
}

#[test]
fn help_that_cannot_be_written_is_no_success() {
    let bed = Bed::new();
    for arguments in [&["--help"][..], &["--version"], &["load", "--help"]] {
        let full = fs_err::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut command: Command = bed.command(arguments);
        let ran = command.stdout(full.into_file()).output().unwrap();
        assert_eq!(ran.status.code(), Some(5), "{arguments:?}");
        assert_eq!(bed.run(arguments).code, 0, "{arguments:?}");
    }
}

#[test]
fn a_rate_of_one_is_refused_in_words_that_fit() {
    let bed = Bed::new();
    bed.write("a.json", &patient("a"));
    bed.write(
        "m.yaml",
        "version: 1\nname: t\ntargets: { t: { local: store, rate: 1/s } }\nloads: [ { name: l, target: t, files: a.json, interaction: update } ]\n",
    );
    let ran = bed.run(&["check", "m.yaml"]).exits(2);
    assert!(
        ran.err.contains("60/min") && !ran.err.contains("transaction"),
        "{}",
        ran.err
    );
}

#[test]
fn a_folder_whose_name_is_not_utf_8_is_named_before_anything_is_done() {
    use std::os::unix::ffi::OsStrExt as _;
    let bed = Bed::new();
    let folder = bed.path("").join(std::ffi::OsStr::from_bytes(b"man\xfd"));
    fs_err::create_dir(&folder).unwrap();
    fs_err::write(folder.join("p.json"), patient("p")).unwrap();
    fs_err::write(folder.join("m.yaml"), manifest("p.json")).unwrap();
    for verb in ["check", "plan", "load"] {
        let mut command = bed.command(&[verb, "m.yaml"]);
        let ran = command.current_dir(&folder).output().unwrap();
        let told = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(2), "{verb}: {told}");
        assert!(
            told.contains("man\\xfd/m.yaml` is not UTF-8"),
            "{verb}: {told}"
        );
    }
}

#[test]
fn a_saved_plan_is_no_manifest_wherever_one_is_named() {
    let bed = Bed::new();
    bed.write("p.json", &patient("p"));
    bed.write("m.yaml", &manifest("p.json"));
    bed.run(&["plan", "m.yaml", "--out", "p 1.plan"]).exits(0);
    for arguments in [
        &["reset", "p 1.plan"][..],
        &["check", "p 1.plan"],
        &["verify", "p 1.plan"],
        &[
            "get",
            "Patient/p",
            "--manifest",
            "p 1.plan",
            "--target",
            "t",
        ],
    ] {
        let ran = bed.run(arguments).exits(2);
        assert!(
            ran.err.contains("is a saved plan"),
            "{arguments:?}: {}",
            ran.err
        );
    }
    let mut command = bed.command(&["load", "-"]);
    let plan = fs_err::File::open(bed.path("p 1.plan")).unwrap();
    let ran = command.stdin(plan.into_file()).output().unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert!(told.contains("is a saved plan"), "{told}");
}

#[test]
fn a_manifest_is_read_from_a_pipe() {
    let bed = Bed::new();
    bed.write("p.json", &patient("p"));
    bed.write("m.yaml", &manifest("p.json"));
    let stoker = assert_cmd::cargo::cargo_bin!("stoker")
        .display()
        .to_string();
    let line = format!("{stoker} plan <(cat m.yaml) --offline --json");
    let mut command = Command::new("bash");
    let ran = command
        .args(["-c", &line])
        .current_dir(bed.path(""))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    // Its patterns begin beside the pipe: that it was read is what counts.
    assert!(
        told.contains("no file matches") || ran.status.success(),
        "{told}"
    );
}

#[test]
fn all_that_a_program_reads_beside_the_result_is_json() {
    let bed = Bed::new();
    bed.write("p.json", &patient("p"));
    bed.write("m.yaml", &manifest("p.json"));
    bed.run(&["load", "m.yaml", "--progress", "none"]).exits(0);
    for arguments in [
        &["resume", "nosuch"][..],
        &["watch"],
        &["load", "m.yaml", "--log-file", "/nowhere/log"],
        &["load", "nosuch.yaml"],
    ] {
        let ran = bed.run(&[arguments, &["--progress", "json"]].concat());
        assert!(!ran.err.is_empty(), "{arguments:?}");
        for line in ran.err.lines() {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
            assert!(parsed.is_ok(), "{arguments:?}: {line}");
        }
    }
}
