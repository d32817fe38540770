//! Appends to the journal with group commit.
//!
//! Lines are handed to the kernel by whoever brings them: that takes some microseconds, and waking a thread takes more.
//! From then on they survive `kill -9`. With `sync: group` a thread brings what was written to the disk, group after group
//! as fast as the disk can, so that a power cut costs the last group at most and a slow disk holds nobody up; with
//! `sync: always` another one writes all lines that wait and brings them to the disk before anybody goes on. The threads
//! stand in `group`.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
};

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::{
    Error, JournalIndex, Ledger, RunDirectory, SaidLine,
    claim::{claim, cut_torn_tail},
    files::{Failure, Files, Lines, locked, push_json},
    format::{
        ConsultedLine, EndLine, IntendLine, JournalLine, Line, SessionLine, Settlement, Tally,
        VERSION,
    },
    group::{Entry, start_writing, sync_groups},
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
        // A new journal gets its name when its first lines are in it: whatever is killed when, no journal is empty.
        let unnamed = path.with_extension("new");
        let opened = if history.is_some() { &path } else { &unnamed };
        let file =
            private_append(opened).map_err(|e| fail("cannot open the journal", opened, &e))?;
        claim(&file).map_err(|e| fail("cannot open the journal", &path, &e))?;
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
            let line = first_line(run);
            first.push(Line::Journal(line.clone()));
            line
        };
        let number = session.number;
        first.push(Line::Session(session));
        let failure = Arc::new(Mutex::new(None));
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
        let queue = start_writing(&files)
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
    pub async fn consulted(&self, found: ConsultedLine) -> Result<(), Error> {
        let line = Line::Consulted(found);
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

    /// Returns what the journal says by now, as [`super::read`] would, without reading it; what is written after that is
    /// not part of it. None once it could not be written: then the file itself has to say how far it came.
    pub fn told(&self) -> Option<JournalIndex> {
        let mut files = locked(&self.files);
        let failed = locked(&self.failure).is_some();
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
        let failure = locked(&self.failure).clone();
        failure.unwrap_or_else(|| Error {
            what: "cannot write to the journal",
            path: self.path.clone(),
            why: "its thread has ended".to_owned(),
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // The threads end soon after; the next session need not wait for them. A file that cannot be unlocked here is
        // unlocked when they end.
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

/// Names a new run.
fn first_line(run: &RunDirectory) -> JournalLine {
    JournalLine {
        version: VERSION,
        run: run.name(),
        mark: format!("{:08x}", rand::random::<u32>()),
        stoker: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn fail(what: &'static str, path: &Path, error: &std::io::Error) -> Error {
    Error {
        what,
        path: path.to_owned(),
        why: error.to_string(),
    }
}
