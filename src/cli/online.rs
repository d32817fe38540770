//! The questions of `stoker plan --online` to the targets.

use std::{collections::HashMap, sync::Arc};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    Error, Exit,
    connect::{self, Connection},
    printer::Printer,
    scratch::Scratch,
    sources,
};
use crate::{
    plan::file::Saved,
    report::format::plain,
    send::{
        Earlier,
        online::{self, Change, Holdings, Online},
    },
    source::Bodies,
    unit::grouped,
};

/// Asks the targets what they hold already of a plan's records; a line for each load.
pub(super) async fn ask(
    saved: &Arc<Saved>,
    scratch: &Scratch,
    connections: &HashMap<String, Connection>,
    earlier: &Earlier,
    differs: bool,
    printer: Printer,
) -> Result<Holdings, Error> {
    let spool = scratch.run().spool();
    let bodies = Arc::new(Bodies::new(sources::readable(&saved.sources, &spool)));
    let gates = connections
        .iter()
        .map(|(name, connection)| (name.clone(), (&*connection.gate, &connection.target)))
        .collect();
    let bar = Line(bar(saved.summary.sent(), printer));
    let asked = online::ask(saved, &bodies, &gates, earlier, differs, &|records| {
        bar.0.inc(records);
    })
    .await;
    asked.map_err(|error| match error {
        online::Error::Unreadable(error) => Error::disk(error),
        online::Error::Target {
            ref target,
            ref failure,
        } => connect::at_target(target, connect::failed(failure)),
        online::Error::Credentials { .. } => Error::new(Exit::Target, error)
            .hint("check `auth`; a token may have expired or lack rights"),
    })
}

/// A line on the terminal that is gone when it is dropped: also when the asking is given up.
struct Line(ProgressBar);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn bar(records: u64, printer: Printer) -> ProgressBar {
    let target = if printer.draws() && !printer.is_quiet() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    // The template is a constant; a wrong one would only look plain.
    let style = ProgressStyle::with_template(
        "{bar:16} asking the targets: {human_pos}/{human_len} records",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
    .progress_chars(printer.ink().bar());
    ProgressBar::with_draw_target(Some(records), target).with_style(style)
}

/// Says what a load would do, given what its target holds.
pub(super) fn words(found: &Online) -> String {
    let mut counts = vec![
        format!("{} to create", found.create),
        format!("{} to update", found.update),
        format!("{} to leave as they are", found.leave),
    ];
    for (count, what) in [
        (found.refused, "whose condition several resources meet"),
        (found.unknown, "of which the target does not say"),
    ] {
        if count > 0 {
            counts.push(format!("{count} {what}"));
        }
    }
    counts.join(", ")
}

/// Says which records would change, and where; the values only where content may be shown.
pub(super) fn changes(asked: &Holdings, show_content: bool) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    if asked.changes.is_empty() {
        return text;
    }
    text.push_str("\nwould change\n");
    for change in &asked.changes {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {}  {}  {}",
            change.kind,
            change.id,
            plain(&change.position)
        );
        match &change.differences {
            None => text.push_str("      where is not known before what it refers to is loaded\n"),
            Some(differences) if differences.is_empty() => {
                text.push_str("      in what servers do of themselves only\n");
            }
            Some(differences) => {
                for difference in differences {
                    let _ = writeln!(text, "      {}", plain(&difference.path));
                    let (theirs, ours) = (&difference.theirs, &difference.ours);
                    for (mark, value) in [('-', theirs), ('+', ours)] {
                        if let Some(value) = value.as_ref().filter(|_| show_content) {
                            let _ = writeln!(text, "        {mark} {}", plain(value));
                        }
                    }
                }
            }
        }
    }
    let all: u64 = asked.loads.iter().map(|load| load.update).sum();
    let told = asked.changes.len() as u64;
    if told == Change::MOST as u64 && all > told {
        let _ = writeln!(text, "  … and up to {} more", grouped(all - told));
    }
    text
}
