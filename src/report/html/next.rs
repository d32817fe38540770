//! The next steps that a user can take, with the commands for them.

use std::fmt::Write as _;

use super::escaped;
use crate::{
    journal::RunDirectory,
    report::{
        Report,
        format::{quoted, records},
    },
};

/// Something that can be done.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    words: String,
    commands: Vec<String>,
}

fn step(words: impl Into<String>, commands: impl IntoIterator<Item = String>) -> Step {
    Step {
        words: words.into(),
        commands: commands.into_iter().collect(),
    }
}

/// Writes what can be done next.
pub(super) fn write(out: &mut String, report: &Report, run: &RunDirectory) {
    let _ = writeln!(out, "<h2>What next</h2>\n<ul>");
    for step in steps(report, run) {
        let _ = writeln!(out, "<li>{}", escaped(&step.words));
        for command in &step.commands {
            let _ = writeln!(out, "<pre><code>{}</code></pre>", escaped(command));
        }
        let _ = writeln!(out, "</li>");
    }
    let _ = writeln!(out, "</ul>");
}

fn steps(report: &Report, run: &RunDirectory) -> Vec<Step> {
    // A reader of the page may stand in any directory. A path that cannot be made absolute stands as it was given.
    let directory = std::path::absolute(run.path());
    let directory = directory.unwrap_or_else(|_| run.path().to_owned());
    let path = quoted(&directory);
    let totals = &report.outcomes;
    let mut steps = Vec::new();
    if report.can_go_on() {
        let untried = match totals.pending {
            0 => String::new(),
            1 => ": 1 record was not tried".to_owned(),
            n => format!(": {} were not tried", records(n)),
        };
        let doubt = match report.in_doubt {
            0 => "",
            _ => " The store is asked about those that were on their way.",
        };
        steps.push(step(
            format!("Go on with the run{untried}. What is loaded is not sent again.{doubt}"),
            [format!("stoker resume {path}")],
        ));
    }
    if totals.rejected > 0 {
        let blocked = match totals.blocked {
            0 => "",
            _ => " (the blocked ones stand there, too)",
        };
        let rejected = directory.join("rejected");
        steps.push(step(
            format!(
                "Mend the rejected records in {}{blocked}, and load them:",
                quoted(&rejected)
            ),
            [format!(
                "stoker load {}",
                quoted(&rejected.join("manifest.yaml"))
            )],
        ));
        steps.push(step(
            "Or, once the store takes them as they are, send them again:",
            [format!("stoker resume {path} --replay rejected")],
        ));
    } else if totals.blocked > 0 && totals.unknown == 0 {
        steps.push(step(
            "Mend what the blocked records need, and load again: what has arrived is not sent twice.",
            [],
        ));
    }
    if totals.unknown > report.in_doubt {
        // A record that waits for one in doubt is blocked, and goes with it.
        let replay = if totals.blocked > 0 { "all" } else { "unknown" };
        steps.push(step(
            "Of some records nobody knows whether the store has them; the problems below say what that means. To send them again:",
            [format!("stoker resume {path} --replay {replay}")],
        ));
    }
    if totals.rejected + totals.unknown > 0 {
        steps.push(step(
            "Read what the server said. It may be patients' data, and is not on this page:",
            [format!("stoker report {path} --show-content")],
        ));
    }
    if totals.unsupported > 0 && totals.rejected == 0 {
        steps.push(step(
            "Some records cannot be loaded there at all; the problems below say why. Mend their files, and load again.",
            [],
        ));
    }
    if steps.is_empty() {
        steps.push(step(
            "Nothing is left to do. Loading the same manifest again sends only what has changed.",
            [],
        ));
    }
    steps.push(step(
        "See this report again:",
        [format!("stoker report {path}")],
    ));
    steps
}
