//! A FHIR server that keeps what arrives: it assigns ids, resolves the fullUrls of transactions as the standard has it, finds
//! by tag, and loses answers where a test wants it to.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// What the server takes, and how it stumbles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    pub(super) transactions: bool,
    pub(super) batches: bool,
    /// Of so many writes one is carried out without an answer that says so.
    pub(super) loses: Option<u64>,
}

/// The server; it ends with the runtime that serves it.
pub(super) struct Receiver {
    pub(super) url: String,
    kept: Arc<Mutex<Kept>>,
}

struct Kept {
    habits: Habits,
    resources: BTreeMap<String, Value>,
    writes: u64,
    next: u64,
}

impl Receiver {
    pub(super) async fn start(habits: Habits) -> Self {
        let kept = Arc::new(Mutex::new(Kept {
            habits,
            resources: BTreeMap::new(),
            writes: 0,
            next: 0,
        }));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let url = format!("http://{}/fhir", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&kept));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, kept }
    }

    /// All resources by `Type/id`.
    pub(super) fn resources(&self) -> BTreeMap<String, Value> {
        self.kept.lock().unwrap().resources.clone()
    }
}

async fn answer(
    State(kept): State<Arc<Mutex<Kept>>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let path = uri.path().trim_start_matches("/fhir").trim_matches('/');
    let mut kept = kept.lock().unwrap();
    if method == Method::GET {
        return kept.read(path, uri.query().unwrap_or_default());
    }
    let body: Value = serde_json::from_slice(&body).expect("what arrives is JSON");
    kept.writes += 1;
    let answer = if path.is_empty() {
        kept.bundle(&body)
    } else {
        let assigned = kept.id_for(&method, path);
        let (status, location) = kept.keep(assigned, body);
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, location.parse().unwrap());
        (status, headers).into_response()
    };
    match kept.habits.loses {
        Some(nth) if kept.writes % nth == 0 => StatusCode::GATEWAY_TIMEOUT.into_response(),
        _ => answer,
    }
}

impl Kept {
    fn read(&self, path: &str, query: &str) -> Response {
        if path == "metadata" {
            let systems = [
                ("transaction", self.habits.transactions),
                ("batch", self.habits.batches),
            ];
            let interaction: Vec<Value> = systems
                .into_iter()
                .filter(|(_, takes)| *takes)
                .map(|(code, _)| json!({ "code": code }))
                .collect();
            return reply(
                &json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1",
                "rest": [{"mode": "server", "interaction": interaction}]}),
            );
        }
        if let Some(resource) = self.resources.get(path) {
            return reply(resource);
        }
        if path.contains('/') {
            return StatusCode::NOT_FOUND.into_response();
        }
        let code = query
            .split('&')
            .find_map(|part| part.strip_prefix("_tag=")?.split_once("%7C"))
            .map_or("", |(_, code)| code);
        let has_tag = |resource: &&Value| {
            resource["resourceType"] == path
                && resource["meta"]["tag"]
                    .as_array()
                    .is_some_and(|tags| tags.iter().any(|tag| tag["code"] == code))
        };
        let found: Vec<Value> = self
            .resources
            .values()
            .filter(has_tag)
            .map(|resource| json!({ "resource": resource }))
            .collect();
        reply(&json!({"resourceType": "Bundle", "type": "searchset",
            "total": found.len(), "entry": found}))
    }

    fn id_for(&mut self, method: &Method, url: &str) -> String {
        if *method == Method::PUT {
            return url.to_owned();
        }
        self.next += 1;
        match self.next % 2 {
            0 => format!("{url}/given-{}", self.next),
            _ => format!("{url}/00000000-0000-4000-8000-{:012x}", self.next),
        }
    }

    fn keep(&mut self, name: String, mut resource: Value) -> (StatusCode, String) {
        let (kind, id) = name.split_once('/').unwrap();
        assert_eq!(resource["resourceType"], kind);
        resource["id"] = json!(id);
        let location = format!("{name}/_history/1");
        let old = self.resources.insert(name, resource);
        let status = old.map_or(StatusCode::CREATED, |_| StatusCode::OK);
        (status, location)
    }

    fn bundle(&mut self, bundle: &Value) -> Response {
        let is_transaction = bundle["type"] == "transaction";
        assert!(is_transaction || bundle["type"] == "batch", "{bundle}");
        let entries = bundle["entry"].as_array().expect("a Bundle has entries");
        let names: Vec<String> = entries
            .iter()
            .map(|entry| {
                let method = entry["request"]["method"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                self.id_for(&method, entry["request"]["url"].as_str().unwrap())
            })
            .collect();
        let assigned: HashMap<&str, &str> = entries
            .iter()
            .zip(&names)
            .filter_map(|(entry, name)| Some((entry["fullUrl"].as_str()?, name.as_str())))
            .collect();
        let mut responses = Vec::new();
        for (entry, name) in entries.iter().zip(&names) {
            let mut resource = entry["resource"].clone();
            if is_transaction {
                let suffix = format!("/{}/", resource["resourceType"].as_str().unwrap());
                let full_url = entry["fullUrl"].as_str().unwrap_or_default();
                let base = full_url.split_once(&suffix).map(|(base, _)| base);
                resolve(&mut resource, base, &assigned);
            }
            let (status, location) = self.keep(name.clone(), resource);
            responses
                .push(json!({"response": {"status": status.to_string(), "location": location}}));
        }
        reply(&json!({"resourceType": "Bundle",
            "type": format!("{}-response", bundle["type"].as_str().unwrap()), "entry": responses}))
    }
}

/// Puts assigned ids in the place of fullUrls (<https://hl7.org/fhir/R4/http.html#trules>); a relative reference is to what has
/// the base of its own entry's (<https://hl7.org/fhir/R4/bundle.html#references>).
fn resolve(value: &mut Value, base: Option<&str>, assigned: &HashMap<&str, &str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "reference" => {
                        let absolute = base.map(|base| format!("{base}/{text}"));
                        let found = absolute.and_then(|url| assigned.get(url.as_str()));
                        if let Some(to) = found.or_else(|| assigned.get(text.as_str())) {
                            *text = (*to).to_owned();
                        }
                    }
                    other => resolve(other, base, assigned),
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| resolve(item, base, assigned)),
        _ => {}
    }
}

fn reply(body: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/fhir+json")];
    (kind, body.to_string()).into_response()
}
