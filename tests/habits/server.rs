//! A FHIR server in this process that answers by its habits.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body as HttpBody, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, Response, header},
};
use serde_json::{Value, json};

use super::{
    answer::{self, Reply},
    bundle,
    habit::{Habits, Throttle},
    store::{Refused, Store, Write},
};

/// A server that runs as long as the process does.
pub(crate) struct Server {
    /// Its service base, without a slash at its end.
    pub(crate) url: String,
    state: Arc<Mutex<Inside>>,
}

/// What a server keeps.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) habits: Habits,
    pub(super) store: Store,
    pub(super) base: String,
    /// The writes that reached it, by method and path; those in Bundles are not told apart.
    pub(super) seen: Vec<String>,
    /// The writes that came, single ones and Bundles.
    pub(super) writes: u64,
}

impl Server {
    pub(crate) fn start(habits: &Habits) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/fhir", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(Inside {
            habits: *habits,
            store: Store::default(),
            base: url.clone(),
            seen: Vec::new(),
            writes: 0,
        }));
        let router = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&state));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { url, state }
    }

    /// Puts a resource into it.
    pub(crate) fn put(&self, resource: &Value) {
        let text = |member: &str| resource[member].as_str().unwrap().to_owned();
        let mut inside = self.state.lock().unwrap();
        inside.store.resources.insert(
            (text("resourceType"), text("id")),
            ("1".to_owned(), resource.clone()),
        );
    }

    /// Looks at what it holds and has seen.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Inside) -> T) -> T {
        look(&self.state.lock().unwrap())
    }

    /// Everything that it holds, by `Type/id`.
    pub(crate) fn contents(&self) -> std::collections::BTreeMap<String, Value> {
        self.look(|inside| {
            let all = inside.store.resources.iter();
            all.map(|((kind, id), (_, resource))| (format!("{kind}/{id}"), resource.clone()))
                .collect()
        })
    }
}

async fn handle(State(state): State<Arc<Mutex<Inside>>>, request: Request) -> Response<HttpBody> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let path = head.uri.path().strip_prefix("/fhir").unwrap_or_default();
    let path = path.trim_matches('/').to_owned();
    let query = head.uri.query().map(str::to_owned);
    let (reply, marks) = {
        let mut inside = state.lock().unwrap();
        let reply = inside.reply(&head.method, &path, query.as_deref(), &head.headers, &body);
        (reply, inside.habits.marks)
    };
    let mut body = reply.body;
    if marks && !body.is_empty() {
        body.splice(..0, *b"\xef\xbb\xbf");
    }
    let mut response = Response::new(HttpBody::from(body));
    *response.status_mut() = reply.status.try_into().unwrap();
    for (name, value) in reply.headers {
        response.headers_mut().append(
            header::HeaderName::from_static(name),
            value.parse().unwrap(),
        );
    }
    response
}

impl Inside {
    fn reply(
        &mut self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Reply {
        if *method == Method::GET {
            return self.read(path, query);
        }
        self.seen.push(format!("{method} {path}"));
        self.writes += 1;
        if let Some((most, status)) = self.habits.bytes
            && body.len() > most
        {
            return Reply::of_refusal(&Refused::new(status, "too-long", "the body is too large"));
        }
        if let Some(reply) = self.throttled() {
            return reply;
        }
        let Ok(resource) = serde_json::from_slice::<Value>(body) else {
            return Reply::of_refusal(&Refused::new(400, "structure", "no JSON"));
        };
        if path.is_empty() {
            let reply = bundle::carry_out(self, &resource);
            return self.lost().unwrap_or(reply);
        }
        let text = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let write = Write {
            method: method.to_string(),
            url: query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")),
            resource,
            if_none_exist: text("if-none-exist"),
            if_match: text("if-match"),
            is_entry: false,
            reserved: None,
        };
        let habits = self.habits;
        let reply = match self.store.write(&habits, &write) {
            Ok(done) => answer::single(&habits, &self.base, &done, write.method == "PUT"),
            Err(refused) => Reply::of_refusal(&refused),
        };
        self.lost().unwrap_or(reply)
    }

    /// The answer that comes instead of the server's own, where it is time for that.
    fn lost(&self) -> Option<Reply> {
        match self.habits.throttle {
            Throttle::Lost(every, status) if self.writes.is_multiple_of(every) => {
                Some(Reply::page(status))
            }
            _ => None,
        }
    }

    /// Asks to slow down, where it is time for that.
    fn throttled(&self) -> Option<Reply> {
        let is_time = |every: u64| self.writes.is_multiple_of(every);
        match self.habits.throttle {
            Throttle::Header(every, name, value) if is_time(every) => {
                let refused = Refused::new(429, "throttled", "slow down");
                Some(Reply::of_refusal(&refused).with(name, value))
            }
            Throttle::Raced(every) if is_time(every) => Some(Reply::of_refusal(&Refused::raced())),
            Throttle::Page(every) if is_time(every) => Some(Reply::page(503)),
            _ => None,
        }
    }

    fn read(&self, path: &str, query: Option<&str>) -> Reply {
        if path == "metadata" {
            return Reply::json(200, &self.capabilities());
        }
        let shown = |kind: &str, id: &str| {
            let (version, resource) = self
                .store
                .resources
                .get(&(kind.to_owned(), id.to_owned()))?;
            Some((
                version.clone(),
                answer::shown(&self.habits, version, resource),
            ))
        };
        if let Some((kind, id)) = path.split_once('/') {
            match shown(kind, id) {
                Some((version, resource)) => {
                    let reply = Reply::json(200, &resource);
                    match answer::tag(self.habits.tag, &version) {
                        Some(tag) => reply.with("etag", &tag),
                        None => reply,
                    }
                }
                None => Reply::of_refusal(&Refused::new(404, "not-found", "unknown")),
            }
        } else {
            let found = self.store.search(path, query.unwrap_or_default());
            let entries: Vec<Value> = found
                .iter()
                .filter_map(|id| shown(path, id))
                .map(|(_, resource)| json!({"resource": resource, "search": {"mode": "match"}}))
                .collect();
            let set = json!({"resourceType": "Bundle", "type": "searchset",
                "total": entries.len(), "entry": entries});
            Reply::json(200, &set)
        }
    }

    fn capabilities(&self) -> Value {
        let habits = &self.habits;
        let code = |code: &&str| json!({ "code": code });
        let resources: Vec<Value> = KINDS
            .iter()
            .map(|kind| {
                let codes = ["read", "create", "update", "search-type"];
                let mut resource = json!({"type": kind,
                    "interaction": codes.iter().map(code).collect::<Vec<_>>(),
                    "updateCreate": habits.upsert});
                if habits.integrity.is_some() {
                    resource["referencePolicy"] = json!(["literal", "enforced"]);
                }
                if habits.if_match.missing.is_some() {
                    resource["versioning"] = "versioned-update".into();
                }
                resource
            })
            .collect();
        json!({"resourceType": "CapabilityStatement", "status": "active", "kind": "instance",
            "fhirVersion": "4.0.1", "format": ["json"], "rest": [{"mode": "server",
                "resource": resources, "interaction": habits.lists.iter().map(code).collect::<Vec<_>>()}]})
    }
}

/// The types of the smoke set, and what the shapes need.
const KINDS: &[&str] = &[
    "AllergyIntolerance",
    "CarePlan",
    "CareTeam",
    "Claim",
    "Condition",
    "Device",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "ExplanationOfBenefit",
    "ImagingStudy",
    "Immunization",
    "Location",
    "Medication",
    "MedicationAdministration",
    "MedicationRequest",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "Provenance",
    "SupplyDelivery",
];
