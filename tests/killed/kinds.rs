//! Messages and instances: a load that is killed at random moments, against a store that fails and loses answers, ends with each of
//! them there once.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use fs_err as fs;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::Value;
use stoker::hl7v2::digest::Digest;

use super::{bench::stoker, kills, store::Store};
use crate::support::instances::{uids, written};

const STUDIES: usize = 20;
const INSTANCES: usize = 4;
const MESSAGES: usize = 150;

/// How many loads are killed in short, each some times.
const SHORT: u32 = 4;

/// Sometimes the store fails, sometimes it has no time, and sometimes its answer is lost, before or after it has written.
const FAULTS: &str = "seed: 7\nrules:\n\
- { when: { request: [create], probability: 0.04 }, fault: { answer: { status: 503 } } }\n\
- { when: { request: [create], probability: 0.03 }, fault: { answer: { status: 500 } } }\n\
- { when: { request: [create], probability: 0.03 }, fault: { reset: after_write } }\n\
- { when: { request: [create], probability: 0.03 }, fault: { reset: before_body } }\n\
- { when: { request: [delete], probability: 0.04 }, fault: { answer: { status: 503 } } }\n\
- { when: { request: [delete], probability: 0.03 }, fault: { reset: after_write } }\n\
- { when: { request: [create] }, fault: { latency: { uniform: [1ms, 8ms] } } }\n";

/// The patient of instances that another has stored before, under the same UIDs.
pub(super) const BEFORE: &str = "before";

/// Writes messages and instances, and a manifest that loads them with these keys; returns the names under which the store holds
/// them. `patient` is whom the instances are of, if not those of the samples.
fn prepare(folder: &Path, url: &str, keys: &str, patient: Option<&str>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    fs::create_dir_all(folder.join("in/images")).unwrap();
    for study in 0..STUDIES {
        for number in 0..INSTANCES {
            let uids = uids(study, number);
            let path = folder.join(format!("in/images/{}", uids.instance));
            let mut sample = uids.tiny();
            sample.patient = patient.unwrap_or(sample.patient);
            fs::write(path, written(&sample)).unwrap();
            names.insert(uids.instance);
        }
    }
    let mut all = String::new();
    for number in 0..MESSAGES {
        let message = format!(
            "MSH|^~\\&|A|B|C|D|20260101||ADT^A04|m{number}|P|2.5\rPID|1||p{}^^^X\r",
            number % 25
        );
        names.insert(Digest::of(message.as_bytes()).message_id());
        all.push_str(&message);
    }
    fs::write(folder.join("in/feed.hl7"), all).unwrap();
    let store = |kind: &str| {
        format!(
            "{{ google: {{ project: local, location: local, dataset: stoker, {kind}, endpoint: \"{url}\" }}, auth: none, retry: {{ attempts: 12, base: 1ms, max: 20ms }} }}"
        )
    };
    let manifest = format!(
        "version: 1\nname: both\ntargets:\n  images: {}\n  feed: {}\nloads:\n  - {{ name: images, target: images, files: [\"in/images/*\"], bundle: {{ max_entries: 3 }}{keys} }}\n  - {{ name: feed, target: feed, files: [\"in/feed.hl7\"] }}\n",
        store("dicom_store: dicom"),
        store("hl7v2_store: hl7v2"),
    );
    fs::write(folder.join("m.yaml"), manifest).unwrap();
    names
}

fn started(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = stoker(folder, arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// What the store holds: UIDs of instances, and ids of messages.
pub(super) async fn held(url: &str) -> Vec<String> {
    let base = format!("{url}/v1/projects/local/locations/local/datasets/stoker");
    let client = reqwest::Client::new();
    let get = async |path: String| -> Value {
        let answer = client.get(format!("{base}/{path}")).send().await.unwrap();
        // Nothing found is an answer without a body.
        if answer.status() == 204 {
            return Value::Null;
        }
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    };
    let instances = get("dicomStores/dicom/dicomWeb/instances?limit=1000".to_owned()).await;
    let instances = instances.as_array().into_iter().flatten();
    let mut held: Vec<String> = instances
        .map(|set| set["00080018"]["Value"][0].as_str().unwrap().to_owned())
        .collect();
    let messages = get("hl7V2Stores/hl7v2/messages?pageSize=1000".to_owned()).await;
    for name in messages["hl7V2Messages"].as_array().into_iter().flatten() {
        let name = name["name"].as_str().unwrap();
        held.push(name.rsplit('/').next().unwrap().to_owned());
    }
    held.sort();
    held
}

/// How many instances the store holds that are not those of the files.
pub(super) async fn of_before(url: &str) -> usize {
    let base = format!("{url}/v1/projects/local/locations/local/datasets/stoker");
    let search = format!("{base}/dicomStores/dicom/dicomWeb/instances?PatientID={BEFORE}");
    let answer = reqwest::get(search).await.unwrap();
    if answer.status() == 204 {
        return 0;
    }
    let found = answer.text().await.unwrap();
    let found: Vec<Value> = serde_json::from_str(&found).unwrap();
    found.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_instances_are_there_once_whatever_is_killed_when() {
    for seed in 0..u64::from(kills().unwrap_or(SHORT)) {
        let mut random = SmallRng::seed_from_u64(seed);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("faults.yaml"), FAULTS).unwrap();
        let store = Store::start_with(folder.path(), &["--faults", "faults.yaml"]);
        // Every other time another has been there before, whose instances are to be replaced.
        let replaces = seed % 2 == 1;
        let keys = if replaces {
            prepare(folder.path(), &store.url, "", Some(BEFORE));
            let first = ["load", "m.yaml", "--load", "images"];
            let first = stoker(folder.path(), &first).output().unwrap();
            assert!(first.status.success(), "seed {seed}");
            assert_eq!(of_before(&store.url).await, STUDIES * INSTANCES);
            fs::remove_dir_all(folder.path().join(".stoker")).unwrap();
            ", duplicates: replace"
        } else {
            ""
        };
        let names = prepare(folder.path(), &store.url, keys, None);
        let mut is_begun = false;
        for _ in 0..3 {
            let arguments: &[&str] = if is_begun {
                &["load", "m.yaml", "--resume"]
            } else {
                &["load", "m.yaml"]
            };
            let mut child = started(folder.path(), arguments);
            tokio::time::sleep(Duration::from_millis(random.random_range(30..700))).await;
            child.kill().unwrap();
            child.wait().unwrap();
            is_begun = folder.path().join(".stoker/runs").is_dir();
        }
        let last = stoker(folder.path(), &["load", "m.yaml", "--resume"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&last.stderr).into_owned();
        assert!(last.status.success(), "seed {seed}: {said}");
        let expected: Vec<String> = names.into_iter().collect();
        assert_eq!(held(&store.url).await, expected, "seed {seed}");
        assert_eq!(of_before(&store.url).await, 0, "seed {seed}");
        // Again: nothing is sent that is there.
        let again = stoker(folder.path(), &["load", "m.yaml"]).output().unwrap();
        let said = String::from_utf8_lossy(&again.stdout).into_owned();
        assert!(
            again.status.success() && said.contains("[unchanged]            230"),
            "{said}"
        );
    }
}
