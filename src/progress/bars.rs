//! Bars on a terminal: a line a load, and a total where there are several.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::{
    Draw,
    counters::{Counters, Moment},
    speed::Speed,
};
use crate::unit::{ByteSize, display_duration};

/// Draws bars on standard error.
pub(super) struct Bars {
    screen: MultiProgress,
    color: bool,
    reading: ProgressBar,
    loads: Vec<(ProgressBar, Speed)>,
    total: Option<(ProgressBar, Speed)>,
}

/// At most so many loads have a line of their own; a terminal has few lines.
const LOADS: usize = 16;

/// indicatif draws no more often than this by itself; drawing is paced by whoever calls.
const DRAWS_PER_SECOND: u8 = 10;

impl Bars {
    pub(super) fn new(color: bool) -> Self {
        let screen =
            MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND));
        let reading = screen.add(ProgressBar::new_spinner());
        Self {
            screen,
            color,
            reading,
            loads: Vec::new(),
            total: None,
        }
    }

    fn bar(&self, name: &str, width: usize, planned: u64) -> ProgressBar {
        let bar = self.screen.add(ProgressBar::new(planned));
        let paint = if self.color { ".cyan/blue" } else { "" };
        let template = format!("{{prefix}} {{bar:24{paint}}} {{pos}}/{{len}} {{wide_msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_prefix(format!("{name:<width$}"));
        bar
    }

    fn begin(&mut self, counters: &Counters) {
        self.reading.finish_and_clear();
        let loads = counters.loads();
        let names = loads.iter().map(|load| load.planned.name.chars().count());
        let width = names.chain([5]).max().unwrap_or(5);
        for load in loads.iter().take(LOADS) {
            let bar = self.bar(&load.planned.name, width, load.planned.records);
            self.loads.push((bar, Speed::default()));
        }
        if loads.len() > 1 {
            let bar = self.bar("total", width, counters.total().planned);
            self.total = Some((bar, Speed::default()));
        }
    }

    fn show(&mut self, counters: &Counters) {
        if counters.loads().is_empty() {
            let (records, bytes) = counters.scanned();
            self.reading
                .set_message(format!("reading: {records} records, {}", ByteSize(bytes)));
            self.reading.tick();
            return;
        }
        if self.loads.is_empty() {
            self.begin(counters);
        }
        let color = self.color;
        for ((bar, speed), load) in self.loads.iter_mut().zip(counters.loads()) {
            show(bar, speed, load.moment(), color, None);
        }
        if let Some((bar, speed)) = &mut self.total {
            show(
                bar,
                speed,
                counters.total(),
                color,
                counters.stopping().as_deref(),
            );
        } else if let Some((bar, speed)) = self.loads.first_mut() {
            show(
                bar,
                speed,
                counters.total(),
                color,
                counters.stopping().as_deref(),
            );
        }
    }
}

fn show(bar: &ProgressBar, speed: &mut Speed, moment: Moment, color: bool, stopping: Option<&str>) {
    let rate = speed.update(moment.done, Instant::now());
    bar.set_position(moment.done);
    let mut parts = vec![format!("{rate:.0}/s")];
    let left = moment.planned.saturating_sub(moment.done);
    if let (Some(time), true) = (speed.left(left), left > 0) {
        parts.push(format!("{} left", display_duration(time)));
    }
    if moment.in_flight > 0 {
        parts.push(format!("{} in flight", moment.in_flight));
    }
    if moment.retries > 0 {
        parts.push(format!("{} retries", moment.retries));
    }
    if moment.rejected > 0 {
        let text = format!("{} rejected", moment.rejected);
        parts.push(if color {
            format!("\x1b[31m{text}\x1b[0m")
        } else {
            text
        });
    }
    parts.extend(stopping.map(|why| format!("stopping: {why}")));
    bar.set_message(parts.join(", "));
}

impl Draw for Bars {
    fn draw(&mut self, counters: &Counters) {
        self.show(counters);
    }

    fn finish(&mut self, counters: &Counters) {
        self.show(counters);
        self.reading.finish_and_clear();
        for (bar, _) in self.loads.iter().chain(&self.total) {
            bar.abandon();
        }
    }
}
