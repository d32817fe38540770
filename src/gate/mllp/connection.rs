//! One connection to a receiver: opened, looked at, written to, read from.

use std::{pin::Pin, time::Duration};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};

use super::{
    interrupted,
    stream::{Stream, words},
    tls::{ALERT, Encryption, is_alert},
};
use crate::{
    gate::transport::{Fault, FaultKind},
    hl7v2::{
        control_id::ControlId,
        mllp::{COMMIT_ACK, Decoder, END, Received, START},
    },
};

/// The largest answer that is read: an acknowledgement has some hundred bytes, one that quotes the message some more.
const LARGEST: usize = 1 << 20;

/// The words for a host without an address.
const NO_NAME: &str = "the name of the host cannot be resolved (DNS); check how it is written, and that this machine can look it up";

/// The time for which the last words of a lost connection are waited for.
const FAREWELL: Duration = Duration::from_millis(200);

/// The time for which the CR behind the end of a frame is waited for: some receivers leave it out.
const LATE_CR: Duration = Duration::from_millis(100);

/// The number of bytes that are read at once.
const PIECE: usize = 16 << 10;

/// A connection to a receiver.
pub(super) struct Connection {
    stream: Pin<Box<dyn Stream>>,
    /// The control id of the last message; none where there was none yet.
    last: Option<ControlId>,
    /// Messages were sent on it that ask for no answer, and nobody waits for one: what came of them all the same.
    unasked: Option<Unasked>,
    decoder: Decoder,
    /// The buffer for the bytes that are read at once.
    piece: Box<[u8]>,
    /// The receiver commits blocks by blocks of one byte, and wants its own committed so (release 2).
    commits: bool,
    /// `host:port`, for words.
    place: String,
    /// Something came that was no answer to what was sent.
    is_odd: bool,
    /// The number of messages that are done with on it.
    answered: u32,
    /// Nothing has come since the last message was sent.
    is_unheard: bool,
    /// The other end has refused this one by an alert of TLS.
    alert: Option<Fault>,
}

impl std::fmt::Debug for Connection {
    /// Leaves out the bytes that came: they are content.
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
        let refused = |why: &str| {
            Fault::new(
                FaultKind::Connect,
                format!("no connection to {address}: {why}"),
            )
        };
        let found: Vec<_> = match timeout_at(until, lookup_host(address)).await {
            Err(_) => return Err(refused("its name was not resolved in time (DNS)")),
            Ok(Err(_)) => return Err(refused(NO_NAME)),
            Ok(Ok(found)) => found.collect(),
        };
        if found.is_empty() {
            return Err(refused(NO_NAME));
        }
        let stream = match timeout_at(until, TcpStream::connect(found.as_slice())).await {
            Err(_) => return Err(refused("it does not answer")),
            Ok(Err(error)) => return Err(refused(&words(&error))),
            Ok(Ok(stream)) => stream,
        };
        // A small frame waits for nothing. A failure here shows again when the stream is written to.
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
            last: None,
            unasked: None,
            decoder: Decoder::new(LARGEST),
            piece: vec![0; PIECE].into_boxed_slice(),
            commits: false,
            place: address.to_owned(),
            is_odd: false,
            answered: 0,
            is_unheard: false,
            alert: None,
        })
    }

    /// Returns how many messages it is done with.
    pub(super) fn answered(&self) -> u32 {
        self.answered
    }

    /// Takes note that it is done with a message; returns with how many.
    pub(super) fn note_answered(&mut self) -> u32 {
        self.answered = self.answered.saturating_add(1);
        self.answered
    }

    /// Tells whether not a byte has come since the last message was sent.
    pub(super) fn is_unheard(&self) -> bool {
        self.is_unheard
    }

    /// Tells whether it is still there, as far as the system knows by now.
    pub(super) fn is_there(&mut self) -> bool {
        self.pulse() != Pulse::Gone
    }

    /// Watches it for a time in which nothing is sent, and tells whether it stays: balancers with nobody behind them, and
    /// receivers that serve no more, accept a connection and close it.
    pub(super) async fn stays(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            let mut first = [0; 1];
            let peeked = self.stream.socket().peek(&mut first);
            match timeout_at(until, peeked).await {
                Err(_) => return self.is_there(),
                Ok(_) => match self.pulse() {
                    Pulse::Gone => return false,
                    Pulse::Spoke => return true,
                    Pulse::Quiet => {}
                },
            }
        }
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

    /// Tells whether the answer to a message can be told from all that came of those before it.
    pub(super) fn can_tell(&self, control_id: &ControlId) -> bool {
        match &self.last {
            None => true,
            // As the answer is compared.
            Some(last) => !control_id.is_empty() && !last.may_be(control_id),
        }
    }

    /// Looks whether an idle connection is there, and silent: nothing has been sent on one that was closed, and one that has
    /// something to say that nobody asked for is not to be trusted with the next message.
    pub(super) fn idle_pulse(&mut self) -> Pulse {
        loop {
            match self.pulse() {
                // Answers that nobody wanted are taken off: to close on them could cost what lies behind them unread.
                Pulse::Spoke if self.unasked.is_some() => self.unasked = Some(Unasked::Came),
                pulse => return pulse,
            }
        }
    }

    /// Asks the system itself: what the runtime knows of a socket may be a moment old.
    fn pulse(&mut self) -> Pulse {
        let mut piece = [0; 256];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(self.stream.socket(), &mut piece, flags) {
            Ok((0, _)) => return Pulse::Gone,
            Ok(_) => {}
            Err(Errno::AGAIN) => return Pulse::Quiet,
            Err(_) => return Pulse::Gone,
        }
        if !self.stream.is_encrypted() && self.unasked.is_none() {
            return Pulse::Spoke;
        }
        // Of what is encrypted not all is said to us: tickets of TLS come at any time.
        let read = tokio::task::unconstrained(self.stream.read(&mut piece));
        match futures::FutureExt::now_or_never(read) {
            None => Pulse::Quiet,
            Some(Ok(1..)) => Pulse::Spoke,
            Some(Ok(0)) => Pulse::Gone,
            Some(Err(error)) => {
                if is_alert(&error) {
                    self.alert = Some(self.refused_us());
                }
                Pulse::Gone
            }
        }
    }

    /// Takes note that answers may come that nobody waits for.
    pub(super) fn expect_unasked(&mut self) {
        self.is_odd = false;
        self.unasked = Some(self.unasked.unwrap_or(Unasked::Nothing));
    }

    /// Tells, once, whether such an answer came.
    pub(super) fn take_unasked(&mut self) -> bool {
        let came = self.unasked == Some(Unasked::Came);
        if came {
            self.unasked = Some(Unasked::Nothing);
        }
        came
    }

    /// Sends a message.
    pub(super) async fn send_message(
        &mut self,
        frame: &[u8],
        control_id: &ControlId,
        until: Instant,
    ) -> Result<(), Fault> {
        self.last = Some(control_id.clone());
        self.is_unheard = true;
        self.send(frame, until).await
    }

    /// Returns why the other end has closed it, where it told by an alert of TLS.
    pub(super) fn alert(&mut self) -> Option<Fault> {
        self.alert.take()
    }

    fn refused_us(&self) -> Fault {
        Fault::new(
            FaultKind::Tls,
            format!("TLS with {} failed: {ALERT}", self.place),
        )
    }

    /// Sends a frame. One that did not leave whole is none: its end is missing, and nothing has been taken of it.
    async fn send(&mut self, frame: &[u8], until: Instant) -> Result<(), Fault> {
        let written = async {
            self.stream.write_all(frame).await?;
            self.stream.flush().await
        };
        let what = match timeout_at(until, written).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                // The reason for the close may have come before it.
                if self.stream.is_encrypted()
                    && let Ok(Err(why)) = timeout(FAREWELL, self.stream.read(&mut [0; 1])).await
                    && is_alert(&why)
                {
                    return Err(self.refused_us());
                }
                format!(
                    "the connection to {} was lost before the message had left whole: {}",
                    self.place,
                    words(&error)
                )
            }
            Err(_) => format!("{} did not take the whole message in time", self.place),
        };
        Err(Fault::new(FaultKind::TurnedAway, what))
    }

    /// Commits a block of the receiver's, where it wants that.
    pub(super) async fn commit(&mut self, until: Instant) {
        if self.commits {
            let block = [START, COMMIT_ACK, END, b'\r'];
            if self.send(&block, until).await.is_err() {
                // The answer has come: that the receiver does not learn so is its own affair.
                self.is_odd = true;
            }
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
                    return Err(Fault::new(
                        FaultKind::Response,
                        format!("the answer of {} is {why}", self.place),
                    ));
                }
            }
            let is_ending = self.decoder.may_have_ended();
            let read_until = if is_ending {
                std::cmp::min(until, Instant::now() + LATE_CR)
            } else {
                until
            };
            match timeout_at(read_until, self.stream.read(&mut self.piece)).await {
                Err(_) | Ok(Ok(0)) if is_ending && let Some(block) = self.decoder.ended_bare() => {
                    return Ok(Coming::Received(Received::Block(block)));
                }
                Err(_) => return Ok(Coming::Nothing),
                Ok(Ok(0)) => return Ok(Coming::End),
                Ok(Ok(read)) => {
                    self.is_unheard = false;
                    self.decoder
                        .feed(self.piece.get(..read).unwrap_or_default());
                }
                Ok(Err(error)) if is_alert(&error) => return Err(self.refused_us()),
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

    /// Returns the first bytes of an answer that has begun and not ended.
    pub(super) fn begun(&self) -> &[u8] {
        self.decoder.begun()
    }

    /// Tells whether an answer has begun and not ended.
    pub(super) fn is_inside(&self) -> bool {
        self.decoder.is_inside()
    }
}

/// The bytes that came on a connection on which no message is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unasked {
    Nothing,
    Came,
}

/// The state of a connection on which nothing is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulse {
    Quiet,
    /// Something has come.
    Spoke,
    /// The other end has closed it.
    Gone,
}

/// The next event on a connection.
pub(super) enum Coming {
    Received(Received),
    /// Nothing in time.
    Nothing,
    /// The other end has closed.
    End,
}
