//! Answers and refusals, in the API's two error shapes.
//!
//! A problem with a FHIR interaction is answered by an OperationOutcome; a request that does not reach one
//! (administrative calls, unknown paths, missing stores, credentials) by Google's JSON error.

mod refusal;

use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::json::Json;

pub(super) use self::refusal::Refusal;

/// The media type of FHIR answers.
const FHIR_JSON: &str = "application/fhir+json;charset=utf-8";
/// The media type of administrative answers.
const JSON: &str = "application/json; charset=UTF-8";

/// The version of the API whose names are written down.
const V1: &str = "v1";

/// An answer on its way to the socket.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    headers: Vec<(HeaderName, String)>,
    body: String,
}

impl Reply {
    /// An answer of the FHIR API.
    pub(super) fn fhir(status: StatusCode, body: String) -> Self {
        Self {
            status,
            content_type: FHIR_JSON,
            headers: Vec::new(),
            body,
        }
    }

    /// An answer of the administrative API.
    pub(super) fn admin(status: StatusCode, body: &Json) -> Self {
        Self {
            status,
            content_type: JSON,
            headers: Vec::new(),
            body: body.to_string(),
        }
    }

    /// Names types and methods as that version of the API does.
    pub(super) fn of_version(mut self, version: &str) -> Self {
        if version != V1 {
            let beta = format!("google.cloud.healthcare.{version}.");
            for place in ["\"@type\":\"type.googleapis.com/", "\"apiMethodName\":\""] {
                let written = format!("{place}google.cloud.healthcare.{V1}.");
                self.body = self.body.replace(&written, &format!("{place}{beta}"));
            }
        }
        self
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Makes the response of it.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        if self.status != StatusCode::NOT_MODIFIED {
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
