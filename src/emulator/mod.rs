//! The embedded local store: a server on loopback that speaks the Healthcare API's FHIR and HL7v2 paths.
//!
//! It keeps datasets, FHIR stores and resources, HL7v2 stores and messages in SQLite in one directory and survives restarts. `stoker load`
//! starts it in process for `local:` targets, `stoker emulate` as a server; both talk to it over HTTP like to any
//! other store. It knows nothing of plans, gates or targets.
//!
//! Published behaviour of the API is followed to the letter, otherwise the FHIR R4 specification is. With a
//! [`Scenario`] it does wrong on purpose, so that clients can be tried. Left out: profile validation, search beyond the
//! parameters of `parameters`, raw Binary bodies, versions other than R4 (creating such a store is refused).
//!
//! One process serves a directory, and other processes find it there ([`open`]). Its end is theirs to mend: a server
//! that stops answers [`LEAVING`] to whatever still comes, one that was killed does not answer at all, and the next
//! process to ask opens the directory itself.

mod access;
mod admin;
mod app;
mod body;
mod buckets;
mod bundle;
mod call;
mod capability;
mod collection;
mod database;
pub mod dicom;
pub mod fault;
mod files;
mod google;
pub mod hl7v2;
mod instant;
mod integrity;
mod interaction;
mod json;
mod kind;
mod layout;
mod leave;
mod listen;
mod lock;
mod matching;
mod methods;
mod operation;
mod pages;
mod parameters;
mod patch;
mod period;
mod query;
mod registry;
mod reply;
mod resource;
mod rewrite;
mod route;
mod rows;
mod search;
mod serve;
mod settings;
mod single;
mod stores;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use url::Url;

pub use self::fault::{Scenario, ScenarioError};
pub use self::leave::{CLIENT, EXPECTED, INSTANCE, LEAVING};

/// The wait for another process that has the lock and does not answer, although it says where it listens.
const PATIENCE: Duration = Duration::from_secs(5);
/// The wait for one that says nothing: it is about to begin, or it ends what it has begun.
const CHANGE: Duration = Duration::from_secs(20);
/// The time that requests in flight have to end when the server is stopped, and the writer after them.
const FAREWELL: Duration = Duration::from_secs(10);

/// Options for opening a local store.
#[derive(Clone)]
pub struct Options {
    /// The directory; made when missing, for its user only.
    pub dir: PathBuf,
    /// The address to listen at; must be loopback. Port 0 takes any free port.
    pub bind: SocketAddr,
    /// When set, every request must carry `Authorization: Bearer <token>`.
    pub token: Option<String>,
    /// The faults that the store commits on purpose.
    pub faults: Option<Scenario>,
    /// Origins whose pages a browser may let ask, as they stand in `Origin`: none but its own, unless named here.
    pub origins: Vec<String>,
    /// A FHIR store that shall be there from the start.
    pub provide: Option<Provided>,
}

impl Options {
    /// Options without anything special, on a free port of loopback.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            bind: ([127, 0, 0, 1], 0).into(),
            token: None,
            faults: None,
            origins: Vec::new(),
            provide: None,
        }
    }
}

/// A FHIR store that is made when it is missing.
#[derive(Debug, Clone)]
pub struct Provided {
    /// `projects/…/datasets/…`
    pub dataset: String,
    /// Its id in the dataset.
    pub store: String,
    /// FhirStore's own fields.
    pub fields: std::collections::BTreeMap<String, serde_json::Value>,
    /// The id of an HL7v2 store that shall be there as well, in the same dataset.
    pub hl7v2: Option<String>,
    /// The same of a DICOM store.
    pub dicom: Option<String>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Options")
            .field("dir", &self.dir)
            .field("bind", &self.bind)
            .finish_non_exhaustive()
    }
}

/// The reason why a local store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is reachable from other machines.
    #[error("{0} is not a loopback address; the local store listens on 127.0.0.1 or [::1] only")]
    NotLoopback(SocketAddr),
    /// Another process has the lock and does not answer.
    #[error(
        "the local store in `{}` is held by {}, which does not answer",
        dir.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The process, if it left a note.
        pid: Option<u32>,
    },
    /// A file or directory could not be used.
    #[error("cannot open the local store in `{}`: {}", dir.display(), words(source))]
    Io {
        /// The directory.
        dir: PathBuf,
        /// The file, and the failure.
        #[source]
        source: std::io::Error,
    },
    /// The database could not be opened.
    #[error("cannot open the local store's database `{}`: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        #[source]
        source: rusqlite::Error,
    },
    /// The address could not be bound.
    #[error("cannot listen on {bind}: {}", source.kind())]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        use std::io::ErrorKind;
        match self {
            Self::NotLoopback(_) => None,
            Self::Held { .. } => Some("end that process, or use another directory"),
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::PermissionDenied => Some(
                    "check who owns the directory and the one above it, or name another with `local:`, `--local` or `--dir`",
                ),
                ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                    Some("a file stands where the directory is to be; name another")
                }
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some("make room on that disk"),
                ErrorKind::ReadOnlyFilesystem => {
                    Some("name a directory on a disk that can be written")
                }
                _ => None,
            },
            Self::Database { source, .. } => match source.sqlite_error_code() {
                Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                    Some("it is damaged: remove the directory and load again")
                }
                Some(rusqlite::ErrorCode::TypeMismatch) => {
                    Some("use the stoker that made it, or remove the directory and load again")
                }
                Some(rusqlite::ErrorCode::DiskFull) => Some("make room on that disk"),
                Some(rusqlite::ErrorCode::CannotOpen) => Some(
                    "check who may read and write it, and how many files may be open (ulimit -n)",
                ),
                _ => None,
            },
            Self::Bind { source, .. } => match source.kind() {
                ErrorKind::AddrInUse => {
                    Some("another process listens there; port 0 takes a free one")
                }
                _ => None,
            },
        }
    }
}

/// Returns the system's text of an error, without its number.
fn words(error: &std::io::Error) -> String {
    // fs_err names the path in front of what the system says.
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_owned()
}

/// Tells whether a directory holds a local store: opening one that does not would make it.
pub fn is_there(dir: &Path) -> bool {
    lock::is_there(dir)
}

/// A local store: started here, or found running.
#[derive(Debug)]
pub enum Opened {
    /// This process serves it.
    Started(Server),
    /// Another server holds the directory, and answers.
    Running {
        /// The address at which the server listens.
        url: Url,
        /// The token that its requests must carry, if they must.
        token: Option<Token>,
        /// The id of its process.
        pid: u32,
        /// Names this start of it, as its answers do in [`INSTANCE`].
        instance: String,
    },
}

/// A bearer token, which shows itself to nobody by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Returns the secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// A running server. Dropping it ends the server, too, but nobody waits for that.
#[derive(Debug)]
pub struct Server {
    dir: PathBuf,
    url: Url,
    token: Option<Token>,
    instance: String,
    leaving: Arc<leave::Leaving>,
    quit: watch::Sender<bool>,
    serving: JoinHandle<()>,
    closed: Option<oneshot::Receiver<()>>,
    faults: Option<Arc<fault::Faults>>,
}

impl Server {
    /// Returns the root, `http://127.0.0.1:port/`; API paths begin with `v1/`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns what requests must carry, if the store was opened with a token.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(Token::expose)
    }

    /// Names this start of the server, as its answers do in [`INSTANCE`].
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Returns how many requests each rule of the fault scenario has struck so far: its name, or its number.
    pub fn struck(&self) -> Vec<(String, u64)> {
        self.faults
            .as_ref()
            .map_or_else(Vec::new, |faults| faults.struck())
    }

    /// Ends the server: tells other processes that still ask to look for another, lets requests in flight end (10 s at
    /// most), folds the log into the database, releases the lock.
    pub async fn stop(mut self) {
        lock::leave(&self.dir);
        self.leaving.leave().await;
        // The receivers may be gone already: then it has stopped by itself.
        let _ = self.quit.send(true);
        if tokio::time::timeout(FAREWELL, &mut self.serving)
            .await
            .is_err()
        {
            self.serving.abort();
        }
        if let Some(closed) = self.closed.take() {
            // Requests that still run end with their connection; the lock is released when the writer has ended.
            let _ = tokio::time::timeout(FAREWELL, closed).await;
        }
    }

    /// Waits until the server has ended by itself (its listener failed).
    pub async fn stopped(&mut self) {
        if !self.serving.is_finished() {
            // An aborted or panicked task has stopped, too.
            let _ = (&mut self.serving).await;
        }
    }
}

/// Opens the store in the directory: starts a server, or finds the one that holds it.
///
/// # Errors
///
/// When the directory, the database or the address cannot be used, or when the lock's holder does not answer
/// within five seconds.
pub async fn open(options: Options) -> Result<Opened, Error> {
    if !options.bind.ip().is_loopback() {
        return Err(Error::NotLoopback(options.bind));
    }
    let dir = options.dir.clone();
    let io = |source| Error::Io {
        dir: dir.clone(),
        source,
    };
    let path = dir.join("store.sqlite");
    lock::prepare(&dir, &path).map_err(io)?;
    let began = Instant::now();
    loop {
        if let Some(lock) = lock::Lock::take(&dir).map_err(io)? {
            return start(options, &path, lock).await.map(Opened::Started);
        }
        let note = lock::note(&dir);
        if let Some(note) = &note
            && lock::answers(note).await
        {
            let token = note.token.clone().map(Token);
            return Ok(Opened::Running {
                url: note.url.clone(),
                token,
                pid: note.pid,
                instance: note.instance.clone(),
            });
        }
        if began.elapsed() >= note.as_ref().map_or(CHANGE, |_| PATIENCE) {
            return Err(Error::Held {
                dir,
                pid: note.map(|note| note.pid),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn start(options: Options, path: &Path, lock: lock::Lock) -> Result<Server, Error> {
    let Options {
        dir,
        bind,
        token,
        faults,
        origins,
        provide,
    } = options;
    let io = |source| Error::Io {
        dir: dir.clone(),
        source,
    };
    let database = |source| Error::Database {
        path: path.to_owned(),
        source,
    };
    let connection = layout::open(path).map_err(database)?;
    if let Some(dir) = path.parent() {
        files::clean(dir).map_err(io)?;
    }
    let mut registry = registry::Registry::load(&connection).map_err(database)?;
    if let Some(provided) = &provide {
        registry.provide(&connection, provided).map_err(database)?;
    }
    let listener = TcpListener::bind(bind)
        .await
        .map_err(|source| Error::Bind { bind, source })?;
    let address = listener
        .local_addr()
        .map_err(|source| Error::Bind { bind, source })?;
    let url = Url::parse(&format!("http://{address}/"))
        .map_err(|error| io(std::io::Error::other(error)))?;
    let instance = uuid::Uuid::new_v4().to_string();
    let started = jiff::Timestamp::now().to_string();
    let note = lock::Note {
        pid: std::process::id(),
        url: url.clone(),
        token: token.clone(),
        started,
        instance,
    };
    lock.announce(&note).map_err(io)?;
    let faults = faults.map(|scenario| Arc::new(fault::Faults::new(scenario)));
    let (database, closed) = database::Database::start(path, connection, lock).map_err(io)?;
    let leaving = Arc::new(leave::Leaving::default());
    let app = Arc::new(app::App::new(
        &url,
        access::Access::new(token.clone(), origins),
        note.instance.clone(),
        Arc::clone(&leaving),
        database,
        registry,
        faults.clone(),
    ));
    let (quit, until_quit) = watch::channel(false);
    let serving = tokio::spawn(serve::serve(listener, app, until_quit));
    Ok(Server {
        dir,
        url,
        token: token.map(Token),
        instance: note.instance,
        leaving,
        quit,
        serving,
        closed: Some(closed),
        faults,
    })
}
