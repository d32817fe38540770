//! Whatever is put into a record (a tag, an id, a reference) or cut out of it lands where it belongs, in every container.
//!
//! Generated documents are loaded by the binary into a server that keeps what arrives. What arrived, parsed without any code of
//! Stoker's, is what was meant. `STOKER_SEEDS` sets how many documents are tried.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use fs_err as fs;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};

use documents::{Container, MARKER, Record, messy, name_of, records, with_names};
use receiver::{Habits, Receiver};

mod documents;
mod receiver;

/// A document, and how it is loaded.
#[derive(Debug)]
struct Case {
    container: Container,
    /// None: the entries' own requests hold.
    interaction: Option<&'static str>,
    bundle: &'static str,
    settle: &'static str,
    packed: &'static str,
    stdin: bool,
    habits: Habits,
}

impl Case {
    fn new(random: &mut SmallRng, loses: Option<u64>) -> Self {
        let container = match random.random_range(0..8) {
            0 => Container::Files,
            1 | 2 => Container::Lines,
            3 => Container::Bundle("batch"),
            4 | 5 => Container::Bundle("transaction"),
            6 => Container::Bundle("collection"),
            _ => Container::Bundle("searchset"),
        };
        let has_requests = matches!(container, Container::Bundle("batch" | "transaction"));
        let interaction = match random.random_range(0..4) {
            0 | 1 if has_requests => None,
            0 => Some("update"),
            _ => Some("create"),
        };
        let takes = [(true, true), (true, false), (false, true), (false, false)];
        let (transactions, batches) = takes[random.random_range(0..takes.len())];
        // Sent whole, they need a server that executes them.
        let is_whole = has_requests && interaction.is_none();
        let habits = Habits {
            transactions: transactions || is_whole && container == Container::Bundle("transaction"),
            batches: batches || is_whole,
            loses,
        };
        let bundle = match random.random_range(0..4) {
            0 if habits.transactions => "bundle: { type: transaction, max_entries: 3 }",
            1 if habits.batches => "bundle: { type: batch, max_entries: 3 }",
            2 if !is_whole => "bundle: none",
            _ => "",
        };
        let is_file = container != Container::Files;
        Self {
            container,
            interaction,
            bundle,
            settle: if loses.is_some() || random.random_bool(0.7) {
                "tag"
            } else {
                "none"
            },
            packed: ["", ".gz", ".zst"][if is_file {
                random.random_range(0..3)
            } else {
                0
            }],
            stdin: is_file && random.random_bool(0.2),
            habits,
        }
    }

    /// Records may refer to each other in a circle where that can be loaded.
    fn cycles(&self) -> bool {
        match self.container {
            Container::Bundle("batch") if self.interaction.is_none() => !self.habits.transactions,
            _ => true,
        }
    }

    fn is_created(&self, record: &Record) -> bool {
        match self.interaction {
            Some(interaction) => interaction == "create",
            None => !updates_itself(record),
        }
    }
}

/// Tells which entries of a Bundle bring a request that updates: those whose id ends so.
fn updates_itself(record: &Record) -> bool {
    record
        .id
        .as_deref()
        .is_some_and(|id| id.ends_with(['1', '3']))
}

fn entry(random: &mut SmallRng, case: &Case, record: &Record, resource: &Value) -> Value {
    let mut entry = json!({"fullUrl": record.full_url, "resource": resource});
    if let Container::Bundle("batch" | "transaction") = case.container {
        entry["request"] = if updates_itself(record) {
            json!({"method": "PUT", "url": format!("{}/{}", record.kind, record.id.as_deref().unwrap())})
        } else {
            json!({"method": "POST", "url": record.kind})
        };
    }
    if case.container == Container::Bundle("searchset") && random.random_bool(0.5) {
        entry["search"] = json!({"mode": "match"});
    }
    entry
}

/// Writes the document; returns the pattern that finds it.
fn write(random: &mut SmallRng, case: &Case, records: &[Record], folder: &Path) -> String {
    let is_bundle = matches!(case.container, Container::Bundle(_));
    let resources: Vec<Value> = records
        .iter()
        .map(|record| {
            with_names(&record.meant, &mut |to| {
                name_of(random, &records[to], is_bundle)
            })
        })
        .collect();
    let (name, text) = match case.container {
        Container::Files => {
            for (number, resource) in resources.iter().enumerate() {
                let text = messy(random, resource, false);
                fs::write(folder.join(format!("r{number}.json")), text).unwrap();
            }
            return "*.json".to_owned();
        }
        Container::Lines => {
            let end = ["\n", "\r\n", "\n\n"][random.random_range(0..3)];
            let lines = resources
                .iter()
                .map(|resource| messy(random, resource, true) + end);
            ("r.ndjson", lines.collect())
        }
        Container::Bundle(bundle_type) => {
            let entries: Vec<Value> = records
                .iter()
                .zip(&resources)
                .map(|(record, resource)| entry(random, case, record, resource))
                .collect();
            let bundle = json!({"resourceType": "Bundle", "type": bundle_type, "entry": entries});
            ("r.json", messy(random, &bundle, false))
        }
    };
    let bytes = match case.packed {
        ".gz" => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(text.as_bytes()).unwrap();
            out.finish().unwrap()
        }
        ".zst" => zstd::encode_all(text.as_bytes(), 1).unwrap(),
        _ => text.into_bytes(),
    };
    let name = format!("{name}{}", case.packed);
    fs::write(folder.join(&name), bytes).unwrap();
    if case.stdin { "-".to_owned() } else { name }
}

fn load(case: &Case, folder: &Path, url: &str, pattern: &str) -> (Option<i32>, String) {
    let mut parts = vec![format!(
        "name: all, target: t, files: [\"{pattern}\"], settle: {}",
        case.settle
    )];
    parts.extend(
        case.interaction
            .map(|interaction| format!("interaction: {interaction}")),
    );
    parts.extend((!case.bundle.is_empty()).then(|| case.bundle.to_owned()));
    let manifest = format!(
        "version: 1\nname: splices\ntargets: {{ t: {{ fhir: {{ url: \"{url}\" }}, retry: {{ base: 1ms, max: 5ms }} }} }}\n\
         loads: [ {{ {} }} ]\n",
        parts.join(", ")
    );
    fs::write(folder.join("m.yaml"), manifest).unwrap();
    let stdin = if case.stdin {
        let source = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let source = source.filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("r.")
        });
        Stdio::from(fs::File::open(source.last().unwrap()).unwrap().into_file())
    } else {
        Stdio::null()
    };
    let output = Command::new(assert_cmd::cargo::cargo_bin!("stoker"))
        .env_clear()
        .env("PATH", "/nowhere")
        .current_dir(folder)
        .args(["load", "m.yaml", "--progress", "none"])
        .stdin(stdin)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said.into_owned())
}

/// What the tags of Stoker have in common.
const TAG: &str = "urn:x-stoker:record";

/// Returns the number by which a resource is known again.
fn marker(resource: &Value) -> usize {
    let identifiers = resource["identifier"].as_array().unwrap();
    let own = identifiers.iter().find(|found| found["system"] == MARKER);
    own.unwrap()["value"].as_str().unwrap().parse().unwrap()
}

/// Returns what the store should hold of a record.
fn expected(case: &Case, record: &Record, names: &BTreeMap<usize, String>) -> Value {
    let mut resource = with_names(&record.meant, &mut |to| names[&to].clone());
    if case.settle == "tag" && case.is_created(record) {
        let tag = json!({"system": TAG, "code": "*"});
        let tags = resource["meta"]["tag"].take();
        let old = tags.as_array().cloned().unwrap_or_default();
        resource["meta"]["tag"] = std::iter::once(tag).chain(old).collect();
    }
    resource.as_object_mut().unwrap().remove("id");
    resource
}

fn check(seed: u64, loses: Option<u64>) {
    let random = &mut SmallRng::seed_from_u64(seed);
    let case = Case::new(random, loses);
    let needs_ids = case.interaction == Some("update")
        || matches!(case.container, Container::Files | Container::Lines);
    let records = records(random, needs_ids, case.cycles());
    let folder = tempfile::tempdir().unwrap();
    let pattern = write(random, &case, &records, folder.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let receiver = runtime.block_on(Receiver::start(case.habits));
    let (code, said) = load(&case, folder.path(), &receiver.url, &pattern);
    let kept = folder.keep();
    let context = || format!("seed {seed}, {case:?}, in {}:\n{said}", kept.display());
    assert_eq!(code, Some(0), "{}", context());
    let held = receiver.resources();
    let names: BTreeMap<usize, String> = held
        .iter()
        .map(|(name, resource)| (marker(resource), name.clone()))
        .collect();
    assert_eq!(
        (held.len(), names.len()),
        (records.len(), records.len()),
        "{}",
        context()
    );
    for (number, record) in records.iter().enumerate() {
        let mut resource = held[&names[&number]].clone();
        resource.as_object_mut().unwrap().remove("id");
        let tags = resource
            .pointer_mut("/meta/tag")
            .and_then(Value::as_array_mut);
        for tag in tags.into_iter().flatten() {
            if tag["system"] == TAG {
                tag["code"] = json!("*");
            }
        }
        let expected = expected(&case, record, &names);
        assert_eq!(resource, expected, "record {number}, {}", context());
    }
    fs::remove_dir_all(kept).unwrap();
}

/// How many documents are tried.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no `cli` that reads the environment for them"
)]
fn seeds(default: u64) -> u64 {
    let given = std::env::var("STOKER_SEEDS").ok();
    given
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(default)
}

#[test]
fn what_arrives_is_what_was_meant() {
    for seed in 0..seeds(60) {
        check(seed, None);
    }
}

/// Each waits until what was on its way is over, so that they run side by side.
#[test]
fn nothing_is_doubled_where_answers_are_lost() {
    std::thread::scope(|scope| {
        for seed in 0..seeds(8).min(24) {
            scope.spawn(move || check(1_000_000 + seed, Some(3)));
        }
    });
}
