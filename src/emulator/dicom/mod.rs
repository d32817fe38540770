//! DICOM stores: instances are stored, searched for, retrieved, deleted, imported and exported, over DICOMweb as the Healthcare API speaks it.
//!
//! An instance is a file that keeps every byte, named by the SHA-256 of them, and a row that says whose it is. `stow`
//! lets instances in, `receive` brings their bytes to disk, `rows` keeps what they say, `qido` searches, `wado` and
//! `pixels` give back, `remove` deletes, `transfer` imports and exports. The meaning of the bytes is [`crate::dicom`]'s
//! knowledge.
//!
//! Left out: nothing is transcoded or rendered (406), nothing is published, metadata without instances cannot be
//! stored.

mod metrics;
mod pixels;
mod qido;
mod receive;
mod remove;
mod response;
mod rows;
mod stow;
mod transfer;
mod wado;

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Method, Response};

pub(super) use self::rows::TABLES;
use self::stow::Sent;
use super::app::App;
use super::body;
use super::collection::{self, open};
use super::fault::Entries;
use super::google::not_found;
use super::methods;
use super::reply::Refusal;
use super::route::Route;
use super::route::dicom::{Path, Web};
use super::stores::dicom::Store;

/// The largest body of a request about a store itself, in bytes.
const MAX_REQUEST: usize = 1 << 20;

/// The id of the DICOM store that `local:` loads into, beside the FHIR store.
pub const LOCAL_STORE: &str = "dicom";

/// A request about DICOM stores.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: Path,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// Instances that shall fail.
    pub(super) entries: Option<Entries>,
    /// The address below which the names of stores stand.
    pub(super) root: String,
    /// The version of the API.
    pub(super) version: &'static str,
}

/// Answers a request about DICOM stores.
pub(super) async fn answer(app: &Arc<App>, call: Call) -> Result<Response<Body>, Refusal> {
    let Call {
        method,
        path,
        query,
        headers,
        body,
        entries,
        root,
        version,
    } = call;
    match path {
        Path::Below {
            dataset,
            store,
            below: web,
        } => {
            let store: Arc<Store> = open(app, &dataset, &store)?;
            let base = format!("{root}/{}/dicomWeb", store.name);
            match (&method, web) {
                (&Method::POST, Web::Studies) => {
                    let sent = Sent {
                        study: None,
                        headers,
                        body,
                        entries,
                    };
                    stow::store(app, store, &base, sent).await
                }
                (&Method::POST, Web::Study(study)) => {
                    let sent = Sent {
                        study: Some(study),
                        headers,
                        body,
                        entries,
                    };
                    stow::store(app, store, &base, sent).await
                }
                (&Method::GET, web) => get(app, store, web, &query, &headers, &base).await,
                (&Method::DELETE, web) => remove::delete(app, store, web).await,
                _ => Err(not_found()),
            }
        }
        path => {
            let body = body::read(body, MAX_REQUEST).await?;
            body::check_media_type(&headers, &body)?;
            let reply = match path {
                Path::Method {
                    dataset,
                    name,
                    verb,
                } => match verb.as_str() {
                    "getDICOMStoreMetrics" if method == Method::GET => {
                        metrics::of_store(app, &open(app, &dataset, &name)?).await
                    }
                    "import" if method == Method::POST => {
                        transfer::import(app, &open(app, &dataset, &name)?, &body).await
                    }
                    "export" if method == Method::POST => {
                        transfer::export(app, &open(app, &dataset, &name)?, &body).await
                    }
                    _ => {
                        let on = Route::Dicom(Path::Store { dataset, name });
                        methods::answer(app, &method, on, &verb, &body).await
                    }
                },
                Path::Store { dataset, name } => {
                    let name = Some(name.as_str());
                    collection::answer::<Store>(app, &method, &dataset, name, &query, &body).await
                }
                Path::Stores { dataset } => {
                    collection::answer::<Store>(app, &method, &dataset, None, &query, &body).await
                }
                Path::Below { .. } => Err(not_found()),
            };
            reply.map(|reply| reply.of_version(version).into_response())
        }
    }
}

async fn get(
    app: &Arc<App>,
    store: Arc<Store>,
    web: Web,
    query: &[(String, String)],
    headers: &HeaderMap,
    base: &str,
) -> Result<Response<Body>, Refusal> {
    match web {
        Web::Studies | Web::Series(_) | Web::Instances(..) => {
            qido::search(app, store, web, query, headers, base).await
        }
        Web::Method(place, verb) => metrics::of(app, &store, &place, &verb).await,
        web => wado::retrieve(app, store, web, headers, base).await,
    }
}
