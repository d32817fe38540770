//! The transport over MLLP: a message on a connection, and the acknowledgement that answers it.
//!
//! A request's body is a message; a GET asks whether a connection can be had. One message is on its way on each
//! connection at a time, for no receiver has to take a second one before it has answered the first. `pool` keeps the
//! idle connections and finds out how many a receiver serves, `connection` is one of them, `habits` and `ceiling` keep what was learnt of a receiver, `wait` reads until the
//! message is answered, `flights` knows what else is on its way, `stream` is what lies below,
//! `tls` sets up the encryption. A connection that was closed while it was idle is opened anew,
//! and nothing has been sent then.
//!
//! The meaning of an acknowledgement for its record is the target's business. Here it becomes a status, for the gate:
//! 200 for taken, 425 for refused for a reason that may pass, 422 for refused for good. The status of a message that
//! wants no answer is 204, of one that cannot be framed 400. Of a message that wants an answer in some cases only, and
//! got none, [`Unanswered`] tells.

use std::{sync::Arc, time::Duration};

use ::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;

pub use self::tls::MllpSetupError;
use self::{
    connection::Connection,
    flights::Flights,
    habits::Silence,
    pool::{Place, Pool, Unheard, Wish},
    wait::Answered,
};
use super::transport::{Fault, FaultKind, Transport};
use crate::{
    hl7v2::{
        ack::{Ack, NoAck, Passing},
        header::{AcknowledgmentCondition, MessageHeader, Wants},
        mllp,
    },
    manifest::Tls,
    target::mllp::{OtherCapitals, Unanswered},
};

mod ceiling;
mod connection;
mod flights;
mod habits;
mod pool;
mod stream;
mod tls;
mod wait;

/// The time that opening a connection may take; always less than the timeout of an attempt.
const CONNECT: Duration = Duration::from_secs(10);

/// The time for which a connection is watched before it has its first message, where it is one more than the receiver has been
/// seen to serve: what is closed for being too many is closed at once.
const GLANCE: Duration = Duration::from_millis(20);

/// The same where nothing but the connection is asked for: a balancer first finds out that nobody is behind it.
const LOOK: Duration = Duration::from_millis(100);

/// The waits before a connection is tried again that was closed at once, while there are no others.
const CLOSED_AT_ONCE: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
];

/// The longest wait for a message on trial, unless a quarter of the timeout is shorter, before others are let go for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The settings of a transport.
#[derive(Debug, Clone)]
pub struct MllpOptions {
    /// Host and port.
    pub address: String,
    /// The settings of TLS; none where messages go in the clear.
    pub tls: Option<Tls>,
    /// The time that an attempt may take, to the last byte of the answer.
    pub timeout: Duration,
}

/// Puts messages on the wire.
#[derive(Debug)]
pub struct MllpTransport {
    address: String,
    tls: Option<tls::Encryption>,
    timeout: Duration,
    pool: Arc<Pool>,
    habit: Silence,
    flights: Flights,
}

/// The acknowledgement that is looked for among the answers to a message.
#[derive(Debug, Clone, Copy)]
struct Wanted<'m> {
    /// MSH-10; empty where the message has none, and any acknowledgement is taken for its.
    control_id: &'m [u8],
    wants: Wants,
    /// Itself and the other messages on their way.
    flights: &'m Flights,
}

impl Wanted<'_> {
    /// Tells whether an acknowledgement that names this control id is the one: blanks around it do not count, nor do capitals
    /// where no other message on its way has just that id.
    fn is_named(&self, named: &[u8]) -> bool {
        let (named, control_id) = (named.trim_ascii(), self.control_id.trim_ascii());
        control_id.is_empty()
            || named == control_id
            || (named.eq_ignore_ascii_case(control_id) && !self.flights.has(named))
    }

    /// Tells whether the application answers with errors alone.
    fn hears_of_errors_alone(&self) -> bool {
        matches!(self.wants, Wants::Enhanced { application, .. } if application == AcknowledgmentCondition::OnError)
    }
}

impl MllpTransport {
    /// Builds a transport.
    ///
    /// # Errors
    ///
    /// When a file of the TLS settings cannot be used, or the address is none.
    pub fn new(options: &MllpOptions) -> Result<Self, MllpSetupError> {
        let tls = options.tls.as_ref();
        Ok(Self {
            address: options.address.clone(),
            tls: tls
                .map(|tls| tls::Encryption::new(&options.address, tls))
                .transpose()?,
            timeout: options.timeout,
            pool: Arc::default(),
            habit: Silence::default(),
            flights: Flights::default(),
        })
    }

    async fn attempt(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Fault> {
        if request.method() == Method::GET {
            return self.look().await;
        }
        let message = request.into_body();
        let frame = match mllp::frame(&message) {
            Ok(frame) => frame,
            Err(why) => {
                return Ok(answer(
                    StatusCode::BAD_REQUEST,
                    Bytes::from(why.to_string()),
                ));
            }
        };
        let wanted = wanted(&message, &self.flights);
        let control_id = wanted.control_id;
        let (mut place, mut connection, until) = self.connection(control_id, GLANCE).await?;
        let _flight = self.flights.begin(control_id);
        if connection.take_unasked() {
            self.habit.answers();
        }
        let exchanged = self
            .exchange(&mut place, &mut connection, &frame, wanted, until)
            .await;
        match &exchanged {
            Err(fault) if connection.is_unheard() => {
                place.lost(connection.answered(), fault.kind != FaultKind::Timeout);
            }
            Err(fault) if fault.kind != FaultKind::Tls => place.unclear(),
            _ => {}
        }
        let Some(answered) = exchanged? else {
            // Nothing will tell how many it serves.
            place.heard(connection.note_answered());
            connection.expect_unasked();
            if connection.is_settled() {
                place.keep(connection);
            }
            return Ok(answer(StatusCode::NO_CONTENT, Bytes::new()));
        };
        let block = match answered {
            Answered::Block(block) => block,
            Answered::Nak => {
                place.heard(connection.note_answered());
                let nak = Bytes::from_static(&[mllp::COMMIT_NAK]);
                return Ok(answer(StatusCode::TOO_EARLY, nak));
            }
            Answered::Silence(why) => {
                let mut silence = answer(StatusCode::OK, Bytes::new());
                silence.extensions_mut().insert(Unanswered(why));
                return Ok(silence);
            }
        };
        let ack = Ack::parse(&block).ok();
        if ack.is_some() {
            place.heard(connection.note_answered());
        } else {
            place.unclear();
        }
        let status = ack.as_ref().map(status);
        let is_renamed = ack.is_some_and(|ack| {
            let named = ack.control_id.trim_ascii();
            !control_id.is_empty() && named != control_id.trim_ascii()
        });
        // A receiver that answers in its own way may have more to say, and what answers a message without a control id may
        // answer any: the next message begins on a fresh connection.
        if connection.is_settled() && status.is_some() && !control_id.is_empty() {
            place.keep(connection);
        }
        let mut answer = answer(status.unwrap_or(StatusCode::OK), Bytes::from(block));
        if is_renamed {
            answer.extensions_mut().insert(OtherCapitals);
        }
        Ok(answer)
    }

    /// Sends a message and returns what answers it; none where it asks for nothing and nothing comes.
    async fn exchange(
        &self,
        place: &mut Place,
        connection: &mut Connection,
        frame: &[u8],
        wanted: Wanted<'_>,
        until: Instant,
    ) -> Result<Option<Answered>, Fault> {
        connection
            .send_message(frame, wanted.control_id, until)
            .await?;
        if is_silent(wanted.wants) {
            self.unasked(connection, wanted, until).await
        } else {
            self.waited(place, connection, wanted, until)
                .await
                .map(Some)
        }
    }

    /// Returns a connection that a message may be sent on, with its place, and until when the message may take. A new one is watched
    /// for so long, where it is one more than the receiver has been seen to serve.
    async fn connection(
        &self,
        control_id: &[u8],
        watch: Duration,
    ) -> Result<(Place, Connection, Instant), Fault> {
        let mut waits = CLOSED_AT_ONCE.into_iter();
        loop {
            let found = self.pool.place(Wish { control_id }).await;
            let (place, idle) = found.map_err(|unheard| self.unheard(unheard))?;
            let until = Instant::now() + self.timeout;
            if let Some(connection) = idle {
                return Ok((place, connection, until));
            }
            let fault = match self.open(until).await {
                Ok(mut connection) => {
                    let is_there = if place.is_beyond() {
                        connection.stays(watch).await
                    } else {
                        connection.is_there()
                    };
                    if is_there {
                        return Ok((place, connection, until));
                    }
                    if let Some(alert) = connection.alert() {
                        return Err(alert);
                    }
                    None
                }
                Err(fault) if fault.kind == FaultKind::Connect => Some(fault),
                Err(fault) => return Err(fault),
            };
            if place.was_refused() {
                // The receiver serves others: one of them takes the message.
                continue;
            }
            if let Some(fault) = fault {
                return Err(fault);
            }
            let Some(wait) = waits.next() else {
                return Err(Fault::new(
                    FaultKind::Connect,
                    format!(
                        "{} accepts connections and closes them at once; perhaps nobody is behind it, or it does not let \
                         this host in",
                        self.address
                    ),
                ));
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Says that nothing is sent, because no acknowledgement was heard of what was sent before.
    fn unheard(&self, unheard: Unheard) -> Fault {
        let Unheard {
            messages,
            is_unclear,
        } = unheard;
        let what = if is_unclear {
            "answers with what is no acknowledgement"
        } else {
            "takes connections and answers nothing"
        };
        Fault::new(
            FaultKind::Connect,
            format!(
                "{} {what}: {messages} messages in a row were sent and lost, and no more are risked for now",
                self.address
            ),
        )
    }

    /// Waits for what answers a message, and takes note where that takes long on a connection that is on trial.
    async fn waited(
        &self,
        place: &mut Place,
        connection: &mut Connection,
        wanted: Wanted<'_>,
        until: Instant,
    ) -> Result<Answered, Fault> {
        let answered = wait::acknowledged(connection, wanted, until);
        if !place.is_on_trial() {
            return answered.await;
        }
        tokio::pin!(answered);
        let patience = PATIENCE.min(self.timeout / 4);
        if let Ok(answered) = tokio::time::timeout(patience, &mut answered).await {
            return answered;
        }
        place.is_stuck();
        answered.await
    }

    /// Looks whether a message that asks for no answer gets one: many receivers answer all that comes, and what they refuse is
    /// not taken.
    async fn unasked(
        &self,
        connection: &mut Connection,
        wanted: Wanted<'_>,
        until: Instant,
    ) -> Result<Option<Answered>, Fault> {
        let Some(grace) = self.habit.grace() else {
            return Ok(None);
        };
        let until = std::cmp::min(until, Instant::now() + grace.min(self.timeout / 4));
        match wait::acknowledged(connection, wanted, until).await {
            // An answer that speaks of no message says nothing of this one either.
            Ok(Answered::Block(block))
                if matches!(
                    Ack::parse(&block),
                    Err(NoAck::NoMessage | NoAck::Utf16 | NoAck::NoMsa | NoAck::UnknownCode)
                ) =>
            {
                Ok(None)
            }
            Ok(answered) => {
                self.habit.answers();
                Ok(Some(answered))
            }
            Err(fault) if fault.kind == FaultKind::Tls => Err(fault),
            Err(_) => {
                self.habit.is_silent();
                Ok(None)
            }
        }
    }

    /// Finds out whether a connection can be had. If there is one already, another is not kept: it could take the place of
    /// one that is to be served.
    async fn look(&self) -> Result<Response<Bytes>, Fault> {
        let until = Instant::now() + self.timeout;
        if self.pool.is_in_use() {
            self.open(until).await?;
        } else {
            let (place, connection, _) = self.connection(b"look", LOOK).await?;
            place.keep(connection);
        }
        Ok(answer(StatusCode::OK, Bytes::new()))
    }

    async fn open(&self, until: Instant) -> Result<Connection, Fault> {
        let most = Instant::now() + CONNECT.min(self.timeout * 9 / 10);
        Connection::open(&self.address, self.tls.as_ref(), until.min(most)).await
    }
}

impl Transport for MllpTransport {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(self.attempt(request))
    }

    fn habits(&self) -> Vec<String> {
        let mut habits = self.pool.habits();
        habits.extend(self.habit.words().map(str::to_owned));
        habits
    }
}

fn answer(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn wanted<'m>(message: &'m [u8], flights: &'m Flights) -> Wanted<'m> {
    let header = MessageHeader::of(message).ok();
    let (control_id, wants) = header.map_or((&b""[..], Wants::Original), |header| {
        (header.control_id, header.wants)
    });
    Wanted {
        control_id,
        wants,
        flights,
    }
}

/// Tells whether a message asks for no answer at all.
fn is_silent(wants: Wants) -> bool {
    let never = AcknowledgmentCondition::Never;
    matches!(wants, Wants::Enhanced { accept, application } if accept == never && application == never)
}

/// Returns the status for what was answered.
fn status(ack: &Ack<'_>) -> StatusCode {
    if ack.code.is_taken() {
        return StatusCode::OK;
    }
    match ack.may_pass() {
        // Also a receiver that refuses for now says so of one message only: others are not held up for it.
        Some(Passing::Record | Passing::Receiver) => StatusCode::TOO_EARLY,
        None => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// A fault at a point where the message may have been received.
fn interrupted(what: String) -> Fault {
    Fault::new(FaultKind::Interrupted, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_is_a_status() {
        let of = |msa: &str| {
            let text = format!("MSH|^~\\&|R|F|S|F|2026||ACK|1|P|2.5\rMSA|{msa}\r");
            status(&Ack::parse(text.as_bytes()).unwrap()).as_u16()
        };
        let known = ["AA|1", "CA|1", "AE|1", "AR|1", "CR|1||||203", "CE|1||||206"].map(of);
        assert_eq!(known, [200, 200, 422, 425, 422, 425]);
    }

    #[test]
    fn other_capitals_name_the_message_unless_another_has_them() {
        let flights = Flights::default();
        let (ours, theirs) = (flights.begin(b"m1"), flights.begin(b"M2 "));
        let wanted = |control_id| Wanted {
            control_id,
            wants: Wants::Original,
            flights: &flights,
        };
        let names = |named: &[u8], id| wanted(id).is_named(named);
        assert!(names(b" m1 ", b"m1") && names(b"M1", b"m1") && names(b"any", b" "));
        assert!(!names(b"m2", b"m1") && !names(b"", b"m1"));
        assert!(!names(b"M2", b"m2"), "another has just that id");
        drop(theirs);
        assert!(names(b"M2", b"m2"));
        drop(ours);
        assert!(!flights.has(b"m1"));
    }
}
