//! The trace of a run: a span for each session, and in it one for planning, one for each load, one for the report, and some
//! for attempts that wait to be made again.
//!
//! Sessions of one run share the trace's id, which is made of the run's name and mark. Spans are made when the run is over, of
//! times that were noted: nothing is kept of a record, and of retries no more than [`RETRIES`].

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use sha2::{Digest as _, Sha256};

use super::{TraceEnd, figures::SCOPE, spread::Spread};
use crate::{
    event::{Event, LoadId, LoadPlanned, Observe},
    metrics::Metrics,
    record::Outcome,
};

/// The most retries of a run that have spans of their own: more than a person looks at, and a request of some hundred
/// kilobytes.
const RETRIES: usize = 512;

/// Takes note of when things happen.
#[derive(Debug)]
pub(super) struct Trail {
    verb: &'static str,
    of: String,
    began: SystemTime,
    clock: Instant,
    session: OnceLock<Session>,
    started: OnceLock<(Duration, Vec<Load>)>,
    finished: OnceLock<Duration>,
    retries: Mutex<Spread<Retry>>,
}

#[derive(Debug)]
struct Session {
    run: String,
    mark: String,
    number: u32,
}

/// When something happened in a load, first and last, in microseconds since the beginning.
#[derive(Debug)]
struct Load {
    planned: LoadPlanned,
    first: AtomicU64,
    last: AtomicU64,
}

#[derive(Debug)]
struct Retry {
    load: LoadId,
    at: Duration,
    wait: Duration,
}

impl Trail {
    pub(super) fn begin(verb: &'static str, of: &str) -> Self {
        Self {
            verb,
            of: of.to_owned(),
            began: SystemTime::now(),
            clock: Instant::now(),
            session: OnceLock::new(),
            started: OnceLock::new(),
            finished: OnceLock::new(),
            retries: Mutex::new(Spread::new(RETRIES)),
        }
    }

    fn touch(&self, load: LoadId) {
        let loads = self.started.get().map(|(_, loads)| loads);
        if let Some(load) = loads.and_then(|loads| loads.get(load.0 as usize)) {
            let now = u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX);
            load.first.fetch_min(now, Relaxed);
            load.last.fetch_max(now, Relaxed);
        }
    }

    /// Makes the spans.
    pub(super) fn spans(&self, metrics: &Metrics, ending: TraceEnd) -> Vec<SpanData> {
        let end = self.clock.elapsed();
        let made = Made::of(self.session.get());
        let root = SpanId::from(some());
        let mut session = made.span(
            root,
            format!("stoker {}", self.verb),
            self.at(Duration::ZERO, end),
        );
        session.attributes.extend([
            KeyValue::new("stoker.of", self.of.clone()),
            KeyValue::new("stoker.exit_code", i64::from(ending.exit)),
        ]);
        if let Some(known) = self.session.get() {
            session.attributes.extend([
                KeyValue::new("stoker.run", known.run.clone()),
                KeyValue::new("stoker.session", i64::from(known.number)),
            ]);
        }
        if let Some(wrong) = ending.wrong {
            session.status = Status::error(wrong);
        }
        let mut spans = vec![session];
        let started = self.started.get();
        let planned = started.map_or(end, |(at, _)| *at);
        spans.push(made.below(root, "plan".to_owned(), self.at(Duration::ZERO, planned)));
        if let Some((at, loads)) = started {
            self.loads(loads, *at, root, &made, metrics, &mut spans);
            if let Some(finished) = self.finished.get() {
                spans.push(made.below(root, "report".to_owned(), self.at(*finished, end)));
            }
        }
        spans
    }

    fn loads(
        &self,
        loads: &[Load],
        started: Duration,
        root: SpanId,
        made: &Made,
        metrics: &Metrics,
        spans: &mut Vec<SpanData>,
    ) {
        let retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, load) in (0..).map(LoadId).zip(loads) {
            let since = match load.first.load(Relaxed) {
                // Nothing was to be done in it.
                u64::MAX => started,
                first => Duration::from_micros(first),
            };
            let until = Duration::from_micros(load.last.load(Relaxed)).max(since);
            let name = match &*load.planned.name {
                "" => format!("target {}", load.planned.target),
                name => format!("load {name}"),
            };
            let mut span = made.below(root, name, self.at(since, until));
            let own = span.span_context.span_id();
            let kept = retries.kept().iter().filter(|retry| retry.load == id);
            let mut shown = 0;
            let mut waits = Vec::new();
            for retry in kept {
                shown += 1;
                let wait = self.at(retry.at, retry.at + retry.wait);
                waits.push(made.below(own, "retry".to_owned(), wait));
            }
            told(&mut span, &load.planned, shown, metrics);
            spans.push(span);
            spans.append(&mut waits);
        }
    }

    /// Returns the times of a span on the clock of the world.
    fn at(&self, since: Duration, until: Duration) -> (SystemTime, SystemTime) {
        (self.began + since, self.began + until)
    }
}

const LOOKED_AFTER: &str = "stoker_looked_after_records_total";

/// Puts the figures of a load on its span.
fn told(span: &mut SpanData, load: &LoadPlanned, shown: u64, metrics: &Metrics) {
    let count = |figure: &str, outcome: Option<&str>| {
        let mut sum = 0.0;
        metrics.each(figure, &mut |labels, value| {
            let is = |name: &str, wanted: &str| labels.contains(&(name, wanted));
            let is_of = is("load", &load.name) || figure == LOOKED_AFTER;
            if is_of
                && is("target", &load.target)
                && outcome.is_none_or(|outcome| is("outcome", outcome))
            {
                sum += value;
            }
        });
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it was counted as a whole number"
        )]
        let whole = sum as i64;
        whole
    };
    if !load.name.is_empty() {
        span.attributes
            .push(KeyValue::new("stoker.load", load.name.clone()));
    }
    span.attributes.extend([
        KeyValue::new("stoker.target", load.target.clone()),
        KeyValue::new(
            "stoker.planned_records",
            count("stoker_planned_records", None),
        ),
    ]);
    for outcome in Outcome::ALL {
        let records = count("stoker_records_total", Some(outcome.as_str()));
        if records > 0 {
            let name = format!("stoker.records.{}", outcome.as_str());
            span.attributes.push(KeyValue::new(name, records));
        }
        if records > 0 && !outcome.is_well() {
            span.status = Status::error("some records were not loaded");
        }
    }
    let mut looked_after = Vec::new();
    metrics.each(LOOKED_AFTER, &mut |labels, _| {
        let mut outcomes = labels.iter().filter(|(name, _)| *name == "outcome");
        looked_after.extend(outcomes.next().map(|(_, outcome)| (*outcome).to_owned()));
    });
    looked_after.sort_unstable();
    looked_after.dedup();
    for outcome in looked_after {
        let records = count(LOOKED_AFTER, Some(&outcome));
        if records > 0 && load.name.is_empty() {
            let name = format!("stoker.records.{outcome}");
            span.attributes.push(KeyValue::new(name, records));
        }
    }
    for (name, figure) in [
        ("stoker.requests", "stoker_requests_total"),
        ("stoker.refusals", "stoker_refusals_total"),
        ("stoker.sent_bytes", "stoker_sent_bytes_total"),
        ("stoker.received_bytes", "stoker_received_bytes_total"),
    ] {
        span.attributes
            .push(KeyValue::new(name, count(figure, None)));
    }
    let retries = count("stoker_retries_total", None);
    // An event may have come between the two counts.
    let left_out = retries.saturating_sub_unsigned(shown).max(0);
    span.attributes.extend([
        KeyValue::new("stoker.retries", retries),
        KeyValue::new("stoker.retries.left_out", left_out),
    ]);
}

/// The parts that all spans have in common.
struct Made {
    trace: TraceId,
    scope: InstrumentationScope,
}

impl Made {
    fn of(session: Option<&Session>) -> Self {
        let trace = match session {
            Some(session) => {
                let hash = Sha256::digest(format!("{}.{}", session.run, session.mark));
                let mut id = [0; 16];
                id.copy_from_slice(&hash[..16]);
                TraceId::from_bytes(id)
            }
            // Something was wrong before there was a run.
            None => TraceId::from(rand::random::<u128>()),
        };
        let scope = InstrumentationScope::builder(SCOPE);
        let scope = scope.with_version(env!("CARGO_PKG_VERSION")).build();
        Self { trace, scope }
    }

    fn below(&self, parent: SpanId, name: String, times: (SystemTime, SystemTime)) -> SpanData {
        SpanData {
            parent_span_id: parent,
            ..self.span(SpanId::from(some()), name, times)
        }
    }

    fn span(&self, id: SpanId, name: String, times: (SystemTime, SystemTime)) -> SpanData {
        let flags = TraceFlags::SAMPLED;
        SpanData {
            span_context: SpanContext::new(self.trace, id, flags, false, TraceState::NONE),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: times.0,
            end_time: times.1,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

/// A number for a span; nought would be none.
fn some() -> u64 {
    rand::random::<u64>().max(1)
}

impl Observe for Trail {
    fn observe(&self, event: &Event) {
        match event {
            Event::Session { run, mark, number } => {
                let (run, mark, number) = (run.clone(), mark.clone(), *number);
                // Only the first of each counts: a command carries one run.
                let _ = self.session.set(Session { run, mark, number });
            }
            Event::Started { loads } => {
                let load = |planned: &LoadPlanned| Load {
                    planned: planned.clone(),
                    first: AtomicU64::new(u64::MAX),
                    last: AtomicU64::new(0),
                };
                let loads = loads.iter().map(load).collect();
                let _ = self.started.set((self.clock.elapsed(), loads));
            }
            Event::Sent { load, .. }
            | Event::Answered { load, .. }
            | Event::LookedAfter { load, .. }
            | Event::Settled { load, .. } => {
                self.touch(*load);
            }
            Event::Retrying { load, after } => {
                self.touch(*load);
                let retry = Retry {
                    load: *load,
                    at: self.clock.elapsed(),
                    wait: *after,
                };
                let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
                retries.add(retry);
            }
            Event::Finished => {
                let _ = self.finished.set(self.clock.elapsed());
            }
            Event::Scanning { .. }
            | Event::Target { .. }
            | Event::Way { .. }
            | Event::Stopping { .. }
            | Event::Concluding { .. }
            | Event::AtWork { .. }
            | Event::Reading { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SettledBefore;

    #[test]
    fn a_million_retries_leave_few_spans_and_are_all_counted() {
        let (trail, metrics) = (
            Trail::begin("load", "m.yaml"),
            Metrics::new("m.yaml").unwrap(),
        );
        let tell = |event: &Event| {
            metrics.observe(event);
            trail.observe(event);
        };
        let load = |name: &str| LoadPlanned {
            name: name.to_owned(),
            target: "store".to_owned(),
            records: 1_000_000,
            bytes: 0,
            after: Vec::new(),
            before: SettledBefore::default(),
        };
        tell(&Event::Started {
            loads: vec![load("people"), load("results")],
        });
        for number in 0..100_000 {
            tell(&Event::Retrying {
                load: LoadId(u32::from(number % 10 == 0)),
                after: Duration::from_secs(1),
            });
        }
        tell(&Event::Finished);
        let ending = TraceEnd {
            exit: 0,
            wrong: None,
        };
        let spans = trail.spans(&metrics, ending);
        assert!(spans.len() <= RETRIES + 5, "{}", spans.len());
        let mut told = 0;
        for name in ["load people", "load results"] {
            let span = spans.iter().find(|span| span.name == name).unwrap();
            let id = span.span_context.span_id();
            let shown = spans.iter().filter(|span| span.parent_span_id == id);
            let shown = i64::try_from(shown.count()).unwrap();
            assert!(shown > 0, "{name}");
            let attribute = |name: &str| {
                let found = span
                    .attributes
                    .iter()
                    .find(|pair| pair.key.as_str() == name);
                match found.unwrap().value {
                    opentelemetry::Value::I64(count) => count,
                    ref other => panic!("{other:?}"),
                }
            };
            let all = attribute("stoker.retries");
            assert_eq!(attribute("stoker.retries.left_out"), all - shown);
            told += all;
        }
        assert_eq!(told, 100_000);
    }
}
