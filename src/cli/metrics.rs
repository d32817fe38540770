//! `--metrics` serves the figures of a run to Prometheus while it goes on; the variables of OpenTelemetry have them, and a
//! trace, pushed to a collector.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, http::header, response::IntoResponse, routing::get};
use http::StatusCode;

use super::{Context, Error, Exit, environment, number};
use crate::{
    diagnostic::Diagnostic,
    metrics::{CONTENT_TYPE, Metrics},
    progress::Watcher,
    telemetry::{self, Settings, Telemetry},
};

/// The arguments by which a run gives figures.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(super) struct MetricsArgs {
    /// Serve figures to Prometheus at this address, such as 127.0.0.1:9464 (path `/metrics`), while the run goes on
    #[arg(long, value_name = "ADDRESS", value_parser = number::address)]
    metrics: Option<SocketAddr>,
}

/// The observers of a run's events.
pub(super) struct Told {
    /// The watcher that passes events to all of them.
    pub(super) watcher: Watcher,
    verb: Option<&'static str>,
    telemetry: Option<Telemetry>,
}

impl MetricsArgs {
    /// Begins to serve figures, and to push telemetry, where it is asked for; whoever is told of the run by the watcher that is
    /// returned tells them, too. `verb` and `of` are what is carried out; without a verb nothing is pushed.
    pub(super) async fn begin(
        self,
        watcher: Watcher,
        verb: Option<&'static str>,
        of: &str,
        context: Context,
    ) -> Result<Told, Error> {
        let pushed = verb.map(|verb| (verb, Settings::read(&environment())));
        let (settings, problems) = match pushed {
            Some((verb, (settings, problems))) => (settings.map(|s| (verb, s)), problems),
            None => (None, Vec::new()),
        };
        watcher.suspend(|| context.printer.problems(&problems));
        if self.metrics.is_none() && settings.is_none() {
            return Ok(Told {
                watcher,
                verb,
                telemetry: None,
            });
        }
        let metrics = Arc::new(Metrics::new(of).map_err(Error::internal)?);
        if let Some(address) = self.metrics {
            serve(address, &metrics, &watcher, context).await?;
        }
        let watcher = watcher.and(Arc::clone(&metrics) as Arc<dyn crate::event::Observe>);
        let begun =
            settings.map(|(verb, settings)| Telemetry::begin(&settings, verb, of, &metrics));
        let telemetry = match begun.transpose() {
            Ok(telemetry) => telemetry,
            // The run goes on without it.
            Err(error) => {
                let what = format!("no telemetry is sent: {error}");
                let problem = Diagnostic::warning(what).hint(
                    "see the OTEL_EXPORTER_OTLP_… variables; `OTEL_SDK_DISABLED=true` sends none",
                );
                watcher.suspend(|| context.printer.problems(&[problem]));
                None
            }
        };
        let watcher = match &telemetry {
            Some(telemetry) => watcher.and(telemetry.observer()),
            None => watcher,
        };
        Ok(Told {
            watcher,
            verb,
            telemetry,
        })
    }
}

impl Told {
    /// Finishes what is drawn, and sends what has not been sent.
    pub(super) async fn end(self, ended: &Result<Exit, Error>, context: Context) {
        self.watcher.finish();
        let Some(telemetry) = self.telemetry else {
            return;
        };
        let exit = match ended {
            Ok(exit) => *exit,
            Err(error) => error.exit,
        };
        let ending = telemetry::TraceEnd {
            exit: exit.code(),
            wrong: match (self.verb, exit) {
                (Some("verify"), Exit::SomeFailed) => Some("the stores are not what was expected"),
                (Some("unload" | "reset"), Exit::SomeFailed) => Some("some records stay"),
                _ => exit.wrong(),
            },
        };
        if let Some(problem) = telemetry.end(ending).await {
            context.printer.problems(&[problem]);
        }
    }
}

/// Serves figures to Prometheus until the process ends.
async fn serve(
    address: SocketAddr,
    metrics: &Arc<Metrics>,
    watcher: &Watcher,
    context: Context,
) -> Result<(), Error> {
    let unable = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrNotAvailable => {
                "that is no address of this machine; 127.0.0.1 is always one"
            }
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 are kept for the system; take a higher one"
            }
            _ => "another program may listen there; port 0 lets the system choose one",
        };
        let what = format!("cannot serve metrics at {address}: {error}");
        Error::new(Exit::Usage, what).hint(hint)
    };
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(unable)?;
    let bound = listener.local_addr().map_err(unable)?;
    let shown = Arc::clone(metrics);
    let app = Router::new().route(
        "/metrics",
        get(move || {
            let shown = Arc::clone(&shown);
            async move {
                match shown.render() {
                    Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                }
            }
        }),
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    watcher.suspend(|| {
        context
            .printer
            .message(&format!("metrics at http://{bound}/metrics"));
    });
    Ok(())
}
