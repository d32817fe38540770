//! The transport of a target, and its credentials.

use std::sync::Arc;

use crate::{
    auth::{self, Credentials},
    cli::{Error, Exit, environment, variable},
    gate::{
        LOOK_UPS, Masked, Transport,
        http::{HttpTransport, TransportOptions},
        mllp::{MllpOptions, MllpTransport},
    },
    manifest::{Auth, Store, TargetSettings},
};

/// Opens the way on which the requests of a target go.
pub(super) fn transport(
    settings: &TargetSettings,
    options: &TransportOptions,
) -> Result<Arc<dyn Transport>, Error> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::usage(format!("target `{}`: {error}", settings.name))
    };
    if let Store::Mllp { address, tls } = &settings.store {
        let options = MllpOptions {
            address: address.clone(),
            tls: tls.then(|| settings.tls.clone()),
            timeout: settings.timeout,
        };
        let transport = MllpTransport::new(&options).map_err(|error| failed(&error))?;
        return Ok(Arc::new(transport));
    }
    let transport = HttpTransport::new(options).map_err(|error| failed(&error))?;
    Ok(Arc::new(Masked::new(Arc::new(transport), &options.headers)))
}

/// Returns the options of an HTTP transport, its headers with their variables filled in.
pub(super) fn transport_options(settings: &TargetSettings) -> Result<TransportOptions, Error> {
    let headers = settings
        .completed_headers(&variable)
        .map_err(|error| Error::usage(format!("target `{}`: {error}", settings.name)))?;
    Ok(TransportOptions {
        tls: settings.tls.clone(),
        proxy: settings.proxy.clone(),
        timeout: settings.timeout,
        headers,
        concurrency: settings.concurrency.max as usize + LOOK_UPS,
        ..TransportOptions::default()
    })
}

/// Opens the credentials by which a target is asked.
pub(super) async fn credentials(settings: &TargetSettings) -> Result<Arc<dyn Credentials>, Error> {
    let opened = match &settings.store {
        // Its own way knows the token.
        Store::Local { .. } => auth::open(&Auth::None, &environment()).await,
        _ => auth::open(&settings.auth, &environment()).await,
    };
    opened.map_err(|error| {
        let hint = error.hint.clone();
        let failed = Error::new(Exit::Target, format!("target `{}`: {error}", settings.name));
        match hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    })
}
