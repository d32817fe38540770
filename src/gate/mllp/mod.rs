//! The transport over MLLP: a message on a connection, and the acknowledgement that answers it.
//!
//! A request's body is a message; a GET asks whether a connection can be had. One message is on its way on each
//! connection at a time, for no receiver has to take a second one before it has answered the first. `pool` keeps the
//! idle connections and finds out how many a receiver serves, `connection` is one of them, `habits` and `ceiling` keep what was learnt of a receiver, `astray` which messages were lost, `opening` gets one that a message may be sent on, `wait` reads until the
//! message is answered, `wanted` says by what, `flights` knows what else is on its way, `stream` is what lies below,
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
    opening::GLANCE,
    pool::{Place, Pool, Wish},
    wait::Answered,
    wanted::Wanted,
};
use super::transport::{Fault, FaultKind, Transport};
use crate::{
    hl7v2::{
        ack::{Ack, NoAck, Passing},
        mllp,
    },
    manifest::Tls,
    target::mllp::{NamedOtherwise, Unanswered},
};

mod astray;
mod ceiling;
mod connection;
mod flights;
mod habits;
mod opening;
mod pool;
mod stream;
mod tls;
mod wait;
mod wanted;

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
        let wanted = Wanted::of(&message, &self.flights);
        let control_id = &wanted.control_id;
        let (mut place, mut connection, until) = self.connection(control_id, GLANCE).await?;
        let _flight = self.flights.begin(control_id);
        if connection.take_unasked() {
            self.habit.answers();
        }
        let exchanged = self
            .exchange(&mut place, &mut connection, &frame, &wanted, until)
            .await;
        let wish = Wish { control_id };
        match &exchanged {
            Err(fault) if connection.is_unheard() => {
                let is_closed = fault.kind != FaultKind::Timeout;
                place.lost(wish, connection.answered(), is_closed);
            }
            Err(fault) if fault.kind != FaultKind::Tls => {
                place.unclear(wish, connection.answered());
            }
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
            place.unclear(wish, connection.answered());
        }
        let status = ack.as_ref().map(status);
        let named = ack.filter(|_| !control_id.is_empty());
        let named_otherwise =
            named.and_then(|ack| NamedOtherwise::between(control_id, &ack.names()));
        // A receiver that answers in its own way may have more to say, and what answers a message without a control id may
        // answer any: the next message begins on a fresh connection.
        if connection.is_settled() && status.is_some() && !control_id.is_empty() {
            place.keep(connection);
        }
        let mut answer = answer(status.unwrap_or(StatusCode::OK), Bytes::from(block));
        if let Some(otherwise) = named_otherwise {
            answer.extensions_mut().insert(otherwise);
        }
        Ok(answer)
    }

    /// Sends a message and returns what answers it; none where it asks for nothing and nothing comes.
    async fn exchange(
        &self,
        place: &mut Place,
        connection: &mut Connection,
        frame: &[u8],
        wanted: &Wanted<'_>,
        until: Instant,
    ) -> Result<Option<Answered>, Fault> {
        connection
            .send_message(frame, &wanted.control_id, until)
            .await?;
        if wanted.is_nothing() {
            self.unasked(connection, wanted, until).await
        } else {
            self.waited(place, connection, wanted, until)
                .await
                .map(Some)
        }
    }

    /// Waits for what answers a message, and takes note where that takes long on a connection that is on trial.
    async fn waited(
        &self,
        place: &mut Place,
        connection: &mut Connection,
        wanted: &Wanted<'_>,
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
        wanted: &Wanted<'_>,
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
}
