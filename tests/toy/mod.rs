//! The proof that the seam is one: a store that Stoker has never heard of, over a protocol of its own, is loaded by the core with
//! journal, kill and resume, rate, and report, and nothing in the core changes for it.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use stoker::{
    event::Unobserved,
    gate::{ByteBudget, Gate, GateSettings},
    journal::{self, Journal, RunDirectory, format},
    manifest,
    plan::{self, PlanHeader, PlannedTarget, file},
    report,
    send::{self, Earlier, Replay, RunContext, TargetConnection},
    source::Bodies,
    target::Facts,
};

use store::{Line, Toy, serve};

mod store;

const RECORDS: usize = 300;

/// Nobody.
#[derive(Debug)]
struct Nobody;

impl stoker::auth::Credentials for Nobody {
    fn header(
        &self,
    ) -> futures::future::BoxFuture<'_, Result<Option<http::HeaderValue>, stoker::auth::Error>>
    {
        Box::pin(async { Ok(None) })
    }

    fn refused(&self) -> bool {
        false
    }
}

/// Plans the records of a file for the toy store.
fn planned(
    folder: &Path,
    run: &RunDirectory,
) -> (Arc<file::Saved>, Arc<Bodies>, manifest::TargetSettings) {
    let lines = (0..RECORDS).map(|n| {
        let id = if n == 17 {
            "bad".to_owned()
        } else {
            format!("r{n}")
        };
        format!(r#"{{"resourceType":"Basic","id":"{id}","n":{n}}}"#)
    });
    fs_err::write(
        folder.join("all.ndjson"),
        lines.collect::<Vec<_>>().join("\n"),
    )
    .unwrap();
    let yaml = "version: 1\nname: toy\ntargets: { t: { fhir: { url: \"http://toy\" }, rate: 2000/s, retry: { base: 1ms, max: 20ms } } }\n\
                loads: [ { name: all, files: [all.ndjson], interaction: update, bundle: none } ]\n";
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
            facts: Facts::UNKNOWN,
        }],
        loads: manifest.loads.clone(),
        run: manifest.run.clone(),
    };
    let mut writer = file::Writer::create(&run.plan()).unwrap();
    let surveyed = stoker::survey::survey(
        &header,
        &mut writer,
        None,
        folder,
        &Unobserved,
        &|| false,
        &mut |_, _| {},
    )
    .unwrap();
    let sources = surveyed
        .sources
        .iter()
        .map(|s| (s.id, s.path.clone().unwrap()));
    let bodies = Arc::new(Bodies::new(sources.collect()));
    (
        Arc::new(file::Saved::open(&run.plan()).unwrap()),
        bodies,
        settings,
    )
}

/// Opens the journal when the threads of the session before have let it go, as a process that is killed does at once.
async fn opened(run: &RunDirectory, session: u32) -> (Journal, Option<journal::JournalIndex>) {
    loop {
        let history = (session > 1).then(|| journal::read(&run.journal()).unwrap());
        let line = format::SessionLine {
            number: session,
            started: jiff::Timestamp::now(),
        };
        match Journal::open(run, manifest::Sync::None, line, history.as_ref()) {
            Ok(journal) => return (journal, history),
            Err(error) => assert!(error.to_string().contains("another Stoker"), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_nobody_has_heard_of_is_loaded_whole_through_kills() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(
        &folder.path().join(".stoker"),
        "toy",
        jiff::Timestamp::now(),
    )
    .unwrap();
    let (saved, bodies, settings) = planned(folder.path(), &run);
    let (address, shelf) = serve().await;
    let mut random = SmallRng::seed_from_u64(7);
    for session in 1.. {
        let (journal, history) = opened(&run, session).await;
        let journal = Arc::new(journal);
        let gate = GateSettings::of(&settings, 1);
        let base = "toy://toy/".parse().unwrap();
        let gate = Gate::new(Arc::new(Line(address)), Arc::new(Nobody), &gate, &base).unwrap();
        let setup = RunContext {
            plan: Arc::clone(&saved),
            links: HashMap::from([(
                "t".to_owned(),
                TargetConnection {
                    gate: Arc::new(gate),
                    target: Arc::new(Toy),
                    slots: 8,
                },
            )]),
            bodies: Arc::clone(&bodies),
            ledger: Arc::clone(&journal) as _,
            journal: journal.line().clone(),
            observe: Arc::new(Unobserved),
            stop: send::Stop::default(),
            budget: Arc::new(ByteBudget::new(1 << 20)),
            earlier: Arc::new(Earlier {
                was_cut_off: false,
                history,
                replay: Replay::default(),
            }),
            lookups: Arc::default(),
            counts: Arc::default(),
        };
        // The first sessions are dropped in the midst of their work, as a kill would.
        let killed = session <= 3;
        let after = Duration::from_millis(if killed {
            random.random_range(20..90)
        } else {
            60_000
        });
        let ended = tokio::time::timeout(after, send::run(setup)).await;
        if let Ok(ended) = ended {
            assert_eq!(ended.unwrap().how, journal::Ending::Complete);
            break;
        }
        assert!(killed, "a whole session takes seconds");
    }
    // The store has every record but the one that it refuses, as it stands in the file.
    let held = shelf.lock().unwrap().clone();
    assert_eq!(held.len(), RECORDS - 1);
    for n in (0..RECORDS).filter(|n| *n != 17) {
        let text = format!(r#"{{"resourceType":"Basic","id":"r{n}","n":{n}}}"#);
        assert_eq!(held[&format!("r{n}")].0, text);
    }
    // The report has one outcome for each, and says in the store's own code why one was refused.
    let read = |source, span| {
        let bytes = bodies.read(source, span).map_err(|e| e.to_string())?;
        Ok(bytes.to_vec())
    };
    let concluded = report::conclude(&run, None, &read, &mut |_, _, _| {}).unwrap();
    let (report, _) = concluded.write().unwrap();
    let json = serde_json::to_value(&report).unwrap();
    let outcomes = &json["types"]["Basic"];
    assert_eq!(outcomes["rejected"], 1, "{json:#}");
    let well =
        outcomes["updated"].as_u64().unwrap_or(0) + outcomes["created"].as_u64().unwrap_or(0);
    assert_eq!(well, RECORDS as u64 - 1, "{json:#}");
}
