//! Ctrl-C, SIGTERM, and a terminal that is closed: once, no new work is started; twice, what is in flight is dropped.

use tokio::signal::unix::{SignalKind, signal};

use super::printer::Printer;
use crate::send::Stop;

/// Listens for signals until the process ends.
pub(super) fn listen(stop: Stop) {
    // From here on, not only once the task runs.
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    let mut hangup = takes_hangups()
        .then(|| signal(SignalKind::hangup()).ok())
        .flatten();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                Some(()) = async { hangup.as_mut()?.recv().await } => {}
            }
            Printer::over_the_echo();
            stop.interrupt();
        }
    });
}

/// Tells whether a terminal that is closed ends this process.
///
/// `nohup` starts it with SIGHUP ignored, and listening would undo that. If the system does not tell, the signal keeps its
/// meaning: the process ends at once, and the journal is such that `stoker resume` goes on.
fn takes_hangups() -> bool {
    fs_err::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        // SIGHUP is signal 1, the lowest bit.
        .is_some_and(|ignored| ignored & 1 == 0)
}
