//! `docs/troubleshooting.md`: what it quotes is what Stoker prints, and what it tells to run can be run.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use super::bed::Bed;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs_err::read_to_string(root().join("docs/troubleshooting.md")).unwrap()
}

/// All sources of the program, with their broken strings joined.
fn sources() -> String {
    let mut all = String::new();
    for entry in walkdir::WalkDir::new(root().join("src")) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs_err::read_to_string(&path).unwrap();
            for line in text.lines() {
                match line.strip_suffix('\\') {
                    Some(broken) => all.push_str(broken.trim_start()),
                    None => writeln!(all, "{}", line.trim_start()).unwrap(),
                }
            }
        }
    }
    all
}

/// The code spans of a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_symptom_is_a_message() {
    let (page, sources) = (page(), sources());
    let mut symptoms = 0;
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let symptom = row.split(" | ").next().unwrap();
        for span in spans(symptom) {
            symptoms += 1;
            let parts = span.split('…').map(str::trim);
            let parts: Vec<_> = parts.filter(|part| part.len() > 3).collect();
            assert!(!parts.is_empty(), "{span}");
            for part in parts {
                assert!(sources.contains(part), "`{part}` is no message any more");
            }
        }
    }
    assert!(symptoms > 25, "{symptoms}");
}

#[test]
fn every_command_can_be_run() {
    let page = page();
    let blocks = page.split("```console\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    let lines = blocks.flat_map(str::lines);
    let lines = lines.map(|line| line.split('#').next().unwrap_or_default());
    let commands: BTreeSet<&str> = lines
        .chain(spans(&page))
        .filter_map(|command| command.trim().strip_prefix("stoker "))
        .collect();
    assert!(commands.len() >= 6, "{commands:?}");
    let bed = Bed::new();
    for command in commands {
        let mut words = command.split_whitespace();
        let verb = words.next().unwrap();
        let help = bed.run(&[verb, "--help"]);
        assert_eq!(help.code, 0, "there is no verb `{verb}`");
        for flag in words.filter(|word| word.starts_with('-')) {
            assert!(help.out.contains(flag), "`{verb}` has no `{flag}`");
        }
    }
}
