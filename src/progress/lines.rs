//! Plain lines for logs: no cursor movement, no colour.

use std::{io::Write, time::Duration};

use super::{
    Draw,
    counters::{Phase, TargetView, View},
    loads::LoadView,
    words::{gives_up, hindrance, plain, seconds},
};
use crate::{
    event::Flow,
    unit::{display_duration, grouped, speed},
};

/// Often enough to see that something moves, seldom enough that a log of an hour is still read.
const EVERY: Duration = Duration::from_secs(5);

/// The longest that the beginning or the end of a load may take before it is said what goes on.
const WONDER: Duration = Duration::from_millis(500);

pub(super) struct Lines {
    out: Box<dyn Write + Send>,
    last: Duration,
    over: Vec<bool>,
    targets: Vec<Told>,
    /// The way in which each load was last said to go.
    ways: Vec<Option<String>>,
    stopping: bool,
    /// The time at which it was first seen that the reports are being written, and whether that has been said.
    closing: Option<(Duration, bool)>,
    /// The work before anything is sent, the time at which it was first seen, and whether that has been said.
    at_work: Option<(String, Duration, bool)>,
}

/// The lines written about a target so far, as far as later ones depend on them.
#[derive(Clone, Default)]
struct Told {
    /// The time for which the target has been down.
    down: Option<Duration>,
    /// The time at which it was last said that the target asked to wait.
    braked: Option<Duration>,
}

impl Lines {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            last: Duration::ZERO,
            over: Vec::new(),
            targets: Vec::new(),
            ways: Vec::new(),
            stopping: false,
            closing: None,
            at_work: None,
        }
    }

    fn line(&mut self, line: &str) {
        // A reader that closed the log does not want more; the load goes on.
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }

    fn news(&mut self, view: &View) {
        if let (false, Some(reason)) = (self.stopping, &view.stopping) {
            self.stopping = true;
            self.line(&format!("stopping: {}", plain(reason)));
        }
        for (i, target) in view.targets.iter().enumerate() {
            self.target(i, target, view.elapsed);
        }
        self.ways.resize(view.loads.len(), None);
        for (i, load) in view.loads.iter().enumerate() {
            if let (Some(way), Some(told)) = (&load.way, self.ways.get_mut(i))
                && told.replace(way.clone()).as_ref() != Some(way)
            {
                self.line(&format!("{}: goes as {}", plain(&load.name), plain(way)));
            }
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

impl Lines {
    /// Says what is done before anything is sent, where it takes long enough for somebody to wonder.
    fn begins(&mut self, view: &View) {
        let what = view.at_work.as_ref().map(|work| work.what.as_str());
        if self.at_work.as_ref().map(|(what, ..)| what.as_str()) != what {
            self.at_work = what.map(|what| (what.to_owned(), view.elapsed, false));
        }
        if let Some((_, since, is_said)) = &mut self.at_work
            && !*is_said
            && view.elapsed.saturating_sub(*since) >= WONDER
        {
            *is_said = true;
            self.last = view.elapsed;
            self.line(&plain(&view.beginning()));
        }
    }

    /// Says that a target went down, or came back, once; and that it asks to wait no more often than anything else.
    fn target(&mut self, index: usize, target: &TargetView, now: Duration) {
        if self.targets.len() <= index {
            self.targets.resize(index + 1, Told::default());
        }
        let Some(told) = self.targets.get_mut(index) else {
            return;
        };
        let flow = &target.state.flow;
        let words = match (told.down, flow) {
            (None, Flow::Down { left, what, .. }) => Some(format!(
                "down ({}), trying again; {}",
                plain(what),
                gives_up(*left)
            )),
            (Some(down), Flow::Open | Flow::Braked(_)) => {
                Some(format!("back after {}", seconds(down)))
            }
            (None, Flow::Braked(_))
                if told
                    .braked
                    .is_none_or(|last| now.saturating_sub(last) >= EVERY) =>
            {
                told.braked = Some(now);
                hindrance(flow)
            }
            _ => None,
        };
        told.down = match flow {
            Flow::Down { since, .. } => Some(*since),
            _ => None,
        };
        if let Some(words) = words {
            self.line(&format!("{}: {words}", plain(&target.name)));
        }
    }
}

impl Draw for Lines {
    fn draw(&mut self, view: &View) {
        self.news(view);
        if view.phase == Phase::Scanning {
            self.begins(view);
        }
        if view.phase == Phase::Closing {
            let (since, is_said) = self.closing.get_or_insert((view.elapsed, false));
            // It is said where it takes long enough for somebody to wonder.
            if !*is_said && view.elapsed.saturating_sub(*since) >= WONDER {
                *is_said = true;
                self.last = view.elapsed;
                self.line(&view.closing());
            }
        }
        if view.elapsed.saturating_sub(self.last) < EVERY {
            return;
        }
        self.last = view.elapsed;
        match view.phase {
            Phase::Scanning => self.line(&plain(&view.beginning())),
            Phase::Loading => self.line(&moving(&view.total, &view.targets)),
            Phase::Closing => self.line(&view.closing()),
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

/// `1,204 of 3,000 records, 40%, 520/s, 3.4 s left, 8 of 32 in flight, 1 rejected`
fn moving(load: &LoadView, targets: &[TargetView]) -> String {
    let slots: u64 = targets.iter().map(|t| u64::from(t.state.slots)).sum();
    let slots = match slots {
        0 => String::new(),
        slots => format!(" of {}", grouped(slots)),
    };
    let left = load
        .remaining
        .map(|left| format!(", {} left", display_duration(left)))
        .unwrap_or_default();
    let mut down = String::new();
    for target in targets {
        if let (Flow::Down { .. }, Some(words)) =
            (&target.state.flow, hindrance(&target.state.flow))
        {
            down = format!("{down}, {} {words}", plain(&target.name));
        }
    }
    format!(
        "{}, {}%, {}/s{left}, {}{slots} in flight{}{down}",
        done(load),
        load.percent(),
        speed(load.per_second),
        grouped(load.in_flight),
        troubles(load)
    )
}
