//! The log's lines on single requests: method, path, status, latency. No query, no body, no header, no word of a
//! server, and of a path only what can be no content.

use std::time::Duration;

use ::http::{Method, Request, Response};
use bytes::Bytes;

use super::Fault;

/// A request that is told of once it is answered.
#[derive(Debug)]
pub(super) struct Asked {
    method: Method,
    path: String,
    bytes: u64,
}

impl Asked {
    /// Takes note of a request, where anybody wants to be told.
    pub(super) fn of(request: &Request<Bytes>) -> Option<Self> {
        tracing::enabled!(tracing::Level::DEBUG).then(|| Self {
            method: request.method().clone(),
            path: shown(request.uri().path()),
            bytes: crate::record::body_length(request),
        })
    }

    /// Tells what came of it.
    pub(super) fn answered(
        &self,
        target: &str,
        attempt: u32,
        answer: Result<&Response<Bytes>, &Fault>,
        latency: Duration,
    ) {
        let Self {
            method,
            path,
            bytes,
        } = self;
        let ms = millis(latency);
        match answer {
            Ok(response) => tracing::debug!(
                target,
                status = u64::from(response.status().as_u16()),
                ms,
                attempt,
                sent = bytes,
                received = response.body().len() as u64,
                "{method} {path}"
            ),
            Err(fault) => tracing::debug!(
                target,
                fault = %fault.what,
                ms,
                attempt,
                sent = bytes,
                "{method} {path}"
            ),
        }
    }
}

/// A duration as it stands in logs.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Shows a path. A part that can be no name of a store, no type and no id of FHIR (64 characters at the most) becomes `*`.
fn shown(path: &str) -> String {
    let is_name = |part: &str| {
        part.len() <= 64
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'$'))
    };
    let parts = path
        .split('/')
        .map(|part| if is_name(part) { part } else { "*" });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_shows_names_types_and_ids_and_nothing_else() {
        for (path, expected) in [
            ("/fhir/Patient/a-1.b", "/fhir/Patient/a-1.b"),
            (
                "/fhir/Patient/Anna%20Lindqvist/_history/1",
                "/fhir/Patient/*/_history/1",
            ),
            (
                "/v1/projects/p_1/datasets/d:x",
                "/v1/projects/p_1/datasets/d:x",
            ),
            ("/", "/"),
            ("/Patient/a;b=c", "/Patient/*"),
        ] {
            assert_eq!(shown(path), expected);
        }
        assert_eq!(shown(&format!("/Patient/{}", "a".repeat(65))), "/Patient/*");
    }
}
