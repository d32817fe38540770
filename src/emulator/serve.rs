//! The HTTP side: who may ask, how much, and which part answers.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::StreamExt as _;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use url::Url;

use super::access::{self, Access};
use super::admin;
use super::bundle;
use super::database::Database;
use super::dicom;
use super::fault::{self, Entries, Faults, Line};
use super::hl7v2;
use super::json::Json;
use super::leave::{EXPECTED, INSTANCE, LEAVING, Leaving};
use super::listen;
use super::registry::Registry;
use super::reply::{Refusal, Reply};
use super::route::{FhirPath, Route, query, route};
use super::single::{self, Call};

/// Google's limit of an executeBundle request (50 MB).
pub(super) const MAX_BUNDLE: usize = 50 << 20;
/// Google's limit of any other FHIR request (10 MB).
const MAX_BODY: usize = 10 << 20;
/// How much of a body that nobody wants is read and thrown away, so that the client gets to read the answer: beyond it the
/// connection is closed, and says so.
const MAX_DRAIN: usize = 1 << 30;
/// How long that may take.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a body may take between two parts of it.
const PART: Duration = Duration::from_secs(20);
/// How long a whole body may take.
const WHOLE: Duration = Duration::from_mins(5);

/// What all requests share.
#[derive(Debug)]
pub(super) struct App {
    root: String,
    pub(super) access: Access,
    instance: String,
    leaving: Arc<Leaving>,
    pub(super) database: Arc<Database>,
    registry: RwLock<Registry>,
    faults: Option<Arc<Faults>>,
    pub(super) administration: tokio::sync::Mutex<()>,
}

impl App {
    pub(super) fn new(
        url: &Url,
        access: Access,
        instance: String,
        leaving: Arc<Leaving>,
        database: Database,
        registry: Registry,
        faults: Option<Arc<Faults>>,
    ) -> Self {
        Self {
            root: url.as_str().trim_end_matches('/').to_owned(),
            access,
            instance,
            leaving,
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
}

/// Serves until told to quit, or until the one who could tell is gone.
pub(super) async fn serve(listener: TcpListener, app: Arc<App>, quit: watch::Receiver<bool>) {
    match app.faults.clone() {
        None => {
            let answer = move |_, request| handle(Arc::clone(&app), None, request);
            listen::serve(listener, quit, answer).await;
        }
        Some(faults) => match fault::Listener::new(listener, faults) {
            Ok(listener) => {
                let answer =
                    move |line: Line, request| handle(Arc::clone(&app), Some(line), request);
                listen::serve(listener, quit, answer).await;
            }
            Err(error) => tracing::error!(%error, "the local store cannot listen"),
        },
    }
}

/// Answers a request, and sees to it that the next one on its connection is not lost.
async fn handle(app: Arc<App>, line: Option<Line>, request: Request<Body>) -> Response<Body> {
    let version = request.version();
    let waits = request.headers().contains_key(EXPECT);
    let origin = app.access.named_origin(request.headers());
    let too_late = app.leaving.hear(request.headers());
    let expected = request.headers().get(EXPECTED);
    let is_meant = expected.is_none_or(|expected| expected == app.instance.as_str());
    let (parts, body) = request.into_parts();
    let (body, rest) = shared(body);
    let request = Request::from_parts(parts, body);
    let mut response = if too_late {
        let refusal = Refusal::google(
            StatusCode::SERVICE_UNAVAILABLE,
            "the local store is about to end",
        );
        refusal.into_reply().into_response()
    } else if !is_meant {
        let refusal = Refusal::google(
            StatusCode::MISDIRECTED_REQUEST,
            "this is not the server that the request is for",
        );
        refusal.into_reply().into_response()
    } else if origin.is_some() && access::is_preflight(&request) {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        match (&app.faults, &line) {
            (Some(faults), Some(line)) => {
                let answered = fault::answer(&app, faults, line, request).await;
                answered.unwrap_or_else(|refusal| refusal.into_reply().into_response())
            }
            _ => plain(&app, request, None).await,
        }
    };
    let is_read = rest.drain(waits).await;
    let headers = response.headers_mut();
    if version < Version::HTTP_2 && (too_late || !is_read) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if too_late {
        headers.insert(LEAVING, HeaderValue::from_static("yes"));
    }
    if let Ok(instance) = HeaderValue::from_str(&app.instance) {
        headers.insert(INSTANCE, instance);
    }
    if let Some(origin) = origin {
        access::expose(headers, origin);
    }
    response
}

/// What is left of a request's body once it has been answered.
struct Rest(Arc<tokio::sync::Mutex<axum::body::BodyDataStream>>);

/// Splits a body in two: one for who answers, one for what that leaves of it.
fn shared(body: Body) -> (Body, Rest) {
    if hyper::body::Body::is_end_stream(&body) {
        let empty = Body::empty().into_data_stream();
        return (body, Rest(Arc::new(tokio::sync::Mutex::new(empty))));
    }
    let stream = Arc::new(tokio::sync::Mutex::new(body.into_data_stream()));
    let rest = Rest(Arc::clone(&stream));
    let chunks = futures::stream::unfold(stream, async |stream| {
        let chunk = stream.lock().await.next().await?;
        Some((chunk, stream))
    });
    (Body::from_stream(chunks), rest)
}

impl Rest {
    /// Reads what is left, and tells whether that is now all of it. A client that waits for leave to send its body will not
    /// send it.
    async fn drain(&self, waits: bool) -> bool {
        let mut stream = self.0.lock().await;
        let mut size = 0;
        let drained = async {
            while size <= MAX_DRAIN {
                match stream.next().await {
                    None => return true,
                    Some(Ok(chunk)) => size += chunk.len(),
                    Some(Err(_)) => return false,
                }
            }
            false
        };
        if waits {
            return futures::FutureExt::now_or_never(drained).unwrap_or(false);
        }
        tokio::time::timeout(DRAIN, drained).await.unwrap_or(false)
    }
}

/// Answers a request as the store does when nothing is wrong, but for the entries of a batch that shall fail.
pub(super) async fn plain(
    app: &Arc<App>,
    request: Request<Body>,
    entries: Option<Entries>,
) -> Response<Body> {
    let answered = answer(app, request, entries).await;
    answered.unwrap_or_else(|refusal| refusal.into_reply().into_response())
}

async fn answer(
    app: &Arc<App>,
    request: Request<Body>,
    entries: Option<Entries>,
) -> Result<Response<Body>, Refusal> {
    app.access.admit(&request)?;
    let (parts, body) = request.into_parts();
    let (version, route) = route(parts.uri.path())?;
    let query = query(parts.uri.query().unwrap_or_default());
    match route {
        Route::Root if parts.method == Method::GET => {
            let about = Json::object([
                ("instance", Json::text(app.instance.as_str())),
                ("name", Json::text("stoker local store")),
                ("pid", Json::Number(std::process::id().to_string())),
                ("version", Json::text(env!("CARGO_PKG_VERSION"))),
            ]);
            Ok(Reply::admin(StatusCode::OK, &about).into_response())
        }
        Route::Fhir { store: name, path } => {
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
            let answered = if is_bundle {
                bundle::answer(app, call).await
            } else {
                single::answer(app, call).await
            };
            answered.map(Reply::into_response)
        }
        Route::Dicom(path) => {
            let call = dicom::Call {
                method: parts.method,
                path,
                query,
                headers: parts.headers,
                body,
                entries,
                root: format!("{}/{version}", app.root),
                version,
            };
            dicom::answer(app, call).await
        }
        Route::Hl7v2(path) => {
            let body = read(body, hl7v2::MAX_REQUEST).await?;
            check_media_type(&parts.headers, &body)?;
            let answered = hl7v2::answer(app, &parts.method, path, &query, &body).await;
            answered.map(|reply| reply.of_version(version).into_response())
        }
        route => {
            let body = read(body, MAX_BODY).await?;
            check_media_type(&parts.headers, &body)?;
            let answered = admin::answer(app, &parts.method, route, &query, &body).await;
            answered.map(|reply| reply.of_version(version).into_response())
        }
    }
}

/// Refuses a body that does not say that it is JSON.
pub(super) fn check_media_type(headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    if body.is_empty() || access::is_json(headers) {
        return Ok(());
    }
    Err(Refusal::google(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "a body must be sent as Content-Type: application/json",
    ))
}

/// Waits for the next piece of a body; not for ever.
pub(super) async fn piece<S, E>(stream: &mut S) -> Result<Option<Bytes>, Refusal>
where
    S: futures::Stream<Item = Result<Bytes, E>> + Unpin,
{
    let next = tokio::time::timeout(PART, stream.next());
    let next = next.await.map_err(|_| too_slow())?;
    next.transpose().map_err(|_| ended_early())
}

fn too_slow() -> Refusal {
    Refusal::google(
        StatusCode::REQUEST_TIMEOUT,
        "the request's body took too long to come",
    )
}

fn ended_early() -> Refusal {
    Refusal::google(StatusCode::BAD_REQUEST, "the request's body ended early")
}

/// Reads a body of any size to its end, and keeps nothing of it.
pub(super) async fn discard(body: Body) -> Result<(), Refusal> {
    let mut stream = body.into_data_stream();
    while piece(&mut stream).await?.is_some() {}
    Ok(())
}

/// Reads a body of limited size, in limited time.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let mut stream = body.into_data_stream();
    let mut first: Option<Bytes> = None;
    let mut rest: Vec<u8> = Vec::new();
    let mut size = 0;
    let until = Instant::now() + WHOLE;
    loop {
        let next = tokio::time::timeout_at(until.min(Instant::now() + PART), stream.next());
        let Some(chunk) = next.await.map_err(|_| too_slow())? else {
            break;
        };
        let chunk = chunk.map_err(|_| ended_early())?;
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
