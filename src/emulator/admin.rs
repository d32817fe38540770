//! Datasets, operations and FHIR stores: the administrative part of the API.
//!
//! One change at a time: it is written to the database, then to the [`Registry`](super::registry::Registry).

use http::{Method, StatusCode};
use rusqlite::params;

use super::app::App;
use super::google::{invalid, label_filter, new_id, not_found, ok, page};
use super::json::{Json, Object};
use super::query::parameter;
use super::registry::{below, delete_rows, save, stores_below};
use super::reply::{Refusal, Reply};
use super::route::Route;
use super::settings::{DATASET, FHIR_STORE};
use super::stores::{dicom, fhir, hl7v2};
use super::{files, methods};

/// Answers an administrative call.
pub(super) async fn answer(
    app: &App,
    method: &Method,
    route: Route,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    if let Route::Method { on, verb } = route {
        return methods::answer(app, method, *on, &verb, body).await;
    }
    if *method != Method::GET {
        // One change at a time, so that memory and database stay the same.
        let _turn = app.administration.lock().await;
        return change(app, method, route, query, body).await;
    }
    let registry = app.registry();
    match route {
        Route::Datasets { location } => {
            let parent = format!("{location}/datasets/");
            let items = below(&registry.datasets, &parent);
            page(
                "datasets",
                &parent,
                items.map(|(name, fields)| (name.clone(), Json::Object(fields.clone()))),
                query,
            )
        }
        Route::Dataset { name } => Ok(ok(&Json::Object(registry.dataset(&name)?.clone()))),
        Route::Operations { dataset } => {
            registry.dataset(&dataset)?;
            let parent = format!("{dataset}/operations/");
            let items = below(&registry.operations, &parent);
            page(
                "operations",
                &parent,
                items.map(|(name, body)| (name.clone(), body.clone())),
                query,
            )
        }
        Route::Operation { name } => registry.operation(&name).map(ok),
        Route::Stores { dataset } => {
            registry.parent(&dataset)?;
            let label = label_filter(parameter(query, "filter").unwrap_or_default())?;
            let parent = format!("{dataset}/fhirStores/");
            let items = below(&registry.stores, &parent).filter(|(_, store)| {
                label.as_ref().is_none_or(|(key, value)| {
                    let labels = store.fields.get("labels").and_then(Json::as_object);
                    labels
                        .and_then(|labels| labels.get(key))
                        .and_then(Json::as_text)
                        == Some(value)
                })
            });
            page(
                "fhirStores",
                &parent,
                items.map(|(name, store)| (name.clone(), Json::Object(store.fields.clone()))),
                query,
            )
        }
        Route::Store { dataset, name } => {
            registry.parent(&dataset)?;
            Ok(ok(&Json::Object(registry.store(&name)?.fields.clone())))
        }
        _ => Err(not_found()),
    }
}

async fn change(
    app: &App,
    method: &Method,
    route: Route,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    match (method, route) {
        (&Method::POST, Route::Datasets { location }) => {
            create_dataset(app, &location, query, body).await
        }
        (&Method::PATCH, Route::Dataset { name }) => {
            let current = app.registry().dataset(&name)?.clone();
            let fields = DATASET.patch(
                &current,
                &DATASET.read(body)?,
                parameter(query, "updateMask"),
            )?;
            save(
                &app.database,
                "UPDATE dataset SET body = ?2 WHERE name = ?1",
                &name,
                &fields,
            )
            .await?;
            app.registry_mut().datasets.insert(name, fields.clone());
            Ok(ok(&Json::Object(fields)))
        }
        (&Method::DELETE, Route::Dataset { name }) => delete_dataset(app, name).await,
        (&Method::POST, Route::Stores { dataset }) => {
            create_store(app, &dataset, query, body).await
        }
        (&Method::PATCH, Route::Store { dataset, name }) => {
            app.registry().parent(&dataset)?;
            let store = app.registry().store(&name)?;
            let mask = parameter(query, "updateMask").filter(|mask| !mask.is_empty());
            let mask = mask.ok_or_else(|| invalid("update_mask is required"))?;
            let fields = FHIR_STORE.patch(&store.fields, &FHIR_STORE.read(body)?, Some(mask))?;
            save(
                &app.database,
                "UPDATE store SET body = ?2 WHERE name = ?1",
                &name,
                &fields,
            )
            .await?;
            app.registry_mut().stores.insert(
                name.clone(),
                fhir::Store::new(store.key, name, fields.clone()),
            );
            Ok(ok(&Json::Object(fields)))
        }
        (&Method::DELETE, Route::Store { dataset, name }) => {
            app.registry().parent(&dataset)?;
            let key = app.registry().store(&name)?.key;
            app.database
                .write(move |session| delete_rows(session, key))
                .await?;
            app.registry_mut().stores.remove(&name);
            Ok(ok(&Json::Object(Object::new())))
        }
        _ => Err(not_found()),
    }
}

async fn create_dataset(
    app: &App,
    location: &str,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    let name = format!("{location}/datasets/{}", new_id(query, "datasetId")?);
    let mut fields = DATASET.read(body)?;
    fields.insert("name".to_owned(), Json::text(name.as_str()));
    if app.registry().datasets.contains_key(&name) {
        return Err(Refusal::google(
            StatusCode::CONFLICT,
            format!("Dataset already exists: {name}"),
        ));
    }
    let (dataset, body) = (name.clone(), Json::Object(fields.clone()));
    let (operation, started, done) = app
        .database
        .write(move |session| {
            let sql = "INSERT INTO dataset (name, body) VALUES (?1, ?2)";
            session
                .connection
                .execute(sql, params![dataset, body.to_string()])?;
            let (start, end) = (session.clock.tick(), session.clock.tick());
            let operation = format!("{dataset}/operations/{}", start.0);
            let metadata = |end: Option<Json>| {
                let mut metadata = Object::from([
                    (
                        "@type".to_owned(),
                        Json::text(
                            "type.googleapis.com/google.cloud.healthcare.v1.OperationMetadata",
                        ),
                    ),
                    (
                        "apiMethodName".to_owned(),
                        Json::text(
                            "google.cloud.healthcare.v1.dataset.DatasetService.CreateDataset",
                        ),
                    ),
                    ("createTime".to_owned(), Json::Text(start.rfc3339())),
                ]);
                if let Some(end) = end {
                    metadata.insert("endTime".to_owned(), end);
                }
                Json::Object(metadata)
            };
            let started = Json::object([
                ("metadata", metadata(None)),
                ("name", Json::text(operation.as_str())),
            ]);
            let mut response = body.as_object().cloned().unwrap_or_default();
            response.insert(
                "@type".to_owned(),
                Json::text("type.googleapis.com/google.cloud.healthcare.v1.dataset.Dataset"),
            );
            let done = Json::object([
                ("done", Json::Bool(true)),
                ("metadata", metadata(Some(Json::Text(end.rfc3339())))),
                ("name", Json::text(operation.as_str())),
                ("response", Json::Object(response)),
            ]);
            let sql = "INSERT INTO operation (name, body) VALUES (?1, ?2)";
            session
                .connection
                .execute(sql, params![operation, done.to_string()])?;
            Ok((operation, started, done))
        })
        .await?;
    let mut registry = app.registry_mut();
    registry.datasets.insert(name, fields);
    registry.operations.insert(operation, done);
    Ok(ok(&started))
}

async fn delete_dataset(app: &App, name: String) -> Result<Reply, Refusal> {
    let prefix = format!("{name}/");
    let (stores, operations) = {
        let registry = app.registry();
        registry.dataset(&name)?;
        let stores: Vec<(String, i64)> = below(&registry.stores, &prefix)
            .map(|(name, store)| (name.clone(), store.key))
            .chain(stores_below::<hl7v2::Store>(&registry, &prefix))
            .chain(stores_below::<dicom::Store>(&registry, &prefix))
            .collect();
        let operations: Vec<String> = below(&registry.operations, &prefix)
            .map(|(name, _)| name.clone())
            .collect();
        (stores, operations)
    };
    let keys: Vec<i64> = stores.iter().map(|(_, key)| *key).collect();
    let (dataset, gone) = (name.clone(), operations.clone());
    let held = app
        .database
        .write(move |session| {
            let mut held = Vec::new();
            for key in keys {
                held.extend(files::files_of(&session.connection, key)?);
                delete_rows(session, key)?;
            }
            for operation in gone {
                session
                    .connection
                    .execute("DELETE FROM operation WHERE name = ?1", params![operation])?;
            }
            session
                .connection
                .execute("DELETE FROM dataset WHERE name = ?1", params![dataset])?;
            Ok(held)
        })
        .await?;
    {
        let mut registry = app.registry_mut();
        registry.datasets.remove(&name);
        for (name, _) in stores {
            registry.stores.remove(&name);
            registry.hl7v2.remove(&name);
            registry.dicom.remove(&name);
        }
        for name in operations {
            registry.operations.remove(&name);
        }
    }
    files::release_all(app, held).await?;
    Ok(ok(&Json::Object(Object::new())))
}

async fn create_store(
    app: &App,
    dataset: &str,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    app.registry().parent(dataset)?;
    let name = format!("{dataset}/fhirStores/{}", new_id(query, "fhirStoreId")?);
    let mut fields = FHIR_STORE.read(body)?;
    match fields.get("version").and_then(Json::as_text) {
        Some("R4") => {}
        None => {
            return Err(invalid(
                "the field version is required: one of DSTU2, STU3, R4, R5",
            ));
        }
        Some(other) => {
            return Err(invalid(format!(
                "the local store supports FHIR version R4 only, found {other}"
            )));
        }
    }
    fields.insert("name".to_owned(), Json::text(name.as_str()));
    if app.registry().stores.contains_key(&name) {
        return Err(Refusal::google(
            StatusCode::CONFLICT,
            format!("FHIR store already exists: {name}"),
        ));
    }
    let key = save(
        &app.database,
        "INSERT INTO store (name, body) VALUES (?1, ?2)",
        &name,
        &fields,
    )
    .await?;
    app.registry_mut()
        .stores
        .insert(name.clone(), fhir::Store::new(key, name, fields.clone()));
    Ok(ok(&Json::Object(fields)))
}
