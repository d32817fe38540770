//! Ctrl-C and SIGTERM: once, no new work is started; twice, what is in flight is dropped.

use tokio::signal::unix::{SignalKind, signal};

use crate::send::Stop;

/// Listens for signals until the process ends.
pub(super) fn listen(stop: Stop) {
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            stop.interrupt();
        }
    });
}
