//! `stoker emulate`: the embedded local store as a server of its own.

use std::{net::SocketAddr, path::PathBuf};

use super::{Context, Error, Exit, interrupt, local, number};
use crate::{
    emulator::{self, Opened, Scenario},
    send::Stop,
    target::{
        LOCAL_DATASET, LOCAL_FHIR_STORE, LOCAL_LOCATION, LOCAL_PROJECT, local_store_settings,
    },
};

/// The help of `--faults`: the shape of its file, as `emulator::fault` documents it.
const FAULTS: &str = "\
YAML file of faults to make on purpose

Tries how a client bears a bad day: slowness, refusals, lost answers. The file holds a seed and rules:

  seed: 7
  rules:
    - when: { request: [bundle, create], after: 100, until: 2000, probability: 0.1 }
      fault: { answer: { status: 429, retry_after: 2s } }

`when` holds method, path (a glob), request (bundle, create, read, search, update, patch, delete, metadata, admin), \
after and until (numbers of requests) and probability (0 to 1). `fault` is one of:

  latency: { fixed: 20ms }             or uniform: [10ms, 50ms], exponential: 30ms,
                                       lognormal: { median: 30ms, sigma: 0.6 }
  capacity: { limit: 8 }               429 above so many requests in flight
  quota: { rate: 100/s }               429 above the rate; a Bundle costs its entries
  answer: { status: 503 }              also retry_after: 2s, retry_after_form: date,
                                       body: outcome|google|html|empty, echo: true,
                                       after_write: true
  reset: before_body                   or during_body, after_body, after_write,
                                       during_answer
  entries: { status: 500, share: 0.5 } entries of a batch fail inside a 200, instances of
                                       a STOW request inside a 409
  slow: 10 kB/s                        the answer trickles
  truncate: 0.5                        only this part of the answer comes
  token: expired                       401 until another token is presented
  vanish: { for: 2s, as: not_found }   the store is gone; or `as: refused`: the server is

Rules are gone through from the top. Latency waits, entries are marked, and what `capacity` and `quota` admit goes on; \
the first other fault decides. `capacity` and `quota` take an `answer` of their own.";

/// Arguments of `stoker emulate`.
#[derive(Debug, clap::Args)]
pub(super) struct EmulateArgs {
    /// Directory that keeps the store
    #[arg(long, value_name = "DIR", default_value = ".stoker/store")]
    dir: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8085", value_parser = number::address)]
    listen: SocketAddr,
    /// YAML file of faults to make on purpose
    #[arg(long, value_name = "FILE", long_help = FAULTS)]
    faults: Option<PathBuf>,
    /// Let the pages of this origin ask from a browser, such as `http://localhost:3000` (repeatable)
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    allow_origin: Vec<String>,
}

/// Reads an origin as browsers send it: a scheme, a host, a port, and nothing else.
fn origin(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|error| error.to_string())?;
    let origin = url.origin();
    if !origin.is_tuple() || url.path().len() > 1 || url.query().is_some() {
        return Err("an origin is a scheme and a host, such as http://localhost:3000".to_owned());
    }
    Ok(origin.ascii_serialization())
}

/// Runs the verb: until it is interrupted.
pub(super) async fn run(args: EmulateArgs, context: Context) -> Result<Exit, Error> {
    if !args.listen.ip().is_loopback() {
        return Err(
            Error::usage(format!("{} is not a loopback address", args.listen))
                .hint("the local store knows no users; it listens on 127.0.0.1 or [::1] only"),
        );
    }
    let faults = args.faults.as_deref().map(Scenario::read).transpose();
    let faults = faults.map_err(|error| {
        Error::new(Exit::Usage, error)
            .hint("`stoker emulate --help` shows what such a file may say")
    })?;
    let options = emulator::Options {
        bind: args.listen,
        faults,
        origins: args.allow_origin,
        provide: Some(provided()),
        ..emulator::Options::new(args.dir.clone())
    };
    let server = match emulator::open(options).await {
        Ok(Opened::Started(server)) => server,
        Ok(Opened::Running { url, pid, .. }) => {
            return Err(Error::new(
                Exit::Target,
                format!(
                    "`{}` is already served at {url} by process {pid}",
                    args.dir.display()
                ),
            )
            .hint("use that address, end that process, or name another directory with --dir"));
        }
        Err(error) => return Err(local::failed(error)),
    };
    // The reader of the address may end the server at once.
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    context.printer.result(&format!("{}", server.url()));
    let dataset = format!(
        "{}v1/projects/{LOCAL_PROJECT}/locations/{LOCAL_LOCATION}/datasets/{LOCAL_DATASET}",
        server.url(),
    );
    context.printer.message(&format!(
        "serving `{}`, what `local: {}` loads into:\n  FHIR   {dataset}/fhirStores/{LOCAL_FHIR_STORE}/fhir\n  HL7v2  {dataset}/hl7V2Stores/{}\n  DICOM  {dataset}/dicomStores/{}/dicomWeb\nCtrl-C ends it",
        args.dir.display(),
        args.dir.display(),
        emulator::hl7v2::LOCAL_STORE,
        emulator::dicom::LOCAL_STORE,
    ));
    stop.stopping().await;
    for (rule, requests) in server.struck() {
        context.printer.message(&format!("{requests:>8}  {rule}"));
    }
    server.stop().await;
    Ok(Exit::Well)
}

/// The store that `local: DIR` loads into: its URL answers from the start.
fn provided() -> emulator::Provided {
    emulator::Provided {
        dataset: format!(
            "projects/{LOCAL_PROJECT}/locations/{LOCAL_LOCATION}/datasets/{LOCAL_DATASET}"
        ),
        store: LOCAL_FHIR_STORE.to_owned(),
        fields: local_store_settings(&std::collections::BTreeMap::new()),
        hl7v2: Some(emulator::hl7v2::LOCAL_STORE.to_owned()),
        dicom: Some(emulator::dicom::LOCAL_STORE.to_owned()),
    }
}
