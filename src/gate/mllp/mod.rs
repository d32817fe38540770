//! The transport over MLLP: a message on a connection, and the acknowledgement that answers it.
//!
//! A request's body is a message; what a GET asks is whether a connection can be had. One message is on its way on each
//! connection at a time, for no receiver has to take a second one before it has answered the first. Idle connections are kept, and
//! looked at before they are used again: what was closed meanwhile is opened anew, and nothing has been sent then. `connection`
//! is one of them, `wait` reads what comes until the message is answered, `tls` sets up what encrypts.
//!
//! What the acknowledgement means for the record is the target's business. Here it becomes a status, for the gate: taken is 200,
//! refused for what may pass 425, refused for good 422. That no answer is wanted is 204, that the message cannot be framed
//! 400.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;

use self::connection::Connection;
pub use self::tls::SetupError;
use super::transport::{Fault, FaultKind, Transport};
use crate::{
    hl7v2::{
        ack::{Ack, Passing},
        header::{Condition, Header, Wants},
        mllp,
    },
    manifest::Tls,
};

mod connection;
mod tls;
mod wait;

/// How long opening a connection may take; always less than the timeout of an attempt.
const CONNECT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: firewalls let go of what is silent for some minutes.
const IDLE: Duration = Duration::from_mins(1);

/// How a transport is set up.
#[derive(Debug, Clone)]
pub struct MllpOptions {
    /// Host and port.
    pub address: String,
    /// What encrypts; none where messages go in the clear.
    pub tls: Option<Tls>,
    /// How long an attempt may take, to the last byte of the answer.
    pub timeout: Duration,
}

/// Puts messages on the wire.
#[derive(Debug)]
pub struct MllpTransport {
    address: String,
    tls: Option<tls::Encryption>,
    timeout: Duration,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

/// What is looked for among the answers to a message.
#[derive(Debug, Clone, Copy)]
struct Wanted<'m> {
    /// MSH-10; empty where the message has none, and any acknowledgement is taken for its.
    control_id: &'m [u8],
    wants: Wants,
}

impl MllpTransport {
    /// Builds a transport.
    ///
    /// # Errors
    ///
    /// When a file of the TLS settings cannot be used, or the address is none.
    pub fn new(options: &MllpOptions) -> Result<Self, SetupError> {
        let tls = options.tls.as_ref();
        Ok(Self {
            address: options.address.clone(),
            tls: tls
                .map(|tls| tls::Encryption::new(&options.address, tls))
                .transpose()?,
            timeout: options.timeout,
            idle: Mutex::default(),
        })
    }

    async fn attempt(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Fault> {
        let until = Instant::now() + self.timeout;
        if request.method() == Method::GET {
            let connection = self.connection(until).await?;
            self.keep(connection);
            return Ok(answer(StatusCode::OK, Bytes::new()));
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
        let wanted = wanted(&message);
        let mut connection = self.connection(until).await?;
        connection.send(&frame, until).await?;
        if is_silent(wanted.wants) {
            self.keep(connection);
            return Ok(answer(StatusCode::NO_CONTENT, Bytes::new()));
        }
        let block = wait::acknowledged(&mut connection, wanted, until).await?;
        let status = status(&block);
        // A receiver that answers in its own way may have more to say: the next message begins on a fresh connection.
        if connection.is_settled() && status != StatusCode::ACCEPTED {
            self.keep(connection);
        }
        Ok(answer(
            if status == StatusCode::ACCEPTED {
                StatusCode::OK
            } else {
                status
            },
            Bytes::from(block),
        ))
    }

    /// Returns an idle connection that is still there, or opens one.
    async fn connection(&self, until: Instant) -> Result<Connection, Fault> {
        while let Some((mut connection, since)) = self.take() {
            if since.elapsed() < IDLE && connection.is_idle() {
                return Ok(connection);
            }
        }
        let most = Instant::now() + CONNECT.min(self.timeout * 9 / 10);
        Connection::open(&self.address, self.tls.as_ref(), until.min(most)).await
    }

    fn take(&self) -> Option<(Connection, Instant)> {
        self.idle().pop()
    }

    fn keep(&self, connection: Connection) {
        self.idle().push((connection, Instant::now()));
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for MllpTransport {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(self.attempt(request))
    }
}

fn answer(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn wanted(message: &[u8]) -> Wanted<'_> {
    Header::of(message).map_or(
        Wanted {
            control_id: b"",
            wants: Wants::Original,
        },
        |header| Wanted {
            control_id: header.control_id,
            wants: header.wants,
        },
    )
}

/// Tells whether a message asks for no answer at all.
fn is_silent(wants: Wants) -> bool {
    let never = Condition::Never;
    matches!(wants, Wants::Enhanced { accept, application } if accept == never && application == never)
}

/// Returns the status for what was answered; 202 for what is no acknowledgement, so that who reads it says so.
fn status(block: &[u8]) -> StatusCode {
    let Ok(ack) = Ack::parse(block) else {
        return StatusCode::ACCEPTED;
    };
    if ack.code.is_taken() {
        StatusCode::OK
    } else {
        match ack.may_pass() {
            // Also a receiver that refuses for now says so of one message only: others are not held up for it.
            Some(Passing::Record | Passing::Receiver) => StatusCode::TOO_EARLY,
            None => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

/// A fault at a point where the message may have been received.
fn interrupted(what: String) -> Fault {
    Fault {
        kind: FaultKind::Interrupted,
        what,
    }
}
