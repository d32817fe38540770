//! The local store as a process of its own, and what it holds, whatever ids it gave.

use std::{
    collections::BTreeMap,
    io::BufRead as _,
    path::Path,
    process::{Child, Stdio},
};

use serde_json::Value;

use super::bench::stoker;

/// `stoker emulate` on a directory.
pub(crate) struct Store {
    child: Child,
    /// Of the whole server, without a slash at its end.
    pub(crate) url: String,
}

impl Store {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// The same, with further arguments.
    pub(crate) fn start_with(folder: &Path, more: &[&str]) -> Self {
        let arguments = ["emulate", "--dir", "store", "--listen", "127.0.0.1:0"];
        let mut child = stoker(folder, &[&arguments[..], more].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.trim().trim_end_matches('/').to_owned();
        assert!(url.starts_with("http://"), "{line}");
        Self { child, url }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything in the store: how often each content is there, with what it refers to.
    pub(super) async fn contents(&self, kinds: &[String]) -> BTreeMap<u128, u32> {
        let client = reqwest::Client::new();
        let mut resources: BTreeMap<String, Value> = BTreeMap::new();
        for kind in kinds {
            let mut next = Some(format!(
                "{}/v1/projects/local/locations/local/datasets/stoker/fhirStores/fhir/fhir/{kind}?_count=1000",
                self.url
            ));
            while let Some(url) = next {
                let page = client.get(&url).send().await.unwrap().text().await.unwrap();
                let page: Value = serde_json::from_str(&page).unwrap();
                assert_eq!(page["resourceType"], "Bundle", "{page}");
                for entry in page["entry"].as_array().into_iter().flatten() {
                    let resource = entry["resource"].clone();
                    let name = format!("{kind}/{}", resource["id"].as_str().unwrap());
                    resources.insert(name, resource);
                }
                let links = page["link"].as_array().into_iter().flatten();
                let mut links = links.filter(|link| link["relation"] == "next");
                next = links
                    .next()
                    .map(|link| link["url"].as_str().unwrap().to_owned());
            }
        }
        colours(resources)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Names every resource by its content and that of what it refers to, some steps away: ids do not matter then.
pub(crate) fn colours(mut resources: BTreeMap<String, Value>) -> BTreeMap<u128, u32> {
    const STEPS: u32 = 4;
    let mut colours: BTreeMap<String, u128> = BTreeMap::new();
    for resource in resources.values_mut() {
        strip(resource);
    }
    for _ in 0..STEPS {
        let next = resources.iter().map(|(name, resource)| {
            let mut resource = resource.clone();
            texts(&mut resource, &mut |text| {
                if let Some((before, at)) = named(text, &resources) {
                    let colour = colours.get(at).copied().unwrap_or_default();
                    *text = format!("{before}{colour:x}");
                }
            });
            (
                name.clone(),
                stoker::plan::hash(resource.to_string().as_bytes()),
            )
        });
        colours = next.collect();
    }
    let mut counts = BTreeMap::new();
    for colour in colours.into_values() {
        *counts.entry(colour).or_default() += 1;
    }
    counts
}

/// The resource that a text names as a whole, or at its end.
fn named<'a>(text: &'a str, resources: &BTreeMap<String, Value>) -> Option<(&'a str, &'a str)> {
    let start = text.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    let (before, name) = text.split_at(start);
    resources.contains_key(name).then_some((before, name))
}

fn strip(resource: &mut Value) {
    let members = resource.as_object_mut().unwrap();
    members.remove("id");
    let Some(meta) = members.get_mut("meta").and_then(Value::as_object_mut) else {
        return;
    };
    for own in ["versionId", "lastUpdated"] {
        meta.remove(own);
    }
    // Runs differ in name.
    if let Some(tags) = meta.get_mut("tag").and_then(Value::as_array_mut) {
        tags.retain(|tag| tag["system"] != "urn:x-stoker:record");
        if tags.is_empty() {
            meta.remove("tag");
        }
    }
    if meta.is_empty() {
        members.remove("meta");
    }
}

fn texts(value: &mut Value, visit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => visit(text),
        Value::Object(members) => members
            .iter_mut()
            .for_each(|(_, member)| texts(member, visit)),
        Value::Array(items) => items.iter_mut().for_each(|item| texts(item, visit)),
        _ => {}
    }
}
