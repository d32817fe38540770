//! A FHIR resource on its way into the store: what is checked, what is indexed, what text is kept.
//!
//! Only what holds for every type is checked: JSON, an object, a known `resourceType`, the syntax of `id`, the form of
//! `meta`. Elements are not validated.

use super::instant::Instant;
use super::json::{Json, Object, write_object};
use super::kind::{is_id, kind};
use super::reply::Refusal;

/// The search parameter that a token belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Parameter {
    /// `identifier`
    Identifier = 1,
    /// `_tag`
    Tag = 2,
}

/// One indexed value of a resource; a missing part is the empty text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Token {
    pub(super) parameter: Parameter,
    pub(super) system: String,
    pub(super) value: String,
}

/// A checked resource.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) kind: &'static str,
    pub(super) fields: Object,
}

impl Resource {
    /// Reads and checks a resource; `expected` is the type that the path names.
    pub(super) fn parse(body: &[u8], expected: Option<&str>) -> Result<Self, Refusal> {
        let json = Json::parse(body)
            .map_err(|error| Refusal::unparseable(format!("invalid JSON: {error}")))?;
        Self::check(json, expected)
    }

    /// Checks a resource that was read already.
    pub(super) fn check(json: Json, expected: Option<&str>) -> Result<Self, Refusal> {
        let Json::Object(fields) = json else {
            return Err(Refusal::unparseable(
                "invalid value (expected a resource object)",
            ));
        };
        let name = match fields.get("resourceType") {
            None => {
                return Err(Refusal::unparseable(
                    "missing required field \"resourceType\"",
                ));
            }
            Some(Json::Text(name)) => name.as_str(),
            Some(_) => return Err(Refusal::unparseable("invalid resource type").at("resourceType")),
        };
        let Some(kind) = kind(name) else {
            return Err(
                Refusal::unparseable(format!("unknown resource type: \"{name}\""))
                    .at("resourceType"),
            );
        };
        if let Some(expected) = expected
            && expected != kind
        {
            let text = format!(
                "resource type mismatch, type of specified resource: {expected}, type from payload: {kind}"
            );
            return Err(Refusal::fhir(
                http::StatusCode::BAD_REQUEST,
                "structure",
                "resource_mismatch",
                text,
            ));
        }
        match fields.get("id") {
            None | Some(Json::Null) => {}
            Some(Json::Text(id)) if is_id(id) => {}
            Some(Json::Text(_)) => {
                return Err(Refusal::unparseable("invalid Id format").at(&format!("{kind}.id")));
            }
            Some(_) => return Err(Refusal::unparseable("expected ID").at(&format!("{kind}.id"))),
        }
        match fields.get("meta") {
            None | Some(Json::Null | Json::Object(_)) => {}
            Some(_) => {
                let refusal = Refusal::unparseable("invalid value (expected a Meta object)");
                return Err(refusal.at(&format!("{kind}.meta")));
            }
        }
        Ok(Self { kind, fields })
    }

    /// Returns the id that the client gave.
    pub(super) fn id(&self) -> Option<&str> {
        self.fields.get("id").and_then(Json::as_text)
    }

    /// Returns the values to index, without doubles.
    pub(super) fn tokens(&self) -> Vec<Token> {
        let mut tokens = Vec::new();
        if let Some(identifiers) = self.fields.get("identifier") {
            collect(identifiers, Parameter::Identifier, "value", &mut tokens);
        }
        if let Some(tags) = self
            .fields
            .get("meta")
            .and_then(Json::as_object)
            .and_then(|meta| meta.get("tag"))
        {
            collect(tags, Parameter::Tag, "code", &mut tokens);
        }
        tokens.sort();
        tokens.dedup();
        tokens
    }

    /// Gives the resource its id and version, and returns the text to keep. The client's other `meta` stays.
    pub(super) fn seal(mut self, id: &str, version: Instant) -> String {
        let meta = self.fields.entry("meta".to_owned()).or_insert(Json::Null);
        if !matches!(meta, Json::Object(_)) {
            *meta = Json::Object(Object::new());
        }
        if let Json::Object(meta) = meta {
            meta.insert("versionId".to_owned(), Json::Text(version.version_id()));
            meta.insert("lastUpdated".to_owned(), Json::Text(version.last_updated()));
        }
        self.fields.insert("id".to_owned(), Json::text(id));
        let mut text = String::with_capacity(2048);
        write_object(&self.fields, &mut text);
        text
    }
}

fn collect(values: &Json, parameter: Parameter, key: &str, tokens: &mut Vec<Token>) {
    for value in values.each() {
        let Some(object) = value.as_object() else {
            continue;
        };
        let part = |name: &str| {
            object
                .get(name)
                .and_then(Json::as_text)
                .unwrap_or_default()
                .to_owned()
        };
        let token = Token {
            parameter,
            system: part("system"),
            value: part(key),
        };
        if !(token.system.is_empty() && token.value.is_empty()) {
            tokens.push(token);
        }
    }
}
