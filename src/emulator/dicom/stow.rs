//! STOW-RS: instances are stored (PS3.18 §10.5; DICOM conformance statement of the Healthcare API).
//!
//! An instance that is there already is not stored again, whatever its bytes are, and refused with 272 and a detail, as
//! Google does. An instance that was answered as stored survives the death of the process: its file is on the disk, in
//! its place, before its row is committed.

use std::sync::Arc;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use super::super::app::App;
use super::super::fault::Entries;
use super::super::files;
use super::super::reply::Refusal;
use super::super::stores::Collected as _;
use super::super::stores::dicom::Store;
use super::receive::{Received, receive};
use super::response;
use super::rows::{self, Instance};
use crate::dicom::multipart::boundary_of;

/// The failure reason of an instance that is there already, and of any other failure of processing (PS3.4 table B.2-1).
const PROCESSING_FAILURE: u16 = 0x0110;
/// The failure reason of an instance for which a store has no room, or no time.
const OUT_OF_RESOURCES: u16 = 0xA700;
/// The failure reason of bytes that cannot be understood.
const NOT_UNDERSTOOD: u16 = 0xC000;
/// The failure reason of an instance of another study than the one addressed (Azure's number; Google publishes none).
const OTHER_STUDY: u16 = 43_265;

/// The result of storing an instance.
pub(super) enum Fate {
    Stored,
    /// An instance with these UIDs is there already.
    There,
    Failed(u16, String),
}

/// An instance, as far as it could be read, and its fate.
pub(super) type Fated = (Option<Instance>, Fate);

/// A request that brings instances.
pub(super) struct Sent {
    /// The only study whose instances are taken, where one is named.
    pub(super) study: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// Instances that shall fail.
    pub(super) entries: Option<Entries>,
}

/// Stores the instances of a request.
pub(super) async fn store(
    app: &Arc<App>,
    store: Arc<Store>,
    base: &str,
    sent: Sent,
) -> Result<Response<Body>, Refusal> {
    let Sent {
        study,
        headers,
        body,
        entries,
    } = sent;
    let content_type = headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let boundary = boundary(content_type.unwrap_or_default())?;
    let folder = files::folder(app);
    let received = receive(&folder, body, boundary.as_deref()).await?;
    if received.is_empty() {
        let message = "the request holds no instance";
        return Err(Refusal::google(StatusCode::BAD_REQUEST, message));
    }
    let fates = keep(app, &store, study, received, entries).await?;
    let is_stored = |(_, fate): &(_, Fate)| matches!(fate, Fate::Stored);
    let status = if fates.iter().all(is_stored) {
        StatusCode::OK
    } else {
        StatusCode::CONFLICT
    };
    Ok(response::set(status, &headers, &told(&fates, base)))
}

/// Puts instances that came in their places, of one study where one is meant, and says what became of each.
pub(super) async fn keep(
    app: &App,
    store: &Arc<Store>,
    study: Option<String>,
    received: Vec<Received>,
    mut entries: Option<Entries>,
) -> Result<Vec<Fated>, Refusal> {
    let (store, folder) = (Arc::clone(store), files::folder(app));
    app.database
        .write(move |session| {
            store.ensure_present(&session.connection)?;
            let created = session.clock.tick().0;
            let (mut fates, mut kept) = (Vec::new(), Vec::new());
            for received in received {
                let Received {
                    header,
                    path,
                    sha256,
                    bytes,
                    described,
                } = received;
                let header = match header {
                    Ok(header) => header,
                    Err(why) => {
                        fates.push((None, Fate::Failed(NOT_UNDERSTOOD, why)));
                        continue;
                    }
                };
                let instance = Instance {
                    study: header.study,
                    series: header.series,
                    uid: header.instance,
                    class: header.sop_class,
                    syntax: header.transfer_syntax,
                    file: sha256,
                    bytes,
                    created,
                    described,
                };
                let fails = entries
                    .as_mut()
                    .and_then(|entries| entries.next(Some(instance.described.as_bytes())));
                let fate = if let Some(refusal) = fails {
                    Fate::Failed(reason(refusal.status), refusal.message().to_owned())
                } else if study.as_ref().is_some_and(|study| *study != instance.study) {
                    let why = "the instance is of another study than the request";
                    Fate::Failed(OTHER_STUDY, why.to_owned())
                } else if rows::is_there(&session.connection, &store, &instance)? {
                    Fate::There
                } else {
                    rows::put(&session.connection, &store, &instance)?;
                    kept.push((instance.file.clone(), path));
                    Fate::Stored
                };
                fates.push((Some(instance), fate));
            }
            files::keep(&folder, kept)?;
            Ok(fates)
        })
        .await
}

/// The reason that stands for a status: a store that cannot just now has no resources, and any other has no reason of its own.
fn reason(status: StatusCode) -> u16 {
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        OUT_OF_RESOURCES
    } else {
        PROCESSING_FAILURE
    }
}

/// Reads which body it is: none for one instance.
fn boundary(content_type: &str) -> Result<Option<String>, Refusal> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let refused = |message: &str| Refusal::google(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    if media.eq_ignore_ascii_case("application/dicom") {
        return Ok(None);
    }
    if !media.eq_ignore_ascii_case("multipart/related") {
        return Err(refused(
            "instances are sent as Content-Type: multipart/related; type=\"application/dicom\", or application/dicom",
        ));
    }
    let kind = content_type.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_type = name.trim().eq_ignore_ascii_case("type");
        is_type.then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    if kind.is_some_and(|kind| kind != "application/dicom") {
        return Err(refused(
            "the local store takes no metadata without instances",
        ));
    }
    let boundary = boundary_of(content_type);
    let boundary = boundary.ok_or_else(|| {
        Refusal::google(
            StatusCode::BAD_REQUEST,
            "the Content-Type names no boundary",
        )
    })?;
    Ok(Some(boundary.to_owned()))
}

/// Says what became of each instance.
fn told(fates: &[Fated], base: &str) -> Value {
    let uid = |uid: &str| json!({ "vr": "UI", "Value": [uid] });
    let url = |url: String| json!({ "vr": "UR", "Value": [url] });
    let (mut stored, mut failed) = (Vec::new(), Vec::new());
    for (instance, fate) in fates {
        let mut item = json!({});
        if let Some(instance) = instance {
            item["00081150"] = uid(&instance.class);
            item["00081155"] = uid(&instance.uid);
        }
        let (reason, detail) = match fate {
            Fate::Stored => {
                if let Some(instance) = instance {
                    item["00081190"] = url(instance.url(base));
                }
                stored.push(item);
                continue;
            }
            Fate::There => (PROCESSING_FAILURE, "already exists"),
            Fate::Failed(reason, detail) => (*reason, detail.as_str()),
        };
        item["00081197"] = json!({ "vr": "US", "Value": [reason] });
        item["00091097"] = json!({ "vr": "LO", "Value": [detail] });
        failed.push(item);
    }
    let mut set = json!({});
    let studies = fates.iter().filter_map(|(instance, _)| instance.as_ref());
    let mut studies = studies.map(|instance| &instance.study);
    if let Some(study) = studies.next()
        && studies.all(|other| other == study)
    {
        set["00081190"] = url(format!("{base}/studies/{study}"));
    }
    if !failed.is_empty() {
        set["00081198"] = json!({ "vr": "SQ", "Value": failed });
    }
    if !stored.is_empty() {
        set["00081199"] = json!({ "vr": "SQ", "Value": stored });
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_told_by_its_type() {
        let of = |kind: &str| boundary(kind).map_err(|refusal| refusal.status.as_u16());
        assert_eq!(of("application/dicom"), Ok(None));
        let several = "multipart/related; type=\"application/dicom\"; boundary=abc";
        assert_eq!(of(several), Ok(Some("abc".to_owned())));
        assert_eq!(
            of("multipart/related; boundary=\"a b\"; type=application/dicom"),
            Ok(Some("a b".to_owned()))
        );
        assert_eq!(of("multipart/related; type=application/dicom"), Err(400));
        assert_eq!(
            of("multipart/related; type=\"application/dicom+json\"; boundary=x"),
            Err(415)
        );
        assert_eq!(of("multipart/form-data; boundary=x"), Err(415));
        assert_eq!(of(""), Err(415));
    }
}
