//! A running server of the local store, from its start to its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use url::Url;

use super::{
    Error, Options, access, app, database, fault, files, layout, leave, lock, registry, serve,
};

/// The time that requests in flight have to end when the server is stopped, and the writer after them.
const FAREWELL: Duration = Duration::from_secs(10);

/// A bearer token, which shows itself to nobody by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub(super) String);

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

/// Starts a server over a directory whose lock is held.
pub(super) async fn start(
    options: Options,
    path: &Path,
    lock: lock::Lock,
) -> Result<Server, Error> {
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
