//! The bodies of requests: how large they may be and how long they may take, and what becomes of what nobody reads.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::access;
use super::reply::Refusal;

/// Google's limit of an executeBundle request (50 MB).
pub(super) const MAX_BUNDLE: usize = 50 << 20;
/// Google's limit of any other FHIR request (10 MB).
pub(super) const MAX_BODY: usize = 10 << 20;
/// Bytes of an unwanted body that are read and thrown away at most, so that the client gets to read the answer: beyond
/// them the connection is closed, and says so.
const MAX_DRAIN: usize = 1 << 30;
/// The longest that this draining may take.
const DRAIN: Duration = Duration::from_secs(10);
/// The longest wait for the next part of a body.
const PART: Duration = Duration::from_secs(20);
/// The longest that the whole of a body may take that is read into memory.
const WHOLE: Duration = Duration::from_mins(5);

/// The unread rest of a request's body once the request has been answered.
pub(super) struct Rest(Arc<tokio::sync::Mutex<axum::body::BodyDataStream>>);

/// Splits a body in two: one for the code that answers, and the unread rest of it.
pub(super) fn shared(body: Body) -> (Body, Rest) {
    if hyper::body::Body::is_end_stream(&body) {
        let empty = Body::empty().into_data_stream();
        return (body, Rest(Arc::new(tokio::sync::Mutex::new(empty))));
    }
    let stream = Arc::new(tokio::sync::Mutex::new(body.into_data_stream()));
    let rest = Rest(Arc::clone(&stream));
    let chunks = futures::stream::unfold(stream, async |stream| {
        let chunk = stream.lock().await.next().await?;
        Some((chunk, stream))
    });
    (Body::from_stream(chunks), rest)
}

impl Rest {
    /// Reads what is left, and tells whether that is now all of it. A client that waits for leave to send its body will not
    /// send it.
    pub(super) async fn drain(&self, waits: bool) -> bool {
        let mut stream = self.0.lock().await;
        let mut size = 0;
        let drained = async {
            while size <= MAX_DRAIN {
                match stream.next().await {
                    None => return true,
                    Some(Ok(chunk)) => size += chunk.len(),
                    Some(Err(_)) => return false,
                }
            }
            false
        };
        if waits {
            return futures::FutureExt::now_or_never(drained).unwrap_or(false);
        }
        tokio::time::timeout(DRAIN, drained).await.unwrap_or(false)
    }
}

/// Refuses a body that does not say that it is JSON.
pub(super) fn check_media_type(headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    if body.is_empty() || access::is_json(headers) {
        return Ok(());
    }
    Err(Refusal::google(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "a body must be sent as Content-Type: application/json",
    ))
}

/// Waits for the next piece of a body; not for ever.
pub(super) async fn piece<S, E>(stream: &mut S) -> Result<Option<Bytes>, Refusal>
where
    S: futures::Stream<Item = Result<Bytes, E>> + Unpin,
{
    let next = tokio::time::timeout(PART, stream.next());
    let next = next.await.map_err(|_| too_slow())?;
    next.transpose().map_err(|_| ended_early())
}

fn too_slow() -> Refusal {
    Refusal::google(
        StatusCode::REQUEST_TIMEOUT,
        "the request's body took too long to come",
    )
}

fn ended_early() -> Refusal {
    Refusal::google(StatusCode::BAD_REQUEST, "the request's body ended early")
}

/// Reads a body of any size to its end, and keeps nothing of it.
pub(super) async fn discard(body: Body) -> Result<(), Refusal> {
    let mut stream = body.into_data_stream();
    while piece(&mut stream).await?.is_some() {}
    Ok(())
}

/// Reads a body of limited size, in limited time.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let mut stream = body.into_data_stream();
    let mut first: Option<Bytes> = None;
    let mut rest: Vec<u8> = Vec::new();
    let mut size = 0;
    let until = Instant::now() + WHOLE;
    loop {
        let next = tokio::time::timeout_at(until.min(Instant::now() + PART), stream.next());
        let Some(chunk) = next.await.map_err(|_| too_slow())? else {
            break;
        };
        let chunk = chunk.map_err(|_| ended_early())?;
        size += chunk.len();
        if size > limit {
            first = None;
            rest = Vec::new();
            if size > MAX_DRAIN {
                break;
            }
        } else if first.is_none() && rest.is_empty() {
            first = Some(chunk);
        } else {
            if let Some(first) = first.take() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
    }
    if size > limit {
        let message = format!("Request payload size exceeds the limit: {limit} bytes.");
        return Err(Refusal::google(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(first.unwrap_or_else(|| Bytes::from(rest)))
}
