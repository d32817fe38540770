//! The progress of the work, as it is shown to people who look on.

use std::{sync::Arc, time::Duration};

use clap::ValueEnum;

use super::printer::Printer;
use crate::{
    event::{Event, Observe},
    progress,
    unit::grouped,
};

/// The form in which progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressKind {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// Bars
    Bars,
    /// A line every few seconds
    Lines,
    /// A JSON object every second, on standard error; messages there are JSON too
    Json,
    /// Nothing
    None,
}

/// The time between two showings of a count.
pub(super) const SHOWN_EVERY: Duration = Duration::from_secs(5);

/// The time between two samples of the ways to the targets.
pub(super) const SAMPLED_EVERY: Duration = Duration::from_millis(250);

/// Returns the watcher that draws what is observed.
pub(super) fn watcher(kind: ProgressKind, printer: Printer) -> progress::Watcher {
    let watcher = match kind {
        _ if printer.is_quiet() => progress::Watcher::none(),
        ProgressKind::Auto | ProgressKind::Bars if printer.draws() => {
            progress::Watcher::bars(printer.ink())
        }
        // A terminal that cannot move its cursor has no bars.
        ProgressKind::Bars if !Printer::is_watched() => progress::Watcher::bars(printer.ink()),
        ProgressKind::Bars | ProgressKind::Auto | ProgressKind::Lines => {
            progress::Watcher::lines(Box::new(std::io::stderr()))
        }
        ProgressKind::Json => progress::Watcher::json(Box::new(std::io::stderr())),
        ProgressKind::None => progress::Watcher::none(),
    };
    Printer::gives_way_to(&watcher);
    watcher
}

/// Returns who draws how far a reading is that ends with what says everything: only people are shown that.
pub(super) fn for_people(printer: Printer) -> progress::Watcher {
    let kind = if Printer::is_watched() {
        ProgressKind::Auto
    } else {
        ProgressKind::None
    };
    watcher(kind, printer)
}

/// Work that ends with what says everything, and of which people are shown meanwhile what is done. Nothing is drawn any more once
/// it is dropped.
pub(super) struct AtWork {
    watcher: progress::Watcher,
    observe: Arc<dyn Observe>,
    /// Somebody is shown it.
    is_shown: bool,
}

impl AtWork {
    /// Begins, with the words for what is done first.
    pub(super) fn begin(printer: Printer, what: &str) -> Self {
        let watcher = for_people(printer);
        let at_work = Self {
            observe: watcher.observer(),
            watcher,
            is_shown: Printer::is_watched() && !printer.is_quiet(),
        };
        at_work.say(what);
        at_work
    }

    /// Says what is done now.
    pub(super) fn say(&self, what: &str) {
        self.so_far(what, 0, 0);
    }

    /// Says what is done now, and how far it is; `all` is 0 where nobody knows how much there is.
    pub(super) fn so_far(&self, what: &str, done: u64, all: u64) {
        self.observe.observe(&Event::AtWork {
            what: what.to_owned(),
            done,
            all,
        });
    }

    /// Tells whether people are shown it; others are told now and then.
    pub(super) fn is_shown(&self) -> bool {
        self.is_shown
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.watcher.finish();
    }
}

/// Says how many records.
pub(super) fn records(count: u64) -> String {
    let word = if count == 1 { "record" } else { "records" };
    format!("{} {word}", grouped(count))
}
