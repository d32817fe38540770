//! Runs made by hand: a plan and a journal, written by the code that writes real ones.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use stoker::{
    event::LoadId,
    journal::{
        Ending, Journal, Ledger as _, RunDirectory, SettleLine, Settlement, Tally,
        format::{ConsultedLine, EndLine, SessionLine},
    },
    manifest::{
        Auth, Concurrency, ExistingSettings, GoogleStore, Identity, LoadSettings, Retry,
        RunSettings, SecretPlace, Store, Sync, TargetSettings, Tls,
    },
    plan::{
        Action, Group, GroupId, LoadSummary, Other, Packaging, PlanHeader, PlannedSource,
        PlannedTarget, Reason, Step, Summary, VERSION,
        file::{Sink as _, Writer},
    },
    record::{Lack, Operation, Outcome, Position, SourceId, Span, StepId},
    source::{Fingerprint, Form},
    target::Facts,
    unit::ByteSize,
};

/// A name that must stand nowhere but in `rejected/`.
pub(super) const PATIENT: &str = "Zebedee Quill";

/// The sources, by their number. The record that is rejected is pretty-printed and holds the patient's name.
pub(super) const SOURCES: [&str; 3] = [
    "{\n  \"resourceType\": \"Patient\",\r\n  \"id\": \"p1\",\n  \"name\": [{\"text\": \"Zebedee Quill\"}],\n  \"multipleBirthInteger\": 20.00\n}\n",
    "{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"entry\":[\
     {\"fullUrl\":\"urn:uuid:1\",\"resource\":{\"resourceType\":\"Encounter\"},\"request\":{\"method\":\"POST\",\"url\":\"Encounter\"}},\
     {\"resource\":{\"resourceType\":\"Observation\"},\"request\":{\"method\":\"POST\",\"url\":\"Observation\"}}]}",
    "{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[\
     {\"request\":{\"method\":\"DELETE\",\"url\":\"Patient/a\"}},\
     {\"request\":{\"method\":\"DELETE\",\"url\":\"Patient/b\"}}]}",
];

/// Reads the bytes of a record again.
#[expect(clippy::unnecessary_wraps, reason = "reading a file can fail")]
pub(super) fn bodies(source: SourceId, span: Span) -> Result<Vec<u8>, String> {
    let bytes = SOURCES[source.0 as usize].as_bytes();
    let start = usize::try_from(span.start).unwrap();
    let end = start + usize::try_from(span.length).unwrap();
    Ok(bytes[start..end].to_vec())
}

/// A run directory, and the folder that goes away with it.
pub(super) struct Made {
    pub(super) run: RunDirectory,
    _folder: tempfile::TempDir,
}

fn position(source: u32, line: u64, entry: Option<u32>, text: &str) -> Position {
    let start = SOURCES[source as usize].find(text).unwrap();
    Position {
        source: SourceId(source),
        index: entry.map_or(line - 1, u64::from),
        line,
        entry,
        span: Span {
            start: start as u64,
            length: text.len() as u64,
        },
    }
}

fn target(name: &str, store: Store) -> TargetSettings {
    TargetSettings {
        name: name.to_owned(),
        store,
        auth: Auth::None,
        tls: Tls::default(),
        proxy: None,
        headers: BTreeMap::new(),
        quota_project: None,
        rate: None,
        bytes_rate: None,
        concurrency: Concurrency { min: 1, max: 256 },
        timeout: Duration::from_mins(1),
        retry: Retry {
            attempts: 8,
            base: Duration::from_millis(500),
            max: Duration::from_secs(32),
        },
        give_up_after: Duration::from_mins(10),
    }
}

/// The targets of the run: one with as many settings as there are, one with as few.
pub(super) fn targets() -> [TargetSettings; 2] {
    let google = Store::Google(GoogleStore {
        endpoint: "https://healthcare.googleapis.com/".parse().unwrap(),
        project: "demo".to_owned(),
        location: "us-central1".to_owned(),
        dataset: "clinic".to_owned(),
        store: "r4".to_owned(),
        format: stoker::manifest::Format::default(),
        ensure: Some(BTreeMap::from([
            ("version".to_owned(), "R4".into()),
            ("enableUpdateCreate".to_owned(), true.into()),
        ])),
    });
    let mut full = target("clinic", google);
    full.auth = Auth::Basic {
        user: "loader".to_owned(),
        password: SecretPlace::Env("CLINIC_PASSWORD".to_owned()),
    };
    full.tls.ca = Some(PathBuf::from("/etc/clinic/ca.pem"));
    full.proxy = Some("http://proxy.example:3128/".parse().unwrap());
    full.headers = BTreeMap::from([("x-purpose".to_owned(), "costs $${nothing}".to_owned())]);
    full.quota_project = Some("billing".to_owned());
    full.rate = Some("500/s".parse().unwrap());
    full.bytes_rate = Some(stoker::unit::parse_bytes_rate("1500 kB/s").unwrap());
    full.timeout = Duration::from_millis(1_500);
    let local = Store::Local {
        format: stoker::manifest::Format::default(),
        id: None,
        dir: PathBuf::from("/var/lib/stoker/store"),
        store: BTreeMap::new(),
    };
    [full, target("try-out", local)]
}

/// The loads of the run.
pub(super) fn loads() -> [LoadSettings; 2] {
    let load = |name: &str, target: &str| LoadSettings {
        format: stoker::manifest::Format::default(),
        messages: stoker::manifest::MessageSettings::default(),
        name: name.to_owned(),
        target: target.to_owned(),
        after: Vec::new(),
        files: Vec::new(),
        interaction: None,
        identity: Identity::default(),
        compare: false,
        existing: ExistingSettings::default(),
        packaging: stoker::manifest::PackagingSettings::default(),
        transactions: stoker::manifest::Transactions::default(),
        duplicates: stoker::manifest::Duplicates::default(),
        versioned: stoker::manifest::Versioned::default(),
        settle: None,
        known: Vec::new(),
    };
    let mut people = load("people all", "clinic");
    people.interaction = Some(Operation::ConditionalUpdate);
    people.identity.systems = BTreeMap::from([(
        "Patient".to_owned(),
        vec!["https://clinic.example/mrn".to_owned()],
    )]);
    people.compare = true;
    let mut visits = load("visits", "try-out");
    visits.after = vec!["people all".to_owned()];
    [people, visits]
}

fn step(number: u64, load: u32, position: Position, kind: &str, action: Action) -> Step {
    Step {
        number: StepId(number),
        load: LoadId(load),
        position,
        body: position.span,
        kind: kind.to_owned(),
        id: (kind == "Patient").then(|| format!("p{number}")),
        full_url: None,
        links: Vec::new(),
        hash: 0,
        first: None,
        action,
    }
}

fn steps() -> Vec<(Option<Group>, Step)> {
    let group = |id, bundle| {
        Some(Group {
            id: GroupId(id),
            packaging: bundle,
            records: 2,
            bytes: 200,
            atomic: true,
        })
    };
    let send = Action::Send(Operation::ConditionalUpdate);
    let entry = Action::Entry(Operation::Create);
    let delete = Action::Entry(Operation::Delete);
    let patient = SOURCES[0].trim_end();
    let unsupported = Action::Unsupported(Reason {
        code: stoker::record::ReasonCode::Malformed,
        message: "the record ends in the middle of a string".to_owned(),
        path: Some("$.name".to_owned()),
    });
    let encounter = "{\"fullUrl\":\"urn:uuid:1\",\"resource\":{\"resourceType\":\"Encounter\"},\"request\":{\"method\":\"POST\",\"url\":\"Encounter\"}}";
    let observation = "{\"resource\":{\"resourceType\":\"Observation\"},\"request\":{\"method\":\"POST\",\"url\":\"Observation\"}}";
    let first = "{\"request\":{\"method\":\"DELETE\",\"url\":\"Patient/a\"}}";
    let second = "{\"request\":{\"method\":\"DELETE\",\"url\":\"Patient/b\"}}";
    let at = |line| position(0, line, None, patient);
    vec![
        (None, step(0, 0, at(1), "Patient", send.clone())),
        (None, step(1, 0, at(2), "Patient", send.clone())),
        (None, step(2, 0, at(3), "", unsupported)),
        (None, step(3, 0, at(4), "Patient", send.clone())),
        (None, step(4, 0, at(5), "Patient", send)),
        (
            group(0, Packaging::Transaction),
            step(
                5,
                1,
                position(1, 1, Some(0), encounter),
                "Encounter",
                entry.clone(),
            ),
        ),
        (
            None,
            step(
                6,
                1,
                position(1, 1, Some(1), observation),
                "Observation",
                entry,
            ),
        ),
        (
            group(1, Packaging::Batch),
            step(
                7,
                1,
                position(2, 1, Some(0), first),
                "Patient",
                delete.clone(),
            ),
        ),
        (
            None,
            step(8, 1, position(2, 1, Some(1), second), "Patient", delete),
        ),
    ]
}

/// Writes the plan of the run; `counted` is added to what its summary counts.
pub(super) fn plan(run: &RunDirectory, counted: u64) {
    write_plan(run, steps(), counted);
}

fn write_plan(run: &RunDirectory, steps: Vec<(Option<Group>, Step)>, counted: u64) {
    let mut writer = Writer::create(&run.plan()).unwrap();
    let header = PlanHeader {
        version: VERSION,
        stoker: "0.1.0".to_owned(),
        name: "clinic".to_owned(),
        manifest: PathBuf::from("/home/me/manifests/clinic.yaml"),
        root: PathBuf::from("/home/me"),
        created: "2026-11-23T07:00:00Z".parse().unwrap(),
        targets: targets()
            .into_iter()
            .map(|settings| PlannedTarget {
                facts: Facts::documented(&settings.store),
                settings,
            })
            .collect(),
        loads: loads().to_vec(),
        run: RunSettings {
            max_errors: None,
            state: None,
            journal: Sync::None,
            memory: ByteSize(64_000_000),
        },
    };
    writer.header(&header).unwrap();
    let mut summary = Summary::default();
    let mut load = None;
    for (group, step) in steps {
        if load != Some(step.load) {
            load = Some(step.load);
            writer.load(step.load).unwrap();
            summary.loads.push(LoadSummary {
                files: 1,
                ..LoadSummary::default()
            });
        }
        if let Some(group) = group {
            writer.group(&group).unwrap();
        }
        writer.step(&step).unwrap();
        summary.loads.last_mut().unwrap().count(&step);
    }
    summary.loads[0].records += counted;
    let source = |id, name: &str, load| PlannedSource {
        id: SourceId(id),
        load: LoadId(load),
        name: name.to_owned(),
        path: None,
        form: Form::Json,
        spooled: false,
        fingerprint: Fingerprint {
            stamp: stoker::source::Stamp {
                size: 1,
                modified: 1_795_000_000_000_000_000,
                inode: 1,
            },
            sha256: "00".to_owned(),
        },
    };
    let sources = [
        source(0, "people.ndjson", 0),
        source(1, "visit|1.json", 1),
        source(2, "batch\u{1b}[2J.json", 1),
    ];
    writer.end(&sources, &summary).unwrap();
}

fn settled(record: u64, outcome: Outcome, status: u16) -> Settlement {
    Settlement {
        line: SettleLine {
            attempts: 1,
            status: Some(status),
            latency_us: Some(1_000 * (record + 1)),
            ..SettleLine::new(StepId(record), outcome)
        },
        said: None,
    }
}

fn refused(record: u64, code: &str, said: &str) -> Settlement {
    let mut settlement = settled(record, Outcome::Rejected, 422);
    settlement.line.code = Some(code.to_owned());
    settlement.line.expression = vec!["Patient.birthDate".to_owned()];
    settlement.said = Some(said.to_owned());
    settlement
}

/// Makes the run of [`plan`], interrupted after it was resumed once.
pub(super) async fn make() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let now = "2026-11-23T07:00:00Z".parse().unwrap();
    let run = RunDirectory::create(folder.path(), "clinic", now).unwrap();
    plan(&run, 0);
    let session = |number, started: &str| SessionLine {
        number,
        started: started.parse().unwrap(),
    };
    let tally = |elapsed_ms| Tally {
        session: 0,
        elapsed_ms,
        planning_ms: 250,
        closing_ms: 50,
        requests: 6,
        reads: 4,
        retries: 1,
        statuses: BTreeMap::from([("201".to_owned(), 4), ("none".to_owned(), 1)]),
        bytes_sent: 1_200_000,
        bytes_received: 34_000,
        remarks: Vec::new(),
        ways: BTreeMap::from([(loads()[0].name.clone(), "transactions".to_owned())]),
    };
    let journal =
        Journal::open(&run, Sync::None, session(1, "2026-11-23T07:00:01Z"), None).unwrap();
    let mut created = settled(0, Outcome::Created, 201);
    created.line.id = Some("assigned-0".to_owned());
    created.line.version = Some("MTY".to_owned());
    journal.settle(vec![created]).await.unwrap();
    journal.tally(tally(500)).await.unwrap();
    journal.tally(tally(1_500)).await.unwrap();
    drop(journal);

    let history = stoker::journal::read(&run.journal()).unwrap();
    let second = session(2, "2026-11-23T08:00:00Z");
    let journal = Journal::open(&run, Sync::None, second, Some(&history)).unwrap();
    let diagnostics = format!(
        "{{\n  \"resourceType\": \"OperationOutcome\",\n  \"issue\": [{{\"diagnostics\": \"{PATIENT} has no birth date\"}}]\n}}"
    );
    journal
        .settle(vec![
            refused(1, "structure", &diagnostics),
            refused(5, "invalid", "<h1>no</h1>"),
            refused(6, "invalid", "<h1>no</h1>"),
            settled(7, Outcome::Updated, 200),
            refused(8, "conflict", ""),
        ])
        .await
        .unwrap();
    journal
        .intend(jiff::Timestamp::now(), &[StepId(3)])
        .await
        .unwrap();
    journal.tally(tally(500)).await.unwrap();
    let end = EndLine {
        session: 2,
        at: "2026-11-23T08:00:01Z".parse().unwrap(),
        how: Ending::Interrupted,
        reason: None,
    };
    journal.end(end).await.unwrap();
    Made {
        run,
        _folder: folder,
    }
}

/// Makes a run with every outcome: of a load `people all` by a condition, and of a load `visits` as the entries say.
pub(super) async fn make_every() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let now = "2026-11-23T07:00:00Z".parse().unwrap();
    let run = RunDirectory::create(folder.path(), "clinic", now).unwrap();
    let patient = SOURCES[0].trim_end();
    let send = || Action::Send(Operation::ConditionalUpdate);
    let other = |step: u64| Other {
        step: StepId(step),
        place: format!("people.ndjson:{}", step + 1),
    };
    let unsupported = Action::Unsupported(Reason {
        code: stoker::record::ReasonCode::Malformed,
        message: "the record ends in the middle of a string".to_owned(),
        path: Some("$.name".to_owned()),
    });
    let people = [
        ("Patient", send()),                        // 0 created
        ("Patient", send()),                        // 1 unchanged, from history
        ("Patient", send()),                        // 2 matched
        ("Patient", Action::Duplicate(other(0))),   // 3
        ("", unsupported),                          // 4
        ("Observation", Action::Blocked(other(4))), // 5
        ("Practitioner", send()), // 6 a condition that the server cannot search by
        ("Organization", send()), // 7 likewise
        ("Encounter", send()),    // 8 needs 6
        ("Encounter", send()),    // 9 needs 6
        ("Patient", send()),      // 10 a value
        ("Patient", send()),      // 11 harmless doubt
        ("Patient", send()),      // 12 pending
    ];
    let mut steps: Vec<(Option<Group>, Step)> = (0..)
        .zip(people)
        .map(|(number, (kind, action))| {
            let at = position(0, number + 1, None, patient);
            (None, step(number, 0, at, kind, action))
        })
        .collect();
    let entry = SOURCES[1]
        .split_once('[')
        .unwrap()
        .1
        .strip_suffix("]}")
        .unwrap();
    let create = || Action::Entry(Operation::Create);
    let group = Group {
        id: GroupId(0),
        packaging: Packaging::Transaction,
        records: 3,
        bytes: 200,
        atomic: true,
    };
    let visits = [
        "Encounter",
        "Observation",
        "Procedure",
        "Patient",
        "Patient",
        "Patient",
    ];
    steps.extend((13..).zip(visits).map(|(number, kind)| {
        let action = if number < 16 {
            create()
        } else {
            Action::Send(Operation::Create)
        };
        let at = position(1, 1, Some(u32::try_from(number).unwrap() - 13), entry);
        (
            (number == 13).then_some(group),
            step(number, 1, at, kind, action),
        )
    }));
    write_plan(&run, steps, 0);
    let session = SessionLine {
        number: 1,
        started: now,
    };
    let journal = Journal::open(&run, Sync::None, session, None).unwrap();
    let refused = |record, status, code: &str, detail: &str, said: &str| {
        let mut settled = settled(record, Outcome::Rejected, status);
        settled.line.code = Some(code.to_owned());
        settled.line.detail = Some(detail.to_owned()).filter(|detail| !detail.is_empty());
        settled.said = Some(format!(
            r#"{{"issue":[{{"severity":"error","code":"{code}","diagnostics":"{said}"}}]}}"#
        ));
        settled
    };
    let by = |mut settled: Settlement, by, note: &str| {
        settled.line.by = Some(by);
        settled.line.note = Some(note.to_owned());
        settled
    };
    let mut unchanged = settled(1, Outcome::Unchanged, 200);
    (
        unchanged.line.attempts,
        unchanged.line.status,
        unchanged.line.latency_us,
    ) = (0, None, None);
    let mut blocked = settled(8, Outcome::Blocked, 0);
    (
        blocked.line.attempts,
        blocked.line.status,
        blocked.line.latency_us,
    ) = (0, None, None);
    let blocked = by(
        blocked,
        StepId(6),
        "it needs people.ndjson:7, which did not arrive",
    );
    let mut also_blocked = blocked.clone();
    also_blocked.line.record = StepId(9);
    let mut value = refused(
        10,
        422,
        "value",
        "",
        &format!("{PATIENT} was born in the future"),
    );
    value.line.expression = vec!["Patient.birthDate".to_owned()];
    let mut harmless = settled(11, Outcome::Unknown, 500);
    harmless.line.note = Some("the store answered 500; given up after 8 attempts; whether it took the record is not known: asking the store cannot tell".to_owned());
    let mut reference = refused(14, 400, "processing", "HAPI-1094", "not found");
    reference.line.lacks = vec![Lack {
        path: "Observation.performer[0]".to_owned(),
        to: Some("Practitioner".to_owned()),
    }];
    let note = "its transaction was refused as a whole";
    let with_it = by(
        refused(13, 400, "processing", "HAPI-1094", "not found"),
        StepId(14),
        note,
    );
    let also = by(
        refused(15, 400, "processing", "HAPI-1094", "not found"),
        StepId(14),
        note,
    );
    let mut doubt = settled(16, Outcome::Unknown, 0);
    (doubt.line.status, doubt.line.latency_us) = (None, None);
    doubt.line.note = Some("no answer came; whether it took the record is not known: `settle: tag` or `identifier` would let the store be asked".to_owned());
    let digits = refused(17, 400, "processing", "HAPI-0960", "12");
    let consulted = ConsultedLine {
        loaded: 1,
        ..ConsultedLine::default()
    };
    journal.consulted(consulted).await.unwrap();
    journal
        .settle(vec![
            settled(0, Outcome::Created, 201),
            unchanged,
            settled(2, Outcome::Matched, 200),
            refused(6, 400, "processing", "HAPI-0524", "unknown parameter"),
            refused(7, 400, "processing", "HAPI-0524", "unknown parameter"),
            blocked,
            also_blocked,
            value,
            harmless,
            with_it,
            reference,
            also,
            doubt,
            digits,
            settled(18, Outcome::Updated, 200),
        ])
        .await
        .unwrap();
    let end = EndLine {
        session: 1,
        at: now,
        how: Ending::MaxErrors,
        reason: Some("more records failed than `max_errors` allows".to_owned()),
    };
    journal.end(end).await.unwrap();
    Made {
        run,
        _folder: folder,
    }
}

/// Makes a run of so many patients, of which the first few were rejected.
pub(super) async fn make_large(records: u64, rejected: u64) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let now = "2026-11-23T07:00:00Z".parse().unwrap();
    let run = RunDirectory::create(folder.path(), "clinic", now).unwrap();
    let patient = SOURCES[0].trim_end();
    let send = Action::Send(Operation::ConditionalUpdate);
    let steps = (0..records).map(|number| {
        let at = position(0, number + 1, None, patient);
        (None, step(number, 0, at, "Patient", send.clone()))
    });
    write_plan(&run, steps.collect(), 0);
    let session = SessionLine {
        number: 1,
        started: now,
    };
    let journal = Journal::open(&run, Sync::None, session, None).unwrap();
    let settlements = (0..records).map(|number| {
        if number < rejected {
            let mut settlement = settled(number, Outcome::Rejected, 400);
            settlement.line.code = Some("invalid".to_owned());
            settlement
        } else {
            settled(number, Outcome::Created, 201)
        }
    });
    journal.settle(settlements.collect()).await.unwrap();
    let end = EndLine {
        session: 1,
        at: now,
        how: Ending::Complete,
        reason: None,
    };
    journal.end(end).await.unwrap();
    Made {
        run,
        _folder: folder,
    }
}
