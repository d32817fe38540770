//! Datasets, operations, FHIR stores and their counts: the admin half of the API.

use super::error::{Failure, Reply};
use http::{Method, StatusCode};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The fields of a `FhirStore` a client may set (discovery document v1 and v1beta1).
const FIELDS: &[&str] = &[
    "bulkExportGcsDestination",
    "complexDataTypeReferenceParsing",
    "consentConfig",
    "defaultSearchHandlingStrict",
    "disableReferentialIntegrity",
    "disableResourceVersioning",
    "enableHistoryModifications",
    "enableUpdateCreate",
    "labels",
    "notificationConfig",
    "notificationConfigs",
    "searchConfig",
    "streamConfigs",
    "validationConfig",
    "version",
];

/// The fields that cannot be changed after creation.
const FIXED: &[&str] = &[
    "disableReferentialIntegrity",
    "disableResourceVersioning",
    "version",
    "name",
];

/// One admin request: the segments after `projects/{p}/locations/{l}`, decoded.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// `projects/{p}/locations/{l}`.
    pub(super) parent: String,
    pub(super) path: Vec<String>,
    pub(super) query: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    fn object(&self) -> Result<Map<String, Value>, Failure> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| bad(format!("Invalid JSON payload received. {error}")))
    }

    fn id(&self, name: &str) -> Result<&str, Failure> {
        let id = self.query.get(name).map_or("", String::as_str);
        let fits = (1..=256).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if fits {
            Ok(id)
        } else {
            Err(bad(format!(
                "{name} must be 1 to 256 letters, digits, '_', '-' or '.'"
            )))
        }
    }
}

fn bad(message: impl Into<String>) -> Failure {
    Failure::google(StatusCode::BAD_REQUEST, message)
}

fn ok(body: &Value) -> Reply {
    Reply::json(StatusCode::OK, body)
}

fn missing(what: &str, name: &str) -> Failure {
    Failure::google(StatusCode::NOT_FOUND, format!("{what} not found: {name}"))
}

/// Answers an admin request.
pub(super) fn answer(db: &Connection, request: &Request) -> Result<Reply, Failure> {
    let parent = &request.parent;
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (&request.method, path.as_slice()) {
        (&Method::POST, ["datasets"]) => create_dataset(db, request),
        (&Method::GET, ["datasets"]) => list(
            db,
            request,
            "datasets",
            "SELECT name, body FROM datasets WHERE name >= ?1 || '/datasets/' AND name < ?1 || '/datasets0' AND name > ?2 ORDER BY name LIMIT ?3",
            parent,
        ),
        (&Method::GET, ["datasets", d]) => one(
            db,
            "dataset",
            "SELECT body FROM datasets WHERE name = ?",
            &format!("{parent}/datasets/{d}"),
        ),
        (&Method::DELETE, ["datasets", d]) => delete_dataset(db, &format!("{parent}/datasets/{d}")),
        (method, ["datasets", d, rest @ ..]) => {
            let dataset = format!("{parent}/datasets/{d}");
            match (method, rest) {
                (&Method::GET, ["operations", o]) => one(
                    db,
                    "operation",
                    "SELECT body FROM operations WHERE name = ?",
                    &format!("{dataset}/operations/{o}"),
                ),
                (&Method::GET, ["operations"]) => list(
                    db,
                    request,
                    "operations",
                    "SELECT name, body FROM operations WHERE dataset = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
                    &dataset,
                ),
                (&Method::POST, ["fhirStores"]) => create_store(db, request, &dataset),
                (&Method::GET, ["fhirStores"]) => {
                    one(
                        db,
                        "dataset",
                        "SELECT body FROM datasets WHERE name = ?",
                        &dataset,
                    )?;
                    list(
                        db,
                        request,
                        "fhirStores",
                        "SELECT name, body FROM stores WHERE dataset = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
                        &dataset,
                    )
                }
                (method, ["fhirStores", f]) => store(db, request, method, &dataset, f),
                _ => Err(unknown(request)),
            }
        }
        _ => Err(unknown(request)),
    }
}

fn unknown(request: &Request) -> Failure {
    Failure::google(
        StatusCode::NOT_FOUND,
        format!(
            "the local store has no method {} {}/{}",
            request.method,
            request.parent,
            request.path.join("/")
        ),
    )
}

fn body(db: &Connection, what: &str, sql: &str, name: &str) -> Result<Value, Failure> {
    let found: Option<String> = db
        .prepare_cached(sql)?
        .query_row([name], |row| row.get(0))
        .optional()?;
    let found = found.ok_or_else(|| missing(what, name))?;
    Ok(serde_json::from_str(&found).unwrap_or_default())
}

fn one(db: &Connection, what: &str, sql: &str, name: &str) -> Result<Reply, Failure> {
    Ok(ok(&body(db, what, sql, name)?))
}

/// Answers a list, paged by name; the token is the last name of the page before.
fn list(
    db: &Connection,
    request: &Request,
    field: &str,
    sql: &str,
    parent: &str,
) -> Result<Reply, Failure> {
    let size = match request
        .query
        .get("pageSize")
        .map(|size| size.parse::<usize>())
    {
        None | Some(Ok(0)) => 100,
        Some(Ok(size)) => size.min(1000),
        Some(Err(_)) => return Err(bad("pageSize must be a number")),
    };
    let after = request.query.get("pageToken").map_or("", String::as_str);
    let mut rows: Vec<(String, String)> = db
        .prepare_cached(sql)?
        .query_map(
            params![parent, after, i64::try_from(size + 1).unwrap_or(i64::MAX)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .collect::<Result<_, _>>()?;
    let more = rows.len() > size;
    rows.truncate(size);
    let mut answer = Map::new();
    if let Some((name, _)) = rows.last().filter(|_| more) {
        answer.insert("nextPageToken".into(), name.clone().into());
    }
    let all = rows
        .iter()
        .map(|(_, body)| serde_json::from_str(body).unwrap_or_default());
    answer.insert(field.into(), Value::Array(all.collect()));
    Ok(ok(&Value::Object(answer)))
}

fn exists(db: &Connection, sql: &str, name: &str) -> Result<bool, Failure> {
    Ok(db.prepare_cached(sql)?.exists([name])?)
}

/// Creates a dataset. The answer is an operation still running, as the API's is; the next look finds it done.
fn create_dataset(db: &Connection, request: &Request) -> Result<Reply, Failure> {
    let name = format!("{}/datasets/{}", request.parent, request.id("datasetId")?);
    if exists(db, "SELECT 1 FROM datasets WHERE name = ?", &name)? {
        return Err(Failure::google(
            StatusCode::CONFLICT,
            format!("already exists: {name}"),
        ));
    }
    let mut dataset = request.object()?;
    dataset.retain(|field, _| matches!(field.as_str(), "timeZone" | "encryptionSpec"));
    dataset.insert("name".into(), name.clone().into());
    let now = jiff::Timestamp::now().to_string();
    let operation = format!("{name}/operations/{}", uuid::Uuid::new_v4().as_u128() >> 65);
    let metadata = json!({
        "@type": "type.googleapis.com/google.cloud.healthcare.v1.OperationMetadata",
        "apiMethodName": "google.cloud.healthcare.v1.dataset.DatasetService.CreateDataset",
        "createTime": now,
    });
    let mut response = dataset.clone();
    response.insert(
        "@type".into(),
        "type.googleapis.com/google.cloud.healthcare.v1.dataset.Dataset".into(),
    );
    let mut ended = metadata.clone();
    ended["endTime"] = now.into();
    let done = json!({"name": operation, "metadata": ended, "done": true, "response": response});
    db.prepare_cached("INSERT INTO datasets (name, body) VALUES (?, ?)")?
        .execute(params![name, Value::Object(dataset).to_string()])?;
    db.prepare_cached("INSERT INTO operations (name, dataset, body) VALUES (?, ?, ?)")?
        .execute(params![operation, name, done.to_string()])?;
    Ok(ok(&json!({"name": operation, "metadata": metadata})))
}

fn delete_dataset(db: &Connection, name: &str) -> Result<Reply, Failure> {
    body(
        db,
        "dataset",
        "SELECT body FROM datasets WHERE name = ?",
        name,
    )?;
    let keys: Vec<i64> = db
        .prepare_cached("SELECT key FROM stores WHERE dataset = ?")?
        .query_map([name], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for key in keys {
        drop_store(db, key)?;
    }
    db.prepare_cached("DELETE FROM operations WHERE dataset = ?")?
        .execute([name])?;
    db.prepare_cached("DELETE FROM datasets WHERE name = ?")?
        .execute([name])?;
    Ok(ok(&json!({})))
}

fn drop_store(db: &Connection, key: i64) -> Result<(), Failure> {
    for sql in [
        "DELETE FROM resources WHERE store = ?",
        "DELETE FROM history WHERE store = ?",
        "DELETE FROM identifiers WHERE store = ?",
        "DELETE FROM tags WHERE store = ?",
        "DELETE FROM stores WHERE key = ?",
    ] {
        db.prepare_cached(sql)?.execute([key])?;
    }
    Ok(())
}

fn create_store(db: &Connection, request: &Request, dataset: &str) -> Result<Reply, Failure> {
    let name = format!("{dataset}/fhirStores/{}", request.id("fhirStoreId")?);
    if !exists(db, "SELECT 1 FROM datasets WHERE name = ?", dataset)? {
        return Err(Failure::google(
            StatusCode::FORBIDDEN,
            format!("Permission denied on resource {dataset} (or it may not exist)."),
        ));
    }
    if exists(db, "SELECT 1 FROM stores WHERE name = ?", &name)? {
        return Err(Failure::google(
            StatusCode::CONFLICT,
            format!("already exists: {name}"),
        ));
    }
    let mut store = request.object()?;
    known(&store)?;
    store.remove("name");
    match store.get("version").and_then(Value::as_str) {
        Some("R4") => {}
        None => return Err(bad("FHIR version must be specified")),
        Some(other @ ("DSTU2" | "STU3" | "R5")) => {
            return Err(bad(format!(
                "the local store keeps FHIR R4 only, not {other}; create the store with version R4"
            )));
        }
        Some(_) => return Err(bad("version must be one of DSTU2, STU3, R4, R5")),
    }
    store.insert("name".into(), name.clone().into());
    let body = Value::Object(store);
    db.prepare_cached("INSERT INTO stores (name, dataset, body) VALUES (?, ?, ?)")?
        .execute(params![name, dataset, body.to_string()])?;
    Ok(ok(&body))
}

fn known(store: &Map<String, Value>) -> Result<(), Failure> {
    match store
        .keys()
        .find(|field| *field != "name" && !FIELDS.contains(&field.as_str()))
    {
        Some(field) => Err(bad(format!(
            "Invalid JSON payload received. Unknown name \"{field}\" at 'fhir_store': Cannot find field."
        ))),
        None => Ok(()),
    }
}

fn store(
    db: &Connection,
    request: &Request,
    method: &Method,
    dataset: &str,
    segment: &str,
) -> Result<Reply, Failure> {
    const FIND: &str = "SELECT body FROM stores WHERE name = ?";
    let (id, verb) = segment
        .split_once(':')
        .map_or((segment, None), |(id, verb)| (id, Some(verb)));
    let name = format!("{dataset}/fhirStores/{id}");
    if *method == Method::DELETE && !exists(db, "SELECT 1 FROM datasets WHERE name = ?", dataset)? {
        return Err(Failure::google(
            StatusCode::FORBIDDEN,
            format!("Permission denied on resource {dataset} (or it may not exist)."),
        ));
    }
    let found = body(db, "FHIR store", FIND, &name)?;
    let key: i64 = db
        .prepare_cached("SELECT key FROM stores WHERE name = ?")?
        .query_row([&name], |row| row.get(0))?;
    match (method, verb) {
        (&Method::GET, None) => Ok(ok(&found)),
        (&Method::GET, Some("getFHIRStoreMetrics")) => metrics(db, key, &name),
        (&Method::DELETE, None) => {
            drop_store(db, key)?;
            Ok(ok(&json!({})))
        }
        (&Method::PATCH, None) => patch(db, request, key, found),
        _ => Err(Failure::google(
            StatusCode::NOT_IMPLEMENTED,
            format!("the local store does not do {method} {segment}"),
        )),
    }
}

fn patch(db: &Connection, request: &Request, key: i64, mut store: Value) -> Result<Reply, Failure> {
    let change = request.object()?;
    known(&change)?;
    let mask = request.query.get("updateMask").map_or("", String::as_str);
    if mask.is_empty() {
        return Err(bad("updateMask is required"));
    }
    for field in mask.split(',').map(str::trim) {
        // Masks may be written in either case; a path into a field replaces the whole field.
        let field = camel(field.split('.').next().unwrap_or(field));
        if FIXED.contains(&field.as_str()) || !FIELDS.contains(&field.as_str()) {
            return Err(bad(format!(
                "Invalid update mask: {field} cannot be changed"
            )));
        }
        if let Value::Object(store) = &mut store {
            match change.get(&field) {
                Some(value) => store.insert(field, value.clone()),
                None => store.remove(&field),
            };
        }
    }
    db.prepare_cached("UPDATE stores SET body = ? WHERE key = ?")?
        .execute(params![store.to_string(), key])?;
    Ok(ok(&store))
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// Counts per type; numbers are strings, as 64-bit integers are in the API's JSON.
fn metrics(db: &Connection, key: i64, name: &str) -> Result<Reply, Failure> {
    let metrics: Vec<Value> = db
        .prepare_cached(
            "SELECT type, count(*) FROM resources WHERE store = ? GROUP BY type ORDER BY type",
        )?
        .query_map([key], |row| {
            let (kind, count): (String, i64) = (row.get(0)?, row.get(1)?);
            Ok(json!({"resourceType": kind, "count": count.to_string()}))
        })?
        .collect::<Result<_, _>>()?;
    Ok(ok(&json!({"name": name, "metrics": metrics})))
}
