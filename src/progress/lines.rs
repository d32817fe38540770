//! Progress where nobody watches: a plain line, or a JSON object, every few seconds.

use std::io::Write;

use serde_json::json;
use tokio::time::Instant;

use super::{Draw, counters::Counters, speed::Speed};
use crate::unit::{ByteSize, display_duration};

/// Writes plain lines.
pub(super) struct Lines {
    out: Box<dyn Write + Send>,
    speed: Speed,
}

impl Lines {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            speed: Speed::default(),
        }
    }

    fn write(&mut self, counters: &Counters) {
        let line = if counters.loads().is_empty() {
            let (records, bytes) = counters.scanned();
            if records == 0 {
                return;
            }
            format!("reading: {records} records, {}", ByteSize(bytes))
        } else {
            let total = counters.total();
            let rate = self.speed.update(total.done, Instant::now());
            let left = self.speed.left(total.planned.saturating_sub(total.done));
            let eta = left
                .map(|left| format!(", {} left", display_duration(left)))
                .unwrap_or_default();
            let stopping = counters
                .stopping()
                .map(|why| format!(", stopping: {why}"))
                .unwrap_or_default();
            format!(
                "loading: {}/{} records, {rate:.0}/s{eta}, {} in flight, {} retries, {} rejected{stopping}",
                total.done, total.planned, total.in_flight, total.retries, total.rejected
            )
        };
        // A log that is gone is no reason to stop a load.
        let _ = writeln!(self.out, "{line}");
    }
}

impl Draw for Lines {
    fn draw(&mut self, counters: &Counters) {
        self.write(counters);
    }

    fn finish(&mut self, counters: &Counters) {
        if !counters.loads().is_empty() {
            self.write(counters);
        }
    }
}

/// Writes JSON objects: `phase` is `reading` (with `records`, `bytes`) or `loading` (with `done`, `planned`,
/// `per_second`, `seconds_left`, `in_flight`, `retries`, `rejected`, and the same per load under `loads`).
pub(super) struct Json {
    out: Box<dyn Write + Send>,
    speed: Speed,
}

impl Json {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            speed: Speed::default(),
        }
    }
}

impl Draw for Json {
    fn draw(&mut self, counters: &Counters) {
        let object = if counters.loads().is_empty() {
            let (records, bytes) = counters.scanned();
            json!({ "phase": "reading", "records": records, "bytes": bytes })
        } else {
            let total = counters.total();
            let rate = self.speed.update(total.done, Instant::now());
            let left = self.speed.left(total.planned.saturating_sub(total.done));
            let loads: Vec<_> = counters
                .loads()
                .iter()
                .map(|load| {
                    let moment = load.moment();
                    json!({
                        "name": load.planned.name,
                        "done": moment.done,
                        "planned": moment.planned,
                        "in_flight": moment.in_flight,
                        "retries": moment.retries,
                        "rejected": moment.rejected,
                    })
                })
                .collect();
            json!({
                "phase": "loading",
                "done": total.done,
                "planned": total.planned,
                "per_second": rate.round(),
                "seconds_left": left.map(|left| left.as_secs()),
                "in_flight": total.in_flight,
                "retries": total.retries,
                "rejected": total.rejected,
                "stopping": counters.stopping(),
                "loads": loads,
            })
        };
        let _ = writeln!(self.out, "{object}");
    }

    fn finish(&mut self, counters: &Counters) {
        if !counters.loads().is_empty() {
            self.draw(counters);
        }
    }
}
