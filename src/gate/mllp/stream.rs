//! The stream below a connection, encrypted or not, and what the system says when it fails.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// The bytes to and from a receiver.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {
    /// Returns what lies below any encryption.
    fn socket(&self) -> &TcpStream;

    fn is_encrypted(&self) -> bool;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn is_encrypted(&self) -> bool {
        false
    }
}

impl Stream for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }

    fn is_encrypted(&self) -> bool {
        true
    }
}

/// Says in words why the system refused, without anything that it may quote.
pub(super) fn words(error: &io::Error) -> String {
    let known = match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection is refused; nobody listens there",
        io::ErrorKind::ConnectionReset => "the receiver reset it",
        io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => "the receiver closed it",
        io::ErrorKind::TimedOut => "it does not answer",
        io::ErrorKind::HostUnreachable => "the host cannot be reached",
        io::ErrorKind::NetworkUnreachable => "the network cannot be reached",
        io::ErrorKind::UnexpectedEof => "it ended too early",
        io::ErrorKind::PermissionDenied => "the system does not permit it",
        // The system's own words for its number hold nothing else.
        _ => match error.raw_os_error() {
            Some(code) => return io::Error::from_raw_os_error(code).to_string(),
            None => "the connection failed",
        },
    };
    known.to_owned()
}
