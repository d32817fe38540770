//! The common part of calls in Google's own shape, whatever they are about: how they are read and answered.

use http::StatusCode;

use super::json::{Json, Object};
use super::query::{decode_token, encode_token, parameter};
use super::reply::{Refusal, Reply};

/// Default and greatest size of a page of a list (Healthcare API, `pageSize`).
const PAGE: (usize, usize) = (100, 1000);

/// `google.rpc.Code` of a request that is wrong.
pub(super) const INVALID_ARGUMENT: u8 = 3;
/// `google.rpc.Code` of what ended before its end.
pub(super) const ABORTED: u8 = 10;

/// Says that nothing has that path, or not with that method.
pub(super) fn not_found() -> Refusal {
    Refusal::google(
        StatusCode::NOT_FOUND,
        "The requested URL was not found on this server.",
    )
}

/// Says that a request is wrong.
pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::google(StatusCode::BAD_REQUEST, message)
}

/// Answers with what was asked for.
pub(super) fn ok(body: &Json) -> Reply {
    Reply::admin(StatusCode::OK, body)
}

/// A `google.rpc.Status`.
pub(super) fn status(code: u8, message: &str) -> Json {
    Json::object([
        ("code", Json::Number(code.to_string())),
        ("message", Json::text(message)),
    ])
}

/// Reads the id of a new dataset or store: `[\p{L}\p{N}_\-\.]{1,256}`.
pub(super) fn new_id<'a>(query: &'a [(String, String)], name: &str) -> Result<&'a str, Refusal> {
    let id = parameter(query, name).unwrap_or_default();
    let length = id.chars().count();
    if !(1..=256).contains(&length)
        || !id
            .chars()
            .all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.'))
    {
        return Err(invalid(format!(
            "invalid {name} \"{id}\": it must match [\\p{{L}}\\p{{N}}_\\-\\.]{{1,256}}"
        )));
    }
    Ok(id)
}

/// Reads the body of a request; none is an empty one.
pub(super) fn object(body: &[u8]) -> Result<Object, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(Object::new());
    }
    match Json::parse(body) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err(Refusal::payload("Root element must be a message.")),
        Err(error) => Err(Refusal::payload(&format!("{error}."))),
    }
}

/// Reads a text from a request, as far as it is there.
pub(super) fn text<'a>(request: &'a Object, steps: &[&str]) -> Option<&'a str> {
    let (last, steps) = steps.split_last()?;
    let mut object = request;
    for step in steps {
        object = object.get(*step)?.as_object()?;
    }
    object.get(*last)?.as_text().filter(|text| !text.is_empty())
}

/// Reads `labels.key=value`, the only form of filter that the API has for stores.
pub(super) fn label_filter(filter: &str) -> Result<Option<(String, String)>, Refusal> {
    if filter.is_empty() {
        return Ok(None);
    }
    let pair = filter
        .strip_prefix("labels.")
        .and_then(|rest| rest.split_once('='));
    let (key, value) = pair.ok_or_else(|| invalid("invalid filter: expected labels.key=value"))?;
    Ok(Some((key.to_owned(), value.trim_matches('"').to_owned())))
}

/// Cuts a page out of a list that is sorted by name.
pub(super) fn page(
    key: &str,
    parent: &str,
    items: impl Iterator<Item = (String, Json)>,
    query: &[(String, String)],
) -> Result<Reply, Refusal> {
    let size = match parameter(query, "pageSize") {
        None | Some("" | "0") => PAGE.0,
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| invalid("invalid pageSize"))?
            .min(PAGE.1),
    };
    let token = parameter(query, "pageToken").unwrap_or_default();
    let after = decode_token(token)
        .filter(|after| after.is_empty() || after.starts_with(parent))
        .ok_or_else(|| invalid("invalid pageToken"))?;
    let mut found: Vec<(String, Json)> = items
        .filter(|(name, _)| *name > after)
        .take(size + 1)
        .collect();
    let mut body = Object::new();
    if found.len() > size {
        found.truncate(size);
        if let Some((name, _)) = found.last() {
            body.insert("nextPageToken".to_owned(), Json::Text(encode_token(name)));
        }
    }
    if !found.is_empty() {
        body.insert(
            key.to_owned(),
            Json::List(found.into_iter().map(|(_, item)| item).collect()),
        );
    }
    Ok(ok(&Json::Object(body)))
}
