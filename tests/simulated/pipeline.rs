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
    gate::{ByteBudget, Gate, GateSettings, Transport},
    journal::{self, JournalLine, Ledger, SettleLine, Settlement, format::Tally},
    manifest,
    plan::{self, Action, PlanHeader, PlannedTarget, file},
    record::{Outcome, StepId},
    send::{self, Earlier, RunContext, TargetConnection},
    source::Bodies,
    target::{Facts, Target, fhir::Fhir},
};

use super::{
    Nobody,
    fhir_store::{FhirStore, Manners, links, marker},
    seeds,
};

/// Keeps what was settled.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) lines: Mutex<Vec<SettleLine>>,
}

impl Ledger for Settled {
    fn intend(
        &self,
        _: jiff::Timestamp,
        _: &[StepId],
    ) -> BoxFuture<'_, Result<(), journal::Error>> {
        Box::pin(async { Ok(()) })
    }

    fn withdraw(&self, _: &[StepId]) {}

    fn remove(&self, _: &[StepId]) -> BoxFuture<'_, Result<(), journal::Error>> {
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
pub(super) struct Case {
    /// The records, in the order of the file. Of each: its number, and the numbers that it refers to.
    pub(super) lines: Vec<Value>,
    /// Whom each record refers to; `None` is nobody.
    pub(super) graph: BTreeMap<u64, Vec<Option<u64>>>,
    pub(super) manners: Manners,
    /// Lines that repeat an identity.
    pub(super) copies: u64,
    pub(super) load: String,
    /// How often a record is sent at the most.
    pub(super) attempts: u32,
    /// The target executes transactions.
    pub(super) transactions: bool,
    /// The records come as one transaction.
    pub(super) is_bundle: bool,
}

pub(super) fn case(random: &mut SmallRng, transactions: bool) -> Case {
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
            lost: 0,
            transactions,
            ahead: None,
            largest: usize::MAX,
            wants_version: None,
        },
        copies,
        load: format!(
            "interaction: {}, bundle: {bundle}",
            if updates { "update" } else { "create" }
        ),
        attempts: 100,
        transactions,
        is_bundle: false,
    }
}

/// The records that must arrive: those from which no path leads to one that is refused, or to nobody.
pub(super) fn arriving(case: &Case) -> BTreeSet<u64> {
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

pub(super) struct Ran {
    saved: Arc<file::Saved>,
    pub(super) settled: Vec<SettleLine>,
    pub(super) store: Arc<FhirStore>,
}

/// A case that has been planned.
pub(super) struct Planned {
    pub(super) saved: Arc<file::Saved>,
    settings: manifest::TargetSettings,
    bodies: Arc<Bodies>,
}

const BASE: &str = "https://store.example/fhir/";

pub(super) fn plan(case: &Case, folder: &Path) -> Planned {
    let lines: Vec<String> = case.lines.iter().map(Value::to_string).collect();
    let (file, text) = if case.is_bundle {
        let entry = |line: &Value| {
            json!({"fullUrl": format!("urn:uuid:{}", line["id"].as_str().unwrap()), "resource": line,
                "request": {"method": "POST", "url": "Basic"}})
        };
        let entries: Vec<Value> = case.lines.iter().map(entry).collect();
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
        ("all.json", bundle.to_string())
    } else {
        ("all.ndjson", lines.join("\n"))
    };
    fs::write(folder.join(file), text).unwrap();
    let yaml = format!(
        "version: 1\nname: sim\ntargets: {{ t: {{ fhir: {{ url: \"https://store.example/fhir\" }}, concurrency: 4, retry: {{ attempts: {} }} }} }}\n\
         loads: [ {{ name: all, files: [{file}], {} }} ]\n",
        case.attempts, case.load
    );
    let facts = Facts {
        assumed: false,
        integrity: Some(true),
        transaction: Some(case.transactions),
        batch: Some(true),
        ..Facts::UNKNOWN
    };
    planned(&yaml, facts, folder)
}

/// Plans a manifest with one target, `t`.
pub(super) fn planned(yaml: &str, facts: Facts, folder: &Path) -> Planned {
    let (manifest, _) = manifest::read_text(yaml, &folder.join("m.yaml"), &|_| None).unwrap();
    let settings = manifest.targets[0].clone();
    let header = PlanHeader {
        version: plan::VERSION,
        stoker: "test".to_owned(),
        name: manifest.name.clone(),
        manifest: manifest.path.clone(),
        root: folder.to_owned(),
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
    let surveyed = stoker::survey::survey(
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
    Planned {
        saved: Arc::new(saved),
        settings,
        bodies: Arc::new(Bodies::new(sources.collect())),
    }
}

impl Planned {
    /// What a session needs.
    pub(super) fn setup(
        &self,
        transport: Arc<dyn Transport>,
        ledger: Arc<dyn Ledger>,
        earlier: Earlier,
    ) -> RunContext {
        let base = BASE.parse().unwrap();
        let target = Arc::new(Fhir::new(&base, None));
        self.setup_for(target, transport, ledger, earlier)
    }

    /// The same, for a store of another kind.
    pub(super) fn setup_for(
        &self,
        target: Arc<dyn Target>,
        transport: Arc<dyn Transport>,
        ledger: Arc<dyn Ledger>,
        earlier: Earlier,
    ) -> RunContext {
        let base = target.base().parse().unwrap();
        let settings = GateSettings::of(&self.settings, self.saved.largest_request("t"));
        let gate = Gate::new(transport, Arc::new(Nobody), &settings, &base);
        let link = TargetConnection {
            gate: Arc::new(gate.unwrap()),
            target,
            slots: 4,
        };
        RunContext {
            plan: Arc::clone(&self.saved),
            links: HashMap::from([("t".to_owned(), link)]),
            bodies: Arc::clone(&self.bodies),
            ledger,
            journal: journal_line(),
            observe: Arc::new(Unobserved),
            stop: send::Stop::default(),
            budget: Arc::new(ByteBudget::new(1 << 20)),
            earlier: Arc::new(earlier),
            lookups: Arc::default(),
            counts: Arc::default(),
        }
    }
}

pub(super) fn journal_line() -> JournalLine {
    JournalLine {
        version: journal::format::VERSION,
        run: "sim".to_owned(),
        mark: "0".to_owned(),
        stoker: "test".to_owned(),
    }
}

pub(super) async fn run(case: &Case, seed: u64, folder: &Path) -> Ran {
    let planned = plan(case, folder);
    let store = Arc::new(FhirStore::new(seed, case.manners.clone()));
    let ledger = Arc::new(Settled::default());
    let setup = planned.setup(
        Arc::clone(&store) as _,
        Arc::clone(&ledger) as _,
        Earlier::default(),
    );
    let ended = send::run(setup).await.unwrap();
    assert_eq!(ended.how, journal::Ending::Complete, "{ended:?}");
    let settled = std::mem::take(&mut *ledger.lines.lock().unwrap());
    Ran {
        saved: planned.saved,
        settled,
        store,
    }
}

fn check(case: &Case, ran: &Ran) {
    expect(case, &ran.saved, &ran.settled, &ran.store);
}

/// Expects what must come of every record to have come of it.
pub(super) fn expect(case: &Case, saved: &file::Saved, settled: &[SettleLine], store: &FhirStore) {
    // Every record of the plan has one outcome.
    let mut outcomes: BTreeMap<StepId, Outcome> = BTreeMap::new();
    for entry in saved.steps(stoker::event::LoadId(0)).unwrap() {
        if let file::PlanEntry::Step(step) = entry.unwrap() {
            match step.action {
                Action::Unsupported(_) => outcomes.insert(step.number, Outcome::Unsupported),
                Action::Duplicate(_) => outcomes.insert(step.number, Outcome::Duplicate),
                Action::Blocked(_) => outcomes.insert(step.number, Outcome::Blocked),
                Action::Send(_) | Action::Entry(_) => None,
            };
        }
    }
    let mut standing = BTreeSet::new();
    for line in settled {
        if line.outcome == Outcome::Pending && line.id.is_some() {
            assert!(!case.transactions, "{line:?}");
            assert!(standing.insert(line.record), "created twice: {line:?}");
            continue;
        }
        let before = outcomes.insert(line.record, line.outcome);
        assert_eq!(before, None, "settled twice: {line:?}");
    }
    assert_eq!(outcomes.len(), case.lines.len());
    assert_eq!(saved.summary.records(), case.lines.len() as u64);
    let count = |outcome| outcomes.values().filter(|&&found| found == outcome).count() as u64;
    assert_eq!(count(Outcome::Duplicate), case.copies);

    // What must arrive arrived, once, and nothing else; what came in two steps may be followed, and may stay behind.
    let held = store.held();
    let arriving = arriving(case);
    let accepted: BTreeSet<u64> = held.accepted.keys().copied().collect();
    let mut markers = BTreeMap::new();
    for entry in saved.steps(stoker::event::LoadId(0)).unwrap() {
        if let file::PlanEntry::Step(step) = entry.unwrap() {
            let marker: u64 = step.id.unwrap()[1..].parse().unwrap();
            markers.insert(step.number, marker);
        }
    }
    let whole: BTreeSet<u64> = outcomes
        .iter()
        .filter(|(_, outcome)| {
            matches!(
                **outcome,
                Outcome::Created | Outcome::Updated | Outcome::Unchanged
            )
        })
        .map(|(record, _)| markers[record])
        .collect();
    let lacking: Vec<_> = settled
        .iter()
        .filter(|line| {
            arriving.contains(&markers[&line.record]) && !whole.contains(&markers[&line.record])
        })
        .collect();
    assert!(lacking.is_empty(), "{lacking:?}");
    // What a session before a crash had written is there already where the next one compares.
    let compared = count(Outcome::Unchanged);
    assert!(compared == 0 || case.load.contains("compare: true"));
    let created = count(Outcome::Created) + count(Outcome::Updated) + compared;
    let failed = count(Outcome::Rejected) + count(Outcome::Blocked);
    assert_eq!(created + failed, case.graph.len() as u64);
    if case.transactions {
        assert_eq!(accepted, arriving);
        assert_eq!(created, arriving.len() as u64);
    } else {
        assert!(accepted.is_superset(&arriving));
        assert!(standing.len() as u64 <= saved.summary.loads[0].two_steps);
    }
    // An update, and the second of two steps, does no harm when it is repeated; a create would double.
    assert_eq!(held.resources.len(), accepted.len());
    if case.transactions && !case.load.contains("update") {
        assert!(held.accepted.values().all(|times| *times == 1));
    }
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
    let found = saved
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
    let two_steps = each_case(
        400,
        |random| case(random, transactions),
        &async |case: &Case, seed, folder: &Path, _: &mut SmallRng| {
            let ran = run(case, seed, folder).await;
            check(case, &ran);
            ran.saved.summary.loads[0].two_steps
        },
    );
    assert_eq!(two_steps.iter().sum::<u64>() > 0, !transactions);
}

/// Runs each of many cases in virtual time and a folder of its own; names the one that fails.
pub(super) fn each_case<T>(
    usual: u64,
    make: impl Fn(&mut SmallRng) -> Case,
    run: &impl AsyncFn(&Case, u64, &Path, &mut SmallRng) -> T,
) -> Vec<T> {
    let one = |seed| {
        let mut random = SmallRng::seed_from_u64(seed);
        let case = make(&mut random);
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let run = || runtime.block_on(run(&case, seed, folder.path(), &mut random));
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        ran.unwrap_or_else(|panic| {
            eprintln!("seed {seed}: {case:#?}");
            std::panic::resume_unwind(panic);
        })
    };
    seeds(usual).map(one).collect()
}
