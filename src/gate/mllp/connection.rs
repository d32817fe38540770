//! One connection to a receiver: opened, looked at, written to, read from.

use std::{io, pin::Pin};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    interrupted,
    tls::{ALERT, Encryption, is_alert},
};
use crate::{
    gate::transport::{Fault, FaultKind},
    hl7v2::mllp::{Decoder, Received},
};

/// The largest answer that is read: an acknowledgement has some hundred bytes, one that quotes the message some more.
const LARGEST: usize = 1 << 20;

/// How much is read at once.
const PIECE: usize = 16 << 10;

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A connection to a receiver.
pub(super) struct Connection {
    stream: Pin<Box<dyn Stream>>,
    decoder: Decoder,
    /// The receiver commits blocks by blocks of one byte, and wants its own committed so (release 2).
    commits: bool,
    /// `host:port`, for words.
    place: String,
    /// Something came that was no answer to what was sent.
    is_odd: bool,
}

impl std::fmt::Debug for Connection {
    /// What has come is content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Opens a connection.
    pub(super) async fn open(
        address: &str,
        tls: Option<&Encryption>,
        until: Instant,
    ) -> Result<Self, Fault> {
        let refused = |why: &str| Fault {
            kind: FaultKind::Connect,
            what: format!("no connection to {address}: {why}"),
        };
        let stream = match timeout_at(until, TcpStream::connect(address)).await {
            Err(_) => return Err(refused("it does not answer")),
            Ok(Err(error)) => return Err(refused(words(&error))),
            Ok(Ok(stream)) => stream,
        };
        // A small frame waits for nothing. What fails here fails when it is written to.
        let _ = stream.set_nodelay(true);
        let stream: Pin<Box<dyn Stream>> = match tls {
            None => Box::pin(stream),
            Some(tls) => match timeout_at(until, tls.connect(stream)).await {
                Err(_) => return Err(refused("it does not answer the greeting of TLS")),
                Ok(Err(error)) => return Err(tls.fault(&error)),
                Ok(Ok(stream)) => Box::pin(stream),
            },
        };
        Ok(Self {
            stream,
            decoder: Decoder::new(LARGEST),
            commits: false,
            place: address.to_owned(),
            is_odd: false,
        })
    }

    /// Tells whether all that came belonged to what was sent.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_odd && !self.decoder.is_inside()
    }

    /// Takes note that something came that does not belong to what was sent.
    pub(super) fn note_odd(&mut self) {
        self.is_odd = true;
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Looks whether an idle connection has ended, or has something to say that nobody asked for.
    pub(super) fn is_idle(&mut self) -> bool {
        let mut byte = [0; 1];
        let read = futures::FutureExt::now_or_never(self.stream.read(&mut byte));
        // Nothing to read yet: the connection is there, and silent.
        read.is_none()
    }

    /// Sends a frame.
    pub(super) async fn send(&mut self, frame: &[u8], until: Instant) -> Result<(), Fault> {
        let written = async {
            self.stream.write_all(frame).await?;
            self.stream.flush().await
        };
        match timeout_at(until, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(interrupted(format!(
                "the connection to {} was lost while the message was sent: {}",
                self.place,
                words(&error)
            ))),
            Err(_) => Err(Fault {
                kind: FaultKind::Timeout,
                what: format!("{} did not take the whole message in time", self.place),
            }),
        }
    }

    /// Commits a block of the receiver's, where it wants that.
    pub(super) async fn commit(&mut self, until: Instant) {
        if self.commits {
            let block = [0x0b, crate::hl7v2::mllp::COMMIT_ACK, 0x1c, b'\r'];
            // The answer has come: that the receiver does not learn so is its own affair.
            let _ = self.send(&block, until).await;
        }
    }

    /// Takes note that the receiver commits blocks.
    pub(super) fn commits(&mut self) {
        self.commits = true;
    }

    /// Returns the next thing that comes.
    pub(super) async fn receive(&mut self, until: Instant) -> Result<Coming, Fault> {
        loop {
            match self.decoder.received() {
                Ok(Some(received)) => return Ok(Coming::Received(received)),
                Ok(None) => {}
                Err(why) => {
                    return Err(Fault {
                        kind: FaultKind::Response,
                        what: format!("the answer of {} is {why}", self.place),
                    });
                }
            }
            let mut piece = vec![0; PIECE];
            match timeout_at(until, self.stream.read(&mut piece)).await {
                Err(_) => return Ok(Coming::Nothing),
                Ok(Ok(0)) => return Ok(Coming::End),
                Ok(Ok(read)) => self.decoder.feed(piece.get(..read).unwrap_or_default()),
                Ok(Err(error)) if is_alert(&error) => {
                    return Err(Fault {
                        kind: FaultKind::Tls,
                        what: format!("TLS with {} failed: {ALERT}", self.place),
                    });
                }
                Ok(Err(error)) => {
                    return Err(interrupted(format!(
                        "the connection to {} was lost before the acknowledgement: {}",
                        self.place,
                        words(&error)
                    )));
                }
            }
        }
    }

    /// Returns how many bytes have come outside of any frame, and the first of them.
    pub(super) fn junk(&mut self) -> (u64, Vec<u8>) {
        match self.decoder.take_junk() {
            Some(Received::Junk { length, first }) => (length, first),
            _ => (0, Vec::new()),
        }
    }

    /// Tells whether an answer has begun and not ended.
    pub(super) fn is_inside(&self) -> bool {
        self.decoder.is_inside()
    }
}

/// What comes on a connection.
pub(super) enum Coming {
    Received(Received),
    /// Nothing in time.
    Nothing,
    /// The other end has closed.
    End,
}

/// Says in words why the system refused, without anything that it may quote.
pub(super) fn words(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection is refused; nobody listens there",
        io::ErrorKind::ConnectionReset => "the receiver reset it",
        io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => "the receiver closed it",
        io::ErrorKind::TimedOut => "it does not answer",
        io::ErrorKind::HostUnreachable => "the host cannot be reached",
        io::ErrorKind::NetworkUnreachable => "the network cannot be reached",
        io::ErrorKind::UnexpectedEof => "it ended too early",
        io::ErrorKind::PermissionDenied => "the system does not permit it",
        // A name that is not found has no kind of its own.
        _ => "the host is not known, or the connection failed",
    }
}
