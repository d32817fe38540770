//! Reads the answers of HL7v2 stores: the message that was stored, and the acknowledgement, which decides.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Response;
use serde::Deserialize;

use crate::{
    fhir::outcome,
    hl7v2::ack::{Ack, Code},
    record::{Outcome, Step},
    target::{Accepted, Answer, Arrival, Difference, Little, Refusal, Said},
};

/// `messages.ingest` answers with both, `messages.create` with the message itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    name: Option<String>,
    message: Option<Message>,
    hl7_ack: Option<String>,
    create_time: Option<jiff::Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    name: Option<String>,
    create_time: Option<jiff::Timestamp>,
}

/// The error of the Healthcare API, with the acknowledgement of a message that was refused.
#[derive(Deserialize)]
struct Failed {
    error: Failure,
}

#[derive(Deserialize)]
struct Failure {
    status: Option<String>,
    #[serde(default)]
    details: Vec<serde_json::Value>,
}

/// Returns the last segment of a message's resource name.
fn last(name: &str) -> Option<String> {
    let (_, id) = name.rsplit_once("messages/")?;
    (!id.is_empty()).then(|| id.to_owned())
}

/// Reads the id of a message that was read, or stored.
pub(super) fn id(body: &[u8]) -> Option<String> {
    let body: Body = serde_json::from_slice(body).ok()?;
    let message = body.message.and_then(|message| message.name);
    last(&message.or(body.name)?)
}

#[derive(Deserialize)]
struct Raw {
    data: String,
}

/// Reads the bytes of a message.
pub(super) fn bytes(body: &[u8]) -> Option<Vec<u8>> {
    let raw: Raw = serde_json::from_slice(body).ok()?;
    STANDARD.decode(raw.data).ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default, rename = "hl7V2Messages")]
    hl7_v2_messages: Vec<Message>,
    next_page_token: Option<String>,
}

/// Reads the ids of messages on a page, and the token of the next one.
pub(super) fn page(body: &[u8]) -> Option<(Vec<String>, Option<String>)> {
    let page: Page = serde_json::from_slice(body).ok()?;
    let names = page.hl7_v2_messages.into_iter().map(|message| message.name);
    let ids: Option<Vec<String>> = names.map(|name| last(&name?)).collect();
    Some((ids?, page.next_page_token.filter(|token| !token.is_empty())))
}

/// Returns which segments of a message differ: by their place and name, which are no content.
pub(super) fn differences(ours: &[u8], theirs: &[u8]) -> Vec<Difference> {
    if ours == theirs {
        return Vec::new();
    }
    let segments = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(bytes);
        text.split('\r').map(str::to_owned).collect()
    };
    let (ours, theirs) = (segments(ours), segments(theirs));
    let mut found = Vec::new();
    for at in 0..ours.len().max(theirs.len()) {
        let (one, other) = (ours.get(at), theirs.get(at));
        if one == other || found.len() == Difference::MOST {
            continue;
        }
        let name = one.or(other).and_then(|segment| segment.get(..3));
        let is_name = |name: &&str| name.bytes().all(|c| c.is_ascii_alphanumeric());
        found.push(Difference {
            path: format!("{}[{at}]", name.filter(is_name).unwrap_or("segment")),
            ours: one.cloned(),
            theirs: other.cloned(),
        });
    }
    if found.is_empty() {
        found.push(Difference::of_bytes());
    }
    found
}

/// Reads an answer with a status of success.
pub(super) fn taken(step: &Step, answer: &Response<Bytes>) -> Answer {
    let status = answer.status().as_u16();
    let said = |said, outcome| Answer {
        status,
        said,
        outcome,
    };
    let Ok(body) = serde_json::from_slice::<Body>(answer.body()) else {
        let little = if answer.body().trim_ascii_start().starts_with(b"<") {
            Little::Page
        } else if answer.body().trim_ascii().is_empty() {
            Little::Bare
        } else {
            Little::Text
        };
        return said(Said::Little(little), None);
    };
    if let Some(ack) = &body.hl7_ack {
        let decoded = STANDARD.decode(ack).unwrap_or_default();
        match Ack::parse(&decoded).map(|ack| ack.code) {
            Ok(code) if code.is_taken() => {}
            Ok(_) => {
                let words = String::from_utf8_lossy(answer.body()).into_owned();
                return said(Said::Refused, Some(words));
            }
            // The message is stored all the same, if the answer names it.
            Err(_) if body.message.is_none() => return said(Said::Little(Little::Text), None),
            Err(_) => {}
        }
    }
    let (name, created) = match body.message {
        Some(message) => (message.name, message.create_time),
        None => (body.name, body.create_time),
    };
    let Some(id) = name.as_deref().and_then(last) else {
        return said(Said::Little(Little::Text), None);
    };
    // Equal bytes have one name: what was there before is answered as it is.
    let is_old = is_older(answer, created);
    let accepted = Accepted {
        by_kind: false,
        outcome: Some(if is_old {
            Outcome::Unchanged
        } else {
            Outcome::Created
        }),
        note: match (is_old, step.id.as_ref() == Some(&id)) {
            (true, _) => Some("the store already holds this message"),
            (false, false) => Some("the store names it otherwise than by the digest of its bytes"),
            (false, true) => None,
        },
        id: Some(id),
        version: None,
    };
    said(Said::Taken(accepted), None)
}

/// Tells whether a message that was read was stored before `since`, a time of our clock.
pub(super) fn is_from_before(answer: &Response<Bytes>, since: jiff::Timestamp) -> bool {
    let created = serde_json::from_slice::<Body>(answer.body()).ok();
    let created = created.and_then(|body| body.create_time);
    let (Some(created), Some(date), Some(arrival)) = (created, date(answer), Arrival::of(answer))
    else {
        return false;
    };
    // `Date` is cut to whole seconds, and the answer was made before it came: by how much the server's clock is ahead of ours is
    // not taken for more than it is.
    created.duration_since(since) < date.duration_since(arrival.at)
}

fn date(answer: &Response<Bytes>) -> Option<jiff::Timestamp> {
    let date = answer.headers().get(http::header::DATE)?;
    let date = httpdate::parse_http_date(date.to_str().ok()?).ok()?;
    jiff::Timestamp::try_from(date).ok()
}

/// Tells whether a message was stored before the request that this answers was sent, by the server's own clock.
fn is_older(answer: &Response<Bytes>, created: Option<jiff::Timestamp>) -> bool {
    /// `Date` may be another machine's clock than the store's.
    const GRANTED: jiff::SignedDuration = jiff::SignedDuration::from_secs(3);
    // A slow store may have stored it as soon as it was asked to.
    let took = Arrival::of(answer).map_or(Duration::ZERO, |arrival| arrival.took);
    match (date(answer), created) {
        (Some(date), Some(created)) => {
            let took = took.try_into().unwrap_or(jiff::SignedDuration::MAX);
            date.duration_since(created) > GRANTED.saturating_add(took)
        }
        _ => false,
    }
}

/// Reads the refusal of a message that the store holds already: equal bytes have one name.
pub(super) fn is_there(answer: &Response<Bytes>) -> Option<Answer> {
    if answer.status() != http::StatusCode::CONFLICT {
        return None;
    }
    let failed: Failed = serde_json::from_slice(answer.body()).ok()?;
    (failed.error.status.as_deref() == Some("ALREADY_EXISTS")).then(|| Answer {
        status: 200,
        said: Said::Taken(Accepted {
            outcome: Some(Outcome::Unchanged),
            note: Some("the store already holds this message"),
            ..Accepted::default()
        }),
        outcome: None,
    })
}

/// Reads a refusal: the code of the acknowledgement, and where ERR points to.
pub(super) fn refusal(answer: &[u8]) -> Refusal {
    let problem = outcome::read(answer);
    let refusal = Refusal {
        code: problem.code,
        text: problem.text,
        ..Refusal::default()
    };
    let Some(ack) = acknowledgement(answer) else {
        return refusal;
    };
    let Ok(ack) = Ack::parse(&ack) else {
        return refusal;
    };
    of_ack(&ack, refusal)
}

/// Adds what an acknowledgement says to a refusal.
pub(in crate::target) fn of_ack(ack: &Ack<'_>, mut refusal: Refusal) -> Refusal {
    let error = ack.errors.first();
    let code = error.map(|error| error.code).filter(|code| {
        // Table 0357 has numbers; anything else may be anything.
        (1..=4).contains(&code.len()) && code.iter().all(u8::is_ascii_digit)
    });
    refusal.code = Some(word(ack.code, code));
    refusal.expression = error
        .map(|error| error.location)
        .filter(|place| is_place(place))
        .map(|place| String::from_utf8_lossy(place).into_owned())
        .into_iter()
        .collect();
    let said = [ack.text, error.map_or(&b""[..], |error| error.text)];
    let said = said.map(|text| String::from_utf8_lossy(text).into_owned());
    let text = format!("{}\n{}", refusal.text, said.join(" "));
    text.trim().clone_into(&mut refusal.text);
    refusal
}

/// `AE`, or `AE 101`.
fn word(code: Code, number: Option<&[u8]>) -> String {
    match number {
        Some(number) => format!("{} {}", code.as_str(), String::from_utf8_lossy(number)),
        None => code.as_str().to_owned(),
    }
}

/// Tells whether a location names a segment and numbers, such as `PID^1^5`; anything else may be anything.
fn is_place(place: &[u8]) -> bool {
    let is_segment = place.get(..3).is_some_and(|name| {
        name.iter()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    });
    let rest = place.get(3..).unwrap_or_default();
    is_segment
        && place.len() <= 24
        && rest
            .iter()
            .all(|c| c.is_ascii_digit() || b"^.-".contains(c))
}

/// Finds the acknowledgement in an answer: of a success, or in the details of an error.
fn acknowledgement(answer: &[u8]) -> Option<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let encoded = value["hl7Ack"].as_str().map(str::to_owned).or_else(|| {
        let failed: Failed = serde_json::from_value(value).ok()?;
        let mut details = failed.error.details.into_iter();
        details.find_map(|detail| detail["hl7Nack"].as_str().map(str::to_owned))
    })?;
    STANDARD.decode(encoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(ack: &str) -> String {
        STANDARD.encode(ack)
    }

    fn answer(status: u16, body: &str) -> Response<Bytes> {
        let response = Response::builder().status(status);
        response.body(Bytes::from(body.to_owned())).unwrap()
    }

    #[test]
    fn a_refusal_says_code_and_place_and_keeps_words_apart() {
        let nack = encoded(
            "MSH|^~\\&|B||A||20260101||ACK|1|P|2.5\rMSA|AE|M1|Anna Lindqvist\rERR||PID^1^5|101^Required field missing|E",
        );
        let body = format!(
            r#"{{"error":{{"code":400,"status":"INVALID_ARGUMENT","message":"no","details":[{{"hl7Nack":"{nack}"}}]}}}}"#
        );
        let refusal = refusal(body.as_bytes());
        assert_eq!(refusal.code.as_deref(), Some("AE 101"));
        assert_eq!(refusal.expression, ["PID^1^5"]);
        assert!(refusal.text.contains("Anna Lindqvist"));
        let odd = encoded("MSH|^~\\&|B\rMSA|AR|M1\rERR||Anna|Lindqvist|E");
        let refusal = super::refusal(format!(r#"{{"hl7Ack":"{odd}"}}"#).as_bytes());
        assert_eq!(refusal.code.as_deref(), Some("AR"));
        assert_eq!(refusal.expression, [""; 0]);
    }

    #[test]
    fn what_is_there_already_is_no_refusal() {
        let there = r#"{"error":{"code":409,"status":"ALREADY_EXISTS"}}"#;
        let there = is_there(&answer(409, there)).unwrap();
        let Said::Taken(accepted) = there.said else {
            panic!();
        };
        assert_eq!(accepted.outcome, Some(Outcome::Unchanged));
        let aborted = r#"{"error":{"code":409,"status":"ABORTED"}}"#;
        assert_eq!(is_there(&answer(409, aborted)), None);
        assert_eq!(is_there(&answer(409, "<html>")), None);
    }

    #[test]
    fn what_a_slow_store_was_asked_to_keep_is_no_old_message() {
        let age = |created: &str, took: u64| {
            let mut answer = answer(200, "");
            let date = "Fri, 27 Nov 2026 10:00:10 GMT".parse().unwrap();
            answer.headers_mut().insert(http::header::DATE, date);
            Arrival::mark(&mut answer, Duration::from_secs(took));
            is_older(&answer, Some(created.parse().unwrap()))
        };
        assert!(age("2026-11-27T10:00:02Z", 0));
        assert!(age("2026-11-27T10:00:02Z", 4));
        assert!(!age("2026-11-27T10:00:02Z", 6));
        assert!(!age("2026-11-27T10:00:08Z", 0));
    }

    #[test]
    fn an_answer_that_lay_about_says_no_less() {
        let read = |created: &str| {
            let body = format!(r#"{{"name":"m","createTime":"{created}"}}"#);
            let mut answer = answer(200, &body);
            let date = "Fri, 27 Nov 2026 10:00:10 GMT".parse().unwrap();
            answer.headers_mut().insert(http::header::DATE, date);
            let at = "2026-11-27T10:00:10.4Z".parse().unwrap();
            let took = Duration::ZERO;
            answer.extensions_mut().insert(Arrival { at, took });
            answer
        };
        // The clock of the server may be up to 0.4 s behind ours, for all that this answer says.
        let since = "2026-11-27T10:00:05Z".parse().unwrap();
        assert!(is_from_before(&read("2026-11-27T10:00:04.5Z"), since));
        assert!(!is_from_before(&read("2026-11-27T10:00:04.7Z"), since));
        assert!(!is_from_before(&read("2026-11-27T10:00:06Z"), since));
        let mut unmarked = read("2026-11-27T10:00:04.5Z");
        unmarked.extensions_mut().clear();
        assert!(!is_from_before(&unmarked, since));
    }

    #[test]
    fn an_id_is_the_last_of_the_name() {
        let named = br#"{"hl7Ack":"","message":{"name":"projects/p/locations/l/datasets/d/hl7V2Stores/h/messages/abc="}}"#;
        assert_eq!(id(named).as_deref(), Some("abc="));
        assert_eq!(id(br#"{"name":"x/messages/"}"#), None);
        assert_eq!(id(b"[]"), None);
    }
}
