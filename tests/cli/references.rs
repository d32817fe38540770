//! References that hold: any order of files, ids of the server, and what stands in the store afterwards.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    path::Path,
};

use fs_err as fs;
use serde_json::Value;

use super::bed::Bed;
use crate::support::data;

/// All resources of a source, and what each is called in it: `Type/id`, `fullUrl`, `Type?identifier=…`.
#[derive(Default)]
struct Source {
    resources: Vec<Value>,
    names: HashMap<String, usize>,
}

impl Source {
    /// Reads NDJSON and Bundles with nothing but `serde_json`.
    fn read(folders: &[std::path::PathBuf]) -> Self {
        let mut source = Self::default();
        for folder in folders {
            let mut files: Vec<_> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            files.sort();
            for file in files {
                let text = fs::read_to_string(&file).unwrap();
                if file.extension().is_some_and(|e| e == "ndjson") {
                    for line in text.lines().filter(|line| !line.trim().is_empty()) {
                        source.add(serde_json::from_str(line).unwrap(), None);
                    }
                } else {
                    let bundle: Value = serde_json::from_str(&text).unwrap();
                    for entry in bundle["entry"].as_array().unwrap() {
                        source.add(entry["resource"].clone(), entry["fullUrl"].as_str());
                    }
                }
            }
        }
        source
    }

    fn add(&mut self, resource: Value, full_url: Option<&str>) {
        let kind = resource["resourceType"].as_str().unwrap().to_owned();
        let at = self.resources.len();
        if let Some(id) = resource["id"].as_str() {
            let name = format!("{kind}/{id}");
            if self.names.contains_key(&name) {
                return;
            }
            self.names.insert(name, at);
        }
        if let Some(url) = full_url {
            self.names.insert(url.to_owned(), at);
        }
        for identifier in resource["identifier"].as_array().into_iter().flatten() {
            let (system, value) = (&identifier["system"], &identifier["value"]);
            if let (Some(system), Some(value)) = (system.as_str(), value.as_str()) {
                self.names
                    .entry(format!("{kind}?identifier={system}|{value}"))
                    .or_insert(at);
            }
        }
        self.resources.push(resource);
    }
}

/// Visits every literal reference.
fn references(value: &mut Value, visit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "reference" => visit(text),
                    other => references(other, visit),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| references(item, visit)),
        _ => {}
    }
}

/// Without what the store may set itself, and without narrative links.
fn content(mut resource: Value) -> Value {
    let members = resource.as_object_mut().unwrap();
    members.remove("id");
    if let Some(meta) = members.get_mut("meta").and_then(Value::as_object_mut) {
        for own in ["versionId", "lastUpdated", "source"] {
            meta.remove(own);
        }
        if meta.is_empty() {
            members.remove("meta");
        }
    }
    resource
}

/// Reads the whole store back by paging through searches.
pub(super) fn store(bed: &Bed, kinds: &[String]) -> BTreeMap<String, Value> {
    let mut server = Server::start(bed);
    let mut found = BTreeMap::new();
    for kind in kinds {
        let mut next = Some(format!("{}/{kind}?_count=500", server.base));
        while let Some(url) = next {
            let page: Value = server.get(&url);
            for entry in page["entry"].as_array().into_iter().flatten() {
                let resource = entry["resource"].clone();
                let name = format!("{kind}/{}", resource["id"].as_str().unwrap());
                assert!(found.insert(name, resource).is_none(), "a page repeats");
            }
            next = page["link"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|link| link["relation"] == "next")
                .map(|link| link["url"].as_str().unwrap().to_owned());
        }
    }
    server.stop();
    found
}

/// `stoker emulate` over the store of a bed.
pub(super) struct Server {
    child: std::process::Child,
    pub(super) base: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    pub(super) fn start(bed: &Bed) -> Self {
        use std::io::BufRead as _;
        let mut command = bed.command(&["emulate", "--dir", "store", "--listen", "127.0.0.1:0"]);
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .unwrap()
            .trim_end_matches('/');
        let base = format!(
            "{address}/v1/projects/local/locations/local/datasets/stoker/fhirStores/fhir/fhir"
        );
        Self {
            child,
            base,
            client: reqwest::Client::new(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn delete(&mut self, url: &str) {
        let sent = self.client.delete(url).send();
        let response = self.runtime.block_on(sent).unwrap();
        assert!(response.status().is_success(), "{url}");
    }

    pub(super) fn get(&mut self, url: &str) -> Value {
        let text = self.runtime.block_on(async {
            let response = self.client.get(url).send().await.unwrap();
            assert_eq!(response.status(), 200, "{url}");
            response.text().await.unwrap()
        });
        serde_json::from_str(&text).unwrap()
    }

    pub(super) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Expects the store to hold just what the source holds, with every reference leading to what it meant.
fn expect_equal(bed: &Bed, source: &Source) {
    let mut kinds: Vec<String> = source
        .resources
        .iter()
        .map(|r| r["resourceType"].as_str().unwrap().to_owned())
        .collect();
    kinds.sort();
    kinds.dedup();
    let store = store(bed, &kinds);
    assert_eq!(store.len(), source.resources.len());
    let mut assigned: HashMap<usize, String> = HashMap::new();
    let ids = fs::read_to_string(bed.newest_run().join("ids.ndjson")).unwrap();
    for line in ids.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = line["source"].as_str().or(line["url"].as_str()).unwrap();
        assigned.insert(
            source.names[name],
            line["assigned"].as_str().unwrap().to_owned(),
        );
    }
    assert_eq!(assigned.len(), source.resources.len());
    for (at, resource) in source.resources.iter().enumerate() {
        let mut expected = resource.clone();
        references(&mut expected, &mut |text| {
            // Only what the source holds can be expected; the data has nothing else.
            if let Some(to) = source.names.get(text.as_str()) {
                *text = assigned[to].clone();
            } else {
                let elsewhere = text.starts_with('#') || text.starts_with("http");
                assert!(elsewhere, "{text} leads nowhere in the source");
            }
        });
        let stored = store[&assigned[&at]].clone();
        assert_eq!(content(stored), content(expected), "{}", assigned[&at]);
    }
}

/// The lines of a manifest that name files.
fn listed(files: impl IntoIterator<Item = String>) -> String {
    files.into_iter().fold(String::new(), |mut text, file| {
        writeln!(text, "      - \"{file}\"").unwrap();
        text
    })
}

fn files(folder: &Path, names: &[&str]) -> String {
    listed(
        names
            .iter()
            .map(|name| format!("{}/{name}", folder.display())),
    )
}

const HEAD: &str = "version: 1\nname: t\ntargets: { t: { local: store } }\nloads:\n  - name: all\n    interaction: create\n    files:\n";

/// Children first, ids of the server, integrity enforced.
#[test]
fn ndjson_in_the_worst_order_arrives_whole() {
    let smoke = ["Prov*", "Obs*", "E*", "D*", "C*", "*"].as_slice();
    let bulk = ["Proc*", "M*", "I*", "D*", "C*", "E*", "*"].as_slice();
    for (set, first) in [
        ("synthea-r4-2021-smoke", smoke),
        ("synthea-bulk-ndjson-10", bulk),
    ] {
        let Some(folder) = data::set(set) else { return };
        let folder = folder.join("ndjson");
        let bed = Bed::new();
        let names: Vec<String> = first.iter().map(|name| format!("{name}.ndjson")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut text = format!("{HEAD}{}", files(&folder, &names));
        text.push_str(&listed([format!("!{}/log.ndjson", folder.display())]));
        bed.write("m.yaml", &text);
        let source = folder_without_log(&bed, &folder);
        bed.run(&["load", "m.yaml"]).exits(0);
        assert_eq!(bed.count("created"), source.resources.len() as u64);
        expect_equal(&bed, &source);
    }
}

/// A copy of the folder's files that are FHIR.
fn folder_without_log(bed: &Bed, folder: &Path) -> Source {
    let copy = bed.path("source");
    fs::create_dir_all(&copy).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name != "log.ndjson") {
            fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
    }
    Source::read(&[copy])
}

/// Patients before the hospitals and practitioners to whom they refer by identifier.
#[test]
fn bundles_in_any_order_arrive_whole() {
    let Some(folder) = data::set("synthea-r4-2021-smoke") else {
        return;
    };
    let folder = folder.join("bundles");
    let bed = Bed::new();
    let names = ["08*.json", "[1-9a-f]*.json", "0-prac*.json", "0-hosp*.json"];
    let text = format!("{HEAD}{}", files(&folder, &names)).replace("    interaction: create\n", "");
    bed.write("m.yaml", &text);
    bed.run(&["load", "m.yaml"]).exits(0);
    let source = Source::read(&[folder]);
    expect_equal(&bed, &source);
}

/// A clinic of a hundred patients in wards, of whom three cannot be taken as they are.
#[test]
fn mended_records_join_the_others() {
    let bed = Bed::new();
    let ward = |n: usize| format!(r#"{{"resourceType":"Location","id":"w{n}","name":"Ward {n}"}}"#);
    let patient = |n: usize, gender: &str| {
        format!(
            r#"{{"resourceType":"Encounter","id":"e{n}","status":"finished","class":{{"code":"AMB"}},"meta":{gender},"location":[{{"location":{{"reference":"Location/w{}"}}}}],"partOf":{{"reference":"Encounter/e{}"}}}}"#,
            n % 10,
            if n == 0 { 1 } else { n - 1 }
        )
    };
    let good = "{}";
    let mut lines: Vec<String> = (0..90)
        .map(|n| patient(n, if [20, 50, 70].contains(&n) { "7" } else { good }))
        .collect();
    lines.extend((0..10).map(ward));
    bed.write("all.ndjson", &lines.join("\n"));
    bed.write("m.yaml", &format!("{HEAD}      - all.ndjson\n"));
    bed.run(&["load", "m.yaml"]).exits(1);
    // Everything after the first that cannot be taken needs it.
    assert_eq!((bed.count("rejected"), bed.count("blocked")), (1, 69));
    assert_eq!(bed.count("created"), 30);
    let run = bed.newest_run();
    let rejected = run.join("rejected/all.ndjson");
    let text = fs::read_to_string(&rejected).unwrap();
    assert_eq!(text.lines().count(), 70);
    assert!(
        text.contains("\"Encounter/e19\""),
        "references stand as they were"
    );
    fs::write(&rejected, text.replace(r#""meta":7"#, r#""meta":{}"#)).unwrap();
    let manifest = run.join("rejected/manifest.yaml");
    bed.run(&["load", manifest.to_str().unwrap()]).exits(0);
    assert_eq!(bed.count("created"), 70);
    let store = store(&bed, &["Encounter".to_owned(), "Location".to_owned()]);
    assert_eq!(store.len(), 100);
    // The chain of encounters is whole, and ends in the circle of the first two.
    let part_of: HashMap<&String, String> = store
        .iter()
        .filter(|(name, _)| name.starts_with("Encounter/"))
        .map(|(name, e)| (name, e["partOf"]["reference"].as_str().unwrap().to_owned()))
        .collect();
    let mut used: Vec<&String> = part_of.values().collect();
    used.sort();
    used.dedup();
    assert_eq!(used.len(), 89);
    assert!(part_of.values().all(|to| store.contains_key(to)));
    for encounter in store.values().filter(|r| r["resourceType"] == "Encounter") {
        let ward = encounter["location"][0]["location"]["reference"]
            .as_str()
            .unwrap();
        assert!(store.contains_key(ward), "{ward}");
    }
}

/// A load that knows an earlier run refers to what that created; one that does not asks the store.
#[test]
fn an_increment_refers_to_what_is_there() {
    let bed = Bed::new();
    bed.write(
        "first.ndjson",
        r#"{"resourceType":"Patient","id":"p","identifier":[{"system":"urn:mrn","value":"A 1"}]}"#,
    );
    bed.write("first.yaml", &format!("{HEAD}      - first.ndjson\n"));
    bed.run(&["load", "first.yaml"]).exits(0);
    let ids = fs::read_to_string(bed.newest_run().join("ids.ndjson")).unwrap();
    let assigned: Value = serde_json::from_str(ids.lines().next().unwrap()).unwrap();
    let assigned = assigned["assigned"].as_str().unwrap().to_owned();
    let second = [
        r#"{"resourceType":"Observation","id":"by-id","subject":{"reference":"Patient/p"}}"#,
        r#"{"resourceType":"Observation","id":"by-version","subject":{"reference":"Patient/p/_history/4"}}"#,
        r#"{"resourceType":"Observation","id":"by-condition","subject":{"reference":"Patient?identifier=urn:mrn|A 1"}}"#,
        r#"{"resourceType":"Observation","id":"by-nobody","subject":{"reference":"Patient?identifier=urn:mrn|B"}}"#,
        r#"{"resourceType":"Observation","id":"needs-nobody","hasMember":[{"reference":"Observation/by-nobody"}]}"#,
    ];
    bed.write("second.ndjson", &second.join("\n"));
    let known = bed.newest_run();
    bed.write(
        "second.yaml",
        &format!(
            "known: \"{}\"\n{HEAD}      - second.ndjson\n",
            known.display()
        ),
    );
    let ran = bed.run(&["plan", "second.yaml"]).exits(0);
    assert!(
        ran.out.contains("2  to records of earlier runs"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("2  conditional, to nothing in this plan"),
        "{}",
        ran.out
    );
    bed.run(&["load", "second.yaml"]).exits(1);
    assert_eq!((bed.count("rejected"), bed.count("blocked")), (1, 1));
    let store = store(&bed, &["Observation".to_owned()]);
    assert_eq!(store.len(), 3);
    for observation in store.values() {
        assert_eq!(observation["subject"]["reference"], assigned.as_str());
    }
}

/// The resources of a file: itself, or what a collection holds; each with its `fullUrl`.
fn resources(file: &Path) -> Vec<(Value, Option<String>)> {
    let value: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    match value["entry"].as_array() {
        Some(entries) if value["type"] == "collection" => entries
            .iter()
            .map(|entry| {
                let url = entry["fullUrl"].as_str().map(str::to_owned);
                (entry["resource"].clone(), url)
            })
            .collect(),
        _ => vec![(value, None)],
    }
}

/// The files of the official examples that a set of resources leads to, read with nothing but `serde_json`.
fn closure(package: &Path, roots: &[&str]) -> Vec<std::path::PathBuf> {
    let mut where_it_is: HashMap<String, std::path::PathBuf> = HashMap::new();
    let mut files: Vec<_> = fs::read_dir(package)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    // A file of its own goes before a collection.
    files.sort_by_key(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("Bundle-")
    });
    for file in files {
        for (resource, _) in resources(&file) {
            if let (Some(kind), Some(id)) =
                (resource["resourceType"].as_str(), resource["id"].as_str())
            {
                where_it_is
                    .entry(format!("{kind}/{id}"))
                    .or_insert_with(|| file.clone());
            }
        }
    }
    let mut found: BTreeSet<std::path::PathBuf> = BTreeSet::new();
    let mut todo: Vec<String> = roots.iter().map(|&root| root.to_owned()).collect();
    while let Some(name) = todo.pop() {
        // What another server holds is not ours to load.
        let Some(file) = where_it_is.get(&name) else {
            assert!(name.starts_with("http"), "{name} is not among the examples");
            continue;
        };
        if found.insert(file.clone()) {
            for (mut resource, _) in resources(file) {
                references(&mut resource, &mut |text| {
                    if !text.starts_with('#') {
                        todo.push(text.clone());
                    }
                });
            }
        }
    }
    found.into_iter().collect()
}

/// Resources of the examples that refer to each other and are stored by one load, with the ids of the server.
#[test]
fn the_official_examples_keep_their_references() {
    let Some(folder) = data::set("fhir-r4-official-examples") else {
        return;
    };
    let package = folder.join("package");
    let roots = [
        "Claim/860150",
        "Claim/960150",
        "Coverage/9876B1",
        "Organization/f001",
        "Organization/f003",
        "Patient/example",
        "Practitioner/example",
    ];
    let files = closure(&package, &roots);
    assert!(files.len() > roots.len());
    let bed = Bed::new();
    let mut source = Source::default();
    let mut text = HEAD.to_owned();
    for file in &files {
        text.push_str(&listed([file.display().to_string()]));
        for (resource, url) in resources(file) {
            source.add(resource, url.as_deref());
        }
    }
    bed.write("m.yaml", &text);
    bed.run(&["load", "m.yaml"]).exits(0);
    expect_equal(&bed, &source);
}

/// What is refused or blocked of the clinical examples is what dangles, and the plan had said how many at the most.
#[test]
fn the_plan_says_what_the_store_refuses() {
    let Some(folder) = data::set("fhir-r4-official-examples") else {
        return;
    };
    let bed = Bed::new();
    let list = fs::read_to_string(folder.join("CLINICAL-FILES.txt")).unwrap();
    let mut text = HEAD.replace("    interaction: create\n", "");
    // Bundles may be refused for many reasons; a resource by itself only for what it refers to.
    for file in list
        .lines()
        .filter(|line| line.starts_with("package/") && !line.contains("/Bundle-"))
    {
        text.push_str(&listed([folder.join(file).display().to_string()]));
    }
    bed.write("m.yaml", &text);
    let plan = bed.run(&["plan", "--json", "m.yaml"]).exits(0);
    let plan: Value = serde_json::from_str(&plan.out).unwrap();
    let found = &plan["references"]["t"];
    assert!(found["cycles"].as_u64().unwrap() >= 5, "{found:#}");
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(
        bed.count("rejected") + bed.count("blocked"),
        found["at_risk"].as_u64().unwrap()
    );
    let outcomes = &bed.report()["outcomes"];
    let total: u64 = outcomes
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(total, plan["records"].as_u64().unwrap());
}

/// What FHIR's transaction rules rewrite besides references: URLs of attachments and links in the narrative.
#[test]
fn links_that_are_no_references_hold_too() {
    let bed = Bed::new();
    let lines = [
        r#"{"resourceType":"DocumentReference","id":"d","status":"current","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">of <a href=\"Patient/p\">Patient/p</a>, <a href='https://elsewhere.example/Patient/p'>not</a></div>"},"subject":{"reference":"Patient/p"},"content":[{"attachment":{"url":"Binary/scan"}},{"attachment":{"url":"https://elsewhere.example/Binary/scan"}},{"attachment":{"url":"Binary/gone"}}]}"#,
        r#"{"resourceType":"Binary","id":"scan","contentType":"text/plain","data":"aGk="}"#,
        r#"{"resourceType":"Patient","id":"p"}"#,
    ];
    bed.write("l.ndjson", &lines.join("\n"));
    bed.write("m.yaml", &format!("{HEAD}      - l.ndjson\n"));
    bed.run(&["load", "m.yaml"]).exits(0);
    let kinds = ["DocumentReference", "Binary", "Patient"].map(str::to_owned);
    let store = store(&bed, &kinds);
    let id = |kind: &str| store.keys().find(|name| name.starts_with(kind)).unwrap();
    let document = &store[id("DocumentReference")];
    assert_eq!(document["subject"]["reference"], id("Patient").as_str());
    let url = |at: usize| {
        document["content"][at]["attachment"]["url"]
            .as_str()
            .unwrap()
    };
    assert_eq!(url(0), id("Binary"));
    assert_eq!(url(1), "https://elsewhere.example/Binary/scan");
    assert_eq!(url(2), "Binary/gone");
    let div = document["text"]["div"].as_str().unwrap();
    let expected = format!(
        "of <a href=\"{}\">Patient/p</a>, <a href='https://elsewhere.example/Patient/p'>not</a>",
        id("Patient")
    );
    assert!(div.contains(&expected), "{div}");
}

/// A run that is cut short goes on with the ids that its records got before.
#[test]
fn a_resumed_run_knows_what_has_arrived() {
    let Some(folder) = data::set("synthea-r4-2021-smoke") else {
        return;
    };
    let folder = folder.join("ndjson");
    let bed = Bed::new();
    let text = format!("{HEAD}{}", files(&folder, &["Prov*", "Obs*", "*"]));
    // Slow enough to be caught in the middle.
    let text = text.replace(
        "local: store }",
        "local: store, rate: 900/s, concurrency: 4 }",
    );
    bed.write("m.yaml", &text);
    let mut child = bed
        .command(&["load", "m.yaml", "--progress", "none"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // In the middle: some have arrived, and at this rate not nearly all.
    let begun = || {
        let runs = fs_err::read_dir(bed.path(".stoker/runs")).ok()?;
        let run = runs.flatten().next()?.path();
        let journal = fs_err::read_to_string(run.join("journal.ndjson")).ok()?;
        Some(journal.matches("created").count() > 100)
    };
    while begun() != Some(true) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let before = bed.report();
    let created = before["outcomes"]["created"].as_u64().unwrap();
    assert!((1..3209).contains(&created), "{created}");
    let run = bed.newest_run();
    let _ = bed.run(&["resume", run.to_str().unwrap()]).exits(0);
    assert_eq!(bed.count("created"), 3209);
    expect_equal(&bed, &Source::read(&[folder]));
}

/// A graph that `memory` does not hold is kept on the disk, and comes to the same: chains of observations before the
/// patients whom they need, and these in circles of three.
#[test]
fn a_graph_beyond_the_memory_holds_as_well() {
    let bed = Bed::new();
    let observations = (0..7_000).map(|n| {
        let member = format!(r#","hasMember":[{{"reference":"Observation/o{}"}}]"#, n + 1);
        format!(
            r#"{{"resourceType":"Observation","id":"o{n}","status":"final","code":{{"text":"{n}"}},"subject":{{"reference":"Patient/p{}"}}{}}}"#,
            n * 7 % 3_000,
            if n % 4 == 3 { "" } else { &member }
        )
    });
    let patients = (0..3_000).map(|n| {
        let other = if n % 3 == 2 { n - 2 } else { n + 1 };
        format!(
            r#"{{"resourceType":"Patient","id":"p{n}","link":[{{"other":{{"reference":"Patient/p{other}"}},"type":"seealso"}}]}}"#
        )
    });
    let lines: Vec<String> = observations.chain(patients).collect();
    bed.write("source/all.ndjson", &lines.join("\n"));
    let manifest = format!("{HEAD}      - source/all.ndjson\n");
    let plan = |manifest: &str| {
        bed.write("m.yaml", manifest);
        let ran = bed.run(&["plan", "--json", "m.yaml"]).exits(0);
        serde_json::from_str::<Value>(&ran.out).unwrap()
    };
    let in_memory = plan(&manifest);
    let on_disk = plan(&manifest.replacen("name: t\n", "name: t\nmemory: 64kB\n", 1));
    for part in ["records", "loads", "references"] {
        assert!(
            in_memory[part] != Value::Null && in_memory[part] == on_disk[part],
            "{part}"
        );
    }
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 10_000);
    expect_equal(&bed, &Source::read(&[bed.path("source")]));
}
