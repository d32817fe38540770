//! Instances that replace others: what removes and what stores keep to one rate together.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use fs_err as fs;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::json;
use stoker::{
    gate::{Fault, FaultKind, Transport},
    journal::Ending,
    record::Outcome,
    send::{self, Earlier},
    target::{Facts, dicom::Dicom},
};
use tokio::time::Instant;

use super::{
    pipeline::{Settled, planned},
    seeds,
};
use crate::support::instances::{uids, written};

const INSTANCES: usize = 40;

/// Names of one length: none of them is the beginning of another.
fn instance(number: usize) -> String {
    uids(1, 100 + number).instance
}

/// A store that holds something under the names of all instances.
#[derive(Debug)]
struct Store {
    random: Mutex<SmallRng>,
    there: Mutex<HashSet<String>>,
    /// Everything that writes, and how many instances it writes.
    seen: Mutex<Vec<(Instant, u64)>>,
    /// Reads of what is there.
    reads: Mutex<usize>,
}

impl Store {
    /// How long something takes, on the way and there; a fifth of what writes is refused or lost.
    fn take(&self) -> (Duration, u32) {
        let mut random = self.random.lock().unwrap();
        let took = Duration::from_millis(random.random_range(0..40));
        (took, random.random_range(0..20))
    }

    fn write(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let mut there = self.there.lock().unwrap();
        let holds = |uid: &String| memchr::memmem::find(request.body(), uid.as_bytes()).is_some();
        let named: Vec<String> = (0..INSTANCES).map(instance).filter(holds).collect();
        self.seen
            .lock()
            .unwrap()
            .push((Instant::now(), named.len() as u64));
        let (mut stored, mut failed) = (Vec::new(), Vec::new());
        for uid in named {
            let item = json!({ "00081155": { "vr": "UI", "Value": [uid] } });
            if there.insert(uid) {
                stored.push(item);
            } else {
                let mut item = item;
                item["00081197"] = json!({ "vr": "US", "Value": [45070] });
                failed.push(item);
            }
        }
        let status = if stored.is_empty() { 409 } else { 202 };
        let answer = json!({
            "00081199": { "vr": "SQ", "Value": stored },
            "00081198": { "vr": "SQ", "Value": failed },
        });
        let mut response = Response::new(Bytes::from(answer.to_string()));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        let json = http::HeaderValue::from_static("application/dicom+json");
        response.headers_mut().insert("content-type", json);
        response
    }
}

impl Transport for Store {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(async move {
            let (took, trouble) = self.take();
            let refused = |status: u16| {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
                response
            };
            let answer = match *request.method() {
                Method::POST => self.write(&request),
                Method::DELETE => {
                    self.seen.lock().unwrap().push((Instant::now(), 1));
                    let uid = request.uri().path().rsplit('/').next().unwrap().to_owned();
                    if trouble == 1 {
                        refused(503)
                    } else if self.there.lock().unwrap().remove(&uid) {
                        refused(200)
                    } else {
                        refused(404)
                    }
                }
                _ => {
                    *self.reads.lock().unwrap() += 1;
                    Response::new(Bytes::from_static(b"[]"))
                }
            };
            tokio::time::sleep(took).await;
            if trouble == 0 && request.method() == Method::DELETE {
                return Err(Fault::new(
                    FaultKind::Interrupted,
                    "it was cut off".to_owned(),
                ));
            }
            Ok(answer)
        })
    }
}

#[test]
fn no_window_holds_more_than_the_rate() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..INSTANCES {
        let bytes = written(&uids(1, 100 + number).tiny());
        fs::write(folder.path().join(format!("{number}.dcm")), bytes).unwrap();
    }
    for seed in seeds(20) {
        let mut random = SmallRng::seed_from_u64(seed);
        let rate = random.random_range(10..60_u64);
        let together = random.random_range(1..=rate / 10);
        let bytes = if random.random() {
            ", compare: bytes"
        } else {
            ""
        };
        let yaml = format!(
            "version: 1\nname: sim\ntargets: {{ t: {{ dicomweb: {{ url: \"https://store.example/dicom\" }}, concurrency: 4, rate: {rate}/s, retry: {{ attempts: 30 }} }} }}\n\
             loads: [ {{ name: all, files: [\"*.dcm\"], bundle: {{ max_entries: {together} }}, duplicates: replace{bytes} }} ]\n"
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let store = Arc::new(Store {
            random: Mutex::new(SmallRng::seed_from_u64(seed)),
            there: Mutex::new((0..INSTANCES).map(instance).collect()),
            seen: Mutex::default(),
            reads: Mutex::default(),
        });
        let ledger = Arc::new(Settled::default());
        runtime.block_on(async {
            let planned = planned(&yaml, Facts::UNKNOWN, folder.path());
            let base = "https://store.example/dicom/".parse().unwrap();
            let setup = planned.setup_for(
                Arc::new(Dicom::new(&base, None)),
                Arc::clone(&store) as _,
                Arc::clone(&ledger) as _,
                Earlier::default(),
            );
            let ended = send::run(setup).await.unwrap();
            assert_eq!(ended.how, Ending::Complete, "seed {seed}: {ended:?}");
        });
        let settled = ledger.lines.lock().unwrap();
        let updated = settled
            .iter()
            .filter(|line| line.outcome == Outcome::Updated);
        assert_eq!(updated.count(), INSTANCES, "seed {seed}: {settled:?}");
        // All of them were stored, removed and stored again.
        let seen = store.seen.lock().unwrap();
        let all: u64 = seen.iter().map(|(_, count)| count).sum();
        assert!(all >= 3 * INSTANCES as u64, "seed {seed}: {all}");
        for (at, (began, _)) in seen.iter().enumerate() {
            let window = seen[at..]
                .iter()
                .take_while(|(then, _)| *then < *began + Duration::from_secs(1));
            let sum: u64 = window.map(|(_, count)| count).sum();
            assert!(sum <= rate, "seed {seed}: {sum} in a second at {rate}/s");
        }
        assert_eq!(
            *store.reads.lock().unwrap() > 0,
            !bytes.is_empty(),
            "seed {seed}"
        );
    }
}
