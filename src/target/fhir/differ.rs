//! Differences between a store's copy of a resource and its source.
//!
//! Compares them as two texts of JSON, numbers by their digits. Changes that stores make of themselves are no
//! difference: ids that they give, `meta.versionId` and its like, what their rules add to `meta`, references to their
//! own resources with their base, a narrative where there was none.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::TAG_SYSTEM;
use crate::target::Difference;

/// Members of `meta` that the server writes itself.
const OWN: [&str; 3] = ["versionId", "lastUpdated", "source"];

/// Returns where two resources differ; none where one of them is none. The `base` is that of the store.
pub(super) fn differences(
    kind: &str,
    ours: &[u8],
    theirs: &[u8],
    base: &str,
) -> Option<Vec<Difference>> {
    let (mut ours, mut theirs) = (resource(ours)?, resource(theirs)?);
    let meta = (ours.remove("meta"), theirs.remove("meta"));
    if !ours.contains_key("text") {
        theirs.remove("text");
    }
    let mut walk = Walk {
        base,
        path: kind.to_owned(),
        found: Vec::new(),
    };
    walk.objects(&ours, &theirs);
    if let (Some(Value::Object(ours)), theirs) = meta {
        let theirs = theirs.unwrap_or(Value::Null);
        for (name, value) in &ours {
            let is_there = value.is_null() || holds(&theirs[name.as_str()], value);
            if !OWN.contains(&name.as_str()) && !is_there {
                walk.path = format!("{kind}.meta.{}", shown(name));
                walk.note(Some(value), theirs.get(name));
            }
        }
    }
    Some(walk.found)
}

fn resource(json: &[u8]) -> Option<Map<String, Value>> {
    let mut resource: Map<String, Value> = serde_json::from_slice(json).ok()?;
    resource.get("resourceType")?;
    resource.remove("id");
    // The tags by which a run marks its records are its own business.
    if let Some(Value::Array(tags)) = resource
        .get_mut("meta")
        .and_then(|meta| meta.get_mut("tag"))
    {
        tags.retain(|tag| tag["system"] != TAG_SYSTEM);
    }
    Some(resource)
}

/// Tells whether a value holds all that another does: of lists every element, of objects every member.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Array(whole), Value::Array(part)) => part
            .iter()
            .all(|element| whole.iter().any(|other| holds(other, element))),
        (_, Value::Array(part)) => part.is_empty(),
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, value)| whole.get(name).is_some_and(|other| holds(other, value))),
        (whole, part) => whole == part,
    }
}

/// A name that could be one of FHIR's, which begin with a small letter: what a store holds may have any words there.
fn shown(name: &str) -> &str {
    let bare = name.strip_prefix('_').unwrap_or(name);
    let is_begun = bare.starts_with(|c: char| c.is_ascii_lowercase());
    if is_begun && name.len() <= 64 && bare.chars().all(|c| c.is_ascii_alphanumeric()) {
        name
    } else {
        "?"
    }
}

struct Walk<'a> {
    base: &'a str,
    path: String,
    found: Vec<Difference>,
}

impl Walk<'_> {
    fn note(&mut self, ours: Option<&Value>, theirs: Option<&Value>) {
        if self.found.len() < Difference::MOST {
            self.found.push(Difference {
                path: self.path.clone(),
                ours: ours.map(Value::to_string),
                theirs: theirs.map(Value::to_string),
            });
        }
    }

    fn objects(&mut self, ours: &Map<String, Value>, theirs: &Map<String, Value>) {
        let more = theirs.keys().filter(|name| !ours.contains_key(*name));
        for name in ours.keys().chain(more) {
            let length = self.path.len();
            self.path.push('.');
            self.path.push_str(shown(name));
            let (one, other) = (ours.get(name), theirs.get(name));
            let is_same_name = name == "reference" && self.is_same_reference(one, other);
            if !is_same_name {
                self.values(one, other);
            }
            self.path.truncate(length);
        }
    }

    fn values(&mut self, ours: Option<&Value>, theirs: Option<&Value>) {
        match (ours, theirs) {
            (Some(Value::Object(ours)), Some(Value::Object(theirs))) => self.objects(ours, theirs),
            (Some(Value::Array(ours)), Some(Value::Array(theirs))) => {
                for at in 0..ours.len().max(theirs.len()) {
                    let length = self.path.len();
                    // Writing to a string cannot fail.
                    let _ = write!(self.path, "[{at}]");
                    self.values(ours.get(at), theirs.get(at));
                    self.path.truncate(length);
                }
            }
            (ours, theirs) if ours == theirs => {}
            (ours, theirs) => self.note(ours, theirs),
        }
    }

    fn is_same_reference(&self, ours: Option<&Value>, theirs: Option<&Value>) -> bool {
        let relative = |value: Option<&Value>| {
            let text = value?.as_str()?;
            Some(text.strip_prefix(self.base).unwrap_or(text).to_owned())
        };
        relative(ours).is_some() && relative(ours) == relative(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(ours: &str, theirs: &str) -> Vec<String> {
        let base = "https://a.example/fhir/";
        let found = differences("Observation", ours.as_bytes(), theirs.as_bytes(), base);
        found.unwrap().into_iter().map(|d| d.path).collect()
    }

    const OURS: &str = r#"{"resourceType":"Observation","id":"a","meta":{"profile":["p"]},"subject":{"reference":"Patient/1"},"valueQuantity":{"value":1.00},"note":[{"text":"x"},{"text":"y"}]}"#;

    #[test]
    fn what_a_store_does_of_itself_is_no_difference() {
        let theirs = r#"{"id":"7","resourceType":"Observation","text":{"status":"generated"},"meta":{"versionId":"3","lastUpdated":"x","profile":["q","p"],"tag":[{"system":"urn:x-stoker:record","code":"r"}]},"subject":{"reference":"https://a.example/fhir/Patient/1"},"valueQuantity":{"value":1.00},"note":[{"text":"x"},{"text":"y"}]}"#;
        assert!(paths(OURS, theirs).is_empty());
    }

    #[test]
    fn every_difference_has_its_path() {
        for (from, to, path) in [
            ("1.00", "1.0", "Observation.valueQuantity.value"),
            ("Patient/1", "Patient/2", "Observation.subject.reference"),
            (r#",{"text":"y"}"#, "", "Observation.note[1]"),
            (
                r#""text":"y""#,
                r#""text":"y","time":"t""#,
                "Observation.note[1].time",
            ),
            (r#"["p"]"#, r#"["q"]"#, "Observation.meta.profile"),
            (r#""id":"a","#, r#""id":"a","a b":1,"#, "Observation.?"),
            (
                r#""id":"a","#,
                r#""id":"a","Lindqvist":1,"#,
                "Observation.?",
            ),
            (r#""id":"a","#, r#""id":"a","19440113":1,"#, "Observation.?"),
            (
                r#""id":"a","#,
                r#""id":"a","_status":{},"#,
                "Observation._status",
            ),
        ] {
            let theirs = OURS.replace(from, to);
            assert_eq!(paths(OURS, &theirs), [path]);
        }
        assert!(differences("Patient", OURS.as_bytes(), b"<html>", "").is_none());
    }
}
