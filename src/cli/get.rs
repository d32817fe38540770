//! `stoker get`: one resource out of a store, indented, with its decimals as they are; a message or an instance as it was
//! stored.

use std::{path::PathBuf, sync::Arc};

use super::{
    Context, Error, Exit, connect,
    indent::indent,
    single::{self, Wanted},
    store::StoreArgs,
};
use crate::{
    fhir::{Scanner, outcome, reference::is_id, types},
    gate::Largest,
    manifest::Format,
};

/// Arguments of `stoker get`.
#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// The resource, as Type/id or as two arguments; messages/ID; studies/…/series/…/instances/…
    #[arg(value_name = "TYPE/ID", num_args = 1..=2, required = true)]
    resource: Vec<String>,
    /// Write it into a new file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Runs the verb.
pub(super) async fn run(args: GetArgs, context: Context) -> Result<Exit, Error> {
    if let Some(wanted) = Wanted::of(&args.resource.join("/")) {
        return single::get(&wanted?, args.out.as_ref(), &args.store, context).await;
    }
    let (kind, id) = parse(&args.resource)?;
    let settings = args.store.settings(Format::Fhir, context)?;
    single::expect(&settings, Format::Fhir, "a resource")?;
    connect::refuse_missing(&settings)?;
    let connection = connect::connect(&settings, &Arc::default()).await?;
    let read = connection
        .gate
        .call_interactive(|| {
            let mut read = connection.requests.read(&kind, &id);
            // Nothing was sent by which its size could be known.
            read.extensions_mut().insert(Largest(u64::MAX));
            read
        })
        .await;
    let response = connection
        .finish(read)
        .await
        .map_err(|f| connect::failed(&f))?;
    if !response.status().is_success() {
        // An OperationOutcome speaks of the resource; a store that is missing answers in another shape.
        let is_outcome = outcome::read(response.body()).code.is_some();
        let what = match response.status().as_u16() {
            404 if is_outcome => {
                let what = format!("{kind}/{id} is not in the store");
                return Err(Error::new(Exit::SomeFailed, what));
            }
            404 => format!("{kind}/{id} is not in the store"),
            410 => format!("{kind}/{id} has been deleted"),
            _ => format!("the store refused to give {kind}/{id}"),
        };
        return Err(connect::refused(&what, &response, context));
    }
    if Scanner::new()
        .scan(response.body())
        .map_or(true, |found| found.resource_type.is_none())
    {
        let what = format!("what the server sent for {kind}/{id} is no FHIR resource");
        return Err(Error::new(Exit::Target, what)
            .hint("check the URL: a proxy or a login page may have come between"));
    }
    if let Some(path) = &args.out {
        single::write(path, response.body())?;
        return Ok(Exit::Well);
    }
    match std::str::from_utf8(response.body()) {
        Ok(json) => context.printer.json(&indent(json)),
        Err(_) => context.printer.result_bytes(response.body()),
    }
    Ok(Exit::Well)
}

fn parse(given: &[String]) -> Result<(String, String), Error> {
    let (kind, id) = match given {
        [kind, id] => (kind.as_str(), id.as_str()),
        [both] => both.split_once('/').ok_or_else(|| {
            Error::usage(format!("`{both}` names no resource"))
                .hint("write it as `Patient/some-id`")
        })?,
        _ => return Err(Error::usage("no resource is named")),
    };
    if !types::is_resource_type(kind) {
        return Err(
            Error::usage(format!("`{kind}` is not a FHIR R4 resource type"))
                .hint("types are written as in FHIR: `Patient`, `MedicationRequest`"),
        );
    }
    if !is_id(id) {
        return Err(Error::usage(format!("`{id}` is not a FHIR id"))
            .hint("an id has 1 to 64 letters, digits, `-` and `.`"));
    }
    Ok((kind.to_owned(), id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_named_in_one_word_or_two() {
        let parse = |words: &[&str]| {
            parse(&words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>())
                .map_err(|e| e.problems[0].message.clone())
        };
        assert_eq!(parse(&["Patient/a-1"]), parse(&["Patient", "a-1"]));
        assert_eq!(
            parse(&["patient/a"]).unwrap_err(),
            "`patient` is not a FHIR R4 resource type"
        );
        assert_eq!(
            parse(&["Patient/a/b"]).unwrap_err(),
            "`a/b` is not a FHIR id"
        );
        assert_eq!(
            parse(&["Patient"]).unwrap_err(),
            "`Patient` names no resource"
        );
    }
}
