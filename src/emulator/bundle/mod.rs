//! executeBundle: batches, whose entries stand alone, and transactions, which happen whole or not at all.

mod entry;
mod transaction;
mod work;

use std::sync::Arc;

use axum::body::Bytes;
use futures::StreamExt as _;
use http::StatusCode;

use self::entry::{Entry, Planned};
use super::app::App;
use super::call::Call;
use super::instant::Instant;
use super::interaction::{Done, apply};
use super::json::Json;
use super::reply::{Refusal, Reply};
use super::rows::ensure_present;
use super::single::{location, read};
use super::stores::fhir::Store;

/// More entries in a transaction are refused at once (Healthcare API, quotas).
const MAX_TRANSACTION: usize = 4500;
/// Entries of a batch that are written together: few enough that others get their turn.
const PART: usize = 64;

/// The result of an entry.
#[derive(Debug)]
enum Answer {
    Done(Done),
    Read(Instant, String),
    Refused(Refusal),
}

/// Carries out a bundle.
pub(super) async fn answer(app: &Arc<App>, mut call: Call) -> Result<Reply, Refusal> {
    call.check_media_type()?;
    let body = call.body.clone();
    // Large bodies take a while to read; that is no work for the threads that wait on sockets.
    let parsed = tokio::task::spawn_blocking(move || entry::parse(&body)).await;
    let (is_transaction, mut entries) = parsed.map_err(|_| {
        Refusal::google(
            StatusCode::INTERNAL_SERVER_ERROR,
            "reading the bundle failed",
        )
    })??;
    let kind = if is_transaction {
        "transaction-response"
    } else {
        "batch-response"
    };
    let answers = if is_transaction {
        if entries.len() > MAX_TRANSACTION {
            let text = format!(
                "a transaction has at most {MAX_TRANSACTION} entries, found {}",
                entries.len()
            );
            return Err(Refusal::fhir(
                StatusCode::BAD_REQUEST,
                "too-costly",
                "bundle_too_large",
                text,
            ));
        }
        let (store, base) = (Arc::clone(&call.store), call.base.clone());
        app.database
            .write(move |session| {
                ensure_present(&session.connection, &store)?;
                transaction::carry_out(session, &store, &base, &entries)
            })
            .await?
    } else {
        if let Some(faults) = &mut call.entries {
            for entry in &mut entries {
                if let Some(refusal) = faults.next(entry.resource.as_deref()) {
                    entry.verb = Err(refusal);
                }
            }
        }
        batch(app, &call, entries).await?
    };
    Ok(Reply::fhir(
        StatusCode::OK,
        response(kind, &call.base, &answers),
    ))
}

async fn batch(app: &Arc<App>, call: &Call, entries: Vec<Entry>) -> Result<Vec<Answer>, Refusal> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|index| entries.get(*index).map(Entry::rank));
    let parts: Vec<Vec<(usize, Entry)>> = {
        let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
        let mut ordered = order
            .into_iter()
            .filter_map(|index| Some((index, entries.get_mut(index)?.take()?)));
        std::iter::from_fn(|| {
            Some(ordered.by_ref().take(PART).collect::<Vec<_>>()).filter(|part| !part.is_empty())
        })
        .collect()
    };
    // Two parts at a time: one is read while the other is written.
    let mut answered = futures::stream::iter(parts)
        .map(|part| write_part(app, &call.store, &call.base, part))
        .buffered(2);
    let mut answers = Vec::new();
    while let Some(part) = answered.next().await {
        answers.extend(part?);
    }
    answers.sort_by_key(|(index, _)| *index);
    let answers: Vec<Answer> = answers.into_iter().map(|(_, answer)| answer).collect();
    match full(&answers) {
        Some(refusal) => Err(refusal),
        None => Ok(answers),
    }
}

/// Returns the refusal of a full disk where nothing of a batch was done: it is about all of it then.
fn full(answers: &[Answer]) -> Option<Refusal> {
    if answers
        .iter()
        .any(|answer| matches!(answer, Answer::Done(_)))
    {
        return None;
    }
    answers.iter().find_map(|answer| match answer {
        Answer::Refused(refusal) if refusal.is_full() => Some(refusal.clone()),
        _ => None,
    })
}

async fn write_part(
    app: &Arc<App>,
    store: &Arc<Store>,
    base: &str,
    part: Vec<(usize, Entry)>,
) -> Result<Vec<(usize, Answer)>, Refusal> {
    let planned: Vec<(usize, Result<Planned, Refusal>)> = part
        .into_iter()
        .map(|(index, entry)| {
            (
                index,
                entry
                    .plan(base)
                    .map_err(|refusal| refusal.at(&expression(index))),
            )
        })
        .collect();
    let store = Arc::clone(store);
    let indices: Vec<usize> = planned.iter().map(|(index, _)| *index).collect();
    let written = app
        .database
        .write(move |session| {
            ensure_present(&session.connection, &store)?;
            let answers = planned.into_iter().map(|(index, planned)| {
                let answer = match planned {
                    Ok(Planned::Write(interaction)) => session
                        .atomically(|session| apply(session, &store, interaction))
                        .map(Answer::Done),
                    Ok(Planned::Read(path)) => read(&session.connection, &store, &path)
                        .map(|(version, text)| Answer::Read(version, text)),
                    Err(refusal) => Err(refusal),
                };
                (index, answer.unwrap_or_else(Answer::Refused))
            });
            Ok(answers.collect())
        })
        .await;
    match written {
        // Another part may have found room: it is told.
        Err(refusal) if refusal.is_full() => Ok(indices
            .into_iter()
            .map(|index| (index, Answer::Refused(refusal.clone())))
            .collect()),
        written => written,
    }
}

fn expression(index: usize) -> String {
    format!("Bundle.entry[{index}]")
}

/// Writes the response: one entry for each of the request, without the resources that were written.
fn response(kind: &str, base: &str, answers: &[Answer]) -> String {
    let mut out = String::with_capacity(64 + answers.len() * 320);
    out.push('{');
    for (index, answer) in answers.iter().enumerate() {
        out.push_str(if index == 0 { "\"entry\":[{" } else { ",{" });
        let mut response = super::json::Object::new();
        let mut put = |key: &str, value: Json| response.insert(key.to_owned(), value);
        let (status, version) = match answer {
            Answer::Done(done) => {
                if let Some(version) = done.version {
                    put(
                        "location",
                        Json::Text(location(base, done.kind, &done.id, version)),
                    );
                }
                (done.status, done.version)
            }
            Answer::Read(version, text) => {
                out.push_str("\"resource\":");
                out.push_str(text);
                out.push(',');
                (StatusCode::OK, Some(*version))
            }
            Answer::Refused(refusal) => {
                put("outcome", refusal.body());
                (refusal.status, None)
            }
        };
        if let Some(version) = version {
            put("etag", Json::Text(version.etag()));
            put("lastModified", Json::Text(version.last_updated()));
        }
        put("status", Json::Text(status.to_string()));
        out.push_str("\"response\":");
        super::json::write_object(&response, &mut out);
        out.push('}');
    }
    if !answers.is_empty() {
        out.push_str("],");
    }
    out.push_str("\"resourceType\":\"Bundle\",\"type\":\"");
    out.push_str(kind);
    out.push_str("\"}");
    out
}

/// The part of a body that a raw value of it covers, without copying.
fn part_of(body: &Bytes, raw: &str) -> Bytes {
    body.slice_ref(raw.as_bytes())
}
