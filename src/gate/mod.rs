//! Sends any request to a target, at the speed the target can take.
//!
//! Layers, outermost first: retry (within a budget) → memory → brake and circuit → slots → build → auth → rate → transport
//! → verdict. The slot is given back before a wait; the rate token is taken last, right before the wire (design §4). The
//! content of a request, and the meaning of its answer for records, is the business of the [`Exchange`] that the gate
//! carries.
//!
//! Four things adapt to the target, each to another sign: the slots (`concurrency`) to throughput and to refusals that come with
//! load, a ceiling on the rate (`adaptive_rate`) to refusals that come with time, the brake and the circuit (`circuit`) to
//! `Retry-After` and to a target that is down or whose store is gone (`health`), the retries (`retry`) to how much is taken at all.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ::http::{HeaderValue, Request, Response, header};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::sync::Semaphore;
use url::Url;

mod adaptive_rate;
mod answers;
mod attempts;
mod backoff;
mod budget;
mod call;
mod circuit;
mod clock;
mod concurrency;
mod health;
pub mod http;
mod mask;
pub mod mllp;
mod rate;
mod renewal;
mod retry;
mod slots;
mod story;
pub mod transport;
pub mod verdict;

pub use answers::{AnswerBudget, Largest, share};
pub use backoff::Backoff;
pub use budget::{ByteBudget, BytePermit};
pub use call::CallFailure;
pub use mask::Masked;
pub use rate::RateError;
pub use transport::{Fault, FaultKind, Heard, Transport};
pub use verdict::{Safety, StopReason, Verdict};

pub use crate::event::{Flow, TargetState};

use crate::{
    auth::{self, Credentials},
    manifest::{Concurrency, Retry, TargetSettings},
};
use adaptive_rate::AdaptiveRate;
use circuit::CircuitBreaker;
use clock::Clock;
use health::HealthCheck;
use rate::Rates;
use retry::RetryBudget;
use slots::Slots;

/// The cost of a request: a Bundle costs its entries, as Google's quota counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Operations.
    pub operations: u32,
    /// Bytes of the body.
    pub bytes: u64,
}

/// The reason why a request could not be made: the bytes that it was to be made of are gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(String);

impl BuildError {
    /// Makes an error, in words that hold no content of records.
    pub fn new(what: &str) -> Self {
        Self(what.to_owned())
    }
}

/// An event that an exchange is told of while it is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is about to be put on the wire.
    Sent {
        /// Bytes of the body.
        bytes: u64,
    },
    /// The attempt is over, whatever came of it.
    Answered {
        /// The HTTP status, where a response came.
        status: Option<u16>,
        /// The target refused it for now: it asks to be slower.
        is_refused: bool,
        /// The time that it was on the wire.
        latency: Duration,
        /// Bytes of the answer's body.
        bytes: u64,
    },
    /// It will be tried again.
    Retrying {
        /// The wait.
        after: Duration,
    },
}

/// One unit of work that the gate carries to its end: a record, or a Bundle.
pub trait Exchange: Send {
    /// Tells if sending it twice could do harm.
    fn safety(&self) -> Safety;
    /// Returns the cost of the next attempt.
    fn cost(&self) -> Cost;
    /// Takes up its body again, if it has let it go. No slot is held meanwhile: a request that waits for memory keeps none
    /// from the wire.
    fn unpark(&mut self) -> impl Future<Output = Result<(), BuildError>> + Send;
    /// Makes the request of the next attempt. A slot is held meanwhile.
    fn build(&mut self) -> impl Future<Output = Result<Request<Bytes>, BuildError>> + Send;
    /// Takes note that the next thing to happen is the wire: slot and rate are held meanwhile, so it takes no time to
    /// speak of.
    fn intend(&mut self) -> impl Future<Output = Result<(), BuildError>> + Send {
        std::future::ready(Ok(()))
    }
    /// Returns how many attempts it has at the most, where they are fewer than the target's. Those that the target asks to put
    /// off do not count.
    fn attempts(&self) -> Option<u32> {
        None
    }
    /// Judges what came of an attempt. An exchange of many records may settle some and keep the rest.
    fn read(&mut self, answer: Result<Response<Bytes>, Fault>) -> Verdict;
    /// Lets go of its body before a wait: what is parked keeps its position only.
    fn park(&mut self);
    /// Takes note of what happens to it.
    fn observe(&mut self, moment: Moment);
}

/// The end of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// The last verdict. `Again` and `Partial` mean that all attempts were used up.
    pub verdict: Verdict,
    /// Attempts made.
    pub attempts: u32,
    /// The last HTTP status.
    pub status: Option<u16>,
    /// The time that the last attempt was on the wire.
    pub latency: Duration,
    /// The last attempt may have reached the store without an answer that tells.
    pub may_have_been_sent: bool,
}

/// The settings of a gate.
#[derive(Debug, Clone)]
pub struct GateSettings {
    /// The target's name, for the log.
    pub name: String,
    /// Requests in flight: as many as the store takes best, between two numbers.
    pub slots: Concurrency,
    /// The highest number of operations in any sliding window.
    pub rate: Option<crate::unit::Rate>,
    /// The highest number of body bytes in any sliding window.
    pub bytes_rate: Option<crate::unit::Rate>,
    /// Operations of the largest request.
    pub largest_request: u32,
    /// The settings of retries.
    pub retry: Retry,
    /// The time that a target may be down, taking nothing, before the run ends; it is asked once more at its end.
    pub give_up_after: Duration,
    /// The project that pays for the quota, where the manifest names one.
    pub quota_project: Option<String>,
    /// Makes what is left to chance repeatable.
    pub seed: Option<u64>,
}

impl GateSettings {
    /// Takes over a target's settings.
    pub fn of(settings: &TargetSettings, largest_request: u32) -> Self {
        Self {
            name: settings.name.clone(),
            slots: settings.concurrency,
            rate: settings.rate,
            bytes_rate: settings.bytes_rate,
            largest_request,
            retry: settings.retry,
            give_up_after: settings.give_up_after,
            quota_project: settings.quota_project.clone(),
            seed: None,
        }
    }
}

/// The way to one target. Shared by all that is sent there.
#[derive(Debug)]
pub struct Gate {
    name: String,
    transport: Arc<dyn Transport>,
    credentials: Arc<dyn Credentials>,
    /// Scheme, host and port that the credentials were made for.
    origin: Origin,
    quota_project: Option<HeaderValue>,
    slots: Arc<Slots>,
    /// Look-ups have slots of their own, so that they never wait behind a load's writes.
    look_ups: Semaphore,
    rate: Option<crate::unit::Rate>,
    rates: Rates,
    /// Reads have as much again, of their own: so have they in Google's quotas.
    look_up_rates: Rates,
    retry: Retry,
    /// Seeds for all that is left to chance.
    seeds: Mutex<SmallRng>,
    retries: RetryBudget,
    pace: AdaptiveRate,
    circuit: CircuitBreaker,
    clock: Clock,
    /// When a request was first turned away, if no answer has come since.
    turned_away: Mutex<Option<tokio::time::Instant>>,
    /// The health check that tells whether the store is there.
    witness: Option<HealthCheck>,
    /// The target was found to be there, and not to answer the read by which it would be asked.
    is_mute: AtomicBool,
    /// Reads put on the wire.
    reads: AtomicU64,
}

/// Look-ups at a time, besides what the slots allow: they are rare, but `compare` makes one for every update.
pub const LOOK_UPS: usize = 64;

impl Gate {
    /// Opens the way to a target. Credentials go to the origin of `base` only.
    ///
    /// # Errors
    ///
    /// When the largest request can never pass under the rate.
    pub fn new(
        transport: Arc<dyn Transport>,
        credentials: Arc<dyn Credentials>,
        settings: &GateSettings,
        base: &Url,
    ) -> Result<Self, RateError> {
        let quota_project = settings
            .quota_project
            .as_deref()
            .or(credentials.quota_project())
            // The manifest and the credentials have seen to it that it can stand in a header.
            .and_then(|project| HeaderValue::from_str(project).ok());
        let mut seeds = SmallRng::seed_from_u64(settings.seed.unwrap_or_else(rand::random));
        let circuit = CircuitBreaker::new(
            settings.name.clone(),
            settings.retry,
            settings.give_up_after,
            seeds.random(),
        );
        Ok(Self {
            name: settings.name.clone(),
            transport,
            credentials,
            origin: Origin::of_url(base),
            quota_project,
            slots: Slots::new(settings.slots),
            look_ups: Semaphore::new(LOOK_UPS),
            rate: settings.rate,
            rates: Rates::new(settings.rate, settings.bytes_rate, settings.largest_request)?,
            look_up_rates: Rates::new(settings.rate, None, 1)?,
            retry: settings.retry,
            retries: RetryBudget::new(),
            pace: AdaptiveRate::new(),
            circuit,
            clock: Clock::default(),
            turned_away: Mutex::default(),
            witness: None,
            is_mute: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            seeds: Mutex::new(seeds),
        })
    }

    /// Names the read that tells whether the store is there: the one with which it was probed. It is made where a record
    /// is refused for what may be no fault of its own.
    #[must_use]
    pub fn with_witness(mut self, read: Request<Bytes>) -> Self {
        self.witness = Some(HealthCheck::new(read));
        self
    }

    fn backoff(&self) -> Backoff {
        let mut seeds = self.seeds.lock().unwrap_or_else(PoisonError::into_inner);
        Backoff::new(self.retry, seeds.random())
    }

    /// Returns how sending goes, for those who watch.
    pub fn state(&self) -> TargetState {
        let (slots, in_flight) = self.slots.figures();
        TargetState {
            flow: self.circuit.flow(),
            slots,
            in_flight,
            ceiling: self.pace.ceiling(),
            rate: self.rate,
        }
    }

    /// Returns the target's name, for the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the time by the target's clock, or by ours if the target does not tell.
    pub fn time(&self) -> jiff::Timestamp {
        self.clock.now().unwrap_or_else(jiff::Timestamp::now)
    }

    /// Returns how many reads went out: samples, comparisons, look-ups, questions what became of something.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Returns remarks on the habits of the target's connections that have cost something.
    pub fn remarks(&self) -> Vec<String> {
        let remark = |habit: String| format!("target `{}` {habit}", self.name);
        self.transport.habits().into_iter().map(remark).collect()
    }

    /// Takes note that the target is there, and does not answer the read by which it would be asked whether it is.
    pub fn note_mute(&self) {
        self.is_mute.store(true, Ordering::Relaxed);
    }

    /// Tells whether that was noted: then nobody can be asked about a refusal.
    pub fn is_mute(&self) -> bool {
        self.is_mute.load(Ordering::Relaxed)
    }

    /// Returns how often a record is sent at the most.
    pub fn attempts(&self) -> u32 {
        self.retry.attempts
    }

    /// Waits until the target's budget of retries has one for a record that is sent anew by way of another exchange.
    pub async fn spend_retry(&self) {
        self.retries.spend().await;
    }

    /// Waits before a record is sent anew by way of another exchange, for the so-manieth time, as an exchange itself would.
    pub async fn rest(&self, times: u32) {
        let mut backoff = self.backoff();
        let waits = (0..std::cmp::max(times, 1)).map(|_| backoff.wait());
        tokio::time::sleep(waits.last().unwrap_or_default()).await;
        self.spend_retry().await;
    }

    /// Adds the credentials, if the request goes to the host they were made for.
    async fn authorize(&self, request: &mut Request<Bytes>) -> Result<(), auth::Error> {
        if Origin::of_uri(request.uri()).as_ref() != Some(&self.origin) {
            return Ok(());
        }
        if let Some(value) = self.credentials.header().await? {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        if let Some(project) = &self.quota_project {
            request
                .headers_mut()
                .insert("x-goog-user-project", project.clone());
        }
        Ok(())
    }
}

/// Scheme, host and port: those for which credentials were made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    is_tls: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of_url(url: &Url) -> Self {
        let is_tls = url.scheme() == "https";
        let port = url.port_or_known_default().unwrap_or_default();
        Self {
            is_tls,
            host: url.host_str().unwrap_or_default().to_owned(),
            port,
        }
    }

    fn of_uri(uri: &::http::Uri) -> Option<Self> {
        let is_tls = uri.scheme_str()? == "https";
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Some(Self {
            is_tls,
            host: uri.host()?.to_owned(),
            port,
        })
    }
}
