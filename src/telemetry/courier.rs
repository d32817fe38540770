//! Carries exports to the collector, over the transport that targets have: its TLS, its proxies, its words for what failed.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, header};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message as _;
use tokio::runtime::Handle;

use super::{Signal, notes::Notes};
use crate::gate::{
    Transport,
    http::{HttpSetupError, HttpTransport, TransportOptions},
};

/// The longest answer that is read: a collector has little to say.
const LONGEST: usize = 1 << 20;

/// Makes the requests of an exporter.
pub(super) struct Courier {
    transport: Arc<dyn Transport>,
    notes: Arc<Notes>,
    /// The exporters wait on threads of their own, where no timer and no socket works.
    runtime: Handle,
}

impl Courier {
    pub(super) fn of(signal: &Signal, notes: &Arc<Notes>) -> Result<Self, HttpSetupError> {
        let options = TransportOptions {
            tls: signal.tls.clone(),
            timeout: signal.timeout,
            headers: signal.headers.clone(),
            max_response: LONGEST,
            concurrency: 1,
            ..TransportOptions::default()
        };
        Ok(Self {
            transport: Arc::new(HttpTransport::new(&options)?),
            notes: Arc::clone(notes),
            runtime: Handle::current(),
        })
    }
}

// Headers may hold a key.
impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").finish_non_exhaustive()
    }
}

impl HttpClient for Courier {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let (transport, request) = (Arc::clone(&self.transport), bare(request));
            let call = self
                .runtime
                .spawn(async move { transport.call(request).await });
            let answer = match call.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(fault)) => {
                    self.notes.failed(fault.what.clone());
                    return Err(fault.into());
                }
                // The program is about to end.
                Err(dropped) => return Err(dropped.into()),
            };
            if !answer.status().is_success() {
                let status = answer.status().as_u16();
                self.notes
                    .failed(format!("the collector answered {status}"));
            } else if let Some(rejected) = rejected(answer.body()) {
                self.notes.in_part(rejected);
            }
            Ok(answer)
        })
    }
}

/// Leaves of a request what the exporter says of its body. It puts headers of the environment there by itself; those that
/// count were read by `cli`, and are the transport's.
fn bare(request: Request<Bytes>) -> Request<Bytes> {
    let (mut parts, body) = request.into_parts();
    let all = std::mem::take(&mut parts.headers);
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        if let Some(value) = all.get(&name) {
            parts.headers.insert(name, value.clone());
        }
    }
    Request::from_parts(parts, body)
}

/// Returns how many items of an export a collector would not have. Its words stay unread: they may quote anything.
fn rejected(body: &Bytes) -> Option<i64> {
    // Answers about spans and about figures have the same fields.
    let answer = ExportMetricsServiceResponse::decode(body.clone()).ok()?;
    let rejected = answer.partial_success?.rejected_data_points;
    (rejected > 0).then_some(rejected)
}
