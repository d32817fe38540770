//! Draws a run while it goes on: bars, lines or JSON, on a handle that `cli` gives.
//!
//! Events only move counters, without locks: hundreds of thousands come in a second, from all tasks. One thread reads
//! the counters ten times a second and draws; a thread, because a runtime may be busy reading sources. The drawing may
//! be a moment old, and nothing in a report comes from here.

use std::{
    cell::Cell,
    io::{IsTerminal as _, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use indicatif::ProgressDrawTarget;
use tokio::time::Instant;

use crate::event::{Event, Observe, Several, Unobserved};

mod bars;
mod counters;
mod json;
mod lines;
mod loads;
mod rate;
mod screen;
mod words;

use counters::{Counters, Speeds, View};

/// The time between two readings of the counters and two drawings of bars: smooth to the eye, and no load on the
/// terminal.
const TICK: Duration = Duration::from_millis(100);

/// indicatif draws no more often than this by itself.
const DRAWS_PER_SECOND: u8 = 10;

/// The characters and colours of bars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ink {
    /// Colours are wanted.
    pub is_coloured: bool,
    /// Characters are ASCII only.
    pub is_ascii: bool,
}

impl Ink {
    /// Returns the characters of a bar: what is full, the steps between, and what is empty.
    pub fn bar(self) -> &'static str {
        if self.is_ascii {
            "#>-"
        } else {
            "█▉▊▋▌▍▎▏ "
        }
    }

    /// Returns the pictures of a spinner, the last when it is over.
    fn spinner(self) -> &'static str {
        if self.is_ascii {
            "|/-\\ "
        } else {
            "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "
        }
    }
}

/// A way to draw.
trait Draw: Send {
    /// Draws what holds now. Called at every tick; an implementation that draws more seldom waits by `view.elapsed`.
    fn draw(&mut self, view: &View);

    /// Takes away what would be in the way of other lines; the next tick draws it again.
    fn clear(&mut self) {}

    /// Draws the end, and leaves the terminal clean.
    fn finish(&mut self, view: &View);
}

/// Bars on a terminal whose window changes its size.
struct OnScreen {
    bars: bars::Bars,
    screen: screen::Screen<screen::Stderr>,
}

impl Draw for OnScreen {
    fn draw(&mut self, view: &View) {
        self.bars.fit(self.screen.columns());
        self.bars.draw(view);
    }

    fn clear(&mut self) {
        self.bars.clear();
    }

    fn finish(&mut self, view: &View) {
        self.bars.finish(view);
        self.screen.leave();
    }
}

/// Draws a run until it is finished. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Watcher {
    drawing: Option<Arc<Drawing>>,
    /// The observers that are told the same.
    others: Vec<Arc<dyn Observe>>,
}

struct Drawing {
    counters: Arc<Counters>,
    hand: Arc<Mutex<Hand>>,
    thread: Mutex<Option<(mpsc::Sender<()>, JoinHandle<()>)>>,
}

/// The drawing of a run, until its end.
struct Hand {
    draw: Box<dyn Draw>,
    /// The end has been drawn, and stays.
    is_finished: bool,
}

thread_local! {
    /// This thread writes beside what is drawn just now.
    static SUSPENDS: Cell<bool> = const { Cell::new(false) };
}

impl std::fmt::Debug for Drawing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drawing").finish_non_exhaustive()
    }
}

impl Watcher {
    /// Draws nothing.
    pub fn none() -> Self {
        Self {
            drawing: None,
            others: Vec::new(),
        }
    }

    /// Draws bars on standard error: a line a load, and a total where there are several.
    pub fn bars(ink: Ink) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::start(Box::new(bars::Bars::new(ProgressDrawTarget::hidden(), ink)));
        }
        let screen = screen::Screen::new(screen::Stderr);
        let target =
            ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), DRAWS_PER_SECOND);
        let bars = bars::Bars::new(target, ink);
        Self::start(Box::new(OnScreen { bars, screen }))
    }

    /// Writes a plain line every five seconds, one for each of several loads when it is over, and one at the end.
    pub fn lines(out: Box<dyn Write + Send>) -> Self {
        Self::start(Box::new(lines::Lines::new(out)))
    }

    /// Writes a JSON object every second and one at the end; `progress/json.rs` documents its members.
    pub fn json(out: Box<dyn Write + Send>) -> Self {
        Self::start(Box::new(json::Json::new(out)))
    }

    fn start(draw: Box<dyn Draw>) -> Self {
        let counters = Arc::new(Counters::default());
        let hand = Arc::new(Mutex::new(Hand {
            draw,
            is_finished: false,
        }));
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn({
                let (counters, hand) = (Arc::clone(&counters), Arc::clone(&hand));
                move || {
                    let started = Instant::now();
                    let mut speeds = Speeds::default();
                    while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                        let mut hand = lock(&hand);
                        let view = counters.view(started.elapsed(), &mut speeds);
                        hand.draw.draw(&view);
                    }
                    let mut hand = lock(&hand);
                    let view = counters.view(started.elapsed(), &mut speeds);
                    hand.draw.finish(&view);
                    hand.is_finished = true;
                }
            });
        let drawing = Drawing {
            counters,
            hand,
            // Without a thread nothing is drawn; the run goes on.
            thread: Mutex::new(thread.ok().map(|thread| (stop, thread))),
        };
        Self {
            drawing: Some(Arc::new(drawing)),
            others: Vec::new(),
        }
    }

    /// Lets another be told what this one is told.
    #[must_use]
    pub fn and(mut self, other: Arc<dyn Observe>) -> Self {
        self.others.push(other);
        self
    }

    /// Returns who takes note of events.
    pub fn observer(&self) -> Arc<dyn Observe> {
        let own: Arc<dyn Observe> = match &self.drawing {
            Some(drawing) => Arc::clone(&drawing.counters) as Arc<dyn Observe>,
            None => Arc::new(Unobserved),
        };
        if self.others.is_empty() {
            return own;
        }
        let others = self.others.iter().map(Arc::clone);
        Arc::new(Several(std::iter::once(own).chain(others).collect()))
    }

    /// Lets something else be written meanwhile, on lines of its own. The writing code may ask for it once more.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        let Some(drawing) = self.drawing.as_ref().filter(|_| !SUSPENDS.get()) else {
            return write();
        };
        let mut hand = lock(&drawing.hand);
        if !hand.is_finished {
            hand.draw.clear();
        }
        SUSPENDS.set(true);
        let written = write();
        SUSPENDS.set(false);
        written
    }

    /// Draws the last state; the terminal is the caller's again. Further calls do nothing.
    pub fn finish(&self) {
        let Some(drawing) = &self.drawing else { return };
        let running = lock(&drawing.thread).take();
        if let Some((stop, thread)) = running {
            drop(stop);
            // A drawer that panicked has nothing more to draw.
            let _ = thread.join();
        }
    }
}

/// Locks a mutex, also after a panic: whatever was being drawn then is drawn again.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observe for Counters {
    fn observe(&self, event: &Event) {
        self.take(event);
    }
}

#[cfg(test)]
mod tests;
