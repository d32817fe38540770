//! Brings lines to the disk in groups, on threads that wait for it.
//!
//! One thread brings to the disk what others have written; another one writes what is to be there before anybody goes on.
//! The writer of a line decides which of them it goes by.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
};

use tokio::sync::oneshot;

use super::{
    Error,
    files::{Failure, Files, Lines, locked},
};

/// Lines on their way to the disk.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) lines: Lines,
    pub(super) said: Vec<u8>,
    /// Nothing goes on before it is on the disk.
    pub(super) now: bool,
    pub(super) done: oneshot::Sender<Result<(), Error>>,
}

/// The number of writes that may wait. Each belongs to a request in flight, so this is never the bottleneck; it only
/// keeps memory bounded should the disk hang. The queue holds room for all of them from the start: 96 bytes each.
const QUEUE: usize = 8 * 1024;

/// A group is not made larger than this many bytes, so that its first line does not wait for all others.
const GROUP_BYTES: usize = 1 << 20;

/// The time for which a group gathers before it goes to the disk. A disk that is kept busy with small writes slows the
/// kernel's own writing of the journal down; 20 ms is far below what a power cut takes anyway.
const GATHER: std::time::Duration = std::time::Duration::from_millis(20);

/// Brings groups to the disk, each as soon as the one before it is there. A disk that fails ends the journal.
pub(super) fn sync_groups(
    file: fs_err::File,
    groups: mpsc::Receiver<()>,
    failure: Failure,
    path: PathBuf,
) -> std::io::Result<()> {
    let sync = move || {
        while groups.recv().is_ok() {
            std::thread::sleep(GATHER);
            if let Err(error) = file.sync_data() {
                locked(&failure).get_or_insert(Error {
                    what: "cannot bring the journal to the disk",
                    path,
                    why: error.to_string(),
                });
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("journal-disk".to_owned())
        .spawn(sync)
        .map(drop)
}

/// Writes what is to be on the disk before anybody goes on, as much together as waits.
fn write_and_wait(files: &Mutex<Files>, entries: &mpsc::Receiver<Entry>) {
    let mut waiting = Vec::new();
    while let Ok(first) = entries.recv() {
        let Entry {
            mut lines,
            mut said,
            mut now,
            done,
        } = first;
        waiting.push(done);
        while lines.json.len() < GROUP_BYTES {
            let Ok(next) = entries.try_recv() else { break };
            lines.extend(next.lines);
            said.extend_from_slice(&next.said);
            now |= next.now;
            waiting.push(next.done);
        }
        let written = locked(files).write(&lines, &said, now);
        for done in waiting.drain(..) {
            // A caller that no longer waits has been interrupted; the line is durable all the same.
            let _ = done.send(written.clone());
        }
        if written.is_err() {
            return;
        }
    }
}

/// Starts the thread that writes what is to be on the disk before anybody goes on. It ends with the last sender.
pub(super) fn start_writing(files: &Arc<Mutex<Files>>) -> std::io::Result<mpsc::SyncSender<Entry>> {
    let (queue, entries) = mpsc::sync_channel(QUEUE);
    let files = Arc::clone(files);
    std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || write_and_wait(&files, &entries))
        .map(|_| queue)
}
