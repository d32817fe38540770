//! Answers that come in pages: searches and histories.

use std::{fmt::Write as _, sync::Arc};

use http::StatusCode;
use rusqlite::params;

use super::access;
use super::app::App;
use super::call::Call;
use super::instant::Instant;
use super::integrity;
use super::json::{Json, Object, write_text};
use super::kind::is_id;
use super::period::Period;
use super::query::{decode_token, encode_token, query};
use super::reply::{Refusal, Reply};
use super::rows::{absent, current};
use super::search::Criteria;

/// Entries on a page of a search or a history, when the client does not say (`_count`), and at most.
const PAGE: (usize, usize) = (100, 1000);

/// The parameters that cut a result into pages.
#[derive(Debug)]
struct Page {
    count: usize,
    /// The place at which the page before ended.
    after: Option<String>,
}

impl Page {
    fn new() -> Self {
        Self {
            count: PAGE.0,
            after: None,
        }
    }

    /// Takes a parameter, if it is one of its own.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, Refusal> {
        match name {
            "_count" => {
                let count: usize = value.parse().map_err(|_| {
                    Refusal::query("invalid _count: expected a non-negative integer")
                })?;
                self.count = count.min(PAGE.1);
            }
            "_page_token" => {
                let token =
                    decode_token(value).ok_or_else(|| Refusal::query("invalid _page_token"))?;
                self.after = Some(token);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn encode(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

/// Tells whether an unknown parameter is refused, and not left out and named (FHIR R4, "Handling Errors").
fn is_strict(call: &Call) -> bool {
    let prefer = call.header("prefer").unwrap_or_default().replace(' ', "");
    let handling = prefer
        .split([',', ';'])
        .find_map(|part| part.strip_prefix("handling="));
    match handling {
        Some("strict") => true,
        Some("lenient") => false,
        _ => call.store.settings.default_search_handling_strict,
    }
}

/// Tells whether a parameter is one that says how to answer, and that this store follows.
fn is_followed(name: &str, value: &str) -> bool {
    match name {
        "_pretty" => true,
        "_format" => {
            let value = value.split(';').next().unwrap_or_default();
            [
                "json",
                "application/json",
                "application/fhir+json",
                "application/fhir json",
            ]
            .contains(&value)
        }
        "_sort" => value == "_id",
        "_summary" => value == "false",
        "_total" => ["none", "estimate", "accurate"].contains(&value),
        _ => false,
    }
}

/// The entry of a search that names what was left out of it.
fn ignored_entry(ignored: &[&str]) -> String {
    let issues = ignored.iter().map(|name| {
        Json::object([
            ("code", Json::text("not-supported")),
            (
                "diagnostics",
                Json::Text(format!("search parameter ignored: {name}")),
            ),
            ("severity", Json::text("warning")),
        ])
    });
    let outcome = Json::object([
        ("issue", Json::List(issues.collect())),
        ("resourceType", Json::text("OperationOutcome")),
    ]);
    Json::object([
        ("resource", outcome),
        ("search", Json::object([("mode", Json::text("outcome"))])),
    ])
    .to_string()
}

/// Answers a search of one type.
pub(super) async fn search(
    app: &App,
    mut call: Call,
    kind: &'static str,
) -> Result<Reply, Refusal> {
    if call.method == http::Method::POST && !call.body.is_empty() {
        if access::essence(&call.headers) != "application/x-www-form-urlencoded" {
            return Err(Refusal::unsupported(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the parameters of a search are sent as application/x-www-form-urlencoded",
            ));
        }
        let form = std::str::from_utf8(&call.body);
        let form = form.map_err(|_| Refusal::query("the parameters are no UTF-8"))?;
        call.query.extend(query(form));
    }
    let strict = is_strict(&call);
    let mut criteria = Criteria::default();
    let mut page = Page::new();
    let mut used = Vec::new();
    let mut ignored = Vec::new();
    let mut with_users = false;
    for (name, value) in &call.query {
        let is_used = if name == "_summary" && value == "count" {
            page.count = 0;
            true
        } else if name == "_revinclude" && value == "*" && call.store.settings.integrity {
            // Only a store that checks references keeps who refers to whom.
            with_users = true;
            true
        } else if page.take(name, value)? {
            name == "_count"
        } else if is_followed(name, value) {
            !matches!(name.as_str(), "_format" | "_pretty")
        } else if criteria.add(kind, name, value)? {
            true
        } else if strict {
            return Err(Refusal::query(format!(
                "unsupported search parameter: {name}"
            )));
        } else {
            ignored.push(name.as_str());
            false
        };
        if is_used {
            used.push((name.as_str(), value.as_str()));
        }
    }
    if page.after.as_deref().is_some_and(|after| !is_id(after)) {
        return Err(Refusal::query("invalid _page_token"));
    }
    let ignored = (!ignored.is_empty()).then(|| ignored_entry(&ignored));
    let used = encode(&used);
    let store = Arc::clone(&call.store);
    let after = page.after.clone().unwrap_or_default();
    let count = page.count;
    let (found, more, users, total) = app
        .database
        .read(move |connection| {
            let mut found = if count == 0 {
                Vec::new()
            } else {
                criteria.find(connection, store.key, kind, &after, count + 1)?
            };
            let more = found.len() > count;
            found.truncate(count);
            let users = if with_users {
                let ids = found.iter().map(|found| found.id.as_str());
                integrity::users(connection, &store, kind, ids, PAGE.1)?
            } else {
                Vec::new()
            };
            let total = criteria.count(connection, store.key, kind)?;
            Ok((found, more, users, total))
        })
        .await?;
    let url = format!("{}/{kind}/?{used}", call.base);
    let next = found
        .last()
        .filter(|_| more)
        .map(|last| encode_token(&last.id));
    let mut entries = String::new();
    let found = found
        .iter()
        .map(|found| (kind, found.id.as_str(), found.text.as_str(), "match"));
    let users = users
        .iter()
        .map(|user| (&*user.kind, &*user.id, &*user.text, "include"));
    for (kind, id, text, mode) in found.chain(users) {
        if !entries.is_empty() {
            entries.push(',');
        }
        entries.push_str("{\"fullUrl\":");
        write_text(&format!("{}/{kind}/{id}", call.base), &mut entries);
        entries.push_str(",\"resource\":");
        entries.push_str(text);
        // Writing to a string cannot fail.
        let _ = write!(entries, ",\"search\":{{\"mode\":\"{mode}\"}}}}");
    }
    if let Some(ignored) = ignored {
        if !entries.is_empty() {
            entries.push(',');
        }
        entries.push_str(&ignored);
    }
    Ok(Reply::fhir(
        StatusCode::OK,
        page_bundle("searchset", &entries, &url, &page, next, Some(total)),
    ))
}

/// Writes a Bundle that is one page of a result.
fn page_bundle(
    kind: &str,
    entries: &str,
    url: &str,
    page: &Page,
    next: Option<String>,
    total: Option<i64>,
) -> String {
    let with_token = |token: &str| {
        let joint = if url.ends_with('?') { "" } else { "&" };
        format!("{url}{joint}_page_token={token}")
    };
    let link = |relation: &str, url: String| {
        Json::object([("relation", Json::text(relation)), ("url", Json::Text(url))])
    };
    let mut links = vec![
        link("search", url.to_owned()),
        link("first", url.to_owned()),
    ];
    links.push(link(
        "self",
        page.after
            .as_ref()
            .map_or_else(|| url.to_owned(), |after| with_token(&encode_token(after))),
    ));
    if let Some(next) = next {
        links.push(link("next", with_token(&next)));
    }
    let mut rest = Object::from([
        ("link".to_owned(), Json::List(links)),
        ("resourceType".to_owned(), Json::text("Bundle")),
        ("type".to_owned(), Json::text(kind)),
    ]);
    if let Some(total) = total {
        rest.insert("total".to_owned(), Json::Number(total.to_string()));
    }
    let rest = Json::Object(rest).to_string();
    if entries.is_empty() {
        return rest;
    }
    // The entries are written already; `entry` comes before the other keys in alphabetical order.
    format!(
        "{{\"entry\":[{entries}],{}",
        rest.get(1..).unwrap_or_default()
    )
}

/// Answers the history of one resource.
pub(super) async fn history(
    app: &App,
    call: Call,
    kind: &'static str,
    id: String,
) -> Result<Reply, Refusal> {
    call.store.refuse_without_versions()?;
    let strict = is_strict(&call);
    let mut page = Page::new();
    let mut since = 0;
    let mut at = Period::ALWAYS;
    let mut used = Vec::new();
    for (name, value) in &call.query {
        if page.take(name, value)? {
            if name == "_count" {
                used.push((name.as_str(), value.as_str()));
            }
        } else if name == "_since" {
            let instant: jiff::Timestamp = value
                .parse()
                .map_err(|_| Refusal::query("invalid _since: expected an instant"))?;
            since = instant.as_microsecond();
            used.push((name.as_str(), value.as_str()));
        } else if name == "_at" {
            at = Period::read(value)
                .ok_or_else(|| Refusal::query("invalid _at: expected a date or a time"))?;
            used.push((name.as_str(), value.as_str()));
        } else if strict && !is_followed(name, value) {
            return Err(Refusal::query(format!(
                "unsupported parameter of a history: {name}"
            )));
        }
    }
    let before = match &page.after {
        None => i64::MAX,
        Some(token) => token
            .parse()
            .map_err(|_| Refusal::query("invalid _page_token"))?,
    };
    let count = page.count.max(1);
    let store = Arc::clone(&call.store);
    let name = (kind, id.clone());
    let mut rows = app
        .database
        .read(move |connection| {
            // A version holds from its own instant to that of the next.
            let sql = "SELECT version, method, text FROM (
                    SELECT version, method, text, lead(version, 1, ?7) OVER (ORDER BY version) AS next FROM (
                        SELECT version, method, text FROM resource WHERE store = ?1 AND kind = ?2 AND id = ?3
                        UNION ALL SELECT version, method, text FROM history WHERE store = ?1 AND kind = ?2 AND id = ?3))
                WHERE version < ?4 AND version >= ?5 AND version < ?8 AND next > ?9 ORDER BY version DESC LIMIT ?6";
            let limit = i64::try_from(count + 1).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(sql)?;
            let values = params![
                store.key, name.0, name.1, before, since, limit, i64::MAX, at.end, at.start
            ];
            let rows = statement.query_map(values, |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            let rows: Vec<(i64, String, Option<String>)> = rows.collect::<Result<_, _>>()?;
            if rows.is_empty() && current(connection, &store, name.0, &name.1)?.is_none() {
                let refusal = absent(connection, &store, name.0, &name.1)?;
                // A deleted resource has a history; a page of it may be empty.
                if refusal.status == StatusCode::NOT_FOUND {
                    return Err(refusal);
                }
            }
            Ok(rows)
        })
        .await?;
    let more = rows.len() > count;
    rows.truncate(count);
    let next = rows
        .last()
        .filter(|_| more)
        .map(|row| encode_token(&row.0.to_string()));
    let mut entries = String::new();
    for (index, (version, method, text)) in rows.iter().enumerate() {
        if index > 0 {
            entries.push(',');
        }
        let target = if method == "POST" {
            kind.to_owned()
        } else {
            format!("{kind}/{id}")
        };
        entries.push_str("{\"fullUrl\":");
        write_text(&format!("{}/{kind}/{id}", call.base), &mut entries);
        let request = Json::object([
            ("method", Json::text(method.as_str())),
            ("url", Json::Text(target)),
        ]);
        entries.push_str(",\"request\":");
        request.write(&mut entries);
        if let Some(text) = text {
            entries.push_str(",\"resource\":");
            entries.push_str(text);
        }
        let version = Instant(*version);
        let status = if method == "POST" {
            "201 Created"
        } else {
            "200 OK"
        };
        let response = Json::object([
            ("etag", Json::Text(version.etag())),
            ("lastModified", Json::Text(version.last_updated())),
            ("status", Json::text(status)),
        ]);
        entries.push_str(",\"response\":");
        response.write(&mut entries);
        entries.push('}');
    }
    let url = format!("{}/{kind}/{id}/_history?{}", call.base, encode(&used));
    Ok(Reply::fhir(
        StatusCode::OK,
        page_bundle("history", &entries, &url, &page, next, None),
    ))
}
