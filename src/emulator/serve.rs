//! The HTTP side: who may ask, how much, and which part answers.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use futures::StreamExt as _;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::Url;

use super::admin;
use super::database::Database;
use super::fault::{self, Entries, Faults, Line};
use super::json::Json;
use super::registry::Registry;
use super::reply::{Refusal, Reply};
use super::route::{FhirPath, Route, query, route};
use super::single::{self, Call};
use super::{Token, bundle};

/// Google's limit of an executeBundle request (50 MB).
pub(super) const MAX_BUNDLE: usize = 50 << 20;
/// Google's limit of any other FHIR request (10 MB).
const MAX_BODY: usize = 10 << 20;
/// How much of an oversize body is read and thrown away, so that the client gets to read the answer.
const MAX_DRAIN: usize = 1 << 30;

/// What all requests share.
#[derive(Debug)]
pub(super) struct App {
    root: String,
    token: Option<Token>,
    instance: String,
    pub(super) database: Arc<Database>,
    registry: RwLock<Registry>,
    faults: Option<Arc<Faults>>,
    pub(super) administration: tokio::sync::Mutex<()>,
}

impl App {
    pub(super) fn new(
        url: &Url,
        token: Option<String>,
        instance: String,
        database: Database,
        registry: Registry,
        faults: Option<Arc<Faults>>,
    ) -> Self {
        Self {
            root: url.as_str().trim_end_matches('/').to_owned(),
            token: token.map(Token),
            instance,
            database: Arc::new(database),
            registry: RwLock::new(registry),
            faults,
            administration: tokio::sync::Mutex::new(()),
        }
    }

    /// Returns the registry for reading; never held across a wait.
    pub(super) fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns the registry for writing; never held across a wait.
    pub(super) fn registry_mut(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Checks who asks: only this machine (a page in a browser that had its name bound to 127.0.0.1 names another
    /// host), and only with the token, if there is one.
    pub(super) fn admit(&self, request: &Request<Body>) -> Result<(), Refusal> {
        let header = |name| {
            request
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap_or_default())
        };
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        let hosts = [authority, header(HOST)];
        if hosts.iter().all(Option::is_none)
            || hosts.iter().flatten().any(|host| !is_loopback(host))
        {
            return Err(Refusal::google(
                StatusCode::FORBIDDEN,
                "the local store answers requests to this machine's loopback names only",
            ));
        }
        let Some(token) = &self.token else {
            return Ok(());
        };
        let given = header(AUTHORIZATION).and_then(|text| text.split_once(' '));
        match given {
            Some((scheme, given))
                if scheme.eq_ignore_ascii_case("bearer") && same(given.trim(), token.expose()) =>
            {
                Ok(())
            }
            _ => Err(Refusal::google(
                StatusCode::UNAUTHORIZED,
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.",
            )),
        }
    }
}

/// Tells whether a host, with or without a port, is a name of this machine's loopback.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
}

/// Compares secrets in a time that depends on their length only.
fn same(left: &str, right: &str) -> bool {
    left.len() == right.len()
        && left
            .bytes()
            .zip(right.bytes())
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

/// Serves until told to quit, or until the one who could tell is gone.
pub(super) async fn serve(listener: TcpListener, app: Arc<App>, mut quit: watch::Receiver<bool>) {
    let faults = app.faults.clone();
    let router = Router::new().fallback(handle).with_state(app);
    let quit = async move {
        // An error means that the sender is gone.
        let _ = quit.wait_for(|quit| *quit).await;
    };
    let served = match faults {
        None => {
            axum::serve(listener, router)
                .with_graceful_shutdown(quit)
                .await
        }
        Some(faults) => match fault::Listener::new(listener, faults) {
            Ok(listener) => {
                let router = router.into_make_service_with_connect_info::<Line>();
                axum::serve(listener, router)
                    .with_graceful_shutdown(quit)
                    .await
            }
            Err(error) => Err(error),
        },
    };
    if let Err(error) = served {
        tracing::error!(%error, "the local store stopped listening");
    }
}

async fn handle(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    let line = request.extensions().get::<ConnectInfo<Line>>();
    match (&app.faults, line.cloned()) {
        (Some(faults), Some(ConnectInfo(line))) => {
            let answered = fault::answer(&app, faults, &line, request).await;
            answered.unwrap_or_else(|refusal| refusal.into_reply().into_response())
        }
        _ => plain(&app, request, None).await,
    }
}

/// Answers a request as the store does when nothing is wrong, but for the entries of a batch that shall fail.
pub(super) async fn plain(
    app: &Arc<App>,
    request: Request<Body>,
    entries: Option<Entries>,
) -> Response<Body> {
    let reply = match answer(app, request, entries).await {
        Ok(reply) => reply,
        Err(refusal) => refusal.into_reply(),
    };
    reply.into_response()
}

async fn answer(
    app: &Arc<App>,
    request: Request<Body>,
    entries: Option<Entries>,
) -> Result<Reply, Refusal> {
    app.admit(&request)?;
    let (parts, body) = request.into_parts();
    let route = route(parts.uri.path())?;
    let query = query(parts.uri.query().unwrap_or_default());
    match route {
        Route::Root if parts.method == Method::GET => {
            let about = Json::object([
                ("instance", Json::text(app.instance.as_str())),
                ("name", Json::text("stoker local store")),
                ("pid", Json::Number(std::process::id().to_string())),
                ("version", Json::text(env!("CARGO_PKG_VERSION"))),
            ]);
            Ok(Reply::admin(StatusCode::OK, &about))
        }
        Route::Fhir {
            version,
            store: name,
            path,
        } => {
            let store = app.registry().store(&name)?;
            let is_bundle = path == FhirPath::Base && parts.method == Method::POST;
            let body = read(body, if is_bundle { MAX_BUNDLE } else { MAX_BODY }).await?;
            let base = format!("{}/{version}/{name}/fhir", app.root);
            let call = Call {
                method: parts.method,
                store,
                base,
                path,
                query,
                headers: parts.headers,
                body,
                entries,
            };
            if is_bundle {
                bundle::answer(app, call).await
            } else {
                single::answer(app, call).await
            }
        }
        route => {
            let body = read(body, MAX_BODY).await?;
            admin::answer(app, &parts.method, route, &query, &body).await
        }
    }
}

/// Reads a body of limited size.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let mut stream = body.into_data_stream();
    let mut first: Option<Bytes> = None;
    let mut rest: Vec<u8> = Vec::new();
    let mut size = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| {
            Refusal::google(StatusCode::BAD_REQUEST, "the request's body ended early")
        })?;
        size += chunk.len();
        if size > limit {
            first = None;
            rest = Vec::new();
            if size > MAX_DRAIN {
                break;
            }
        } else if first.is_none() && rest.is_empty() {
            first = Some(chunk);
        } else {
            if let Some(first) = first.take() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
    }
    if size > limit {
        let message = format!("Request payload size exceeds the limit: {limit} bytes.");
        return Err(Refusal::google(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(first.unwrap_or_else(|| Bytes::from(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost:1",
            "LOCALHOST",
            "[::1]",
            "[::1]:8080",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil:80",
            "10.0.0.1",
            "evil@localhost",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
