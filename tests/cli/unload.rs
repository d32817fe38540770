//! What a run created is deleted again, and nothing else: the store is as it was before, by its content.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Stdio, time::Duration};

use fs_err as fs;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};

use super::{
    bed::{Bed, Ran},
    mllp,
};
use crate::{
    killed::store::Store,
    support::instances::{uids, written},
};

/// Three kinds of stores on a server of their own.
pub(super) struct Stores {
    pub(super) bed: Bed,
    store: Store,
}

impl Stores {
    pub(super) fn start(more: &[&str]) -> Self {
        Self::start_as(more, &[])
    }

    /// The same, with further files.
    pub(super) fn start_as(more: &[&str], files: &[(&str, &str)]) -> Self {
        let bed = Bed::with_samples();
        for (name, text) in files {
            bed.write(name, text);
        }
        bed.write(
            "faults.yaml",
            "seed: 7\nrules:\n- { when: { request: [delete, bundle] }, fault: { latency: { uniform: [2ms, 30ms] } } }\n\
             - { when: { request: [delete], probability: 0.05 }, fault: { answer: { status: 503 } } }\n\
             - { when: { request: [delete], probability: 0.05 }, fault: { reset: after_write } }\n",
        );
        bed.write(
            "slow.yaml",
            "rules:\n- { when: { request: [create] }, fault: { latency: { uniform: [40ms, 120ms] } } }\n",
        );
        let store = Store::start_with(&bed.path("."), more);
        let stores = Self { bed, store };
        stores.write_sources();
        stores
    }

    pub(super) fn target(&self, kind: &str, more: &str) -> String {
        format!(
            "{{ google: {{ project: local, location: local, dataset: stoker, {kind}, endpoint: \"{}\" }}, ensure: true, auth: none, retry: {{ attempts: 12, base: 1ms, max: 20ms }}{more} }}",
            self.store.url
        )
    }

    /// A manifest that creates the resources of one file.
    pub(super) fn manifest(&self, name: &str, file: &str, more: &str) -> String {
        let url = format!(
            "{}/v1/projects/local/locations/local/datasets/stoker/fhirStores/fhir/fhir",
            self.store.url
        );
        format!(
            "version: 1\nname: {name}\ntargets: {{ people: {{ fhir: {{ url: \"{url}\" }} }} }}\nloads: [ {{ name: l, target: people, files: [{file}], interaction: create, {more} }} ]\n"
        )
    }

    fn write_sources(&self) {
        let bed = &self.bed;
        // A circle; it refers to a resource that was there before by its condition, and somebody to it.
        let mut lines = String::new();
        for (id, of) in [("a", "b"), ("b", "c"), ("c", "a")] {
            let organization = json!({"resourceType": "Organization", "id": id, "name": id, "partOf": {"reference": format!("Organization/{of}")}});
            writeln!(lines, "{organization}").unwrap();
        }
        let patient = json!({"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": "Organization/a"}});
        let other = json!({"resourceType": "Patient", "id": "q", "generalPractitioner": [{"reference": "Practitioner?identifier=urn:x|was-there"}]});
        // A duplicate.
        writeln!(lines, "{patient}\n{patient}\n{other}").unwrap();
        bed.write("in/circle.ndjson", &lines);
        // A circle that no transaction holds under the rate: it is loaded in two steps.
        let mut lines = String::new();
        for number in 0..6 {
            let location = json!({"resourceType": "Location", "id": format!("l{number}"), "partOf": {"reference": format!("Location/l{}", (number + 1) % 6)}});
            writeln!(lines, "{location}").unwrap();
        }
        bed.write("in/long.ndjson", &lines);
        fs::create_dir_all(bed.path("in/images")).unwrap();
        for study in 0..4 {
            for number in 0..5 {
                let uids = uids(study, number);
                let path = bed.path(&format!("in/images/{}", uids.instance));
                fs::write(path, written(&uids.tiny())).unwrap();
            }
        }
        let mut all = String::new();
        for number in 0..40 {
            write!(
                all,
                "MSH|^~\\&|A|B|C|D|20260101||ADT^A04|m{number}|P|2.5\rPID|1||p{}^^^X\r",
                number % 7
            )
            .unwrap();
        }
        bed.write("in/feed.hl7", &all);
        let fhir = self.target("fhir_store: fhir", "");
        // Six of them are more than a second lets through together.
        let slow = self.target("fhir_store: fhir", ", rate: 6/s");
        let images = self.target("dicom_store: dicom", "");
        let feed = self.target("hl7v2_store: hl7v2", "");
        bed.write(
            "m.yaml",
            &format!(
                "version: 1\nname: all\ntargets:\n  people: {fhir}\n  slow: {slow}\n  images: {images}\n  feed: {feed}\nloads:\n\
                 - {{ name: clinic, target: people, files: [\"resources/clinic/**/*.json\"], interaction: create }}\n\
                 - {{ name: circle, target: people, files: [in/circle.ndjson], interaction: create }}\n\
                 - {{ name: long, target: slow, files: [in/long.ndjson], interaction: create }}\n\
                 - {{ name: kept, target: people, files: [in/kept.ndjson], interaction: update }}\n\
                 - {{ name: images, target: images, files: [\"in/images/*\"] }}\n\
                 - {{ name: feed, target: feed, files: [in/feed.hl7] }}\n"
            ),
        );
        bed.write(
            "before.yaml",
            &format!(
                "version: 1\nname: before\nstate: .before\ntargets:\n  people: {fhir}\n  images: {images}\n  feed: {feed}\nloads:\n\
                 - {{ name: before, target: people, files: [in/before.ndjson], interaction: update }}\n\
                 - {{ name: images, target: images, files: [\"in/images/1.2.0.1.0\"] }}\n\
                 - {{ name: feed, target: feed, files: [in/before.hl7] }}\n"
            ),
        );
        let practitioner = json!({"resourceType": "Practitioner", "id": "was-there", "identifier": [{"system": "urn:x", "value": "was-there"}]});
        let device = |manufacturer: &str| json!({"resourceType": "Device", "id": "d", "manufacturer": manufacturer});
        bed.write(
            "in/before.ndjson",
            &format!("{practitioner}\n{}\n", device("old")),
        );
        // The run updates what was there, and creates another under its own id.
        let kept = json!({"resourceType": "Device", "id": "e"});
        bed.write("in/kept.ndjson", &format!("{}\n{kept}\n", device("old")));
        bed.write(
            "in/before.hl7",
            "MSH|^~\\&|A|B|C|D|20260101||ADT^A04|m3|P|2.5\rPID|1||p3^^^X\r",
        );
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let base = format!(
            "{}/v1/projects/local/locations/local/datasets/stoker/{path}",
            self.store.url
        );
        let answer = reqwest::get(base).await.unwrap().text().await.unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    pub(super) async fn send(&self, method: reqwest::Method, path: &str, body: Option<&Value>) {
        let url = format!(
            "{}/v1/projects/local/locations/local/datasets/stoker/{path}",
            self.store.url
        );
        let mut request = reqwest::Client::new().request(method, url);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/fhir+json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{}",
            answer.text().await.unwrap()
        );
    }

    /// Everything in the stores, as it stands there.
    pub(super) async fn contents(&self) -> BTreeMap<String, String> {
        let mut contents = BTreeMap::new();
        let metrics = self.get("fhirStores/fhir:getFHIRStoreMetrics").await;
        for kind in metrics["metrics"].as_array().into_iter().flatten() {
            let kind = kind["resourceType"].as_str().unwrap();
            let page = self
                .get(&format!("fhirStores/fhir/fhir/{kind}?_count=1000"))
                .await;
            for entry in page["entry"].as_array().into_iter().flatten() {
                let mut resource = entry["resource"].clone();
                // An update makes a version of the same content.
                resource.as_object_mut().unwrap().remove("meta");
                let name = format!("{kind}/{}", resource["id"].as_str().unwrap());
                contents.insert(name, resource.to_string());
            }
        }
        let instances = self
            .get("dicomStores/dicom/dicomWeb/instances?limit=1000")
            .await;
        for set in instances.as_array().into_iter().flatten() {
            let uid = set["00080018"]["Value"][0].as_str().unwrap();
            contents.insert(uid.to_owned(), set.to_string());
        }
        let messages = self
            .get("hl7V2Stores/hl7v2/messages?pageSize=1000&view=RAW_ONLY")
            .await;
        for message in messages["hl7V2Messages"].as_array().into_iter().flatten() {
            contents.insert(
                message["name"].as_str().unwrap().to_owned(),
                message["data"].to_string(),
            );
        }
        contents
    }
}

/// The bytes of the files below a folder, by their paths.
fn files(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>, name: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files(&entry.path(), found, &name);
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

impl Stores {
    async fn export_one(&self, store: &str, prefix: &str) {
        let base = format!("{}/v1/", self.store.url);
        let url = format!("{base}projects/local/locations/local/datasets/stoker/{store}:export");
        let body = json!({"gcsDestination": {"uriPrefix": format!("gs://out/{prefix}")}, "endTime": "2100-01-01T00:00:00Z"});
        let mut body = body;
        if store.starts_with("dicom") {
            body.as_object_mut().unwrap().remove("endTime");
        }
        let client = reqwest::Client::new();
        let sent = client
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = sent.send().await.unwrap().text().await.unwrap();
        let begun: Value = serde_json::from_str(&answer).unwrap();
        let name = begun["name"].as_str().expect(&answer).to_owned();
        loop {
            let answer = reqwest::get(format!("{base}{name}")).await.unwrap();
            let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            if answer["done"] == true {
                assert!(answer.get("error").is_none(), "{answer}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The exports of the stores, byte by byte: resources as they stand in pages, with what the store says of them, instances
    /// as files, messages as lines.
    async fn exports(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        let metrics = self.get("fhirStores/fhir:getFHIRStoreMetrics").await;
        for kind in metrics["metrics"].as_array().into_iter().flatten() {
            let kind = kind["resourceType"].as_str().unwrap();
            let path = format!("fhirStores/fhir/fhir/{kind}?_count=1000");
            for entry in self.get(&path).await["entry"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let resource = &entry["resource"];
                let name = format!("{kind}/{}", resource["id"].as_str().unwrap());
                all.insert(name, resource.to_string().into_bytes());
            }
        }
        self.export_one("dicomStores/dicom", &format!("{prefix}/dicom"))
            .await;
        self.export_one("hl7V2Stores/hl7v2", &format!("{prefix}/hl7v2"))
            .await;
        let folder = self.bed.path("store/buckets/out").join(prefix);
        files(&folder.join("dicom"), &mut all, "dicom");
        let mut lines = BTreeMap::new();
        files(&folder.join("hl7v2"), &mut lines, "hl7v2");
        for line in lines
            .values()
            .flat_map(|text| text.split(|byte| *byte == b'\n'))
        {
            all.insert(String::from_utf8_lossy(line).into_owned(), Vec::new());
        }
        fs::remove_dir_all(&folder).unwrap();
        all
    }
}

impl Stores {
    /// Loads what was there before; a message that was stored within three seconds is taken for a new one by a load.
    pub(super) async fn before(&self) -> BTreeMap<String, String> {
        let _ = self.bed.run(&["load", "before.yaml"]).exits(0);
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.contents().await
    }
}

/// Deletes the stores that a manifest's loads made, with these answers at the terminal.
fn reset(bed: &Bed, manifest: &str, answers: &str) -> Ran {
    let mut child = bed
        .command(&["reset", manifest, "--yes", "--stores"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, answers.as_bytes()).unwrap();
    drop(input);
    Ran::of(child.wait_with_output().unwrap())
}

pub(super) fn unload(bed: &Bed, run: &Path, more: &[&str]) -> Ran {
    bed.run(&[&["unload", run.to_str().unwrap()], more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_created_goes_and_nothing_else() {
    let stores = Stores::start(&[]);
    let bed = &stores.bed;
    let before = stores.before().await;
    assert_eq!(before.len(), 4);
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let run = bed.newest_run();
    let all = stores.contents().await;
    let created = all.len() - before.len();
    let shown = unload(bed, &run, &["--dry-run"]).exits(0);
    assert!(
        shown.out.contains(&format!("created {created} records")),
        "{}",
        shown.out
    );
    let asked = unload(bed, &run, &[]).exits(2);
    assert!(asked.err.contains("--yes"), "{}", asked.err);
    assert_eq!(stores.contents().await, all, "neither deletes anything");
    let unloaded = unload(bed, &run, &["--yes", "--json"]).exits(0);
    let report: Value = serde_json::from_str(&unloaded.out).unwrap();
    assert_eq!(report["outcomes"]["deleted"], created, "{report}");
    assert_eq!(stores.contents().await, before);
    let again = unload(bed, &run, &["--yes"]).exits(0);
    assert!(again.out.contains("nothing to delete"), "{}", again.out);
    let listed = bed.run(&["runs"]).exits(0);
    assert!(listed.out.contains("unloaded"), "{}", listed.out);
    let verified = bed
        .run(&["verify", run.to_str().unwrap(), "--all"])
        .exits(1);
    assert!(
        verified.err.contains("was unloaded since"),
        "{}",
        verified.err
    );
    let resumed = bed.run(&["resume", run.to_str().unwrap()]).exits(2);
    assert!(resumed.err.contains("unloaded"), "{}", resumed.err);
    // A load after that knows that they are gone.
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(stores.contents().await.len(), all.len());
    let second = bed.newest_run();
    assert_eq!(bed.count("created"), created as u64);
    // Also where the history is lost, and read from the runs again.
    let _ = unload(bed, &second, &["--yes"]).exits(0);
    fs::remove_dir_all(bed.path(".stoker/history")).unwrap();
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(stores.contents().await.len(), all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_or_is_referred_to_stays() {
    let stores = Stores::start(&[]);
    let bed = &stores.bed;
    let _ = stores.before().await;
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let run = bed.newest_run();
    let ids = fs::read_to_string(run.join("ids.ndjson")).unwrap();
    let assigned = |source: &str| -> String {
        let lines = ids
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut found = lines.filter(|line| line["source"] == source);
        found.next().unwrap()["assigned"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // Changed: p, which refers to the circle. Referred to by another: e.
    let p = assigned("Patient/p");
    let mut patient = stores.get(&format!("fhirStores/fhir/fhir/{p}")).await;
    patient["active"] = json!(true);
    stores
        .send(
            reqwest::Method::PUT,
            &format!("fhirStores/fhir/fhir/{p}"),
            Some(&patient),
        )
        .await;
    let use_of = json!({"resourceType": "DeviceUseStatement", "id": "mine", "status": "active", "subject": {"display": "x"}, "device": {"reference": "Device/e"}});
    stores
        .send(
            reqwest::Method::PUT,
            "fhirStores/fhir/fhir/DeviceUseStatement/mine",
            Some(&use_of),
        )
        .await;
    // Before anything is deleted, it is said what others refer to; what goes with the run is none of these.
    let shown = unload(bed, &run, &["--dry-run"]).exits(0);
    assert!(
        shown
            .out
            .contains("1 record that the run did not create refers to 1 of them (all ")
            && shown
                .out
                .contains("in/kept.ndjson:2  Device  referred to by 1 DeviceUseStatement")
            && !shown.out.contains("mine"),
        "{}{}",
        shown.out,
        shown.err
    );
    let shown = unload(bed, &run, &["--dry-run", "--json"]).exits(0);
    let report: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(
        report["referred"]["others"],
        json!([{"target": "people", "type": "DeviceUseStatement", "count": 1}]),
        "{report}"
    );
    assert_eq!(report["referred"]["whole"], true);
    let unloaded = unload(bed, &run, &["--yes", "--json"]).exits(1);
    let report: Value = serde_json::from_str(&unloaded.out).unwrap();
    assert_eq!(report["outcomes"]["changed"], 1, "{report}");
    assert_eq!(
        report["outcomes"]["referred"], 4,
        "the circle, and e: {report}"
    );
    assert_eq!(report["outcomes"]["refused"], 0);
    let left = stores.contents().await;
    assert_eq!(left.len(), 4 + 1 + 5, "{:?}", left.keys());
    assert!(
        !unloaded.err.contains("active"),
        "no content: {}",
        unloaded.err
    );
    let text = unload(bed, &run, &["--yes"]).exits(1).out;
    assert!(
        text.contains("in/circle.ndjson:4") && text.contains("409"),
        "{text}"
    );
    // With what refers to it gone, and what was changed taken as well, nothing is left.
    stores
        .send(
            reqwest::Method::DELETE,
            "fhirStores/fhir/fhir/DeviceUseStatement/mine",
            None,
        )
        .await;
    let _ = unload(bed, &run, &["--yes", "--changed"]).exits(0);
    assert_eq!(stores.contents().await.len(), 4);
}

#[test]
fn a_store_that_cannot_tell_what_refers_to_a_record_is_named_before_anything_is_deleted() {
    let bed = Bed::new();
    bed.write("p.ndjson", "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n");
    bed.write(
        "m.yaml",
        "version: 1\nname: m\ntargets: { t: { local: { dir: store, store: { disableReferentialIntegrity: true } } } }\nloads: [ { name: l, target: t, files: [p.ndjson] } ]\n",
    );
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let run = bed.newest_run();
    let shown = unload(&bed, &run, &["--dry-run"]).exits(0);
    assert!(
        shown.out.contains("created 1 record")
            && shown
                .err
                .contains("target `t` is not asked what else refers to the records"),
        "{}{}",
        shown.out,
        shown.err
    );
    // Nor is one that is not there any more.
    fs::remove_dir_all(bed.path("store")).unwrap();
    let shown = unload(&bed, &run, &["--dry-run"]).exits(0);
    assert!(shown.out.contains("created 1 record"), "{}", shown.out);
    assert!(!bed.path("store").exists(), "who looks makes nothing");
}

#[test]
fn what_a_receiver_took_cannot_be_unloaded() {
    let bed = Bed::new();
    bed.write(
        "a.hl7",
        "MSH|^~\\&|A|B|C|D|20260101||ADT^A04|m1|P|2.5\rPID|1||p\r",
    );
    let (address, _) = mllp::receiver(|stream, id, _| mllp::say(stream, &mllp::ack("AA", id, "")));
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: m\ntargets:\n  r: {{ mllp: {{ address: \"{address}\" }} }}\nloads:\n  - {{ name: l, target: r, files: [a.hl7] }}\n"
        ),
    );
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let unloaded = unload(&bed, &bed.newest_run(), &["--yes"]).exits(1);
    assert!(
        unloaded.err.contains("receiver over MLLP"),
        "{}",
        unloaded.err
    );
    assert!(
        unloaded.err.contains("cannot be unloaded"),
        "{}",
        unloaded.err
    );
}

/// How often an unloading is killed, where `STOKER_KILLS` says nothing.
const KILLS: u64 = 8;

/// How often a round kills.
const EACH: u64 = 2;

/// How many unloadings are killed.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no `cli` that reads the environment for them"
)]
fn kills() -> u64 {
    let kills = std::env::var("STOKER_KILLS").ok();
    kills.map_or(KILLS, |kills| kills.parse().unwrap())
}

/// Begins to unload a run, and kills that after a while; returns 1 where it was still under way.
async fn kill_unloading(bed: &Bed, run: &Path, random: &mut SmallRng) -> u64 {
    let mut child = bed
        .command(&["unload", run.to_str().unwrap(), "--yes"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(random.random_range(20..400))).await;
    child.kill().unwrap();
    u64::from(child.wait().unwrap().code().is_none())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unloading_that_is_killed_is_repeated_to_the_same_end() {
    let stores = Stores::start(&["--faults", "faults.yaml"]);
    let bed = &stores.bed;
    let before = stores.before().await;
    // What was there before is not touched, so that its versions are the same as well.
    let kept = json!({"resourceType": "Device", "id": "e"});
    bed.write("in/kept.ndjson", &format!("{kept}\n"));
    let exported = stores.exports("before").await;
    assert_eq!(exported.len(), before.len() + 1, "{:?}", exported.keys());
    let mut random = SmallRng::seed_from_u64(11);
    let kills = kills();
    let mut hits = 0;
    for round in 0..kills.div_ceil(EACH) {
        let _ = bed.run(&["load", "m.yaml"]).exits(0);
        let run = bed.newest_run();
        let journal = fs::read_to_string(run.join("journal.ndjson")).unwrap();
        let stood = journal.matches("\"outcome\":\"pending\"").count();
        assert!(stood > 0, "a circle was loaded in two steps");
        let all = stores.contents().await.len();
        for _ in 0..EACH {
            hits += kill_unloading(bed, &run, &mut random).await;
        }
        if round % 2 == 0 {
            let _ = unload(bed, &run, &["--yes"]).exits(0);
            assert_eq!(stores.contents().await, before, "round {round}");
        } else {
            // What was not noted is found to be gone by the next load, which creates it again.
            let _ = unload(bed, &run, &["--yes"]).exits(0);
            let _ = bed.run(&["load", "m.yaml"]).exits(0);
            assert_eq!(stores.contents().await.len(), all, "round {round}");
            let _ = unload(bed, &bed.newest_run(), &["--yes"]).exits(0);
            assert_eq!(stores.contents().await, before, "round {round}");
        }
        let now = stores.exports(&format!("round-{round}")).await;
        assert_eq!(now, exported, "round {round}");
    }
    // What others refer to stays for them, whatever is killed when.
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let run = bed.newest_run();
    let mine = json!({"resourceType": "DeviceUseStatement", "id": "mine", "status": "active", "subject": {"display": "x"}, "device": {"reference": "Device/e"}});
    let path = "fhirStores/fhir/fhir/DeviceUseStatement/mine";
    stores.send(reqwest::Method::PUT, path, Some(&mine)).await;
    for _ in 0..EACH {
        hits += kill_unloading(bed, &run, &mut random).await;
    }
    let _ = unload(bed, &run, &["--yes"]).exits(1);
    let mut left = stores.exports("last").await;
    for name in ["DeviceUseStatement/mine", "Device/e"] {
        assert!(left.remove(name).is_some(), "{name}");
    }
    assert_eq!(left, exported);
    eprintln!("{hits} unloadings were killed on their way");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_updated_is_put_back_where_it_is_asked_for() {
    let stores = Stores::start_as(
        &["--faults", "lost.yaml"],
        &[(
            "lost.yaml",
            // The answer to the first restoration is lost.
            "rules:\n- { when: { path: \"**/Device/d\", method: PUT, until: 1 }, fault: { reset: after_write } }\n",
        )],
    );
    let bed = &stores.bed;
    let before = stores.before().await;
    let new = json!({"resourceType": "Device", "id": "d", "manufacturer": "new"});
    let other = json!({"resourceType": "Practitioner", "id": "was-there", "active": true, "identifier": [{"system": "urn:x", "value": "was-there"}]});
    bed.write("in/kept.ndjson", &format!("{new}\n{other}\n"));
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("updated"), 2);
    let run = bed.newest_run();
    // Changed since: that stays.
    let mine = json!({"resourceType": "Practitioner", "id": "was-there", "active": false});
    let path = "fhirStores/fhir/fhir/Practitioner/was-there";
    stores.send(reqwest::Method::PUT, path, Some(&mine)).await;
    let shown = unload(bed, &run, &["--dry-run"]).exits(0);
    assert!(
        shown.out.contains("2 records were updated: they stay") && shown.out.contains("--restore"),
        "{}",
        shown.out
    );
    let _ = unload(bed, &run, &["--yes"]).exits(0);
    let device = stores.get("fhirStores/fhir/fhir/Device/d").await;
    assert_eq!(device["manufacturer"], "new");
    let restored = unload(bed, &run, &["--yes", "--restore", "--json"]).exits(1);
    let report: Value = serde_json::from_str(&restored.out).unwrap();
    assert_eq!(report["outcomes"]["restored"], 1, "{report}");
    assert_eq!(report["outcomes"]["changed"], 1, "{report}");
    assert!(!restored.out.contains("manufacturer"), "no content");
    let mut after = stores.contents().await;
    let practitioner = after.insert(
        "Practitioner/was-there".to_owned(),
        before["Practitioner/was-there"].clone(),
    );
    assert!(practitioner.unwrap().contains("\"active\":false"));
    assert_eq!(after, before);
    // Nothing is done twice; a later load knows that it is to be updated again.
    let again = unload(bed, &run, &["--yes", "--restore", "--json"]).exits(1);
    let report: Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(report["outcomes"]["restored"], 0, "{report}");
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    let device = stores.get("fhirStores/fhir/fhir/Device/d").await;
    assert_eq!(device["manufacturer"], "new");
}

/// A manifest that updates one device, and what the store says of that.
struct Device(Stores);

impl Device {
    fn start() -> Self {
        let stores = Stores::start(&[]);
        let manifest = stores.manifest("device", "in/device.ndjson", "");
        let manifest = manifest.replace("interaction: create", "interaction: update");
        stores.bed.write("device.yaml", &manifest);
        let _ = stores.bed.run(&["load", "before.yaml"]).exits(0);
        Self(stores)
    }

    /// Loads the device with this manufacturer, and returns the run.
    fn load(&self, id: &str, manufacturer: &str) -> std::path::PathBuf {
        let bed = &self.0.bed;
        let device = json!({"resourceType": "Device", "id": id, "manufacturer": manufacturer});
        bed.write("in/device.ndjson", &format!("{device}\n"));
        let _ = bed.run(&["load", "device.yaml"]).exits(0);
        bed.newest_run()
    }

    /// Unloads a run, and returns who the device is of then.
    async fn restore(&self, run: &Path) -> String {
        let _ = unload(&self.0.bed, run, &["--yes", "--restore"]).exits(0);
        self.maker("d").await
    }

    async fn maker(&self, id: &str) -> String {
        let device = self
            .0
            .get(&format!("fhirStores/fhir/fhir/Device/{id}"))
            .await;
        device["manufacturer"].as_str().unwrap_or("none").to_owned()
    }

    fn reset(&self, more: &[&str]) {
        let all = [&["reset", "device.yaml", "--yes"], more].concat();
        let _ = self.0.bed.run(&all).exits(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_back_goes_with_the_run_that_created_it() {
    let device = Device::start();
    let before = device.0.contents().await;
    let first = device.load("x", "one");
    for manufacturer in ["two", "three"] {
        let run = device.load("x", manufacturer);
        let _ = device.restore(&run).await;
        assert_eq!(device.maker("x").await, "one");
    }
    device.reset(&[]);
    assert_eq!(device.0.contents().await, before);
    // The same, run by run.
    let first_again = device.load("x", "one");
    assert_ne!(first, first_again);
    let second = device.load("x", "two");
    let _ = device.restore(&second).await;
    let _ = unload(&device.0.bed, &first_again, &["--yes"]).exits(0);
    assert_eq!(device.0.contents().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_puts_back_what_was_there_before_the_first_run() {
    let device = Device::start();
    assert_eq!(device.maker("d").await, "old");
    let runs: Vec<_> = ["one", "two", "three"]
        .map(|manufacturer| device.load("d", manufacturer))
        .into();
    assert_eq!(device.restore(&runs[2]).await, "two");
    // Another run stands between: what the first one left is not there.
    let _ = unload(&device.0.bed, &runs[0], &["--yes", "--restore"]).exits(1);
    assert_eq!(device.maker("d").await, "two");
    device.reset(&["--restore"]);
    assert_eq!(device.maker("d").await, "old");

    let runs: Vec<_> = ["one", "two"]
        .map(|manufacturer| device.load("d", manufacturer))
        .into();
    assert_eq!(device.restore(&runs[1]).await, "one");
    assert_eq!(device.restore(&runs[0]).await, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_of_all_kinds_go_when_their_names_are_given() {
    let stores = Stores::start(&[]);
    let bed = &stores.bed;
    let before = stores.before().await;
    let manifest = fs::read_to_string(bed.path("m.yaml")).unwrap();
    let manifest = (manifest.replace("fhir_store: fhir", "fhir_store: r9"))
        .replace("dicom_store: dicom", "dicom_store: d9")
        .replace("hl7v2_store: hl7v2", "hl7v2_store: h9")
        .replace("name: all\n", "name: all\nstate: .own\n");
    // The circle refers to what is not there, and so do the updates.
    let lines = manifest.lines();
    let lines = lines.filter(|line| !line.contains("name: circle") && !line.contains("name: kept"));
    bed.write("nine.yaml", &lines.collect::<Vec<_>>().join("\n"));
    let _ = bed.run(&["load", "nine.yaml"]).exits(0);
    let made = fs::read_to_string(bed.path(".own/stores.ndjson")).unwrap();
    assert_eq!(made.lines().count(), 3, "{made}");
    let names: Vec<String> = made
        .lines()
        .map(|line| {
            let made: Value = serde_json::from_str(line).unwrap();
            made["name"]
                .as_str()
                .unwrap()
                .rsplit_once('/')
                .unwrap()
                .1
                .to_owned()
        })
        .collect();
    let reset = |answers: &str| reset(bed, "nine.yaml", answers);
    let first = reset(&format!("{}\nother\n{}\n", names[0], names[2])).exits(1);
    assert_eq!(
        first.out.matches("deleted the store").count(),
        2,
        "{}{}",
        first.out,
        first.err
    );
    let second = reset(&format!("{}\n", names[1])).exits(0);
    assert!(second.out.contains(&names[1]), "{}", second.out);
    let third = reset("").exits(0);
    assert!(third.err.contains("nothing to delete"), "{}", third.err);
    assert_eq!(
        stores.contents().await,
        before,
        "the others are as they were"
    );
    let _ = bed.run(&["load", "nine.yaml"]).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_unloads_all_runs_and_deletes_the_stores_that_were_made() {
    let stores = Stores::start(&[]);
    let bed = &stores.bed;
    let before = stores.before().await;
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    // A second run creates more, which refers to what the first created.
    let mut circle = fs::read_to_string(bed.path("in/circle.ndjson")).unwrap();
    circle += "{\"resourceType\":\"Patient\",\"id\":\"r\",\"managingOrganization\":{\"reference\":\"Organization/b\"}}\n";
    bed.write("in/circle.ndjson", &circle);
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 1);
    let _ = bed.run(&["reset", "m.yaml", "--dry-run"]).exits(0);
    let _ = bed.run(&["reset", "m.yaml", "--yes"]).exits(0);
    assert_eq!(stores.contents().await, before);
    let again = bed.run(&["reset", "m.yaml", "--yes"]).exits(0);
    assert!(again.err.contains("nothing to delete"), "{}", again.err);

    // The stores of a local directory of its own were made by the load, and go when their names are given.
    bed.write(
        "own.yaml",
        "version: 1\nname: own\nstate: .own\ntargets: { t: { local: mine } }\nloads: [ { name: l, target: t, files: [\"resources/clinic/**/*.json\"] } ]\n",
    );
    let _ = bed.run(&["load", "own.yaml"]).exits(0);
    let reset = |name: &str| reset(bed, "own.yaml", name);
    let other = reset("other\n").exits(1);
    assert!(other.err.contains("was not deleted"), "{}", other.err);
    let deleted = reset("fhir\n").exits(0);
    assert!(deleted.out.contains("deleted the store"), "{}", deleted.out);
    let nothing = reset("").exits(0);
    assert!(nothing.err.contains("nothing to delete"), "{}", nothing.err);
    // It is made again.
    let _ = bed.run(&["load", "own.yaml"]).exits(0);
}

#[test]
fn what_reads_like_an_answer_and_is_a_resource_goes_too() {
    let stores = Stores::start(&[]);
    let bed = &stores.bed;
    let outcome = json!({"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "informational"}]});
    bed.write("in/one.ndjson", &format!("{outcome}\n"));
    bed.write(
        "one.yaml",
        &stores.manifest("one", "in/one.ndjson", "settle: none"),
    );
    let _ = bed.run(&["load", "before.yaml"]).exits(0);
    let _ = bed.run(&["load", "one.yaml"]).exits(0);
    let unloaded = unload(bed, &bed.newest_run(), &["--yes"]).exits(0);
    assert!(unloaded.out.contains("1 deleted"), "{}", unloaded.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_somebody_else_stored_stays() {
    let stores = Stores::start(&[]);
    let bed = &stores.bed;
    let _ = bed.run(&["load", "before.yaml"]).exits(0);
    // So soon after, the load takes it for new.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    let before = stores.contents().await;
    let _ = bed.run(&["load", "m.yaml"]).exits(0);
    for more in [&["--yes"][..], &["--yes", "--changed"]] {
        let unloaded = unload(bed, &bed.newest_run(), more);
        // A busy machine may load so late that the message is known at once to be somebody else's, and is not spoken of.
        let is_named = unloaded.out.contains("in/feed.hl7:");
        let _ = unloaded.exits(i32::from(is_named));
        assert_eq!(stores.contents().await, before);
    }
}
