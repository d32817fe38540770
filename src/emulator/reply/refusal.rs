//! The reasons why requests are not carried out, each in the shape of the API that refuses.

use http::StatusCode;

use super::Reply;
use crate::emulator::json::{Json, Object};

/// The reason why a request was not carried out.
#[derive(Debug, Clone)]
pub(in crate::emulator) struct Refusal {
    /// The HTTP status.
    pub(in crate::emulator) status: StatusCode,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Fhir {
        code: &'static str,
        text: &'static str,
        diagnostics: String,
        expression: Option<String>,
    },
    Google {
        status: &'static str,
        violation: bool,
        message: String,
        detail: Option<Json>,
    },
}

impl Refusal {
    /// A refusal as an OperationOutcome: `issue.code`, `details.text`, `diagnostics`.
    pub(in crate::emulator) fn fhir(
        status: StatusCode,
        code: &'static str,
        text: &'static str,
        diagnostics: impl Into<String>,
    ) -> Self {
        Self {
            status,
            shape: Shape::Fhir {
                code,
                text,
                diagnostics: diagnostics.into(),
                expression: None,
            },
        }
    }

    /// A resource that cannot be read as FHIR (400).
    pub(in crate::emulator) fn unparseable(diagnostics: impl Into<String>) -> Self {
        Self::fhir(
            StatusCode::BAD_REQUEST,
            "structure",
            "unparseable_resource",
            diagnostics,
        )
    }

    /// A search or a condition that cannot be understood (400).
    pub(in crate::emulator) fn query(diagnostics: impl Into<String>) -> Self {
        Self::fhir(
            StatusCode::BAD_REQUEST,
            "value",
            "invalid_query",
            diagnostics,
        )
    }

    /// A condition that more than one resource meets (412).
    pub(in crate::emulator) fn ambiguous(diagnostics: impl Into<String>) -> Self {
        Self::fhir(
            StatusCode::PRECONDITION_FAILED,
            "conflict",
            "ambiguous_query",
            diagnostics,
        )
    }

    /// A version that is not the one expected (412).
    pub(in crate::emulator) fn precondition(diagnostics: impl Into<String>) -> Self {
        Self::fhir(
            StatusCode::PRECONDITION_FAILED,
            "conflict",
            "precondition_failed",
            diagnostics,
        )
    }

    /// An id in the body that is not the one addressed (400).
    pub(in crate::emulator) fn mismatch(addressed: &str, payload: &str) -> Self {
        let text = format!(
            "resource id mismatch, id of specified resource: {addressed}, id from payload: {payload}"
        );
        Self::fhir(
            StatusCode::BAD_REQUEST,
            "structure",
            "resource_mismatch",
            text,
        )
    }

    /// A resource that never was (404).
    pub(in crate::emulator) fn missing(what: &str) -> Self {
        Self::fhir(
            StatusCode::NOT_FOUND,
            "no-store",
            "storage_error",
            format!("resource not found: {what}"),
        )
    }

    /// A resource that was deleted (410).
    pub(in crate::emulator) fn gone(what: &str) -> Self {
        Self::fhir(
            StatusCode::GONE,
            "deleted",
            "storage_error",
            format!("resource was deleted: {what}"),
        )
    }

    /// An operation that this store does not offer: 404, as Google answers what maps to no method, and not the 501 that its
    /// clients send again.
    pub(in crate::emulator) fn not_offered(diagnostics: impl Into<String>) -> Self {
        Self::unsupported(StatusCode::NOT_FOUND, diagnostics)
    }

    /// The same for a call that is none of FHIR's.
    pub(in crate::emulator) fn no_method(verb: &str) -> Self {
        let message = format!("the method \"{verb}\" is not offered by the local store");
        Self {
            status: StatusCode::NOT_FOUND,
            shape: Shape::Google {
                status: "UNIMPLEMENTED",
                violation: false,
                message,
                detail: None,
            },
        }
    }

    /// An interaction that is not possible here, with a status of its own.
    pub(in crate::emulator) fn unsupported(
        status: StatusCode,
        diagnostics: impl Into<String>,
    ) -> Self {
        Self::fhir(
            status,
            "not-supported",
            "unsupported_operation",
            diagnostics,
        )
    }

    /// A path whose type is none of FHIR R4's (usual cause: a wrong base URL).
    pub(in crate::emulator) fn bad_kind(name: &str) -> Self {
        let text = format!("unsupported resource type: {name}");
        Self::fhir(
            StatusCode::BAD_REQUEST,
            "not-supported",
            "bad_resource_type",
            text,
        )
    }

    /// A refusal in Google's shape; the status' name follows from the number.
    pub(in crate::emulator) fn google(status: StatusCode, message: impl Into<String>) -> Self {
        let name = match status.as_u16() {
            400 | 415 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            409 => "ALREADY_EXISTS",
            412 | 421 => "FAILED_PRECONDITION",
            413 => "OUT_OF_RANGE",
            429 => "RESOURCE_EXHAUSTED",
            503 => "UNAVAILABLE",
            408 | 504 => "DEADLINE_EXCEEDED",
            _ => "INTERNAL",
        };
        Self {
            status,
            shape: Shape::Google {
                status: name,
                violation: false,
                message: message.into(),
                detail: None,
            },
        }
    }

    /// A field that the API does not know or cannot take (400, with a field violation).
    pub(in crate::emulator) fn payload(what: &str) -> Self {
        let message = format!("Invalid JSON payload received. {what}");
        Self {
            status: StatusCode::BAD_REQUEST,
            shape: Shape::Google {
                status: "INVALID_ARGUMENT",
                violation: true,
                message,
                detail: None,
            },
        }
    }

    /// Returns what it says, for people.
    pub(in crate::emulator) fn message(&self) -> &str {
        match &self.shape {
            Shape::Fhir { diagnostics, .. } => diagnostics,
            Shape::Google { message, .. } => message,
        }
    }

    /// Adds a detail to a refusal in Google's shape.
    pub(in crate::emulator) fn with_detail(mut self, more: Json) -> Self {
        if let Shape::Google { detail, .. } = &mut self.shape {
            *detail = Some(more);
        }
        self
    }

    /// Says at which element of the request the problem is (a FHIR path), unless that is said already.
    pub(in crate::emulator) fn at(mut self, path: &str) -> Self {
        if let Shape::Fhir {
            expression: expression @ None,
            ..
        } = &mut self.shape
        {
            *expression = Some(path.to_owned());
        }
        self
    }

    /// Puts the path of an element that begins with its resource (`Patient.managingOrganization`) behind that of the
    /// resource in a Bundle.
    pub(in crate::emulator) fn inside(mut self, root: &str) -> Self {
        if let Shape::Fhir {
            expression: Some(expression),
            ..
        } = &mut self.shape
        {
            let rest = expression.find('.').and_then(|at| expression.get(at..));
            *expression = format!("{root}{}", rest.unwrap_or_default());
            return self;
        }
        self.at(root)
    }

    /// Returns the body.
    pub(in crate::emulator) fn body(&self) -> Json {
        match &self.shape {
            Shape::Fhir {
                code,
                text,
                diagnostics,
                expression,
            } => {
                let mut issue = Object::from([
                    ("code".to_owned(), Json::text(*code)),
                    (
                        "details".to_owned(),
                        Json::object([("text", Json::text(*text))]),
                    ),
                    ("diagnostics".to_owned(), Json::text(diagnostics.as_str())),
                    ("severity".to_owned(), Json::text("error")),
                ]);
                if let Some(expression) = expression {
                    issue.insert(
                        "expression".to_owned(),
                        Json::List(vec![Json::text(expression.as_str())]),
                    );
                }
                Json::object([
                    ("issue", Json::List(vec![Json::Object(issue)])),
                    ("resourceType", Json::text("OperationOutcome")),
                ])
            }
            Shape::Google {
                status,
                violation,
                message,
                detail: more,
            } => {
                let mut error = Object::from([
                    (
                        "code".to_owned(),
                        Json::Number(self.status.as_u16().to_string()),
                    ),
                    ("message".to_owned(), Json::text(message.as_str())),
                    ("status".to_owned(), Json::text(*status)),
                ]);
                if *violation {
                    let detail = Json::object([
                        (
                            "@type",
                            Json::text("type.googleapis.com/google.rpc.BadRequest"),
                        ),
                        (
                            "fieldViolations",
                            Json::List(vec![Json::object([(
                                "description",
                                Json::text(message.as_str()),
                            )])]),
                        ),
                    ]);
                    error.insert("details".to_owned(), Json::List(vec![detail]));
                }
                if let Some(more) = more {
                    error.insert("details".to_owned(), Json::List(vec![more.clone()]));
                }
                Json::object([("error", Json::Object(error))])
            }
        }
    }

    /// The disk under the store is full.
    pub(in crate::emulator) fn full() -> Self {
        let words = "the local store's disk is full; make room there";
        Self::google(StatusCode::INSUFFICIENT_STORAGE, words)
    }

    /// Tells whether it is about a disk that is full, and not about the request.
    pub(in crate::emulator) fn is_full(&self) -> bool {
        self.status == StatusCode::INSUFFICIENT_STORAGE
    }

    /// Makes the answer of it.
    pub(in crate::emulator) fn into_reply(self) -> Reply {
        match self.shape {
            Shape::Fhir { .. } => Reply::fhir(self.status, self.body().to_string()),
            Shape::Google { .. } => Reply::admin(self.status, &self.body()),
        }
    }
}

impl From<rusqlite::Error> for Refusal {
    /// The database failed: the request is answered 500, or 507 where there is no room for it, and the reason (never the data)
    /// goes to the log.
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        tracing::error!(?code, "the local store's database refused a statement");
        let words = match code {
            Some(rusqlite::ErrorCode::DiskFull) => return Self::full(),
            Some(rusqlite::ErrorCode::SystemIoFailure) => {
                "the local store cannot read or write its database"
            }
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => "the local store's database is damaged",
            _ => "the local store's database refused a statement",
        };
        Self::google(StatusCode::INTERNAL_SERVER_ERROR, words)
    }
}
