//! `stoker emulate`: the embedded local store as a server of its own.

use std::{net::SocketAddr, path::PathBuf};

use super::{Context, Error, Exit, interrupt};
use crate::{
    emulator::{self, Opened},
    send::Stop,
};

/// Arguments of `stoker emulate`.
#[derive(Debug, clap::Args)]
pub(super) struct EmulateArgs {
    /// Directory that keeps the store
    #[arg(long, value_name = "DIR", default_value = ".stoker/store")]
    dir: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8085")]
    listen: SocketAddr,
}

/// Runs the verb: until it is interrupted.
pub(super) async fn run(args: EmulateArgs, context: Context) -> Result<Exit, Error> {
    if !args.listen.ip().is_loopback() {
        return Err(
            Error::usage(format!("{} is not a loopback address", args.listen))
                .hint("the local store knows no users; it listens on 127.0.0.1 or [::1] only"),
        );
    }
    let options = emulator::Options {
        dir: args.dir.clone(),
        bind: args.listen,
        token: None,
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
            ));
        }
        Err(error) => return Err(Error::new(Exit::Target, error)),
    };
    context.printer.result(&format!("{}", server.url()));
    context.printer.message(&format!(
        "serving `{}`; the FHIR store of `local: {}` is at {}v1/projects/local/locations/local/datasets/stoker/fhirStores/fhir/fhir\nCtrl-C ends it",
        args.dir.display(),
        args.dir.display(),
        server.url(),
    ));
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    stop.stopping().await;
    server.stop().await;
    Ok(Exit::Well)
}
