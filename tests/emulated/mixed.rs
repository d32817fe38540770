//! The binary against a store that makes every fault of `mixed.yaml` on a tenth of what is sent to it.
//!
//! Each record ends in one outcome, none is lost, none is there twice, and `unknown` is only what the emulator's own tale
//! allows. `STOKER_MIXED_RECORDS` sets how many records are loaded (300 when missing).

use std::{collections::BTreeMap, path::Path};

use fs_err as fs;
use serde_json::{Value, json};
use stoker::emulator::{Options, Scenario, Server};
use tokio::process::Command;

use super::bed::{options, started};
use crate::network::server::Mock;

const FHIR: &str = "v1/projects/local/locations/local/datasets/stoker/fhirStores/fhir/fhir";

/// Rules whose victims cannot tell whether a request took place.
const AMBIGUOUS: &[&str] = &[
    "error",
    "error after the write",
    "bad gateway",
    "gateway timeout",
    "reset before the body",
    "reset during the body",
    "reset after the body",
    "answer lost",
    "answer broken off",
    "answer cut short",
    "entries err",
];

/// Rules that meet everything, and let most of it through.
const HARMLESS: &[&str] = &["a little slow", "capacity", "quota"];

/// The server that goes away cuts what is in flight, as many as its capacity lets in.
const CUT_AT_ONCE: u64 = 64;

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no `cli` that reads the environment for them"
)]
fn records() -> u64 {
    let set = std::env::var("STOKER_MIXED_RECORDS").ok();
    set.map_or(300, |text| text.parse().unwrap())
}

/// What a load left.
struct Loaded {
    records: u64,
    report: Value,
    /// The outcome of every record that has one, by its number.
    outcomes: BTreeMap<u64, String>,
    /// Why records are unknown, and how many.
    notes: BTreeMap<String, u64>,
    /// How often every record is in the store, by its number.
    held: BTreeMap<u64, u64>,
    /// What the emulator did.
    struck: BTreeMap<String, u64>,
    code: i32,
}

impl Loaded {
    fn count(&self, outcome: &str) -> u64 {
        self.outcomes.values().filter(|o| *o == outcome).count() as u64
    }

    /// How many requests, at the most, cannot tell whether they took place.
    fn ambiguous(&self) -> u64 {
        let struck = AMBIGUOUS.iter().map(|rule| self.struck[*rule]);
        struck.sum::<u64>() + CUT_AT_ONCE
    }

    /// Each record has one outcome; what arrived is there once, what was not known at most once, nothing else is.
    fn check(&self, settings: &str) {
        let struck = self.struck.iter();
        let struck = struck.filter(|(rule, _)| !HARMLESS.contains(&rule.as_str()));
        let struck: u64 = struck.map(|(_, requests)| requests).sum();
        eprintln!(
            "{settings}: {} records, {} requests, {} retries, {struck} faults, {} ms, exit {}\n{}\n{:?}\n{:#?}",
            self.records,
            self.report["requests"]["sent"],
            self.report["requests"]["retries"],
            self.report["duration_ms"],
            self.code,
            self.report["outcomes"],
            self.struck,
            self.notes,
        );
        assert_eq!(self.outcomes.len() as u64, self.records);
        for number in 0..self.records {
            let held = self.held.get(&number).copied().unwrap_or_default();
            match self.outcomes[&number].as_str() {
                "created" | "updated" => assert_eq!(held, 1, "record {number}"),
                "unknown" => assert!(held <= 1, "record {number} is there {held} times"),
                other => panic!("record {number} is {other}"),
            }
        }
        assert!(self.held.keys().all(|number| *number < self.records));
        assert!(struck >= 10, "few faults: {struck}");
        let is_well = self.count("unknown") == 0;
        assert_eq!(self.code, i32::from(!is_well));
    }
}

async fn serve(dir: &Path, faults: Option<&str>) -> Server {
    let faults = faults.map(|text| Scenario::parse(text, Path::new("mixed.yaml")).unwrap());
    started(Options {
        faults,
        ..options(dir)
    })
    .await
}

async fn load(settings: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let records = records();
    let lines = (0..records).map(|number| {
        json!({"resourceType": "Patient", "id": format!("p{number}"), "name": [{"family": format!("Planted {number}")}],
            "identifier": [{"system": "urn:number", "value": number.to_string()}]})
        .to_string()
    });
    fs::write(
        folder.path().join("p.ndjson"),
        lines.collect::<Vec<_>>().join("\n"),
    )
    .unwrap();
    // Every token that was refused is followed by a new one.
    let tokens = Mock::start(|number, _| {
        let token = json!({"access_token": format!("token-{number}"), "expires_in": 3600, "token_type": "Bearer"});
        (200, token.to_string())
    })
    .await;
    let user = json!({"type": "authorized_user", "client_id": "id", "client_secret": "secret",
        "refresh_token": "refresh", "token_uri": tokens.url("/token")});
    fs::write(folder.path().join("user.json"), user.to_string()).unwrap();
    let dir = folder.path().join("store");
    let quiet = serve(&dir, None).await;
    create_store(&quiet).await;
    quiet.stop().await;
    let server = serve(&dir, Some(include_str!("mixed.yaml"))).await;
    let manifest = format!(
        "version: 1\nname: mixed\ntargets:\n  t:\n    fhir: {{ url: \"{}{FHIR}\" }}\n    \
         auth: {{ google: {{ credentials: user.json }} }}\n    \
         retry: {{ attempts: 12, base: 50ms, max: 2s }}\n\
         loads:\n  - {{ name: all, target: t, files: [p.ndjson], {settings} }}\n",
        server.url()
    );
    fs::write(folder.path().join("m.yaml"), manifest).unwrap();
    let ran = Command::new(assert_cmd::cargo::cargo_bin!("stoker"))
        .env_clear()
        .env("PATH", "/nowhere")
        .env("NO_GCE_CHECK", "true")
        .current_dir(folder.path())
        .args(["load", "m.yaml", "--progress", "none"])
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let code = ran.status.code().unwrap();
    assert!(code == 0 || code == 1, "exit {code}: {said}");
    let struck = server.struck().into_iter().collect();
    server.stop().await;
    let quiet = serve(&dir, None).await;
    let held = held(&quiet).await;
    quiet.stop().await;
    let runs = fs::read_dir(folder.path().join(".stoker/runs")).unwrap();
    let run = runs.map(|run| run.unwrap().path()).next().unwrap();
    let report = fs::read_to_string(run.join("report.json")).unwrap();
    let mut outcomes = BTreeMap::new();
    let mut notes: BTreeMap<String, u64> = BTreeMap::new();
    for line in fs::read_to_string(run.join("records.ndjson"))
        .unwrap()
        .lines()
    {
        let line: Value = serde_json::from_str(line).unwrap();
        let number = line["record"].as_u64().unwrap();
        let outcome = line["outcome"].as_str().unwrap().to_owned();
        if outcome == "unknown" {
            let note = line["note"].as_str().unwrap_or_default();
            *notes.entry(note.to_owned()).or_default() += 1;
        }
        assert_eq!(outcomes.insert(number, outcome), None, "settled twice");
    }
    Loaded {
        records,
        report: serde_json::from_str(&report).unwrap(),
        outcomes,
        notes,
        held,
        struck,
        code,
    }
}

async fn create_store(server: &Server) {
    let client = reqwest::Client::new();
    let datasets = format!("{}v1/projects/local/locations/local/datasets", server.url());
    let post = async |url: String, body: Value| {
        let sent = client
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await;
        assert_eq!(sent.unwrap().status().as_u16(), 200);
    };
    post(format!("{datasets}?datasetId=stoker"), json!({})).await;
    let settings = json!({"version": "R4", "enableUpdateCreate": true});
    post(
        format!("{datasets}/stoker/fhirStores?fhirStoreId=fhir"),
        settings,
    )
    .await;
}

/// How often every record is in the store, by its number.
async fn held(server: &Server) -> BTreeMap<u64, u64> {
    let client = reqwest::Client::new();
    let mut held = BTreeMap::new();
    let mut next = Some(format!("{}{FHIR}/Patient?_count=1000", server.url()));
    while let Some(url) = next {
        let page = client.get(&url).send().await.unwrap().text().await.unwrap();
        let page: Value = serde_json::from_str(&page).unwrap();
        for entry in page["entry"].as_array().into_iter().flatten() {
            let number = &entry["resource"]["identifier"][0]["value"];
            let number: u64 = number.as_str().unwrap().parse().unwrap();
            *held.entry(number).or_default() += 1;
        }
        let mut links = page["link"].as_array().into_iter().flatten();
        let link = links.find(|link| link["relation"] == "next");
        next = link.map(|link| link["url"].as_str().unwrap().to_owned());
    }
    held
}

/// What may be sent twice leaves nothing open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_once_leaves_no_update_open() {
    let settings = "interaction: update, bundle: none";
    let loaded = load(settings).await;
    loaded.check(settings);
    assert_eq!(loaded.count("unknown"), 0);
}

/// What must not be sent twice, and is not asked about, is not known where a fault makes it unknowable, and only there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_once_leaves_open_what_nobody_can_know() {
    let settings = "interaction: create, bundle: none, settle: none";
    let loaded = load(settings).await;
    loaded.check(settings);
    let unknown = loaded.count("unknown");
    let most = loaded.ambiguous();
    assert!((1..=most).contains(&unknown), "{unknown} of {most}");
}

/// Where the store can be asked, it is; only where the faults spoil what it answers then, something is left open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_once_leaves_nothing_open_that_can_be_asked_for() {
    let settings = "interaction: create, bundle: { type: batch, max_entries: 10 }, settle: identifier, \
                    identity: { Patient: [\"urn:number\"] }";
    let loaded = load(settings).await;
    loaded.check(settings);
    let (unknown, most) = (loaded.count("unknown"), 1 + loaded.records / 1000);
    assert!(unknown <= most, "{unknown} of {most}");
}
