//! The entries of a bundle, read lazily: a bundle may be 50 MB, its tree would be many times that.

use std::borrow::Cow;

use axum::body::Bytes;
use base64::Engine as _;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::interaction::{Guard, Interaction};
use super::super::json::Json;
use super::super::query::{decode, query};
use super::super::reply::Refusal;
use super::super::resource::Resource;
use super::super::route::fhir::{FhirPath, fhir_path};
use super::super::search::Criteria;
use super::super::single::refuse_path;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Option<Cow<'a, str>>,
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    entry: Option<Vec<RawEntry<'a>>>,
}

#[derive(Deserialize)]
struct RawEntry<'a> {
    #[serde(rename = "fullUrl")]
    full_url: Option<String>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    request: Option<RawRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRequest {
    method: Option<String>,
    url: Option<String>,
    if_none_match: Option<String>,
    if_match: Option<String>,
    if_none_exist: Option<String>,
}

/// The verb of an entry, in the order in which they are processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Delete,
    Post,
    Put,
    Patch,
    Get,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) full_url: Option<String>,
    pub(super) resource: Option<Bytes>,
    /// The method of the request; or a refusal of one that cannot be, told when the entry's turn comes.
    pub(super) verb: Result<Verb, Refusal>,
    url: String,
    if_none_match: Option<String>,
    if_match: Option<String>,
    if_none_exist: Option<String>,
}

/// The interaction that an entry asks for.
#[derive(Debug)]
pub(super) enum Planned {
    Write(Interaction),
    Read(FhirPath),
}

/// Reads a bundle; the first value tells whether it is a transaction.
pub(super) fn parse(body: &Bytes) -> Result<(bool, Vec<Entry>), Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::unparseable("invalid JSON: invalid UTF-8"))?;
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| {
        let what = if error.is_data() {
            "a Bundle has another shape"
        } else {
            "invalid JSON"
        };
        Refusal::unparseable(format!(
            "{what}, at line {} column {}",
            error.line(),
            error.column()
        ))
    })?;
    if envelope.resource_type.as_deref() != Some("Bundle") {
        return Err(Refusal::unparseable("expected a Bundle").at("resourceType"));
    }
    let is_transaction = match envelope.kind.as_deref() {
        Some("transaction") => true,
        Some("batch") => false,
        _ => {
            return Err(Refusal::unparseable(
                "the type of the Bundle must be batch or transaction",
            )
            .at("Bundle.type"));
        }
    };
    let entries = envelope
        .entry
        .unwrap_or_default()
        .into_iter()
        .map(|entry| Entry::new(body, entry))
        .collect();
    Ok((is_transaction, entries))
}

impl Entry {
    fn new(body: &Bytes, raw: RawEntry<'_>) -> Self {
        let request = raw.request.unwrap_or(RawRequest {
            method: None,
            url: None,
            if_none_match: None,
            if_match: None,
            if_none_exist: None,
        });
        let verb = match request.method.as_deref() {
            Some("DELETE") => Ok(Verb::Delete),
            Some("POST") => Ok(Verb::Post),
            Some("PUT") => Ok(Verb::Put),
            Some("PATCH") => Ok(Verb::Patch),
            Some("GET") => Ok(Verb::Get),
            Some("HEAD") => Err(Refusal::unsupported(
                StatusCode::BAD_REQUEST,
                "HEAD is not supported in a Bundle",
            )),
            Some(_) => Err(Refusal::unparseable(
                "code type mismatch: request.method is not a HTTPVerb",
            )),
            None => Err(Refusal::unparseable(
                "missing required field \"request.method\"",
            )),
        };
        Self {
            full_url: raw.full_url.filter(|url| !url.is_empty()),
            resource: raw.resource.map(|raw| super::part_of(body, raw.get())),
            verb,
            url: request.url.unwrap_or_default(),
            if_none_match: request.if_none_match,
            if_match: request.if_match,
            if_none_exist: request.if_none_exist,
        }
    }

    /// Its place in the order of processing.
    pub(super) fn rank(&self) -> Verb {
        self.verb.as_ref().map_or(Verb::Get, |verb| *verb)
    }

    /// Reads what its request's URL names: relative to the base, or below it.
    fn target(&self, base: &str) -> Result<(FhirPath, Vec<(String, String)>), Refusal> {
        let url = self.url.strip_prefix(base).unwrap_or(&self.url);
        let url = url.strip_prefix('/').unwrap_or(url);
        let (path, parameters) = url.split_once('?').unwrap_or((url, ""));
        let wrong = || Refusal::unparseable("request.url names nothing of a FHIR store");
        let mut segments = Vec::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            segments.push(decode(segment).ok_or_else(wrong)?);
        }
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match fhir_path(&segments) {
            Some(path @ (FhirPath::Kind(_) | FhirPath::Instance(..) | FhirPath::Version(..))) => {
                Ok((path, query(parameters)))
            }
            Some(path @ (FhirPath::BadKind(_) | FhirPath::BadId(_) | FhirPath::Unsupported)) => {
                Err(refuse_path(&path))
            }
            _ => Err(wrong()),
        }
    }

    fn resource(&self, kind: &'static str) -> Result<Resource, Refusal> {
        let body = self
            .resource
            .as_ref()
            .ok_or_else(|| Refusal::unparseable("missing required field \"resource\""))?;
        Resource::parse(body, Some(kind))
    }

    /// Reads the Binary that carries a JSON patch.
    fn patch(&self) -> Result<Json, Refusal> {
        let binary = self.resource("Binary")?;
        let field = |name: &str| binary.fields.get(name).and_then(Json::as_text);
        if field("contentType") != Some("application/json-patch+json") {
            return Err(Refusal::unparseable(
                "a patch is a Binary with contentType application/json-patch+json",
            ));
        }
        let data =
            base64::engine::general_purpose::STANDARD.decode(field("data").unwrap_or_default());
        let data = data.map_err(|_| Refusal::unparseable("expected base64 in Binary.data"))?;
        Json::parse(&data)
            .map_err(|error| Refusal::unparseable(format!("invalid JSON in Binary.data: {error}")))
    }

    /// Reads what the entry asks for.
    pub(super) fn plan(&self, base: &str) -> Result<Planned, Refusal> {
        let verb = self.verb.clone()?;
        let (path, parameters) = self.target(base)?;
        let guard = Guard::new(self.if_match.as_deref(), self.if_none_match.as_deref());
        Ok(Planned::Write(match (verb, path) {
            (Verb::Get, path @ (FhirPath::Instance(..) | FhirPath::Version(..))) => {
                return Ok(Planned::Read(path));
            }
            (Verb::Get, _) => {
                return Err(Refusal::unsupported(
                    StatusCode::BAD_REQUEST,
                    "a Bundle cannot contain searches",
                ));
            }
            (Verb::Post, FhirPath::Kind(kind)) => {
                let condition = self
                    .if_none_exist
                    .as_deref()
                    .map(Criteria::condition_text)
                    .transpose()?;
                Interaction::Create {
                    resource: self.resource(kind)?,
                    condition,
                }
            }
            (Verb::Put, FhirPath::Instance(kind, id)) => {
                let resource = self.resource(kind)?;
                if resource.id() != Some(id.as_str()) {
                    return Err(Refusal::mismatch(&id, resource.id().unwrap_or_default()));
                }
                Interaction::Update {
                    resource,
                    id,
                    guard,
                }
            }
            (Verb::Put, FhirPath::Kind(kind)) => Interaction::UpdateWhere {
                resource: self.resource(kind)?,
                criteria: Criteria::condition(&parameters)?,
                guard,
            },
            (Verb::Patch, FhirPath::Instance(kind, id)) => Interaction::Patch {
                kind,
                id,
                patch: self.patch()?,
                guard,
            },
            (Verb::Patch, FhirPath::Kind(kind)) => Interaction::PatchWhere {
                kind,
                criteria: Criteria::condition(&parameters)?,
                patch: self.patch()?,
                guard,
            },
            (Verb::Delete, FhirPath::Instance(kind, id)) => Interaction::Delete { kind, id, guard },
            (Verb::Delete, FhirPath::Kind(kind)) => Interaction::DeleteWhere {
                kind,
                criteria: Criteria::condition(&parameters)?,
            },
            _ => {
                return Err(Refusal::unparseable(
                    "request.method and request.url do not go together",
                ));
            }
        }))
    }
}
