//! Counts what happens at each target, between one sample and the next.
//!
//! Taking an event is a few relaxed atomic additions: hundreds of thousands come in a second, from all tasks.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{BUCKETS, Sample, bucket};
use crate::{
    event::{Event, Flow, LoadId, Observe, TargetState},
    record::Outcome,
};

/// Counts what is told of a session of a run.
#[derive(Debug, Default)]
pub struct Recorder {
    begun: OnceLock<Begun>,
}

#[derive(Debug)]
struct Begun {
    targets: Vec<Target>,
    /// Of each load, the place of its target.
    loads: Vec<usize>,
}

#[derive(Debug)]
struct Target {
    name: String,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    attempts: AtomicU64,
    refusals: AtomicU64,
    retries: AtomicU64,
    latency: [AtomicU64; BUCKETS as usize],
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    /// Behind a lock, because it comes a few times a second only.
    level: Mutex<Level>,
}

/// The level of sending since the last sample: the most in flight, the most slots, the least ceiling, the time braked
/// or down.
#[derive(Debug, Default)]
struct Level {
    last: Option<(Instant, TargetState)>,
    in_flight: u32,
    slots: u32,
    ceiling: Option<f64>,
    braked: Duration,
    down: Duration,
}

impl Observe for Recorder {
    fn observe(&self, event: &Event) {
        match event {
            Event::Started { loads } => {
                let mut begun = Begun {
                    targets: Vec::new(),
                    loads: Vec::new(),
                };
                for load in loads {
                    let known = begun.targets.iter().position(|t| t.name == load.target);
                    let place = known.unwrap_or_else(|| {
                        begun.targets.push(Target::new(&load.target));
                        begun.targets.len() - 1
                    });
                    begun.loads.push(place);
                }
                // Only the first beginning counts.
                let _ = self.begun.set(begun);
            }
            Event::Sent { load, bytes } => {
                if let Some(target) = self.of(*load) {
                    target.attempts.fetch_add(1, Relaxed);
                    target.bytes_sent.fetch_add(*bytes, Relaxed);
                }
            }
            Event::Answered {
                load,
                is_refused,
                latency,
                bytes,
                ..
            } => {
                if let Some(target) = self.of(*load) {
                    target.refusals.fetch_add(u64::from(*is_refused), Relaxed);
                    target.bytes_received.fetch_add(*bytes, Relaxed);
                    if let Some(count) = target.latency.get(usize::from(bucket(*latency))) {
                        count.fetch_add(1, Relaxed);
                    }
                }
            }
            Event::Retrying { load, .. } => {
                if let Some(target) = self.of(*load) {
                    target.retries.fetch_add(1, Relaxed);
                }
            }
            // One that is pending was not tried, and nothing has become of it.
            Event::Settled { load, outcome, .. } if *outcome != Outcome::Pending => {
                let place = Outcome::ALL.iter().position(|o| o == outcome);
                let target = self.of(*load);
                if let Some((target, place)) = target.zip(place)
                    && let Some(count) = target.outcomes.get(place)
                {
                    count.fetch_add(1, Relaxed);
                }
            }
            Event::Target { name, state } => {
                let targets = self.begun.get().map(|begun| &begun.targets);
                let target = targets.and_then(|t| t.iter().find(|target| target.name == *name));
                if let Some(target) = target {
                    target.level().see(state, Instant::now());
                }
            }
            _ => {}
        }
    }
}

impl Recorder {
    fn of(&self, load: LoadId) -> Option<&Target> {
        let begun = self.begun.get()?;
        begun.targets.get(*begun.loads.get(load.0 as usize)?)
    }

    /// Takes what has been counted since the last time, but for targets of which there is nothing to say.
    pub(super) fn take(&self, session: u32, at: Duration, length: Duration) -> Vec<Sample> {
        let Some(begun) = self.begun.get() else {
            return Vec::new();
        };
        let now = Instant::now();
        let samples = begun.targets.iter().map(|target| Sample {
            at_ms: millis(at),
            for_ms: millis(length),
            session,
            ..target.take(now)
        });
        samples.filter(|sample| !sample.is_idle()).collect()
    }

    /// Returns of how many targets is told.
    pub(super) fn targets(&self) -> usize {
        self.begun.get().map_or(0, |begun| begun.targets.len())
    }
}

impl Target {
    fn new(name: &str) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            name: name.to_owned(),
            outcomes: std::array::from_fn(|_| zero()),
            attempts: zero(),
            refusals: zero(),
            retries: zero(),
            latency: std::array::from_fn(|_| zero()),
            bytes_sent: zero(),
            bytes_received: zero(),
            level: Mutex::default(),
        }
    }

    fn level(&self) -> MutexGuard<'_, Level> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, now: Instant) -> Sample {
        let taken = |count: &AtomicU64| count.swap(0, Relaxed);
        let outcomes = Outcome::ALL
            .into_iter()
            .zip(self.outcomes.iter().map(taken));
        let latency = (0..BUCKETS).zip(self.latency.iter().map(taken));
        let level = self.level().take(now);
        Sample {
            target: self.name.clone(),
            outcomes: outcomes.filter(|(_, count)| *count > 0).collect(),
            attempts: taken(&self.attempts),
            refusals: taken(&self.refusals),
            retries: taken(&self.retries),
            latency: latency.filter(|(_, count)| *count > 0).collect(),
            in_flight: level.in_flight,
            slots: level.slots,
            ceiling: level.ceiling,
            braked_ms: millis(level.braked),
            down_ms: millis(level.down),
            bytes_sent: taken(&self.bytes_sent),
            bytes_received: taken(&self.bytes_received),
            ..Sample::default()
        }
    }
}

impl Level {
    /// Credits the time since the last look to what was seen then.
    fn pass(&mut self, now: Instant) {
        if let Some((since, state)) = &mut self.last {
            let passed = now.saturating_duration_since(*since);
            match state.flow {
                Flow::Open => {}
                Flow::Braked(_) => self.braked += passed,
                Flow::Down { .. } => self.down += passed,
            }
            *since = now;
        }
    }

    fn see(&mut self, state: &TargetState, now: Instant) {
        self.pass(now);
        self.last = Some((now, state.clone()));
        self.note();
    }

    /// Takes note of the levels that were seen last.
    fn note(&mut self) {
        let Some((_, state)) = &self.last else { return };
        self.in_flight = std::cmp::max(self.in_flight, state.in_flight);
        self.slots = std::cmp::max(self.slots, state.slots);
        self.ceiling = match (self.ceiling, state.ceiling) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }

    /// Returns what was seen, and begins anew with what holds still.
    fn take(&mut self, now: Instant) -> Self {
        self.pass(now);
        let last = self.last.clone();
        let taken = std::mem::replace(
            self,
            Self {
                last,
                ..Self::default()
            },
        );
        self.note();
        taken
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
