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

    /// Returns the habits of the other side that have cost time or messages, for a report: words without content, which follow
    /// its name.
    fn habits(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The reason why an attempt brought no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    /// At which point it failed; this decides whether the request can have had an effect.
    pub kind: FaultKind,
    /// The failure in words, without the URL's path or query, without content.
    pub what: String,
    /// The bytes that came instead of an answer, or the first of them.
    pub heard: Heard,
}

/// Bytes of the other side, as they came: content, which `Debug` does not show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Heard(pub Bytes);

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Heard({} bytes)", self.0.len())
    }
}

/// The words for a TLS that is not to be had: an `https://` URL of a server that speaks plain HTTP.
pub(super) const NO_TLS: &str = "it does not speak TLS; is the URL to be `http://`?";

/// The words for a plain HTTP that gets no answer.
pub(super) const TLS_PORT: &str = "speaks TLS; is the URL to be `https://`?";

/// The words for a server that does not speak HTTP.
pub(super) const NO_HTTP: &str = "answered with something that is not HTTP";

/// The words for a certificate that was made to be trusted and is refused all the same.
pub(super) const AUTHORITY_AS_SERVER: &str = "its certificate is an authority's (self-signed, with `CA:TRUE`) and may not be \
    a server's as well";

/// A certificate whose time has not come, or a clock that is late.
pub(super) const NOT_VALID_YET: &str =
    "its certificate is not valid yet; is this machine's clock right?";

/// A certificate from before hosts were named in them as today.
pub(super) const NAMELESS: &str = "its certificate names no host (it has no `subjectAltName`)";

impl Fault {
    /// Makes a fault of which nothing was heard.
    pub fn new(kind: FaultKind, what: String) -> Self {
        Self {
            kind,
            what,
            heard: Heard::default(),
        }
    }

    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self.kind {
            FaultKind::Connect => {
                "check the address, and that the server is running and can be reached from here"
            }
            FaultKind::Tls => tls_hint(&self.what),
            FaultKind::NoRoom => "make room on that disk, then do it again",
            FaultKind::Timeout => "the server takes too long; `timeout` allows more",
            FaultKind::Response if self.what.ends_with(NO_HTTP) => {
                "check scheme and port of the URL"
            }
            FaultKind::Interrupted | FaultKind::Response | FaultKind::TurnedAway => {
                "try again; the connection was lost"
            }
            FaultKind::Request => "check the URL and the headers of the target",
        }
    }
}

/// Returns what to do where TLS failed, by the words for it.
pub(super) fn tls_hint(what: &str) -> &'static str {
    if what.ends_with(NO_TLS) || what.ends_with(TLS_PORT) {
        "check scheme and port of the URL"
    } else if what.ends_with(AUTHORITY_AS_SERVER) {
        "give the server a certificate that this authority has issued, or make the self-signed one with \
         `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:HOST` and name it in `tls.ca`"
    } else if what.ends_with(NAMELESS) {
        "issue the server's certificate with `-addext subjectAltName=DNS:HOST` (or `IP:ADDRESS`)"
    } else {
        "check the server's certificate; `tls: { ca: FILE }` trusts a private authority"
    }
}

/// At which point an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No connection: refused, unreachable, name not found, connect timeout. Nothing was sent.
    Connect,
    /// The connection ended without the server's having looked at the request: it says so, as it does when it lets go of an
    /// HTTP/2 connection after a number of requests, or the request never left. Nothing is wrong, unless
    /// nothing else comes.
    TurnedAway,
    /// TLS could not be established or verified. Nothing was sent, and trying again will not help.
    Tls,
    /// The request could not be made at all (bad URL or header). Nothing was sent.
    Request,
    /// The store has no room left on this machine's own disk: no waiting makes any. It may have had its effect in part.
    NoRoom,
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
        matches!(
            self,
            Self::NoRoom | Self::Timeout | Self::Interrupted | Self::Response
        )
    }
}
