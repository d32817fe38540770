//! Generated documents: resources whose meaning is known, written as messily as JSON allows.

use std::fmt::Write as _;

use rand::{RngExt, rngs::SmallRng};
use serde_json::{Map, Value, json};

/// The system by whose values the test knows the records again.
pub(super) const MARKER: &str = "urn:marker";

/// A record and what it refers to.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) kind: &'static str,
    pub(super) id: Option<String>,
    pub(super) full_url: String,
    /// The resource with `@n` in the place of references to the n-th record.
    pub(super) meant: Value,
}

/// Which forms the documents take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// A file for each resource.
    Files,
    /// A line for each resource.
    Lines,
    /// A Bundle of this type.
    Bundle(&'static str),
}

/// Makes records. They refer to earlier ones only, unless `cycles` may arise.
pub(super) fn records(random: &mut SmallRng, ids: bool, cycles: bool) -> Vec<Record> {
    let count = random.random_range(1..7);
    (0..count)
        .map(|number| {
            let kind =
                ["Patient", "Observation", "Basic", "Organization"][random.random_range(0..4)];
            let id = (ids || random.random_bool(0.5)).then(|| format!("file-{number}"));
            let full_url = match (&id, random.random_bool(0.5)) {
                (Some(id), true) => format!("https://source.example/fhir/{kind}/{id}"),
                _ => format!("urn:uuid:11111111-2222-4333-8444-{number:012x}"),
            };
            let reach = if cycles { count } else { number };
            Record {
                kind,
                meant: meaning(random, kind, number, id.as_deref(), reach),
                id,
                full_url,
            }
        })
        .collect()
}

fn meaning(
    random: &mut SmallRng,
    kind: &str,
    number: usize,
    id: Option<&str>,
    reach: usize,
) -> Value {
    let mut resource = Map::new();
    resource.insert("resourceType".into(), json!(kind));
    if let Some(id) = id {
        resource.insert("id".into(), json!(id));
    }
    let marker = json!({"system": MARKER, "value": number.to_string()});
    resource.insert("identifier".into(), json!([marker]));
    let old = json!({"system": "urn:old", "code": "é\"\\/"});
    let meta = match random.random_range(0..6) {
        0 => Some(json!({})),
        1 => Some(json!({"tag": []})),
        2 => Some(json!({"tag": [old], "profile": ["urn:p"]})),
        3 => {
            Some(json!({"profile": ["urn:p"], "extension": [{"url": "urn:e", "valueCode": "tag"}]}))
        }
        4 if reach > 0 => {
            let to = format!("@{}", random.random_range(0..reach));
            Some(json!({"extension": [{"url": "urn:r", "valueReference": {"reference": to}}]}))
        }
        _ => None,
    };
    if let Some(meta) = meta {
        resource.insert("meta".into(), meta);
    }
    // What only looks like the places where something is put in.
    if random.random_bool(0.5) {
        resource.insert(
            "contact".into(),
            json!([{"id": "inner", "meta": {"tag": [{"code": "inner"}]}, "name": {"text": "a\tb \u{1F600}"}}]),
        );
    }
    if random.random_bool(0.4) {
        let mut inner = json!({"resourceType": "Organization", "id": "c1", "meta": {"tag": []}});
        if reach > 0 && random.random_bool(0.5) {
            inner["partOf"] = json!({"reference": format!("@{}", random.random_range(0..reach))});
        }
        resource.insert("contained".into(), json!([inner]));
        resource.insert("managingOrganization".into(), json!({"reference": "#c1"}));
    }
    let mut extensions = Vec::new();
    for _ in 0..random.random_range(0..4) {
        extensions.push(match random.random_range(0..4) {
            0 => json!({"url": "urn:d", "valueDecimal": decimal(random)}),
            1 => json!({"url": "urn:s", "valueString": "Patient/file-0"}),
            _ if reach > 0 => {
                let to = format!("@{}", random.random_range(0..reach));
                json!({"url": "urn:r", "valueReference": {"reference": to, "display": "x"}})
            }
            _ => json!({"url": "urn:r", "valueReference": {"reference": "https://other.example/fhir/Patient/z"}}),
        });
    }
    if !extensions.is_empty() {
        resource.insert("extension".into(), Value::Array(extensions));
    }
    Value::Object(resource)
}

fn decimal(random: &mut SmallRng) -> Value {
    let texts = ["1.00", "-0.50", "66.899999999999991", "2E+3", "0", "120.10"];
    serde_json::from_str(texts[random.random_range(0..texts.len())]).unwrap()
}

/// Puts names in the place of `@n`.
pub(super) fn with_names(value: &Value, name: &mut dyn FnMut(usize) -> String) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(key, member)| (key.clone(), with_names(member, name)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| with_names(item, name)).collect(),
        Value::String(text) => match text.strip_prefix('@') {
            Some(number) => name(number.parse().unwrap()).into(),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

/// How a document can name a record of the same document, or of another one.
pub(super) fn name_of(random: &mut SmallRng, record: &Record, is_same_bundle: bool) -> String {
    let mut names = Vec::new();
    if is_same_bundle {
        names.push(record.full_url.clone());
    }
    if let Some(id) = &record.id {
        names.push(format!("{}/{id}", record.kind));
        names.push(format!("{}/{id}/_history/3", record.kind));
    }
    names[random.random_range(0..names.len())].clone()
}

/// Writes a value with its members in any order, any white space, and any escapes; on one line if asked to.
pub(super) fn messy(random: &mut SmallRng, value: &Value, one_line: bool) -> String {
    let mut out = String::new();
    write(random, value, one_line, &mut out);
    out
}

fn blank(random: &mut SmallRng, one_line: bool, out: &mut String) {
    if random.random_bool(0.3) {
        let blanks = [" ", "\t", "  ", "\n ", "\r\n"];
        let usable = if one_line { 3 } else { blanks.len() };
        out.push_str(blanks[random.random_range(0..usable)]);
    }
}

fn write(random: &mut SmallRng, value: &Value, one_line: bool, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut left: Vec<_> = members.iter().collect();
            out.push('{');
            let mut is_first = true;
            while !left.is_empty() {
                let (name, member) = left.swap_remove(random.random_range(0..left.len()));
                if !std::mem::take(&mut is_first) {
                    out.push(',');
                }
                blank(random, one_line, out);
                text(random, name, false, out);
                blank(random, one_line, out);
                out.push(':');
                blank(random, one_line, out);
                write(random, member, one_line, out);
                blank(random, one_line, out);
            }
            blank(random, one_line, out);
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                blank(random, one_line, out);
                write(random, item, one_line, out);
                blank(random, one_line, out);
            }
            out.push(']');
        }
        Value::String(string) => text(random, string, true, out),
        other => out.push_str(&other.to_string()),
    }
}

/// Writes a string; some characters as escapes that mean the same.
fn text(random: &mut SmallRng, text: &str, escapes: bool, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '/' if escapes && random.random_bool(0.2) => out.push_str("\\/"),
            '\t' => out.push_str("\\t"),
            _ if escapes && random.random_bool(0.03) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").unwrap();
                }
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}
