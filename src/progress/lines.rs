//! Plain lines for logs: no cursor movement, no colour.

use std::{io::Write, time::Duration};

use super::{
    Draw,
    counters::{LoadView, Phase, View},
    words::plain,
};
use crate::unit::{ByteSize, display_duration, grouped, speed};

/// Often enough to see that something moves, seldom enough that a log of an hour is still read.
const EVERY: Duration = Duration::from_secs(5);

pub(super) struct Lines {
    out: Box<dyn Write + Send>,
    last: Duration,
    over: Vec<bool>,
    stopping: bool,
}

impl Lines {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            last: Duration::ZERO,
            over: Vec::new(),
            stopping: false,
        }
    }

    fn line(&mut self, line: &str) {
        // Whoever closed the log does not want to read it; the load goes on.
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }

    fn news(&mut self, view: &View) {
        if let (false, Some(reason)) = (self.stopping, &view.stopping) {
            self.stopping = true;
            self.line(&format!("stopping: {}", plain(reason)));
        }
        self.over.resize(view.loads.len(), false);
        if view.loads.len() < 2 {
            return;
        }
        for (i, load) in view.loads.iter().enumerate() {
            if load.is_over() && self.over.get(i) == Some(&false) {
                if let Some(over) = self.over.get_mut(i) {
                    *over = true;
                }
                self.line(&format!(
                    "{}: {}{}",
                    plain(&load.name),
                    done(load),
                    troubles(load)
                ));
            }
        }
    }
}

impl Draw for Lines {
    fn draw(&mut self, view: &View) {
        self.news(view);
        if view.elapsed.saturating_sub(self.last) < EVERY {
            return;
        }
        self.last = view.elapsed;
        match view.phase {
            Phase::Scanning => {
                let line = format!(
                    "reading the sources: {} records, {}",
                    grouped(view.scanned_records),
                    ByteSize(view.scanned_bytes)
                );
                self.line(&line);
            }
            Phase::Loading => self.line(&moving(&view.total)),
            Phase::Finished => {}
        }
    }

    fn finish(&mut self, view: &View) {
        self.news(view);
        if !view.loads.is_empty() {
            let elapsed = display_duration(view.elapsed);
            let total = &view.total;
            self.line(&format!("{} in {elapsed}{}", done(total), troubles(total)));
        }
    }
}

/// `1,204 of 3,000 records`
fn done(load: &LoadView) -> String {
    let records = if load.planned == 1 {
        "record"
    } else {
        "records"
    };
    format!(
        "{} of {} {records}",
        grouped(load.done),
        grouped(load.planned)
    )
}

/// `, 2 retries, 1 rejected`, or nothing
fn troubles(load: &LoadView) -> String {
    let retries = if load.retries == 1 {
        "retry"
    } else {
        "retries"
    };
    let mut words = String::new();
    for (count, what) in [
        (load.retries, retries),
        (load.rejected, "rejected"),
        (load.failed, "blocked or unknown"),
    ] {
        if count > 0 {
            words = format!("{words}, {} {what}", grouped(count));
        }
    }
    words
}

/// `1,204 of 3,000 records, 40%, 520/s, 3.4 s left, 8 in flight, 1 rejected`
fn moving(load: &LoadView) -> String {
    let left = load
        .remaining
        .map(|left| format!(", {} left", display_duration(left)))
        .unwrap_or_default();
    format!(
        "{}, {}%, {}/s{left}, {} in flight{}",
        done(load),
        load.percent(),
        speed(load.per_second),
        grouped(load.in_flight),
        troubles(load)
    )
}
