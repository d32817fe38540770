//! A FHIR store in memory that enforces references, assigns ids, and refuses and stumbles as a test wants it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use stoker::gate::{Fault, FaultKind, Transport};
use tokio::time::Instant;

/// How the store treats what comes.
#[derive(Debug, Clone)]
pub(super) struct Manners {
    /// The markers of records that it refuses.
    pub(super) refuses: BTreeSet<u64>,
    /// It refuses a Bundle as a whole for one bad entry.
    pub(super) whole: bool,
    /// And says which.
    pub(super) names: bool,
    /// How many of a hundred requests meet trouble that has no effect.
    pub(super) trouble: u32,
    /// How many of a hundred answers are lost, after the request has had its effect.
    pub(super) lost: u32,
    /// It executes transactions.
    pub(super) transactions: bool,
    /// By so many hours its clock is ahead of ours; it tells its time unless there is none.
    pub(super) ahead: Option<i64>,
    /// It takes no larger request.
    pub(super) largest: usize,
    /// It takes an update of what is there only with the version that it replaces; without, it answers this.
    pub(super) wants_version: Option<u16>,
}

#[derive(Debug)]
pub(super) struct FhirStore {
    manners: Manners,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: SmallRng,
    held: Held,
}

/// A clock that virtual time moves.
#[derive(Debug, Clone, Copy)]
struct Clock {
    start: jiff::Timestamp,
    since: Instant,
}

impl Clock {
    fn new(ahead: i64) -> Self {
        Self {
            start: jiff::Timestamp::now() + jiff::SignedDuration::from_hours(ahead),
            since: Instant::now(),
        }
    }

    fn now(self) -> jiff::Timestamp {
        self.start + self.since.elapsed()
    }
}

/// What is in the store.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) resources: BTreeMap<String, Value>,
    /// How often each marker was accepted.
    pub(super) accepted: HashMap<u64, u32>,
    next: u64,
    /// The time of the request.
    now: jiff::Timestamp,
}

/// The marker of a record: the value of its identifier.
pub(super) fn marker(resource: &Value) -> u64 {
    resource["identifier"][0]["value"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// The references of a record, in order.
pub(super) fn links(resource: &Value) -> Vec<&str> {
    resource["link"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|link| link["reference"].as_str().unwrap())
        .collect()
}

/// The version of a resource.
fn version(resource: &Value) -> u64 {
    resource["meta"]["versionId"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

enum Refused {
    Record(&'static str),
    /// For the version of what is there.
    Version(u16),
}

impl Refused {
    fn status(&self) -> u16 {
        match self {
            Self::Record(_) => 400,
            Self::Version(status) => *status,
        }
    }
}

impl Held {
    fn found(&self, query: &str) -> Vec<Value> {
        let identified = query
            .split('&')
            .find_map(|part| part.strip_prefix("identifier=urn:m%7C"));
        if let Some(value) = identified {
            let has_it = |resource: &&Value| resource["identifier"][0]["value"] == value;
            let found = self.resources.values().filter(has_it);
            return found.map(|found| json!({"resource": found})).collect();
        }
        let Some((_, code)) = query
            .split('&')
            .find(|part| part.starts_with("_tag="))
            .and_then(|part| part.split_once("%7C"))
        else {
            return Vec::new();
        };
        let has_tag = |resource: &&Value| resource["meta"]["tag"][0]["code"] == code;
        let found = self.resources.values().filter(has_tag);
        found.map(|found| json!({"resource": found})).collect()
    }

    /// An id: a UUID, or another form, so that both are seen.
    fn new_id(&mut self) -> String {
        self.next += 1;
        if self.next.is_multiple_of(3) {
            format!("server-{}", self.next)
        } else {
            format!("00000000-0000-4000-8000-{:012x}", self.next)
        }
    }

    fn keep(&mut self, mut resource: Value, id: &str, manners: &Manners) -> Result<(), Refused> {
        if manners.refuses.contains(&marker(&resource)) {
            return Err(Refused::Record("invariant"));
        }
        let name = format!("{}/{id}", resource["resourceType"].as_str().unwrap());
        resource["id"] = json!(id);
        let version = self.resources.get(&name).map_or(0, version) + 1;
        resource["meta"]["versionId"] = json!(version.to_string());
        resource["meta"]["lastUpdated"] = json!(self.now.to_string());
        *self.accepted.entry(marker(&resource)).or_default() += 1;
        self.resources.insert(name, resource);
        Ok(())
    }

    /// Looks whether an update says what it replaces.
    fn compare(&self, name: &str, tag: Option<&str>, manners: &Manners) -> Result<(), Refused> {
        match (self.resources.get(name), tag) {
            (Some(held), Some(tag)) if tag == format!("W/\"{}\"", version(held)) => Ok(()),
            (_, Some(_)) => Err(Refused::Version(412)),
            (Some(_), None) => manners
                .wants_version
                .map_or(Ok(()), |status| Err(Refused::Version(status))),
            (None, None) => Ok(()),
        }
    }

    fn check(&self, name: &str) -> Result<(), Refused> {
        let holds = |to: &&str| self.resources.contains_key(*to);
        if links(&self.resources[name]).iter().all(holds) {
            Ok(())
        } else {
            Err(Refused::Record("value"))
        }
    }

    /// Carries out one entry or request; what failed leaves no trace.
    fn one(
        &mut self,
        method: &Method,
        path: &str,
        body: Value,
        tag: Option<&str>,
        manners: &Manners,
    ) -> Result<(u16, String), Refused> {
        let before = self.clone();
        let kind = body["resourceType"].as_str().unwrap().to_owned();
        let id = match path.split_once('/') {
            Some((_, id)) if *method == Method::PUT => id.to_owned(),
            _ => self.new_id(),
        };
        let name = format!("{kind}/{id}");
        let status = if self.resources.contains_key(&name) {
            200
        } else {
            201
        };
        let done = self
            .compare(&name, tag, manners)
            .and_then(|()| self.keep(body, &id, manners))
            .and_then(|()| self.check(&name));
        if let Err(refused) = done {
            *self = before;
            return Err(refused);
        }
        Ok((status, format!("{name}/_history/1")))
    }

    /// Carries out a transaction: all, or nothing and the entry that is to blame.
    fn all(
        &mut self,
        entries: &[Value],
        manners: &Manners,
    ) -> Result<Vec<(u16, String)>, (usize, Refused)> {
        let before = self.clone();
        let mut assigned: HashMap<String, String> = HashMap::new();
        let mut names = Vec::new();
        for entry in entries {
            let resource = &entry["resource"];
            let kind = resource["resourceType"].as_str().unwrap();
            let id = match entry["request"]["url"].as_str().unwrap().split_once('/') {
                Some((_, id)) => id.to_owned(),
                None => self.new_id(),
            };
            if let Some(url) = entry["fullUrl"].as_str() {
                assigned.insert(url.to_owned(), format!("{kind}/{id}"));
            }
            names.push((format!("{kind}/{id}"), id));
        }
        for (at, (entry, (_, id))) in entries.iter().zip(&names).enumerate() {
            let mut resource = entry["resource"].clone();
            for link in resource["link"].as_array_mut().into_iter().flatten() {
                if let Some(to) = assigned.get(link["reference"].as_str().unwrap()) {
                    link["reference"] = json!(to);
                }
            }
            let name = format!("Basic/{id}");
            let tag = entry["request"]["ifMatch"].as_str();
            let done = self.compare(&name, tag, manners);
            if let Err(refused) = done.and_then(|()| self.keep(resource, id, manners)) {
                *self = before;
                return Err((at, refused));
            }
        }
        for (at, (name, _)) in names.iter().enumerate() {
            if let Err(refused) = self.check(name) {
                *self = before;
                return Err((at, refused));
            }
        }
        Ok(names
            .into_iter()
            .map(|(name, _)| (201, format!("{name}/_history/1")))
            .collect())
    }
}

fn outcome(refused: &Refused, entry: Option<usize>) -> Value {
    let code = match refused {
        Refused::Record(code) => code,
        Refused::Version(412) => "conflict",
        Refused::Version(_) => {
            return json!({"resourceType": "OperationOutcome",
                "issue": [{"severity": "error", "code": "required", "diagnostics": "an If-Match header is required"}]});
        }
    };
    let expression = entry.map(|at| vec![format!("Bundle.entry[{at}].resource")]);
    json!({"resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": code, "expression": expression.unwrap_or_default()}]})
}

fn answer(status: u16, body: &Value) -> Response<Bytes> {
    let body = Bytes::from(body.to_string());
    Response::builder().status(status).body(body).unwrap()
}

impl FhirStore {
    pub(super) fn new(seed: u64, manners: Manners) -> Self {
        Self {
            clock: Clock::new(manners.ahead.unwrap_or_default()),
            manners,
            state: Mutex::new(State {
                random: SmallRng::seed_from_u64(seed),
                held: Held::default(),
            }),
        }
    }

    pub(super) fn held(&self) -> Held {
        self.state.lock().unwrap().held.clone()
    }

    fn take(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Fault> {
        let mut state = self.state.lock().unwrap();
        let State { random, held } = &mut *state;
        held.now = self.clock.now();
        if random.random_range(0..100) < self.manners.trouble {
            return match random.random_range(0..4) {
                0 => Ok(answer(429, &json!({}))),
                1 => Ok(answer(503, &json!({}))),
                2 => Ok(Response::builder()
                    .status(429)
                    .header("retry-after", "3")
                    .body(Bytes::new())
                    .unwrap()),
                _ => Err(Fault::new(FaultKind::Connect, "refused".to_owned())),
            };
        }
        let path = request
            .uri()
            .path()
            .trim_start_matches("/fhir")
            .trim_start_matches('/');
        if *request.method() == Method::GET {
            if let Some(resource) = held.resources.get(path) {
                return Ok(answer(200, resource));
            }
            if path.contains('/') {
                return Ok(answer(404, &json!({})));
            }
            // What is searched for is there only if it is a tag, or an identifier.
            let found: Vec<Value> = held.found(request.uri().query().unwrap_or_default());
            let set = json!({"resourceType": "Bundle", "type": "searchset", "total": found.len(), "entry": found});
            return Ok(answer(200, &set));
        }
        if request.body().len() > self.manners.largest {
            let page = Bytes::from_static(b"<html>413 Request Entity Too Large</html>");
            return Ok(Response::builder().status(413).body(page).unwrap());
        }
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let tag = request.headers().get("if-match");
        let tag = tag.map(|tag| tag.to_str().unwrap());
        if !path.is_empty() {
            return Ok(
                match held.one(request.method(), path, body, tag, &self.manners) {
                    Ok((status, location)) => {
                        let mut response = answer(status, &json!({}));
                        let location = format!("https://store.example/fhir/{location}");
                        response
                            .headers_mut()
                            .insert("location", location.parse().unwrap());
                        response
                    }
                    Err(refused) => answer(refused.status(), &outcome(&refused, None)),
                },
            );
        }
        let entries = body["entry"].as_array().unwrap();
        let done = if body["type"] == "transaction" && !self.manners.transactions {
            return Ok(answer(400, &json!({})));
        } else if body["type"] == "transaction" {
            match held.all(entries, &self.manners) {
                Err((at, refused)) => {
                    let at = self.manners.names.then_some(at);
                    return Ok(answer(refused.status(), &outcome(&refused, at)));
                }
                Ok(done) => done.into_iter().map(Ok).collect(),
            }
        } else {
            let before = held.clone();
            let mut done = Vec::new();
            for (at, entry) in entries.iter().enumerate() {
                let method = entry["request"]["method"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                let url = entry["request"]["url"].as_str().unwrap();
                let tag = entry["request"]["ifMatch"].as_str();
                let one = held.one(&method, url, entry["resource"].clone(), tag, &self.manners);
                if let (Err(refused), true) = (&one, self.manners.whole) {
                    *held = before;
                    let at = self.manners.names.then_some(at);
                    return Ok(answer(refused.status(), &outcome(refused, at)));
                }
                done.push(one);
            }
            done
        };
        let entries: Vec<Value> = done
            .iter()
            .map(|done| match done {
                Ok((status, location)) => json!({"response": {"status": format!("{status} X"), "location": location}}),
                Err(refused) => json!({"response": {"status": format!("{} X", refused.status()), "outcome": outcome(refused, None)}}),
            })
            .collect();
        Ok(answer(
            200,
            &json!({"resourceType": "Bundle", "type": "transaction-response", "entry": entries}),
        ))
    }
}

impl Transport for FhirStore {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(async move {
            let wait = self.state.lock().unwrap().random.random_range(0..30);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let mut answer = self.take(&request);
            if let (Some(_), Ok(answer)) = (self.manners.ahead, &mut answer) {
                let date = httpdate::fmt_http_date(self.clock.now().into());
                answer.headers_mut().insert("date", date.parse().unwrap());
            }
            let lost = self.state.lock().unwrap().random.random_range(0..100) < self.manners.lost;
            if lost && *request.method() != Method::GET {
                return Err(Fault::new(FaultKind::Interrupted, "lost".to_owned()));
            }
            answer
        })
    }
}
