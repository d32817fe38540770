//! The records that earlier runs had loaded, in the words of a report: how it is known that they are there, and what was done.

use std::fmt::Write as _;

use super::document::{HistoryCheck, Report};
use crate::{journal::format::ConsultedLine, unit::grouped};

impl HistoryCheck {
    /// Takes it from the journal; none where an older Stoker wrote that, or nothing was loaded before.
    pub(super) fn of(line: &ConsultedLine) -> Option<Self> {
        let sampled = line.sampled?;
        Some(Self {
            sampled,
            asked: line.asked,
            gone: line.gone,
        })
    }
}

/// Says in a few words how it is known that what comes from the history is in the store; none where nothing does.
pub(super) fn brief(report: &Report) -> Option<String> {
    let gone = report.history.map_or(0, |found| found.gone);
    let gone = match gone {
        0 => String::new(),
        gone => format!("{} more were gone or changed", grouped(gone)),
    };
    let count = report.from_history;
    if count == 0 {
        return (!gone.is_empty()).then(|| format!("0; {gone}"));
    }
    let how = match report.history {
        None => "not asked for one by one".to_owned(),
        Some(HistoryCheck { sampled: 0, .. }) => "not asked for".to_owned(),
        Some(found) if found.asked >= count => "each asked for".to_owned(),
        Some(found) if found.asked > 0 => {
            format!("{} of them asked for one by one", grouped(found.asked))
        }
        Some(found) => format!("a sample of {} asked for", grouped(found.sampled)),
    };
    let gone = if gone.is_empty() {
        gone
    } else {
        format!("; {gone}")
    };
    Some(format!("{}, {how}{gone}", grouped(count)))
}

/// Says at the end of a run how far its word about what was there before holds, and what else can be done.
pub(super) fn at_length(report: &Report) -> Option<String> {
    let records = |count: u64| match count {
        1 => "1 record".to_owned(),
        count => format!("{} records", grouped(count)),
    };
    let (asked, gone) = report
        .history
        .map_or((0, 0), |found| (found.asked, found.gone));
    let believed = report.from_history.saturating_sub(asked);
    let mut lines = Vec::new();
    if gone > 0 {
        lines.push(format!(
            "{} that earlier runs had loaded: the store no longer held {}",
            records(gone + asked),
            match (asked, gone) {
                (0, 1) => "it".to_owned(),
                (0, _) => "them".to_owned(),
                (_, gone) => format!("{} as loaded", grouped(gone)),
            }
        ));
        let mut done = format!("so {} sent again", was(gone));
        if asked > 0 {
            // Writing to a string cannot fail.
            let _ = write!(done, "; the other {} asked for one by one", was(asked));
        }
        lines.push(done);
    }
    if believed > 0 {
        let how = match report.history {
            Some(HistoryCheck { sampled: 0, .. }) => "which no store was asked for",
            _ => "of which the store was asked for a sample only",
        };
        lines.push(format!("{}, {how}:", records(believed)));
        lines.push("`--fresh` sends all again, and with `compare: true` asks for each".to_owned());
    }
    (!lines.is_empty()).then(|| lines.join("\n                "))
}

fn was(count: u64) -> String {
    match count {
        1 => "1 was".to_owned(),
        count => format!("{} were", grouped(count)),
    }
}
