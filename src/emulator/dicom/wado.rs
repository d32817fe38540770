//! WADO-RS: instances, and what they say, are given back (PS3.18 §10.4). Nothing is transcoded: what a client does not take as
//! it is stored is answered with 406.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;

use super::super::admin::not_found;
use super::super::reply::Refusal;
use super::super::serve::App;
use super::path::{Place, Web};
use super::response::{self, Accepted, Content, JSON, Part};
use super::rows::{self, Instance};
use super::store::Store;
use super::{files, pixels};
use crate::dicom::header::EXPLICIT;

/// The media type of a file.
const DICOM: &str = "application/dicom";

/// Answers a retrieval.
pub(super) async fn retrieve(
    app: &Arc<App>,
    store: Arc<Store>,
    web: Web,
    headers: &HeaderMap,
    base: &str,
) -> Result<Response<Body>, Refusal> {
    let place = match web {
        Web::Study(study) => Place {
            study,
            series: None,
            instance: None,
        },
        Web::OneSeries(study, series) => Place {
            study,
            series: Some(series),
            instance: None,
        },
        Web::Instance(study, series, instance) => Place {
            study,
            series: Some(series),
            instance: Some(instance),
        },
        Web::Metadata(place) => {
            let found = all(app, store, place).await?;
            return Ok(metadata(&found, base));
        }
        Web::Frames(place, frames) => {
            let found = all(app, store, place).await?;
            let Some(instance) = found.into_iter().next() else {
                return Err(not_found());
            };
            return pixels::frames(app, instance, &frames, headers, base).await;
        }
        Web::Bulkdata(place, tag) => {
            let found = all(app, store, place).await?;
            let Some(instance) = found.into_iter().next() else {
                return Err(not_found());
            };
            return pixels::bulkdata(app, instance, &tag, base).await;
        }
        Web::Rendered => {
            return Err(response::not_acceptable(
                "the local store makes no images of pixels",
            ));
        }
        _ => return Err(not_found()),
    };
    let is_one = place.instance.is_some();
    let found = all(app, store, place).await?;
    let takes = response::accepted(headers);
    let folder = files::folder(app);
    let wanted = takes.iter().find(|accepted| {
        let is_file = is_one && accepted.media == DICOM;
        let is_parts = accepted.media == "multipart/related"
            && accepted.part.as_deref().is_none_or(|part| part == DICOM);
        let is_any = matches!(accepted.media.as_str(), "*/*" | "multipart/*");
        (is_file || is_parts || is_any) && found.iter().all(|instance| fits(accepted, instance))
    });
    match (wanted, found.as_slice()) {
        (Some(accepted), [instance]) if accepted.media == DICOM => {
            let media = format!("{DICOM}; transfer-syntax={}", instance.syntax);
            let path = files::path(&folder, &instance.file);
            response::file(&media, &path, instance.bytes).await
        }
        (Some(_), _) => Ok(parts(&folder, found, base)),
        (None, _) if takes.is_empty() && found.iter().all(is_plain) => {
            Ok(parts(&folder, found, base))
        }
        (None, _) => Err(response::not_acceptable(
            "the local store gives instances as they are stored: Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*",
        )),
    }
}

async fn all(app: &App, store: Arc<Store>, place: Place) -> Result<Vec<Instance>, Refusal> {
    let database = Arc::clone(&app.database);
    database
        .read(move |connection| rows::all(connection, &store, &place))
        .await
}

/// Tells whether an instance is stored in the form that is meant where none is named.
fn is_plain(instance: &Instance) -> bool {
    instance.syntax == EXPLICIT
}

/// Tells whether a client takes an instance as it is stored.
fn fits(accepted: &Accepted, instance: &Instance) -> bool {
    match accepted.transfer_syntax.as_deref() {
        Some("*") => true,
        Some(syntax) => syntax == instance.syntax,
        None => is_plain(instance),
    }
}

fn parts(folder: &std::path::Path, found: Vec<Instance>, base: &str) -> Response<Body> {
    let parts = found.into_iter().map(|instance| Part {
        media: format!("{DICOM}; transfer-syntax={}", instance.syntax),
        location: Some(instance.url(base)),
        content: Content::File(files::path(folder, &instance.file), instance.bytes),
    });
    response::multipart(DICOM, parts.collect())
}

/// Answers what instances say, with the addresses of their bulk data.
fn metadata(found: &[Instance], base: &str) -> Response<Body> {
    let sets = found.iter().map(|instance| {
        let mut set: Value = serde_json::from_str(&instance.described).unwrap_or_default();
        let url = instance.url(base);
        for element in set
            .as_object_mut()
            .into_iter()
            .flat_map(|set| set.values_mut())
        {
            if let Some(place) = element["BulkDataURI"].as_str() {
                element["BulkDataURI"] = Value::from(format!("{url}/{place}"));
            }
        }
        set
    });
    let body = Value::Array(sets.collect()).to_string();
    response::of(StatusCode::OK, JSON, Bytes::from(body))
}
