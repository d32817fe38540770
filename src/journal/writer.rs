//! Appends to the journal with group commit.
//!
//! Lines are handed to the kernel by whoever brings them: that takes some microseconds, and waking a thread takes more.
//! From then on they survive `kill -9`. With `sync: group` a thread brings what was written to the disk, group after group
//! as fast as the disk can, so that a power cut costs the last group at most and a slow disk holds nobody up; with
//! `sync: always` another one writes all lines that wait and brings them to the disk before anybody goes on.

use std::{
    fs::TryLockError,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::{
    Error, JournalIndex, Ledger, RunDirectory, SaidLine,
    files::{Failure, Files, Lines, push_json},
    format::{
        BriefLine, ConsultedLine, EndLine, IntendLine, JournalLine, Line, SessionLine, Settlement,
        Tally, VERSION,
    },
    reader::Length,
    run::private_append,
};
use crate::{checksum, manifest::Sync, record::StepId};

/// A journal open for writing; one session of its run.
#[derive(Debug)]
pub struct Journal {
    /// To the thread that waits for the disk.
    queue: mpsc::SyncSender<Entry>,
    session: u32,
    line: JournalLine,
    path: PathBuf,
    sync: Sync,
    files: Arc<Mutex<Files>>,
    failure: Failure,
}

#[derive(Debug)]
struct Entry {
    lines: Lines,
    said: Vec<u8>,
    /// Nothing goes on before it is on the disk.
    now: bool,
    done: oneshot::Sender<Result<(), Error>>,
}

/// The number of writes that may wait. Each belongs to a request in flight, so this is never the bottleneck; it only
/// keeps memory bounded should the disk hang.
const QUEUE: usize = 64 * 1024;

/// A group is not made larger than this many bytes, so that its first line does not wait for all others.
const GROUP_BYTES: usize = 1 << 20;

impl Journal {
    /// Begins the journal of a new run, or a further session of one whose journal has been read.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or another process writes it.
    pub fn open(
        run: &RunDirectory,
        sync: Sync,
        session: SessionLine,
        history: Option<&JournalIndex>,
    ) -> Result<Self, Error> {
        let path = run.journal();
        let fail = |what: &'static str, path: &Path, error: &std::io::Error| Error {
            what,
            path: path.to_owned(),
            why: error.to_string(),
        };
        // A new journal gets its name when its first lines are in it: whatever is killed when, no journal is empty.
        let unnamed = path.with_extension("new");
        let opened = if history.is_some() { &path } else { &unnamed };
        let file =
            private_append(opened).map_err(|e| fail("cannot open the journal", opened, &e))?;
        file.file().try_lock().map_err(|error| {
            let error = match error {
                TryLockError::Error(error) => error,
                TryLockError::WouldBlock => {
                    std::io::Error::other("another Stoker is at work on this run")
                }
            };
            fail("cannot open the journal", &path, &error)
        })?;
        // An error of the file is told under the name that the file will have.
        let file = fs_err::File::from_parts(file.into_parts().0, &path);
        let mut first = Lines::default();
        let mut told = None;
        let line = if let Some(history) = history {
            cut_torn_tail(&file, &path, history.whole)
                .map_err(|e| fail("cannot mend the journal", &path, &e))?;
            told = Some(history.fork()?);
            history.journal.clone()
        } else {
            let line = JournalLine {
                version: VERSION,
                run: run.name(),
                mark: format!("{:08x}", rand::random::<u32>()),
                stoker: env!("CARGO_PKG_VERSION").to_owned(),
            };
            first.push(Line::Journal(line.clone()));
            line
        };
        let number = session.number;
        first.push(Line::Session(session));
        let failure = Arc::new(Mutex::new(None));
        let (queue, entries) = mpsc::sync_channel(QUEUE);
        let (disk, groups) = mpsc::sync_channel(1);
        let synced = file
            .try_clone()
            .map_err(|e| fail("cannot open the journal", &path, &e))?;
        sync_groups(synced, groups, Arc::clone(&failure), path.clone())
            .map_err(|e| fail("cannot start the journal's thread for", &path, &e))?;
        let mut files = Files {
            sync,
            file,
            read: fs_err::File::open(opened)
                .map_err(|e| fail("cannot open the journal", opened, &e))?,
            seed: told.as_ref().map_or(checksum::FIRST, |told| told.seed),
            whole: told.as_ref().map_or(0, |told| told.whole),
            told,
            checked: Vec::new(),
            length: run.length(),
            path: path.clone(),
            rejected: run.rejected(),
            answers_path: run.answers(),
            answers: None,
            failure: Arc::clone(&failure),
            disk,
        };
        files.write(&first, &[], true)?;
        if history.is_none() {
            fs_err::rename(&unnamed, &path)
                .map_err(|e| fail("cannot name the journal", &path, &e))?;
        }
        let files = Arc::new(Mutex::new(files));
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn({
                let files = Arc::clone(&files);
                move || write_and_wait(&files, &entries)
            })
            .map_err(|e| fail("cannot start the journal's thread for", &path, &e))?;
        Ok(Self {
            queue,
            session: number,
            line,
            path,
            sync,
            files,
            failure,
        })
    }

    /// Returns the number of the session that this journal writes.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Returns its first line: what names the run.
    pub fn line(&self) -> &JournalLine {
        &self.line
    }

    /// Notes that another run was about to send a record, and what it marked it with.
    pub async fn inherit(
        &self,
        record: StepId,
        at: jiff::Timestamp,
        tag: Option<String>,
    ) -> Result<(), Error> {
        let records = vec![record];
        let line = Line::Intend(IntendLine { at, records, tag });
        self.append(Lines::of(line), Vec::new(), false).await
    }

    /// Notes that earlier runs have been asked what they had loaded, and that all they said has been noted.
    pub async fn consulted(&self, loaded: u64) -> Result<(), Error> {
        let line = Line::Consulted(ConsultedLine { loaded });
        self.append(Lines::of(line), Vec::new(), false).await
    }

    /// Ends the session in order: once it returns, all lines are as durable as `journal: {sync}` asks.
    pub async fn end(&self, end: EndLine) -> Result<(), Error> {
        self.append(Lines::of(Line::End(end)), Vec::new(), true)
            .await
    }

    /// Notes how long the session took, its end included, when it has ended: its last line.
    pub async fn closed(&self, tally: Tally) -> Result<(), Error> {
        let tally = Line::Tally(Tally {
            session: self.session,
            ..tally
        });
        self.append(Lines::of(tally), Vec::new(), true).await
    }

    /// Makes the journal of a run that is over brief: its sessions stay, the lines of its records go.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then it stays as it was.
    pub fn shorten(run: &RunDirectory, told: &JournalIndex, brief: BriefLine) -> Result<(), Error> {
        let mut lines = Lines::of(Line::Journal(told.journal.clone()));
        for session in &told.sessions {
            lines.push(Line::Session(session.clone()));
            if let Some(tally) = told.tallies.get(&session.number) {
                lines.push(Line::Tally(tally.clone()));
            }
        }
        if let Some(end) = &told.end {
            lines.push(Line::End(end.clone()));
        }
        lines.push(Line::Brief(brief));
        let (mut checked, mut seed) = (Vec::new(), checksum::FIRST);
        for object in lines.json.split(|b| *b == b'\n').take(lines.said.len()) {
            let offset = checked.len() as u64;
            let sum = checksum::append(&mut checked, object, seed, offset);
            if offset == 0 {
                seed = sum;
            }
        }
        let (path, length) = (run.journal(), run.length());
        let unnamed = path.with_extension("new");
        let written = (|| {
            let mut file = super::private_file(&unnamed)?;
            file.write_all(&checked)?;
            file.sync_data()?;
            // A journal may be longer than was noted, and never shorter.
            match fs_err::remove_file(&length) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs_err::rename(&unnamed, &path)?;
            Length::write(&length, checked.len() as u64)
        })();
        written.map_err(|error: std::io::Error| Error {
            what: "cannot shorten the journal",
            path,
            why: error.to_string(),
        })
    }

    /// Returns what the journal says by now, as [`super::read`] would, without reading it; what is written after that is
    /// not part of it. None once it could not be written: then the file itself has to say how far it came.
    pub fn told(&self) -> Option<JournalIndex> {
        let mut files = locked(&self.files);
        let failed = self
            .failure
            .lock()
            .map_or(true, |failure| failure.is_some());
        files.told.take().filter(|_| !failed)
    }

    fn append(&self, lines: Lines, said: Vec<u8>, now: bool) -> BoxFuture<'_, Result<(), Error>> {
        if self.sync != Sync::Always && !now {
            let written = locked(&self.files).write(&lines, &said, false);
            return Box::pin(std::future::ready(written));
        }
        let (done, written) = oneshot::channel();
        let queued = self.queue.send(Entry {
            lines,
            said,
            now,
            done,
        });
        Box::pin(async move {
            match queued {
                Ok(()) => written.await.unwrap_or_else(|_| Err(self.failed())),
                Err(_) => Err(self.failed()),
            }
        })
    }

    fn failed(&self) -> Error {
        self.failure
            .lock()
            .ok()
            .and_then(|failure| failure.clone())
            .unwrap_or_else(|| Error {
                what: "cannot write to the journal",
                path: self.path.clone(),
                why: "its thread has ended".to_owned(),
            })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // The threads end soon after; the next session need not wait for them. What cannot be unlocked is so when they do.
        let _ = locked(&self.files).file.file().unlock();
    }
}

impl Ledger for Journal {
    fn intend(&self, at: jiff::Timestamp, records: &[StepId]) -> BoxFuture<'_, Result<(), Error>> {
        let line = Line::Intend(IntendLine {
            at,
            records: records.to_vec(),
            tag: None,
        });
        self.append(Lines::of(line), Vec::new(), false)
    }

    fn waits_for_disk(&self) -> bool {
        self.sync == Sync::Always
    }

    fn withdraw(&self, records: &[StepId]) {
        let lines = Lines::of(Line::Withdraw(records.to_vec()));
        // A journal that cannot be written ends the run through the next settlement.
        let _ = locked(&self.files).write(&lines, &[], false);
    }

    fn remove(&self, records: &[StepId]) -> BoxFuture<'_, Result<(), Error>> {
        let lines = Lines::of(Line::Remove(records.to_vec()));
        self.append(lines, Vec::new(), false)
    }

    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), Error>> {
        let mut lines = Lines::default();
        lines.json.reserve(settlements.len() * 192);
        let mut said = Vec::new();
        for Settlement { line, said: answer } in settlements {
            if let Some(mut answer) = answer {
                let mut end = std::cmp::min(answer.len(), SaidLine::LIMIT);
                while !answer.is_char_boundary(end) {
                    end -= 1;
                }
                answer.truncate(end);
                push_json(
                    &mut said,
                    &SaidLine {
                        record: line.record,
                        status: line.status,
                        answer,
                    },
                );
            }
            lines.push(Line::Settle(line));
        }
        self.append(lines, said, false)
    }

    fn tally(&self, tally: Tally) -> BoxFuture<'_, Result<(), Error>> {
        let tally = Line::Tally(Tally {
            session: self.session,
            ..tally
        });
        self.append(Lines::of(tally), Vec::new(), false)
    }
}

/// A torn tail would join the first new line; it was never durable, so it goes. Whole lines that came since the journal was
/// read are another session's, and stay.
pub(super) fn cut_torn_tail(file: &fs_err::File, path: &Path, whole: u64) -> std::io::Result<()> {
    use std::io::{Read as _, Seek as _};
    let mut tail = Vec::new();
    let mut read = fs_err::File::open(path)?;
    read.seek(std::io::SeekFrom::Start(whole))?;
    read.read_to_end(&mut tail)?;
    if tail.contains(&b'\n') {
        let message = "another Stoker has gone on with this run meanwhile; try again";
        return Err(std::io::Error::other(message));
    }
    file.set_len(whole)
}

/// The time for which a group gathers before it goes to the disk. A disk that is kept busy with small writes slows the
/// kernel's own writing of the journal down; 20 ms is far below what a power cut takes anyway.
const GATHER: std::time::Duration = std::time::Duration::from_millis(20);

/// Brings groups to the disk, each as soon as the one before it is there. A disk that fails ends the journal.
fn sync_groups(
    file: fs_err::File,
    groups: mpsc::Receiver<()>,
    failure: Arc<Mutex<Option<Error>>>,
    path: PathBuf,
) -> std::io::Result<()> {
    let sync = move || {
        while groups.recv().is_ok() {
            std::thread::sleep(GATHER);
            if let Err(error) = file.sync_data() {
                if let Ok(mut failure) = failure.lock() {
                    let what = "cannot bring the journal to the disk";
                    failure.get_or_insert(Error {
                        what,
                        path,
                        why: error.to_string(),
                    });
                }
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("journal-disk".to_owned())
        .spawn(sync)
        .map(drop)
}

fn locked(files: &Mutex<Files>) -> MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
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
