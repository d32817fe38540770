//! Crashes at any event, in virtual time: before and after each line of the journal, before a request reaches the store,
//! after it has had its effect. Resumed, every record ends as if nothing had happened, and is settled once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use fs_err as fs;
use futures::future::BoxFuture;
use http::{Request, Response};
use rand::{RngExt, rngs::SmallRng};
use serde_json::{Value, json};
use stoker::{
    gate::{Fault, Transport},
    journal::{
        self, Ledger, Line, SettleLine, Settlement,
        format::{IntendLine, Tally},
    },
    record::{Outcome, StepId},
    send::{self, Earlier, Replay},
};
use tokio::sync::Notify;

use crate::support::journal::checked;

use super::{
    fhir_store::{FhirStore, links, marker},
    pipeline::{Case, arriving, case, each_case, expect, journal_line, plan},
};

/// A process that ends after so many events.
#[derive(Debug)]
struct Life {
    left: AtomicI64,
    died: Notify,
}

impl Life {
    fn new(events: i64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicI64::new(events),
            died: Notify::new(),
        })
    }

    /// Lives through an event, or is no more.
    async fn pass(&self) {
        if self.is_over() {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
    }

    fn is_over(&self) -> bool {
        self.left.fetch_sub(1, Ordering::AcqRel) <= 0
    }
}

/// What the journals of all sessions hold.
type Lines = Arc<Mutex<Vec<Line>>>;

#[derive(Debug)]
struct Journal {
    life: Arc<Life>,
    lines: Lines,
}

impl Journal {
    fn push(&self, line: Line) {
        self.lines.lock().unwrap().push(line);
    }
}

impl Ledger for Journal {
    fn intend(
        &self,
        at: jiff::Timestamp,
        records: &[StepId],
    ) -> BoxFuture<'_, Result<(), journal::Error>> {
        let line = Line::Intend(IntendLine {
            at,
            records: records.to_vec(),
            tag: None,
        });
        Box::pin(async {
            self.life.pass().await;
            self.push(line);
            self.life.pass().await;
            Ok(())
        })
    }

    fn withdraw(&self, records: &[StepId]) {
        // It may get lost.
        if !self.life.is_over() {
            self.push(Line::Withdraw(records.to_vec()));
        }
    }

    fn remove(&self, records: &[StepId]) -> BoxFuture<'_, Result<(), journal::Error>> {
        let line = Line::Remove(records.to_vec());
        Box::pin(async {
            self.life.pass().await;
            self.push(line);
            self.life.pass().await;
            Ok(())
        })
    }

    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), journal::Error>> {
        Box::pin(async {
            for settlement in settlements {
                self.life.pass().await;
                self.push(Line::Settle(settlement.line));
            }
            self.life.pass().await;
            Ok(())
        })
    }

    fn tally(&self, _: Tally) -> BoxFuture<'_, Result<(), journal::Error>> {
        Box::pin(async { Ok(()) })
    }
}

/// The way to the store, as long as the process lives.
#[derive(Debug)]
struct Wire {
    life: Arc<Life>,
    store: Arc<FhirStore>,
}

impl Transport for Wire {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(async {
            self.life.pass().await;
            let answer = self.store.call(request).await;
            self.life.pass().await;
            answer
        })
    }
}

/// Returns the journal as a session finds it.
fn earlier(lines: &Lines, folder: &Path) -> Earlier {
    let path = folder.join("journal.ndjson");
    let mut text = vec![serde_json::to_string(&Line::Journal(journal_line())).unwrap()];
    for line in lines.lock().unwrap().iter() {
        text.push(serde_json::to_string(line).unwrap());
    }
    fs::write(&path, checked(text.iter().map(String::as_str))).unwrap();
    Earlier {
        was_cut_off: false,
        history: Some(journal::read(&path).unwrap()),
        replay: Replay {
            asks: true,
            ..Replay::default()
        },
    }
}

async fn run(case: &Case, seed: u64, folder: &Path, random: &mut SmallRng) {
    let ended = live(case, seed, folder, random).await;
    expect(case, &ended.saved, &ended.settled, &ended.store);
}

/// What came of a run and its crashes.
struct Lived {
    saved: Arc<stoker::plan::file::Saved>,
    settled: Vec<SettleLine>,
    store: Arc<FhirStore>,
}

async fn live(case: &Case, seed: u64, folder: &Path, random: &mut SmallRng) -> Lived {
    let planned = plan(case, folder);
    let store = Arc::new(FhirStore::new(seed, case.manners.clone()));
    let lines = Lines::default();
    let crashes = random.random_range(1..4);
    for session in 0..=crashes {
        let events = if session < crashes {
            random.random_range(0..80)
        } else {
            i64::MAX
        };
        let life = Life::new(events);
        let ledger = Journal {
            life: Arc::clone(&life),
            lines: Arc::clone(&lines),
        };
        let wire = Wire {
            life: Arc::clone(&life),
            store: Arc::clone(&store),
        };
        let setup = planned.setup(Arc::new(wire), Arc::new(ledger), earlier(&lines, folder));
        let link = setup.links["t"].clone();
        let whole = async {
            // As every session does, it asks about the store first.
            let _ = link
                .gate
                .call_for_record(|| link.target.read("Basic", "none"))
                .await;
            send::run(setup).await
        };
        tokio::select! {
            ended = whole => {
                let ended = ended.unwrap();
                assert_eq!(ended.how, journal::Ending::Complete, "{ended:?}");
                break;
            }
            () = life.died.notified() => {}
        }
    }
    let lines = std::mem::take(&mut *lines.lock().unwrap());
    let settled: Vec<SettleLine> = lines
        .into_iter()
        .filter_map(|line| match line {
            Line::Settle(line) => Some(line),
            _ => None,
        })
        .collect();
    let unknown = settled.iter().find(|line| line.outcome == Outcome::Unknown);
    assert_eq!(unknown, None);
    Lived {
        saved: planned.saved,
        settled,
        store,
    }
}

#[test]
fn whatever_is_cut_off_when_each_record_arrives_once() {
    let make = |random: &mut SmallRng| {
        let transactions = random.random_range(0..3) > 0;
        let mut case = case(random, transactions);
        case.load += ", settle: tag";
        case.manners.lost = [0, 20][random.random_range(0..2)];
        case.manners.ahead = [None, Some(0), Some(30), Some(-30)][random.random_range(0..4)];
        if case.load.contains("update") {
            let answers = [None, Some(400), Some(412), Some(428)];
            case.manners.wants_version = answers[random.random_range(0..4)];
            if random.random() {
                case.load += ", compare: true";
            }
        }
        case
    };
    each_case(300, make, &run);
}

/// A transaction that is too large goes in parts, and each of its records arrives once, whatever is cut off when: those that
/// are refused, and those that need them, do not.
#[test]
fn a_transaction_that_is_too_large_arrives_in_parts() {
    let make = |random: &mut SmallRng| {
        let count = random.random_range(8..30_u64);
        let mut case = case(random, true);
        (case.graph, case.lines) = (BTreeMap::new(), Vec::new());
        for number in 0..count {
            let to: Vec<u64> = (0..random.random_range(0..3))
                .filter(|_| number > 0)
                .map(|_| random.random_range(0..number))
                .collect();
            let links = to.iter().map(|to| {
                let forms = [format!("urn:uuid:r{to}"), format!("Basic/r{to}")];
                json!({"reference": forms[random.random_range(0..2)]})
            });
            let links: Vec<Value> = links.collect();
            case.lines
                .push(json!({"resourceType": "Basic", "id": format!("r{number}"),
                "identifier": [{"system": "urn:m", "value": number.to_string()}], "link": links}));
            case.graph
                .insert(number, to.into_iter().map(Some).collect());
        }
        case.copies = 0;
        case.is_bundle = true;
        case.load = [
            "settle: tag",
            "settle: identifier, identity: { Basic: [\"urn:m\"] }",
        ][random.random_range(0..2)]
        .to_owned();
        case.manners.refuses = case.manners.refuses.iter().map(|at| at % count).collect();
        case.manners.lost = [0, 20][random.random_range(0..2)];
        case.manners.largest = random.random_range(900..1500);
        case
    };
    each_case(
        200,
        make,
        &async |case: &Case, seed, folder: &Path, random: &mut SmallRng| {
            let Lived { settled, store, .. } = live(case, seed, folder, random).await;
            let held = store.held();
            let accepted: BTreeSet<u64> = held.accepted.keys().copied().collect();
            assert_eq!(accepted, arriving(case));
            assert!(held.accepted.values().all(|times| *times == 1), "doubled");
            let created = settled
                .iter()
                .filter(|line| line.outcome == Outcome::Created)
                .count();
            assert_eq!(created, accepted.len());
            assert_eq!(settled.len(), case.lines.len(), "one outcome each");
            for resource in held.resources.values() {
                let found = links(resource)
                    .into_iter()
                    .map(|to| Some(marker(&held.resources[to])));
                assert_eq!(found.collect::<Vec<_>>(), case.graph[&marker(resource)]);
            }
        },
    );
}
