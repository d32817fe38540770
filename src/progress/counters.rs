//! What events add up to. Only atomics on the way of a record.

use std::sync::{
    OnceLock, RwLock,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use crate::{
    event::{Event, LoadId, LoadPlanned, Observe},
    record::Outcome,
};

/// The counters of a run.
#[derive(Debug, Default)]
pub(super) struct Counters {
    scanned_records: AtomicU64,
    scanned_bytes: AtomicU64,
    loads: OnceLock<Vec<Load>>,
    stopping: RwLock<Option<String>>,
    finished: AtomicBool,
}

/// The counters of a load.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) planned: LoadPlanned,
    done: AtomicU64,
    failed: AtomicU64,
    retries: AtomicU64,
    in_flight: AtomicI64,
}

/// What the counters of a load, or of all, said at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) planned: u64,
    pub(super) done: u64,
    pub(super) rejected: u64,
    pub(super) retries: u64,
    pub(super) in_flight: u64,
}

impl Counters {
    /// Returns records and bytes found so far, while the sources are being read.
    pub(super) fn scanned(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.scanned_records), read(&self.scanned_bytes))
    }

    /// Returns the loads, once sending has begun.
    pub(super) fn loads(&self) -> &[Load] {
        self.loads.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the sum over all loads.
    pub(super) fn total(&self) -> Moment {
        self.loads()
            .iter()
            .map(Load::moment)
            .fold(Moment::default(), |sum, next| Moment {
                planned: sum.planned + next.planned,
                done: sum.done + next.done,
                rejected: sum.rejected + next.rejected,
                retries: sum.retries + next.retries,
                in_flight: sum.in_flight + next.in_flight,
            })
    }

    /// Returns why no new work is started, if that is so.
    pub(super) fn stopping(&self) -> Option<String> {
        self.stopping.read().ok()?.clone()
    }

    fn load(&self, id: LoadId) -> Option<&Load> {
        self.loads.get()?.get(id.0 as usize)
    }
}

impl Load {
    pub(super) fn moment(&self) -> Moment {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Moment {
            planned: self.planned.records,
            done: read(&self.done),
            rejected: read(&self.failed),
            retries: read(&self.retries),
            in_flight: u64::try_from(self.in_flight.load(Ordering::Relaxed)).unwrap_or(0),
        }
    }
}

impl Observe for Counters {
    fn observe(&self, event: &Event) {
        match event {
            Event::Scanning { records, bytes } => {
                self.scanned_records.store(*records, Ordering::Relaxed);
                self.scanned_bytes.store(*bytes, Ordering::Relaxed);
            }
            Event::Started { loads } => {
                self.loads.get_or_init(|| {
                    let load = |planned: &LoadPlanned| Load {
                        planned: planned.clone(),
                        done: AtomicU64::new(0),
                        failed: AtomicU64::new(0),
                        retries: AtomicU64::new(0),
                        in_flight: AtomicI64::new(0),
                    };
                    loads.iter().map(load).collect()
                });
            }
            Event::Sent { load } => {
                if let Some(load) = self.load(*load) {
                    load.in_flight.fetch_add(1, Ordering::Relaxed);
                }
            }
            Event::Answered { load, .. } => {
                if let Some(load) = self.load(*load) {
                    load.in_flight.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Event::Retrying { load, .. } => {
                if let Some(load) = self.load(*load) {
                    load.retries.fetch_add(1, Ordering::Relaxed);
                }
            }
            Event::Settled { load, outcome, .. } => {
                let Some(load) = self.load(*load) else { return };
                if *outcome != Outcome::Pending {
                    load.done.fetch_add(1, Ordering::Relaxed);
                }
                if !outcome.is_well() && *outcome != Outcome::Pending {
                    load.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Event::Stopping { reason } => {
                if let Ok(mut stopping) = self.stopping.write() {
                    *stopping = Some(reason.clone());
                }
            }
            Event::Finished => self.finished.store(true, Ordering::Relaxed),
        }
    }
}
