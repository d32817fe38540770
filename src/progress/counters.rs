//! The counters of a run, and the view of them that is drawn.
//!
//! Taking an event is a handful of relaxed atomic additions: hundreds of thousands come in a second, from all tasks.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    loads::{LoadView, last_end, waits_for},
    rate::Speed,
};
use crate::{
    event::{Event, Flow, LoadId, LoadPlanned, TargetState},
    record::Outcome,
    unit::{ByteSize, grouped},
};

#[derive(Debug, Default)]
pub(super) struct Counters {
    scanned_records: AtomicU64,
    scanned_bytes: AtomicU64,
    loads: OnceLock<Vec<Load>>,
    /// In the order in which they were first heard of. Behind a lock, because they come a few times a second only.
    targets: Mutex<Vec<TargetView>>,
    stopping: OnceLock<String>,
    finished: OnceLock<()>,
    /// Behind a lock, because it changes a few times a second only.
    at_work: Mutex<Option<AtWork>>,
    concluded: AtomicU64,
}

/// Work of which no record tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AtWork {
    pub(super) what: String,
    done: u64,
    all: u64,
}

impl std::fmt::Display for AtWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        match (self.done, self.all) {
            (0, 0) => Ok(()),
            (done, 0) => write!(f, ": {} records", grouped(done)),
            (done, all) => write!(f, ": {} of {} records", grouped(done), grouped(all)),
        }
    }
}

#[derive(Debug)]
struct Load {
    planned: LoadPlanned,
    sent: AtomicU64,
    answered: AtomicU64,
    retries: AtomicU64,
    reading: AtomicU64,
    done: AtomicU64,
    bytes: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    /// The way in which its records go, once that was found out; it changes once or twice in a load.
    way: Mutex<Option<String>>,
}

/// The state of the run at one moment.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// The time since the beginning.
    pub(super) elapsed: Duration,
    /// The phase of the run.
    pub(super) phase: Phase,
    /// Records found.
    pub(super) scanned_records: u64,
    /// Bytes read.
    pub(super) scanned_bytes: u64,
    /// The state of each load.
    pub(super) loads: Vec<LoadView>,
    /// The state of all loads together.
    pub(super) total: LoadView,
    /// The state of sending, per target.
    pub(super) targets: Vec<TargetView>,
    /// The reason why no new work is started.
    pub(super) stopping: Option<String>,
    /// Records that have been gone through for the reports.
    pub(super) concluded: u64,
    /// Work of which no record tells.
    pub(super) at_work: Option<AtWork>,
}

impl View {
    /// Tells whether all that was bound for a target is done: nothing about the way there is of interest any more.
    pub(super) fn is_done(&self, target: &TargetView) -> bool {
        let mut bound = self.loads.iter().filter(|load| load.target == target.name);
        bound.all(|load| load.is_over() && load.in_flight == 0)
    }

    /// Says what is done before anything is sent.
    pub(super) fn beginning(&self) -> String {
        match &self.at_work {
            Some(at_work) => at_work.to_string(),
            None => format!(
                "reading the sources: {} records, {}",
                grouped(self.scanned_records),
                ByteSize(self.scanned_bytes)
            ),
        }
    }

    /// Says that the reports are being written, and how far that is.
    pub(super) fn closing(&self) -> String {
        let (done, all) = (self.concluded, self.total.planned);
        let words = "closing: writing the reports";
        if done > 0 && done < all {
            format!("{words}, {} of {} records", grouped(done), grouped(all))
        } else {
            words.to_owned()
        }
    }
}

/// The state of sending to a target.
#[derive(Debug, Clone)]
pub(super) struct TargetView {
    pub(super) name: String,
    pub(super) state: TargetState,
}

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The sources are being read.
    Scanning,
    /// Records are being sent.
    Loading,
    /// Nothing is sent any more; the reports are being written.
    Closing,
}

/// The speeds of all loads and of the total.
#[derive(Debug, Default)]
pub(super) struct Speeds {
    /// When the last view was taken: nothing that is new began before.
    viewed: Duration,
    loads: Vec<Speed>,
    total: Speed,
}

impl Counters {
    pub(super) fn take(&self, event: &Event) {
        match event {
            Event::AtWork { what, done, all } => {
                let work = AtWork {
                    what: what.clone(),
                    done: *done,
                    all: *all,
                };
                *self.at_work() = Some(work);
            }
            Event::Reading {
                load,
                records,
                is_over,
            } => {
                if let Some(load) = self.load(*load) {
                    if *is_over {
                        load.reading.fetch_sub(*records, Relaxed);
                    } else {
                        load.reading.fetch_add(*records, Relaxed);
                    }
                }
            }
            Event::Scanning { records, bytes } => {
                self.scanned_records.fetch_max(*records, Relaxed);
                self.scanned_bytes.fetch_max(*bytes, Relaxed);
            }
            Event::Started { loads } => {
                let loads = loads.iter().map(|planned| Load::new(planned.clone()));
                // Only the first beginning counts.
                let _ = self.loads.set(loads.collect());
            }
            Event::Sent { load, .. } => self.add(*load, |load| &load.sent, 1),
            Event::Answered { load, .. } => self.add(*load, |load| &load.answered, 1),
            Event::Retrying { load, .. } => self.add(*load, |load| &load.retries, 1),
            Event::Settled {
                load,
                outcome,
                bytes,
            } => {
                let Some(load) = self.load(*load) else { return };
                match outcome {
                    Outcome::Rejected => load.rejected.fetch_add(1, Relaxed),
                    Outcome::Blocked | Outcome::Unknown => load.failed.fetch_add(1, Relaxed),
                    // It was stopped before it was tried: nothing is done.
                    Outcome::Pending => return,
                    _ => 0,
                };
                load.bytes.fetch_add(*bytes, Relaxed);
                load.done.fetch_add(1, Relaxed);
            }
            Event::Target { name, state } => {
                let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
                match targets.iter_mut().find(|target| target.name == *name) {
                    Some(target) => target.state = state.clone(),
                    None => targets.push(TargetView {
                        name: name.clone(),
                        state: state.clone(),
                    }),
                }
            }
            Event::Way { load, way } => {
                if let Some(load) = self.load(*load) {
                    *load.way() = Some(way.clone());
                }
            }
            Event::Stopping { reason } => {
                let _ = self.stopping.set(reason.clone());
            }
            Event::Concluding { records } => {
                self.concluded.fetch_max(*records, Relaxed);
            }
            Event::Finished => {
                let _ = self.finished.set(());
            }
            Event::Session { .. } | Event::LookedAfter { .. } => {}
        }
    }

    fn targets(&self) -> Vec<TargetView> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.clone()
    }

    fn at_work(&self) -> MutexGuard<'_, Option<AtWork>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, load: LoadId) -> Option<&Load> {
        self.loads.get()?.get(load.0 as usize)
    }

    fn add(&self, load: LoadId, counter: impl Fn(&Load) -> &AtomicU64, count: u64) {
        if let Some(load) = self.load(load) {
            counter(load).fetch_add(count, Relaxed);
        }
    }

    /// Reads all counters.
    pub(super) fn view(&self, elapsed: Duration, speeds: &mut Speeds) -> View {
        let counted = self.loads.get();
        let loads = counted.map(Vec::as_slice).unwrap_or_default();
        if speeds.loads.len() != loads.len() {
            let since = |before| Speed::since(speeds.viewed, before);
            let before = loads.iter().map(|load| load.planned.before.done);
            speeds.total = since(before.clone().sum());
            speeds.loads = before.map(since).collect();
        }
        let targets = self.targets();
        let flow = |name: &str| {
            let target = targets.iter().find(|target| target.name == name);
            target.map_or(&Flow::Open, |target| &target.state.flow)
        };
        let is_down = |name: &str| matches!(flow(name), Flow::Down { .. });
        let planned = loads;
        let stalls = |(load, speed): (&LoadView, &Speed)| {
            // One that has nothing under way waits for another load, and goes as fast as all do.
            let is_kept = load.in_flight > 0 || matches!(flow(&load.target), Flow::Braked(_));
            !load.is_over() && speed.is_silent() && is_kept
        };
        let mut loads: Vec<_> = planned
            .iter()
            .zip(&mut speeds.loads)
            .map(|(load, speed)| {
                let target = &load.planned.target;
                let mut view = load.view(elapsed, speed, is_down(target));
                if let (Flow::Braked(wait), Some(left), false) =
                    (flow(target), view.remaining, view.is_over())
                {
                    // The rest begins when the target takes something again.
                    view.remaining = Some(left.saturating_add(*wait));
                }
                view
            })
            .collect();
        let plans: Vec<&LoadPlanned> = planned.iter().map(|load| &load.planned).collect();
        let waits = waits_for(&plans, &loads);
        for (load, waits_for) in loads.iter_mut().zip(waits) {
            load.waits_for = waits_for;
        }
        let mut total = LoadView {
            name: "total".to_owned(),
            ..LoadView::default()
        };
        for load in &loads {
            total.planned += load.planned;
            total.done += load.done;
            total.bytes += load.bytes;
            total.in_flight += load.in_flight;
            total.reading += load.reading;
            total.retries += load.retries;
            total.rejected += load.rejected;
            total.failed += load.failed;
        }
        if counted.is_some() {
            let before: u64 = planned.iter().map(|load| load.planned.before.done).sum();
            if total.done == before && total.in_flight == 0 {
                speeds.total.wait(elapsed);
            }
            let left = |load: &&LoadView| !load.is_over();
            let is_idle = loads.iter().filter(left).all(|load| is_down(&load.target));
            total.foresee(elapsed, &mut speeds.total, is_idle && !total.is_over());
            let may_tell = total.remaining.is_some()
                && !loads.iter().filter(left).any(|load| is_down(&load.target))
                && !loads.iter().zip(&speeds.loads).any(stalls);
            total.remaining = may_tell
                .then(|| last_end(&plans, &loads, total.per_second))
                .flatten();
        }
        speeds.viewed = elapsed;
        View {
            elapsed,
            phase: match (counted, self.finished.get()) {
                (_, Some(())) => Phase::Closing,
                (Some(_), None) => Phase::Loading,
                (None, None) => Phase::Scanning,
            },
            scanned_records: self.scanned_records.load(Relaxed),
            scanned_bytes: self.scanned_bytes.load(Relaxed),
            loads,
            total,
            targets,
            stopping: self.stopping.get().cloned(),
            concluded: self.concluded.load(Relaxed),
            at_work: self.at_work().clone(),
        }
    }
}

impl Load {
    fn new(planned: LoadPlanned) -> Self {
        let zero = || AtomicU64::new(0);
        let before = planned.before;
        Self {
            planned,
            sent: zero(),
            answered: zero(),
            retries: zero(),
            reading: zero(),
            done: before.done.into(),
            bytes: zero(),
            rejected: before.rejected.into(),
            failed: before.failed.into(),
            way: Mutex::new(None),
        }
    }

    fn way(&self) -> MutexGuard<'_, Option<String>> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self, elapsed: Duration, speed: &mut Speed, is_down: bool) -> LoadView {
        // Answers are read first: read the other way round, an answer could come without its request.
        let answered = self.answered.load(Relaxed);
        let mut view = LoadView {
            name: self.planned.name.clone(),
            target: self.planned.target.clone(),
            planned: self.planned.records,
            done: self.done.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            in_flight: self.sent.load(Relaxed).saturating_sub(answered),
            retries: self.retries.load(Relaxed),
            reading: self.reading.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            failed: self.failed.load(Relaxed),
            per_second: 0.0,
            remaining: None,
            way: self.way().clone(),
            waits_for: None,
        };
        let is_waiting = view.done == self.planned.before.done && view.in_flight == 0;
        if is_waiting {
            speed.wait(elapsed);
        }
        view.foresee(elapsed, speed, is_down);
        view
    }
}
