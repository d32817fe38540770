//! Import and export: many messages at a time, as NDJSON in the folder that stands for Cloud Storage, by an operation.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use fs_err::tokio as fs;
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter,
};

use super::super::app::App;
use super::super::buckets;
use super::super::google::{invalid, object, ok, text};
use super::super::json::Json;
use super::super::operation::{Ended, Operation, Stopped};
use super::super::reply::{Refusal, Reply};
use super::super::stores::Collected as _;
use super::super::stores::hl7v2::Store;
use super::MAX_REQUEST;
use super::changes::{Change, note};
use super::filter::{Filter, instant};
use super::list::{Wanted as Part, all, matching};
use super::rows::{self, Message};
use super::take::read;
use super::view::{View, message};
use crate::hl7v2::digest::Digest;

/// Messages that share a write, and messages that are read at a time.
const TOGETHER: usize = 100;
/// The bytes of such messages after which no more are added.
const TOGETHER_BYTES: usize = 16 << 20;

/// Answers `import`.
pub(super) async fn import(
    app: &Arc<App>,
    store: &Arc<Store>,
    body: &[u8],
) -> Result<Reply, Refusal> {
    let request = object(body)?;
    let uri = text(&request, &["gcsSource", "uri"]);
    let uri = uri.ok_or_else(|| invalid("the field gcsSource.uri is required"))?;
    let files = buckets::objects(app.database.dir(), uri)?;
    let method = "google.cloud.healthcare.v1.hl7v2.Hl7V2Service.ImportMessages";
    let (operation, answer) = Operation::begin(app, store.dataset(), method).await?;
    let (weak, store, uri) = (Arc::downgrade(app), Arc::clone(store), uri.to_owned());
    tokio::spawn(async move {
        let mut ended = Ended::default();
        let id = operation.id();
        let mut stopped = Ok(());
        if files.is_empty() {
            let why = format!("invalid_argument: no matching objects found for URI {uri}");
            stopped = Err(Stopped::Failed(why));
        }
        for file in files {
            if stopped.is_ok() {
                stopped = import_file(&weak, &store, &file, &id, &mut ended).await;
            }
        }
        if stopped.is_ok() && ended.failure > 0 {
            let why = "invalid_argument: importing one or more messages failed; the log of the local store names their lines";
            stopped = Err(Stopped::Failed(why.to_owned()));
        }
        operation
            .conclude(
                &weak,
                ended,
                stopped,
                "google.cloud.healthcare.v1.hl7v2.ImportMessagesResponse",
            )
            .await;
    });
    Ok(ok(&answer))
}

async fn import_file(
    weak: &Weak<App>,
    store: &Arc<Store>,
    file: &Path,
    operation: &str,
    ended: &mut Ended,
) -> Result<(), Stopped> {
    let mut lines = BufReader::new(fs::File::open(file).await?);
    let mut number = 0_u64;
    let mut read_all = false;
    while !read_all {
        let app = weak.upgrade().ok_or(Stopped::Gone)?;
        let zone = app.registry().zone(store.dataset());
        let mut together = Vec::new();
        let mut size = 0;
        while together.len() < TOGETHER && size < TOGETHER_BYTES && !read_all {
            let mut line = Vec::new();
            let most = MAX_REQUEST as u64 + 1;
            (&mut lines).take(most).read_until(b'\n', &mut line).await?;
            read_all = line.is_empty();
            size += line.len();
            number += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let message = if line.len() as u64 == most && !line.ends_with(b"\n") {
                skip_line(&mut lines).await?;
                Err(invalid("the line is too long"))
            } else {
                object(&line).and_then(read).and_then(|sent| {
                    let content = store.parser.read(&sent.data, &zone)?;
                    Ok(Message {
                        id: Digest::of(&sent.data).message_id(),
                        created: 0,
                        content,
                        labels: Json::Object(sent.labels).to_string(),
                        data: sent.data,
                    })
                })
            };
            // The reason is content.
            if let Ok(message) = message {
                together.push(message);
            } else {
                ended.failure += 1;
                tracing::warn!(file = %file.display(), line = number, "a message cannot be imported");
            }
        }
        let count = together.len() as u64;
        let (into, operation) = (Arc::clone(store), operation.to_owned());
        app.database
            .write(move |session| {
                into.ensure_present(&session.connection)?;
                for mut message in together {
                    let there = rows::read(&session.connection, &into, &message.id)?;
                    if let Some(there) = there {
                        if there.labels != message.labels {
                            let by = Some(operation.as_str());
                            note(session, &into, Change::Update, &there, by, false)?;
                            let labels = &message.labels;
                            rows::set_labels(&session.connection, &into, &message.id, labels)?;
                        }
                        continue;
                    }
                    message.created = session.clock.tick().0;
                    rows::put(session, &into, &message, Some(&operation))?;
                }
                Ok(())
            })
            .await?;
        ended.success += count;
    }
    Ok(())
}

/// Reads to the end of a line, keeping nothing.
async fn skip_line(lines: &mut BufReader<fs::File>) -> Result<(), Stopped> {
    loop {
        let part = lines.fill_buf().await?;
        let end = memchr::memchr(b'\n', part);
        let (length, is_end) = (
            end.map_or(part.len(), |at| at + 1),
            end.is_some() || part.is_empty(),
        );
        lines.consume(length);
        if is_end {
            return Ok(());
        }
    }
}

/// The messages to export, the view of them, and the folder to write them to.
struct Wanted {
    folder: PathBuf,
    view: View,
    filter: Filter,
    /// Microseconds; the second is not in the range.
    range: (i64, i64),
}

/// Answers `export`.
pub(super) async fn export(
    app: &Arc<App>,
    store: &Arc<Store>,
    body: &[u8],
) -> Result<Reply, Refusal> {
    let request = object(body)?;
    if request.contains_key("pubsubDestination") {
        return Err(invalid("the local store exports to gcsDestination only"));
    }
    let prefix = text(&request, &["gcsDestination", "uriPrefix"]);
    let prefix = prefix.ok_or_else(|| invalid("the field gcsDestination.uriPrefix is required"))?;
    let view = text(&request, &["gcsDestination", "messageView"]).unwrap_or_default();
    let time = |name: &str, missing: i64| text(&request, &[name]).map_or(Ok(missing), instant);
    let now = jiff::Timestamp::now().as_microsecond();
    let wanted = Wanted {
        folder: buckets::folder(app.database.dir(), prefix)?,
        view: View::of(view, View::Full)?,
        filter: Filter::parse(
            text(&request, &["filter"]).unwrap_or_default(),
            app.registry().zone(store.dataset()),
        )?,
        range: (time("startTime", 0)?, time("endTime", now)?),
    };
    if wanted.range.0 >= wanted.range.1 {
        return Err(invalid("end_time has to come after start_time"));
    }
    let method = "google.cloud.healthcare.v1.hl7v2.Hl7V2Service.ExportMessages";
    let (operation, answer) = Operation::begin(app, store.dataset(), method).await?;
    let (weak, store) = (Arc::downgrade(app), Arc::clone(store));
    tokio::spawn(async move {
        let mut ended = Ended::default();
        let id = operation.id();
        let stopped = export_all(&weak, &store, wanted, &id, &mut ended).await;
        operation
            .conclude(
                &weak,
                ended,
                stopped,
                "google.cloud.healthcare.v1.hl7v2.ExportMessagesResponse",
            )
            .await;
    });
    Ok(ok(&answer))
}

async fn export_all(
    weak: &Weak<App>,
    store: &Arc<Store>,
    wanted: Wanted,
    id: &str,
    ended: &mut Ended,
) -> Result<(), Stopped> {
    fs::create_dir_all(&wanted.folder).await?;
    let path = wanted.folder.join(format!("{id}.ndjson"));
    let unfinished = wanted.folder.join(format!(".{id}.unfinished"));
    let mut out = BufWriter::new(fs::File::create(&unfinished).await?);
    let wanted = Arc::new(wanted);
    let mut after = String::new();
    loop {
        let app = weak.upgrade().ok_or(Stopped::Gone)?;
        let (from, wanted, place) = (Arc::clone(store), Arc::clone(&wanted), after.clone());
        let found = app
            .database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(&all())?;
                let part = Part {
                    filter: &wanted.filter,
                    most: TOGETHER,
                    with_data: wanted.view.shows_data(),
                };
                let (found, is_more) = matching(&mut statement, &from, (i64::MIN, place), &part)?;
                let last = found.last().filter(|_| is_more);
                let last = last.map(|message| message.id.clone());
                let (first, end) = wanted.range;
                let is_wanted = |message: &Message| {
                    message
                        .content
                        .sent
                        .is_some_and(|sent| first <= sent && sent < end)
                };
                let lines = found.iter().filter(|message| is_wanted(message));
                let lines: Vec<String> = lines
                    .map(|found| message(&from, found, wanted.view).to_string())
                    .collect();
                Ok((lines, last))
            })
            .await?;
        let (lines, last) = found;
        for line in lines {
            out.write_all(line.as_bytes()).await?;
            out.write_all(b"\n").await?;
            ended.success += 1;
        }
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    out.flush().await?;
    out.into_inner().sync_all().await?;
    fs::rename(&unfinished, &path).await?;
    Ok(())
}
