//! What a request ends in: a reply, or a failure in one of the API's two shapes.

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Why the local store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address to listen on is not of this machine alone.
    #[error(
        "cannot listen on {0}: the local store listens on loopback only; use 127.0.0.1:PORT or [::1]:PORT"
    )]
    NotLoopback(std::net::SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose a free port, or port 0 for any")]
    Bind {
        /// The address asked for.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has the directory, and does not answer.
    #[error(
        "the store in {} is held by process {pid}, which does not answer; wait for it to end, or end it, and try again",
        dir.display()
    )]
    Held {
        /// The store's directory.
        dir: PathBuf,
        /// The process that holds it, `unknown` where it has not said.
        pid: String,
    },
    /// A file of the store cannot be used.
    #[error("cannot use the local store's files: {0}; check the directory's owner and free space")]
    Files(#[from] std::io::Error),
    /// The database cannot be used.
    #[error("cannot use the database {}: {source}; move the directory away to start an empty store", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The database was written by another version.
    #[error("the database {} has layout {found}, this version reads layout {wanted}; move the directory away to start an empty store", path.display())]
    Layout {
        /// The database file.
        path: PathBuf,
        /// The layout found.
        found: i64,
        /// The layout this version reads and writes.
        wanted: i64,
    },
}

/// A whole answer, made off the connection's task.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(header::HeaderName, String)>,
    pub(super) body: String,
    pub(super) fhir: bool,
}

impl Reply {
    /// An answer of the admin API.
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_string(),
            fhir: false,
        }
    }

    /// An answer of the FHIR API.
    pub(super) fn fhir(status: StatusCode, body: String) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
            fhir: true,
        }
    }

    /// The answer as axum sends it.
    pub(super) fn into_response(self) -> axum::response::Response {
        let mut response = axum::response::Response::new(axum::body::Body::from(self.body));
        *response.status_mut() = self.status;
        let kind = if self.fhir {
            "application/fhir+json;charset=utf-8"
        } else {
            "application/json; charset=UTF-8"
        };
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// Why a request did not succeed.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Answered as an `OperationOutcome`.
    Fhir {
        status: StatusCode,
        code: &'static str,
        text: &'static str,
        diagnostics: String,
    },
    /// Answered as Google's JSON error.
    Google { status: StatusCode, message: String },
}

impl Failure {
    pub(super) fn google(status: StatusCode, message: impl Into<String>) -> Self {
        Self::Google {
            status,
            message: message.into(),
        }
    }

    pub(super) fn fhir(
        status: StatusCode,
        code: &'static str,
        text: &'static str,
        diagnostics: impl Into<String>,
    ) -> Self {
        Self::Fhir {
            status,
            code,
            text,
            diagnostics: diagnostics.into(),
        }
    }

    /// A body that is no acceptable resource.
    pub(super) fn unparseable(diagnostics: impl Into<String>) -> Self {
        Self::fhir(
            StatusCode::BAD_REQUEST,
            "structure",
            "unparseable_resource",
            diagnostics,
        )
    }

    /// A query that cannot be understood.
    pub(super) fn query(diagnostics: impl Into<String>) -> Self {
        Self::fhir(
            StatusCode::BAD_REQUEST,
            "value",
            "invalid_query",
            diagnostics,
        )
    }

    /// A condition that more than one resource meets (sourced text).
    pub(super) fn ambiguous() -> Self {
        Self::fhir(
            StatusCode::PRECONDITION_FAILED,
            "conflict",
            "ambiguous_query",
            "search criteria are not selective enough",
        )
    }

    /// A version condition that does not hold.
    pub(super) fn precondition(diagnostics: impl Into<String>) -> Self {
        Self::fhir(
            StatusCode::PRECONDITION_FAILED,
            "conflict",
            "precondition_failed",
            diagnostics,
        )
    }

    /// A resource that is not there.
    pub(super) fn missing(kind: &str, id: &str) -> Self {
        Self::fhir(
            StatusCode::NOT_FOUND,
            "no-store",
            "storage_error",
            format!("resource not found: {kind}/{id}"),
        )
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Fhir { status, .. } | Self::Google { status, .. } => *status,
        }
    }

    /// The failure as an `OperationOutcome`, whatever shape it has of itself.
    pub(super) fn outcome(&self) -> Value {
        let (code, text, diagnostics) = match self {
            Self::Fhir {
                code,
                text,
                diagnostics,
                ..
            } => (*code, *text, diagnostics),
            Self::Google { message, .. } => ("exception", "generic_error", message),
        };
        json!({"resourceType": "OperationOutcome", "issue": [{
            "severity": "error", "code": code, "details": {"text": text}, "diagnostics": diagnostics,
        }]})
    }

    pub(super) fn into_reply(self) -> Reply {
        match &self {
            Self::Fhir { status, .. } => Reply::fhir(*status, self.outcome().to_string()),
            Self::Google { status, message } => {
                let word = match status.as_u16() {
                    400 => "INVALID_ARGUMENT",
                    401 => "UNAUTHENTICATED",
                    403 => "PERMISSION_DENIED",
                    404 => "NOT_FOUND",
                    409 => "ALREADY_EXISTS",
                    413 => "OUT_OF_RANGE",
                    501 => "UNIMPLEMENTED",
                    503 => "UNAVAILABLE",
                    _ => "INTERNAL",
                };
                Reply::json(
                    *status,
                    &json!({"error": {"code": status.as_u16(), "message": message, "status": word}}),
                )
            }
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::google(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the local store's database failed: {error}"),
        )
    }
}
