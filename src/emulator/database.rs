//! The database of the store, and the one writer that all changes pass.
//!
//! Writes queue up for one thread, which carries out all that wait in one SQLite transaction (a savepoint each) and
//! answers them after the commit: the cost of a commit is shared, and what was answered survives the death of the
//! process (write-ahead log, `synchronous=NORMAL`). Readers see committed data only.

use std::path::Path;
use std::sync::Mutex;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tokio::sync::{mpsc, oneshot};

use super::instant::Clock;
use super::lock::Lock;
use super::reply::Refusal;

/// Writes that may wait; above it requests wait at the socket.
const QUEUE: usize = 1024;
/// Writes that share a commit at most: enough to make its cost vanish, few enough that nobody waits long.
const GROUP: usize = 256;
/// Connections kept for reading.
const READERS: usize = 4;
/// The tools of a write: the connection inside a transaction, and the clock.
#[derive(Debug)]
pub(super) struct DatabaseSession {
    pub(super) connection: Connection,
    pub(super) clock: Clock,
}

impl DatabaseSession {
    /// Runs the work so that all of its changes happen, or none.
    pub(super) fn atomically<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.connection
            .prepare_cached("SAVEPOINT part")?
            .execute([])?;
        let result = work(self);
        // A full disk may have ended the whole transaction; then there is nothing left to undo.
        if !self.connection.is_autocommit() {
            if result.is_err() {
                self.connection
                    .prepare_cached("ROLLBACK TO part")?
                    .execute([])?;
            }
            self.connection
                .prepare_cached("RELEASE part")?
                .execute([])?;
        }
        result
    }
}

/// Tells the caller, with the reason when the commit failed.
type Deliver = Box<dyn FnOnce(Option<&Refusal>) + Send>;
type Job = Box<dyn FnOnce(&mut DatabaseSession) -> Carried + Send>;

/// A job that was carried out, and is not committed yet.
struct Carried {
    deliver: Deliver,
    /// The reason, where the disk was full: those that are undone with it meet the same.
    full: Option<Refusal>,
}

/// Access to the database from any task.
#[derive(Debug)]
pub(super) struct Database {
    jobs: mpsc::Sender<Job>,
    readers: Mutex<Vec<Connection>>,
    path: std::path::PathBuf,
}

fn unavailable() -> Refusal {
    Refusal::google(
        http::StatusCode::INTERNAL_SERVER_ERROR,
        "the local store is not writing any more; see its log",
    )
}

impl Database {
    /// Starts the writer; the second value resolves when it has closed the database and let go of the lock.
    pub(super) fn start(
        path: &Path,
        connection: Connection,
        lock: Lock,
    ) -> Result<(Self, oneshot::Receiver<()>), std::io::Error> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (closed, until_closed) = oneshot::channel();
        std::thread::Builder::new()
            .name("stoker-store".to_owned())
            .spawn(move || {
                write_all(connection, queue);
                drop(lock);
                // Nobody may be waiting any more.
                let _ = closed.send(());
            })?;
        let database = Self {
            jobs,
            readers: Mutex::new(Vec::new()),
            path: path.to_owned(),
        };
        Ok((database, until_closed))
    }

    /// Returns the directory of the store.
    pub(super) fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Carries out a change; the answer comes when it is committed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut DatabaseSession) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            let result = session.atomically(work);
            let refusal = result.as_ref().err();
            let full = refusal.filter(|refusal| refusal.is_full()).cloned();
            let deliver: Deliver = Box::new(move |undone| {
                // The client may have gone away.
                let _ = answer.send(match undone {
                    Some(refusal) if result.is_ok() => Err(refusal.clone()),
                    _ => result,
                });
            });
            Carried { deliver, full }
        });
        self.jobs.send(job).await.map_err(|_| unavailable())?;
        answered.await.unwrap_or_else(|_| Err(unavailable()))
    }

    /// Reads on a connection of its own, off the async threads; one consistent state for the whole of `work`.
    pub(super) async fn read<T: Send + 'static>(
        self: &std::sync::Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let database = std::sync::Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let connection = database.reader()?;
            connection.prepare_cached("BEGIN")?.execute([])?;
            let result = work(&connection);
            connection.prepare_cached("COMMIT")?.execute([])?;
            if let Ok(mut readers) = database.readers.lock()
                && readers.len() < READERS
            {
                readers.push(connection);
            }
            result
        })
        .await
        .unwrap_or_else(|_| Err(unavailable()))
    }

    fn reader(&self) -> Result<Connection, Refusal> {
        if let Some(connection) = self
            .readers
            .lock()
            .ok()
            .and_then(|mut readers| readers.pop())
        {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.execute_batch("PRAGMA cache_size = -4096;")?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }
}

/// The writer's thread: ends when nobody can send any more, and leaves the log folded into the database.
fn write_all(connection: Connection, mut queue: mpsc::Receiver<Job>) {
    let last = connection
        .query_row("SELECT last FROM clock", [], |row| row.get(0))
        .optional();
    let last = last.ok().flatten().unwrap_or(0);
    let mut session = DatabaseSession {
        connection,
        clock: Clock::after(last),
    };
    while let Some(first) = queue.blocking_recv() {
        if let Err(error) = session.connection.execute_batch("BEGIN IMMEDIATE") {
            tracing::error!(code = ?error.sqlite_error_code(), "the local store could not begin to write");
            // Dropping the job tells its caller.
            continue;
        }
        let mut deliveries = Vec::new();
        let (mut committed, mut undone) = (true, None);
        let mut next = Some(first);
        while let Some(job) = next.take() {
            let Carried { deliver, full } = job(&mut session);
            deliveries.push(deliver);
            undone = undone.or(full);
            // A failing disk may have rolled the transaction back; what follows must not run outside of one.
            committed &= !session.connection.is_autocommit();
            if committed && deliveries.len() < GROUP {
                next = queue.try_recv().ok();
            }
        }
        if committed && let Err(error) = commit(&session) {
            committed = false;
            undone = Some(Refusal::from(error)).filter(Refusal::is_full);
        }
        if !committed && !session.connection.is_autocommit() {
            tracing::error!("the local store could not commit; its changes are undone");
            if session.connection.execute_batch("ROLLBACK").is_err() {
                break;
            }
        }
        let undone = (!committed).then(|| undone.unwrap_or_else(unavailable));
        for deliver in deliveries {
            deliver(undone.as_ref());
        }
    }
    if let Err(error) = session
        .connection
        .execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);")
    {
        tracing::warn!(code = ?error.sqlite_error_code(), "the local store's log stays beside its database until the next start");
    }
}

fn commit(session: &DatabaseSession) -> Result<(), rusqlite::Error> {
    session
        .connection
        .prepare_cached("UPDATE clock SET last = ?1")?
        .execute(params![session.clock.last()])?;
    session.connection.execute_batch("COMMIT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::layout;

    #[tokio::test]
    async fn a_full_disk_is_named_to_all_that_it_undoes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        let lock = Lock::take(folder.path()).unwrap().unwrap();
        let connection = layout::open(&path).unwrap();
        connection
            .execute_batch("CREATE TABLE filler (bytes)")
            .unwrap();
        let pages = connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0));
        // SQLite meets its own limit as it meets a full disk.
        let limit = format!("PRAGMA max_page_count = {}", pages.unwrap() + 2);
        connection.execute_batch(&limit).unwrap_or_default();
        let (database, _closed) = Database::start(&path, connection, lock).unwrap();
        let write = |bytes: i64| {
            database.write(move |session| {
                let sql = "INSERT INTO filler VALUES (zeroblob(?1))";
                Ok(session.connection.execute(sql, [bytes])?)
            })
        };
        assert!(write(10).await.is_ok());
        let (large, small) = tokio::join!(write(10_000_000), write(10));
        assert!(large.unwrap_err().is_full());
        assert!(small.is_ok_and(|rows| rows == 1) || write(10).await.is_ok());
    }
}
