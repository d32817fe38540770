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
    plan::{Forecast, file::Saved},
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

/// Puts what the targets say into the forecast of a plan, which goes by the word of earlier runs.
pub(super) fn amend(mut forecast: Forecast, found: &Holdings) -> Forecast {
    for (load, found) in forecast.loads.iter_mut().zip(&found.loads) {
        // A load that compares sends what differs one by one.
        let again = found.again.min(load.loaded);
        load.loaded -= again;
        load.requests += again;
        load.strayed = found.strayed();
    }
    forecast
}

/// Says what earlier runs have loaded and is no longer so, and what a load makes of it.
pub(super) fn strayed(found: &Online) -> String {
    if found.strayed() == 0 {
        return String::new();
    }
    let parts = [(found.missing, "gone"), (found.changed, "changed")];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts
        .map(|(count, what)| format!("{} {what}", grouped(*count)))
        .collect();
    format!(
        "        {} no longer as they were: {}\n        \
         A load leaves them alone, unless the sample that it reads first meets one of them: then it sends all of these.\n        \
         `stoker load --fresh` sends everything; with `compare: true` a load looks at each record.\n",
        match found.strayed() {
            1 => "1 record that an earlier run has loaded is".to_owned(),
            count => format!(
                "{} records that earlier runs have loaded are",
                grouped(count)
            ),
        },
        parts.join(", ")
    )
}

/// Says which records would change, and where; the values only where content may be shown.
pub(super) fn changes(asked: &Holdings, show_content: bool) -> String {
    let mut text = String::new();
    let (left, would): (Vec<_>, Vec<_>) =
        asked.changes.iter().partition(|change| change.left_alone);
    let all = |count: fn(&Online) -> u64| asked.loads.iter().map(count).sum::<u64>();
    for (title, told, all) in [
        ("would change", would, all(|load| load.update)),
        (
            "changed since an earlier run loaded them, and left alone",
            left,
            all(|load| load.changed),
        ),
    ] {
        if !told.is_empty() {
            let more = match asked.changes.len() {
                Change::MOST => all.saturating_sub(told.len() as u64),
                _ => 0,
            };
            text.push_str(&listed(title, &told, more, show_content));
        }
    }
    text
}

fn listed(title: &str, changes: &[&Change], more: u64, show_content: bool) -> String {
    use std::fmt::Write as _;
    let mut text = format!("\n{title}\n");
    for change in changes {
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
    if more > 0 {
        let _ = writeln!(text, "  … and up to {} more", grouped(more));
    }
    text
}
