//! Joins the layers: from a target's settings to a gate that can be sent through.

mod failure;
mod targets;
mod transport;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use self::transport::{credentials, transport, transport_options};
pub(super) use self::{
    failure::{at_target, failed, refused},
    targets::{close_all, connect_all, connect_to_plan, make_local_stores, with_facts},
};
use super::{Error, Exit, local::LocalStore, milliseconds};
use crate::{
    auth::Credentials,
    emulator, ensure,
    gate::{AnswerBudget, Gate, GateSettings, Transport, http::TransportOptions},
    manifest::{Format, Store, TargetSettings},
    probe,
    send::{DryRunTransport, TargetConnection},
    target::{self, Endpoint, Facts, Target, fhir::RequestBuilder, local_store_settings},
};

/// A target that can be sent to.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) gate: Arc<Gate>,
    pub(super) requests: RequestBuilder,
    pub(super) target: Arc<dyn Target>,
    pub(super) endpoint: Endpoint,
    settings: TargetSettings,
    transport: Arc<dyn Transport>,
    credentials: Arc<dyn Credentials>,
    /// The local store, where the target is one.
    local: Option<Arc<LocalStore>>,
    /// The store does not exist yet, as its facts have it.
    is_missing: AtomicBool,
    /// The memory for answers, where the target is a local store that is made when something is sent, and not before.
    ahead: Option<Arc<AnswerBudget>>,
}

/// Connects to a target; a local store's server is started if nobody serves it yet.
///
/// `answers` is the memory for what it says.
pub(super) async fn connect(
    settings: &TargetSettings,
    answers: &Arc<AnswerBudget>,
) -> Result<Connection, Error> {
    let options = TransportOptions {
        answers: Arc::clone(answers),
        ..transport_options(settings)?
    };
    let mut transport = transport(settings, &options)?;
    let local = match &settings.store {
        Store::Local { dir, .. } => {
            let opened = LocalStore::open(dir, Arc::clone(&transport)).await;
            let opened = opened.map_err(|error| at_target(&settings.name, error));
            Some(Arc::new(opened?))
        }
        _ => None,
    };
    if let Some(local) = &local {
        transport = Arc::clone(local) as Arc<dyn Transport>;
    }
    let url = local.as_ref().map(|local| local.url());
    let credentials = credentials(settings).await?;
    let connection = Connection::by(settings, url.as_ref(), transport, credentials)?;
    tracing::info!(
        target = settings.name,
        url = address(&connection.endpoint.base),
        "a connection is set up"
    );
    Ok(Connection {
        local,
        ..connection
    })
}

/// The version that a target names, where it is one: a server may put any words there.
fn fhir_version(facts: &Facts) -> &str {
    let version = facts.version.as_deref().unwrap_or("not said");
    let is_version = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
    if version.chars().all(is_version) || facts.version.is_none() {
        version
    } else {
        "not one that is known"
    }
}

/// An address as it stands in the log: neither a user's name nor a query.
fn address(url: &url::Url) -> String {
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// Refuses a local store that is not there: opening it would make it, and who only reads makes nothing.
pub(super) fn refuse_missing(settings: &TargetSettings) -> Result<(), Error> {
    match &settings.store {
        Store::Local { dir, .. } if !emulator::is_there(dir) => {
            let message = format!("there is no local store in `{}`", dir.display());
            Err(Error::new(Exit::Target, message)
                .hint("check the path; a load, or `stoker create`, makes a store"))
        }
        _ => Ok(()),
    }
}

impl Connection {
    fn by(
        settings: &TargetSettings,
        url: Option<&url::Url>,
        transport: Arc<dyn Transport>,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Self, Error> {
        let endpoint = Endpoint::of(settings, url).map_err(|error| {
            Error::usage(format!(
                "target `{}` cannot be part of a URL: {error}",
                settings.name
            ))
        })?;
        let gate = Gate::new(
            Arc::clone(&transport),
            Arc::clone(&credentials),
            &GateSettings::of(settings, 1),
            &endpoint.base,
        )
        .map_err(|error| Error::usage(format!("target `{}`: {error}", settings.name)))?;
        Ok(Self {
            gate: Arc::new(gate),
            requests: RequestBuilder::new(&endpoint.base),
            target: target::of(&endpoint),
            endpoint,
            settings: settings.clone(),
            transport,
            credentials,
            local: None,
            is_missing: AtomicBool::new(false),
            ahead: None,
        })
    }

    /// Asks the target for its facts.
    pub(super) async fn facts(&self) -> Result<Facts, Error> {
        if self.ahead.is_some() {
            self.is_missing.store(true, Ordering::Relaxed);
            return Ok(Facts {
                assumed: false,
                missing: true,
                ..Facts::documented(&self.settings.store)
            });
        }
        let began = tokio::time::Instant::now();
        let facts = probe::facts(&self.gate, &self.endpoint, &self.requests, &self.settings).await;
        if let Ok(facts) = &facts {
            let ms = milliseconds(began.elapsed());
            let version = fhir_version(facts);
            let (transactions, batches) = (facts.transaction, facts.batch);
            let (target, known) = (&*self.settings.name, |fact: Option<bool>| match fact {
                Some(true) => "yes",
                Some(false) => "no",
                None => "not said",
            });
            tracing::info!(
                target,
                ms,
                fhir = version,
                transactions = known(transactions),
                batches = known(batches),
                missing = facts.missing,
                "the target was asked what it is"
            );
        }
        let facts = facts.map_err(|error| match error {
            probe::Error::Failure(failure) => self.at_target(failed(&failure)),
            probe::Error::Refused { what, hint, .. } => {
                self.at_target(Error::new(Exit::Target, what).hint(hint))
            }
            probe::Error::Name(error) => Error::usage(error),
        })?;
        self.is_missing.store(facts.missing, Ordering::Relaxed);
        Ok(facts)
    }

    /// Returns what tells its store from all others.
    pub(super) fn place(&self) -> String {
        self.settings.store.place()
    }

    /// Creates the store if it is missing and the manifest asks for it.
    pub(super) async fn ensure(&self) -> Result<bool, Error> {
        let fields = match &self.settings.store {
            Store::Local { store, format, .. } => match format {
                Format::Fhir => local_store_settings(store),
                Format::Dicom | Format::Hl7v2 => store.clone(),
            },
            Store::Google(store) => match store.ensure.clone() {
                Some(fields) => fields,
                None => return Ok(false),
            },
            Store::Fhir { .. } | Store::Dicomweb { .. } | Store::Mllp { .. } => return Ok(false),
        };
        let Some(name) = &self.endpoint.google else {
            return Ok(false);
        };
        let ensured = ensure::ensure(&self.gate, name, &fields).await;
        if let Ok(created) = &ensured {
            tracing::info!(
                target = self.settings.name,
                created,
                "the store was asked for, to be created where it is missing"
            );
        }
        ensured.map_err(|error| {
            let failed = match error {
                ensure::Error::Failure(failure) => failed(&failure),
                other => {
                    let hint = other.hint();
                    let error = Error::new(Exit::Target, other);
                    match hint {
                        Some(hint) => error.hint(hint),
                        None => error,
                    }
                }
            };
            self.at_target(failed)
        })
    }

    /// Returns what `send` needs of it, for requests of at most `largest_request` operations.
    pub(super) fn link(&self, largest_request: u32) -> Result<TargetConnection, Error> {
        let settings = GateSettings::of(&self.settings, largest_request);
        self.link_by(Arc::clone(&self.transport), &settings)
    }

    /// Returns a link by which nothing is sent that writes. A store that was missing when it was asked for its facts holds
    /// nothing.
    pub(super) fn dry_run_link(&self, largest_request: u32) -> Result<TargetConnection, Error> {
        // Reads keep to the rate on their own gate; what is not sent needs none.
        let settings = GateSettings {
            rate: None,
            bytes_rate: None,
            ..GateSettings::of(&self.settings, largest_request)
        };
        let is_missing = self.is_missing.load(Ordering::Relaxed);
        let reads = (!is_missing).then(|| Arc::clone(&self.gate));
        let transport = DryRunTransport::new(Arc::clone(&self.target), reads);
        self.link_by(Arc::new(transport), &settings)
    }

    fn link_by(
        &self,
        transport: Arc<dyn Transport>,
        settings: &GateSettings,
    ) -> Result<TargetConnection, Error> {
        let gate = Gate::new(
            transport,
            Arc::clone(&self.credentials),
            settings,
            &self.endpoint.base,
        )
        .map_err(|error| self.at_target(Error::usage(error)))?;
        let witness = self.target.alive().map_err(Error::usage)?;
        let gate = if self.gate.is_mute() {
            gate
        } else {
            gate.with_witness(witness)
        };
        Ok(TargetConnection {
            gate: Arc::new(gate),
            target: Arc::clone(&self.target),
            slots: self.settings.concurrency.max,
        })
    }

    /// Sends through its gate, then ends the connection: for verbs that make a single request.
    pub(super) async fn finish<T>(self, answered: T) -> T {
        self.close().await;
        answered
    }

    /// Ends the local store's server, if this process serves it.
    pub(super) async fn close(self) {
        if let Some(local) = self.local {
            local.close().await;
        }
    }

    fn at_target(&self, error: Error) -> Error {
        at_target(&self.settings.name, error)
    }
}
