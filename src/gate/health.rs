//! Asks the target itself what a refusal is about, where that need not be the record.
//!
//! A store that was deleted answers 404 to everything, rights that were taken away 403, and a login page that came between
//! sends elsewhere; each of them may also be said of a single record. The cheap read that a target was probed with
//! tells them apart: who gets it has a store, and a refusal of its own. One answer serves all that were refused
//! before it was asked for, so that a target that refuses much is not asked much.

use ::http::{Request, Response};
use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::{Cost, Gate, Verdict, story::Asked};
use crate::target::MayBeNothing;

/// The result of a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoreHealth {
    /// The store is there, so the refusal is about the record.
    There,
    /// It is not, or is not for these credentials, in words without content.
    Gone(String),
    /// No answer that tells.
    Silent,
}

impl StoreHealth {
    fn words(&self) -> &str {
        match self {
            Self::There => "it is there",
            Self::Gone(words) => words,
            Self::Silent => "no answer that tells",
        }
    }
}

/// The read, and what it brought last.
#[derive(Debug)]
pub(super) struct HealthCheck {
    read: Request<Bytes>,
    last: tokio::sync::Mutex<Option<(Instant, StoreHealth)>>,
}

impl HealthCheck {
    pub(super) fn new(read: Request<Bytes>) -> Self {
        Self {
            read,
            last: tokio::sync::Mutex::default(),
        }
    }
}

/// Tells whether a status may be about the target as well as about a record.
pub(super) fn is_in_question(status: u16) -> bool {
    is_about_the_sender(status) || matches!(status, 404 | 405 | 410)
}

/// Tells whether a status speaks of who asks, or of the way to the target, and not of what was sent.
pub(super) fn is_about_the_sender(status: u16) -> bool {
    matches!(status, 300..=303 | 305..=399 | 403 | 407 | 511)
}

/// Tells whether what an attempt brought may be about the target. An answer that says that all is well, and is none of
/// FHIR's, is one that cannot be understood.
pub(super) fn may_be_about_the_target(verdict: &Verdict, status: u16) -> bool {
    match verdict {
        Verdict::Rejected => is_in_question(status),
        Verdict::Unknown | Verdict::Again { .. } => (200..300).contains(&status),
        _ => false,
    }
}

impl Gate {
    /// Asks the target about a refusal that came at `since`. If no request was given to ask with, the refusal is taken at
    /// its word.
    pub(super) async fn testimony(&self, since: Instant) -> StoreHealth {
        let Some(witness) = &self.witness else {
            return StoreHealth::There;
        };
        let mut last = witness.last.lock().await;
        if let Some((asked, found)) = &*last
            && *asked >= since
        {
            return found.clone();
        }
        let asked = Instant::now();
        let found = self.testify(witness.read.clone()).await;
        let (target, found_words) = (&*self.name, found.words());
        tracing::info!(
            target,
            found = found_words,
            "a refusal may be about the store: it was asked whether it is there"
        );
        *last = Some((asked, found.clone()));
        found
    }

    /// Neither slot nor circuit stand before it: whoever asks holds the one and may be the probe of the other.
    async fn testify(&self, mut read: Request<Bytes>) -> StoreHealth {
        if self.authorize(&mut read).await.is_err() {
            // The next attempt meets the same, and knows what to do.
            return StoreHealth::Silent;
        }
        let cost = Cost {
            operations: 1,
            bytes: 0,
        };
        self.look_up_rates.ready(cost).await;
        let (asked, sent) = (Asked::of(&read), Instant::now());
        let may_be_nothing = read.extensions().get::<MayBeNothing>().is_some();
        let answer = self.transport.call(read).await;
        if let Some(asked) = asked {
            asked.answered(&self.name, 1, answer.as_ref(), sent.elapsed());
        }
        match answer {
            Ok(response) => {
                if response.status().as_u16() == 401 {
                    self.credentials.refused();
                }
                says(&response, may_be_nothing)
            }
            Err(_) => StoreHealth::Silent,
        }
    }
}

/// Reads the answer. A store that `may_be_nothing` says so by 204, or by an empty body, where it holds nothing.
fn says(response: &Response<Bytes>, may_be_nothing: bool) -> StoreHealth {
    let is_json = || serde_json::from_slice::<IgnoredAny>(response.body()).is_ok();
    StoreHealth::Gone(match response.status().as_u16() {
        200..=299 if is_json() => return StoreHealth::There,
        200 | 204 if may_be_nothing && response.body().trim_ascii().is_empty() => {
            return StoreHealth::There;
        }
        200..=299 => "what answers does not speak the store's protocol".to_owned(),
        status @ (404 | 410) => format!("the store is not there ({status})"),
        403 => "the store is not there, or these credentials may not see it (403)".to_owned(),
        status @ 300..=399 => format!("the server sends elsewhere ({status})"),
        status @ (400 | 402..=407 | 409..=424 | 426..=428 | 430..=499 | 501 | 511) => {
            format!("the server answers {status}")
        }
        _ => return StoreHealth::Silent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_answer_speaks_for_the_store() {
        let ask = |status: u16, body: &'static str| {
            says(
                &Response::builder()
                    .status(status)
                    .body(Bytes::from_static(body.as_bytes()))
                    .unwrap(),
                false,
            )
        };
        for (status, body) in [(204, ""), (200, ""), (200, "\r\n")] {
            let nothing = Response::builder().status(status);
            let nothing = nothing.body(Bytes::from_static(body.as_bytes())).unwrap();
            assert_eq!(says(&nothing, true), StoreHealth::There);
        }
        assert_eq!(ask(200, "{}"), StoreHealth::There);
        for (status, body) in [
            (200, "<html>"),
            (200, ""),
            (204, ""),
            (302, "{}"),
            (400, "{}"),
            (403, "{}"),
            (404, "{}"),
            (410, "{}"),
            (511, "{}"),
        ] {
            assert!(
                matches!(ask(status, body), StoreHealth::Gone(_)),
                "{status}"
            );
        }
        for status in [401, 408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(ask(status, "{}"), StoreHealth::Silent, "{status}");
        }
    }

    #[test]
    fn what_is_about_content_is_not_in_question() {
        let asked: Vec<u16> = (100..600)
            .filter(|&status| is_in_question(status))
            .collect();
        let expected = (300..=303)
            .chain(305..=399)
            .chain([403, 404, 405, 407, 410, 511]);
        assert_eq!(asked, expected.collect::<Vec<u16>>());
    }
}
