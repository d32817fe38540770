//! WADO-RS: instances, and what they say, are given back (PS3.18 §10.4). Nothing is transcoded: what a client does not take as
//! it is stored is answered with 406.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures::{StreamExt as _, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use serde_json::Value;

use super::super::app::App;
use super::super::database::Database;
use super::super::files;
use super::super::google::not_found;
use super::super::reply::Refusal;
use super::super::route::dicom::{Place, Web};
use super::super::stores::dicom::Store;
use super::pixels;
use super::response::{self, Accepted, Content, JSON, Part};
use super::rows::{self, Instance, Within};
use crate::dicom::header::EXPLICIT;

/// The media type of a file.
const DICOM: &str = "application/dicom";

/// Data sets read from the database at a time.
const TOGETHER: usize = 100;

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
        Web::Metadata(place) => return metadata(app, store, place, base).await,
        Web::Frames(place, frames) => {
            let instance = one(app, store, place).await?;
            return pixels::frames(app, instance, &frames, headers, base).await;
        }
        Web::Bulkdata(place, tag) => {
            let instance = one(app, store, place).await?;
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
            Ok(response::whole(&media, content(&folder, instance)))
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

/// Returns an instance, with what its data set says.
async fn one(app: &App, store: Arc<Store>, place: Place) -> Result<Instance, Refusal> {
    let database = Arc::clone(&app.database);
    database
        .read(move |connection| {
            let found = rows::behind(connection, &store, &(&place).into(), i64::MIN, 1)?;
            let (_, instance) = found.into_iter().next().ok_or_else(|| place.not_found())?;
            Ok(instance)
        })
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

fn content(folder: &std::path::Path, instance: &Instance) -> Content {
    let path = files::path(folder, &instance.file);
    Content::File(path, vec![(0, instance.bytes)])
}

fn parts(folder: &std::path::Path, found: Vec<Instance>, base: &str) -> Response<Body> {
    let parts = found.into_iter().map(|instance| Part {
        media: format!("{DICOM}; transfer-syntax={}", instance.syntax),
        location: Some(instance.url(base)),
        content: content(folder, &instance),
    });
    response::multipart(DICOM, parts.collect())
}

/// The data sets of the instances of a place, some at a time: all of a study may be more than memory is meant to hold.
struct Said {
    database: Arc<Database>,
    store: Arc<Store>,
    within: Within,
    base: String,
    /// The key of the last instance answered.
    last: i64,
}

impl Said {
    /// Returns data sets as JSON, without the brackets around them; none where there are no more.
    async fn next(&mut self) -> Result<Option<String>, Refusal> {
        let (store, within, last) = (Arc::clone(&self.store), self.within.clone(), self.last);
        let base = self.base.clone();
        let said = self
            .database
            .read(move |connection| {
                let found = rows::behind(connection, &store, &within, last, TOGETHER)?;
                let mut said = String::new();
                for (_, instance) in &found {
                    if !said.is_empty() {
                        said.push(',');
                    }
                    said.push_str(&about(instance, &base)?.to_string());
                }
                Ok(found.last().map(|(key, _)| (*key, said)))
            })
            .await?;
        Ok(said.map(|(key, said)| {
            self.last = key;
            said
        }))
    }
}

/// Returns what an instance says, with the addresses of its bulk data.
fn about(instance: &Instance, base: &str) -> Result<Value, Refusal> {
    let mut set = instance.set()?;
    let url = instance.url(base);
    for element in set.values_mut() {
        if let Some(place) = element["BulkDataURI"].as_str() {
            element["BulkDataURI"] = Value::from(format!("{url}/{place}"));
        }
    }
    Ok(Value::Object(set))
}

/// Answers what instances say.
async fn metadata(
    app: &App,
    store: Arc<Store>,
    place: Place,
    base: &str,
) -> Result<Response<Body>, Refusal> {
    let mut said = Said {
        database: Arc::clone(&app.database),
        store,
        within: Within::from(&place),
        base: base.to_owned(),
        last: i64::MIN,
    };
    let first = said.next().await?.ok_or_else(|| place.not_found())?;
    let more = stream::try_unfold(said, |mut said| async move {
        let next = said.next().await;
        // The status has been said already: the answer can only be broken off.
        let next = next.map_err(|refusal| std::io::Error::other(refusal.message().to_owned()))?;
        Ok(next.map(|next| (Bytes::from(format!(",{next}")), said)))
    });
    let begin = stream::iter([Ok::<_, std::io::Error>(Bytes::from(format!("[{first}")))]);
    let all = begin
        .chain(more)
        .chain(stream::iter([Ok(Bytes::from_static(b"]"))]));
    let mut response = Response::new(Body::from_stream(all));
    let media = HeaderValue::from_static(JSON);
    response.headers_mut().insert(CONTENT_TYPE, media);
    Ok(response)
}
