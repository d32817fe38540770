//! Names that a shell completes: of runs, and of loads and targets of the manifest at hand.

use std::process::Command;

use super::bed::Bed;

/// Returns the names that a shell offers for a line whose last word is being written.
type Offers = fn(&Bed, &str) -> Vec<String>;

fn bash(bed: &Bed, line: &str) -> Vec<String> {
    // The name of the program is the one that was typed.
    let line = line.replacen("stoker", "\"$STOKER\"", 1);
    let script = format!(
        "source completions.bash; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         _stoker_names \"$STOKER\" \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    lines(bed, "bash", &["--norc", "-c", &script])
}

fn zsh(bed: &Bed, line: &str) -> Vec<String> {
    let line = line.replacen("stoker", "\"$STOKER\"", 1);
    // The completion system needs a terminal: what it would be told is printed.
    let script = format!(
        "compdef() {{ :; }}; source completions.zsh; compadd() {{ print -l -- ${{(P)2}}; }}; _stoker() {{ print -- files; }}; \
         words=({line}); CURRENT=$#words; _stoker_names | grep -v '^files$' || true"
    );
    let word = line.rsplit(' ').next().unwrap().trim_matches('\'');
    // It chooses by the word itself.
    let mut names = lines(bed, "zsh", &["-f", "-c", &script]);
    names.retain(|name| name.starts_with(word));
    names
}

fn fish(bed: &Bed, line: &str) -> Vec<String> {
    let line = line.trim_end_matches("''");
    let script = format!(
        "set -x PATH (path dirname $STOKER) $PATH; source completions.fish; complete -C '{line}'"
    );
    let mut names = lines(bed, "fish", &["--no-config", "-c", &script]);
    // Folders and files are offered as well where one may be named.
    names.retain(|name| !name.ends_with('/') && !name.contains('\t'));
    names
}

/// What fish shows of a line, with the descriptions.
fn fish_tells(bed: &Bed, line: &str) -> String {
    let script = format!(
        "set -x PATH (path dirname $STOKER) $PATH; source completions.fish; complete -C '{line}'"
    );
    lines(bed, "fish", &["--no-config", "-c", &script]).join("\n")
}

fn lines(bed: &Bed, shell: &str, args: &[&str]) -> Vec<String> {
    let ran = Command::new(shell)
        .args(args)
        .env("STOKER", assert_cmd::cargo::cargo_bin!("stoker"))
        .env("HOME", bed.path(""))
        .current_dir(bed.path(""))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let out = String::from_utf8(ran.stdout).unwrap();
    out.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns the shells of this machine; bash is on each.
fn shells() -> Vec<(&'static str, Offers)> {
    let mut shells: Vec<(&str, Offers)> = vec![("bash", bash), ("zsh", zsh), ("fish", fish)];
    shells.retain(|(name, _)| {
        let is_there = Command::new(name).arg("--version").output().is_ok();
        if !is_there {
            eprintln!("skipped: {name} is not there");
        }
        is_there
    });
    shells
}

#[test]
fn names_at_hand_are_completed() {
    for (shell, offered) in shells() {
        completes(shell, offered);
    }
}

fn completes(shell: &str, offered: Offers) {
    let bed = Bed::new();
    let script = bed.run(&["generate", "completions", shell]).exits(0).out;
    bed.write(&format!("completions.{shell}"), &script);
    bed.write("p.json", "{\"resourceType\":\"Patient\",\"id\":\"p\"}");
    bed.write(
        "m.yaml",
        "version: 1\nname: seen\ntargets: { near: { local: a }, far: { local: b } }\nloads:\n  \
         - { name: people, target: near, files: p.json, interaction: update }\n  \
         - { name: places, target: far, files: p.json, interaction: update }\n  \
         - { name: results, target: far, files: p.json, interaction: update }\n",
    );
    assert_eq!(
        offered(&bed, "stoker load m.yaml --load p"),
        ["people", "places"]
    );
    assert_eq!(
        offered(&bed, "stoker load m.yaml --load ''"),
        ["people", "places", "results"]
    );
    assert_eq!(offered(&bed, "stoker plan m.yaml --target f"), ["far"]);
    // Without a manifest there is nothing to name, and nothing is said.
    assert_eq!(offered(&bed, "stoker load --load zz"), [""; 0]);
    let _ = bed.run(&["load", "m.yaml", "--progress", "none"]).exits(0);
    let name = bed
        .newest_run()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    for verb in ["resume", "report", "watch", "unload", "verify"] {
        assert_eq!(
            offered(&bed, &format!("stoker {verb} se")),
            [&*name],
            "{verb}"
        );
    }
    // Verbs, flags and the values of flags are there beside what the program itself is asked for.
    if shell == "fish" {
        let told = |line: &str| fish_tells(&bed, line);
        assert!(told("stoker ver").starts_with("verify\tCompare what the stores hold"));
        assert!(told("stoker load --tar").contains("--target\tOnly loads into this target"));
        assert!(told("stoker load --progress li").contains("lines\t"));
        assert!(told("stoker load m.y").contains("m.yaml"));
        assert_eq!(
            told("stoker generate completions ").lines().count(),
            5,
            "shells only"
        );
    }
    if shell != "bash" {
        return;
    }
    // Flags and verbs are completed as before.
    assert!(offered(&bed, "stoker resume --re").contains(&"--replay".to_owned()));
    assert_eq!(offered(&bed, "stoker ver"), ["verify"]);
    // Where a file is meant, the shell names files: no option is in the way, and no file where a name is meant.
    assert_eq!(offered(&bed, "stoker load ''"), [""; 0]);
    assert!(offered(&bed, "stoker ''").contains(&"load".to_owned()));
    assert!(offered(&bed, "stoker emulate ''").contains(&"--dir".to_owned()));
    // bash hands over words as they were typed.
    fs_err::create_dir(bed.path("my load")).unwrap();
    fs_err::copy(bed.path("m.yaml"), bed.path("my load/m.yaml")).unwrap();
    for typed in ["my\\ load/m.yaml", "\"my load/m.yaml\""] {
        let line = format!("stoker load '{typed}' --target n");
        assert_eq!(offered(&bed, &line), ["near"], "{typed}");
    }
}
