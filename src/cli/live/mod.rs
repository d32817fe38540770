//! `stoker load --live` (and `stoker resume`): serves the page of the run while it goes on, to a browser on this machine.
//!
//! It listens on the loopback only. Everything that it serves of the run needs a token, which stands in the fragment of
//! the URL that is printed, and so in no log and in no `Referer`. A page of another site that has had its name resolve
//! to this machine is refused by the `Host` that its browser sends. Events tell when to look again; the page is that of
//! `report.html`, made at most as often as making it is a small part of the time.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{
        IntoResponse as _,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use tokio::{net::TcpListener, sync::watch, time::Instant};

use super::{Error, number, printer::Printer};
use crate::{journal::RunDirectory, progress, report, send::Stop};

const SHELL: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("live.js");

/// The time after which watching browsers are told to look again.
const EVERY: Duration = Duration::from_secs(2);

/// Making the page may take a tenth of the time.
const SHARE: u32 = 10;

/// The time that watching browsers have to fetch the last page.
const FAREWELL: Duration = Duration::from_secs(3);

/// The arguments by which a run shows a page while it goes on.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct LiveArgs {
    /// Serve the page of the report while the run goes on, at a URL that is printed, to browsers on this machine
    /// [a free port, or --live=127.0.0.1:PORT]
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "127.0.0.1:0",
        value_parser = number::address
    )]
    live: Option<SocketAddr>,
    /// Go on serving it when the run is over, until Ctrl-C
    #[arg(long, requires = "live")]
    live_keep: bool,
}

impl LiveArgs {
    /// Begins to serve, where it is asked for.
    pub(super) async fn begin(self, printer: Printer) -> Result<Option<Live>, Error> {
        match self.live {
            Some(address) => Ok(Some(Live::begin(address, printer).await?)),
            None => Ok(None),
        }
    }

    /// Tells whether the page stays when the run is over.
    pub(super) fn keeps(self) -> bool {
        self.live_keep
    }
}

/// The page of a run that is being served.
#[derive(Debug)]
pub(super) struct Live {
    url: String,
    served: Arc<Served>,
    task: tokio::task::JoinHandle<()>,
}

struct Served {
    token: String,
    /// The names and ports by which a browser may address this server.
    hosts: [String; 2],
    run: OnceLock<RunDirectory>,
    over: watch::Sender<bool>,
    /// The number of watching browsers; each of them goes when it has fetched the last page.
    watchers: AtomicU32,
    /// The latest page, until when it will do, and whether it is the last.
    page: tokio::sync::Mutex<Option<(Instant, bool, String)>>,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").finish_non_exhaustive()
    }
}

impl Live {
    /// Begins to serve, and says where.
    async fn begin(address: SocketAddr, printer: Printer) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            return Err(
                Error::usage(format!("{address} is not a loopback address")).hint(
                    "the page of a run is for this machine only: `--live`, or `--live=127.0.0.1:PORT`",
                ),
            );
        }
        if printer.is_quiet() {
            return Err(
                Error::usage("with --quiet nobody is told the URL of the page")
                    .hint("give --live without --quiet; `--progress none` keeps the progress away"),
            );
        }
        let cannot = |error: std::io::Error| {
            Error::usage(format!("cannot listen on {address}: {error}"))
                .hint("`--live` alone takes a port that is free")
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let token = uuid::Uuid::new_v4().simple().to_string();
        let served = Arc::new(Served {
            hosts: [address.to_string(), format!("localhost:{}", address.port())],
            token,
            run: OnceLock::new(),
            over: watch::Sender::new(false),
            watchers: AtomicU32::new(0),
            page: tokio::sync::Mutex::default(),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&served));
        let task = tokio::spawn(async move {
            // It ends with the process, or when it is dropped.
            let _ = axum::serve(listener, router).await;
        });
        let url = format!("http://{address}/#{}", served.token);
        printer.message(&format!("the page of this run: {url}"));
        Ok(Self { url, served, task })
    }

    /// Tells which run it is.
    pub(super) fn follow(&self, run: &RunDirectory) {
        // Only the first counts: a command carries one run.
        let _ = self.served.run.set(run.clone());
    }

    /// Shows the last page to those who watch, and ends; with `keep` when it is interrupted.
    pub(super) async fn end(
        self,
        keep: bool,
        stop: &Stop,
        watcher: &progress::Watcher,
        printer: Printer,
    ) {
        self.served.over.send_replace(true);
        if keep && self.served.run.get().is_some() {
            watcher.suspend(|| {
                printer.message(&format!("the page stays at {} until Ctrl-C", self.url));
            });
            stop.stopping().await;
        } else {
            let until = Instant::now() + FAREWELL;
            while self.served.watchers.load(Relaxed) > 0 && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.task.abort();
    }
}

async fn answer(State(served): State<Arc<Served>>, request: Request<Body>) -> Response<Body> {
    let mut response = served
        .answer(request.method(), request.uri().path(), request.headers())
        .await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    response
}

impl Served {
    async fn answer(
        self: &Arc<Self>,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Response<Body> {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        if !host.is_some_and(|host| self.hosts.iter().any(|own| own == host)) {
            let words = "This server answers to its own address only.";
            return text(StatusCode::FORBIDDEN, "text/plain", words);
        }
        if method != Method::GET {
            let words = "There is nothing here but to look at.";
            return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", words);
        }
        match path {
            "/" => text(StatusCode::OK, "text/html", SHELL),
            "/page.js" => text(StatusCode::OK, "text/javascript", report::SCRIPT),
            "/live.js" => text(StatusCode::OK, "text/javascript", SCRIPT),
            "/page" | "/events" if !self.knows(headers) => {
                let words =
                    "The token is missing or wrong: open the whole URL that stoker has printed.";
                text(StatusCode::UNAUTHORIZED, "text/plain", words)
            }
            "/page" => self.page().await,
            "/events" => Sse::new(events(Watching::new(self)))
                .keep_alive(KeepAlive::default())
                .into_response(),
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "There is nothing here.",
            ),
        }
    }

    /// Tells whether a request has the token. The time that this takes says nothing of the token.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let token = self.token.as_bytes();
        given.is_some_and(|given| {
            let differ = given.iter().zip(token).fold(0, |sum, (a, b)| sum | (a ^ b));
            given.len() == token.len() && differ == 0
        })
    }

    /// Returns the page of the run as it is now, or a moment ago.
    async fn page(&self) -> Response<Body> {
        let planning = "The sources are being read; nothing has been sent yet.";
        let run = self.run.get().filter(|run| run.journal().exists());
        let Some(run) = run.cloned() else {
            return text(StatusCode::ACCEPTED, "text/plain", planning);
        };
        let is_over = *self.over.borrow();
        let mut kept = self.page.lock().await;
        let now = Instant::now();
        if let Some((until, was_over, page)) = &*kept
            && (*until > now || *was_over)
            && *was_over == is_over
        {
            return text(StatusCode::OK, "text/html", page);
        }
        let made = tokio::task::spawn_blocking(move || {
            if is_over {
                let report = report::of(&run)?;
                report::page(&run, &report)
            } else {
                report::page_of_now(&run)
            }
        });
        match made.await {
            Ok(Ok(page)) => {
                let until = Instant::now() + now.elapsed() * SHARE;
                let answer = text(StatusCode::OK, "text/html", &page);
                *kept = Some((until, is_over, page));
                answer
            }
            Ok(Err(error)) => {
                let words = format!("The page cannot be made: {error}.");
                text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", &words)
            }
            Err(_) => {
                let words = "The page cannot be made: a task came to an end in its midst.";
                text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", words)
            }
        }
    }
}

/// One who watches, until it goes.
struct Watching {
    served: Arc<Served>,
    over: watch::Receiver<bool>,
    is_first: bool,
    was_told: bool,
}

impl Watching {
    fn new(served: &Arc<Served>) -> Self {
        served.watchers.fetch_add(1, Relaxed);
        Self {
            served: Arc::clone(served),
            over: served.over.subscribe(),
            is_first: true,
            was_told: false,
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.served.watchers.fetch_sub(1, Relaxed);
    }
}

/// Tells when to look again, and at last that the run is over.
fn events(watching: Watching) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(watching, |mut watching| async move {
        if watching.was_told {
            // Time to fetch the last page; who has it goes, and this ends with it.
            tokio::time::sleep(FAREWELL).await;
            return None;
        }
        if !watching.is_first {
            // The sender lives as long as the server.
            let _ = tokio::time::timeout(EVERY, watching.over.wait_for(|over| *over)).await;
        }
        watching.is_first = false;
        watching.was_told = *watching.over.borrow();
        let name = if watching.was_told { "over" } else { "changed" };
        Some((Ok(Event::default().event(name).data("look")), watching))
    })
}

fn text(status: StatusCode, kind: &str, body: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = status;
    if let Ok(kind) = http::HeaderValue::from_str(&format!("{kind}; charset=utf-8")) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
