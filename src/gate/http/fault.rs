//! At which point an attempt failed, read off the errors of reqwest, hyper, h2 and rustls.
//!
//! reqwest tells the coarse kind by methods. The finer kinds are known by the words of the errors: their types belong to
//! crates that this one does not name. `tests/network` holds the words to what servers really do. No word of an error is
//! passed on: they may quote URLs and certificates.

use std::{error::Error, fmt, io};

use ::http::Uri;

use crate::gate::transport::{
    AUTHORITY_AS_SERVER, Fault, FaultKind, NAMELESS, NO_HTTP, NO_TLS, NOT_VALID_YET, TLS_PORT,
};

/// The destination of a request: `host:port`, and the proxy on the way. Costs nothing until it is shown.
pub(super) struct Place<'a> {
    uri: Uri,
    proxy: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub(super) fn new(uri: Uri, proxy: Option<&'a str>) -> Self {
        Self { uri, proxy }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.uri.port_u16().unwrap_or(match self.uri.scheme_str() {
            Some("http") => 80,
            _ => 443,
        });
        write!(f, "{}:{port}", self.uri.host().unwrap_or("no host"))?;
        match self.proxy {
            Some(proxy) => write!(f, " (through the proxy {proxy})"),
            None => Ok(()),
        }
    }
}

/// The fault of an attempt that brought no response.
pub(super) fn of_request(error: &reqwest::Error, place: &Place<'_>) -> Fault {
    let (kind, what) = request_fault(error, place);
    Fault::new(kind, what)
}

fn request_fault(error: &reqwest::Error, place: &Place<'_>) -> (FaultKind, String) {
    use FaultKind::{Connect, Interrupted, Request, Response, Timeout, Tls, TurnedAway};
    let chain = Chain(error);

    if error.is_builder() {
        return (Request, format!("the request to {place} cannot be made"));
    }
    if let Some(why) = chain.tls() {
        let hint = match why {
            UNKNOWN_ISSUER => "; if it is a private one, name it with `tls: {ca: FILE}`",
            _ => "",
        };
        return (Tls, format!("TLS with {place} failed: {why}{hint}"));
    }
    if error.is_dns() {
        let what = match place.proxy {
            Some(proxy) => format!("the name of the proxy {proxy} cannot be resolved"),
            None => format!("the name of {place} cannot be resolved"),
        };
        return (Connect, what);
    }
    if error.is_connect() {
        let why = if error.is_timeout() {
            "no connection in time"
        } else if chain.says("tunnel") || chain.says("proxy auth") || chain.says("socks") {
            "the proxy refused to connect"
        } else {
            match chain.io() {
                Some(io::ErrorKind::ConnectionRefused) => "connection refused",
                Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
                    "no route to it"
                }
                Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof)
                    if place.uri.scheme_str() == Some("https") =>
                {
                    "connection closed before it was ready; does it speak TLS there?"
                }
                Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => {
                    "connection closed before it was ready"
                }
                _ => "no connection",
            }
        };
        return (Connect, format!("{place}: {why}"));
    }
    if error.is_timeout() {
        return (Timeout, format!("{place}: no whole response in time"));
    }
    // hyper gives a request back that it did not begin to write; h2 says which streams a server never looked at (RFC 9113,
    // section 8.7: REFUSED_STREAM, and those above the last of a GOAWAY). One that closes a connection for an error of its
    // own is not believed as much.
    let turned_away = [
        "operation was canceled",
        "refused stream before processing",
        "connection error received: not a result of an error",
    ];
    if turned_away.iter().any(|words| chain.says(words)) {
        let what = format!("{place}: connection closed before the request was looked at");
        return (TurnedAway, what);
    }
    // hyper's parser: something came, but it is not HTTP.
    if chain.says("invalid HTTP") || chain.says("message head is too large") {
        return (Response, format!("{place} {NO_HTTP}"));
    }
    let what = match chain.io() {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => "connection reset",
        _ => "connection closed",
    };
    (
        Interrupted,
        format!("{place}: {what} before a response came"),
    )
}

/// The fault of a request of plain HTTP to a port that speaks TLS: it was not understood there.
pub(super) fn of_tls_port(place: &Place<'_>) -> Fault {
    Fault::new(FaultKind::Tls, format!("{place} {TLS_PORT}"))
}

/// The fault of a response whose head came, but not its whole body.
pub(super) fn of_body(error: &reqwest::Error, place: &Place<'_>) -> Fault {
    let (kind, what) = if error.is_timeout() {
        (FaultKind::Timeout, "no whole response in time")
    } else if Chain(error).lost() {
        (FaultKind::Response, "connection lost within the response")
    } else {
        (FaultKind::Response, "the response cannot be decoded")
    };
    Fault::new(kind, format!("{place}: {what}"))
}

const UNKNOWN_ISSUER: &str = "its certificate is from an authority that is not trusted here";

/// An error and what caused it.
struct Chain<'a>(&'a (dyn Error + 'static));

impl<'a> Chain<'a> {
    fn iter(&self) -> impl Iterator<Item = &'a (dyn Error + 'static)> + use<'a> {
        std::iter::successors(Some(self.0), |error: &&'a (dyn Error + 'static)| {
            let error = *error;
            // An io::Error that wraps another shows that one's words, and skips it as a source.
            match error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
            {
                Some(inner) => Some(inner),
                None => error.source(),
            }
        })
    }

    fn says(&self, words: &str) -> bool {
        self.iter().any(|error| error.to_string().contains(words))
    }

    /// The kind of the innermost error of the operating system.
    fn io(&self) -> Option<io::ErrorKind> {
        self.iter()
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .map(io::Error::kind)
            .last()
    }

    fn lost(&self) -> bool {
        self.says("end of file before message length reached")
            || self.says("connection closed before message completed")
            || self.says("stream error")
            || matches!(
                self.io(),
                Some(
                    io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::BrokenPipe
                )
            )
    }

    /// Returns the fault that rustls found, in our words.
    fn tls(&self) -> Option<&'static str> {
        // The server's verdict on us comes as an alert, after the handshake where TLS 1.3 is spoken.
        const TABLE: [(&str, &str); 19] = [
            ("alert: CertificateRequired", CLIENT_MISSING),
            ("alert: BadCertificate", CLIENT_REFUSED),
            ("alert: CertificateUnknown", CLIENT_REFUSED),
            (
                "alert: CertificateExpired",
                "the client's certificate has expired",
            ),
            ("alert: CertificateRevoked", CLIENT_REFUSED),
            ("alert: UnsupportedCertificate", CLIENT_REFUSED),
            ("alert: UnknownCA", CLIENT_REFUSED),
            ("alert: AccessDenied", CLIENT_REFUSED),
            ("alert: ", "the server refused the handshake"),
            ("UnknownIssuer", UNKNOWN_ISSUER),
            ("certificate expired", "its certificate has expired"),
            ("not valid yet", NOT_VALID_YET),
            ("not valid for any names", NAMELESS),
            (
                "not valid for name",
                "its certificate is for another host name",
            ),
            ("CaUsedAsEndEntity", AUTHORITY_AS_SERVER),
            ("certificate revoked", "its certificate was revoked"),
            ("invalid peer certificate", "its certificate is not valid"),
            ("corrupt message", NO_TLS),
            (
                "peer is incompatible",
                "it speaks no version of TLS that is safe",
            ),
        ];
        const CLIENT_MISSING: &str = "it asks for a client certificate; name one with \
            `tls: {certificate: FILE, key: FILE}`";
        const CLIENT_REFUSED: &str = "it refuses the client's certificate";
        self.iter().find_map(|error| {
            let text = error.to_string();
            TABLE
                .iter()
                .find(|(words, _)| text.contains(words))
                .map(|(_, why)| *why)
        })
    }
}
