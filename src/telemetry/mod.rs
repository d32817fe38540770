//! Figures and one trace of a run, pushed to a collector by the OpenTelemetry protocol (OTLP) over HTTP.
//!
//! The figures are those of [`metrics`](crate::metrics), read off the same counters; `trace` has the spans. A collector that is
//! slow, or not there, holds nobody up: figures leave from a thread of their own, the trace when the run is over, and the end
//! waits for both for a bounded time. Names, outcomes, statuses and times leave, and no content of records (design §10).
//! `docs/metrics.md` lists all.

use std::{sync::Arc, time::Duration};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    Compression, ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{SdkMeterProvider, Temporality},
    trace::SpanExporter as _,
};

use crate::{
    diagnostic::Diagnostic,
    event::{Event, Observe},
    gate::http::HttpSetupError,
    metrics::Metrics,
};
use courier::Courier;
use figures::{Latencies, Noted};
use notes::Notes;
use trace::Trail;

mod courier;
mod figures;
mod notes;
mod settings;
mod spread;
mod trace;

pub use settings::{Settings, Signal};

/// The longest that the end of a run waits where no timeout is set: long enough for a collector that is well, and short
/// enough for a person at a prompt.
const PATIENCE: Duration = Duration::from_secs(5);

/// The figures and spans of a run, as they are told to a collector.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    trail: Arc<Trail>,
    latencies: Option<Arc<Latencies>>,
    pushed: Option<SdkMeterProvider>,
    traces: Option<SpanExporter>,
    notes: Arc<Notes>,
    patience: Duration,
}

/// The reason why nothing can be told to a collector.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection cannot be set up.
    #[error(transparent)]
    Setup(#[from] HttpSetupError),
    /// The exporter cannot be set up.
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
}

/// The end of a run.
#[derive(Debug, Clone, Copy)]
pub struct TraceEnd {
    /// The exit code.
    pub exit: u8,
    /// The failure, in Stoker's own words.
    pub wrong: Option<&'static str>,
}

impl Telemetry {
    /// Begins to tell of a run. `verb` and `of` are what is carried out; `metrics` are counted by somebody else.
    ///
    /// # Errors
    ///
    /// When a collector cannot be reached with these settings, whatever it does.
    pub fn begin(
        settings: &Settings,
        verb: &'static str,
        of: &str,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, Error> {
        let notes = Arc::new(Notes::default());
        let attributes = settings.resource.iter();
        let attributes = attributes.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
        let resource = Resource::builder_empty()
            .with_attributes(attributes)
            .build();
        let (mut latencies, mut pushed) = (None, None);
        if let Some(signal) = &settings.metrics {
            let temporality = if settings.delta {
                Temporality::Delta
            } else {
                Temporality::Cumulative
            };
            let exporter = MetricExporter::builder().with_temporality(temporality);
            let exporter = set(exporter.with_http(), signal, &notes)?.build()?;
            let exporter = Noted::new(exporter, &notes);
            let provider = figures::provider(exporter, settings.interval, resource.clone());
            latencies = Some(Arc::new(figures::push(&provider, metrics)));
            pushed = Some(provider);
        }
        let mut traces = None;
        if let Some(signal) = &settings.traces {
            let exporter = SpanExporter::builder().with_http();
            let mut exporter = set(exporter, signal, &notes)?.build()?;
            exporter.set_resource(&resource);
            traces = Some(exporter);
        }
        Ok(Self {
            metrics: Arc::clone(metrics),
            trail: Arc::new(Trail::begin(verb, of)),
            latencies,
            pushed,
            traces,
            notes,
            patience: settings.patience.unwrap_or(PATIENCE),
        })
    }

    /// Returns who takes note of events.
    pub fn observer(&self) -> Arc<dyn Observe> {
        Arc::new(Observer {
            trail: Arc::clone(&self.trail),
            latencies: self.latencies.clone(),
        })
    }

    /// Sends what has not been sent, and waits for it for a while; returns what went wrong on the way.
    pub async fn end(self, ending: TraceEnd) -> Option<Diagnostic> {
        let Self {
            metrics,
            trail,
            pushed,
            traces,
            notes,
            patience,
            ..
        } = self;
        // The SDK waits for its answers, and so does not run on a thread that others need.
        let mut last: Vec<tokio::task::JoinHandle<OTelSdkResult>> = Vec::new();
        if let Some(provider) = pushed {
            last.push(tokio::task::spawn_blocking(move || {
                provider.shutdown_with_timeout(patience)
            }));
        }
        if let Some(exporter) = traces {
            let spans = trail.spans(&metrics, ending);
            let notes = Arc::clone(&notes);
            last.push(tokio::task::spawn_blocking(move || {
                let exported = futures::executor::block_on(exporter.export(spans));
                notes.exported(&exported);
                exported
            }));
        }
        let all = futures::future::join_all(last);
        let in_time = tokio::time::timeout(patience, all).await.is_ok();
        notes.told(in_time.then_some(()).ok_or(patience))
    }
}

/// Tells an exporter where to send, and how. A setting that it is not told it would look for in the environment by
/// itself.
fn set<B: WithExportConfig + WithHttpConfig>(
    exporter: B,
    signal: &Signal,
    notes: &Arc<Notes>,
) -> Result<B, HttpSetupError> {
    let exporter = exporter
        .with_http_client(Courier::of(signal, notes)?)
        .with_endpoint(signal.endpoint.as_str())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(signal.timeout);
    Ok(if signal.gzip {
        exporter.with_compression(Compression::Gzip)
    } else {
        exporter
    })
}

/// Takes note of what the counters do not keep.
#[derive(Debug)]
struct Observer {
    trail: Arc<Trail>,
    latencies: Option<Arc<Latencies>>,
}

impl Observe for Observer {
    fn observe(&self, event: &Event) {
        self.trail.observe(event);
        if let Some(latencies) = &self.latencies {
            latencies.observe(event);
        }
    }
}
