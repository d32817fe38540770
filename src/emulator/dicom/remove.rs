//! Deletes studies and series, by long-running operations, and instances.

use std::sync::Arc;

use axum::body::Body;
use http::Response;

use super::super::app::App;
use super::super::files;
use super::super::google::{not_found, ok};
use super::super::json::{Json, Object};
use super::super::operation::{Ended, Operation};
use super::super::reply::Refusal;
use super::super::route::dicom::{Place, Web};
use super::super::stores::Collected as _;
use super::super::stores::dicom::Store;
use super::rows;

/// Answers a deletion.
pub(super) async fn delete(
    app: &Arc<App>,
    store: Arc<Store>,
    web: Web,
) -> Result<Response<Body>, Refusal> {
    let (place, method) = match web {
        Web::Study(study) => (
            Place {
                study,
                series: None,
                instance: None,
            },
            "google.cloud.healthcare.v1.dicomweb.DicomWebService.DeleteStudy",
        ),
        Web::OneSeries(study, series) => (
            Place {
                study,
                series: Some(series),
                instance: None,
            },
            "google.cloud.healthcare.v1.dicomweb.DicomWebService.DeleteSeries",
        ),
        Web::Instance(study, series, instance) => {
            let place = Place {
                study,
                series: Some(series),
                instance: Some(instance),
            };
            remove(app, &store, &place).await?;
            return Ok(ok(&Json::Object(Object::new())).into_response());
        }
        _ => return Err(not_found()),
    };
    // A place without instances is refused at once.
    let (looking, wanted) = (Arc::clone(&store), place.clone());
    let count = app
        .database
        .read(move |connection| rows::count(connection, &looking, &(&wanted).into()))
        .await?;
    if count.instances == 0 {
        return Err(place.not_found());
    }
    let (operation, answer) = Operation::begin(app, store.dataset(), method).await?;
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let ended = match remove(&app, &store, &place).await {
            Ok(success) => Ended {
                success,
                ..Ended::default()
            },
            Err(refusal) => Ended {
                error: Some(refusal.message().to_owned()),
                ..Ended::default()
            },
        };
        if let Err(refusal) = operation.end(&app, ended).await {
            tracing::error!(status = %refusal.status, "an operation could not be ended");
        }
    });
    Ok(ok(&answer).into_response())
}

/// Deletes the instances of a place, then the files that nobody has any more.
async fn remove(app: &App, store: &Arc<Store>, place: &Place) -> Result<u64, Refusal> {
    let (writing, wanted) = (Arc::clone(store), place.clone());
    let gone = app
        .database
        .write(move |session| {
            let gone = rows::delete(&session.connection, &writing, &wanted)?;
            if gone.is_empty() {
                return Err(wanted.not_found());
            }
            Ok(gone)
        })
        .await?;
    let count = gone.len() as u64;
    files::release_all(app, gone).await?;
    Ok(count)
}
