//! Draws a run while it goes on: bars, lines or JSON, on a handle that `cli` gives.
//!
//! Events only move counters, without locks: hundreds of thousands come in a second, from all tasks. One thread reads
//! the counters ten times a second and draws; a thread, because a runtime may be busy reading sources. What is drawn may
//! be a moment old, and nothing in a report comes from here.

use std::{
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use indicatif::ProgressDrawTarget;
use tokio::time::Instant;

use crate::event::{Event, Observe, Unobserved};

mod bars;
mod counters;
mod json;
mod lines;
mod rate;
mod words;

use counters::{Counters, Speeds, View};

/// How often the counters are read and bars are drawn: smooth to the eye, and no load on the terminal.
const TICK: Duration = Duration::from_millis(100);

/// indicatif draws no more often than this by itself.
const DRAWS_PER_SECOND: u8 = 10;

/// A way to draw.
trait Draw: Send {
    /// Draws what holds now. Called at every tick; whoever draws more seldom waits by `view.elapsed`.
    fn draw(&mut self, view: &View);

    /// Takes away what would be in the way of other lines; the next tick draws it again.
    fn clear(&mut self) {}

    /// Draws the end, and leaves the terminal clean.
    fn finish(&mut self, view: &View);
}

/// Draws a run until it is finished.
#[derive(Debug)]
pub struct Watcher(Option<Drawing>);

struct Drawing {
    counters: Arc<Counters>,
    draw: Arc<Mutex<Box<dyn Draw>>>,
    thread: Mutex<Option<(mpsc::Sender<()>, JoinHandle<()>)>>,
}

impl std::fmt::Debug for Drawing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drawing").finish_non_exhaustive()
    }
}

impl Watcher {
    /// Draws nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Draws bars on standard error: a line a load, and a total where there are several.
    pub fn bars(color: bool) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        Self::start(Box::new(bars::Bars::new(target, color)))
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
        let draw = Arc::new(Mutex::new(draw));
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn({
                let (counters, draw) = (Arc::clone(&counters), Arc::clone(&draw));
                move || {
                    let started = Instant::now();
                    let mut speeds = Speeds::default();
                    while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                        let mut draw = lock(&draw);
                        draw.draw(&counters.view(started.elapsed(), &mut speeds));
                    }
                    lock(&draw).finish(&counters.view(started.elapsed(), &mut speeds));
                }
            });
        Self(Some(Drawing {
            counters,
            draw,
            // Without a thread nothing is drawn; the run goes on.
            thread: Mutex::new(thread.ok().map(|thread| (stop, thread))),
        }))
    }

    /// Returns who takes note of events.
    pub fn observer(&self) -> Arc<dyn Observe> {
        match &self.0 {
            Some(drawing) => Arc::clone(&drawing.counters) as Arc<dyn Observe>,
            None => Arc::new(Unobserved),
        }
    }

    /// Lets something else be written meanwhile, on lines of its own.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        let Some(drawing) = &self.0 else {
            return write();
        };
        let mut draw = lock(&drawing.draw);
        draw.clear();
        write()
    }

    /// Draws the last state; the terminal is the caller's again. Further calls do nothing.
    pub fn finish(&self) {
        let Some(drawing) = &self.0 else { return };
        let running = lock(&drawing.thread).take();
        if let Some((stop, thread)) = running {
            drop(stop);
            // A drawer that panicked has nothing more to draw.
            let _ = thread.join();
        }
    }
}

/// What was being drawn when someone panicked is drawn again.
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
