//! The embedded local store: a server on loopback that speaks the Healthcare API's FHIR paths.
//!
//! It keeps everything in one SQLite database and survives restarts. It knows JSON, resource types and ids, not
//! profiles: what a real store refuses for a resource's content, it takes. One process holds a directory; a second
//! [`open`] finds the first.

mod admin;
mod bundle;
mod database;
mod error;
mod lock;
mod resource;
mod route;
mod search;
mod validate;
mod version;

pub use error::Error;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

/// How long requests in flight may take to end once the store stops: beyond it they are cut.
const FAREWELL: Duration = Duration::from_secs(5);

/// What to open, and where to answer.
#[derive(Clone)]
pub struct Options {
    /// The directory the store keeps its files in; made if it is not there.
    pub dir: PathBuf,
    /// Where to listen: a loopback address; port 0 for any free port.
    pub bind: SocketAddr,
    /// When set, every request needs `Authorization: Bearer <token>`.
    pub token: Option<String>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("bind", &self.bind)
            .field("token", &self.token.as_ref().map(|_| "redacted"))
            .finish()
    }
}

/// What came of [`open`].
#[derive(Debug)]
pub enum Opened {
    /// This process serves the store now.
    Started(Server),
    /// Another process serves it already.
    Running {
        /// Where it answers.
        url: Url,
        /// The token it wants.
        token: Option<String>,
        /// Its process id.
        pid: u32,
    },
}

/// The running store. Dropping it stops it too, without waiting.
pub struct Server {
    url: Url,
    token: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Where it answers, as `http://127.0.0.1:port/`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The token every request needs.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Answers what is in flight, closes the database and gives the directory up.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let _ = (&mut self.task).await;
    }
}

/// Opens the store of a directory and serves it, or finds the process that does.
pub async fn open(options: Options) -> Result<Opened, Error> {
    if !options.bind.ip().is_loopback() {
        return Err(Error::NotLoopback(options.bind));
    }
    let Some(lock) = lock::take(&options.dir)? else {
        let lock::Holder { url, token, pid } = lock::holder(&options.dir).await?;
        return Ok(Opened::Running { url, token, pid });
    };
    let path = options.dir.join("store.db");
    // SQLite gives its other files the permissions of this one.
    drop(lock::private(&path, false)?);
    let bind = |source| Error::Bind {
        address: options.bind,
        source,
    };
    let listener = tokio::net::TcpListener::bind(options.bind)
        .await
        .map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let mut url = Url::parse("http://127.0.0.1/").map_err(|e| bind(std::io::Error::other(e)))?;
    let _ = url.set_ip_host(address.ip());
    let _ = url.set_port(Some(address.port()));
    let (database, threads) = tokio::task::spawn_blocking(move || database::Database::open(&path))
        .await
        .map_err(std::io::Error::other)??;
    lock.announce(&url, options.token.as_deref())?;
    let app = route::app(Arc::new(route::App {
        database,
        base: url.as_str().trim_end_matches('/').to_owned(),
        token: options.token.clone(),
    }));
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        serve(listener, app, stopped).await;
        lock.withdraw();
        // The threads end once the last request has dropped its way to them; only then is the directory free.
        let _ = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
            drop(lock);
        })
        .await;
    });
    Ok(Opened::Started(Server {
        url,
        token: options.token,
        stop: Some(stop),
        task,
    }))
}

async fn serve(
    listener: tokio::net::TcpListener,
    app: axum::Router,
    stopped: oneshot::Receiver<()>,
) {
    use axum::serve::ListenerExt as _;
    let listener = listener.tap_io(|stream| {
        // Requests and answers are small: waiting to fill packets only delays them.
        let _ = stream.set_nodelay(true);
    });
    let (late, ending) = oneshot::channel::<()>();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async move {
        let _ = stopped.await;
        drop(late);
    });
    let timeout = async move {
        let _ = ending.await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        result = serving => if let Err(error) = result {
            tracing::error!(%error, "the local store stopped listening");
        },
        () = timeout => {}
    }
}
