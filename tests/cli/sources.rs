//! Files that are not what they should be, and names that are not harmless: what the binary says and loads.

use std::{io::Write as _, os::unix::ffi::OsStrExt as _};

use super::bed::Bed;

fn manifest(files: &str) -> String {
    format!(
        "version: 1\nname: t\ntargets:\n  t: {{ local: store }}\nloads:\n  - {{ name: l, target: t, files: {files}, interaction: update }}\n"
    )
}

fn patient(id: &str) -> String {
    format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}\n")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_torn_file_is_its_own_problem_also_for_the_next_load() {
    let bed = Bed::new();
    let lines: String = (0..4000_u32)
        .map(|n| patient(&format!("p{}", n.wrapping_mul(2_654_435_761))))
        .collect();
    let whole = gzip(&lines);
    fs_err::write(bed.path("a.ndjson.gz"), &whole[..whole.len() / 2]).unwrap();
    bed.write("b.json", &patient("b"));
    bed.write("m.yaml", &manifest("['a.ndjson.gz', 'b.json']"));
    let checked = bed.run(&["check", "m.yaml"]).exits(1);
    assert!(
        checked.err.contains("the gzip data is cut here"),
        "{}",
        checked.err
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert!(
        ran.out.contains("the gzip data is cut here") && ran.out.contains("fetch the file again"),
        "{}",
        ran.out
    );
    let first = bed.count("created");
    assert!(first > 1000 && first < 4001, "{first}");
    assert_eq!(bed.count("unsupported"), 1);
    // The same number as `check` has told.
    assert!(
        checked
            .out
            .contains(&format!("checked {} records", first + 1)),
        "{}",
        checked.out
    );
    // Once it has been fetched again, the rest is loaded, and nothing twice.
    fs_err::write(bed.path("a.ndjson.gz"), &whole).unwrap();
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 4001 - first);
}

#[test]
fn a_saved_plan_of_a_damaged_file_can_be_loaded() {
    let bed = Bed::new();
    let whole = gzip(&patient("a").repeat(100));
    fs_err::write(bed.path("a.ndjson.gz"), &whole[..whole.len() - 9]).unwrap();
    fs_err::write(bed.path("c.json.gz"), b"").unwrap();
    bed.write("b.json", &patient("b"));
    bed.write("m.yaml", &manifest("['*.gz', 'b.json']"));
    bed.run(&["plan", "--offline", "m.yaml", "--out", "p.plan"])
        .exits(0);
    bed.run(&["load", "p.plan"]).exits(1);
    assert!(bed.count("created") >= 1);
    assert_eq!(bed.count("unsupported"), 2);
}

#[test]
fn a_file_name_cannot_steer_the_terminal() {
    let bed = Bed::new();
    let name = "d/a\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}nosj.json";
    bed.write(name, "{\"resourceType\":\"Patient\"");
    bed.write("m.yaml", &manifest("['d/*.json']"));
    for verb in [
        &["check", "m.yaml"][..],
        &["plan", "--offline", "m.yaml"],
        &["load", "m.yaml"],
        &["--color", "always", "load", "m.yaml", "--fresh"],
        &["--color", "always", "check", "m.yaml"],
        &["init", "d", "--force"],
    ] {
        let ran = bed.run(verb);
        for text in [&ran.out, &ran.err] {
            // Our own colours are the only escapes.
            let own = text.split('\u{1b}').skip(1).all(|rest| {
                let code = rest.strip_prefix('[').unwrap_or("");
                let end = code.find(|c: char| !c.is_ascii_digit() && c != ';');
                end.is_some_and(|end| code[end..].starts_with('m'))
            });
            let others = ['\u{7}', '\u{202e}', '\u{9b}'];
            assert!(own && !text.contains(others), "{verb:?}: {text:?}");
        }
    }
    let checked = bed.run(&["check", "m.yaml"]).exits(1);
    assert!(
        checked.err.contains(r"a\u{1b}]0;owned\u{7}"),
        "{}",
        checked.err
    );
}

#[test]
fn a_name_that_is_not_utf_8_is_named_before_anything_is_sent() {
    let bed = Bed::new();
    bed.write("d/a.json", &patient("a"));
    let name = std::ffi::OsStr::from_bytes(b"d/m\xfcller.json");
    fs_err::write(bed.path(".").join(name), patient("m")).unwrap();
    bed.write("m.yaml", &manifest("['d/*.json']"));
    for verb in ["check", "plan", "load"] {
        let ran = bed.run(&[verb, "m.yaml"]).exits(2);
        assert!(
            ran.err.contains(r"d/m\xfcller.json` is not UTF-8"),
            "{}",
            ran.err
        );
        assert!(!ran.err.contains("a.json"), "{}", ran.err);
    }
    bed.write("m.yaml", &manifest("['d/*.json', '!d/m*']"));
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 1);
}

#[test]
fn check_and_plan_read_standard_input() {
    use std::process::Stdio;
    let bed = Bed::new();
    bed.write("m.yaml", &manifest("['-']"));
    let with = |arguments: &[&str], text: &str| {
        let mut child = bed
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        super::bed::Ran::of(child.wait_with_output().unwrap())
    };
    let two = patient("a") + "{\"resourceType\":\"Nonsense\"}\n";
    let checked = with(&["check", "m.yaml"], &two).exits(1);
    assert!(
        checked
            .out
            .contains("checked 2 records in 1 file: 1 cannot"),
        "{}",
        checked.out
    );
    let planned = with(&["plan", "--offline", "m.yaml"], &patient("a")).exits(0);
    assert!(planned.out.contains("1 record to send"), "{}", planned.out);
    // Nothing comes to nothing, as an empty file does.
    for verb in [&["check", "m.yaml"][..], &["load", "m.yaml"]] {
        let ran = with(verb, "").exits(0);
        assert!(
            ran.err.contains("standard input holds no records"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn no_file_stands_in_two_loads_that_init_writes() {
    let bed = Bed::new();
    for name in [
        "d/p1.json",
        "d/p2.json",
        "d/UP.JSON",
        "d/e/p3.json",
        "d/e[1]/p4.json",
    ] {
        bed.write(
            name,
            &patient(&name.replace(['/', '.', '[', ']'], "-").to_lowercase()),
        );
    }
    let transaction = |id: &str| {
        format!(
            "{{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"entry\":[{{\"resource\":{{\"resourceType\":\"Basic\",\"id\":\"{id}\",\"code\":{{\"text\":\"x\"}}}},\"request\":{{\"method\":\"POST\",\"url\":\"Basic\"}}}}]}}"
        )
    };
    for name in [
        "d/t1.json",
        "d/e/t2.json",
        "d/e/t3.json",
        "d/e/hospitalInformation1.json",
    ] {
        bed.write(
            name,
            &transaction(&name.replace(['/', '.'], "-").to_lowercase()),
        );
    }
    bed.write("d/n.ndjson", &patient("n"));
    bed.write("d/log.ndjson", "{\"level\":\"info\"}\n");
    bed.write("d/empty.json", "");
    let init = bed.run(&["init", "d"]).exits(0);
    assert!(
        init.err.contains("left out d/log.ndjson") && init.err.contains("left out d/empty.json"),
        "{}",
        init.err
    );
    let planned = bed
        .run(&["plan", "--offline", "--json", "stoker.yaml"])
        .exits(0);
    assert_eq!(planned.err, "");
    let plan: serde_json::Value = serde_json::from_str(&planned.out).unwrap();
    let files: u64 = plan["loads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|load| load["files"].as_u64().unwrap())
        .sum();
    // Each once, and what was left out is not loaded.
    assert_eq!(files, 10, "{plan:#}");
    bed.run(&["load", "stoker.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 10);
}

#[test]
fn a_secret_that_everyone_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let bed = Bed::new();
    bed.write("p.json", &patient("a"));
    bed.write("token", "t0ken");
    bed.write(
        "m.yaml",
        "version: 1\ntargets:\n  t: { fhir: { url: 'http://127.0.0.1:9/' }, auth: { bearer: { file: token } } }\nloads: [{ name: l, files: [p.json] }]\n",
    );
    let mode = |mode| {
        fs_err::set_permissions(bed.path("token"), std::fs::Permissions::from_mode(mode)).unwrap();
        bed.run(&["check", "m.yaml"]).exits(0).err
    };
    let warned = mode(0o644);
    assert!(
        warned.contains("everyone on this machine may read") && warned.contains("chmod 600"),
        "{warned}"
    );
    assert_eq!(mode(0o640), "");
    assert_eq!(mode(0o600), "");
}

#[test]
fn too_few_open_files_are_named_as_that() {
    let bed = Bed::new();
    bed.write("p.json", &patient("a"));
    bed.write("m.yaml", &manifest("[p.json]"));
    let stoker = assert_cmd::cargo::cargo_bin!("stoker");
    let output = std::process::Command::new("/bin/sh")
        .arg("-c")
        .arg("ulimit -n 12; exec \"$0\" load m.yaml")
        .arg(stoker)
        .current_dir(bed.path("."))
        .output()
        .unwrap();
    let ran = super::bed::Ran::of(output).exits(5);
    assert!(
        ran.err.contains("ulimit -n") && ran.err.contains("only 12 files"),
        "{}",
        ran.err
    );
    assert!(!bed.path("store").exists());
}

#[test]
fn only_manifests_are_read_and_shown() {
    let bed = Bed::new();
    bed.write("p.json", &patient("a"));
    bed.write("shadow", "root:$6$salt$hash:1:0:\nbin:*:1:\n");
    bed.write("shadow-like", "root:$6$salt$hash:\nbin:*:\n");
    bed.write("text", "hunter2\nhunter3: [\n");
    bed.write("large", &"# hunter2\n".repeat(1 << 20));
    let fifo = std::process::Command::new("mkfifo")
        .arg(bed.path("fifo"))
        .status();
    assert!(fifo.unwrap().success());
    for (file, expected) in [
        ("shadow", "this is no manifest"),
        ("shadow-like", "this is no manifest"),
        ("text", "error:"),
        ("large", "larger than 8 MiB"),
        ("fifo", "is no regular file"),
        ("/dev/zero", "is no regular file"),
        ("none", "there is no file"),
    ] {
        bed.write(
            "m.yaml",
            &format!("include: [{file}]\n{}", manifest("[p.json]")),
        );
        let ran = bed.run(&["check", "m.yaml"]).exits(2);
        assert!(ran.err.contains(expected), "{file}: {}", ran.err);
        for secret in ["hunter", "hash", "root", "bin"] {
            assert!(!ran.err.contains(secret), "{file}: {}", ran.err);
        }
    }
}

#[test]
fn colour_is_as_the_environment_wishes() {
    type Row = (
        &'static [(&'static str, &'static str)],
        &'static [&'static str],
        bool,
    );
    let bed = Bed::new();
    bed.write("m.yaml", "version: 1\ntargest: {}\n");
    let rows: [Row; 6] = [
        (&[], &[], false),
        (&[("CLICOLOR_FORCE", "1")], &[], true),
        (&[("CLICOLOR_FORCE", "0")], &[], false),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &[], false),
        (&[("CLICOLOR_FORCE", "1")], &["--color", "never"], false),
        (&[("NO_COLOR", "1")], &["--color", "always"], true),
    ];
    for (variables, flags, expected) in rows {
        let ran = bed.run_with(variables, &[&["check", "m.yaml"], flags].concat());
        let is_coloured = ran.err.contains('\u{1b}');
        assert_eq!(
            is_coloured, expected,
            "{variables:?} {flags:?}: {}",
            ran.err
        );
    }
}

/// A mistake on each line is one problem with a count, in `check` and in the summary of a load; a file that is something else
/// is one record.
#[test]
fn a_mistake_that_a_file_repeats_is_said_once() {
    let bed = Bed::new();
    bed.write("m.yaml", &manifest("[c.ndjson]"));
    bed.write("c.ndjson", &patient("q").replace("}\n", "},\n").repeat(50));
    let ran = bed.run(&["check", "m.yaml"]).exits(1);
    let said = |text: &str| text.matches("a comma stands after the value").count();
    assert_eq!(said(&ran.err), 1, "{}", ran.err);
    assert!(
        ran.err.contains("(and 49 more in this file)"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("more; --most"), "{}", ran.err);
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(said(&ran.out), 1, "{}", ran.out);
    assert!(!ran.out.contains("(line 1"), "{}", ran.out);
    assert!(ran.out.contains("c.ndjson:2"), "{}", ran.out);

    for (text, named) in [
        ("id,name\n1,A\n2,B\n3,C\n", "this is a table (CSV)"),
        ("<<<<<<< HEAD\n{}\n", "a mark of a merge conflict"),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "a pointer of Git LFS",
        ),
    ] {
        bed.write("c.ndjson", text);
        let ran = bed.run(&["check", "m.yaml"]).exits(1);
        assert!(ran.err.contains(named), "{}", ran.err);
        assert!(
            ran.out.contains("checked 1 record in 1 file"),
            "{}",
            ran.out
        );
    }
}

/// Files that are something else are told apart in the summary, each with what to do about it.
#[test]
fn files_that_cannot_be_read_are_counted_by_why() {
    let bed = Bed::new();
    bed.write("m.yaml", &manifest("[\"*.json\", d.ndjson]"));
    bed.write("a.json", "{\"resourceType\":\"Patient\",\"id\":");
    bed.write("b.json", "<Patient xmlns='http://hl7.org/fhir'/>");
    bed.write("c.json", "<Patient/>");
    let text = "\u{1e}{\"resourceType\":\"Patient\",\"id\":\"a\"}\n";
    bed.write("d.ndjson", &text.repeat(2));
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    for cause in [
        "1 unsupported: the text ends too early",
        "2 unsupported: this is XML, not JSON",
        "2 unsupported: a record separator stands before the value",
    ] {
        assert!(ran.out.contains(cause), "{}", ran.out);
    }
}

/// An entry that no target takes is refused while it is read; so is what travels with it or not at all.
#[test]
fn an_entry_that_is_far_too_large_is_refused_in_the_plan() {
    for (kind, refused) in [("transaction", 2), ("batch", 1), ("collection", 1)] {
        let bed = Bed::new();
        bed.write("m.yaml", &manifest("[b.json]"));
        let large = "A".repeat(120 << 20);
        bed.write("b.json", &format!(
            "{{\"resourceType\":\"Bundle\",\"type\":\"{kind}\",\"entry\":[\
             {{\"resource\":{{\"resourceType\":\"Patient\",\"id\":\"p\"}},\"request\":{{\"method\":\"PUT\",\"url\":\"Patient/p\"}}}},\
             {{\"resource\":{{\"resourceType\":\"Binary\",\"id\":\"b\",\"data\":\"{large}\"}},\"request\":{{\"method\":\"PUT\",\"url\":\"Binary/b\"}}}}]}}"
        ));
        let ran = bed.run(&["plan", "--offline", "--json", "m.yaml"]).exits(0);
        assert!(ran.out.contains("too-large"), "{kind}: {}", ran.out);
        let ran = bed.run(&["check", "m.yaml"]).exits(1);
        let counted = format!("{refused} cannot be loaded");
        assert!(ran.out.contains(&counted), "{kind}: {}{}", ran.out, ran.err);
        let told = ran.err.matches("far larger than the target takes").count();
        assert_eq!(told, refused, "{kind}: {}", ran.err);
    }
}
