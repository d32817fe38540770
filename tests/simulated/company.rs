//! Requests of several records that fail for one of them: the others are taken, and the bad ones end by themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use fs_err as fs;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use stoker::{
    gate::{Fault, FaultKind, Transport},
    journal::Ending,
    record::Outcome,
    send::{self, Earlier},
    target::{Facts, Target, dicom::Dicom, fhir::Fhir},
};
use tokio::time::Instant;

use super::{
    pipeline::{Settled, planned},
    seeds,
};
use crate::support::instances::{uids, written};

/// How a request fails that holds a bad record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failing {
    /// By this status.
    Status(u16),
    /// The connection breaks.
    Dropped,
}

/// A store that fails at every request with a bad record in it. `partly`: it has taken the good ones by then.
#[derive(Debug)]
struct Store {
    bad: BTreeSet<usize>,
    failing: Failing,
    partly: bool,
    /// How often each was taken, by its number, with what was sent.
    there: Mutex<BTreeMap<usize, (u32, Value)>>,
    /// The number of records of each write, and when it came.
    writes: Mutex<Vec<(usize, Instant)>>,
}

impl Store {
    fn take(&self, numbers: &[(usize, Value)]) {
        let mut there = self.there.lock().unwrap();
        for (number, sent) in numbers {
            if !self.bad.contains(number) {
                there.entry(*number).or_insert((0, sent.clone())).0 += 1;
            }
        }
    }

    /// Returns the records of a write, and its answer where all is well.
    fn sent(request: &Request<Bytes>) -> (Vec<(usize, Value)>, Value) {
        let body = request.body();
        if let Ok(sent) = serde_json::from_slice::<Value>(body) {
            let resources: Vec<Value> = match sent["entry"].as_array() {
                Some(entries) => entries
                    .iter()
                    .map(|entry| entry["resource"].clone())
                    .collect(),
                None => vec![sent.clone()],
            };
            let number = |resource: &Value| {
                let id = resource["id"].as_str().unwrap();
                id.trim_start_matches('r').parse().unwrap()
            };
            let records: Vec<(usize, Value)> = resources
                .into_iter()
                .map(|one| (number(&one), one))
                .collect();
            let entry = json!({ "response": { "status": "201" } });
            let answer = match sent["resourceType"].as_str() {
                Some("Bundle") => json!({ "resourceType": "Bundle", "type": "batch-response",
                    "entry": vec![entry; records.len()] }),
                _ => sent,
            };
            return (records, answer);
        }
        let holds =
            |number: &usize| memchr::memmem::find(body, instance(*number).as_bytes()).is_some();
        let numbers = (0..MOST).filter(holds).map(|number| (number, Value::Null));
        let records: Vec<(usize, Value)> = numbers.collect();
        let item =
            |number: usize| json!({ "00081155": { "vr": "UI", "Value": [instance(number)] } });
        let items: Vec<Value> = records.iter().map(|(number, _)| item(*number)).collect();
        (
            records,
            json!({ "00081199": { "vr": "SQ", "Value": items } }),
        )
    }

    fn read(&self, path: &str) -> Option<Value> {
        let path = path.trim_end_matches("/metadata");
        let id = path.rsplit('/').next().unwrap();
        let there = self.there.lock().unwrap();
        if let Some(number) = id.strip_prefix('r') {
            return there
                .get(&number.parse().unwrap())
                .map(|(_, sent)| sent.clone());
        }
        let number = (0..MOST).find(|number| instance(*number) == id)?;
        there.get(&number)?;
        let value = |uid: &str| json!({ "vr": "UI", "Value": [uid] });
        Some(
            json!([{ "0020000D": value("1.2.1"), "0020000E": value("1.2.1.1"), "00080018": value(id) }]),
        )
    }
}

impl Transport for Store {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let answered = |status: u16, body: String| {
                let mut response = Response::new(Bytes::from(body));
                *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
                Ok(response)
            };
            if request.method() == Method::GET {
                return match self.read(request.uri().path()) {
                    Some(found) => answered(200, found.to_string()),
                    None => answered(404, String::new()),
                };
            }
            let (records, answer) = Self::sent(&request);
            let write = (records.len(), Instant::now());
            self.writes.lock().unwrap().push(write);
            if !records.iter().any(|(number, _)| self.bad.contains(number)) {
                self.take(&records);
                let status = if answer["resourceType"] == "Bundle" {
                    200
                } else {
                    201
                };
                return answered(status, answer.to_string());
            }
            if self.partly {
                self.take(&records);
            }
            match self.failing {
                Failing::Status(status) => answered(status, String::new()),
                Failing::Dropped => Err(Fault::new(
                    FaultKind::Interrupted,
                    "it was cut off".to_owned(),
                )),
            }
        })
    }
}

const MOST: usize = 40;

/// Names of one length: none of them is the beginning of another.
fn instance(number: usize) -> String {
    uids(1, 100 + number).instance
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dicom,
    Fhir,
}

/// Returns the outcome of each record, in order, and the store.
fn load(kind: Kind, random: &mut SmallRng, attempts: u32) -> (Vec<Outcome>, Arc<Store>) {
    let count = random.random_range(2..MOST);
    let bad = (0..random.random_range(1..4))
        .map(|_| random.random_range(0..count))
        .collect();
    let ways = [Failing::Status(500), Failing::Status(504), Failing::Dropped];
    let store = Arc::new(Store {
        bad,
        failing: ways[random.random_range(0..ways.len())],
        partly: random.random(),
        there: Mutex::default(),
        writes: Mutex::default(),
    });
    (load_into(&store, kind, count, attempts), store)
}

/// Returns the outcome of each record, in order.
fn load_into(store: &Arc<Store>, kind: Kind, count: usize, attempts: u32) -> Vec<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let (place, files, target): (_, _, Arc<dyn Target>) = match kind {
        Kind::Dicom => {
            for number in 0..count {
                let bytes = written(&uids(1, 100 + number).tiny());
                fs::write(folder.path().join(format!("{number:02}.dcm")), bytes).unwrap();
            }
            let base = "https://store.example/dicom/".parse().unwrap();
            ("dicomweb", "*.dcm", Arc::new(Dicom::new(&base, None)))
        }
        Kind::Fhir => {
            let lines = (0..count)
                .map(|number| format!("{{\"resourceType\":\"Basic\",\"id\":\"r{number}\"}}\n"));
            fs::write(folder.path().join("p.ndjson"), lines.collect::<String>()).unwrap();
            let base = "https://store.example/dicom/".parse().unwrap();
            (
                "fhir",
                "p.ndjson, interaction: update, bundle: { type: batch }",
                Arc::new(Fhir::new(&base, None)),
            )
        }
    };
    let files = files.replacen("*.dcm", "\"*.dcm\"", 1);
    let files = match files.split_once(", ") {
        Some((file, keys)) => format!("[{file}], {keys}"),
        None => format!("[{files}]"),
    };
    let yaml = format!(
        "version: 1\nname: sim\ntargets: {{ t: {{ {place}: {{ url: \"https://store.example/dicom\" }}, concurrency: 2, retry: {{ attempts: {attempts} }} }} }}\n\
         loads: [ {{ name: all, files: {files} }} ]\n"
    );
    let facts = Facts {
        batch: Some(true),
        update_create: Some(true),
        ..Facts::UNKNOWN
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let ledger = Arc::new(Settled::default());
    runtime.block_on(async {
        let planned = planned(&yaml, facts, folder.path());
        let setup = planned.setup_for(
            target,
            Arc::clone(store) as _,
            Arc::clone(&ledger) as _,
            Earlier::default(),
        );
        let ended = send::run(setup).await.unwrap();
        assert_eq!(ended.how, Ending::Complete, "{ended:?}");
    });
    let mut lines = ledger.lines.lock().unwrap().clone();
    lines.sort_by_key(|line| line.record);
    assert_eq!(lines.len(), count);
    lines.into_iter().map(|line| line.outcome).collect()
}

#[test]
fn the_bad_instance_of_a_company_is_cornered_in_seconds() {
    for failing in [Failing::Status(500), Failing::Dropped] {
        let store = Arc::new(Store {
            bad: [7].into(),
            failing,
            partly: false,
            there: Mutex::default(),
            writes: Mutex::default(),
        });
        let outcomes = load_into(&store, Kind::Dicom, MOST - 1, 1);
        let rejected = outcomes.iter().filter(|it| **it == Outcome::Rejected);
        assert_eq!(rejected.count(), 1);
        let writes = store.writes.lock().unwrap();
        let took = writes.last().unwrap().1 - writes.first().unwrap().1;
        // Two for each step, and the whole grace of a server for the bad one alone.
        assert!(took < Duration::from_secs(26), "{failing:?}: {took:?}");
    }
}

#[test]
fn the_bad_ones_are_cornered_and_the_good_ones_taken() {
    for kind in [Kind::Dicom, Kind::Fhir] {
        for seed in seeds(30) {
            let mut random = SmallRng::seed_from_u64(seed);
            let attempts = random.random_range(1..4);
            let (outcomes, store) = load(kind, &mut random, attempts);
            for (number, outcome) in outcomes.iter().enumerate() {
                if store.bad.contains(&number) {
                    assert_eq!(*outcome, Outcome::Rejected, "{kind:?} {seed}: {number}");
                } else {
                    assert!(
                        matches!(outcome, Outcome::Created | Outcome::Updated),
                        "{kind:?} {seed}: {number} {outcome:?}"
                    );
                }
            }
            // It costs no more than to send each by itself, halves besides, after what the whole may cost.
            let writes = store.writes.lock().unwrap();
            assert!(
                writes.iter().any(|(records, _)| *records > 1),
                "{kind:?} {seed}"
            );
            let writes = writes.len();
            let most = attempts as usize * 2 + 3 * outcomes.len() + 16;
            assert!(writes <= most, "{kind:?} {seed}: {writes} of {most}");
        }
    }
}
