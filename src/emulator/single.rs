//! One FHIR interaction in one HTTP request.

use std::sync::Arc;

use http::header::{ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION};
use http::{Method, StatusCode};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::access;
use super::app::App;
use super::call::Call;
use super::capability;
use super::instant::Instant;
use super::interaction::{Done, Guard, Interaction, apply, names};
use super::json::Json;
use super::pages::{history, search};
use super::reply::{Refusal, Reply};
use super::resource::Resource;
use super::route::fhir::FhirPath;
use super::rows::{absent, current, ensure_present};
use super::search::Criteria;
use super::stores::fhir::Store;

/// Carries out a request other than a bundle.
pub(super) async fn answer(app: &App, call: Call) -> Result<Reply, Refusal> {
    let interaction = match (&call.method, &call.path) {
        (&Method::GET, FhirPath::Metadata) => {
            return Ok(Reply::fhir(
                StatusCode::OK,
                capability::statement(&call.store, &call.base).to_string(),
            ));
        }
        (&Method::GET, FhirPath::Kind(kind))
        | (&Method::GET | &Method::POST, FhirPath::Search(kind)) => {
            let kind = *kind;
            return search(app, call, kind).await;
        }
        (&Method::GET, FhirPath::Instance(..) | FhirPath::Version(..)) => {
            return read_one(app, call).await;
        }
        (&Method::GET, FhirPath::History(kind, id)) => {
            let (kind, id) = (*kind, id.clone());
            return history(app, call, kind, id).await;
        }
        (&Method::POST, FhirPath::Kind(kind)) => {
            call.check_media_type()?;
            let condition = call
                .header("if-none-exist")
                .map(Criteria::condition_text)
                .transpose()?;
            Interaction::Create {
                resource: Resource::parse(&call.body, Some(kind))?,
                condition,
            }
        }
        (&Method::PUT, FhirPath::Instance(kind, id)) => {
            call.check_media_type()?;
            let resource = Resource::parse(&call.body, Some(kind))?;
            if resource.id() != Some(id.as_str()) {
                return Err(Refusal::mismatch(id, resource.id().unwrap_or_default()));
            }
            Interaction::Update {
                resource,
                id: id.clone(),
                guard: guard(&call),
            }
        }
        (&Method::PUT, FhirPath::Kind(kind)) => {
            call.check_media_type()?;
            let resource = Resource::parse(&call.body, Some(kind))?;
            Interaction::UpdateWhere {
                resource,
                criteria: Criteria::condition(&call.query)?,
                guard: guard(&call),
            }
        }
        (&Method::PATCH, FhirPath::Instance(kind, id)) => Interaction::Patch {
            kind,
            id: id.clone(),
            patch: read_patch(&call)?,
            guard: guard(&call),
        },
        (&Method::PATCH, FhirPath::Kind(kind)) => {
            let criteria = Criteria::condition(&call.query)?;
            Interaction::PatchWhere {
                kind,
                criteria,
                patch: read_patch(&call)?,
                guard: guard(&call),
            }
        }
        (&Method::DELETE, FhirPath::Instance(kind, id)) => Interaction::Delete {
            kind,
            id: id.clone(),
            guard: guard(&call),
        },
        (&Method::DELETE, FhirPath::Kind(kind)) => Interaction::DeleteWhere {
            kind,
            criteria: Criteria::condition(&call.query)?,
        },
        (_, path) => return Err(refuse_path(path)),
    };
    let store = Arc::clone(&call.store);
    let done = app
        .database
        .write(move |session| {
            ensure_present(&session.connection, &store)?;
            apply(session, &store, interaction)
        })
        .await?;
    Ok(reply(&call.base, done))
}

/// Reads the conditions that a request sets on the current version.
fn guard(call: &Call) -> Guard {
    Guard::new(call.header(IF_MATCH), call.header(IF_NONE_MATCH))
}

/// Says why a path cannot be served.
pub(super) fn refuse_path(path: &FhirPath) -> Refusal {
    match path {
        FhirPath::BadKind(name) => Refusal::bad_kind(name),
        FhirPath::BadId(name) => Refusal::fhir(
            StatusCode::BAD_REQUEST,
            "value",
            "invalid_id",
            format!("invalid Id format: {name}"),
        ),
        FhirPath::Unsupported => {
            Refusal::not_offered("the local store does not offer this operation")
        }
        _ => Refusal::google(
            StatusCode::NOT_FOUND,
            "The requested URL was not found on this server.",
        ),
    }
}

fn read_patch(call: &Call) -> Result<Json, Refusal> {
    if access::essence(&call.headers) != "application/json-patch+json" {
        let text = "a patch must be application/json-patch+json";
        return Err(Refusal::unsupported(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            text,
        ));
    }
    Json::parse(&call.body).map_err(|error| Refusal::unparseable(format!("invalid JSON: {error}")))
}

/// Returns the URL of a version.
pub(super) fn location(base: &str, kind: &str, id: &str, version: Instant) -> String {
    format!("{base}/{kind}/{id}/_history/{}", version.version_id())
}

fn reply(base: &str, done: Done) -> Reply {
    let Some(version) = done.version else {
        return Reply::fhir(done.status, "{}".to_owned());
    };
    let location = location(base, done.kind, &done.id, version);
    versioned(Reply::fhir(done.status, done.text), version).header(LOCATION, location)
}

fn versioned(reply: Reply, version: Instant) -> Reply {
    reply
        .header(ETAG, version.etag())
        .header(LAST_MODIFIED, version.http_date())
}

/// Reads the resource, or the version, that a path names.
pub(super) fn read(
    connection: &Connection,
    store: &Store,
    path: &FhirPath,
) -> Result<(Instant, String), Refusal> {
    match path {
        FhirPath::Instance(kind, id) => match current(connection, store, kind, id)? {
            Some(current) => Ok((current.version, current.text)),
            None => Err(absent(connection, store, kind, id)?),
        },
        FhirPath::Version(kind, id, version) => {
            store.refuse_without_versions()?;
            let name = format!("{kind}/{id}/_history/{version}");
            let version =
                Instant::from_version_id(version).ok_or_else(|| Refusal::missing(&name))?;
            if let Some(current) = current(connection, store, kind, id)?
                && current.version == version
            {
                return Ok((version, current.text));
            }
            let sql = "SELECT text FROM history WHERE store = ?1 AND kind = ?2 AND id = ?3 AND version = ?4";
            let row = connection
                .prepare_cached(sql)?
                .query_row(params![store.key, kind, id, version.0], |row| {
                    row.get::<_, Option<String>>(0)
                });
            match row.optional()? {
                Some(Some(text)) => Ok((version, text)),
                Some(None) => Err(Refusal::gone(&name)),
                None => Err(Refusal::missing(&name)),
            }
        }
        other => Err(refuse_path(other)),
    }
}

async fn read_one(app: &App, call: Call) -> Result<Reply, Refusal> {
    let store = Arc::clone(&call.store);
    let path = call.path.clone();
    let (version, text) = app
        .database
        .read(move |connection| read(connection, &store, &path))
        .await?;
    let fresh = match call.header(IF_NONE_MATCH) {
        Some(tags) => names(tags, version),
        None => call
            .header(IF_MODIFIED_SINCE)
            .and_then(|text| httpdate::parse_http_date(text).ok())
            .and_then(|since| since.duration_since(std::time::UNIX_EPOCH).ok())
            .is_some_and(|since| {
                version.seconds() <= i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            }),
    };
    if fresh {
        return Ok(versioned(
            Reply::fhir(StatusCode::NOT_MODIFIED, String::new()),
            version,
        ));
    }
    Ok(versioned(Reply::fhir(StatusCode::OK, text), version))
}
