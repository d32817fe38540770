//! The rules that a request meets, and the scenario's memory from one request to the next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::Instant;

use super::refusal::refusal;
use super::switch::{Line, Switch};
use super::{Asked, Fault, Latency, Rule, Scenario, When};
use crate::emulator::Token;
use crate::emulator::reply::Refusal;
use crate::emulator::route::{
    Route, StorePath as Path, dicom::Web, fhir::FhirPath, hl7v2::Messages,
};
use crate::unit::Rate;

/// A scenario at work.
#[derive(Debug)]
pub(in crate::emulator) struct Faults {
    seed: u64,
    rules: Vec<(Rule, Met)>,
    expired: Mutex<Vec<Token>>,
    missing: Mutex<Option<Instant>>,
    gone: watch::Sender<Option<Instant>>,
    lines: Mutex<Vec<Weak<Switch>>>,
}

/// The memory of a rule.
#[derive(Debug, Default)]
pub(super) struct Met {
    requests: AtomicU64,
    /// The number of these requests that were struck.
    struck: AtomicU64,
    in_flight: Arc<AtomicU32>,
    admitted: Mutex<VecDeque<(Instant, u32)>>,
}

/// A place below a capacity; given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    pub(in crate::emulator) fn new(scenario: Scenario) -> Self {
        let rules = scenario.rules.into_iter();
        Self {
            seed: scenario.seed,
            rules: rules.map(|rule| (rule, Met::default())).collect(),
            expired: Mutex::default(),
            missing: Mutex::default(),
            gone: watch::Sender::new(None),
            lines: Mutex::default(),
        }
    }

    /// Returns the rules that strike the request, lazily: a rule counts the request when it is reached.
    pub(super) fn strikes<'a>(
        &'a self,
        method: &'a Method,
        path: &'a str,
        asked: Option<Asked>,
    ) -> impl Iterator<Item = (&'a Fault, &'a Met, StdRng)> + Send + 'a {
        self.rules
            .iter()
            .enumerate()
            .filter_map(move |(index, (rule, met))| {
                if !rule.when.meets(method, path, asked) {
                    return None;
                }
                let number = met.requests.fetch_add(1, Ordering::Relaxed) + 1;
                let mut chance = self.chance(index, number);
                let strikes = number > rule.when.after
                    && number <= rule.when.until
                    && chance.random::<f64>() < rule.when.probability;
                if strikes {
                    met.struck.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(rule = rule.name, number, "a fault strikes");
                }
                strikes.then_some((&rule.fault, met, chance))
            })
    }

    /// Returns how many requests each rule has struck, in the order of the scenario; one without a name by its number.
    pub(in crate::emulator) fn struck(&self) -> Vec<(String, u64)> {
        let rules = self.rules.iter().enumerate();
        rules
            .map(|(index, (rule, met))| {
                let name = rule.name.clone();
                let name = name.unwrap_or_else(|| format!("rules[{index}]"));
                (name, met.struck.load(Ordering::Relaxed))
            })
            .collect()
    }

    /// The n-th request that a rule meets has the same luck in every run, whatever the others do.
    fn chance(&self, rule: usize, number: u64) -> StdRng {
        let mut seed = [0; 32];
        let numbers = [self.seed, rule as u64, number];
        for (bytes, number) in seed.chunks_exact_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        StdRng::from_seed(seed)
    }

    /// Remembers that a token (the value of `Authorization`) is worth nothing any more.
    pub(super) fn expire(&self, token: &str) {
        let token = Token(token.to_owned());
        let mut expired = locked(&self.expired);
        if !expired.contains(&token) {
            expired.push(token);
        }
    }

    pub(super) fn has_expired(&self, token: &str) -> bool {
        locked(&self.expired)
            .iter()
            .any(|expired| expired.expose() == token)
    }

    /// Takes the store away: it answers 404.
    pub(super) fn lose(&self, time: Duration) {
        *locked(&self.missing) = Some(Instant::now() + time);
    }

    pub(super) fn is_lost(&self) -> bool {
        locked(&self.missing).is_some_and(|until| until > Instant::now())
    }

    /// Takes the server away: all connections are cut, and new ones refused.
    pub(super) fn vanish(&self, time: Duration) {
        self.gone.send_replace(Some(Instant::now() + time));
        for line in locked(&self.lines).iter().filter_map(Weak::upgrade) {
            line.cut();
        }
    }

    pub(super) fn gone(&self) -> watch::Receiver<Option<Instant>> {
        self.gone.subscribe()
    }

    /// Keeps an eye on a connection, so that it can be cut.
    pub(super) fn watch(&self, line: &Line) {
        let mut lines = locked(&self.lines);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(line.switch()));
    }
}

impl When {
    fn meets(&self, method: &Method, path: &str, asked: Option<Asked>) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.path.as_ref().is_none_or(|glob| glob.is_match(path))
            && (self.requests.is_empty()
                || asked.is_some_and(|asked| self.requests.contains(&asked)))
    }
}

impl Met {
    /// Takes a place, if fewer than `limit` are taken.
    pub(super) fn enter(&self, limit: u32) -> Option<Place> {
        let place = Place(Arc::clone(&self.in_flight));
        // The place is counted first, so that dropping it is right in both cases.
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        (before < limit).then_some(place)
    }

    /// Admits a request of that cost, if the window that ends now has room for it.
    pub(super) fn admit(&self, rate: Rate, cost: u32) -> bool {
        let now = Instant::now();
        let mut admitted = locked(&self.admitted);
        while admitted
            .front()
            .is_some_and(|(then, _)| now.duration_since(*then) >= rate.window.duration())
        {
            admitted.pop_front();
        }
        let used: u64 = admitted.iter().map(|(_, cost)| u64::from(*cost)).sum();
        let fits = used + u64::from(cost) <= u64::from(rate.amount.get());
        if fits {
            admitted.push_back((now, cost));
        }
        fits
    }
}

impl Asked {
    /// Tells what a request asks for; none for what the store does not know.
    pub(super) fn of(method: &Method, route: &Route) -> Option<Self> {
        let path = match route {
            Route::Fhir { path, .. } => path,
            Route::Hl7v2(Path::Below { below, .. }) => {
                return Some(match (method, below) {
                    (&Method::POST, Messages::All | Messages::Method(_)) => Self::Create,
                    (&Method::GET, Messages::All) => Self::Search,
                    (&Method::GET, Messages::One(_)) => Self::Read,
                    (&Method::PATCH, Messages::One(_)) => Self::Patch,
                    (&Method::DELETE, Messages::One(_)) => Self::Delete,
                    _ => Self::Admin,
                });
            }
            Route::Dicom(Path::Below { below, .. }) => {
                return Some(match (method, below) {
                    (&Method::POST, _) => Self::Create,
                    (&Method::DELETE, _) => Self::Delete,
                    (&Method::GET, Web::Studies | Web::Series(_) | Web::Instances(..)) => {
                        Self::Search
                    }
                    (&Method::GET, _) => Self::Read,
                    _ => Self::Admin,
                });
            }
            _ => return Some(Self::Admin),
        };
        Some(match (method, path) {
            (&Method::POST, FhirPath::Base) => Self::Bundle,
            (_, FhirPath::Metadata) => Self::Metadata,
            (&Method::GET, FhirPath::Kind(_)) | (_, FhirPath::Search(_)) => Self::Search,
            (&Method::POST, FhirPath::Kind(_)) => Self::Create,
            (&Method::PUT, FhirPath::Kind(_) | FhirPath::Instance(..)) => Self::Update,
            (&Method::PATCH, FhirPath::Kind(_) | FhirPath::Instance(..)) => Self::Patch,
            (&Method::DELETE, FhirPath::Kind(_) | FhirPath::Instance(..)) => Self::Delete,
            (
                &Method::GET,
                FhirPath::Instance(..) | FhirPath::History(..) | FhirPath::Version(..),
            ) => Self::Read,
            _ => return None,
        })
    }
}

impl Latency {
    /// Draws a time to wait.
    pub(super) fn draw(self, chance: &mut StdRng) -> Duration {
        // Above 0, so that its logarithm is finite.
        let mut uniform = || 1.0 - chance.random::<f64>();
        let scaled = |time: Duration, factor: f64| {
            Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(Duration::MAX)
        };
        match self {
            Self::Fixed(time) => time,
            Self::Uniform(least, most) => least + scaled(most.saturating_sub(least), uniform()),
            Self::Exponential { mean } => scaled(mean, -uniform().ln()),
            Self::Lognormal { median, sigma } => {
                // Box and Muller's way to a normal number.
                let radius = (-2.0 * uniform().ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * uniform()).cos();
                scaled(median, (sigma * normal).exp())
            }
        }
    }
}

/// Entries of one batch that fail.
#[derive(Debug)]
pub(in crate::emulator) struct Entries {
    pub(super) status: StatusCode,
    pub(super) share: f64,
    pub(super) echo: bool,
    pub(super) chance: StdRng,
}

impl Entries {
    /// Decides whether the next entry fails.
    pub(in crate::emulator) fn next(&mut self, resource: Option<&[u8]>) -> Option<Refusal> {
        let fails = self.chance.random::<f64>() < self.share;
        let resource = resource.filter(|_| self.echo).unwrap_or_default();
        let echo = String::from_utf8_lossy(resource);
        fails.then(|| refusal(self.status, &echo))
    }
}
