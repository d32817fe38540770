//! `stoker create`: one resource, message or instance from a file into a store; prints the new id.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{Context, Error, Exit, connect, single, store::StoreArgs};
use crate::{
    fhir::{Scanner, outcome, types},
    gate::CallFailure,
    hl7v2,
    manifest::Format,
    record::Operation,
    small_file,
    source::LARGEST_RECORD,
    target::{
        self, Accepted, Refused, Said,
        fhir::{Asked, Verb, said},
    },
};

/// Arguments of `stoker create`.
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// File that holds one resource, one HL7v2 message or one DICOM instance; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

/// Says of a file that begins as no record does what it may be.
fn unlike_a_record(file: &Path, bytes: &[u8]) -> Error {
    let what = format!(
        "{} holds none of a FHIR resource in JSON, a message of HL7v2 and a DICOM instance",
        file.display()
    );
    Error::usage(what).hint(match bytes.trim_ascii_start() {
        [b'<', ..] => "FHIR is read in JSON only: write it as JSON first",
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "it is compressed: unpack it first, or load it with a manifest, which unpacks"
        }
        _ if hl7v2::has_message_behind(bytes) => {
            "other bytes stand before its first message: take them out"
        }
        _ => "check that it is the file that you mean",
    })
}

/// Runs the verb.
pub(super) async fn run(args: CreateArgs, context: Context) -> Result<Exit, Error> {
    let bytes = read(&args.file)?;
    if bytes.is_empty() {
        let what = format!("{} is empty", args.file.display());
        return Err(Error::usage(what).hint("name a file that holds one record"));
    }
    let format = single::format_of(&bytes);
    if format != Format::Fhir {
        return single::create(&args.file, bytes.into(), format, &args.store, context).await;
    }
    let bytes = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
        Some(unmarked) if args.file.as_os_str() != "-" => unmarked.to_vec(),
        _ => bytes,
    };
    let settings = args.store.settings(format, context)?;
    // The file is judged by what the target holds: bytes that are nothing else may be a resource.
    let is_json = bytes.trim_ascii_start().starts_with(b"{");
    let what = if is_json {
        "a resource"
    } else {
        "text that is neither an HL7v2 message nor a DICOM instance"
    };
    single::expect(&settings, format, what)?;
    if !is_json {
        return Err(unlike_a_record(&args.file, &bytes));
    }
    let Named { kind, id } = named(&bytes, &args.file)?;
    let connection = connect::connect(&settings, &Arc::default()).await?;
    if matches!(settings.store, crate::manifest::Store::Local { .. }) {
        connection.ensure().await?;
    }
    let body = Bytes::from(bytes);
    let answered = connection
        .gate
        .call_once(|| connection.requests.create(&kind, body.clone()))
        .await;
    let response = connection
        .finish(answered)
        .await
        .map_err(|failure| failed(&failure))?;
    let status = response.status();
    let asked = Asked {
        verb: Verb::Create,
        kind: &kind,
        own: None,
        sent: id.as_deref(),
    };
    let said = said(&asked, status.as_u16(), response.headers(), response.body());
    // An error is one under any status.
    if !status.is_success() || said == Said::Refused {
        let error = connect::refused(&format!("the store refused the {kind}"), &response, context);
        return Err(explained(error, &kind, &response));
    }
    match said {
        Said::Taken(Accepted { id: Some(id), .. }) => {
            context.printer.result(&id);
            Ok(Exit::Well)
        }
        _ => Err(Error::new(
            Exit::Target,
            format!("the store answered {status} to the {kind}, but told no id"),
        )
        .hint("it was most likely created; look for it before you try again")),
    }
}

/// Adds what the codes of the answer mean, where they tell.
fn explained(error: Error, kind: &str, response: &http::Response<Bytes>) -> Error {
    let problem = outcome::read(response.body());
    let refused = Refused {
        format: Format::Fhir,
        kind,
        operation: Some(Operation::Create),
        status: Some(response.status().as_u16()),
        code: problem.code.as_deref(),
        detail: problem.detail.as_deref(),
        expression: &[],
        lacks: &[],
        checks: false,
        is_googles: false,
    };
    // A status that says all by itself has its hint already.
    let told = target::explain(&refused).filter(|told| !told.is_unsaid);
    let Some(told) = told.filter(|_| problem.detail.is_some()) else {
        return error;
    };
    let error = error.hint(told.what);
    match told.next {
        Some(next) => error.hint(next),
        None => error,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|e| Error::usage(format!("cannot read standard input: {e}")))?;
        return Ok(bytes);
    }
    let read = small_file::read(path, LARGEST_RECORD as u64);
    read.map_err(|why| Error::usage(format!("cannot read {}: {why}", path.display())))
}

/// The name that a resource has in its file.
struct Named {
    kind: String,
    id: Option<String>,
}

fn named(bytes: &[u8], path: &Path) -> Result<Named, Error> {
    let mut scanner = Scanner::new();
    let found = scanner.scan(bytes).map_err(|error| {
        let line =
            1 + memchr::memchr_iter(b'\n', bytes.get(..error.offset).unwrap_or(bytes)).count();
        Error::usage(format!("{}:{line}: {error}", path.display()))
    })?;
    let kind = found
        .resource_type
        .map(|part| part.text(bytes))
        .ok_or_else(|| Error::usage(format!("{}: it has no resourceType", path.display())))?;
    if !types::is_known_type(&kind) {
        return Err(Error::usage(format!(
            "{}: its resourceType is none of FHIR's",
            path.display()
        )));
    }
    if kind == "Bundle" {
        return Err(
            Error::usage(format!("{}: it is a Bundle", path.display())).hint(
                "`stoker load` loads Bundles; `stoker init` writes a manifest for their folder",
            ),
        );
    }
    Ok(Named {
        kind: kind.into_owned(),
        id: found.id.map(|part| part.text(bytes).into_owned()),
    })
}

fn failed(failure: &CallFailure) -> Error {
    let error = connect::failed(failure);
    if failure.may_have_been_sent {
        return error.hint(
            "the resource may have been created all the same; look for it before you try again",
        );
    }
    error
}
