//! One pure function from what an attempt brought to what is to be done.
//!
//! The question behind every arm: may the request have had its effect? 429, 503, 507, 408 and 425 say that it was not
//! processed (RFC 9110 §15, RFC 6585 §4, RFC 4918 §11.5, RFC 8470 §5.2), and a refused connection that it was not sent; those are safe to
//! repeat. 500, 502, 504, and a connection lost after the body left, are ambiguous: only what is idempotent is sent
//! again. The codes that Google names as retryable (latency and error handling page) are just these together. Codes that no
//! standard knows, such as 520 to 530 of a network in front of the server, are ambiguous too.

use std::time::Duration;

use ::http::{HeaderMap, Response, header};
use bytes::Bytes;
use jiff::Timestamp;

use super::{Fault, FaultKind};
use crate::unit::display_duration;

/// The harm that sending something twice could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Safety {
    /// Twice is as good as once.
    Idempotent,
    /// Twice may create two.
    Once,
}

/// The decision after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was accepted.
    Done,
    /// Some of its records were settled, the rest may be tried again.
    Partial {
        /// The wait that the server asks for.
        after: Option<Duration>,
        /// The server asks to slow down.
        brake: bool,
    },
    /// It may be tried again.
    Again {
        /// The wait that the server asks for.
        after: Option<Duration>,
        /// The server asks to slow down.
        brake: bool,
    },
    /// The token was refused; with a new one it may be tried again.
    Renew,
    /// It was refused.
    Rejected,
    /// It may have been accepted, and must not be sent twice.
    Unknown,
    /// The run cannot go on.
    Stop(StopReason),
}

/// The reason why a run cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// The credentials do not work.
    #[error("{what}")]
    Credentials {
        /// The failure of the credentials, in words.
        what: String,
        /// Advice, where there is any.
        hint: Option<String>,
    },
    /// The server's identity cannot be verified.
    #[error("{what}")]
    Tls {
        /// The failure of TLS, in words.
        what: String,
    },
    /// The target cannot be reached.
    #[error("down for {}: {what}", display_duration(*down))]
    TargetDown {
        /// The failure of the last attempt, in words.
        what: String,
        /// For how long.
        down: Duration,
    },
    /// Everything is refused for who sends it, or sent elsewhere.
    #[error(
        "the server refused {requests} requests in a row with {status}, and let none through between them"
    )]
    ShutOut {
        /// The status.
        status: u16,
        /// The number of requests.
        requests: u32,
    },
    /// The store has no room left on this machine's own disk.
    #[error("{what}")]
    NoRoom {
        /// The place that is full, in words.
        what: String,
    },
    /// The request cannot be made.
    #[error("{what}")]
    Request {
        /// The failure to make the request, in words.
        what: String,
    },
}

impl StopReason {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Credentials {
                hint: Some(hint), ..
            } => hint.as_str(),
            Self::Credentials { hint: None, .. } => {
                "check `auth`; a token may have expired or lack rights"
            }
            Self::Tls { what } => super::transport::tls_hint(what),
            Self::TargetDown { what, .. } if what.contains(HAS_NO_ROOM) => {
                "make room at the server, or ask who runs it; then `stoker resume` goes on"
            }
            Self::TargetDown { .. } => {
                "check the address, that the server runs and the store or receiver is there, and that its credentials, if it asks \
                 for any, still hold; then `stoker resume` goes on. `give_up_after` waits longer"
            }
            Self::ShutOut {
                status: 300..=399, ..
            } => {
                "redirects are not followed: see that no login page or proxy stands before the server, or write the \
                 address that it leads to as the target's address; then `stoker resume` goes on"
            }
            Self::ShutOut { .. } => {
                "the credentials may lack the right to write, or have lost it; on Google Cloud the editor's role for the \
                 store's kind holds it (IAM, Healthcare). Then `stoker resume` goes on; the records that were refused are in rejected/"
            }
            Self::NoRoom { .. } => "make room on that disk; then `stoker resume` goes on",
            Self::Request { .. } => {
                "check that the files have not changed since they were planned, then load again"
            }
        };
        Some(hint.to_owned())
    }
}

/// No wait that a server asks for is obeyed beyond this: a run that sleeps a day for a typo of a server helps
/// nobody, and after an hour it asks again.
pub const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Judges an attempt. `now` is needed for a `Retry-After` that is a date, in an answer that has no `Date` itself.
pub fn classify(
    safety: Safety,
    answer: Result<&Response<Bytes>, &Fault>,
    now: Timestamp,
) -> Verdict {
    match answer {
        Ok(response) => {
            let status = response.status().as_u16();
            match of_status(safety, status) {
                // A transaction that was aborted has had no effect.
                Verdict::Rejected if refusal(response).is_some() => Verdict::Again {
                    after: retry_after(response.headers(), now),
                    brake: true,
                },
                Verdict::Again { brake, .. } => Verdict::Again {
                    after: retry_after(response.headers(), now),
                    brake,
                },
                verdict => verdict,
            }
        }
        Err(fault) => of_fault(safety, fault),
    }
}

/// The reason why a target refuses for now, as far as it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttle {
    /// A quota is used up: however few requests are in flight, only fewer in a given time help.
    Quota,
    /// Too many requests at a time: contention for locks, or load that is shed.
    Load,
    /// It does not say.
    Unsaid,
}

/// No more of an answer is searched for its reason: an error is short.
const SEARCHED: usize = 16 * 1024;

/// Tells whether a response refuses for now, and why.
///
/// Google answers 429 to both a quota that is used up (`RATE_LIMIT_EXCEEDED`, <https://google.aip.dev/194>) and to
/// contention (`too-costly` in an `OperationOutcome`; FHIR data throughput page), and 409 with `ABORTED` to a transaction
/// that lost against another.
pub fn refusal(response: &Response<Bytes>) -> Option<Throttle> {
    let status = response.status().as_u16();
    if !matches!(status, 409 | 429 | 503) {
        return None;
    }
    let body = response.body();
    let body = body.get(..SEARCHED).unwrap_or(body);
    let says = |word: &str| memchr::memmem::find(body, word.as_bytes()).is_some();
    if ["too-costly", "lock contention", "\"ABORTED\""]
        .into_iter()
        .any(says)
    {
        Some(Throttle::Load)
    } else if status == 409 {
        None
    } else if ["RATE_LIMIT_EXCEEDED", "Quota exceeded"]
        .into_iter()
        .any(says)
    {
        Some(Throttle::Quota)
    } else {
        Some(Throttle::Unsaid)
    }
}

/// Insufficient Storage (RFC 4918 §11.5): the server has no room for it, and none for the next record either.
pub const NO_ROOM: u16 = 507;

/// The words for it, after the status.
pub(super) const HAS_NO_ROOM: &str = "it has no room left for anything";

/// Judges a status, of a response or of an entry in one.
pub fn of_status(safety: Safety, status: u16) -> Verdict {
    match (status, safety) {
        // `If-None-Exist` may be answered by 304 (an older wording of the standard): the resource is there.
        (200..=299 | 304, _) => Verdict::Done,
        (401, _) => Verdict::Renew,
        (429 | 503 | NO_ROOM, _) => Verdict::Again {
            after: None,
            brake: true,
        },
        (408 | 425, _) => Verdict::Again {
            after: None,
            brake: false,
        },
        (status, Safety::Idempotent) if is_ambiguous(status) => Verdict::Again {
            after: None,
            brake: false,
        },
        (status, Safety::Once) if is_ambiguous(status) => Verdict::Unknown,
        _ => Verdict::Rejected,
    }
}

/// Tells whether a request that was answered with a status may have had its effect nevertheless.
///
/// Of the failures of a server, those in the list say that it did not begin (<https://www.iana.org/assignments/http-status-codes>);
/// of one that is not registered nobody knows.
pub fn is_ambiguous(status: u16) -> bool {
    const NOT_BEGUN: [u16; 8] = [501, 503, 505, 506, NO_ROOM, 508, 510, 511];
    status >= 500 && !NOT_BEGUN.contains(&status)
}

/// Tells whether a status is that of a proxy that did not reach the server behind it: 502 and 504 (RFC 9110 §15.6), 520 to 530 of
/// Cloudflare, 598 and 599 of others.
pub fn is_of_a_proxy(status: u16) -> bool {
    matches!(status, 502 | 504 | 520..=530 | 598 | 599)
}

fn of_fault(safety: Safety, fault: &Fault) -> Verdict {
    let what = || fault.what.clone();
    match (fault.kind, safety) {
        (FaultKind::Tls, _) => Verdict::Stop(StopReason::Tls { what: what() }),
        (FaultKind::NoRoom, _) => Verdict::Stop(StopReason::NoRoom { what: what() }),
        (FaultKind::Request, _) => Verdict::Stop(StopReason::Request { what: what() }),
        (kind, Safety::Once) if kind.may_have_been_sent() => Verdict::Unknown,
        _ => Verdict::Again {
            after: None,
            brake: false,
        },
    }
}

/// Reads `Retry-After` in both its forms, seconds and a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = if value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() {
        // More digits than a number holds is a long time too.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        // A date further off than can be told is a long time too.
        let date = Timestamp::try_from(date).unwrap_or(Timestamp::MAX);
        // By the clock that set it: ours may differ by hours.
        let now = super::clock::date(headers).unwrap_or(now);
        Duration::try_from(date.duration_since(now)).unwrap_or_default()
    };
    Some(std::cmp::min(asked, LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn word(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Done => "done",
            Verdict::Partial { .. } => "partial",
            Verdict::Again { brake: true, .. } => "again, slower",
            Verdict::Again { .. } => "again",
            Verdict::Renew => "renew the token",
            Verdict::Rejected => "rejected",
            Verdict::Unknown => "unknown",
            Verdict::Stop(_) => "stop",
        }
    }

    /// Every status there is, by ranges of the same verdicts.
    #[test]
    fn every_status_has_its_verdict() {
        let verdict = |status| {
            let of = |safety| word(&of_status(safety, status));
            format!("{:<16} {}", of(Safety::Idempotent), of(Safety::Once))
        };
        let (mut table, mut start) = (String::new(), 100);
        for status in 100..=1000 {
            if status == 1000 || verdict(status) != verdict(start) {
                let range = format!("{start}..={}", status - 1);
                writeln!(table, "{range:<12} {}", verdict(start)).unwrap();
                start = status;
            }
        }
        insta::assert_snapshot!(table, @"
        100..=199    rejected         rejected
        200..=299    done             done
        300..=303    rejected         rejected
        304..=304    done             done
        305..=400    rejected         rejected
        401..=401    renew the token  renew the token
        402..=407    rejected         rejected
        408..=408    again            again
        409..=424    rejected         rejected
        425..=425    again            again
        426..=428    rejected         rejected
        429..=429    again, slower    again, slower
        430..=499    rejected         rejected
        500..=500    again            unknown
        501..=501    rejected         rejected
        502..=502    again            unknown
        503..=503    again, slower    again, slower
        504..=504    again            unknown
        505..=506    rejected         rejected
        507..=507    again, slower    again, slower
        508..=508    rejected         rejected
        509..=509    again            unknown
        510..=511    rejected         rejected
        512..=999    again            unknown
        ");
    }

    /// The forms in which servers say why they refuse (healthcare-api, error catalogue; FHIR R4, OperationOutcome).
    const FORMS: [(&str, &str); 9] = [
        ("no body", ""),
        (
            "a page",
            "<!DOCTYPE html><html><body><h1>Sorry</h1></body></html>",
        ),
        ("not a text", "\u{0}\u{1}{{{"),
        (
            "Google, quota",
            r#"{"error":{"code":429,"message":"Quota exceeded for quota metric 'FHIR write ops'","status":"RESOURCE_EXHAUSTED",
                "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED"}]}}"#,
        ),
        (
            "Google, aborted",
            r#"{"error":{"code":409,"message":"aborted","status":"ABORTED"}}"#,
        ),
        (
            "Google, other",
            r#"{"error":{"code":409,"message":"already exists","status":"ALREADY_EXISTS"}}"#,
        ),
        (
            "Google, contention",
            r#"{"issue":[{"code":"too-costly","details":{"text":"operation_too_costly"},"diagnostics":"aborted due to lock contention while executing transactional bundle. Resource type: PATIENT","severity":"error"}],"resourceType":"OperationOutcome"}"#,
        ),
        (
            "FHIR",
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"HAPI-0389"}]}"#,
        ),
        // An operation that ended in an error, which comes with 200: whoever asked for it reads it.
        (
            "Google, operation",
            r#"{"name":"projects/p/operations/1","done":true,"error":{"code":8,"message":"exhausted"}}"#,
        ),
    ];

    /// The status decides, whatever the body says, but for what Google calls contention and aborted with 409. Nobody's
    /// words make a success of a failure, or a second sending of what may have had its effect.
    #[test]
    fn every_status_in_every_form_has_its_verdict() {
        use crate::record::Operation;
        let all = [
            Operation::Create,
            Operation::ConditionalCreate,
            Operation::Update,
            Operation::ConditionalUpdate,
            Operation::Patch,
            Operation::Delete,
        ];
        for (status, (form, body), interaction) in (100..=599)
            .flat_map(|status| FORMS.map(|form| (status, form)))
            .flat_map(|(status, form)| all.map(|interaction| (status, form, interaction)))
        {
            let safety = if interaction.is_idempotent() {
                Safety::Idempotent
            } else {
                Safety::Once
            };
            let response = Response::builder().status(status);
            let response = response.body(Bytes::from_static(body.as_bytes())).unwrap();
            let judged = classify(safety, Ok(&response), Timestamp::UNIX_EPOCH);
            let case = format!("{interaction} {status} {form}: {judged:?}");
            let is_lost_race =
                status == 409 && ["Google, aborted", "Google, contention"].contains(&form);
            let expected = if is_lost_race {
                "again, slower"
            } else {
                word(&of_status(safety, status))
            };
            assert_eq!(word(&judged), expected, "{case}");
            if matches!(status, 500 | 502 | 504) && !interaction.is_idempotent() {
                assert_eq!(judged, Verdict::Unknown, "{case}");
            }
        }
    }

    /// The reason of each refusal, by its words and its status; nothing else is a refusal for now.
    #[test]
    fn every_refusal_has_its_reason() {
        let reason = |status: u16, body: &'static str| {
            let response = Response::builder().status(status);
            refusal(&response.body(Bytes::from_static(body.as_bytes())).unwrap())
        };
        let mut table = String::new();
        for (form, body) in FORMS {
            let [conflict, throttled, unavailable] = [409, 429, 503].map(|status| {
                reason(status, body).map_or("-".to_owned(), |refusal| format!("{refusal:?}"))
            });
            writeln!(
                table,
                "{form:<18} {conflict:<8} {throttled:<8} {unavailable}"
            )
            .unwrap();
            for status in (100..=599).filter(|status| ![409, 429, 503].contains(status)) {
                assert_eq!(reason(status, body), None, "{status} {form}");
            }
        }
        insta::assert_snapshot!(table, @"
        no body            -        Unsaid   Unsaid
        a page             -        Unsaid   Unsaid
        not a text         -        Unsaid   Unsaid
        Google, quota      -        Quota    Quota
        Google, aborted    Load     Load     Load
        Google, other      -        Unsaid   Unsaid
        Google, contention Load     Load     Load
        FHIR               -        Unsaid   Unsaid
        Google, operation  -        Unsaid   Unsaid
        ");
    }

    #[test]
    fn every_fault_has_its_verdict() {
        use FaultKind::{
            Connect, Interrupted, NoRoom, Request, Response, Timeout, Tls, TurnedAway,
        };
        let cases = [
            (Connect, "again", "again"),
            (TurnedAway, "again", "again"),
            (Tls, "stop", "stop"),
            (Request, "stop", "stop"),
            (NoRoom, "stop", "stop"),
            (Timeout, "again", "unknown"),
            (Interrupted, "again", "unknown"),
            (Response, "again", "unknown"),
        ];
        for (kind, idempotent, once) in cases {
            let fault = Fault::new(kind, String::new());
            let of = |safety| word(&classify(safety, Err(&fault), Timestamp::UNIX_EPOCH));
            assert_eq!(
                (of(Safety::Idempotent), of(Safety::Once)),
                (idempotent, once),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn a_refusal_is_known_by_what_it_says() {
        const QUOTA: &str = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"reason":"RATE_LIMIT_EXCEEDED"}]}}"#;
        const CONTENTION: &str = r#"{"resourceType":"OperationOutcome","issue":[{"code":"too-costly",
            "diagnostics":"aborted due to lock contention while executing transactional bundle."}]}"#;
        const ABORTED: &str = r#"{"error":{"code":409,"status":"ABORTED"}}"#;
        const CONFLICT: &str = r#"{"error":{"code":409,"status":"ALREADY_EXISTS"}}"#;
        for (status, body, found, verdict) in [
            (429, QUOTA, Some(Throttle::Quota), "again, slower"),
            (429, CONTENTION, Some(Throttle::Load), "again, slower"),
            (429, "", Some(Throttle::Unsaid), "again, slower"),
            (503, "<html>", Some(Throttle::Unsaid), "again, slower"),
            (409, ABORTED, Some(Throttle::Load), "again, slower"),
            (409, CONFLICT, None, "rejected"),
            (400, CONTENTION, None, "rejected"),
            (201, QUOTA, None, "done"),
        ] {
            let response = Response::builder().status(status);
            let response = response.body(Bytes::from_static(body.as_bytes())).unwrap();
            assert_eq!(refusal(&response), found, "{status} {body}");
            let judged = classify(Safety::Once, Ok(&response), Timestamp::UNIX_EPOCH);
            assert_eq!(word(&judged), verdict, "{status} {body}");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now: Timestamp = "2026-11-23T07:00:00Z".parse().unwrap();
        let read = |value: &'static str| {
            let response = Response::builder()
                .status(429)
                .header("retry-after", value)
                .body(Bytes::new())
                .unwrap();
            match classify(Safety::Once, Ok(&response), now) {
                Verdict::Again { after, .. } => after.map(|after| after.as_secs()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(read("5"), Some(5));
        assert_eq!(read("Mon, 23 Nov 2026 07:00:30 GMT"), Some(30));
        assert_eq!(read("Mon, 23 Nov 2026 06:00:00 GMT"), Some(0));
        assert_eq!(read("99999999999999999999999"), Some(3600));
        assert_eq!(read("Fri, 31 Dec 9999 23:59:59 GMT"), Some(3600));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
        // The target's clock is a day ahead.
        let response = Response::builder()
            .status(429)
            .header("date", "Tue, 24 Nov 2026 07:00:00 GMT")
            .header("retry-after", "Tue, 24 Nov 2026 07:00:02 GMT");
        let response = response.body(Bytes::new()).unwrap();
        let wait = retry_after(response.headers(), now);
        assert_eq!(wait, Some(Duration::from_secs(2)));
    }
}
