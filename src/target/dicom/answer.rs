//! Reads the answers of DICOMweb stores, instance by instance, whatever their status is.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};

use super::instance;
use crate::{
    dicom::{
        answer::{self, InstanceFailure, Unreadable, words},
        compare,
        describe::describe,
        header as part10, is_modality,
        multipart::only_part,
    },
    record::{Outcome, Step},
    target::{Accepted, Answer, Difference, Little, Refusal, Said},
};

/// The note on an instance that the store says it has already: the store's bytes were not compared.
const EXISTS: &str =
    "the store already holds an instance of these UIDs; its bytes were not compared";

/// Said of an instance that an answer does not name, where it names others as stored.
const OTHERS: &str = "the store says that it stored instances under other UIDs than were sent";

/// Reads an answer to a STOW request by its own `Content-Type`.
pub(super) fn read(response: &Response<Bytes>) -> Result<answer::StoreAnswer, Unreadable> {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    answer::read(content_type, response.body())
}

/// Reads the answer about each instance; none for one that the answer does not name, or of which it does not tell because
/// another one was sent under the same SOP Instance UID.
pub(super) fn each(
    steps: &[Step],
    read: &answer::StoreAnswer,
    status: StatusCode,
) -> Vec<Option<Answer>> {
    let sent: Vec<&str> = steps.iter().map(instance).collect();
    let stores_others = read.stores_others(&sent);
    let mut times: HashMap<&str, u32> = HashMap::new();
    for instance in &sent {
        *times.entry(instance).or_default() += 1;
    }
    let said = sent.iter().map(|&instance| match read.of(instance) {
        Some(_) if times.get(instance) != Some(&1) => None,
        Some(said) => Some(one(said, &read.others, status)),
        None => stores_others.then_some(Answer {
            status: 200,
            said: Said::Little(Little::Elsewhere(OTHERS)),
            outcome: None,
        }),
    });
    said.collect()
}

/// Reads an answer that names no instance and refuses the only one: where its status is 409 and its body gives no reason, the store
/// may have it already.
pub(super) fn conflict(response: &Response<Bytes>) -> Option<Answer> {
    let is_unsaid = read(response).map_or(true, |read| read.others.is_empty());
    (response.status() == StatusCode::CONFLICT && is_unsaid).then(|| Answer {
        status: response.status().as_u16(),
        said: Said::Little(Little::Conflict),
        outcome: Some(String::from_utf8_lossy(response.body()).into_owned()),
    })
}

fn one(said: &answer::InstanceStatus, others: &[u16], status: StatusCode) -> Answer {
    let taken = |accepted| Answer {
        status: 200,
        said: Said::Taken(accepted),
        outcome: None,
    };
    match said {
        answer::InstanceStatus::Stored(warning) => taken(Accepted {
            outcome: Some(Outcome::Created),
            note: warning.map(warned),
            ..Accepted::default()
        }),
        answer::InstanceStatus::Failed(failure) if failure.is_duplicate() => taken(Accepted {
            outcome: Some(Outcome::Matched),
            note: Some(EXISTS),
            ..Accepted::default()
        }),
        // 201 speaks against words of failure: the store is asked.
        answer::InstanceStatus::Both(failure) => Answer {
            status: 201,
            said: Said::Refused,
            outcome: Some(told(failure, others)),
        },
        answer::InstanceStatus::Failed(failure) => Answer {
            status: status_of(failure, status),
            said: Said::Refused,
            outcome: Some(told(failure, others)),
        },
    }
}

/// Returns the meaning of a warning about a stored instance (PS3.18, table 10.5.3-2).
fn warned(code: u16) -> &'static str {
    match code {
        0xB000 => "stored; the store coerced attributes",
        0xB006 => "stored; the store discarded elements",
        0xB007 => "stored; the data set does not match its SOP class",
        _ => "stored, with a warning",
    }
}

/// Returns the status that the reason of a failure stands for: what may pass by itself is tried again.
fn status_of(failure: &InstanceFailure, status: StatusCode) -> u16 {
    match failure.reason {
        // Out of resources; another request stores the same instance.
        Some(0xA700..=0xA7FF | 45071) => 503,
        _ if status.is_client_error() => status.as_u16(),
        // A request that is answered with success has failed for this one all the same.
        _ => 409,
    }
}

/// Writes a failure as a store does, for one instance, with the failures that it ties to none.
fn told(failure: &InstanceFailure, others: &[u16]) -> String {
    let mut item = json!({});
    if let Some(reason) = failure.reason {
        item["00081197"] = json!({ "vr": "US", "Value": [reason] });
    }
    if let Some(detail) = &failure.detail {
        item["00091097"] = json!({ "vr": "LO", "Value": [detail] });
    }
    let mut told = json!({ "00081198": { "vr": "SQ", "Value": [item] } });
    if !others.is_empty() {
        let of = |reason: &u16| json!({ "00081197": { "vr": "US", "Value": [reason] } });
        let items: Vec<Value> = others.iter().map(of).collect();
        told["0008119A"] = json!({ "vr": "SQ", "Value": items });
    }
    told.to_string()
}

/// Reads a refusal: the reason of the first failure, or the status of the Healthcare API.
pub(super) fn refusal(body: &[u8]) -> Refusal {
    let (others, message) = match answer::read(None, body) {
        Ok(read) => (read.others, read.message),
        Err(_) => (Vec::new(), Some(String::from_utf8_lossy(body).into_owned())),
    };
    let value: Option<Value> = serde_json::from_slice(&answer::as_utf8(None, body)).ok();
    let item = value.as_ref().map(|value| &value["00081198"]["Value"][0]);
    let detail = item.and_then(|item| item["00091097"]["Value"][0].as_str());
    let reason = others.first();
    let status = value
        .as_ref()
        .and_then(|value| value["error"]["status"].as_str())
        .filter(|word| word.bytes().all(|c| c.is_ascii_uppercase() || c == b'_'));
    let text = [detail, message.as_deref()];
    Refusal {
        // The numbers are those of the standard's table, in the digits in which it writes them.
        code: match reason {
            Some(&reason) => Some(format!("{} ({reason:04X}H)", words(reason))),
            None => status.map(str::to_owned),
        },
        text: text.into_iter().flatten().collect::<Vec<_>>().join("\n"),
        ..Refusal::default()
    }
}

/// Reads the name of an instance from its metadata: a list with one data set.
pub(super) fn name(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(&answer::as_utf8(None, body)).ok()?;
    let set = match &value {
        Value::Array(sets) => sets.first()?,
        set => set,
    };
    let uid = |tag: &str| {
        let uid = set[tag]["Value"][0].as_str()?;
        let uid = uid.trim_end_matches(['\0', ' ']);
        (!uid.is_empty()).then(|| uid.to_owned())
    };
    let (study, series, instance) = (uid("0020000D")?, uid("0020000E")?, uid("00080018")?);
    Some(format!(
        "studies/{study}/series/{series}/instances/{instance}"
    ))
}

/// Tells whether an answer in which metadata stand has none.
pub(super) fn is_empty_list(body: &[u8]) -> bool {
    let text = answer::as_utf8(None, body);
    let sets = serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(&text);
    text.trim_ascii().is_empty() || sets.is_ok_and(|sets| sets.is_empty())
}

/// Reads the names of instances on a page of a search, with their modality where it stands there; a store that has no more says so
/// without a word.
pub(super) fn names(answer: &Response<Bytes>) -> Option<Vec<(String, Option<String>)>> {
    let body = answer.body();
    if answer.status() == StatusCode::NO_CONTENT || body.trim_ascii().is_empty() {
        return Some(Vec::new());
    }
    let sets: Vec<Value> = serde_json::from_slice(&answer::as_utf8(None, body)).ok()?;
    sets.iter()
        .map(|set| {
            let modality = set["00080060"]["Value"][0].as_str().map(str::trim);
            let modality = modality.filter(|modality| is_modality(modality));
            let name = name(set.to_string().as_bytes())?;
            Some((name, modality.map(str::to_owned)))
        })
        .collect()
}

/// Returns where an instance is not what was sent: its bytes as a whole, or its data set, where a store writes a meta group of its
/// own before it.
pub(super) fn differences(
    ours: &[u8],
    answer: &Response<Bytes>,
) -> Result<Vec<Difference>, &'static str> {
    let content_type = answer.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let theirs = content_type
        .and_then(|content_type| only_part(content_type, answer.body()))
        .ok_or("the store's answer holds no instance")?;
    if ours == theirs {
        return Ok(Vec::new());
    }
    let data_set = |bytes: &[u8]| {
        let header = part10::read(bytes).ok()?.ok()?;
        let begins = usize::try_from(header.begins).ok()?;
        let set = bytes.get(begins..)?.to_vec();
        Some((header, set))
    };
    let (Some((our_header, ours)), Some((header, theirs))) = (data_set(ours), data_set(theirs))
    else {
        return Ok(vec![Difference::of_bytes()]);
    };
    if our_header.instance != header.instance {
        return Err("the store answered with another instance");
    }
    if our_header.transfer_syntax != header.transfer_syntax {
        return Ok(vec![Difference {
            path: "TransferSyntaxUID".to_owned(),
            ours: Some(our_header.transfer_syntax),
            theirs: Some(header.transfer_syntax),
        }]);
    }
    if ours == theirs {
        return Ok(Vec::new());
    }
    let (one, other) = (describe(&*ours, &our_header), describe(&*theirs, &header));
    let elements = compare::differing(&one, &other).into_iter();
    let mut found: Vec<Difference> = elements.map(Difference::of_element).collect();
    found.truncate(Difference::MOST);
    if found.is_empty() {
        found.push(Difference::of_bytes());
    }
    Ok(found)
}

/// Makes the answer of a store that takes all instances.
pub(super) fn all_stored(instances: &[String]) -> Bytes {
    let items: Vec<Value> = instances
        .iter()
        .map(|instance| json!({ "00081155": { "vr": "UI", "Value": [instance] } }))
        .collect();
    Bytes::from(json!({ "00081199": { "vr": "SQ", "Value": items } }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_words_of_its_reason_and_keeps_the_stores_own_apart() {
        let failure = InstanceFailure {
            reason: Some(0xC000),
            detail: Some("Rivera^Ana".to_owned()),
        };
        let refusal = refusal(told(&failure, &[0xA700]).as_bytes());
        assert_eq!(refusal.code.as_deref(), Some("cannot understand (C000H)"));
        assert_eq!(refusal.text, "Rivera^Ana");
        let google =
            br#"{"error":{"code":403,"message":"who is Ana","status":"PERMISSION_DENIED"}}"#;
        let refusal = super::refusal(google);
        assert_eq!(refusal.code.as_deref(), Some("PERMISSION_DENIED"));
        assert_eq!(refusal.text, "who is Ana");
        assert_eq!(super::refusal(b"<html>no</html>").code, None);
        assert_eq!(super::refusal(b"").code, None);
    }

    #[test]
    fn failures_are_told_by_what_may_pass() {
        let status = |reason, answered: u16| {
            let failure = InstanceFailure {
                reason: Some(reason),
                detail: None,
            };
            status_of(&failure, StatusCode::from_u16(answered).unwrap())
        };
        assert_eq!(status(0xA700, 200), 503);
        assert_eq!(status(45071, 409), 503);
        assert_eq!(status(0x0110, 202), 409);
        assert_eq!(status(0xC000, 400), 400);
    }

    #[test]
    fn metadata_name_their_instance() {
        let set = json!({
            "0020000D": { "vr": "UI", "Value": ["1.2"] },
            "0020000E": { "vr": "UI", "Value": ["1.3\0"] },
            "00080018": { "vr": "UI", "Value": ["1.4"] },
        });
        let expected = Some("studies/1.2/series/1.3/instances/1.4".to_owned());
        assert_eq!(name(json!([set]).to_string().as_bytes()), expected);
        assert_eq!(name(set.to_string().as_bytes()), expected);
        for (body, is_empty) in [("", true), (" [ ] ", true), ("[{}]", false), ("{}", false)] {
            assert_eq!(is_empty_list(body.as_bytes()), is_empty, "{body}");
        }
        for none in ["[]", "{}", "[{\"00080018\":{}}]", "<html>", ""] {
            assert_eq!(name(none.as_bytes()), None, "{none}");
        }
    }
}
