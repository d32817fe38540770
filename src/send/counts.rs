//! Figures of a session, counted without locks on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::journal::Tally;

/// Statuses are counted in an array by their number; 0 stands for no response.
const STATUSES: usize = 600;

/// Figures of a session.
#[derive(Debug)]
pub struct RequestCounts {
    requests: AtomicU64,
    retries: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    failed: AtomicU64,
    statuses: Box<[AtomicU64]>,
    /// Remarks on the targets, for the report.
    remarks: Mutex<BTreeSet<String>>,
    /// By load, in which way its records are sent.
    ways: Mutex<BTreeMap<String, String>>,
}

impl Default for RequestCounts {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            statuses: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
            remarks: Mutex::default(),
            ways: Mutex::default(),
        }
    }
}

impl RequestCounts {
    pub(super) fn sent(&self, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, status: Option<u16>, bytes: u64) {
        self.bytes_received.fetch_add(bytes, Ordering::Relaxed);
        if let Some(count) = self.statuses.get(usize::from(status.unwrap_or(0))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes note of something that the report should say of a target, in Stoker's words; once is enough.
    pub(super) fn remark(&self, remark: String) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        if !remarks.contains(&remark) {
            tracing::warn!("{remark}");
            remarks.insert(remark);
        }
    }

    /// Takes note of the way that was found for a load; the last one holds.
    pub(super) fn found(&self, load: &str, way: String) {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.insert(load.to_owned(), way);
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts records that failed, and returns how many have.
    pub(super) fn failed(&self, records: u64) -> u64 {
        self.failed.fetch_add(records, Ordering::Relaxed) + records
    }

    /// Returns the figures so far. `reads` is what the gates have counted.
    pub fn tally(&self, elapsed_ms: u64, reads: u64) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let statuses: BTreeMap<String, u64> = self
            .statuses
            .iter()
            .enumerate()
            .filter(|(_, count)| read(count) > 0)
            .map(|(status, count)| {
                let name = if status == 0 {
                    "none".to_owned()
                } else {
                    status.to_string()
                };
                (name, read(count))
            })
            .collect();
        Tally {
            session: 0,
            elapsed_ms,
            requests: read(&self.requests),
            reads,
            retries: read(&self.retries),
            statuses,
            bytes_sent: read(&self.bytes_sent),
            bytes_received: read(&self.bytes_received),
            remarks: {
                let remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
                remarks.iter().cloned().collect()
            },
            ways: {
                let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
                ways.clone()
            },
            ..Tally::default()
        }
    }
}
