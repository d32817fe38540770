//! One JSON object a second, for programs that watch a run. Every other line beside it is an object too, with a member
//! `message` (of `cli`) or `log` in the place of `progress`.
//!
//! | key | meaning |
//! |---|---|
//! | `progress` | the version of this format, 1 |
//! | `phase` | `scanning`, `loading`, `closing` (the reports are being written) or `finished` |
//! | `concluded` | while closing: records that have been gone through for the reports |
//! | `elapsed_ms` | since the beginning |
//! | `scanned_records`, `scanned_bytes` | while scanning: what has been read so far |
//! | `records`, `done` | records planned, and records that have an outcome, those of earlier sessions and runs included |
//! | `bytes` | of the records that this session has settled |
//! | `records_per_second` | of late |
//! | `remaining_ms` | a forecast, or null; while a target is down there is none |
//! | `in_flight` | requests without an answer |
//! | `retries`, `rejected`, `failed` | repeated attempts; records rejected; records blocked or unknown |
//! | `stopping` | why no new work is started, or null |
//! | `loads` | the same keys for every load, with its `name` and `target`, and `way`: whether its records go alone, in batches or in transactions, once that was found out |
//! | `targets` | for every target: `name`; `flow`, `open`, `braked` (it asked to wait) or `down`; `slots`, how many requests may be in flight, and `in_flight`, how many are; `ceiling`, operations a second at the most, learned from its refusals, or null; while it brakes `wait_ms`; while it is down `down_ms`, `gives_up_in_ms` and `because` |

use std::{io::Write, time::Duration};

use serde::Serialize;

use super::{
    Draw,
    counters::{Phase, TargetView, View},
    loads::LoadView,
};
use crate::event::Flow;

const EVERY: Duration = Duration::from_secs(1);

pub(super) struct Json {
    out: Box<dyn Write + Send>,
    last: Option<Duration>,
}

#[derive(Serialize)]
struct Object<'a> {
    progress: u32,
    phase: &'static str,
    elapsed_ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    scanned_records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scanned_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concluded: Option<u64>,
    #[serde(flatten)]
    total: Figures,
    stopping: Option<&'a str>,
    loads: Vec<Load<'a>>,
    targets: Vec<Target<'a>>,
}

#[derive(Serialize)]
struct Load<'a> {
    name: &'a str,
    target: &'a str,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Serialize)]
struct Target<'a> {
    name: &'a str,
    flow: &'static str,
    slots: u32,
    in_flight: u32,
    ceiling: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_ms: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    down_ms: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gives_up_in_ms: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn of(view: &'a TargetView) -> Self {
        let state = &view.state;
        let open = Self {
            name: &view.name,
            flow: "open",
            slots: state.slots,
            in_flight: state.in_flight,
            ceiling: state.ceiling.map(tenths),
            wait_ms: None,
            down_ms: None,
            gives_up_in_ms: None,
            because: None,
        };
        match &state.flow {
            Flow::Open => open,
            Flow::Braked(left) => Self {
                flow: "braked",
                wait_ms: Some(left.as_millis()),
                ..open
            },
            Flow::Down { since, left, what } => Self {
                flow: "down",
                down_ms: Some(since.as_millis()),
                gives_up_in_ms: Some(left.as_millis()),
                because: Some(what),
                ..open
            },
        }
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[derive(Serialize)]
struct Figures {
    records: u64,
    done: u64,
    bytes: u64,
    records_per_second: f64,
    remaining_ms: Option<u128>,
    in_flight: u64,
    retries: u64,
    rejected: u64,
    failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<String>,
}

impl Figures {
    fn of(load: &LoadView) -> Self {
        Self {
            records: load.planned,
            done: load.done,
            bytes: load.bytes,
            records_per_second: tenths(load.per_second),
            remaining_ms: load.remaining.map(|left| left.as_millis()),
            in_flight: load.in_flight,
            retries: load.retries,
            rejected: load.rejected,
            failed: load.failed,
            way: load.way.clone(),
        }
    }
}

impl Json {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, last: None }
    }

    fn write(&mut self, view: &View, phase: Option<Phase>) {
        let scanning = phase == Some(Phase::Scanning);
        let object = Object {
            progress: 1,
            phase: match phase {
                Some(Phase::Scanning) => "scanning",
                Some(Phase::Loading) => "loading",
                Some(Phase::Closing) => "closing",
                // Nothing is done any more.
                None => "finished",
            },
            elapsed_ms: view.elapsed.as_millis(),
            scanned_records: scanning.then_some(view.scanned_records),
            concluded: (phase == Some(Phase::Closing)).then_some(view.concluded),
            scanned_bytes: scanning.then_some(view.scanned_bytes),
            total: Figures::of(&view.total),
            stopping: view.stopping.as_deref(),
            loads: view
                .loads
                .iter()
                .map(|load| Load {
                    name: &load.name,
                    target: &load.target,
                    figures: Figures::of(load),
                })
                .collect(),
            targets: view.targets.iter().map(Target::of).collect(),
        };
        if let Ok(mut line) = serde_json::to_vec(&object) {
            line.push(b'\n');
            // A reader that closed the stream does not want more; the load goes on.
            let _ = self.out.write_all(&line).and_then(|()| self.out.flush());
        }
    }
}

impl Draw for Json {
    fn draw(&mut self, view: &View) {
        let due = self
            .last
            .is_none_or(|last| view.elapsed.saturating_sub(last) >= EVERY);
        if due {
            self.last = Some(view.elapsed);
            self.write(view, Some(view.phase));
        }
    }

    fn finish(&mut self, view: &View) {
        self.write(view, None);
    }
}
