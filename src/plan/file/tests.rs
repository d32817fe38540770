use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use super::{PlanEntry, Saved, Sink as _, Writer};
use crate::{
    event::LoadId,
    manifest::{
        Auth, Concurrency, Duplicates, ExistingSettings, FilePattern, Identity, LoadSettings,
        MaxErrors, PackagingSettings, Retry, RunSettings, SecretPlace, Store, Sync, TargetSettings,
        Tls, Transactions, Versioned,
    },
    plan::{
        Action, Group, GroupId, Link, LoadSummary, Packaging, PlanHeader, PlannedSource,
        PlannedTarget, Reason, Step, Summary, To, VERSION,
    },
    record::{Operation, Position, SourceId, Span, StepId},
    source::{Fingerprint, Form},
    target::Facts,
    unit::ByteSize,
};

/// A header with a value in every setting that has an unusual shape on disk.
fn header() -> PlanHeader {
    let settings = TargetSettings {
        name: "try-out".to_owned(),
        store: Store::Local {
            format: crate::manifest::Format::default(),
            id: None,
            dir: "store".into(),
            store: BTreeMap::from([(
                "validationConfig".to_owned(),
                serde_json::json!({ "depth": 1, "ratio": 0.50 }),
            )]),
        },
        auth: Auth::Bearer(SecretPlace::File("token".into())),
        tls: Tls::default(),
        proxy: Some("http://proxy.example:3128".parse().unwrap()),
        headers: BTreeMap::new(),
        quota_project: None,
        rate: Some("30000/min".parse().unwrap()),
        bytes_rate: None,
        concurrency: Concurrency::fixed(4),
        timeout: Duration::from_millis(1_500),
        retry: Retry {
            attempts: 3,
            base: Duration::from_millis(500),
            max: Duration::from_secs(32),
        },
        give_up_after: Duration::from_mins(10),
    };
    let load = |name: &str| LoadSettings {
        messages: crate::manifest::MessageSettings::default(),
        format: crate::manifest::Format::default(),
        name: name.to_owned(),
        target: "try-out".to_owned(),
        after: Vec::new(),
        files: vec![FilePattern {
            pattern: "*.json".to_owned(),
            exclude: false,
            folder: "/data".into(),
            place: ("clinic.yaml".into(), 3, 7),
        }],
        interaction: Some(Operation::ConditionalCreate),
        identity: Identity::default(),
        compare: true,
        existing: ExistingSettings::default(),
        packaging: PackagingSettings::default(),
        transactions: Transactions::default(),
        duplicates: Duplicates::default(),
        settle: None,
        versioned: Versioned::default(),
        known: Vec::new(),
    };
    PlanHeader {
        version: VERSION,
        stoker: "0.1.0".to_owned(),
        name: "clinic".to_owned(),
        manifest: "clinic.yaml".into(),
        root: std::path::PathBuf::new(),
        created: "2026-11-23T07:00:00Z".parse().unwrap(),
        targets: vec![PlannedTarget {
            facts: Facts::documented(&settings.store),
            settings,
        }],
        loads: ["people", "nothing", "visits"].map(load).to_vec(),
        run: RunSettings {
            max_errors: Some(MaxErrors::Percent(2.5)),
            state: None,
            journal: Sync::Group,
            memory: ByteSize(64_000_000),
        },
    }
}

fn step(number: u64, load: u32, kind: &str, action: Action) -> Step {
    Step {
        number: StepId(number),
        load: LoadId(load),
        position: Position {
            source: SourceId(load / 2),
            index: number,
            line: number + 1,
            entry: (load == 2).then_some(7),
            span: Span {
                start: u64::from(u32::MAX) + number,
                length: 90,
            },
        },
        body: Span {
            start: 5,
            length: 60,
        },
        kind: kind.to_owned(),
        id: number
            .is_multiple_of(2)
            .then(|| "a \"quoted\" id\n".to_owned()),
        full_url: number
            .is_multiple_of(3)
            .then(|| format!("urn:uuid:{number}\"")),
        hash: 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210 + u128::from(number),
        first: None,
        links: (0..number % 4)
            .map(|reference| Link {
                reference: u32::try_from(reference).unwrap(),
                to: match reference {
                    0 => To::Step(StepId(number + 7)),
                    1 => To::Resource("Patient/\"p".to_owned()),
                    _ => To::Search,
                },
                late: reference == 0 && number.is_multiple_of(3),
                native: false,
            })
            .collect(),
        action,
    }
}

fn steps() -> [Vec<PlanEntry>; 3] {
    let group = Group {
        id: GroupId(0),
        packaging: Packaging::Transaction,
        records: 2,
        bytes: 180,
        atomic: true,
    };
    let unsupported = Action::Unsupported(Reason {
        code: crate::plan::ReasonCode::Malformed,
        message: "a comma is missing".to_owned(),
        path: None,
    });
    let create = Action::Send(Operation::Create);
    let entry = |number| step(number, 2, "Observation", Action::Entry(Operation::Patch));
    [
        vec![
            PlanEntry::Step(step(0, 0, "Patient", create)),
            PlanEntry::Step(step(1, 0, "", unsupported)),
        ],
        vec![],
        vec![
            PlanEntry::Group(group),
            PlanEntry::Step(entry(2)),
            PlanEntry::Step(entry(3)),
        ],
    ]
}

fn sources() -> Vec<PlannedSource> {
    [0, 1]
        .map(|id| PlannedSource {
            id: SourceId(id),
            load: LoadId(id * 2),
            name: format!("übung-{id}.json"),
            path: (id == 0).then(|| "/data/übung-0.json".into()),
            form: Form::Json,
            spooled: id == 1,
            fingerprint: Fingerprint {
                stamp: crate::source::Stamp {
                    size: u64::MAX,
                    modified: -1,
                    inode: 1,
                },
                sha256: "ab".repeat(32),
            },
        })
        .to_vec()
}

fn summary() -> Summary {
    let mut summary = Summary::default();
    for entries in steps() {
        let mut load = LoadSummary::default();
        for entry in entries {
            if let PlanEntry::Step(step) = entry {
                load.count(&step);
            }
        }
        summary.loads.push(load);
    }
    summary.warnings.push("beware".to_owned());
    summary
}

fn write(path: &Path) {
    let mut writer = Writer::create(path).unwrap();
    writer.header(&header()).unwrap();
    for (load, entries) in (0..).zip(steps()) {
        writer.load(LoadId(load)).unwrap();
        for entry in entries {
            match entry {
                PlanEntry::Group(group) => writer.group(&group).unwrap(),
                PlanEntry::Step(step) => writer.step(&step).unwrap(),
            }
        }
    }
    writer.end(&sources(), &summary()).unwrap();
}

#[test]
fn what_was_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.ndjson");
    write(&path);
    let saved = Saved::open(&path).unwrap();
    assert_eq!(saved.header, header());
    assert_eq!(saved.summary, summary());
    assert_eq!(saved.sources, sources());
    assert_eq!(saved.source_name(SourceId(1)), "übung-1.json");
    assert_eq!(saved.source_name(SourceId(9)), "?");
    for (load, expected) in (0..).zip(steps()) {
        let read: Result<Vec<_>, _> = saved.steps(LoadId(load)).unwrap().collect();
        assert_eq!(read.unwrap(), expected, "load {load}");
    }
    assert!(
        saved.steps(LoadId(3)).is_err(),
        "a load that it does not hold"
    );
    let mode = fs_err::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn cut_anywhere_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.ndjson");
    write(&path);
    let bytes = fs_err::read(&path).unwrap();
    let cut = folder.path().join("cut.ndjson");
    for length in 0..bytes.len() {
        fs_err::write(&cut, &bytes[..length]).unwrap();
        let error = Saved::open(&cut).unwrap_err().to_string();
        assert!(
            error.contains("it is not a whole plan"),
            "{length}: {error}"
        );
    }
}

#[test]
fn another_version_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.ndjson");
    write(&path);
    let text = fs_err::read_to_string(&path).unwrap();
    let next = VERSION + 1;
    let version = |number| format!("\"version\":{number},");
    let later = text.replacen(&version(VERSION), &version(next), 1);
    fs_err::write(&path, later).unwrap();
    let error = Saved::open(&path).unwrap_err().to_string();
    let expected =
        format!("it has version {next}, and this Stoker reads version {VERSION}; plan again");
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn a_damaged_step_is_an_error_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.ndjson");
    write(&path);
    let text = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, text.replacen("\"Patient\"", "\"Patient?", 1)).unwrap();
    let saved = Saved::open(&path).unwrap();
    let mut steps = saved.steps(LoadId(0)).unwrap();
    assert!(steps.next().unwrap().is_err());
}

#[test]
fn a_last_line_longer_than_a_read_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.ndjson");
    let mut summary = summary();
    summary.warnings = vec!["w".repeat(1_000); 300];
    let mut writer = Writer::create(&path).unwrap();
    writer.header(&header()).unwrap();
    writer.end(&[], &summary).unwrap();
    assert_eq!(Saved::open(&path).unwrap().summary, summary);
}

/// Reads all of a plan.
fn read_all(path: &Path) -> Result<Vec<PlanEntry>, String> {
    let saved = Saved::open(path).map_err(|e| e.to_string())?;
    saved.verify().map_err(|e| e.to_string())?;
    let loads = 0..u32::try_from(saved.header.loads.len()).unwrap();
    let mut entries = Vec::new();
    for load in loads {
        for entry in saved.steps(LoadId(load)).map_err(|e| e.to_string())? {
            entries.push(entry.map_err(|e| e.to_string())?);
        }
    }
    Ok(entries)
}

#[test]
fn damage_to_a_plan_is_noticed_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.ndjson");
    write(&path);
    let whole = fs_err::read(&path).unwrap();
    read_all(&path).unwrap();
    let tried = |text: &[u8]| {
        fs_err::write(&path, text).unwrap();
        read_all(&path).unwrap_err()
    };
    for at in 0..whole.len() {
        let mut text = whole.clone();
        text[at] ^= 4;
        let error = tried(&text);
        assert!(error.contains("plan.ndjson"), "{error}");
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|b| *b == b'\n').collect();
    for first in 0..lines.len() {
        let mut removed = lines.clone();
        removed.remove(first);
        tried(&removed.concat());
        let mut doubled = lines.clone();
        doubled.insert(first, lines[first]);
        tried(&doubled.concat());
        for second in first + 1..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(first, second);
            tried(&swapped.concat());
        }
    }
    // A step that was changed is named by its line.
    let text = String::from_utf8(whole)
        .unwrap()
        .replacen("\"Patient\"", "\"Pptient\"", 1);
    let error = tried(text.as_bytes());
    assert!(error.contains("line 2: it is damaged"), "{error}");
}
