//! A folder with records, a manifest and a store; a load in it is killed, and resumed until it is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use fs_err as fs;
use serde_json::{Value, json};

use super::{proxy::Proxy, store::Store};

/// How records travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Each by itself, with ids of the server.
    Create,
    /// Each by itself, with their own ids.
    Update,
    /// In batches that Stoker fills, with ids of the server.
    Batch,
    /// In transactions that Stoker fills.
    Transaction,
    /// As entries of batches with requests of their own, known again by a tag.
    BatchEntries,
    /// As entries of transactions with requests of their own, known again by a tag.
    TransactionEntries,
    /// The same, known again by their identifiers.
    IdentifiedEntries,
}

impl Mode {
    pub(super) fn load(self) -> &'static str {
        match self {
            Self::Create => "interaction: create, bundle: none, settle: tag",
            Self::Update => "interaction: update, bundle: none",
            Self::Batch => {
                "interaction: create, bundle: { type: batch, max_entries: 10 }, settle: tag"
            }
            Self::Transaction => {
                "interaction: create, bundle: { type: transaction, max_entries: 10 }, settle: tag"
            }
            Self::BatchEntries | Self::TransactionEntries => "settle: tag",
            Self::IdentifiedEntries => "settle: identifier",
        }
    }

    /// The type of the Bundles in which the records stand, where they are entries.
    pub(super) fn bundles(self) -> Option<&'static str> {
        match self {
            Self::BatchEntries => Some("batch"),
            Self::TransactionEntries | Self::IdentifiedEntries => Some("transaction"),
            _ => None,
        }
    }
}

/// When a load is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum When {
    /// Its journal is there, and nothing is intended.
    BeforeIntent,
    /// The n-th write has left, and the store has not seen it.
    AfterIntent(usize),
    /// The store has taken the n-th write, and has not answered.
    AfterCommit(usize),
    /// The answer to the n-th write is there, and has not been read.
    AfterAnswer(usize),
    /// The journal has grown to so many bytes.
    Journal(u64),
    /// In the midst of what is written to the journal, where it reaches so many blocks.
    InALine(u64),
}

/// What `ulimit -f` counts in, for `sh`.
pub(super) const BLOCK: u64 = 512;

pub(super) fn stoker(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("stoker"));
    command
        .env_clear()
        .env("PATH", "/nowhere")
        .current_dir(folder)
        .args(arguments);
    command
}

/// The records that are loaded.
pub(super) struct Records {
    pub(super) files: Vec<PathBuf>,
    pub(super) kinds: Vec<String>,
    pub(super) count: u64,
}

impl Records {
    /// The records of files with a resource in each line.
    pub(super) fn of(files: Vec<PathBuf>) -> Self {
        let (mut kinds, mut count) = (BTreeSet::new(), 0);
        for file in &files {
            for line in fs::read_to_string(file).unwrap().lines() {
                let resource: Value = serde_json::from_str(line).unwrap();
                kinds.insert(resource["resourceType"].as_str().unwrap().to_owned());
                count += 1;
            }
        }
        Self {
            files,
            kinds: kinds.into_iter().collect(),
            count,
        }
    }
}

/// The system of the identifiers by which entries are known again.
const SYSTEM: &str = "urn:killed";

impl Records {
    /// Puts the records into so many Bundles, a file each: as entries that create, with identifiers of their own.
    pub(super) fn in_bundles(&self, folder: &Path, bundle_type: &str, bundles: usize) -> Self {
        let mut resources: Vec<Value> = Vec::new();
        for file in &self.files {
            let text = fs::read_to_string(file).unwrap();
            resources.extend(
                text.lines()
                    .map(|line| serde_json::from_str::<Value>(line).unwrap()),
            );
        }
        // What refers to nothing would cost its whole transaction.
        loop {
            let names: BTreeSet<String> = resources.iter().map(name).collect();
            let before = resources.len();
            resources.retain(|resource| all_are_in(resource, &names));
            if resources.len() == before {
                break;
            }
        }
        let entries = (0..)
            .zip(&mut resources)
            .map(|(number, resource): (usize, _)| {
                let kind = resource["resourceType"].as_str().unwrap().to_owned();
                let own = json!({"system": SYSTEM, "value": number.to_string()});
                match &mut resource["identifier"] {
                    Value::Array(identifiers) => identifiers.push(own),
                    Value::Null => resource["identifier"] = json!([own]),
                    _ => {}
                }
                json!({
                    "fullUrl": format!("urn:uuid:00000000-0000-4000-8000-{number:012x}"),
                    "resource": resource,
                    "request": {"method": "POST", "url": kind},
                })
            });
        let entries: Vec<Value> = entries.collect();
        let bundles = entries
            .chunks(entries.len().div_ceil(bundles))
            .enumerate()
            .map(|(number, entries)| {
                let bundle =
                    json!({"resourceType": "Bundle", "type": bundle_type, "entry": entries});
                let file = folder.join(format!("bundle-{number:04}.json"));
                fs::write(&file, bundle.to_string()).unwrap();
                file
            });
        Self {
            files: bundles.collect(),
            kinds: self.kinds.clone(),
            count: entries.len() as u64,
        }
    }

    /// The manifest's words for the identifiers that [`Records::in_bundles`] gave.
    pub(super) fn identity(&self) -> String {
        let systems = self
            .kinds
            .iter()
            .map(|kind| format!("{kind}: [\"{SYSTEM}\"]"));
        format!("identity: {{ {} }}", systems.collect::<Vec<_>>().join(", "))
    }
}

/// `Type/id` of a resource.
fn name(resource: &Value) -> String {
    let text = |member: &str| resource[member].as_str().unwrap();
    format!("{}/{}", text("resourceType"), text("id"))
}

/// Tells whether all relative references in a value are to what has one of these names.
fn all_are_in(value: &Value, names: &BTreeSet<String>) -> bool {
    match value {
        Value::Object(members) => members.iter().all(|(key, member)| match member {
            Value::String(text) if key == "reference" && !text.starts_with(['#', 'h', 'u']) => {
                names.contains(text)
            }
            other => all_are_in(other, names),
        }),
        Value::Array(items) => items.iter().all(|item| all_are_in(item, names)),
        _ => true,
    }
}

/// What a load left.
pub(super) struct Left {
    pub(super) contents: BTreeMap<u128, u32>,
    pub(super) outcomes: Value,
    /// The bytes of its journal.
    pub(super) journal: u64,
    /// How many writes there were.
    pub(super) writes: usize,
    /// Sessions that it took.
    pub(super) sessions: u64,
}

impl Left {
    /// How many records the report says are in the store.
    pub(super) fn arrived(&self) -> u64 {
        let outcomes = ["created", "updated", "unchanged"].iter();
        outcomes
            .map(|outcome| self.outcomes[outcome].as_u64().unwrap())
            .sum()
    }

    /// How many are there.
    pub(super) fn held(&self) -> u64 {
        self.contents.values().map(|&count| u64::from(count)).sum()
    }
}

/// Requests in flight at the most.
pub(super) const SLOTS: u64 = 4;

/// Loads the records, killing it once; resumes it until it is over.
pub(super) fn load(records: &Records, load: &str, when: Option<When>) -> Left {
    let bed = tempfile::tempdir().unwrap();
    let folder = bed.path();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = Store::start(folder);
    let proxy = runtime.block_on(Proxy::start(&store.url));
    // Whoever finds the store by its directory finds the proxy.
    let note = folder.join("store/server.json");
    let told = fs::read_to_string(&note).unwrap();
    fs::write(&note, told.replace(&store.url, &proxy.url)).unwrap();
    let files: Vec<String> = records
        .files
        .iter()
        .map(|file| format!("\"{}\"", file.display()))
        .collect();
    let manifest = format!(
        "version: 1\nname: killed\ntargets: {{ t: {{ local: store, concurrency: {SLOTS} }} }}\n\
         loads:\n  - {{ name: all, files: [{}], {load} }}\n",
        files.join(", ")
    );
    fs::write(folder.join("m.yaml"), manifest).unwrap();
    let arguments = ["load", "m.yaml", "--progress", "none"];
    let mut child = stoker(folder, &arguments)
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("stderr")).unwrap().into_file())
        .spawn()
        .unwrap();
    if let Some(when) = when {
        kill(&mut child, folder, &proxy, when);
    } else {
        let ended = child.wait().unwrap();
        let said = fs::read_to_string(folder.join("stderr")).unwrap();
        assert!(matches!(ended.code(), Some(0 | 1)), "{ended}: {said}");
    }
    proxy.let_pass();
    if let (Some(When::InALine(blocks)), Some(run)) = (when, journal(folder)) {
        tear(folder, &run, blocks);
    }
    for _ in 0..10 {
        let Some(run) = journal(folder) else {
            // Killed before there was a run.
            let ran = stoker(folder, &arguments).output().unwrap();
            assert!(matches!(ran.status.code(), Some(0 | 1)));
            continue;
        };
        let run = run.to_str().unwrap();
        let resume = ["resume", run, "--progress", "none"];
        let arguments: &[&str] = if when.is_some() {
            &resume
        } else {
            &["report", run]
        };
        let ran = stoker(folder, arguments).output().unwrap();
        let code = ran.status.code();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(matches!(code, Some(0 | 1)), "{code:?}: {said}");
        let report = fs::read_to_string(Path::new(run).join("report.json")).ok();
        let Some(report) = report else { continue };
        let report: Value = serde_json::from_str(&report).unwrap();
        if report["outcomes"]["pending"] == 0 {
            return Left {
                contents: runtime.block_on(store.contents(&records.kinds)),
                outcomes: report["outcomes"].clone(),
                journal: fs::metadata(journal(folder).unwrap().join("journal.ndjson"))
                    .unwrap()
                    .len(),
                writes: proxy.writes(),
                sessions: report["sessions"].as_u64().unwrap(),
            };
        }
    }
    panic!("it does not come to an end");
}

/// Goes on with a run until its journal reaches so many blocks: there the kernel writes what has room of a line, and kills.
fn tear(folder: &Path, run: &Path, blocks: u64) {
    let journal = run.join("journal.ndjson");
    if fs::metadata(&journal).unwrap().len() >= blocks * BLOCK {
        // On a busy machine the first kill may come late.
        return;
    }
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg("ulimit -c 0; ulimit -f \"$1\"; shift; exec \"$@\"")
        .arg("sh")
        .arg(blocks.to_string())
        .arg(assert_cmd::cargo::cargo_bin!("stoker"))
        .args(["resume", run.to_str().unwrap(), "--progress", "none"])
        .env_clear()
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), None, "{status}");
    // A line seldom ends there.
    assert_eq!(fs::metadata(&journal).unwrap().len(), blocks * BLOCK);
}

/// The directory of the run, once its journal is there.
pub(super) fn journal(folder: &Path) -> Option<PathBuf> {
    let runs = fs::read_dir(folder.join(".stoker/runs")).ok()?;
    let mut runs = runs.map(|run| run.unwrap().path());
    runs.find(|run| run.join("journal.ndjson").exists())
}

fn kill(child: &mut Child, folder: &Path, proxy: &Proxy, when: When) {
    proxy.expect(child.id(), when);
    let holds = |size| {
        journal(folder)
            .and_then(|run| fs::metadata(run.join("journal.ndjson")).ok())
            .is_some_and(|journal| journal.len() >= size)
    };
    let is_time = || match when {
        When::AfterIntent(_) | When::AfterCommit(_) | When::AfterAnswer(_) => proxy.is_time(),
        When::BeforeIntent => journal(folder).is_some(),
        When::Journal(size) => holds(size),
        // It has begun to send: what comes is the journal's alone to write.
        When::InALine(_) => holds(3 * BLOCK),
    };
    while !is_time() {
        if child.try_wait().unwrap().is_some() {
            return;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
