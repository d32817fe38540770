//! The smoke set of real data, or the part of it that a few patients need.

use std::collections::{BTreeMap, BTreeSet};

use fs_err as fs;
use serde_json::Value;

use super::store::references;
use crate::support::data;

/// What is loaded, in both of its forms, and what is meant by it.
pub(super) struct Set {
    /// Files of Bundles by name.
    pub(super) bundles: BTreeMap<String, String>,
    /// Files of resources by type.
    pub(super) ndjson: BTreeMap<String, String>,
    /// The resources by `Type/id`.
    pub(super) meant: BTreeMap<String, Value>,
}

/// Patients of the part that is loaded where nobody asks for all: the two with the least.
const PATIENTS: [&str; 2] = [
    "8a4c9c04-1524-9f1c-d65b-9b17e4520fef.json",
    "6c8f3e83-c351-ed33-c38d-6be101c275d2.json",
];

impl Set {
    /// Reads the set; none where it is not at hand.
    #[expect(
        clippy::disallowed_methods,
        reason = "tests have no `cli` that reads the environment for them"
    )]
    pub(super) fn read() -> Option<Self> {
        let folder = data::set("synthea-r4-2021-smoke")?;
        let is_all = std::env::var("STOKER_SMOKE").is_ok_and(|which| which == "all");
        let mut resources: BTreeMap<String, (Value, String)> = BTreeMap::new();
        for file in fs::read_dir(folder.join("ndjson")).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            for line in text.lines() {
                let resource: Value = serde_json::from_str(line).unwrap();
                resources.insert(name(&resource), (resource, line.to_owned()));
            }
        }
        let mut bundles: BTreeMap<String, String> = BTreeMap::new();
        for file in fs::read_dir(folder.join("bundles")).unwrap() {
            let path = file.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            if is_all || file.starts_with("0-") || PATIENTS.contains(&file.as_str()) {
                bundles.insert(file, fs::read_to_string(path).unwrap());
            }
        }
        if !is_all {
            let wanted = wanted(&bundles, &resources);
            resources.retain(|name, _| wanted.contains(name));
            for (_, text) in bundles
                .iter_mut()
                .filter(|(name, _)| name.starts_with("0-"))
            {
                let mut bundle: Value = serde_json::from_str(text).unwrap();
                let entries = bundle["entry"].as_array_mut().unwrap();
                entries.retain(|entry| wanted.contains(&name(&entry["resource"])));
                *text = bundle.to_string();
            }
        }
        let mut ndjson: BTreeMap<String, String> = BTreeMap::new();
        for (resource, line) in resources.values() {
            let kind = resource["resourceType"].as_str().unwrap();
            let file = ndjson.entry(kind.to_owned()).or_default();
            file.push_str(line);
            file.push('\n');
        }
        let meant = resources
            .into_iter()
            .map(|(name, (resource, _))| (name, resource))
            .collect();
        Some(Self {
            bundles,
            ndjson,
            meant,
        })
    }
}

fn name(resource: &Value) -> String {
    let text = |member: &str| resource[member].as_str().unwrap();
    format!("{}/{}", text("resourceType"), text("id"))
}

/// Returns what the patients have and need, with some roles, which nothing refers to.
fn wanted(
    bundles: &BTreeMap<String, String>,
    resources: &BTreeMap<String, (Value, String)>,
) -> BTreeSet<String> {
    const ROLES: usize = 5;
    let mut wanted = BTreeSet::new();
    let mut open: Vec<String> = Vec::new();
    for text in bundles
        .iter()
        .filter(|(name, _)| !name.starts_with("0-"))
        .map(|(_, text)| text)
    {
        let bundle: Value = serde_json::from_str(text).unwrap();
        let entries = bundle["entry"].as_array().unwrap();
        open.extend(entries.iter().map(|entry| name(&entry["resource"])));
    }
    let roles = resources
        .keys()
        .filter(|name| name.starts_with("PractitionerRole/"));
    open.extend(roles.take(ROLES).cloned());
    while let Some(name) = open.pop() {
        let Some((resource, _)) = resources.get(&name) else {
            panic!("{name} is in no file");
        };
        if wanted.insert(name) {
            references(resource, &mut |reference| {
                if resources.contains_key(reference) {
                    open.push(reference.to_owned());
                }
            });
        }
    }
    wanted
}
