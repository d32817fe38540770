//! What bash completes: names of runs, and of loads and targets of the manifest at hand.

use std::process::Command;

use super::bed::Bed;

/// What is offered for a line whose last word is being written.
fn offered(bed: &Bed, line: &str) -> Vec<String> {
    // The name of the program is the one that was typed.
    let line = line.replacen("stoker", "\"$STOKER\"", 1);
    let script = format!(
        "source completions.bash; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         _stoker_names \"$STOKER\" \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let ran = Command::new("bash")
        .args(["--norc", "-c", &script])
        .env("STOKER", assert_cmd::cargo::cargo_bin!("stoker"))
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

#[test]
fn names_at_hand_are_completed() {
    let bed = Bed::new();
    let script = bed.run(&["generate", "completions", "bash"]).exits(0).out;
    bed.write("completions.bash", &script);
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
    // Flags and verbs are completed as before.
    assert!(offered(&bed, "stoker resume --re").contains(&"--replay".to_owned()));
    assert_eq!(offered(&bed, "stoker ver"), ["verify"]);
}
