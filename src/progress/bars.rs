//! Bars on a terminal.
//!
//! A line is `bar message`, and the message is cut to what the terminal has room for, most important words first:
//! lines do not wrap in a narrow window.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    Draw, Ink,
    counters::{LoadView, Phase, TargetView, View},
    words::{hindrance, load_of, plain},
};
use crate::{
    event::Flow,
    unit::{ByteSize, display_duration, grouped, speed},
};

/// In a window narrower than this the words have the whole line.
const NARROW: u16 = 60;

/// A name longer than this is cut in a bar's line.
const NAME: usize = 24;

pub(super) struct Bars {
    all: MultiProgress,
    ink: Ink,
    is_narrow: bool,
    spinner: Option<ProgressBar>,
    /// One for each load, then the total where there are several.
    drawn: Vec<ProgressBar>,
    /// One for each target.
    targets: Vec<ProgressBar>,
    stopping: Option<ProgressBar>,
    closing: Option<ProgressBar>,
}

impl Bars {
    pub(super) fn new(target: ProgressDrawTarget, ink: Ink) -> Self {
        Self {
            all: MultiProgress::with_draw_target(target),
            ink,
            is_narrow: false,
            spinner: None,
            drawn: Vec::new(),
            targets: Vec::new(),
            stopping: None,
            closing: None,
        }
    }

    /// Takes note of how many columns there are.
    pub(super) fn fit(&mut self, columns: u16) {
        let is_narrow = columns < NARROW;
        if std::mem::replace(&mut self.is_narrow, is_narrow) != is_narrow {
            for bar in &self.drawn {
                bar.set_style(self.bar_style());
            }
        }
    }

    fn scan(&mut self, view: &View) {
        let spinner = self.spinner.get_or_insert_with(|| {
            let spinner = self.all.add(ProgressBar::new_spinner());
            spinner.set_style(style("{spinner} {wide_msg}").tick_chars(self.ink.spinner()));
            spinner
        });
        spinner.set_message(format!(
            "reading the sources: {} records, {}",
            grouped(view.scanned_records),
            ByteSize(view.scanned_bytes)
        ));
        spinner.tick();
    }

    fn load(&mut self, view: &View) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
            self.all.remove(&spinner);
        }
        let total = (view.loads.len() > 1).then_some(&view.total);
        let lines = view.loads.iter().chain(total);
        let widths = Widths::of(lines.clone());
        for (i, load) in lines.enumerate() {
            if self.drawn.len() <= i {
                let bar = self.all.add(ProgressBar::new(load.planned));
                bar.set_style(self.bar_style());
                self.drawn.push(bar);
            }
            let Some(bar) = self.drawn.get(i).filter(|bar| !bar.is_finished()) else {
                continue;
            };
            let message = message(load, widths, self.ink.is_coloured);
            // A bar is drawn with whatever is set: it shall not show without its words.
            bar.set_message(message);
            bar.set_position(std::cmp::min(load.done, load.planned));
            if load.is_over() && load.in_flight == 0 {
                bar.abandon();
            }
        }
        for (i, target) in view.targets.iter().enumerate() {
            if self.targets.len() <= i {
                let line = self.words_only();
                self.targets.push(line);
            }
            if let Some(line) = self.targets.get(i).filter(|line| !line.is_finished()) {
                line.set_message(state(target, self.ink.is_coloured));
                line.tick();
            }
        }
        if let (None, Some(reason)) = (&self.stopping, &view.stopping) {
            let line = self.words_only();
            line.set_message(paint(
                "33",
                &format!("stopping: {}", plain(reason)),
                self.ink.is_coloured,
            ));
            line.tick();
            self.stopping = Some(line);
        }
    }

    fn close(&mut self, view: &View) {
        self.load(view);
        // The state of sending is of no interest any more.
        for line in &self.targets {
            line.finish_and_clear();
        }
        let line = match self.closing.take() {
            Some(line) => line,
            None => self.words_only(),
        };
        line.set_message(view.closing());
        line.tick();
        self.closing = Some(line);
    }

    fn words_only(&self) -> ProgressBar {
        let line = self.all.add(ProgressBar::new_spinner());
        line.set_style(style("{wide_msg}"));
        line
    }

    fn bar_style(&self) -> ProgressStyle {
        let template = match (self.is_narrow, self.ink.is_coloured) {
            (true, _) => "{wide_msg}",
            (false, true) => "{bar:16.cyan/blue} {wide_msg}",
            (false, false) => "{bar:16} {wide_msg}",
        };
        style(template).progress_chars(self.ink.bar())
    }
}

impl Draw for Bars {
    fn draw(&mut self, view: &View) {
        match view.phase {
            Phase::Scanning => self.scan(view),
            Phase::Loading => self.load(view),
            Phase::Closing => self.close(view),
        }
    }

    fn clear(&mut self) {
        // A terminal that is gone needs no clearing.
        let _ = self.all.clear();
    }

    fn finish(&mut self, view: &View) {
        if view.loads.is_empty() {
            if let Some(spinner) = self.spinner.take() {
                spinner.finish_and_clear();
            }
            return;
        }
        self.load(view);
        for line in self.targets.iter().chain(&self.closing) {
            line.finish_and_clear();
        }
        for bar in self.drawn.iter().chain(&self.stopping) {
            if !bar.is_finished() {
                bar.abandon();
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a test draws all of them.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The widths that the lines have in common, so that their columns stand below each other.
#[derive(Clone, Copy)]
struct Widths {
    name: usize,
    records: usize,
}

impl Widths {
    fn of<'a>(loads: impl Iterator<Item = &'a LoadView>) -> Self {
        let mut widths = Self {
            name: 0,
            records: 0,
        };
        for load in loads {
            let name = std::cmp::min(load.name.chars().count(), NAME);
            widths.name = std::cmp::max(widths.name, name);
            widths.records = std::cmp::max(widths.records, grouped(load.planned).len());
        }
        widths
    }
}

/// `to clinic: 8 of 32 in flight` · `to clinic: down for 12 s, trying again; gives up in 4m 48s (connection refused)`
fn state(target: &TargetView, colour: bool) -> String {
    let name: String = plain(&target.name).chars().take(NAME).collect();
    let flow = &target.state.flow;
    let words = match (hindrance(flow), flow) {
        (Some(hindrance), Flow::Down { what, .. }) => {
            paint("31", &format!("{hindrance} ({})", plain(what)), colour)
        }
        (Some(hindrance), _) => {
            format!("{}  {}", paint("33", &hindrance, colour), load_of(target))
        }
        (None, _) => load_of(target),
    };
    format!("to {name}: {words}")
}

/// `people  1,204/3,000  40%  1 rejected  520/s  ETA 3.4 s  2 retries`
fn message(load: &LoadView, widths: Widths, colour: bool) -> String {
    let name: String = plain(&load.name).chars().take(NAME).collect();
    let mut words = vec![
        format!("{name:<width$}", width = widths.name),
        format!(
            "{:>width$}/{:<width$}",
            grouped(load.done),
            grouped(load.planned),
            width = widths.records
        ),
        format!("{:>3}%", load.percent()),
    ];
    if load.rejected > 0 {
        words.push(paint(
            "31",
            &format!("{} rejected", grouped(load.rejected)),
            colour,
        ));
    }
    if load.failed > 0 {
        let failed = format!("{} blocked or unknown", grouped(load.failed));
        words.push(paint("31", &failed, colour));
    }
    words.push(format!("{}/s", speed(load.per_second)));
    if let Some((way, _)) = load.way.as_deref().and_then(|way| way.split_once(" (")) {
        words.push(format!("as {way}"));
    }
    if !load.is_over() {
        let left = load
            .remaining
            .map_or_else(|| "-".to_owned(), display_duration);
        words.push(format!("ETA {left}"));
    }
    match load.retries {
        0 => {}
        1 => words.push("1 retry".to_owned()),
        n => words.push(format!("{} retries", grouped(n))),
    }
    words.join("  ")
}

fn paint(code: &str, text: &str, colour: bool) -> String {
    if colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
