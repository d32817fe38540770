//! Killed at any moment and resumed, a load ends with the store of an undisturbed one.
//!
//! The store runs as a process of its own, Stoker is killed with `kill -9`. In short with the clinic of `resources/`,
//! multiplied; in full with the smoke set and `STOKER_KILLS` random moments for each way to travel:
//!
//! ```text
//! STOKER_KILLS=300 cargo test --release --test tests killed -- --nocapture --test-threads 2
//! ```

use std::path::{Path, PathBuf};

use fs_err as fs;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::Value;

use crate::support::data;
use bench::{BLOCK, Mode, Records, SLOTS, When, load};

mod bench;
mod hl7v2;
mod kinds;
mod mllp;
mod points;
mod proxy;
mod receiver;
mod shared;
pub(crate) mod store;
mod wire;

/// How many random moments are tried in full; none in short.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no `cli` that reads the environment for them"
)]
fn kills() -> Option<u32> {
    std::env::var("STOKER_KILLS").ok()?.parse().ok()
}

/// The clinic, several times, each time with ids of its own.
fn clinic(folder: &Path, times: usize) -> Records {
    let clinic = Path::new(env!("CARGO_MANIFEST_DIR")).join("resources/clinic");
    let mut resources = Vec::new();
    for kind in fs::read_dir(clinic).unwrap() {
        let kind = kind.unwrap().path();
        if kind.file_name().is_some_and(|name| name == "bundles") {
            continue;
        }
        for file in fs::read_dir(kind).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            resources.push(serde_json::from_str::<Value>(&text).unwrap());
        }
    }
    let mut lines = String::new();
    for time in 0..times {
        for resource in &resources {
            let mut resource = resource.clone();
            rename(&mut resource, &format!("-{time}"));
            lines.push_str(&resource.to_string());
            lines.push('\n');
        }
    }
    let file = folder.join("clinic.ndjson");
    fs::write(&file, lines).unwrap();
    Records::of(vec![file])
}

/// Gives ids and identifiers, and the references to them, an ending of their own.
fn rename(value: &mut Value, ending: &str) {
    match value {
        Value::Object(members) => {
            let is_resource = members.contains_key("resourceType");
            let is_identifier = members.contains_key("system") && members.len() == 2;
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "id" && is_resource => text.push_str(ending),
                    Value::String(text) if name == "value" && is_identifier => {
                        text.push_str(ending);
                    }
                    Value::String(text) if name == "reference" && !text.starts_with(['h', 'u']) => {
                        text.push_str(ending);
                    }
                    other => rename(other, ending),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, ending)),
        _ => {}
    }
}

fn ndjson(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "ndjson"))
        .collect();
    files.sort();
    files
}

/// Kills a load at protocol points and random moments; the store has to come out as if nothing had happened.
fn survives(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let full = kills();
    let smoke = full.and_then(|_| data::set("synthea-r4-2021-smoke"));
    let records = match smoke {
        Some(smoke) => Records::of(ndjson(&smoke.join("ndjson"))),
        None => clinic(folder.path(), 3),
    };
    let records = match mode.bundles() {
        // The clinics, each a Bundle: they refer to nothing outside.
        Some(bundle_type) => {
            let clinics = if full.is_some() { 12 } else { 3 };
            let records = clinic(folder.path(), clinics);
            records.in_bundles(folder.path(), bundle_type, clinics)
        }
        None => records,
    };
    let mut words = mode.load().to_owned();
    if mode == Mode::IdentifiedEntries {
        words = format!("{words}, {}", records.identity());
    }
    let undisturbed = load(&records, &words, None);
    // In the clinic a few refer to what only its Bundles hold.
    let arrived = undisturbed.arrived();
    assert_eq!(undisturbed.held(), arrived);
    assert!(arrived * 10 > records.count * 9, "{}", undisturbed.outcomes);
    let mut random = SmallRng::seed_from_u64(7);
    let mut moments = vec![When::BeforeIntent];
    for point in [When::AfterIntent, When::AfterCommit, When::AfterAnswer] {
        for _ in 0..full.map_or(1, |_| 5) {
            moments.push(point(random.random_range(1..=undisturbed.writes)));
        }
    }
    for _ in 0..full.map_or(1, |_| 5) {
        let blocks = undisturbed.journal / BLOCK;
        moments.push(When::InALine(random.random_range(blocks / 4..blocks / 2)));
    }
    for _ in 0..full.unwrap_or(4) {
        moments.push(When::Journal(random.random_range(1..undisturbed.journal)));
    }
    let mut sessions = 0;
    for when in moments {
        let left = load(&records, &words, Some(when));
        sessions += left.sessions;
        assert_eq!(
            left.arrived(),
            arrived,
            "{mode:?} {when:?}: {}",
            left.outcomes
        );
        let (missing, extra) = differences(&undisturbed.contents, &left.contents);
        assert_eq!(
            (missing, extra),
            (0, 0),
            "{mode:?} {when:?}: missing, extra; {}",
            left.outcomes
        );
    }
    assert!(sessions > 1);
}

fn differences(
    expected: &std::collections::BTreeMap<u128, u32>,
    found: &std::collections::BTreeMap<u128, u32>,
) -> (u32, u32) {
    let less = |a: &std::collections::BTreeMap<u128, u32>,
                b: &std::collections::BTreeMap<u128, u32>| {
        a.iter()
            .map(|(key, count)| count.saturating_sub(b.get(key).copied().unwrap_or_default()))
            .sum()
    };
    (less(expected, found), less(found, expected))
}

#[test]
fn a_load_by_create_survives_being_killed() {
    survives(Mode::Create);
}

#[test]
fn a_load_by_update_survives_being_killed() {
    survives(Mode::Update);
}

#[test]
fn a_load_in_batches_survives_being_killed() {
    survives(Mode::Batch);
}

#[test]
fn a_load_in_transactions_survives_being_killed() {
    survives(Mode::Transaction);
}

#[test]
fn entries_of_batches_survive_being_killed() {
    survives(Mode::BatchEntries);
}

#[test]
fn entries_of_transactions_survive_being_killed() {
    survives(Mode::TransactionEntries);
}

#[test]
fn identified_entries_of_transactions_survive_being_killed() {
    survives(Mode::IdentifiedEntries);
}

/// Nobody is asked: what was in flight is unknown, and nothing else.
#[test]
fn without_asking_only_what_was_in_flight_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let records = clinic(folder.path(), 3);
    for (entries, bundle) in [(1, "none"), (10, "{ type: batch, max_entries: 10 }")] {
        let load_text = format!("interaction: create, bundle: {bundle}, settle: none");
        let undisturbed = load(&records, &load_text, None);
        for when in [
            When::AfterCommit(undisturbed.writes / 2),
            When::Journal(undisturbed.journal / 3),
        ] {
            let left = load(&records, &load_text, Some(when));
            let unknown = left.outcomes["unknown"].as_u64().unwrap();
            assert!(unknown <= SLOTS * entries, "{when:?}: {}", left.outcomes);
            let (_, extra) = differences(&undisturbed.contents, &left.contents);
            // What waits for an unknown one is blocked.
            assert!(left.held() <= undisturbed.held(), "{when:?}");
            if left.outcomes["blocked"] == 0 {
                assert_eq!(extra, 0, "{when:?}: {}", left.outcomes);
            }
        }
    }
}
