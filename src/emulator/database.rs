//! The database: its layout, and the two threads that use it.
//!
//! All writes go through one thread with one connection. It takes every request that waits and commits them
//! together, each in a savepoint of its own, so that one failure undoes one request and the cost of a commit is shared.
//! Reads have a connection and thread of their own; a write is answered after its commit, so a read sees it.

use super::error::{Error, Failure, Reply};
use http::StatusCode;
use rusqlite::Connection;
use std::path::Path;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// The layout this version reads and writes (`PRAGMA user_version`).
const LAYOUT: i64 = 1;

/// How many requests may wait: beyond it senders wait, so memory stays bounded.
const QUEUE: usize = 1024;

/// How many requests share one commit at most: enough to make the commit's cost vanish, few enough to answer soon.
const SHARED: usize = 256;

/// `resources` holds what is current, `history` what was (and the deletions), so that a create writes once.
const SCHEMA: &str = "
CREATE TABLE datasets (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE operations (name TEXT PRIMARY KEY, dataset TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE stores (key INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, dataset TEXT NOT NULL,
  body TEXT NOT NULL);
CREATE TABLE resources (store INTEGER NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
  text TEXT NOT NULL, UNIQUE (store, type, id));
CREATE TABLE history (store INTEGER NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
  deleted INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE (store, type, id, version));
CREATE TABLE identifiers (store INTEGER NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL, system TEXT NOT NULL,
  id TEXT NOT NULL, PRIMARY KEY (store, type, value, system, id)) WITHOUT ROWID;
CREATE TABLE tags (store INTEGER NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL, system TEXT NOT NULL,
  id TEXT NOT NULL, PRIMARY KEY (store, type, value, system, id)) WITHOUT ROWID;
";

type Work = Box<dyn FnOnce(&Connection) -> Result<Reply, Failure> + Send>;

struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Reply, Failure>>,
}

/// The way to the database from any task.
#[derive(Clone)]
pub(super) struct Database {
    writer: mpsc::Sender<Job>,
    reader: mpsc::Sender<Job>,
}

/// The threads, to be waited for once every [`Database`] is dropped.
pub(super) type Threads = Vec<JoinHandle<()>>;

impl Database {
    /// Opens or creates the database file.
    pub(super) fn open(path: &Path) -> Result<(Self, Threads), Error> {
        let failed = |source| Error::Database {
            path: path.to_owned(),
            source,
        };
        let write = connect(path).map_err(failed)?;
        let found: i64 = write
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(failed)?;
        match found {
            LAYOUT => {}
            0 => write
                .execute_batch(&format!(
                    "BEGIN; {SCHEMA} PRAGMA user_version = {LAYOUT}; COMMIT;"
                ))
                .map_err(failed)?,
            _ => {
                return Err(Error::Layout {
                    path: path.to_owned(),
                    found,
                    wanted: LAYOUT,
                });
            }
        }
        let read = connect(path).map_err(failed)?;
        read.execute_batch("PRAGMA query_only = on")
            .map_err(failed)?;
        let (writer, write_jobs) = mpsc::channel(QUEUE);
        let (reader, read_jobs) = mpsc::channel(QUEUE);
        let threads = vec![
            std::thread::Builder::new()
                .name("store-writer".into())
                .spawn(move || write_all(&write, write_jobs))?,
            std::thread::Builder::new()
                .name("store-reader".into())
                .spawn(move || read_all(&read, read_jobs))?,
        ];
        Ok((Self { writer, reader }, threads))
    }

    /// Does `work` on the writing connection; what it wrote is undone if it fails, and committed before this returns.
    pub(super) async fn write(
        &self,
        work: impl FnOnce(&Connection) -> Result<Reply, Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
        ask(&self.writer, Box::new(work)).await
    }

    /// Does `work` on the reading connection.
    pub(super) async fn read(
        &self,
        work: impl FnOnce(&Connection) -> Result<Reply, Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
        ask(&self.reader, Box::new(work)).await
    }
}

async fn ask(queue: &mpsc::Sender<Job>, work: Work) -> Result<Reply, Failure> {
    let gone = || {
        Failure::google(
            StatusCode::SERVICE_UNAVAILABLE,
            "the local store is stopping",
        )
    };
    let (answer, answered) = oneshot::channel();
    queue.send(Job { work, answer }).await.map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(128);
    // NORMAL with WAL: a crash of the process loses nothing, a power cut may lose the last commits but not the file.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 10000;
         PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 8000;",
    )?;
    Ok(connection)
}

fn read_all(connection: &Connection, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        // One snapshot for one request, so that a search's total and page agree.
        let result = run(connection, "BEGIN")
            .map_err(Failure::from)
            .and_then(|()| {
                let result = (job.work)(connection);
                run(connection, "COMMIT")?;
                result
            });
        let _ = job.answer.send(result);
    }
}

fn write_all(connection: &Connection, mut jobs: mpsc::Receiver<Job>) {
    let mut waiting = Vec::with_capacity(SHARED);
    loop {
        if jobs.blocking_recv_many(&mut waiting, SHARED) == 0 {
            return;
        }
        let begun = run(connection, "BEGIN IMMEDIATE");
        let mut answers = Vec::with_capacity(waiting.len());
        for job in waiting.drain(..) {
            let result = match &begun {
                Ok(()) => isolated(connection, || (job.work)(connection)),
                Err(error) => Err(Failure::google(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("the local store's database is busy: {error}"),
                )),
            };
            answers.push((job.answer, result));
        }
        let committed = run(connection, "COMMIT");
        if committed.is_err() && !connection.is_autocommit() {
            let _ = run(connection, "ROLLBACK");
        }
        for (answer, result) in answers {
            let result = match (&begun, &committed) {
                (Ok(()), Err(error)) => result.and_then(|_| {
                    Err(Failure::google(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        format!("the local store could not commit: {error}"),
                    ))
                }),
                _ => result,
            };
            // Nobody waits when the client has gone; the work is done all the same.
            let _ = answer.send(result);
        }
    }
}

/// Does `work` so that all it wrote is undone if it fails.
pub(super) fn isolated<T>(
    connection: &Connection,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    run(connection, "SAVEPOINT one")?;
    let result = work();
    if result.is_err() {
        run(connection, "ROLLBACK TO one")?;
    }
    run(connection, "RELEASE one")?;
    result
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}
