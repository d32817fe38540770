//! A server's answer about the instances of a STOW request, whatever its status: one by one, what is stored and what
//! failed.
//!
//! The answer is read by its own `Content-Type`, also where it is the part of an answer of several parts. Success is an instance that is named as stored; an instance that is
//! named nowhere may be stored or not, and the sender has to ask. Texts of a server may hold patients' data: showing
//! them is left to callers that know whether they may.

mod text;
mod xml;

use std::collections::HashMap;

use serde_json::Value;

pub use self::text::as_utf8;
use super::{
    multipart::boundary_of,
    parts::{PartEvent, PartSplitter},
};

/// The parts of an answer, by tag, as DICOM JSON writes them.
const REFERENCED: &str = "00081199";
const FAILED: &str = "00081198";
const OTHER: &str = "0008119A";
const INSTANCE: &str = "00081155";
const REASON: &str = "00081197";
const WARNING: &str = "00081196";

/// The attributes in which servers write a reason in words: Google in JSON, Google in XML, Azure, and the comment of
/// the network protocol.
const DETAILS: [&str; 4] = ["00091097", "00090097", "00741048", "00000902"];

/// The status of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceStatus {
    /// The instance is stored; with a warning, where one was given.
    Stored(Option<u16>),
    /// The instance is not stored.
    Failed(InstanceFailure),
    /// The answer names it as stored, and as failed: it tells nothing.
    Both(InstanceFailure),
}

/// The reason why an instance is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstanceFailure {
    /// The code of the reason; `None` where the answer has none.
    pub reason: Option<u16>,
    /// The server's own words.
    pub detail: Option<String>,
}

impl InstanceFailure {
    /// Tells whether the server says that it has this instance already. 272 alone does not: it is any failure of processing.
    pub fn is_duplicate(&self) -> bool {
        let says = |detail: &String| detail.to_ascii_lowercase().contains("already exists");
        matches!(self.reason, Some(45070 | 273)) || self.detail.as_ref().is_some_and(says)
    }
}

/// An answer, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreAnswer {
    said: HashMap<String, InstanceStatus>,
    /// Reasons of failures that are tied to no instance.
    pub others: Vec<u16>,
    /// The text of an answer that is no DICOM: the message of a status in JSON, or the body itself.
    pub message: Option<String>,
}

impl StoreAnswer {
    /// Returns what was said of an instance; `None` where it is in neither list.
    pub fn of(&self, instance: &str) -> Option<&InstanceStatus> {
        self.said.get(instance)
    }

    /// Takes what another part of the answer says.
    fn add(&mut self, other: Self) {
        for (instance, status) in other.said {
            let both = match (self.said.remove(&instance), status) {
                (Some(InstanceStatus::Stored(_)), InstanceStatus::Failed(failure))
                | (Some(InstanceStatus::Failed(failure)), InstanceStatus::Stored(_)) => {
                    InstanceStatus::Both(failure)
                }
                (Some(both @ InstanceStatus::Both(_)), _) | (_, both) => both,
            };
            self.said.insert(instance, both);
        }
        self.others.extend(other.others);
        self.message = self.message.take().or(other.message);
    }

    /// Tells whether it says of any instance that it is stored, or failed.
    fn speaks_of_instances(&self) -> bool {
        !self.said.is_empty() || !self.others.is_empty()
    }

    /// Returns how many instances were named.
    pub fn named(&self) -> usize {
        self.said.len()
    }

    /// Tells whether it names others as stored in place of those of `instances` that it does not name: none of them is named,
    /// or there are others enough.
    pub fn stores_others(&self, instances: &[&str]) -> bool {
        let unnamed = instances.iter().filter(|one| self.of(one).is_none());
        let unnamed = unnamed.count();
        let is_stored = |said: &InstanceStatus| !matches!(said, InstanceStatus::Failed(_));
        let others = self
            .said
            .iter()
            .filter(|(instance, said)| is_stored(said) && !instances.contains(&instance.as_str()));
        let others = others.count();
        others > 0 && unnamed > 0 && (unnamed == instances.len() || others >= unnamed)
    }
}

/// The reason why an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The body is not what its `Content-Type` says.
    #[error("the answer is no JSON, though its Content-Type says so")]
    Json,
    /// The same of XML.
    #[error("the answer is no XML, though its Content-Type says so")]
    Xml,
    /// The XML is nested too deeply, or declares what it means by itself.
    #[error("the answer's XML is nested more than {} deep", xml::DEEPEST)]
    Deep,
}

/// Reads an answer. Without a `Content-Type` the first sign of the body tells, and so it does where the body is not what its
/// `Content-Type` says, if it then speaks of instances.
pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<StoreAnswer, Unreadable> {
    let answer = read_as(content_type, body);
    if answer.as_ref().is_ok_and(StoreAnswer::speaks_of_instances) {
        return answer;
    }
    let otherwise = read_as(None, body).ok();
    otherwise
        .filter(StoreAnswer::speaks_of_instances)
        .map_or(answer, Ok)
}

fn read_as(content_type: Option<&str>, body: &[u8]) -> Result<StoreAnswer, Unreadable> {
    let Some(parts) = parts(content_type, body) else {
        return read_one(content_type, body);
    };
    // The parts that speak of instances count; others may hold anything.
    let mut answer = StoreAnswer::default();
    let mut other = None;
    for (head, part) in &parts {
        let read = read_one(content_type_of(head).as_deref(), part);
        match read {
            Ok(read) if read.speaks_of_instances() => answer.add(read),
            read => other = other.or(Some(read)),
        }
    }
    if answer.speaks_of_instances() {
        return Ok(answer);
    }
    other.unwrap_or(Ok(answer))
}

/// The head of a part, and its bytes.
type Part = (Vec<u8>, Vec<u8>);

/// Returns the parts of an answer that has several, or one between boundaries; the first line tells the boundary where its
/// `Content-Type` does not.
fn parts(content_type: Option<&str>, body: &[u8]) -> Option<Vec<Part>> {
    let is_multipart = content_type.is_none_or(|kind| {
        let kind = kind.trim_ascii_start().get(..10);
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"))
    });
    let boundary = content_type.and_then(boundary_of).map(str::to_owned);
    let boundary = boundary
        .or_else(|| first_line(body))
        .filter(|_| is_multipart)?;
    let mut parts: Vec<Part> = Vec::new();
    let mut ended = 0;
    let mut splitter = PartSplitter::new(&boundary);
    let split = splitter.feed(body, &mut |event| match event {
        PartEvent::Begins(head) => parts.push((head.to_vec(), Vec::new())),
        PartEvent::Bytes(bytes) => {
            if let Some((_, part)) = parts.last_mut() {
                part.extend_from_slice(bytes);
            }
        }
        PartEvent::Ends => ended = parts.len(),
    });
    parts.truncate(ended);
    (split.is_ok() && ended > 0).then_some(parts)
}

/// Reads the boundary from the first line of a body.
fn first_line(body: &[u8]) -> Option<String> {
    let rest = body.trim_ascii_start().strip_prefix(b"--")?;
    let end = memchr::memchr(b'\r', rest)?;
    let line = rest
        .get(..end)
        .filter(|line| (1..=70).contains(&line.len()))?;
    std::str::from_utf8(line).ok().map(str::to_owned)
}

/// Returns the `Content-Type` in the head of a part.
fn content_type_of(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_type = name.trim().eq_ignore_ascii_case("content-type");
        is_type.then(|| value.trim().to_owned())
    })
}

fn read_one(content_type: Option<&str>, body: &[u8]) -> Result<StoreAnswer, Unreadable> {
    let kind = content_type.map(|value| {
        let media = value.split(';').next().unwrap_or_default();
        media.trim().to_ascii_lowercase()
    });
    let body = as_utf8(content_type, body);
    let body = body.trim_ascii();
    if body.is_empty() {
        return Ok(StoreAnswer::default());
    }
    match kind.as_deref() {
        Some(kind) if kind.ends_with("json") => json(body),
        Some(kind) if kind.ends_with("xml") => document(body),
        Some("") | None if matches!(body.first(), Some(b'{' | b'[')) => json(body),
        Some("") | None if body.first() == Some(&b'<') => document(body),
        _ => Ok(StoreAnswer {
            message: Some(String::from_utf8_lossy(body).into_owned()),
            ..StoreAnswer::default()
        }),
    }
}

fn json(body: &[u8]) -> Result<StoreAnswer, Unreadable> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Unreadable::Json)?;
    // Some servers put the one data set into an array, as QIDO does.
    let sets = match &value {
        Value::Array(sets) => sets.as_slice(),
        other => std::slice::from_ref(other),
    };
    let mut answer = StoreAnswer::default();
    for set in sets {
        take(set, &mut answer);
        if let Some(message) = message(set) {
            answer.message.get_or_insert(message);
        }
    }
    Ok(answer)
}

fn document(body: &[u8]) -> Result<StoreAnswer, Unreadable> {
    let set = xml::read(body)?;
    let mut answer = StoreAnswer::default();
    take(&set, &mut answer);
    Ok(answer)
}

/// The message of a google.rpc.Status, or of another server's error.
fn message(value: &Value) -> Option<String> {
    let inner = value.get("error").unwrap_or(value);
    let keys = ["message", "Message"];
    let text = keys.iter().find_map(|key| inner.get(key)?.as_str());
    text.map(str::to_owned)
}

fn take(set: &Value, answer: &mut StoreAnswer) {
    for item in items(set, REFERENCED) {
        if let Some(instance) = text(item, INSTANCE) {
            let warning = number(item, WARNING);
            answer
                .said
                .insert(instance, InstanceStatus::Stored(warning));
        }
    }
    for item in items(set, FAILED) {
        let failure = InstanceFailure {
            reason: number(item, REASON),
            detail: DETAILS.iter().find_map(|tag| text(item, tag)),
        };
        if let Some(instance) = text(item, INSTANCE) {
            let status = match answer.said.get(&instance) {
                Some(InstanceStatus::Stored(_)) => InstanceStatus::Both(failure),
                Some(_) => continue,
                None => InstanceStatus::Failed(failure),
            };
            answer.said.insert(instance, status);
        } else {
            answer.others.extend(failure.reason);
        }
    }
    let others = items(set, OTHER).filter_map(|item| number(item, REASON));
    answer.others.extend(others);
}

fn values<'a>(set: &'a Value, tag: &str) -> &'a [Value] {
    let found = set.get(tag).or_else(|| set.get(tag.to_ascii_lowercase()));
    let values = found.and_then(|element| element.get("Value")?.as_array());
    values.map(Vec::as_slice).unwrap_or_default()
}

fn items<'a>(set: &'a Value, tag: &str) -> impl Iterator<Item = &'a Value> {
    values(set, tag).iter()
}

fn text(set: &Value, tag: &str) -> Option<String> {
    let text = values(set, tag).first()?.as_str()?;
    let text = text.trim_matches(|sign: char| sign == '\0' || sign.is_whitespace());
    (!text.is_empty()).then(|| text.to_owned())
}

/// Numbers are written as numbers or as texts.
fn number(set: &Value, tag: &str) -> Option<u16> {
    match values(set, tag).first()? {
        Value::String(text) => text.trim().parse().ok(),
        other => u16::try_from(other.as_u64()?).ok(),
    }
}

/// Says in words what the code of a failure or a warning means.
pub fn words(code: u16) -> &'static str {
    match code {
        0x0110 => "processing failure",
        0x0111 => "duplicate SOP instance",
        0x0122 => "SOP class not supported",
        0x0124 => "not authorized",
        0xA700..=0xA7FF => "out of resources",
        0xA900..=0xA9FF => "data set does not match its SOP class",
        45070 => "instance exists already",
        45071 => "instance is being stored by another request",
        0xB000 => "attributes were coerced",
        0xB006 => "elements were discarded",
        0xB007 => "data set does not match its SOP class; stored",
        0xC122 => "transfer syntax not supported",
        0xC000..=0xCFFF => "cannot understand",
        _ => "no reason known by this code",
    }
}

#[cfg(test)]
mod tests;
