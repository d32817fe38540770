//! The means of cutting a connection: its handle, for the code that answers on it, and the switch behind it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use futures::task::AtomicWaker;

/// The handle of a connection, for the code that answers on it.
#[derive(Debug, Clone, Default)]
pub(in crate::emulator) struct Line(pub(super) Arc<Switch>);

#[derive(Debug, Default)]
pub(super) struct Switch {
    cut: AtomicBool,
    pub(super) reader: AtomicWaker,
    pub(super) writer: AtomicWaker,
}

impl Switch {
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    pub(super) fn check(&self, waker: &AtomicWaker, context: &Context<'_>) -> io::Result<()> {
        waker.register(context.waker());
        if self.is_cut() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Line {
    /// Cuts the connection: nothing is read or written any more, the client gets RST.
    pub(super) fn cut(&self) {
        self.0.cut();
    }

    pub(super) fn switch(&self) -> &Arc<Switch> {
        &self.0
    }
}
