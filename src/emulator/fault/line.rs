//! Connections that can be cut, and a listener that can be gone for a while.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::rules::Faults;
use super::switch::Line;

/// The wait before another try to accept or to bind.
const AGAIN: Duration = Duration::from_millis(50);

/// A connection.
#[derive(Debug)]
pub(in crate::emulator) struct Wire {
    stream: TcpStream,
    line: Line,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.line.0.check(&self.line.0.reader, context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.line.0.check(&self.line.0.writer, context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.0.check(&self.line.0.writer, context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // FIN before RST would let the client take a reset for an end.
        self.line.0.check(&self.line.0.writer, context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.line.0.is_cut() {
            // Without lingering the kernel sends RST in place of FIN. If it cannot, the end comes without it.
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// Listens, unless the scenario has the store refuse connections.
#[derive(Debug)]
pub(in crate::emulator) struct Listener {
    socket: Option<TcpListener>,
    address: SocketAddr,
    faults: Arc<Faults>,
    gone: tokio::sync::watch::Receiver<Option<Instant>>,
}

impl Listener {
    pub(in crate::emulator) fn new(socket: TcpListener, faults: Arc<Faults>) -> io::Result<Self> {
        Ok(Self {
            address: socket.local_addr()?,
            socket: Some(socket),
            gone: faults.gone(),
            faults,
        })
    }
}

impl axum::serve::Listener for Listener {
    type Io = Wire;
    type Addr = Line;

    async fn accept(&mut self) -> (Wire, Line) {
        loop {
            let gone = *self.gone.borrow_and_update();
            if let Some(until) = gone.filter(|until| *until > Instant::now()) {
                self.socket = None;
                tokio::time::sleep_until(until).await;
                continue;
            }
            if self.socket.is_none() {
                self.socket = TcpListener::bind(self.address).await.ok();
            }
            let Some(socket) = &self.socket else {
                // Another has the port; it may let go of it.
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            tokio::select! {
                biased;
                // The sender lives in `faults`, which this holds.
                _ = self.gone.changed() => {}
                accepted = socket.accept() => match accepted {
                    Ok((stream, _)) => {
                        let line = Line::default();
                        self.faults.watch(&line);
                        return (Wire { stream, line: line.clone() }, line);
                    }
                    Err(_) => tokio::time::sleep(AGAIN).await,
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<Line> {
        Ok(Line::default())
    }
}
