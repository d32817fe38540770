//! Methods with a name of their own, behind a colon: access policies, metrics, the end of an operation.
//!
//! The store knows no users, so every policy is taken, and every permission is there.

use http::Method;
use rusqlite::params;

use super::app::App;
use super::google::{invalid, not_found, object, ok};
use super::json::{Json, Object};
use super::registry::{Registry, find};
use super::reply::{Refusal, Reply};
use super::route::{Route, dicom, hl7v2};
use super::stores;

/// Answers a method of a dataset, a store or an operation.
pub(super) async fn answer(
    app: &App,
    method: &Method,
    on: Route,
    verb: &str,
    body: &[u8],
) -> Result<Reply, Refusal> {
    let name = there(&app.registry(), &on)?;
    let is_operation = matches!(on, Route::Operation { .. });
    match (method, verb) {
        (&Method::GET, "getFHIRStoreMetrics") if matches!(on, Route::Store { .. }) => {
            metrics(app, &name).await
        }
        // Operations are done when they are answered.
        (&Method::POST, "cancel") if is_operation => Ok(ok(&Json::Object(Object::new()))),
        (&Method::GET, "getIamPolicy") if !is_operation => {
            let policy = app.registry().policies.get(&name).cloned();
            Ok(ok(&policy.unwrap_or_else(|| with_etag(Object::new()))))
        }
        (&Method::POST, "setIamPolicy") if !is_operation => {
            let request = object(body)?;
            let Some(Json::Object(policy)) = request.get("policy") else {
                return Err(invalid("the field policy is required"));
            };
            let policy = with_etag(policy.clone());
            app.registry_mut().policies.insert(name, policy.clone());
            Ok(ok(&policy))
        }
        (&Method::POST, "testIamPermissions") if !is_operation => {
            let request = object(body)?;
            Ok(ok(&match request.get("permissions") {
                Some(permissions @ Json::List(_)) => {
                    Json::object([("permissions", permissions.clone())])
                }
                _ => Json::Object(Object::new()),
            }))
        }
        (_, verb) => Err(Refusal::no_method(verb)),
    }
}

/// Returns the name of what a method is about, if it is there.
fn there(registry: &Registry, on: &Route) -> Result<String, Refusal> {
    match on {
        Route::Dataset { name } => registry.dataset(name).map(|_| name.clone()),
        Route::Store { dataset, name } => {
            registry.parent(dataset)?;
            registry.store(name).map(|_| name.clone())
        }
        Route::Operation { name } => registry.operation(name).map(|_| name.clone()),
        Route::Hl7v2(hl7v2::Path::Store { dataset, name }) => {
            find::<stores::hl7v2::Store>(registry, dataset, name).map(|_| name.clone())
        }
        Route::Dicom(dicom::Path::Store { dataset, name }) => {
            find::<stores::dicom::Store>(registry, dataset, name).map(|_| name.clone())
        }
        _ => Err(not_found()),
    }
}

/// A policy with the tag that clients send back when they change it.
fn with_etag(mut policy: Object) -> Json {
    policy.insert("etag".to_owned(), Json::text("ACAB"));
    policy
        .entry("version".to_owned())
        .or_insert_with(|| Json::Number("1".to_owned()));
    Json::Object(policy)
}

async fn metrics(app: &App, name: &str) -> Result<Reply, Refusal> {
    let store = app.registry().store(name)?;
    let key = store.key;
    let rows = app
        .database
        .read(move |connection| {
            let sql = "SELECT kind, sum(live), sum(bytes), sum(old) FROM (
                    SELECT kind, count(*) AS live, sum(octet_length(text)) AS bytes, 0 AS old
                        FROM resource WHERE store = ?1 GROUP BY kind
                    UNION ALL SELECT kind, 0, 0, ifnull(sum(octet_length(text)), 0)
                        FROM history WHERE store = ?1 GROUP BY kind)
                GROUP BY kind ORDER BY kind";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![key], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
            Ok(rows.collect::<Result<Vec<(String, i64, i64, i64)>, _>>()?)
        })
        .await?;
    let metrics = rows.into_iter().map(|(kind, count, bytes, old)| {
        Json::object([
            ("count", Json::Text(count.to_string())),
            ("resourceType", Json::Text(kind)),
            ("structuredStorageSizeBytes", Json::Text(bytes.to_string())),
            ("versionedStorageSizeBytes", Json::Text(old.to_string())),
        ])
    });
    let metrics = Json::List(metrics.collect());
    Ok(ok(&Json::object([
        ("metrics", metrics),
        ("name", Json::text(name)),
    ])))
}
