//! Counts and bytes, as texts: of a store, a study, a series, an instance.

use std::sync::Arc;

use axum::body::Body;
use http::{Response, StatusCode};

use super::super::app::App;
use super::super::google::ok;
use super::super::json::Json;
use super::super::reply::{Refusal, Reply};
use super::super::route::dicom::Place;
use super::super::stores::dicom::Store;
use super::rows::{self, Counts, Within};

async fn count(app: &App, store: &Arc<Store>, within: Within) -> Result<Counts, Refusal> {
    let store = Arc::clone(store);
    app.database
        .read(move |connection| rows::count(connection, &store, &within))
        .await
}

fn text(number: u64) -> Json {
    Json::Text(number.to_string())
}

/// Answers `getDICOMStoreMetrics`.
pub(super) async fn of_store(app: &App, store: &Arc<Store>) -> Result<Reply, Refusal> {
    let counts = count(app, store, Within::default()).await?;
    Ok(ok(&Json::object([
        ("blobStorageSizeBytes", text(counts.bytes)),
        ("instanceCount", text(counts.instances)),
        ("name", Json::text(store.name.as_str())),
        ("seriesCount", text(counts.series)),
        ("structuredStorageSizeBytes", text(counts.described)),
        ("studyCount", text(counts.studies)),
    ])))
}

/// Answers `getStudyMetrics`, `getSeriesMetrics` and `getStorageInfo`.
pub(super) async fn of(
    app: &App,
    store: &Arc<Store>,
    place: &Place,
    verb: &str,
) -> Result<Response<Body>, Refusal> {
    let level = match (&place.series, &place.instance) {
        (_, Some(_)) => "getStorageInfo",
        (Some(_), None) => "getSeriesMetrics",
        (None, None) => "getStudyMetrics",
    };
    if verb != level {
        return Err(Refusal::no_method(verb));
    }
    let counts = count(app, store, place.into()).await?;
    if counts.instances == 0 {
        return Err(place.not_found());
    }
    let answer = match level {
        "getStudyMetrics" => Json::object([
            ("blobStorageSizeBytes", text(counts.bytes)),
            ("instanceCount", text(counts.instances)),
            ("seriesCount", text(counts.series)),
            ("structuredStorageSizeBytes", text(counts.described)),
            ("study", Json::text(place.study.as_str())),
        ]),
        "getSeriesMetrics" => Json::object([
            ("blobStorageSizeBytes", text(counts.bytes)),
            ("instanceCount", text(counts.instances)),
            (
                "series",
                Json::text(place.series.as_deref().unwrap_or_default()),
            ),
            ("structuredStorageSizeBytes", text(counts.described)),
        ]),
        _ => Json::object([
            (
                "blobStorageInfo",
                Json::object([
                    ("sizeBytes", text(counts.bytes)),
                    ("storageClass", Json::text("STANDARD")),
                ]),
            ),
            (
                "structuredStorageInfo",
                Json::object([("sizeBytes", text(counts.described))]),
            ),
        ]),
    };
    Ok(Reply::admin(StatusCode::OK, &answer).into_response())
}
