//! DICOM stores of the embedded server, over HTTP: what goes in comes out byte by byte, and what is asked for is found.

mod faults;
mod process;
mod set;
mod transfer;

use std::time::Duration;

use reqwest::{Client, Response, header};
use serde_json::Value;
use stoker::{
    dicom::{
        multipart::{Boundary, only_part},
        sample::SampleInstance,
    },
    emulator::{Opened, Options, Provided, Scenario, Server, open},
};

use crate::support::instances::{uids, written};

const STORE: &str = "v1/projects/p/locations/l/datasets/d/dicomStores/s";

struct Bed {
    server: Server,
    client: Client,
    dir: tempfile::TempDir,
}

impl Bed {
    async fn new() -> Self {
        Self::with(None).await
    }

    /// A store that does wrong as a scenario says.
    async fn with(faults: Option<Scenario>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let provide = Provided {
            dataset: "projects/p/locations/l/datasets/d".to_owned(),
            store: "f".to_owned(),
            fields: [("version".to_owned(), "R4".into())].into(),
            hl7v2: None,
            dicom: Some("s".to_owned()),
        };
        let options = Options {
            provide: Some(provide),
            faults,
            ..Options::new(dir.path().to_owned())
        };
        let Opened::Started(server) = open(options).await.unwrap() else {
            panic!("the directory is new");
        };
        Self {
            server,
            client: Client::new(),
            dir,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{STORE}{path}", self.server.url())
    }

    async fn get(&self, path: &str, accept: &str) -> Response {
        let request = self.client.get(self.url(path));
        request.header(header::ACCEPT, accept).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> (u16, Value) {
        let response = self.get(path, "application/dicom+json").await;
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Waits until an operation is done.
    async fn wait(&self, name: &str) -> Value {
        let url = format!("{}v1/{name}", self.server.url());
        loop {
            let answer = self.client.get(&url).send().await.unwrap();
            let operation: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            if operation["done"] == true {
                return operation;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Begins an operation of the store, and waits for it; or returns why it is refused.
    async fn operate(&self, verb: &str, request: &Value) -> Result<Value, (u16, Value)> {
        let ask = self.client.post(self.url(verb)).body(request.to_string());
        let ask = ask.header(header::CONTENT_TYPE, "application/json");
        let answer = ask.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        match body["name"].as_str() {
            Some(name) if status == 200 => Ok(self.wait(name).await),
            _ => Err((status, body)),
        }
    }

    /// Stores instances in one request, and returns status and answer.
    async fn store(&self, path: &str, instances: &[&[u8]]) -> (u16, Value) {
        let boundary = Boundary::of(7);
        let mut body = Vec::new();
        for instance in instances {
            body.extend_from_slice(boundary.head().as_bytes());
            body.extend_from_slice(instance);
        }
        body.extend_from_slice(boundary.tail().as_bytes());
        let request = self.client.post(self.url(path)).body(body);
        let request = request.header(header::CONTENT_TYPE, boundary.content_type());
        let request = request.header(header::ACCEPT, "application/dicom+json");
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }
}

fn instance(study: u32, number: u32, frames: u32) -> Vec<u8> {
    written(&SampleInstance {
        modality: "US",
        name: "Rivera^Ana",
        patient: "p-1",
        number,
        rows: 4,
        columns: 6,
        frames,
        ..uids(study, number).tiny()
    })
}

const ONE: &str = "/dicomWeb/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1";
const AS_STORED: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";

fn instances(set: &Value, sequence: &str) -> Vec<String> {
    let items = set[sequence]["Value"].as_array().into_iter().flatten();
    items
        .map(|item| item["00081155"]["Value"][0].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn instances_are_stored_once_and_told_one_by_one() {
    let bed = Bed::new().await;
    let (one, two) = (instance(1, 1, 1), instance(1, 2, 1));
    let (status, set) = bed.store("/dicomWeb/studies", &[&one, &two]).await;
    assert_eq!(status, 200, "{set}");
    assert_eq!(instances(&set, "00081199"), ["1.2.1.1.1", "1.2.1.1.2"]);
    // The one that is there is refused, as Google does; the other is stored.
    let three = instance(1, 3, 1);
    let (status, set) = bed
        .store("/dicomWeb/studies", &[&one, &three, b"no instance"])
        .await;
    assert_eq!(status, 409);
    assert_eq!(instances(&set, "00081199"), ["1.2.1.1.3"]);
    let failed = &set["00081198"]["Value"];
    assert_eq!(failed[0]["00081197"]["Value"][0], 272);
    assert_eq!(failed[0]["00091097"]["Value"][0], "already exists");
    assert_eq!(failed[1]["00081197"]["Value"][0], 0xC000);
    // Only one study is meant.
    let other = instance(2, 1, 1);
    let (status, _) = bed.store("/dicomWeb/studies/1.2.9", &[&other]).await;
    assert_eq!(status, 409);
    // One file as the whole body; XML is the answer where nothing is said.
    let request = bed.client.post(bed.url("/dicomWeb/studies")).body(other);
    let request = request.header(header::CONTENT_TYPE, "application/dicom");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(
        response
            .text()
            .await
            .unwrap()
            .starts_with("<NativeDicomModel>")
    );
    for (kind, status) in [
        ("application/json", 415),
        ("multipart/related; type=\"application/dicom\"", 400),
    ] {
        let request = bed.client.post(bed.url("/dicomWeb/studies")).body("x");
        let response = request
            .header(header::CONTENT_TYPE, kind)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{kind}");
    }
    bed.server.stop().await;
}

#[tokio::test]
async fn what_is_stored_is_given_back_byte_by_byte_and_nothing_is_transcoded() {
    let bed = Bed::new().await;
    let bytes = instance(1, 1, 3);
    bed.store("/dicomWeb/studies", &[&bytes, &instance(1, 2, 1)])
        .await;
    let response = bed.get(ONE, AS_STORED).await;
    let kind = response.headers()[header::CONTENT_TYPE]
        .to_str()
        .unwrap()
        .to_owned();
    let body = response.bytes().await.unwrap();
    assert_eq!(only_part(&kind, &body), Some(bytes.as_slice()));
    let response = bed.get(ONE, "application/dicom; transfer-syntax=*").await;
    assert_eq!(response.bytes().await.unwrap(), bytes);
    // It is stored in the form that is meant where none is named.
    assert_eq!(bed.get(ONE, "application/dicom").await.status(), 200);
    for (path, accept) in [
        (
            ONE.to_owned(),
            "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50",
        ),
        (ONE.to_owned(), "image/jpeg"),
        (format!("{ONE}/rendered"), "image/jpeg"),
        (
            format!("{ONE}/frames/1"),
            "multipart/related; type=\"image/jpeg\"; transfer-syntax=1.2.840.10008.1.2.4.50",
        ),
    ] {
        assert_eq!(
            bed.get(&path, accept).await.status(),
            406,
            "{path} {accept}"
        );
    }
    let frames = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
    let response = bed.get(&format!("{ONE}/frames/2"), frames).await;
    let kind = response.headers()[header::CONTENT_TYPE]
        .to_str()
        .unwrap()
        .to_owned();
    let body = response.bytes().await.unwrap();
    let pixels = &bytes[bytes.len() - 72..];
    assert_eq!(only_part(&kind, &body), Some(&pixels[24..48]));
    assert_eq!(
        bed.get(&format!("{ONE}/frames/4"), frames).await.status(),
        404
    );
    let (status, sets) = bed.json(&format!("{ONE}/metadata")).await;
    assert_eq!(status, 200);
    assert_eq!(sets[0]["00100010"]["Value"][0]["Alphabetic"], "Rivera^Ana");
    assert_eq!(sets[0]["00280008"]["Value"][0], 3);
    assert_eq!(sets[0].get("7FE00010"), None);
    // All of a study.
    let response = bed.get("/dicomWeb/studies/1.2.1", AS_STORED).await;
    assert!(response.bytes().await.unwrap().len() > 2 * bytes.len() - 200);
    assert_eq!(bed.json("/dicomWeb/studies/1.2.9/metadata").await.0, 404);
    bed.server.stop().await;
}

#[tokio::test]
async fn studies_series_and_instances_are_found() {
    let bed = Bed::new().await;
    for study in 1..=3 {
        let (one, two) = (instance(study, 1, 1), instance(study, 2, 1));
        bed.store("/dicomWeb/studies", &[&one, &two]).await;
    }
    for (path, found) in [
        ("studies", 3),
        ("series", 3),
        ("instances", 6),
        ("studies/1.2.2/series", 1),
        ("studies/1.2.2/instances", 2),
        ("studies/1.2.2/series/1.2.2.1/instances", 2),
        ("studies?StudyInstanceUID=1.2.3", 1),
        ("instances?00080018=1.2.1.1.2", 1),
        ("studies?PatientName=Riv*", 3),
        ("studies?PatientName=ana&fuzzymatching=true", 3),
        ("studies?PatientID=p-1&limit=2", 2),
        ("studies?limit=2&offset=2", 1),
        ("studies?StudyDate=20240101-20241231", 3),
        ("studies?ModalitiesInStudy=US", 3),
        ("series?Modality=CT", 0),
        ("studies?PatientID=nobody", 0),
    ] {
        let (status, sets) = bed.json(&format!("/dicomWeb/{path}")).await;
        assert_eq!(sets.as_array().map_or(0, Vec::len), found, "{path}");
        assert_eq!(status, if found == 0 { 204 } else { 200 }, "{path}");
    }
    let (_, sets) = bed
        .json("/dicomWeb/studies?includefield=00200013&limit=1")
        .await;
    assert_eq!(sets[0]["00201208"]["Value"][0], 2);
    assert_eq!(sets[0]["00200013"]["Value"][0], 1);
    // A study that is asked for by its UID is none that the path names: what it is stands in each answer.
    let (_, sets) = bed.json("/dicomWeb/instances?StudyInstanceUID=1.2.1").await;
    assert_eq!(sets[0]["00100020"]["Value"][0], "p-1");
    let (_, sets) = bed.json("/dicomWeb/instances?limit=2&offset=5").await;
    assert_eq!(sets.as_array().unwrap().len(), 1);
    assert_eq!(bed.json("/dicomWeb/studies?PatientNam=x").await.0, 400);
    let (_, metrics) = bed.json(":getDICOMStoreMetrics").await;
    assert_eq!(
        (
            metrics["studyCount"].as_str(),
            metrics["instanceCount"].as_str()
        ),
        (Some("3"), Some("6"))
    );
    let (_, metrics) = bed.json("/dicomWeb/studies/1.2.1:getStudyMetrics").await;
    assert_eq!(metrics["seriesCount"], "1");
    bed.server.stop().await;
}

#[tokio::test]
async fn what_is_deleted_is_gone() {
    let bed = Bed::new().await;
    let (one, two) = (instance(1, 1, 1), instance(1, 2, 1));
    bed.store("/dicomWeb/studies", &[&one, &two]).await;
    let delete = async |path: &str| {
        let response = bed.client.delete(bed.url(path)).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    assert_eq!(delete(ONE).await.0, 200);
    assert_eq!(delete(ONE).await.0, 404);
    assert_eq!(
        bed.json("/dicomWeb/instances")
            .await
            .1
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // What was deleted can be stored again.
    assert_eq!(bed.store("/dicomWeb/studies", &[&one]).await.0, 200);
    let (status, operation) = delete("/dicomWeb/studies/1.2.1").await;
    assert_eq!(status, 200);
    let name = operation["name"].as_str().unwrap();
    let operation = bed.wait(name).await;
    assert_eq!(operation["metadata"]["counter"]["success"], "2");
    assert_eq!(bed.json("/dicomWeb/instances").await.0, 204);
    assert_eq!(delete("/dicomWeb/studies/1.2.1").await.0, 404);
    bed.server.stop().await;
}

#[tokio::test]
async fn a_store_goes_with_its_dataset() {
    let bed = Bed::new().await;
    bed.store("/dicomWeb/studies", &[&instance(1, 1, 1)]).await;
    let dataset = format!("{}v1/projects/p/locations/l/datasets/d", bed.server.url());
    let gone = bed.client.delete(&dataset).send().await.unwrap();
    assert_eq!(gone.status(), 200);
    let new = format!(
        "{}v1/projects/p/locations/l/datasets?datasetId=d",
        bed.server.url()
    );
    assert_eq!(bed.client.post(&new).send().await.unwrap().status(), 200);
    // What has the name of the dataset again has nothing of it.
    assert_eq!(bed.json("").await.0, 404);
    assert_eq!(bed.json("/dicomWeb/instances").await.0, 404);
    bed.server.stop().await;
}
