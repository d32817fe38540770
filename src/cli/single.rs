//! One message or instance into a store, or out of it: what `create` and `get` do with records that are no resources.

use std::{
    collections::HashMap,
    io::{IsTerminal as _, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, header};
use serde::Deserialize;

use super::{Context, Error, Exit, connect, store::StoreArgs};
use crate::{
    dicom,
    gate::Largest,
    hl7v2,
    manifest::{Format, LoadSettings, Store, TargetSettings},
    record::{Action, LoadId, Operation, Outcome, SourceId, Span, Step},
    source::{self, Ceiling, Form, Item, Origin, SourceFile},
    target::{Accepted, Answer, Endpoint, Little, Parcel, Said, Target, dicom::Dicom},
};

/// Tells the format of a file by its beginning: what is neither an instance nor a message is taken for a resource.
pub(super) fn format_of(bytes: &[u8]) -> Format {
    if dicom::looks_like(bytes.get(..dicom::ENOUGH).unwrap_or(bytes)) {
        Format::Dicom
    } else if hl7v2::looks_like(bytes.get(..hl7v2::ENOUGH).unwrap_or(bytes)) {
        Format::Hl7v2
    } else {
        Format::Fhir
    }
}

fn a_store(format: Format) -> &'static str {
    match format {
        Format::Fhir => "a FHIR store",
        Format::Dicom => "a DICOM store",
        // A receiver takes messages as well.
        Format::Hl7v2 => "an HL7v2 store",
    }
}

/// Refuses a target that holds records of another kind.
pub(super) fn expect(settings: &TargetSettings, format: Format, what: &str) -> Result<(), Error> {
    let has = settings.store.format();
    if has == format {
        return Ok(());
    }
    let (wants, has) = (a_store(format), a_store(has));
    let message = format!("{what} belongs into {wants}, and the target is {has}");
    Err(Error::usage(message).hint("name another target, or another file"))
}

/// Sends the one record of a file, and prints the name under which the store holds it.
pub(super) async fn create(
    path: &Path,
    bytes: Bytes,
    format: Format,
    store: &StoreArgs,
    context: Context,
) -> Result<Exit, Error> {
    let settings = store.settings(format, context)?;
    let what = match format {
        Format::Dicom => "an instance",
        _ => "a message",
    };
    expect(&settings, format, what)?;
    let operation = match (&settings.store, format) {
        (Store::Mllp { .. }, _) => Operation::Transmit,
        (_, Format::Dicom) => Operation::Store,
        _ => Operation::Ingest,
    };
    if path.as_os_str() == "-" {
        let message = format!("{what} is read from a file, not from standard input");
        return Err(Error::usage(message).hint("write it into a file first"));
    }
    let step = only_record(path, format, operation)?;
    let record = part(&bytes, step.body).ok_or_else(|| {
        let message = format!("{}: it changed while it was read", path.display());
        Error::usage(message).hint("try again when nobody writes it")
    })?;
    let load = LoadSettings::plain("create", &settings.name, format);
    let connection = connect::connect(&settings, &Arc::default()).await?;
    if matches!(settings.store, Store::Local { .. }) {
        connection.ensure().await?;
    }
    let target = Arc::clone(&connection.target);
    let replaces = HashMap::new();
    let parcel = Parcel {
        settings: &load,
        packaging: None,
        steps: std::slice::from_ref(&step),
        replaces: &replaces,
        stretches: &HashMap::new(),
    };
    let request = target
        .write(&parcel, &mut std::iter::once(record))
        .map_err(|unbuilt| Error::usage(format!("{}: {}", path.display(), unbuilt.why)))?;
    let answered = connection.gate.call_once(|| request.clone()).await;
    let response = connection.finish(answered).await.map_err(|failure| {
        let error = connect::failed(&failure);
        if failure.may_have_been_sent && operation == Operation::Transmit {
            return error.hint("it may have arrived all the same: look at the receiver before you send it again");
        }
        if failure.may_have_been_sent {
            return error.hint("it may have arrived all the same; what has a name of its own can be sent again without harm");
        }
        error
    })?;
    let answers = if response.status().is_success() {
        target.answers(&parcel, &response).ok()
    } else {
        target.refused_each(&parcel, &response)
    };
    let answer = answers.and_then(|answers| answers.into_iter().next().flatten());
    if operation == Operation::Transmit
        && !matches!(&answer, Some(answer) if matches!(answer.said, Said::Taken(_)))
    {
        return Err(unacknowledged(&*target, answer, &response, context));
    }
    said(&step, what, answer, &response, context)
}

/// Says what came instead of an acknowledgement that takes the message.
fn unacknowledged(
    target: &dyn Target,
    answer: Option<Answer>,
    response: &Response<Bytes>,
    context: Context,
) -> Error {
    if let Some(Said::Little(Little::Other(why) | Little::Silence(why))) =
        answer.map(|answer| answer.said)
    {
        return Error::new(Exit::Target, why).hint(
            "it may have been taken all the same: look at the receiver before you send it again",
        );
    }
    let refusal = target.refusal(None, response.body());
    let code = refusal.code.unwrap_or_default();
    let place = refusal.expression.first().map_or("", String::as_str);
    let words = crate::target::hl7v2::acknowledged(&code, place)
        .unwrap_or_else(|| target.words(response.status().as_u16(), response.body()));
    let message = if context.show_content {
        format!(
            "the receiver refused the message: {code}, {words}: {}",
            refusal.text
        )
    } else {
        format!("the receiver refused the message: {code}, {words}")
    };
    let error = Error::new(Exit::SomeFailed, message);
    if context.show_content {
        error
    } else {
        error.hint("--show-content also shows the receiver's words, which may hold patients' data")
    }
}

/// Tells what became of it.
fn said(
    step: &Step,
    what: &str,
    answer: Option<Answer>,
    response: &Response<Bytes>,
    context: Context,
) -> Result<Exit, Error> {
    let status = response.status();
    match answer.map(|answer| answer.said) {
        Some(Said::Taken(Accepted {
            id, outcome, note, ..
        })) => {
            if let Some(note) = note.filter(|_| outcome != Some(Outcome::Created)) {
                context.printer.message(note);
            }
            let keeps_id = step.action.operation().is_some_and(Operation::keeps_id);
            let own = step.id.clone().filter(|_| keeps_id);
            if let Some(id) = own.or(id) {
                context.printer.result(&name(&id, step));
            }
            Ok(Exit::Well)
        }
        Some(Said::Little(_)) | None if status.is_success() => Err(Error::new(
            Exit::Target,
            format!("the store answered {status} to {what}, and did not say that it has taken it"),
        )
        .hint("look for it before you try again: stoker get …")),
        _ => Err(connect::refused(
            &format!("the store refused {what}"),
            response,
            context,
        )),
    }
}

/// The word by which `stoker get` finds it again.
fn name(id: &str, step: &Step) -> String {
    match step.action.operation() {
        Some(Operation::Ingest | Operation::CreateMessage) => format!("messages/{id}"),
        _ => id.to_owned(),
    }
}

/// Returns the bytes of the record alone: a batch or a frame around it is the file's.
fn part(file: &Bytes, span: Span) -> Option<Bytes> {
    let start = usize::try_from(span.start).ok()?;
    let end = start.checked_add(usize::try_from(span.length).ok()?)?;
    (end <= file.len()).then(|| file.slice(start..end))
}

/// Reads the one record that a file holds.
fn only_record(path: &Path, format: Format, operation: Operation) -> Result<Step, Error> {
    let file = SourceFile {
        id: SourceId(0),
        origin: Origin::File(path.to_owned()),
        form: Form::Unrecognized.within(format),
    };
    let (mut steps, mut refused) = (Vec::new(), None);
    let mut visit = |item: Item<'_>| {
        if let Item::Facets(found) = item {
            match &found.refused {
                Some(reason) => refused = Some(reason.message.clone()),
                None => steps.push(Step::of(&found, LoadId(0), Action::Send(operation))),
            }
        }
        ControlFlow::Continue(())
    };
    source::read(&file, None, Ceiling::Any, &mut visit).map_err(Error::usage)?;
    let shown = path.display();
    match (steps.pop(), steps.len(), refused) {
        (_, _, Some(why)) => Err(Error::usage(format!("{shown}: {why}"))),
        (Some(step), 0, None) => Ok(step),
        (Some(_), others, None) => Err(Error::usage(format!(
            "{shown}: it holds {} messages",
            others + 1
        ))
        .hint("`stoker load` loads files with many; `stoker init` writes a manifest for them")),
        (None, ..) => Err(Error::usage(format!("{shown}: it holds no record"))),
    }
}

/// The record that is asked for, if it is no resource.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// An instance, by its path below a DICOMweb service.
    Instance(String),
    /// A message, by the last part of its name.
    Message(String),
}

impl Wanted {
    /// Reads the name that is asked for; none where it is the name of a resource. Reports name a message by its type
    /// (`ADT^A04/…`) and an instance by its modality (`CR/studies/…`).
    pub(super) fn of(given: &str) -> Option<Result<Self, Error>> {
        let given = match given.split_once('/') {
            Some((modality, name)) if name.starts_with("studies/") && !modality.is_empty() => name,
            _ => given,
        };
        let of_type = given
            .split_once('/')
            .and_then(|(kind, id)| kind.contains('^').then_some(id));
        if let Some(id) = of_type.or_else(|| given.strip_prefix("messages/")) {
            let is_sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=');
            let is_id = (1..=256).contains(&id.len()) && id.chars().all(is_sign);
            return Some(if is_id {
                Ok(Self::Message(id.to_owned()))
            } else {
                Err(Error::usage("that is not the id of a message")
                    .hint("write it as `messages/ID`, as `stoker create` prints it"))
            });
        }
        given.strip_prefix("studies/")?;
        let parts: Vec<&str> = given.split('/').collect();
        let is_uid = dicom::header::is_uid;
        Some(match parts.as_slice() {
            ["studies", study, "series", series, "instances", instance]
                if is_uid(study) && is_uid(series) && is_uid(instance) =>
            {
                Ok(Self::Instance(given.to_owned()))
            }
            _ => Err(Error::usage("that is not the name of an instance").hint(
                "write it as `studies/STUDY/series/SERIES/instances/INSTANCE`, as `stoker create` prints it",
            )),
        })
    }

    fn format(&self) -> Format {
        match self {
            Self::Instance(_) => Format::Dicom,
            Self::Message(_) => Format::Hl7v2,
        }
    }
}

/// Fetches a record and writes its bytes as they were stored.
pub(super) async fn get(
    wanted: &Wanted,
    out: Option<&PathBuf>,
    store: &StoreArgs,
    context: Context,
) -> Result<Exit, Error> {
    let settings = store.settings(wanted.format(), context)?;
    let what = match wanted {
        Wanted::Instance(_) => "the instance",
        Wanted::Message(_) => "the message",
    };
    expect(&settings, wanted.format(), what)?;
    if matches!(settings.store, Store::Mllp { .. }) {
        let message = "a receiver of MLLP gives nothing back";
        return Err(Error::usage(message).hint("name a store"));
    }
    let is_instance = matches!(wanted, Wanted::Instance(_));
    if is_instance && out.is_none() && std::io::stdout().is_terminal() {
        let message = "an instance is no text, and the terminal would show it";
        return Err(Error::usage(message).hint("write it into a file: --out FILE"));
    }
    connect::refuse_missing(&settings)?;
    let connection = connect::connect(&settings, &Arc::default()).await?;
    let read = {
        let make = || {
            let mut read = read(&connection.endpoint, &*connection.target, wanted);
            // Nothing was sent by which its size could be known.
            read.extensions_mut().insert(Largest(u64::MAX));
            read
        };
        connection.gate.call_interactive(make).await
    };
    let response = connection
        .finish(read)
        .await
        .map_err(|failure| connect::failed(&failure))?;
    if !response.status().is_success() {
        let what = match response.status().as_u16() {
            404 | 410 => format!("{what} is not in the store"),
            _ => format!("the store refused to give {what}"),
        };
        return Err(connect::refused(&what, &response, context));
    }
    let bytes = content(wanted, &response).ok_or_else(|| {
        Error::new(
            Exit::Target,
            format!("what the server sent for {what} cannot be read"),
        )
        .hint("check the URL: a proxy or a login page may have come between")
    })?;
    match out {
        Some(path) => write(path, &bytes)?,
        None if std::io::stdout().is_terminal() => {
            // Segments end by CR, which a terminal would write over each other.
            let text = String::from_utf8_lossy(&bytes).replace('\r', "\n");
            context.printer.document(&text);
        }
        None => context.printer.result_bytes(&bytes),
    }
    Ok(Exit::Well)
}

fn read(
    endpoint: &Endpoint,
    target: &dyn crate::target::Target,
    wanted: &Wanted,
) -> Request<Bytes> {
    match wanted {
        Wanted::Instance(name) => {
            Dicom::new(&endpoint.base, endpoint.google.clone()).retrieve(name)
        }
        Wanted::Message(id) => target.read("", id),
    }
}

#[derive(Deserialize)]
struct Message {
    data: String,
}

/// Returns the bytes of the record in an answer.
fn content(wanted: &Wanted, response: &Response<Bytes>) -> Option<Vec<u8>> {
    match wanted {
        Wanted::Instance(_) => {
            let content_type = response.headers().get(header::CONTENT_TYPE)?;
            let content_type = content_type.to_str().ok()?;
            let part = dicom::multipart::only_part(content_type, response.body())?;
            Some(part.to_vec())
        }
        Wanted::Message(_) => {
            let message: Message = serde_json::from_slice(response.body()).ok()?;
            STANDARD.decode(message.data).ok()
        }
    }
}

/// Writes what is patients' data for nobody else to read; a file that exists is not replaced.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(|error| {
        let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
        let error = Error::usage(error);
        if exists {
            return error.hint("name another file; what exists is not replaced");
        }
        error
    })?;
    file.write_all(bytes).map_err(Error::disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_told_by_its_name() {
        let of = |given| {
            Wanted::of(given).map(|wanted| wanted.map_err(|e| e.problems[0].message.clone()))
        };
        assert_eq!(of("Patient/studies"), None);
        let name = "studies/1.2/series/1.3/instances/1.4";
        assert_eq!(of(name), Some(Ok(Wanted::Instance(name.to_owned()))));
        for wrong in [
            "studies/1.2",
            "studies/../series/1/instances/2",
            "studies/1/series/2/instances/3/x",
        ] {
            assert!(of(wrong).is_some_and(|read| read.is_err()), "{wrong}");
        }
        assert_eq!(
            of("messages/ab-_="),
            Some(Ok(Wanted::Message("ab-_=".to_owned())))
        );
        let by_report = format!("CR/{name}");
        assert_eq!(of(&by_report), of(name));
        assert_eq!(of("ADT^A04/ab-_="), of("messages/ab-_="));
        assert!(of("messages/a/b").is_some_and(|read| read.is_err()));
        assert!(of("messages/").is_some_and(|read| read.is_err()));
    }
}
