//! Figures of a run for Prometheus, counted from its events. The serving of them is `cli`'s business.
//!
//! Labels are names of the manifest, outcomes, statuses: no content of records (design §10). `docs/metrics.md` lists the names.

use std::{cell::RefCell, sync::OnceLock};

use prometheus::{
    Encoder as _, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
    proto::{MetricFamily, MetricType},
};

use crate::{
    event::{Event, Flow, LoadId, LoadPlanned, Observe, TargetState},
    record::Outcome,
};

/// The media type of what [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The upper ends of the buckets of latencies, in seconds: from a store in the same process to one that a timeout is
/// near.
pub const SECONDS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0,
];

/// The states of a target, one of which is 1.
const STATES: [&str; 3] = ["open", "braked", "down"];

/// The kind of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A figure that grows.
    Counter,
    /// A figure that grows and shrinks.
    Gauge,
    /// A distribution.
    Histogram,
}

/// A figure that is counted.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Its whole name.
    pub name: String,
    /// The description of the figure.
    pub help: &'static str,
    /// The kind of the figure.
    pub kind: MetricKind,
}

/// The names and values of the labels of a value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// The prefix of every name.
const PREFIX: &str = "stoker";

/// The figures that are counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    figures: Vec<Figure>,
    loads: OnceLock<Vec<LoadPlanned>>,
    scanned_records: IntGauge,
    scanned_bytes: IntGauge,
    planned: IntGaugeVec,
    records: IntCounterVec,
    looked_after: IntCounterVec,
    record_bytes: IntCounterVec,
    requests: IntCounterVec,
    answers: IntCounterVec,
    refusals: IntCounterVec,
    retries: IntCounterVec,
    sent_bytes: IntCounterVec,
    received_bytes: IntCounterVec,
    latency: HistogramVec,
    slots: IntGaugeVec,
    in_flight: IntGaugeVec,
    ceiling: GaugeVec,
    state: IntGaugeVec,
}

impl Metrics {
    /// Begins to count. `of` is what is carried out: a manifest, a plan, or a run that goes on.
    ///
    /// # Errors
    ///
    /// When two figures have one name, which is a bug.
    pub fn new(of: &str) -> Result<Self, prometheus::Error> {
        const LOAD: &[&str] = &["load", "target"];
        let registry = Registry::new_custom(Some(PREFIX.to_owned()), None)?;
        let figures = RefCell::new(Vec::new());
        let note = |name: &str, help: &'static str, kind: MetricKind| {
            let name = format!("{PREFIX}_{name}");
            figures.borrow_mut().push(Figure { name, help, kind });
        };
        let counter = |name: &str, help: &'static str, labels: &[&str]| {
            note(name, help, MetricKind::Counter);
            let made = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let gauge = |name: &str, help: &'static str, labels: &[&str]| {
            note(name, help, MetricKind::Gauge);
            let made = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let single = |name: &str, help: &'static str| {
            note(name, help, MetricKind::Gauge);
            let made = IntGauge::new(name, help)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let (name, help) = (
            "request_duration_seconds",
            "How long requests were on the wire",
        );
        note(name, help, MetricKind::Histogram);
        let latency = HistogramOpts::new(name, help);
        let latency = HistogramVec::new(latency.buckets(SECONDS.to_vec()), LOAD)?;
        registry.register(Box::new(latency.clone()))?;
        let (name, help) = (
            "target_ceiling",
            "Operations a second that the target was found to allow at the most",
        );
        note(name, help, MetricKind::Gauge);
        let ceiling = GaugeVec::new(Opts::new(name, help), &["target"])?;
        registry.register(Box::new(ceiling.clone()))?;
        let info = gauge(
            "run_info",
            "What is carried out (a manifest, a plan, a run), and by which Stoker",
            &["of", "version"],
        )?;
        info.with_label_values(&[of, env!("CARGO_PKG_VERSION")])
            .set(1);
        let metrics = Self {
            loads: OnceLock::new(),
            scanned_records: single("scanned_records", "Records found in the sources")?,
            scanned_bytes: single("scanned_bytes", "Bytes of the sources that were read")?,
            planned: gauge("planned_records", "Records that are to be sent", LOAD)?,
            records: counter(
                "records_total",
                "Records that have an outcome, those of earlier sessions not counted",
                &["load", "target", "outcome"],
            )?,
            looked_after: counter(
                "looked_after_records_total",
                "Records that were compared with their store, or taken out of it, by what was found or done",
                &["target", "outcome"],
            )?,
            record_bytes: counter(
                "record_bytes_total",
                "Bytes of records that have an outcome",
                LOAD,
            )?,
            requests: counter("requests_total", "Requests that left", LOAD)?,
            answers: counter(
                "answers_total",
                "Requests that came back; `none` where no response came",
                &["load", "target", "status"],
            )?,
            refusals: counter(
                "refusals_total",
                "Answers by which the target asked to be slower",
                LOAD,
            )?,
            retries: counter("retries_total", "Attempts that will be made again", LOAD)?,
            sent_bytes: counter("sent_bytes_total", "Bytes of bodies that left", LOAD)?,
            received_bytes: counter("received_bytes_total", "Bytes of bodies that came", LOAD)?,
            latency,
            slots: gauge(
                "target_slots",
                "Requests that may be in flight to the target",
                &["target"],
            )?,
            in_flight: gauge(
                "target_requests_in_flight",
                "Requests that are in flight to the target",
                &["target"],
            )?,
            ceiling,
            state: gauge(
                "target_state",
                "1 for the state in which the target is: open, braked (it asked to wait) or down",
                &["target", "state"],
            )?,
            registry,
            figures: Vec::new(),
        };
        Ok(Self {
            figures: figures.into_inner(),
            ..metrics
        })
    }

    /// Writes all figures in Prometheus' text format.
    ///
    /// # Errors
    ///
    /// When a figure has no value to write, which is a bug.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// Returns all figures.
    pub fn figures(&self) -> &[Figure] {
        &self.figures
    }

    /// Tells each value of a counter or a gauge, with its labels.
    pub fn each(&self, figure: &str, told: &mut dyn FnMut(Labels<'_>, f64)) {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == figure);
        for metric in family.map_or(&[][..], MetricFamily::get_metric) {
            let labels = metric.get_label().iter();
            let labels: Vec<_> = labels.map(|label| (label.name(), label.value())).collect();
            match family.map(MetricFamily::get_field_type) {
                Some(MetricType::COUNTER) => told(&labels, metric.get_counter().get_value()),
                Some(MetricType::GAUGE) => told(&labels, metric.get_gauge().get_value()),
                _ => {}
            }
        }
    }

    /// The labels of a load: its name and its target's.
    fn with<'s>(&'s self, load: LoadId, count: impl FnOnce(&[&'s str; 2])) {
        let loads = self.loads.get();
        if let Some(load) = loads.and_then(|loads| loads.get(load.0 as usize)) {
            count(&[&load.name, &load.target]);
        }
    }

    fn begin(&self, loads: &[LoadPlanned]) {
        // Only the first beginning counts.
        if self.loads.set(loads.to_vec()).is_err() {
            return;
        }
        for load in loads {
            let labels = [load.name.as_str(), load.target.as_str()];
            let planned = i64::try_from(load.records).unwrap_or(i64::MAX);
            self.planned.with_label_values(&labels).set(planned);
            // An outcome without records so far is there, so that rates of it can be had.
            let is_sent = |outcome: &Outcome| *outcome != Outcome::Pending && !load.name.is_empty();
            let outcomes = Outcome::ALL.into_iter().filter(is_sent);
            for outcome in outcomes {
                let [name, target] = labels;
                let _ = (self.records).with_label_values(&[name, target, outcome.as_str()]);
            }
            for counter in [&self.requests, &self.retries, &self.refusals] {
                let _ = counter.with_label_values(&labels);
            }
        }
    }

    fn target(&self, name: &str, state: &TargetState) {
        let labels = [name];
        self.slots
            .with_label_values(&labels)
            .set(state.slots.into());
        let in_flight = self.in_flight.with_label_values(&labels);
        in_flight.set(state.in_flight.into());
        if let Some(ceiling) = state.ceiling {
            self.ceiling.with_label_values(&labels).set(ceiling);
        }
        let now = match state.flow {
            Flow::Open => "open",
            Flow::Braked(_) => "braked",
            Flow::Down { .. } => "down",
        };
        for state in STATES {
            let is_now = i64::from(state == now);
            self.state.with_label_values(&[name, state]).set(is_now);
        }
    }
}

impl Observe for Metrics {
    fn observe(&self, event: &Event) {
        match event {
            Event::Scanning { records, bytes } => {
                let whole = |count: &u64| i64::try_from(*count).unwrap_or(i64::MAX);
                self.scanned_records.set(whole(records));
                self.scanned_bytes.set(whole(bytes));
            }
            Event::Started { loads } => self.begin(loads),
            Event::Sent { load, bytes } => self.with(*load, |labels| {
                self.requests.with_label_values(labels).inc();
                self.sent_bytes.with_label_values(labels).inc_by(*bytes);
            }),
            Event::Answered {
                load,
                status,
                is_refused,
                latency,
                bytes,
            } => self.with(*load, |labels| {
                let [name, target] = *labels;
                let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
                let answers = &self.answers;
                answers.with_label_values(&[name, target, &status]).inc();
                if *is_refused {
                    self.refusals.with_label_values(labels).inc();
                }
                self.received_bytes.with_label_values(labels).inc_by(*bytes);
                let seconds = self.latency.with_label_values(labels);
                seconds.observe(latency.as_secs_f64());
            }),
            Event::Retrying { load, .. } => self.with(*load, |labels| {
                self.retries.with_label_values(labels).inc();
            }),
            Event::Settled {
                load,
                outcome,
                bytes,
            } if *outcome != Outcome::Pending => self.with(*load, |labels| {
                let [name, target] = *labels;
                let records = &self.records;
                let labelled = records.with_label_values(&[name, target, outcome.as_str()]);
                labelled.inc();
                self.record_bytes.with_label_values(labels).inc_by(*bytes);
            }),
            Event::LookedAfter {
                load,
                outcome,
                records,
            } => self.with(*load, |[_, target]| {
                let counter = self.looked_after.with_label_values(&[*target, *outcome]);
                counter.inc_by(*records);
            }),
            Event::Target { name, state } => self.target(name, state),
            // Pending records were not tried, and are still to be done.
            Event::Session { .. }
            | Event::Settled { .. }
            | Event::Way { .. }
            | Event::Stopping { .. }
            | Event::Finished
            | Event::Concluding { .. }
            | Event::AtWork { .. }
            | Event::Reading { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::SettledBefore;

    #[test]
    fn what_happens_is_counted() {
        let metrics = Metrics::new("clinic").unwrap();
        let load = LoadId(0);
        let planned = LoadPlanned {
            name: "people".to_owned(),
            target: "store".to_owned(),
            records: 7,
            bytes: 700,
            after: Vec::new(),
            before: SettledBefore::default(),
        };
        let state = |flow| TargetState {
            flow,
            slots: 8,
            in_flight: 3,
            ceiling: Some(12.5),
            rate: None,
        };
        let name = "store".to_owned();
        for event in [
            Event::Started {
                loads: vec![planned],
            },
            Event::Sent { load, bytes: 100 },
            Event::Answered {
                load,
                status: Some(429),
                is_refused: true,
                latency: Duration::from_millis(3),
                bytes: 10,
            },
            Event::Retrying {
                load,
                after: Duration::ZERO,
            },
            Event::Settled {
                load,
                outcome: Outcome::Created,
                bytes: 100,
            },
            Event::Settled {
                load,
                outcome: Outcome::Pending,
                bytes: 50,
            },
            // A load that nobody planned is counted nowhere.
            Event::Sent {
                load: LoadId(9),
                bytes: 1,
            },
            Event::Target {
                name: name.clone(),
                state: state(Flow::Open),
            },
            Event::Target {
                name,
                state: state(Flow::Braked(Duration::from_secs(1))),
            },
        ] {
            metrics.observe(&event);
        }
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        for line in [
            "stoker_planned_records{load=\"people\",target=\"store\"} 7",
            "stoker_records_total{load=\"people\",outcome=\"created\",target=\"store\"} 1",
            "stoker_records_total{load=\"people\",outcome=\"rejected\",target=\"store\"} 0",
            "stoker_requests_total{load=\"people\",target=\"store\"} 1",
            "stoker_answers_total{load=\"people\",status=\"429\",target=\"store\"} 1",
            "stoker_refusals_total{load=\"people\",target=\"store\"} 1",
            "stoker_retries_total{load=\"people\",target=\"store\"} 1",
            "stoker_sent_bytes_total{load=\"people\",target=\"store\"} 100",
            "stoker_request_duration_seconds_bucket{load=\"people\",target=\"store\",le=\"0.005\"} 1",
            "stoker_target_slots{target=\"store\"} 8",
            "stoker_target_ceiling{target=\"store\"} 12.5",
            "stoker_target_state{state=\"braked\",target=\"store\"} 1",
            "stoker_target_state{state=\"open\",target=\"store\"} 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("pending"), "{text}");
        assert!(text.contains("stoker_record_bytes_total{load=\"people\",target=\"store\"} 100"));
    }
}
