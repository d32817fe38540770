//! Joins the layers: from a target's settings to a gate that can be sent through.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::Response;

use super::{
    Context, Error, Exit, environment,
    local::LocalStore,
    milliseconds,
    not_there::{self, NotThere},
};
use crate::{
    auth::{self, Credentials},
    emulator, ensure,
    fhir::outcome,
    gate::{
        AnswerBudget, CallFailure, Gate, GateSettings, LOOK_UPS, Masked, Transport,
        http::{HttpTransport, TransportOptions},
        mllp::{MllpOptions, MllpTransport},
    },
    manifest::{Auth, Format, Store, TargetSettings},
    plan::PlanHeader,
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

/// Opens the way on which the requests of a target go.
fn transport(
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

fn transport_options(settings: &TargetSettings) -> Result<TransportOptions, Error> {
    let headers = settings
        .completed_headers(&super::variable)
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

async fn credentials(settings: &TargetSettings) -> Result<Arc<dyn Credentials>, Error> {
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

/// Connects to every target that a plan's loads name.
pub(super) async fn connect_all(header: &PlanHeader) -> Result<HashMap<String, Connection>, Error> {
    connect_each(header, |_| false).await
}

/// Connects to every target that a plan's loads name, to plan for them: a local store that is not there is not made.
pub(super) async fn connect_to_plan(
    header: &PlanHeader,
) -> Result<HashMap<String, Connection>, Error> {
    connect_each(header, not_there::is_not_there).await
}

async fn connect_each(
    header: &PlanHeader,
    is_ahead: impl Fn(&Store) -> bool,
) -> Result<HashMap<String, Connection>, Error> {
    let mut connections = HashMap::new();
    let answers = Arc::new(AnswerBudget::of_memory(header.run.memory.0));
    for target in &header.targets {
        let settings = &target.settings;
        if !header.loads.iter().any(|load| load.target == settings.name) {
            continue;
        }
        let connection = if is_ahead(&settings.store) {
            let transport = Arc::new(NotThere);
            let credentials = credentials(settings).await?;
            Connection {
                ahead: Some(Arc::clone(&answers)),
                ..Connection::by(settings, Some(&not_there::url()), transport, credentials)?
            }
        } else {
            connect(settings, &answers).await?
        };
        connections.insert(settings.name.clone(), connection);
    }
    Ok(connections)
}

/// Makes the local stores that were not there when it was planned.
pub(super) async fn make_local_stores(
    connections: &mut HashMap<String, Connection>,
) -> Result<(), Error> {
    for connection in connections.values_mut() {
        if let Some(answers) = &connection.ahead {
            *connection = connect(&connection.settings, answers).await?;
        }
    }
    Ok(())
}

/// Puts into a header what its targets say of themselves.
pub(super) async fn with_facts(
    mut header: PlanHeader,
    connections: &HashMap<String, Connection>,
) -> Result<PlanHeader, Error> {
    for target in &mut header.targets {
        if let Some(connection) = connections.get(&target.settings.name) {
            target.facts = connection.facts().await?;
        }
    }
    Ok(header)
}

/// Ends all connections.
pub(super) async fn close_all(connections: HashMap<String, Connection>) {
    for connection in connections.into_values() {
        connection.close().await;
    }
}

/// Names the target of a problem.
pub(super) fn at_target(name: &str, mut error: Error) -> Error {
    for problem in &mut error.problems {
        problem.message = format!("target `{name}`: {}", problem.message);
    }
    error
}

/// Turns the failure of a request into what the user is told.
pub(super) fn failed(failure: &CallFailure) -> Error {
    let error = Error::new(Exit::Target, failure);
    match failure.hint() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Turns a refusal into what the user is told: codes and paths, and the server's words only where they are wanted.
pub(super) fn refused(what: &str, response: &Response<Bytes>, context: Context) -> Error {
    let status = response.status();
    let problem = outcome::read(response.body());
    let codes = [problem.code, problem.detail].into_iter().flatten();
    let code = codes.fold(String::new(), |all, code| all + ", " + &code);
    let at = match problem.expression.as_slice() {
        [] => String::new(),
        expression => format!(", at {}", expression.join(", ")),
    };
    let words = if context.show_content {
        format!(": {}", problem.text)
    } else {
        String::new()
    };
    let message = format!("{what}: {status}{code}{at}{words}");
    let exit = match status.as_u16() {
        300..=399 | 401 | 403 | 500.. => Exit::Target,
        _ => Exit::SomeFailed,
    };
    let error = Error::new(exit, message);
    match (status.as_u16(), context.show_content) {
        (401, _) => {
            error.hint("the server does not accept the credentials; see `stoker create --help`")
        }
        (403, _) => {
            error.hint("the credentials may not do that there, or the store does not exist")
        }
        (300..=399, _) => error.hint(
            "redirects are not followed; name the address that it leads to as the store's URL",
        ),
        (500.., _) => error.hint(
            "the server has trouble of its own; try again when it is well, or ask who runs it",
        ),
        (404, _) => {
            error.hint("check the store's name or URL too: a store that is missing answers so")
        }
        (410, _) | (_, true) => error,
        (_, false) => error
            .hint("--show-content also shows the server's words, which may hold patients' data"),
    }
}
