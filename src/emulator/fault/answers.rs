//! The answers that a scenario gives in place of the store's.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use super::refusal::{WORDS, refusal, words};
use super::{Answer, AnswerBody, RetryAfterForm};
use crate::emulator::reply::Refusal;

pub(super) fn unauthorized() -> Response<Body> {
    let words = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.";
    let mut response = Refusal::google(StatusCode::UNAUTHORIZED, words)
        .into_reply()
        .into_response();
    let challenge =
        HeaderValue::from_static("Bearer error=\"invalid_token\", error_description=\"expired\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

pub(super) fn lost() -> Refusal {
    Refusal::google(StatusCode::NOT_FOUND, format!("not found: {WORDS}"))
}

impl Answer {
    /// An OperationOutcome is FHIR's; other stores answer in Google's shape.
    pub(super) fn response(&self, echo: &str, is_fhir: bool) -> Response<Body> {
        let mut response = match self.body {
            AnswerBody::Outcome if is_fhir => {
                refusal(self.status, echo).into_reply().into_response()
            }
            AnswerBody::Outcome | AnswerBody::Google => Refusal::google(self.status, words(echo))
                .into_reply()
                .into_response(),
            AnswerBody::Html => {
                let title = self.status.to_string();
                let page = format!(
                    "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1><p>{}</p></body></html>\n",
                    words(echo)
                );
                let mut response = Response::new(Body::from(page));
                *response.status_mut() = self.status;
                let html = HeaderValue::from_static("text/html; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, html);
                response
            }
            AnswerBody::Empty => {
                let mut response = Response::default();
                *response.status_mut() = self.status;
                response
            }
        };
        if let Some(value) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, value);
        }
        response
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        let time = self.retry_after?;
        // Neither form knows parts of seconds: they are rounded up, for a client must not come too early.
        let text = match self.retry_after_form {
            RetryAfterForm::Seconds => time.as_millis().div_ceil(1000).to_string(),
            RetryAfterForm::Date => {
                let at = SystemTime::now().checked_add(time)?;
                let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
                let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
                let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
                httpdate::fmt_http_date(at)
            }
        };
        HeaderValue::try_from(text).ok()
    }
}
