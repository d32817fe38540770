//! The figures of a run as instruments of OpenTelemetry.
//!
//! Counters and gauges are read off [`Metrics`] when an export is due, so that both ways tell the same and nothing is counted
//! twice. Latencies alone are recorded one by one: a distribution cannot be handed over whole.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{Histogram, Meter, MeterProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        Instrument, PeriodicReader, SdkMeterProvider, Stream, Temporality, data::ResourceMetrics,
        exporter::PushMetricExporter,
    },
};

use super::notes::Notes;
use crate::{
    event::{Event, Observe},
    metrics::{MetricKind, Metrics, SECONDS},
};

/// The name of what tells: the scope of every figure and span.
pub(super) const SCOPE: &str = "stoker";

/// The number of sets of labels that a figure may have: a thousand loads with all their outcomes. The SDK's own limit of 2,000 would
/// melt the outcomes of some two hundred loads into one.
const SETS: usize = 20_000;

/// Makes what exports all figures every so often.
pub(super) fn provider<E: PushMetricExporter>(
    exporter: E,
    interval: Duration,
    resource: Resource,
) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(exporter).with_interval(interval);
    SdkMeterProvider::builder()
        .with_resource(resource)
        .with_reader(reader.build())
        .with_view(|_: &Instrument| Stream::builder().with_cardinality_limit(SETS).build().ok())
        .build()
}

/// Registers the figures; returns who records latencies.
pub(super) fn push(provider: &SdkMeterProvider, metrics: &Arc<Metrics>) -> Latencies {
    let meter = provider.meter(SCOPE);
    let mut latencies = None;
    for figure in metrics.figures() {
        let (name, unit) = (figure.name.clone(), unit(&figure.name));
        match figure.kind {
            MetricKind::Counter => counter(&meter, metrics, name, figure.help, unit),
            MetricKind::Gauge => gauge(&meter, metrics, name, figure.help, unit),
            MetricKind::Histogram => {
                let made = meter.f64_histogram(name).with_description(figure.help);
                let made = made.with_unit(unit).with_boundaries(SECONDS.to_vec());
                latencies = Some(made.build());
            }
        }
    }
    Latencies {
        seconds: latencies,
        labels: OnceLock::new(),
    }
}

fn counter(
    meter: &Meter,
    metrics: &Arc<Metrics>,
    name: String,
    help: &'static str,
    unit: &'static str,
) {
    let (metrics, own) = (Arc::clone(metrics), name.clone());
    let made = meter.u64_observable_counter(name).with_description(help);
    let made = made.with_unit(unit).with_callback(move |observed| {
        metrics.each(&own, &mut |labels, value| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it was counted as a whole number"
            )]
            observed.observe(value as u64, &pairs(labels));
        });
    });
    made.build();
}

fn gauge(
    meter: &Meter,
    metrics: &Arc<Metrics>,
    name: String,
    help: &'static str,
    unit: &'static str,
) {
    let (metrics, own) = (Arc::clone(metrics), name.clone());
    let made = meter.f64_observable_gauge(name).with_description(help);
    let made = made.with_unit(unit).with_callback(move |observed| {
        metrics.each(&own, &mut |labels, value| {
            observed.observe(value, &pairs(labels));
        });
    });
    made.build();
}

fn pairs(labels: &[(&str, &str)]) -> Vec<KeyValue> {
    let pairs = labels.iter();
    pairs
        .map(|(name, value)| KeyValue::new((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Returns the unit of a figure in the notation of UCUM. One that Prometheus would add to a name stands in it already.
fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total");
    if name.ends_with("_bytes") {
        "By"
    } else if name.ends_with("_seconds") {
        "s"
    } else {
        ""
    }
}

/// Records how long requests took.
#[derive(Debug)]
pub(super) struct Latencies {
    seconds: Option<Histogram<f64>>,
    /// The labels of each load.
    labels: OnceLock<Vec<[KeyValue; 2]>>,
}

impl Observe for Latencies {
    fn observe(&self, event: &Event) {
        match event {
            Event::Started { loads } => {
                let labels = loads.iter().map(|load| {
                    let load = (load.name.clone(), load.target.clone());
                    [
                        KeyValue::new("load", load.0),
                        KeyValue::new("target", load.1),
                    ]
                });
                // Only the first beginning counts.
                let _ = self.labels.set(labels.collect());
            }
            Event::Answered { load, latency, .. } => {
                let labels = self.labels.get();
                let labels = labels.and_then(|labels| labels.get(load.0 as usize));
                if let (Some(labels), Some(seconds)) = (labels, &self.seconds) {
                    seconds.record(latency.as_secs_f64(), labels);
                }
            }
            _ => {}
        }
    }
}

/// An exporter whose results are noted.
pub(super) struct Noted<E> {
    exporter: E,
    notes: Arc<Notes>,
}

impl<E> Noted<E> {
    pub(super) fn new(exporter: E, notes: &Arc<Notes>) -> Self {
        Self {
            exporter,
            notes: Arc::clone(notes),
        }
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Noted<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let exported = self.exporter.export(metrics).await;
        self.notes.exported(&exported);
        exported
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
