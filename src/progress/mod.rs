//! Draws a run while it goes on: bars, lines or JSON, on a handle that `cli` gives.
//!
//! Events only move counters, without locks; one thread reads them a few times a second and draws. What is drawn may
//! be a moment old, and nothing in a report comes from here.

use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::event::{Observe, Unobserved};

mod bars;
mod counters;
mod lines;
mod speed;

use counters::Counters;

/// Someone who draws what the counters say.
trait Draw: Send {
    /// Draws the present state.
    fn draw(&mut self, counters: &Counters);
    /// Draws the last state and leaves the terminal clean.
    fn finish(&mut self, counters: &Counters);
}

/// How often bars are drawn: smooth to the eye, and no load on the terminal.
const BARS: Duration = Duration::from_millis(100);
/// How often a line is written where nobody watches.
const LINES: Duration = Duration::from_secs(5);
/// How often a JSON object is written.
const JSON: Duration = Duration::from_secs(1);

/// Draws a run until it is finished.
#[derive(Debug)]
pub struct Watcher {
    counters: Option<Arc<Counters>>,
    paused: Arc<AtomicBool>,
    thread: Mutex<Option<(mpsc::Sender<()>, JoinHandle<()>)>>,
}

impl Watcher {
    /// Draws nothing.
    pub fn none() -> Self {
        Self {
            counters: None,
            paused: Arc::default(),
            thread: Mutex::new(None),
        }
    }

    /// Draws bars on standard error: a line a load, and a total.
    pub fn bars(color: bool) -> Self {
        Self::start(Box::new(bars::Bars::new(color)), BARS)
    }

    /// Writes a line every few seconds.
    pub fn lines(out: Box<dyn Write + Send>) -> Self {
        Self::start(Box::new(lines::Lines::new(out)), LINES)
    }

    /// Writes a JSON object every second; `lines::Json` documents its members.
    pub fn json(out: Box<dyn Write + Send>) -> Self {
        Self::start(Box::new(lines::Json::new(out)), JSON)
    }

    fn start(mut draw: Box<dyn Draw>, every: Duration) -> Self {
        let counters = Arc::new(Counters::default());
        let paused = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn({
                let (counters, paused) = (Arc::clone(&counters), Arc::clone(&paused));
                move || {
                    while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
                        if !paused.load(Ordering::Acquire) {
                            draw.draw(&counters);
                        }
                    }
                    draw.finish(&counters);
                }
            });
        // Without a thread nothing is drawn; the run goes on.
        let thread = thread.ok().map(|thread| (stop, thread));
        Self {
            counters: Some(counters),
            paused,
            thread: Mutex::new(thread),
        }
    }

    /// Returns who takes note of events.
    pub fn observer(&self) -> Arc<dyn Observe> {
        match &self.counters {
            Some(counters) => Arc::clone(counters) as Arc<dyn Observe>,
            None => Arc::new(Unobserved),
        }
    }

    /// Lets something else be written meanwhile.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.paused.store(true, Ordering::Release);
        let written = write();
        self.paused.store(false, Ordering::Release);
        written
    }

    /// Draws the last state. Further calls do nothing.
    pub fn finish(&self) {
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some((stop, thread)) = thread {
            drop(stop);
            let _ = thread.join();
        }
    }
}
