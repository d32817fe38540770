//! One method that puts a request on the wire, and what can go wrong there.
//!
//! The retries of the HTTP library are off: every attempt is the gate's, so that it is journaled, paced and
//! counted.

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};

/// Puts a request on the wire and returns the whole response. One attempt, no retries, no redirects.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Makes one attempt. The timeout covers it whole, to the last byte of the response.
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>>;
}

/// Why an attempt brought no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    /// At which point it failed; this decides whether the request can have had an effect.
    pub kind: FaultKind,
    /// What went wrong in words, without the URL's path or query, without content.
    pub what: String,
}

/// At which point an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No connection: refused, unreachable, name not found, connect timeout. Nothing was sent.
    Connect,
    /// The connection ended without the server's having looked at the request: it says so, as it does when it lets go of an
    /// HTTP/2 connection after so many requests, or the request never left. Nothing is wrong, unless
    /// nothing else comes.
    TurnedAway,
    /// TLS could not be established or verified. Nothing was sent, and trying again will not help.
    Tls,
    /// The request could not be made at all (bad URL or header). Nothing was sent.
    Request,
    /// No whole response in time. The request may have had its effect.
    Timeout,
    /// The connection was lost after the request began to leave. It may have had its effect.
    Interrupted,
    /// A response came but could not be read whole. It may have had its effect.
    Response,
}

impl FaultKind {
    /// Tells whether the request may have reached the store.
    pub fn may_have_been_sent(self) -> bool {
        matches!(self, Self::Timeout | Self::Interrupted | Self::Response)
    }
}
