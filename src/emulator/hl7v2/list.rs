//! `messages.list`: filtered, ordered, in pages.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Statement, params_from_iter};

use super::super::app::App;
use super::super::google::{invalid, ok};
use super::super::json::{Json, Object};
use super::super::query::parameter;
use super::super::query::{decode_token, encode_token};
use super::super::reply::{Refusal, Reply};
use super::super::stores::Collected as _;
use super::super::stores::hl7v2::Store;
use super::filter::{Facts, Filter};
use super::rows::{self, COLUMNS, Message};
use super::view::{View, message};

/// Default and greatest size of a page.
const PAGE: (usize, usize) = (100, 1000);

/// The number of bytes of messages at which a page ends: whole messages are shown three times as large.
const MAX_PAGE: usize = 16 << 20;

/// The order in which messages are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// By their ids.
    Id,
    SendTime,
    SendTimeDescending,
}

impl Order {
    fn of(text: &str) -> Result<Self, Refusal> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [] => Ok(Self::Id),
            ["send_time" | "sendTime"] | ["send_time" | "sendTime", "asc"] => Ok(Self::SendTime),
            ["send_time" | "sendTime", "desc"] => Ok(Self::SendTimeDescending),
            _ => Err(invalid(
                "invalid orderBy: expected send_time, send_time asc or send_time desc",
            )),
        }
    }

    fn sql(self) -> String {
        let (after, order) = match self {
            Self::Id => ("id > ?3", "id"),
            Self::SendTime => ("(sent, id) > (?2, ?3)", "sent, id"),
            Self::SendTimeDescending => ("(sent, id) < (?2, ?3)", "sent DESC, id DESC"),
        };
        format!(
            "SELECT {COLUMNS} FROM message WHERE store = ?1 AND ?2 IS NOT NULL AND {after} ORDER BY {order}"
        )
    }

    /// Returns a place before all messages: a time of sending and an id.
    fn beginning(self) -> (i64, String) {
        match self {
            Self::Id | Self::SendTime => (i64::MIN, String::new()),
            Self::SendTimeDescending => (i64::MAX, String::new()),
        }
    }
}

/// Answers `messages.list`.
pub(super) async fn list(
    app: &App,
    store: &Arc<Store>,
    query: &[(String, String)],
) -> Result<Reply, Refusal> {
    let text = |name: &str| parameter(query, name).unwrap_or_default();
    let filter = Filter::parse(text("filter"), app.registry().zone(store.dataset()))?;
    let order = Order::of(text("orderBy"))?;
    let view = View::of(text("view"), View::Basic)?;
    let size = match text("pageSize") {
        "" | "0" => PAGE.0,
        size => size
            .parse::<usize>()
            .map_err(|_| invalid("invalid pageSize"))?
            .min(PAGE.1),
    };
    let after = match text("pageToken") {
        "" => order.beginning(),
        token => {
            let token = decode_token(token);
            let parts = token.as_deref().and_then(|token| token.split_once(' '));
            let after = parts.and_then(|(sent, id)| Some((sent.parse().ok()?, id.to_owned())));
            after.ok_or_else(|| invalid("invalid pageToken"))?
        }
    };
    let store = Arc::clone(store);
    let page = app
        .database
        .read(move |connection| {
            let mut statement = connection.prepare_cached(&order.sql())?;
            let wanted = Wanted {
                filter: &filter,
                most: size,
                with_data: view.shows_data(),
            };
            let (found, is_more) = matching(&mut statement, &store, after, &wanted)?;
            let mut page = Object::new();
            if let Some(last) = found.last().filter(|_| is_more) {
                let sent = rows::sent_order(&last.content);
                let token = encode_token(&format!("{sent} {}", last.id));
                page.insert("nextPageToken".to_owned(), Json::Text(token));
            }
            if !found.is_empty() {
                let shown = found.iter().map(|found| message(&store, found, view));
                page.insert("hl7V2Messages".to_owned(), Json::List(shown.collect()));
            }
            Ok(page)
        })
        .await?;
    Ok(ok(&Json::Object(page)))
}

/// The choice of messages to read.
pub(super) struct Wanted<'a> {
    pub(super) filter: &'a Filter,
    pub(super) most: usize,
    pub(super) with_data: bool,
}

/// Reads the first messages behind a place that a filter lets through, and tells whether there are more. It stops early at
/// messages of [`MAX_PAGE`] bytes together.
pub(super) fn matching(
    statement: &mut Statement<'_>,
    store: &Store,
    (sent, id): (i64, String),
    wanted: &Wanted<'_>,
) -> Result<(Vec<Message>, bool), Refusal> {
    let values = [Value::from(store.key), Value::from(sent), Value::from(id)];
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found: Vec<Message> = Vec::new();
    let mut size = 0;
    while let Some(row) = rows.next()? {
        let facts = Facts {
            created: row.get(1)?,
            content: rows::content(row)?,
            labels: row.get(6)?,
        };
        if !wanted.filter.lets_through(&facts) {
            continue;
        }
        if found.len() == wanted.most || size >= MAX_PAGE {
            return Ok((found, true));
        }
        let message = Message::of(row, wanted.with_data)?;
        size += message.data.len();
        found.push(message);
    }
    Ok((found, false))
}

/// Returns the statement by which all messages are gone through.
pub(super) fn all() -> String {
    Order::Id.sql()
}
