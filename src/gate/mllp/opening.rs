//! Gets a connection that a message may be sent on: an idle one, or a new one that is watched where it is one too many perhaps.

use std::time::Duration;

use ::http::{Response, StatusCode};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    MllpTransport, answer,
    connection::Connection,
    pool::{Place, Unheard, Wish},
};
use crate::{
    gate::transport::{Fault, FaultKind},
    hl7v2::control_id::ControlId,
};

/// The time that opening a connection may take; always less than the timeout of an attempt.
const CONNECT: Duration = Duration::from_secs(10);

/// The time for which a connection is watched before it has its first message, where it is one more than the receiver has been
/// seen to serve: what is closed for being too many is closed at once.
pub(super) const GLANCE: Duration = Duration::from_millis(20);

/// The same where nothing but the connection is asked for: a balancer first finds out that nobody is behind it.
const LOOK: Duration = Duration::from_millis(100);

/// The waits before a connection is tried again that was closed at once, while there are no others.
const CLOSED_AT_ONCE: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
];

impl MllpTransport {
    /// Returns a connection that a message may be sent on, with its place, and until when the message may take. A new one is watched
    /// for so long, where it is one more than the receiver has been seen to serve.
    pub(super) async fn connection(
        &self,
        control_id: &ControlId,
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

    /// Finds out whether a connection can be had. If there is one already, another is not kept: it could take the place of
    /// one that is to be served.
    pub(super) async fn look(&self) -> Result<Response<Bytes>, Fault> {
        let until = Instant::now() + self.timeout;
        if self.pool.is_in_use() {
            self.open(until).await?;
        } else {
            let (place, connection, _) = self.connection(&ControlId::plain("look"), LOOK).await?;
            place.keep(connection);
        }
        Ok(answer(StatusCode::OK, Bytes::new()))
    }

    async fn open(&self, until: Instant) -> Result<Connection, Fault> {
        let most = Instant::now() + CONNECT.min(self.timeout * 9 / 10);
        Connection::open(&self.address, self.tls.as_ref(), until.min(most)).await
    }
}
