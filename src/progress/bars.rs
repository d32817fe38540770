//! Bars on a terminal.
//!
//! A line is `bar message`. Words of the message that a terminal has no room for are left out, the least important first, and never
//! cut: half of a number is another number. A text that is cut all the same ends with a sign of it.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    Draw, Ink,
    counters::{Phase, TargetView, View},
    loads::LoadView,
    words::{hindrance, load_of, plain},
};
use crate::{
    event::Flow,
    unit::{display_duration, grouped, speed},
};

/// In a window narrower than this the words have the whole line.
const NARROW: u16 = 60;

/// The columns of a bar and the blank behind it.
const BAR: usize = 17;

/// A name longer than this is cut in a bar's line.
const NAME: usize = 24;

pub(super) struct Bars {
    all: MultiProgress,
    ink: Ink,
    columns: u16,
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
            columns: u16::MAX,
            spinner: None,
            drawn: Vec::new(),
            targets: Vec::new(),
            stopping: None,
            closing: None,
        }
    }

    /// Takes note of how many columns there are.
    pub(super) fn fit(&mut self, columns: u16) {
        let was_narrow = self.is_narrow();
        self.columns = columns;
        if self.is_narrow() != was_narrow {
            for bar in &self.drawn {
                bar.set_style(self.bar_style());
            }
        }
    }

    fn is_narrow(&self) -> bool {
        self.columns < NARROW
    }

    fn scan(&mut self, view: &View) {
        let spinner = self.spinner.get_or_insert_with(|| {
            let spinner = self.all.add(ProgressBar::new_spinner());
            spinner.set_style(style("{spinner} {wide_msg}").tick_chars(self.ink.spinner()));
            spinner
        });
        let words = plain(&view.beginning());
        // The spinner and a blank stand before it.
        let room = usize::from(self.columns.saturating_sub(2));
        spinner.set_message(self.ink.cut(&words, room));
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
        let columns = usize::from(self.columns);
        let room = if self.is_narrow() {
            columns
        } else {
            columns - BAR
        };
        for (i, load) in lines.enumerate() {
            if self.drawn.len() <= i {
                let bar = self.all.add(ProgressBar::new(load.planned));
                bar.set_style(self.bar_style());
                self.drawn.push(bar);
            }
            let Some(bar) = self.drawn.get(i).filter(|bar| !bar.is_finished()) else {
                continue;
            };
            let is_ending = view.stopping.is_some() || view.phase == Phase::Closing;
            let words = message(load, widths, self.ink, is_ending);
            let message = self.ink.fit(words, room);
            // A bar is drawn with whatever is set: it shall not show without its words.
            bar.set_message(message);
            bar.set_position(std::cmp::min(load.done, load.planned));
        }
        for (i, target) in view.targets.iter().enumerate() {
            if self.targets.len() <= i {
                let line = self.words_only();
                self.targets.push(line);
            }
            if let Some(line) = self.targets.get(i).filter(|line| !line.is_finished()) {
                if view.is_done(target) {
                    line.finish_and_clear();
                    continue;
                }
                line.set_message(state(target, self.ink, columns));
                line.tick();
            }
        }
        if let (None, Some(reason)) = (&self.stopping, &view.stopping) {
            let line = self.words_only();
            let words = format!("stopping: {}", plain(reason));
            let words = paint("33", &words, self.ink.is_coloured);
            line.set_message(self.ink.cut(&words, columns));
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
        let template = match (self.is_narrow(), self.ink.is_coloured) {
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
            let name = std::cmp::min(console::measure_text_width(&plain(&load.name)), NAME);
            widths.name = std::cmp::max(widths.name, name);
            widths.records = std::cmp::max(widths.records, grouped(load.planned).len());
        }
        widths
    }
}

impl Ink {
    /// Cuts a text to a number of columns; a sign at its end says so.
    fn cut(self, text: &str, columns: usize) -> String {
        let sign = if self.is_ascii { "~" } else { "…" };
        console::truncate_str(text, columns, sign).into_owned()
    }

    /// Joins words, each with its rank, to a line that has no more columns than there are: words of the highest ranks are left out first.
    fn fit(self, mut words: Vec<(u8, String)>, columns: usize) -> String {
        loop {
            let line: Vec<&str> = words.iter().map(|(_, word)| word.as_str()).collect();
            let line = line.join("  ");
            let rank = words.iter().map(|(rank, _)| *rank).max().unwrap_or(0);
            if console::measure_text_width(&line) <= columns || rank == 0 {
                return self.cut(&line, columns);
            }
            words.retain(|(other, _)| *other < rank);
        }
    }
}

/// `to clinic: 8 of 32 in flight` · `to clinic: down for 12 s, trying again; gives up in 4m 48s (connection refused)`
///
/// Of a reason without room the last part is shown, which tells the most: the address is the target's.
fn state(target: &TargetView, ink: Ink, columns: usize) -> String {
    let name = ink.cut(&plain(&target.name), NAME);
    let colour = ink.is_coloured;
    let flow = &target.state.flow;
    let (words, more) = match (hindrance(flow), flow) {
        (Some(hindrance), Flow::Down { what, .. }) => {
            let what = plain(what);
            let last = what.rsplit(": ").next().unwrap_or_default();
            let whole = format!("to {name}: {hindrance} ({what})");
            let has_room = console::measure_text_width(&whole) <= columns;
            let reason = if has_room { &what } else { last };
            (
                paint("31", &format!("{hindrance} ({reason})"), colour),
                None,
            )
        }
        (Some(hindrance), _) => (paint("33", &hindrance, colour), Some(load_of(target))),
        (None, _) => (load_of(target), None),
    };
    let mut line = vec![(0, format!("to {name}: {words}"))];
    line.extend(more.map(|more| (1, more)));
    ink.fit(line, columns)
}

/// `people  1,204/3,000  40%  1 rejected  520/s  ETA 3.4 s  2 retries`
///
/// Nothing is foreseen of one that is ending.
fn message(load: &LoadView, widths: Widths, ink: Ink, is_ending: bool) -> Vec<(u8, String)> {
    let (name, colour) = (ink.cut(&plain(&load.name), NAME), ink.is_coloured);
    let records = format!(
        "{:>width$}/{:<width$}",
        grouped(load.done),
        grouped(load.planned),
        width = widths.records
    );
    let mut words = vec![
        (
            0,
            console::pad_str(&name, widths.name, console::Alignment::Left, None).into_owned(),
        ),
        (3, records),
        (0, format!("{:>3}%", load.percent())),
    ];
    if load.rejected > 0 {
        let rejected = format!("{} rejected", grouped(load.rejected));
        words.push((1, paint("31", &rejected, colour)));
    }
    if load.failed > 0 {
        let failed = format!("{} blocked or unknown", grouped(load.failed));
        words.push((1, paint("31", &failed, colour)));
    }
    if let Some(other) = load.waits_for.as_deref().filter(|_| !is_ending) {
        let other = ink.cut(&plain(other), NAME);
        words.push((2, paint("33", &format!("waits for {other}"), colour)));
        return words;
    }
    if load.reading > 0 && load.in_flight == 0 && !is_ending {
        let reading = format!("looks up {} at the target", grouped(load.reading));
        words.push((2, reading));
    }
    words.push((4, format!("{}/s", speed(load.per_second))));
    if let Some((way, _)) = load.way.as_deref().and_then(|way| way.split_once(" (")) {
        words.push((5, format!("as {way}")));
    }
    if !load.is_over() && !is_ending {
        let left = load
            .remaining
            .map_or_else(|| "-".to_owned(), display_duration);
        words.push((2, format!("ETA {left}")));
    }
    match load.retries {
        0 => {}
        1 => words.push((6, "1 retry".to_owned())),
        n => words.push((6, format!("{} retries", grouped(n)))),
    }
    words
}

fn paint(code: &str, text: &str, colour: bool) -> String {
    if colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
