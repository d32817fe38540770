//! Which request is which: admission, limits, and the paths of the API.

use super::database::Database;
use super::error::{Failure, Reply};
use super::resource::{self, Headers, Place, Versions};
use super::{admin, bundle, search, validate};
use axum::extract::State;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use std::collections::HashMap;
use std::sync::Arc;

/// The API's limit for a bundle.
const BUNDLE_BYTES: usize = 50 * 1024 * 1024;

/// The API's limit for any other body of the FHIR API.
const RESOURCE_BYTES: usize = 10 * 1024 * 1024;

/// What every request needs.
pub(super) struct App {
    pub(super) database: Database,
    /// Scheme, host and port.
    pub(super) base: String,
    pub(super) token: Option<String>,
}

/// The server's one route.
pub(super) fn app(app: Arc<App>) -> axum::Router {
    axum::Router::new().fallback(handle).with_state(app)
}

async fn handle(State(app): State<Arc<App>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    match answer(&app, &parts, body).await {
        Ok(reply) => reply.into_response(),
        Err(failure) => failure.into_reply().into_response(),
    }
}

async fn answer(app: &App, parts: &Parts, body: axum::body::Body) -> Result<Reply, Failure> {
    admit(app, parts)?;
    let path: Vec<String> = parts
        .uri
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(decode)
        .collect();
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let unknown = || {
        Failure::google(
            StatusCode::NOT_FOUND,
            format!(
                "The requested URL was not found: {} {}",
                parts.method,
                parts.uri.path()
            ),
        )
    };
    let [
        version @ ("v1" | "v1beta1"),
        "projects",
        project,
        "locations",
        location,
        rest @ ..,
    ] = words.as_slice()
    else {
        return Err(unknown());
    };
    let parent = format!("projects/{project}/locations/{location}");
    if let ["datasets", dataset, "fhirStores", store, "fhir", fhir @ ..] = rest {
        let name = format!("{parent}/datasets/{dataset}/fhirStores/{store}");
        let place = Place {
            base: format!("{}/{version}/{name}/fhir", app.base),
            name,
        };
        return serve_fhir(app, parts, body, place, fhir).await;
    }
    let request = admin::Request {
        method: parts.method.clone(),
        parent,
        path: rest.iter().map(|word| (*word).to_owned()).collect(),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes())
            .into_owned()
            .collect::<HashMap<_, _>>(),
        body: collect(body, RESOURCE_BYTES).await?,
    };
    if request.method == Method::GET {
        app.database
            .read(move |db| admin::answer(db, &request))
            .await
    } else {
        app.database
            .write(move |db| admin::answer(db, &request))
            .await
    }
}

/// Refuses requests of other machines' pages (by the host they name) and of those without the token.
fn admit(app: &App, parts: &Parts) -> Result<(), Failure> {
    let host = text(&parts.headers, header::HOST)
        .or_else(|| {
            parts
                .uri
                .authority()
                .map(|authority| authority.as_str().to_owned())
        })
        .unwrap_or_default();
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host.as_str(), |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let local = name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    if !local {
        return Err(Failure::google(
            StatusCode::FORBIDDEN,
            "the local store answers to loopback hosts only",
        ));
    }
    if let Some(token) = &app.token {
        let given = text(&parts.headers, header::AUTHORIZATION).unwrap_or_default();
        let given = given
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or("", |(_, token)| token.trim());
        if !same(given.as_bytes(), token.as_bytes()) {
            return Err(Failure::google(
                StatusCode::UNAUTHORIZED,
                "Request had invalid authentication credentials: the local store wants its bearer token.",
            ));
        }
    }
    Ok(())
}

/// Compares in time that depends on the lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

async fn serve_fhir(
    app: &App,
    parts: &Parts,
    body: axum::body::Body,
    place: Place,
    path: &[&str],
) -> Result<Reply, Failure> {
    let db = &app.database;
    let query = parts.uri.query().unwrap_or("");
    let headers = headers(&parts.headers);
    if let [kind, ..] = path
        && *kind != "metadata"
    {
        validate::kind(kind)?;
    }
    match (&parts.method, path) {
        (&Method::POST, []) => bundle::answer(db, place, &collect(body, BUNDLE_BYTES).await?).await,
        (&Method::GET, ["metadata"]) => search::capabilities(db, place).await,
        (&Method::GET, [kind]) => {
            search::answer(db, place, kind, query, strict(&parts.headers)).await
        }
        (&Method::POST, [kind, "_search"]) => {
            let body = collect(body, RESOURCE_BYTES).await?;
            let form = String::from_utf8_lossy(&body);
            let both = [query, form.as_ref()]
                .into_iter()
                .filter(|q| !q.is_empty())
                .collect::<Vec<_>>()
                .join("&");
            search::answer(db, place, kind, &both, strict(&parts.headers)).await
        }
        (&Method::POST, [kind]) => {
            resource::post(
                db,
                place,
                kind,
                &headers,
                &collect(body, RESOURCE_BYTES).await?,
            )
            .await
        }
        (&Method::PUT, [kind, id]) => {
            resource::put_one(
                db,
                place,
                kind,
                id,
                headers,
                &collect(body, RESOURCE_BYTES).await?,
            )
            .await
        }
        (&Method::PUT, [kind]) => {
            let body = collect(body, RESOURCE_BYTES).await?;
            resource::put_where(db, place, (*kind).to_owned(), query, headers, &body).await
        }
        (&Method::DELETE, [kind, id]) => {
            resource::delete(db, place, (*kind).to_owned(), Some((*id).to_owned()), "").await
        }
        (&Method::DELETE, [kind]) => {
            resource::delete(db, place, (*kind).to_owned(), None, query).await
        }
        (&Method::GET, [kind, id]) => {
            resource::get(
                db,
                place,
                (*kind).to_owned(),
                (*id).to_owned(),
                resource::Asked::Current,
                headers,
            )
            .await
        }
        (&Method::GET, [kind, id, "_history"]) => {
            resource::get(
                db,
                place,
                (*kind).to_owned(),
                (*id).to_owned(),
                resource::Asked::All,
                headers,
            )
            .await
        }
        (&Method::GET, [kind, id, "_history", version]) => {
            let version = resource::Asked::One((*version).to_owned());
            resource::get(
                db,
                place,
                (*kind).to_owned(),
                (*id).to_owned(),
                version,
                headers,
            )
            .await
        }
        (method, _) => Err(Failure::google(
            StatusCode::NOT_FOUND,
            format!("the local store has no FHIR method {method} on this path"),
        )),
    }
}

fn headers(headers: &HeaderMap) -> Headers {
    Headers {
        versions: Versions {
            if_match: text(headers, header::IF_MATCH),
            if_none_match: text(headers, header::IF_NONE_MATCH),
        },
        if_none_exist: text(headers, header::HeaderName::from_static("if-none-exist")),
    }
}

fn strict(headers: &HeaderMap) -> Option<bool> {
    let prefer = text(headers, header::HeaderName::from_static("prefer"))?;
    if prefer.contains("handling=strict") {
        Some(true)
    } else if prefer.contains("handling=lenient") {
        Some(false)
    } else {
        None
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

async fn collect(body: axum::body::Body, limit: usize) -> Result<Vec<u8>, Failure> {
    use futures::StreamExt as _;
    let mut whole = Vec::new();
    let mut stream = body.into_data_stream();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|_| {
            Failure::google(StatusCode::BAD_REQUEST, "the request's body ended early")
        })?;
        if whole.len() + part.len() > limit {
            return Err(Failure::google(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("Request payload size exceeds the limit: {limit} bytes."),
            ));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

/// Percent-decodes a path segment, where `+` is itself.
fn decode(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    let form = segment
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    url::form_urlencoded::parse(form.as_bytes())
        .next()
        .map(|(name, _)| name.into_owned())
        .unwrap_or_default()
}
