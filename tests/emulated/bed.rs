//! A server of the embedded local store on a directory of its own, and what a test says to it.

#![expect(clippy::needless_pass_by_value, reason = "`json!` makes values")]

use std::path::Path;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use stoker::emulator::{Opened, Options, Scenario, Server, open};

pub(super) const DATASETS: &str = "v1/projects/p/locations/l/datasets";
pub(super) const STORE: &str = "v1/projects/p/locations/l/datasets/d/fhirStores/f";

/// A server on a directory of its own, with the store [`STORE`].
pub(super) struct Bed {
    pub(super) server: Server,
    pub(super) client: Client,
    pub(super) dir: tempfile::TempDir,
}

/// What a test looks at in an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self {
            status,
            headers,
            text: response.text().await.unwrap(),
        }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(super) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// Asserts an OperationOutcome and returns its `details.text` and diagnostics.
    #[track_caller]
    pub(super) fn outcome(self, status: u16) -> (String, String) {
        let answer = self.is(status);
        let json = answer.json();
        assert_eq!(json["resourceType"], "OperationOutcome", "{json}");
        let issue = &json["issue"][0];
        assert_eq!(issue["severity"], "error");
        (
            issue["details"]["text"].as_str().unwrap().to_owned(),
            issue["diagnostics"].as_str().unwrap().to_owned(),
        )
    }

    /// Asserts an error in Google's shape and returns its message.
    #[track_caller]
    pub(super) fn google(self, status: u16, name: &str) -> String {
        let json = self.is(status).json();
        assert_eq!(
            (&json["error"]["code"], &json["error"]["status"]),
            (&json!(status), &json!(name)),
            "{json}"
        );
        json["error"]["message"].as_str().unwrap().to_owned()
    }
}

pub(super) fn options(dir: &Path) -> Options {
    Options::new(dir.to_owned())
}

pub(super) async fn started(options: Options) -> Server {
    match open(options).await.unwrap() {
        Opened::Started(server) => server,
        Opened::Running { pid, .. } => panic!("process {pid} has the directory"),
    }
}

impl Bed {
    pub(super) async fn with(settings: Value) -> Self {
        Self::made(settings, None).await
    }

    /// A server with a fault scenario.
    pub(super) async fn troubled(scenario: &str) -> Self {
        let scenario = Scenario::parse(scenario, Path::new("faults.yaml")).unwrap();
        Self::made(json!({"enableUpdateCreate": true}), Some(scenario)).await
    }

    async fn made(settings: Value, faults: Option<Scenario>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            faults,
            ..options(dir.path())
        };
        let server = started(options).await;
        let bed = Self {
            server,
            client: Client::new(),
            dir,
        };
        bed.call("POST", &format!("{DATASETS}?datasetId=d"), "")
            .await
            .is(200);
        let mut body = json!({"version": "R4"});
        body.as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        bed.call(
            "POST",
            &format!("{DATASETS}/d/fhirStores?fhirStoreId=f"),
            &body.to_string(),
        )
        .await
        .is(200);
        bed
    }

    pub(super) async fn new() -> Self {
        Self::with(json!({"enableUpdateCreate": true})).await
    }

    pub(super) async fn restarted(self) -> Self {
        self.server.stop().await;
        Self {
            server: started(options(self.dir.path())).await,
            client: Client::new(),
            dir: self.dir,
        }
    }

    pub(super) async fn call_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let sent = self.send(method, path, headers, body).await;
        Answer::of(sent.unwrap()).await
    }

    /// Sends a request, and returns what came before the body of the answer.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> reqwest::Result<Response> {
        let url = format!("{}{path}", self.server.url());
        let mut request = self
            .client
            .request(Method::from_bytes(method.as_bytes()).unwrap(), url)
            .body(body.to_owned());
        if !body.is_empty() && headers.iter().all(|(name, _)| *name != "content-type") {
            request = request.header("content-type", "application/fhir+json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call_with(method, path, &[], body).await
    }

    pub(super) async fn fhir(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call(method, &format!("{STORE}/fhir/{path}"), body)
            .await
    }

    pub(super) async fn fhir_with(
        &self,
        method: &str,
        path: &str,
        header: (&str, &str),
        body: &str,
    ) -> Answer {
        self.call_with(method, &format!("{STORE}/fhir/{path}"), &[header], body)
            .await
    }

    pub(super) async fn bundle(&self, bundle: &Value) -> Answer {
        self.fhir("POST", "", &bundle.to_string()).await
    }

    pub(super) async fn total(&self, query: &str) -> i64 {
        self.fhir("GET", query, "").await.is(200).json()["total"]
            .as_i64()
            .unwrap()
    }
}

pub(super) fn entry(full_url: &str, method: &str, url: &str, resource: Value) -> Value {
    let mut entry = json!({"fullUrl": full_url, "resource": resource, "request": {"method": method, "url": url}});
    if resource_is_null(&entry) {
        entry.as_object_mut().unwrap().remove("resource");
    }
    entry
}

pub(super) fn resource_is_null(entry: &Value) -> bool {
    entry["resource"].is_null()
}

pub(super) fn bundle(kind: &str, entries: &[Value]) -> Value {
    json!({"resourceType": "Bundle", "type": kind, "entry": entries})
}
