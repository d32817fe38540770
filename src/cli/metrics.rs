//! `--metrics`: serves the figures of a run to Prometheus while it goes on.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, http::header, response::IntoResponse, routing::get};
use http::StatusCode;

use super::{Context, Error, Exit};
use crate::{
    metrics::{CONTENT_TYPE, Metrics},
    progress::Watcher,
};

/// Who asks for figures.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(super) struct MetricsArgs {
    /// Serve figures to Prometheus at this address, such as 127.0.0.1:9464 (path `/metrics`), while the run goes on
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

impl MetricsArgs {
    /// Begins to serve, where it is asked for; whoever is told of the run by what is returned tells the figures, too.
    pub(super) async fn serve(
        self,
        watcher: Watcher,
        of: &str,
        context: Context,
    ) -> Result<Watcher, Error> {
        let Some(address) = self.metrics else {
            return Ok(watcher);
        };
        let metrics = Arc::new(Metrics::new(of).map_err(Error::internal)?);
        let unable = |error: std::io::Error| {
            Error::new(
                Exit::Usage,
                format!("cannot serve metrics at {address}: {error}"),
            )
            .hint("another program may listen there; port 0 lets the system choose one")
        };
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(unable)?;
        let bound = listener.local_addr().map_err(unable)?;
        let shown = Arc::clone(&metrics);
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
        // Ends with the process.
        tokio::spawn(async move { axum::serve(listener, app).await });
        watcher.suspend(|| {
            context
                .printer
                .message(&format!("metrics at http://{bound}/metrics"));
        });
        Ok(watcher.and(metrics))
    }
}
