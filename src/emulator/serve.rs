//! The HTTP side: who may ask, and which part answers. Nobody uses it but who starts the server.

use std::sync::Arc;

use axum::body::Body;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::access;
use super::admin;
use super::app::App;
use super::body::{MAX_BODY, MAX_BUNDLE, check_media_type, read, shared};
use super::bundle;
use super::call::Call;
use super::dicom;
use super::fault::{self, Entries, Line};
use super::hl7v2;
use super::json::Json;
use super::leave::{EXPECTED, INSTANCE, LEAVING};
use super::listen;
use super::query::query;
use super::reply::{Refusal, Reply};
use super::route::{Route, fhir::FhirPath, route};
use super::single;

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
                let plain = |request, entries| plain(&app, request, entries);
                let answered = fault::answer(&app.access, &plain, faults, line, request).await;
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

/// Answers a request as the store does when nothing is wrong, but for the entries of a batch that shall fail.
async fn plain(app: &Arc<App>, request: Request<Body>, entries: Option<Entries>) -> Response<Body> {
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
