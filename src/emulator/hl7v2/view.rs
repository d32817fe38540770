//! Messages as they are shown, by view; and how many there are.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::params;

use super::super::app::App;
use super::super::google::ok;
use super::super::instant::Instant;
use super::super::json::{Json, Object};
use super::super::query::parameter;
use super::super::reply::{Refusal, Reply};
use super::super::stores::hl7v2::Store;
use super::rows::no_message;
use super::rows::{self, Message};

/// The parts of a message that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// All but `parsedData`.
    Raw,
    /// All but `data`.
    Parsed,
    Full,
    /// All but `data` and `parsedData`; nothing is schematized here.
    Schematized,
    /// The name.
    Basic,
}

impl View {
    /// Tells whether it needs the bytes of a message.
    pub(super) fn shows_data(self) -> bool {
        matches!(self, Self::Raw | Self::Parsed | Self::Full)
    }

    /// Reads its name; an empty one means `usual`.
    pub(super) fn of(name: &str, usual: Self) -> Result<Self, Refusal> {
        Ok(match name {
            "" | "MESSAGE_VIEW_UNSPECIFIED" => usual,
            "RAW_ONLY" => Self::Raw,
            "PARSED_ONLY" => Self::Parsed,
            "FULL" => Self::Full,
            "SCHEMATIZED_ONLY" => Self::Schematized,
            "BASIC" => Self::Basic,
            other => {
                let what = format!("Invalid value at 'view' (TYPE_ENUM), \"{other}\".");
                return Err(Refusal::payload(&what));
            }
        })
    }
}

/// Returns the name of a message.
pub(super) fn name(store: &Store, id: &str) -> String {
    format!("{}/messages/{id}", store.name)
}

/// Shows a message.
pub(super) fn message(store: &Store, message: &Message, view: View) -> Json {
    let mut shown = Object::new();
    let mut show = |name: &str, value: Json| {
        let is_empty = match &value {
            Json::Text(text) => text.is_empty(),
            Json::List(items) => items.is_empty(),
            Json::Object(fields) => fields.is_empty(),
            _ => false,
        };
        if !is_empty {
            shown.insert(name.to_owned(), value);
        }
    };
    show("name", Json::Text(name(store, &message.id)));
    if view == View::Basic {
        return Json::Object(shown);
    }
    let kept = |text: &str| Json::parse(text.as_bytes()).unwrap_or(Json::Null);
    let content = &message.content;
    show("createTime", Json::Text(Instant(message.created).rfc3339()));
    show("messageType", Json::text(content.kind.as_str()));
    show("sendFacility", Json::text(content.facility.as_str()));
    let sent = content.sent.map(jiff::Timestamp::from_microsecond);
    if let Some(Ok(sent)) = sent {
        show("sendTime", Json::Text(sent.to_string()));
    }
    show("patientIds", kept(&content.patients));
    show("labels", kept(&message.labels));
    if matches!(view, View::Raw | View::Full) {
        show("data", Json::Text(STANDARD.encode(&message.data)));
    }
    if matches!(view, View::Parsed | View::Full) {
        show("parsedData", store.parser.parsed(&message.data));
    }
    Json::Object(shown)
}

/// Answers `messages.get`.
pub(super) async fn get(
    app: &App,
    store: &Arc<Store>,
    id: String,
    query: &[(String, String)],
) -> Result<Reply, Refusal> {
    let view = View::of(parameter(query, "view").unwrap_or_default(), View::Full)?;
    let store = Arc::clone(store);
    let shown = app
        .database
        .read(move |connection| {
            let found = rows::read(connection, &store, &id)?;
            let found = found.ok_or_else(|| no_message(&store.name, &id))?;
            Ok(message(&store, &found, view))
        })
        .await?;
    Ok(ok(&shown))
}

/// Answers `getHL7v2StoreMetrics`.
pub(super) async fn metrics(app: &App, store: &Arc<Store>) -> Result<Reply, Refusal> {
    let key = store.key;
    let rows = app
        .database
        .read(move |connection| {
            let sql = "SELECT kind, count(*), sum(octet_length(data)) FROM message
                WHERE store = ?1 GROUP BY kind ORDER BY kind";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![key], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            Ok(rows.collect::<Result<Vec<(String, i64, i64)>, _>>()?)
        })
        .await?;
    let metrics = rows.into_iter().map(|(kind, count, bytes)| {
        Json::object([
            ("count", Json::Text(count.to_string())),
            ("messageType", Json::Text(kind)),
            ("structuredStorageSizeBytes", Json::Text(bytes.to_string())),
        ])
    });
    Ok(ok(&Json::object([
        ("metrics", Json::List(metrics.collect())),
        ("name", Json::text(store.name.as_str())),
    ])))
}
