//! The transport over HTTP/1.1 and HTTP/2, by reqwest.
//!
//! One request in, one whole response out: no retries, no redirects, no cookies. A redirect is a response
//! like any other, so no header ever reaches a host that the request was not built for. `mark` takes off
//! what some servers write before a text, `options` holds the settings and their checks, `lanes` the connections to a server that speaks HTTP/2, `fault` says at which point an
//! attempt failed.

mod fault;
mod hail;
mod mark;
mod options;
mod pool;
mod streamed;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use ::http::{Request, Response, Uri};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;

pub use self::options::{HttpSetupError, TransportOptions};
use self::{
    fault::Place,
    pool::ConnectionPool,
    streamed::{Changed, Movement, PIECE},
};
use super::{
    answers::{self, AnswerBudget, Room},
    transport::{Fault, FaultKind, Transport},
};
use crate::{record::StreamedBody, unit::display_duration};

/// The largest room, in bytes, that is made for a response at once. A server's `Content-Length` is a claim, not a fact.
const ROOM: usize = 1 << 20;

/// The size in bytes above which an answer may take longer than any message: instances alone are allowed to be larger.
const LARGE: usize = 64 << 20;

/// Puts requests on the wire with reqwest.
pub struct HttpTransport {
    /// Through a proxy, where one is set.
    proxied: ConnectionPool,
    /// Past all proxies, for this machine itself.
    direct: ConnectionPool,
    /// The proxy of the settings as `host:port`, for the words of a fault.
    proxy: Option<String>,
    max_response: usize,
    timeout: Duration,
    answers: Arc<AnswerBudget>,
    /// An answer has come at some time: what answers speaks HTTP.
    is_heard: AtomicBool,
}

impl HttpTransport {
    /// Builds a transport.
    ///
    /// The proxies of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, and `NO_PROXY`, in upper or
    /// lower case) are read by reqwest; [`TransportOptions::proxy`] goes before them, and `NO_PROXY` holds for
    /// it too. The loopback interface is never proxied.
    ///
    /// # Errors
    ///
    /// When a file of the TLS settings, the proxy or a header cannot be used; the error names which and why.
    pub fn new(options: &TransportOptions) -> Result<Self, HttpSetupError> {
        let (with, without) = (options.clone(), options.clone());
        let proxied = move || with.build(with.proxied(with.builder()?)?);
        let direct = move || without.build(without.builder()?.no_proxy());
        Ok(Self {
            proxied: ConnectionPool::new(Box::new(proxied), options.concurrency)?,
            direct: ConnectionPool::new(Box::new(direct), options.concurrency)?,
            proxy: options.proxy_place(),
            max_response: options.max_response,
            timeout: options.timeout,
            answers: Arc::clone(&options.answers),
            is_heard: AtomicBool::new(false),
        })
    }

    async fn attempt(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Fault> {
        let uri = request.uri().clone();
        let proxy = self.proxy.as_deref().filter(|_| !is_loopback(&uri));
        let place = Place::new(uri.clone(), proxy);
        let largest = usize::try_from(answers::largest(&request)).unwrap_or(usize::MAX);
        let largest = std::cmp::min(largest, self.max_response);
        let (mut parts, body) = request.into_parts();
        let streamed: Option<StreamedBody> = parts.extensions.remove();
        let request = Request::from_parts(parts, body);
        let mut request = reqwest::Request::try_from(request).map_err(|_| {
            Fault::new(
                FaultKind::Request,
                format!("the URL of a request to {place} is not valid"),
            )
        })?;
        if streamed.is_none() && largest <= LARGE {
            return self.exchange(request, &uri, &place, largest, None).await;
        }
        let movement = Movement::of(&mut request);
        let changed = match streamed {
            Some(body) => streamed::attach(&mut request, body, Arc::clone(&movement)),
            None => Changed::default(),
        };
        let exchange = self.exchange(request, &uri, &place, largest, Some(&movement));
        tokio::select! {
            biased;
            answered = exchange => match changed.path() {
                Some(path) => Err(of_changed(path)),
                None => answered,
            },
            () = movement.stands_still(self.timeout) => Err(Fault::new(
                FaultKind::Timeout,
                format!("{place}: nothing moved for {}", display_duration(self.timeout)),
            )),
        }
    }

    /// Sends a request, and reads its answer of `largest` bytes at the most.
    async fn exchange(
        &self,
        request: reqwest::Request,
        uri: &Uri,
        place: &Place<'_>,
        largest: usize,
        movement: Option<&Movement>,
    ) -> Result<Response<Bytes>, Fault> {
        let lanes = if is_loopback(uri) {
            &self.direct
        } else {
            &self.proxied
        };
        let ride = lanes.take();
        let mut response = match ride.client.execute(request).await {
            Ok(response) => response,
            Err(error) => {
                let fault = fault::of_request(&error.without_url(), place);
                return Err(if self.is_tls_port(uri, &fault).await {
                    fault::of_tls_port(place)
                } else {
                    fault
                });
            }
        };
        lanes.heard(response.version());
        self.is_heard.store(true, Relaxed);

        let claimed = response.content_length().and_then(|n| n.try_into().ok());
        if claimed.is_some_and(|length: usize| length > largest) {
            return Err(too_large(place, largest));
        }
        let mut room = Room::default();
        // Most responses are one chunk: it is handed on as it came, without a copy.
        let mut first = None;
        let mut all = BytesMut::new();
        let mut length = 0;
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| fault::of_body(&error.without_url(), place))?
        {
            if let Some(movement) = movement
                && length / PIECE != (length + chunk.len()) / PIECE
            {
                movement.note();
            }
            length += chunk.len();
            if length > largest {
                return Err(too_large(place, largest));
            }
            self.answers.grow(&mut room, length as u64).await;
            if all.is_empty() {
                let Some(first) = first.take() else {
                    first = Some(chunk);
                    continue;
                };
                let first: Bytes = first;
                all.reserve(claimed.unwrap_or(0).min(ROOM).max(length));
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&chunk);
        }
        let body = mark::without(first.unwrap_or_else(|| all.freeze()));
        let mut whole = Response::new(body);
        *whole.status_mut() = response.status();
        *whole.version_mut() = response.version();
        *whole.headers_mut() = std::mem::take(response.headers_mut());
        // It is given back with the answer.
        whole.extensions_mut().insert(Arc::new(room));
        Ok(whole)
    }

    /// Tells whether a request of plain HTTP went to a port that speaks TLS. Nobody is asked who has answered before, nor
    /// where a proxy of the settings stands in between.
    async fn is_tls_port(&self, uri: &Uri, fault: &Fault) -> bool {
        let is_mute = matches!(
            fault.kind,
            FaultKind::Interrupted | FaultKind::Response | FaultKind::TurnedAway
        );
        let is_direct = self.proxy.is_none() || is_loopback(uri);
        match uri.host() {
            Some(host) if is_mute && is_direct && uri.scheme_str() == Some("http") => {
                !self.is_heard.load(Relaxed)
                    && hail::speaks_tls(host, uri.port_u16().unwrap_or(80)).await
            }
            _ => false,
        }
    }
}

/// The file of a record is not any more what it was when its request was made. The request lacks its end, and counts for
/// nothing.
fn of_changed(path: &Path) -> Fault {
    Fault::new(
        FaultKind::Request,
        format!(
            "`{}` has changed while it was sent, and was not sent to its end",
            path.display()
        ),
    )
}

/// An answer that is larger than what it could have to say is not read to its end.
fn too_large(place: &Place<'_>, largest: usize) -> Fault {
    Fault::new(
        FaultKind::Response,
        format!("the response of {place} is larger than {largest} bytes"),
    )
}

impl Transport for HttpTransport {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(self.attempt(request))
    }
}

// reqwest's own would show the URL of a proxy, password included.
impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("proxy", &self.proxy)
            .field("max_response", &self.max_response)
            .finish_non_exhaustive()
    }
}

/// Tells whether a request stays on this machine.
fn is_loopback(uri: &Uri) -> bool {
    let Some(host) = uri.host() else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_known_by_its_names() {
        let local = |text: &str| is_loopback(&text.parse().unwrap());
        assert!(local("http://localhost:8080/fhir") && local("http://LOCALHOST/"));
        assert!(local("http://127.0.0.1/") && local("http://127.8.8.8/"));
        assert!(local("http://[::1]:1/") && local("http://[::ffff:127.0.0.1]/"));
        assert!(
            !local("https://localhost.example/") && !local("http://10.0.0.1/") && !local("/fhir")
        );
    }
}
