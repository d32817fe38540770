//! Messages on their way in: create, ingest; and what is done with them later: labels, deletion.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use jiff::tz::TimeZone;

use super::super::app::App;
use super::super::google::{invalid, object, ok};
use super::super::json::{Json, Object};
use super::super::query::parameter;
use super::super::reply::{Refusal, Reply};
use super::super::stores::Collected as _;
use super::super::stores::hl7v2::Store;
use super::super::stores::hl7v2::{Content, decode};
use super::MAX_DATA;
use super::changes::{Change, note};
use super::rows::no_message;
use super::rows::{self, Message};
use super::settings::MESSAGE;
use super::view::{View, message};
use crate::hl7v2::ack::{self, Code};
use crate::hl7v2::digest::Digest;
use crate::hl7v2::header::MessageHeader;

/// A message as it was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) data: Vec<u8>,
    pub(super) labels: Object,
}

/// Reads the fields of a Message.
pub(super) fn read(message: Object) -> Result<Sent, Refusal> {
    let mut fields = MESSAGE.read_object(message)?;
    let Some(Json::Text(text)) = fields.remove("data") else {
        return Err(invalid("the field message.data is required"));
    };
    if text.len() > MAX_DATA {
        return Err(Refusal::google(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the message exceeds the limit: {MAX_DATA} bytes of base64"),
        ));
    }
    let data = decode(&text).ok_or_else(|| {
        Refusal::payload("Invalid value at 'message.data' (TYPE_BYTES), Base64 decoding failed.")
    })?;
    let labels = match fields.remove("labels") {
        Some(Json::Object(labels)) => labels,
        _ => Object::new(),
    };
    Ok(Sent { data, labels })
}

/// Reads a request that holds a message.
fn request(body: &[u8]) -> Result<Sent, Refusal> {
    let mut request = object(body)?;
    let sent = request.remove("message");
    if let Some(unknown) = request.keys().next() {
        let what = format!("Unknown name \"{unknown}\": Cannot find field.");
        return Err(Refusal::payload(&what));
    }
    match sent {
        Some(Json::Object(message)) => read(message),
        Some(_) => Err(Refusal::payload(
            "Invalid value at 'message' (expected an object).",
        )),
        None => Err(invalid("the field message is required")),
    }
}

/// Answers `messages.create`.
pub(super) async fn create(app: &App, store: &Arc<Store>, body: &[u8]) -> Result<Reply, Refusal> {
    let sent = request(body)?;
    let zone = app.registry().zone(store.dataset());
    let content = store.parser.read(&sent.data, &zone)?;
    let (stored, _) = keep(app, store, sent, content, zone).await?;
    Ok(ok(&message(store, &stored, View::Full)))
}

/// Answers `messages.ingest`: with an acknowledgement, or refuses with a negative one.
pub(super) async fn ingest(app: &App, store: &Arc<Store>, body: &[u8]) -> Result<Reply, Refusal> {
    let sent = request(body)?;
    let zone = app.registry().zone(store.dataset());
    let content = store.parser.read(&sent.data, &zone);
    let content = content.map_err(|refusal| refused(refusal, store, &sent.data, &zone))?;
    let (stored, ack) = keep(app, store, sent, content, zone).await?;
    Ok(ok(&Json::object([
        ("hl7Ack", Json::Text(STANDARD.encode(ack))),
        ("message", message(store, &stored, View::Full)),
    ])))
}

/// Stores a message, unless it is there already, and returns it with its acknowledgement, which is always the same.
async fn keep(
    app: &App,
    store: &Arc<Store>,
    sent: Sent,
    content: Content,
    zone: TimeZone,
) -> Result<(Message, Vec<u8>), Refusal> {
    let store = Arc::clone(store);
    app.database
        .write(move |session| {
            store.ensure_present(&session.connection)?;
            let id = Digest::of(&sent.data).message_id();
            if let Some(there) = rows::read(&session.connection, &store, &id)? {
                if store.rejects_duplicates {
                    let refusal = Refusal::google(
                        StatusCode::CONFLICT,
                        format!("the message already exists: {}/messages/{id}", store.name),
                    );
                    return Err(refused(refusal, &store, &sent.data, &zone));
                }
                let ack = match rows::ack(&session.connection, &store, &id)? {
                    Some(ack) => ack,
                    None => answer(&store, &sent.data, Code::Accepted, "", &zone),
                };
                return Ok((there, ack));
            }
            let ack = answer(&store, &sent.data, Code::Accepted, "", &zone);
            let message = Message {
                created: session.clock.tick().0,
                id,
                content,
                labels: Json::Object(sent.labels).to_string(),
                data: sent.data,
            };
            rows::put(session, &store, &message, None)?;
            rows::set_ack(&session.connection, &store, &message.id, &ack)?;
            Ok((message, ack))
        })
        .await
}

/// Writes an acknowledgement as the API does.
fn answer(store: &Store, data: &[u8], code: Code, text: &str, zone: &TimeZone) -> Vec<u8> {
    let first = store.parser.segments(data).next().unwrap_or_default();
    // A message without a header is answered with the usual separators.
    let header = MessageHeader::of(first).or_else(|_| MessageHeader::of(b"MSH|^~\\&|"));
    let Ok(header) = header else {
        return Vec::new();
    };
    let now = jiff::Timestamp::now().to_zoned(zone.clone());
    let now = now.strftime("%Y%m%d%H%M%S").to_string();
    let id = uuid::Uuid::new_v4().to_string();
    ack::build(&header, code, &now, &id, text)
}

/// Adds a negative acknowledgement to a refusal.
fn refused(refusal: Refusal, store: &Store, data: &[u8], zone: &TimeZone) -> Refusal {
    let text = refusal.message().to_owned();
    let nack = answer(store, data, Code::Error, &text, zone);
    refusal.with_detail(Json::object([
        (
            "@type",
            Json::text(
                "type.googleapis.com/google.cloud.healthcare.v1.hl7v2.IngestMessageErrorDetail",
            ),
        ),
        ("hl7Nack", Json::Text(STANDARD.encode(nack))),
    ]))
}

/// Answers `messages.patch`: labels are merged into those that are there.
pub(super) async fn patch(
    app: &App,
    store: &Arc<Store>,
    id: String,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    let mask = parameter(query, "updateMask").unwrap_or_default();
    if mask.is_empty() {
        return Err(invalid("update_mask is required"));
    }
    if mask.split(',').any(|path| path.trim() != "labels") {
        return Err(invalid("only the field labels can be updated"));
    }
    let mut fields = MESSAGE.read_object(object(body)?)?;
    let new = match fields.remove("labels") {
        Some(Json::Object(labels)) => labels,
        _ => Object::new(),
    };
    let writing = Arc::clone(store);
    let patched = app
        .database
        .write(move |session| {
            let store = writing;
            let there = rows::read(&session.connection, &store, &id)?;
            let mut there = there.ok_or_else(|| no_message(&store.name, &id))?;
            let mut labels = match Json::parse(there.labels.as_bytes()) {
                Ok(Json::Object(labels)) => labels,
                _ => Object::new(),
            };
            let before = there.clone();
            labels.extend(new);
            if labels.len() > 64 {
                return Err(invalid("a message has at most 64 labels"));
            }
            there.labels = Json::Object(labels).to_string();
            note(session, &store, Change::Update, &before, None, false)?;
            rows::set_labels(&session.connection, &store, &id, &there.labels)?;
            Ok(there)
        })
        .await?;
    Ok(ok(&message(store, &patched, View::Full)))
}

/// Answers `messages.delete`.
pub(super) async fn delete(app: &App, store: &Arc<Store>, id: String) -> Result<Reply, Refusal> {
    let store = Arc::clone(store);
    app.database
        .write(move |session| {
            let there = rows::read(&session.connection, &store, &id)?;
            let there = there.ok_or_else(|| no_message(&store.name, &id))?;
            note(session, &store, Change::Delete, &there, None, false)?;
            rows::delete(&session.connection, &store, &id)
        })
        .await?;
    Ok(ok(&Json::Object(Object::new())))
}
