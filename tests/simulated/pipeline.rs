//! Plan and send as one: random graphs of records, with cycles, copies and failures, into a store that enforces
//! references and assigns ids.
//!
//! What must come of each record is worked out by trying all paths, with nothing of Stoker's own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::{Arc, Mutex},
};

use fs_err as fs;
use futures::future::BoxFuture;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use stoker::{
    event::Unobserved,
    gate::{ByteBudget, Gate, GateSettings},
    journal::{self, Ledger, SettleLine, Settlement, format::Tally},
    manifest,
    plan::{self, Action, Header, PlannedTarget, file},
    record::Outcome,
    send::{self, Link, Setup},
    source::Bodies,
    target::{Facts, fhir::Requests},
};

use super::{
    Nobody,
    fhir_store::{FhirStore, Manners, links, marker},
};

/// Keeps what was settled.
#[derive(Debug, Default)]
struct Settled {
    lines: Mutex<Vec<SettleLine>>,
}

impl Ledger for Settled {
    fn intend(&self, _: &[u64]) -> BoxFuture<'_, Result<(), journal::Error>> {
        Box::pin(async { Ok(()) })
    }

    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), journal::Error>> {
        let lines = settlements.into_iter().map(|settlement| settlement.line);
        self.lines.lock().unwrap().extend(lines);
        Box::pin(async { Ok(()) })
    }

    fn tally(&self, _: Tally) -> BoxFuture<'_, Result<(), journal::Error>> {
        Box::pin(async { Ok(()) })
    }
}

/// A random case.
#[derive(Debug)]
struct Case {
    /// The records, in the order of the file. Of each: its number, and the numbers that it refers to.
    lines: Vec<Value>,
    /// Whom each record refers to; `None` is nobody.
    graph: BTreeMap<u64, Vec<Option<u64>>>,
    manners: Manners,
    /// Lines that repeat an identity.
    copies: u64,
    load: String,
    /// The target executes transactions.
    transactions: bool,
}

fn case(random: &mut SmallRng, transactions: bool) -> Case {
    let count = random.random_range(1..30_u64);
    let updates = random.random_range(0..3) == 0;
    let mut graph = BTreeMap::new();
    let mut lines = Vec::new();
    for number in 0..count {
        let mut to = Vec::new();
        let mut references = Vec::new();
        for _ in 0..random.random_range(0..4) {
            // Mostly to earlier records, so that not everything becomes one cycle.
            let other = if random.random_range(0..6) == 0 {
                random.random_range(0..count)
            } else {
                random.random_range(0..=number)
            };
            let (meant, text) = match random.random_range(0..40) {
                0 => (None, "Basic/gone".to_owned()),
                1 => (None, "Basic?identifier=urn:m|gone".to_owned()),
                2..6 => (Some(other), format!("Basic?identifier=urn:m|{other}")),
                6..9 => (Some(other), format!("Basic/r{other}/_history/7")),
                _ => (Some(other), format!("Basic/r{other}")),
            };
            to.push(meant);
            references.push(json!({ "reference": text }));
        }
        graph.insert(number, to);
        lines.push(json!({"resourceType": "Basic", "id": format!("r{number}"),
            "identifier": [{"system": "urn:m", "value": number.to_string()}], "link": references}));
    }
    let copies = random.random_range(0..3_u64);
    for _ in 0..copies {
        let copy = lines[random.random_range(0..lines.len())].clone();
        lines.push(copy);
    }
    let mut refuses = BTreeSet::new();
    for _ in 0..random.random_range(0..3) {
        refuses.insert(random.random_range(0..count));
    }
    // Any order of the file.
    for at in (1..lines.len()).rev() {
        lines.swap(at, random.random_range(0..=at));
    }
    let bundles = [
        "none",
        "batch",
        "{ type: batch, max_entries: 3 }",
        "transaction",
    ];
    let bundle = bundles[random.random_range(0..if transactions { 4 } else { 3 })];
    Case {
        lines,
        graph,
        manners: Manners {
            refuses,
            whole: random.random(),
            names: random.random(),
            trouble: [0, 30][random.random_range(0..2)],
            transactions,
        },
        copies,
        load: format!(
            "interaction: {}, bundle: {bundle}",
            if updates { "update" } else { "create" }
        ),
        transactions,
    }
}

/// The records that must arrive: those from which no path leads to one that is refused, or to nobody.
fn arriving(case: &Case) -> BTreeSet<u64> {
    let is_bad =
        |number: &u64| case.manners.refuses.contains(number) || case.graph[number].contains(&None);
    case.graph
        .keys()
        .filter(|start| {
            let (mut seen, mut todo) = (BTreeSet::new(), vec![**start]);
            while let Some(at) = todo.pop() {
                if seen.insert(at) {
                    todo.extend(case.graph[&at].iter().flatten());
                }
            }
            !seen.iter().any(is_bad)
        })
        .copied()
        .collect()
}

struct Ran {
    saved: file::Saved,
    /// Of each record of the plan, the number that it has in the case.
    markers: BTreeMap<u64, u64>,
    settled: Vec<SettleLine>,
    store: Arc<FhirStore>,
}

async fn run(case: &Case, seed: u64, folder: &Path) -> Ran {
    let lines: Vec<String> = case.lines.iter().map(Value::to_string).collect();
    fs::write(folder.join("all.ndjson"), lines.join("\n")).unwrap();
    let yaml = format!(
        "version: 1\nname: sim\ntargets: {{ t: {{ fhir: {{ url: \"https://store.example/fhir\" }}, concurrency: 4, retry: {{ attempts: 100 }} }} }}\n\
         loads: [ {{ name: all, files: [all.ndjson], {} }} ]\n",
        case.load
    );
    let (manifest, _) = manifest::read_text(&yaml, &folder.join("m.yaml"), &|_| None).unwrap();
    let facts = Facts {
        assumed: false,
        integrity: Some(true),
        transaction: Some(case.transactions),
        batch: Some(true),
        ..Facts::UNKNOWN
    };
    let settings = manifest.targets[0].clone();
    let header = Header {
        version: plan::VERSION,
        stoker: "test".to_owned(),
        name: manifest.name.clone(),
        manifest: manifest.path.clone(),
        created: jiff::Timestamp::UNIX_EPOCH,
        targets: vec![PlannedTarget {
            settings: settings.clone(),
            facts,
        }],
        loads: manifest.loads.clone(),
        run: manifest.run.clone(),
    };
    let path = folder.join("plan.ndjson");
    let mut writer = file::Writer::create(&path).unwrap();
    let surveyed = plan::survey(
        &header,
        &mut writer,
        None,
        folder,
        &Unobserved,
        &|| false,
        &mut |_, _| {},
    );
    let surveyed = surveyed.unwrap();
    assert!(surveyed.problems.is_empty(), "{:?}", surveyed.problems);
    let saved = file::Saved::open(&path).unwrap();
    let sources = surveyed
        .sources
        .iter()
        .map(|s| (s.id, s.path.clone().unwrap()));
    let store = Arc::new(FhirStore::new(seed, case.manners.clone()));
    let base = "https://store.example/fhir/".parse().unwrap();
    let gate = Gate::new(
        Arc::clone(&store) as _,
        Arc::new(Nobody),
        &GateSettings::of(&settings, saved.largest_request("t")),
        &base,
    );
    let ledger = Arc::new(Settled::default());
    let setup = Setup {
        plan: Arc::new(saved.clone()),
        links: HashMap::from([(
            "t".to_owned(),
            Link {
                gate: Arc::new(gate.unwrap()),
                requests: Requests::new(&base),
                slots: 4,
            },
        )]),
        bodies: Arc::new(Bodies::new(sources.collect())),
        ledger: Arc::clone(&ledger) as _,
        observe: Arc::new(Unobserved),
        stop: send::Stop::default(),
        budget: Arc::new(ByteBudget::new(1 << 20)),
        earlier: Arc::default(),
        lookups: Arc::default(),
        counts: Arc::default(),
    };
    let ended = send::run(setup).await.unwrap();
    assert_eq!(ended.how, journal::Ending::Complete, "{ended:?}");
    let settled = std::mem::take(&mut *ledger.lines.lock().unwrap());
    let mut markers = BTreeMap::new();
    for entry in saved.steps(stoker::event::LoadId(0)).unwrap() {
        if let file::Entry::Step(step) = entry.unwrap() {
            markers.insert(step.number, step.id.unwrap()[1..].parse().unwrap());
        }
    }
    Ran {
        saved,
        markers,
        settled,
        store,
    }
}

fn check(case: &Case, ran: &Ran) {
    // Every record of the plan has one outcome.
    let mut outcomes: BTreeMap<u64, Outcome> = BTreeMap::new();
    for entry in ran.saved.steps(stoker::event::LoadId(0)).unwrap() {
        if let file::Entry::Step(step) = entry.unwrap() {
            match step.action {
                Action::Unsupported(_) => outcomes.insert(step.number, Outcome::Unsupported),
                Action::Duplicate(_) => outcomes.insert(step.number, Outcome::Duplicate),
                Action::Blocked(_) => outcomes.insert(step.number, Outcome::Blocked),
                Action::Send(_) | Action::Entry(_) => None,
            };
        }
    }
    let mut standing = BTreeSet::new();
    for line in &ran.settled {
        if line.outcome == Outcome::Pending && line.id.is_some() {
            assert!(!case.transactions, "{line:?}");
            assert!(standing.insert(line.record), "created twice: {line:?}");
            continue;
        }
        let before = outcomes.insert(line.record, line.outcome);
        assert_eq!(before, None, "settled twice: {line:?}");
    }
    assert_eq!(outcomes.len(), case.lines.len());
    assert_eq!(ran.saved.summary.records(), case.lines.len() as u64);
    let count = |outcome| outcomes.values().filter(|&&found| found == outcome).count() as u64;
    assert_eq!(count(Outcome::Duplicate), case.copies);

    // What must arrive arrived, once, and nothing else; what came in two steps may be followed, and may stay behind.
    let held = ran.store.held();
    let arriving = arriving(case);
    let accepted: BTreeSet<u64> = held.accepted.keys().copied().collect();
    let created = count(Outcome::Created);
    let failed = count(Outcome::Rejected) + count(Outcome::Blocked);
    assert_eq!(created + failed, case.graph.len() as u64);
    if case.transactions {
        assert_eq!(accepted, arriving);
        assert_eq!(created, arriving.len() as u64);
    } else {
        assert!(accepted.is_superset(&arriving));
        assert!(standing.len() as u64 <= ran.saved.summary.loads[0].two_steps);
    }
    let second = held.accepted.values().filter(|times| **times == 2).count();
    assert!(held.accepted.values().all(|times| *times <= 2));
    assert!(second <= standing.len());
    assert_eq!(held.resources.len(), accepted.len());
    let whole: BTreeSet<u64> = outcomes
        .iter()
        .filter(|(_, outcome)| **outcome == Outcome::Created)
        .map(|(record, _)| ran.markers[record])
        .collect();
    assert!(whole.is_superset(&arriving));

    // Every reference leads to the record that it meant.
    for resource in held.resources.values() {
        if !whole.contains(&marker(resource)) {
            continue;
        }
        let meant = case.graph[&marker(resource)].iter().flatten();
        let found = links(resource)
            .into_iter()
            .map(|to| marker(&held.resources[to]));
        assert_eq!(
            found.collect::<Vec<_>>(),
            meant.copied().collect::<Vec<_>>()
        );
    }

    // What the plan does not know it has said.
    let dangling = case
        .graph
        .values()
        .flatten()
        .filter(|to| to.is_none())
        .count() as u64;
    let found = ran
        .saved
        .summary
        .references
        .get("t")
        .cloned()
        .unwrap_or_default();
    assert_eq!(found.dangling + found.looked_up, dangling);
}

#[test]
fn whatever_the_graph_each_record_arrives_once_after_what_it_needs() {
    every_graph(true);
}

/// There each reference that closes a cycle comes with an update.
#[test]
fn whatever_the_graph_a_target_without_transactions_gets_it() {
    every_graph(false);
}

fn every_graph(transactions: bool) {
    let mut in_two_steps = 0;
    for seed in 0..400 {
        let mut random = SmallRng::seed_from_u64(seed);
        let case = case(&mut random, transactions);
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let ran = runtime.block_on(run(&case, seed, folder.path()));
            check(&case, &ran);
            ran.saved.summary.loads[0].two_steps
        }));
        match result {
            Ok(two_steps) => in_two_steps += two_steps,
            Err(panic) => {
                eprintln!("seed {seed}: {case:#?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert_eq!(in_two_steps > 0, !transactions);
}
